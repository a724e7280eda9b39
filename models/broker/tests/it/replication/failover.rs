//! Leader changes: where followers cut their logs, worked examples of KIP-101 and KIP-279, fetcher errors (§5.10, §12.1).

use broker::Defect;
use broker::fact::KafkaFact;
use broker::replication::FetchPhase;
use kafkawire::ErrorCode;
use machine::Span;
use machine::disk::CrashModel;

use crate::replication::bench::{Bench, State, orders};

/// Two replicas, broker 1 leads.
fn pair(defects: &[Defect]) -> Bench {
    let mut bench = Bench::with(2, defects, &|_| {});
    bench.elect(&two(1, 0));
    bench
}

fn two(leader: i32, epoch: i32) -> State {
    State::new(leader, epoch).replicas(&[1, 2]).isr(&[1, 2])
}

/// S01: a follower that restarts before it has learnt the high watermark is elected before it fetches again.
fn restart_and_elect_the_follower(bench: &mut Bench) -> Vec<String> {
    let first = bench.produce(1, "m1", -1);
    assert_eq!(bench.produced(1, first).0, ErrorCode::None);
    bench.advance(Span::millis(5100));
    let second = bench.produce(1, "m2", -1);
    assert_eq!(bench.produced(1, second).0, ErrorCode::None, "the client was told that m2 is safe");
    assert_eq!(bench.high_watermark(2), 1, "the follower has not heard of it");
    bench.kill(2);
    bench.boot(2);
    bench.tell_alive(&[1, 2]);
    // It becomes a follower, but its leader dies before the first answer.
    bench.cut(1, 2);
    assert_eq!(bench.tell(2, &two(1, 1)), ErrorCode::None);
    bench.kill(1);
    bench.elect(&two(2, 2).isr(&[2]));
    bench.boot(1);
    bench.tell_alive(&[1, 2]);
    bench.heal();
    bench.elect(&two(2, 3).isr(&[2]));
    bench.advance(Span::secs(3));
    assert_eq!(bench.values(1), bench.values(2), "the old leader agrees with the new one");
    bench.values(2)
}

#[test]
fn a_restarted_follower_keeps_what_was_acknowledged() {
    assert_eq!(restart_and_elect_the_follower(&mut pair(&[])), ["m1", "m2"]);
}

#[test]
fn truncation_to_the_high_watermark_loses_what_was_acknowledged() {
    let mut bench = pair(&[Defect::TruncateToHighWatermark]);
    assert_eq!(restart_and_elect_the_follower(&mut bench), ["m1"], "KAFKA-1211");
}

/// S02: both lose power, the one with the shorter log comes back first and writes over what the other still has.
fn diverge(bench: &mut Bench) -> (Vec<String>, Vec<String>) {
    bench.produce(1, "m1", -1);
    bench.produce(1, "m2", -1);
    bench.advance(Span::millis(5100));
    assert_eq!((bench.high_watermark(1), bench.high_watermark(2)), (2, 2));
    bench.kill(1);
    // All that broker 2 had not flushed is lost, but its checkpoint is not.
    bench.lose_power(2, CrashModel::AllUnsyncedLost);
    bench.boot(2);
    bench.tell_alive(&[2]);
    bench.elect(&two(2, 1).isr(&[2]));
    assert_eq!(bench.log_end(2), 0);
    bench.produce(2, "m1'", 1);
    bench.produce(2, "m2'", 1);
    bench.produce(2, "m3'", 1);
    bench.boot(1);
    bench.tell_alive(&[1, 2]);
    bench.elect(&two(2, 2).isr(&[2]));
    bench.advance(Span::secs(3));
    (bench.values(1), bench.values(2))
}

#[test]
fn a_replica_that_was_written_over_takes_the_leaders_records() {
    let (first, second) = diverge(&mut pair(&[]));
    assert_eq!(second, ["m1'", "m2'", "m3'"]);
    assert_eq!(first, second);
}

#[test]
fn truncation_to_the_high_watermark_lets_logs_diverge() {
    let (first, second) = diverge(&mut pair(&[Defect::TruncateToHighWatermark]));
    assert_eq!(second, ["m1'", "m2'", "m3'"]);
    assert_eq!(first, ["m1", "m2", "m3'"], "KIP-101, scenario 2");
}

