//! From a run to its record.

use std::collections::BTreeMap;

use coordinator::CoordinatorMark;
use engine::{Part, Verdict, Violation};
use judges::{Court, Property};
use machine::HostId;
use record::{
    Check, Counts, Finding, Host, Identity, MarkCount, Note, OperationCount, Outcome, Record, Role, RuleCount, Stuck,
    Table, Waiting, Witness,
};
use world::{Node, Remark};

use crate::prepared::{Prepared, Run};
use crate::story;

/// The testbed's version, as reports say it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, if the build was told.
pub const COMMIT: Option<&str> = option_env!("TRIBUNAL_COMMIT");

/// What a run leaves behind. The story is there only if the run was recorded.
#[must_use]
pub fn record(prepared: &Prepared, run: &Run) -> Record {
    let names = run.setup.topology.names();
    let seed = run.setup.seed;
    let world = &run.world;
    let court = world.judges();
    let findings: Vec<Finding> = match &run.outcome.verdict {
        Verdict::Violated(violations) => violations.iter().map(|violation| finding(violation, run, &names)).collect(),
        Verdict::Held | Verdict::Undecided(_) => Vec::new(),
    };
    let outcome = match &run.outcome.verdict {
        Verdict::Held => Outcome::Held,
        Verdict::Violated(_) => Outcome::Violated,
        Verdict::Undecided(_) => Outcome::Undecided,
    };
    let of_kafka = court.kafka().map(|_| court.statistics().operations());
    let operations: Vec<OperationCount> = court
        .zookeeper()
        .operations()
        .into_iter()
        .chain(of_kafka.into_iter().flatten())
        .map(|(kind, count)| OperationCount {
            kind: kind.to_owned(),
            ok: count.ok,
            failed: count.failed,
            unknown: count.unknown,
        })
        .collect();
    let counts = world.counts();
    let recording = world.recording();
    Record {
        schema: record::SCHEMA,
        identity: Identity {
            scenario: prepared.name.clone(),
            about: prepared.scenario.about.clone(),
            seed,
            command: prepared.command(seed, run.watch),
            version: VERSION.to_owned(),
            commit: COMMIT.map(str::to_owned),
            config_digest: prepared.config_digest(),
            trace_hash: run.outcome.hash,
            defects: prepared.scenario.cluster.defects.clone(),
        },
        outcome,
        headline: headline(prepared, run, &findings, &operations),
        findings,
        counts: Counts {
            events: run.outcome.events,
            messages: counts.messages,
            simulated: run.outcome.at.as_nanos(),
            bytes_written: 0,
            syncs: counts.syncs,
        },
        hosts: hosts(run, &names),
        rules: world
            .rules()
            .map(|(rule, count)| {
                let text = match &rule.name {
                    Some(name) => format!("{name}: {}", rule.fault),
                    None => rule.fault.to_string(),
                };
                RuleCount { text, fired: count.fired, felt: count.felt }
            })
            .collect(),
        checks: court
            .checks()
            .into_iter()
            .map(|check| {
                let relaxed: Vec<String> =
                    check.relaxed.iter().map(|(reason, times)| format!("{reason} ({times} times)")).collect();
                Check {
                    id: check.id.to_owned(),
                    name: check.name.to_owned(),
                    times: check.times,
                    relaxed: (!relaxed.is_empty()).then(|| relaxed.join("; ")),
                }
            })
            .collect(),
        marks: marks(run),
        operations,
        moments: recording.map_or_else(Vec::new, |recording| story::moments(recording, &names)),
        bands: recording.map_or_else(Vec::new, |recording| story::bands(recording, &names)),
        tracks: recording.map_or_else(Vec::new, |recording| story::tracks(recording, &names)),
        trees: recording.map_or_else(Vec::new, |recording| story::trees(recording, court, &names)),
        steps: recording.map_or_else(Vec::new, |recording| story::steps(recording, &names)),
        arrows: recording.map_or_else(Vec::new, |recording| story::arrows(recording, &names)),
        notes: notes(prepared, run),
    }
}

