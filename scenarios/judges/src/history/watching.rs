//! Watches as clients saw them (invariants-and-faults.md §3.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Findings;
use jute::op::EventType;
use jute::{SessionId, Zxid};

use super::{Operation, OperationEnd, OperationKind, OperationOutcome};
use crate::conversation::WatchOf;
use crate::history::Anomaly;
use crate::moment::Story;
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// Which of a client's three maps a watch is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WatchMap {
    /// A znode's data, and its end.
    Data,
    /// The creation of what is not there.
    Exist,
    /// A znode's children, and its end.
    Child,
}

/// When a watch was set: at which state of the server, and when.
type Set = (Zxid, Moment);

/// What sessions wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watching {
    armed: BTreeMap<SessionId, BTreeMap<(Arc<str>, WatchMap), Set>>,
    /// How often each session may be told again of a path, see [`Watching::delivered`].
    again: BTreeMap<(SessionId, Arc<str>), usize>,
    checks: u64,
}

impl Watching {
    pub(super) const fn checks(&self) -> u64 {
        self.checks
    }

    fn set(&mut self, session: SessionId, path: &Arc<str>, map: WatchMap, set: Set) {
        // One watcher per path and map: the first set is the one that fires.
        self.armed.entry(session).or_default().entry((Arc::clone(path), map)).or_insert(set);
    }

    fn delivered(
        &mut self,
        session: SessionId,
        path: &Arc<str>,
        consumed: &[WatchMap],
        zxid: Option<Zxid>,
        moment: Moment,
    ) -> Option<Anomaly> {
        self.checks += 1;
        let anomaly = |class, headline, story| Anomaly { rule: Rule::WatchHistory, class, headline, story };
        // Behind a reconnect a server looks at one list of watches after the other: a path that was in two of them, and has
        // gone, is told of twice (zookeeper.md §8.5), and the first time takes all of its watches.
        if zxid.is_none() && consumed.len() > 1 {
            *self.again.entry((session, Arc::clone(path))).or_default() += consumed.len() - 1;
        }
        if consumed.is_empty() {
            if let Some(times) =
                self.again.get_mut(&(session, Arc::clone(path))).filter(|times| zxid.is_none() && **times > 0)
            {
                *times -= 1;
                return None;
            }
            let headline = format!("session {session} was told of {path}, which it did not watch (any more)");
            return Some(anomaly("phantom-watch", headline, vec![(moment, "the event arrives".to_owned())]));
        }
        let armed = self.armed.entry(session).or_default();
        let mut latest: Option<Set> = None;
        for &map in consumed {
            if let Some(set) = armed.remove(&(Arc::clone(path), map)) {
                latest = latest.max_by_zxid(set);
            }
        }
        match (latest, zxid) {
            // If one of them was set before the change, the event is right, and takes the others with it.
            (Some((set, then)), Some(zxid)) if zxid <= set && consumed.len() == 1 => {
                let headline =
                    format!("a watch of {path} set at {set} told of the change at {zxid}, which is no later");
                Some(anomaly("early-watch", headline, vec![(then, format!("the watch was set at {set}"))]))
            }
            (Some(_) | None, _) => None,
        }
    }

    /// A reply may not show what a watch has yet to tell.
    pub(super) fn read(&mut self, operation: &Operation, end: &OperationEnd, moment: Moment) -> Option<Anomaly> {
        let armed = self.armed.get_mut(&operation.session)?;
        if end.outcome != OperationOutcome::Ok || armed.is_empty() {
            return None;
        }
        let shown = match operation.kind {
            OperationKind::Read | OperationKind::SyncRead => {
                [(WatchMap::Data, end.mzxid), (WatchMap::Exist, end.czxid)]
            }
            OperationKind::List => [(WatchMap::Child, end.pzxid), (WatchMap::Exist, end.czxid)],
            OperationKind::Create
            | OperationKind::Delete
            | OperationKind::Set
            | OperationKind::Multi
            | OperationKind::ReadConfig
            | OperationKind::Reconfig
            | OperationKind::SetAcl
            | OperationKind::OtherRead => return None,
        };
        self.checks += 1;
        for (map, changed) in shown {
            let key = (Arc::clone(&operation.path), map);
            let (Some(&(set, then)), Some(changed)) = (armed.get(&key), changed) else { continue };
            if changed > set {
                armed.remove(&key);
                let headline = format!(
                    "session {} read {} as it is since {changed} before its watch, set at {set}, told of that",
                    operation.session, operation.path
                );
                let story = vec![
                    (then, format!("the watch was set at {set}")),
                    (moment, format!("the reply shows the change at {changed}")),
                ];
                return Some(Anomaly { rule: Rule::WatchHistory, class: "watch-order", headline, story });
            }
        }
        None
    }

