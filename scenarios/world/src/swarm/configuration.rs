//! What a swarm draws of a world before anything goes wrong in it: size, time-outs, links, disks, clocks, work.

use engine::SpanRange;
use machine::Span;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Cast, Size, Swarm, Timers, chance, log_uniform, weighted};
use crate::cluster::BATCH_BYTES;
use crate::scenario::{KeyValue, Keys};
use crate::{OneOf, Scenario};

/// What servers and clients spend on opening a session, beside what they wait for.
const PROCESSING_MS: u64 = 20;

/// Syncs that the roll of a segment causes: the log, its two indexes, the directory.
const SYNCS_A_ROLL: u64 = 4;
/// Bytes of a record, and of the batch that it may be alone in, beside its value.
const RECORD_OVERHEAD: u32 = 100;

fn set(keys: &mut Keys, name: &str, value: u64) {
    keys.insert(name.to_owned(), KeyValue::Number(value.cast_signed()));
}

fn flag(keys: &mut Keys, name: &str, value: bool) {
    keys.insert(name.to_owned(), KeyValue::Flag(value));
}

fn millis(ms: u64) -> SpanRange {
    SpanRange::exactly(Span::millis(ms))
}

/// Draws the world, writes it into the scenario, and says what there is to aim at.
pub(super) fn draw(swarm: &Swarm, scenario: &mut Scenario, rng: &mut ChaCha8Rng) -> Cast {
    let (coordinators, brokers) = size(swarm, scenario, rng);
    let session_ms = match swarm.timers {
        Timers::Scaled => timers(scenario, brokers > 0, rng),
        Timers::AsWritten => 4_000,
    };
    topics(scenario, brokers, rng);
    links(scenario, rng);
    disks(scenario, rng);
    clocks(scenario, rng);
    let session_ms = match swarm.timers {
        Timers::Scaled => time_to_connect(scenario, coordinators, session_ms, brokers > 0),
        Timers::AsWritten => session_ms,
    };
    work(scenario, session_ms, swarm.timers, rng);
    let partition = scenario
        .topics
        .first()
        .filter(|_| brokers > 0)
        .map(|topic| format!("{}-{}", topic.name, rng.random_range(0..topic.partitions)));
    Cast {
        coordinators,
        brokers,
        racks: scenario.cluster.racks,
        partition,
        has_clients: !scenario.workloads.is_empty(),
        session_ms,
    }
}

fn size(swarm: &Swarm, scenario: &mut Scenario, rng: &mut ChaCha8Rng) -> (u32, u32) {
    let cluster = &mut scenario.cluster;
    let of_file = |choices: &OneOf, rng: &mut ChaCha8Rng| {
        let choices = choices.choices();
        choices[rng.random_range(0..choices.len())]
    };
    let has_brokers = cluster.brokers.choices().iter().any(|&count| count > 0);
    let coordinators = match swarm.size {
        // Never one alone: what the judges know of zxids holds for ensembles.
        Size::Drawn => weighted(&[(70, 3), (25, 5), (5, 7)], rng),
        Size::Three => 3,
        Size::AsWritten => of_file(&cluster.coordinators, rng),
    };
    let brokers = match swarm.size {
        _ if !has_brokers => 0,
        Size::Drawn => weighted(&[(5, 1), (10, 2), (55, 3), (15, 4), (10, 5), (5, 6)], rng),
        Size::Three => 3,
        Size::AsWritten => of_file(&cluster.brokers, rng),
    };
    cluster.coordinators = OneOf::Exactly(coordinators);
    cluster.brokers = OneOf::Exactly(brokers);
    cluster.racks = rng.random_range(0..=3).min(brokers);
    scenario.drawn.push(format!("size: {coordinators} coordinators, {brokers} brokers, {} racks", cluster.racks));
    (coordinators, brokers)
}

