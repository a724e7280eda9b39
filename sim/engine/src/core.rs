//! Everything of a world that is neither a host nor a judge, so that a step may borrow all three.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::disk::PageCache;
use machine::{
    Address, Describe, Effect, HostId, Incarnation, InputOf, Instant, Lane, Machine, RunKey, Span, Ticket, Value,
};

use crate::connection::{Connections, Role, Segment, SlotId};
use crate::disk::DiskOp;

use crate::host::Cast;
use crate::judge::{Findings, Judges, Seen, SeenWhat};
use crate::lasting::Lasting;
use crate::network::Network;
use crate::queue::Queue;
use crate::trace::{Entry, Recording, SituationEvent, Trace, TraceEvent, word_of};
use crate::{Counts, Match, Options, Rule, Strike, Trigger, When};

/// What waits in the queue. Each names the life it is meant for and is dropped when that life is over.
#[derive(Clone, Debug)]
pub(crate) enum Event<M: Machine> {
    Segment {
        id: SlotId,
        from: Role,
        number: u32,
        segment: Segment<M::Message>,
    },
    SynRetry {
        id: SlotId,
    },
    Datagram {
        from: HostId,
        to: Address,
        message: M::Message,
    },
    Wake {
        host: HostId,
        arm: u32,
    },
    Turn {
        host: HostId,
        incarnation: Incarnation,
        lane: Lane,
    },
    Synced {
        host: HostId,
        power_epoch: u32,
        incarnation: Incarnation,
        ticket: Ticket,
    },
    Drain {
        host: HostId,
        incarnation: Incarnation,
    },
    /// In a box: it is rare, and as large as any.
    Deliver {
        host: HostId,
        incarnation: Incarnation,
        from: Option<HostId>,
        input: Box<InputOf<M>>,
    },
    Boot {
        host: HostId,
        incarnation: Incarnation,
    },
    Strike {
        rule: usize,
        this: Option<HostId>,
    },
    FaultEnd {
        fault: u64,
    },
    /// A fault that comes and goes does so.
    Toggle {
        fault: u64,
    },
    /// A process that is to die again does.
    CrashAgain {
        host: HostId,
        incarnation: Incarnation,
    },
    /// A SYN that waited to be accepted.
    LateSyn {
        id: SlotId,
    },
    /// The disk goes back to what it was.
    Restore {
        host: HostId,
        rule: Option<usize>,
        image: Box<PageCache>,
        down_for: Option<Span>,
    },
}

/// An event, and the one that caused it.
#[derive(Clone, Debug)]
pub(crate) struct Pending<M: Machine> {
    pub(crate) cause: u64,
    pub(crate) event: Event<M>,
}

/// A fault that lasts and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) id: u64,
    pub(crate) rule: Option<usize>,
    pub(crate) felt: bool,
    /// Which entry of the recording ends with it.
    pub(crate) entry: Option<usize>,
    /// Its end is put off until the whole world heals.
    pub(crate) for_good: bool,
    pub(crate) lasting: Lasting,
}

/// How often a rule fired, and was felt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleCount {
    /// It struck, whoever it found.
    pub fired: u32,
    /// Firings that changed a delivery, a read, a sync or a step.
    pub felt: u32,
    /// Facts that matched its trigger.
    pub matches: u32,
    /// Strikes that the budget refused: nothing happened.
    pub refused: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleState {
    /// Names the rule in draws: made of its name or content, so that other rules may come and go.
    pub(crate) key: u64,
    /// The word of the fact that triggers it; zero, which no name has, if it waits for a time.
    pub(crate) trigger: u64,
    /// The rule behind whose strike alone it is triggered.
    pub(crate) behind: Option<usize>,
    /// Times it was triggered; it may strike later.
    pub(crate) triggered: u32,
    pub(crate) count: RuleCount,
}