    fn removed(&mut self, session: SessionId, path: &Arc<str>, maps: &[WatchMap]) {
        if let Some(armed) = self.armed.get_mut(&session) {
            for &map in maps {
                armed.remove(&(Arc::clone(path), map));
            }
        }
    }

    fn replaced(&mut self, before: SessionId, after: SessionId) {
        if let Some(armed) = self.armed.remove(&before) {
            self.armed.insert(after, armed);
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.armed.remove(&session);
    }
}

/// What was watched, if that kind of watch is never told such a thing: whoever saw data is told of its change or its end, whoever saw
/// nothing of a creation.
fn misled(consumed: &[WatchMap], event: EventType) -> Option<&'static str> {
    let has = |map| consumed.contains(&map);
    match event {
        EventType::NodeCreated if has(WatchMap::Data) && !has(WatchMap::Exist) => Some("for a change of its data"),
        EventType::NodeDataChanged if has(WatchMap::Exist) && !has(WatchMap::Data) => Some("for its creation"),
        EventType::NodeCreated
        | EventType::NodeDataChanged
        | EventType::None
        | EventType::NodeDeleted
        | EventType::NodeChildrenChanged
        | EventType::DataWatchRemoved
        | EventType::ChildWatchRemoved
        | EventType::PersistentWatchRemoved => None,
    }
}

/// The later of two settings.
trait Later {
    fn max_by_zxid(self, other: Set) -> Option<Set>;
}

impl Later for Option<Set> {
    fn max_by_zxid(self, other: Set) -> Option<Set> {
        Some(self.filter(|set| set.0 >= other.0).unwrap_or(other))
    }
}

impl Oracle {
    /// A client has set a watch: the reply arrived, and showed this state.
    pub fn watch_set(&mut self, moment: Moment, session: SessionId, path: &Arc<str>, map: WatchMap, zxid: Zxid) {
        Arc::make_mut(&mut self.history).watching.set(session, path, map, (zxid, moment));
    }

    /// A client was told by these watches.
    pub fn watch_delivered(
        &mut self,
        moment: Moment,
        session: SessionId,
        path: &Arc<str>,
        consumed: &[WatchMap],
        zxid: Option<Zxid>,
    ) {
        let history = Arc::make_mut(&mut self.history);
        if let Some(anomaly) = history.watching.delivered(session, path, consumed, zxid, moment) {
            history.add(anomaly);
        }
    }

    /// C34: a client was told this by these watches; they wait for such a thing.
    pub fn watch_told(
        &mut self,
        moment: Moment,
        session: SessionId,
        path: &str,
        (consumed, event): (&[WatchMap], EventType),
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::NoSpuriousWatch);
        if let Some(watched) = misled(consumed, event) {
            let headline = format!("session {session} watched {path} {watched}, and was told {}", event.name());
            let story = Story::new(Rule::NoSpuriousWatch, headline).kind("wrong-event");
            self.broken(Rule::NoSpuriousWatch, story.detected(moment, "the event arrives"), findings);
        }
    }

    /// A client waits for nothing more there: only it can say so, since it removes watches with or without a server.
    pub fn watch_removed(&mut self, session: SessionId, path: &Arc<str>, maps: &[WatchMap]) {
        Arc::make_mut(&mut self.history).watching.removed(session, path, maps);
        let is_gone = |of| match of {
            WatchOf::Data => maps.contains(&WatchMap::Data),
            WatchOf::Exist => maps.contains(&WatchMap::Exist),
            WatchOf::Child => maps.contains(&WatchMap::Child),
        };
        Arc::make_mut(&mut self.conversations).disarm(session, path, is_gone);
    }

    /// A client that had the session of a server without an ensemble has one that all know: its watches are set again there.
    pub(crate) fn session_replaced(&mut self, before: SessionId, after: SessionId) {
        Arc::make_mut(&mut self.history).watching.replaced(before, after);
    }

    /// A client's session is over, as it says.
    pub fn session_over(&mut self, session: SessionId) {
        Arc::make_mut(&mut self.history).watching.forget(session);
    }
}
