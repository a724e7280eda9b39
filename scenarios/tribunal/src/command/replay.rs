//! `tribunal replay`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use engine::{Bound, Reached};
use machine::{Instant, Span};
use record::{Outcome, Record};
use tribunal::{Prepared, Repro, Run, Watch, advance, read, report, state_of};

use super::run::{ReportArguments, quiet_panics};
use super::{Failure, NOT_DETERMINISTIC, narrate, print};

/// Repeats the run of a repro bit for bit, or names the first event that differs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal replay target/tribunal/session-expiry-C19-0a1b2c3d.repro.json
  tribunal replay small.repro.json -vv --keep
  tribunal replay small.repro.json --until 12.5s
  tribunal replay small.repro.json --keep-going

A repro is written by tribunal fuzz and tribunal shrink. It holds scenario, configuration, seed
and schedule, and is enough on any machine with the same version. The exit status is that of the
run, or 4 if it is not the run of the repro any more.")]
pub(crate) struct Replay {
    /// The repro.
    file: PathBuf,
    /// Stops at this simulated time and shows the hosts there.
    #[arg(long, value_name = "TIME", value_parser = simulated, conflicts_with_all = ["keep_going", "keep", "verbose"])]
    until: Option<Span>,
    /// Goes on behind the violation, to see what comes of it; stops after 32.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    report: ReportArguments,
}

/// A time since the start of the run: `12.418s`, `12418ms`, `2m`.
pub(crate) fn simulated(text: &str) -> Result<Span, String> {
    let decimal = text.trim().strip_suffix('s').and_then(|number| number.split_once('.'));
    let Some((whole, part)) = decimal else { return engine::parse_span(text).map_err(|error| error.to_string()) };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = (is_digits(whole) && is_digits(part) && part.len() <= 9)
        .then(|| format!("{part:0<9}"))
        .and_then(|part| whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(part.parse().ok()?));
    nanos.map(Span::nanos).ok_or_else(|| format!("\"{text}\" is no time; it is given as 12.418s or 12418ms"))
}

impl Replay {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let file = self.file.display().to_string();
        let repro = Repro::from_json(&file, &read(&self.file)?)?;
        let prepared = repro.prepared(&file)?;
        if repro.commit.as_deref() != report::COMMIT {
            let words = |commit: Option<&str>| commit.unwrap_or("an unknown commit").to_owned();
            let (theirs, ours) = (words(repro.commit.as_deref()), words(report::COMMIT));
            narrate(&format!("warning: {file} was written by {theirs}, and this is {ours}"));
        }
        quiet_panics();
        if let Some(until) = self.until {
            return self.until(&prepared, &repro, until);
        }
        let watch = Watch { keep_going: self.keep_going, ..Watch::FULL };
        let run = prepared.run(repro.seed, watch)?;
        let mut record = report::record(&prepared, &run);
        match parting(&repro, &run) {
            None if self.keep_going => {
                narrate(&format!("repeated   the {} events of the repro; then it went on", repro.expected.events));
            }
            None => {
                let (events, hash) = (run.outcome.events, run.outcome.hash);
                narrate(&format!("repeated   bit for bit: {events} events, trace {hash:016x}"));
            }
            Some(how) => differs(&mut record, &how),
        }
        self.report.report(record)
    }

    /// Runs to an instant and shows who is what there.
    fn until(&self, prepared: &Prepared, repro: &Repro, until: Span) -> Result<u8, Failure> {
        let (setup, mut world) = prepared.world(repro.seed, Watch::FULL)?;
        let reached = advance(&mut world, &setup, Bound::At(Instant::ZERO + until));
        let (now, events) = (world.now(), world.events());
        let mut text = match reached {
            Reached::Panic(message) => format!("PANICKED at {now} after {events} events: {message}\n"),
            Reached::Violation => {
                let first = world.violations().first().expect("it stopped at one");
                format!("VIOLATED {} at {now} after {events} events: {}\n", first.invariant, first.headline)
            }
            Reached::There => format!("STOPPED at {now} after {events} events\n"),
            Reached::End => format!("ENDED at {now} after {events} events\n"),
            Reached::Spent => format!("UNDECIDED at {now} after {events} events: the budget of steps is spent\n"),
        };
        let names = setup.topology.names();
        let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let hosts = world.hosts();
        for (host, name) in hosts.ids().zip(&names) {
            let (life, state) = (hosts.incarnation(host).0, state_of(&world, host));
            writeln!(text, "  {name:widest$}  life {life}  {state}").expect("a string takes any text");
        }
        print(&text);
        let recording = world.recording().expect("a full watch records");
        match repro.trail.as_ref().map(|trail| (trail.events(), trail.parting_within(recording, u64::MAX))) {
            None => narrate("compared   nothing: the repro has no trail of its trace"),
            Some((known, None)) => narrate(&format!("repeated   {} events of the repro", known.min(events))),
            Some((_, Some(parting))) => {
                let event = usize::try_from(parting.from).expect("events have an index");
                let name = |host: machine::HostId| names[host.0 as usize].clone();
                let at = recording.events.get(event - 1).map_or_else(String::new, |event| search::input(event, &name));
                narrate(&format!("error: this run parts from that of the repro at event {event}: {at}"));
                return Ok(NOT_DETERMINISTIC);
            }
        }
        Ok(0)
    }
}

/// How a run differs from what its repro expects; none if it does not.
fn parting(repro: &Repro, run: &Run) -> Option<String> {
    let recording = run.world.recording().expect("a full watch records");
    let expected = &repro.expected;
    let parting = match &repro.trail {
        Some(trail) if run.watch.keep_going => trail.parting_within(recording, u64::MAX),
        Some(trail) => trail.parting(recording),
        None => None,
    };
    if let Some(parting) = parting {
        let names = run.setup.topology.names();
        let index = usize::try_from(parting.from - 1).expect("events have an index");
        let at = recording.events.get(index);
        let at = at.map_or_else(
            || "here the run is over, there it went on".to_owned(),
            |event| search::input(event, &|host| names[host.0 as usize].clone()),
        );
        let event = if parting.from == parting.to {
            format!("event {}", parting.from)
        } else {
            format!("one of the events {} to {}", parting.from, parting.to)
        };
        return Some(format!("this run parts from that of the repro at {event}: {at}"));
    }
    if run.watch.keep_going || run.outcome.hash == expected.hash {
        return None;
    }
    let (events, hash) = (run.outcome.events, run.outcome.hash);
    let why =
        if repro.trail.is_some() { "the same events" } else { "the repro has no trail that would name the event" };
    Some(format!(
        "this run ends with trace {hash:016x} after {events} events, that of the repro with {:016x} after {}; {why}",
        expected.hash, expected.events
    ))
}

fn differs(record: &mut Record, how: &str) {
    narrate(&format!("error: {how}"));
    record.outcome = Outcome::NotDeterministic;
    record.headline = how.to_owned();
}

#[cfg(test)]
mod tests {
    use super::simulated;

    #[test]
    fn a_time_is_read_with_and_without_a_point() {
        let nanos = |text| simulated(text).unwrap().as_nanos();
        assert_eq!(nanos("12.418s"), 12_418_000_000);
        assert_eq!(nanos("0.000000001s"), 1);
        assert_eq!(nanos("12418ms"), 12_418_000_000);
        assert_eq!(nanos("2m"), 120_000_000_000);
        for wrong in ["12.418", ".5s", "1.s", "1.2.3s", "1.0000000001s", "x", "99999999999999.0s"] {
            assert!(simulated(wrong).is_err(), "{wrong}");
        }
    }
}
