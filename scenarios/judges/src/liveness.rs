//! V01, V02, V03: what has not come right yet, after everything healed, and who waits for whom.

use std::fmt::Write as _;
use std::sync::Arc;

use engine::Findings;
use jute::{SessionId, Zxid};
use machine::disk::Disk;
use machine::{HostId, Instant};

use crate::moment::Story;
use crate::oracle::{Look, Oracle, Todo};
use crate::server::{DiskPast, Role};
use crate::txn_log::{is_log, zxid_of};
use crate::{Moment, Rule};

/// Why a member that does not run is not waited for.
const REFUSED: &str = "a server refuses to start because it cannot trust its disk, as the real one does (zookeeper.md §9.6): it is not waited for";

/// Why a server that was removed is not waited for.
const LEFT_OUT: &str = "a server that was removed does not start again, because its own configuration does not have it: it is not waited for, also if it was added again meanwhile (zookeeper.md §15)";

/// Why a member that does not follow is not waited for.
const AHEAD: &str = "a server promised an epoch whose leader was never established, above that of the present leader: it refuses this one for as long as it leads (known hole, zookeeper.md §3.3)";

/// Why nobody is waited for.
const STRANDED: &str = "a learner that joined while a reconfiguration was outstanding goes by it, and the leader, which does not yet, refuses it; the reconfiguration may wait for that very server (known hole, zookeeper.md §3.5, §15)";
/// How long a server may look for a leader before it counts as stranded.
const STRANDED_AFTER: machine::Span = machine::Span::secs(5);

/// How the refusal begins of a server whose log is ahead of its `currentEpoch`.
const EPOCH_BEHIND: &str = "currentEpoch is ";
/// How the refusal ends of a server that takes an empty log file for damage.
const EMPTY_LOG: &str = " ends inside its header";

/// How the refusal ends of a server that is not in its own configuration.
const NOT_IN_IT: &str = " is not in the peer list";

/// How long the notice of a change may be on its way when everything has come to rest.
const WATCH_PATIENCE: machine::Span = machine::Span::secs(2);

impl Oracle {
    /// A server refused to start, for this reason: its disk is looked at when the step is over.
    pub fn refused_to_start(&mut self, moment: Moment, member: usize, why: &str) {
        self.server_mut(member).refused = Some(moment);
        self.todo.push(Todo::Refused { member, why: Arc::from(why), moment });
    }

    /// Disks fail in a way from which no server need recover.
    pub fn disks_fail(&mut self, hosts: &[HostId]) {
        for member in 0..self.servers.len() {
            if hosts.contains(&self.servers[member].host) {
                self.server_mut(member).disk = DiskPast::Failed;
            }
        }
    }

