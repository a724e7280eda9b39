//! From a full record of the engine's to what a report can draw: the story of a run.
//!
//! Here the protocols' facts get their words. What matters to a reader of any run is a turn; what explains the turns is a step; the rest is detail.

mod kafka;
mod steps;
mod tracks;
mod trees;

use engine::{EventKind, FaultEvent, Recording, TraceEvent};
use record::{Band, Moment, Weight};

pub(crate) use steps::{arrows, steps};
pub(crate) use tracks::tracks;
pub(crate) use trees::{shown, trees};

/// The fields of a fact, by name.
struct Fields<'a>(&'a [(&'static str, String)]);

impl Fields<'_> {
    fn of(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| *field == name).map_or("?", |(_, value)| value.as_str())
    }
}

/// What to say about a fact, and how much it matters; none if nobody wants to know.
fn words(kind: &str, fields: &Fields<'_>) -> Option<(Weight, String)> {
    use Weight::{Detail, Step, Turn};
    let f = |name| fields.of(name);
    Some(match kind {
        "role-changed" => (Step, format!("is {} (current epoch {})", f("role"), f("epoch"))),
        "leader-elected" => (
            Step,
            format!(
                "votes for server {} in round {} (epoch {}, zxid {})",
                f("leader"),
                f("round"),
                f("peer_epoch"),
                f("zxid")
            ),
        ),
        "epoch-accepted" => (Detail, format!("promised epoch {}", f("epoch"))),
        "epoch-current" => (Detail, format!("current epoch is {}", f("epoch"))),
        "leader-established" => (Turn, format!("LEADS epoch {} with a quorum, from zxid {}", f("epoch"), f("zxid"))),
        "sync-decided" => {
            (Step, format!("brings server {} from {} to {} by {}", f("learner"), f("peer_zxid"), f("zxid"), f("mode")))
        }
        "synchronised" => (
            Step,
            format!("in step with leader {} of epoch {} at {} ({})", f("leader"), f("epoch"), f("zxid"), f("mode")),
        ),
        "leader-stepped-down" => (Turn, format!("STEPS DOWN in epoch {}: {}", f("epoch"), f("why"))),
        "learner-dropped" => (Step, format!("drops server {}: {}", f("learner"), f("why"))),
        "learner-left" => (Step, format!("leaves leader {}: {}", f("leader"), f("why"))),
        "log-failed" => (Turn, format!("cannot write its log: {}", f("why"))),
        "truncated" => (Turn, format!("cuts its log after {}", f("zxid"))),
        "recovered" => (Detail, format!("read its disk back: zxid {}, epoch {}", f("zxid"), f("epoch"))),
        "refused-to-start" => (Turn, format!("REFUSES TO START: {}", f("why"))),
        "session-expired" => (Turn, format!("expires session {} (timeout {} ms)", f("session"), f("timeout_ms"))),
        "snapshot-written" => (Detail, format!("wrote a snapshot at {}", f("zxid"))),
        "client-session-expired" => {
            (Turn, format!("learns that its session {} is over, from the {}", f("session"), f("by")))
        }
        "client-session-moved" => (Detail, format!("took session {} from {} to {}", f("session"), f("from"), f("to"))),
        "client-disconnected" => (Detail, format!("lost {}: {}", f("server"), f("cause"))),
        "lock-acquired" => (Detail, format!("holds {} with token {}", f("lock"), f("token"))),
        "resource-write" if f("accepted") == "false" => {
            (Turn, format!("its write with token {} is REFUSED: {} was seen", f("token"), f("seen")))
        }
        "leadership-taken" => (Turn, format!("leads {} in epoch {}", f("election"), f("epoch"))),
        "leadership-given-up" => (Detail, format!("no longer leads {} (epoch {})", f("election"), f("epoch"))),
        "probe-succeeded" => (Detail, format!("writes again after the heal ({} attempts)", f("attempts"))),
        _ => return kafka::words(kind, fields),
    })
}

/// The same for an explanation.
pub(crate) fn said(kind: &str, fields: &[(&'static str, String)]) -> Option<(search::Telling, String)> {
    let (weight, text) = words(kind, &Fields(fields))?;
    let telling = match weight {
        Weight::Turn => search::Telling::Turn,
        Weight::Step => search::Telling::Step,
        Weight::Detail => search::Telling::Detail,
    };
    Some((telling, text))
}

/// The moments of a recorded run.
pub(crate) fn moments(recording: &Recording, names: &[String]) -> Vec<Moment> {
    let name = |host: machine::HostId| names[host.0 as usize].clone();
    let mut moments = Vec::new();
    for event in &recording.events {
        if event.kind == EventKind::Boot && event.incarnation.0 > 1 {
            moments.push(moment(event, names, Weight::Step, format!("starts again (life {})", event.incarnation.0)));
        }
        for (kind, fields) in &event.facts {
            if let Some((weight, text)) = words(kind, &Fields(fields)) {
                moments.push(moment(event, names, weight, text));
            }
        }
        if let Some(status) = event.exit {
            moments.push(moment(event, names, Weight::Turn, format!("exits with status {status}")));
        }
    }
    for fault in &recording.faults {
        let whom: Vec<String> = fault.targets.iter().map(|&host| name(host)).collect();
        let whom = if whom.is_empty() { "nobody: not felt".to_owned() } else { whom.join(", ") };
        moments.push(Moment {
            event: Some(fault.event),
            at: fault.at.as_nanos(),
            place: "FAULT".to_owned(),
            text: format!("{} -> {whom}", fault.text),
            weight: Weight::Turn,
        });
        if let Some(until) = fault.until {
            moments.push(Moment {
                event: None,
                at: until.as_nanos(),
                place: "FAULT".to_owned(),
                text: format!("over: {}", fault.text),
                weight: Weight::Step,
            });
        }
    }
    for situation in &recording.situations {
        let fields: Vec<String> = situation.fields.iter().map(|(field, value)| format!("{field} {value}")).collect();
        moments.push(Moment {
            event: Some(situation.event),
            at: situation.at.as_nanos(),
            place: "judge".to_owned(),
            text: format!("{}: {}", situation.kind, fields.join(", ")),
            weight: Weight::Step,
        });
    }
    if let Some(healed) = recording.healed_at {
        moments.push(Moment {
            event: None,
            at: healed.as_nanos(),
            place: "HEAL".to_owned(),
            text: "all faults end, everybody is started again; now the world must converge".to_owned(),
            weight: Weight::Turn,
        });
    }
    // Stable: what happened at one instant stays in the order in which it was recorded.
    moments.sort_by_key(|moment| moment.at);
    moments
}

fn moment(event: &TraceEvent, names: &[String], weight: Weight, text: String) -> Moment {
    Moment { event: Some(event.id), at: event.at.as_nanos(), place: names[event.host.0 as usize].clone(), text, weight }
}

/// Faults as stretches of time.
pub(crate) fn bands(recording: &Recording, names: &[String]) -> Vec<Band> {
    let band = |fault: &FaultEvent| Band {
        kind: fault.name.to_owned(),
        text: fault.text.clone(),
        event: fault.event,
        hosts: fault.targets.iter().map(|&host| names[host.0 as usize].clone()).collect(),
        from: fault.at.as_nanos(),
        to: fault.until.map(machine::Instant::as_nanos),
    };
    recording.faults.iter().map(band).collect()
}