/// The world without hosts and judges.
#[derive(Clone, Debug)]
pub(crate) struct Core<M: Machine> {
    pub(crate) now: Instant,
    pub(crate) key: RunKey,
    /// Inputs delivered so far: the id of the current event.
    pub(crate) event: u64,
    /// The event that causes what is pushed now: the current one, or that which sent what a kernel answers.
    pub(crate) cause: u64,
    /// The event after which the next barrier comes.
    pub(crate) next_barrier: u64,
    /// Who is being stepped: for the report of a panic.
    pub(crate) stepping: Option<HostId>,
    pub(crate) queue: Queue<Pending<M>>,
    pub(crate) connections: Connections<M::Message>,
    pub(crate) network: Network,
    pub(crate) cast: Arc<Cast>,
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) rule_states: Vec<RuleState>,
    /// Some rule has a trigger, and some strikes before effects; both false once the world has healed.
    pub(crate) has_triggers: bool,
    pub(crate) has_before_effects: bool,
    pub(crate) is_healed: bool,
    /// Hosts that stay as broken as they are, while a core is healed.
    pub(crate) frozen: BTreeSet<HostId>,
    pub(crate) active: Vec<Active>,
    pub(crate) faults_begun: u64,
    pub(crate) trace: Trace,
    pub(crate) recording: Option<Box<Recording>>,
    pub(crate) current: Option<Box<TraceEvent>>,
    pub(crate) counts: Counts,
    pub(crate) marks: BTreeMap<&'static str, u64>,
    pub(crate) findings: Findings,
    pub(crate) options: Options,
    /// Rules triggered in this step: which, and by whom.
    pub(crate) triggered: Vec<(usize, HostId)>,
    /// Scratch space, empty between steps.
    pub(crate) outbox: Vec<Effect<M>>,
    pub(crate) disk_log: Vec<DiskOp>,
}

impl<M: Machine> Core<M> {
    #[inline(always)]
    pub(crate) fn push(&mut self, at: Instant, event: Event<M>) {
        self.queue.push(at, Pending { cause: self.cause, event });
    }

    /// Tells the judges.
    #[inline(always)]
    pub(crate) fn observe<J: Judges<M>>(&mut self, judges: &mut J, host: HostId, what: SeenWhat<'_, M>) {
        judges.observe(&Seen { at: self.now, event: self.event, host, what }, &mut self.findings);
    }

    /// An input is about to be delivered.
    #[inline(always)]
    pub(crate) fn begin_event(
        &mut self,
        cause: u64,
        host: HostId,
        incarnation: Incarnation,
        input: &InputOf<M>,
        from: Option<HostId>,
    ) {
        self.event += 1;
        self.cause = self.event;
        self.stepping = Some(host);
        self.trace.event::<M>(self.now, cause, host, input);
        if self.recording.is_some() {
            self.begin_record(cause, host, incarnation, Some((input, from)));
        }
    }

    #[cold]
    fn begin_record(
        &mut self,
        cause: u64,
        host: HostId,
        incarnation: Incarnation,
        input: Option<(&InputOf<M>, Option<HostId>)>,
    ) {
        let event = crate::trace::record::<M>(self.event, cause, self.now, host, incarnation, input);
        self.current = Some(Box::new(event));
    }

    /// A process is about to start.
    pub(crate) fn begin_boot(&mut self, cause: u64, host: HostId, incarnation: Incarnation) {
        self.event += 1;
        self.cause = self.event;
        self.stepping = Some(host);
        self.counts.boots += 1;
        self.trace.entry(Entry::Event);
        for word in [self.now.as_nanos(), cause, u64::from(host.0), u64::from(incarnation.0)] {
            self.trace.digest.word(word);
        }
        if self.recording.is_some() {
            self.begin_record(cause, host, incarnation, None);
        }
    }

    /// The step is over.
    #[inline(always)]
    pub(crate) fn end_event(&mut self) {
        self.stepping = None;
        if self.current.is_some() {
            self.end_record();
        }
    }

    #[cold]
    fn end_record(&mut self) {
        let mut event = self.current.take().expect("a recorded event is under way");
        event.hash = self.trace.digest.value();
        self.recording.as_mut().expect("events are made only for a recording").events.push(*event);
    }

    /// The machine states a fact: into the hash, to the judges, and against the triggers.
    pub(crate) fn state<J: Judges<M>>(&mut self, judges: &mut J, host: HostId, fact: &M::Fact) {
        self.counts.facts += 1;
        let kind = fact.kind();
        let word = word_of(kind);
        self.trace.fact(word, fact);
        if let Some(current) = &mut self.current {
            let mut fields = Vec::new();
            fact.fields(&mut |name, value| fields.push((name, value.to_string())));
            current.facts.push((fact.kind(), fields));
        }
        self.observe(judges, host, SeenWhat::Stated { fact });
        if self.has_triggers {
            self.trigger(judges, host, (word, kind), &|visit| fact.fields(visit));
        }
    }

    pub(crate) fn reach(&mut self, mark: &'static str) {
        self.trace.entry(Entry::Mark);
        self.trace.digest.text(mark);
        *self.marks.entry(mark).or_default() += 1;
        if let Some(current) = &mut self.current {
            current.marks.push(mark);
        }
    }

