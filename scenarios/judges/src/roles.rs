//! Who is meant by a role at an instant, and which situations a rule may wait for.

use machine::HostId;

use crate::oracle::Oracle;
use crate::server::Role;

/// The roles a fault may be aimed at, each with a sentence.
pub const ROLES: &[(&str, &str)] = &[
    (
        "leader",
        "the voter that was established last and still leads; of two who believe so, the one of the later epoch",
    ),
    (
        "former-leader",
        "the voter that led before the leader, or last if nobody leads; a deposed one that does not know counts",
    ),
    ("a-follower", "the first voter that follows the leader and serves clients"),
    ("last-follower", "the last voter that follows the leader and serves clients"),
    ("laggard", "the follower whose log ends first"),
    ("leading-candidate", "a voter that was elected and is not established yet"),
    ("synchronising", "a voter that a leader is bringing up to date"),
    ("an-observer", "the first server that observes the leader and serves clients"),
    ("looking", "the first voter that looks for a leader"),
    ("lock-holder", "the client that acquired a lock, or was elected, last and still believes in it"),
    ("session-holder", "the first client that has a session"),
];

/// Situations over several machines, each with a sentence. They trigger rules as facts do.
pub const SITUATIONS: &[(&str, &str)] = &[
    ("leader-ahead-of-followers", "a leader has a proposal durable that no other voter has logged (A21)"),
    (
        "quorum-acked-not-committed",
        "a quorum has acknowledged a proposal, and the leader has not committed it (A22, Y04)",
    ),
    ("committed-on-one-follower", "the first follower learns that a proposal is committed (A23)"),
    ("two-leaders", "a leader is established while a deposed one still believes that it leads (Y10)"),
    ("longer-log-elsewhere", "a leader is established while another voter's log has a proposal that it lacks (Y01)"),
    ("live-session-expired", "a session is expired whose client lives (Y12)"),
];

impl Oracle {
    /// Who has a role now; none if nobody has, or there is no such role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<HostId> {
        let leader = || {
            let leaders = self.servers.iter().filter(|server| server.leads.is_some());
            leaders.max_by_key(|server| server.leads).map(|server| server.host)
        };
        let followers = || {
            let leader = leader();
            // Who observes follows nobody.
            self.servers.iter().filter(move |it| leader.is_some() && it.follows == leader && !it.observes)
        };
        match name {
            "leader" => leader(),
            "former-leader" => {
                let leader = leader();
                self.leaders.values().rev().map(|moment| moment.host).find(|&host| Some(host) != leader)
            }
            "a-follower" => followers().next().map(|server| server.host),
            "last-follower" => followers().next_back().map(|server| server.host),
            "laggard" => followers().min_by_key(|server| server.log.last_zxid()).map(|server| server.host),
            "leading-candidate" => {
                let candidate = |server: &&std::sync::Arc<crate::server::Server>| {
                    server.role == Role::Leading && server.leads.is_none()
                };
                self.servers.iter().find(candidate).map(|server| server.host)
            }
            "synchronising" => {
                let synchronising =
                    self.servers.iter().find(|server| server.sync.is_some() && server.follows.is_none());
                synchronising.map(|server| server.host)
            }
            "an-observer" => {
                let leader = leader();
                let observes = |it: &&std::sync::Arc<crate::server::Server>| it.observes && it.follows == leader;
                self.servers.iter().find(observes).filter(|_| leader.is_some()).map(|server| server.host)
            }
            "looking" => self.servers.iter().find(|server| server.role == Role::Looking).map(|server| server.host),
            "lock-holder" => self.lock_holder(),
            "session-holder" => {
                let clients = self.roster.ensemble.clients.iter().enumerate();
                let holder = |&(at, _): &(usize, _)| !self.conversations.session_of(at).is_zero();
                clients.into_iter().find(holder).map(|(_, client)| client.host)
            }
            _ => None,
        }
    }
}
