//! Queues, judged by what their users saw (invariants-and-faults.md §3.6).
//!
//! The recipe promises more than the tree needs for it: the element with the lowest number in a list is the first one for as long as it
//! is there, because numbers only grow and a list is a state of the tree. So a successful dequeue takes the first element, whatever
//! server listed it, and the history of enqueues and dequeues is that of one queue: linearizable.
//!
//! What was asked for and ended unknown: an element may be there or not, and may be taken or not. A dequeue whose client died may
//! have taken any. That a queue is *empty* may be old news from a server that is behind, except for what the session itself has put:
//! that must have been taken by then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use clients::RecipeCall as Kind;
use jute::SessionId;

use super::OperationOutcome;
use super::linearizable::{self, Sequential, Timed, Verdict};
use super::recipes::{Judged, Recorded, anomaly};
use super::record::Anomaly;
use crate::Rule;

/// More configurations than these are not looked at.
const BUDGET: usize = 200_000;

/// Why a queue was not judged to the end.
const UNDECIDED: &str = "too many orders of a queue's calls to try: whether one explains them is undecided (§3.6 b)";

/// First in, first out.
pub(super) struct Fifo;

/// A call of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    /// This one is put at the end.
    Put(u64),
    /// This one is taken, and was the first.
    Taken(u64),
    /// One is taken; which, nobody knows.
    MaybeTaken,
}

impl Sequential for Fifo {
    type Call = Element;
    type State = VecDeque<u64>;

    fn initial(&self) -> VecDeque<u64> {
        VecDeque::new()
    }

    fn step(&self, state: &VecDeque<u64>, call: &Element) -> Option<VecDeque<u64>> {
        let mut state = state.clone();
        match *call {
            Element::Put(element) => state.push_back(element),
            Element::Taken(element) => drop(state.pop_front().filter(|&first| first == element)?),
            Element::MaybeTaken => drop(state.pop_front()?),
        }
        Some(state)
    }
}

/// What is known of one element.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    put: Option<&'a Recorded>,
    /// Who has it.
    taken: Option<&'a Recorded>,
    /// Who may have it.
    maybe: Option<&'a Recorded>,
    number: Option<u64>,
}

pub(super) fn judge(queue: &Arc<str>, calls: &[Recorded], judged: &mut Judged) -> Vec<Anomaly> {
    judged.checked(Rule::RecipeHistory, calls.len());
    let mut elements: BTreeMap<u64, Known<'_>> = BTreeMap::new();
    let mut anomalies = Vec::new();
    let mut strangers = Vec::new();
    for call in calls.iter().filter(|call| !call.failed()) {
        let ended = call.end.map(|(end, _)| end);
        let number = ended.and_then(|end| end.place);
        if call.call.kind == Kind::Enqueue {
            let known = elements.entry(call.call.value.unwrap_or_default()).or_default();
            known.put = Some(call);
            known.number = known.number.or(number);
            continue;
        }
        let Some(value) = ended.and_then(|end| end.value) else {
            if ended.is_none_or(|end| end.outcome == OperationOutcome::Unknown) {
                strangers.push(call);
            }
            continue;
        };
        let known = elements.entry(value).or_default();
        known.number = known.number.or(number);
        if call.succeeded().is_none() {
            // Of several that may have it the first one could have had it longest.
            known.maybe = known.maybe.filter(|other| other.invoked.place < call.invoked.place).or(Some(call));
        } else if let Some(other) = known.taken.replace(call) {
            let headline =
                format!("clients {} and {} both took one element of {queue}", other.call.client, call.call.client);
            anomalies.push(anomaly(Rule::RecipeHistory, "duplicate", headline, &[(other, ""), (call, "")]));
        }
    }
    for known in elements.values() {
        anomalies.extend(invented(queue, known));
    }
    anomalies.extend(out_of_order(queue, &elements, &strangers));
    anomalies.extend(lost(queue, calls, &elements, &strangers));
    if anomalies.is_empty() {
        anomalies.extend(unexplained(queue, &elements, &strangers, judged));
    }
    anomalies
}

/// An element was taken that was not put, or not yet.
fn invented(queue: &str, known: &Known<'_>) -> Option<Anomaly> {
    let taken = known.taken?;
    let (_, returned) = taken.succeeded()?;
    match known.put {
        None => {
            let headline = format!("client {} took an element of {queue} that nobody put there", taken.call.client);
            Some(anomaly(Rule::RecipeHistory, "phantom", headline, &[(taken, "")]))
        }
        Some(put) if put.invoked.place > returned.place => {
            let headline = format!("client {} took an element of {queue} before it was put there", taken.call.client);
            Some(anomaly(Rule::RecipeHistory, "future", headline, &[(taken, ""), (put, "")]))
        }
        Some(_) => None,
    }
}

