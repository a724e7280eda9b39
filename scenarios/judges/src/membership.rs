//! C35 and C42: who counts. Configurations follow one another along the committed history, and whoever has no vote takes no part in
//! what a quorum decides.

use std::sync::Arc;

use bytes::Bytes;
use engine::Findings;
use jute::election::{Notification, PeerState};
use jute::txn::{Txn, TxnEntry};
use jute::{PeerEpoch, SessionId, Zxid};
use machine::HostId;

use crate::configuration::{Configuration, Needs};
use crate::durability::NAME_NOT_SYNCED;
use crate::moment::Story;
use crate::oracle::{Look, Oracle, Todo};
use crate::server::{DiskPast, renames_are_durable};
use crate::{Moment, Rule};

/// Why a configuration that is not agreed on yet is gone by.
const TOLD_EARLY: &str = "a learner that joins while a reconfiguration is outstanding goes by it when it is up to date, before anybody committed it (known hole, zookeeper.md §3.5, §15)";

/// Why a session may be shown an older configuration than before.
const SHOWN_EARLY: &str = "/zookeeper/config shows a configuration as soon as it is in force, and what is still to be applied shows older ones once more (known hole, zookeeper.md §15)";

/// Where the configuration is shown.
pub(crate) const CONFIG: &str = "/zookeeper/config";

impl Oracle {
    /// What is a quorum now.
    pub(crate) fn needs(&self) -> Needs {
        Needs::new(&self.in_force)
    }

    fn configuration(&self, text: &[u8]) -> Option<Configuration> {
        Configuration::parse(text, |sid| self.roster.place_of(sid))
    }

    /// The configuration that a transaction brings, under its version.
    fn configuration_of(&self, zxid: Zxid, entry: &Bytes) -> Option<Configuration> {
        let Ok(TxnEntry { txn: Txn::Reconfig(set), .. }) = TxnEntry::decode(entry) else { return None };
        Some(self.configuration(set.data.as_slice())?.with_version(zxid))
    }

    /// A transaction joins the committed history, and with a reconfiguration another configuration comes into force. Returns what had
    /// to acknowledge it.
    pub(crate) fn commit(&mut self, zxid: Zxid, moment: Moment, findings: &mut Findings) -> Needs {
        let mut needs = self.needs();
        Arc::make_mut(&mut self.canon).commit(zxid, moment);
        self.replay_last(moment, findings);
        let entry = self.canon.last().expect("it was just committed").entry.clone();
        if let Some(new) = self.configuration_of(zxid, &entry) {
            let new = Arc::new(new);
            needs.and(&new);
            self.come_into_force(&new, moment);
        }
        needs
    }

    fn come_into_force(&mut self, new: &Arc<Configuration>, moment: Moment) {
        self.in_force = Arc::clone(new);
        Arc::make_mut(&mut self.versions).insert(new.version(), (Arc::clone(new), moment));
    }

    /// A leader tells a learner which configuration it goes by.
    pub(crate) fn offered(&mut self, member: usize, epoch: PeerEpoch, text: &[u8]) {
        let Some(offered) = self.configuration(text) else { return };
        if self.servers[member].leads == Some(epoch) {
            self.told_early.insert(offered.version());
        } else {
            self.offers.insert(epoch, Arc::new(offered));
        }
    }

    /// What must have acknowledged NEWLEADER of an epoch, beside what is in force: the configuration that came with it.
    pub(crate) fn offer_of(&self, epoch: PeerEpoch) -> Option<Arc<Configuration>> {
        self.offers.get(&epoch).cloned()
    }

    /// C35: the configuration that an established leader goes by is that in force, or a later one.
    pub(crate) fn configured(&mut self, moment: Moment, member: usize, epoch: PeerEpoch) {
        let Some(offered) = self.offers.remove(&epoch) else { return };
        self.tally.check(Rule::QuorumIntersection);
        if offered.version() > self.in_force.version() {
            self.come_into_force(&offered, moment);
        } else if offered.version() < self.in_force.version() || !offered.is_same_as(&self.in_force) {
            self.todo.push(Todo::Outdated { member, epoch, offered: offered.version(), moment });
        }
        self.offers = self.offers.split_off(&epoch);
    }

