//! E25, V04 to V08, E21.

use std::collections::BTreeMap;

use super::*;
use crate::kafka::{CachedPartition, ClusterLook};

/// What hosts would show.
struct Show {
    broken: Vec<usize>,
    down: Vec<usize>,
    alive: BTreeMap<u32, Vec<BrokerId>>,
    version: i32,
    isr: Vec<BrokerId>,
}

impl Show {
    fn right(stage: &Stage) -> Self {
        let all: Vec<BrokerId> = (0..3).map(id).collect();
        let alive = (0..3).map(|host| (host, all.clone())).collect();
        Self { broken: Vec::new(), down: Vec::new(), alive, version: stage.version, isr: all }
    }
}

impl ClusterLook for Show {
    fn is_meant(&self, host: HostId) -> bool {
        !self.broken.contains(&(host.0 as usize))
    }

    fn is_running(&self, host: HostId) -> bool {
        !self.down.contains(&(host.0 as usize))
    }

    fn alive(&self, host: HostId) -> Vec<BrokerId> {
        self.alive[&host.0].clone()
    }

    fn cached(&self, _: HostId, partition: &TopicPartition) -> Option<CachedPartition<'_>> {
        assert_eq!(*partition, orders());
        let (leader, leader_epoch) = (Some(id(0)), LeaderEpoch(0));
        Some(CachedPartition { leader, leader_epoch, isr: &self.isr, version: self.version })
    }

    fn waits_for(&self, _: HostId) -> Option<String> {
        None
    }
}

/// Two records that everybody has, and knows to be committed.
fn settled() -> Stage {
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.high_watermark(1, false, 0, 2);
    stage.high_watermark(2, false, 0, 2);
    assert_eq!(unsettled(&mut stage), None);
    stage
}

fn unsettled(stage: &mut Stage) -> Option<String> {
    let show = Show::right(stage);
    look(stage, &show)
}

fn look(stage: &mut Stage, show: &Show) -> Option<String> {
    let now = stage.moment(0);
    stage.oracle.unsettled(now, show)
}

#[track_caller]
fn assert_waits(what: Option<String>, begins: &str) {
    let what = what.expect("something is not right");
    assert!(what.starts_with(begins), "{what}");
}

#[test]
fn e25_comes_first() {
    let mut stage = settled();
    let mut show = Show::right(&stage);
    show.down.push(1);
    assert_waits(look(&mut stage, &show), "E25 ephemeral-registration: b2 does not run");
    stage.close_session(session_of(2));
    assert_waits(unsettled(&mut stage), "E25 ephemeral-registration: b3 runs and is not registered");
    stage.register(2, session(0x202));
    assert_eq!(unsettled(&mut stage), None);
    stage.oracle.session_connected(HostId(2), session(0x302));
    assert_waits(unsettled(&mut stage), "E25 ephemeral-registration: b3 is registered by session 0x202");
}

#[test]
fn e25_knows_who_does_not_try_again() {
    // The session in between created the znode, and ended before the broker was told so.
    let mut stage = settled();
    for broker in 0..3 {
        stage.oracle.broker_serves(broker);
    }
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    stage.close_session(session_of(2));
    assert_waits(unsettled(&mut stage), "E25 ephemeral-registration: b3 runs and is not registered");
    stage.oracle.session_connected(HostId(2), session(0x302));
    let moment = stage.moment(2);
    stage.oracle.registration_refused(moment, 2, session(0x302), session(0x202), &mut stage.findings);
    assert_eq!((stage.fired(), stage.relaxed("E25")), (Vec::new(), 0));
    unsettled(&mut stage);
    assert_eq!(stage.relaxed("E25"), 1);
    // Its next session ends.
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    assert_waits(unsettled(&mut stage), "E25 ephemeral-registration: b3 runs and is not registered");
}

#[test]
fn e25_knows_that_nobody_listens_before_the_controller_is_started() {
    let mut stage = settled();
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    stage.close_session(session_of(2));
    unsettled(&mut stage);
    assert_eq!(stage.relaxed("E25"), 1);
}

#[test]
fn clients_do_not_wait_for_a_topic_that_zookeeper_lost() {
    let mut stage = settled();
    stage.oracle.history_retold(std::iter::empty());
    assert!(stage.oracle.partitions[0].assignment.is_empty() && stage.oracle.partitions[0].zk.is_none());
    for broker in 0..3 {
        stage.register(broker, session_of(broker));
        stage.oracle.controls(broker, None);
    }
    stage.claim(0, session_of(0), 1);
    assert_eq!(unsettled(&mut stage), None);
    assert_eq!(stage.relaxed("V08"), 1);
}

