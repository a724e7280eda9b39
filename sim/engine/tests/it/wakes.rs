//! One wake per host is armed at a time, and it is never too late: however deadlines and clocks move meanwhile.

use engine::{Fault, HostSpec, NetworkSpec, Options, Target, World};
use machine::{
    Address, Depth, Digest, HostId, Input, InputOf, Instant, Io, Lane, Machine, Never, Payload, Port, Purpose, RunKey,
    Span, Vocabulary,
};

const PORT: Port = Port(1);
const SLEEPER: HostId = HostId(0);
const NAP: Purpose = Purpose::new("test/nap");
const DRIFT: Purpose = Purpose::new("test/drift");

#[derive(Clone, Debug)]
struct Poke;

impl Payload for Poke {
    fn name(&self) -> &'static str {
        "poke"
    }

    fn wire_len(&self) -> u32 {
        1
    }

    fn digest(&self, _: Depth, _: &mut Digest) {}
}

/// With each poke the sleeper wants to be woken at another time, earlier or later, or not at all; the poker pokes.
#[derive(Clone, Debug)]
struct Sleeper {
    pokes: bool,
    deadline: Option<Instant>,
    naps: u64,
}

impl Vocabulary for Sleeper {
    type Message = Poke;
    type Work = Never;
    type Fact = Never;
}

impl Machine for Sleeper {
    type Image = bool;
    type View = ();

    fn boot(pokes: &bool, io: &mut Io<'_, Self>) -> Self {
        io.listen(PORT);
        Self { pokes: *pokes, deadline: pokes.then(|| io.now() + Span::millis(1)), naps: 0 }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        if let Some(deadline) = self.deadline {
            assert!(io.now().saturating_since(deadline) <= Span::nanos(1), "a wake for {deadline} is late");
        }
        match input {
            Input::Woken => {
                self.naps += 1;
                self.deadline = self.pokes.then(|| io.now() + Span::millis(1));
                if self.pokes {
                    io.send_datagram(Address { host: SLEEPER, port: PORT }, Poke);
                }
            }
            Input::Datagram { .. } => {
                let mut draw = io.draw(NAP);
                let nap = draw.between(Span::micros(100), Span::millis(8));
                self.deadline = draw.chance(3, 4).then(|| io.now() + nap);
            }
            Input::Message { .. }
            | Input::Opened { .. }
            | Input::Accepted { .. }
            | Input::Refused { .. }
            | Input::Lost { .. }
            | Input::Durable { .. }
            | Input::Turn { .. }
            | Input::Terminate => unreachable!("nobody dials, syncs or defers"),
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.deadline
    }

    fn check_invariants(&self) {}

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        into.word(self.naps);
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}

#[test]
fn a_wake_is_never_late_though_deadlines_and_drift_change() {
    for seed in 0..20 {
        let hosts = vec![HostSpec::new("sleeper", "hosts", false), HostSpec::new("poker", "hosts", true)];
        let mut world: World<Sleeper, ()> =
            World::new(seed, (), hosts, &NetworkSpec::default(), vec![], Options::default());
        for change in 1..400 {
            world.run_until(Instant::ZERO + Span::micros(5_300) * change);
            let mut draw = RunKey([seed, 1]).draw(DRIFT, 0, change);
            let ppm = i32::try_from(draw.below(1_400_001)).unwrap() - 500_000;
            let target = Target::Host("sleeper".to_owned());
            world.inject(&Fault::ClockDrift { target, ppm, lasting: None });
        }
        let naps = world.machine(SLEEPER).unwrap().naps;
        assert!(naps > 100, "it was woken {naps} times");
    }
}
