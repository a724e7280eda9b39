//! Every input that was delivered, and every message among them.

use engine::{EventKind, Recording, TraceEvent};
use record::{Arrow, Step};

/// The lane that an event is shown on: its own if it was a lane's turn, else one that stands for what the kernel does.
fn lane(event: &TraceEvent) -> &'static str {
    match event.kind {
        EventKind::Turn => event.name,
        EventKind::Message
        | EventKind::Datagram
        | EventKind::Opened
        | EventKind::Accepted
        | EventKind::Refused
        | EventKind::Lost => "network",
        EventKind::Durable => "disk",
        EventKind::Woken => "timers",
        EventKind::Boot | EventKind::Terminate => "process",
    }
}

/// What an event was, in a word or two.
fn text(event: &TraceEvent) -> String {
    match event.kind {
        EventKind::Turn => {
            // `Server(Prep { .. })`: what it is ends where its fields begin.
            let head = event.summary.split(['{', '[', ',', ')']).next().unwrap_or_default();
            let words = head.replace('(', " ");
            if words.trim().is_empty() { event.name.to_owned() } else { words.trim().to_owned() }
        }
        EventKind::Message | EventKind::Datagram => event.name.to_owned(),
        EventKind::Boot => format!("start of life {}", event.incarnation.0),
        EventKind::Woken => "woken".to_owned(),
        EventKind::Opened => "connection opened".to_owned(),
        EventKind::Accepted => "connection accepted".to_owned(),
        EventKind::Refused => "connection refused".to_owned(),
        EventKind::Lost => "connection lost".to_owned(),
        EventKind::Durable => "durable".to_owned(),
        EventKind::Terminate => "told to end".to_owned(),
    }
}

/// Every input that was delivered.
pub(crate) fn steps(recording: &Recording, names: &[String]) -> Vec<Step> {
    let step = |event: &TraceEvent| Step {
        event: event.id,
        cause: event.cause,
        at: event.at.as_nanos(),
        host: names[event.host.0 as usize].clone(),
        lane: lane(event).to_owned(),
        text: text(event),
        detail: event.summary.clone(),
    };
    recording.events.iter().map(step).collect()
}

/// Messages: delivered ones, with the event that sent them.
pub(crate) fn arrows(recording: &Recording, names: &[String]) -> Vec<Arrow> {
    let sender = |cause: u64| {
        let at = recording.events.binary_search_by_key(&cause, |event| event.id).ok()?;
        Some(&recording.events[at])
    };
    let messages = recording.events.iter().filter(|event| event.kind == EventKind::Message);
    messages
        .filter_map(|event| {
            let sent = sender(event.cause)?;
            Some(Arrow {
                from: names[event.from?.0 as usize].clone(),
                from_lane: lane(sent).to_owned(),
                to: names[event.host.0 as usize].clone(),
                to_lane: lane(event).to_owned(),
                sent: sent.at.as_nanos(),
                received: event.at.as_nanos(),
                cause: event.cause,
                event: event.id,
                label: event.name.to_owned(),
            })
        })
        .collect()
}
