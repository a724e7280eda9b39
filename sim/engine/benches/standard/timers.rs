//! `timers`: a leader's heartbeats, jittered for each of the others, whose timeouts each heartbeat arms anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use machine::{
    Address, Depth, Digest, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Never, Payload, Purpose, Span,
    Vocabulary,
};

use crate::node::PORT;

const WHEN: Purpose = Purpose::new("bench/when");

#[derive(Clone, Debug)]
pub(crate) struct Heartbeat;

impl Payload for Heartbeat {
    fn name(&self) -> &'static str {
        "heartbeat"
    }

    fn wire_len(&self) -> u32 {
        64
    }

    fn digest(&self, _: Depth, _: &mut Digest) {}
}

#[derive(Clone, Debug)]
pub(crate) struct TimerImage {
    pub(crate) me: u32,
    pub(crate) hosts: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct TimerNode {
    leads: bool,
    /// When the next heartbeat to each of the others is due.
    beats: BinaryHeap<Reverse<(Instant, EndId)>>,
    election: Option<Instant>,
    /// Heartbeats sent, and timeouts armed anew.
    sent: u64,
    rearmed: u64,
}

impl TimerNode {
    /// Heartbeat timers that fired, and timeouts that were armed anew.
    pub(crate) const fn timer_events(&self) -> u64 {
        self.sent + self.rearmed
    }
}

/// How long until the next heartbeat to one of the others.
fn beat(io: &mut Io<'_, TimerNode>) -> Span {
    io.draw(WHEN).between(Span::millis(90), Span::millis(110))
}

impl Vocabulary for TimerNode {
    type Message = Heartbeat;
    type Work = Never;
    type Fact = Never;
}

impl Machine for TimerNode {
    type Image = TimerImage;
    type View = ();

    fn boot(image: &TimerImage, io: &mut Io<'_, Self>) -> Self {
        io.listen(PORT);
        let leads = image.me == 0;
        if leads {
            for host in 1..image.hosts {
                io.connect(Address { host: HostId(host), port: PORT });
            }
        }
        Self {
            leads,
            beats: BinaryHeap::new(),
            election: (!leads).then(|| io.now() + Span::millis(500)),
            sent: 0,
            rearmed: 0,
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Message { message: Heartbeat, .. } => {
                self.rearmed += 1;
                let timeout = io.draw(WHEN).between(Span::millis(300), Span::millis(600));
                self.election = Some(io.now() + timeout);
            }
            Input::Woken => {
                let now = io.now();
                while let Some(mut first) = self.beats.peek_mut().filter(|first| first.0.0 <= now) {
                    let end = first.0.1;
                    first.0.0 = now + beat(io);
                    self.sent += 1;
                    io.send(end, Heartbeat);
                }
                if self.election.is_some_and(|at| at <= now) {
                    self.election = Some(now + Span::millis(500));
                }
            }
            Input::Opened { on } => self.beats.push(Reverse((io.now() + beat(io), on))),
            Input::Datagram { .. }
            | Input::Accepted { .. }
            | Input::Refused { .. }
            | Input::Lost { .. }
            | Input::Durable { .. }
            | Input::Turn { .. }
            | Input::Terminate => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        // One of the two: a leader waits for nobody's heartbeats.
        self.election.or_else(|| self.beats.peek().map(|first| first.0.0))
    }

    fn check_invariants(&self) {
        assert_ne!(self.leads, self.election.is_some(), "a leader has no timeout, the others have one");
    }

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        into.word(self.timer_events());
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}
