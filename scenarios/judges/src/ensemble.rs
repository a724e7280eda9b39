//! What the judges must know of the world before anything happens.

use std::sync::Arc;

use jute::Sid;
use machine::HostId;

/// A voter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
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
    /// The voters; one alone is a standalone server.
    pub voters: Vec<Voter>,
    /// The clients.
    pub clients: Vec<Client>,
    /// `forceSync`: without it an acknowledgement promises the page cache only.
    pub force_sync: bool,
    /// `testingonly.initialZxid`: the counter behind which a leader's first zxid comes; none is 0.
    pub initial_counter: Option<u32>,
    /// Situations a rule may wait for, by kind; others are counted but not stated, which costs less.
    pub situations: Vec<String>,
}

impl Ensemble {
    /// How many voters are a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// What a host is to the judges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A voter, by its place among them.
    Voter(usize),
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
        assert!(!ensemble.voters.is_empty(), "an ensemble has a voter");
        assert!(ensemble.voters.len() <= 32, "voters are kept in a mask of 32 bits");
        let hosts = ensemble.voters.iter().map(|voter| voter.host).chain(ensemble.clients.iter().map(|it| it.host));
        let len = hosts.map(|host| host.0 as usize + 1).max().unwrap_or(0);
        let mut places = vec![Place::Stranger; len];
        for (at, voter) in ensemble.voters.iter().enumerate() {
            places[voter.host.0 as usize] = Place::Voter(at);
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

    /// The voter on a host.
    pub(crate) fn voter(&self, host: HostId) -> Option<usize> {
        match self.place(host) {
            Place::Voter(at) => Some(at),
            Place::Client(_) | Place::Stranger => None,
        }
    }

    /// The name of a host.
    pub(crate) fn name(&self, host: HostId) -> &str {
        match self.place(host) {
            Place::Voter(at) => &self.ensemble.voters[at].name,
            Place::Client(at) => &self.ensemble.clients[at].name,
            Place::Stranger => "somebody",
        }
    }

    pub(crate) fn is_standalone(&self) -> bool {
        self.ensemble.voters.len() == 1
    }

    /// The names of the voters in a mask.
    pub(crate) fn names(&self, mask: u32) -> String {
        let voters = self.ensemble.voters.iter().enumerate();
        let names: Vec<&str> =
            voters.filter(|(at, _)| mask & 1 << at != 0).map(|(_, voter)| voter.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}