/// An element was taken though one before it, which was there by then, was not, and was not going to be.
fn out_of_order(queue: &str, elements: &BTreeMap<u64, Known<'_>>, strangers: &[&Recorded]) -> Option<Anomaly> {
    elements.values().find_map(|second| {
        let (put, taken) = (second.put?, second.taken?);
        let (_, taken_at) = taken.succeeded()?;
        let first = elements.values().find(|first| {
            let is_before = first.put.and_then(Recorded::succeeded).is_some_and(|(_, at)| at.place < put.invoked.place);
            let is_in_time = |call: Option<&Recorded>| call.is_some_and(|call| call.invoked.place < taken_at.place);
            let is_taken = match first.taken {
                Some(taken) => is_in_time(Some(taken)),
                None => is_in_time(first.maybe) || strangers.iter().any(|call| is_in_time(Some(call))),
            };
            is_before && !is_taken
        })?;
        let headline = format!(
            "client {} took an element of {queue} before one that was put there earlier, and that nobody had begun to take",
            taken.call.client
        );
        let mut story = vec![(first.put?, " (the first one)"), (put, " (the second one)"), (taken, " (the second one)")];
        story.extend(first.taken.map(|call| (call, " (the first one)")));
        Some(anomaly(Rule::RecipeHistory, "reordered", headline, &story))
    })
}

/// A session found the queue empty that has put an element there, which nobody had begun to take.
fn lost(
    queue: &str,
    calls: &[Recorded],
    elements: &BTreeMap<u64, Known<'_>>,
    strangers: &[&Recorded],
) -> Option<Anomaly> {
    let mut put: BTreeMap<SessionId, Vec<&Known<'_>>> = BTreeMap::new();
    for known in elements.values() {
        if let Some((end, _)) = known.put.and_then(Recorded::succeeded).filter(|(end, _)| !end.session.is_zero()) {
            put.entry(end.session).or_default().push(known);
        }
    }
    calls.iter().filter(|call| call.call.kind == Kind::Dequeue).find_map(|call| {
        let (end, returned) = call.succeeded().filter(|(end, _)| end.value.is_none())?;
        let missing = put.get(&end.session)?.iter().find(|known| {
            let is_put = known.put.and_then(Recorded::succeeded).is_some_and(|(_, at)| at.place < call.invoked.place);
            let takers = known.taken.into_iter().chain(known.maybe).chain(strangers.iter().copied());
            is_put && !takers.into_iter().any(|taker| taker.invoked.place < returned.place)
        })?;
        let client = call.call.client;
        let headline =
            format!("client {client} found {queue} empty, and nobody had begun to take what it had put there");
        Some(anomaly(Rule::RecipeHistory, "lost", headline, &[(missing.put?, ""), (call, "")]))
    })
}

/// No order of all calls is that of a queue.
fn unexplained(
    queue: &str,
    elements: &BTreeMap<u64, Known<'_>>,
    strangers: &[&Recorded],
    judged: &mut Judged,
) -> Option<Anomaly> {
    let mut whose = Vec::new();
    let mut history = Vec::new();
    let mut add = |call: Element, recorded, number: Option<u64>| {
        let recorded: &Recorded = recorded;
        let ret = recorded.succeeded().map(|(_, stamp)| stamp.place);
        history.push(Timed { call, inv: recorded.invoked.place, ret, hint: number.unwrap_or(u64::MAX) });
        whose.push(recorded);
    };
    for (&value, known) in elements {
        let takers = known.taken.or(known.maybe);
        // What was perhaps put, and nobody saw, explains nothing; and whoever takes what another has, has not taken it.
        if let Some(put) = known.put.filter(|put| put.succeeded().is_some() || takers.is_some()) {
            add(Element::Put(value), put, known.number);
        }
        if let Some(taker) = takers {
            add(Element::Taken(value), taker, known.number);
        }
    }
    strangers.iter().for_each(|call| add(Element::MaybeTaken, call, None));
    match linearizable::judge(&Fifo, &history, BUDGET) {
        Verdict::Linearizable => None,
        Verdict::Undecided => {
            judged.relax(Rule::RecipeHistory, UNDECIDED, 1);
            None
        }
        Verdict::Not { placed, stuck } => {
            let headline = format!(
                "no order explains the {} calls of {queue}: behind the first {placed} nobody knows how client {} could {}",
                history.len(),
                whose[stuck].call.client,
                whose[stuck].call.kind.name()
            );
            Some(anomaly(Rule::RecipeHistory, "not-linearizable", headline, &[(whose[stuck], "")]))
        }
    }
}
