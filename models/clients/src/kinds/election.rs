//! The leader election recipe, with an epoch, and a resource that only the leader of the present epoch may write.
//!
//! Whoever is first in [`Line`] may lead. It claims an epoch before it does: it reads the epoch's znode and sets the next one by the
//! version that it read. Each of its writes is a multi that checks this version, so that the servers refuse what a leader writes
//! that was deposed and has not heard of it. As Curator's `LeaderLatch`, a leader whose connection is gone no longer
//! believes that it leads, long before its session expires; it claims another epoch when it is connected again and still first.
//!
//! A candidate stays a candidate when its workload stops: somebody must lead for as long as the servers serve.
//!
//! ```text
//!   line: first ─▶ reading ─▶ claiming ─▶ leading ──▶ each tick: multi(check epoch, set resource)
//!     ▲                │          │          │ refused: leave the line, stand again
//!     └────────────────┴──────────┘◀─────────┘ disconnected: look again when connected
//! ```

use std::sync::Arc;

use jute::Version;
use jute::client::{CheckVersionRequest, MultiOp, OpResult};
use machine::{Instant, Io};
use zkclient::WatchedEvent;

use super::line::{Line, RETRY};
use super::{CHOICE, directory};
use crate::invocation::{Invocation, Watch, set_data_request};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{Misuse, OpKind, Outcome, Stored, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// A leader gives its office up behind so many ticks on average, so that there are many elections.
const TICKS_IN_OFFICE: u64 = 50;

/// What who is first in the line has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Office {
    /// It is not first, or has just become it.
    Vacant,
    /// The present epoch is being read.
    Reading,
    /// The next epoch is being claimed.
    Claiming { epoch: u64 },
    /// It leads: the epoch's znode has this version as long as nobody claims another.
    Leading { epoch: u64, version: Version },
}

/// One candidate of one election.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    line: Line,
    epoch: Arc<str>,
    resource: Arc<str>,
    office: Office,
    /// The epoch under which the write that is open was made.
    writing: u64,
    /// When it stands again: whoever stood once does.
    stand_at: Option<Instant>,
    leads_on: bool,
}

