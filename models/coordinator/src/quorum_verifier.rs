//! Who is in the ensemble, and which of them are enough (zookeeper.md §2.6).
//!
//! A [`QuorumVerifier`] is one configuration of the ensemble: its members with their addresses and roles, what counts as a
//! quorum of its voters, and its version. The oracle of two-server ensembles is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use jute::{Sid, Zxid};
use machine::{Address, HostId, Port};
use serde::{Deserialize, Serialize};

use crate::config::ServerConfig;

/// What a server is for in its ensemble (`LearnerType`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnerType {
    /// It votes.
    #[default]
    Participant,
    /// It is told what was committed, and serves.
    Observer,
}

impl LearnerType {
    /// As configurations name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        }
    }
}

/// One line `server.N=host:quorumPort:electionPort:role;clientPort` (zookeeper.md §1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The host it runs on.
    pub host: HostId,
    /// Where a leader accepts learners.
    pub quorum_port: Port,
    /// Where it accepts the other servers' leader election.
    pub election_port: Port,
    /// What it is for.
    pub role: LearnerType,
    /// Where it accepts clients, if its line says so; each server also has a `clientPort` of its own.
    pub client_port: Option<Port>,
}

impl Member {
    /// Where a leader accepts learners.
    #[must_use]
    pub const fn quorum_address(&self) -> Address {
        Address { host: self.host, port: self.quorum_port }
    }

    /// Where it takes part in leader election.
    #[must_use]
    pub const fn election_address(&self) -> Address {
        Address { host: self.host, port: self.election_port }
    }
}

/// `group.N` and `weight.N`: voters count by weight, and a quorum is one of groups.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The group of each voter.
    pub groups: BTreeMap<Sid, u64>,
    /// The weight of voters that do not have 1.
    pub weights: BTreeMap<Sid, u64>,
}

impl Hierarchy {
    fn weight(&self, of: Sid) -> u64 {
        self.weights.get(&of).copied().unwrap_or(1)
    }

    /// More than half of the groups that have any weight, each with more than half of its weight.
    fn contains_quorum(&self, acks: impl Iterator<Item = Sid>) -> bool {
        let sums = |sids: &mut dyn Iterator<Item = Sid>| {
            let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
            for (group, weight) in sids.filter_map(|sid| Some((*self.groups.get(&sid)?, self.weight(sid)))) {
                *sums.entry(group).or_default() += weight;
            }
            sums
        };
        let mut all = sums(&mut self.groups.keys().copied());
        all.retain(|_, weight| *weight > 0);
        let mut acks = acks;
        let has = sums(&mut acks);
        let won = all.iter().filter(|(group, weight)| has.get(group).is_some_and(|has| *has > **weight / 2)).count();
        won > all.len() / 2
    }
}

/// One configuration of an ensemble.
#[derive(Clone, Debug)]
pub struct QuorumVerifier {
    version: Zxid,
    members: BTreeMap<Sid, Member>,
    voters: BTreeSet<Sid>,
    /// None: more than half of the voters.
    hierarchy: Option<Hierarchy>,
}

/// What is wrong with the text of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadConfig(pub &'static str);

impl QuorumVerifier {
    /// A configuration of these members; without groups more than half of the voters are a quorum.
    ///
    /// # Panics
    /// If there are groups and a voter is in none.
    #[must_use]
    pub fn new(members: BTreeMap<Sid, Member>, hierarchy: Option<Hierarchy>, version: Zxid) -> Self {
        let voters: BTreeSet<Sid> =
            members.iter().filter(|(_, member)| member.role == LearnerType::Participant).map(|(&sid, _)| sid).collect();
        if let Some(hierarchy) = &hierarchy {
            assert!(voters.iter().all(|sid| hierarchy.groups.contains_key(sid)), "every voter is in a group");
        }
        Self { version, members, voters, hierarchy }
    }

    /// The zxid of the txn that brought it; zero of one that was never agreed on.
    #[must_use]
    pub const fn version(&self) -> Zxid {
        self.version
    }

    /// The same members under another version.
    #[must_use]
    pub fn with_version(&self, version: Zxid) -> Self {
        Self { version, ..self.clone() }
    }

