//! A store that acknowledges before it syncs loses what it promised: the failure is shrunk and explained.

use engine::{
    DiskSpec, Findings, HostSpec, Hosts, Judges, Options, Outcome, Part, Plan, Rule, Seen, SeenWhat, Step, Verdict,
    Violation, Witness, World,
};
use machine::{HostId, Instant, Span};
use search::{Ending, Futures, Limits, Line, Need, Pass, Said, Teller, Telling};

use crate::toy::{A, Ack, B, Fact, Toy, links, rules, two_pairs};

/// Remembers the last promise of the store `a`, and says so when the store starts with less.
#[derive(Clone, Debug, Default)]
struct Promises {
    answered: u64,
    last: Option<(u64, Instant)>,
    crashed: Option<(u64, Instant)>,
}

impl Judges<Toy> for Promises {
    fn observe(&mut self, seen: &Seen<'_, Toy>, findings: &mut Findings) {
        let (event, at) = (seen.event, seen.at);
        if let SeenWhat::Crashed { power: true, .. } = seen.what
            && seen.host == A
        {
            self.crashed = Some((event, at));
        }
        let SeenWhat::Stated { fact } = seen.what else { return };
        if let Fact::Answered { .. } = fact
            && seen.host == B
        {
            self.answered += 1;
            self.last = Some((event, at));
        }
        if let Fact::Recovered { count } = fact
            && seen.host == A
            && *count < self.answered
        {
            let witness = |(event, at): (u64, Instant), host, note: &str, part| Witness {
                event,
                at,
                host: Some(host),
                note: note.to_owned(),
                part,
            };
            let promise = self.last.expect("something was answered");
            let crash = self.crashed.expect("only a loss of power loses something");
            findings.violation(Violation {
                invariant: "LOSS",
                name: "loss",
                headline: format!("{} were answered, {count} are there", self.answered),
                witnesses: vec![
                    witness(promise, B, "it is answered", Part::Promise),
                    witness(crash, A, "it loses power", Part::FirstWrongStep),
                    witness((event, at), A, "it has less", Part::Detected),
                ],
                host: Some(A),
                at,
                event,
                signature_parts: Vec::new(),
            });
        }
    }