fn headline(prepared: &Prepared, run: &Run, findings: &[Finding], operations: &[OperationCount]) -> String {
    let at = run.outcome.at.as_millis();
    match (&run.outcome.verdict, findings.first()) {
        (Verdict::Violated(_), Some(first)) => format!("{} {}: {}", first.id, first.name, first.headline),
        (Verdict::Undecided(why), _) => why.clone(),
        (Verdict::Held | Verdict::Violated(_), _) => {
            let done: u64 = operations.iter().map(|op| op.ok).sum();
            let converged = run.outcome.settled_after.map_or_else(String::new, |span| {
                format!("; converged {}.{:03} s after the heal", span.as_millis() / 1000, span.as_millis() % 1000)
            });
            format!(
                "{} with seed {}: every rule held over {}.{:03} s and {done} operations{converged}",
                prepared.name,
                run.setup.seed,
                at / 1000,
                at % 1000
            )
        }
    }
}

fn hosts(run: &Run, names: &[String]) -> Vec<Host> {
    let all = run.world.hosts();
    all.ids()
        .zip(names)
        .map(|(host, name)| Host {
            name: name.clone(),
            group: all.group(host).to_owned(),
            boots: all.incarnation(host).0,
            state: run.state(host),
        })
        .collect()
}

/// The marks of a run, reached or not, in the order of [`mark_catalogue`].
#[must_use]
pub fn marks(run: &Run) -> Vec<MarkCount> {
    let reached = run.world.marks();
    let situations = run.world.judges().situations();
    mark_catalogue()
        .into_iter()
        .map(|mark| MarkCount {
            name: mark.name.to_owned(),
            id: mark.property.map(|property| property.id.to_owned()),
            starred: mark.property.is_some_and(|property| property.starred),
            times: reached.get(mark.name).or_else(|| situations.get(mark.name)).copied().unwrap_or(0),
        })
        .collect()
}

/// The marks that a run reached: those of the machines and those of the judges.
#[must_use]
pub fn marks_reached(run: &Run) -> BTreeMap<&'static str, u64> {
    let mut reached = run.world.judges().situations();
    reached.extend(run.world.marks());
    reached
}

/// A mark there is.
#[derive(Clone, Copy, Debug)]
pub struct MarkEntry {
    /// Its name.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub about: &'static str,
    /// The property of the catalogue that it stands for, if any.
    pub property: Option<&'static Property>,
}

/// Every mark there is: those of the machines, and the situations over several of them.
#[must_use]
pub fn mark_catalogue() -> Vec<MarkEntry> {
    fn of<M: machine::Mark>() -> impl Iterator<Item = (&'static str, &'static str)> {
        M::ALL.iter().map(|mark| (mark.name(), mark.about()))
    }
    of::<CoordinatorMark>()
        .chain(of::<zkclient::ZkClientMark>())
        .chain(of::<clients::WorkloadMark>())
        .chain(of::<clients::kafka::KafkaClientMark>())
        .chain(of::<broker::BrokerMark>())
        .chain(of::<commitlog::CommitLogMark>())
        .chain(Court::all_situations())
        .chain(of::<judges::CoverageMark>())
        .map(|(name, about)| MarkEntry { name, about, property: judges::property_of(name) })
        .collect()
}

/// The names of all marks.
#[must_use]
pub fn mark_names() -> Vec<&'static str> {
    mark_catalogue().into_iter().map(|mark| mark.name).collect()
}

