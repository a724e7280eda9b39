//! The server as a whole: it routes inputs to the parts that own them.
//!
//! Ends and tickets are routed by asking the parts; what accepts a connection decides by the port. What the pipeline wants of
//! its peer, and how a leader election ended, is drained after every input, so that nothing is left over when `handle` returns.

use std::sync::Arc;

use jute::PeerEpoch;
use jute::client::{ClientPacket, FourLetterWord};
use machine::{Digest, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Port, Vocabulary};

use crate::config::ServerConfig;
use crate::database::Database;
use crate::election::Election;
use crate::membership::Membership;
use crate::server::{Asked, Server, Stores};
use crate::store::{Recovered, RefuseToStart, TxnLog, purge, recover};
use crate::view::CoordinatorView;
use crate::zab::{Parts, Peer, PeerEpochs};
use crate::{CoordinatorMark, Fact, Message, Role, Work, work};

/// One ZooKeeper server process.
#[derive(Clone, Debug)]
pub struct Coordinator {
    config: Arc<ServerConfig>,
    db: Database,
    log: TxnLog,
    epochs: PeerEpochs,
    server: Server,
    membership: Membership,
    /// None of a standalone server.
    election: Option<Election>,
    peer: Peer,
    /// When old snapshots and logs go next.
    purge_at: Option<Instant>,
}

impl Vocabulary for Coordinator {
    type Message = Message;
    type Work = Work;
    type Fact = Fact;
}

impl Machine for Coordinator {
    type Image = ServerConfig;
    type View = CoordinatorView;

    fn boot(image: &Self::Image, io: &mut Io<'_, Self>) -> Self {
        let config = Arc::new(image.clone());
        let recovered = recover(io.disk(), &config);
        let loaded = Membership::load(io.disk(), &config);
        let (membership, recovered) = match loaded {
            Ok(membership) => (membership, recovered),
            Err(why) => (Membership::new(&config), Err(why)),
        };
        let mut this = Self {
            db: Database::new(config.commit_log_count),
            log: TxnLog::new(&config),
            epochs: PeerEpochs::new(PeerEpoch::ZERO, PeerEpoch::ZERO),
            server: Server::new(Arc::clone(&config), io),
            election: config.is_distributed().then(|| Election::new(&config, &membership)),
            membership,
            peer: Peer::down(),
            purge_at: config.purge_interval.map(|_| io.now()),
            config,
        };
        this.purge(io);
        this.server.set_quorums(this.membership.quorums());
        match recovered {
            Ok(recovered) => this.start(recovered, io),
            Err(why) => this.refuse(&why, io),
        }
        this.drain(io);
        this
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        if self.peer.is_down() {
            return; // It has asked to exit: what still comes finds nobody.
        }
        match input {
            Input::Woken => self.on_woken(io),
            Input::Accepted { on, port, peer } => self.on_accepted(on, port, peer, io),
            Input::Opened { on } => self.on_opened(on, io),
            Input::Refused { on } => self.on_refused(on, io),
            Input::Lost { on, why: _ } => self.on_lost(on, io),
            Input::Message { on, message } => self.on_message(on, message, io),
            Input::Durable { ticket, result } => {
                let (peer, mut parts) = self.split();
                if parts.server.owns_ticket(ticket) {
                    parts.server.on_durable(ticket, result, io);
                } else if parts.membership.owns_ticket(ticket) {
                    parts.membership.on_durable(result, parts.config, io);
                    peer.on_config_written(&mut parts, io);
                } else if parts.epochs.owns_ticket(ticket) {
                    peer.on_epoch_durable(result, &mut parts, io);
                } else if peer.owns_ticket(ticket) {
                    peer.on_durable(ticket, result, &mut parts, io);
                }
                // Else who waited for it has left.
            }
            Input::Turn { lane: _, work } => self.on_turn(work, io),
            // Nobody sends a server datagrams.
            Input::Datagram { .. } => {}
            Input::Terminate => self.peer.on_terminate(io),
        }
        self.drain(io);
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.peer.is_down() {
            return None;
        }
        let election = self.election.as_ref().and_then(Election::next_wake);
        [self.peer.next_wake(), self.server.next_wake(), election, self.purge_at].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        self.db.check_invariants();
        self.epochs.check_invariants();
        self.peer.check_invariants();
        self.server.check_invariants();
        if let Some(election) = &self.election {
            election.check_invariants();
        }
    }

