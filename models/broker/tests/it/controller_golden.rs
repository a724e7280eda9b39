//! The worked sequences of kafka-broker.md, appendix A, as lines of what is asked and told.

use broker::controller::ControllerEvent;
use broker::cx::RequestId;
use kafkawire::BrokerId;
use machine::EndId;

use crate::controller_bench::Bench;

#[track_caller]
fn check(found: &[String], expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(found, expected, "\nfound:\n{}", found.join("\n"));
}

#[test]
fn a1_first_broker_is_elected_and_the_second_is_told_of_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.register(1), 18);
    bench.put(1, ControllerEvent::Startup);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        exists /controller
        get /controller
        get /controller_epoch
        create /controller_epoch 0
        [create E /controller {"version":1,"brokerid":1,"timestamp":"1700000001000"}; set /controller_epoch v0 1]
        ls /log_dir_event_notification
        ls /isr_change_notification
        ls /brokers/ids
        get /brokers/ids/1
        ls /brokers/topics
        exists /brokers/ids/1
        →1 UpdateMetadata be=18 live 1
        exists /controller
        get /controller
    "#,
    );
    assert_eq!(bench.fact_kinds(1), ["controller-elected", "controller-ready"]);
    assert_eq!(bench.register(2), 22);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        ls /brokers/ids
        get /brokers/ids/1
        get /brokers/ids/2
        →1 UpdateMetadata be=18 live 1,2
        →2 UpdateMetadata be=22 live 1,2
        exists /brokers/ids/2
    "#,
    );
    bench.put(2, ControllerEvent::Startup);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        exists /controller
        get /controller
    "#,
    );
    assert_eq!(bench.controller(2).known_controller(), Some(BrokerId(1)));
}

#[test]
fn a2_topic_is_created_in_three_fenced_creates_and_told() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[1, 2, 3]]);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        ls /brokers/topics
        get /brokers/topics/t
        [✓v1; create /brokers/topics/t/partitions]
        [✓v1; create /brokers/topics/t/partitions/0]
        [✓v1; create /brokers/topics/t/partitions/0/state {"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2,3]}]
        →1 LeaderAndIsr be=18: t-0 1/0 1,2,3 new
        →2 LeaderAndIsr be=19: t-0 1/0 1,2,3 new
        →3 LeaderAndIsr be=20: t-0 1/0 1,2,3 new
        →1 UpdateMetadata be=18 live 1,2,3: t-0 1/0
        →2 UpdateMetadata be=19 live 1,2,3: t-0 1/0
        →3 UpdateMetadata be=20 live 1,2,3: t-0 1/0
    "#,
    );
    assert_eq!(bench.fact_kinds(1)[2..], ["topic-created", "partition-leader-elected"]);
}

#[test]
fn a4_successor_of_a_crashed_controller_and_leader_takes_both_offices() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[1, 2, 3]]);
    bench.run();
    bench.take_log();
    bench.expire(1);
    bench.run_alone(2);
    check(
        &bench.take_log(),
        r#"
        exists /controller
        get /controller
        get /controller
        get /controller_epoch
        [create E /controller {"version":1,"brokerid":2,"timestamp":"1700000001000"}; set /controller_epoch v1 2]
        ls /log_dir_event_notification
        ls /isr_change_notification
        ls /brokers/ids
        get /brokers/ids/2
        get /brokers/ids/3
        ls /brokers/topics
        get /brokers/topics/t
        exists /brokers/ids/2
        exists /brokers/ids/3
        get /brokers/topics/t/partitions/0/state
        →2 UpdateMetadata be=19 live 2,3
        →2 LeaderAndIsr be=19: t-0 1/0 1,2,3
        →2 UpdateMetadata be=19 live 2,3: t-0 1/0 offline 1
        →3 UpdateMetadata be=20 live 2,3
        →3 LeaderAndIsr be=20: t-0 1/0 1,2,3
        →3 UpdateMetadata be=20 live 2,3: t-0 1/0 offline 1
        get /brokers/topics/t/partitions/0/state
        [✓v2; set /brokers/topics/t/partitions/0/state v0 {"controller_epoch":2,"leader":-1,"version":1,"leader_epoch":1,"isr":[2,3]}]
        →2 LeaderAndIsr be=19: t-0 -1/1 2,3
        →3 LeaderAndIsr be=20: t-0 -1/1 2,3
        →2 UpdateMetadata be=19 live 2,3: t-0 -1/1 offline 1
        →3 UpdateMetadata be=20 live 2,3: t-0 -1/1 offline 1
        get /brokers/topics/t/partitions/0/state
        [✓v2; set /brokers/topics/t/partitions/0/state v1 {"controller_epoch":2,"leader":2,"version":1,"leader_epoch":2,"isr":[2,3]}]
        →2 LeaderAndIsr be=19: t-0 2/2 2,3
        →3 LeaderAndIsr be=20: t-0 2/2 2,3
        →2 UpdateMetadata be=19 live 2,3: t-0 2/2 offline 1
        →3 UpdateMetadata be=20 live 2,3: t-0 2/2 offline 1
        exists /controller
        get /controller
    "#,
    );
    bench.run_alone(3);
    check(
        &bench.take_log(),
        r#"
        exists /controller
        get /controller
        get /controller
    "#,
    );
}

