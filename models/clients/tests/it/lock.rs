//! The lock recipe: one holder at a time, by its tokens, whatever is lost.

use std::collections::BTreeMap;

use clients::{OpKind, Stored, WorkloadFact, WorkloadKind};
use jute::client::{Request, SetDataRequest};
use jute::{SessionId, Version};
use machine::Span;

use crate::bench::{Bench, Cut, image};

const DIR: &str = "/work/of/clients/lock";
const RESOURCE: &str = "/work/of/clients/lock-resource";

fn holders(bench: &Bench) -> Vec<u64> {
    let mut holders = Vec::new();
    for at in 0..3 {
        let mut held = None;
        for fact in bench.said(at) {
            match fact {
                WorkloadFact::LockAcquired { token, .. } => {
                    assert_eq!(held.replace(*token), None, "a client holds the lock once");
                }
                WorkloadFact::LockReleased { token, .. } => assert_eq!(held.take(), Some(*token)),
                _ => {}
            }
        }
        holders.extend(held);
    }
    holders
}

fn acquired(bench: &Bench, at: usize) -> usize {
    bench.count(at, |fact| matches!(fact, WorkloadFact::LockAcquired { .. }))
}

/// Accepted writes, in the order of their versions, have tokens that do not fall.
fn check_resource(bench: &Bench) -> usize {
    let mut writes = BTreeMap::new();
    for fact in bench.all_said() {
        if let WorkloadFact::ResourceWrite { accepted: true, token, version: Some(version), .. } = fact {
            assert!(writes.insert(version.value(), *token).is_none(), "version {version} was written twice");
        }
    }
    let tokens: Vec<_> = writes.values().copied().collect();
    assert!(tokens.is_sorted(), "tokens fall: {tokens:?}");
    tokens.len()
}

#[test]
fn contenders_hold_the_lock_one_at_a_time_and_all_get_it() {
    let mut bench = Bench::of(WorkloadKind::Lock, 3);
    for _ in 0..10_000 {
        bench.run(Span::millis(1));
        assert!(holders(&bench).len() <= 1);
    }
    for at in 0..3 {
        assert!(acquired(&bench, at) > 10, "{} times", acquired(&bench, at));
    }
    assert!(check_resource(&bench) > 20);
}

#[test]
fn znode_whose_create_was_lost_after_it_was_applied_is_found_again() {
    let mut bench = Bench::of(WorkloadKind::Lock, 3);
    bench.run(Span::secs(1));
    bench.cut_at(0, OpKind::CreateEphemeralSequential, Cut::AfterApply);
    bench.run_until(|bench| bench.is_cut(0));
    let session = bench.workload(0).session().session();
    let own = |bench: &Bench| {
        bench.tree.children(DIR).iter().filter(|name| name.starts_with(&format!("x-{:x}-", session.value()))).count()
    };
    assert_eq!(own(&bench), 1);
    let before = acquired(&bench, 0);
    let creates = |bench: &Bench| {
        bench.count(0, |fact| matches!(fact, WorkloadFact::Invoked { kind: OpKind::CreateEphemeralSequential, .. }))
    };
    let created = creates(&bench);
    bench.run_until(|bench| acquired(bench, 0) > before);
    assert_eq!(creates(&bench), created, "it holds the znode of the create that was lost");
    bench.run(Span::secs(5));
    assert!(own(&bench) <= 1);
    check_resource(&bench);
}

#[test]
fn create_that_was_lost_before_it_was_applied_is_tried_anew() {
    let mut bench = Bench::of(WorkloadKind::Lock, 3);
    bench.run(Span::secs(1));
    bench.cut_at(0, OpKind::CreateEphemeralSequential, Cut::BeforeApply);
    bench.run_until(|bench| bench.is_cut(0));
    let before = acquired(&bench, 0);
    bench.run_until(|bench| acquired(bench, 0) > before);
    check_resource(&bench);
}

