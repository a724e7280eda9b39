//! When and where something was seen, and the story that a violation tells with it.

use engine::{Part, Violation, Witness};
use machine::{HostId, Instant};

use crate::Rule;

/// When and where something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The event during which it happened.
    pub event: u64,
    /// The world's time.
    pub at: Instant,
    /// The host it happened on.
    pub host: HostId,
}

/// A violation in the making.
#[derive(Debug)]
pub(crate) struct Story {
    rule: Rule,
    headline: String,
    witnesses: Vec<Witness>,
    kinds: Vec<String>,
}

impl Story {
    pub(crate) fn new(rule: Rule, headline: String) -> Self {
        Self { rule, headline, witnesses: Vec::new(), kinds: Vec::new() }
    }

    fn witness(mut self, part: Part, moment: Moment, note: impl Into<String>) -> Self {
        let Moment { event, at, host } = moment;
        self.witnesses.push(Witness { event, at, host: Some(host), note: note.into(), part });
        self
    }

    /// The promise that was broken.
    pub(crate) fn promise(self, moment: Moment, note: impl Into<String>) -> Self {
        self.witness(Part::Promise, moment, note)
    }

    /// The earliest step that was wrong.
    pub(crate) fn first_wrong(self, moment: Moment, note: impl Into<String>) -> Self {
        self.witness(Part::FirstWrongStep, moment, note)
    }

    /// What else one must know.
    pub(crate) fn other(self, moment: Moment, note: impl Into<String>) -> Self {
        self.witness(Part::Other, moment, note)
    }

    /// A role or kind that makes two such violations the same one: never an id, a time or a number.
    pub(crate) fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// The violation, detected now.
    pub(crate) fn detected(self, now: Moment, note: impl Into<String>) -> Violation {
        let mut told = self.witness(Part::Detected, now, note);
        told.witnesses.sort_by_key(|witness| (witness.event, witness.part));
        Violation {
            invariant: told.rule.id(),
            name: told.rule.name(),
            headline: told.headline,
            witnesses: told.witnesses,
            host: Some(now.host),
            at: now.at,
            event: now.event,
            signature_parts: told.kinds,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A moment of a test: the event's number is also its time in milliseconds.
    pub(crate) fn moment(event: u64, host: u32) -> Moment {
        Moment { event, at: Instant::from_nanos(event * 1_000_000), host: HostId(host) }
    }

    #[test]
    fn witnesses_stand_in_the_order_of_events_and_numbers_stay_out_of_the_signature() {
        let tell = |event: u64| {
            Story::new(Rule::NoAckedLoss, format!("zxid {event:#x} is gone"))
                .first_wrong(moment(event + 5, 1), "forgot")
                .promise(moment(event, 0), "acknowledged")
                .kind("leader")
                .detected(moment(event + 9, 2), "seen")
        };
        let violation = tell(10);
        let parts: Vec<Part> = violation.witnesses.iter().map(|witness| witness.part).collect();
        assert_eq!(parts, [Part::Promise, Part::FirstWrongStep, Part::Detected]);
        assert_eq!((violation.invariant, violation.host), ("C13", Some(HostId(2))));
        assert_eq!(violation.signature(), tell(99).signature());
    }
}
