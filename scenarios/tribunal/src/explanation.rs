//! Why a run failed: the causal slice of its failure, which faults it needed, and when it became inevitable.
//!
//! All figures come from forks of the run: they are given other keys and run to their end, so what is counted is what comes of
//! the faults rather than the luck of one seed. The same repro gives the same explanation, whatever the number of threads.

mod facts;
mod object;
mod text;
mod topic;

use engine::{Bound, EventKind, FaultEvent, Recording, TraceEvent, Verdict, Violation, When};
use machine::{Instant, Span};
use search::{Curve, Ending, Futures, Line, Necessity, Said, Slice, Teller, Telling};
use serde::Serialize;
use world::{BadInput, Setup};

pub use topic::explain_id;

use crate::prepared::{JudgedWorld, Prepared, Run, Watch, advance, run_to_end};
use crate::report;
use crate::repro::Repro;
use crate::shrinking::{NotShrunk, first_violation, reproduce};
use crate::story;
use object::Object;

/// Lines of a slice at most, with those that the wrapping of long ones takes.
pub const SLICE_LINES: usize = 40;
/// So many are left to the wrapping, whatever there is to tell.
const SLICE_WRAPS: usize = 4;

/// How much is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Questions {
    /// Futures for each rule, with it and without it; zero leaves the question out.
    pub futures: u32,
    /// Futures for each instant of the curve; zero leaves it out.
    pub curve_futures: u32,
    /// Instants of the curve.
    pub instants: u32,
    /// Threads; they change nothing but the speed.
    pub jobs: usize,
}

/// A rule of the schedule, and whether the failure needs it.
#[derive(Clone, Debug, Serialize)]
pub struct AskedRule {
    /// The rule in words.
    pub rule: String,
    /// What leaving it out comes to.
    #[serde(flatten)]
    pub necessity: Necessity,
}

/// What a rule demands, or what a defect does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Lore {
    /// Its id.
    pub id: String,
    /// What it demands, or does.
    pub text: String,
    /// Why it matters; empty for a defect.
    pub why: String,
    /// Where it is written; empty for a defect.
    pub source: String,
}

/// A failure, explained.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The file.
    pub file: String,
    /// The invariant that is broken.
    pub invariant: String,
    /// Its name.
    pub name: String,
    /// One sentence with values.
    pub headline: String,
    /// When it was seen, in nanoseconds.
    pub at: u64,
    /// By which event.
    pub event: u64,
    /// The seed.
    pub seed: u64,
    /// Names of hosts, in order of their numbers.
    pub hosts: Vec<String>,
    /// What was violated, as the slice looks for it.
    pub object: Vec<String>,
    /// The causal slice.
    pub slice: Vec<Line>,
    /// Events on the causal path.
    pub on_path: u64,
    /// Events of the run.
    pub events: u64,
    /// What the rule demands.
    pub rule: Option<Lore>,
    /// What the defects do that were on.
    pub defects: Vec<Lore>,
    /// Whether the schedule is empty.
    pub faultless: bool,
    /// Each rule of the schedule: whether the failure needs it.
    pub necessity: Vec<AskedRule>,
    /// How likely the failure was along the run.
    pub curve: Option<Curve>,
    /// Marks of the curve: faults and witnesses, each with its time in nanoseconds.
    pub moments: Vec<(u64, String)>,
    /// What happened when the failure became inevitable.
    pub turning_point: Vec<String>,
    /// Commands that go on from here.
    pub next: Vec<String>,
}