    /// C35 of a leader that goes by less than what is in force.
    pub(crate) fn check_outdated(
        &mut self,
        member: usize,
        (epoch, offered): (PeerEpoch, Zxid),
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        let server = &self.servers[member];
        if server.disk != DiskPast::Whole && !renames_are_durable(look.disk(server.host)) {
            self.tally.relax(Rule::QuorumIntersection, NAME_NOT_SYNCED);
            self.tally.note(NAME_NOT_SYNCED, moment);
            return;
        }
        let in_force = self.in_force.version();
        let headline = format!(
            "{} leads epoch {epoch} by the configuration of version {offered}, and that of version {in_force} is in force",
            self.member_name(member)
        );
        let mut story = Story::new(Rule::QuorumIntersection, headline).kind("configuration-lost");
        if let Some((_, then)) = self.versions.get(&in_force) {
            story = story.promise(*then, format!("version {in_force} came into force"));
        }
        let violation = story.detected(moment, "it is established");
        self.broken(Rule::QuorumIntersection, violation, findings);
    }

    /// What is lost is lost: the configurations of the history that is cut, too.
    pub(crate) fn configurations_were_cut(&mut self) {
        let last = self.canon.last_zxid();
        let versions = Arc::make_mut(&mut self.versions);
        versions.retain(|&version, _| version <= last || version.is_epoch_start());
        if let Some((_, (configuration, _))) = versions.last_key_value() {
            self.in_force = Arc::clone(configuration);
        }
    }

    /// A server goes by a configuration from now on: whether it may is looked at when the step is over.
    pub fn config_activated(&mut self, moment: Moment, member: usize, version: Zxid) {
        self.server_mut(member).goes_by = Some((version, moment));
        self.todo.push(Todo::Activated { member, version, moment });
    }

    /// C35: nobody goes by a configuration that was not agreed on.
    pub(crate) fn check_activated(&mut self, member: usize, version: Zxid, moment: Moment, findings: &mut Findings) {
        self.tally.check(Rule::QuorumIntersection);
        if self.versions.contains_key(&version) {
            return;
        }
        // The first leader gives the configuration its version; it may have nobody to tell.
        if self.servers[member].leads.is_some_and(|epoch| version == epoch.start()) {
            let versioned = Arc::new(Configuration::clone(&self.in_force).with_version(version));
            self.come_into_force(&versioned, moment);
            return;
        }
        if self.told_early.contains(&version) {
            self.relax_told_early(moment);
            return;
        }
        let headline = format!(
            "{} goes by a configuration of version {version} ({}), which was not committed, and no leader was established with it",
            self.member_name(member),
            self.describe(version)
        );
        let story = Story::new(Rule::QuorumIntersection, headline)
            .kind("activated-uncommitted")
            .detected(moment, "it counts by that");
        self.broken(Rule::QuorumIntersection, story, findings);
    }

    fn relax_told_early(&mut self, moment: Moment) {
        self.tally.relax(Rule::QuorumIntersection, TOLD_EARLY);
        self.tally.note(TOLD_EARLY, moment);
    }

