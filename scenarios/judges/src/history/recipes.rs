//! Calls of recipes from invocation to return: what the judges of queues and barriers look at (invariants-and-faults.md §3.1).
//!
//! The outcomes are those of operations, but the calls are other than ZooKeeper's: an enqueue, a wait at a barrier. What each may
//! show is the business of its judge; here is only what happened, and when sessions were known to live.

use std::collections::BTreeMap;
use std::sync::Arc;

use clients::RecipeCall as Kind;
use jute::SessionId;
use machine::HostId;

use super::OperationOutcome;
use super::record::{Anomaly, History, Stamp};
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// A call that begins.
#[derive(Clone, Debug)]
pub struct RecipeCall {
    /// Its number, unique in a run.
    pub number: u64,
    /// Who makes it.
    pub client: u16,
    /// What it is.
    pub kind: Kind,
    /// The queue, the barrier or the round.
    pub object: Arc<str>,
    /// In which session it begins.
    pub session: SessionId,
    /// The element that is put, or how many members there are.
    pub value: Option<u64>,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub struct RecipeEnd {
    /// The call's number.
    pub number: u64,
    /// In which session it ended.
    pub session: SessionId,
    /// How.
    pub outcome: OperationOutcome,
    /// The element that was taken, or may have been; of an entry, the creation of what lets everybody in.
    pub value: Option<u64>,
    /// The element's place in the queue; of an entry, the creation of the member's znode.
    pub place: Option<u64>,
}

/// A call with its end, if it had one.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) call: RecipeCall,
    pub(super) invoked: Stamp,
    pub(super) end: Option<(RecipeEnd, Stamp)>,
}

impl Recorded {
    /// The end of a call that certainly did what it was asked for.
    pub(super) fn succeeded(&self) -> Option<(RecipeEnd, Stamp)> {
        self.end.filter(|(end, _)| end.outcome == OperationOutcome::Ok)
    }

    /// Whether it certainly did nothing.
    pub(super) fn failed(&self) -> bool {
        self.end.is_some_and(|(end, _)| end.outcome == OperationOutcome::Failed)
    }
}

/// What recipes were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipes {
    open: BTreeMap<u64, Recorded>,
    /// By object, in the order of their ends; those whose clients died stand where these died.
    ended: BTreeMap<Arc<str>, Vec<Recorded>>,
    /// The beginning of the last write of each session that was answered: the session lived then.
    wrote: BTreeMap<SessionId, u64>,
}

/// What the judges of recipes did.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How often each rule was held against something.
    pub(super) judged: Vec<(Rule, u64)>,
    /// What was not met, and is no violation.
    pub(super) relaxed: Vec<(Rule, &'static str, u64)>,
}

impl Recipes {
    pub(super) fn session_wrote(&mut self, session: SessionId, invoked: u64) {
        let last = self.wrote.entry(session).or_default();
        *last = invoked.max(*last);
    }

    /// Whether a session certainly lived behind this place of the history: it began a write there which was answered.
    pub(super) fn has_lived_beyond(&self, session: SessionId, place: u64) -> bool {
        self.wrote.get(&session).is_some_and(|&last| last > place)
    }

    /// The process of a client begins, or begins again: what it was waiting for before, nobody waits for.
    fn client_begins(&mut self, host: HostId) {
        let dead: Vec<u64> =
            self.open.iter().filter(|(_, call)| call.invoked.moment.host == host).map(|(&number, _)| number).collect();
        for number in dead {
            if let Some(call) = self.open.remove(&number) {
                self.ended.entry(Arc::clone(&call.call.object)).or_default().push(call);
            }
        }
    }

    /// Who waits for what has happened: nobody who is asked for may at the end.
    fn stuck(&self, is_asked: impl Fn(HostId) -> bool) -> Option<(&Recorded, &'static str)> {
        self.open.values().filter(|call| is_asked(call.invoked.moment.host)).find_map(|call| {
            let ended = self.ended.get(&call.call.object).map_or(&[][..], Vec::as_slice);
            let was = |kind| ended.iter().any(|other| other.call.kind == kind && other.succeeded().is_some());
            let why = match call.call.kind {
                Kind::WaitAtBarrier if was(Kind::LiftBarrier) => "waits at a barrier that was lifted",
                Kind::Enter if was(Kind::Enter) => "waits to enter what others have entered",
                Kind::Leave => "waits to leave",
                Kind::Enqueue
                | Kind::Dequeue
                | Kind::SetBarrier
                | Kind::LiftBarrier
                | Kind::WaitAtBarrier
                | Kind::Enter => return None,
            };
            Some((call, why))
        })
    }
}

