//! What is tried, in which order: time first, because it makes everything behind it cheaper; then faults, clients, servers,
//! and the numbers in what is left.

use engine::{SpanRange, When};
use machine::Span;
use search::Pass;
use serde_json::json;
use world::{Clocks, OneOf};

use super::case::{Case, Shown};
use super::rules;

type CasePass<'p> = Pass<'p, Case, Shown>;

/// Seeds that are tried beside a case's own when its topology changes: that shifts what is drawn from the seed.
const OTHER_SEEDS: u64 = 4;

/// All passes. A failure that is seen only after the heal keeps more of its time.
pub(super) fn passes(file: &str, settles: bool) -> Vec<CasePass<'_>> {
    let mut passes = vec![Pass::steps("run length", move |case, shown| run_lengths(case, shown, settles))];
    passes.extend(of_schedule());
    passes.extend(of_clients());
    passes.extend(of_servers());
    passes.extend(of_rules(file));
    passes
}

/// Cuts the phase of faults to just behind the failure or, if that is seen only after the heal, to less and less.
fn run_lengths(case: &Case, shown: &Shown, settles: bool) -> Vec<Case> {
    let length = case.scenario.duration;
    let seen = Span::nanos(shown.at.as_nanos());
    let lengths = if settles {
        let most = length.most().as_millis();
        vec![most / 4, most / 2, most * 3 / 4, most.saturating_sub(2_000), most / 1_000 * 1_000]
    } else {
        let behind = seen.as_millis() + 1;
        vec![behind.next_multiple_of(100), behind]
    };
    let lengths = lengths.into_iter().map(Span::millis).filter(|&it| it > Span::ZERO);
    let simpler = |it: &Span| *it < length.most() || (*it == length.most() && length.least() < *it);
    let lengths: Vec<Span> = lengths.filter(simpler).collect();
    lengths.into_iter().flat_map(|it| reseeded(case, |case| case.scenario.duration = SpanRange::exactly(it))).collect()
}

fn of_schedule<'p>() -> Vec<CasePass<'p>> {
    vec![
        Pass::parts(
            "fault kinds",
            |case: &Case| fault_kinds(case).len(),
            |case, kept| {
                let kinds = fault_kinds(case);
                let kept: Vec<&str> = kept.iter().map(|&at| kinds[at]).collect();
                let mut less = case.clone();
                less.schedule.retain(|rule| kept.contains(&rule.fault.name()));
                less
            },
        ),
        Pass::parts(
            "rules",
            |case: &Case| case.schedule.len(),
            |case, kept| Case { schedule: picked(&case.schedule, kept), ..case.clone() },
        ),
    ]
}

fn fault_kinds(case: &Case) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = Vec::new();
    for rule in &case.schedule {
        if !kinds.contains(&rule.fault.name()) {
            kinds.push(rule.fault.name());
        }
    }
    kinds
}

fn of_clients<'p>() -> Vec<CasePass<'p>> {
    let count = |case: &Case| case.scenario.workloads.len();
    vec![
        Pass::parts("workloads", count, |case, kept| {
            let mut less = case.clone();
            less.scenario.workloads = picked(&case.scenario.workloads, kept);
            less
        }),
        Pass::sites("clients", count, |case, _, at| {
            fewer(case.scenario.workloads[at].clients, 1)
                .into_iter()
                .flat_map(|clients| reseeded(case, |case| case.scenario.workloads[at].clients = clients))
                .collect()
        }),
        Pass::sites("processes", count, |case, _, at| {
            let processes = case.scenario.workloads[at].processes.unwrap_or(2);
            let one = (processes > 1).then(|| changed(case, |case| case.scenario.workloads[at].processes = Some(1)));
            one.into_iter().collect()
        }),
        Pass::sites("rates", count, |case, _, at| {
            let rates = fewer(case.scenario.workloads[at].rate_per_second, 1).into_iter();
            rates.map(|rate| changed(case, |case| case.scenario.workloads[at].rate_per_second = rate)).collect()
        }),
        Pass::sites("keys", count, |case, _, at| {
            let keys = fewer(case.scenario.workloads[at].keys, 1).into_iter();
            keys.map(|keys| changed(case, |case| case.scenario.workloads[at].keys = keys)).collect()
        }),
    ]
}

