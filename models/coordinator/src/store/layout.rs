//! Names of files (zookeeper.md §9.1).

use jute::Zxid;
use machine::disk::Disk;

/// Returns the path of the txn log whose first transaction this is.
#[must_use]
pub fn log_path(dir: &str, zxid: Zxid) -> String {
    format!("{dir}/log.{zxid:x}")
}

/// Returns the path of the snapshot begun after this transaction.
#[must_use]
pub fn snapshot_path(dir: &str, zxid: Zxid) -> String {
    format!("{dir}/snapshot.{zxid:x}")
}

/// Returns the txn logs of a directory by the zxid in their name, oldest first.
pub fn log_files(disk: &dyn Disk, dir: &str) -> Vec<(Zxid, String)> {
    named_by_zxid(disk, &format!("{dir}/log."))
}

/// Returns the snapshots of a directory by the zxid in their name, oldest first. Whether they are whole is another question.
pub fn snapshot_files(disk: &dyn Disk, dir: &str) -> Vec<(Zxid, String)> {
    named_by_zxid(disk, &format!("{dir}/snapshot."))
}

fn named_by_zxid(disk: &dyn Disk, prefix: &str) -> Vec<(Zxid, String)> {
    let mut files: Vec<_> =
        disk.list(prefix).into_iter().filter_map(|path| Some((zxid_of(path.strip_prefix(prefix)?)?, path))).collect();
    files.sort();
    files
}

/// Whatever is not the name of one of ours, such as a file half renamed, is passed over.
fn zxid_of(suffix: &str) -> Option<Zxid> {
    i64::from_str_radix(suffix, 16).ok().and_then(Zxid::from_wire)
}

#[cfg(test)]
mod tests {
    use machine::disk::{Metadata, PageCache};

    use super::*;

    #[test]
    fn files_come_in_order_of_their_zxid_not_of_their_name() {
        let mut disk = PageCache::new(Metadata::Journaled);
        for name in ["log.5c", "log.1", "log.13e", "log.1.tmp", "log.", "log.zz", "snapshot.0"] {
            disk.create(&format!("d/{name}")).unwrap();
        }
        let names: Vec<_> = log_files(&disk, "d").into_iter().map(|(_, path)| path).collect();
        assert_eq!(names, ["d/log.1", "d/log.5c", "d/log.13e"]);
        assert_eq!(log_path("d", log_files(&disk, "d")[2].0), "d/log.13e");
        assert_eq!(snapshot_files(&disk, "d"), [(Zxid::ZERO, "d/snapshot.0".to_owned())]);
    }
}