#[test]
fn v04_wants_the_one_controller_that_zookeeper_names() {
    let mut stage = settled();
    stage.oracle.controls(2, Some(ControllerEpoch(1)));
    assert_waits(unsettled(&mut stage), "V04 one-controller: b3 acts as controller of epoch 1");
    stage.oracle.controls(2, None);
    stage.oracle.controls(0, None);
    assert_waits(unsettled(&mut stage), "V04 one-controller: ZooKeeper names b1");
    stage.commit(session(1), &[delete(znode::CONTROLLER)]);
    let mut unwatched = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..Stage::new() };
    let moment = stage.moment(1);
    stage.oracle.stands(moment, 1);
    assert_waits(unsettled(&mut stage), "V04 one-controller: no broker is controller");
    // Found by swarm-cluster, seed 4775: nobody's watch was set.
    unwatched.event = stage.event;
    assert_eq!((unsettled(&mut unwatched), unwatched.relaxed("V04")), (None, 1));
    unwatched.claim(1, session_of(1), 2);
    unwatched.oracle.controls(1, None);
    assert_waits(unsettled(&mut unwatched), "V04 one-controller: ZooKeeper names b2");
}

#[test]
fn v05_wants_a_leader_that_knows_it() {
    let mut stage = settled();
    stage.elect(None, 1, &[0, 1, 2]);
    assert_waits(
        unsettled(&mut stage),
        "V05 leaders-exist: orders-0 has no live leader though b1, b2, b3 could lead it",
    );
    stage.elect(Some(1), 2, &[0, 1, 2]);
    assert_waits(unsettled(&mut stage), "V05 leaders-exist: b2 does not know that it leads orders-0");
}

#[test]
fn v06_wants_every_live_replica_in_sync() {
    let mut stage = settled();
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    assert_waits(
        unsettled(&mut stage),
        "V06 isr-full: the ISR of orders-0 is b1, b2, and b3 is alive: it follows in epoch 0",
    );
}

#[test]
fn v06_knows_that_a_leader_puts_nobody_back_whom_it_does_not_miss() {
    let mut stage = settled();
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    // Its answer is under way.
    assert_waits(unsettled(&mut stage), "V06 isr-full: the ISR of orders-0 is b1, b2, and b3 is alive");
    // It went with the session.
    stage.close_session(session_of(0));
    stage.oracle.session_connected(HostId(0), session(0x300));
    stage.register(0, session(0x300));
    stage.commit(session(1), &[delete(znode::CONTROLLER)]);
    stage.claim(0, session(0x300), 2);
    stage.oracle.controls(0, Some(ControllerEpoch(2)));
    unsettled(&mut stage);
    assert_eq!(stage.relaxed("V06"), 1);
    // It was told, and misses the third.
    stage.oracle.isr_changed(0, "orders", 0, LeaderEpoch(0), "1,2");
    assert_waits(unsettled(&mut stage), "V06 isr-full: the ISR of orders-0 is b1, b2, and b3 is alive");
}

#[test]
fn v06_knows_that_nobody_appends_the_second_half_of_a_batch() {
    let outside = |is_straddling: bool| {
        let mut stage = Stage::led();
        stage.append(0, true, 0, 0, "a");
        stage.sync_log(0);
        for broker in 1..3 {
            stage.append(broker, false, 0, 0, "a");
        }
        stage.append(0, true, 1, 0, "lost");
        stage.append(2, false, 1, 0, "lost");
        stage.lose_power(0);
        stage.boot(0);
        stage.commit(session(1), &[delete(znode::CONTROLLER)]);
        stage.claim(1, session_of(1), 2);
        for (broker, epoch) in [(0, None), (1, Some(ControllerEpoch(2))), (2, None)] {
            stage.oracle.session_connected(HostId(broker), session_of(broker as usize));
            stage.oracle.controls(broker as usize, epoch);
        }
        stage.lead(0, 0);
        stage.append_records(0, true, 1, 0, if is_straddling { 2 } else { 1 }, "another");
        stage.write_state(session_of(0), &state(2, Some(0), 0, &[0, 1]));
        stage.oracle.isr_changed(0, "orders", 0, LeaderEpoch(0), "1,2");
        stage
    };
    assert_waits(unsettled(&mut outside(false)), "V06 isr-full: the ISR of orders-0 is b1, b2, and b3 is alive");
    let mut stage = outside(true);
    unsettled(&mut stage);
    assert_eq!(stage.relaxed("V06"), 1);
}

#[test]
fn e21_wants_metadata_that_is_zookeepers() {
    let mut stage = settled();
    let mut show = Show::right(&stage);
    show.version += 1;
    assert_waits(look(&mut stage, &show), "E21 controller-view-converges: b1 has an old state of orders-0");
    let mut show = Show::right(&stage);
    show.alive.insert(1, vec![id(0)]);
    assert_waits(look(&mut stage, &show), "E21 controller-view-converges: b2 believes");
    let path = format!("{}0000000001", znode::isr_change_prefix());
    stage.commit(session_of(2), &[create(&path, Bytes::new(), false)]);
    assert_waits(
        unsettled(&mut stage),
        "E21 controller-view-converges: /isr_change_notification/isr_change_0000000001",
    );
}

