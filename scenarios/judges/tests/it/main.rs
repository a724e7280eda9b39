//! Whole worlds under the judges: three servers, some clients, faults.

mod ensemble;
