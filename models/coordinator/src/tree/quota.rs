//! Quotas: how much is below a path, and how much may be (zookeeper.md §5.9).
//!
//! A znode `/zookeeper/quota<path>/zookeeper_limits` sets a limit to a path, `…/zookeeper_stats` beside it holds what is used. Only
//! what is applied moves the usage, in memory and without a version of its own; whether a limit is exceeded is asked by preparation,
//! and only of a server that enforces quotas.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jute::Buffer;

use super::{DataTree, QUOTA, name_of, parent_of};

/// The name of a path's limits.
const LIMITS: &str = "zookeeper_limits";
/// The name of a path's usage.
const STATS: &str = "zookeeper_stats";
/// No limit.
const NONE: i64 = -1;

/// What a limits or stats znode holds: `count=N,bytes=M`, then other keys in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsTrack {
    values: BTreeMap<String, i64>,
}

/// The data of a limits or stats znode is no list of numbers by name: the real server trips over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStatsTrack;

impl StatsTrack {
    /// Reads `key=number` pairs, parted by commas or semicolons. Later ones win; an empty number is none.
    ///
    /// # Errors
    /// [`NoStatsTrack`].
    pub fn parse(data: &[u8]) -> Result<Self, NoStatsTrack> {
        let text = std::str::from_utf8(data).map_err(|_| NoStatsTrack)?;
        let mut values = BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(NoStatsTrack)?;
            let value = if value.is_empty() { NONE } else { value.parse().map_err(|_| NoStatsTrack)? };
            values.insert(key.to_owned(), value);
        }
        Ok(Self { values })
    }

    fn value(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(NONE)
    }

    /// Number of znodes, or how many there should be at most.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.value("count")
    }

    /// Bytes of data, or how many there should be at most.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.value("bytes")
    }

    fn add(&mut self, count: i64, bytes: i64) {
        let (count, bytes) = (self.count().wrapping_add(count), self.bytes().wrapping_add(bytes));
        self.values.insert("count".to_owned(), count);
        self.values.insert("bytes".to_owned(), bytes);
    }

    fn to_data(&self) -> Buffer {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        for (key, value) in self.values.iter().filter(|(key, _)| *key != "count" && *key != "bytes") {
            text += &format!(";{key}={value}");
        }
        Buffer::new(Bytes::from(text))
    }

    /// Whether more by so many would be more than one of these limits allows. Soft limits allow everything.
    fn forbids(&self, used: &StatsTrack, count: i64, bytes: i64) -> bool {
        let exceeds = |more: i64, used: i64, hard: i64| more != 0 && hard > NONE && used.saturating_add(more) > hard;
        exceeds(count, used.count(), self.value("countHardLimit"))
            || exceeds(bytes, used.bytes(), self.value("byteHardLimit"))
    }
}

/// The path that a limits or stats znode is about, by the path of its parent.
fn subject(parent: &str) -> Option<&str> {
    parent.strip_prefix(QUOTA)
}

fn data_len(data: &Buffer) -> i64 {
    i64::try_from(data.len()).expect("data is in memory")
}

impl DataTree {
    /// Whether another znode (`count` 1), or data longer by so many bytes, would exceed a hard limit of the deepest path with a quota
    /// at or above this one.
    ///
    /// # Errors
    /// [`NoStatsTrack`] if limits or usage cannot be read.
    pub fn exceeds_quota(&self, path: &str, count: i64, bytes: i64) -> Result<bool, NoStatsTrack> {
        let Some(prefix) = self.quota_of(path) else { return Ok(false) };
        let read = |name: &str| {
            self.node(&format!("{QUOTA}{prefix}/{name}")).map(|node| StatsTrack::parse(node.data().as_slice()))
        };
        let Some(limits) = read(LIMITS).transpose()? else { return Ok(false) };
        if count == 0 && bytes == 0 {
            return Ok(false);
        }
        let Some(used) = read(STATS).transpose()? else { return Ok(false) };
        Ok(limits.forbids(&used, count, bytes))
    }

