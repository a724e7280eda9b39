//! The outcome of a campaign as text for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use record::Outcome;
use render::Level;
use search::Group;

use super::{CampaignOutcome, ScenarioOutcome, Stopped, Times, Unmet};
use crate::report::mark_names;

const WIDTH: usize = 100;
/// So many of the rarest marks are named.
const RAREST: usize = 10;
/// So many runs without a verdict, or with a fault of the testbed, are named.
const NOTED_MOST: usize = 10;

/// What a summary says beside the outcome itself.
#[derive(Debug)]
pub struct Summary<'a> {
    /// The outcome.
    pub outcome: &'a CampaignOutcome,
    /// Where repros were kept, by scenario and signature.
    pub kept: &'a BTreeMap<(String, u64), String>,
    /// What the coverage gate misses; none if there was no gate.
    pub unmet: Option<&'a [Unmet]>,
    /// How much of it.
    pub level: Level,
}

impl Summary<'_> {
    /// How it ended, with the gate.
    #[must_use]
    pub fn verdict(&self) -> Outcome {
        match (self.outcome.verdict(), self.unmet) {
            (Outcome::Held, Some(unmet)) if !unmet.is_empty() => Outcome::Undecided,
            (verdict, _) => verdict,
        }
    }
}

/// The summary, ending in a line break. The same outcome gives the same bytes.
#[must_use]
pub fn summary(summary: &Summary<'_>) -> String {
    let mut text = String::new();
    headline(&mut text, summary);
    identity(&mut text, summary);
    failures(&mut text, summary);
    let outcome = summary.outcome;
    noted(&mut text, outcome, "testbed at fault", |it| &it.faulty);
    noted(&mut text, outcome, "not deterministic", |it| &it.differing);
    noted(&mut text, outcome, "undecided", |it| &it.undecided);
    gate(&mut text, summary);
    if summary.level > Level::Quiet {
        counted(&mut text, "excused by the configuration", &outcome.all(|it| &it.excused));
        counted(&mut text, "known holes of the real systems", &outcome.all(|it| &it.holes));
        marks(&mut text, summary);
        scenarios(&mut text, outcome);
    }
    text
}

fn plural(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Something went wrong while text was written to a string: it does not.
macro_rules! line {
    ($into:expr, $($argument:tt)*) => {
        writeln!($into, $($argument)*).expect("a string takes any text")
    };
}

fn headline(text: &mut String, summary: &Summary<'_>) {
    let outcome = summary.outcome;
    let runs = outcome.runs();
    let sum = |of: fn(&ScenarioOutcome) -> usize| outcome.scenarios.iter().map(|it| of(it) as u64).sum::<u64>();
    let verdict = summary.verdict();
    let what = match verdict {
        Outcome::Held if runs == 0 => "nothing was run".to_owned(),
        Outcome::Held => {
            let relaxed = outcome.all(|it| &it.excused).len() + outcome.all(|it| &it.holes).len();
            let but = if relaxed > 0 { " (but for what is excused or a known hole, below)" } else { "" };
            format!("every rule held in {}{but}", plural(runs, "run"))
        }
        Outcome::Violated => {
            let groups = plural(sum(|it| it.failures.len()), "failure");
            format!("{groups} in {} of {}", outcome.violated(), plural(runs, "run"))
        }
        Outcome::Undecided if outcome.is_incomplete() => {
            format!("every rule held in {}, and not all were run", plural(runs, "run"))
        }
        Outcome::Undecided if sum(|it| it.undecided.len()) > 0 => {
            format!("{} of {} without a verdict", sum(|it| it.undecided.len()), plural(runs, "run"))
        }
        Outcome::Undecided => {
            let unmet = summary.unmet.map_or(0, |unmet| unmet.len() as u64);
            format!("every rule held in {}, which missed {}", plural(runs, "run"), plural(unmet, "mark of the gate"))
        }
        Outcome::NotDeterministic => {
            format!("{} of {} gave two traces", sum(|it| it.differing.len()), plural(runs, "run"))
        }
        Outcome::TestbedAtFault => {
            format!("the testbed failed in {} of {}", sum(|it| it.faulty.len()), plural(runs, "run"))
        }
    };
    line!(text, "{} {what}", verdict.word());
}

fn identity(text: &mut String, summary: &Summary<'_>) {
    let outcome = summary.outcome;
    let seeds = outcome.asked;
    let scenarios = match &outcome.scenarios[..] {
        [one] => one.name.clone(),
        several => plural(several.len() as u64, "scenario"),
    };
    let arguments = &outcome.arguments;
    let commit = outcome.commit.as_ref().map_or_else(String::new, |commit| format!(" at {commit}"));
    line!(text, "  of         {scenarios}, seeds {seeds}{arguments}, by tribunal {}{commit}", outcome.version);
    let ms: u64 = outcome.scenarios.iter().map(|it| it.simulated_ms).sum();
    let events: u64 = outcome.scenarios.iter().map(|it| it.events).sum();
    let traces = outcome.scenarios.iter().fold(0_u64, |all, it| all.rotate_left(5) ^ it.traces);
    line!(text, "  over       {} and {events} events simulated; traces {traces:016x}", span(ms));
    if outcome.shards.of > 1 {
        let have: Vec<String> = outcome.shards.have.iter().map(u64::to_string).collect();
        line!(text, "  shards     {} of 0..{}", have.join(", "), outcome.shards.of);
    }
    if outcome.shards.have.len() > 1 && !outcome.shards.missing().is_empty() {
        let missing: Vec<String> = outcome.shards.missing().iter().map(u64::to_string).collect();
        line!(text, "  missing    shards {} of 0..{}", missing.join(", "), outcome.shards.of);
    }
    match outcome.stopped {
        None | Some(Stopped::TimeIsUp) => {}
        Some(Stopped::FirstFailure) => line!(text, "  stopped    at the first run that did not hold"),
        Some(Stopped::Interrupted) => line!(text, "  stopped    by an interruption; what had begun was finished"),
    }
}

/// Simulated milliseconds in the units of a day.
fn span(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds:02} s"),
        (_, _) => format!("{hours} h {minutes:02} min"),
    }
}

