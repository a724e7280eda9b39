//! An explanation as text.

use std::fmt::Write as _;

use engine::Part;
use search::{Curve, INEVITABLE_PERCENT, Line, Need, Point, Tally, Whence};

use super::{AskedRule, Explanation, SLICE_LINES};

/// Columns of a report.
const COLUMNS: usize = 100;
/// How wide the bars of the curve are.
const BAR: usize = 20;

/// A label and a text behind it, wrapped below itself.
pub(super) fn paragraph(label: &str, text: &str) -> String {
    const INDENT: usize = 11;
    format!("{label:<INDENT$}{}", wrapped(text, COLUMNS - INDENT).join(&format!("\n{:INDENT$}", "")))
}

/// Lines of at most so many columns.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1_000_000_000, nanos / 1_000_000 % 1000)
}

/// The same to the microsecond.
fn exactly(nanos: u64) -> String {
    format!("{}.{:06}", nanos / 1_000_000_000, nanos / 1_000 % 1_000_000)
}

/// Cut to so many columns, with a sign that it is.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A line of the slice: when and who, what with its marks, and whether it is what makes the violation.
struct SliceLine {
    head: String,
    whole: String,
    is_witness: bool,
}

/// How many lines more each may take: first what makes the violation, then what is nearest to it.
fn wraps(lines: &[SliceLine]) -> Vec<usize> {
    let mut room = SLICE_LINES.saturating_sub(lines.len());
    let mut wraps = vec![0; lines.len()];
    let order = |is_witness: bool| (0..lines.len()).rev().filter(move |&at| lines[at].is_witness == is_witness);
    for at in order(true).chain(order(false)) {
        let line = &lines[at];
        let most = if line.is_witness { usize::MAX } else { 1 };
        let wanted = wrapped(&line.whole, COLUMNS - line.head.chars().count()).len() - 1;
        wraps[at] = wanted.min(most).min(room);
        room -= wraps[at];
    }
    wraps
}

impl Explanation {
    /// As text of at most a hundred columns.
    #[must_use]
    pub fn to_text(&self) -> String {
        let headline = format!("{} {}: {}", self.invariant, self.name, self.headline);
        let mut text = wrapped(&headline, COLUMNS).join("\n") + "\n";
        let _ = writeln!(
            text,
            "  seed {}  event {}/{}  t={} s  {}\n",
            self.seed,
            self.event,
            self.events,
            seconds(self.at),
            self.file
        );
        self.write_slice(&mut text);
        if self.faultless {
            text.push_str("\nno fault was necessary: the schedule is empty, the workload alone does it\n");
        }
        if !self.necessity.is_empty() {
            text.push_str("\nwhich faults were necessary\n");
            self.necessity.iter().for_each(|asked| write_rule(&mut text, asked));
        }
        if let Some(curve) = &self.curve {
            self.write_curve(&mut text, curve);
        }
        text.push_str("\nwhy this is a bug\n");
        if let Some(rule) = &self.rule {
            for (label, words) in [("  demands", &rule.text), ("  matters", &rule.why), ("  source", &rule.source)] {
                let _ = writeln!(text, "{}", paragraph(label, words));
            }
        }
        for defect in &self.defects {
            let _ = writeln!(text, "{}", paragraph("  cause", &format!("{} is on: {}", defect.id, defect.text)));
        }
        text.push_str("\nnext\n");
        for command in &self.next {
            let _ = writeln!(text, "  {command}");
        }
        text
    }

    fn write_slice(&self, text: &mut String) {
        let object = if self.object.is_empty() { String::new() } else { format!(" to {}", self.object.join(", ")) };
        let left = self.events.saturating_sub(self.on_path);
        let title = cut(&format!("what happened{object}"), 56);
        let _ = writeln!(text, "{title:<56}  (elided: {left} events off the causal path)");
        let lines: Vec<SliceLine> = self.slice.iter().map(|line| self.slice_line(line)).collect();
        let wraps = wraps(&lines);
        for (line, wraps) in lines.iter().zip(wraps) {
            let SliceLine { head, whole, .. } = line;
            let indent = head.chars().count();
            let mut lines = wrapped(whole, COLUMNS - indent);
            if lines.len() > wraps + 1 {
                let behind = lines.split_off(wraps).join(" ");
                lines.push(cut(&behind, COLUMNS - indent));
            }
            let _ = writeln!(text, "{head}{}", lines.join(&format!("\n{:indent$}", "")));
        }
    }