    /// The deepest path with a quota at or above this one; a quota of the root counts for nothing.
    fn quota_of(&self, path: &str) -> Option<Arc<str>> {
        if self.quotas.is_empty() {
            return None;
        }
        let mut at = Some(path);
        while let Some(path) = at.filter(|path| path.len() > 1) {
            if let Some(known) = self.quotas.get(path) {
                return Some(Arc::clone(known));
            }
            at = parent_of(path);
        }
        None
    }

    /// A znode was created.
    pub(super) fn count_created(&mut self, path: &str, data: &Buffer) {
        if let Some(subject) = parent_of(path).and_then(subject) {
            match name_of(path) {
                LIMITS => {
                    self.quotas.insert(subject.into());
                }
                STATS => self.measure(subject),
                _ => {}
            }
        }
        self.use_quota(path, 1, data_len(data));
    }

    /// A znode was deleted.
    pub(super) fn count_deleted(&mut self, path: &str, data: &Buffer) {
        if name_of(path) == LIMITS
            && let Some(subject) = parent_of(path).and_then(subject)
        {
            self.quotas.remove(subject);
        }
        self.use_quota(path, -1, -data_len(data));
    }

    /// Data was set.
    pub(super) fn count_set(&mut self, path: &str, before: i64, after: &Buffer) {
        self.use_quota(path, 0, data_len(after) - before);
    }

    /// Length of a znode's data, if anybody needs to know.
    pub(super) fn len_for_quota(&self, path: &str) -> i64 {
        if self.quotas.is_empty() { 0 } else { self.node(path).map_or(0, |node| data_len(node.data())) }
    }

    fn use_quota(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(prefix) = self.quota_of(path) else { return };
        self.change(&format!("{QUOTA}{prefix}/{STATS}"), |node| {
            // What cannot be read is left as it is: applying is total.
            if let Ok(mut used) = StatsTrack::parse(node.data().as_slice()) {
                used.add(count, bytes);
                node.set_data(used.to_data());
            }
        });
    }

    /// Writes how much is at and below a path into its stats.
    fn measure(&mut self, subject: &str) {
        let (mut count, mut bytes) = (0, 0);
        for node in self.node(subject).into_iter().chain(self.below(subject).map(|(_, node)| node)) {
            count += 1;
            bytes += data_len(node.data());
        }
        let used = StatsTrack { values: [("count".to_owned(), count), ("bytes".to_owned(), bytes)].into() };
        self.change(&format!("{QUOTA}{subject}/{STATS}"), |node| node.set_data(used.to_data()));
    }

    /// After a snapshot was loaded: finds the limits and measures anew.
    pub(super) fn find_quotas(&mut self) {
        let subjects: Vec<Arc<str>> = self
            .below(QUOTA)
            .map(|(path, _)| path)
            .filter(|path| name_of(path) == LIMITS)
            .filter_map(|path| parent_of(path).and_then(subject))
            .map(Arc::from)
            .collect();
        for subject in subjects {
            self.measure(&subject);
            self.quotas.insert(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_written_as_the_real_server_writes_it() {
        let mut used = StatsTrack::parse(b"count=2,bytes=9;countHardLimit=3,byteHardLimit=").unwrap();
        used.add(1, -4);
        assert_eq!(used.to_data().as_slice(), b"count=3,bytes=5;byteHardLimit=-1;countHardLimit=3");
        assert_eq!(StatsTrack::parse(b"").unwrap().to_data().as_slice(), b"count=-1,bytes=-1");
        for odd in [&b"garbage"[..], b"count=x", b"\xff"] {
            assert_eq!(StatsTrack::parse(odd), Err(NoStatsTrack));
        }
    }

    #[test]
    fn only_hard_limits_forbid() {
        let soft = StatsTrack::parse(b"count=3,bytes=10").unwrap();
        let hard = StatsTrack::parse(b"countHardLimit=3,byteHardLimit=10").unwrap();
        let used = StatsTrack::parse(b"count=3,bytes=9").unwrap();
        assert!(!soft.forbids(&used, 1, 5));
        assert!(hard.forbids(&used, 1, 0));
        assert!(!hard.forbids(&used, 0, 1), "as many as the limit says are allowed");
        assert!(hard.forbids(&used, 0, 2));
    }
}