impl Election {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        Self {
            epoch: Arc::from(format!("{dir}-epoch")),
            resource: Arc::from(format!("{dir}-resource")),
            line: Line::new(dir, image),
            office: Office::Vacant,
            writing: 0,
            stand_at: None,
            leads_on: image.misuses.has(Misuse::LeadsOn),
        }
    }

    pub(super) fn dir(&self) -> &Arc<str> {
        &self.line.dir
    }

    pub(super) fn keys(&self) -> [&Arc<str>; 2] {
        [&self.epoch, &self.resource]
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        if let Office::Leading { epoch, version } = self.office {
            if io.draw(CHOICE).chance(1, TICKS_IN_OFFICE) {
                self.give_up(false, recorder, io);
                return self.leave(slot, recorder, io);
            }
            return self.write(slot, epoch, version, recorder, io);
        }
        if self.line.is_outside() && self.stand_at.is_none() {
            self.stand(slot, recorder, io);
        }
    }

    fn stand(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stand_at = None;
        if self.line.join(slot, recorder, io) {
            let (client, election, session) = (recorder.client(), Arc::clone(self.dir()), recorder.session());
            io.state(WorkloadFact::CandidateStood { client, election, session });
        } else {
            self.stand_at = Some(io.now() + RETRY);
        }
    }

    /// A multi: the epoch is still the one that was claimed, and the resource is written.
    fn write(
        &mut self,
        slot: usize,
        epoch: u64,
        version: Version,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        self.writing = epoch;
        let writes = Stored { value: recorder.fresh(), token: epoch };
        let check = MultiOp::Check(CheckVersionRequest { path: self.epoch.as_ref().to_owned(), version });
        let set = MultiOp::SetData(set_data_request(&self.resource, writes, None));
        let ops = if self.leads_on { vec![set] } else { vec![check, set] };
        recorder.invoke(slot, Invocation::multi(&self.resource, ops, writes), io);
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match (self.office, done.kind) {
            (_, OpKind::Multi) => self.on_written(&done, recorder, io),
            (Office::Reading, OpKind::GetData) => self.on_epoch_read(&done, recorder, io),
            (Office::Claiming { epoch }, OpKind::SetData) => self.on_claimed(&done, epoch, recorder, io),
            (Office::Vacant | Office::Reading | Office::Claiming { .. } | Office::Leading { .. }, _) => {
                let slot = done.slot;
                self.line.on_done(done, recorder, io);
                if self.line.is_first() {
                    self.office = Office::Reading;
                    recorder.invoke(slot, Invocation::get_data(&self.epoch, Watch::No), io);
                } else if self.line.is_outside() {
                    self.stand_at = Some(io.now() + RETRY);
                }
            }
        }
    }

    /// Whoever is first may find that it is not, when it looks again.
    fn look_later(&mut self, io: &Io<'_, ZkWorkload>) {
        self.office = Office::Vacant;
        self.line.look_later(io);
    }

    fn on_epoch_read(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let (true, Some(stat)) = (done.is_ok(), done.result.stat) else { return self.look_later(io) };
        let epoch = done.result.stored.map_or(0, |stored| stored.token) + 1;
        self.office = Office::Claiming { epoch };
        let writes = Stored { value: recorder.fresh(), token: epoch };
        recorder.invoke(done.slot, Invocation::set_data(&self.epoch, writes, Some(stat.version)), io);
    }

    /// A claim that ended unknown may be there: the next one is for an epoch after it.
    fn on_claimed(&mut self, done: &Done, epoch: u64, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let (true, Some(stat)) = (done.is_ok(), done.result.stat) else { return self.look_later(io) };
        let (path, _) = self.line.first().expect("only who is first claims an epoch");
        self.office = Office::Leading { epoch, version: stat.version };
        io.state(WorkloadFact::LeadershipTaken {
            client: recorder.client(),
            election: Arc::clone(self.dir()),
            session: recorder.session(),
            epoch,
            path: Arc::clone(path),
        });
    }

    fn on_written(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if done.is_ok() {
            let Some(OpResult::SetData(set)) = done.result.parts.last() else { panic!("its last part sets data") };
            return io.state(WorkloadFact::ResourceWrite {
                client: recorder.client(),
                resource: Arc::clone(&self.resource),
                token: self.writing,
                accepted: true,
                seen: self.writing,
                version: Some(set.stat.version),
                value: done.wrote,
            });
        }
        if done.outcome == Outcome::Ok && matches!(self.office, Office::Leading { .. }) {
            // Somebody has claimed a later epoch: the belief was wrong.
            io.reach(WorkloadMark::LeaderDeposed);
            self.give_up(false, recorder, io);
            self.leave(done.slot, recorder, io);
        }
    }

    /// Whoever leads in a session that is not its first has no place in the line any more (R02).
    fn leave(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.line.is_first() {
            self.line.leave(slot, recorder, io);
        } else {
            self.stand_at = Some(io.now() + RETRY);
        }
    }

    fn give_up(&mut self, expired: bool, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Office::Leading { epoch, .. } = self.office else { panic!("only a leader gives up") };
        self.office = Office::Vacant;
        let (client, election) = (recorder.client(), Arc::clone(self.dir()));
        io.state(WorkloadFact::LeadershipGivenUp { client, election, epoch, expired });
    }

    pub(super) fn on_connected(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        // Between two connections it had given up; else it is looking already.
        if self.line.is_first() && self.office == Office::Vacant {
            match recorder.idle_slot() {
                Some(slot) => self.line.look(slot, recorder, io),
                None => self.line.look_later(io),
            }
        }
    }

    /// What was open has ended by now.
    pub(super) fn on_disconnected(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        if let Office::Leading { .. } = self.office
            && !self.leads_on
        {
            io.reach(WorkloadMark::LeaderSuspended);
            self.give_up(false, recorder, io);
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.line.on_watch(event, recorder, io);
    }

    pub(super) fn on_expired(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        if let Office::Leading { .. } = self.office {
            if self.leads_on {
                return self.line.on_expired();
            }
            self.give_up(true, recorder, io);
        }
        self.office = Office::Vacant;
        if !self.line.is_outside() {
            self.stand_at = Some(io.now() + RETRY);
        }
        self.line.on_expired();
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        [self.stand_at, self.line.next_wake()].into_iter().flatten().min()
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.stand_at.is_some_and(|at| at <= io.now()) {
            match recorder.idle_slot() {
                Some(slot) => self.stand(slot, recorder, io),
                // A probe of whether the ensemble serves again is open.
                None => self.stand_at = Some(io.now() + RETRY),
            }
        }
        self.line.on_woken(recorder, io);
    }
}
