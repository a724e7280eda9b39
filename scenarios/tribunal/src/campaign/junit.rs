//! The outcome of a campaign as JUnit XML, which every CI system reads.
//!
//! One test suite per scenario. Its first test case is the seeds that were run; each group of failures, and each run that
//! came to nothing, is a test case of its own, named so that it is the same one in the next campaign.

use std::fmt::Write as _;

use render::escaped;

use super::{CampaignOutcome, Noted, ScenarioOutcome, Unmet};

/// The whole document.
#[must_use]
pub fn junit(outcome: &CampaignOutcome, unmet: Option<&[Unmet]>) -> String {
    let mut suites = String::new();
    let mut all = Counts::default();
    for scenario in &outcome.scenarios {
        let (cases, counts) = cases(outcome, scenario);
        all.add(&counts);
        suite(&mut suites, &scenario.name, &cases, &counts);
    }
    if let Some(unmet) = unmet {
        let mut cases = String::new();
        let counts = Counts { tests: unmet.len() as u64 + 1, failures: unmet.len() as u64, errors: 0 };
        case(&mut cases, "coverage", "gate", None);
        for it in unmet {
            let message = format!("reached in {} runs; at least {} must", it.runs, it.least);
            case(&mut cases, "coverage", &it.mark, Some(("failure", "COVERAGE", &message, "")));
        }
        all.add(&counts);
        suite(&mut suites, "coverage", &cases, &counts);
    }
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tribunal\"{all}>\n{suites}</testsuites>\n")
}

#[derive(Default)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tests, failures, errors } = self;
        write!(f, " tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"")
    }
}

fn suite(into: &mut String, name: &str, cases: &str, counts: &Counts) {
    writeln!(into, "  <testsuite name=\"{}\"{counts}>\n{cases}  </testsuite>", escaped(name))
        .expect("a string takes any text");
}

fn cases(outcome: &CampaignOutcome, scenario: &ScenarioOutcome) -> (String, Counts) {
    let mut text = String::new();
    let mut counts = Counts { tests: 1, ..Counts::default() };
    case(&mut text, &scenario.name, "seeds", None);
    for group in scenario.failures.iter() {
        let first = &group.first;
        let repeat = format!(
            "{} runs, the smallest seed is {}\nrepeat: {}\n",
            group.runs,
            first.seed,
            outcome.command(&scenario.name, first.seed)
        );
        let name = format!("{} {} {:016x}", first.invariant, first.name, group.signature);
        case(&mut text, &scenario.name, &name, Some(("failure", &first.invariant, &first.headline, &repeat)));
        counts.tests += 1;
        counts.failures += 1;
    }
    let errors: [(&str, &[Noted]); 3] = [
        ("undecided", &scenario.undecided),
        ("not-deterministic", &scenario.differing),
        ("testbed-at-fault", &scenario.faulty),
    ];
    for (kind, all) in errors {
        for noted in all {
            let repeat = format!("repeat: {}\n", outcome.command(&scenario.name, noted.seed));
            let name = format!("{kind} seed {}", noted.seed);
            case(&mut text, &scenario.name, &name, Some(("error", kind, &noted.what, &repeat)));
            counts.tests += 1;
            counts.errors += 1;
        }
    }
    (text, counts)
}

fn case(into: &mut String, suite: &str, name: &str, wrong: Option<(&str, &str, &str, &str)>) {
    let head = format!("    <testcase classname=\"tribunal.{}\" name=\"{}\"", escaped(suite), escaped(name));
    match wrong {
        None => writeln!(into, "{head}/>"),
        Some((element, kind, message, text)) => writeln!(
            into,
            "{head}>\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>",
            escaped(kind),
            escaped(message),
            escaped(text)
        ),
    }
    .expect("a string takes any text");
}