fn failures(text: &mut String, summary: &Summary<'_>) {
    let outcome = summary.outcome;
    let mut groups: Vec<(&ScenarioOutcome, &Group)> =
        outcome.scenarios.iter().flat_map(|it| it.failures.iter().map(move |group| (it, group))).collect();
    // The most frequent first; what is equally frequent stays in the order of the scenarios.
    groups.sort_by_key(|(_, group)| (u64::MAX - group.runs, group.first.seed));
    if groups.is_empty() {
        return;
    }
    line!(text, "\nfailures");
    for (scenario, group) in groups {
        let first = &group.first;
        let runs = plural(group.runs, "run");
        line!(text, "  {runs:>9}  {}: {}", first.invariant, outcome.command(&scenario.name, first.seed));
        if summary.level == Level::Quiet {
            continue;
        }
        wrapped(text, 13, &format!("{}: {}", first.name, first.headline));
        let seeds: Vec<String> = group.seeds.iter().map(u64::to_string).collect();
        let more = if group.runs > group.seeds.len() as u64 { " …" } else { "" };
        line!(text, "             seeds {}{more}; signature {:016x}", seeds.join(" "), group.signature);
        if let Some(path) = summary.kept.get(&(scenario.name.clone(), group.signature)) {
            line!(text, "             tribunal replay {path}");
        }
    }
}

fn noted(text: &mut String, outcome: &CampaignOutcome, title: &str, which: fn(&ScenarioOutcome) -> &Vec<super::Noted>) {
    let all: Vec<_> = outcome.scenarios.iter().flat_map(|it| which(it).iter().map(move |noted| (it, noted))).collect();
    if all.is_empty() {
        return;
    }
    line!(text, "\n{title}");
    for (scenario, noted) in all.iter().take(NOTED_MOST) {
        line!(text, "  {}", outcome.command(&scenario.name, noted.seed));
        wrapped(text, 6, &noted.what);
    }
    if all.len() > NOTED_MOST {
        line!(text, "  and {} more, in the JSON outcome", all.len() - NOTED_MOST);
    }
}

fn counted(text: &mut String, title: &str, counts: &BTreeMap<String, Times>) {
    if counts.is_empty() {
        return;
    }
    line!(text, "\n{title}");
    for (what, times) in counts {
        wrapped(
            text,
            2,
            &format!("{what}: {} times in {}, first seed {}", times.times, plural(times.runs, "run"), times.first),
        );
    }
}

fn gate(text: &mut String, summary: &Summary<'_>) {
    let Some(unmet) = summary.unmet else { return };
    if unmet.is_empty() {
        line!(text, "\ncoverage gate met");
        return;
    }
    line!(text, "\ncoverage gate not met");
    for it in unmet {
        line!(text, "  {} was reached in {}; at least {} must", it.mark, plural(it.runs, "run"), it.least);
    }
}

fn marks(text: &mut String, summary: &Summary<'_>) {
    let reached = summary.outcome.marks();
    let mut names = mark_names();
    names.sort_unstable();
    names.dedup();
    let never: Vec<&str> = names.iter().copied().filter(|name| !reached.contains_key(*name)).collect();
    line!(text, "\nmarks: {} of {} reached", names.len() - never.len(), names.len());
    let mut rarest: Vec<(&String, &Times)> = reached.iter().collect();
    rarest.sort_by_key(|(name, times)| (times.runs, (*name).clone()));
    let rarest: Vec<String> =
        rarest.iter().take(RAREST).map(|(name, times)| format!("{name} {}", times.runs)).collect();
    if !rarest.is_empty() {
        wrapped(text, 2, &format!("rarest, by runs: {}", rarest.join(", ")));
    }
    // One scenario reaches what it is about, and no more: what it does not reach is news in a larger campaign only.
    if !never.is_empty() && (summary.outcome.scenarios.len() > 1 || summary.level > Level::Normal) {
        wrapped(text, 2, &format!("never: {}", never.join(", ")));
    }
}

fn scenarios(text: &mut String, outcome: &CampaignOutcome) {
    line!(text, "\nscenarios");
    let widest = outcome.scenarios.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
    for it in &outcome.scenarios {
        let mut parts = vec![format!("{} held", it.held)];
        for (count, what) in [
            (it.failures.runs(), "violated"),
            (it.undecided.len() as u64, "undecided"),
            (it.differing.len() as u64, "not deterministic"),
            (it.faulty.len() as u64, "testbed at fault"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        line!(text, "  {:widest$}  seeds {}: {}", it.name, it.seeds, parts.join(", "));
    }
}

/// Words in lines of at most [`WIDTH`], the second and later ones indented a little more.
fn wrapped(text: &mut String, indent: usize, words: &str) {
    let mut line = " ".repeat(indent);
    let mut is_empty = true;
    for word in words.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            line!(text, "{line}");
            line = " ".repeat(indent + 2);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    line!(text, "{line}");
}
