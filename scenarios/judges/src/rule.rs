//! The rules: what must stay true, where that is written, and why anybody should care.
//!
//! Ids are those of `invariants-and-faults.md` §2; the numbers `ZK-I…` they cite are those of `zookeeper.md` §12, and `KA-I…`
//! and `KA-L…` those of `kafka-broker.md` §11, mapped by this package's `invariant-map.md`. H22 and H23 are this project's own
//! numbers. Three checks see only what clients saw: versioned registers are reported as C29 (§3.3), watches as C33
//! (§3.5), fencing tokens of locks as H20 (§3.15). Their findings are a [`Rule::Gap`] if no other judge had noticed anything.

macro_rules! rules {
    ($($variant:ident = $id:literal, $name:literal, $source:literal, $statement:literal, $why:literal;)*) => {
        /// A rule that is judged.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule {
            $(#[doc = $statement] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order in which reports list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What is written about the rule.
            #[must_use]
            pub const fn doc(self) -> &'static RuleDoc {
                match self {
                    $(Self::$variant => &RuleDoc { id: $id, name: $name, source: $source, statement: $statement, why: $why },)*
                }
            }
        }
    };
}

/// What is written about a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleDoc {
    /// Its id, such as `C13`.
    pub id: &'static str,
    /// Its name, such as `no-acked-loss`.
    pub name: &'static str,
    /// Where it is written.
    pub source: &'static str,
    /// What must be true.
    pub statement: &'static str,
    /// What a user loses without it.
    pub why: &'static str,
}