/// Time-outs in proportion to a short tick; the session time-out in milliseconds.
fn timers(scenario: &mut Scenario, has_brokers: bool, rng: &mut ChaCha8Rng) -> u64 {
    let tick = log_uniform(50, 200, rng);
    // Biased to both ends of what a server grants.
    let ticks = weighted(&[(3, 2), (1, 5), (2, 10), (3, 20)], rng);
    // A session shorter than a connection attempt or a slow sync only expires; that is no bug worth a run.
    let session = (tick * ticks).max(400).min(tick * 20);
    let zoo = &mut scenario.cluster.zoo;
    set(zoo, "tickTime", tick);
    set(zoo, "initLimit", 10);
    set(zoo, "syncLimit", 5);
    set(zoo, "snapCount", log_uniform(10, 500, rng));
    set(zoo, "preAllocSize", 64);
    set(zoo, "cnxTimeout", 1_000);
    set(zoo, "fastleader.maxNotificationInterval", 2_000);
    if chance(5, rng) {
        flag(zoo, "forceSync", false);
    }
    let mut text = format!("timers: tick {tick} ms, sessions {session} ms");
    if has_brokers {
        let kafka = &mut scenario.cluster.kafka;
        // On both sides of the session time-out.
        let lag = (session * log_uniform(3, 30, rng) / 10).max(300);
        let socket = log_uniform(500, 4_000, rng);
        set(kafka, "zookeeper.session.timeout.ms", session);
        set(kafka, "zookeeper.connection.timeout.ms", 10_000);
        set(kafka, "replica.lag.time.max.ms", lag);
        set(kafka, "replica.fetch.wait.max.ms", (lag / 3).min(500));
        set(kafka, "replica.fetch.backoff.ms", log_uniform(20, 200, rng));
        set(kafka, "replica.socket.timeout.ms", socket.max(1_000));
        set(kafka, "controller.socket.timeout.ms", socket);
        set(kafka, "controlled.shutdown.retry.backoff.ms", 200);
        set(kafka, "replica.high.watermark.checkpoint.interval.ms", log_uniform(200, 5_000, rng));
        set(kafka, "leader.imbalance.check.interval.seconds", log_uniform(2, 20, rng));
        set(kafka, "log.segment.bytes", log_uniform(2, 64, rng) << 10);
        if chance(10, rng) {
            set(kafka, "log.flush.interval.messages", 1);
        }
        if chance(10, rng) {
            flag(kafka, "unclean.leader.election.enable", true);
        }
        text += &format!(", lag {lag} ms, controller's requests {socket} ms");
    }
    scenario.cluster.restart_after = SpanRange::between(Span::millis(100), Span::secs(1));
    scenario.drawn.push(text);
    let keys = |keys: &Keys| keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
    scenario.drawn.push(format!("zoo.cfg: {}", keys(&scenario.cluster.zoo)));
    if has_brokers {
        scenario.drawn.push(format!("server.properties: {}", keys(&scenario.cluster.kafka)));
    }
    session
}

/// Lengthens sessions that nobody could open over the links and disks that were drawn; returns what they are then.
///
/// A client gives each server of its list an equal part of the session timeout to answer (zookeeper.md §10.3, `connectTimeout`), and
/// the answer comes when the session is committed: to the server, to the leader, a proposal and its sync, an acknowledgement, a
/// commit, and back. Below that nobody ever connects, and sessions that no client knows of come and go for ever.
fn time_to_connect(scenario: &mut Scenario, coordinators: u32, session_ms: u64, has_brokers: bool) -> u64 {
    let most = |range: Option<SpanRange>| range.map_or(1, |range| range.most().as_millis().max(1));
    let hop = most(scenario.network.latency) + most(scenario.network.jitter);
    let answer = 6 * hop + 2 * most(scenario.cluster.disk.sync) + PROCESSING_MS;
    let least = answer * u64::from(coordinators);
    if session_ms >= least {
        return session_ms;
    }
    let zoo = &mut scenario.cluster.zoo;
    if let Some(KeyValue::Number(tick)) = zoo.get("tickTime").cloned() {
        // A server grants twenty ticks at most.
        set(zoo, "tickTime", tick.unsigned_abs().max(least.div_ceil(20)));
    }
    if has_brokers {
        set(&mut scenario.cluster.kafka, "zookeeper.session.timeout.ms", least);
    }
    scenario.drawn.push(format!("sessions last {least} ms: below that nobody can open one over these links"));
    least
}

fn topics(scenario: &mut Scenario, brokers: u32, rng: &mut ChaCha8Rng) {
    for topic in &mut scenario.topics {
        topic.partitions = rng.random_range(1..=4);
        topic.replication_factor = weighted(&[(5, 1), (15, 2), (75, 3), (5, brokers)], rng).clamp(1, brokers.max(1));
        topic.assignment.clear();
        let insync = weighted(&[(25, 1), (65, 2), (10, 7)], rng).min(topic.replication_factor);
        set(&mut topic.config, "min.insync.replicas", insync.into());
        scenario.drawn.push(format!(
            "topic {}: {} partitions, {} replicas, {insync} in sync at least",
            topic.name, topic.partitions, topic.replication_factor
        ));
    }
}

fn links(scenario: &mut Scenario, rng: &mut ChaCha8Rng) {
    let micros = |least, most| Some(SpanRange::between(Span::micros(least), Span::micros(most)));
    let (name, latency, jitter) = weighted(
        &[
            (60, ("a data centre", None, None)),
            (25, ("zones", micros(500, 2_000), micros(0, 2_000))),
            (15, ("far apart", micros(5_000, 15_000), micros(0, 10_000))),
        ],
        rng,
    );
    scenario.network.latency = latency;
    scenario.network.jitter = jitter;
    scenario.drawn.push(format!("links: {name}"));
}

fn disks(scenario: &mut Scenario, rng: &mut ChaCha8Rng) {
    let micros = |least, most| SpanRange::between(Span::micros(least), Span::micros(most));
    let disk = &mut scenario.cluster.disk;
    disk.crash = None;
    disk.sync = Some(weighted(&[(70, micros(200, 2_000)), (30, micros(1_000, 20_000))], rng));
    scenario.drawn.push(format!("syncs: {}", disk.sync.expect("it was drawn")));
}