/// Explains the failure of a repro.
///
/// # Errors
/// If it does not fail as it says.
pub fn explain_repro(
    file: &str,
    repro: &Repro,
    questions: Questions,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Explanation, NotShrunk> {
    let run = reproduce(file, repro, Watch::FULL)?;
    let violation = first_violation(&run).expect("a reproduced failure");
    let recording = run.world.recording().expect("the run was recorded");
    let names = run.setup.topology.names();
    let mut object = Object::of(violation, &run.setup.topology);
    object.take_tails(recording, violation, &names);
    let slice = slice(recording, violation, &object, &names);
    let future = Future::of(repro, &run, violation, file)?;
    let mut necessity = Vec::new();
    if questions.futures > 0 && !repro.schedule.is_empty() {
        necessity = asked_rules(repro, recording, &future, questions, progress);
    }
    let mut curve = None;
    if questions.curve_futures > 0 {
        curve = Some(future.curve(violation, recording, questions, progress)?);
    }
    let turning_point = match curve.as_ref().and_then(|curve| curve.inevitable) {
        Some((before, after)) => turning_point(recording, &object, &names, before.event, after),
        None => Vec::new(),
    };
    let (invariant, name, headline) = report::title(violation);
    let rule = judges::explain(&invariant).map(|rule| Lore {
        id: rule.id.to_owned(),
        text: rule.statement.to_owned(),
        why: rule.why.to_owned(),
        source: rule.source.to_owned(),
    });
    Ok(Explanation {
        file: file.to_owned(),
        rule,
        invariant,
        name,
        headline,
        at: violation.at.as_nanos(),
        event: violation.event,
        seed: repro.seed,
        object: object.words(),
        on_path: slice.on_path,
        events: slice.events,
        slice: slice.lines,
        defects: defects(repro),
        faultless: repro.schedule.is_empty(),
        necessity,
        curve,
        moments: moments(recording, violation, &names),
        turning_point,
        next: next(file, violation, &names),
        hosts: names,
    })
}

fn defects(repro: &Repro) -> Vec<Lore> {
    let known = world::Defect::all();
    let told = repro.scenario.cluster.defects.iter().filter_map(|id| {
        let defect = known.iter().find(|defect| defect.id == id)?;
        let (id, text) = (defect.id.to_owned(), defect.about.to_owned());
        Some(Lore { id, text, why: String::new(), source: String::new() })
    });
    told.collect()
}

/// The slice of a violation in the field's words.
fn slice(recording: &Recording, violation: &Violation, object: &Object, names: &[String]) -> Slice {
    let say = |event: &TraceEvent| said(event, object, names);
    let fault = |fault: &FaultEvent| struck(fault, names);
    search::slice(recording, violation, &Teller { say: &say, fault: &fault, lines_most: SLICE_LINES - SLICE_WRAPS })
}

/// An event in words: the facts that were stated in it, or what arrived.
fn said(event: &TraceEvent, object: &Object, names: &[String]) -> Option<Said> {
    let name = |host: machine::HostId| names[host.0 as usize].as_str();
    let mut told: Vec<(bool, Telling, String)> = Vec::new();
    if event.kind == EventKind::Boot && event.incarnation.0 > 1 {
        told.push((true, Telling::Step, format!("starts again (life {})", event.incarnation.0)));
    }
    for (kind, fields) in &event.facts {
        let words = story::said(kind, fields);
        let turns = words.as_ref().is_some_and(|&(telling, _)| telling >= Telling::Step);
        let touches = object.is_touched_by(name(event.host), kind, fields, turns);
        // What is not told of a whole run is told only of what was violated.
        let own = || facts::words(kind, fields, object).filter(|_| touches);
        let Some((telling, text)) = words.or_else(own) else { continue };
        if told.iter().all(|(_, _, other)| *other != text) {
            told.push((touches, telling, text));
        }
    }
    if let Some(status) = event.exit {
        told.push((true, Telling::Turn, format!("exits with status {status}")));
    }
    let touches = told.iter().any(|&(touches, _, _)| touches);
    // A broker that elects leaders says so of each partition: the others are told only if there is nothing else to tell.
    told.retain(|&(own, _, _)| own || !touches);
    if told.is_empty() {
        return passed_on(event, object, name);
    }
    let telling = told.iter().map(|&(_, telling, _)| telling).max().unwrap_or(Telling::Relay);
    let mut texts: Vec<String> = told.into_iter().map(|(_, _, text)| text).collect();
    // Many facts of one event, such as twelve elections: the first few and how many more.
    let more = texts.len().saturating_sub(3);
    texts.truncate(3);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(Said { telling, touches, text: texts.join("; ") + &more })
}

/// Requests that change a znode. A server serves them in groups, so that what comes of one is caused by another: they are steps of
/// their own on the way to it.
const WRITES: [&str; 5] = ["create", "create2", "setData", "delete", "multi"];

/// What arrived, of an event that stated nothing worth telling.
fn passed_on<'n>(event: &TraceEvent, object: &Object, name: impl Fn(machine::HostId) -> &'n str) -> Option<Said> {
    let from = event.from.map_or("somebody", name);
    let (text, touches) = match event.kind {
        // A bare reply or a ping says nothing that its effect does not.
        EventKind::Message | EventKind::Datagram if ["reply", "ping", "connect"].contains(&event.name) => return None,
        EventKind::Message | EventKind::Datagram => match object.named_in(&event.summary) {
            Some(named) => {
                let text = format!("receives {} of {named} from {from}", event.name);
                if WRITES.contains(&event.name) {
                    return Some(Said { telling: Telling::Detail, touches: true, text });
                }
                (text, true)
            }
            None => (format!("receives {} from {from}", event.name), false),
        },
        EventKind::Lost => (format!("loses its connection to {from}"), false),
        EventKind::Refused => (format!("is refused by {from}"), false),
        EventKind::Boot
        | EventKind::Woken
        | EventKind::Opened
        | EventKind::Accepted
        | EventKind::Durable
        | EventKind::Turn
        | EventKind::Terminate => return None,
    };
    Some(Said { telling: Telling::Relay, touches, text })
}

