//! The causal slice of a violation: from its witnesses back over messages and over each host's own past, as far as that
//! touches what was violated, together with every fault that struck.
//!
//! It is an explanation, not a proof: what is furthest from the violation is left out first, and how many events are left out is
//! said. The promise, the first wrong step, the detection and the first strike of every rule always stay.

use std::collections::{BTreeMap, BTreeSet};

use engine::{EventKind, FaultEvent, Part, Recording, TraceEvent, Violation};
use machine::{HostId, Instant};
use serde::Serialize;

/// How far back the walk goes, in steps.
const HOPS_MOST: u32 = 60;

/// How much an event tells a reader about a failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Telling {
    /// Passing something on.
    Relay,
    /// A detail.
    Detail,
    /// It explains a turn.
    Step,
    /// The story turns here.
    Turn,
}

/// What an event says in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// How much that tells.
    pub telling: Telling,
    /// Whether it is about what was violated.
    pub touches: bool,
    /// The words.
    pub text: String,
}

/// Who knows the field's words, and what was violated.
pub struct Teller<'t> {
    /// An event in words; none if there is nothing to say.
    pub say: &'t dyn Fn(&TraceEvent) -> Option<Said>,
    /// A fault in words, with whom it hit.
    pub fault: &'t dyn Fn(&FaultEvent) -> String,
    /// Lines at most, those about what is left out among them.
    pub lines_most: usize,
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("lines_most", &self.lines_most).finish_non_exhaustive()
    }
}

/// Who a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whence {
    /// A host.
    Host(HostId),
    /// A fault.
    Fault,
    /// An observer.
    Judge,
}

/// One line of a slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Something happened.
    Event {
        /// The event, or for a fault the event before it.
        event: u64,
        /// When.
        at: Instant,
        /// To whom.
        whence: Whence,
        /// What.
        text: String,
        /// What it is for the violation.
        part: Part,
        /// How often it happened in a row, as far as nothing else is told in between.
        times: u32,
    },
    /// So many events are left out here.
    Elided(u64),
}

/// The slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Its lines, in order.
    pub lines: Vec<Line>,
    /// Events on the causal path, told or not.
    pub on_path: u64,
    /// Events of the run.
    pub events: u64,
}

/// A line before it is known whether it stays.
struct Draft {
    event: u64,
    at: Instant,
    whence: Whence,
    text: String,
    part: Part,
    /// It stays whatever there is.
    stays: bool,
    telling: Telling,
    touches: bool,
    /// Steps from a witness.
    hops: u32,
    times: u32,
}

/// How many of the lines may say that something is left out.
const ELISIONS_MOST: usize = 8;
/// Fewer events than these are left out without a word.
const ELIDED_LEAST: u64 = 50;
/// Details that are told at most, and messages that only pass something on.
const DETAILS_MOST: usize = 12;
const RELAYS_MOST: usize = 6;
/// So many steps nearer counts a message that names what was violated.
const RELAY_BONUS: u32 = 6;

/// Makes the slice of a violation.
#[must_use]
pub fn slice(recording: &Recording, violation: &Violation, teller: &Teller<'_>) -> Slice {
    let path = walk(recording, violation, teller);
    let mut drafts = told(recording, &path, teller);
    drafts.extend(faults(recording, teller));
    drafts.extend(witnesses(violation));
    // What an event says comes before what it means for the violation.
    drafts.sort_by_key(|draft| (draft.event, draft.part == Part::Detected, draft.part != Part::Other));
    let drafts = kept(collapsed(drafts), teller.lines_most.saturating_sub(ELISIONS_MOST).max(1));
    let lines = with_elisions(recording, drafts);
    Slice { lines, on_path: path.len() as u64, events: recording.events.len() as u64 }
}

