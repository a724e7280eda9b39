//! `meta.properties`: which broker of which cluster a log dir belongs to (kafka-broker.md §3.1, steps 3 and 14).

use std::sync::Arc;

use kafkawire::BrokerId;
use machine::disk::{Disk, DiskError};

use crate::checkpoint::{CheckpointFile, Content, Found};
use crate::layout::META_PROPERTIES;

/// The content of `meta.properties`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// `broker.id`.
    pub broker_id: BrokerId,
    /// `cluster.id`; none in a file of a broker before 0.10.1.
    pub cluster_id: Option<Arc<str>>,
}

/// Why `meta.properties` cannot be used: the broker must not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMetaProperties {
    /// There is a file, but its version is not 0 or its broker id no number.
    #[error("meta.properties is malformed")]
    Malformed,
    /// The disk failed.
    #[error("reading meta.properties failed")]
    Disk(#[from] DiskError),
}

impl MetaProperties {
    /// Reads the file of a log dir; none if the log dir is new.
    ///
    /// # Errors
    /// See [`BadMetaProperties`].
    pub fn read(disk: &mut dyn Disk, dir: &str) -> Result<Option<Self>, BadMetaProperties> {
        let path = path(dir);
        match disk.open(&path) {
            Ok(_) => {}
            Err(DiskError::NotFound) => return Ok(None),
            Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error.into()),
        }
        match CheckpointFile::<Option<Self>>::read(disk, &path)? {
            Found::Content(found) => Ok(found),
            Found::Nothing | Found::Malformed => Err(BadMetaProperties::Malformed),
        }
    }
}

pub(crate) fn path(dir: &str) -> String {
    format!("{dir}/{META_PROPERTIES}")
}

/// None is a file that was not written yet.
///
/// `Simplified:` a subset of Java's properties format: no escapes, no continuation lines, none of which a broker writes here;
/// and no comment with the time of writing.
impl Content for Option<MetaProperties> {
    fn encode(&self) -> String {
        let Some(MetaProperties { broker_id, cluster_id }) = self else { return String::new() };
        let cluster_id = cluster_id.as_ref().map_or_else(String::new, |id| format!("cluster.id={id}\n"));
        format!("{cluster_id}version=0\nbroker.id={broker_id}\n")
    }

    fn decode(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        let (mut version, mut broker_id, mut cluster_id) = (None, None, None);
        for line in lines {
            match line.split_once('=')? {
                ("version", value) => version = Some(value),
                ("broker.id", value) => broker_id = Some(BrokerId(value.parse().ok()?)),
                ("cluster.id", value) => cluster_id = Some(Arc::from(value)),
                _ => {}
            }
        }
        if version? == "0" { Some(Some(MetaProperties { broker_id: broker_id?, cluster_id })) } else { None }
    }
}
