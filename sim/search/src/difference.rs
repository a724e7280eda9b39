//! Two records of what should be one run: where they part, and by what.

use std::fmt;

use engine::{Recording, TraceEvent};
use machine::HostId;

/// The first event in which two runs differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Its number, from 1.
    pub event: u64,
    /// What differs, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}", self.event, self.what)
    }
}

/// Where two recorded runs part; none if they are the same to the last event. `name` says what a host is called.
#[must_use]
pub fn first_difference(a: &Recording, b: &Recording, name: &dyn Fn(HostId) -> String) -> Option<Difference> {
    let parts = a.events.iter().zip(&b.events).find(|(a, b)| a.hash != b.hash);
    if let Some((a, b)) = parts {
        return Some(Difference { event: a.id, what: how(a, b, name) });
    }
    let (longer, shorter, which) = match a.events.len().cmp(&b.events.len()) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => (a, b, "first"),
        std::cmp::Ordering::Less => (b, a, "second"),
    };
    let event = &longer.events[shorter.events.len()];
    Some(Difference { event: event.id, what: format!("{}, which only the {which} run has", input(event, name)) })
}

/// An event in words: what arrived, where and when.
#[must_use]
pub fn input(event: &TraceEvent, name: &dyn Fn(HostId) -> String) -> String {
    let kind = match event.kind {
        engine::EventKind::Boot => "start",
        engine::EventKind::Woken => "wake",
        engine::EventKind::Message => "message",
        engine::EventKind::Datagram => "datagram",
        engine::EventKind::Opened => "opened connection",
        engine::EventKind::Accepted => "accepted connection",
        engine::EventKind::Refused => "refused connection",
        engine::EventKind::Lost => "lost connection",
        engine::EventKind::Durable => "finished sync",
        engine::EventKind::Turn => "turn of",
        engine::EventKind::Terminate => "SIGTERM",
    };
    let mut text = kind.to_owned();
    for word in [event.name, &event.summary] {
        if !word.is_empty() {
            text.push(' ');
            text.push_str(word);
        }
    }
    format!("{text} on {} at {}", name(event.host), event.at)
}

fn how(a: &TraceEvent, b: &TraceEvent, name: &dyn Fn(HostId) -> String) -> String {
    let (one, other) = (input(a, name), input(b, name));
    if one != other {
        return format!("{one} against {other}");
    }
    if a.cause != b.cause {
        return format!("{one}, caused by event {} against {}", a.cause, b.cause);
    }
    let fact = |fact: &(&'static str, Vec<(&'static str, String)>)| {
        let fields: Vec<String> = fact.1.iter().map(|(field, value)| format!("{field} {value}")).collect();
        format!("{} ({})", fact.0, fields.join(", "))
    };
    let send = |(to, message): &(HostId, &'static str)| format!("{message} to {}", name(*to));
    let write = |(path, what, offset, length): &(String, &'static str, u64, u64)| {
        format!("{what} of {path}, {length} bytes at {offset}")
    };
    let differs = first(&a.facts, &b.facts, &fact)
        .map(|differs| format!("states {differs}"))
        .or_else(|| first(&a.marks, &b.marks, &|mark| (*mark).to_owned()).map(|differs| format!("reaches {differs}")))
        .or_else(|| first(&a.sends, &b.sends, &send).map(|differs| format!("sends {differs}")))
        .or_else(|| first(&a.writes, &b.writes, &write).map(|differs| format!("writes {differs}")))
        .or_else(|| {
            let status =
                |exit: Option<i32>| exit.map_or_else(|| "nothing".to_owned(), |status| format!("exit {status}"));
            (a.exit != b.exit).then(|| format!("ends with {} against {}", status(a.exit), status(b.exit)))
        });
    match differs {
        Some(differs) => format!("{one}: {} {differs}", name(a.host)),
        None => format!(
            "{one}: the same in all that is recorded; its bytes differ, or a fault or a state between it and the event before"
        ),
    }
}

/// The first entries that differ.
fn first<T: PartialEq>(a: &[T], b: &[T], words: &dyn Fn(&T) -> String) -> Option<String> {
    let at = (0..a.len().max(b.len())).find(|&at| a.get(at) != b.get(at))?;
    let say = |side: &[T]| side.get(at).map_or_else(|| "nothing".to_owned(), words);
    Some(format!("{} against {}", say(a), say(b)))
}
