//! Checks a schedule against what there is, when it is loaded: a mistyped trigger must not silently never fire.

use std::fmt;

use machine::Span;

use crate::{Except, Fault, Match, Rule, SpanRange, Strike, Target, Trigger, When};

/// What a schedule may name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Kinds of facts and situations.
    pub facts: Vec<String>,
    /// Roles that the judges resolve.
    pub roles: Vec<String>,
    /// Names of hosts.
    pub hosts: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of lanes.
    pub lanes: Vec<String>,
}

/// What is wrong with a schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduleError {
    /// Which rule, from zero.
    pub rule: usize,
    /// What is wrong.
    pub what: ScheduleFault,
}

/// What is wrong with one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScheduleFault {
    /// It names something that there is not.
    Unknown {
        /// What: `fact`, `role`, `host`, `group`, `lane` or `rule`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Its parts contradict each other, or a number is out of range.
    Illegal {
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            ScheduleFault::Unknown { what, name, known } => {
                write!(f, "rule {}: there is no {what} `{name}`; known: {}", self.rule + 1, known.join(", "))
            }
            ScheduleFault::Illegal { why } => write!(f, "rule {}: {why}", self.rule + 1),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// Checks every rule of a schedule.
///
/// # Errors
/// The first rule that names something unknown, with what is known, or that is illegal in itself.
pub fn check_schedule(schedule: &[Rule], catalogue: &Catalogue) -> Result<(), ScheduleError> {
    let names: Vec<String> = schedule.iter().filter_map(|rule| rule.name.clone()).collect();
    for (index, rule) in schedule.iter().enumerate() {
        if let When::Fact(Trigger { behind: Some(behind), .. }) = &rule.when {
            known("rule", behind, &names).map_err(|what| ScheduleError { rule: index, what })?;
        }
        check_rule(rule, catalogue).map_err(|what| ScheduleError { rule: index, what })?;
    }
    Ok(())
}

fn known(what: &'static str, name: &str, known: &[String]) -> Result<(), ScheduleFault> {
    if known.iter().any(|other| other == name) {
        return Ok(());
    }
    Err(ScheduleFault::Unknown { what, name: name.to_owned(), known: known.to_vec() })
}

fn check_rule(rule: &Rule, catalogue: &Catalogue) -> Result<(), ScheduleFault> {
    match &rule.when {
        When::At(_) => {}
        When::Fact(trigger) => {
            known("fact", &trigger.fact, &catalogue.facts)?;
            for wanted in trigger.fields.values() {
                if let Match::Role(role) = wanted {
                    known("role", role, &catalogue.roles)?;
                }
            }
            if let Some(target) = &trigger.host {
                check_target(target, catalogue)?;
            }
        }
    }
    for target in rule.fault.targets() {
        check_target(target, catalogue)?;
    }
    if let Fault::StopLane { lane, .. } = &rule.fault {
        known("lane", lane, &catalogue.lanes)?;
    }
    check_legal(rule)
}

fn check_target(target: &Target, catalogue: &Catalogue) -> Result<(), ScheduleFault> {
    match target {
        Target::Host(name) => known("host", name, &catalogue.hosts),
        Target::Hosts(names) => names.iter().try_for_each(|name| known("host", name, &catalogue.hosts)),
        Target::Role(name) => known("role", name, &catalogue.roles),
        Target::Group(name) | Target::AnyOf(name) | Target::MinorityOf(name) | Target::RestOf(name) => {
            known("group", name, &catalogue.groups)
        }
        Target::Except(Except { group, target }) => {
            known("group", group, &catalogue.groups)?;
            check_target(target, catalogue)
        }
        Target::This(_) | Target::Everybody(_) => Ok(()),
    }
}

/// What a rule may not be, whatever it names.
pub(crate) fn check_legal(rule: &Rule) -> Result<(), ScheduleFault> {
    let illegal = |why| Err(ScheduleFault::Illegal { why });
    if rule.times == 0 {
        return illegal("`times` is at least 1");
    }
    match (&rule.when, rule.strike) {
        (When::At(_), _) if rule.times > 1 => return illegal("a time comes once: `times` needs a fact"),
        (When::At(_), Strike::BeforeEffects) => return illegal("`strike = \"before-effects\"` needs a fact"),
        (When::Fact(_), Strike::BeforeEffects) if rule.after != SpanRange::ZERO => {
            return illegal("`strike = \"before-effects\"` strikes at once: it has no `after`");
        }
        (When::Fact(_), Strike::BeforeEffects) if rule.fault.needs_effects() => {
            return illegal("a process that stops, or is asked to end, still lets the effects of its step leave");
        }
        (When::At(_) | When::Fact(_), Strike::AfterEffects) | (When::Fact(_), Strike::BeforeEffects) => {}
    }
    check_numbers(&rule.fault)
}

/// What a fault may not be, whoever it is aimed at.
fn check_numbers(fault: &Fault) -> Result<(), ScheduleFault> {
    let why = match fault {
        Fault::Loss { one_in: 0, .. } => "`one-in` is at least 1",
        Fault::ClockDrift { ppm, .. } if !(-500_000..=900_000).contains(ppm) => "`ppm` is between -500000 and 900000",
        Fault::SlowDisk { factor: 0, .. } | Fault::SlowCpu { factor: 0, .. } => "`factor` is at least 1",
        Fault::Partition { groups, .. } if groups.len() < 2 => "a partition has at least two groups",
        Fault::Bandwidth { bytes_per_second: 0, .. } => "`bytes-per-second` is at least 1",
        Fault::CrashLoop { times: 0, .. }
        | Fault::LostWrite { times: 0, .. }
        | Fault::MisdirectedWrite { times: 0, .. } => "`times` is at least 1",
        Fault::BitRot { bits: 0, .. } => "`bits` is at least 1",
        Fault::BadSectors { sectors: 0, .. } => "`sectors` is at least 1",
        Fault::ClockStrobe { every, .. } if every.least() < Span::millis(1) => "`every` is at least 1ms",
        Fault::Flap { up, down, .. } if up.least() < Span::millis(1) || down.least() < Span::millis(1) => {
            "`up` and `down` are at least 1ms"
        }
        Fault::Kill { .. }
        | Fault::PowerLoss { .. }
        | Fault::Terminate { .. }
        | Fault::Pause { .. }
        | Fault::Freeze { .. }
        | Fault::Cut { .. }
        | Fault::Partition { .. }
        | Fault::Isolate { .. }
        | Fault::Reset { .. }
        | Fault::Delay { .. }
        | Fault::Loss { .. }
        | Fault::DiskError { .. }
        | Fault::DiskFull { .. }
        | Fault::SlowDisk { .. }
        | Fault::ClockDrift { .. }
        | Fault::ClockJump { .. }
        | Fault::CrashLoop { .. }
        | Fault::Resume { .. }
        | Fault::Suspend { .. }
        | Fault::SlowCpu { .. }
        | Fault::StopLane { .. }
        | Fault::Ring { .. }
        | Fault::Bridge { .. }
        | Fault::Flap { .. }
        | Fault::Swizzle { .. }
        | Fault::HalfOpen { .. }
        | Fault::SlowAccept { .. }
        | Fault::Bandwidth { .. }
        | Fault::Wipe { .. }
        | Fault::RestoreDisk { .. }
        | Fault::BitRot { .. }
        | Fault::BadSectors { .. }
        | Fault::LostSync { .. }
        | Fault::LostWrite { .. }
        | Fault::MisdirectedWrite { .. }
        | Fault::ClockStrobe { .. }
        | Fault::LateTimers { .. }
        | Fault::Heal {} => return Ok(()),
    };
    Err(ScheduleFault::Illegal { why })
}