    /// A line of the slice before it is known how much room it has.
    fn slice_line(&self, line: &Line) -> SliceLine {
        let (event, at, whence, what, part, times) = match line {
            Line::Elided(count) => {
                let whole = format!("… {count} events not on the causal path");
                return SliceLine { head: format!("{:19}", ""), whole, is_witness: false };
            }
            Line::Event { event, at, whence, text, part, times } => (event, at, whence, text, part, times),
        };
        let who = match whence {
            Whence::Host(host) => self.hosts[host.0 as usize].as_str(),
            Whence::Fault => "FAULT",
            Whence::Judge => "judge",
        };
        let mark = match part {
            Part::Promise => "  <== promise",
            Part::FirstWrongStep => "  <== first wrong step",
            Part::Detected => "  <== detected",
            Part::Other => "",
        };
        let times = if *times > 1 { format!(" ({times} times)") } else { String::new() };
        let head = format!("{:>8} {:>8}  {who:<7} ", format!("#{event}"), seconds(at.as_nanos()));
        SliceLine { head, whole: format!("{what}{times}{mark}"), is_witness: *part != Part::Other }
    }

    fn write_curve(&self, text: &mut String, curve: &Curve) {
        let futures = curve.points.first().map_or(0, |point| point.tally.all());
        let _ = writeln!(text, "\nhow likely it was: of {futures} futures from each instant, how many end like this");
        let mut before: Option<Point> = None;
        let mut shown: Option<u32> = None;
        for (number, point) in curve.points.iter().enumerate() {
            let since = before.map_or(0, |before| before.at);
            let moments: Vec<&str> = self
                .moments
                .iter()
                .filter(|(at, _)| (*at > since || before.is_none()) && *at <= point.at)
                .map(|(_, what)| what.as_str())
                .collect();
            for moment in moments {
                let _ = writeln!(text, "{:>34}{}", "", cut(moment, COLUMNS - 34));
            }
            before = Some(*point);
            let percent = point.tally.percent();
            let is_end = number == 0 || number + 1 == curve.points.len();
            // An instant that says what the one before it says is not shown.
            if is_end || shown.is_none_or(|shown| shown.abs_diff(percent) >= 5) {
                shown = Some(percent);
                let filled = "#".repeat(percent as usize * BAR / 100);
                let _ = writeln!(text, "{:>9} s {percent:>4} %  |{filled:<BAR$}|", seconds(point.at));
            }
        }
        let last = before.map_or(0, |point| point.at);
        for (_, moment) in self.moments.iter().filter(|(at, _)| *at > last) {
            let _ = writeln!(text, "{:>34}{}", "", cut(moment, COLUMNS - 34));
        }
        match curve.inevitable {
            None => {
                let words = format!(
                    "never before it was seen: at no instant did {INEVITABLE_PERCENT} % of the futures end like this"
                );
                let _ = writeln!(text, "{}", paragraph("inevitable", &words));
            }
            Some((possible, certain)) if possible.at == certain.at => {
                let words = format!(
                    "from the start: {} % of its futures end like this, so it is the schedule rather than chance",
                    certain.tally.percent()
                );
                let _ = writeln!(text, "{}", paragraph("inevitable", &words));
            }
            Some((possible, certain)) => {
                let words = format!(
                    "from {} s on (#{}): {} % of the futures, against {} % at {} s. Between the two:",
                    exactly(certain.at),
                    certain.event,
                    certain.tally.percent(),
                    possible.tally.percent(),
                    exactly(possible.at),
                );
                let _ = writeln!(text, "{}", paragraph("inevitable", &words));
                for what in &self.turning_point {
                    let _ = writeln!(text, "{:11}{}", "", cut(what, COLUMNS - 11));
                }
                if self.turning_point.is_empty() {
                    let _ = writeln!(text, "{:11}nothing that a machine states: chance decided", "");
                }
            }
        }
    }
}

fn write_rule(text: &mut String, asked: &AskedRule) {
    let (with, without) = (asked.necessity.with, asked.necessity.without);
    let verdict = match asked.necessity.need {
        Need::Needed => "needed",
        Need::Helps => "helps",
        Need::NotNeeded => "not needed",
        Need::NeverStruck => "never struck",
        Need::Unclear => "unclear",
    };
    let _ = writeln!(text, "  {verdict:<13}{}", cut(&asked.rule, COLUMNS - 15));
    if asked.necessity.need != Need::NeverStruck {
        let own = if asked.necessity.itself { "fails" } else { "does not fail like this" };
        let words =
            format!("without it this run {own}, and of its futures {}; with it {}", ended(without), ended(with));
        for line in wrapped(&words, COLUMNS - 15) {
            let _ = writeln!(text, "{:15}{line}", "");
        }
    }
}

/// `48/50 fail like this, 2/50 hold`.
fn ended(tally: Tally) -> String {
    let all = tally.all();
    let parts = [
        (tally.same, "fail like this"),
        (tally.other, "fail in another way"),
        (tally.held, "hold"),
        (tally.undecided, "have no verdict"),
    ];
    let said = parts.into_iter().filter(|&(count, _)| count > 0).map(|(count, what)| format!("{count}/{all} {what}"));
    said.collect::<Vec<_>>().join(", ")
}
