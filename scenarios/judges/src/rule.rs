//! The rules: what must stay true, where that is written, and why anybody should care.
//!
//! Ids are those of `invariants-and-faults.md` §2; the numbers `ZK-I…` they cite are those of `zookeeper.md` §12, mapped by
//! `invariant-map.md`. Three checks see only what clients saw: versioned registers are reported as C29 (§3.3), watches as C32
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
    NoAckedLoss = "C13", "no-acked-loss", "invariants-and-faults.md §2.1 C13; ZK-I10",
        "Every write whose success reached a client is in the history of every later leader.",
        "The client was told that it is safe, and it is gone.";
    TreeDeterminism = "C14", "tree-determinism", "invariants-and-faults.md §2.1 C14; ZK-I19, ZK-I21; ZOOKEEPER-3144, 3145",
        "After the same transaction all servers have the same tree, by its digest.",
        "The same history must mean the same data, or failover changes what clients read.";
    ExpiryNotEarly = "C17", "session-expiry-not-early", "invariants-and-faults.md §2.1 C17; ZK-I26",
        "A session is expired only if the leader, by its own clock, heard nothing of it for its whole timeout.",
        "A session that dies early takes its locks with it while its owner still works under them.";
    ClosedIsClosed = "C19", "closed-is-closed", "invariants-and-faults.md §2.1 C19; ZK-I25",
        "After a session's end is committed, no transaction of it succeeds.",
        "A zombie's write is the write that a lock was there to prevent.";
    EphemeralOwnerLive = "C20", "ephemeral-owner-live", "invariants-and-faults.md §2.1 C20; ZK-I24; ZOOKEEPER-2355, 4837, 1208",
        "An ephemeral znode has an owner that is in the session table, and goes in the transaction that ends its owner.",
        "A ghost ephemeral keeps a lock taken, or a dead server registered, until an operator deletes it.";
    Cas = "C22", "cas", "invariants-and-faults.md §2.1 C22; ZK-I31, ZK-I37",
        "A write that demands a version succeeds if and only if that is the version, and setData makes the next one.",
        "Without it two clients can both believe that they changed the same thing: a lost update.";
    FifoSession = "C25", "fifo-session", "invariants-and-faults.md §2.1 C25; ZK-I30",
        "Requests of a session take effect, and are answered, in the order in which they were sent.",
        "Clients pipeline: \"create the data, then the marker\" is only safe in order.";
    ZxidMonotone = "C27", "zxid-monotone-per-session", "invariants-and-faults.md §2.1 C27; ZK-I32",
        "The zxids a session sees in replies and events never decrease, whichever server it talks to.",
        "A client that moves to a server behind its own past sees time run backwards.";
    WatchBeforeData = "C31", "watch-before-data", "invariants-and-faults.md §2.1 C31; ZK-I42",
        "A session is told by its watch of a change before any reply that shows a state with the change.",
        "Caches and recipes rely on it: a configuration read before its invalidation mixes old and new.";
    LeaderAndSynced = "V01", "leader-and-synced", "invariants-and-faults.md §2.7 V01, §4; ZK-I46",
        "After everything healed there is one leader, and all live voters are synchronised with it.",
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
    WatchHistory = "C32", "watch-history", "invariants-and-faults.md §3.5 (C32–C34); ZK-I41, ZK-I43, ZK-I44",
        "Black box: each watch fires once, for a change after it was set, and before its session reads that change.",
        "A watch that is lost, doubled or invented misleads every recipe built on it.";
    FencingTokens = "H20", "fencing-tokens", "invariants-and-faults.md §3.15, §2.6 H20",
        "Black box: a resource written under a lock never takes a write with an older token behind one with a newer token, and a token has one holder.",
        "Mutual exclusion is what the resource sees, not what a client believes.";
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
        matches!(self, Self::VersionedRegister | Self::WatchHistory | Self::FencingTokens)
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
        assert_eq!(explain("L10"), None);
    }
}
