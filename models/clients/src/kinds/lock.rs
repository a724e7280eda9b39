//! The lock recipe, and a resource that is written under it.
//!
//! Whoever is first in [`Line`] holds the lock, for a while. The number of its znode is the *fencing token*: the resource
//! remembers the greatest it has seen and refuses smaller ones, because the holder's belief may be out of date (a paused process,
//! an expired session).

use std::sync::Arc;

use machine::{Instant, Io, Span};
use zkclient::WatchedEvent;

use super::directory;
use super::line::Line;
use crate::invocation::{Invocation, Watch};
use crate::op::{Aim, Done};
use crate::recorder::Recorder;
use crate::{OpKind, Outcome, Stored, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// One contender for one lock.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(super) line: Line,
    pub(super) resource: Arc<str>,
    /// Until when it holds the lock, if it does: then it is first in the line.
    until: Option<Instant>,
    stopped: bool,
    think: Span,
}

impl Lock {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let resource = Arc::from(format!("{dir}-resource"));
        Self { line: Line::new(dir, image), resource, until: None, stopped: false, think: image.think }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let now = io.now();
        let Some(slot) = recorder.free_slot(now) else { return };
        match self.until {
            Some(until) if until <= now => self.release(slot, recorder, io),
            Some(_) => {
                let read = Invocation::get_data(&self.resource, Watch::No).aiming(Aim::Chain);
                recorder.invoke(slot, read, io);
            }
            None => {
                if self.line.is_outside() && !self.stopped {
                    self.line.join(slot, recorder, io);
                }
            }
        }
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.until.is_some() {
            assert!(matches!(done.kind, OpKind::GetData | OpKind::SetData), "a holder uses the resource");
            return self.on_resource(&done, recorder, io);
        }
        self.line.on_done(done, recorder, io);
        self.acquire_if_first(recorder, io);
    }

    fn acquire_if_first(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some((own, token)) = self.line.first() else { return };
        io.state(WorkloadFact::LockAcquired {
            client: recorder.client(),
            lock: Arc::clone(&self.line.dir),
            session: recorder.session(),
            token,
            path: Arc::clone(own),
        });
        self.until = Some(io.now().saturating_add(self.think));
    }

    fn token(&self) -> u64 {
        let (_, token) = self.line.first().expect("only who is first holds the lock");
        token
    }

    /// From here on it no longer believes that it holds the lock; no write of its own is on the way.
    fn release(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.give_up(false, recorder, io);
        self.line.leave(slot, recorder, io);
    }

    fn give_up(&mut self, expired: bool, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let (client, lock, token) = (recorder.client(), Arc::clone(&self.line.dir), self.token());
        self.until = None;
        io.state(WorkloadFact::LockReleased { client, lock, token, expired });
    }

    /// A read of the resource goes on to a conditional write; what ends otherwise ends a holder that is to stop.
    fn on_resource(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if done.outcome == Outcome::Unknown {
            if self.stopped {
                self.give_up(false, recorder, io);
                self.line.leave_later(io);
            }
            return;
        }
        let refused = if done.kind == OpKind::GetData {
            self.on_resource_read(done, recorder, io)
        } else {
            self.on_resource_written(done, recorder, io);
            false
        };
        if (self.stopped || refused) && recorder.idle_slot() == Some(done.slot) {
            self.release(done.slot, recorder, io);
        }
    }

    /// A version that moved on is another holder's write, or an own one whose outcome was unknown: the next tick reads again.
    fn on_resource_written(&self, done: &Done, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let token = self.token();
        let Some(stat) = done.result.stat.filter(|_| done.is_ok()) else { return };
        io.state(WorkloadFact::ResourceWrite {
            client: recorder.client(),
            resource: Arc::clone(&self.resource),
            token,
            accepted: true,
            seen: token,
            version: Some(stat.version),
            value: done.wrote,
        });
    }

    /// The resource compares tokens: a read and a write of the version that was read are its two halves. True if it refuses.
    fn on_resource_read(&self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) -> bool {
        let token = self.token();
        let (Some(stat), Some(stored)) = (done.result.stat, done.result.stored) else { return false };
        if stored.token > token {
            // Somebody else holds the lock by now: the belief was wrong.
            io.reach(WorkloadMark::TokenRefused);
            io.state(WorkloadFact::ResourceWrite {
                client: recorder.client(),
                resource: Arc::clone(&self.resource),
                token,
                accepted: false,
                seen: stored.token,
                version: Some(stat.version),
                value: None,
            });
            return true;
        }
        if !self.stopped {
            let writes = Stored { value: recorder.fresh(), token };
            let set = Invocation::set_data(&self.resource, writes, Some(stat.version));
            recorder.invoke(done.slot, set, io);
        }
        false
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.line.on_watch(event, recorder, io);
    }

    pub(super) fn on_expired(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.until.is_some() {
            io.reach(WorkloadMark::LockExpired);
            self.give_up(true, recorder, io);
        }
        self.line.on_expired();
    }

    pub(super) fn on_stop(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stopped = true;
        self.line.stop(recorder, io);
        if let (Some(_), Some(slot)) = (self.until, recorder.idle_slot()) {
            self.release(slot, recorder, io);
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        self.line.next_wake()
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.line.on_woken(recorder, io);
    }
}
