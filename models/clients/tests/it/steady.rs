//! What each kind does while nothing goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use clients::{OpKind, Outcome, WorkloadFact, WorkloadKind};
use jute::op::ErrorCode;
use machine::Span;

use crate::bench::{Bench, image, kinds};

#[test]
fn every_kind_sets_up_what_it_needs_and_works_at_its_rate() {
    for kind in kinds() {
        let mut bench = Bench::of(kind, 3);
        bench.run(Span::secs(10));
        let ends = bench.check_history();
        // Three operators may leave too few voters between them, and are refused.
        let is_right = |end| end == Outcome::Ok || end == Outcome::Failed && kind == WorkloadKind::Reconfigure;
        let ok: usize = ends.iter().filter(|((_, outcome), _)| is_right(*outcome)).map(|(_, count)| count).sum();
        let all: usize = ends.values().sum();
        assert_eq!(ok, all, "{}: {ends:?}", kind.name());
        // A process rests 20 ms behind an operation, and 100 ticks come in a second.
        assert!((300..6000).contains(&ok), "{}: {ok} operations of 3 clients in 10 s", kind.name());
        for at in 0..3 {
            assert!(bench.workload(at).is_set_up() && bench.workload(at).connected());
            assert_eq!(bench.count(at, |fact| matches!(fact, WorkloadFact::SetupDone { .. })), 1);
        }
    }
}

#[test]
fn several_processes_have_several_operations_open() {
    let mut images = vec![image(1, WorkloadKind::CompareAndSet)];
    images[0].processes = 4;
    let mut bench = Bench::new(images);
    bench.run(Span::secs(5));
    bench.check_history();
    let processes: BTreeSet<_> = bench
        .said(0)
        .filter_map(|fact| match fact {
            WorkloadFact::Invoked { process, .. } => Some(*process),
            _ => None,
        })
        .collect();
    assert!(processes.len() > 1);
}

#[test]
fn registers_see_each_version_once() {
    let mut bench = Bench::of(WorkloadKind::CompareAndSet, 3);
    bench.run(Span::secs(20));
    let mut versions = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for fact in bench.all_said() {
        if let WorkloadFact::Completed { kind, path, code: ErrorCode::Ok, version: Some(version), .. } = fact {
            kinds.insert(*kind);
            if *kind == OpKind::SetData {
                assert!(versions.insert((path.to_string(), version.value())), "{path} got version {version} twice");
            }
        }
    }
    assert!(versions.len() > 100);
    let demanded = bench
        .all_said()
        .filter(|fact| matches!(fact, WorkloadFact::Invoked { kind: OpKind::SetData, version: Some(_), .. }));
    assert!(demanded.count() > versions.len() / 2, "most writes demand the version they have read");
    assert!(kinds.contains(&OpKind::SyncGetData) && kinds.contains(&OpKind::GetData));
}

#[test]
fn values_are_never_written_twice() {
    let mut bench = Bench::of(WorkloadKind::UniqueCreates, 3);
    bench.run(Span::secs(10));
    let mut values = BTreeSet::new();
    for fact in bench.all_said() {
        if let WorkloadFact::Invoked { value: Some(value), .. } = fact {
            assert!(values.insert(*value), "{value:#x} is written twice");
        }
    }
    let deleted = bench.check_history().get(&(OpKind::Delete, Outcome::Ok)).copied();
    assert!(deleted.is_some_and(|deleted| deleted > 10));
}

#[test]
fn what_was_created_and_not_deleted_is_there() {
    let mut bench = Bench::of(WorkloadKind::UniqueCreates, 2);
    bench.run(Span::secs(10));
    let mut there = BTreeMap::new();
    for fact in bench.all_said() {
        match fact {
            WorkloadFact::Completed { kind: OpKind::Create, path, code: ErrorCode::Ok, .. } => {
                there.insert(path.to_string(), true);
            }
            WorkloadFact::Completed { kind: OpKind::Delete, path, .. } => drop(there.insert(path.to_string(), false)),
            _ => {}
        }
    }
    for (path, there) in there {
        assert_eq!(bench.tree.znodes.contains_key(&path), there, "{path}");
    }
}

