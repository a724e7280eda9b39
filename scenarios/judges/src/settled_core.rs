//! A core: a part of the world that is healed for good and must get on while the rest stays broken (invariants-and-faults.md §4.2).

use std::fmt::Write as _;

use engine::{Brokenness, Core};
use machine::{Draw, HostId};

use crate::Oracle;
use crate::kafka::KafkaOracle;
use crate::server::{Role, Server};

/// Draws a core: all voters, a majority, or an exact quorum with or without the leader; all brokers, or all but one where every
/// partition can do without it; and all clients.
pub(crate) fn drawn(zookeeper: &Oracle, kafka: Option<&KafkaOracle>, everybody: &[HostId], draw: &mut Draw) -> Core {
    let servers = zookeeper.servers.iter().enumerate();
    let mut voters: Vec<HostId> =
        servers.filter(|&(at, _)| zookeeper.in_force.is_voter(at)).map(|(_, server)| server.host).collect();
    let count = voters.len();
    let leader = zookeeper.role("leader");
    draw.shuffle(&mut voters);
    let quorum = quorum_of(zookeeper, &voters);
    let variant = draw.below(4);
    let (mut name, kept) = match variant {
        _ if quorum == count => ("all voters".to_owned(), count),
        0 => ("all voters".to_owned(), count),
        1 => {
            let kept = quorum + draw.index(count - quorum + 1);
            (format!("{kept} of {count} voters"), kept)
        }
        2 => ("an exact quorum of the voters".to_owned(), quorum),
        _ => {
            // The leader goes last, so that it is cut off the list.
            voters.sort_by_key(|&voter| Some(voter) == leader);
            ("an exact quorum of the voters without the leader".to_owned(), quorum_of(zookeeper, &voters))
        }
    };
    let mut rest: Vec<(HostId, Brokenness)> = Vec::new();
    for &voter in &voters[kept..] {
        // None that is deaf and speaks: it goes on proposing itself, or one that is as bad, to who looks for a leader, and real
        // elections have nothing against it (there is no pre-vote): nobody can promise that the core gets on.
        let how = match draw.below(16) {
            // A leader that is half dead may lead for ever: who pings is believed to live, as in the real one.
            0..=3 if Some(voter) != leader => Brokenness::AsItIs,
            0..=7 => Brokenness::Down,
            8..=10 => Brokenness::Paused,
            11..=13 => Brokenness::Cut,
            _ => Brokenness::Mute,
        };
        rest.push((voter, how));
    }
    silence_the_unheard(&mut rest);
    if let Some(kafka) = kafka {
        let dispensable: Vec<HostId> = kafka.dispensable();
        if !dispensable.is_empty() && draw.chance(1, 2) {
            let broker = dispensable[draw.index(dispensable.len())];
            let how = [Brokenness::Down, Brokenness::Paused, Brokenness::Cut][draw.index(3)];
            // It is cut off from the core alone: a member outside of that may be in step with the leader and keep its session alive.
            // A controller that reaches ZooKeeper and no broker is deposed by nobody, in the real system either.
            let how = if how == Brokenness::Cut && !rest.is_empty() { Brokenness::Down } else { how };
            rest.push((broker, how));
            name += ", all brokers but one";
        }
    }
    for &(host, how) in &rest {
        let _ = write!(name, "; {} {}", zookeeper.name(host), how.name());
    }
    rest.sort_unstable();
    let members = everybody.iter().copied().filter(|host| rest.iter().all(|(other, _)| other != host)).collect();
    Core { name, members, rest }
}

/// How many of these, from the first on, are a quorum.
fn quorum_of(zookeeper: &Oracle, voters: &[HostId]) -> usize {
    let place = |host: &HostId| zookeeper.roster.member(*host).expect("voters are members");
    let mask = |count: usize| voters[..count].iter().fold(0, |mask, host| mask | 1 << place(host));
    (1..=voters.len()).find(|&count| zookeeper.in_force.is_quorum(mask(count))).unwrap_or(voters.len())
}

/// One that goes on as it is hears who is cut off from the core, and tells the core of it: it would elect who cannot lead it, again and
/// again, and real elections have nothing against that either (there is no pre-vote).
fn silence_the_unheard(rest: &mut [(HostId, Brokenness)]) {
    if rest.iter().all(|(_, how)| *how != Brokenness::AsItIs) {
        return;
    }
    for (_, how) in rest {
        *how = match *how {
            Brokenness::Cut | Brokenness::Mute => Brokenness::Down,
            same @ (Brokenness::AsItIs | Brokenness::Down | Brokenness::Paused) => same,
        };
    }
}

