//! The scenarios that come with the command.

/// A scenario of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! entries {
    ($($(#[doc = $about:literal])+ $entries:ident in $directory:literal = [$($name:literal),* $(,)?];)*) => {
        $(
            $(#[doc = $about])+
            pub const $entries: &[Entry] =
                &[$(Entry { name: $name, text: include_str!(concat!("../", $directory, "/", $name, ".toml")) }),*];
        )*
    };
}

entries! {
    /// Every scenario of the catalogue, the simplest first.
    SCENARIOS in "catalogue" = [
        "steady",
        "leader-crash",
        "leader-pause",
        "ensemble-split",
        "session-expiry",
        "power-loss",
        "rolling-restart",
        "slow-disk",
        "lock-under-faults",
        "observers-under-faults",
        "reconfiguration",
        "recipes-under-faults",
        "random-operations",
        "random-operations-steady",
        "controller-crash",
        "controller-pause",
        "partition-leader-crash",
        "coordinator-leader-crash",
        "broker-isolated",
        "broker-session-expiry",
        "stale-registration",
        "broker-rolling-restart",
        "broker-power-loss",
        "broker-joins",
        "producer-balance",
        "zookeeper-consumer-rebalance",
    ];

    /// Scenarios that draw everything from their seed: found by their names, and not run when none is named.
    SWARMS in "catalogue" = ["swarm-ensemble", "swarm-members", "swarm-cluster"];

    /// Scenarios that were made for one bug each: found by their names, and not listed in the catalogue.
    HUNTS in "tests/scenarios" = [
        "recipes-misused",
        "zookeeper-335",
        "zookeeper-962",
        "zookeeper-1277",
        "zookeeper-1367",
        "zookeeper-1382",
        "zookeeper-1653",
        "zookeeper-1863",
        "zookeeper-2247",
        "zookeeper-2332",
        "zookeeper-2355",
        "zookeeper-2846",
        "zookeeper-2872",
        "zookeeper-3104",
        "zookeeper-3145",
        "zookeeper-3642",
        "zookeeper-3911",
        "zookeeper-4352",
        "zookeeper-4394",
        "zookeeper-4508",
        "zookeeper-4643",
        "zookeeper-4837",
        "zookeeper-4882",
        "zookeeper-4925",
        "zookeeper-fuzzy",
        "zookeeper-tail",
        "kafka-1211",
        "kafka-1382",
        "kafka-6082",
        "kafka-6361",
        "kafka-7128",
        "kafka-7235",
        "kafka-9839",
        "kafka-m21",
        "kafka-m28",
    ];
}

/// The scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<Entry> {
    SCENARIOS.iter().chain(SWARMS).chain(HUNTS).copied().find(|entry| entry.name == name)
}
