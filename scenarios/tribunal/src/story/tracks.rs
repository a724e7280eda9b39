//! Named values over time: what a host is, who leads what, how far it got.

use std::collections::BTreeMap;

use engine::{EventKind, Recording};
use record::{Point, Track};

use super::Fields;
use super::kafka::whom;

/// What a fact says about values over time: names of tracks, and the value from then on. `host` is who states it.
fn values(kind: &str, fields: &Fields<'_>, host: &str) -> Vec<(String, String)> {
    let f = |name| fields.of(name);
    let own = |what: &str| format!("{host}.{what}");
    let of_partition = |what: &str| format!("{}-{}.{what}", f("topic"), f("partition"));
    let one = |name: String, value: String| vec![(name, value)];
    match kind {
        "role-changed" => one(own("role"), f("role").to_owned()),
        "leader-established" => one(own("role"), format!("leads {}", f("epoch"))),
        "epoch-current" => one(own("epoch"), f("epoch").to_owned()),
        "client-connected" => one(own("session"), format!("{} at {}", f("session"), f("server"))),
        "client-disconnected" => one(own("session"), format!("disconnected: {}", f("cause"))),
        "client-session-expired" => one(own("session"), "expired".to_owned()),
        "client-session-closed" => one(own("session"), "closed".to_owned()),
        "broker-started" => one(own("phase"), "starting".to_owned()),
        "broker-registered" => one(own("registration"), format!("epoch {}", f("epoch"))),
        "broker-running" => one(own("phase"), "running".to_owned()),
        "broker-stopping" => one(own("phase"), "stopping".to_owned()),
        "broker-stopped" => one(own("phase"), "stopped".to_owned()),
        "controller-elected" => {
            vec![
                ("controller".to_owned(), format!("{} in {}", f("broker"), f("epoch"))),
                (own("controls"), f("epoch").to_owned()),
            ]
        }
        "controller-resigned" => one(own("controls"), "no more".to_owned()),
        "partition-leader-elected" => vec![
            (of_partition("leader"), format!("{} in {}", whom(f("leader")), f("leader_epoch"))),
            (of_partition("isr"), f("isr").to_owned()),
        ],
        "isr-changed" => one(of_partition("isr"), f("isr").to_owned()),
        "high-watermark" if f("side") == "leader" => one(of_partition("high-watermark"), f("offset").to_owned()),
        "lock-acquired" => one(f("lock").to_owned(), format!("{host} with token {}", f("token"))),
        "lock-released" => one(f("lock").to_owned(), "free".to_owned()),
        "leadership-taken" => one(f("election").to_owned(), format!("{host} in epoch {}", f("epoch"))),
        "leadership-given-up" => one(f("election").to_owned(), "nobody".to_owned()),
        _ => Vec::new(),
    }
}

/// Roles, epochs, sessions, leaders, ISRs and high watermarks over time, by name.
pub(crate) fn tracks(recording: &Recording, names: &[String]) -> Vec<Track> {
    let mut tracks: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    // Whoever dies says nothing: the engine saw it.
    let mut ends = recording.crashes.iter().map(|&(at, _, host, _)| (at, host)).collect::<Vec<_>>();
    let exits = recording.events.iter().filter(|event| event.exit.is_some());
    ends.extend(exits.map(|event| (event.at, event.host)));
    ends.sort();
    let mut ends = ends.into_iter().peekable();
    let mut set = |at: machine::Instant, name: String, value: String| {
        let points = tracks.entry(name).or_default();
        if points.last().is_none_or(|last| last.value != value) {
            points.push(Point { at: at.as_nanos(), value });
        }
    };
    let up = |host: machine::HostId| format!("{}.process", names[host.0 as usize]);
    for event in &recording.events {
        while let Some((at, host)) = ends.next_if(|&(at, _)| at < event.at) {
            set(at, up(host), "down".to_owned());
        }
        if event.kind == EventKind::Boot {
            set(event.at, up(event.host), format!("life {}", event.incarnation.0));
        }
        for (kind, fields) in &event.facts {
            for (name, value) in values(kind, &Fields(fields), &names[event.host.0 as usize]) {
                set(event.at, name, value);
            }
        }
    }
    for (at, host) in ends {
        set(at, up(host), "down".to_owned());
    }
    tracks.into_iter().map(|(name, points)| Track { name, points }).collect()
}
