//! The world on trial: which machines there are, how they are wired, and how a user says so.

mod cluster;
mod defect;
mod nemesis;
mod node;
mod packet;
mod place;
mod properties;
mod scenario;
mod server_properties;
mod swarm;
mod topology;
mod zoo_cfg;

pub use cluster::{ADMINS, BROKERS, Broker};
pub use defect::{Defect, DefectKind};
pub use node::{Fact, Image, Node, View, Work, lane_names};
pub use packet::Packet;
pub use place::{BadInput, did_you_mean, nearest};
pub use properties::{Properties, Remark};
pub use scenario::{
    Acks, Balance, Clocks, Cluster, CoreChoice, CreateTopics, Disk, Family, KeyValue, Keys, Kind, Liveness, Nemesis,
    Network, OneOf, Reset, Scenario, Topic, Wire, Workload, check_scenario, load, load_with,
};
pub use server_properties::ServerProperties;
pub use swarm::{AIMED, Aimed, Profile, SWARM_FAMILIES, Size, Swarm, SwarmFamily, Timers};
pub use topology::{CLIENTS, COORDINATORS, Client, Files, OBSERVERS, Server, Setup, Topology};
pub use zoo_cfg::{ServerLine, ZooCfg};
