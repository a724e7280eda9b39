//! `currentEpoch` and `acceptedEpoch` (zookeeper.md §3.6).
//!
//! Written as `<name>.tmp`, synced, renamed. The directory is never synced, as in the real server: a loss of power right
//! after the rename may bring the old file back, and then the `.tmp` is still there.

use jute::{PeerEpoch, Zxid};
use machine::disk::{Disk, DiskError};
use machine::{Io, Ticket, Vocabulary};

use super::recovery::RefuseToStart;
use crate::config::ServerConfig;
use crate::defect::Defect;

/// One of the two files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EpochFile {
    /// The epoch of the last leader this server was in step with.
    Current,
    /// The highest epoch this server promised.
    Accepted,
}

impl EpochFile {
    /// The file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "currentEpoch",
            Self::Accepted => "acceptedEpoch",
        }
    }

    fn path(self, config: &ServerConfig) -> String {
        format!("{}/{}", config.data_dir, self.name())
    }

    fn tmp_path(self, config: &ServerConfig) -> String {
        format!("{}/{}.tmp", config.data_dir, self.name())
    }

    /// Writes the epoch beside the file and begins the sync. When the ticket is back, [`EpochFile::finish`].
    ///
    /// # Errors
    /// Of the write.
    pub fn begin<V: Vocabulary>(
        self,
        config: &ServerConfig,
        epoch: PeerEpoch,
        io: &mut Io<'_, V>,
    ) -> Result<Ticket, DiskError> {
        let file = io.disk().create(&self.tmp_path(config))?;
        io.disk().write_at(file, 0, epoch.to_string().as_bytes())?;
        Ok(io.sync(file))
    }

    /// Puts what [`EpochFile::begin`] wrote in the file's place.
    ///
    /// # Errors
    /// Of the rename.
    pub fn finish(self, config: &ServerConfig, disk: &mut dyn Disk) -> Result<(), DiskError> {
        disk.rename(&self.tmp_path(config), &self.path(config))
    }

    /// Reads the file; none if there is none.
    fn read(self, disk: &mut dyn Disk, path: &str) -> Result<Option<PeerEpoch>, RefuseToStart> {
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(DiskError::NotFound) => return Ok(None),
            Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error.into()),
        };
        let len = disk.len(file);
        let content = disk.read(file, 0, len)?;
        let text = str::from_utf8(&content).ok().and_then(|text| text.lines().next());
        let epoch = text.and_then(|line| line.parse().ok()).and_then(PeerEpoch::from_wire);
        let unreadable =
            || RefuseToStart::EpochUnreadable { file: self.name(), content: content.escape_ascii().to_string() };
        epoch.map(Some).ok_or_else(unreadable)
    }
}

/// The epochs a server starts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epochs {
    /// The epoch of the last leader this server was in step with.
    pub current: PeerEpoch,
    /// The highest epoch this server promised.
    pub accepted: PeerEpoch,
    /// What differs from the files and must be written before anything else is done.
    pub to_write: Vec<(EpochFile, PeerEpoch)>,
}

impl Epochs {
    /// Loads the files of a server whose last logged transaction is `last` (§3.6). A missing file means `last`'s epoch. An
    /// epoch behind `last`'s is repaired from the `.tmp` of a rename that was lost, or the server must not start.
    ///
    /// # Errors
    /// See [`RefuseToStart`].
    pub fn load(disk: &mut dyn Disk, config: &ServerConfig, last: Zxid) -> Result<Self, RefuseToStart> {
        let mut to_write = Vec::new();
        let mut or_missing = |file: EpochFile, found: Option<PeerEpoch>| {
            found.unwrap_or_else(|| {
                to_write.push((file, last.epoch()));
                last.epoch()
            })
        };
        let found = EpochFile::Current.read(disk, &EpochFile::Current.path(config))?;
        let mut current = or_missing(EpochFile::Current, found);
        let found = EpochFile::Accepted.read(disk, &EpochFile::Accepted.path(config))?;
        let accepted = or_missing(EpochFile::Accepted, found);
        if last.epoch() > current {
            let behind = RefuseToStart::CurrentEpochBehind { current, last };
            if config.defects.has(Defect::NoEpochTmpRecovery) {
                return Err(behind); // ZOOKEEPER-1653
            }
            current = EpochFile::Current.read(disk, &EpochFile::Current.tmp_path(config))?.ok_or(behind)?;
            to_write.push((EpochFile::Current, current));
        }
        if accepted < current {
            return Err(RefuseToStart::AcceptedEpochBehind { accepted, current });
        }
        Ok(Self { current, accepted, to_write })
    }
}

#[cfg(test)]
mod tests {
    use machine::disk::{Metadata, PageCache};

    use super::*;

    fn epoch(number: u32) -> PeerEpoch {
        PeerEpoch::new(number)
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], last: Zxid, expected: Result<(u32, u32, usize), &str>) {
        let config = ServerConfig::standalone();
        let mut disk = PageCache::new(Metadata::Journaled);
        for (name, content) in files {
            let file = disk.create(&format!("{}/{name}", config.data_dir)).unwrap();
            disk.append(file, content.as_bytes()).unwrap();
        }
        match Epochs::load(&mut disk, &config, last) {
            Ok(epochs) => {
                assert_eq!(Ok((epochs.current.value(), epochs.accepted.value(), epochs.to_write.len())), expected)
            }
            Err(why) => assert_eq!(Err(why.to_string().as_str()), expected),
        }
    }

    #[test]
    fn missing_files_mean_the_epoch_of_the_last_transaction() {
        check(&[], Zxid::new(epoch(3), 7), Ok((3, 3, 2)));
        check(&[("currentEpoch", "2"), ("acceptedEpoch", "4\n")], Zxid::new(epoch(2), 7), Ok((2, 4, 0)));
    }

    #[test]
    fn epoch_behind_the_log_is_repaired_from_the_lost_rename_or_refused() {
        let last = Zxid::new(epoch(2), 7);
        check(&[("currentEpoch", "1"), ("acceptedEpoch", "2"), ("currentEpoch.tmp", "2")], last, Ok((2, 2, 1)));
        check(
            &[("currentEpoch", "1"), ("acceptedEpoch", "2")],
            last,
            Err("currentEpoch is 1, older than the last zxid, 0x200000007"),
        );
        check(
            &[("currentEpoch", "2"), ("acceptedEpoch", "1")],
            last,
            Err("acceptedEpoch is 1, less than currentEpoch, 2"),
        );
    }

    #[test]
    fn an_epoch_file_without_a_number_is_refused() {
        check(&[("currentEpoch", "")], Zxid::ZERO, Err("currentEpoch holds \"\", which is no epoch"));
        check(&[("acceptedEpoch", "x1")], Zxid::ZERO, Err("acceptedEpoch holds \"x1\", which is no epoch"));
    }
}