    /// Voters and observers.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<Sid, Member> {
        &self.members
    }

    /// Who votes.
    #[must_use]
    pub const fn voters(&self) -> &BTreeSet<Sid> {
        &self.voters
    }

    /// Whether a server votes.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.voters.contains(&sid)
    }

    /// Whether voters are counted, not weighed: only then single servers can be added or removed.
    #[must_use]
    pub const fn is_majority(&self) -> bool {
        self.hierarchy.is_none()
    }

    /// A voter's weight; who has none never leads.
    #[must_use]
    pub fn weight(&self, of: Sid) -> u64 {
        self.hierarchy.as_ref().map_or(1, |hierarchy| hierarchy.weight(of))
    }

    /// Whether these servers are a quorum. Who does not vote does not count.
    #[must_use]
    pub fn contains_quorum(&self, acks: impl IntoIterator<Item = Sid>) -> bool {
        let mut acks = acks.into_iter().filter(|sid| self.voters.contains(sid));
        match &self.hierarchy {
            None => acks.count() > self.voters.len() / 2,
            Some(hierarchy) => hierarchy.contains_quorum(&mut acks),
        }
    }

    /// Whether the two say the same, whatever their versions (`equals`, which trusts versions that are equal).
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.version == other.version || self.members == other.members && self.hierarchy == other.hierarchy
    }

    /// The text, as notifications and NEWLEADER carry it, the files hold it and `/zookeeper/config` shows it.
    #[must_use]
    pub fn text(&self, config: &ServerConfig) -> String {
        let mut text = self.text_of_members(config);
        write!(text, "version={:x}", self.version.value()).expect("text grows");
        text
    }

    /// The text without its version, which a dynamic file has in its name.
    #[must_use]
    pub fn text_of_members(&self, config: &ServerConfig) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| text.write_fmt(format_args!("{line}\n")).expect("text grows");
        for (sid, member) in &self.members {
            let Member { host, quorum_port, election_port, role, client_port } = member;
            let host = config.name_of(*host);
            let client = client_port.map_or_else(String::new, |port| format!(";0.0.0.0:{}", port.0));
            line(format_args!("server.{sid}={host}:{}:{}:{}{client}", quorum_port.0, election_port.0, role.name()));
        }
        if let Some(Hierarchy { groups, weights }) = &self.hierarchy {
            let mut of_group: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for (sid, group) in groups {
                of_group.entry(*group).or_default().push(sid.to_string());
            }
            for (group, sids) in of_group {
                line(format_args!("group.{group}={}", sids.join(":")));
            }
            for sid in groups.keys() {
                line(format_args!("weight.{sid}={}", weights.get(sid).unwrap_or(&1)));
            }
        }
        text
    }

    /// Reads the text of a configuration (`parseDynamicConfig`). Without a version it has version zero.
    ///
    /// Simplified: a host must be one that the testbed knows, by its label or address; the real server takes any name, and fails
    /// to dial it later.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, config: &ServerConfig) -> Result<Self, BadConfig> {
        let (mut members, mut version) = (BTreeMap::new(), Zxid::ZERO);
        let mut hierarchy = Hierarchy::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').ok_or(BadConfig("unrecognised parameter"))?;
            let (key, value) = (key.trim(), value.trim());
            if let Some(sid) = key.strip_prefix("server.") {
                let sid = sid_of(sid)?;
                members.insert(sid, parse_member(value, config)?);
            } else if let Some(group) = key.strip_prefix("group.") {
                let group = group.parse().map_err(|_| BadConfig("a group without a number"))?;
                for sid in value.split(':') {
                    if hierarchy.groups.insert(sid_of(sid)?, group).is_some() {
                        return Err(BadConfig("a server is in two groups"));
                    }
                }
            } else if let Some(sid) = key.strip_prefix("weight.") {
                let weight = value.parse().map_err(|_| BadConfig("a weight that is no number"))?;
                hierarchy.weights.insert(sid_of(sid)?, weight);
            } else if key == "version" {
                let read = i64::from_str_radix(value, 16).ok().and_then(Zxid::from_wire);
                version = read.ok_or(BadConfig("a version that is no number"))?;
            } else {
                return Err(BadConfig("unrecognised parameter"));
            }
        }
        let is_hierarchical = hierarchy != Hierarchy::default();
        let voters = members.iter().filter(|(_, member)| member.role == LearnerType::Participant);
        let (mut count, mut ungrouped) = (0, false);
        for (sid, _) in voters {
            count += 1;
            ungrouped |= !hierarchy.groups.contains_key(sid);
        }
        if is_hierarchical && ungrouped {
            return Err(BadConfig("a voter is in no group"));
        }
        if count == 0 {
            return Err(BadConfig("nobody votes"));
        }
        Ok(Self::new(members, is_hierarchical.then_some(hierarchy), version))
    }
}