fn notes(prepared: &Prepared, run: &Run) -> Vec<Note> {
    let mut notes: Vec<Note> =
        run.setup.drawn.iter().map(|text| Note { label: "drawn".to_owned(), text: text.clone() }).collect();
    notes.extend(remarks(run));
    notes.extend(balance(prepared, run));
    for properties in prepared.configuration() {
        for (label, remarks) in [("unknown", &properties.unknown), ("not modelled", &properties.unmodelled)] {
            for remark in remarks {
                notes.push(Note { label: label.to_owned(), text: placed(&properties.file, remark) });
            }
        }
    }
    if let Some(read) = &prepared.files.server_properties {
        for note in &read.notes {
            notes.push(Note { label: "configured".to_owned(), text: placed(&read.properties.file, note) });
        }
    }
    notes
}

/// Records per broker: what balancing comes down to.
fn balance(prepared: &Prepared, run: &Run) -> Vec<Note> {
    let statistics = run.world.judges().statistics();
    let brokers = &run.setup.topology.brokers;
    let per_broker = |records: &dyn Fn(HostId) -> u64| -> String {
        let each: Vec<String> =
            brokers.iter().map(|broker| format!("{} {}", broker.name, records(broker.host))).collect();
        each.join(", ")
    };
    let mut notes = Vec::new();
    if !brokers.is_empty() {
        let text = format!("led: {}", per_broker(&|host| statistics.led(host)));
        notes.push(Note { label: "records".to_owned(), text });
    }
    let kinds: std::collections::BTreeSet<&str> = statistics.sent().keys().map(|&(kind, _)| kind).collect();
    for kind in kinds {
        let sent = |host| statistics.sent().get(&(kind, host)).copied().unwrap_or(0);
        notes.push(Note { label: "records".to_owned(), text: format!("sent by {kind}: {}", per_broker(&sent)) });
    }
    let idle: Vec<&str> = brokers
        .iter()
        .filter(|broker| prepared.scenario.cluster.late.contains_key(&broker.name) && statistics.led(broker.host) == 0)
        .map(|broker| broker.name.as_str())
        .collect();
    if !idle.is_empty() {
        let text = format!(
            "{} joined and leads nothing: no partition moves to a new broker until a reassignment is asked for",
            idle.join(", ")
        );
        notes.push(Note { label: "records".to_owned(), text });
    }
    notes
}

fn placed(file: &str, remark: &Remark) -> String {
    match remark.line {
        0 => format!("{file} {}: {}", remark.key, remark.text),
        line => format!("{file}:{line} {}: {}", remark.key, remark.text),
    }
}

/// A remark about a configuration file as `tribunal check` prints it.
#[must_use]
pub fn remark_line(file: &str, label: &str, remark: &Remark) -> String {
    match remark.line {
        0 => format!("{file}: {label}: {}: {}", remark.key, remark.text),
        line => format!("{file}:{line}: {label}: {}: {}", remark.key, remark.text),
    }
}

/// What the judges excuse, count as a known hole of the real server, or relaxed: an honest report leaves none of it out.
#[must_use]
pub fn remarks(run: &Run) -> Vec<Note> {
    let court = run.world.judges();
    let mut notes = Vec::new();
    for excuse in court.excuses() {
        let because: Vec<String> = excuse
            .because
            .iter()
            .map(|(moment, what)| format!("{what} (#{} at {})", moment.event, moment.at))
            .collect();
        let text = format!("{} {}: not a bug because {}", excuse.rule.id(), excuse.headline, because.join(", "));
        notes.push(Note { label: "excused".to_owned(), text });
    }
    let checks = court.checks();
    for (what, times, first) in court.notes() {
        let relaxes: Vec<&str> = checks
            .iter()
            .filter(|check| check.relaxed.iter().any(|&(reason, _)| reason == what))
            .map(|c| c.id)
            .collect();
        let rules = if relaxes.is_empty() { String::new() } else { format!("{}: ", relaxes.join(", ")) };
        let text = format!("{rules}{what} ({times} times, first at {})", first.at);
        notes.push(Note { label: "known hole".to_owned(), text });
    }
    for check in &checks {
        for (reason, times) in
            check.relaxed.iter().filter(|(reason, _)| court.notes().all(|(what, ..)| what != *reason))
        {
            notes.push(Note { label: "relaxed".to_owned(), text: format!("{} {times} times: {reason}", check.id) });
        }
    }
    notes
}