/// A fault with whom it hit.
fn struck(fault: &FaultEvent, names: &[String]) -> String {
    let whom: Vec<&str> = fault.targets.iter().map(|host| names[host.0 as usize].as_str()).collect();
    let whom = if whom.is_empty() { "nobody".to_owned() } else { whom.join(", ") };
    format!("{} -> {whom}", fault.text)
}

fn moments(recording: &Recording, violation: &Violation, names: &[String]) -> Vec<(u64, String)> {
    let faults = recording.faults.iter().map(|fault| (fault.at.as_nanos(), format!("FAULT {}", struck(fault, names))));
    let witnesses = violation.witnesses.iter().filter_map(|witness| {
        let what = match witness.part {
            engine::Part::Promise => "promise",
            engine::Part::FirstWrongStep => "first wrong step",
            engine::Part::Detected => "detected",
            engine::Part::Other => return None,
        };
        Some((witness.at.as_nanos(), format!("{what}: {}", witness.note)))
    });
    let mut moments: Vec<(u64, String)> = faults.chain(witnesses).collect();
    moments.sort_by_key(|&(at, _)| at);
    moments
}

/// What happened between the last instant at which a failure could be avoided and the first at which it could not.
fn turning_point(
    recording: &Recording,
    object: &Object,
    names: &[String],
    before: u64,
    after: search::Point,
) -> Vec<String> {
    let mut told: Vec<(bool, Telling, u64, String)> = Vec::new();
    for fault in recording.faults.iter().filter(|fault| fault.event >= before && fault.at.as_nanos() <= after.at) {
        told.push((true, Telling::Turn, fault.event, format!("FAULT {}", struck(fault, names))));
    }
    for event in recording.events.iter().filter(|event| event.id > before && event.id <= after.event) {
        if let Some(said) = said(event, object, names) {
            let who = &names[event.host.0 as usize];
            told.push((said.touches, said.telling, event.id, format!("#{} {who} {}", event.id, said.text)));
        }
    }
    told.sort_by_key(|&(touches, telling, event, _)| (!touches, std::cmp::Reverse(telling), event));
    told.truncate(3);
    told.sort_by_key(|&(_, _, event, _)| event);
    if told.is_empty() {
        return stated_next(recording, object, names, after.event);
    }
    told.into_iter().map(|(_, _, _, text)| text).collect()
}

/// Where nobody states what decided it, that shows in what is stated next.
fn stated_next(recording: &Recording, object: &Object, names: &[String], after: u64) -> Vec<String> {
    const NEXT: usize = 2;
    let behind = recording.events.iter().skip_while(|event| event.id <= after);
    let next = behind.filter_map(|event| {
        let said = said(event, object, names).filter(|said| said.telling >= Telling::Step)?;
        Some(format!("#{} {} {}", event.id, names[event.host.0 as usize], said.text))
    });
    let first = "nothing that a machine states: chance decided, and what is stated next shows how".to_owned();
    let mut told: Vec<String> = std::iter::once(first).chain(next.take(NEXT)).collect();
    if told.len() == 1 {
        told.clear();
    }
    told
}

fn next(file: &str, violation: &Violation, names: &[String]) -> Vec<String> {
    let wrong = violation.witnesses.iter().find(|witness| witness.part == engine::Part::FirstWrongStep);
    let wrong = wrong.or(violation.witnesses.last());
    let mut next = Vec::new();
    if let Some(witness) = wrong {
        // An instant before it: what is wrong shows a moment later.
        let at = witness.at.as_nanos().saturating_sub(1_000_000) / 1_000_000;
        let host = witness.host.map_or_else(String::new, |host| format!(" --host {}", names[host.0 as usize]));
        next.push(format!("tribunal inspect {file} --at {at}ms{host}"));
    }
    next.push(format!("tribunal replay {file}"));
    if !file.ends_with(".small.json") {
        next.push(format!("tribunal shrink {file}"));
    }
    next
}

/// How the futures of a run are made and judged.
struct Future<'r> {
    prepared: Prepared,
    setup: Setup,
    repro: &'r Repro,
    signature: u64,
}

/// A shrunk run is cut right behind its failure: a future that is a little later must not be healed before it fails.
const SLACK: Span = Span::secs(5);

