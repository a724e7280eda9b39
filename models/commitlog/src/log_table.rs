//! The logs of a log dir, by name and by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::TopicPartition;

use crate::Log;

/// A log of one log dir, for whoever asks for it often: finding it by its id compares no names. Never reused: a log that is
/// deleted and created again has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogId(u32);

/// A clone costs two reference counts, the first change of a log after it one pointer per log; the names are shared until a log
/// is created or deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTable {
    names: Arc<BTreeMap<TopicPartition, LogId>>,
    logs: Arc<Vec<Option<Arc<Log>>>>,
}

impl LogTable {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn find(&self, tp: &TopicPartition) -> Option<LogId> {
        self.names.get(tp).copied()
    }

    pub(crate) fn get(&self, id: LogId) -> Option<&Log> {
        self.logs.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: LogId) -> Option<&mut Log> {
        Arc::make_mut(&mut self.logs).get_mut(id.0 as usize)?.as_mut().map(Arc::make_mut)
    }

    /// # Panics
    /// If there is a log of that name.
    pub(crate) fn insert(&mut self, log: Log) -> LogId {
        let id = LogId(u32::try_from(self.logs.len()).expect("fewer logs than fit a u32"));
        let before = Arc::make_mut(&mut self.names).insert(log.tp.clone(), id);
        assert!(before.is_none(), "{} has two logs", log.tp);
        Arc::make_mut(&mut self.logs).push(Some(Arc::new(log)));
        id
    }

    pub(crate) fn remove(&mut self, tp: &TopicPartition) -> Option<Arc<Log>> {
        let id = Arc::make_mut(&mut self.names).remove(tp)?;
        Arc::make_mut(&mut self.logs)[id.0 as usize].take()
    }

    /// In order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Log)> {
        self.names.iter().map(|(tp, &id)| (tp, self.get(id).expect("a name stands for a log")))
    }
}
