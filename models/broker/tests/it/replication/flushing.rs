//! `flush.messages`: answers that wait for the disk.

use kafkawire::{ErrorCode, Offset};

use crate::replication::asking::{leader_and_isr, produce, set_topic};
use crate::replication::bench::{Bench, State, orders};

fn flushed_at_once() -> Bench {
    let mut bench = Bench::new(3);
    set_topic(&mut bench, "orders", &[("flush.messages", "1")]);
    bench.elect(&State::new(1, 0));
    bench.disk_answers = false;
    bench
}

#[test]
fn a_produce_is_answered_when_its_record_is_durable() {
    let mut bench = flushed_at_once();
    let first = bench.produce(1, "a", 1);
    let second = bench.ask_only(1, produce(&orders(), "b", 1));
    let demotion = bench.ask_only(1, leader_and_isr(&[State::new(2, 1)]));
    bench.settle();
    assert!(bench.answer(1, first).is_none());
    assert_eq!(bench.log_end(1), 1, "the next append waits for the log");
    assert!(bench.manager(1).partition(&orders()).unwrap().leading().is_some(), "and so does a change of its role");
    bench.disk_answers = true;
    bench.settle();
    assert_eq!(bench.produced(1, first), (ErrorCode::None, Offset(0)));
    assert_eq!(bench.produced(1, second), (ErrorCode::None, Offset(1)));
    assert!(bench.answer(1, demotion).is_some());
    assert!(bench.manager(1).partition(&orders()).unwrap().leading().is_none());
}

#[test]
fn followers_read_an_append_that_is_being_flushed_and_ask_on_when_they_are_durable_themselves() {
    let mut bench = flushed_at_once();
    let request = bench.produce(1, "a", -1);
    assert_eq!((bench.log_end(2), bench.log_end(3)), (0, 0), "the fetch that waits is told when the append returns");
    while bench.answer(1, request).is_none() {
        assert!(bench.sync_once(), "the disk has nothing left to do");
        bench.settle();
        let durable = |id: i32| bench.manager(id).log(&orders()).unwrap().recovery_point().0;
        if bench.high_watermark(1) == 1 {
            assert_eq!((durable(1), durable(2), durable(3)), (1, 1, 1), "committed means durable on all");
        }
    }
    assert_eq!(bench.high_watermark(1), 1);
}
