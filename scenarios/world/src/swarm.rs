//! `[swarm]`: a run drawn from its seed as a whole.
//!
//! Omission beats tuning: per run each family of faults, each workload and each axis of the configuration is dropped with even odds, and
//! then the magnitudes of what is left are drawn (invariants-and-faults.md §6). What was drawn is itself a scenario without a
//! swarm, so that it can be printed, replayed and shrunk.

mod aimed;
mod configuration;
mod faults;
mod members;

use engine::{Rule, SpanRange, generator};
use machine::{Purpose, Span};
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use aimed::{AIMED, Aimed};
pub use faults::{SWARM_FAMILIES, SwarmFamily};

use crate::Scenario;

/// Each has a generator of its own, so that a draw more in one shifts none of the others.
const SHAPE: Purpose = Purpose::new("world/swarm-shape");
const FAULTS: Purpose = Purpose::new("world/swarm-faults");
const HOOKS: Purpose = Purpose::new("world/swarm-aimed");
const MEMBERS: Purpose = Purpose::new("world/swarm-members");

/// Which families of faults there are to draw from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// None: a check of everything else.
    None,
    /// Processes, hosts and power.
    Crash,
    /// Links and connections.
    Net,
    /// Everything that the real systems promise to survive, within a budget that keeps recovery possible.
    #[default]
    WithinSpec,
    /// Also what breaks their assumptions, and no budget: a loss may be excused.
    BeyondSpec,
}

/// What the time-outs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timers {
    /// Ticks of 50 to 200 ms and everything else in proportion: phases are short, and a run has many of them.
    #[default]
    Scaled,
    /// As the file says.
    AsWritten,
}

/// How many servers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Mostly three, sometimes one to seven.
    #[default]
    Drawn,
    /// Three coordinators and, if there are brokers, three of them; at most three faults, aimed and in an order: studies say that this is
    /// where most bugs are.
    Three,
    /// As the file says.
    AsWritten,
}

/// `[swarm]`: what is drawn per run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swarm {
    /// Which faults.
    #[serde(default)]
    pub profile: Profile,
    /// Which time-outs.
    #[serde(default)]
    pub timers: Timers,
    /// How many servers.
    #[serde(default)]
    pub size: Size,
    /// Who is in the ensemble: observers, and an operator who reconfigures, both with even odds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub members: bool,
    /// At most so many aimed faults.
    #[serde(default = "three")]
    pub aimed: u32,
    /// The mean time between two faults of the families; drawn per run.
    #[serde(default = "every")]
    pub every: SpanRange,
    /// How long a fault lasts; drawn per fault.
    #[serde(default = "lasting")]
    pub lasting: SpanRange,
    /// When faults may begin: a first snapshot does not survive a loss of power until the kernel has written it back.
    #[serde(default = "not_before")]
    pub not_before: SpanRange,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn three() -> u32 {
    3
}

fn every() -> SpanRange {
    SpanRange::between(Span::millis(800), Span::secs(8))
}

fn lasting() -> SpanRange {
    SpanRange::between(Span::millis(50), Span::secs(5))
}

fn not_before() -> SpanRange {
    SpanRange::between(Span::secs(2), Span::secs(8))
}

/// What a fault may be aimed at in the world that was drawn.
struct Cast {
    coordinators: u32,
    brokers: u32,
    racks: u32,
    /// A partition to aim at, such as `orders-0`.
    partition: Option<String>,
    has_clients: bool,
    /// A session of a client, or a broker, in milliseconds.
    session_ms: u64,
}

impl Scenario {
    /// The scenario that a seed is run with: without a swarm it is this one.
    #[must_use]
    pub fn resolved(&self, seed: u64) -> Self {
        let Some(swarm) = &self.swarm else { return self.clone() };
        let mut scenario = self.clone();
        scenario.swarm = None;
        scenario.budget = swarm.profile != Profile::BeyondSpec;
        let shape = &mut generator(seed, SHAPE);
        let cast = configuration::draw(swarm, &mut scenario, shape);
        let of_members =
            if swarm.members { members::draw(&mut scenario, &cast, &mut generator(seed, MEMBERS)) } else { Vec::new() };
        let duration = crate::topology::span(scenario.duration, shape);
        scenario.duration = SpanRange::exactly(duration);
        let (families, mut rules) = faults::draw(swarm, &cast, duration, &mut generator(seed, FAULTS));
        let hooks = aimed::draw(swarm, &cast, duration, &mut generator(seed, HOOKS));
        let words: Vec<&str> = families.iter().map(|family| family.name()).collect();
        scenario.drawn.push(format!("families: {}", or_none(&words)));
        let words: Vec<&str> = hooks.iter().map(|(hook, _)| hook.id).collect();
        scenario.drawn.push(format!("aimed: {}", or_none(&words)));
        rules.extend(hooks.into_iter().flat_map(|(_, rules)| rules));
        scenario.faults.extend(rules);
        scenario.faults.extend(of_members);
        scenario
    }
}

fn or_none(words: &[&str]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn rule(when: engine::When, fault: engine::Fault) -> Rule {
    Rule::when(when, fault)
}

/// One of several, each as likely as its weight.
fn weighted<T: Copy>(choices: &[(u32, T)], rng: &mut ChaCha8Rng) -> T {
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.random_range(0..total);
    for &(weight, choice) in choices {
        if at < weight {
            return choice;
        }
        at -= weight;
    }
    unreachable!("the draw lies below the total")
}

/// Every order of magnitude as likely as any other, roughly: a number of binary digits is drawn, then the number.
fn log_uniform(least: u64, most: u64, rng: &mut ChaCha8Rng) -> u64 {
    assert!(0 < least && least <= most, "a range of positive numbers");
    let digits = rng.random_range(least.ilog2()..=most.ilog2());
    rng.random_range((1 << digits).max(least)..=((1 << digits) * 2 - 1).min(most))
}

fn chance(percent: u32, rng: &mut ChaCha8Rng) -> bool {
    rng.random_ratio(percent, 100)
}

/// Some of these, each with even odds, but never none if there are any; in drawn order.
fn some_of<T: Copy>(all: &[T], rng: &mut ChaCha8Rng) -> Vec<T> {
    let mut some: Vec<T> = all.iter().copied().filter(|_| rng.random_ratio(1, 2)).collect();
    if some.is_empty() {
        some.extend(all.choose(rng));
    }
    some.shuffle(rng);
    some
}

/// Whole milliseconds, so that a schedule reads well.
fn between(range: SpanRange, rng: &mut ChaCha8Rng) -> Span {
    let (least, most) = (range.least().as_millis().max(1), range.most().as_millis().max(1));
    Span::millis(log_uniform(least, most, rng))
}

#[cfg(test)]
mod tests;