#[test]
fn a4_surviving_controller_elects_before_it_shrinks() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[2, 1, 3]]);
    bench.run();
    bench.take_log();
    bench.unregister(2);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        ls /brokers/ids
        get /brokers/ids/1
        get /brokers/ids/3
        get /brokers/topics/t/partitions/0/state
        [✓v1; set /brokers/topics/t/partitions/0/state v0 {"controller_epoch":1,"leader":1,"version":1,"leader_epoch":1,"isr":[1,3]}]
        →1 LeaderAndIsr be=18: t-0 1/1 1,3
        →3 LeaderAndIsr be=20: t-0 1/1 1,3
        →1 UpdateMetadata be=18 live 1,3: t-0 1/1 offline 2
        →3 UpdateMetadata be=20 live 1,3: t-0 1/1 offline 2
        get /brokers/topics/t/partitions/0/state
        →1 LeaderAndIsr be=18: t-0 1/1 1,3
        →3 LeaderAndIsr be=20: t-0 1/1 1,3
        →1 UpdateMetadata be=18 live 1,3: t-0 1/1 offline 2
        →3 UpdateMetadata be=20 live 1,3: t-0 1/1 offline 2
    "#,
    );
}

#[test]
fn a7_controlled_shutdown_moves_leaderships_and_stops_followers() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[2, 1, 3], &[1, 2, 3]]);
    bench.run();
    bench.take_log();
    let to = RequestId { on: EndId(99), number: 7 };
    bench.put(1, ControllerEvent::ControlledShutdown { to, broker: BrokerId(2), epoch: None });
    bench.run();
    check(
        &bench.take_log(),
        r#"
        get /brokers/topics/t/partitions/0/state
        [✓v1; set /brokers/topics/t/partitions/0/state v0 {"controller_epoch":1,"leader":1,"version":1,"leader_epoch":1,"isr":[1,3]}]
        →1 LeaderAndIsr be=18: t-0 1/1 1,3
        →2 LeaderAndIsr be=19: t-0 1/1 1,3
        →3 LeaderAndIsr be=20: t-0 1/1 1,3
        →1 UpdateMetadata be=18 live 1,2,3: t-0 1/1 offline 2
        →2 UpdateMetadata be=19 live 1,2,3: t-0 1/1 offline 2
        →2 StopReplica be=19: t-1 /0
        →3 UpdateMetadata be=20 live 1,2,3: t-0 1/1 offline 2
        get /brokers/topics/t/partitions/1/state
        [✓v1; set /brokers/topics/t/partitions/1/state v0 {"controller_epoch":1,"leader":1,"version":1,"leader_epoch":1,"isr":[1,3]}]
        →1 LeaderAndIsr be=18: t-1 1/1 1,3
        →3 LeaderAndIsr be=20: t-1 1/1 1,3
        →2 UpdateMetadata be=19 live 1,2,3: t-1 1/1 offline 2
        →1 UpdateMetadata be=18 live 1,2,3: t-1 1/1 offline 2
        →3 UpdateMetadata be=20 live 1,2,3: t-1 1/1 offline 2
        →2 StopReplica be=19: t-1 /0
    "#,
    );
    bench.unregister(2);
    bench.run();
    check(
        &bench.take_log(),
        r#"
        ls /brokers/ids
        get /brokers/ids/1
        get /brokers/ids/3
        get /brokers/topics/t/partitions/0/state
        get /brokers/topics/t/partitions/1/state
        →1 LeaderAndIsr be=18: t-0 1/1 1,3, t-1 1/1 1,3
        →3 LeaderAndIsr be=20: t-0 1/1 1,3, t-1 1/1 1,3
        →1 UpdateMetadata be=18 live 1,3: t-0 1/1 offline 2, t-1 1/1 offline 2
        →3 UpdateMetadata be=20 live 1,3: t-0 1/1 offline 2, t-1 1/1 offline 2
    "#,
    );
}
