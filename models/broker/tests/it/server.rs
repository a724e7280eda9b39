//! Connections and requests (kafka-broker.md §1.2).

use std::sync::Arc;

use kafkawire::messages::{ApiVersionsRequest, MetadataRequest};
use kafkawire::{ApiKey, ErrorCode, Request, Response};
use machine::Span;

use crate::bench::Bench;

fn versions() -> Request {
    Request::ApiVersions(Arc::new(ApiVersionsRequest::default()))
}

fn metadata() -> Request {
    Request::Metadata(Arc::new(MetadataRequest::default().with_topics(None)))
}

/// Waits for ZooKeeper, so it is answered later than what needs nobody.
fn slow() -> Request {
    crate::topics::create("slow", 1, 1)
}

fn apis(bench: &Bench, client: usize) -> Vec<ApiKey> {
    bench.responses(client).iter().map(|(_, _, body)| body.api()).collect()
}

#[test]
fn every_modelled_api_is_offered() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    let Response::ApiVersions(answer) = bench.ask(client, versions()) else { panic!("another response") };
    assert_eq!(answer.error_code, ErrorCode::None.code());
    let offered: Vec<i16> = answer.api_keys.iter().map(|key| key.api_key).collect();
    assert_eq!(offered, ApiKey::ALL.iter().map(|api| api.code()).collect::<Vec<_>>());
}

#[test]
fn requests_of_a_connection_are_answered_in_order_though_later_ones_need_less() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.send(client, slow());
    bench.send(client, versions());
    bench.send(client, metadata());
    bench.run(Span::secs(5));
    assert_eq!(apis(&bench, client), [ApiKey::CreateTopics, ApiKey::ApiVersions, ApiKey::Metadata]);
}

#[test]
fn connections_do_not_wait_for_each_other() {
    let mut bench = Bench::running(1, |_, _| {});
    let (one, other) = (bench.connect(1), bench.connect(1));
    bench.send(one, slow());
    bench.send(other, versions());
    bench.run(Span::millis(1));
    assert_eq!(apis(&bench, one), []);
    assert_eq!(apis(&bench, other), [ApiKey::ApiVersions]);
}

#[test]
fn unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.send_version(client, versions(), 9);
    bench.run(Span::millis(5));
    let [(_, 0, Response::ApiVersions(answer))] = &bench.responses(client)[..] else { panic!("another response") };
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    // The connection is of further use.
    bench.ask(client, versions());
}

#[test]
fn unknown_version_of_another_api_costs_the_connection() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.send_version(client, metadata(), 99);
    bench.run(Span::millis(5));
    assert!(bench.is_lost(client));
    assert_eq!(bench.responses(client).len(), 0);
}

#[test]
fn answer_whose_connection_is_gone_is_dropped_and_the_request_takes_effect() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.send(client, slow());
    bench.run(Span::micros(300));
    bench.disconnect(client);
    bench.run(Span::secs(5));
    assert_eq!(bench.responses(client).len(), 0);
    assert!(bench.znode("/brokers/topics/slow").is_some());
}

#[test]
fn full_queue_holds_requests_back_and_loses_none() {
    let mut bench = Bench::running(1, |_, image| {
        Arc::make_mut(&mut image.config).queued_max_requests = 1;
    });
    let clients: Vec<usize> = (0..5).map(|_| bench.connect(1)).collect();
    for &client in &clients {
        bench.send(client, metadata());
        bench.send(client, versions());
    }
    bench.run(Span::secs(1));
    for client in clients {
        assert_eq!(apis(&bench, client), [ApiKey::Metadata, ApiKey::ApiVersions]);
    }
}

#[test]
fn request_before_the_handlers_run_is_answered_once_they_do() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.boot(1);
    bench.until(Span::secs(2), "the port is open", |bench| bench.is_listening(1));
    assert!(!bench.broker(1).is_running());
    let client = bench.connect(1);
    bench.send(client, versions());
    bench.run(Span::micros(300));
    assert_eq!(bench.responses(client).len(), 0);
    bench.until(Span::secs(2), "it runs", |bench| bench.broker(1).is_running());
    bench.run(Span::millis(1));
    assert_eq!(apis(&bench, client), [ApiKey::ApiVersions]);
}

#[test]
fn create_topics_of_one_who_is_not_the_controller_is_refused() {
    let mut bench = Bench::running(2, |_, _| {});
    let other = if bench.broker(1).controller().is_active() { 2 } else { 1 };
    let client = bench.connect(other);
    let Response::CreateTopics(answer) = bench.ask(client, slow()) else { panic!("another response") };
    assert_eq!(answer.topics[0].error_code, ErrorCode::NotController.code());
    assert!(bench.znode("/brokers/topics/slow").is_none());
}