rules! {
    OneLeaderPerEpoch = "C01", "one-leader-per-epoch", "invariants-and-faults.md §2.1 C01; ZK-I01; Zab Leadership1, Leadership2",
        "At most one server is ever established as the leader of an epoch.",
        "Two leaders of one epoch give the same zxid to different transactions: split brain.";
    EpochMonotone = "C02", "epoch-monotone", "invariants-and-faults.md §2.1 C02; ZK-I14",
        "The epochs a server has on disk never decrease, also across restarts, and currentEpoch never exceeds acceptedEpoch.",
        "An epoch is a promise to follow no older leader; a server that forgets it may help two leaders at once.";
    PrefixAgreement = "C03", "prefix-agreement", "invariants-and-faults.md §2.1 C03; ZK-I02, ZK-I04, ZK-I06; Zab PrefixConsistency",
        "The committed histories of any two servers agree: a zxid names one transaction, and nobody serves one that was not committed.",
        "Servers that disagree on history answer the same question differently, for ever.";
    NoGap = "C04", "no-gap", "invariants-and-faults.md §2.1 C04; ZK-I12, ZK-I52; ZOOKEEPER-4925",
        "A server applies committed transactions one after the other, and a leader commits its zxids without holes.",
        "A hole is a write that one server never saw: its tree is wrong from there on, in silence.";
    Integrity = "C06", "integrity", "invariants-and-faults.md §2.1 C06; ZK-I05; Zab Integrity",
        "A transaction is proposed by the leader of its epoch, and by nobody else.",
        "What no leader of the epoch proposed was never ordered against anything: no client asked for it then.";
    LocalPrimaryOrder = "C07", "local-primary-order", "invariants-and-faults.md §2.1 C07; ZK-I07, ZK-I52; Zab LocalPrimaryOrder",
        "A leader proposes the counters of its epoch one after the other, and leaves none out.",
        "A counter that is left out is a commit that everybody behind it waits for, for ever.";
    PrimaryIntegrity = "C08", "primary-integrity", "invariants-and-faults.md §2.1 C08; ZK-I09, ZK-I16; Zab PrimaryIntegrity",
        "A leader begins to broadcast only with every transaction that was committed before its epoch.",
        "Whatever the leader lacks is cut from everybody's log when they synchronise with it.";
    QuorumDurable = "C09", "quorum-durable", "invariants-and-faults.md §2.1 C09; ZK-I11",
        "When a transaction is committed, a quorum of voters has it durable.",
        "Otherwise a loss of power of a minority plus one crash can lose what was acknowledged.";
    AckImpliesDurable = "C10", "ack-implies-durable", "invariants-and-faults.md §2.1 C10; ZK-I13; ZOOKEEPER-4646, 4685, 3023, 4785",
        "A server that acknowledges a proposal, or NEWLEADER, has everything up to it durable at that moment.",
        "The leader counts acknowledgements as copies that survive; an early one is a copy that may not.";
    EpochAfterSync = "C11", "epoch-file-after-sync", "invariants-and-faults.md §2.1 C11; ZK-I13; ZOOKEEPER-4643",
        "currentEpoch is written only when the history of that epoch's leader, as it was synchronised, is durable on the server.",
        "With the epoch but without the history a server wins elections, and its leader's history is cut to its own.";
    LegalMessage = "C12", "legal-message", "invariants-and-faults.md §2.1 C12; ZK-I12, §12.6; Zab CheckDuringAction",
        "A learner is told to commit what its leader proposed to it, in the order of the proposals.",
        "A real server exits with status 12 when it is told to commit anything else.";
    NoAckedLoss = "C13", "no-acked-loss", "invariants-and-faults.md §2.1 C13; ZK-I10",
        "Every write whose success reached a client is in the history of every later leader.",
        "The client was told that it is safe, and it is gone.";
    TreeDeterminism = "C14", "tree-determinism", "invariants-and-faults.md §2.1 C14; ZK-I19, ZK-I21; ZOOKEEPER-3144, 3145",
        "After the same transaction all servers have the same tree, by its digest.",
        "The same history must mean the same data, or failover changes what clients read.";
    MemoryOnDisk = "C15", "memory-on-disk", "invariants-and-faults.md §2.1 C15; ZK-I18; ZOOKEEPER-5094",
        "What a server tells its leader to have, when it synchronises, is on its disk.",
        "The leader sends what comes behind that: what is in memory alone is never sent again, and is a hole after the next crash.";
    RecoveryEquivalence = "C16", "recovery-equivalence", "invariants-and-faults.md §2.1 C16; ZK-I18, ZK-I19",
        "What a server reads back from its disk is what the committed history makes: the same tree and the same sessions.",
        "A restart must not change data: what comes back wrong is served at once, and nothing ever repairs it.";
    ExpiryNotEarly = "C17", "session-expiry-not-early", "invariants-and-faults.md §2.1 C17; ZK-I26",
        "A session is expired only if the leader, by its own clock, heard nothing of it for its whole timeout.",
        "A session that dies early takes its locks with it while its owner still works under them.";
    Promise = "C38", "promise", "invariant-map.md C38; ZK-I15",
        "Who promised an epoch acknowledges nothing of an older one.",
        "A promise that is not kept lets the old leader commit what the new one will never have.";
    ClosedIsClosed = "C19", "closed-is-closed", "invariants-and-faults.md §2.1 C19; ZK-I25",
        "After a session's end is committed, no transaction of it succeeds.",
        "A zombie's write is the write that a lock was there to prevent.";
    EphemeralOwnerLive = "C20", "ephemeral-owner-live", "invariants-and-faults.md §2.1 C20; ZK-I24; ZOOKEEPER-2355, 4837, 1208",
        "An ephemeral znode has an owner that is in the session table, and goes in the transaction that ends its owner.",
        "A ghost ephemeral keeps a lock taken, or a dead server registered, until an operator deletes it.";
    TreeStructure = "C21", "tree-structure", "invariants-and-faults.md §2.1 C21; ZK-I39",
        "A znode has a parent that is no ephemeral, and goes only when it has no children.",
        "What hangs below nothing can be neither listed nor deleted.";
    Cas = "C22", "cas", "invariants-and-faults.md §2.1 C22; ZK-I31, ZK-I37",
        "A write that demands a version succeeds if and only if that is the version, and setData makes the next one.",
        "Without it two clients can both believe that they changed the same thing: a lost update.";
    MultiAtomic = "C23", "multi-atomic", "invariants-and-faults.md §2.1 C23; ZK-I36",
        "A multi is one transaction with all of its operations, or it changes nothing.",
        "Half of a multi is a state that its author took care never to write.";
    SequentialUnique = "C24", "sequential-unique", "invariants-and-faults.md §2.1 C24; ZK-I38",
        "The numbers of a znode's sequential children increase, also across leaders and restarts.",
        "A number given twice gives a lock to two holders, or puts who came last before who came first.";
    FifoSession = "C25", "fifo-session", "invariants-and-faults.md §2.1 C25; ZK-I30",
        "Requests of a session take effect, and are answered, in the order in which they were sent.",
        "Clients pipeline: \"create the data, then the marker\" is only safe in order.";
    ReadAtZxid = "C26", "read-at-zxid", "invariants-and-faults.md §2.1 C26, §3.4; ZK-I33, ZK-I34, ZK-I39",
        "A read shows the path as the committed history makes it up to the zxid of the reply.",
        "An old state is allowed; one that never was is not.";
    ZxidMonotone = "C27", "zxid-monotone-per-session", "invariants-and-faults.md §2.1 C27; ZK-I32",
        "The zxids a session sees in replies and events never decrease, whichever server it talks to.",
        "A client that moves to a server behind its own past sees time run backwards.";
    WatchBeforeData = "C31", "watch-before-data", "invariants-and-faults.md §2.1 C31; ZK-I42",
        "A session is told by its watch of a change before any reply that shows a state with the change.",
        "Caches and recipes rely on it: a configuration read before its invalidation mixes old and new.";
    WatchNoLoss = "C32", "watch-no-loss", "invariants-and-faults.md §2.1 C32; ZK-I41, ZK-I45",
        "A watch whose path changed is delivered while its session lasts, at the latest when everything has come to rest.",
        "Whoever waits for a change that was never told waits for ever.";
    LeaderAndSynced = "V01", "leader-and-synced", "invariants-and-faults.md §2.7 V01, §4; ZK-I46",
        "After everything healed there is one leader, and all live voters and observers are synchronised with it.",
        "An ensemble without a leader serves nobody.";
    WritesComplete = "V02", "writes-complete", "invariants-and-faults.md §2.7 V02, §4; ZK-I47",
        "After everything healed a new write of every client completes.",
        "A cluster that is up but does not answer is down.";
    SessionsSettle = "V03", "sessions-settle", "invariants-and-faults.md §2.7 V03, §4; ZK-I48",
        "After everything healed the sessions of dead clients and their ephemerals are gone, and those of live clients are kept.",
        "Whoever waits for a dead client's lock waits until its session ends.";
    VersionedRegister = "C29", "versioned-register", "invariants-and-faults.md §3.3 (C29 write-linearizable); ZK-I31",
        "Black box: what clients wrote to and read from a znode is explained by one order of versions that respects real time.",
        "It is what a user of compare-and-set can observe and complain about.";
    WatchHistory = "C33", "watch-history", "invariants-and-faults.md §3.5 (C32–C34); ZK-I41, ZK-I43, ZK-I44",
        "Black box: each watch fires once, for a change after it was set, and before its session reads that change.",
        "A watch that is lost, doubled or invented misleads every recipe built on it.";
    NoSpuriousWatch = "C34", "no-spurious-watch", "invariants-and-faults.md §2.1 C34; ZK-I43; ZOOKEEPER-1667",
        "Black box: what a watch tells is what it waited for: a change or the end of data that was there, or the creation of what was not.",
        "A recipe that is told of a creation does not look at data that changed, and the other way round.";
    QuorumIntersection = "C35", "quorum-intersection", "invariants-and-faults.md §2.1 C35; zookeeper.md §15",
        "Who votes changes only by a reconfiguration that a quorum of the old and one of the new voters settled on; versions only grow.",
        "Two servers that count by configurations without a common voter are two ensembles with one history each.";
    ObserverSubset = "C42", "observer-subset", "invariant-map.md C42; ZK-I23; ZOOKEEPER-764",
        "Who has no vote acknowledges no proposal, proposes itself to nobody and never leads.",
        "A copy that nobody counts on is no copy; counted, it makes a minority commit.";
    SessionUnique = "C43", "session-unique", "invariant-map.md C43; ZK-I27",
        "No session id is given twice.",
        "Two clients of one session share its ephemerals, and each is answered for the other.";
    ExpiredIsClosed = "C45", "expired-is-closed", "invariant-map.md C45; ZK-I29",
        "Who is told that its session is over is not in the session table any more, or is about to be taken out.",
        "A client that begins anew beside its own old session waits for its own ephemerals to go.";
    NoRestartRefusal = "C49", "no-restart-refusal", "invariant-map.md C49; ZK-I50; ZOOKEEPER-1573, 1653, 2332",
        "A server that died, and whose disk did nothing but what a disk may do, starts again.",
        "Who does not start over a crash, or takes what a crash leaves for damage, needs an operator for what should heal by itself.";
    ClientGivesUp = "C50", "client-gives-up", "zookeeper.md §10.3; ZK-I47; ZOOKEEPER-4508, 4921",
        "A client that has heard of no server for four thirds of its session's timeout takes the session for ended, and says so.",
        "An application that is told nothing believes in its locks for ever, and never begins again.";
    FencingTokens = "H20", "fencing-tokens", "invariants-and-faults.md §3.15, §2.6 H20",
        "Black box: a resource written under a lock never takes a write with an older token behind one with a newer token, and a token has one holder.",
        "Mutual exclusion is what the resource sees, not what a client believes.";
    DualOwnership = "H17", "dual-ownership", "invariants-and-faults.md §2.6 H17, §2.9; ZooKeeper recipes, Leader Election",
        "Black box: two clients believe at once that they lead one election only if the session of the first one is over.",
        "Whoever leads acts as if it were alone.";
    RecipeHistory = "H19", "realtime-violation", "invariants-and-faults.md §2.6 H19, §3.6; ZooKeeper recipes, Queues",
        "Black box: what users of a queue saw is what one queue would do: each element is taken once at most, none is lost, first in is first out.",
        "Work is done twice, in the wrong order, or never.";
    Stuck = "H21", "stuck", "invariants-and-faults.md §2.6 H21, §4; ZooKeeper recipes",
        "After everything healed one candidate leads each election, and nobody waits at a barrier that was lifted, to enter a round that others have entered, or to leave.",
        "Whoever waits for what has happened already waits for good.";
    BarrierEarly = "H22", "barrier-passed-early", "ZooKeeper recipes, Barriers; zookeeper.md §12.3 ZK-I32",
        "Black box: nobody who has seen a barrier passes it, in the same session, before somebody began to lift it.",
        "What the barrier holds back begins too early.";
    DoubleBarrierApart = "H23", "double-barrier-apart", "ZooKeeper recipes, Double Barriers; zookeeper.md §12.3 ZK-I32",
        "Black box: nobody is inside a double barrier before all members have begun to enter, and nobody has left it while another, whose session lives, has not begun to leave.",
        "Members compute with what others have not written yet, or no longer have.";
    ControllerEpochUnique = "E01", "controller-epoch-unique", "invariants-and-faults.md §2.2 E01; KA-I01; kafka-broker.md §3.3",
        "Each controller epoch is made by exactly one claim of /controller, in one transaction with it.",
        "The epoch is what every fence against a deposed controller compares; two controllers of one epoch pass all of them.";
    StaleControllerWrite = "E04", "stale-controller-write", "invariants-and-faults.md §2.2 E04; KA-I02; KAFKA-6082",
        "What only a controller writes to ZooKeeper is written by the controller of the present epoch.",
        "A deposed controller that still writes undoes its successor's elections, and nobody tells the brokers.";
    StaleControlRequest = "E05", "stale-control-request", "invariants-and-faults.md §2.2 E05; KA-I08; kafka-broker.md §4.15",
        "A broker never applies a control request of an older controller epoch than it has applied already.",
        "A late request of a deposed controller makes brokers lead or follow against the present one's orders.";
    StaleBrokerIncarnation = "E06", "stale-broker-incarnation", "invariants-and-faults.md §2.2 E06; KA-I08; KIP-380, KAFKA-7235",
        "A broker never applies a control request that was meant for an earlier registration of it.",
        "A request to stop a replica that arrives after the restart stops the new life's replica, and nobody notices.";
    LeaderEpochMonotone = "E08", "leader-epoch-monotone", "invariants-and-faults.md §2.2 E08; KA-I03, KA-I09",
        "A partition's leader epoch never decreases, in its znode and in each broker's memory, and grows whenever the leader changes.",
        "Followers and clients tell an old leader from a new one by the epoch alone.";
    OneAppender = "E09", "one-appender-per-epoch", "invariants-and-faults.md §2.2 E09; KA-I04",
        "The records of one leader epoch of a partition are appended by one process of one broker.",
        "Two leaders of one epoch give the same offset to different records, and no epoch tells them apart.";
    ElectedInIsr = "E10", "elected-in-isr", "invariants-and-faults.md §2.2 E10; KA-I06",
        "A partition's new leader was in the ISR before, unless unclean election is allowed for the topic.",
        "Whoever was not in sync may lack acknowledged records, and everybody else truncates to it.";
    LeaderComplete = "E12", "leader-complete", "invariants-and-faults.md §2.2 E12; KA-I22",
        "A leader that is elected cleanly has every committed record.",
        "What the leader lacks is cut from every other log.";
    CandidateComplete = "E13", "candidate-complete", "invariants-and-faults.md §2.2 E13; KA-I24 (StrongISR)",
        "Every running member of the ISR in ZooKeeper has every committed record.",
        "The ISR is the list of those who may be elected without loss; a member that lacks a record is a loss that waits.";
    LeaderInIsr = "E15", "leader-in-isr", "invariants-and-faults.md §2.2 E15; KA-I05",
        "A partition's leader is in its ISR, and the ISR is a part of its replicas and never empty.",
        "A state that contradicts itself leaves a partition that nobody can lead, or that the wrong broker leads.";
    IsrCas = "E16", "isr-cas", "invariants-and-faults.md §2.2 E16; KA-I11; KAFKA-1382",
        "Every change of an ISR is conditional on the version its author read, and its author is the partition's leader, or the controller.",
        "An unconditional write undoes what somebody else has just written, and neither of them learns of it.";
    IsrJoinGuard = "E17", "isr-join-guard", "invariants-and-faults.md §2.2 E17; KA-I16; KAFKA-7128",
        "A follower joins the ISR only with everything up to the leader's high watermark and the start of its epoch.",
        "A member that lacks what an earlier leader committed may be elected, and then it is lost.";
    MetadataConverges = "E21", "controller-view-converges", "invariants-and-faults.md §2.2 E21; KA-I10",
        "After everything healed every broker's metadata is what ZooKeeper says, and no notification is left unread.",
        "Clients go where the metadata sends them; what is stale for ever sends them to the wrong broker for ever.";
    EphemeralRegistration = "E25", "ephemeral-registration", "invariants-and-faults.md §2.2 E25; KA-I14, KA-I15; KAFKA-7165",
        "A broker is registered by its own present session, and no ghost of its own earlier session keeps it out.",
        "A broker that runs and is not registered serves nobody: the controller takes it for dead.";
    LogMatching = "L03", "log-matching", "invariants-and-faults.md §2.3 L03; KA-I20",
        "If two replicas have a record of the same offset and epoch, it is the same record, and all before it are the same.",
        "Replicas that diverge in silence give different answers after each failover, and no truncation ever repairs them.";
    CommittedPrefix = "L05", "committed-prefix-agreement", "invariants-and-faults.md §2.3 L05",
        "Below its high watermark every replica's log is what was committed.",
        "A replica serves what is below its high watermark as soon as it leads.";
    HighWatermarkNeedsQuorum = "L08", "hw-needs-quorum", "invariants-and-faults.md §2.3 L08; KA-I23 (ValidHighWatermark)",
        "When a leader's high watermark passes a record, every member of the ISR has it.",
        "A record counts as committed from there on; one crash may take it if a member of the ISR lacks it.";
    MinIsrGate = "L09", "min-isr-gate", "invariants-and-faults.md §2.3 L09; KA-I32",
        "acks=all succeeds only for committed records, and with min.insync.replicas members in the ISR.",
        "The producer chose to wait for that many copies; it was told that they are there.";
    NoCommittedLoss = "L10", "no-committed-loss", "invariants-and-faults.md §2.3 L10; KA-I22",
        "A record that was acknowledged with acks=all, or given to a consumer, is in the log of every later leader.",
        "The producer was told that it is safe, or a consumer acted on it, and it is gone.";
    TruncateFloor = "L11", "truncate-floor", "invariants-and-faults.md §2.3 L11; KA-I33; KIP-101, KAFKA-1211",
        "A replica that cuts off committed records has them back before it is in the ISR or elected.",
        "Until then one copy less exists than everybody believes.";
    Visibility = "L12", "visibility", "invariants-and-faults.md §2.3 L12; KA-I28",
        "A consumer is given records below the high watermark only.",
        "What is above may vanish at the next failover, after somebody has acted on it.";
    StableRead = "L13", "stable-read", "invariants-and-faults.md §2.3 L13; KA-I27 (ConsistentRead)",
        "Every consumer is given the same record at an offset, for ever.",
        "Two consumers that read different records at one offset compute different states from one log.";
    ContentIntegrity = "L15", "content-integrity", "invariants-and-faults.md §2.3 L15",
        "A record that is given to a consumer is one that a producer sent to that partition, with the bytes it sent.",
        "Damage that nobody detects is believed, copied and acted upon.";
    RecoveryPrefix = "L16", "recovery-prefix", "invariants-and-faults.md §2.3 L16; KA-I31; kafka-broker.md §5.3",
        "After a restart a log is what it was, or after a loss of power a part of it from its start that has all that was synced.",
        "A recovery that cuts too much loses records, and one that cuts too little serves garbage.";
    CommitRange = "G09", "commit-range", "invariants-and-faults.md §2.4 G09; KA-I55",
        "A group commits offsets that were committed in the log at some time.",
        "A group that starts beyond the log resets its position, and skips or reads everything again.";
    OwnershipInterval = "G14", "ownership-interval", "invariants-and-faults.md §2.4 G14, §3.10; KA-I52, KA-I59",
        "Two members of a group with live sessions do not read one partition at the same time.",
        "Records are processed twice, in two places, at once.";
    OffsetRegression = "H15", "offset-regression", "invariants-and-faults.md §2.6 H15, §3.11; KA-I54",
        "A group starts again from the offset it committed last, in the order of zxids, and a commit that succeeded is one.",
        "A group that starts from an older offset processes records again; from a newer one, it skips some.";
    OneController = "V04", "one-controller", "invariants-and-faults.md §2.7 V04, §4; KA-L1",
        "After everything healed one broker acts as controller, and it is the one that ZooKeeper names.",
        "Without a controller no leader is elected and no topic is created.";
    LeadersExist = "V05", "leaders-exist", "invariants-and-faults.md §2.7 V05, §4; KA-L2",
        "After everything healed every partition with a live member in its ISR has a live leader that knows it.",
        "A partition without a leader takes no records and gives none.";
    IsrFull = "V06", "isr-full", "invariants-and-faults.md §2.7 V06, §4; KA-L3",
        "After everything healed all live replicas of every partition are in its ISR.",
        "Until then a partition survives fewer failures than it was made for.";
    ReplicasEqual = "V07", "replicas-equal", "invariants-and-faults.md §2.7 V07, §3.13",
        "After everything healed all replicas of a partition are identical, and everything in them is committed.",
        "Replicas that do not converge are a divergence that nobody repairs.";
    ClientsComplete = "V08", "clients-complete", "invariants-and-faults.md §2.7 V08, §4; KA-L4, KA-L8",
        "After everything healed every record is acknowledged or given up, new ones succeed, and consumers have read everything.",
        "A cluster that is up but does not answer is down.";
    InconsistentOffsets = "H01", "inconsistent-offsets", "invariants-and-faults.md §2.6 H01, §3.7",
        "Black box: an offset of a partition has one record, whoever was told of it.",
        "Offsets are the names of records; a name that means two things means nothing.";
    LostWrite = "H03", "lost-write", "invariants-and-faults.md §2.6 H03, §3.7",
        "Black box: a record that was acknowledged with acks=all is read by whoever reads beyond it.",
        "Consumers went past a record that its producer was told is there.";
    Unseen = "H04", "unseen", "invariants-and-faults.md §2.6 H04, §3.7",
        "Black box: when everything is read, every record that was acknowledged with acks=all was read.",
        "A record at the end of the log is lost as easily as one in the middle, and harder to miss.";
    FailedRead = "H05", "aborted-read", "invariants-and-faults.md §2.6 H05 (G1a), §3.7",
        "Black box: a record that surely failed is never read.",
        "Its producer sent it again, or told somebody that it was not done.";
    PollSkip = "H10", "poll-skip", "invariants-and-faults.md §2.6 H10, §3.7",
        "Black box: a consumer is given the records of a partition without a hole.",
        "A record that is skipped is lost for this consumer, and no offset shows it.";
    NonmonotonicPoll = "H11", "nonmonotonic-poll", "invariants-and-faults.md §2.6 H11, §3.7",
        "Black box: a consumer is given the records of a partition in order, each once.",
        "Order within a partition is what Kafka promises instead of order among all.";
    OffsetOrder = "H12", "offset-order-realtime", "invariants-and-faults.md §2.6 H12, §3.7 step 6",
        "Black box: a record that was sent after another had been acknowledged has a higher offset.",
        "Cause comes before effect in the log, or consumers see effects first.";
    Gap = "GAP", "gap", "invariants-and-faults.md §0.2",
        "Whatever clients can complain about is noticed by a judge of the servers as well.",
        "An anomaly that only clients see means that a rule is missing, or a model is wrong.";
}