#[test]
fn v07_wants_replicas_that_are_equal_and_committed() {
    let mut stage = settled();
    stage.append(0, true, 2, 0, "a");
    assert_waits(unsettled(&mut stage), "V07 replicas-equal: b1 has orders-0 up to 3, with its high watermark at 2");
    stage.append(1, false, 2, 0, "a");
    stage.append(2, false, 2, 1, "x");
    assert_waits(unsettled(&mut stage), "V07 replicas-equal: b1 has");
    let mut stage = settled();
    stage.truncate(2, 1);
    stage.findings = Findings::new();
    assert_waits(unsettled(&mut stage), "V07 replicas-equal: b3 has orders-0 up to 1, and its leader up to 2");
}

#[test]
fn v08_wants_every_record_answered_and_everything_read() {
    let mut stage = settled();
    let moment = stage.moment(PRODUCER);
    stage.oracle.record_sent(moment, 7, "orders", 0);
    assert_waits(
        unsettled(&mut stage),
        "V08 clients-complete: 1 records have neither been acknowledged nor given up; 0:7",
    );
    let moment = stage.moment(PRODUCER);
    stage.oracle.record_acknowledged(moment, 7, "orders", 0, -1, 1, &mut stage.findings);
    assert_eq!(unsettled(&mut stage), None);
    let (moment, group) = (stage.moment(CONSUMER), Arc::from("g"));
    stage.oracle.partition_assigned(moment, 1, &group, "orders", 0, 1, &mut stage.findings);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: c2 has read orders-0 up to 1 of 2");
    let moment = stage.moment(CONSUMER);
    stage.oracle.record_consumed(moment, 1, "orders", 0, 1, 7, &mut stage.findings);
    assert_eq!(unsettled(&mut stage), None);
}

#[test]
fn v08_wants_probes_to_succeed() {
    let mut stage = Stage::with(|cluster| cluster.clients[0].probes = true).with_orders();
    stage.high_watermark(0, true, 0, 0);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: nothing new of c1 has succeeded");
    stage.oracle.probed(0);
    assert_eq!(unsettled(&mut stage), None);
}

#[test]
fn v08_does_not_wait_for_an_admin_that_waits_for_a_broker_that_gave_up() {
    let mut stage = Stage::with(|cluster| cluster.clients[0].kind = KafkaClientKind::Admin).with_orders();
    stage.high_watermark(0, true, 0, 0);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: c1 has not seen every topic");
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    stage.close_session(session_of(2));
    let alive = (0..3).map(|host| (host, vec![id(0), id(1)])).collect();
    let show = Show { isr: vec![id(0), id(1)], alive, ..Show::right(&stage) };
    assert_eq!((look(&mut stage, &show), stage.relaxed("V08")), (None, 1));
}

#[test]
fn v08_does_not_wait_for_a_client_whose_brokers_are_all_broken_for_good() {
    use kafkawire::messages::MetadataResponse;
    use kafkawire::messages::metadata_response::MetadataResponseBroker;
    let mut stage = Stage::with(|cluster| {
        cluster.clients[0].probes = true;
        cluster.clients[1].probes = true;
    })
    .with_orders();
    stage.high_watermark(0, true, 0, 0);
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    let show = Show { broken: vec![2], isr: vec![id(0), id(1)], ..Show::right(&stage) };
    stage.oracle.probed(1);
    let told = |stage: &mut Stage, brokers: &[usize]| {
        let named = brokers.iter().map(|&at| MetadataResponseBroker::default().with_node_id(id(at).wire()));
        let response = MetadataResponse::default().with_brokers(named.collect());
        stage.oracle.answer_delivered(0, &kafkawire::Response::Metadata(Arc::new(response)));
    };
    assert_waits(look(&mut stage, &show), "V08 clients-complete: nothing new of c1");
    told(&mut stage, &[1, 2]);
    assert_waits(look(&mut stage, &show), "V08 clients-complete: nothing new of c1");
    // KIP-899: it was told of b3 alone.
    told(&mut stage, &[2]);
    told(&mut stage, &[]);
    assert_eq!((look(&mut stage, &show), stage.relaxed("V08")), (None, 1));
    let healed = Show { broken: Vec::new(), ..Show::right(&stage) };
    assert!(look(&mut stage, &healed).is_some(), "nothing is forgiven when everything is healed");
}

