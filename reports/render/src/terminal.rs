//! The report a terminal shows.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use record::{Outcome, Record};

use crate::columns::{WIDTH, fit, seconds, wrap};
use crate::{findings, strip, timeline};

/// How much a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Headline and the command that repeats the run: three lines.
    Quiet,
    /// At most 60 lines.
    Normal,
    /// More of the timeline, the marks that were not reached, every step of a proof.
    Verbose,
    /// Everything the record holds.
    Full,
}

/// Lines of reached marks in the normal report.
const MARK_LINES: usize = 4;

/// Points of a track that even the full report shows; exports have them all.
const TRACK_POINTS: usize = 40;

/// Lines of the normal report.
const LINES: usize = 60;

/// The report as text, ending in a newline.
#[must_use]
pub fn terminal(record: &Record, level: Level) -> String {
    let mut lines = Vec::new();
    headline(record, &mut lines);
    if level > Level::Quiet {
        identity(record, &mut lines);
        body(record, level, &mut lines);
    }
    if level == Level::Quiet || record.outcome != Outcome::Held {
        lines.push(format!("reproduce  {}", record.identity.command));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn headline(record: &Record, out: &mut Vec<String>) {
    let colour = match record.outcome {
        Outcome::Held => AnsiColor::Green,
        Outcome::Undecided => AnsiColor::Yellow,
        Outcome::Violated | Outcome::NotDeterministic | Outcome::TestbedAtFault => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into())).bold();
    let word = record.outcome.word();
    let mut lines = Vec::new();
    wrap(&format!("{word} "), &record.headline, &mut lines);
    lines[0] = lines[0].replacen(word, &format!("{style}{word}{style:#}"), 1);
    out.append(&mut lines);
}

fn identity(record: &Record, out: &mut Vec<String>) {
    let id = &record.identity;
    let counts = &record.counts;
    let mut line = format!(
        "  seed {}  events {}  simulated {}s  trace {:016x}  config {:08x}  version {}",
        id.seed,
        counts.events,
        seconds(counts.simulated),
        id.trace_hash,
        id.config_digest & 0xFFFF_FFFF,
        id.version,
    );
    if let Some(commit) = &id.commit {
        let _ = write!(line, " {commit}");
    }
    out.push(fit(&line, WIDTH));
    if !id.defects.is_empty() {
        wrap("  defects on: ", &id.defects.join(", "), out);
    }
    if record.outcome != Outcome::Held {
        out.push(format!("  again: {}", id.command));
    }
}

fn body(record: &Record, level: Level, out: &mut Vec<String>) {
    let all = level >= Level::Verbose;
    out.push(String::new());
    wrap("about      ", &record.identity.about, out);
    for (at, finding) in record.findings.iter().enumerate() {
        if at == 0 {
            out.push(String::new());
            findings::finding(finding, all, out);
        } else if at == 1 {
            out.push("also violated (later in the same run)".to_owned());
        }
        if at > 0 {
            out.push(fit(
                &format!("  {} {}: {} (#{})", finding.id, finding.name, finding.headline, finding.event),
                WIDTH,
            ));
        }
    }
    out.push(String::new());
    injected(record, all, out);
    let mut tail = Vec::new();
    clients(record, &mut tail);
    checks(record, all, &mut tail);
    marks(record, all, &mut tail);
    notes(record, all, &mut tail);
    out.push(String::new());
    out.push("timeline".to_owned());
    let rows = match level {
        Level::Quiet | Level::Normal => LINES.saturating_sub(out.len() + tail.len() + 3).max(6),
        Level::Verbose => 200,
        Level::Full => usize::MAX,
    };
    timeline::timeline(record, rows, out);
    out.push(String::new());
    out.append(&mut tail);
    if level == Level::Full {
        full(record, out);
    }
}

fn injected(record: &Record, all: bool, out: &mut Vec<String>) {
    let fired: u32 = record.rules.iter().map(|rule| rule.fired).sum();
    let felt: u32 = record.rules.iter().map(|rule| rule.felt).sum();
    if record.rules.is_empty() {
        out.push("injected   nothing: this scenario has no faults".to_owned());
        return;
    }
    out.push(format!("injected   {} rules, fired {fired} times, felt {felt} times", record.rules.len()));
    let rows = if all { usize::MAX } else { 6 };
    for rule in record.rules.iter().take(rows) {
        out.push(fit(&format!("  fired {:>2} felt {:>2}  {}", rule.fired, rule.felt, rule.text), WIDTH));
    }
    if record.rules.len() > rows {
        out.push(format!("  … {} more rules", record.rules.len() - rows));
    }
    strip::faults(record, rows, out);
}

fn clients(record: &Record, out: &mut Vec<String>) {
    let total = |of: fn(&record::OperationCount) -> u64| record.operations.iter().map(of).sum::<u64>();
    let kinds: Vec<String> =
        record.operations.iter().map(|op| format!("{} {}", op.kind, op.ok + op.failed + op.unknown)).collect();
    out.push(format!(
        "clients    {} operations ok, {} failed, {} unknown",
        total(|op| op.ok),
        total(|op| op.failed),
        total(|op| op.unknown)
    ));
    if !kinds.is_empty() {
        wrap("           ", &kinds.join(", "), out);
    }
}

fn checks(record: &Record, all: bool, out: &mut Vec<String>) {
    let held = record.checks.iter().filter(|check| check.times > 0).count();
    let idle: Vec<&str> =
        record.checks.iter().filter(|check| check.times == 0).map(|check| check.id.as_str()).collect();
    let mut line = format!("checked    {held} of {} invariants", record.checks.len());
    if !idle.is_empty() {
        let _ = write!(line, "; nothing to check for {}", idle.join(" "));
    }
    wrap("", &line, out);
    let used: Vec<&record::Check> = record.checks.iter().filter(|check| check.times > 0).collect();
    if !all && record.outcome != Outcome::Held {
        return; // Whoever reads about a failure has no use for what did not fail.
    }
    if all {
        for check in used {
            out.push(format!("  {:<5} {:<32} {:>10} times", check.id, check.name, check.times));
        }
    } else {
        let times: Vec<String> = used.iter().map(|check| format!("{}\u{a0}×{}", check.id, check.times)).collect();
        let mut lines = Vec::new();
        wrap("           ", &times.join("  "), &mut lines);
        out.extend(lines.into_iter().map(|line| line.replace('\u{a0}', " ")));
    }
}

fn marks(record: &Record, all: bool, out: &mut Vec<String>) {
    let mut reached: Vec<&record::MarkCount> = record.marks.iter().filter(|mark| mark.times > 0).collect();
    out.push(format!("marks      {} of {} reached", reached.len(), record.marks.len()));
    if !all {
        // The rarest say most about a run.
        reached.sort_by_key(|mark| mark.times);
    }
    let words: Vec<String> = reached
        .iter()
        .map(|mark| match &mark.id {
            Some(id) if all => format!("{id}\u{a0}{}\u{a0}×{}", mark.name, mark.times),
            Some(_) | None => format!("{}\u{a0}×{}", mark.name, mark.times),
        })
        .collect();
    if !words.is_empty() {
        let mut lines = Vec::new();
        wrap("           ", &words.join("  "), &mut lines);
        if !all && lines.len() > MARK_LINES {
            lines.truncate(MARK_LINES);
            let shown: usize = lines.iter().map(|line| line.matches('×').count()).sum();
            lines.push(format!("           … {} more, reached more often (-v)", words.len() - shown));
        }
        out.extend(lines.into_iter().map(|line| line.replace('\u{a0}', " ")));
    }
    if all {
        let missed: Vec<&str> = record.marks.iter().filter(|m| m.times == 0).map(|m| m.name.as_str()).collect();
        wrap("           not reached: ", &missed.join(" "), out);
    }
}

fn notes(record: &Record, all: bool, out: &mut Vec<String>) {
    let rows = if all { usize::MAX } else { 4 };
    for note in record.notes.iter().take(rows) {
        wrap(&format!("{:<11}", note.label), &note.text, out);
    }
    if record.notes.len() > rows {
        out.push(format!("           … {} more notes", record.notes.len() - rows));
    }
}

fn full(record: &Record, out: &mut Vec<String>) {
    out.push(String::new());
    out.push("hosts".to_owned());
    for host in &record.hosts {
        out.push(fit(&format!("  {:<9} {:<13} boots {:>2}  {}", host.name, host.group, host.boots, host.state), WIDTH));
    }
    for track in &record.tracks {
        let mut points: Vec<String> = track.points.iter().map(|p| format!("{} {}", seconds(p.at), p.value)).collect();
        if points.len() > TRACK_POINTS {
            let elided = points.len() - TRACK_POINTS;
            points.splice(TRACK_POINTS / 2..TRACK_POINTS / 2 + elided, [format!("… {elided} more …")]);
        }
        wrap(&format!("  {:<20} ", track.name), &points.join("; "), out);
    }
    if !record.arrows.is_empty() {
        out.push(format!("messages   {}", record.arrows.len()));
        for arrow in &record.arrows {
            out.push(format!(
                "  #{:<8} {:>8} → {:>8}  {} → {}  {}",
                arrow.event,
                seconds(arrow.sent),
                seconds(arrow.received),
                arrow.from,
                arrow.to,
                arrow.label
            ));
        }
    }
}