#[test]
fn an_epoch_the_leader_never_had_is_asked_about_again() {
    // KIP-279: 1 writes a in epoch 1; 2 leads epoch 2 and writes b, c alone; 1 leads epoch 3 and writes d, e alone.
    let mut bench = pair(&[]);
    bench.elect(&two(1, 1));
    bench.produce(1, "a", -1);
    bench.advance(Span::millis(600));
    bench.kill(1);
    bench.elect(&two(2, 2).isr(&[2]));
    bench.produce(2, "b", 1);
    bench.produce(2, "c", 1);
    bench.kill(2);
    bench.boot(1);
    bench.tell_alive(&[1]);
    bench.elect(&two(1, 3).isr(&[1]));
    bench.produce(1, "d", 1);
    bench.produce(1, "e", 1);
    bench.boot(2);
    bench.tell_alive(&[1, 2]);
    bench.take_facts(2);
    bench.elect(&two(1, 4).isr(&[1]));
    bench.advance(Span::secs(3));
    assert_eq!(bench.values(2), ["a", "d", "e"]);
    assert_eq!(bench.values(1), ["a", "d", "e"]);
    assert!(bench.has_mark("broker-divergent-tail-truncated"));
    let cuts: Vec<_> = bench
        .take_facts(2)
        .into_iter()
        .filter_map(|fact| if let KafkaFact::Truncated { from, to, .. } = fact { Some((from.0, to.0)) } else { None })
        .collect();
    assert_eq!(cuts, [(3, 1)]);
}

#[test]
fn logs_with_interleaved_epochs_are_compared_epoch_by_epoch() {
    // The follower has epochs 1, 3, 5, the leader 2, 4, 6: it takes more than one question to get to the bottom.
    let mut bench = pair(&[]);
    bench.produce(1, "a", -1);
    bench.advance(Span::millis(600));
    for (epoch, leader, other) in [(1, 1, 2), (2, 2, 1), (3, 1, 2), (4, 2, 1), (5, 1, 2), (6, 2, 1)] {
        if bench.nodes[&other].is_up() {
            bench.kill(other);
        }
        if !bench.nodes[&leader].is_up() {
            bench.boot(leader);
        }
        bench.tell_alive(&[leader]);
        bench.elect(&two(leader, epoch).isr(&[leader]));
        bench.produce(leader, &format!("of-{epoch}"), 1);
    }
    bench.boot(1);
    bench.tell_alive(&[1, 2]);
    bench.elect(&two(2, 7).isr(&[2]));
    bench.advance(Span::secs(3));
    assert_eq!(bench.values(2), ["a", "of-2", "of-4", "of-6"]);
    assert_eq!(bench.values(1), ["a", "of-2", "of-4", "of-6"]);
    assert!(bench.has_mark("broker-truncation-asked-again"));
}

#[test]
fn an_epoch_without_records_does_not_keep_a_follower_asking() {
    // KAFKA-10706: 2 begins epoch 1, writes nothing, and follows again a leader that never heard of epoch 1.
    let mut bench = pair(&[]);
    bench.produce(1, "a", -1);
    bench.cut(1, 2);
    assert_eq!(bench.tell(2, &two(2, 1)), ErrorCode::None);
    bench.heal();
    bench.elect(&two(1, 2));
    let request = bench.produce(1, "b", -1);
    assert_eq!(bench.produced(1, request).0, ErrorCode::None, "the follower follows");
    assert_eq!(bench.values(2), ["a", "b"]);
}

#[test]
fn an_answer_about_an_earlier_epoch_is_ignored() {
    // KAFKA-7786: two LeaderAndIsr in a row, the question of the first one on its way.
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    assert_eq!(bench.tell(2, &State::new(1, 1)), ErrorCode::None);
    // The fetch of epoch 0 ends; the leader has not heard of epoch 1, so the follower will ask again.
    bench.advance(Span::millis(700));
    bench.cut(1, 2);
    bench.advance(Span::millis(1000));
    for (id, epoch) in [(1, 1), (2, 2), (1, 2)] {
        assert_eq!(bench.tell(id, &State::new(1, epoch)), ErrorCode::None);
    }
    // Now the leader hears the question of epoch 1, and fences it.
    bench.heal();
    bench.advance(Span::secs(3));
    bench.produce(1, "b", 1);
    assert_eq!(bench.values(2), ["a", "b"], "the follower was not given up");
}

#[test]
fn a_fenced_follower_waits_for_leader_and_isr() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    assert_eq!(bench.tell(1, &State::new(1, 1)), ErrorCode::None);
    bench.advance(Span::secs(3));
    bench.produce(1, "b", 1);
    assert_eq!(bench.log_end(2), 1, "it fetches in epoch 0, and was fenced");
    assert!(bench.manager(2).pending().iter().any(|text| text.contains("does not fetch from its leader 1")));
    assert_eq!(bench.tell(2, &State::new(1, 1)), ErrorCode::None);
    bench.settle();
    assert_eq!(bench.values(2), ["a", "b"]);
}

#[test]
fn a_follower_ahead_of_its_leaders_epoch_tries_again_after_a_pause() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    assert_eq!(bench.tell(2, &State::new(1, 1)), ErrorCode::None);
    bench.produce(1, "a", 1);
    bench.advance(Span::millis(900));
    assert_eq!(bench.log_end(2), 0, "the leader does not know the epoch yet");
    assert_eq!(bench.tell(1, &State::new(1, 1)), ErrorCode::None);
    bench.advance(Span::millis(200));
    assert_eq!(bench.values(2), ["a"]);
}