#[test]
fn delete_that_was_lost_is_repeated_until_the_znode_is_gone() {
    for cut in [Cut::BeforeApply, Cut::AfterApply] {
        let mut bench = Bench::of(WorkloadKind::Lock, 3);
        bench.run(Span::secs(1));
        bench.cut_at(0, OpKind::Delete, cut);
        bench.run_until(|bench| bench.is_cut(0));
        let others = acquired(&bench, 1) + acquired(&bench, 2);
        bench.run(Span::secs(5));
        assert!(acquired(&bench, 1) + acquired(&bench, 2) > others + 10, "{cut:?}: nobody is kept out");
        check_resource(&bench);
    }
}

#[test]
fn holder_whose_session_expires_says_so_and_starts_over_with_a_greater_token() {
    let mut images: Vec<_> = (1..=3).map(|client| image(client, WorkloadKind::Lock)).collect();
    for image in &mut images {
        // Longer than a client takes to find out that its session is over.
        image.think = Span::secs(3);
    }
    let mut bench = Bench::new(images);
    bench.run_until(|bench| {
        let held = bench.count(0, |fact| matches!(fact, WorkloadFact::LockReleased { .. }));
        acquired(bench, 0) > held
    });
    let token_of = |bench: &Bench| {
        bench
            .said(0)
            .filter_map(|fact| match fact {
                WorkloadFact::LockAcquired { token, session, .. } => Some((*token, *session)),
                _ => None,
            })
            .last()
            .expect("it held the lock")
    };
    let (first, session) = token_of(&bench);
    bench.expire(0);
    let before = acquired(&bench, 0);
    bench.run_until(|bench| acquired(bench, 0) > before);
    let (second, successor) = token_of(&bench);
    assert!(second > first && successor != session);
    assert_eq!(bench.count(0, |fact| matches!(fact, WorkloadFact::LockReleased { expired: true, .. })), 1);
    check_resource(&bench);
}

#[test]
fn waiting_contender_is_woken_although_it_was_disconnected_when_the_holder_left() {
    let mut bench = Bench::of(WorkloadKind::Lock, 2);
    for _ in 0..20 {
        bench.run(Span::millis(333));
        bench.lose(0);
        bench.lose(1);
    }
    let before = (acquired(&bench, 0), acquired(&bench, 1));
    bench.run(Span::secs(5));
    assert!(acquired(&bench, 0) > before.0 && acquired(&bench, 1) > before.1);
    check_resource(&bench);
}

#[test]
fn resource_that_has_seen_a_greater_token_refuses_and_the_holder_gives_up() {
    let mut bench = Bench::of(WorkloadKind::Lock, 1);
    bench.run(Span::secs(1));
    let data = Stored { value: 1, token: 1_000_000 }.encode(RESOURCE);
    let set = Request::SetData(SetDataRequest { path: RESOURCE.to_owned(), data, version: Version::ANY });
    bench.tree.apply(SessionId::ZERO, &set, &mut Vec::new()).unwrap();
    let before = bench.all_said().count();
    bench.run(Span::secs(2));
    let refused = bench.said(0).skip(before).any(|fact| {
        matches!(fact, WorkloadFact::ResourceWrite { accepted: false, seen: 1_000_000, version: Some(_), .. })
    });
    assert!(refused);
    let accepted =
        bench.said(0).skip(before).any(|fact| matches!(fact, WorkloadFact::ResourceWrite { accepted: true, .. }));
    assert!(!accepted, "nothing is written under a smaller token");
}

#[test]
fn stopped_contender_leaves_no_znode_although_its_delete_was_lost() {
    for cut in [Cut::BeforeApply, Cut::AfterApply] {
        let mut images: Vec<_> = (1..=3).map(|client| image(client, WorkloadKind::Lock)).collect();
        for image in &mut images {
            image.stop_after = Some(Span::secs(2));
        }
        let mut bench = Bench::new(images);
        bench.run(Span::millis(1900));
        for at in 0..3 {
            bench.cut_at(at, OpKind::Delete, cut);
        }
        bench.run(Span::secs(10));
        assert_eq!(bench.tree.children(DIR), [""; 0], "{cut:?}");
        assert_eq!(holders(&bench), [0_u64; 0]);
    }
}
