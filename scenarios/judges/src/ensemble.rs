//! What the judges must know of the world before anything happens.

use std::sync::Arc;

use jute::Sid;
use machine::HostId;

use crate::configuration::Configuration;

/// A ZooKeeper server of the ensemble, whatever it is to it: a voter, an observer, or nothing any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its host.
    pub host: HostId,
    /// Its `myid`.
    pub sid: Sid,
    /// Its name in reports.
    pub name: String,
}

/// A client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its host.
    pub host: HostId,
    /// Its name in reports.
    pub name: String,
    /// Whether it tries a write after everything healed, which must succeed (V02).
    pub probes: bool,
}

/// Who is who, and the configuration that decides what is promised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensemble {
    /// The servers; one alone is a standalone server.
    pub members: Vec<Member>,
    /// Who of them votes and who observes at first.
    pub configuration: Configuration,
    /// The clients.
    pub clients: Vec<Client>,
    /// `forceSync`: without it an acknowledgement promises the page cache only.
    pub force_sync: bool,
    /// Whether servers make sessions that the others do not know (`localSessionsEnabled`).
    pub local_sessions: bool,
    /// `testingonly.initialZxid`: the counter behind which a leader's first zxid comes; none is 0.
    pub initial_counter: Option<u32>,
    /// Situations a rule may wait for, by kind; others are counted but not stated, which costs less.
    pub situations: Vec<String>,
}

/// What a host is to the judges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A server of the ensemble, by its place among them.
    Member(usize),
    /// A client, by its place among them.
    Client(usize),
    /// Something else.
    Stranger,
}

/// The ensemble with an index by host.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    pub(crate) ensemble: Ensemble,
    places: Vec<Place>,
}

impl Roster {
    pub(crate) fn new(ensemble: Ensemble) -> Arc<Self> {
        assert!(!ensemble.members.is_empty(), "an ensemble has a server");
        assert_ne!(ensemble.configuration.voters(), 0, "an ensemble has a voter");
        assert!(ensemble.members.len() <= 32, "members are kept in a mask of 32 bits");
        let hosts = ensemble.members.iter().map(|member| member.host).chain(ensemble.clients.iter().map(|it| it.host));
        let len = hosts.map(|host| host.0 as usize + 1).max().unwrap_or(0);
        let mut places = vec![Place::Stranger; len];
        for (at, member) in ensemble.members.iter().enumerate() {
            places[member.host.0 as usize] = Place::Member(at);
        }
        for (at, client) in ensemble.clients.iter().enumerate() {
            assert_eq!(places[client.host.0 as usize], Place::Stranger, "a host has one place");
            places[client.host.0 as usize] = Place::Client(at);
        }
        Arc::new(Self { ensemble, places })
    }

    #[inline]
    pub(crate) fn place(&self, host: HostId) -> Place {
        self.places.get(host.0 as usize).copied().unwrap_or(Place::Stranger)
    }

    /// The server of the ensemble on a host.
    pub(crate) fn member(&self, host: HostId) -> Option<usize> {
        match self.place(host) {
            Place::Member(at) => Some(at),
            Place::Client(_) | Place::Stranger => None,
        }
    }

    /// The name of a host.
    pub(crate) fn name(&self, host: HostId) -> &str {
        match self.place(host) {
            Place::Member(at) => &self.ensemble.members[at].name,
            Place::Client(at) => &self.ensemble.clients[at].name,
            Place::Stranger => "somebody",
        }
    }

    /// The place of the server with this id.
    pub(crate) fn place_of(&self, sid: Sid) -> Option<usize> {
        self.ensemble.members.iter().position(|member| member.sid == sid)
    }

    pub(crate) fn is_standalone(&self) -> bool {
        self.ensemble.members.len() == 1
    }

    /// The names of the members in a mask.
    pub(crate) fn names(&self, mask: u32) -> String {
        let members = self.ensemble.members.iter().enumerate();
        let names: Vec<&str> =
            members.filter(|(at, _)| mask & 1 << at != 0).map(|(_, member)| member.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}