impl History {
    /// Judges every queue and every barrier.
    pub(super) fn judge_recipes(&mut self) -> Judged {
        let recipes = std::mem::take(&mut self.recipes);
        let mut objects = recipes.ended.clone();
        for call in recipes.open.values() {
            objects.entry(Arc::clone(&call.call.object)).or_default().push(call.clone());
        }
        let mut judged = Judged::default();
        for (object, calls) in &objects {
            let anomalies = match calls.first().map(|call| call.call.kind) {
                Some(Kind::Enqueue | Kind::Dequeue) => super::queue::judge(object, calls, &mut judged),
                Some(Kind::SetBarrier | Kind::LiftBarrier | Kind::WaitAtBarrier) => {
                    super::barriers::judge_barrier(object, calls, &mut judged)
                }
                Some(Kind::Enter | Kind::Leave) => {
                    super::barriers::judge_double_barrier(object, calls, &recipes, &mut judged)
                }
                None => Vec::new(),
            };
            anomalies.into_iter().for_each(|anomaly| self.add(anomaly));
        }
        self.recipes = recipes;
        judged
    }
}

impl Judged {
    pub(super) fn checked(&mut self, rule: Rule, times: usize) {
        self.judged.push((rule, times as u64));
    }

    pub(super) fn relax(&mut self, rule: Rule, reason: &'static str, times: u64) {
        if times > 0 {
            self.relaxed.push((rule, reason, times));
        }
    }
}

/// An anomaly of a recipe, told by its calls.
pub(super) fn anomaly(
    rule: Rule,
    class: &'static str,
    headline: String,
    calls: &[(&Recorded, &'static str)],
) -> Anomaly {
    let mut story = Vec::new();
    for (call, what) in calls {
        let (client, kind) = (call.call.client, call.call.kind.name());
        story.push((call.invoked.moment, format!("client {client} began to {kind}{what}")));
        if let Some((end, stamp)) = call.end {
            let how = match end.outcome {
                OperationOutcome::Ok | OperationOutcome::Refused => "returned",
                OperationOutcome::Failed => "failed",
                OperationOutcome::Unknown => "ended, nobody knows how",
            };
            story.push((stamp.moment, format!("the {kind} of client {client} {how}{what}")));
        }
    }
    story.sort_by_key(|(moment, _)| moment.event);
    Anomaly { rule, class, headline, story }
}

impl Oracle {
    /// The process of a client begins.
    pub fn client_began(&mut self, moment: Moment) {
        let history = Arc::make_mut(&mut self.history);
        history.recipes.client_begins(moment.host);
        let stamp = history.stamp(moment);
        history.leaderships.client_begins(stamp);
    }

    /// A client calls a recipe.
    pub fn recipe_called(&mut self, moment: Moment, call: RecipeCall) {
        let history = Arc::make_mut(&mut self.history);
        let invoked = history.stamp(moment);
        history.recipes.open.insert(call.number, Recorded { call, invoked, end: None });
    }

    /// That call ends.
    pub fn recipe_ended(&mut self, moment: Moment, end: RecipeEnd) {
        let history = Arc::make_mut(&mut self.history);
        let stamp = history.stamp(moment);
        let Some(mut call) = history.recipes.open.remove(&end.number) else { return };
        call.end = Some((end, stamp));
        history.recipes.ended.entry(Arc::clone(&call.call.object)).or_default().push(call);
    }

    /// Who of those that are asked waits for good, or that nobody of them leads: none if everything has come right (H21).
    pub(crate) fn stuck_recipe(&self, is_asked: impl Fn(HostId) -> bool) -> Option<String> {
        let history = &self.history;
        if let Some((call, why)) = history.recipes.stuck(&is_asked) {
            let RecipeCall { client, object, .. } = &call.call;
            return Some(format!("client {client} {why}: {object}, since {}", call.invoked.moment.at));
        }
        history.leaderships.unsettled(is_asked)
    }
}
