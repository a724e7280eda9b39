//! From text to a scenario, or one sentence that says where and why not.

use clients::WorkloadKind;

use super::overrides;
use super::sections::Scenario;
use crate::place::{BadInput, line_of, nearest};
use crate::zoo_cfg::ZooCfg;

/// Reads a scenario. `file` names the text in messages.
///
/// # Errors
/// Syntax, unknown keys, bad values: with file, line and hint.
pub fn load(file: &str, text: &str) -> Result<Scenario, BadInput> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| complaint(file, text, &error))?;
    check(file, text, &scenario)?;
    Ok(scenario)
}

/// Reads a scenario with `key=value` overrides, such as `cluster.zoo.tickTime=200` or `workloads.0.clients=5`.
///
/// # Errors
/// As [`load`]; of an override: that it has no such place, or no usable value.
pub fn load_with(file: &str, text: &str, sets: &[String]) -> Result<Scenario, BadInput> {
    let plain = load(file, text)?;
    if sets.is_empty() {
        return Ok(plain);
    }
    let mut table: toml::Table = toml::from_str(text).map_err(|error| complaint(file, text, &error))?;
    for set in sets {
        overrides::apply(&mut table, set)?;
        // One at a time, so that the complaint names the override at fault.
        let scenario: Result<Scenario, _> = table.clone().try_into();
        if let Err(error) = scenario {
            let place = format!("--set {set}");
            return Err(with_hint(BadInput::new(&place, None, error.message().to_owned()), error.message()));
        }
    }
    let scenario: Scenario = table.try_into().map_err(|error: toml::de::Error| complaint(file, text, &error))?;
    check(&format!("--set {}", sets.join(" --set ")), "", &scenario)?;
    Ok(scenario)
}

fn complaint(file: &str, text: &str, error: &toml::de::Error) -> BadInput {
    let line = error.span().map(|span| line_of(text, span.start));
    let message = error.message().trim().replace('\n', ", ");
    with_hint(BadInput::new(file, line, message.clone()), &message)
}

/// Serde lists what it expected; the nearest of that is what was meant.
fn with_hint(bad: BadInput, message: &str) -> BadInput {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(word) = quoted.next() else { return bad };
    if !message.contains("unknown") {
        return bad;
    }
    match nearest(word, quoted.collect::<Vec<_>>()) {
        Some(near) => bad.hint(format!("did you mean `{near}`?")),
        None => bad,
    }
}

fn check(file: &str, text: &str, scenario: &Scenario) -> Result<(), BadInput> {
    let line = |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).map(|at| at + 1);
    let choices = scenario.cluster.coordinators.choices();
    if choices.is_empty() || choices.iter().any(|&n| !(1..=9).contains(&n)) {
        return Err(BadInput::new(file, line("coordinators"), "coordinators is not a number from 1 to 9")
            .hint("an ensemble has 3 or 5 servers; 1 runs standalone"));
    }
    for workload in &scenario.workloads {
        if workload.kind == WorkloadKind::Lock && workload.processes.is_some_and(|processes| processes != 1) {
            return Err(BadInput::new(file, line("processes"), "a contender for a lock is one process")
                .hint("leave `processes` out; `clients` is the number of contenders"));
        }
        if workload.processes == Some(0) || workload.clients == 0 || workload.rate_per_second == 0 || workload.keys == 0
        {
            return Err(BadInput::new(
                file,
                line("[[workloads]]"),
                "a workload needs at least one client, one process, one operation per second and one key",
            ));
        }
    }
    for id in &scenario.cluster.defects {
        if coordinator::Defect::from_id(id).is_none() {
            let known: Vec<&str> = coordinator::Defect::ALL.iter().map(|defect| defect.id()).collect();
            return Err(BadInput::new(file, line("defects"), format!("there is no defect `{id}`"))
                .hint(crate::place::did_you_mean(id, &known)));
        }
    }
    let zoo = zoo_text(scenario);
    ZooCfg::parse(&format!("{file} [cluster.zoo]"), &zoo).map(drop).map_err(|mut bad| {
        bad.line = None;
        bad
    })
}

/// The inline keys as the text of a `zoo.cfg`, so that they are checked by the same code.
pub(crate) fn zoo_text(scenario: &Scenario) -> String {
    scenario.cluster.zoo.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}
