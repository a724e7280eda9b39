//! What a repro remembers of a trace: enough to name the first event of another run that differs.

use engine::{Recording, TraceEvent};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Two characters an event: twelve bits of the chained hash after it.
const CHARACTERS: usize = 2;
/// More entries than these are not kept; a longer run keeps every second, fourth… event.
const ENTRIES_MOST: u64 = 1 << 17;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The low bits of the chained hash after every event of a run, or after every so manieth.
///
/// The hash is chained, so where one event differs all behind it do, and the first entry that differs names the event. It
/// names the one behind it once in 4,096 times, when the low bits of two different hashes agree by chance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trail {
    /// How many events the run had.
    events: u64,
    /// An entry after every so manieth event, and one after the last.
    every: u64,
    /// The entries.
    marks: Vec<u16>,
}

/// Where a run leaves a trail: the first event that differs is one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parting {
    /// The first event it can be, from 1.
    pub from: u64,
    /// The last event it can be; the same one unless the trail of a long run has gaps.
    pub to: u64,
}

impl Trail {
    /// The trail of a recorded run.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let events = recording.events.len() as u64;
        let mut every = 1;
        while events.div_ceil(every) > ENTRIES_MOST {
            every *= 2;
        }
        let marks = entries(events, every).map(|event| mark(at(recording, event))).collect();
        Self { events, every, marks }
    }

    /// How many events the run had.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Where this run leaves the trail; none if it does not.
    #[must_use]
    pub fn parting(&self, recording: &Recording) -> Option<Parting> {
        let there = recording.events.len() as u64;
        self.parting_within(recording, there).or_else(|| {
            let short = self.events.min(there) + 1;
            (there != self.events).then_some(Parting { from: short, to: short })
        })
    }

    /// The same for the first so many events, and no more than both runs have: one of them may have stopped earlier.
    #[must_use]
    pub fn parting_within(&self, recording: &Recording, events: u64) -> Option<Parting> {
        let there = events.min(recording.events.len() as u64);
        let known = entries(self.events, self.every).zip(&self.marks).take_while(|&(event, _)| event <= there);
        let mut agreed = 0;
        for (event, &expected) in known {
            if mark(at(recording, event)) != expected {
                return Some(Parting { from: agreed + 1, to: event });
            }
            agreed = event;
        }
        None
    }
}

/// The events with an entry: every so manieth, and the last.
fn entries(events: u64, every: u64) -> impl Iterator<Item = u64> {
    let full = events / every;
    (1..=full).map(move |n| n * every).chain((full * every != events).then_some(events))
}

/// The event with that place, from 1.
fn at(recording: &Recording, event: u64) -> &TraceEvent {
    let index = usize::try_from(event - 1).expect("what is in memory has an index");
    &recording.events[index]
}

const fn mark(event: &TraceEvent) -> u16 {
    (event.hash & 0xFFF) as u16
}

/// As text, such as `4001/1:AbCd…`: events, every so manieth, two characters an entry.
impl Serialize for Trail {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = format!("{}/{}:", self.events, self.every);
        for mark in &self.marks {
            text.extend([mark >> 6, mark & 63].map(|six| char::from(ALPHABET[usize::from(six)])));
        }
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Trail {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).map_err(serde::de::Error::custom)
    }
}

fn parse(text: &str) -> Result<Trail, &'static str> {
    const HEAD: &str =
        "a trail begins with how many events there are and how many each entry covers, such as `4001/1:`";
    let (head, body) = text.split_once(':').ok_or(HEAD)?;
    let (events, every) = head.split_once('/').ok_or(HEAD)?;
    let (events, every) = (events.parse::<u64>().map_err(|_| HEAD)?, every.parse::<u64>().map_err(|_| HEAD)?);
    if every == 0 || body.len() as u64 != events.div_ceil(every).saturating_mul(CHARACTERS as u64) {
        return Err("the trail is not as long as it says");
    }
    let digit = |character: u8| ALPHABET.iter().position(|&known| known == character);
    let marks = body.as_bytes().chunks(CHARACTERS).map(|pair| {
        let value = digit(pair[0])? << 6 | digit(pair[1])?;
        u16::try_from(value).ok()
    });
    let marks: Option<Vec<u16>> = marks.collect();
    Ok(Trail { events, every, marks: marks.ok_or("the trail has a character that no trail has")? })
}

#[cfg(test)]
mod tests {
    use engine::{EventKind, Recording, TraceEvent};
    use machine::{Digest, HostId, Incarnation, Instant};

    use super::{ENTRIES_MOST, Parting, Trail};

    /// A run whose events are these words.
    fn run(words: impl IntoIterator<Item = u64>) -> Recording {
        let mut digest = Digest::new();
        let events = words.into_iter().zip(1..).map(|(word, id)| {
            digest.word(word);
            TraceEvent {
                id,
                cause: 0,
                at: Instant::ZERO,
                host: HostId(0),
                incarnation: Incarnation(1),
                kind: EventKind::Woken,
                name: "",
                summary: String::new(),
                from: None,
                on: None,
                facts: Vec::new(),
                marks: Vec::new(),
                sends: Vec::new(),
                writes: Vec::new(),
                exit: None,
                hash: digest.value(),
            }
        });
        Recording { events: events.collect(), ..Recording::default() }
    }

    fn changed(count: u64, event: u64) -> Recording {
        run((1..=count).map(|n| if n == event { 0 } else { n }))
    }

    #[test]
    fn a_trail_names_the_first_event_that_differs() {
        let trail = Trail::of(&run(1..=500));
        assert_eq!(trail.parting(&run(1..=500)), None);
        for event in 1..=500 {
            let parting = Some(Parting { from: event, to: event });
            assert_eq!(trail.parting(&changed(500, event)), parting);
        }
        assert_eq!(trail.parting(&run(1..=499)), Some(Parting { from: 500, to: 500 }), "it ends early");
        assert_eq!(trail.parting(&run(1..=501)), Some(Parting { from: 501, to: 501 }), "it goes on");
        assert_eq!(trail.parting_within(&run(1..=501), 501), None);
        assert_eq!(trail.parting_within(&run(1..=20), 500), None);
        assert_eq!(trail.parting_within(&changed(500, 300), 299), None);
    }

    #[test]
    fn a_trail_of_a_long_run_names_a_few_events_and_stays_small() {
        let count = ENTRIES_MOST * 3 + 1;
        let trail = Trail::of(&run(1..=count));
        assert_eq!(trail.parting(&run(1..=count)), None);
        for event in [1, 4, 5, 70_001, count - 1, count] {
            let parting = trail.parting(&changed(count, event)).unwrap();
            assert!((parting.from..=parting.to).contains(&event) && parting.to - parting.from < 4, "{parting:?}");
        }
        assert!(serde_json::to_string(&trail).unwrap().len() < 300_000);
    }

    #[test]
    fn a_trail_survives_json_and_a_damaged_one_is_refused() {
        let trail = Trail::of(&run(1..=77));
        let text = serde_json::to_string(&trail).unwrap();
        assert_eq!(serde_json::from_str::<Trail>(&text).unwrap(), trail);
        assert_eq!(serde_json::from_str::<Trail>("\"0/1:\"").unwrap(), Trail::of(&run([])));
        let cut = format!("{}\"", &text[..text.len() - 3]);
        for wrong in [cut.as_str(), "\"\"", "\"77:\"", "\"1/0:AA\"", "\"1/1:A!\"", "\"1/1:AAA\"", "\"x/1:AA\""] {
            assert!(serde_json::from_str::<Trail>(wrong).is_err(), "{wrong}");
        }
    }
}
