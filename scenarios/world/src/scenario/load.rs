//! From text to a scenario, or one sentence that says where and why not.

use super::overrides;
use super::sections::{Keys, Scenario};
use super::workload::{Kind, Workload};
use crate::defect::Defect;
use crate::place::{BadInput, line_of, nearest};
use crate::server_properties::ServerProperties;
use crate::zoo_cfg::ZooCfg;

/// Reads a scenario. `file` names the text in messages.
///
/// # Errors
/// Syntax, unknown keys, bad values: with file, line and hint.
pub fn load(file: &str, text: &str) -> Result<Scenario, BadInput> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| complaint(file, text, &error))?;
    check(file, text, &scenario)?;
    Ok(scenario)
}

/// Reads a scenario with `key=value` overrides, such as `cluster.zoo.tickTime=200` or `workloads.0.clients=5`.
///
/// # Errors
/// As [`load`]; of an override: that it has no such place, or no usable value.
pub fn load_with(file: &str, text: &str, sets: &[String]) -> Result<Scenario, BadInput> {
    let plain = load(file, text)?;
    if sets.is_empty() {
        return Ok(plain);
    }
    let mut table: toml::Table = toml::from_str(text).map_err(|error| complaint(file, text, &error))?;
    for set in sets {
        overrides::apply(&mut table, set)?;
        // One at a time, so that the complaint names the override at fault.
        let scenario: Result<Scenario, _> = table.clone().try_into();
        if let Err(error) = scenario {
            let place = format!("--set {set}");
            return Err(with_hint(BadInput::new(&place, None, error.message().to_owned()), error.message()));
        }
    }
    let scenario: Scenario = table.try_into().map_err(|error: toml::de::Error| complaint(file, text, &error))?;
    check(&format!("--set {}", sets.join(" --set ")), "", &scenario)?;
    Ok(scenario)
}

fn complaint(file: &str, text: &str, error: &toml::de::Error) -> BadInput {
    let line = error.span().map(|span| line_of(text, span.start));
    let message = error.message().trim().replace('\n', ", ");
    with_hint(BadInput::new(file, line, message.clone()), &message)
}

/// Serde lists what it expected; the nearest of that is what was meant.
fn with_hint(bad: BadInput, message: &str) -> BadInput {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(word) = quoted.next() else { return bad };
    if !message.contains("unknown") {
        return bad;
    }
    match nearest(word, quoted.collect::<Vec<_>>()) {
        Some(near) => bad.hint(format!("did you mean `{near}`?")),
        None => bad,
    }
}

/// Checks a scenario that did not come from a text.
///
/// # Errors
/// The first thing that is wrong in it; there are no lines to name.
pub fn check_scenario(name: &str, scenario: &Scenario) -> Result<(), BadInput> {
    check(name, "", scenario)
}

fn check(file: &str, text: &str, scenario: &Scenario) -> Result<(), BadInput> {
    let line = |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).map(|at| at + 1);
    let choices = scenario.cluster.coordinators.choices();
    if choices.is_empty() || choices.iter().any(|&n| !(1..=9).contains(&n)) {
        return Err(BadInput::new(file, line("coordinators"), "coordinators is not a number from 1 to 9")
            .hint("an ensemble has 3 or 5 servers; 1 runs standalone"));
    }
    if scenario.cluster.observers > 9 {
        return Err(BadInput::new(file, line("observers"), "observers is not a number from 0 to 9")
            .hint("one or two are enough to see what they do"));
    }
    check_kafka(file, text, scenario)?;
    for workload in &scenario.workloads {
        let is_one = workload.kind.zk().is_some_and(clients::WorkloadKind::is_one_process);
        if is_one && workload.processes.is_some_and(|processes| processes != 1) {
            let what = format!("a client of the recipe `{}` is one process", workload.kind.name());
            return Err(BadInput::new(file, line("processes"), what)
                .hint("leave `processes` out; `clients` is the number of those that take part"));
        }
        let keyless = workload.keys == 0 && workload.kind != Kind::Produce;
        if workload.processes == Some(0) || workload.clients == 0 || workload.rate_per_second == 0 || keyless {
            return Err(BadInput::new(
                file,
                line("[[workloads]]"),
                "a workload needs at least one client, one process, one operation per second and one key",
            ));
        }
        check_connection(file, text, workload)?;
        let fetch_wait = workload.fetch_wait().most();
        if fetch_wait >= workload.request_timeout.least() {
            let limit = workload.request_timeout.least();
            return Err(BadInput::new(
                file,
                line("fetch_wait").or_else(|| line("request_timeout")),
                format!("a fetch waits {fetch_wait} for records, and a request times out after {limit}: nobody who waits would ever be answered"),
            )
            .hint("make `fetch_wait` shorter than `request_timeout`"));
        }
    }
    for id in &scenario.cluster.defects {
        let known = Defect::ids();
        if !known.contains(&id.as_str()) {
            return Err(BadInput::new(file, line("defects"), format!("there is no defect `{id}`"))
                .hint(crate::place::did_you_mean(id, &known)));
        }
    }
    let keys = |name: &str, keys: &Keys| (format!("{file} [{name}]"), text_of(keys));
    let (place, zoo) = keys("cluster.zoo", &scenario.cluster.zoo);
    let (kafka_place, kafka) = keys("cluster.kafka", &scenario.cluster.kafka);
    let checked = ZooCfg::parse(&place, &zoo).map(drop);
    checked.and_then(|()| ServerProperties::parse_some(&kafka_place, &kafka).map(drop)).map_err(|mut bad| {
        bad.line = None;
        bad
    })
}

