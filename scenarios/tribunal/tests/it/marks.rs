//! The marks of the judges are reached by a scenario that is about them.

use tribunal::{Changes, Prepared, Source};

#[test]
fn controllers_that_die_reach_what_no_machine_can_know_alone() {
    let source = Source::catalogue("controller-crash").unwrap();
    let prepared = Prepared::new(&source, &Changes::default()).unwrap();
    let seed = tribunal::one(&prepared, 7);
    for name in [
        "controller-elected-with-elections-due",
        "controller-died-before-telling",
        "leader-died-with-uncommitted-records-replicated",
        "leader-died-with-uncommitted-records-alone",
        "new-leader-behind-true-high-watermark",
        "deposed-leader-isr-change-refused",
        "leader-epoch-without-records",
        "preferred-leader-back-under-load",
    ] {
        assert!(seed.marks.get(name).is_some_and(|&times| times > 0), "{name} was not reached");
    }
}