    /// C35: what a session is told of the configuration was agreed on, and is never older than what it was told before.
    pub(crate) fn config_shown(
        &mut self,
        moment: Moment,
        client: usize,
        (session, zxid): (SessionId, Zxid),
        text: &[u8],
        findings: &mut Findings,
    ) {
        let Some(shown) = self.configuration(text) else { return };
        self.tally.check(Rule::QuorumIntersection);
        let version = shown.version();
        let before = self.conversations.config_of(session);
        let name = self.roster.ensemble.clients[client].name.clone();
        let agreed = self.versions.get(&version).map(|(agreed, then)| (agreed.is_same_as(&shown), *then));
        if version > zxid && !version.is_epoch_start() && self.versions.contains_key(&version) {
            self.tally.relax(Rule::QuorumIntersection, SHOWN_EARLY);
            self.tally.note(SHOWN_EARLY, moment);
            return; // What it shows next may be older, until its tree has come so far.
        }
        let is_early = |version: &Zxid| self.told_early.contains(version) && !self.versions.contains_key(version);
        if is_early(&version) || before.is_some_and(|(seen, _)| is_early(&seen)) {
            self.relax_told_early(moment);
            Arc::make_mut(&mut self.conversations).saw_config(session, version, moment);
            return;
        }
        let story = match (before, agreed) {
            (Some((seen, then)), _) if version < seen => {
                let headline = format!(
                    "{name} was shown the configuration of version {version} after that of version {seen} in session {session}"
                );
                let story = Story::new(Rule::QuorumIntersection, headline);
                Some(story.promise(then, format!("{name} was shown version {seen}")).kind("configuration-went-back"))
            }
            (_, Some((true, _))) => None,
            (_, Some((false, then))) => {
                let headline =
                    format!("{name} was shown other servers than version {version} of the configuration has");
                let story = Story::new(Rule::QuorumIntersection, headline);
                Some(
                    story
                        .promise(then, format!("version {version} came into force"))
                        .kind("one-version-two-configurations"),
                )
            }
            (_, None) => {
                let headline = format!("{name} was shown a configuration of version {version}, on which nobody agreed");
                Some(Story::new(Rule::QuorumIntersection, headline).kind("shown-uncommitted"))
            }
        };
        if let Some(story) = story {
            let violation = story.detected(moment, "the reply arrives");
            self.broken(Rule::QuorumIntersection, violation, findings);
        }
        Arc::make_mut(&mut self.conversations).saw_config(session, version, moment);
    }

    /// C42: whoever observes acknowledges nothing that counts.
    pub(crate) fn check_observer_ack(&mut self, moment: Moment, member: usize, zxid: Zxid, findings: &mut Findings) {
        self.tally.check(Rule::ObserverSubset);
        let headline =
            format!("{} observes, and acknowledges {zxid} ({})", self.member_name(member), self.describe(zxid));
        let story = Story::new(Rule::ObserverSubset, headline)
            .kind("observer-acknowledges")
            .detected(moment, "the ACK leaves for the leader");
        self.broken(Rule::ObserverSubset, story, findings);
    }

    /// C42: whoever leads has a vote, and one that weighs something.
    pub(crate) fn check_may_lead(
        &mut self,
        (member, epoch): (usize, PeerEpoch),
        needs: &Needs,
        moment: Moment,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::ObserverSubset);
        if needs.may_lead(member) {
            return;
        }
        let headline = format!("{} leads epoch {epoch}, and has no vote", self.member_name(member));
        let story =
            Story::new(Rule::ObserverSubset, headline).kind("leads-without-vote").detected(moment, "it is established");
        self.broken(Rule::ObserverSubset, story, findings);
    }

    /// C42: whoever has no vote, by the configuration it goes by itself, does not propose itself.
    pub fn voted(
        &mut self,
        moment: Moment,
        member: usize,
        to: HostId,
        notification: &Notification,
        findings: &mut Findings,
    ) {
        let sid = self.roster.ensemble.members[member].sid;
        if notification.state != PeerState::Looking || notification.leader != Some(sid) {
            return;
        }
        let Some(own) = self.configuration(&notification.config) else { return };
        self.tally.check(Rule::ObserverSubset);
        // Who has no vote either is told the vote of old, whatever that was (zookeeper.md §2.4).
        let is_answer = self.roster.member(to).is_none_or(|to| !own.is_voter(to));
        if own.is_voter(member) || is_answer {
            return;
        }
        let headline =
            format!("{} has no vote in its own configuration, and proposes itself", self.member_name(member));
        let story = Story::new(Rule::ObserverSubset, headline)
            .kind("proposes-itself-without-vote")
            .detected(moment, "the notification leaves");
        self.broken(Rule::ObserverSubset, story, findings);
    }
}
