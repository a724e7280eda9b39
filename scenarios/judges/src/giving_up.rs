//! C50: a client that no server answers knows by itself when its session has ended.

use engine::Findings;
use jute::SessionId;
use jute::client::ServerFrame;
use machine::Span;

use crate::moment::Story;
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// A client that has a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hope {
    session: SessionId,
    timeout: Span,
    /// When it last heard of a server.
    heard: Moment,
    /// When it dialled for the first time after it should have given up.
    late: Option<Moment>,
}

impl Hope {
    /// How long it may go on without a server: four thirds of the timeout, on a clock that may be slow.
    fn patience(&self) -> Span {
        let timeout = self.timeout.as_nanos();
        Span::nanos(timeout * 4 / 3 + timeout / 2)
    }
}

impl Oracle {
    /// A client hears of a server.
    pub fn client_heard_of_server(&mut self, moment: Moment, client: usize, frame: &ServerFrame) {
        let hope = &mut self.hopes[client];
        match frame {
            ServerFrame::Connect(connect) if connect.is_refusal() => *hope = None,
            ServerFrame::Connect(connect) => {
                let timeout = Span::millis(u64::from(connect.timeout_ms.unsigned_abs()));
                let next = Hope { session: connect.session, timeout, heard: moment, late: None };
                let before = hope.replace(next).map(|hope| hope.session).filter(|&before| before != connect.session);
                if let Some(before) = before {
                    self.session_replaced(before, connect.session);
                }
            }
            ServerFrame::Reply { .. } | ServerFrame::Notification { .. } => {
                if let Some(hope) = hope {
                    hope.heard = moment;
                    hope.late = None;
                }
            }
        }
    }

    /// A client has no session any more, and knows it.
    pub fn client_gave_up(&mut self, client: usize) {
        self.hopes[client] = None;
    }

    /// C50. It looks at its clock with the connect under way: the first that comes too late ends at once, a second is never made.
    pub fn client_dialled(&mut self, moment: Moment, client: usize, findings: &mut Findings) {
        let Some(hope) = &mut self.hopes[client] else { return };
        self.tally.check(Rule::ClientGivesUp);
        if moment.at.saturating_since(hope.heard.at) <= hope.patience() {
            return;
        }
        let Some(late) = hope.late else {
            hope.late = Some(moment);
            return;
        };
        let Hope { session, timeout, heard, .. } = *hope;
        self.hopes[client] = None;
        let headline = format!(
            "{} goes on connecting for session {session}, whose timeout is {} ms, {} ms after it last heard of a server",
            self.roster.ensemble.clients[client].name,
            timeout.as_millis(),
            moment.at.saturating_since(heard.at).as_millis()
        );
        let story = Story::new(Rule::ClientGivesUp, headline)
            .promise(heard, "it heard of a server for the last time".to_owned())
            .first_wrong(late, "it dialled when its session had ended by any clock".to_owned())
            .kind("never-expires")
            .detected(moment, "it dials again, and has told its application nothing");
        self.broken(Rule::ClientGivesUp, story, findings);
    }
}
