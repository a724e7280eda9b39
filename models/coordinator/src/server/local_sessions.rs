//! Sessions that one server knows alone (zookeeper.md §7.8): no txn, no ephemerals, and unknown to every other server.
//!
//! With `localSessionsEnabled` every new session is one. A create of an ephemeral makes it global first, if the server may: its
//! session is created like any other, and what was asked for follows behind. Otherwise the create is refused; it takes its zxid all the
//! same, because only who knows the session knows why.

use std::collections::{BTreeMap, BTreeSet};

use jute::SessionId;
use jute::client::{CreateRequest, MultiOp, Request as ClientRequest};
use jute::op::{CreateMode, ErrorCode};
use machine::{Instant, Io, Span};

use super::request::{Ask, Owner, Request, nobody};
use super::session_tracker::{SessionTracker, Tracking};
use super::{Server, Serving};
use crate::{Coordinator, CoordinatorMark, Database};

/// The local sessions of a server that serves.
#[derive(Clone, Debug)]
pub(super) struct LocalSessions {
    pub(super) tracker: SessionTracker,
    /// On their way to the global table.
    upgrading: BTreeSet<SessionId>,
}

impl LocalSessions {
    pub(super) fn new(tick: Span, now: Instant) -> Self {
        Self { tracker: SessionTracker::new(&BTreeMap::new(), tick, false, now), upgrading: BTreeSet::new() }
    }

    pub(super) fn contains(&self, session: SessionId) -> bool {
        self.tracker.timeout_ms(session).is_some()
    }
}

/// Whether a request makes an ephemeral.
fn makes_ephemeral(request: &ClientRequest) -> bool {
    let is_ephemeral = |create: &CreateRequest| create.mode().is_some_and(CreateMode::is_ephemeral);
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other operation makes an ephemeral")]
    match request {
        ClientRequest::Create(create) | ClientRequest::Create2(create) => is_ephemeral(create),
        ClientRequest::Multi(multi) => multi.ops.iter().any(|op| match op {
            MultiOp::Create(create) | MultiOp::Create2(create) => is_ephemeral(create),
            MultiOp::CreateContainer(_)
            | MultiOp::CreateTtl(_)
            | MultiOp::Delete(_)
            | MultiOp::SetData(_)
            | MultiOp::Check(_) => false,
        }),
        _ => false,
    }
}

impl Server {
    /// Whether a session is known to this server alone.
    pub(super) fn is_local(&self, session: SessionId) -> bool {
        self.locals.as_ref().is_some_and(|locals| locals.contains(session))
    }

    /// `checkUpgradeSession`: what must happen before a request of a local session may create an ephemeral.
    pub(super) fn upgrade_for(&mut self, request: &mut Request, io: &mut Io<'_, Coordinator>) {
        let session = request.session;
        let Ask::Client(client) = &*request.ask else { return };
        if !self.is_local(session) || !makes_ephemeral(client) {
            return;
        }
        if !self.config.local_sessions_upgrading_enabled {
            request.failure = Some(ErrorCode::EphemeralOnLocalSession);
            return;
        }
        let locals = self.locals.as_mut().expect("the session is among them");
        let timeout_ms = locals.tracker.timeout_ms(session).expect("the session is among them");
        locals.tracker.remove(session);
        locals.upgrading.insert(session);
        if let Tracking::Expiring(tracker) = &mut self.tracking {
            // Known as global before it is forgotten as local.
            tracker.track(session, timeout_ms, io.now());
        }
        io.reach(CoordinatorMark::LocalSessionUpgraded);
        self.submit(
            Request::detached(session, jute::Xid::ZERO, Ask::CreateSession { timeout_ms }, Owner::Me, nobody()),
            io,
        );
    }

    /// A session is in the global table.
    pub(super) fn session_is_global(&mut self, session: SessionId) {
        if let Some(locals) = &mut self.locals {
            locals.upgrading.remove(&session);
            locals.tracker.remove(session);
        }
    }

    /// Puts off the end of a session; false if it is unknown or closing. A learner without local sessions cannot know.
    pub(super) fn touch_known(&mut self, session: SessionId, timeout_ms: i32, db: &Database, now: Instant) -> bool {
        if let Some(locals) = &mut self.locals {
            if locals.tracker.touch(session, timeout_ms, now) {
                return true;
            }
            let is_global = db.sessions().contains_key(&session) || locals.upgrading.contains(&session);
            if !is_global && matches!(self.tracking, Tracking::Touching(_)) {
                return false;
            }
        }
        self.tracking.touch(session, timeout_ms, now)
    }

    /// Whether new sessions are this server's alone.
    pub(super) fn makes_local_sessions(&self) -> bool {
        self.locals.is_some() && self.serving != Some(Serving::Standalone)
    }
}

/// Whether a request of this owner may act for the session, at the leader: another server's local sessions are not known here, and may.
///
/// # Errors
/// `SessionExpired`, `SessionMoved`.
pub(super) fn check_at_leader(
    tracker: &mut SessionTracker,
    locals: Option<&mut LocalSessions>,
    (session, owner): (SessionId, Owner),
    me: jute::Sid,
) -> Result<(), ErrorCode> {
    let Some(locals) = locals else { return tracker.check(session, owner) };
    if locals.contains(session) && tracker.timeout_ms(session).is_none() {
        return locals.tracker.check(session, owner);
    }
    if tracker.timeout_ms(session).is_none() && session.server() != me {
        return Ok(());
    }
    tracker.check(session, owner)
}
