//! Election, queue, barriers: what their users are told, whatever is lost.

use std::collections::{BTreeMap, BTreeSet};

use clients::{Misuse, OpKind, Outcome, RecipeCall, WorkloadFact, WorkloadKind, ZkWorkloadImage};
use machine::Span;

use crate::bench::{Bench, Cut, image};

fn misusing(kind: WorkloadKind, misuse: Misuse) -> Bench {
    let misuses = [misuse].into_iter().collect();
    Bench::new(
        (1..=3).map(|client| ZkWorkloadImage { misuses: Clone::clone(&misuses), ..image(client, kind) }).collect(),
    )
}

fn returned(bench: &Bench, kind: RecipeCall) -> usize {
    bench.all_said().filter(|fact| matches!(fact, WorkloadFact::RecipeReturned { kind: it, .. } if *it == kind)).count()
}

/// Who believes now that it leads, by epoch.
fn leaders(bench: &Bench) -> BTreeMap<u64, usize> {
    let mut leaders = BTreeMap::new();
    for at in 0..3 {
        for fact in bench.said(at) {
            match fact {
                WorkloadFact::LeadershipTaken { epoch, .. } => drop(leaders.insert(*epoch, at)),
                WorkloadFact::LeadershipGivenUp { epoch, .. } => assert_eq!(leaders.remove(epoch), Some(at)),
                _ => {}
            }
        }
    }
    leaders
}

#[test]
fn one_candidate_leads_at_a_time_and_each_in_an_epoch_of_its_own() {
    let mut bench = Bench::of(WorkloadKind::Election, 3);
    let mut epochs = BTreeSet::new();
    for _ in 0..20_000 {
        bench.run(Span::millis(1));
        assert!(leaders(&bench).len() <= 1);
        epochs.extend(leaders(&bench).into_keys());
    }
    let taken = bench.all_said().filter(|fact| matches!(fact, WorkloadFact::LeadershipTaken { .. })).count();
    assert!(taken > 5 && taken == epochs.len(), "{taken} elections, epochs {epochs:?}");
    let written = bench.all_said().filter(|fact| matches!(fact, WorkloadFact::ResourceWrite { .. })).count();
    assert!(written > 500, "{written} writes");
}

#[test]
fn leader_whose_connection_is_gone_no_longer_leads_and_claims_another_epoch() {
    let mut bench = Bench::of(WorkloadKind::Election, 3);
    bench.run_until(|bench| leaders(bench).len() == 1);
    let (first, at) = leaders(&bench).into_iter().next().unwrap();
    let session = bench.workload(at).session().session();
    bench.down = true;
    bench.lose(at);
    bench.run_until(|bench| leaders(bench).is_empty());
    assert!(bench.workload(at).session().session() == session, "long before its session is over");
    bench.down = false;
    bench.run_until(|bench| leaders(bench).len() == 1);
    assert!(leaders(&bench).into_keys().all(|epoch| epoch > first));
}

#[test]
fn candidates_that_stopped_still_elect_a_leader() {
    let stopping =
        |client| ZkWorkloadImage { stop_after: Some(Span::secs(2)), ..image(client, WorkloadKind::Election) };
    let mut bench = Bench::new((1..=3).map(stopping).collect());
    bench.run(Span::secs(3));
    for round in 0..6 {
        bench.expire(round % 3);
        bench.run(Span::secs(8));
        assert_eq!(leaders(&bench).len(), 1);
    }
}

#[test]
fn r01_candidate_that_forgets_its_znode_waits_for_itself() {
    let cut = |mut bench: Bench| {
        for at in 0..3 {
            bench.cut_at(at, OpKind::CreateEphemeralSequential, Cut::AfterApply);
        }
        bench.run(Span::secs(30));
        leaders(&bench).len()
    };
    assert_eq!(cut(Bench::of(WorkloadKind::Election, 3)), 1);
    assert_eq!(cut(misusing(WorkloadKind::Election, Misuse::ForgetsItsZnode)), 0, "nobody ever leads");
}

/// How often each element was taken.
fn taken(bench: &Bench) -> BTreeMap<u64, usize> {
    let mut taken = BTreeMap::new();
    for fact in bench.all_said() {
        if let WorkloadFact::RecipeReturned {
            kind: RecipeCall::Dequeue,
            outcome: Outcome::Ok,
            value: Some(value),
            ..
        } = fact
        {
            *taken.entry(*value).or_insert(0) += 1;
        }
    }
    taken
}