fn finding(violation: &Violation, run: &Run, names: &[String]) -> Finding {
    let name = |host: HostId| names[host.0 as usize].clone();
    let witnesses = violation
        .witnesses
        .iter()
        .map(|witness| Witness {
            event: witness.event,
            at: witness.at.as_nanos(),
            place: witness.host.map_or_else(|| "judge".to_owned(), name),
            text: witness.note.clone(),
            role: match witness.part {
                Part::Promise => Role::Promise,
                Part::FirstWrongStep => Role::FirstWrongStep,
                Part::Detected => Role::Detected,
                Part::Other => Role::Step,
            },
        })
        .collect();
    let (id, rule_name, headline) = title(violation);
    let why = judges::explain(&id).map_or_else(Vec::new, |rule| {
        [("rule", rule.statement), ("matters", rule.why), ("source", rule.source)]
            .map(|(label, text)| Note { label: label.to_owned(), text: text.to_owned() })
            .to_vec()
    });
    Finding {
        stuck: (violation.invariant == LIVENESS).then(|| stuck(&headline, run)),
        id,
        name: rule_name,
        headline,
        event: violation.event,
        at: violation.at.as_nanos(),
        host: violation.host.map(name),
        witnesses,
        why,
        state: Some(state(run)),
        help: None,
        signature: violation.signature(),
    }
}

/// What the engine calls a world that does not converge; its headline begins with the rule that is not met.
const LIVENESS: &str = "LIVENESS";

/// Id, name and headline of a violation.
pub(crate) fn title(violation: &Violation) -> (String, String, String) {
    if violation.invariant == LIVENESS
        && let Some((id, rest)) = violation.headline.split_once(' ')
        && let Some(rule) = judges::explain(id)
    {
        let rest = rest.strip_prefix(rule.name).unwrap_or(rest);
        return (id.to_owned(), rule.name.to_owned(), rest.trim_start_matches([':', ' ']).to_owned());
    }
    (violation.invariant.to_owned(), violation.name.to_owned(), violation.headline.clone())
}

/// What is stuck, who waits for what, and why that should not be.
fn stuck(pending: &str, run: &Run) -> Stuck {
    let mut waiting = Vec::new();
    for client in &run.setup.topology.clients {
        let Some(machine) = run.world.machine(client.host).and_then(Node::as_zk_workload) else { continue };
        if let Some(oldest) = machine.pending() {
            let state = if machine.connected() { "connected" } else { "not connected" };
            waiting.push(Waiting { who: client.name.clone(), state: state.to_owned(), what: oldest.to_string() });
        }
    }
    Stuck {
        pending: pending.to_owned(),
        progress: None,
        waiting,
        recoverable: "every fault has ended, every server was started again, and a majority can reach each other"
            .to_owned(),
    }
}

/// The servers side by side, at the end of the run.
fn state(run: &Run) -> Table {
    let mut rows = Vec::new();
    for server in &run.setup.topology.servers {
        let mut row = vec![server.name.clone()];
        match run.world.machine(server.host).map(Node::as_coordinator) {
            Some(Some(machine)) => {
                let view = machine::Machine::view(machine);
                row.extend([
                    view.role.to_owned(),
                    view.phase.to_owned(),
                    view.accepted_epoch.to_string(),
                    view.current_epoch.to_string(),
                    format!("{:#x}", view.last_processed),
                    format!("{:x}", view.tree_digest),
                    view.sessions.to_string(),
                ]);
            }
            Some(None) | None => row.push("down".to_owned()),
        }
        row.resize(8, String::new());
        rows.push(row);
    }
    let head = ["server", "role", "phase", "accepted", "current", "last zxid", "tree digest", "sessions"];
    Table { title: "the servers at the end of the run".to_owned(), head: head.map(str::to_owned).to_vec(), rows }
}
