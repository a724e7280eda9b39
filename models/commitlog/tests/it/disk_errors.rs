//! A disk that fails: the error is told, the log does not contradict itself, and nothing of before is lost.

use commitlog::AppendError;
use kafkawire::{LeaderEpoch, Offset};
use machine::disk::{Disk, DiskError, FileId, PageCache, SyncTarget};
use machine::{Io, Ticket};

use crate::bench::{Host, Mute, batch, identity, orders, small, values};

/// A page cache of which one change fails with EIO.
#[derive(Debug)]
pub(crate) struct FailingDisk<'a> {
    pub(crate) disk: &'a mut PageCache,
    pub(crate) fail_after: &'a mut Option<u32>,
}

impl FailingDisk<'_> {
    fn change(&mut self) -> Result<(), DiskError> {
        match self.fail_after {
            None => Ok(()),
            Some(0) => {
                *self.fail_after = None;
                Err(DiskError::Io)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Disk for FailingDisk<'_> {
    fn create(&mut self, path: &str) -> Result<FileId, DiskError> {
        self.change()?;
        self.disk.create(path)
    }

    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        self.disk.open(path)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        self.disk.list(prefix)
    }

    fn len(&self, file: FileId) -> u64 {
        self.disk.len(file)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change()?;
        self.disk.write_at(file, offset, bytes)
    }

    fn read(&mut self, file: FileId, offset: u64, len: u64) -> Result<bytes::Bytes, DiskError> {
        self.disk.read(file, offset, len)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.change()?;
        self.disk.set_len(file, len)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change()?;
        self.disk.rename(from, to)
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        self.change()?;
        self.disk.remove(path)
    }

    fn begin_sync(&mut self, target: SyncTarget, ticket: Ticket) {
        self.disk.begin_sync(target, ticket);
    }
}

/// Fails each change of a step in turn, and kills the process after the failure. `kept` offsets are there afterwards.
#[track_caller]
fn check(kept: i64, step: impl Fn(&mut commitlog::LogManager, &mut Io<'_, Mute>) -> Result<(), AppendError>) {
    let mut host = Host::with_log(small());
    for _ in 0..14 {
        host.append(1, &["0123456789"]);
    }
    host.finish_syncs();
    let before: Vec<_> = host.log().batches(Offset(0), Offset(kept)).map(identity).collect();
    for fail_after in 0.. {
        let mut host = host.clone();
        host.fail_after = Some(fail_after);
        let result = host.with(&step);
        if host.fail_after.is_some() {
            assert_eq!(result, Ok(()));
            assert!(fail_after > 0, "the step changes something");
            return;
        }
        assert_eq!(result, Err(AppendError::Disk(DiskError::Io)), "change {fail_after}");
        host.kill();
        host.start();
        let after: Vec<_> = host.log().batches(Offset(0), Offset(kept)).map(identity).collect();
        assert_eq!(after, before, "change {fail_after}");
        assert!(values(&mut host).len() >= usize::try_from(kept).unwrap(), "change {fail_after}");
    }
}

#[test]
fn failing_append_is_told_and_loses_nothing() {
    check(14, |logs, io| {
        let batch = batch(&["0123456789"], 1_700_000_000_001);
        for _ in 0..8 {
            logs.log_mut(&orders()).unwrap().append_as_leader(&batch, LeaderEpoch(2), io)?;
        }
        Ok(())
    });
}

#[test]
fn failing_truncation_is_told_and_takes_no_more_than_it_should() {
    check(7, |logs, io| {
        logs.truncate_to(&orders(), Offset(7), io)?;
        Ok(())
    });
}

#[test]
fn failing_checkpoint_is_told() {
    check(14, |logs, io| {
        logs.checkpoint_recovery_points(io)?;
        logs.checkpoint_high_watermarks(io)?;
        logs.checkpoint_log_start_offsets(io)?;
        logs.log_mut(&orders()).unwrap().begin_epoch(LeaderEpoch(9), io)?;
        Ok(())
    });
}

#[test]
fn failing_recovery_can_be_repeated() {
    let mut host = Host::with_log(small());
    for _ in 0..14 {
        host.append(1, &["0123456789"]);
    }
    host.kill();
    host.damage("orders-0/00000000000000000005.log", 3 * 78 + 70, b"\xff");
    for fail_after in 0.. {
        let mut host = host.clone();
        host.fail_after = Some(fail_after);
        let result = host.try_start();
        if host.fail_after.take().is_some() {
            assert!(result.is_ok() && fail_after > 5);
            return;
        }
        assert_eq!(result, Err(commitlog::LoadError::Disk(DiskError::Io)), "change {fail_after}");
        host.kill();
        host.start();
        assert_eq!(values(&mut host).len(), 8, "change {fail_after}");
    }
}
