//! The world on trial: which machines there are, how they are wired, and how a user says so.

mod nemesis;
mod node;
mod packet;
mod place;
mod scenario;
mod topology;
mod zoo_cfg;

pub use node::{Fact, Image, Node, View, Work};
pub use packet::Packet;
pub use place::{BadInput, did_you_mean, nearest};
pub use scenario::{
    Clocks, Cluster, Disk, Family, Nemesis, Network, OneOf, Scenario, Workload, Zoo, ZooValue, load, load_with,
};
pub use topology::{CLIENTS, COORDINATORS, Client, Server, Setup, Topology};
pub use zoo_cfg::{Remark, ServerLine, ZooCfg};