fn of_servers<'p>() -> Vec<CasePass<'p>> {
    let topics = |case: &Case| case.scenario.topics.len();
    vec![
        Pass::parts("topics", topics, |case, kept| {
            let mut less = case.clone();
            less.scenario.topics = picked(&case.scenario.topics, kept);
            less
        }),
        Pass::sites("partitions", topics, |case, _, at| {
            let topic = &case.scenario.topics[at];
            let assigned = u32::try_from(topic.assignment.len()).expect("few partitions");
            fewer(topic.partitions.max(assigned), 1)
                .into_iter()
                .flat_map(|partitions| {
                    reseeded(case, |case| {
                        let topic = &mut case.scenario.topics[at];
                        topic.partitions = partitions;
                        topic.assignment.retain(|number, _| number.parse::<u32>().is_ok_and(|it| it < partitions));
                    })
                })
                .collect()
        }),
        Pass::sites("replicas", topics, |case, _, at| {
            fewer(case.scenario.topics[at].replication_factor, 1)
                .into_iter()
                .flat_map(|replicas| {
                    reseeded(case, |case| {
                        let topic = &mut case.scenario.topics[at];
                        topic.replication_factor = replicas;
                        topic.assignment.values_mut().for_each(|hosts| hosts.truncate(replicas as usize));
                    })
                })
                .collect()
        }),
        Pass::steps("brokers", |case: &Case, _: &Shown| {
            sizes(&case.scenario.cluster.brokers, &[0, 1, 2, 3, 4, 5, 6])
                .into_iter()
                .flat_map(|size| reseeded(case, |case| case.scenario.cluster.brokers = OneOf::Exactly(size)))
                .collect()
        }),
        Pass::steps("coordinators", |case: &Case, _: &Shown| {
            sizes(&case.scenario.cluster.coordinators, &[1, 2, 3, 5, 7])
                .into_iter()
                .flat_map(|size| reseeded(case, |case| case.scenario.cluster.coordinators = OneOf::Exactly(size)))
                .collect()
        }),
        Pass::steps("clocks, racks, late brokers and the like", |case: &Case, _: &Shown| {
            let alike = Clocks { offset: SpanRange::ZERO, drift_ppm: 0 };
            vec![
                changed(case, |case| case.scenario.cluster.clocks = alike.clone()),
                changed(case, |case| case.scenario.cluster.racks = 0),
                changed(case, |case| case.scenario.cluster.late.clear()),
                changed(case, |case| case.scenario.budget = false),
                changed(case, |case| case.scenario.liveness = None),
            ]
        }),
    ]
}

fn of_rules(file: &str) -> Vec<CasePass<'_>> {
    let count = |case: &Case| case.schedule.len();
    vec![
        Pass::sites("counts", count, |case, _, at| {
            let rule = &case.schedule[at];
            let simpler = rules::count_places(rule).into_iter().flat_map(|place| {
                let count = rules::count_at(rule, &place).unwrap_or(1);
                let less = [1, count / 2, count - 1].into_iter().filter(move |&less| less > 0 && less < count);
                less.filter_map(move |less| rules::with(rule, &place, json!(less)))
            });
            let unbound = rules::without(rule, "/when", "behind");
            unbound.into_iter().chain(simpler).map(|rule| changed(case, |case| case.schedule[at] = rule)).collect()
        }),
        Pass::sites("targets", count, move |case, _, at| {
            let rule = &case.schedule[at];
            let [place] = &rules::drawn_targets(rule)[..] else { return Vec::new() };
            let Some((strikes, names)) = case.strikes(file) else { return Vec::new() };
            let targets = strikes[at].iter().flat_map(|(_, targets)| targets);
            let named = targets.filter_map(|host| rules::with(rule, place, json!({ "host": names[host.0 as usize] })));
            named.map(|rule| changed(case, |case| case.schedule[at] = rule)).collect()
        }),
        Pass::sites("strike times", count, move |case, _, at| strike_times(case, file, at)),
        Pass::steps("everything earlier", |case: &Case, _: &Shown| earlier(case)),
        Pass::sites("spans", count, |case, _, at| {
            let rule = &case.schedule[at];
            let simpler = rules::span_places(rule).into_iter().flat_map(|place| {
                let range = rules::span_at(rule, &place).unwrap_or_default();
                rules::simpler(range).into_iter().filter_map(move |span| rules::with_span(rule, &place, span))
            });
            simpler.map(|rule| changed(case, |case| case.schedule[at] = rule)).collect()
        }),
    ]
}

