//! The follower's end of a fetch session (KIP-227).

use kafkawire::ErrorCode;
use kafkawire::messages::FetchResponse;

use crate::replication::fetch_session::{INVALID_SESSION_ID, next_epoch};

/// The follower's end of a fetch session (`FetchSessionHandler`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Session {
    pub(super) id: i32,
    /// Of the next request; 0 asks for a new session.
    pub(super) epoch: i32,
}

impl Session {
    pub(super) const fn is_full(self) -> bool {
        self.epoch == 0
    }

    /// Whether a response can be used.
    pub(super) fn accepts(&mut self, response: &FetchResponse) -> bool {
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {
                *self = if response.session_id == INVALID_SESSION_ID {
                    Self::default()
                } else {
                    Self { id: response.session_id, epoch: next_epoch(self.epoch) }
                };
                true
            }
            Some(ErrorCode::FetchSessionIdNotFound) => {
                *self = Self::default();
                false
            }
            Some(_) | None => {
                self.close();
                false
            }
        }
    }

    /// The next request is full, and ends this session.
    pub(super) const fn close(&mut self) {
        self.epoch = 0;
    }
}