/// What the events on the path say. A message whose effect on the same host is told becomes a part of that.
fn told(recording: &Recording, path: &BTreeMap<u64, u32>, teller: &Teller<'_>) -> Vec<Draft> {
    let mut said: BTreeMap<u64, Said> = BTreeMap::new();
    for &id in path.keys() {
        let Some(event) = find(recording, id) else { continue };
        said.extend((teller.say)(event).map(|said| (id, said)));
    }
    let ids: Vec<u64> = said.keys().copied().collect();
    for id in ids {
        let Some(event) = find(recording, id) else { continue };
        let Some(cause) = find(recording, event.cause).filter(|cause| cause.host == event.host) else { continue };
        let is_relay = |id: u64| said.get(&id).is_some_and(|said| said.telling == Telling::Relay);
        if is_relay(cause.id) && !is_relay(id) {
            let relay = said.remove(&cause.id).expect("it was just looked at");
            let own = said.get_mut(&id).expect("its id is one of them");
            own.text = format!("{} ({})", own.text, relay.text);
        }
    }
    let draft = |(id, said): (u64, Said)| {
        let event = find(recording, id)?;
        Some(Draft {
            event: id,
            at: event.at,
            whence: Whence::Host(event.host),
            text: said.text,
            part: Part::Other,
            stays: false,
            telling: said.telling,
            touches: said.touches,
            hops: path[&id],
            times: 1,
        })
    };
    said.into_iter().filter_map(draft).collect()
}

/// The events from which the violation came, each with how many steps it is away from a witness.
fn walk(recording: &Recording, violation: &Violation, teller: &Teller<'_>) -> BTreeMap<u64, u32> {
    let touched = touched(recording, teller);
    let mut path: BTreeMap<u64, u32> = BTreeMap::new();
    // By distance, so that each event is reached by its shortest way.
    let mut edge: BTreeSet<(u32, u64)> =
        violation.witnesses.iter().map(|witness| (distance(witness.part), witness.event)).collect();
    // What nobody did, such as a world that does not converge, comes from what everybody did last about it.
    for witness in violation.witnesses.iter().filter(|witness| witness.host.is_none()) {
        for own in touched.values() {
            let before = own.partition_point(|&other| other <= witness.event);
            edge.extend(own[..before].last().map(|&other| (distance(witness.part) + 1, other)));
        }
    }
    while let Some((hops, id)) = edge.pop_first() {
        let Some(event) = find(recording, id) else { continue };
        if hops > HOPS_MOST || path.contains_key(&id) {
            continue;
        }
        path.insert(id, hops);
        // A deadline was armed by whatever came last: that explains nothing, the host's own past does.
        if event.cause > 0 && event.kind != EventKind::Woken {
            edge.insert((hops + 1, event.cause));
        }
        if let Some(own) = touched.get(&event.host) {
            let before = own.partition_point(|&other| other < id);
            edge.extend(own[..before].last().map(|&other| (hops + 1, other)));
        }
    }
    path
}

/// How far from the violation a witness is: how it came to what is wrong matters more than how it came to the promise.
const fn distance(part: Part) -> u32 {
    match part {
        Part::Detected | Part::FirstWrongStep => 0,
        Part::Promise => 8,
        Part::Other => 12,
    }
}

/// The events of each host that touch what was violated, in order.
fn touched(recording: &Recording, teller: &Teller<'_>) -> BTreeMap<HostId, Vec<u64>> {
    let mut touched: BTreeMap<HostId, Vec<u64>> = BTreeMap::new();
    for event in &recording.events {
        let is_start = event.kind == EventKind::Boot && event.incarnation.0 > 1;
        let said = (teller.say)(event);
        if is_start || said.is_some_and(|said| said.touches && said.telling > Telling::Relay) {
            touched.entry(event.host).or_default().push(event.id);
        }
    }
    touched
}

fn find(recording: &Recording, id: u64) -> Option<&TraceEvent> {
    recording.events.binary_search_by_key(&id, |event| event.id).ok().map(|at| &recording.events[at])
}

fn witnesses(violation: &Violation) -> Vec<Draft> {
    let draft = |witness: &engine::Witness| Draft {
        event: witness.event,
        at: witness.at,
        whence: witness.host.map_or(Whence::Judge, Whence::Host),
        text: witness.note.clone(),
        part: witness.part,
        stays: true,
        telling: Telling::Turn,
        touches: true,
        hops: 0,
        times: 1,
    };
    violation.witnesses.iter().map(draft).collect()
}

/// Every strike; only the first of each rule stays whatever there is.
fn faults(recording: &Recording, teller: &Teller<'_>) -> Vec<Draft> {
    let mut seen = BTreeSet::new();
    let draft = |fault: &FaultEvent| Draft {
        event: fault.event,
        at: fault.at,
        whence: Whence::Fault,
        text: (teller.fault)(fault),
        part: Part::Other,
        stays: fault.rule.is_none_or(|rule| seen.insert(rule)),
        telling: Telling::Turn,
        touches: true,
        hops: 0,
        times: 1,
    };
    recording.faults.iter().map(draft).collect()
}