#[test]
fn counters_of_a_pair_stay_equal_and_some_multis_are_refused() {
    let mut bench = Bench::of(WorkloadKind::Multi, 3);
    bench.run(Span::secs(20));
    for pair in 0..3 {
        let dir = "/work/of/clients/multi";
        let left = bench.tree.version(&format!("{dir}/a{pair}"));
        assert_eq!(left, bench.tree.version(&format!("{dir}/b{pair}")));
        assert!(left.value() > 10);
    }
    let refused = bench.all_said().filter(|fact| {
        matches!(fact, WorkloadFact::Completed { kind: OpKind::Multi, code: ErrorCode::BadVersion, .. })
    });
    assert!(refused.count() > 5);
    let parts: Vec<_> = bench
        .all_said()
        .filter_map(|fact| match fact {
            WorkloadFact::MultiResult { code: ErrorCode::Ok, mzxid: Some(mzxid), version, .. } => {
                Some((mzxid, version))
            }
            _ => None,
        })
        .collect();
    for two in parts.chunks(2) {
        assert_eq!(two[0], two[1], "both parts of a multi have one zxid and one version");
    }
    assert!(bench.all_said().any(|fact| matches!(fact, WorkloadFact::PairRead { .. })));
}

#[test]
fn sequential_paths_are_told_as_they_were_made() {
    let mut bench = Bench::of(WorkloadKind::Sequentials, 3);
    bench.run(Span::secs(10));
    let mut made = BTreeMap::new();
    for fact in bench.all_said() {
        if let WorkloadFact::Completed { kind, path, code: ErrorCode::Ok, czxid: Some(czxid), .. } = fact
            && matches!(kind, OpKind::CreateSequential | OpKind::CreateEphemeralSequential)
        {
            made.insert(*czxid, path[path.len() - 10..].to_owned());
        }
    }
    let numbers: Vec<_> = made.values().collect();
    assert!(numbers.len() > 50 && numbers.is_sorted(), "numbers grow with the zxid");
}

#[test]
fn watches_are_set_and_see_the_changes_of_others() {
    let mut bench = Bench::of(WorkloadKind::Watches, 3);
    bench.run(Span::secs(20));
    let kinds: BTreeSet<_> = bench.check_history().into_keys().map(|(kind, _)| kind).collect();
    let expected =
        [OpKind::Create, OpKind::Delete, OpKind::Exists, OpKind::GetData, OpKind::SetData, OpKind::GetChildren];
    assert_eq!(kinds, expected.into_iter().collect());
    let mut consumed = BTreeSet::new();
    for at in 0..3 {
        for fact in bench.session_said(at) {
            if let zkclient::ZkClientFact::WatchDelivered { consumed: kinds, .. } = fact {
                consumed.insert(kinds.name());
            }
        }
    }
    for kind in ["data", "exist", "child"] {
        assert!(consumed.contains(kind), "{kind} among {consumed:?}");
    }
}

#[test]
fn stopped_client_is_quiet_and_its_probe_succeeds() {
    for kind in kinds() {
        let mut images = vec![image(1, kind), image(2, kind)];
        for image in &mut images {
            image.stop_after = Some(Span::secs(3));
            image.probe_after = Some(Span::secs(5));
        }
        let mut bench = Bench::new(images);
        // The rig's clock begins at 1 s.
        bench.run(Span::millis(4000));
        for at in 0..2 {
            assert!(!bench.workload(at).probed() && bench.workload(at).wants_probe());
            assert_eq!(bench.workload(at).pending(), None, "{}", kind.name());
        }
        let before: usize = bench.check_history().values().sum();
        bench.run(Span::millis(990));
        assert_eq!(bench.check_history().values().sum::<usize>(), before, "{} is quiet", kind.name());
        bench.run(Span::millis(100));
        for at in 0..2 {
            assert!(bench.workload(at).probed());
            assert_eq!(bench.count(at, |fact| matches!(fact, WorkloadFact::ProbeSucceeded { attempts: 1, .. })), 1);
        }
        assert_eq!(bench.check_history().values().sum::<usize>(), before + 2, "one write each");
    }
}

#[test]
fn terminated_client_closes_its_session_and_exits() {
    let mut bench = Bench::of(WorkloadKind::Ephemerals, 2);
    bench.run(Span::secs(5));
    let session = bench.workload(0).session().session();
    let owned =
        |bench: &Bench| bench.tree.znodes.values().filter(|znode| znode.stat.ephemeral_owner == session).count();
    assert!(owned(&bench) > 0);
    bench.terminate(0);
    assert_eq!(bench.exit(0), Some(0));
    assert_eq!(owned(&bench), 0);
    bench.run(Span::secs(1));
    assert_eq!(bench.exit(1), None);
}

#[test]
fn same_seed_says_the_same() {
    let run = || {
        let mut bench = Bench::of(WorkloadKind::Lock, 3);
        bench.run(Span::secs(3));
        format!("{:?}", bench.all_said().collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}
