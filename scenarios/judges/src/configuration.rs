//! Who votes, and which of them are a quorum: the configurations of an ensemble, as they follow one another (zookeeper.md §2.6, §15).
//!
//! Members are kept in masks of 32 bits, by their place in the ensemble: a host keeps its place whatever it is to the ensemble, and
//! also when it is nothing to it any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::{Sid, Zxid};

/// One configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    version: Zxid,
    voters: u32,
    observers: u32,
    /// The members of each group; none if voters are counted and not weighed.
    groups: BTreeMap<u64, u32>,
    /// The weights of voters that do not have 1.
    weights: BTreeMap<usize, u64>,
}

impl Configuration {
    /// More than half of the voters are a quorum. Nobody agreed on it: it has no version.
    #[must_use]
    pub fn majority(voters: impl IntoIterator<Item = usize>, observers: impl IntoIterator<Item = usize>) -> Self {
        let mask = |places: &mut dyn Iterator<Item = usize>| places.fold(0, |mask, place| mask | 1 << place);
        Self {
            version: Zxid::ZERO,
            voters: mask(&mut voters.into_iter()),
            observers: mask(&mut observers.into_iter()),
            groups: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    /// The same with groups and weights, both by place.
    #[must_use]
    pub fn weighed(self, groups: impl IntoIterator<Item = (usize, u64)>, weights: BTreeMap<usize, u64>) -> Self {
        let mut masks = BTreeMap::new();
        for (place, group) in groups {
            *masks.entry(group).or_insert(0) |= 1 << place;
        }
        Self { groups: masks, weights, ..self }
    }

    /// Reads the text that servers tell one another, and that `/zookeeper/config` shows; none if it is none, or names a server that
    /// the world does not have.
    #[must_use]
    pub fn parse(text: &[u8], place_of: impl Fn(Sid) -> Option<usize>) -> Option<Self> {
        let place = |sid: &str| place_of(Sid::new(sid.trim().parse().ok()?));
        let (mut read, mut groups) = (Self::majority([], []), Vec::new());
        for line in str::from_utf8(text).ok()?.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=')?;
            if let Some(sid) = key.strip_prefix("server.") {
                let address = value.split(';').next().unwrap_or(value);
                let observes =
                    address.rsplit(':').next().is_some_and(|role| role.trim().eq_ignore_ascii_case("observer"));
                *(if observes { &mut read.observers } else { &mut read.voters }) |= 1 << place(sid)?;
            } else if let Some(group) = key.strip_prefix("group.") {
                let group: u64 = group.parse().ok()?;
                for sid in value.split(':') {
                    groups.push((place(sid)?, group));
                }
            } else if let Some(sid) = key.strip_prefix("weight.") {
                read.weights.insert(place(sid)?, value.trim().parse().ok()?);
            } else if key == "version" {
                read.version = i64::from_str_radix(value, 16).ok().and_then(Zxid::from_wire)?;
            }
        }
        let weights = std::mem::take(&mut read.weights);
        (read.voters != 0).then(|| read.weighed(groups, weights))
    }

    /// The zxid of the transaction that brought it; zero of one that nobody agreed on.
    #[must_use]
    pub const fn version(&self) -> Zxid {
        self.version
    }

    /// The same under another version.
    #[must_use]
    pub fn with_version(self, version: Zxid) -> Self {
        Self { version, ..self }
    }

    /// Who votes.
    pub(crate) const fn voters(&self) -> u32 {
        self.voters
    }

    pub(crate) const fn is_voter(&self, place: usize) -> bool {
        self.voters & 1 << place != 0
    }

    /// Whether it votes or observes.
    pub(crate) const fn is_member(&self, place: usize) -> bool {
        (self.voters | self.observers) & 1 << place != 0
    }

    pub(crate) fn weight(&self, place: usize) -> u64 {
        self.weights.get(&place).copied().unwrap_or(1)
    }

    /// Whether these are enough: more than half of the voters, or more than half of the weight in more than half of the groups that
    /// have any. Who does not vote does not count.
    #[must_use]
    pub fn is_quorum(&self, of: u32) -> bool {
        let of = of & self.voters;
        if self.groups.is_empty() {
            return of.count_ones() > self.voters.count_ones() / 2;
        }
        let weight =
            |mask: u32| (0..32).filter(|place| mask & 1 << place != 0).map(|place| self.weight(place)).sum::<u64>();
        let groups: Vec<(u64, u64)> = self
            .groups
            .values()
            .map(|&group| (weight(group), weight(group & of)))
            .filter(|(all, _)| *all > 0)
            .collect();
        groups.iter().filter(|(all, of)| *of > all / 2).count() > groups.len() / 2
    }

    /// Whether the two say the same, whatever their versions.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        (self.voters, self.observers, &self.groups, &self.weights)
            == (other.voters, other.observers, &other.groups, &other.weights)
    }
}