fn clocks(scenario: &mut Scenario, rng: &mut ChaCha8Rng) {
    let clocks = &mut scenario.cluster.clocks;
    clocks.offset = millis(weighted(&[(70, 300_000), (30, 500)], rng));
    clocks.drift_ppm = weighted(&[(80, 200), (20, 5_000)], rng);
    scenario.drawn.push(format!("clocks: up to {} apart, {} ppm", clocks.offset, clocks.drift_ppm));
}

/// Makes segments as long as they must be for a disk to keep up with their syncs at half of its time.
///
/// A segment that is rolled is synced, with its indexes; a device serves one sync after another, and one that is given more than it can
/// serve falls behind by minutes, so that a broker that restarts waits for it that long.
fn keep_up(scenario: &mut Scenario, segment_bytes: u32) {
    let producers = scenario.workloads.iter().filter(|workload| workload.kind == crate::Kind::Produce);
    let per_second =
        producers.map(|it| u64::from(it.clients * it.rate_per_second * (it.record_bytes + RECORD_OVERHEAD)));
    let sync = scenario.cluster.disk.sync.map_or(Span::ZERO, SpanRange::most);
    let least = per_second.sum::<u64>() * SYNCS_A_ROLL * 2 * sync.as_millis().max(1) / 1_000;
    if least > u64::from(segment_bytes) {
        set(&mut scenario.cluster.kafka, "log.segment.bytes", least);
        scenario.drawn.push(format!("segments of {least} bytes: the disk does not keep up with shorter ones"));
    }
}

/// Each workload is dropped with even odds, but of each side of Kafka one stays, and never none.
fn work(scenario: &mut Scenario, session_ms: u64, timers: Timers, rng: &mut ChaCha8Rng) {
    let all = scenario.workloads.clone();
    let mut kept: Vec<bool> = all.iter().map(|_| rng.random_ratio(1, 2)).collect();
    for kind in [crate::Kind::Produce, crate::Kind::Consume] {
        let of_kind: Vec<usize> = (0..all.len()).filter(|&at| all[at].kind == kind).collect();
        if !of_kind.is_empty() && of_kind.iter().all(|&at| !kept[at]) {
            kept[of_kind[rng.random_range(0..of_kind.len())]] = true;
        }
    }
    if !all.is_empty() && kept.iter().all(|kept| !kept) {
        kept[rng.random_range(0..all.len())] = true;
    }
    scenario.workloads = all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(workload, _)| workload).collect();
    let segment_bytes = match scenario.cluster.kafka.get("log.segment.bytes") {
        Some(KeyValue::Number(bytes)) => u32::try_from(*bytes).ok(),
        Some(KeyValue::Flag(_) | KeyValue::Text(_)) | None => None,
    };
    for workload in &mut scenario.workloads {
        workload.clients = rng.random_range(1..=3);
        let is_operator = workload.kind == crate::Kind::MoveController;
        workload.rate_per_second = u32::try_from(log_uniform(2, 100, rng)).expect("at most a hundred");
        workload.keys = rng.random_range(1..=8);
        workload.record_bytes = u32::try_from(log_uniform(16, 4_096, rng)).expect("at most 4 KiB");
        if let Some(segment_bytes) = segment_bytes {
            // A batch that is longer than a segment is refused for good: a producer that makes no others gets nothing done.
            workload.record_bytes = workload.record_bytes.min(segment_bytes / 2);
            let batch_bytes = workload.batch_bytes.unwrap_or(BATCH_BYTES);
            workload.batch_bytes = (workload.kind == crate::Kind::Produce).then(|| batch_bytes.min(segment_bytes));
        }
        if is_operator {
            workload.clients = 1;
        }
        if timers == Timers::Scaled {
            workload.session_timeout = millis(session_ms);
            let request_ms = log_uniform(500, 4_000, rng);
            workload.request_timeout = millis(request_ms);
            // In proportion too: a client that dials a host behind a cut asks nobody else meanwhile, and is not stuck.
            workload.setup_timeout = Some(millis(request_ms));
            // Half of the time is left for the way there and back: a fetch that times out while it waits is never answered.
            let fetch_wait = workload.fetch_wait().most();
            if fetch_wait > Span::ZERO {
                workload.fetch_wait = Some(SpanRange::exactly(fetch_wait.min(Span::millis(request_ms / 2))));
            }
            workload.delivery_timeout = millis(log_uniform(4_000, 10_000, rng));
        }
    }
    if let Some(segment_bytes) = segment_bytes {
        keep_up(scenario, segment_bytes);
    }
    let words: Vec<String> = scenario
        .workloads
        .iter()
        .map(|it| format!("{} x{} at {}/s", it.kind.name(), it.clients, it.rate_per_second))
        .collect();
    scenario.drawn.push(format!("work: {}", words.join(", ")));
}
