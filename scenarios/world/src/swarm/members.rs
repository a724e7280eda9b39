//! What a swarm draws of an ensemble's members: observers and what becomes of them, and an operator who reconfigures.

use engine::{Fault, Rule, SpanRange, Target, When};
use machine::Span;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Cast, log_uniform, rule};
use crate::scenario::KeyValue;
use crate::topology::OBSERVERS;
use crate::{Kind, Scenario};

/// Draws observers and their faults, and how busy an operator is; writes all but the faults into the scenario.
pub(super) fn draw(scenario: &mut Scenario, cast: &Cast, rng: &mut ChaCha8Rng) -> Vec<Rule> {
    let observers = if rng.random_ratio(1, 2) { rng.random_range(1..=2) } else { 0 };
    scenario.cluster.observers = observers;
    let mut operators = 0;
    for operator in scenario.workloads.iter_mut().filter(|workload| workload.kind == Kind::Reconfigure) {
        let think = log_uniform(20, 3_000, rng);
        operator.think = SpanRange::between(Span::millis(think / 2), Span::millis(think));
        operators += operator.clients;
    }
    if operators > 0 {
        for key in ["reconfigEnabled", "skipACL"] {
            scenario.cluster.zoo.insert(key.to_owned(), KeyValue::Flag(true));
        }
    }
    let strikes = if observers > 0 { rng.random_range(0..=3) } else { 0 };
    let rules: Vec<Rule> = (0..strikes).map(|_| strike(cast, rng)).collect();
    scenario.drawn.push(format!("members: {observers} observers with {strikes} faults, {operators} operators"));
    rules
}

fn strike(cast: &Cast, rng: &mut ChaCha8Rng) -> Rule {
    let target = Target::AnyOf(OBSERVERS.to_owned());
    let lasting = Some(SpanRange::exactly(Span::millis(log_uniform(50, cast.session_ms * 2, rng))));
    let at = SpanRange::exactly(Span::millis(rng.random_range(2_000..=12_000)));
    let fault = match rng.random_range(0..4) {
        0 => Fault::Kill { target, restart_after: lasting },
        1 => Fault::PowerLoss { target, down_for: lasting },
        2 => Fault::Pause { target, lasting },
        _ => Fault::Isolate { target, lasting },
    };
    rule(When::At(at), fault)
}
