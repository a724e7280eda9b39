//! Elections, judged by who believed when that it leads (invariants-and-faults.md §2.6 H17, §2.9).
//!
//! Two may believe so at once: a leader that is paused, or cut off, learns late that its session is over. But nobody is elected
//! before the znode of the leader before is gone, and that goes with its session, or at the end of its belief. So if the first one's
//! session certainly lived behind the beginning of the second one's belief (a write that it began later was answered), something
//! is wrong. What a deposed leader may still *do* is judged by its epochs, as the tokens of a lock are (H20).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::SessionId;
use machine::HostId;

use super::record::{Anomaly, History, Stamp};
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// A time in which a client believed that it leads.
#[derive(Clone, Copy, Debug)]
struct Belief {
    client: u16,
    session: SessionId,
    epoch: u64,
    from: Stamp,
    to: Option<Stamp>,
}

/// Who stood for which election, and who believed when that it leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaderships {
    /// By election, in the order of their beginnings.
    beliefs: BTreeMap<Arc<str>, Vec<Belief>>,
    candidates: BTreeMap<HostId, BTreeSet<Arc<str>>>,
}

impl Leaderships {
    /// The process of a client begins, or begins again: it has stood for nothing and believes in nothing.
    pub(super) fn client_begins(&mut self, stamp: Stamp) {
        self.candidates.remove(&stamp.moment.host);
        self.end(stamp, None);
    }

    fn end(&mut self, stamp: Stamp, only: Option<&Arc<str>>) {
        for (election, beliefs) in &mut self.beliefs {
            if only.is_some_and(|only| only != election) {
                continue;
            }
            for belief in beliefs.iter_mut().filter(|belief| belief.from.moment.host == stamp.moment.host) {
                belief.to = belief.to.or(Some(stamp));
            }
        }
    }

    /// The first election with candidates that are asked, which has not come to one leader.
    pub(super) fn unsettled(&self, is_asked: impl Fn(HostId) -> bool) -> Option<String> {
        let elections: BTreeSet<&Arc<str>> =
            self.candidates.iter().filter(|(host, _)| is_asked(**host)).flat_map(|(_, stood)| stood).collect();
        elections.into_iter().find_map(|election| {
            let beliefs = self.beliefs.get(election).map_or(&[][..], Vec::as_slice);
            let now = beliefs.iter().filter(|it| it.to.is_none() && is_asked(it.from.moment.host));
            let leaders: Vec<String> =
                now.map(|belief| format!("client {} in epoch {}", belief.client, belief.epoch)).collect();
            match leaders.as_slice() {
                [_] => None,
                [] => Some(format!("nobody leads {election}, and there are candidates")),
                _ => Some(format!("{} all lead {election}", leaders.join(", "))),
            }
        })
    }
}

impl History {
    /// Judges every belief against those that began before it ended; returns how many there were.
    pub(super) fn judge_leaderships(&mut self) -> u64 {
        let leaderships = std::mem::take(&mut self.leaderships);
        let mut judged = 0;
        for (election, beliefs) in &leaderships.beliefs {
            judged += beliefs.len() as u64;
            for (at, first) in beliefs.iter().enumerate() {
                let ends = first.to.map_or(u64::MAX, |to| to.place);
                let later = beliefs[at + 1..].iter().take_while(|second| second.from.place < ends);
                let wrong = later.filter(|second| self.recipes.has_lived_beyond(first.session, second.from.place));
                let anomalies: Vec<Anomaly> = wrong.map(|second| overlap(election, *first, *second)).collect();
                anomalies.into_iter().for_each(|anomaly| self.add(anomaly));
            }
        }
        self.leaderships = leaderships;
        judged
    }
}

fn overlap(election: &str, first: Belief, second: Belief) -> Anomaly {
    let headline = format!(
        "client {} led {election} in epoch {} while client {}, which had not given it up, was elected in session {} and lived",
        second.client, second.epoch, first.client, first.session
    );
    let mut story = vec![
        (first.from.moment, format!("client {} leads in epoch {}", first.client, first.epoch)),
        (second.from.moment, format!("client {} leads in epoch {}", second.client, second.epoch)),
    ];
    story.extend(first.to.map(|to| (to.moment, format!("client {} gives it up", first.client))));
    Anomaly { rule: Rule::DualOwnership, class: "two-leaders", headline, story }
}

impl Oracle {
    /// A client stands for an election.
    pub fn candidate_stood(&mut self, moment: Moment, election: &Arc<str>) {
        let leaderships = &mut Arc::make_mut(&mut self.history).leaderships;
        leaderships.candidates.entry(moment.host).or_default().insert(Arc::clone(election));
    }

    /// A client believes that it leads, in an epoch.
    pub fn leadership_taken(
        &mut self,
        moment: Moment,
        client: u16,
        election: &Arc<str>,
        session: SessionId,
        epoch: u64,
    ) {
        self.lock_acquired(moment, client, election, session, epoch);
        let history = Arc::make_mut(&mut self.history);
        let from = history.stamp(moment);
        let belief = Belief { client, session, epoch, from, to: None };
        history.leaderships.beliefs.entry(Arc::clone(election)).or_default().push(belief);
    }

    /// A client no longer believes that.
    pub fn leadership_given_up(&mut self, moment: Moment, election: &Arc<str>) {
        self.lock_released(moment, election);
        let history = Arc::make_mut(&mut self.history);
        let stamp = history.stamp(moment);
        history.leaderships.end(stamp, Some(election));
    }
}