    fn view(&self) -> Self::View {
        CoordinatorView {
            sid: self.config.myid.value(),
            role: self.role().name(),
            phase: self.peer.phase_name(),
            accepted_epoch: self.epochs.accepted().value(),
            current_epoch: self.epochs.current().value(),
            last_processed: self.db.last_processed().value(),
            tree_digest: self.db.digest(),
            sessions: self.db.sessions().len(),
        }
    }

    fn digest(&self, into: &mut Digest) {
        into.word(u64::from(self.config.myid.value()));
        into.word(u64::from(self.epochs.accepted().value()));
        into.word(u64::from(self.epochs.current().value()));
        into.word(self.db.last_processed().value());
        into.word(self.db.digest());
        self.peer.digest(into);
        self.server.digest(into);
        if let Some(election) = &self.election {
            election.digest(into);
        }
    }

    fn lane_name(lane: Lane) -> &'static str {
        work::lane_name(lane)
    }
}

impl Coordinator {
    /// What this server is to its ensemble.
    #[must_use]
    pub fn role(&self) -> Role {
        self.peer.role()
    }

    /// Its tree, sessions and committed log.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.db
    }

    /// Its client connections and their watches.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Whether clients are served, and not only read-only ones.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.server.is_open() && !self.server.is_read_only()
    }

    /// What it would tell an operator (zookeeper.md §11.8), whoever may ask; sizes on disk are not known here.
    #[must_use]
    pub fn say(&self, word: FourLetterWord, now: Instant, wall_ms: i64) -> String {
        self.server.say(word, &Asked { db: &self.db, now, wall_ms, disk_bytes: (0, 0) })
    }

    fn start(&mut self, recovered: Recovered, io: &mut Io<'_, Self>) {
        let last = recovered.database.last_processed();
        let to_write = match recovered.epochs {
            Some(epochs) => {
                self.epochs = PeerEpochs::new(epochs.accepted, epochs.current);
                epochs.to_write
            }
            None => Vec::new(),
        };
        if recovered.torn_tails > 0 {
            io.reach(CoordinatorMark::TornTail);
        }
        if recovered.snapshots_skipped > 0 {
            io.reach(CoordinatorMark::SnapshotFallback);
        }
        if !to_write.is_empty() && last.value() > 0 {
            io.reach(CoordinatorMark::EpochFileRepaired);
        }
        self.db = recovered.database.with_defects(&self.config.defects);
        io.state(Fact::Recovered { zxid: last, epoch: self.epochs.current() });
        // Open before the role is known: whoever connects is cut off at its first frame (§2.1).
        io.listen(self.config.client_port);
        let has_database = recovered.may_vote;
        let (_, mut parts) = self.split();
        let peer = Peer::start(has_database, to_write, &mut parts, io);
        self.peer = peer;
    }

    fn refuse(&mut self, why: &RefuseToStart, io: &mut Io<'_, Self>) {
        io.state(Fact::RefusedToStart { why: why.to_string() });
        io.exit(1);
    }

    /// The main loop, and what it works with.
    fn split(&mut self) -> (&mut Peer, Parts<'_>) {
        let Self { config, db, log, epochs, server, membership, election, peer, purge_at: _ } = self;
        (peer, Parts { config, db, log, epochs, server, membership, election: election.as_mut() })
    }

    /// `DatadirCleanupManager`: a timer of its own. A disk that fails is somebody else's trouble.
    fn purge(&mut self, io: &mut Io<'_, Self>) {
        let Some(interval) = self.config.purge_interval else { return };
        if self.purge_at.is_some_and(|at| at <= io.now()) {
            self.purge_at = Some(io.now() + interval);
            if purge(io.disk(), &self.config).is_ok_and(|removed| removed > 0) {
                io.reach(CoordinatorMark::Purged);
            }
        }
    }

    fn on_woken(&mut self, io: &mut Io<'_, Self>) {
        self.purge(io);
        self.server.on_woken(&self.db, io);
        if let Some(election) = &mut self.election {
            election.on_woken(io);
        }
        let (peer, mut parts) = self.split();
        peer.on_woken(&mut parts, io);
    }

    fn on_accepted(&mut self, on: EndId, port: Port, from: HostId, io: &mut Io<'_, Self>) {
        if port == self.config.client_port {
            if self.refuses_clients() {
                io.close(on);
            } else {
                self.server.on_accepted(on, from, io);
            }
        } else if let Some(election) = self.election.as_mut().filter(|election| election.listens_on(port)) {
            election.on_accepted(on, io);
        } else {
            let (peer, parts) = self.split();
            peer.on_accepted(on, &parts, io);
        }
    }

    /// `leaderServes=no`: to clients a leader is as good as not running.
    fn refuses_clients(&self) -> bool {
        self.role() == Role::Leading && !self.config.leader_serves
    }

    fn on_opened(&mut self, on: EndId, io: &mut Io<'_, Self>) {
        if self.peer.owns(on) {
            let (peer, parts) = self.split();
            peer.on_opened(&parts, io);
        } else if let Some(election) = self.election.as_mut().filter(|election| election.owns(on)) {
            election.on_opened(on, io);
        }
    }

    fn on_refused(&mut self, on: EndId, io: &mut Io<'_, Self>) {
        if self.peer.owns(on) {
            let (peer, mut parts) = self.split();
            peer.on_refused(&mut parts, io);
        } else if let Some(election) = self.election.as_mut().filter(|election| election.owns(on)) {
            election.on_refused(on, io);
        }
    }

    fn on_lost(&mut self, on: EndId, io: &mut Io<'_, Self>) {
        if self.peer.owns(on) {
            let (peer, mut parts) = self.split();
            peer.on_lost(on, &mut parts, io);
        } else if self.server.owns(on) {
            self.server.on_lost(on);
        } else if let Some(election) = self.election.as_mut().filter(|election| election.owns(on)) {
            election.on_lost(on, io);
        }
    }

    /// Messages on an end that nobody owns any more are late: dropped. Of another protocol than the port's: cut off.
    fn on_message(&mut self, on: EndId, message: Message, io: &mut Io<'_, Self>) {
        if self.peer.owns(on) {
            let (peer, mut parts) = self.split();
            match message {
                Message::Quorum(message) => peer.on_message(on, message, &mut parts, io),
                Message::Client(_) | Message::Election(_) => {
                    io.close(on);
                    peer.on_lost(on, &mut parts, io);
                }
            }
        } else if self.server.owns(on) {
            let refused = self.refuses_clients();
            let Self { server, db, log, .. } = self;
            match message {
                _ if refused => {
                    io.close(on);
                    server.on_lost(on);
                }
                Message::Client(ClientPacket::ToServer(frame)) => {
                    server.on_frame(on, frame, &mut Stores { db, log }, io);
                }
                Message::Client(ClientPacket::Word(word)) => server.on_word(on, word, &Stores { db, log }, io),
                Message::Client(ClientPacket::ToClient(_) | ClientPacket::Text(_))
                | Message::Quorum(_)
                | Message::Election(_) => {
                    io.close(on);
                    server.on_lost(on);
                }
            }
        } else if let Some(election) = self.election.as_mut().filter(|election| election.owns(on)) {
            match message {
                Message::Election(message) => election.on_message(on, message, io),
                Message::Client(_) | Message::Quorum(_) => {
                    io.close(on);
                    election.on_lost(on, io);
                }
            }
        }
    }

    fn on_turn(&mut self, work: Work, io: &mut Io<'_, Self>) {
        match work {
            Work::Election(work) => {
                self.election.as_mut().expect("only who has the part defers its work").on_turn(work, io);
            }
            Work::Server(work) => {
                if self.server.reconfigures_next() {
                    self.server.set_synced(self.peer.synced_followers(self.config.myid));
                }
                let Self { server, db, log, .. } = self;
                server.on_turn(work, &mut Stores { db, log }, io);
            }
            Work::Zab(work) => {
                let (peer, mut parts) = self.split();
                peer.on_turn(work, &mut parts, io);
            }
        }
    }

    /// What the parts have to tell each other, until nobody has anything to say.
    fn drain(&mut self, io: &mut Io<'_, Self>) {
        let (peer, mut parts) = self.split();
        while !peer.is_down() {
            peer.on_lookers(&mut parts, io);
            if let Some(learned) = parts.election.as_mut().and_then(|election| election.poll_learned()) {
                peer.on_config_learned(learned, &mut parts, io);
            } else if let Some(event) = parts.server.poll_event() {
                peer.on_server_event(event, &mut parts, io);
            } else if let Some(decided) = parts.election.as_mut().and_then(|election| election.poll_decision()) {
                peer.on_decided(decided, &mut parts, io);
            } else {
                break;
            }
        }
    }
}
