//! What workloads may say about the sessions of their clients.

use tribunal::{Changes, Prepared, Source, campaign};

/// Servers that lost their ensemble are read meanwhile.
const READ_ONLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/read-only.toml");

fn prepared(name: &str, sets: &[&str]) -> Prepared {
    let sets = sets.iter().map(|&set| set.to_owned()).collect();
    Prepared::new(&Source::named(name).unwrap(), &Changes { sets, ..Changes::default() }).unwrap()
}

#[track_caller]
fn held(prepared: &Prepared, mark: Option<&str>) {
    let seeds = campaign(prepared, 0..3, 2);
    for seed in &seeds {
        assert_eq!(seed.broken, None, "seed {}", seed.seed);
    }
    if let Some(mark) = mark {
        let times: u64 = seeds.iter().filter_map(|seed| seed.marks.get(mark)).sum();
        assert!(times > 0, "{mark} was not reached");
    }
}

#[test]
fn every_kind_of_work_is_done_below_a_chroot_as_well() {
    let sets: Vec<String> = (0..7).map(|number| format!("workloads.{number}.chroot=/app/of/{}", number % 3)).collect();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    held(&prepared("steady", &sets), None);
    held(&prepared("session-expiry", &sets[..1]), None);
    let watches = ["workloads.1.connect=zk1,zk2:2181,zk3/app", "workloads.1.auth=digest:u:p"];
    held(&prepared("leader-crash", &[&sets[..1], &watches].concat()), None);
}

#[test]
fn clients_read_from_servers_without_an_ensemble_and_find_back() {
    held(&prepared(READ_ONLY, &[]), Some("zkclient-connected-read-only"));
    // Those that expect a server with an ensemble have none meanwhile.
    let strict = prepared(READ_ONLY, &["workloads.0.can_be_read_only=false", "workloads.1.can_be_read_only=false"]);
    assert!(campaign(&strict, 0..1, 1)[0].marks.get("zkclient-connected-read-only").is_none_or(|&times| times == 0));
}

#[test]
fn callers_that_wait_too_long_give_up() {
    let sets = ["workloads.0.zookeeper_request_timeout=300ms"];
    held(&prepared("leader-pause", &sets), Some("zkclient-request-timeout"));
}