/// A time of the run instead of a range of them; then an earlier one, then a rounder one.
fn strike_times(case: &Case, file: &str, at: usize) -> Vec<Case> {
    let When::At(range) = &case.schedule[at].when else { return Vec::new() };
    let spans: Vec<Span> = if range.least() == range.most() {
        let nanos = range.most().as_nanos();
        let sooner = [nanos / 2, nanos / 4 * 3, nanos.saturating_sub(1_000_000_000)];
        let sooner = sooner.into_iter().map(|nanos| Span::nanos(nanos / 100_000_000 * 100_000_000));
        sooner.chain(rules::rounder(range.most())).filter(|&span| span < range.most()).collect()
    } else {
        let struck = case.strikes(file).and_then(|(strikes, _)| strikes[at].clone());
        let Some((instant, _)) = struck else { return Vec::new() };
        let exact = Span::nanos(instant.as_nanos());
        // What `after` adds is part of the instant at which it struck.
        let exact = exact.saturating_sub(case.schedule[at].after.most());
        rules::rounder(exact).into_iter().chain([exact, range.least()]).collect()
    };
    let timed = spans.into_iter().filter(|&span| span > Span::ZERO);
    timed.map(|span| changed(case, |case| case.schedule[at].when = When::At(SpanRange::exactly(span)))).collect()
}

/// All rules that strike at a time strike earlier by the same.
fn earlier(case: &Case) -> Vec<Case> {
    let times = case.schedule.iter().filter_map(|rule| match &rule.when {
        When::At(range) => Some(range.least()),
        When::Fact(_) => None,
    });
    let Some(first) = times.min() else { return Vec::new() };
    let by = [first.as_millis() / 2, first.as_millis() / 4, 1_000];
    let by = by.into_iter().map(|millis| Span::millis(millis / 100 * 100));
    by.filter(|&by| by > Span::ZERO && by < first)
        .flat_map(|by| {
            reseeded(case, |case| {
                for rule in &mut case.schedule {
                    if let When::At(range) = &mut rule.when {
                        *range = SpanRange::between(range.least().saturating_sub(by), range.most().saturating_sub(by));
                    }
                }
            })
        })
        .collect()
}

/// Smaller numbers than this one, the smallest first.
fn fewer(number: u32, least: u32) -> Vec<u32> {
    let mut numbers = vec![least, number / 4, number / 2, number.saturating_sub(1)];
    numbers.retain(|&it| it >= least && it < number);
    numbers.dedup();
    numbers
}

/// Smaller sizes than those that may be drawn, and any one of those.
fn sizes(present: &OneOf, sizes: &[u32]) -> Vec<u32> {
    let most = present.choices().iter().max().copied().unwrap_or(0);
    let is_drawn = present.choices().len() > 1;
    sizes.iter().copied().filter(|&size| size < most || (size == most && is_drawn)).collect()
}

fn picked<T: Clone>(items: &[T], kept: &[usize]) -> Vec<T> {
    kept.iter().map(|&at| items[at].clone()).collect()
}

fn changed(case: &Case, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = case.clone();
    change(&mut case);
    case
}

/// The change with the case's own seed, and with a handful of others.
fn reseeded(case: &Case, change: impl Fn(&mut Case)) -> Vec<Case> {
    let own = changed(case, &change);
    let others = (0..OTHER_SEEDS).filter(|&seed| seed != case.seed).map(|seed| Case { seed, ..own.clone() });
    std::iter::once(own.clone()).chain(others).collect()
}