/// What must acknowledge at an instant: a quorum of the configuration in force, and of each that is to follow it.
#[derive(Clone, Debug)]
pub(crate) struct Needs(Vec<Arc<Configuration>>);

impl Needs {
    pub(crate) fn new(in_force: &Arc<Configuration>) -> Self {
        Self(vec![Arc::clone(in_force)])
    }

    pub(crate) fn and(&mut self, next: &Arc<Configuration>) {
        if !self.0.iter().any(|it| it.is_same_as(next)) {
            self.0.push(Arc::clone(next));
        }
    }

    pub(crate) fn and_all(&mut self, others: &Self) {
        others.0.iter().for_each(|next| self.and(next));
    }

    pub(crate) fn are_met_by(&self, mask: u32) -> bool {
        self.0.iter().all(|configuration| configuration.is_quorum(mask))
    }

    /// Everybody whose acknowledgement counts.
    pub(crate) fn voters(&self) -> u32 {
        self.0.iter().fold(0, |mask, configuration| mask | configuration.voters())
    }

    pub(crate) fn may_lead(&self, place: usize) -> bool {
        self.0.iter().any(|it| it.is_voter(place) && it.weight(place) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(sid: Sid) -> Option<usize> {
        usize::from(sid.value()).checked_sub(1).filter(|&place| place < 6)
    }

    fn parse(text: &str) -> Option<Configuration> {
        Configuration::parse(text.as_bytes(), place_of)
    }

    #[test]
    fn majority_counts_voters_and_nobody_else() {
        let text = "server.1=host0:2888:3888:participant;0.0.0.0:2181\nserver.2=host1:2888:3888;2181\n\
                    server.3=host2:2888:3888:participant\nserver.4=host3:2888:3888:observer;2181\nversion=100000007";
        let read = parse(text).unwrap();
        assert!(read.is_same_as(&Configuration::majority(0..3, [3])));
        assert_eq!(read.version().value(), 0x1_0000_0007);
        assert!(read.is_quorum(0b0011) && read.is_quorum(0b0101));
        assert!(
            !read.is_quorum(0b1001) && !read.is_quorum(0b11_1000),
            "an observer does not count, nor does a stranger"
        );
        assert!(read.is_member(3) && !read.is_voter(3) && !read.is_member(4));
    }

    #[test]
    fn groups_count_by_weight() {
        let servers: String =
            (1..=6).map(|sid| format!("server.{sid}=host{}:2888:3888:participant\n", sid - 1)).collect();
        let read = parse(&format!("{servers}group.1=1:2:3\ngroup.2=4:5:6\nweight.1=3\nweight.4=0\nversion=0")).unwrap();
        assert!(read.is_quorum(0b11_0001), "one of weight 3, and both that have any of the others");
        assert!(!read.is_quorum(0b11_0110) && !read.is_quorum(0b00_1111) && !read.is_quorum(0b01_0111));
        // A group without weight is not counted.
        let read =
            parse(&format!("{servers}group.1=1:2:3\ngroup.2=4:5:6\nweight.4=0\nweight.5=0\nweight.6=0")).unwrap();
        assert!(read.is_quorum(0b00_0011) && !read.is_quorum(0b11_1001));
    }

    #[test]
    fn what_is_no_configuration_is_none() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("server.9=host8:2888:3888:participant"), None, "nobody knows it");
        assert_eq!(parse("server.1=host0:2888:3888:observer\nversion=1"), None, "nobody votes");
    }

    #[test]
    fn two_configurations_want_a_quorum_each() {
        let mut needs = Needs::new(&Arc::new(Configuration::majority(0..3, [])));
        needs.and(&Arc::new(Configuration::majority(0..3, []).with_version(Zxid::from_wire(7).unwrap())));
        assert!(needs.are_met_by(0b0_0011), "the same servers, under another version");
        needs.and(&Arc::new(Configuration::majority([2, 3, 4], [])));
        assert!(needs.may_lead(4) && !needs.may_lead(5));
        assert!(!needs.are_met_by(0b0_0011) && !needs.are_met_by(0b1_1000));
        assert!(needs.are_met_by(0b0_1110) && needs.are_met_by(0b1_0110));
        assert_eq!(needs.voters(), 0b1_1111);
    }
}
