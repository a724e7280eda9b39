//! What a loss of power leaves of what was not yet durable.

use serde::{Deserialize, Serialize};

/// Which of the operations that were not yet durable survive a loss of power.
///
/// An operation is one write or one change of length of one file. Entries of the directory follow [`Metadata`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashModel {
    /// None: each file is as its last completed sync left it. The kindest model to a judge, the harshest to data.
    #[default]
    AllUnsyncedLost,
    /// The oldest ones up to a drawn point, in the order they were issued across the whole disk.
    Prefix,
    /// Each on its own, so a later write may survive an earlier one: what a write-back cache really promises.
    AnySubset,
    /// Each sector of each write on its own; a write within one sector survives whole or not at all.
    Torn {
        /// Size of a sector in bytes, not zero: 512, or 4096 on newer devices.
        sector_bytes: u32,
    },
}

/// What makes the entries of a directory (creations, renames, removals) durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metadata {
    /// Each at once, as on a file system mounted with `dirsync`.
    Synchronous,
    /// Any completed sync, of whatever file or of the directory, commits the journal and with it every entry change made
    /// before that sync was begun; of the others a loss of power leaves a *prefix* of their order. As ext4 and XFS do.
    #[default]
    Journaled,
    /// Only a sync of the directory; of the others a loss of power leaves what the crash model says, a subset in any
    /// order under all but [`CrashModel::AllUnsyncedLost`] and [`CrashModel::Prefix`]. All that POSIX promises.
    Strict,
}
