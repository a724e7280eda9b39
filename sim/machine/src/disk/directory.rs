//! The entries of a host's one directory, and which of them are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::file::Sequence;
use super::{FileId, Metadata};

/// Names of files, found from both sides: a broker has thousands. A file has one name at a time.
#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<Arc<str>, FileId>,
    names: BTreeMap<FileId, Arc<str>>,
}

impl Names {
    /// Gives a file a name alone, or takes the one it has; returns the file that had the name before.
    fn set(&mut self, file: FileId, to: Option<&Arc<str>>) -> Option<FileId> {
        if let Some(name) = self.names.remove(&file) {
            self.files.remove(&name);
        }
        let to = to?;
        let replaced = self.files.insert(Arc::clone(to), file);
        if let Some(replaced) = replaced {
            self.names.remove(&replaced);
        }
        self.names.insert(file, Arc::clone(to));
        replaced
    }
}

/// The directory of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    names: Arc<Names>,
    durable: Arc<Names>,
    /// Oldest first.
    unsynced: Vec<EntryChange>,
}

/// One creation, renaming or removal.
#[derive(Clone, Debug)]
pub(super) struct EntryChange {
    pub(super) sequence: Sequence,
    file: FileId,
    /// The name it has from now on; none if it was removed.
    to: Option<Arc<str>>,
    /// A sync of it failed: no later one covers it.
    lost: bool,
}

impl EntryChange {
    /// Applies the change, also where earlier ones are missing: the file ends up with the new name alone. Returns the file
    /// that had the name before.
    fn apply(&self, names: &mut Arc<Names>) -> Option<FileId> {
        Arc::make_mut(names).set(self.file, self.to.as_ref())
    }
}

impl Directory {
    pub(super) fn find(&self, path: &str) -> Option<FileId> {
        self.names.files.get(path).copied()
    }

    pub(super) fn find_durable(&self, path: &str) -> Option<FileId> {
        self.durable.files.get(path).copied()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<str>, FileId)> {
        self.names.files.iter().map(|(path, &file)| (path, file))
    }

    pub(super) fn durable_entries(&self) -> impl Iterator<Item = (&Arc<str>, FileId)> {
        self.durable.files.iter().map(|(path, &file)| (path, file))
    }

    /// The paths that start with `prefix`.
    pub(super) fn list(&self, prefix: &str) -> Vec<String> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        let paths = self.names.files.range::<str, _>(from).map(|(path, _)| path);
        paths.take_while(|path| path.starts_with(prefix)).map(|path| String::from(&**path)).collect()
    }

    /// Gives a file a name, in place of the one it had; returns the file that had this name.
    pub(super) fn name(
        &mut self,
        sequence: Sequence,
        file: FileId,
        to: Arc<str>,
        metadata: Metadata,
    ) -> Option<FileId> {
        self.change(EntryChange { sequence, file, to: Some(to), lost: false }, metadata)
    }

    /// Takes its name from a file.
    pub(super) fn unname(&mut self, sequence: Sequence, file: FileId, metadata: Metadata) {
        self.change(EntryChange { sequence, file, to: None, lost: false }, metadata);
    }

    fn change(&mut self, change: EntryChange, metadata: Metadata) -> Option<FileId> {
        let replaced = change.apply(&mut self.names);
        match metadata {
            Metadata::Synchronous => {
                change.apply(&mut self.durable);
            }
            Metadata::Journaled | Metadata::Strict => self.unsynced.push(change),
        }
        replaced
    }

    /// True if a sync of everything below `covered` would change anything.
    pub(super) fn is_dirty_below(&self, covered: Sequence) -> bool {
        self.dirty().next().is_some_and(|change| change.sequence < covered)
    }

    /// The changes a sync begun now would cover, oldest first.
    pub(super) fn dirty(&self) -> impl Iterator<Item = &EntryChange> {
        self.unsynced.iter().filter(|change| !change.lost)
    }

    /// How many changes are not durable and cannot be any more.
    pub(super) fn lost(&self) -> usize {
        self.unsynced.iter().filter(|change| change.lost).count()
    }

    /// How many changes are not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// A sync that covers everything below `covered` is done.
    pub(super) fn harden(&mut self, covered: Sequence) {
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            let hardens = !change.lost && change.sequence < covered;
            if hardens {
                change.apply(durable);
            }
            !hardens
        });
    }

    /// A sync that covers everything below `covered` failed.
    pub(super) fn lose(&mut self, covered: Sequence) {
        for change in self.unsynced.iter_mut().filter(|change| change.sequence < covered) {
            change.lost = true;
        }
    }

    /// Power is lost: the entries become the durable ones and what survives of the changes, all of it durable.
    pub(super) fn crash(&mut self, mut survives: impl FnMut(&EntryChange) -> bool) {
        for change in std::mem::take(&mut self.unsynced) {
            if !change.lost && survives(&change) {
                change.apply(&mut self.durable);
            }
        }
        self.names = Arc::clone(&self.durable);
    }

    /// Whether a file has a name, or might have one after a crash.
    pub(super) fn is_reachable(&self, file: FileId) -> bool {
        self.is_named(file) || self.unsynced.iter().any(|change| change.file == file)
    }

    /// Whether a file has a name, in the cache or on the device.
    pub(super) fn is_named(&self, file: FileId) -> bool {
        self.names.names.contains_key(&file) || self.durable.names.contains_key(&file)
    }

    /// The files of which a name is not durable yet, or lost.
    pub(super) fn changed(&self) -> BTreeSet<FileId> {
        self.unsynced.iter().map(|change| change.file).collect()
    }
}