/// What the same host says again, with nothing of it in between, is said once.
fn collapsed(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut lines: Vec<Draft> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let own = lines.iter_mut().rev().find(|other| other.whence == draft.whence);
        match own {
            Some(other) if other.text == draft.text && other.part == Part::Other && !draft.stays => {
                other.times += 1;
                other.hops = other.hops.min(draft.hops);
            }
            Some(_) | None => lines.push(draft),
        }
    }
    lines
}

/// The lines that stay: all that must, then those that tell most, then those nearest to the violation.
fn kept(drafts: Vec<Draft>, most: usize) -> Vec<Draft> {
    let mut ranked: Vec<usize> = (0..drafts.len()).collect();
    ranked.sort_by_key(|&at| {
        let Draft { stays, telling, touches, hops, event, .. } = &drafts[at];
        let weight = u32::from(*touches) * 3 + *telling as u32 * 2;
        // Of what only passes something on, the last hands before the violation matter most.
        let (weight, hops) = match telling {
            Telling::Relay => (0, hops.saturating_sub(u32::from(*touches) * RELAY_BONUS)),
            Telling::Detail | Telling::Step | Telling::Turn => (weight, *hops),
        };
        (!stays, std::cmp::Reverse(weight), hops, std::cmp::Reverse(*event))
    });
    let (mut chosen, mut details, mut relays) = (BTreeSet::new(), 0, 0);
    for at in ranked {
        let draft = &drafts[at];
        let has_room = match draft.telling {
            _ if draft.stays => true,
            Telling::Turn | Telling::Step => chosen.len() < most,
            Telling::Detail => {
                details += 1;
                chosen.len() < most && details <= DETAILS_MOST
            }
            Telling::Relay => {
                relays += 1;
                chosen.len() < most && relays <= RELAYS_MOST
            }
        };
        if has_room {
            chosen.insert(at);
        }
    }
    drafts.into_iter().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, draft)| draft).collect()
}

fn with_elisions(recording: &Recording, drafts: Vec<Draft>) -> Vec<Line> {
    let events: Vec<u64> = drafts.iter().map(|draft| draft.event).collect();
    let ends = std::iter::once(0).chain(events.iter().copied());
    let gaps: Vec<u64> = events.iter().zip(ends).map(|(&event, before)| event.saturating_sub(before + 1)).collect();
    let mut largest: Vec<usize> = (0..gaps.len()).filter(|&at| gaps[at] >= ELIDED_LEAST).collect();
    largest.sort_by_key(|&at| std::cmp::Reverse(gaps[at]));
    largest.truncate(ELISIONS_MOST - 1);
    let mut lines = Vec::new();
    for (at, draft) in drafts.into_iter().enumerate() {
        if largest.contains(&at) {
            lines.push(Line::Elided(gaps[at]));
        }
        let Draft { event, at, whence, text, part, times, .. } = draft;
        lines.push(Line::Event { event, at, whence, text, part, times });
    }
    let last = recording.events.last().map_or(0, |event| event.id);
    let behind = last.saturating_sub(events.last().copied().unwrap_or(0));
    if behind >= ELIDED_LEAST {
        lines.push(Line::Elided(behind));
    }
    lines
}

/// What a line is for the violation, as the JSON of a report says it.
#[must_use]
const fn part_name(part: Part) -> &'static str {
    match part {
        Part::Promise => "promise",
        Part::FirstWrongStep => "first-wrong-step",
        Part::Detected => "detected",
        Part::Other => "step",
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = to.serialize_map(None)?;
        match self {
            Self::Event { event, at, whence, text, part, times } => {
                map.serialize_entry("event", event)?;
                map.serialize_entry("at", &at.as_nanos())?;
                match whence {
                    Whence::Host(host) => map.serialize_entry("host", &host.0)?,
                    Whence::Fault => map.serialize_entry("by", "fault")?,
                    Whence::Judge => map.serialize_entry("by", "judge")?,
                }
                map.serialize_entry("text", text)?;
                map.serialize_entry("part", part_name(*part))?;
                map.serialize_entry("times", times)?;
            }
            Self::Elided(count) => map.serialize_entry("elided", count)?,
        }
        map.end()
    }
}