    /// C49: nothing happened to its disk that excuses it.
    pub(crate) fn check_refused(
        &mut self,
        member: usize,
        why: &str,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::NoRestartRefusal);
        let server = &self.servers[member];
        let disk = look.disk(server.host);
        if why.ends_with(NOT_IN_IT) && self.goes_by_others(member) {
            return; // It was removed, and knows it.
        }
        let past = match server.disk {
            DiskPast::Failed => return,
            DiskPast::LostPower => {
                // Of what a loss of power does, only this is known to be harmless in every release that has the fix.
                let newest =
                    disk.list("").into_iter().filter(|path| is_log(path)).max_by_key(|path| zxid_of(path, "log."));
                let is_meant = |path: &String| why.strip_suffix(EMPTY_LOG) == Some(path);
                let newest = newest.filter(is_meant).and_then(|path| disk.bytes(&path));
                if !newest.is_some_and(|bytes| bytes.is_empty()) {
                    return;
                }
                "its newest log file is empty, as a loss of power leaves it"
            }
            DiskPast::Whole => {
                let is_beside = disk.list("").iter().any(|path| path.ends_with("currentEpoch.tmp"));
                if why.starts_with(EPOCH_BEHIND) && !is_beside {
                    return; // It died before it wrote the epoch down: so does the real server (zookeeper.md §9.6).
                }
                "its disk never failed and never lost power"
            }
        };
        let headline = format!("{} refuses to start: {why}; but {past}", self.member_name(member));
        let story = Story::new(Rule::NoRestartRefusal, headline).kind("refused").detected(moment, why.to_owned());
        self.broken(Rule::NoRestartRefusal, story, findings);
    }

    /// A client's write behind the faults succeeded.
    pub fn probe_succeeded(&mut self, client: usize) {
        assert!(client < 64, "probes are kept in a mask of 64 bits");
        self.probed |= 1 << client;
    }

    /// The first condition that is not met, in words; none if everything has come right.
    pub fn unsettled(&mut self, now: Instant, is_running: impl Fn(HostId) -> bool) -> Option<String> {
        self.unsettled_in(now, is_running, |_| true)
    }

    /// The same for a core: nothing is asked of a member or a client outside of it. Nothing can be promised while a server is stranded.
    pub fn unsettled_in(
        &mut self,
        now: Instant,
        is_running: impl Fn(HostId) -> bool,
        is_in: impl Fn(HostId) -> bool,
    ) -> Option<String> {
        let what = self.not_right(now, is_running, is_in)?;
        let Some(moment) = self.stranded(now) else { return Some(what) };
        self.tally.relax(Rule::LeaderAndSynced, STRANDED);
        self.tally.note(STRANDED, moment);
        None
    }

    /// Since when a server goes by a configuration that is outstanding, and has found no leader with it for long.
    pub(crate) fn stranded(&self, now: Instant) -> Option<Moment> {
        self.servers.iter().find_map(|server| {
            let (version, moment) = server.goes_by?;
            let is_outstanding = self.told_early.contains(&version) && !self.versions.contains_key(&version);
            let is_alone = server.role != Role::Down && !server.serves();
            let for_long = now.saturating_since(server.role_since) > STRANDED_AFTER;
            (is_outstanding && is_alone && for_long).then_some(moment)
        })
    }

    fn not_right(
        &mut self,
        now: Instant,
        is_running: impl Fn(HostId) -> bool,
        is_in: impl Fn(HostId) -> bool,
    ) -> Option<String> {
        self.tally.check(Rule::LeaderAndSynced);
        if let Some(what) = self.without_leader(&is_running, &is_in) {
            return Some(told(Rule::LeaderAndSynced, &format!("{what} ({})", self.who_waits(now))));
        }
        self.tally.check(Rule::WritesComplete);
        if let Some(what) = self.without_probe() {
            return Some(told(Rule::WritesComplete, &format!("{what} ({})", self.who_waits(now))));
        }
        self.tally.check(Rule::SessionsSettle);
        if let Some(why) = self.parted {
            // Whose sessions those of the history are, nobody can say.
            self.tally.relax(Rule::SessionsSettle, why);
        } else if let Some(what) = self.unsettled_sessions(&is_running, &is_in) {
            return Some(told(Rule::SessionsSettle, &what));
        }
        self.tally.check(Rule::Stuck);
        if let Some(what) = self.stuck_recipe(|host| is_in(host) && is_running(host)) {
            return Some(told(Rule::Stuck, &what));
        }
        let behind = self.servers.iter().enumerate().find(|&(at, server)| {
            let is_behind = server.serves() && server.memory.contains < self.canon.len();
            is_behind && is_in(server.host) && self.in_force.is_member(at)
        });
        if let Some((member, server)) = behind {
            let (name, has, all) = (self.member_name(member), server.memory.contains, self.canon.len());
            return Some(told(
                Rule::LeaderAndSynced,
                &format!("{name} has applied {has} of {all} committed transactions ({})", self.who_waits(now)),
            ));
        }
        for member in 0..self.servers.len() {
            if let Some(moment) = self.servers[member].refused.filter(|_| self.servers[member].role == Role::Down) {
                self.tally.note(if self.goes_by_others(member) { LEFT_OUT } else { REFUSED }, moment);
            }
            if let Some(moment) = self.is_ahead_of_leader(member) {
                self.tally.relax(Rule::LeaderAndSynced, AHEAD);
                self.tally.note(AHEAD, moment);
            }
        }
        None
    }

    fn without_leader(&self, is_running: &impl Fn(HostId) -> bool, is_in: &impl Fn(HostId) -> bool) -> Option<String> {
        let mut leaders: Vec<usize> = (0..self.servers.len()).filter(|&at| self.servers[at].leads.is_some()).collect();
        if let Some(&last) = leaders.iter().max_by_key(|&&at| self.servers[at].leads) {
            // Whoever is broken for good may believe for good that it still leads.
            leaders.retain(|&at| at == last || is_in(self.servers[at].host));
        }
        let &[leader] = leaders.as_slice() else {
            let names: Vec<&str> = leaders.iter().map(|&at| self.member_name(at)).collect();
            return Some(if names.is_empty() {
                "no leader is established".to_owned()
            } else {
                format!("{} all lead", names.join(", "))
            });
        };
        let host = self.servers[leader].host;
        for (member, server) in self.servers.iter().enumerate().filter(|(_, server)| is_in(server.host)) {
            if !self.in_force.is_member(member) {
                continue; // Nobody waits for who was removed.
            }
            if !is_running(server.host) {
                if server.refused.is_some() {
                    continue;
                }
                return Some(format!("{} does not run", self.member_name(member)));
            }
            if member != leader && server.follows != Some(host) && self.is_ahead_of_leader(member).is_none() {
                return Some(format!(
                    "{} is not in step with {}, the leader",
                    self.member_name(member),
                    self.member_name(leader)
                ));
            }
        }
        None
    }

    /// A server that follows nobody has accepted an epoch above the one that is led: since when.
    fn is_ahead_of_leader(&self, member: usize) -> Option<Moment> {
        let led = self.servers.iter().filter_map(|server| server.leads).max()?;
        let server = &self.servers[member];
        let (accepted, since) = server.accepted.value?;
        (server.leads.is_none() && server.follows.is_none() && accepted > led.value()).then_some(since)
    }

    /// Whether the configuration that a server came to go by last does not have it.
    fn goes_by_others(&self, member: usize) -> bool {
        let by = self.servers[member].goes_by.and_then(|(version, _)| self.versions.get(&version));
        by.is_some_and(|(configuration, _)| !configuration.is_member(member))
    }

    fn without_probe(&self) -> Option<String> {
        let mut clients = self.roster.ensemble.clients.iter().enumerate();
        let (_, client) = clients.find(|(at, client)| client.probes && self.probed & 1 << at == 0)?;
        let mut what = format!("no new write of {} has succeeded", client.name);
        if let Some((operation, since)) = self.history.oldest_open() {
            let (kind, path) = (operation.kind.name(), &operation.path);
            let _ = write!(
                what,
                "; the oldest operation without an end is {kind} {path} of {} since {}",
                self.name(since.host),
                since.at
            );
        }
        Some(what)
    }

    fn unsettled_sessions(
        &self,
        is_running: &impl Fn(HostId) -> bool,
        is_in: &impl Fn(HostId) -> bool,
    ) -> Option<String> {
        let is_alive = |session: SessionId| {
            let client = self.conversations.client_of(session);
            client.is_some_and(|client| is_running(self.roster.ensemble.clients[client].host))
        };
        for (&session, &timeout_ms) in self.replay.sessions() {
            if !is_alive(session) {
                let ephemerals = self.replay.ephemerals_of(session);
                return Some(format!(
                    "session {session} belongs to no live client and has not ended; timeout {timeout_ms} ms, {ephemerals} ephemerals"
                ));
            }
        }
        for (at, client) in self.roster.ensemble.clients.iter().enumerate() {
            let session = self.conversations.session_of(at);
            // Only the ends of sessions that all servers knew are committed.
            let may_be_local = self.roster.ensemble.local_sessions && self.replay.closed(session).is_none();
            if is_in(client.host)
                && is_running(client.host)
                && !session.is_zero()
                && !self.replay.sessions().contains_key(&session)
                && !may_be_local
            {
                return Some(format!("session {session} of {} is gone, and the client does not know", client.name));
            }
        }
        None
    }

    /// The servers, what they do, and since when.
    fn who_waits(&self, now: Instant) -> String {
        let mut text = String::new();
        for (member, server) in self.servers.iter().enumerate() {
            let separator = if member == 0 { "" } else { "; " };
            let _ = write!(text, "{separator}{} {}", self.member_name(member), server.role.name());
            if let Some(epoch) = server.leads {
                let _ = write!(text, " epoch {epoch}");
            } else if let Some(leader) = server.follows.or(server.sync.as_ref().map(|sync| sync.leader)) {
                let how = if server.follows.is_some() { "" } else { ", synchronising" };
                let _ = write!(text, " {}{how}", self.name(leader));
            }
            let _ = write!(text, " for {} ms", now.saturating_since(server.role_since).as_millis());
        }
        text
    }

    /// Everything has come to rest.
    pub fn settled(&mut self, now: Moment, findings: &mut Findings) {
        self.check_watches_told(now, WATCH_PATIENCE, findings);
    }

    /// The run is over: the leader still has everything, and then the black-box checks.
    pub fn finish(&mut self, now: Moment, findings: &mut Findings) {
        if let Some(member) = (0..self.servers.len()).rev().max_by_key(|&at| self.servers[at].leads)
            && let Some(epoch) = self.servers[member].leads
        {
            self.tally.check(Rule::NoAckedLoss);
            let canon = Arc::clone(&self.canon);
            let server = self.server_mut(member);
            let contains = server.align(&canon).contains;
            // A quorum commits without its leader's disk: what that proposed itself may still be on its way there.
            let is_on_its_way = |zxid: Zxid| {
                zxid.epoch() == epoch && zxid > server.last_on_disk() && zxid <= server.memory.last(&canon)
            };
            let is_lost = canon.get(contains).is_some_and(|first| !is_on_its_way(first.zxid));
            drop(canon);
            if is_lost {
                self.lost(now, member, epoch, contains, findings);
            }
        }
        self.judge_history(now, findings);
    }
}

fn told(rule: Rule, what: &str) -> String {
    format!("{} {}: {what}", rule.id(), rule.name())
}
