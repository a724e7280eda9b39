//! Faults that are aimed: they strike on a fact or a situation, on its so manieth match (invariants-and-faults.md §1.7).

use engine::{Fault, Match, Rule, SpanRange, Strike, Target, Trigger, When, Yes};
use machine::Span;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::faults::except;
use super::{Cast, Profile, Swarm, chance, log_uniform};
use crate::{BROKERS, CLIENTS, COORDINATORS};

/// Who must take part for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An ensemble.
    Ensemble,
    /// Brokers too.
    Brokers,
}

/// A template of an aimed fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aimed {
    /// Its id, such as `A01`.
    pub id: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Who must take part.
    pub needs: Needs,
    /// On which match it fires at most; the smaller, the rarer the fact.
    nth_most: u64,
    fault: Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Template {
    /// A fact; a field that must have a value; whether before the effects leave; who dies.
    Crash(&'static str, Option<(&'static str, &'static str)>, Strike, Victim),
    /// As if by a loss of power, for what was not synced.
    PowerLoss(&'static str, Option<(&'static str, &'static str)>, Strike, Victim),
    /// A disk is replaced when the fact is stated by who is out of sync.
    WipeJoining,
    /// A replica that joins dies.
    KillJoining,
    /// The controller is cut off from ZooKeeper, and its requests come late or not.
    DeposeController(bool),
    /// The holder of a fact stops for longer than its session.
    PauseLong(&'static str),
    /// The answer is lost, and what was asked is done.
    LoseAnswer,
    /// What a dead process sent arrives behind its successor.
    LateRequests,
    /// Everything heals while somebody looks for a leader.
    HealInElection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    This,
    Role(&'static str),
    /// A role of the partition that is aimed at.
    OfPartition(&'static str),
}

use Needs::{Brokers, Ensemble};
use Strike::{AfterEffects as After, BeforeEffects as Before};
use Template::{Crash, PowerLoss};
use Victim::{OfPartition, Role, This};

/// Every aimed fault that facts and situations allow. Not among them: A08 (both requests leave in one step, see A07), A09 (one
/// multi in this era), A20 (no fact between roll and flush), A29 to A35 (no groups and no transactions yet).
pub const AIMED: &[Aimed] = &[
    aimed(
        "A01",
        "a leader dies with records that no follower has",
        Brokers,
        300,
        Crash("appended", Some(("side", "leader")), Before, This),
    ),
    aimed(
        "A02",
        "a leader dies when all in sync have a record and its high watermark is about to rise",
        Brokers,
        300,
        Crash("high-watermark", Some(("side", "leader")), Before, This),
    ),
    aimed(
        "A03",
        "a leader dies behind the rise of its high watermark, before it answers",
        Brokers,
        300,
        Crash("produce-acknowledged", None, Before, This),
    ),
    aimed(
        "A04",
        "a leader loses power behind its answer, before followers learn of the high watermark",
        Brokers,
        200,
        PowerLoss("follower-behind-high-watermark", None, After, OfPartition("leader-of-")),
    ),
    aimed(
        "A05",
        "a leader dies when a client has its answer",
        Brokers,
        300,
        Crash("record-acknowledged", None, After, OfPartition("leader-of-")),
    ),
    aimed(
        "A06",
        "a controller dies between writing a partition's state and telling anybody",
        Brokers,
        12,
        Crash("partition-leader-elected", None, Before, This),
    ),
    aimed(
        "A07",
        "a controller dies when some brokers have its LeaderAndIsr",
        Brokers,
        12,
        Crash("control-request-applied", Some(("api", "LeaderAndIsr")), After, Role("controller")),
    ),
    aimed(
        "A10",
        "a controller dies behind its election, before it has read anything",
        Brokers,
        3,
        Crash("controller-elected", None, Before, This),
    ),
    aimed(
        "A11",
        "a controller loses its session and its requests come behind those of its successor",
        Brokers,
        2,
        Template::DeposeController(true),
    ),
    aimed("A12", "a controller is cut off from ZooKeeper alone", Brokers, 2, Template::DeposeController(false)),
    aimed(
        "A13",
        "the only replica in sync dies",
        Brokers,
        2,
        Crash("isr-shrunk-to-one", None, After, OfPartition("last-isr-member-of-")),
    ),
    aimed(
        "A14",
        "a leader dies when its change of the ISR is written, before it acts on it (also A15)",
        Brokers,
        6,
        Crash("isr-changed", None, Before, This),
    ),
    aimed("A16", "a replica dies while it catches up", Brokers, 8, Template::KillJoining),
    aimed("A17", "a replica that catches up comes back with an empty disk", Brokers, 8, Template::WipeJoining),
    aimed(
        "A18",
        "a follower loses power in the midst of a truncation",
        Brokers,
        4,
        PowerLoss("log-truncated", None, Before, This),
    ),
    aimed("A19", "a broker dies while it recovers its logs", Brokers, 12, Crash("log-loaded", None, Before, This)),
    aimed(
        "A21",
        "a leader dies with a proposal that nobody else has",
        Ensemble,
        200,
        Crash("leader-ahead-of-followers", None, After, Role("leader")),
    ),
    aimed(
        "A22",
        "a leader dies when a quorum has acknowledged and nothing is committed",
        Ensemble,
        200,
        Crash("quorum-acked-not-committed", None, After, Role("leader")),
    ),
    aimed(
        "A23",
        "a leader dies when one follower knows of a commit",
        Ensemble,
        200,
        PowerLoss("committed-on-one-follower", None, After, Role("leader")),
    ),
    aimed(
        "A24",
        "a follower loses power between its epoch file and what it was sent",
        Ensemble,
        6,
        PowerLoss("epoch-current", None, Before, This),
    ),
    aimed(
        "A25",
        "a follower loses power when it has told that it is in step",
        Ensemble,
        6,
        PowerLoss("synchronised", None, After, This),
    ),
    aimed(
        "A26",
        "a follower loses power while it cuts its log",
        Ensemble,
        2,
        PowerLoss("truncated", None, Before, This),
    ),
    aimed(
        "A27",
        "a follower dies while it takes a snapshot",
        Ensemble,
        2,
        Crash("sync-decided", Some(("mode", "SNAP")), After, Role("synchronising")),
    ),
    aimed(
        "A28",
        "a server loses power behind a snapshot that others changed meanwhile",
        Ensemble,
        8,
        PowerLoss("snapshot-written", None, After, This),
    ),
    aimed(
        "Z07",
        "a leader dies when it has proposed that a session ends",
        Ensemble,
        8,
        Crash("proposed", Some(("op", "closeSession")), Before, This),
    ),
    aimed(
        "A36",
        "a consumer stops between reading and committing, for longer than its session",
        Brokers,
        200,
        Template::PauseLong("record-consumed"),
    ),
    aimed(
        "A37",
        "a consumer dies between reading and committing",
        Brokers,
        200,
        Crash("record-consumed", None, Before, This),
    ),
    aimed("A38", "an answer is lost, and what was asked is done", Brokers, 300, Template::LoseAnswer),
    aimed("A39", "what a dead process sent arrives behind its successor", Brokers, 3, Template::LateRequests),
    aimed("A40", "everything heals while servers look for a leader", Ensemble, 8, Template::HealInElection),
];

const fn aimed(id: &'static str, about: &'static str, needs: Needs, nth_most: u64, fault: Template) -> Aimed {
    Aimed { id, about, needs, nth_most, fault }
}

/// At most as many as the swarm allows, each with its rules; half of the time each waits for the one before.
pub(super) fn draw(
    swarm: &Swarm,
    cast: &Cast,
    duration: Span,
    rng: &mut ChaCha8Rng,
) -> Vec<(&'static Aimed, Vec<Rule>)> {
    if swarm.profile == Profile::None {
        return Vec::new();
    }
    let possible: Vec<&Aimed> = AIMED
        .iter()
        .filter(|it| match it.needs {
            Ensemble => cast.coordinators > 1,
            Brokers => cast.brokers > 1,
        })
        .filter(|it| match swarm.profile {
            // The budget may still refuse what is lossy.
            Profile::Crash | Profile::WithinSpec | Profile::BeyondSpec => true,
            Profile::Net => {
                matches!(it.fault, Template::DeposeController(_) | Template::LoseAnswer | Template::HealInElection)
            }
            Profile::None => false,
        })
        .collect();
    let count = rng.random_range(0..=swarm.aimed);
    let is_ordered = rng.random_ratio(1, 2);
    let mut drawn: Vec<(&Aimed, Vec<Rule>)> = Vec::new();
    for number in 0..count {
        let Some(&hook) = possible.choose(rng) else { break };
        let mut rules = hook.rules(cast, duration, swarm.not_before.least(), rng);
        for (part, rule) in rules.iter_mut().enumerate() {
            rule.name = Some(format!("{} {}{}", number + 1, hook.id, if part > 0 { " too" } else { "" }));
        }
        let before = drawn.last().and_then(|(_, rules)| rules.first()).and_then(|rule| rule.name.clone());
        if let (true, Some(Rule { when: When::Fact(trigger), .. })) = (is_ordered, rules.first_mut()) {
            trigger.behind = before;
        }
        drawn.push((hook, rules));
    }
    drawn
}

impl Aimed {
    /// `not_before` is for what a loss of power destroys: the other faults may strike from the first moment on.
    fn rules(&self, cast: &Cast, duration: Span, not_before: Span, rng: &mut ChaCha8Rng) -> Vec<Rule> {
        let session = Span::millis(cast.session_ms);
        let down = Span::millis(log_uniform(10, 4_000, rng).min(duration.as_millis()));
        let down = Some(SpanRange::exactly(down));
        let nth = u32::try_from(log_uniform(1, self.nth_most, rng)).expect("a few hundred at most");
        let partition = cast.partition.as_deref().unwrap_or("");
        let on = |fact: &str| Trigger { nth, ..Trigger::new(fact) };
        let field = |fact: &str, field: Option<(&str, &str)>| {
            let mut trigger = on(fact);
            trigger.fields.extend(field.map(|(name, value)| (name.to_owned(), Match::Text(value.to_owned()))));
            trigger
        };
        let victim = |victim: Victim| match victim {
            This => Target::This(Yes),
            Role(role) => Target::Role(role.to_owned()),
            OfPartition(prefix) => Target::Role(format!("{prefix}{partition}")),
        };
        let joining = || {
            let mut trigger = field("appended", Some(("side", "follower")));
            trigger.host = Some(Target::Role(format!("out-of-sync-replica-of-{partition}")));
            trigger
        };
        let rule = |trigger: Trigger, fault: Fault| Rule::when(When::Fact(trigger), fault);
        match self.fault {
            Crash(fact, only, strike, who) => {
                let fault = Fault::Kill { target: victim(who), restart_after: down };
                vec![Rule { strike, ..rule(field(fact, only), fault) }]
            }
            PowerLoss(fact, only, strike, who) => {
                let fault = Fault::PowerLoss { target: victim(who), down_for: down };
                let trigger = Trigger { not_before: Some(not_before), ..field(fact, only) };
                vec![Rule { strike, ..rule(trigger, fault) }]
            }
            Template::KillJoining => {
                vec![rule(joining(), Fault::Kill { target: Target::This(Yes), restart_after: down })]
            }
            Template::WipeJoining => {
                let trigger = Trigger { not_before: Some(not_before), ..joining() };
                vec![rule(trigger, Fault::Wipe { target: Target::This(Yes), down_for: down })]
            }
            Template::DeposeController(is_late) => {
                let controller = || Target::Role("controller".to_owned());
                let lasting = Some(SpanRange::exactly(session * 2));
                let cut = Fault::Cut {
                    from: controller(),
                    to: Target::Group(COORDINATORS.to_owned()),
                    one_way: false,
                    lasting,
                };
                let after = SpanRange::exactly(Span::millis(log_uniform(1, 3_000, rng)));
                let mut rules = vec![Rule { after, ..rule(on("controller-ready"), cut) }];
                if is_late {
                    let delay = Fault::Delay {
                        from: controller(),
                        to: except(BROKERS, controller()),
                        extra: SpanRange::between(session, session * 3),
                        lasting,
                    };
                    rules.push(Rule { after, ..rule(on("controller-ready"), delay) });
                }
                rules
            }
            Template::PauseLong(fact) => {
                let lasting = Some(SpanRange::between(session + session / 2, session * 3));
                vec![rule(on(fact), Fault::Pause { target: Target::This(Yes), lasting })]
            }
            Template::LoseAnswer => {
                let between = [Target::This(Yes), Target::Group(CLIENTS.to_owned())];
                let fault = Fault::Reset { between };
                vec![Rule { strike: Before, ..rule(on("produce-acknowledged"), fault) }]
            }
            Template::LateRequests => {
                let (from, to) = (Target::Role("controller".to_owned()), Target::Group(BROKERS.to_owned()));
                let extra = SpanRange::between(session / 2, session * 2);
                let lasting = Some(SpanRange::exactly(Span::millis(300)));
                let kill =
                    Fault::Kill { target: from.clone(), restart_after: Some(SpanRange::exactly(Span::millis(50))) };
                let after = SpanRange::exactly(Span::millis(if chance(50, rng) { 100 } else { 250 }));
                vec![
                    rule(on("controller-ready"), Fault::Delay { from, to, extra, lasting }),
                    Rule { after, ..rule(on("controller-ready"), kill) },
                ]
            }
            Template::HealInElection => {
                let looking = field("role-changed", Some(("role", "looking")));
                let after = SpanRange::between(Span::millis(1), Span::millis(400));
                vec![Rule { after, ..rule(looking, Fault::Heal {}) }]
            }
        }
    }
}