/// Why nobody can promise that a core gets on; none if it must.
pub(crate) fn excuse(zookeeper: &Oracle, kafka: Option<&KafkaOracle>, core: &Core) -> Option<String> {
    let of_core = |is_wanted: &dyn Fn(&Server) -> bool| {
        let servers = zookeeper.servers.iter().enumerate();
        let of_core = servers.filter(|(_, server)| core.members.contains(&server.host) && is_wanted(server));
        of_core.fold(0, |mask, (at, _)| mask | 1 << at) & zookeeper.in_force.voters()
    };
    let able = of_core(&|server| server.refused.is_none() || server.role != Role::Down);
    if !zookeeper.in_force.is_quorum(able) {
        let able = able.count_ones();
        return Some(format!("only {able} of its voters have a disk that they trust, and they are no quorum"));
    }
    // A server that looks for a leader joins only when a quorum tells it who leads (zookeeper.md, FastLeaderElection): one that does
    // not reach enough of those who follow stays out, as in the real server, while the leader serves.
    let leader = zookeeper.servers.iter().filter(|server| server.leads.is_some()).max_by_key(|server| server.leads);
    if leader.is_none() {
        let candidate = zookeeper
            .servers
            .iter()
            .find(|server| server.role == Role::Looking && core.rest.contains(&(server.host, Brokenness::AsItIs)));
        if let Some(candidate) = candidate {
            // Who hears it elects it, and waits for it in vain: it does not hear enough of them to lead. There is no pre-vote.
            return Some(format!(
                "{} is outside of the core and looks for a leader, and is a candidate for whoever hears it",
                zookeeper.name(candidate.host)
            ));
        }
    }
    if let Some(leader) = leader {
        let in_step = of_core(&|server| server.host == leader.host || server.follows == Some(leader.host));
        if !zookeeper.in_force.is_quorum(in_step) && in_step != of_core(&|_| true) {
            return Some(format!(
                "the quorum of {} has servers outside of the core, who do not tell the others of it",
                zookeeper.name(leader.host)
            ));
        }
    }
    kafka?.core_excuse(core)
}

impl KafkaOracle {
    /// The brokers that every partition can do without: another replica in sync has every committed record, and enough remain for
    /// an acknowledgement by all.
    fn dispensable(&self) -> Vec<HostId> {
        let cluster = &self.seating.cluster;
        let is_ready = self
            .work
            .clients
            .iter()
            .zip(&cluster.clients)
            .all(|(shadow, client)| client.kind != crate::kafka::KafkaClientKind::Admin || shadow.topics_ready);
        let can_miss = |broker: usize| {
            self.partitions.iter().filter(|partition| !partition.assignment.is_empty()).all(|partition| {
                let Some(zk) = &partition.zk else { return false };
                let holds =
                    |other: usize| other != broker && partition.replicas[other].log.end() >= partition.canon.end();
                let left = partition.assigned.iter().filter(|&other| other != broker).count();
                zk.isr.iter().any(holds) && left >= self.min_insync(&partition.name.topic).max(1)
            })
        };
        if !is_ready || cluster.brokers.len() < 2 {
            return Vec::new();
        }
        (0..cluster.brokers.len()).filter(|&broker| can_miss(broker)).map(|it| cluster.brokers[it].host).collect()
    }

    fn core_excuse(&self, core: &Core) -> Option<String> {
        let is_in = |broker: usize| core.members.contains(&self.seating.cluster.brokers[broker].host);
        self.partitions.iter().filter(|partition| !partition.assignment.is_empty()).find_map(|partition| {
            let zk = partition.zk.as_ref()?;
            if !zk.isr.iter().any(is_in) {
                return Some(format!("nobody in sync on {} is in the core", partition.name));
            }
            let left = partition.assigned.iter().filter(|&broker| is_in(broker)).count();
            let needs = self.min_insync(&partition.name.topic);
            (left < needs)
                .then(|| format!("{} has {left} replicas in the core and needs {needs} in sync", partition.name))
        })
    }

    /// Who controls and who leads what, in words without numbers that only ever grow.
    pub(crate) fn shape(&self) -> String {
        let mut text = match &self.znodes.controller {
            Some((controller, _)) => format!("controller {}", self.name_of(*controller)),
            None => "no controller".to_owned(),
        };
        for partition in self.partitions.iter() {
            let Some(zk) = &partition.zk else { continue };
            let leader = zk.leader.map_or("nobody", |leader| self.seating.name(leader));
            let _ = write!(text, ", {} led by {leader} with {} in sync", partition.name, zk.isr.iter().count());
        }
        text
    }

    /// How far all replicas have come.
    pub(crate) fn replicated(&self) -> u64 {
        let ends = self.partitions.iter().flat_map(|it| it.replicas.iter().map(|replica| replica.log.end()));
        ends.map(|end| u64::try_from(end).unwrap_or(0)).sum()
    }
}

impl Oracle {
    /// What each server is to the others, in words without epochs.
    pub(crate) fn shape(&self) -> String {
        let mut text = String::new();
        for (member, server) in self.servers.iter().enumerate() {
            let separator = if member == 0 { "" } else { ", " };
            let _ = write!(text, "{separator}{} {}", self.member_name(member), server.role.name());
            if server.leads.is_some() {
                text += " established";
            } else if let Some(leader) = server.follows {
                let _ = write!(text, " {}", self.name(leader));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_tells_a_core_of_a_candidate_that_it_does_not_hear() {
        let silenced = |hows: [Brokenness; 2]| {
            let mut rest = [(HostId(3), hows[0]), (HostId(4), hows[1])];
            silence_the_unheard(&mut rest);
            rest.map(|(_, how)| how)
        };
        for unheard in [Brokenness::Cut, Brokenness::Mute] {
            assert_eq!(silenced([unheard, Brokenness::AsItIs]), [Brokenness::Down, Brokenness::AsItIs]);
            assert_eq!(silenced([unheard, Brokenness::Paused]), [unheard, Brokenness::Paused]);
        }
    }
}
