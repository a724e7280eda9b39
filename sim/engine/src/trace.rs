//! The trace: a chained hash that is always on, and the full record that is made only when asked for.

use std::fmt::{Debug, Write as _};

use machine::{
    Depth, Describe, Digest, EndId, HostId, Incarnation, Input, InputOf, Instant, Loss, Machine, Payload, Value,
};

/// Longest summary of an input in a record, in bytes.
const SUMMARY_BYTES: usize = 200;

/// The chained hash over everything that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) digest: Digest,
    pub(crate) depth: Depth,
}

/// What distinguishes the kinds of words in the chain.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    Event = 1,
    Write = 2,
    Fact = 3,
    Mark = 4,
    Exit = 5,
    Crash = 6,
    Fault = 7,
    Barrier = 8,
}

impl Trace {
    pub(crate) const fn new(depth: Depth) -> Self {
        Self { digest: Digest::new(), depth }
    }

    #[inline]
    pub(crate) const fn entry(&mut self, entry: Entry) {
        self.digest.word(entry as u64);
    }

    /// An input: when, why, to whom, what.
    #[inline(always)]
    pub(crate) fn event<M: Machine>(&mut self, at: Instant, cause: u64, host: HostId, input: &InputOf<M>) {
        let kind = match input {
            Input::Woken => 0,
            Input::Message { .. } => 1,
            Input::Datagram { .. } => 2,
            Input::Opened { .. } => 3,
            Input::Accepted { .. } => 4,
            Input::Refused { .. } => 5,
            Input::Lost { .. } => 6,
            Input::Durable { .. } => 7,
            Input::Turn { .. } => 8,
            Input::Terminate => 9,
        };
        let digest = &mut self.digest;
        digest.word(Entry::Event as u64 | kind << 8 | u64::from(host.0) << 16);
        digest.word(at.as_nanos());
        digest.word(cause);
        match input {
            Input::Woken | Input::Terminate => {}
            Input::Message { on, message } => self.message(on.0, message),
            Input::Datagram { from, message } => self.message(from.0, message),
            Input::Opened { on } | Input::Refused { on } => digest.word(u64::from(on.0)),
            Input::Accepted { on, port, peer } => {
                digest.word(u64::from(on.0) << 32 | u64::from(port.0));
                digest.word(u64::from(peer.0));
            }
            Input::Lost { on, why } => {
                let why = match why {
                    Loss::Closed => 0,
                    Loss::Reset => 1,
                };
                digest.word(u64::from(on.0) << 1 | why);
            }
            Input::Durable { ticket, result } => digest.word(ticket.0 << 1 | u64::from(result.is_ok())),
            Input::Turn { lane, .. } => digest.word(u64::from(lane.0)),
        }
    }

    #[inline(always)]
    fn message<T: Payload>(&mut self, whence: u32, message: &T) {
        self.digest.word(u64::from(message.wire_len()) << 32 | u64::from(whence));
        self.digest.word(word_of(message.name()));
        message.digest(self.depth, &mut self.digest);
    }

    /// A fact whose kind is that word.
    #[inline(always)]
    pub(crate) fn fact<F: Describe>(&mut self, kind: u64, fact: &F) {
        self.entry(Entry::Fact);
        self.digest.word(kind);
        let digest = &mut self.digest;
        fact.fields(&mut |_, value| match value {
            Value::Int(v) => digest.signed(v),
            Value::Uint(v) | Value::Hex(v) => digest.word(v),
            Value::Text(v) => digest.text(v),
            Value::Flag(v) => digest.word(u64::from(v)),
        });
    }
}

/// A name in one word: its length, its first and its last bytes, which is enough to tell the names of a vocabulary apart
/// and costs less than to digest it. The same on every machine: it depends on the characters alone.
#[inline(always)]
pub(crate) fn word_of(name: &str) -> u64 {
    let name = name.as_bytes();
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(21),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        },
    };
    ends ^ (name.len() as u64) << 56
}

/// What was delivered, or done to a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// The process starts.
    Boot,
    /// A deadline has come.
    Woken,
    /// A message.
    Message,
    /// A datagram.
    Datagram,
    /// A dialled connection is open.
    Opened,
    /// Somebody dialled.
    Accepted,
    /// A dialled connection was refused.
    Refused,
    /// A connection is gone.
    Lost,
    /// A sync completed.
    Durable,
    /// A lane's turn.
    Turn,
    /// SIGTERM.
    Terminate,
}

