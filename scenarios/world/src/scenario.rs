//! A scenario: topology, configuration, workloads, faults, as people write it in TOML.
//!
//! A scenario says what it must and leaves the rest to the seed: a range is drawn, a crash model that is not named is drawn
//! per host, a nemesis drops each of its families with even odds. So the same file is as many runs as there are seeds.

mod load;
mod overrides;
mod sections;
mod workload;

pub(crate) use load::text_of;
pub use load::{check_scenario, load, load_with};
pub use sections::{
    Clocks, Cluster, CoreChoice, CreateTopics, Disk, KeyValue, Keys, Liveness, Network, OneOf, Scenario, Topic, Wire,
};
pub(crate) use workload::connect_string;
pub use workload::{Acks, Balance, Kind, Reset, Workload};

pub use crate::nemesis::{Family, Nemesis};
