//! `QuorumCnxManager`: one connection per pair of voters, and the last word only (zookeeper.md §2.5).
//!
//! Of two servers the one with the *higher* sid dials; who is dialled by a smaller one hangs up and dials back. To each
//! server at most one notification waits, the newest: an older opinion is worth nothing. When a connection begins and nothing
//! waits, the last notification sent is sent again, because nobody knows whether it arrived on the connection before.
//!
//! A lost connection is not dialled again until there is something to send.
//!
//! ```text
//!   server 1 dials server 3:   1 ── Hello(1) ──▶ 3      3 > 1, so 1 closes, and so does 3
//!                              1 ◀── Hello(3) ── 3      3 dials back: this one stays
//! ```
//!
//! Simplified: a notification leaves as soon as its connection is open; the real sender thread can block while the
//! socket's buffer is full, which shows only after hundreds of notifications to a dead host.

use std::collections::{BTreeMap, VecDeque};

use jute::Sid;
use jute::election::{ConnectionHeader, Dialer, ElectionMessage, Notification};
use machine::{Address, EndId, HostId, Instant, Io, Port, Span};

use crate::Coordinator;

/// Received notifications that wait; the oldest is dropped for a newer one (`RECV_CAPACITY`).
const RECEIVED_MAX: usize = 100;
/// Connections that wait to be accepted: the backlog of a Java server socket.
const BACKLOG_MAX: usize = 50;

/// What the transport needs to know of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) me: Sid,
    /// Where this server listens.
    pub(super) own: Address,
    /// Where each server listens.
    pub(super) addresses: BTreeMap<Sid, Address>,
    /// `cnxTimeout`.
    pub(super) connect_timeout: Span,
    /// `quorumCnxnTimeoutMs`: how long a dialler may take to say who it is.
    pub(super) handshake_timeout: Span,
}

/// An outgoing connection that is not open yet.
#[derive(Clone, Copy, Debug)]
struct Dial {
    end: EndId,
    deadline: Instant,
}

/// One other server.
#[derive(Clone, Default, Debug)]
struct Peer {
    /// The connection in use (`senderWorkerMap`).
    connection: Option<EndId>,
    /// The dial in progress (`inprogressConnections`).
    dial: Option<Dial>,
    /// What waits for a connection (`queueSendMap`): none if nothing was ever to be sent and no connection ever began.
    queue: Option<Option<Notification>>,
    /// `lastMessageSent`.
    last_sent: Option<Notification>,
}

/// A connection that the listener has not finished with.
#[derive(Clone, Debug)]
struct Caller {
    end: EndId,
    /// What it said so far, unread.
    said: VecDeque<ElectionMessage>,
    /// It hung up; what it said before still counts.
    gone: bool,
}

impl Caller {
    fn close(&self, io: &mut Io<'_, Coordinator>) {
        if !self.gone {
            io.close(self.end);
        }
    }
}

/// The transport of leader election.
#[derive(Clone, Debug)]
pub(super) struct QuorumCnxManager {
    endpoints: Endpoints,
    peers: BTreeMap<Sid, Peer>,
    /// The listener reads who called one caller at a time, in order: a silent one holds up those behind it.
    callers: VecDeque<Caller>,
    /// When the listener gives the first caller up.
    caller_deadline: Option<Instant>,
    /// `recvQueue`.
    received: VecDeque<(Sid, Notification)>,
}

