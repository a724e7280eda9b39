//! How often each rule was held against what happened, and where it was relaxed.

use std::collections::BTreeMap;

use crate::{Moment, Rule};

/// How often a rule was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How often it was held against something.
    pub times: u64,
    /// How often it was not met and not a violation either, by reason.
    pub relaxed: Vec<(&'static str, u64)>,
}

/// A loss that configuration or a known hole of the real server excuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excuse {
    /// The rule that would be broken.
    pub rule: Rule,
    /// What was lost, in a sentence.
    pub headline: String,
    /// The events that excuse it, with what happened.
    pub because: Vec<(Moment, String)>,
    /// Where it was noticed.
    pub moment: Moment,
}

/// Counts per rule, excuses and notes.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    times: [u64; Rule::ALL.len()],
    relaxed: BTreeMap<(Rule, &'static str), u64>,
    broken: [u64; Rule::ALL.len()],
    excuses: Vec<Excuse>,
    notes: BTreeMap<&'static str, (u64, Moment)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            times: [0; Rule::ALL.len()],
            relaxed: BTreeMap::new(),
            broken: [0; Rule::ALL.len()],
            excuses: Vec::new(),
            notes: BTreeMap::new(),
        }
    }
}

/// More excuses than these are only counted.
const EXCUSES_MOST: usize = 32;

impl Tally {
    /// A rule is held against something.
    pub(crate) fn check(&mut self, rule: Rule) {
        self.times[rule.index()] += 1;
    }

    /// A rule was not met, and there is a reason why that is no violation.
    pub(crate) fn relax(&mut self, rule: Rule, reason: &'static str) {
        *self.relaxed.entry((rule, reason)).or_insert(0) += 1;
    }

    /// A rule was broken.
    pub(crate) fn broke(&mut self, rule: Rule) {
        self.broken[rule.index()] += 1;
    }

    /// Something a reader of the report must know, though it is no violation.
    pub(crate) fn note(&mut self, what: &'static str, moment: Moment) {
        self.notes.entry(what).or_insert((0, moment)).0 += 1;
    }

    pub(crate) fn excuse(&mut self, excuse: Excuse) {
        if self.excuses.len() < EXCUSES_MOST {
            self.excuses.push(excuse);
        }
    }

    /// Whether a judge of the servers found anything.
    pub(crate) fn is_white_box_silent(&self) -> bool {
        Rule::ALL.iter().filter(|rule| !rule.is_black_box()).all(|rule| self.broken[rule.index()] == 0)
    }

    pub(crate) fn excuses(&self) -> &[Excuse] {
        &self.excuses
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = (&'static str, u64, Moment)> {
        self.notes.iter().map(|(&what, &(times, first))| (what, times, first))
    }

    /// The counts of some rules.
    pub(crate) fn checks(&self, is_wanted: impl Fn(Rule) -> bool) -> Vec<Check> {
        Rule::ALL
            .iter()
            .filter(|&&rule| is_wanted(rule))
            .map(|&rule| Check {
                id: rule.id(),
                name: rule.name(),
                times: self.times[rule.index()],
                relaxed: self
                    .relaxed
                    .iter()
                    .filter(|((of, _), _)| *of == rule)
                    .map(|(&(_, reason), &times)| (reason, times))
                    .collect(),
            })
            .collect()
    }
}
