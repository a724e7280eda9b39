//! What workloads make of lost connections and sessions.

use clients::{OpKind, Outcome, WorkloadFact, WorkloadKind};
use jute::SessionId;
use jute::op::ErrorCode;
use machine::Span;

use crate::bench::{Bench, Cut, image, kinds};

#[test]
fn lost_write_is_unknown_and_retires_its_process() {
    for cut in [Cut::BeforeApply, Cut::AfterApply] {
        let mut bench = Bench::of(WorkloadKind::CompareAndSet, 1);
        bench.run(Span::secs(1));
        bench.cut_at(0, OpKind::SetData, cut);
        bench.run(Span::secs(5));
        let ends = bench.check_history();
        assert_eq!(ends.get(&(OpKind::SetData, Outcome::Unknown)), Some(&1), "{cut:?}: {ends:?}");
        assert_eq!(bench.count(0, |fact| matches!(fact, WorkloadFact::ProcessRetired { .. })), 1);
        let ok = ends.get(&(OpKind::SetData, Outcome::Ok)).copied();
        assert!(ok.is_some_and(|ok| ok > 20), "it goes on: {ends:?}");
    }
}

#[test]
fn lost_write_is_not_sent_again() {
    let mut bench = Bench::of(WorkloadKind::CompareAndSet, 1);
    bench.run(Span::secs(1));
    bench.cut_at(0, OpKind::SetData, Cut::AfterApply);
    bench.run_until(|bench| bench.is_cut(0));
    bench.run(Span::millis(50));
    let total = |bench: &Bench| -> i32 {
        (0..3).map(|key| bench.tree.version(&format!("/work/of/clients/compare-and-set/k{key}")).value()).sum()
    };
    let applied = total(&bench);
    let invoked = bench.count(0, |fact| matches!(fact, WorkloadFact::Invoked { kind: OpKind::SetData, .. }));
    assert_eq!(usize::try_from(applied).unwrap(), invoked);
    bench.run(Span::secs(5));
    let invoked = bench.count(0, |fact| matches!(fact, WorkloadFact::Invoked { kind: OpKind::SetData, .. }));
    let open = usize::from(bench.workload(0).pending().is_some_and(|op| op.kind == OpKind::SetData));
    assert_eq!(usize::try_from(total(&bench)).unwrap(), invoked - open);
}

#[test]
fn connection_that_is_lost_in_setup_does_not_stop_it() {
    for kind in kinds() {
        for cut in [Cut::BeforeApply, Cut::AfterApply] {
            let mut bench = Bench::offline(vec![image(1, kind)]);
            bench.run(Span::secs(1));
            bench.cut_at(0, OpKind::Create, cut);
            bench.down = false;
            bench.run_until(|bench| bench.is_cut(0));
            assert!(!bench.workload(0).is_set_up(), "it was cut in setup");
            bench.run(Span::secs(5));
            assert!(bench.workload(0).is_set_up(), "{} {cut:?}", kind.name());
            bench.check_history();
        }
    }
}

#[test]
fn every_kind_goes_on_in_a_new_session_after_an_expiry() {
    for kind in kinds() {
        let mut bench = Bench::of(kind, 3);
        for round in 0..6 {
            bench.run(Span::secs(3));
            bench.expire(round % 3);
        }
        bench.run(Span::secs(5));
        bench.check_history();
        for at in 0..3 {
            assert!(bench.workload(at).connected(), "{}", kind.name());
            assert!(bench.workload(at).session().session() > SessionId::new(3), "a new session");
        }
        let before = bench.all_said().count();
        bench.run(Span::secs(2));
        assert!(bench.all_said().count() > before + 20, "{} works", kind.name());
    }
}

#[test]
fn every_kind_survives_a_cut_at_every_kind_of_request() {
    let requests = [
        OpKind::Create,
        OpKind::Delete,
        OpKind::Exists,
        OpKind::GetData,
        OpKind::SyncGetData,
        OpKind::SetData,
        OpKind::GetChildren,
        OpKind::Multi,
        OpKind::Reconfig,
    ];
    for kind in kinds() {
        let mut bench = Bench::of(kind, 2);
        bench.run(Span::secs(1));
        for request in requests {
            for cut in [Cut::BeforeApply, Cut::AfterApply] {
                bench.cut_at(0, request, cut);
                bench.run(Span::secs(3));
            }
        }
        let ends = bench.check_history();
        let unknown: usize =
            ends.iter().filter(|((_, outcome), _)| *outcome == Outcome::Unknown).map(|(_, count)| count).sum();
        assert!(unknown > 0, "{}: {ends:?}", kind.name());
        // Two operators may leave too few voters between them, and are refused.
        let is_wrong = |(op, outcome): &&(OpKind, Outcome)| *outcome == Outcome::Failed && *op != OpKind::Reconfig;
        let failed = ends.keys().filter(is_wrong).count();
        assert_eq!(failed, 0, "{}: {ends:?}", kind.name());
    }
}

#[test]
fn ephemerals_are_made_again_after_an_expiry() {
    let mut bench = Bench::of(WorkloadKind::Ephemerals, 2);
    bench.run(Span::secs(5));
    let before = bench.workload(0).session().session();
    bench.expire(0);
    bench.run(Span::secs(5));
    let after = bench.workload(0).session().session();
    assert_ne!(before, after);
    let owned = |session| bench.tree.znodes.values().filter(|znode| znode.stat.ephemeral_owner == session).count();
    assert_eq!(owned(before), 0);
    assert!(owned(after) > 0);
}

#[test]
fn probe_is_tried_until_the_servers_are_back() {
    let mut images = vec![image(1, WorkloadKind::UniqueCreates)];
    images[0].stop_after = Some(Span::secs(2));
    images[0].probe_after = Some(Span::secs(2));
    let mut bench = Bench::new(images);
    bench.run(Span::millis(1900));
    bench.down = true;
    bench.lose(0);
    bench.run(Span::secs(10));
    assert!(!bench.workload(0).probed());
    bench.down = false;
    bench.run(Span::secs(5));
    assert!(bench.workload(0).probed());
    let tried = bench.said(0).find_map(|fact| match fact {
        WorkloadFact::ProbeSucceeded { attempts, .. } => Some(*attempts),
        _ => None,
    });
    assert!(tried.is_some_and(|attempts| attempts > 1));
}

#[test]
fn oldest_operation_without_outcome_is_named() {
    let mut bench = Bench::of(WorkloadKind::UniqueCreates, 1);
    bench.run(Span::secs(1));
    bench.down = true;
    bench.lose(0);
    bench.run_until(|bench| bench.workload(0).pending().is_some());
    let oldest = bench.workload(0).pending().unwrap();
    assert!(oldest.since <= bench.now(0));
    let text = oldest.to_string();
    assert!(text.starts_with("client 1: ") && text.contains(" without outcome since "), "{text}");
    assert!(!bench.workload(0).connected());
}

#[test]
fn operations_of_a_closing_session_fail() {
    let mut bench = Bench::of(WorkloadKind::UniqueCreates, 1);
    bench.run(Span::secs(1));
    bench.down = true;
    bench.lose(0);
    bench.run(Span::secs(1));
    bench.terminate(0);
    bench.run(Span::secs(10));
    assert_eq!(bench.exit(0), Some(0));
    for fact in bench.said(0) {
        if let WorkloadFact::Completed { outcome: Outcome::Failed, code, .. } = fact {
            assert_eq!(*code, ErrorCode::SessionExpired);
        }
    }
}
