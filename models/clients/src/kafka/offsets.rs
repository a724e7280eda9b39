//! A group's offsets in ZooKeeper: `/consumers/G/offsets/T/P`, decimal text, overwritten whatever version is there
//! (kafka-broker.md §2.1, §6.10).
//!
//! A read goes behind a `sync`, so that what it finds is no older than what was committed before it was asked. A commit is a
//! setData; where nothing is yet it creates the znode with its parents.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jute::op::{CreateMode, ErrorCode};
use kafkawire::{Offset, Topic, TopicPartition, znode};
use machine::Io;

use super::session::{Answer, Session, Watch, parents};
use super::{KafkaClient, KafkaClientMark, KafkaWorkFact};

/// What an operation of the store was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetOp {
    /// The sync before a read.
    Sync { partition: i32 },
    /// The read.
    Read { partition: i32 },
    /// The commit's setData.
    Set { partition: i32 },
    /// A parent of the commit's znode, by its depth.
    Parent { partition: i32, depth: usize },
    /// The commit's create.
    Create { partition: i32 },
}

/// What a consumer does about a commit whose connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenLost {
    /// Nobody knows whether it was written; the next interval writes again.
    GiveUp,
    /// It is tried again until it is answered, in a later session if it must be: the ZooKeeper client of 0.8 blocks its caller
    /// until it is connected, and a zombie's commit then overwrites its successor's.
    TryAgain,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetEvent {
    /// The group's offset was read.
    Fetched { partition: i32, offset: Option<Offset> },
    /// A commit ended, in whatever way.
    Committed { partition: i32 },
}

#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// The sync before it succeeded.
    is_synced: bool,
    /// It was asked for once more: what it finds may be too old for who asked last.
    is_stale: bool,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    number: u64,
    offset: Offset,
}

/// A group's offsets in one topic.
#[derive(Clone, Debug)]
pub(crate) struct OffsetStore {
    client: u16,
    group: Arc<str>,
    topic: Topic,
    when_lost: WhenLost,
    /// Reads under way.
    reads: BTreeMap<i32, Read>,
    commits: BTreeMap<i32, Commit>,
    /// What is known to be written, by this client.
    committed: BTreeMap<i32, Offset>,
    commits_begun: u64,
}

impl OffsetStore {
    pub(crate) const fn new(client: u16, group: Arc<str>, topic: Topic, when_lost: WhenLost) -> Self {
        Self {
            client,
            group,
            topic,
            when_lost,
            reads: BTreeMap::new(),
            commits: BTreeMap::new(),
            committed: BTreeMap::new(),
            commits_begun: 0,
        }
    }

    fn path(&self, partition: i32) -> String {
        znode::consumer_offset(&self.group, &TopicPartition::new(self.topic.clone(), partition))
    }

    /// Reads the group's offset of a partition; one that is being read is read again before it is told.
    pub(crate) fn fetch<P: From<OffsetOp>>(
        &mut self,
        partition: i32,
        session: &mut Session<P>,
        io: &mut Io<'_, KafkaClient>,
    ) {
        if let Some(read) = self.reads.get_mut(&partition) {
            read.is_stale = true;
            return;
        }
        self.reads.insert(partition, Read::default());
        io.state(KafkaWorkFact::OffsetFetchInvoked {
            client: self.client,
            group: Arc::clone(&self.group),
            topic: self.topic.clone(),
            partition,
        });
        session.sync(OffsetOp::Sync { partition }, self.path(partition), io);
        session.data(OffsetOp::Read { partition }, self.path(partition), Watch::None, io);
    }

    /// Writes the group's offset of a partition, unless it is known to be there or a commit is under way.
    pub(crate) fn commit<P: From<OffsetOp>>(
        &mut self,
        partition: i32,
        offset: Offset,
        session: &mut Session<P>,
        io: &mut Io<'_, KafkaClient>,
    ) {
        if self.commits.contains_key(&partition) || self.committed.get(&partition) == Some(&offset) {
            return;
        }
        self.commits_begun += 1;
        let commit = Commit { number: self.commits_begun, offset };
        self.commits.insert(partition, commit);
        io.state(KafkaWorkFact::OffsetCommitInvoked {
            client: self.client,
            commit: commit.number,
            group: Arc::clone(&self.group),
            topic: self.topic.clone(),
            partition,
            offset,
        });
        session.set(OffsetOp::Set { partition }, self.path(partition), znode::encode_offset(offset), io);
    }

    /// Whether a commit is under way.
    pub(crate) fn is_committing(&self) -> bool {
        !self.commits.is_empty()
    }

    /// Whether a commit of another offset is under way.
    pub(crate) fn is_committing_other(&self, partition: i32, offset: Offset) -> bool {
        self.commits.get(&partition).is_some_and(|commit| commit.offset != offset)
    }

    /// The first commit that is under way, in words.
    pub(crate) fn pending(&self) -> Option<String> {
        let (partition, commit) = self.commits.first_key_value()?;
        Some(format!("the commit of {} to {}-{partition} has no outcome", commit.offset, self.topic))
    }

    /// Another member may write from now on: what was written last is no longer known.
    pub(crate) fn forget(&mut self) {
        self.committed.clear();
    }