    /// Hands the judges' situations on to the triggers and the record.
    pub(crate) fn take_situations<J: Judges<M>>(&mut self, judges: &J, host: HostId) {
        for situation in std::mem::take(&mut self.findings.situations) {
            if let Some(recording) = &mut self.recording {
                let fields = situation.fields.iter().map(|(name, value)| (*name, value.as_value().to_string()));
                recording.situations.push(SituationEvent {
                    at: self.now,
                    event: self.event,
                    kind: situation.kind,
                    fields: fields.collect(),
                });
            }
            if self.has_triggers {
                let fields = &situation.fields;
                self.trigger(judges, host, (word_of(situation.kind), situation.kind), &|visit| {
                    for (name, value) in fields {
                        visit(name, value.as_value());
                    }
                });
            }
        }
    }

    /// Compares a fact with every trigger.
    fn trigger<J: Judges<M>>(&mut self, judges: &J, host: HostId, kind: (u64, &'static str), fields: &Fields<'_>) {
        let Self { cast, key, rules, rule_states, now, .. } = self;
        for (index, rule) in rules.iter().enumerate() {
            let state = &rule_states[index];
            if state.trigger != kind.0 || state.behind.is_some_and(|before| rule_states[before].count.fired == 0) {
                continue;
            }
            let When::Fact(trigger) = &rule.when else { continue };
            if trigger.not_before.is_some_and(|since| *now < Instant::ZERO + since) {
                continue;
            }
            if trigger.fact != kind.1 || !matches(cast, *key, judges, host, trigger, fields) {
                continue;
            }
            let state = &mut rule_states[index];
            state.count.matches += 1;
            if state.count.matches >= trigger.nth && state.triggered < rule.times {
                state.triggered += 1;
                self.triggered.push((index, host));
            }
        }
    }

    /// True if a fact in the outbox may fire a rule that strikes before effects.
    pub(crate) fn has_before_effects_due(&self) -> bool {
        self.has_before_effects
            && self.outbox.iter().any(|effect| match effect {
                Effect::State(fact) => self.rules.iter().any(|rule| match &rule.when {
                    When::Fact(trigger) => rule.strike == Strike::BeforeEffects && trigger.fact == fact.kind(),
                    When::At(_) => false,
                }),
                Effect::Connect { .. }
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Send { .. }
                | Effect::Datagram { .. }
                | Effect::Close { .. }
                | Effect::Sync { .. }
                | Effect::Defer { .. }
                | Effect::Spend { .. }
                | Effect::Exit { .. }
                | Effect::Reach(_) => false,
            })
    }

    /// Active faults of that description changed something.
    pub(crate) fn feel(&mut self, is_felt: impl Fn(&Lasting) -> bool) {
        for active in &mut self.active {
            if !active.felt && is_felt(&active.lasting) {
                active.felt = true;
                if let Some(rule) = active.rule {
                    self.rule_states[rule].count.felt += 1;
                }
            }
        }
    }

    /// A cut or a frozen host kept something on this link.
    pub(crate) fn feel_cut(&mut self, from: HostId, to: HostId) {
        self.counts.segments_held += 1;
        let now = self.now;
        self.feel(|lasting| lasting.cuts((from, to), now) || lasting.silences(to));
    }
}

/// True if a fact of the right kind is one that the trigger waits for.
fn matches<M: Machine, J: Judges<M>>(
    cast: &Cast,
    key: RunKey,
    judges: &J,
    host: HostId,
    trigger: &Trigger,
    fields: &Fields<'_>,
) -> bool {
    if let Some(target) = &trigger.host {
        let mut draw = key.draw(crate::strike::TRIGGER_HOST, 0, 0);
        if !crate::strike::resolve(cast, judges, Some(host), &[], &mut draw, target).contains(&host) {
            return false;
        }
    }
    if trigger.fields.is_empty() {
        return true;
    }
    let mut matched = 0;
    fields(&mut |name, value| {
        let Some(wanted) = trigger.fields.get(name) else { return };
        let is_match = match wanted {
            Match::Role(role) => judges.role(role).is_some_and(|host| is_host(cast, host, value)),
            Match::Number(_) | Match::Text(_) | Match::Flag(_) => wanted.is(value),
        };
        matched += usize::from(is_match);
    });
    matched == trigger.fields.len()
}

fn is_host(cast: &Cast, host: HostId, value: Value<'_>) -> bool {
    match value {
        Value::Int(v) => v == i64::from(host.0),
        Value::Uint(v) | Value::Hex(v) => v == u64::from(host.0),
        Value::Text(name) => name == cast.names[host.0 as usize],
        Value::Flag(_) => false,
    }
}

type Fields<'a> = dyn Fn(&mut dyn FnMut(&'static str, Value<'_>)) + 'a;
