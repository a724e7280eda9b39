//! One server on a bench, its peers played by the test packet by packet.

use coordinator::config::{ELECTION_PORT, QUORUM_PORT};
use coordinator::store::serialize_snapshot;
use coordinator::{Coordinator, Database, Fact, Message, ServerConfig};
use jute::election::{ConnectionHeader, Dialer, ElectionMessage, Notification, PeerState};
use jute::quorum::{LEARNER_PROTOCOL, LearnerInfo, QuorumMessage, QuorumPacket};
use jute::{ElectionRound, PeerEpoch, Sid, Zxid};
use machine::rig::Rig;
use machine::{Effect, EndId, HostId, Input, Loss, Span};

/// An end that only the test knows: the rig's own numbers stay far below.
pub(crate) const PEER: EndId = EndId(900_000);

/// A server of an ensemble of three, `server.1` to `server.3` on hosts 0 to 2.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) rig: Rig<Coordinator>,
    effects: Vec<Effect<Coordinator>>,
    next_election_end: u32,
}

impl Bench {
    pub(crate) fn new(myid: u8, change: impl Fn(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::ensemble(Sid::new(myid), &[HostId(0), HostId(1), HostId(2)]);
        config.tick_time = Span::millis(500);
        config.pre_alloc_size_kb = 64;
        change(&mut config);
        Self { rig: Rig::new(config, u64::from(myid)), effects: Vec::new(), next_election_end: 800_000 }
    }

    pub(crate) fn feed(&mut self, input: Input<Message, coordinator::Work>) {
        self.rig.feed(input);
    }

    /// Takes what the server did since the last call.
    pub(crate) fn effects(&mut self) -> Vec<Effect<Coordinator>> {
        self.effects.extend(self.rig.take_effects());
        std::mem::take(&mut self.effects)
    }

    /// Takes the packets it sent on an end; everything else it did is dropped.
    pub(crate) fn sent(&mut self, end: EndId) -> Vec<QuorumPacket> {
        let packet = |effect| {
            let Effect::Send { on, message: Message::Quorum(QuorumMessage::Packet(packet)) } = effect else {
                return None;
            };
            (on == end).then_some(packet)
        };
        self.effects().into_iter().filter_map(packet).collect()
    }

    pub(crate) fn facts(&mut self) -> Vec<Fact> {
        let fact = |effect| if let Effect::State(fact) = effect { Some(fact) } else { None };
        self.effects().into_iter().filter_map(fact).collect()
    }

    /// Boots it and lets `leader` win with the vote of the scripted peer; `history` speaks for the winner.
    fn elect(&mut self, leader: u8, history: (PeerEpoch, Zxid)) {
        self.rig.boot();
        self.rig.settle();
        let from = if leader == self.sid() { 1 } else { leader };
        let end = EndId(self.next_election_end);
        self.next_election_end += 1;
        let vote = ElectionMessage::Notification(Notification {
            state: PeerState::Looking,
            leader: Some(Sid::new(leader)),
            zxid: Some(history.1),
            round: ElectionRound::new(1),
            peer_epoch: Some(history.0),
            version: Notification::VERSION,
            config: bytes::Bytes::new(),
        });
        let end = if from > self.sid() {
            self.feed(Input::Accepted { on: end, port: ELECTION_PORT, peer: HostId(u32::from(from) - 1) });
            let dialer = Dialer::Server(Sid::new(from));
            let hello = ConnectionHeader::SingleAddress { dialer, address: format!("host{}:3888", from - 1) };
            self.feed(Input::Message { on: end, message: ElectionMessage::Hello(hello).into() });
            end
        } else {
            let dialled = self.effects().into_iter().find_map(|effect| {
                let Effect::Connect { end, to } = effect else { return None };
                (to.host == HostId(u32::from(from) - 1)).then_some(end)
            });
            let end = dialled.expect("the higher id dials");
            self.feed(Input::Opened { on: end });
            end
        };
        self.feed(Input::Message { on: end, message: vote.into() });
        while self.rig.turn() {}
        self.rig.advance(Span::millis(200));
        self.effects.extend(self.rig.take_effects());
    }

    fn sid(&self) -> u8 {
        self.rig.machine().config().myid.value()
    }

    /// `server.3`, elected; its own start is settled, and nobody has connected.
    pub(crate) fn leading(change: impl Fn(&mut ServerConfig)) -> Self {
        let mut bench = Self::new(3, change);
        bench.lead();
        bench
    }

    /// Boots it into leading.
    pub(crate) fn lead(&mut self) {
        self.elect(3, (PeerEpoch::ZERO, Zxid::ZERO));
        while self.rig.turn() {}
    }

    /// `server.1`, following `server.3`: it dialled, the connection is open, FOLLOWERINFO is sent. Returns its end.
    pub(crate) fn following(change: impl Fn(&mut ServerConfig)) -> (Self, EndId) {
        let mut bench = Self::new(1, change);
        let end = bench.follow();
        (bench, end)
    }

    /// Boots it into following.
    pub(crate) fn follow(&mut self) -> EndId {
        let end = self.dial_leader();
        self.feed(Input::Opened { on: end });
        assert!(matches!(self.sent(end)[..], [QuorumPacket::FollowerInfo { .. }]));
        end
    }

    /// Boots it until it dials its leader.
    pub(crate) fn dial_leader(&mut self) -> EndId {
        self.elect(3, (PeerEpoch::new(1), Zxid::new(PeerEpoch::new(1), 100)));
        self.dialled().expect("a follower dials its leader")
    }

    /// The end of the last dial to the leader's quorum port.
    pub(crate) fn dialled(&mut self) -> Option<EndId> {
        self.effects().into_iter().rev().find_map(|effect| {
            let Effect::Connect { end, to } = effect else { return None };
            (to.port == QUORUM_PORT).then_some(end)
        })
    }

    pub(crate) fn say(&mut self, end: EndId, packet: QuorumPacket) {
        self.feed(Input::Message { on: end, message: QuorumMessage::Packet(packet).into() });
    }

    /// The leader sends its tree.
    pub(crate) fn stream(&mut self, end: EndId, tree: &Database) {
        let signature = jute::to_bytes(&"BenWasHere".to_owned());
        let stream = [&serialize_snapshot(tree, self.rig.machine().config())[..], &signature[..]].concat();
        self.feed(Input::Message { on: end, message: QuorumMessage::Snapshot(stream.into()).into() });
    }

    /// A connection is reset.
    pub(crate) fn lose(&mut self, end: EndId) {
        self.feed(Input::Lost { on: end, why: Loss::Reset });
    }

    /// A learner connects to the leader on the bench and says who it is.
    pub(crate) fn learner(&mut self, end: EndId, sid: u8, accepted_epoch: PeerEpoch) {
        self.feed(Input::Accepted { on: end, port: QUORUM_PORT, peer: HostId(u32::from(sid) - 1) });
        let info = LearnerInfo { sid: Sid::new(sid), protocol_version: LEARNER_PROTOCOL, config_version: 0 };
        self.say(end, QuorumPacket::FollowerInfo { accepted_epoch, info });
    }

    /// The kernel writes back what lies in the page cache: no server syncs its first snapshot.
    pub(crate) fn write_back(&mut self) {
        self.rig.with_io(|_, io| {
            for path in io.disk().list("") {
                let file = io.disk().open(&path).unwrap();
                let _ = io.sync(file);
            }
        });
        self.rig.finish_syncs();
    }

    /// Everything deferred has its turn; syncs wait.
    pub(crate) fn turns(&mut self) {
        while self.rig.turn() {}
    }

    pub(crate) fn file(&self, path: &str) -> Option<String> {
        let path = format!("{}/{path}", self.rig.machine().config().data_dir);
        self.rig.disk.bytes(&path).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(crate) fn has_log(&self) -> bool {
        let prefix = format!("{}/log.", self.rig.machine().config().data_log_dir);
        !machine::disk::Disk::list(&self.rig.disk, &prefix).is_empty()
    }

    pub(crate) fn role(&self) -> coordinator::Role {
        self.rig.machine().role()
    }

    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        self.effects().into_iter().find_map(|effect| {
            let Effect::Exit { status } = effect else { return None };
            Some(status)
        })
    }
}