#[test]
fn element_is_taken_once_and_what_is_left_at_the_stop_is_taken_then() {
    let stopping = |client| ZkWorkloadImage {
        stop_after: Some(Span::secs(10)),
        processes: 2,
        ..image(client, WorkloadKind::Queue)
    };
    let mut bench = Bench::new((1..=3).map(stopping).collect());
    bench.run(Span::secs(12));
    let taken = taken(&bench);
    assert!(taken.len() > 300 && taken.values().all(|&times| times == 1), "{taken:?}");
    let put: BTreeSet<u64> = bench
        .all_said()
        .filter_map(|fact| match fact {
            WorkloadFact::RecipeReturned { kind: RecipeCall::Enqueue, outcome: Outcome::Ok, value, .. } => *value,
            _ => None,
        })
        .collect();
    assert_eq!(put, taken.into_keys().collect());
    assert_eq!(bench.tree.children("/work/of/clients/queue"), [""; 0]);
}

#[test]
fn element_whose_delete_was_lost_ends_unknown_and_is_named() {
    for cut in [Cut::BeforeApply, Cut::AfterApply] {
        let mut bench = Bench::of(WorkloadKind::Queue, 3);
        bench.run(Span::secs(1));
        bench.cut_at(0, OpKind::Delete, cut);
        bench.run_until(|bench| bench.is_cut(0));
        bench.run(Span::secs(5));
        let unknown = bench.said(0).find_map(|fact| match fact {
            WorkloadFact::RecipeReturned {
                kind: RecipeCall::Dequeue,
                outcome: Outcome::Unknown,
                value,
                number,
                ..
            } => Some((value.unwrap(), number.is_some())),
            _ => None,
        });
        let (element, is_numbered) = unknown.unwrap();
        assert!(is_numbered);
        assert_eq!(taken(&bench).contains_key(&element), cut == Cut::BeforeApply, "somebody takes what is still there");
    }
}

#[test]
fn barrier_is_passed_when_it_is_lifted_and_not_before() {
    let mut bench = Bench::of(WorkloadKind::Barrier, 3);
    bench.run(Span::secs(5));
    bench.expire(0);
    bench.run(Span::secs(5));
    assert!(returned(&bench, RecipeCall::LiftBarrier) > 20);
    assert!(returned(&bench, RecipeCall::WaitAtBarrier) > 20, "{}", returned(&bench, RecipeCall::WaitAtBarrier));
}

#[test]
fn keeper_that_stops_leaves_no_barrier_although_its_create_was_lost() {
    for cut in [Cut::BeforeApply, Cut::AfterApply] {
        let stopping =
            |client| ZkWorkloadImage { stop_after: Some(Span::secs(3)), ..image(client, WorkloadKind::Barrier) };
        let mut bench = Bench::new((1..=3).map(stopping).collect());
        bench.run(Span::millis(2_500));
        bench.cut_at(0, OpKind::Create, cut);
        bench.run(Span::secs(5));
        assert_eq!(bench.tree.children("/work/of/clients/barrier"), [""; 0]);
    }
}

/// Rounds that all members have left.
fn rounds(bench: &Bench) -> usize {
    returned(bench, RecipeCall::Leave) / 3
}

#[test]
fn members_work_in_rounds_whatever_is_lost() {
    let mut bench = Bench::of(WorkloadKind::DoubleBarrier, 3);
    bench.run(Span::secs(2));
    for kind in [OpKind::CreateEphemeral, OpKind::Delete, OpKind::Create, OpKind::GetChildren, OpKind::Exists] {
        for cut in [Cut::BeforeApply, Cut::AfterApply] {
            let before = rounds(&bench);
            bench.cut_at(1, kind, cut);
            bench.run(Span::secs(4));
            assert!(rounds(&bench) > before + 3, "{kind:?} {cut:?}: {before} and then {}", rounds(&bench));
        }
    }
    for round in 0..6 {
        let before = rounds(&bench);
        bench.expire(round % 3);
        bench.run(Span::secs(12));
        assert!(rounds(&bench) > before + 3, "expiry {round}: {before} and then {}", rounds(&bench));
    }
}

#[test]
fn members_are_inside_together() {
    let mut bench = Bench::of(WorkloadKind::DoubleBarrier, 3);
    bench.run(Span::secs(10));
    let mut entering: BTreeMap<&str, usize> = BTreeMap::new();
    let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
    for fact in bench.all_said() {
        match fact {
            WorkloadFact::RecipeInvoked { kind: RecipeCall::Enter, object, .. } => {
                *entering.entry(object).or_default() += 1
            }
            WorkloadFact::RecipeReturned { kind: RecipeCall::Leave, object, .. } => {
                *leaving.entry(object).or_default() += 1
            }
            _ => {}
        }
    }
    assert!(leaving.len() > 10);
    for (round, left) in leaving {
        assert_eq!((left, entering[round]), (3, 3), "{round}");
    }
}
