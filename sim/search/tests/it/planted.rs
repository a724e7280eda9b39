//! Deliberately planted nondeterminism is caught, and its first event is named.
//!
//! Two machines count to each other. At its tenth number one of them lets something of the host's into what it does: the order
//! of a hash map with the host's seed, the host's clock, or a count that lives outside of the world.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::{HostSpec, NetworkSpec, Options, Plan, Recording, World};
use machine::{
    Address, Depth, Digest, HostId, Input, InputOf, Instant, Io, Lane, Machine, Payload, Port, Span, Vocabulary,
};
use search::{Trail, first_difference};

const PORT: Port = Port(9);
const PLANTED_AT: u64 = 10;

/// What a machine does at its tenth number that it should not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    /// It only listens.
    Listens,
    /// It does nothing of the kind.
    None,
    /// States the first key of a hash map.
    HashOrder,
    /// Waits as long as the host's clock says.
    HostTime,
    /// Sends a number that depends on how many worlds there were.
    Shared,
}

static WORLDS: AtomicU64 = AtomicU64::new(0);

impl Flaw {
    #[expect(clippy::disallowed_types, reason = "this is what the testbed must catch")]
    fn hash_order() -> u64 {
        let map: std::collections::HashMap<u64, ()> = (0..1_000).map(|n| (n, ())).collect();
        *map.keys().next().unwrap()
    }

    #[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is what the testbed must catch")]
    fn host_time() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into()
    }
}

#[derive(Clone, Debug)]
struct Number(u64);

impl Payload for Number {
    fn name(&self) -> &'static str {
        "number"
    }

    fn wire_len(&self) -> u32 {
        8
    }

    fn digest(&self, _: Depth, into: &mut Digest) {
        into.word(self.0);
    }
}

machine::facts! {
    enum Fact {
        "counted" Counted { n: u64 => Uint(*n) },
        "chosen" Chosen { key: u64 => Uint(*key) },
    }
}

#[derive(Clone, Debug)]
struct Counter {
    flaw: Flaw,
    wake: Option<Instant>,
    last: u64,
}

impl Vocabulary for Counter {
    type Message = Number;
    type Work = ();
    type Fact = Fact;
}

impl Machine for Counter {
    type Image = Flaw;
    type View = u64;

    fn boot(flaw: &Flaw, io: &mut Io<'_, Self>) -> Self {
        io.listen(PORT);
        let wake = (*flaw != Flaw::Listens).then(|| io.now() + Span::millis(50));
        Self { flaw: *flaw, wake, last: 0 }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Woken => {
                self.wake = Some(io.now() + Span::millis(7));
                self.last += 1;
                let mut number = self.last;
                if self.last == PLANTED_AT {
                    match self.flaw {
                        Flaw::Listens | Flaw::None => {}
                        Flaw::HashOrder => io.state(Fact::Chosen { key: Flaw::hash_order() }),
                        Flaw::HostTime => {
                            self.wake = Some(io.now() + Span::nanos(1_000_000 + Flaw::host_time() % 5_000_000))
                        }
                        Flaw::Shared => number = 1_000 + WORLDS.fetch_add(1, Ordering::SeqCst),
                    }
                }
                io.send_datagram(Address { host: HostId(1), port: PORT }, Number(number));
            }
            Input::Datagram { message: Number(n), .. } => io.state(Fact::Counted { n }),
            Input::Message { .. }
            | Input::Opened { .. }
            | Input::Accepted { .. }
            | Input::Refused { .. }
            | Input::Lost { .. }
            | Input::Durable { .. }
            | Input::Turn { .. }
            | Input::Terminate => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn check_invariants(&self) {}

    fn view(&self) -> u64 {
        self.last
    }

    fn digest(&self, into: &mut Digest) {
        into.word(self.last);
    }

    fn lane_name(_: Lane) -> &'static str {
        "lane"
    }
}

/// The same seed, scenario and schedule, run once.
fn run(flaw: Flaw) -> (u64, Recording) {
    let hosts = vec![HostSpec::new("counter", "hosts", flaw), HostSpec::new("listener", "hosts", Flaw::Listens)];
    let links = NetworkSpec::uniform(Span::millis(1), Span::millis(2));
    let options = Options { record: true, ..Options::default() };
    let mut world: World<Counter, ()> = World::new(7, (), hosts, &links, Vec::new(), options);
    let plan = Plan { faults_for: Span::millis(300), settle_at_most: Span::secs(1), step_budget: 100_000 };
    let outcome = world.run(&plan);
    (outcome.hash, world.recording().expect("it is recorded").clone())
}

/// Two runs with the flaw, and what is said about the first event that differs.
fn two_runs(flaw: Flaw) -> Option<String> {
    let (a, one) = run(flaw);
    // The host's order and clock may agree once by chance, but not a hundred times.
    let (b, other) = (0..100).map(|_| run(flaw)).find(|(b, _)| *b != a).unwrap_or_else(|| run(flaw));
    let name = |host: HostId| ["counter", "listener"][host.0 as usize].to_owned();
    let difference = first_difference(&one, &other, &name);
    assert_eq!(a != b, difference.is_some(), "hashes and events agree about {flaw:?}");
    let parting = Trail::of(&one).parting(&other);
    assert_eq!(parting.map(|it| it.from), difference.as_ref().map(|it| it.event), "the trail names the same event");
    difference.map(|it| it.to_string())
}

/// The event in which the counter counts to ten.
fn tenth() -> u64 {
    let (_, recording) = run(Flaw::None);
    let is_tenth = |facts: &[(&str, Vec<(&str, String)>)]| facts.iter().any(|(_, fields)| fields[0].1 == "10");
    let told = recording.events.iter().find(|event| is_tenth(&event.facts)).expect("it counts that far");
    told.cause
}

#[test]
fn a_deterministic_world_is_the_same_twice() {
    assert_eq!(two_runs(Flaw::None), None);
}

#[test]
fn the_order_of_a_hash_map_is_caught_where_it_is_stated() {
    let difference = two_runs(Flaw::HashOrder).expect("the host's order is not the run's");
    assert!(difference.starts_with(&format!("event {}: wake on counter", tenth())), "{difference}");
    assert!(difference.contains("counter states chosen (key "), "{difference}");
}

#[test]
fn the_hosts_clock_is_caught_at_the_first_event_that_comes_at_another_time() {
    let difference = two_runs(Flaw::HostTime).expect("the host's clock is not the run's");
    let event: u64 =
        difference.strip_prefix("event ").and_then(|text| text.split(':').next()).unwrap().parse().unwrap();
    assert!(event > tenth() && event <= tenth() + 2, "{difference}");
    assert!(difference.contains(" against "), "{difference}");
}

#[test]
fn a_count_that_all_worlds_share_is_caught_where_it_arrives() {
    let difference = two_runs(Flaw::Shared).expect("a count over all worlds is not the run's");
    assert!(difference.contains("datagram number Number(1") && difference.contains("on listener"), "{difference}");
}
