//! Whole worlds under the judges: servers, brokers, clients, faults.

mod cluster;
mod ensemble;
