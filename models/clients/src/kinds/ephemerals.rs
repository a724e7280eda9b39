//! Ephemerals, and watches on those of others.

use std::sync::Arc;

use jute::Version;
use jute::op::{CreateMode, ErrorCode};
use machine::{Io, Span};
use zkclient::WatchedEvent;

use super::{CHOICE, at, choose_key, directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::{Aim, Done};
use crate::recorder::Recorder;
use crate::{OpKind, Stored, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// Keeps some ephemerals alive, and looks at what others keep.
#[derive(Clone, Debug)]
pub(crate) struct Ephemerals {
    pub(super) dir: Arc<str>,
    /// Own paths: the same ones in every life, so that an ephemeral of an earlier session can be in the way.
    own: Arc<[Arc<str>]>,
    /// Which of them this session has made.
    alive: Vec<bool>,
    stopped: bool,
    think: Span,
}

impl Ephemerals {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let own: Arc<[Arc<str>]> =
            (0..image.keys).map(|key| Arc::from(format!("{dir}/c{}-{key}", image.client))).collect();
        let alive = vec![false; own.len()];
        Self { dir, own, alive, stopped: false, think: image.think }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let key = choose_key(self.own.len(), io);
        let path = &self.own[at(key)];
        let what = match io.draw(CHOICE).below(4) {
            0 => Invocation::get_children(&self.dir, Watch::Yes).aiming(Aim::Chain),
            1 if self.alive[at(key)] => Invocation::delete(path, Some(Version::ZERO)),
            1 | 2 if !self.alive[at(key)] => {
                let writes = Stored { value: recorder.fresh(), token: 0 };
                Invocation::create(path, CreateMode::Ephemeral, Some(writes))
            }
            _ => Invocation::exists(path, Watch::No),
        };
        recorder.invoke(slot, what.about(key), io);
    }

    pub(super) fn on_done(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let key = at(done.subject);
        match done.kind {
            OpKind::CreateEphemeral => {
                if done.is_ok() {
                    self.alive[key] = true;
                } else if done.code == ErrorCode::NodeExists {
                    // Of an earlier session, or of a create whose outcome was unknown: whose it is, exists will tell.
                    return recorder.invoke(
                        done.slot,
                        Invocation::exists(&self.own[key], Watch::Yes).aiming(Aim::Chain).about(done.subject),
                        io,
                    );
                }
            }
            OpKind::Delete => {
                if done.is_ok() || done.code == ErrorCode::NoNode {
                    self.alive[key] = false;
                }
            }
            OpKind::Exists => self.on_exists(done, recorder, io),
            OpKind::GetChildren => {
                if done.is_ok() && !done.result.children.is_empty() && !self.stopped {
                    let child = io.draw(CHOICE).index(done.result.children.len());
                    let path: Arc<str> = Arc::from(format!("{}/{}", self.dir, done.result.children[child]));
                    return recorder.invoke(done.slot, Invocation::get_data(&path, Watch::Yes), io);
                }
            }
            OpKind::GetData => {}
            OpKind::Create
            | OpKind::CreateSequential
            | OpKind::CreateEphemeralSequential
            | OpKind::SyncGetData
            | OpKind::SetData
            | OpKind::Multi
            | OpKind::GetConfig
            | OpKind::Reconfig => panic!("this workload does no {}", done.kind.name()),
            OpKind::CreateContainer
            | OpKind::CreateTtl
            | OpKind::CreateSequentialTtl
            | OpKind::SetAcl
            | OpKind::MixedMulti
            | OpKind::GetAcl
            | OpKind::ListNames
            | OpKind::MultiRead
            | OpKind::GetEphemerals
            | OpKind::CountChildren
            | OpKind::CheckWatches
            | OpKind::RemoveWatches => panic!("this workload does no {}", done.kind.name()),
        }
        rest(done.slot, self.think, recorder, io);
    }

    /// An own path was looked at; those of others are read with `getData`.
    fn on_exists(&mut self, done: &Done, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let key = at(done.subject);
        if done.code == ErrorCode::NoNode {
            self.alive[key] = false;
        } else if let Some(stat) = done.result.stat {
            self.alive[key] = stat.ephemeral_owner == recorder.session();
            if !self.alive[key] {
                io.reach(WorkloadMark::EphemeralOfBefore);
            }
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        // An own znode that goes without being asked to is one of an earlier session.
        if let Some(slot) = recorder.idle_slot()
            && event.consumed.child
            && !self.stopped
            && io.draw(CHOICE).chance(1, 2)
        {
            recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::Yes).aiming(Aim::Chain), io);
        }
    }

    pub(super) fn on_expired(&mut self) {
        self.alive.fill(false);
    }

    pub(super) const fn on_stop(&mut self) {
        self.stopped = true;
    }
}