#[test]
fn a_leader_that_is_down_is_dialled_again_after_a_pause() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    bench.kill(1);
    bench.advance(Span::secs(5));
    assert!(bench.manager(2).fetchers().all(|fetcher| !fetcher.is_connected));
    bench.boot(1);
    bench.tell_alive(&[1, 2, 3]);
    bench.write_state(&State::new(1, 1));
    assert_eq!(bench.tell(1, &State::new(1, 1)), ErrorCode::None);
    assert_eq!(bench.tell(2, &State::new(1, 1)), ErrorCode::None);
    bench.advance(Span::secs(2));
    bench.produce(1, "b", 1);
    assert_eq!(bench.values(2), ["a", "b"]);
}

#[test]
fn a_follower_beyond_its_leaders_end_is_cut_to_it() {
    // An unclean election: 2 is behind, leads, and 1 has more. Without epochs only OFFSET_OUT_OF_RANGE tells.
    let mut bench = Bench::with(2, &[Defect::TruncateToHighWatermark], &|_| {});
    bench.elect(&two(1, 0));
    bench.produce(1, "a", -1);
    bench.advance(Span::millis(600));
    bench.kill(2);
    bench.elect(&two(1, 1).isr(&[1]));
    for value in ["b", "c", "d"] {
        bench.produce(1, value, -1);
    }
    assert_eq!(bench.high_watermark(1), 4);
    bench.boot(2);
    bench.tell_alive(&[1, 2]);
    bench.cut(1, 2);
    bench.write_state(&two(2, 2).isr(&[2]));
    for id in [2, 1] {
        assert_eq!(bench.tell(id, &two(2, 2).isr(&[2])), ErrorCode::None);
    }
    assert_eq!(bench.values(1), ["a", "b", "c", "d"], "its own high watermark is its end");
    bench.heal();
    bench.advance(Span::secs(2));
    assert_eq!(bench.values(1), ["a"]);
    bench.produce(2, "e", 1);
    assert_eq!(bench.values(1), ["a", "e"]);
}

#[test]
fn a_leader_that_grew_meanwhile_does_not_make_its_follower_start_over() {
    // KAFKA-2143: the fetch is out of range, but when the follower asks the leader's end is beyond its own.
    let mut bench = Bench::with(2, &[Defect::TruncateToHighWatermark], &|_| {});
    bench.elect(&two(1, 0));
    bench.produce(1, "a", -1);
    bench.advance(Span::millis(600));
    bench.kill(2);
    bench.elect(&two(1, 1).isr(&[1]));
    bench.produce(1, "b", -1);
    bench.boot(2);
    bench.tell_alive(&[1, 2]);
    bench.write_state(&two(2, 2).isr(&[2]));
    assert_eq!(bench.tell(2, &two(2, 2).isr(&[2])), ErrorCode::None);
    // Broker 1 fetches from 2 and finds 2 to be beyond the leader's 1; the answer is on its way when the leader grows.
    bench.cut(1, 2);
    assert_eq!(bench.tell(1, &two(2, 2).isr(&[2])), ErrorCode::None);
    bench.let_through(1, 2, 2);
    for value in ["c", "d", "e"] {
        bench.produce(2, value, 1);
    }
    bench.heal();
    bench.advance(Span::secs(2));
    assert_eq!(bench.values(2), ["a", "c", "d", "e"]);
    assert_eq!(bench.values(1), ["a", "b", "d", "e"], "its log was kept: what is wrong in it is KIP-101's doing");
}

#[test]
fn several_partitions_of_a_leader_share_one_fetcher_or_are_spread_over_more() {
    let mut bench = Bench::with(3, &[], &|config| config.num_replica_fetchers = 3);
    for partition in 0..9 {
        let tp = kafkawire::TopicPartition::new("orders", partition);
        bench.elect(&State::new(1, 0).of(tp));
    }
    let spread: Vec<usize> = bench.manager(2).fetchers().map(|fetcher| fetcher.partitions.len()).collect();
    assert_eq!(spread, [3, 3, 3]);
    bench.produce(1, "a", -1);
    bench.advance(Span::secs(1));
    let of_orders = bench.manager(2).fetchers().flat_map(|fetcher| fetcher.partitions).find(|(tp, ..)| *tp == orders());
    let (_, phase, offset, epoch) = of_orders.unwrap();
    assert_eq!((phase, offset.0, epoch.0), (FetchPhase::Fetching, 1, 0));
    for partition in 0..9 {
        let tp = kafkawire::TopicPartition::new("orders", partition);
        bench.elect(&State::new(2, 1).of(tp));
    }
    assert_eq!(bench.manager(2).fetchers().count(), 0, "idle fetchers end");
    assert_eq!(bench.manager(3).fetchers().map(|fetcher| fetcher.leader.0).collect::<Vec<_>>(), [2, 2, 2]);
}
