//! H17, H19, H21, H22, H23: recipes, judged by what their users saw. No server does anything wrong in these.

use std::sync::Arc;

use ::clients::RecipeCall as Kind;

use super::*;
use crate::{Operation, OperationEnd, OperationKind, OperationOutcome, RecipeCall, RecipeEnd};

fn finish(stage: &mut Stage) {
    let now = stage.moment(0);
    stage.oracle.judge_history(now, &mut stage.findings);
}

/// Calls of two clients at one object, numbered by whoever makes them.
struct Users {
    stage: Stage,
    object: Arc<str>,
}

impl Users {
    fn of(object: &str) -> Self {
        Self { stage: Stage::led(), object: Arc::from(object) }
    }

    fn call(&mut self, number: u64, client: u16, kind: Kind, value: Option<u64>) -> &mut Self {
        let moment = self.stage.moment(3 + usize::from(client));
        let object = Arc::clone(&self.object);
        let session = session_of(client);
        self.stage.oracle.recipe_called(moment, RecipeCall { number, client, kind, object, session, value });
        self
    }

    fn returns(&mut self, number: u64, client: u16, value: Option<u64>) -> &mut Self {
        self.ends(number, client, OperationOutcome::Ok, value, None)
    }

    fn ends(
        &mut self,
        number: u64,
        client: u16,
        outcome: OperationOutcome,
        value: Option<u64>,
        place: Option<u64>,
    ) -> &mut Self {
        let moment = self.stage.moment(3 + usize::from(client));
        let session = session_of(client);
        self.stage.oracle.recipe_ended(moment, RecipeEnd { number, session, outcome, value, place });
        self
    }

    /// The session of that client makes a write that is answered: it lives.
    fn writes(&mut self, number: u64, client: u16) -> &mut Self {
        let moment = self.stage.moment(3 + usize::from(client));
        let path: Arc<str> = Arc::from("/alive");
        let operation = Operation {
            number,
            kind: OperationKind::Create,
            path: path.clone(),
            session: session_of(client),
            demanded: None,
            value: None,
        };
        self.stage.oracle.invoked(moment, operation);
        let end = OperationEnd {
            number,
            path,
            outcome: OperationOutcome::Refused,
            czxid: None,
            mzxid: None,
            pzxid: None,
            version: None,
            value: None,
        };
        self.stage.oracle.ended_operation(moment, end);
        self
    }

    #[track_caller]
    fn judged(&mut self, fired: &[&str]) {
        finish(&mut self.stage);
        assert_eq!(self.stage.fired(), fired, "{:?}", self.stage.findings);
    }

    /// What nobody gets any further with.
    fn stuck(&self) -> Option<String> {
        self.stage.oracle.stuck_recipe(|_| true)
    }
}

fn session_of(client: u16) -> SessionId {
    if client == 0 { SESSION } else { OTHER }
}

/// Client 0 puts 7 and then 8.
fn two_elements() -> Users {
    let mut users = Users::of("/q");
    for (number, value) in [(1, 7), (2, 8)] {
        users.call(number, 0, Kind::Enqueue, Some(value)).returns(number, 0, Some(value));
    }
    users
}

#[test]
fn h19_is_silent_about_a_queue_that_is_one() {
    let mut users = two_elements();
    users.call(3, 1, Kind::Dequeue, None).call(4, 0, Kind::Dequeue, None);
    users.returns(4, 0, Some(8)).returns(3, 1, Some(7));
    users.call(5, 0, Kind::Dequeue, None).returns(5, 0, None);
    users.judged(&[]);
}

#[test]
fn h19_fires_when_an_element_is_taken_twice() {
    let mut users = two_elements();
    users.call(3, 1, Kind::Dequeue, None).call(4, 0, Kind::Dequeue, None);
    users.returns(3, 1, Some(7)).returns(4, 0, Some(7));
    users.judged(&["H19"]);
}

#[test]
fn h19_fires_when_the_second_element_is_taken_first() {
    let mut users = two_elements();
    users.call(3, 1, Kind::Dequeue, None).returns(3, 1, Some(8));
    users.call(4, 0, Kind::Dequeue, None).returns(4, 0, Some(7));
    users.judged(&["H19"]);
}