impl QuorumCnxManager {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            peers: BTreeMap::new(),
            callers: VecDeque::new(),
            caller_deadline: None,
            received: VecDeque::new(),
        }
    }

    /// Begins to listen on the election port.
    pub(super) fn start(&self, io: &mut Io<'_, Coordinator>) {
        io.listen(self.endpoints.own.port);
    }

    /// Whether it listens there.
    pub(super) fn listens_on(&self, port: Port) -> bool {
        self.endpoints.own.port == port
    }

    /// Other servers, or servers elsewhere. Connections that there are stay.
    pub(super) fn set_addresses(&mut self, addresses: BTreeMap<Sid, Address>) {
        self.endpoints.addresses = addresses;
    }

    /// Ends everything: connections, dials and the listening.
    pub(super) fn halt(&self, io: &mut Io<'_, Coordinator>) {
        io.unlisten(self.endpoints.own.port);
        for peer in self.peers.values() {
            for end in peer.connection.into_iter().chain(peer.dial.map(|dial| dial.end)) {
                io.close(end);
            }
        }
        for caller in &self.callers {
            caller.close(io);
        }
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.callers.iter().any(|caller| caller.end == end)
            || self
                .peers
                .values()
                .any(|peer| peer.connection == Some(end) || peer.dial.is_some_and(|dial| dial.end == end))
    }

    /// What waits for a connection to this server.
    #[cfg(test)]
    pub(super) fn waiting_for(&self, sid: Sid) -> Option<&Notification> {
        self.peers.get(&sid)?.queue.as_ref()?.as_ref()
    }

    /// The oldest received notification, with the server it came from.
    pub(super) fn take_received(&mut self) -> Option<(Sid, Notification)> {
        self.received.pop_front()
    }

    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Sends a notification, and dials if there is no connection (`toSend`). To itself: received at once.
    pub(super) fn send(&mut self, to: Sid, notification: Notification, io: &mut Io<'_, Coordinator>) {
        if to == self.endpoints.me {
            self.receive(to, notification);
            return;
        }
        let peer = self.peers.entry(to).or_default();
        if let Some(end) = peer.connection {
            peer.last_sent = Some(notification.clone());
            io.send(end, ElectionMessage::Notification(notification));
        } else {
            peer.queue = Some(Some(notification)); // The newest wins.
            self.connect_one(to, io);
        }
    }

    /// Whether anything was delivered to anybody: some server's queue is empty (`haveDelivered`).
    pub(super) fn have_delivered(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer.queue, Some(None)))
    }

    /// Dials every server there was something to send to and no connection (`connectAll`).
    pub(super) fn connect_all(&mut self, io: &mut Io<'_, Coordinator>) {
        let with_queue: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.queue.is_some()).map(|(&sid, _)| sid).collect();
        for sid in with_queue {
            self.connect_one(sid, io);
        }
    }

    /// Somebody dialled the election port.
    pub(super) fn on_accepted(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        if self.callers.len() == BACKLOG_MAX {
            io.close(end);
            return;
        }
        self.callers.push_back(Caller { end, said: VecDeque::new(), gone: false });
        self.serve_callers(io);
    }

    /// A dial succeeded: says who it is, and hangs up again if the other one is the one to dial.
    pub(super) fn on_opened(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        let sid = self.take_dial(end).expect("routed here because a dial owns the end");
        io.send(end, self.hello());
        if sid > self.endpoints.me {
            io.close(end);
        } else {
            self.begin_connection(sid, end, io);
        }
    }

    /// Nobody listens there. The next thing to send dials again.
    pub(super) fn on_refused(&mut self, end: EndId) {
        self.take_dial(end).expect("routed here because a dial owns the end");
    }

    /// A connection is gone. The next thing to send dials again.
    pub(super) fn on_lost(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        if self.take_dial(end).is_some() {
            return;
        }
        if let Some(sid) = self.connected_as(end) {
            self.peers.entry(sid).or_default().connection = None;
            return;
        }
        let caller =
            self.callers.iter_mut().find(|caller| caller.end == end).expect("routed here because it owns the end");
        caller.gone = true;
        self.serve_callers(io);
    }

    /// A message on one of its ends.
    pub(super) fn on_message(&mut self, end: EndId, message: ElectionMessage, io: &mut Io<'_, Coordinator>) {
        if let Some(sid) = self.connected_as(end) {
            self.on_frame(sid, message, io);
            return;
        }
        let caller = self.callers.iter_mut().find(|caller| caller.end == end);
        let caller = caller.expect("a message comes on a connection, or from a caller: nothing else is open");
        caller.said.push_back(message);
        self.serve_callers(io);
    }

    /// Gives up what took too long: dials, and a caller that does not say who it is.
    pub(super) fn on_woken(&mut self, io: &mut Io<'_, Coordinator>) {
        let now = io.now();
        for peer in self.peers.values_mut() {
            if let Some(dial) = peer.dial.take_if(|dial| dial.deadline <= now) {
                io.close(dial.end);
            }
        }
        if self.caller_deadline.is_some_and(|deadline| deadline <= now) {
            let caller = self.callers.pop_front().expect("a deadline stands only while somebody calls");
            io.close(caller.end);
            self.caller_deadline = None;
            self.serve_callers(io);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let dials = self.peers.values().filter_map(|peer| peer.dial.map(|dial| dial.deadline));
        dials.chain(self.caller_deadline).min()
    }

    /// Panics if the state contradicts itself.
    pub(super) fn check_invariants(&self) {
        assert!(self.received.len() <= RECEIVED_MAX);
        assert!(self.callers.len() <= BACKLOG_MAX);
        assert!(!self.peers.contains_key(&self.endpoints.me), "nobody connects to itself");
        for (sid, peer) in &self.peers {
            if peer.connection.is_some() {
                assert!(matches!(peer.queue, Some(None)), "a notification to {sid} waits although it is connected");
            }
        }
        assert_eq!(self.caller_deadline.is_some(), !self.callers.is_empty(), "the listener waits for the first caller");
    }

    fn hello(&self) -> ElectionMessage {
        let Address { host, port } = self.endpoints.own;
        let (dialer, address) = (Dialer::Server(self.endpoints.me), format!("{host}:{}", port.0));
        ElectionMessage::Hello(ConnectionHeader::SingleAddress { dialer, address })
    }

    /// Dials unless connected or dialling already.
    fn connect_one(&mut self, sid: Sid, io: &mut Io<'_, Coordinator>) {
        // A server that is in no configuration has no address: it must dial.
        let Some(&address) = self.endpoints.addresses.get(&sid) else { return };
        self.connect_to(sid, address, io);
    }

    fn connect_to(&mut self, sid: Sid, address: Address, io: &mut Io<'_, Coordinator>) {
        let peer = self.peers.entry(sid).or_default();
        if peer.connection.is_some() || peer.dial.is_some() {
            return;
        }
        let deadline = io.now().saturating_add(self.endpoints.connect_timeout);
        peer.dial = Some(Dial { end: io.connect(address), deadline });
    }

    fn take_dial(&mut self, end: EndId) -> Option<Sid> {
        self.peers.iter_mut().find_map(|(&sid, peer)| peer.dial.take_if(|dial| dial.end == end).map(|_| sid))
    }

    /// Lets the listener get on with its callers, as far as they have said who they are.
    fn serve_callers(&mut self, io: &mut Io<'_, Coordinator>) {
        while let Some(caller) = self.callers.front() {
            if caller.said.is_empty() && !caller.gone {
                let deadline = io.now().saturating_add(self.endpoints.handshake_timeout);
                self.caller_deadline.get_or_insert(deadline);
                return;
            }
            let caller = self.callers.pop_front().expect("the front was just looked at");
            self.caller_deadline = None;
            self.on_caller(caller, io);
        }
    }

    /// The listener has read who calls, or that nobody does any more (`handleConnection`).
    fn on_caller(&mut self, mut caller: Caller, io: &mut Io<'_, Coordinator>) {
        let (dialer, told) = match caller.said.pop_front() {
            Some(ElectionMessage::Hello(header)) => (header.dialer(), address_in(&header)),
            // It hung up, or what it said is no protocol version.
            None | Some(ElectionMessage::Notification(_)) => return caller.close(io),
        };
        // Observers without an id are of a time before this server's.
        let Dialer::Server(sid) = dialer else { return caller.close(io) };
        if sid < self.endpoints.me {
            // It calls because it has no connection: what looks like one on this side is dead.
            if let Some(dead) = self.peers.entry(sid).or_default().connection.take() {
                io.close(dead);
            }
            caller.close(io);
            // Also if it is in no configuration: one that was removed learns so who leads.
            match told {
                Some(address) => self.connect_to(sid, address, io),
                None => self.connect_one(sid, io),
            }
        } else if sid == self.endpoints.me {
            caller.close(io); // Another server with this one's id, or a dial to itself (ZOOKEEPER-2164).
        } else {
            self.begin_connection(sid, caller.end, io);
            for message in caller.said {
                self.on_frame(sid, message, io);
            }
            if caller.gone {
                self.peers.entry(sid).or_default().connection = None;
            }
        }
    }

    /// A message on the connection with a server.
    fn on_frame(&mut self, sid: Sid, message: ElectionMessage, io: &mut Io<'_, Coordinator>) {
        match message {
            ElectionMessage::Notification(notification) => self.receive(sid, notification),
            // Read as a frame, the protocol version is a negative length: the connection ends.
            ElectionMessage::Hello(_) => {
                if let Some(end) = self.peers.entry(sid).or_default().connection.take() {
                    io.close(end);
                }
            }
        }
    }

    fn connected_as(&self, end: EndId) -> Option<Sid> {
        self.peers.iter().find(|(_, peer)| peer.connection == Some(end)).map(|(&sid, _)| sid)
    }

    /// Takes a connection into use, instead of the one before, and sends what waits or else the last word again.
    fn begin_connection(&mut self, sid: Sid, end: EndId, io: &mut Io<'_, Coordinator>) {
        assert_ne!(sid, self.endpoints.me, "nobody connects to itself");
        let peer = self.peers.entry(sid).or_default();
        if let Some(old) = peer.connection.replace(end) {
            io.close(old);
        }
        let waiting = peer.queue.replace(None).flatten();
        if let Some(notification) = waiting.or_else(|| peer.last_sent.clone()) {
            peer.last_sent = Some(notification.clone());
            io.send(end, ElectionMessage::Notification(notification));
        }
    }

    fn receive(&mut self, from: Sid, notification: Notification) {
        if self.received.len() == RECEIVED_MAX {
            self.received.pop_front();
        }
        self.received.push_back((from, notification));
    }
}

