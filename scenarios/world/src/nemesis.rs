//! What draws a schedule from a seed.
//!
//! Swarm by construction: each family of faults is dropped with even odds, so that a run has few kinds of trouble and much
//! of each, instead of a little of everything. The nemesis keeps the budget: at any instant at most a minority of the
//! coordinators is down, stopped, cut off or loses unsynced data, and every fault ends, so recovery stays possible.

use engine::{DiskOperation, Fault, Rule, SpanRange, Strike, Target, When};
use machine::Span;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A family of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A server's process dies and comes back.
    Kill,
    /// A server's host loses power and comes back.
    PowerLoss,
    /// A server's process stops for a while.
    Pause,
    /// A server is cut off from everybody.
    Isolate,
    /// A one-way cut between one server and the others.
    OneWay,
    /// A minority of servers is cut off from the rest.
    Split,
    /// A client is cut off from the servers, perhaps for longer than its session.
    CutClient,
    /// Connections between a client and the servers are reset.
    Reset,
    /// A server's disk is slow.
    SlowDisk,
    /// A server's syncs fail.
    SyncError,
    /// A calendar clock jumps.
    ClockJump,
    /// Segments between servers are lost.
    Loss,
    /// A server that does not vote dies, loses power, stops or is cut off, perhaps for longer than that.
    Observer,
}

/// `[nemesis]`: what draws more faults from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nemesis {
    /// The families it may draw from; each is dropped with even odds, but never all.
    pub families: Vec<Family>,
    /// When it may begin; at once if absent. Young data is at the mercy of a loss of power until the kernel has written it back,
    /// which an ensemble's first snapshot does not survive.
    #[serde(default)]
    pub not_before: SpanRange,
    /// How long it is quiet between two faults.
    pub every: SpanRange,
    /// How long a fault lasts.
    pub lasting: SpanRange,
}

const COORDINATORS: &str = "coordinators";
const OBSERVERS: &str = "observers";
const CLIENTS: &str = "clients";

impl Nemesis {
    /// Draws the schedule for a run in which faults may strike for `duration`.
    ///
    /// Faults follow one another, each ended before the next begins: that alone keeps the budget.
    #[must_use]
    pub fn draw(&self, duration: Span, rng: &mut ChaCha8Rng) -> Vec<Rule> {
        let mut families: Vec<Family> = self.families.iter().copied().filter(|_| rng.random_ratio(1, 2)).collect();
        if families.is_empty() {
            families.extend(self.families.choose(rng));
        }
        let mut rules = Vec::new();
        let Some(_) = families.first() else { return rules };
        let mut at = draw(self.not_before, rng) + draw(self.every, rng);
        loop {
            let lasting = draw(self.lasting, rng);
            if at + lasting > duration {
                return rules;
            }
            let family = *families.choose(rng).expect("there is a family");
            rules.push(Rule {
                name: None,
                when: When::At(SpanRange::exactly(at)),
                strike: Strike::AfterEffects,
                after: SpanRange::ZERO,
                fault: fault(family, SpanRange::exactly(lasting), rng),
                times: 1,
                must_fire: false,
            });
            at = at + lasting + draw(self.every, rng);
        }
    }
}

/// Whole milliseconds, so that a schedule reads well.
fn draw(range: SpanRange, rng: &mut ChaCha8Rng) -> Span {
    Span::millis(rng.random_range(range.least().as_millis()..=range.most().as_millis()))
}

fn fault(family: Family, lasting: SpanRange, rng: &mut ChaCha8Rng) -> Fault {
    // Half of the time it is the leader who is hit: that is where the interesting branches are.
    let target =
        if rng.random_ratio(1, 2) { Target::Role("leader".to_owned()) } else { Target::AnyOf(COORDINATORS.to_owned()) };
    let group = |name: &str| Target::Group(name.to_owned());
    match family {
        Family::Kill => Fault::Kill { target, restart_after: Some(lasting) },
        Family::PowerLoss => Fault::PowerLoss { target, down_for: Some(lasting) },
        Family::Pause => Fault::Pause { target, lasting: Some(lasting) },
        Family::Isolate => Fault::Isolate { target, lasting: Some(lasting) },
        Family::OneWay => {
            let others = Target::RestOf(COORDINATORS.to_owned());
            let (from, to) = if rng.random_ratio(1, 2) { (target, others) } else { (group(COORDINATORS), target) };
            Fault::Cut { from, to, one_way: true, lasting: Some(lasting) }
        }
        Family::Split => Fault::Partition {
            groups: vec![
                vec![Target::MinorityOf(COORDINATORS.to_owned())],
                vec![Target::RestOf(COORDINATORS.to_owned())],
            ],
            lasting: Some(lasting),
        },
        Family::CutClient => Fault::Cut {
            from: Target::AnyOf(CLIENTS.to_owned()),
            to: group(COORDINATORS),
            one_way: false,
            lasting: Some(lasting),
        },
        Family::Reset => Fault::Reset { between: [Target::AnyOf(CLIENTS.to_owned()), group(COORDINATORS)] },
        Family::SlowDisk => Fault::SlowDisk {
            target,
            factor: rng.random_range(10..=200),
            stall: SpanRange::exactly(Span::millis(rng.random_range(0..=400))),
            lasting: Some(lasting),
        },
        Family::SyncError => {
            Fault::DiskError { target, operation: DiskOperation::Sync, times: Some(1), lasting: Some(lasting) }
        }
        Family::ClockJump => Fault::ClockJump { target, by_ms: rng.random_range(-120_000..=120_000) },
        Family::Observer => {
            let target = Target::AnyOf(OBSERVERS.to_owned());
            match rng.random_range(0..4) {
                0 => Fault::Kill { target, restart_after: Some(lasting) },
                1 => Fault::PowerLoss { target, down_for: Some(lasting) },
                2 => Fault::Pause { target, lasting: Some(lasting) },
                _ => Fault::Isolate { target, lasting: Some(lasting) },
            }
        }
        Family::Loss => Fault::Loss {
            from: group(COORDINATORS),
            to: group(COORDINATORS),
            one_in: rng.random_range(3..=30),
            lasting: Some(lasting),
        },
    }
}
