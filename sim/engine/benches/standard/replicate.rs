//! `replicate`: a leader, two followers and a client with 16 records of 100 bytes in flight.
//!
//! Over datagrams the leader and the client look every 10 ms at what has gone unanswered for 50 ms and send it again, at
//! most 32 records to each follower: the network loses one message in a hundred, and a follower is killed every five
//! seconds and starts again with its log. Over connections nothing is lost, and nobody looks.

use std::collections::VecDeque;

use bytes::Bytes;
use machine::disk::FileId;
use machine::{
    Address, Depth, Digest, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Never, Payload, Span, Vocabulary,
};

use crate::node::PORT;
use crate::window::Window;

const LEADER: HostId = HostId(0);
const FOLLOWERS: [HostId; 2] = [HostId(1), HostId(2)];
const CLIENT: HostId = HostId(3);
const IN_FLIGHT: u64 = 16;
const RECORD: &[u8] = &[7; 100];
/// What a follower stores: the index, and the record.
const ENTRY_BYTES: usize = 108;
const SWEEP: Span = Span::millis(10);
const RETRY_AFTER: Span = Span::millis(50);
const RESENDS_MOST: usize = 32;

#[derive(Clone, Debug)]
pub(crate) enum LogMessage {
    /// A record: of the client, or of the leader.
    Append { index: u64, record: Bytes },
    /// It is stored: by a follower, or by a quorum.
    Stored { index: u64 },
}

