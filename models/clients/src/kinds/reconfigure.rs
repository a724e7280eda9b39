//! An operator who changes who is in the ensemble, one server at a time (zookeeper.md §15).

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Io, Span};

use super::{CHOICE, directory, rest};
use crate::invocation::{Invocation, Reconfiguration};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{ZkWorkload, ZkWorkloadImage};

/// An operator leaves no fewer voters than these: with one the ensemble ends with its disk, and no request for none is granted.
const VOTERS_LEAST: usize = 2;

/// What a server is in a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Participant,
    Observer,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        }
    }
}

/// Where a server is, as its line in a configuration says it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    /// `host:quorumPort:electionPort`.
    ensemble: String,
    /// `clientHost:clientPort`.
    clients: String,
}

impl Place {
    fn line(&self, sid: u8, role: Role) -> String {
        format!("server.{sid}={}:{};{}", self.ensemble, role.name(), self.clients)
    }
}

/// A configuration that was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shown {
    version: i64,
    roles: BTreeMap<u8, Role>,
}

/// Reads `/zookeeper/config`, and adds, removes, promotes and demotes one server at a time: by what joins and leaves, or by the whole list;
/// of whatever version, or of that which was shown last.
#[derive(Clone, Debug)]
pub(crate) struct Reconfigure {
    pub(super) dir: Arc<str>,
    think: Span,
    /// Every server that was ever in a configuration that was shown.
    known: BTreeMap<u8, Place>,
    shown: Option<Shown>,
}

impl Reconfigure {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        Self { dir: directory(image), think: image.think, known: BTreeMap::new(), shown: None }
    }

    pub(super) fn on_tick(&self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let what = match &self.shown {
            Some(shown) if !io.draw(CHOICE).chance(1, 3) => self.change(shown, io),
            Some(_) | None => None,
        };
        recorder.invoke(slot, what.unwrap_or_else(Invocation::get_config), io);
    }

    /// One server becomes something else; none if that would leave too few voters.
    fn change(&self, shown: &Shown, io: &mut Io<'_, ZkWorkload>) -> Option<Invocation> {
        let draw = &mut io.draw(CHOICE);
        let (&sid, place) = self.known.iter().nth(draw.index(self.known.len()))?;
        let others = [Some(Role::Participant), Some(Role::Observer), None];
        let is_now = shown.roles.get(&sid).copied();
        let others: Vec<Option<Role>> = others.into_iter().filter(|&role| role != is_now).collect();
        let becomes = others[draw.index(others.len())];
        let mut roles = shown.roles.clone();
        match becomes {
            Some(role) => roles.insert(sid, role),
            None => roles.remove(&sid),
        };
        if roles.values().filter(|&&role| role == Role::Participant).count() < VOTERS_LEAST {
            return None;
        }
        let asked = match becomes {
            _ if draw.chance(1, 4) => {
                let lines: Vec<String> = roles.iter().map(|(&sid, &role)| self.known[&sid].line(sid, role)).collect();
                Reconfiguration::To(lines.join(","))
            }
            Some(role) => Reconfiguration::Joining(place.line(sid, role)),
            None => Reconfiguration::Leaving(sid.to_string()),
        };
        Some(Invocation::reconfig(asked, Some(shown.version).filter(|_| draw.chance(1, 2))))
    }

    pub(super) fn on_done(&mut self, done: &Done, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
        // Whatever went wrong, somebody else may have been there first.
        self.shown = done.result.config.as_deref().filter(|_| done.is_ok()).map(|text| self.read(text));
        rest(done.slot, self.think, recorder, io);
    }

    /// Panics if the text is none of a configuration: that is a finding.
    fn read(&mut self, text: &str) -> Shown {
        let mut shown = Shown { version: 0, roles: BTreeMap::new() };
        for line in text.lines() {
            let (key, value) = line.split_once('=').expect("a configuration has keys and values");
            if let Some(sid) = key.strip_prefix("server.") {
                let sid = sid.parse().expect("servers have numbers");
                let (server, clients) = value.split_once(';').unwrap_or((value, ""));
                let (ensemble, role) = server.rsplit_once(':').expect("a server has ports and a role");
                let role = if role == "observer" { Role::Observer } else { Role::Participant };
                self.known.insert(sid, Place { ensemble: ensemble.to_owned(), clients: clients.to_owned() });
                shown.roles.insert(sid, role);
            } else if key == "version" {
                shown.version = i64::from_str_radix(value, 16).expect("versions are hexadecimal");
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_and_its_lines_are_made_again() {
        let lines =
            ["server.1=host0:2888:3888:participant;0.0.0.0:2181", "server.4=host9:2888:3888:observer;0.0.0.0:2181"];
        let dir = Arc::from("/work");
        let mut operator = Reconfigure { dir, think: Span::ZERO, known: BTreeMap::new(), shown: None };
        let shown = operator.read(&format!("{}\n{}\nversion=100000003", lines[0], lines[1]));
        assert_eq!(shown.version, 0x1_0000_0003);
        assert_eq!(shown.roles, BTreeMap::from([(1, Role::Participant), (4, Role::Observer)]));
        let made: Vec<String> = shown.roles.iter().map(|(&sid, &role)| operator.known[&sid].line(sid, role)).collect();
        assert_eq!(made, lines);
        // Who was removed is remembered.
        assert_eq!(operator.read("server.1=host0:2888:3888:participant\nversion=100000004").roles.len(), 1);
        assert_eq!(operator.known.len(), 2);
    }
}
