//! `pingpong`: each node sends to a random other one, waits for the answer, and sends again.

use machine::{
    Address, Depth, Digest, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Never, Payload, Purpose, Span,
    Vocabulary,
};

use crate::node::PORT;

const WHOM: Purpose = Purpose::new("bench/whom");

/// How long a node waits for an answer; far longer than any takes, so that only the arming is measured.
const PATIENCE: Span = Span::secs(1);

/// 64 bytes, as in the other engines' version of this workload.
#[derive(Clone, Debug)]
pub(crate) enum PingMessage {
    Ping { body: [u64; 7] },
    Pong { body: [u64; 7] },
}

impl Payload for PingMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
        }
    }

    fn wire_len(&self) -> u32 {
        64
    }

    fn digest(&self, _: Depth, into: &mut Digest) {
        match self {
            Self::Ping { body } | Self::Pong { body } => into.word(body[0]),
        }
    }
}

machine::facts! {
    pub(crate) enum PingFact {
        "answered" Answered { count: u64 => Uint(*count) },
        "timed-out" TimedOut { count: u64 => Uint(*count) },
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PingImage {
    pub(crate) me: u32,
    pub(crate) hosts: u32,
    /// Pings it waits for at a time.
    pub(crate) in_flight: u32,
    /// It arms a timer with each ping and states a fact with each answer.
    pub(crate) everything: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PingNode {
    me: u32,
    in_flight: u32,
    everything: bool,
    ends: Vec<Option<EndId>>,
    opened: usize,
    count: u64,
    timeout: Option<Instant>,
}

impl Vocabulary for PingNode {
    type Message = PingMessage;
    type Work = Never;
    type Fact = PingFact;
}

impl PingNode {
    fn send_ping(&mut self, io: &mut Io<'_, Self>) {
        let hosts = self.ends.len() as u64;
        let other = (u64::from(self.me) + 1 + io.draw(WHOM).below(hosts - 1)) % hosts;
        let end = self.ends[usize::try_from(other).expect("a host")].expect("all are open");
        io.send(end, PingMessage::Ping { body: [other; 7] });
        if self.everything {
            self.timeout = Some(io.now() + PATIENCE);
        }
    }
}

impl Machine for PingNode {
    type Image = PingImage;
    type View = ();

    fn boot(image: &PingImage, io: &mut Io<'_, Self>) -> Self {
        let &PingImage { me, hosts, in_flight, everything } = image;
        io.listen(PORT);
        let dial = |host| (host != me).then(|| io.connect(Address { host: HostId(host), port: PORT }));
        let ends = (0..hosts).map(dial).collect();
        Self { me, in_flight, everything, ends, opened: 0, count: 0, timeout: None }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Message { on, message: PingMessage::Ping { body } } => io.send(on, PingMessage::Pong { body }),
            Input::Message { message: PingMessage::Pong { .. }, .. } => {
                self.count += 1;
                if self.everything {
                    io.state(PingFact::Answered { count: self.count });
                }
                self.send_ping(io);
            }
            Input::Opened { .. } => {
                self.opened += 1;
                if self.opened == self.ends.len() - 1 {
                    (0..self.in_flight).for_each(|_| self.send_ping(io));
                }
            }
            Input::Woken => {
                if self.timeout.is_some_and(|at| at <= io.now()) {
                    self.timeout = None;
                    io.state(PingFact::TimedOut { count: self.count });
                }
            }
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
        self.timeout
    }

    fn check_invariants(&self) {
        assert!(self.opened < self.ends.len(), "nobody dials himself");
    }

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        into.word(self.count);
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}