/// What a workload says about its sessions.
fn check_connection(file: &str, text: &str, workload: &Workload) -> Result<(), BadInput> {
    let line = |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).map(|at| at + 1);
    if let Some(key) = workload.zookeeper_key().filter(|_| workload.is_of_kafka()) {
        let kind = workload.kind.name();
        return Err(BadInput::new(
            file,
            line(key),
            format!("`{key}` is for workloads of ZooKeeper, and `{kind}` is of Kafka"),
        ));
    }
    if let Err(why) = workload.chroot() {
        let key = if why.starts_with("the connect") { "connect" } else { "chroot" };
        return Err(BadInput::new(file, line(key), why).hint("a connect string is `zk1:2181,zk2/app`, a chroot `/app`"));
    }
    if let Err(why) = workload.auth_info() {
        return Err(BadInput::new(file, line("auth"), why).hint("a server here knows the digest scheme"));
    }
    Ok(())
}

/// What of Kafka must fit together: brokers, topics, and who uses them.
fn check_kafka(file: &str, text: &str, scenario: &Scenario) -> Result<(), BadInput> {
    let line = |key: &str| text.lines().position(|line| line.trim_start().starts_with(key)).map(|at| at + 1);
    let brokers = scenario.cluster.brokers.choices();
    if brokers.is_empty() || brokers.iter().any(|&n| n > 64) {
        return Err(BadInput::new(file, line("brokers"), "brokers is not a number from 0 to 64"));
    }
    let least = *brokers.iter().min().expect("it is not empty");
    for topic in &scenario.topics {
        let replicas = topic.assignment.values().map(Vec::len).max().unwrap_or(topic.replication_factor as usize);
        if replicas > least as usize || replicas == 0 {
            return Err(BadInput::new(
                file,
                line("[[topics]]"),
                format!("the topic `{}` wants {replicas} replicas of {least} brokers", topic.name),
            )
            .hint("cluster.brokers and the topic's replication_factor"));
        }
        for partition in topic.assignment.keys() {
            if partition.parse::<u32>().map_or(true, |number| number as usize >= topic.assignment.len()) {
                return Err(BadInput::new(
                    file,
                    line("[[topics]]"),
                    format!("the assignment of `{}` names the partition `{partition}`", topic.name),
                )
                .hint("partitions are numbered from 0 without gaps"));
            }
        }
    }
    for workload in scenario.workloads.iter().filter(|workload| workload.is_of_kafka()) {
        let known: Vec<&str> = scenario.topics.iter().map(|topic| topic.name.as_str()).collect();
        match &workload.topic {
            None if known.is_empty() => {
                return Err(BadInput::new(file, line("[[workloads]]"), "a workload of Kafka needs a topic")
                    .hint("add [[topics]] with a name"));
            }
            Some(name) if !known.contains(&name.as_str()) => {
                return Err(BadInput::new(file, line("topic"), format!("there is no topic `{name}`"))
                    .hint(crate::place::did_you_mean(name, &known)));
            }
            None | Some(_) => {}
        }
    }
    Ok(())
}

/// Inline keys as the text of a configuration file, so that they are checked by the same code.
pub(crate) fn text_of(keys: &Keys) -> String {
    keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::load;

    fn complaint(workload: &str) -> String {
        let text = format!(
            "about = \"a test\"\nduration = \"5s\"\ncluster = {{ coordinators = 3, brokers = 3 }}\n\n[[workloads]]\n{workload}"
        );
        load("mine.toml", &text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn sessions_that_cannot_be_are_named_with_their_line_and_a_hint() {
        for (workload, why) in [
            (
                "kind = \"multi\"\nchroot = \"app\"",
                "mine.toml:7: the chroot `app` is no path: the path does not start with /",
            ),
            (
                "kind = \"multi\"\nconnect = \"zk1:x\"",
                "mine.toml:7: the connect string `zk1:x` cannot be read: `x` of `zk1:x` is not a port",
            ),
            (
                "kind = \"multi\"\nchroot = \"/a\"\nconnect = \"zk1/b\"",
                "mine.toml:7: `connect` and `chroot` both say where",
            ),
            (
                "kind = \"multi\"\nauth = \"kerberos:me\"",
                "mine.toml:7: the identity `kerberos:me` is not of the form digest:USER:PASSWORD",
            ),
            (
                "kind = \"produce\"\nchroot = \"/a\"\n[[topics]]\nname = \"t\"",
                "`chroot` is for workloads of ZooKeeper, and `produce` is of Kafka",
            ),
        ] {
            let complaint = complaint(workload);
            assert!(complaint.contains(why), "{complaint}");
        }
    }
}
