//! A lease service: one server grants a lease to one client at a time. Leases end by each host's own clock, which is
//! safe as long as all clocks run at one rate; the scenario lets one clock run slow.

use engine::{
    Findings, HostSpec, Hosts, Judges, NetworkSpec, Options, Part, Plan, Rule, Seen, SeenWhat, Step, Verdict,
    Violation, Witness, World,
};
use machine::{
    Address, Depth, Digest, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Never, Payload, Port, Purpose,
    Span, Vocabulary,
};

const PORT: Port = Port(1);
const LEASE: Span = Span::millis(500);
const PATIENCE: Purpose = Purpose::new("lease/patience");

#[derive(Clone, Debug)]
enum Message {
    Ask,
    Granted,
    Busy,
}

impl Payload for Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Granted => "granted",
            Self::Busy => "busy",
        }
    }
    fn wire_len(&self) -> u32 {
        8
    }
    fn digest(&self, _: Depth, _: &mut Digest) {} // The name says it all.
}

machine::facts! {
    /// What observers may be told.
    enum Fact {
        /// A client believes that it holds the lease.
        "acquired" Acquired {},
        /// It no longer believes so.
        "ended" Ended {},
    }
}

/// The machine: a server, or a client that wants the lease again and again.
#[derive(Clone, Debug)]
enum Lease {
    Server { until: Instant },
    Client { server: HostId, end: Option<EndId>, asked: Instant, holds_until: Option<Instant>, ask_at: Option<Instant> },
}

impl Vocabulary for Lease {
    type Message = Message;
    type Work = Never;
    type Fact = Fact;
}

impl Machine for Lease {
    type Image = Option<HostId>; // A client knows its server.
    type View = ();

    fn boot(server: &Option<HostId>, io: &mut Io<'_, Self>) -> Self {
        match *server {
            Some(server) => {
                let ask_at = Some(io.now() + Span::millis(50));
                Self::Client { server, end: None, asked: io.now(), holds_until: None, ask_at }
            }
            None => {
                io.listen(PORT);
                // A server that forgot a lease waits until it must have ended.
                Self::Server { until: io.now() + LEASE }
            }
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        let now = io.now();
        match (self, input) {
            (Self::Server { until }, Input::Message { on, message: Message::Ask }) => {
                if *until <= now {
                    *until = now + LEASE;
                    io.send(on, Message::Granted);
                } else {
                    io.send(on, Message::Busy);
                }
            }
            (Self::Client { server, end, asked, holds_until, ask_at }, input) => match input {
                Input::Woken => {
                    if holds_until.is_some_and(|until| until <= now) {
                        *holds_until = None;
                        *ask_at = Some(now + io.draw(PATIENCE).between(Span::millis(20), Span::millis(200)));
                        io.state(Fact::Ended {});
                    }
                    if ask_at.is_some_and(|at| at <= now) {
                        (*ask_at, *asked) = (None, now);
                        match *end {
                            Some(end) => io.send(end, Message::Ask),
                            None => *end = Some(io.connect(Address { host: *server, port: PORT })),
                        }
                    }
                }
                Input::Opened { on } => io.send(on, Message::Ask),
                Input::Message { message: Message::Granted, .. } => {
                    // It counts from the question: the answer may have been under way for long.
                    *holds_until = Some((*asked + LEASE).max(now + Span::nanos(1)));
                    io.state(Fact::Acquired {});
                }
                Input::Refused { .. } | Input::Lost { .. } => (*end, *ask_at) = (None, Some(now + Span::millis(100))),
                Input::Message { .. } => {
                    *ask_at = Some(now + io.draw(PATIENCE).between(Span::millis(20), Span::millis(200)));
                }
                Input::Datagram { .. }
                | Input::Accepted { .. }
                | Input::Durable { .. }
                | Input::Turn { .. }
                | Input::Terminate => {}
            },
            (Self::Server { .. }, _) => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Server { .. } => None,
            Self::Client { holds_until, ask_at, .. } => holds_until.iter().chain(ask_at).min().copied(),
        }
    }

    fn check_invariants(&self) {}
    fn view(&self) {}
    fn digest(&self, into: &mut Digest) {
        into.word(u64::from(matches!(self, Self::Client { holds_until: Some(_), .. })));
    }
    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}

/// The judge: at most one client believes that it holds the lease.
#[derive(Clone, Debug, Default)]
struct OneHolder {
    holder: Option<(HostId, Instant, u64)>,
}

impl Judges<Lease> for OneHolder {
    fn observe(&mut self, seen: &Seen<'_, Lease>, findings: &mut Findings) {
        let SeenWhat::Stated { fact } = seen.what else { return };
        match fact {
            Fact::Acquired {} => {
                if let Some((holder, at, event)) = self.holder.filter(|(holder, ..)| *holder != seen.host) {
                    let note = format!("{holder} acquired it");
                    findings.violation(Violation {
                        invariant: "LEASE",
                        name: "one-holder",
                        headline: format!("{} holds the lease while {holder} does", seen.host),
                        witnesses: vec![Witness { event, at, host: Some(holder), note, part: Part::Promise }],
                        host: Some(seen.host),
                        at: seen.at,
                        event: seen.event,
                        signature_parts: vec![],
                    });
                }
                self.holder = Some((seen.host, seen.at, seen.event));
            }
            Fact::Ended {} => self.holder = None,
        }
    }
    fn inspect(&mut self, _: &Step, _: &Hosts<'_, Lease>, _: &mut Findings) {}
    fn role(&self, name: &str) -> Option<HostId> {
        self.holder.filter(|_| name == "holder").map(|(holder, ..)| holder)
    }
    fn pending(&mut self, _: Instant, _: &Hosts<'_, Lease>) -> Option<String> {
        None
    }
    fn finish(&mut self, _: Instant, _: &Hosts<'_, Lease>, _: &mut Findings) {}
}

/// The scenario: when somebody has acquired the lease for the third time, his clock begins to run at 60 %.
fn run(seed: u64, slow: bool) -> Verdict {
    let client = |name| HostSpec::new(name, "clients", Some(HostId(0)));
    let hosts = vec![HostSpec::new("server", "servers", None), client("c1"), client("c2"), client("c3")];
    let fault =
        engine::Fault::ClockDrift { target: engine::Target::Role("holder".to_owned()), ppm: -400_000, lasting: None };
    let mut rule = Rule::on("acquired", fault);
    rule.when = engine::When::Fact(engine::Trigger { nth: 3, ..engine::Trigger::new("acquired") });
    let schedule = if slow { vec![rule] } else { Vec::new() };
    let mut world =
        World::new(seed, OneHolder::default(), hosts, &NetworkSpec::default(), schedule, Options::default());
    world.run(&Plan { faults_for: Span::secs(20), ..Plan::default() }).verdict
}

fn main() {
    assert!((0..10).all(|seed| run(seed, false) == Verdict::Held), "equal clocks keep the lease");
    let found = (0..10).filter(|&seed| matches!(run(seed, true), Verdict::Violated(_))).count();
    assert!(found > 5, "a slow clock breaks it, in {found} of 10 seeds");
}
