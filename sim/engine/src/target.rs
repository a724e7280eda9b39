//! Whom a fault means.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who is meant. Resolved at the instant the fault strikes; one that resolves to nobody is *fired, not felt*.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `{ host = "zk1" }`: the host of that name.
    Host(String),
    /// `{ hosts = ["zk1", "kafka1"] }`: the hosts of these names, such as a rack.
    Hosts(Vec<String>),
    /// `{ role = "leader" }`: whoever has the role at that instant, as the judges see it.
    Role(String),
    /// `{ group = "coordinators" }`: every host of the group.
    Group(String),
    /// `{ any-of = "coordinators" }`: one host of the group, drawn.
    AnyOf(String),
    /// `{ minority-of = "coordinators" }`: fewer than half of the group, at least one, drawn.
    MinorityOf(String),
    /// `{ rest-of = "coordinators" }`: those of the group that this fault has not named so far.
    RestOf(String),
    /// `{ except = { group = "coordinators", target = { role = "leader" } } }`: the group without the target.
    Except(Except),
    /// `{ this = true }`: the host that stated the fact which triggered the rule.
    This(Yes),
    /// `{ everybody = true }`: every host.
    Everybody(Yes),
}

/// A group without somebody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Except {
    /// The group.
    pub group: String,
    /// Who is left out of it.
    pub target: Box<Target>,
}

/// The only value of a key that is merely present: `true`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Yes;

impl Serialize for Yes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if bool::deserialize(from)? { Ok(Self) } else { Err(D::Error::custom("this key is `true` or absent")) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Hosts(names) => f.write_str(&names.join(" and ")),
            Self::Role(name) => write!(f, "the {name}"),
            Self::Group(name) => write!(f, "all {name}"),
            Self::AnyOf(name) => write!(f, "one of the {name}"),
            Self::MinorityOf(name) => write!(f, "a minority of the {name}"),
            Self::RestOf(name) => write!(f, "the rest of the {name}"),
            Self::Except(Except { group, target }) => write!(f, "all {group} except {target}"),
            Self::This(Yes) => f.write_str("this host"),
            Self::Everybody(Yes) => f.write_str("everybody"),
        }
    }
}
