//! Locks, judged by the tokens that their resource took (invariants-and-faults.md §3.15).

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::SessionId;
use machine::HostId;

use crate::history::{Anomaly, History};
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// A write that a resource took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    version: i32,
    token: u64,
    client: u16,
    moment: Moment,
}

/// Who held which lock, and what their resources took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks {
    held: BTreeMap<(Arc<str>, u64), (u16, SessionId, Moment)>,
    taken: BTreeMap<Arc<str>, Vec<Taken>>,
    /// Who believes now that it holds a lock, last first.
    holders: Vec<(HostId, Arc<str>, u64)>,
}

impl History {
    /// Judges every resource; returns how many writes that were.
    pub(super) fn judge_locks(&mut self) -> u64 {
        let mut judged = 0;
        let taken = std::mem::take(&mut self.locks.taken);
        for (resource, mut writes) in taken {
            judged += writes.len() as u64;
            // The order that counts is the resource's own.
            writes.sort_by_key(|write| write.version);
            let mut newest: Option<Taken> = None;
            for write in writes {
                let Some(before) = newest.filter(|before| before.token > write.token) else {
                    let same = newest.filter(|before| before.token == write.token && before.client != write.client);
                    if let Some(before) = same {
                        let headline = format!(
                            "clients {} and {} both wrote {resource} under token {}",
                            before.client, write.client, write.token
                        );
                        let story = told(before, write);
                        self.add(Anomaly { rule: Rule::FencingTokens, class: "duplicate-token", headline, story });
                    }
                    newest = Some(write);
                    continue;
                };
                let headline = format!(
                    "{resource} took a write of client {} under token {} behind one of client {} under token {}",
                    write.client, write.token, before.client, before.token
                );
                let story = told(before, write);
                self.add(Anomaly { rule: Rule::FencingTokens, class: "zombie-success", headline, story });
            }
        }
        judged
    }
}

fn told(before: Taken, write: Taken) -> Vec<(Moment, String)> {
    vec![
        (before.moment, format!("version {} written under token {}", before.version, before.token)),
        (write.moment, format!("version {} written under token {}", write.version, write.token)),
    ]
}

impl Oracle {
    /// A client believes that it holds a lock, or that it leads an election in an epoch.
    pub fn lock_acquired(&mut self, moment: Moment, client: u16, lock: &Arc<str>, session: SessionId, token: u64) {
        let history = Arc::make_mut(&mut self.history);
        history.locks.holders.retain(|(other, of, _)| *other != moment.host || of != lock);
        history.locks.holders.push((moment.host, Arc::clone(lock), token));
        let before = history.locks.held.insert((Arc::clone(lock), token), (client, session, moment));
        if let Some((other, of, then)) = before.filter(|&(other, of, _)| (other, of) != (client, session)) {
            let headline = format!("clients {other} and {client} both acquired {lock} with token {token}");
            let story = vec![
                (then, format!("client {other} acquired it in session {of}")),
                (moment, format!("client {client} acquired it in session {session}")),
            ];
            history.add(Anomaly { rule: Rule::FencingTokens, class: "duplicate-token", headline, story });
        }
    }

    /// A client no longer believes that.
    pub fn lock_released(&mut self, moment: Moment, lock: &Arc<str>) {
        let history = Arc::make_mut(&mut self.history);
        history.locks.holders.retain(|(other, of, _)| *other != moment.host || of != lock);
    }

    /// A resource took a write.
    pub fn resource_written(&mut self, moment: Moment, client: u16, resource: &Arc<str>, token: u64, version: i32) {
        let taken = Taken { version, token, client, moment };
        Arc::make_mut(&mut self.history).locks.taken.entry(Arc::clone(resource)).or_default().push(taken);
    }

    /// The client that acquired a lock last and still believes in it.
    pub(crate) fn lock_holder(&self) -> Option<HostId> {
        self.history.locks.holders.last().map(|&(host, _, _)| host)
    }
}