#[test]
fn h19_lets_an_element_be_missing_that_somebody_may_have_taken() {
    for (outcome, fired) in [(OperationOutcome::Unknown, vec![]), (OperationOutcome::Failed, vec!["H19"])] {
        let mut users = two_elements();
        users.call(3, 1, Kind::Dequeue, None).ends(3, 1, outcome, Some(7), None);
        users.call(4, 0, Kind::Dequeue, None).returns(4, 0, Some(8));
        users.judged(&fired);
    }
}

#[test]
fn h19_lets_a_client_that_died_have_taken_any_element() {
    let mut users = two_elements();
    users.call(3, 1, Kind::Dequeue, None);
    let restarted = users.stage.moment(4);
    users.stage.oracle.client_began(restarted);
    users.call(4, 0, Kind::Dequeue, None).returns(4, 0, Some(8));
    users.judged(&[]);
}

#[test]
fn h19_fires_when_an_element_is_taken_that_nobody_put_or_not_yet() {
    let mut users = Users::of("/q");
    users.call(1, 0, Kind::Dequeue, None).returns(1, 0, Some(7));
    users.judged(&["H19"]);
    let mut users = Users::of("/q");
    users.call(1, 0, Kind::Dequeue, None).returns(1, 0, Some(7));
    users.call(2, 0, Kind::Enqueue, Some(7)).returns(2, 0, Some(7));
    users.judged(&["H19"]);
}

#[test]
fn h19_lets_an_enqueue_of_unknown_end_take_effect_or_not() {
    for taken in [Some(7), None] {
        let mut users = Users::of("/q");
        users.call(1, 0, Kind::Enqueue, Some(7)).ends(1, 0, OperationOutcome::Unknown, Some(7), None);
        users.call(2, 1, Kind::Dequeue, None).returns(2, 1, taken);
        users.judged(&[]);
    }
}

#[test]
fn h19_fires_when_a_session_misses_what_it_has_put_itself() {
    let mut users = two_elements();
    users.call(3, 0, Kind::Dequeue, None).returns(3, 0, None);
    users.judged(&["H19"]);
    // Another session may be served by a server that is behind.
    let mut users = two_elements();
    users.call(3, 1, Kind::Dequeue, None).returns(3, 1, None);
    users.judged(&[]);
}

#[test]
fn h19_fires_when_only_a_search_can_tell() {
    // 7 and 8 are both before 9, and gone: a client that died may have taken either, and one client cannot have taken both.
    for (deaths, fired) in [(2, vec![]), (1, vec!["H19"])] {
        let mut users = two_elements();
        users.call(3, 0, Kind::Enqueue, Some(9)).returns(3, 0, Some(9));
        for death in 0..deaths {
            users.call(10 + death, 1, Kind::Dequeue, None);
            let restarted = users.stage.moment(4);
            users.stage.oracle.client_began(restarted);
        }
        users.call(4, 0, Kind::Dequeue, None).returns(4, 0, Some(9));
        users.judged(&fired);
    }
}

#[test]
fn h22_fires_when_a_barrier_is_passed_before_it_is_lifted() {
    for (is_lifted, fired) in [(true, vec![]), (false, vec!["H22"])] {
        let mut users = Users::of("/b");
        users.call(1, 0, Kind::SetBarrier, None).returns(1, 0, None);
        users.call(2, 1, Kind::WaitAtBarrier, None);
        if is_lifted {
            users.call(3, 0, Kind::LiftBarrier, None);
        }
        users.returns(2, 1, None);
        users.judged(&fired);
    }
}

#[test]
fn h22_excuses_who_asked_again_in_another_session() {
    let mut users = Users::of("/b");
    users.call(1, 1, Kind::WaitAtBarrier, None);
    let moment = users.stage.moment(4);
    let (outcome, value, place) = (OperationOutcome::Ok, None, None);
    users.stage.oracle.recipe_ended(moment, RecipeEnd { number: 1, session: SESSION, outcome, value, place });
    users.judged(&[]);
}

#[test]
fn h21_tells_who_waits_at_a_barrier_that_was_lifted() {
    let mut users = Users::of("/b");
    users.call(1, 0, Kind::WaitAtBarrier, None).call(2, 1, Kind::LiftBarrier, None);
    assert_eq!(users.stuck(), None);
    users.returns(2, 1, None);
    assert!(users.stuck().is_some_and(|what| what.starts_with("client 0 waits at a barrier that was lifted: /b")));
    users.returns(1, 0, None);
    assert_eq!(users.stuck(), None);
}

