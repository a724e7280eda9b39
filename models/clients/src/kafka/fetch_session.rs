//! A fetch session as its client keeps it (KIP-227; kafka-broker.md §5.6): what the broker remembers is not sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafkawire::messages::{FetchRequest, FetchResponse, TopicName};
use kafkawire::{ErrorCode, LeaderEpoch, Offset};

/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The id of no session.
const NO_SESSION: i32 = 0;

/// What a fetch asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    pub(crate) max_bytes: i32,
}

impl Wanted {
    pub(crate) fn wire(self, partition: i32) -> FetchPartition {
        FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(self.leader_epoch.map_or(-1, |epoch| epoch.0))
            .with_fetch_offset(self.offset.0)
            .with_partition_max_bytes(self.max_bytes)
    }
}

/// A session with one broker (`FetchSessionHandler`).
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchSession {
    id: i32,
    /// The epoch of the next request; 0 begins a session, and ends the one with `id` if there is one.
    next_epoch: i32,
    /// What the broker remembers, and the request in flight tells it.
    partitions: Arc<BTreeMap<i32, Wanted>>,
}

impl FetchSession {
    /// Fills in what is asked: everything when a session begins, then only what changed.
    pub(crate) fn ask(
        &mut self,
        topic: &TopicName,
        wanted: &Arc<BTreeMap<i32, Wanted>>,
        request: FetchRequest,
    ) -> FetchRequest {
        let is_full = self.next_epoch == INITIAL_EPOCH;
        let changed = wanted.iter().filter(|&(partition, now)| is_full || self.partitions.get(partition) != Some(now));
        let changed: Vec<FetchPartition> = changed.map(|(&partition, &now)| now.wire(partition)).collect();
        let forgotten: Vec<i32> = if is_full {
            Vec::new()
        } else {
            self.partitions.keys().copied().filter(|partition| !wanted.contains_key(partition)).collect()
        };
        self.partitions = Arc::clone(wanted);
        let mut request = request.with_session_id(self.id).with_session_epoch(self.next_epoch);
        if !changed.is_empty() {
            request.topics = vec![FetchTopic::default().with_topic(topic.clone()).with_partitions(changed)];
        }
        if !forgotten.is_empty() {
            let forgotten = ForgottenTopic::default().with_topic(topic.clone()).with_partitions(forgotten);
            request.forgotten_topics_data = vec![forgotten];
        }
        request
    }

    /// Takes an answer; false if the broker knows no such session, so that the answer says nothing about partitions.
    pub(crate) fn on_answer(&mut self, response: &FetchResponse) -> bool {
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::FetchSessionIdNotFound) => {
                *self = Self::default();
                return false;
            }
            Some(_) | None => {
                self.next_epoch = INITIAL_EPOCH;
                return false;
            }
        }
        let is_full = self.next_epoch == INITIAL_EPOCH;
        if response.session_id == NO_SESSION {
            // The broker keeps none for this client (its cache is full), or has closed it.
            *self = Self { partitions: std::mem::take(&mut self.partitions), ..Self::default() };
        } else if is_full {
            self.id = response.session_id;
            self.next_epoch = 1;
        } else if response.session_id == self.id {
            self.next_epoch = self.next_epoch.checked_add(1).unwrap_or(1);
        } else {
            self.next_epoch = INITIAL_EPOCH;
            return false;
        }
        true
    }

    /// Nobody knows whether the broker took the request: the next one begins anew and ends this session.
    pub(crate) const fn on_lost(&mut self) {
        self.next_epoch = INITIAL_EPOCH;
    }
}

#[cfg(test)]
mod tests {
    use kafkawire::Topic;

    use super::*;

    fn wanted(offsets: &[(i32, i64)]) -> Arc<BTreeMap<i32, Wanted>> {
        let of = |offset| Wanted { offset: Offset(offset), leader_epoch: Some(LeaderEpoch(1)), max_bytes: 100 };
        Arc::new(offsets.iter().map(|&(partition, offset)| (partition, of(offset))).collect())
    }

    /// Session id, epoch, partitions with offsets, forgotten partitions.
    fn asked(session: &mut FetchSession, offsets: &[(i32, i64)]) -> (i32, i32, Vec<(i32, i64)>, Vec<i32>) {
        let request = session.ask(&Topic::from("t").wire(), &wanted(offsets), FetchRequest::default());
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions = partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect();
        let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| topic.partitions.clone()).collect();
        (request.session_id, request.session_epoch, partitions, forgotten)
    }

    fn answer(id: i32, error: ErrorCode) -> FetchResponse {
        FetchResponse::default().with_session_id(id).with_error_code(error.code())
    }

    #[test]
    fn only_what_changed_is_asked_again() {
        let mut session = FetchSession::default();
        assert_eq!(asked(&mut session, &[(0, 5), (1, 7)]), (0, 0, vec![(0, 5), (1, 7)], vec![]));
        assert!(session.on_answer(&answer(9, ErrorCode::None)));
        assert_eq!(asked(&mut session, &[(0, 6), (1, 7)]), (9, 1, vec![(0, 6)], vec![]));
        assert!(session.on_answer(&answer(9, ErrorCode::None)));
        assert_eq!(asked(&mut session, &[(1, 7), (2, 0)]), (9, 2, vec![(2, 0)], vec![0]));
        assert!(session.on_answer(&answer(9, ErrorCode::None)));
        assert_eq!(asked(&mut session, &[(1, 7), (2, 0)]), (9, 3, vec![], vec![]));
    }

    #[test]
    fn forgotten_session_begins_anew_with_everything() {
        let mut session = FetchSession::default();
        asked(&mut session, &[(0, 5)]);
        session.on_answer(&answer(9, ErrorCode::None));
        asked(&mut session, &[(0, 5)]);
        assert!(!session.on_answer(&answer(0, ErrorCode::FetchSessionIdNotFound)));
        assert_eq!(asked(&mut session, &[(0, 5)]), (0, 0, vec![(0, 5)], vec![]));
    }

    #[test]
    fn session_out_of_step_is_closed_by_the_one_that_begins() {
        for lost in [true, false] {
            let mut session = FetchSession::default();
            asked(&mut session, &[(0, 5)]);
            session.on_answer(&answer(9, ErrorCode::None));
            asked(&mut session, &[(0, 5)]);
            if lost {
                session.on_lost();
            } else {
                assert!(!session.on_answer(&answer(0, ErrorCode::InvalidFetchSessionEpoch)));
            }
            assert_eq!(asked(&mut session, &[(0, 5)]), (9, 0, vec![(0, 5)], vec![]));
        }
    }

    #[test]
    fn broker_without_room_for_a_session_is_asked_everything_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..2 {
            assert_eq!(asked(&mut session, &[(0, 5)]), (0, 0, vec![(0, 5)], vec![]));
            assert!(session.on_answer(&answer(0, ErrorCode::None)));
        }
    }
}