impl Payload for LogMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Stored { .. } => "stored",
        }
    }

    fn wire_len(&self) -> u32 {
        match self {
            Self::Append { .. } => 120,
            Self::Stored { .. } => 20,
        }
    }

    fn digest(&self, _: Depth, into: &mut Digest) {
        match self {
            Self::Append { index, .. } | Self::Stored { index } => into.word(*index),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LogImage {
    pub(crate) host: HostId,
    pub(crate) datagrams: bool,
}

#[derive(Clone, Debug)]
enum Role {
    Leader {
        /// Records that somebody lacks; the first has index `base`.
        log: VecDeque<Bytes>,
        base: u64,
        unanswered: [Window; 2],
    },
    Follower {
        log: FileId,
    },
    Client {
        next: u64,
        unanswered: Window,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct LogNode {
    role: Role,
    datagrams: bool,
    /// Ends by peer, while they are open.
    ends: Vec<(HostId, EndId)>,
    sweep: Option<Instant>,
}

impl Vocabulary for LogNode {
    type Message = LogMessage;
    type Work = Never;
    type Fact = Never;
}

/// Takes what is to be sent again.
fn overdue(unanswered: &mut Window, now: Instant) -> Vec<u64> {
    let until = now.as_nanos().saturating_sub(RETRY_AFTER.as_nanos());
    unanswered.overdue(until, now.as_nanos(), RESENDS_MOST)
}

impl LogNode {
    /// How many records the client knows to be stored.
    pub(crate) fn stored(&self) -> u64 {
        match &self.role {
            Role::Client { next, unanswered } => next - unanswered.count(),
            Role::Leader { .. } | Role::Follower { .. } => 0,
        }
    }

    fn send(&self, to: HostId, message: LogMessage, io: &mut Io<'_, Self>) {
        if self.datagrams {
            io.send_datagram(Address { host: to, port: PORT }, message);
        } else if let Some(&(_, end)) = self.ends.iter().find(|(host, _)| *host == to) {
            io.send(end, message);
        }
    }

    fn send_next(&mut self, io: &mut Io<'_, Self>) {
        let Role::Client { next, unanswered } = &mut self.role else { return };
        let index = *next;
        *next += 1;
        unanswered.insert(index, io.now().as_nanos());
        self.send(LEADER, LogMessage::Append { index, record: Bytes::from_static(RECORD) }, io);
    }

    fn on_append(&mut self, from: HostId, index: u64, record: Bytes, io: &mut Io<'_, Self>) {
        match &mut self.role {
            Role::Leader { log, base, unanswered } => {
                if index < *base {
                    return self.send(from, LogMessage::Stored { index }, io);
                }
                // The network does not keep the order of the client's records: there may be room for some that come.
                let at = usize::try_from(index - *base).expect("a short window");
                if log.get(at).is_some_and(|kept| !kept.is_empty()) {
                    if !unanswered.iter().all(|waits| waits.contains(index)) {
                        self.send(from, LogMessage::Stored { index }, io);
                    }
                    return;
                }
                if log.len() <= at {
                    log.resize(at + 1, Bytes::new());
                }
                log[at] = record.clone();
                for waits in unanswered.iter_mut() {
                    waits.insert(index, io.now().as_nanos());
                }
                for follower in FOLLOWERS {
                    self.send(follower, LogMessage::Append { index, record: record.clone() }, io);
                }
            }
            Role::Follower { log } => {
                let log = *log;
                let mut entry = [0; ENTRY_BYTES];
                entry[..8].copy_from_slice(&index.to_le_bytes());
                entry[8..].copy_from_slice(&record);
                io.disk().append(log, &entry).expect("the disk has no faults");
                self.send(from, LogMessage::Stored { index }, io);
            }
            Role::Client { .. } => unreachable!("a client is sent no records"),
        }
    }

    fn on_stored(&mut self, from: HostId, index: u64, io: &mut Io<'_, Self>) {
        match &mut self.role {
            Role::Leader { log, base, unanswered } => {
                let follower = FOLLOWERS.iter().position(|host| *host == from).expect("a follower answers");
                if !unanswered[follower].remove(index) {
                    return;
                }
                // With the leader's own copy the first answer makes a quorum.
                let is_first = unanswered[1 - follower].contains(index);
                let needed = unanswered.iter().filter_map(Window::first).min();
                while log.front().is_some_and(|kept| !kept.is_empty() && needed.is_none_or(|needed| *base < needed)) {
                    log.pop_front();
                    *base += 1;
                }
                if is_first {
                    self.send(CLIENT, LogMessage::Stored { index }, io);
                }
            }
            Role::Client { unanswered, .. } => {
                if unanswered.remove(index) {
                    self.send_next(io);
                }
            }
            Role::Follower { .. } => unreachable!("a follower is sent no answers"),
        }
    }

    fn on_sweep(&mut self, io: &mut Io<'_, Self>) {
        let now = io.now();
        let mut again = Vec::new();
        match &mut self.role {
            Role::Leader { log, base, unanswered } => {
                for (follower, waits) in FOLLOWERS.iter().zip(unanswered) {
                    for index in overdue(waits, now) {
                        let at = usize::try_from(index - *base).expect("a short window");
                        again.push((*follower, index, log[at].clone()));
                    }
                }
            }
            Role::Client { unanswered, .. } => {
                for index in overdue(unanswered, now) {
                    again.push((LEADER, index, Bytes::from_static(RECORD)));
                }
            }
            Role::Follower { .. } => {}
        }
        for (to, index, record) in again {
            self.send(to, LogMessage::Append { index, record }, io);
        }
    }
}

impl Machine for LogNode {
    type Image = LogImage;
    type View = ();

    fn boot(image: &LogImage, io: &mut Io<'_, Self>) -> Self {
        io.listen(PORT);
        let role = match image.host {
            LEADER => {
                Role::Leader { log: VecDeque::new(), base: 0, unanswered: [Window::default(), Window::default()] }
            }
            CLIENT => Role::Client { next: 0, unanswered: Window::default() },
            _ => {
                let log = io.disk().open("log").or_else(|_| io.disk().create("log"));
                Role::Follower { log: log.expect("the disk has no faults") }
            }
        };
        let sweeps = match role {
            Role::Leader { .. } | Role::Client { .. } => image.datagrams,
            Role::Follower { .. } => false,
        };
        let sweep = sweeps.then(|| io.now() + SWEEP);
        let mut node = Self { role, datagrams: image.datagrams, ends: Vec::new(), sweep };
        match (&node.role, image.datagrams) {
            (Role::Client { .. }, true) => (0..IN_FLIGHT).for_each(|_| node.send_next(io)),
            (Role::Client { .. } | Role::Follower { .. }, false) => {
                let end = io.connect(Address { host: LEADER, port: PORT });
                node.ends.push((LEADER, end));
            }
            (Role::Follower { .. }, true) | (Role::Leader { .. }, _) => {}
        }
        node
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Datagram { from, message: LogMessage::Append { index, record } } => {
                self.on_append(from, index, record, io);
            }
            Input::Datagram { from, message: LogMessage::Stored { index } } => self.on_stored(from, index, io),
            Input::Message { on, message } => {
                let from = self.ends.iter().find(|(_, end)| *end == on).expect("an open end").0;
                match message {
                    LogMessage::Append { index, record } => self.on_append(from, index, record, io),
                    LogMessage::Stored { index } => self.on_stored(from, index, io),
                }
            }
            Input::Woken => {
                if self.sweep.is_some_and(|at| at <= io.now()) {
                    self.sweep = Some(io.now() + SWEEP);
                    self.on_sweep(io);
                }
            }
            Input::Accepted { on, peer, .. } => self.ends.push((peer, on)),
            Input::Opened { .. } => {
                if matches!(self.role, Role::Client { .. }) {
                    (0..IN_FLIGHT).for_each(|_| self.send_next(io));
                }
            }
            Input::Refused { .. }
            | Input::Lost { .. }
            | Input::Durable { .. }
            | Input::Turn { .. }
            | Input::Terminate => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.sweep
    }

    fn check_invariants(&self) {
        if let Role::Client { unanswered, .. } = &self.role {
            assert!(unanswered.count() <= IN_FLIGHT, "no more than {IN_FLIGHT} records are in flight");
        }
    }

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        if let Role::Client { next, .. } = &self.role {
            into.word(*next);
        }
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}