#[test]
fn h23_fires_when_a_member_enters_before_all_have_come() {
    for (first, fired) in [(2, vec![]), (3, vec!["H23"])] {
        let mut users = Users::of("/r");
        users.call(1, 0, Kind::Enter, Some(2));
        if first == 2 {
            users.call(2, 1, Kind::Enter, Some(2));
        }
        users.returns(1, 0, Some(10));
        users.judged(&fired);
    }
}

/// Both are inside; what let them in was created at 10, and the second one's own znode there and then.
fn both_inside(own: u64) -> Users {
    let mut users = Users::of("/r");
    users.call(1, 0, Kind::Enter, Some(2)).call(2, 1, Kind::Enter, Some(2));
    users.ends(1, 0, OperationOutcome::Ok, Some(10), Some(8)).ends(2, 1, OperationOutcome::Ok, Some(10), Some(own));
    users
}

#[test]
fn h23_fires_when_a_member_leaves_while_another_is_inside_and_lives() {
    // The other one's session may be over, as far as anybody knows.
    let mut users = both_inside(9);
    users.call(3, 0, Kind::Leave, None).returns(3, 0, None);
    users.judged(&[]);
    let mut users = both_inside(9);
    users.call(3, 0, Kind::Leave, None).returns(3, 0, None).writes(90, 1);
    users.judged(&["H23"]);
    // Whoever has begun to leave is not waited for by those that see it gone.
    let mut users = both_inside(9);
    users.call(3, 0, Kind::Leave, None).call(4, 1, Kind::Leave, None).returns(3, 0, None).writes(90, 1);
    users.judged(&[]);
    // Nor is one that came when the round was open.
    let mut users = both_inside(11);
    users.call(3, 0, Kind::Leave, None).returns(3, 0, None).writes(90, 1);
    users.judged(&[]);
}

#[test]
fn h21_tells_who_waits_to_enter_what_is_open_or_to_leave() {
    let mut users = Users::of("/r");
    users.call(1, 0, Kind::Enter, Some(2)).call(2, 1, Kind::Enter, Some(2));
    assert_eq!(users.stuck(), None);
    users.returns(1, 0, Some(10));
    assert!(users.stuck().is_some_and(|what| what.starts_with("client 1 waits to enter what others have entered")));
    users.returns(2, 1, Some(10));
    assert_eq!(users.stuck(), None);
    users.call(3, 0, Kind::Leave, None);
    assert!(users.stuck().is_some_and(|what| what.starts_with("client 0 waits to leave: /r")));
}

#[test]
fn h17_fires_when_a_leader_lives_behind_its_successor() {
    let election: Arc<str> = Arc::from("/e");
    for (lives, fired) in [(false, vec![]), (true, vec!["H17"])] {
        let mut users = Users::of("/e");
        for (client, epoch) in [(0, 1), (1, 2)] {
            let moment = users.stage.moment(3 + usize::from(client));
            users.stage.oracle.leadership_taken(moment, client, &election, session_of(client), epoch);
        }
        if lives {
            users.writes(90, 0);
        }
        users.judged(&fired);
    }
    // It gave it up before.
    let mut users = Users::of("/e");
    let moment = users.stage.moment(3);
    users.stage.oracle.leadership_taken(moment, 0, &election, SESSION, 1);
    let moment = users.stage.moment(3);
    users.stage.oracle.leadership_given_up(moment, &election);
    let moment = users.stage.moment(4);
    users.stage.oracle.leadership_taken(moment, 1, &election, OTHER, 2);
    users.writes(90, 0).judged(&[]);
}

#[test]
fn h21_asks_for_one_leader_of_the_candidates() {
    let election: Arc<str> = Arc::from("/e");
    let mut users = Users::of("/e");
    assert_eq!(users.stuck(), None);
    for client in [3, 4] {
        let moment = users.stage.moment(client);
        users.stage.oracle.candidate_stood(moment, &election);
    }
    assert_eq!(users.stuck().as_deref(), Some("nobody leads /e, and there are candidates"));
    let moment = users.stage.moment(3);
    users.stage.oracle.leadership_taken(moment, 0, &election, SESSION, 1);
    assert_eq!(users.stuck(), None);
    let moment = users.stage.moment(4);
    users.stage.oracle.leadership_taken(moment, 1, &election, OTHER, 2);
    assert_eq!(users.stuck().as_deref(), Some("client 0 in epoch 1, client 1 in epoch 2 all lead /e"));
    // The first one's process died.
    let moment = users.stage.moment(3);
    users.stage.oracle.client_began(moment);
    assert_eq!(users.stuck(), None);
}