/// Where a caller says that it listens; the first of several.
fn address_in(header: &ConnectionHeader) -> Option<Address> {
    let text = match header {
        ConnectionHeader::Legacy { .. } => return None,
        ConnectionHeader::SingleAddress { address, .. } => address,
        ConnectionHeader::MultiAddress { addresses, .. } => addresses.first()?,
    };
    let (name, port) = text.rsplit_once(':')?;
    let host = name.strip_prefix("host")?.parse().ok().map(HostId)?;
    Some(Address { host, port: Port(port.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jute::ElectionRound;
    use jute::election::PeerState;
    use machine::disk::{Metadata, PageCache};
    use machine::{Clock, Effect, HostId, Numbers, RunKey};

    use super::*;
    use crate::Message;

    /// Server 2 of 3 on a bench.
    #[derive(Debug)]
    struct Bench {
        transport: QuorumCnxManager,
        now: Instant,
        numbers: Numbers,
    }

    fn sid(number: u8) -> Sid {
        Sid::new(number)
    }

    fn notification(round: u64) -> Notification {
        Notification {
            state: PeerState::Looking,
            leader: Some(sid(2)),
            zxid: None,
            round: ElectionRound::new(round),
            peer_epoch: None,
            version: Notification::VERSION,
            config: Bytes::new(),
        }
    }

    fn hello(number: u8) -> ElectionMessage {
        let (dialer, address) = (Dialer::Server(sid(number)), String::new());
        ElectionMessage::Hello(ConnectionHeader::SingleAddress { dialer, address })
    }

    impl Bench {
        fn new() -> Self {
            let address = |number: u8| Address { host: HostId(u32::from(number)), port: Port(3888) };
            let transport = QuorumCnxManager::new(Endpoints {
                me: sid(2),
                own: address(2),
                addresses: (1..=3).map(|number| (sid(number), address(number))).collect(),
                connect_timeout: Span::secs(5),
                handshake_timeout: Span::secs(10),
            });
            Self { transport, now: Instant::from_nanos(1), numbers: Numbers::default() }
        }

        /// What it did, in short.
        fn step(&mut self, to: impl FnOnce(&mut QuorumCnxManager, &mut Io<'_, Coordinator>)) -> Vec<String> {
            let mut disk = PageCache::new(Metadata::Journaled);
            let mut effects: Vec<Effect<Coordinator>> = Vec::new();
            let clock = Clock { now: self.now, wall_offset_ms: 0 };
            let mut io = Io::new(clock, RunKey([1, 2]), 0, &mut disk, &mut self.numbers, &mut effects);
            to(&mut self.transport, &mut io);
            self.transport.check_invariants();
            let line = |effect| match effect {
                Effect::Connect { end, to } => format!("dial {} as {end}", to.host),
                Effect::Close { end } => format!("close {end}"),
                Effect::Send { on, message: Message::Election(ElectionMessage::Hello(_)) } => format!("hello on {on}"),
                Effect::Send { on, message: Message::Election(ElectionMessage::Notification(sent)) } => {
                    format!("round {} on {on}", sent.round)
                }
                other @ (Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Send { .. }
                | Effect::Datagram { .. }
                | Effect::Sync { .. }
                | Effect::Defer { .. }
                | Effect::Spend { .. }
                | Effect::Exit { .. }
                | Effect::State(_)
                | Effect::Reach(_)) => panic!("unexpected {other:?}"),
            };
            effects.into_iter().map(line).collect()
        }

        fn accept(&mut self) -> (EndId, Vec<String>) {
            let end = self.numbers.end();
            let did = self.step(|transport, io| transport.on_accepted(end, io));
            (end, did)
        }

        fn send(&mut self, to: u8, round: u64) -> Vec<String> {
            self.step(|transport, io| transport.send(sid(to), notification(round), io))
        }
    }

    #[test]
    fn only_the_newest_notification_waits_for_the_connection_and_only_one_dial_runs() {
        let mut bench = Bench::new();
        assert_eq!(bench.send(1, 1), ["dial host1 as end1"]);
        assert_eq!(bench.send(1, 2), [""; 0]);
        assert_eq!(bench.send(1, 3), [""; 0]);
        assert!(!bench.transport.have_delivered());
        let did = bench.step(|transport, io| transport.on_opened(EndId(1), io));
        assert_eq!(did, ["hello on end1", "round 3 on end1"]);
        assert!(bench.transport.have_delivered());
        assert_eq!(bench.send(1, 4), ["round 4 on end1"]);
    }

    #[test]
    fn last_notification_is_sent_again_on_the_next_connection() {
        let mut bench = Bench::new();
        bench.send(1, 1);
        bench.step(|transport, io| transport.on_opened(EndId(1), io));
        assert_eq!(bench.step(|transport, io| transport.on_lost(EndId(1), io)), [""; 0], "nothing to send, no dial");
        assert_eq!(bench.step(QuorumCnxManager::connect_all), ["dial host1 as end2"]);
        let did = bench.step(|transport, io| transport.on_opened(EndId(2), io));
        assert_eq!(did, ["hello on end2", "round 1 on end2"]);
    }

    #[test]
    fn greater_server_is_told_who_calls_and_dials_back() {
        let mut bench = Bench::new();
        assert_eq!(bench.send(3, 1), ["dial host3 as end1"]);
        let did = bench.step(|transport, io| transport.on_opened(EndId(1), io));
        assert_eq!(did, ["hello on end1", "close end1"]);
        let (end, _) = bench.accept();
        let did = bench.step(|transport, io| transport.on_message(end, hello(3), io));
        assert_eq!(did, ["round 1 on end2"]);
    }

    #[test]
    fn smaller_server_is_hung_up_on_and_dialled_back() {
        let mut bench = Bench::new();
        bench.send(1, 1);
        bench.step(|transport, io| transport.on_opened(EndId(1), io));
        // Its process restarted; the old connection looks alive from here.
        let (end, _) = bench.accept();
        let did = bench.step(|transport, io| transport.on_message(end, hello(1), io));
        assert_eq!(did, ["close end1", "close end2", "dial host1 as end3"]);
        let (again, _) = bench.accept();
        let did = bench.step(|transport, io| transport.on_message(again, hello(1), io));
        assert_eq!(did, ["close end4"], "one dial at a time");
    }

    /// Found by `reconfiguration`, seed 56: who was removed looked for a leader for ever.
    #[test]
    fn smaller_server_that_nobody_knows_is_dialled_back_where_it_says_it_listens() {
        let mut bench = Bench::new();
        let (end, _) = bench.accept();
        let (dialer, address) = (Dialer::Server(sid(0)), "host7:3889".to_owned());
        let hello = ElectionMessage::Hello(ConnectionHeader::SingleAddress { dialer, address });
        let did = bench.step(|transport, io| transport.on_message(end, hello, io));
        assert_eq!(did, ["close end1", "dial host7 as end2"]);
    }

    #[test]
    fn new_connection_replaces_the_old_one() {
        let mut bench = Bench::new();
        let (first, _) = bench.accept();
        bench.step(|transport, io| transport.on_message(first, hello(3), io));
        let (second, _) = bench.accept();
        let did = bench.step(|transport, io| transport.on_message(second, hello(3), io));
        assert_eq!(did, ["close end1"]);
        assert!(!bench.transport.owns(first));
        assert!(bench.transport.owns(second));
    }

    #[test]
    fn dial_without_an_answer_is_given_up_after_the_connect_timeout() {
        let mut bench = Bench::new();
        bench.send(1, 1);
        bench.now = bench.transport.next_wake().unwrap();
        assert_eq!(bench.now, Instant::from_nanos(1) + Span::secs(5));
        assert_eq!(bench.step(QuorumCnxManager::on_woken), ["close end1"]);
        assert_eq!(bench.transport.next_wake(), None);
        assert_eq!(bench.send(1, 2), ["dial host1 as end2"]);
    }

    #[test]
    fn silent_caller_holds_up_the_next_one_until_it_is_given_up() {
        let mut bench = Bench::new();
        let (silent, _) = bench.accept();
        let (other, _) = bench.accept();
        bench.step(|transport, io| transport.on_message(other, hello(3), io));
        bench.step(|transport, io| {
            transport.on_message(other, ElectionMessage::Notification(notification(5)), io);
        });
        assert!(!bench.transport.has_received(), "the listener is still reading the first one");
        bench.now = bench.transport.next_wake().unwrap();
        assert_eq!(bench.step(QuorumCnxManager::on_woken), [format!("close {silent}")]);
        assert_eq!(bench.transport.take_received(), Some((sid(3), notification(5))));
        assert_eq!(bench.transport.next_wake(), None);
    }

    #[test]
    fn caller_that_hung_up_after_its_header_is_dialled_back_all_the_same() {
        let mut bench = Bench::new();
        let (silent, _) = bench.accept();
        let (smaller, _) = bench.accept();
        bench.step(|transport, io| transport.on_message(smaller, hello(1), io));
        bench.step(|transport, io| transport.on_lost(smaller, io));
        let did = bench.step(|transport, io| transport.on_lost(silent, io));
        assert_eq!(did, ["dial host1 as end3"]);
    }

    #[test]
    fn caller_that_breaks_the_protocol_is_hung_up_on() {
        let mut bench = Bench::new();
        let (end, _) = bench.accept();
        let message = ElectionMessage::Notification(notification(1));
        assert_eq!(bench.step(|transport, io| transport.on_message(end, message, io)), ["close end1"]);
        let (end, _) = bench.accept();
        bench.step(|transport, io| transport.on_message(end, hello(3), io));
        assert_eq!(bench.step(|transport, io| transport.on_message(end, hello(3), io)), ["close end2"]);
        let (end, _) = bench.accept();
        let did = bench.step(|transport, io| transport.on_message(end, hello(2), io));
        assert_eq!(did, ["close end3"], "another server with the own id");
    }

    #[test]
    fn hundred_notifications_wait_and_the_oldest_gives_way() {
        let mut bench = Bench::new();
        (1..=103).for_each(|round| assert!(bench.send(2, round).is_empty(), "to itself without a network"));
        let received: Vec<_> = std::iter::from_fn(|| bench.transport.take_received()).collect();
        assert_eq!(received.len(), 100);
        assert_eq!(received[0], (sid(2), notification(4)));
    }
}