    pub(crate) fn on_answer<P: From<OffsetOp>>(
        &mut self,
        op: OffsetOp,
        answer: Answer,
        session: &mut Session<P>,
        io: &mut Io<'_, KafkaClient>,
    ) -> Option<OffsetEvent> {
        match op {
            OffsetOp::Sync { partition } => {
                let read = self.reads.get_mut(&partition).expect("a sync is before a read");
                read.is_synced = answer == Answer::Done;
                None
            }
            OffsetOp::Read { partition } => self.on_read(partition, answer, session, io),
            OffsetOp::Set { partition } => match answer {
                Answer::Refused(ErrorCode::NoNode) => {
                    self.create_parent(partition, 0, session, io);
                    None
                }
                Answer::Lost if self.when_lost == WhenLost::TryAgain => {
                    self.set_again(partition, session, io);
                    None
                }
                Answer::Data { .. } | Answer::Children(_) | Answer::Done | Answer::Refused(_) | Answer::Lost => {
                    self.end(partition, &answer, io)
                }
            },
            OffsetOp::Parent { partition, depth } => match answer {
                Answer::Done | Answer::Refused(ErrorCode::NodeExists) => {
                    self.create_parent(partition, depth + 1, session, io);
                    None
                }
                Answer::Lost if self.when_lost == WhenLost::TryAgain => {
                    self.create_parent(partition, depth, session, io);
                    None
                }
                // Nothing was written to the znode itself.
                Answer::Data { .. } | Answer::Children(_) | Answer::Refused(_) | Answer::Lost => {
                    self.end(partition, &Answer::Refused(ErrorCode::NoNode), io)
                }
            },
            OffsetOp::Create { partition } => match answer {
                // Somebody else created it, or an earlier create of this commit did.
                Answer::Refused(ErrorCode::NodeExists) => {
                    self.set_again(partition, session, io);
                    None
                }
                Answer::Lost if self.when_lost == WhenLost::TryAgain => {
                    self.set_again(partition, session, io);
                    None
                }
                Answer::Data { .. } | Answer::Children(_) | Answer::Done | Answer::Refused(_) | Answer::Lost => {
                    self.end(partition, &answer, io)
                }
            },
        }
    }

    fn on_read<P: From<OffsetOp>>(
        &mut self,
        partition: i32,
        answer: Answer,
        session: &mut Session<P>,
        io: &mut Io<'_, KafkaClient>,
    ) -> Option<OffsetEvent> {
        let read = self.reads.remove(&partition).expect("a read was begun");
        let counts = read.is_synced && !read.is_stale;
        let offset = match answer {
            Answer::Data { data, .. } if counts => {
                Some(znode::decode_offset(&data).expect("consumers write offsets in decimal"))
            }
            Answer::Refused(ErrorCode::NoNode) if counts => None,
            // A read behind a sync that was lost proves nothing.
            Answer::Data { .. } | Answer::Refused(_) | Answer::Lost | Answer::Children(_) | Answer::Done => {
                self.fetch(partition, session, io);
                return None;
            }
        };
        io.state(KafkaWorkFact::OffsetFetched {
            client: self.client,
            group: Arc::clone(&self.group),
            topic: self.topic.clone(),
            partition,
            offset: offset.unwrap_or(Offset(-1)),
        });
        if let Some(offset) = offset {
            self.committed.insert(partition, offset);
        }
        Some(OffsetEvent::Fetched { partition, offset })
    }

    fn set_again<P: From<OffsetOp>>(&mut self, partition: i32, session: &mut Session<P>, io: &mut Io<'_, KafkaClient>) {
        let data = znode::encode_offset(self.commits[&partition].offset);
        session.set(OffsetOp::Set { partition }, self.path(partition), data, io);
    }

    /// Creates the parent at this depth, or the znode itself below the last one.
    fn create_parent<P: From<OffsetOp>>(
        &mut self,
        partition: i32,
        depth: usize,
        session: &mut Session<P>,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let path = self.path(partition);
        match parents(&path).into_iter().nth(depth) {
            Some(parent) => {
                let op = OffsetOp::Parent { partition, depth };
                session.create(op, parent, Bytes::new(), CreateMode::Persistent, io);
            }
            None => {
                let data = znode::encode_offset(self.commits[&partition].offset);
                session.create(OffsetOp::Create { partition }, path, data, CreateMode::Persistent, io);
            }
        }
    }

    fn end(&mut self, partition: i32, answer: &Answer, io: &mut Io<'_, KafkaClient>) -> Option<OffsetEvent> {
        let commit = self.commits.remove(&partition).expect("a commit that ends was begun");
        let outcome = match answer {
            Answer::Done => {
                self.committed.insert(partition, commit.offset);
                "ok"
            }
            Answer::Refused(_) => "failed",
            Answer::Lost => {
                io.reach(KafkaClientMark::CommitUnknown);
                self.committed.remove(&partition);
                "unknown"
            }
            Answer::Data { .. } | Answer::Children(_) => panic!("a write is not answered by {answer:?}"),
        };
        io.state(KafkaWorkFact::OffsetCommitCompleted {
            client: self.client,
            commit: commit.number,
            group: Arc::clone(&self.group),
            topic: self.topic.clone(),
            partition,
            offset: commit.offset,
            outcome,
        });
        Some(OffsetEvent::Committed { partition })
    }
}