impl Rule {
    /// The id, such as `C13`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.doc().id
    }

    /// The name, such as `no-acked-loss`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.doc().name
    }

    /// Whether it looks only at what clients saw.
    #[must_use]
    pub const fn is_black_box(self) -> bool {
        matches!(
            self,
            Self::VersionedRegister
                | Self::WatchHistory
                | Self::FencingTokens
                | Self::DualOwnership
                | Self::RecipeHistory
                | Self::BarrierEarly
                | Self::DoubleBarrierApart
                | Self::InconsistentOffsets
                | Self::LostWrite
                | Self::Unseen
                | Self::FailedRead
                | Self::PollSkip
                | Self::NonmonotonicPoll
                | Self::OffsetOrder
        )
    }

    /// Whether it is a rule of what clients make of ZooKeeper: such a recipe may be wrong while every server is right.
    #[must_use]
    pub const fn is_of_recipes(self) -> bool {
        matches!(self, Self::DualOwnership | Self::RecipeHistory | Self::BarrierEarly | Self::DoubleBarrierApart)
    }

    /// Whether it is a rule of Kafka's, which a world without brokers has no use for.
    #[must_use]
    pub const fn is_of_kafka(self) -> bool {
        self.index() >= Self::ControllerEpochUnique.index() && self.index() < Self::Gap.index()
    }

    /// Its place in [`Rule::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What is written about the rule with that id, in whatever case.