/// One delivered input and what came of it, for reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceEvent {
    /// Its number, from 1, over all hosts.
    pub id: u64,
    /// The event that sent, deferred or armed it; zero for none.
    pub cause: u64,
    /// The world's time.
    pub at: Instant,
    /// Who was stepped.
    pub host: HostId,
    /// In which life.
    pub incarnation: Incarnation,
    /// What kind of input.
    pub kind: EventKind,
    /// Name of the message or lane; empty for other inputs.
    pub name: &'static str,
    /// The input as text, cut to about 200 bytes.
    pub summary: String,
    /// Who sent it.
    pub from: Option<HostId>,
    /// On which end.
    pub on: Option<EndId>,
    /// Facts stated: kind and fields.
    pub facts: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// Marks reached.
    pub marks: Vec<&'static str>,
    /// Messages sent: to whom, and their names.
    pub sends: Vec<(HostId, &'static str)>,
    /// Disk operations: path, kind, offset, length.
    pub writes: Vec<(String, &'static str, u64, u64)>,
    /// Exit status, if the process ended by itself.
    pub exit: Option<i32>,
    /// The chained hash after it.
    pub hash: u64,
}

/// One fault that struck, for reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultEvent {
    /// The rule's index in the schedule; `None` for one injected by hand.
    pub rule: Option<usize>,
    /// When it struck.
    pub at: Instant,
    /// After which event.
    pub event: u64,
    /// When it ended; `None` if it had no duration or did not end.
    pub until: Option<Instant>,
    /// What, in words.
    pub text: String,
    /// The fault's name in files.
    pub name: &'static str,
    /// Whom, resolved; empty if nobody.
    pub targets: Vec<HostId>,
}

/// A situation that an observer stated, for reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SituationEvent {
    /// When.
    pub at: Instant,
    /// During which event.
    pub event: u64,
    /// Kind and fields.
    pub kind: &'static str,
    /// The fields as text.
    pub fields: Vec<(&'static str, String)>,
}

/// The full record of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recording {
    /// Every delivered input, in order.
    pub events: Vec<TraceEvent>,
    /// Every fault, in order.
    pub faults: Vec<FaultEvent>,
    /// Every situation, in order.
    pub situations: Vec<SituationEvent>,
    /// Crashes: when, after which event, who, by loss of power.
    pub crashes: Vec<(Instant, u64, HostId, bool)>,
    /// The phases' ends.
    pub healed_at: Option<Instant>,
}

/// Takes text up to a limit, and no more work than that: a whole state may be behind one `Debug`.
struct Cut {
    text: String,
}

impl std::fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        let room = SUMMARY_BYTES.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let at = (0..=room).rev().find(|&at| more.is_char_boundary(at)).unwrap_or(0);
        self.text.push_str(&more[..at]);
        self.text.push('…');
        Err(std::fmt::Error)
    }
}

fn summary(value: &dyn Debug) -> String {
    let mut cut = Cut { text: String::new() };
    // An error only says that the limit was reached.
    let _ = write!(cut, "{value:?}");
    cut.text
}

/// The start of a recorded event.
pub(crate) fn record<M: Machine>(
    id: u64,
    cause: u64,
    at: Instant,
    host: HostId,
    incarnation: Incarnation,
    input: Option<(&InputOf<M>, Option<HostId>)>,
) -> TraceEvent {
    let mut event = TraceEvent {
        id,
        cause,
        at,
        host,
        incarnation,
        kind: EventKind::Boot,
        name: "",
        summary: String::new(),
        from: None,
        on: None,
        facts: Vec::new(),
        marks: Vec::new(),
        sends: Vec::new(),
        writes: Vec::new(),
        exit: None,
        hash: 0,
    };
    let Some((input, from)) = input else { return event };
    event.from = from;
    match input {
        Input::Woken => event.kind = EventKind::Woken,
        Input::Terminate => event.kind = EventKind::Terminate,
        Input::Message { on, message } => {
            (event.kind, event.on, event.name) = (EventKind::Message, Some(*on), message.name());
            event.summary = summary(message);
        }
        Input::Datagram { from, message } => {
            (event.kind, event.from, event.name) = (EventKind::Datagram, Some(*from), message.name());
            event.summary = summary(message);
        }
        Input::Opened { on } => (event.kind, event.on) = (EventKind::Opened, Some(*on)),
        Input::Accepted { on, port, peer } => {
            (event.kind, event.on, event.from) = (EventKind::Accepted, Some(*on), Some(*peer));
            event.summary = summary(port);
        }
        Input::Refused { on } => (event.kind, event.on) = (EventKind::Refused, Some(*on)),
        Input::Lost { on, why } => {
            (event.kind, event.on) = (EventKind::Lost, Some(*on));
            event.summary = summary(why);
        }
        Input::Durable { ticket, result } => {
            event.kind = EventKind::Durable;
            event.summary = match result {
                Ok(()) => format!("{ticket}"),
                Err(error) => format!("{ticket} {error}"),
            };
        }
        Input::Turn { lane, work } => {
            (event.kind, event.name) = (EventKind::Turn, M::lane_name(*lane));
            event.summary = summary(work);
        }
    }
    event
}
