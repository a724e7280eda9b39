//! C17: a session is not expired early, by the clock of the leader that expires it.
//!
//! What counts as hearing of a session is what certainly reached the leader: the ping replies and revalidations of its
//! learners, requests and pings of its own clients, and its own beginning, which gives every session its full time again.

use std::sync::Arc;

use engine::Findings;
use jute::SessionId;
use machine::Span;

use crate::moment::Story;
use crate::oracle::{Look, Oracle, Todo};
use crate::server::Touch;
use crate::{Moment, Rule};

impl Oracle {
    /// A leader gave up on a session: its close was submitted.
    pub fn session_expired(&mut self, moment: Moment, member: usize, session: SessionId, timeout_ms: i32) {
        self.given_up.insert(session);
        self.todo.push(Todo::Expired { member, session, timeout_ms, moment });
    }

    /// A request or a ping of a client reached the server it is connected to.
    pub(crate) fn client_heard(&mut self, moment: Moment, member: usize, end: machine::EndId) {
        let server = &self.servers[member];
        if server.leads.is_some()
            && let Some(&(session, timeout_ms)) = server.ends.get(&end)
        {
            self.todo.push(Todo::Touched { member, session, timeout_ms, moment });
        }
    }

    pub(crate) fn on_touched(
        &mut self,
        member: usize,
        session: SessionId,
        timeout_ms: i32,
        moment: Moment,
        look: &impl Look,
    ) {
        let server = Arc::make_mut(&mut self.servers[member]);
        let local = look.local(server.host, moment.at);
        server.touches.insert(session, Touch { local, timeout_ms, moment });
    }

    /// A new leader gives every session of its table its full time.
    pub(crate) fn touch_all(&mut self, member: usize, moment: Moment, look: &impl Look) {
        let server = Arc::make_mut(&mut self.servers[member]);
        let local = look.local(server.host, moment.at);
        server.touches.clear();
        for (&session, &timeout_ms) in self.replay.sessions() {
            server.touches.insert(session, Touch { local, timeout_ms, moment });
        }
    }

    pub(crate) fn check_expired(
        &mut self,
        member: usize,
        session: SessionId,
        timeout_ms: i32,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::ExpiryNotEarly);
        let server = Arc::make_mut(&mut self.servers[member]);
        let now = look.local(server.host, moment.at);
        if let Some(touch) = server.touches.remove(&session) {
            let timeout = Span::millis(u64::try_from(touch.timeout_ms.min(timeout_ms)).unwrap_or(0));
            let silence = now.saturating_since(touch.local);
            // Whoever is closing is not touched any more (zookeeper.md §7.6), and is in the table until the close is applied.
            let is_closing = || self.replay.closed(session).is_some() || self.canon.is_close_proposed(session);
            if silence < timeout && !is_closing() {
                let leader = self.member_name(member).to_owned();
                let headline = format!(
                    "{leader} expired session {session} after {} ms of silence; its timeout is {} ms",
                    silence.as_millis(),
                    timeout.as_millis()
                );
                let story = Story::new(Rule::ExpiryNotEarly, headline)
                    .promise(touch.moment, format!("{leader} last heard of session {session}"))
                    .kind("leader")
                    .detected(moment, format!("it submits the close of session {session}"));
                self.broken(Rule::ExpiryNotEarly, story, findings);
            }
        }
        self.note_live_session_expired(session, findings);
    }
}