fn sid_of(text: &str) -> Result<Sid, BadConfig> {
    text.trim().parse().map(Sid::new).map_err(|_| BadConfig("a server id that is no number below 256"))
}

/// `host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`.
pub(crate) fn parse_member(text: &str, config: &ServerConfig) -> Result<Member, BadConfig> {
    let port = |text: &str| text.trim().parse().map(Port).map_err(|_| BadConfig("a port that is no number"));
    let (server, client) = match text.split_once(';') {
        None => (text, None),
        Some((_, client)) if client.contains(';') => return Err(BadConfig("a server line with too much in it")),
        Some((server, client)) => (server, Some(client)),
    };
    let client_port = client.map(|client| port(client.rsplit(':').next().unwrap_or(client))).transpose()?;
    let parts: Vec<&str> = server.split(':').map(str::trim).collect();
    let (name, quorum_port, election_port, role) = match parts[..] {
        [name, quorum, election] => (name, quorum, election, LearnerType::Participant),
        [name, quorum, election, role] if role.eq_ignore_ascii_case("participant") => {
            (name, quorum, election, LearnerType::Participant)
        }
        [name, quorum, election, role] if role.eq_ignore_ascii_case("observer") => {
            (name, quorum, election, LearnerType::Observer)
        }
        _ => return Err(BadConfig("a server line that is not host:port:port or host:port:port:role")),
    };
    let quorum_port = port(quorum_port)?;
    let host = config.host_named(name, quorum_port).ok_or(BadConfig("a host that nobody knows"))?;
    Ok(Member { host, quorum_port, election_port: port(election_port)?, role, client_port })
}

impl ServerConfig {
    /// A host as configurations name it: its address if one was given, or its label.
    pub(crate) fn name_of(&self, host: HostId) -> String {
        self.addresses.get(&host).map_or_else(|| host.to_string(), IpAddr::to_string)
    }

    /// The host with this name. Several may share one address: then the quorum port tells.
    pub(crate) fn host_named(&self, name: &str, quorum_port: Port) -> Option<HostId> {
        let listed = self
            .members
            .values()
            .find(|member| member.quorum_port == quorum_port && self.name_of(member.host) == name)
            .map(|member| member.host);
        let given = || self.addresses.iter().find(|(_, address)| address.to_string() == name).map(|(&host, _)| host);
        let label = || {
            let number = name.strip_prefix("host")?.parse().ok().map(HostId)?;
            (number.to_string() == name).then_some(number)
        };
        listed.or_else(given).or_else(label)
    }
}

/// The configurations that must agree: the one in force, and the one last heard of if that is newer (`SyncedLearnerTracker`).
#[derive(Clone, Debug)]
pub struct Quorums {
    current: Arc<QuorumVerifier>,
    next: Option<Arc<QuorumVerifier>>,
}

impl Quorums {
    /// `last_seen` counts only if it is newer.
    #[must_use]
    pub fn new(current: &Arc<QuorumVerifier>, last_seen: &Arc<QuorumVerifier>) -> Self {
        let next = (last_seen.version() > current.version()).then(|| Arc::clone(last_seen));
        Self { current: Arc::clone(current), next }
    }

    /// The configuration in force.
    #[must_use]
    pub const fn current(&self) -> &Arc<QuorumVerifier> {
        &self.current
    }

    /// The newer of them has come into force: it alone counts from now on.
    pub(crate) fn come_into_force(&mut self, version: Zxid) {
        if let Some(next) = self.next.take_if(|next| next.version() == version) {
            self.current = next;
        }
    }

    /// The newer of them.
    #[must_use]
    pub fn newest(&self) -> &Arc<QuorumVerifier> {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// Who votes in any of them (`getCurrentAndNextConfigVoters`).
    #[must_use]
    pub fn voters(&self) -> BTreeSet<Sid> {
        let next = self.next.iter().flat_map(|next| next.voters().iter().copied());
        self.current.voters().iter().copied().chain(next).collect()
    }

    /// Whether a server votes in any of them.
    #[must_use]
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.current.is_voter(sid) || self.next.as_ref().is_some_and(|next| next.is_voter(sid))
    }