#[test]
fn v08_wants_a_reader_for_every_partition_unless_a_member_gave_up() {
    let mut stage = settled();
    let (moment, group) = (stage.moment(MEMBERS[0]), Arc::from("g"));
    stage.oracle.partition_assigned(moment, 2, &group, "orders", 0, 2, &mut stage.findings);
    assert_eq!(unsettled(&mut stage), None);
    stage.oracle.partition_revoked(2, &group, "orders", 0);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: nobody of group g reads orders-0");
    let moment = stage.moment(MEMBERS[1]);
    stage.oracle.rebalanced(3, Some(moment));
    assert_eq!((unsettled(&mut stage), stage.relaxed("V08")), (None, 1));
    stage.oracle.rebalanced(3, None);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: nobody");
}

/// Found by swarm-cluster, seed 2227.
#[test]
fn v07_knows_an_answer_that_a_follower_had_to_drop() {
    use kafkawire::Response;
    use kafkawire::messages::FetchResponse;
    use kafkawire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    let run = |heard_meanwhile: bool| {
        let mut stage = Stage::led();
        stage.commit_records(2);
        stage.high_watermark(1, false, 0, 2);
        stage.high_watermark(2, false, 0, 1);
        let moment = stage.moment(2);
        let follow = |stage: &mut Stage, moment| {
            stage.oracle.became_follower(moment, 2, "orders", 0, LeaderEpoch(1), &mut stage.findings);
        };
        if !heard_meanwhile {
            follow(&mut stage, moment);
        }
        stage.fetch(2, 0);
        let moment = stage.moment(2);
        if heard_meanwhile {
            follow(&mut stage, moment);
        }
        let data = PartitionData::default().with_partition_index(0).with_high_watermark(2);
        let topic =
            FetchableTopicResponse::default().with_topic(Topic::from("orders").wire()).with_partitions(vec![data]);
        let response = Response::Fetch(Arc::new(FetchResponse::default().with_responses(vec![topic])));
        stage.oracle.fetch_answered(2, machine::EndId(8), 1, &response);
        stage
    };
    let mut stage = run(true);
    assert_eq!((unsettled(&mut stage), stage.relaxed("V07")), (None, 1));
    assert_waits(
        unsettled(&mut run(false)),
        "V07 replicas-equal: b3 has orders-0 up to 2, with its high watermark at 1",
    );
}

/// Found by swarm-cluster, seed 7248.
#[test]
fn v08_wants_no_probe_of_a_member_that_gave_up() {
    let mut stage = Stage::with(|cluster| cluster.clients[2].probes = true).with_orders();
    stage.high_watermark(0, true, 0, 0);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: nothing new of c3");
    let moment = stage.moment(MEMBERS[0]);
    stage.oracle.rebalanced(2, Some(moment));
    assert_eq!((unsettled(&mut stage), stage.relaxed("V08")), (None, 1));
    stage.oracle.rebalanced(2, None);
    assert_waits(unsettled(&mut stage), "V08 clients-complete: nothing new of c3");
}

/// b3 runs, is not registered, and does not try again.
fn gives_up(stage: &mut Stage) -> Show {
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    stage.close_session(session_of(2));
    let alive = (0..3).map(|host| (host, vec![id(0), id(1)])).collect();
    Show { alive, ..Show::right(stage) }
}

/// Found by swarm-cluster, seeds 5228 and 6543.
#[test]
fn v06_does_not_wait_for_a_partition_whose_last_member_gave_up() {
    for is_last in [true, false] {
        let mut stage = settled();
        stage.elect(None, 1, if is_last { &[2] } else { &[1, 2] });
        let show = gives_up(&mut stage);
        let what = look(&mut stage, &show);
        if is_last {
            assert_eq!(stage.relaxed("V06"), 1);
            assert_waits(what, "E21");
        } else {
            assert_waits(what, "V05 leaders-exist: orders-0 has no live leader though b2 could lead it");
        }
    }
}

/// Found by swarm-cluster, seed 4964.
#[test]
fn v08_does_not_wait_for_writes_that_need_a_broker_that_gave_up() {
    for (min_insync, isr) in [(2, vec![0]), (2, vec![0, 1]), (1, vec![0])] {
        let mut stage = Stage::with(|cluster| {
            cluster.clients[0].probes = true;
            cluster.min_insync = min_insync;
        })
        .with_orders();
        stage.high_watermark(0, true, 0, 0);
        stage.write_state(session_of(0), &state(1, Some(0), 0, &isr));
        let mut show = gives_up(&mut stage);
        show.isr = isr.iter().copied().map(id).collect();
        if isr.len() == 1 {
            // b2 is broken for good.
            stage.kill(1);
            stage.close_session(session_of(1));
            show.broken.push(1);
            show.down.push(1);
            show.alive = (0..3).map(|host| (host, vec![id(0)])).collect();
        }
        let what = look(&mut stage, &show);
        if isr.len() < min_insync {
            assert_eq!((what, stage.relaxed("V08")), (None, 1));
        } else {
            assert_waits(what, "V08 clients-complete: nothing new of c1");
        }
    }
}
