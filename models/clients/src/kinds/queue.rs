//! The queue recipe (Curator's `SimpleDistributedQueue`).
//!
//! An element is a persistent sequential znode. Whoever wants one lists the queue and tries the elements in the order of their
//! numbers: it reads the element, and has it if its delete succeeds; another consumer was faster if there is none. The delete of
//! an element is what takes it, so each is taken at most once; a delete that ended unknown may have taken it, and nobody
//! tries to find out: the caller is told that it is so.
//!
//! `Simplified:` there is no `take` that waits for an element with a child watch, only `poll`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode};
use machine::{Instant, Io, Span};

use super::line::{RETRY, SEQUENCE_DIGITS};
use super::{CHOICE, directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{Misuse, OpKind, Outcome, RecipeCall, Stored, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// What begins the name of an element.
const PREFIX: &str = "qn-";

/// What a process is doing.
#[derive(Clone, Debug)]
enum Doing {
    /// It creates an element of this value.
    Putting { value: u64 },
    /// It lists the queue.
    Listing,
    /// It reads the first of these elements.
    Reading { names: VecDeque<String> },
    /// It deletes the first of these elements, which has this value.
    Taking { names: VecDeque<String>, value: u64 },
}

/// A call that is open.
#[derive(Clone, Debug)]
struct Call {
    number: u64,
    doing: Doing,
}

/// Puts elements into one queue, and takes them out.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(super) dir: Arc<str>,
    /// By the process that made the call.
    calls: BTreeMap<usize, Call>,
    stopped: bool,
    /// When it takes the next element of those that are left behind the stop.
    drain_at: Option<Instant>,
    takes_what_is_gone: bool,
    think: Span,
}

impl Queue {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        Self {
            dir: directory(image),
            calls: BTreeMap::new(),
            stopped: false,
            drain_at: None,
            takes_what_is_gone: image.misuses.has(Misuse::TakesWhatIsGone),
            think: image.think,
        }
    }

    fn path_of(&self, name: &str) -> Arc<str> {
        Arc::from(format!("{}/{name}", self.dir))
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        // A little more is taken than put, so that queues are short and often empty.
        if io.draw(CHOICE).chance(4, 9) { self.put(slot, recorder, io) } else { self.take(slot, recorder, io) }
    }

    fn put(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let value = recorder.fresh();
        self.call(slot, RecipeCall::Enqueue, Some(value), Doing::Putting { value }, recorder, io);
        let prefix = self.path_of(PREFIX);
        let create = Invocation::create(&prefix, CreateMode::PersistentSequential, Some(Stored { value, token: 0 }));
        recorder.invoke(slot, create, io);
    }

    fn take(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.call(slot, RecipeCall::Dequeue, None, Doing::Listing, recorder, io);
        recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
    }

    fn call(
        &mut self,
        slot: usize,
        kind: RecipeCall,
        value: Option<u64>,
        doing: Doing,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        let number = recorder.fresh();
        let before = self.calls.insert(slot, Call { number, doing });
        assert!(before.is_none(), "a process makes one call at a time");
        let (client, object, session) = (recorder.client(), Arc::clone(&self.dir), recorder.session());
        io.state(WorkloadFact::RecipeInvoked { client, call: number, kind, object, session, value });
    }

    /// A call ends with this element, if with any.
    fn end(
        &mut self,
        slot: usize,
        kind: RecipeCall,
        outcome: Outcome,
        element: Option<(u64, Option<u64>)>,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        let Call { number: call, .. } = self.calls.remove(&slot).expect("a call ends once");
        io.state(WorkloadFact::RecipeReturned {
            client: recorder.client(),
            call,
            kind,
            object: Arc::clone(&self.dir),
            session: recorder.session(),
            outcome,
            value: element.map(|(value, _)| value),
            number: element.and_then(|(_, number)| number),
        });
        rest(slot, self.think, recorder, io);
        if self.stopped {
            let is_empty = kind == RecipeCall::Dequeue && outcome == Outcome::Ok && element.is_none();
            self.drain_at = (!is_empty).then(|| io.now() + if outcome == Outcome::Ok { Span::ZERO } else { RETRY });
        }
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Call { doing, .. } = self.calls.get(&done.slot).expect("an operation is part of a call").clone();
        match (doing, done.kind) {
            (Doing::Putting { value }, OpKind::CreateSequential) => {
                let outcome = if done.outcome == Outcome::Ok && !done.is_ok() { Outcome::Failed } else { done.outcome };
                let number = done.result.created.as_deref().and_then(number_of);
                self.end(done.slot, RecipeCall::Enqueue, outcome, Some((value, number)), recorder, io);
            }
            (Doing::Listing, OpKind::GetChildren) => {
                if !done.is_ok() {
                    return self.give_up(done.slot, recorder, io);
                }
                let mut names: Vec<_> =
                    done.result.children.into_iter().filter(|name| name.starts_with(PREFIX)).collect();
                if names.is_empty() {
                    return self.end(done.slot, RecipeCall::Dequeue, Outcome::Ok, None, recorder, io);
                }
                names.sort_unstable();
                self.try_first(done.slot, names.into(), recorder, io);
            }
            (Doing::Reading { names }, OpKind::GetData) => match done.result.stored {
                Some(stored) if done.is_ok() => {
                    let path = self.path_of(&names[0]);
                    self.set(done.slot, Doing::Taking { names, value: stored.value });
                    recorder.invoke(done.slot, Invocation::delete(&path, None), io);
                }
                _ if done.code == ErrorCode::NoNode && done.outcome == Outcome::Ok => {
                    self.try_next(done.slot, names, recorder, io);
                }
                _ => self.give_up(done.slot, recorder, io),
            },
            (Doing::Taking { names, value }, OpKind::Delete) => {
                self.on_deleted(&done, names, value, recorder, io);
            }
            (Doing::Putting { .. } | Doing::Listing | Doing::Reading { .. } | Doing::Taking { .. }, kind) => {
                panic!("{} of {} ended while {:?}", kind.name(), done.path, self.calls[&done.slot].doing)
            }
        }
    }

    fn on_deleted(
        &mut self,
        done: &Done,
        names: VecDeque<String>,
        value: u64,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        let is_gone = done.outcome == Outcome::Ok && done.code == ErrorCode::NoNode;
        if is_gone && !self.takes_what_is_gone {
            io.reach(WorkloadMark::ElementTaken);
            return self.try_next(done.slot, names, recorder, io);
        }
        if done.outcome == Outcome::Unknown {
            io.reach(WorkloadMark::ElementUncertain);
        }
        let element = (value, number_of(&names[0]));
        self.end(done.slot, RecipeCall::Dequeue, done.outcome, Some(element), recorder, io);
    }

    /// A read failed: nothing was taken.
    fn give_up(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.end(slot, RecipeCall::Dequeue, Outcome::Failed, None, recorder, io);
    }

    fn set(&mut self, slot: usize, doing: Doing) {
        self.calls.get_mut(&slot).expect("the call is open").doing = doing;
    }

    fn try_first(
        &mut self,
        slot: usize,
        names: VecDeque<String>,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        let path = self.path_of(&names[0]);
        self.set(slot, Doing::Reading { names });
        recorder.invoke(slot, Invocation::get_data(&path, Watch::No), io);
    }

    fn try_next(
        &mut self,
        slot: usize,
        mut names: VecDeque<String>,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        names.pop_front();
        if names.is_empty() {
            self.set(slot, Doing::Listing);
            return recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
        }
        self.try_first(slot, names, recorder, io);
    }

    /// What is left is taken by whoever comes first.
    pub(super) fn on_stop(&mut self, io: &Io<'_, ZkWorkload>) {
        self.stopped = true;
        self.drain_at = Some(io.now());
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        self.drain_at
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.drain_at.is_none_or(|at| at > io.now()) {
            return;
        }
        self.drain_at = None;
        if !self.calls.is_empty() {
            // The end of the last one drains on.
            return;
        }
        match recorder.idle_slot().filter(|_| !recorder.session().is_zero()) {
            Some(slot) => self.take(slot, recorder, io),
            // Between two sessions, or a probe of whether the ensemble serves again is open.
            None => self.drain_at = Some(io.now() + RETRY),
        }
    }
}

/// The number at the end of an element's name or path.
fn number_of(name: &str) -> Option<u64> {
    name.get(name.len().checked_sub(SEQUENCE_DIGITS)?..)?.parse().ok()
}