#[must_use]
pub fn explain(id: &str) -> Option<&'static RuleDoc> {
    Rule::ALL.iter().map(|rule| rule.doc()).find(|doc| doc.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_its_id_and_no_id_is_used_twice() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(rule.index(), at);
            assert_eq!(explain(&rule.id().to_lowercase()), Some(rule.doc()));
            assert_eq!(Rule::ALL.iter().filter(|other| other.id() == rule.id()).count(), 1, "{}", rule.id());
        }
        assert_eq!(explain("L99"), None);
    }

    #[test]
    fn the_invariant_map_names_judges_that_there_are_and_leaves_none_of_the_coordinator_out() {
        let map = include_str!("../invariant-map.md");
        let cells = map.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(2));
        let words = cells.flat_map(|cell| cell.split(|c: char| !c.is_alphanumeric()));
        let named: Vec<&str> = words.filter(|word| word.len() == 3 && word[1..].parse::<u8>().is_ok()).collect();
        for id in &named {
            assert!(explain(id).is_some(), "there is no judge {id}");
        }
        let of_coordinator = Rule::ALL.iter().filter(|rule| rule.id().starts_with('C'));
        for rule in of_coordinator {
            assert!(named.contains(&rule.id()), "{} holds nothing", rule.id());
        }
    }
}