    fn inspect(&mut self, _: &Step, _: &Hosts<'_, Toy>, _: &mut Findings) {}

    fn role(&self, _: &str) -> Option<HostId> {
        None
    }

    fn pending(&mut self, _: Instant, _: &Hosts<'_, Toy>) -> Option<String> {
        None
    }

    fn finish(&mut self, _: Instant, _: &Hosts<'_, Toy>, _: &mut Findings) {}
}

type LossWorld = World<Toy, Promises>;

const SCHEDULE: &str = r#"
    [[faults]]
    when = { at = "300ms" }
    do = { kill = { target = { host = "d" } } }
    [[faults]]
    when = { at = "400ms" }
    do = { pause = { target = { host = "b" }, for = "30ms" } }
    [[faults]]
    name = "the power goes"
    when = { at = "700ms..750ms" }
    do = { power-loss = { target = { host = "a" }, down-for = "200ms" } }
    [[faults]]
    when = { fact = "answered", nth = 20 }
    after = "1ms..50ms"
    do = { cut = { from = { host = "c" }, to = { host = "d" }, for = "300ms" } }
    [[faults]]
    when = { at = "1500ms" }
    do = { kill = { target = { host = "c" } } }
"#;

fn hosts() -> Vec<HostSpec<Toy>> {
    let mut hosts = two_pairs(Ack::Early);
    for host in &mut hosts {
        // The store is always some syncs behind what it has answered.
        host.disk = DiskSpec { sync_latency: (Span::millis(40), Span::millis(60)), ..host.disk.clone() };
    }
    hosts
}

fn world(schedule: &[Rule], record: bool) -> LossWorld {
    let options = Options { record, ..Options::default() };
    World::new(11, Promises::default(), hosts(), &links(), schedule.to_vec(), options)
}

fn end(world: &mut LossWorld) -> Outcome {
    let left = Span::secs(2).saturating_sub(Span::nanos(world.now().as_nanos()));
    world.run(&Plan { faults_for: left, settle_at_most: Span::secs(1), step_budget: 1_000_000 })
}

fn ending(mut world: LossWorld) -> Ending {
    match end(&mut world).verdict {
        Verdict::Held => Ending::Held,
        Verdict::Violated(found) if found[0].invariant == "LOSS" => Ending::Same,
        Verdict::Violated(_) => Ending::Other,
        Verdict::Undecided(_) => Ending::Undecided,
    }
}

fn violation(world: &mut LossWorld) -> Violation {
    let Verdict::Violated(mut found) = end(world).verdict else { panic!("the run holds") };
    found.remove(0)
}

#[test]
fn the_schedule_shrinks_to_the_loss_of_power_whatever_the_jobs() {
    let passes = [Pass::parts("rules", Vec::len, |rules: &Vec<Rule>, kept: &[usize]| {
        kept.iter().map(|&at| rules[at].clone()).collect()
    })];
    let key = |rules: &Vec<Rule>| {
        let mut digest = machine::Digest::new();
        digest.text(&format!("{rules:?}"));
        digest.value()
    };
    let check = |rules: &Vec<Rule>| (ending(world(rules, false)) == Ending::Same).then_some(());
    let shrunk = [1, 4].map(|jobs| {
        let limits = Limits { jobs, runs: 100 };
        search::shrink(rules(SCHEDULE), (), &passes, &key, &check, limits, &mut |_| {})
    });
    assert_eq!(shrunk[0], shrunk[1]);
    let names: Vec<_> = shrunk[0].value.iter().map(|rule| rule.name.as_deref()).collect();
    assert_eq!(names, [Some("the power goes")]);
}

#[test]
fn the_slice_keeps_the_three_witnesses_and_every_fault_in_the_lines_it_has() {
    let mut world = world(&rules(SCHEDULE), true);
    let violation = violation(&mut world);
    let recording = world.recording().expect("it is recorded");
    let say = |event: &engine::TraceEvent| {
        let (kind, _) = event.facts.first()?;
        Some(Said { telling: Telling::Detail, touches: event.host == A, text: format!("{kind} {}", event.id) })
    };
    let fault = |fault: &engine::FaultEvent| fault.text.clone();
    for lines_most in [20, 40] {
        let slice = search::slice(recording, &violation, &Teller { say: &say, fault: &fault, lines_most });
        assert!(slice.lines.len() <= lines_most, "{} lines", slice.lines.len());
        let parts: Vec<Part> = slice
            .lines
            .iter()
            .filter_map(|line| match line {
                Line::Event { part, .. } if *part != Part::Other => Some(*part),
                Line::Event { .. } | Line::Elided(_) => None,
            })
            .collect();
        assert_eq!(parts, [Part::Promise, Part::FirstWrongStep, Part::Detected]);
        let faults =
            slice.lines.iter().filter(|line| matches!(line, Line::Event { whence: search::Whence::Fault, .. }));
        assert_eq!(faults.count(), recording.faults.len());
        assert!(slice.on_path > 0 && slice.on_path < slice.events / 2, "{} of {}", slice.on_path, slice.events);
    }
}

#[test]
fn only_the_loss_of_power_is_necessary() {
    let schedule = rules(SCHEDULE);
    let mut original = world(&schedule, true);
    violation(&mut original);
    let struck = |rule: usize| {
        let fault = original.recording()?.faults.iter().find(|fault| fault.rule == Some(rule))?;
        Some((fault.at, schedule[rule].after.most()))
    };
    let first_strikes: Vec<_> = (0..schedule.len()).map(struck).collect();
    let make = |without: Option<usize>, until: Instant| {
        let mut schedule = schedule.clone();
        if let Some(rule) = without {
            schedule.remove(rule);
        }
        let mut world = world(&schedule, false);
        world.run_until(until);
        world
    };
    let asked =
        [1, 4].map(|jobs| search::necessity(&first_strikes, &make, &ending, Futures { count: 20, jobs }, &mut |_| {}));
    assert_eq!(asked[0], asked[1]);
    let needs: Vec<Need> = asked[0].iter().map(|asked| asked.need).collect();
    assert_eq!(needs[2], Need::Needed, "{:?}", asked[0]);
    assert_eq!(needs[0], Need::NotNeeded, "{:?}", asked[0]);
    assert_eq!(needs[4], Need::NeverStruck, "the run is over by then");
}

#[test]
fn the_curve_rises_to_certainty_when_the_power_is_gone() {
    let schedule = rules(SCHEDULE);
    let mut original = world(&schedule, true);
    let violation = violation(&mut original);
    let power =
        original.recording().expect("recorded").faults.iter().find(|it| it.name == "power-loss").expect("struck").at;
    let instants = search::instants(Instant::ZERO, Instant::from_nanos(violation.at.as_nanos() - 1), 10);
    let curves = [1, 4].map(|jobs| {
        let futures = Futures { count: 20, jobs };
        let advance = |world: &mut LossWorld, until| world.run_until(until);
        search::inevitability(world(&schedule, false), &instants, &advance, &ending, futures, &mut |_| {})
    });
    assert_eq!(curves[0], curves[1]);
    let curve = &curves[0];
    assert_eq!(curve.points.last().expect("points").tally.percent(), 100);
    let (before, after) = curve.inevitable.expect("it becomes inevitable");
    assert!(before.at <= after.at && after.at <= power.as_nanos(), "{before:?} {after:?} {power}");
}

#[test]
fn the_toy_fails_by_itself_only_if_the_power_goes() {
    assert_eq!(ending(world(&rules(SCHEDULE), false)), Ending::Same);
    assert_eq!(ending(world(&rules(SCHEDULE)[..2], false)), Ending::Held);
}
