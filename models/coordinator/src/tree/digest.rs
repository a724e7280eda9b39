//! The digest of a tree: the sum of its znodes' digests (zookeeper.md §5.10).

use crc32fast::Hasher;
use jute::Buffer;
use jute::data::StatPersisted;

/// The algorithm, as snapshots and transactions name it.
pub const DIGEST_VERSION: i32 = 2;

/// Whether a znode counts: not those below `/zookeeper`, which servers change on their own.
#[must_use]
pub fn is_digested(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}

/// Returns what a znode adds to the digest of the tree: a CRC-32 of path, data and persisted stat, or 0 if it does not count.
///
/// The root is "" or `/`. Preparation uses this to predict the digest after a transaction.
#[must_use]
pub fn node_digest(path: &str, data: &Buffer, stat: &StatPersisted) -> u64 {
    if !is_digested(path) {
        return 0;
    }
    let mut fields = [0_u8; 60];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        fields[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    for long in [stat.czxid.to_wire(), stat.mzxid.to_wire(), stat.pzxid.to_wire(), stat.ctime, stat.mtime] {
        put(&long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        put(&int.value().to_be_bytes());
    }
    put(&stat.ephemeral_owner.to_be_bytes());
    let mut crc = Hasher::new();
    if path != "/" {
        crc.update(path.as_bytes());
    }
    crc.update(data.as_slice());
    crc.update(&fields);
    u64::from(crc.finalize())
}