impl<'r> Future<'r> {
    fn of(repro: &'r Repro, run: &Run, violation: &Violation, file: &'r str) -> Result<Self, BadInput> {
        let signature = violation.signature();
        let prepared = repro.prepared(file)?;
        let plain = Self { setup: prepared.setup(repro.seed)?, prepared, repro, signature };
        let wanted = Span::nanos(violation.at.as_nanos()).saturating_add(SLACK);
        let is_behind_the_faults = run.outcome.core.is_some() || run.outcome.healed_at.is_some();
        if is_behind_the_faults || wanted <= plain.setup.faults_for {
            return Ok(plain);
        }
        let mut longer = repro.clone();
        longer.scenario.duration = engine::SpanRange::exactly(wanted);
        let prepared = longer.prepared(file)?;
        // What the length of a run decides lies behind the failure; if it does not, the run keeps its length.
        let again = prepared.run(repro.seed, Watch::LIGHT)?;
        let is_same = again.outcome.events == run.outcome.events && again.outcome.hash == run.outcome.hash;
        Ok(if is_same { Self { setup: again.setup, prepared, ..plain } } else { plain })
    }

    /// The world of the run, without a rule, at its start.
    fn world(&self, without: Option<usize>) -> Result<JudgedWorld, BadInput> {
        let mut prepared = self.prepared.clone();
        if let (Some(rule), Some(schedule)) = (without, &mut prepared.schedule) {
            schedule.remove(rule);
        }
        Ok(prepared.world(self.repro.seed, Watch::LIGHT)?.1)
    }

    /// Lets it run until an instant.
    fn advance(&self, world: &mut JudgedWorld, until: Instant) {
        // A world that stops earlier ends there, whatever is asked of it.
        let _ = advance(world, &self.setup, Bound::At(until));
    }

    /// Runs a future to its end.
    fn end(&self, mut world: JudgedWorld) -> Ending {
        match run_to_end(&mut world, &self.setup).verdict {
            Verdict::Held => Ending::Held,
            Verdict::Undecided(_) => Ending::Undecided,
            Verdict::Violated(violations) if violations[0].signature() == self.signature => Ending::Same,
            Verdict::Violated(_) => Ending::Other,
        }
    }

    fn curve(
        &self,
        violation: &Violation,
        recording: &Recording,
        questions: Questions,
        progress: &mut dyn FnMut(&str, usize, usize),
    ) -> Result<Curve, BadInput> {
        let last = Instant::from_nanos(violation.at.as_nanos().saturating_sub(1));
        let mut instants = search::instants(Instant::ZERO, last, questions.instants);
        // The moment before each fault, and the one before the first wrong step, are asked for themselves.
        let wrong = violation.witnesses.iter().filter(|it| it.part == engine::Part::FirstWrongStep).map(|it| it.at);
        let asked = recording.faults.iter().map(|fault| fault.at).chain(wrong);
        instants.extend(asked.map(|at| Instant::from_nanos(at.as_nanos().saturating_sub(1))));
        instants.retain(|&at| at <= last);
        instants.sort_unstable();
        instants.dedup();
        let count = instants.len();
        Ok(search::inevitability(
            self.world(None)?,
            &instants,
            &|world, until| self.advance(world, until),
            &|world| self.end(world),
            Futures { count: questions.curve_futures, jobs: questions.jobs },
            &mut |at| progress("curve", at, count),
        ))
    }
}

/// Asks of each rule whether the failure needs it.
fn asked_rules(
    repro: &Repro,
    recording: &Recording,
    future: &Future<'_>,
    questions: Questions,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Vec<AskedRule> {
    let count = repro.schedule.len();
    let first_strikes: Vec<Option<(Instant, Span)>> = (0..count)
        .map(|rule| {
            let struck = recording.faults.iter().find(|fault| fault.rule == Some(rule))?.at;
            let delay = match &repro.schedule[rule].when {
                When::At(_) => Span::ZERO,
                When::Fact(_) => repro.schedule[rule].after.most(),
            };
            Some((struck, delay))
        })
        .collect();
    let all = search::necessity(
        &first_strikes,
        &|without, until| {
            let mut world = future.world(without).expect("a schedule without a rule is as legal as with it");
            future.advance(&mut world, until);
            world
        },
        &|world| future.end(world),
        Futures { count: questions.futures, jobs: questions.jobs },
        &mut |rule| progress("rules", rule, count),
    );
    let asked =
        all.into_iter().map(|necessity| AskedRule { rule: repro.schedule[necessity.rule].to_string(), necessity });
    asked.collect()
}