    /// Whether these servers are a quorum in each of them (`hasAllQuorums`).
    #[must_use]
    pub fn have_all(&self, acks: &BTreeSet<Sid>) -> bool {
        self.current.contains_quorum(acks.iter().copied())
            && self.next.as_ref().is_none_or(|next| next.contains_quorum(acks.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sids<const N: usize>(of: [u8; N]) -> BTreeSet<Sid> {
        of.map(Sid::new).into()
    }

    fn config() -> ServerConfig {
        let hosts: Vec<HostId> = (0..9).map(HostId).collect();
        ServerConfig::ensemble(Sid::new(1), &hosts)
    }

    fn parse(text: &str) -> Result<QuorumVerifier, BadConfig> {
        QuorumVerifier::parse(text, &config())
    }

    fn lines(servers: u8) -> String {
        (1..=servers).map(|sid| format!("server.{sid}=host{}:2888:3888;2181\n", sid - 1)).collect()
    }

    #[test]
    fn more_than_half_of_the_voters_are_a_quorum_and_observers_do_not_count() {
        let quorum = parse(&(lines(3) + "server.4=host3:2888:3888:observer;2181")).unwrap();
        assert!(!quorum.contains_quorum(sids([1, 4, 9])));
        assert!(quorum.contains_quorum(sids([1, 3])));
        assert_eq!(quorum.voters(), &sids([1, 2, 3]));
    }

    #[test]
    fn groups_win_by_weight_and_a_quorum_by_groups() {
        let text = lines(9) + "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.9=0\nweight.1=3\n";
        let quorum = parse(&text).unwrap();
        assert!(quorum.contains_quorum(sids([1, 4, 5])), "3 of 5, and 2 of 3");
        assert!(!quorum.contains_quorum(sids([2, 3, 4, 5])), "2 of 5 is no half of the first group");
        assert!(!quorum.contains_quorum(sids([1, 4, 7, 9])), "a weight of 0 adds nothing: 1 of 2");
        assert!(quorum.contains_quorum(sids([1, 7, 8])));
        assert_eq!((quorum.weight(Sid::new(9)), quorum.weight(Sid::new(4))), (0, 1));
    }

    #[test]
    fn groups_without_weight_are_not_counted() {
        let text = lines(4) + "group.1=1\ngroup.2=2\ngroup.3=3:4\nweight.3=0\nweight.4=0\n";
        let quorum = parse(&text).unwrap();
        assert!(!quorum.contains_quorum(sids([1, 3, 4])), "one of two groups");
        assert!(quorum.contains_quorum(sids([1, 2])));
    }

    #[test]
    fn text_is_read_back_as_it_was_written() {
        let text =
            lines(3) + "server.4=host3:2888:3888:observer\ngroup.1=1:2\ngroup.2=3\nweight.2=4\nversion=10000000a\n";
        let quorum = parse(&text).unwrap();
        let written = quorum.text(&config());
        assert_eq!(
            written,
            "server.1=host0:2888:3888:participant;0.0.0.0:2181\nserver.2=host1:2888:3888:participant;0.0.0.0:2181\n\
             server.3=host2:2888:3888:participant;0.0.0.0:2181\nserver.4=host3:2888:3888:observer\n\
             group.1=1:2\ngroup.2=3\nweight.1=1\nweight.2=4\nweight.3=1\nversion=10000000a"
        );
        let again = parse(&written).unwrap();
        assert_eq!(again.text(&config()), written);
        assert_eq!(again.members(), quorum.members());
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            "garbage",
            "server.9",
            "server.x=host0:1:2",
            "server.1=host0:1",
            "server.1=host0:1:2:king",
            "server.1=host0:1:2:observer",
            "server.1=nowhere:1:2",
            "server.1=host0:1:2;a",
            "group.1=1",
            "version=z",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&(lines(2) + "group.1=1\ngroup.2=1:2")).is_err(), "in two groups");
        assert!(parse(&(lines(2) + "group.1=1")).is_err(), "in no group");
    }

    #[test]
    fn an_open_reconfiguration_needs_a_quorum_of_each() {
        let (old, new) = (parse(&lines(3)).unwrap(), parse(&(lines(5) + "version=100000005")).unwrap());
        let quorums = Quorums::new(&Arc::new(old), &Arc::new(new));
        assert!(!quorums.have_all(&sids([1, 2])));
        assert!(!quorums.have_all(&sids([1, 4, 5])));
        assert!(quorums.have_all(&sids([1, 2, 5])));
        assert!(quorums.is_voter(Sid::new(5)));
    }
}
