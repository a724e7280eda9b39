//! One run as JUnit's XML: a suite whose cases are the invariants.

use std::fmt::Write as _;

use record::{Finding, Outcome, Record};

use crate::terminal::{Level, terminal};

/// The run as XML. Invariants that were not checked are skipped cases; what was found is a failure of its invariant, with the
/// report as its text. A run without a verdict is an error of a case of its own, `run`.
#[must_use]
pub fn junit(record: &Record) -> String {
    let suite = format!("{} seed {}", record.identity.scenario, record.identity.seed);
    let checked = |finding: &Finding| record.checks.iter().any(|check| check.id == finding.id);
    let others: Vec<&Finding> = record.findings.iter().filter(|finding| !checked(finding)).collect();
    let skipped =
        record.checks.iter().filter(|check| check.times == 0 && failures(record, &check.id).is_empty()).count();
    let failed = record.checks.iter().filter(|check| !failures(record, &check.id).is_empty()).count() + others.len();
    let errors = usize::from(is_error(record));
    let tests = record.checks.len() + others.len() + 1;
    let counts = format!("tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\" skipped=\"{skipped}\"");
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"tribunal\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"{}\" {counts}>", escaped(&suite));
    properties(record, &mut out);
    run(record, &mut out);
    for check in &record.checks {
        case(record, &format!("{} {}", check.id, check.name), &failures(record, &check.id), check.times, &mut out);
    }
    for finding in others {
        case(record, &format!("{} {}", finding.id, finding.name), &[finding], 1, &mut out);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn failures<'a>(record: &'a Record, id: &str) -> Vec<&'a Finding> {
    record.findings.iter().filter(|finding| finding.id == id).collect()
}

/// Whether the run says nothing about the system that it is about.
const fn is_error(record: &Record) -> bool {
    match record.outcome {
        Outcome::Held | Outcome::Violated => false,
        Outcome::Undecided | Outcome::NotDeterministic | Outcome::TestbedAtFault => true,
    }
}

fn properties(record: &Record, out: &mut String) {
    let id = &record.identity;
    out.push_str("    <properties>\n");
    let properties = [
        ("seed", id.seed.to_string()),
        ("command", id.command.clone()),
        ("version", id.version.clone()),
        ("commit", id.commit.clone().unwrap_or_default()),
        ("trace", format!("{:016x}", id.trace_hash)),
        ("config", format!("{:016x}", id.config_digest)),
        ("events", record.counts.events.to_string()),
        ("simulated-nanoseconds", record.counts.simulated.to_string()),
    ];
    for (name, value) in properties.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
    }
    out.push_str("    </properties>\n");
}

fn run(record: &Record, out: &mut String) {
    let class = escaped(&record.identity.scenario);
    if !is_error(record) {
        let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"run\"/>");
        return;
    }
    let (word, headline) = (record.outcome.word(), escaped(&record.headline));
    let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"run\">");
    let _ = writeln!(out, "      <error type=\"{word}\" message=\"{headline}\"/>");
    out.push_str("    </testcase>\n");
}

fn case(record: &Record, name: &str, failures: &[&Finding], times: u64, out: &mut String) {
    let (class, name) = (escaped(&record.identity.scenario), escaped(name));
    let Some(first) = failures.first() else {
        if times > 0 {
            let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"{name}\"/>");
        } else {
            let _ = writeln!(
                out,
                "    <testcase classname=\"{class}\" name=\"{name}\"><skipped message=\"nothing to check\"/></testcase>"
            );
        }
        return;
    };
    let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"{name}\">");
    let (id, headline) = (escaped(&first.id), escaped(&first.headline));
    let _ = writeln!(out, "      <failure type=\"{id}\" message=\"{headline}\">");
    // The first finding's report is the run's; those behind it are told in a line.
    if record.findings.first().is_some_and(|found| found == *first) {
        out.push_str(&escaped(&plain(&terminal(record, Level::Normal))));
    } else {
        let _ = writeln!(out, "#{} {}", first.event, headline);
    }
    out.push_str("      </failure>\n    </testcase>\n");
}

/// Text without the escape sequences of its colours.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        let sequence = &rest[at..];
        rest = sequence.find('m').map_or("", |end| &sequence[end + 1..]);
    }
    out.push_str(rest);
    out
}

/// As XML takes it, in text and in attributes; what XML 1.0 cannot hold is replaced.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, plain};

    #[test]
    fn what_xml_cannot_hold_is_escaped_or_replaced() {
        assert_eq!(escaped("a<b> & \"c\"\u{0}\n"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}\n");
        assert_eq!(plain("\u{1b}[1m\u{1b}[31mVIOLATED\u{1b}[0m x"), "VIOLATED x");
    }
}
