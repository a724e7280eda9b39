//! What was violated: the partition, znode, session or zxid that a violation names, so that a slice keeps what touches it.

use engine::{Recording, Violation};
use world::Topology;

/// The names that a violation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Partitions: topic and number.
    partitions: Vec<(String, String)>,
    /// Paths of znodes.
    paths: Vec<String>,
    /// Sessions and zxids, in hexadecimal.
    numbers: Vec<String>,
    /// Hosts that the headline names: what they become and how they fare is part of the story.
    hosts: Vec<String>,
    /// Whether it is about who is controller.
    is_of_controllers: bool,
}

impl Object {
    /// What the headline and the witnesses of a violation name.
    pub(super) fn of(violation: &Violation, topology: &Topology) -> Self {
        let is_of_controllers = violation.headline.contains("controller");
        let (partitions, paths, numbers) = (Vec::new(), Vec::new(), Vec::new());
        let names = topology.names();
        let mut hosts: Vec<String> =
            names.iter().filter(|name| is_word_of(name, &violation.headline)).cloned().collect();
        if hosts.is_empty() {
            let witnesses = violation.witnesses.iter().filter_map(|witness| witness.host);
            hosts.extend(witnesses.map(|host| names[host.0 as usize].clone()));
        }
        let mut object = Self { partitions, paths, numbers, hosts, is_of_controllers };
        if is_of_controllers {
            object.paths.push("/controller".to_owned());
        }
        let notes = violation.witnesses.iter().map(|witness| witness.note.as_str());
        for text in std::iter::once(violation.headline.as_str()).chain(notes) {
            for word in text.split(|c: char| c.is_whitespace() || ",;()\"'`".contains(c)) {
                object.take(word.trim_end_matches(['.', ':', '!']), topology);
            }
        }
        object
    }

    /// What a server had logged alone when its leader brought it in step is part of the story of that server: it led before, and
    /// proposed its last transaction itself.
    pub(super) fn take_tails(&mut self, recording: &Recording, violation: &Violation, names: &[String]) {
        let Some(host) = violation.witnesses.iter().rev().find_map(|witness| witness.host) else { return };
        let Some(sid) = names[host.0 as usize].strip_prefix("zk") else { return };
        let facts = || recording.events.iter().flat_map(|event| event.facts.iter().map(move |fact| (event, fact)));
        let of = |fields: &[(&'static str, String)], name: &str| {
            fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone())
        };
        let mut tails = facts().filter(|(_, (kind, fields))| {
            *kind == "sync-decided" && of(fields, "learner").is_some_and(|learner| learner == sid)
        });
        let Some(tail) = tails.next_back().and_then(|(_, (_, fields))| of(fields, "peer_zxid")) else { return };
        let is_own = facts().any(|(event, (kind, fields))| {
            event.host == host && *kind == "proposed" && of(fields, "zxid").is_some_and(|zxid| zxid == tail)
        });
        if is_own && !self.numbers.contains(&tail) {
            self.numbers.push(tail);
        }
    }

    fn take(&mut self, word: &str, topology: &Topology) {
        let add = |list: &mut Vec<String>| {
            if !list.iter().any(|known| known == word) {
                list.push(word.to_owned());
            }
        };
        if let Some(partition) = partition_of(word, topology) {
            self.add_partition(partition);
        } else if word.len() > 1 && word.starts_with('/') {
            add(&mut self.paths);
            let parts: Vec<&str> = word.split('/').collect();
            // /brokers/topics/orders/partitions/0/state
            if let ["", "brokers", "topics", topic, "partitions", number, ..] = parts[..] {
                self.add_partition((topic.to_owned(), number.to_owned()));
            }
        } else if word.len() > 3 && word.starts_with("0x") {
            add(&mut self.numbers);
        }
    }

    fn add_partition(&mut self, partition: (String, String)) {
        if !self.partitions.contains(&partition) {
            self.partitions.push(partition);
        }
    }

    /// Whether a fact of that host is about it. A fact that `turns` the story of a host it names is.
    pub(super) fn is_touched_by(&self, host: &str, kind: &str, fields: &[(&'static str, String)], turns: bool) -> bool {
        let of = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str());
        if let (Some(topic), Some(number)) = (of("topic"), of("partition")) {
            return self.partitions.iter().any(|(t, n)| t == topic && n == number);
        }
        // Every transaction of a session is not about the session.
        if ["applied", "committed"].contains(&kind) {
            return of("zxid").is_some_and(|zxid| self.has_zxid(zxid));
        }
        if self.is_of_controllers && kind.starts_with("controller-") {
            return true;
        }
        // What a leader decides about a server is about that server, too.
        let is_learner = |name: &String| of("learner").is_some_and(|sid| name.strip_prefix("zk") == Some(sid));
        if turns && self.hosts.iter().any(is_learner) {
            return true;
        }
        let is_named = |value: &str| self.paths.iter().chain(&self.numbers).any(|name| name == value);
        let is_about_host = turns && of("topic").is_none() && self.hosts.iter().any(|name| name == host);
        is_about_host || fields.iter().any(|(_, value)| is_named(value))
    }

    /// Which of its names the text of a message has, as far as the text goes.
    pub(super) fn named_in(&self, summary: &str) -> Option<String> {
        let names = self.paths.iter().chain(&self.numbers);
        let named = names.filter(|name| is_word_of(name, summary)).max_by_key(|name| name.len());
        let state = |(topic, number): &(String, String)| {
            let path = format!("/brokers/topics/{topic}/partitions/{number}/state");
            is_word_of(&path, summary).then_some(path)
        };
        let partition = || self.partitions.iter().find(|(topic, _)| is_word_of(topic, summary));
        let states = || self.partitions.iter().find_map(state);
        named.cloned().or_else(states).or_else(|| partition().map(|(topic, number)| format!("{topic}-{number}")))
    }

    /// Whether one of its zxids is that one.
    pub(super) fn has_zxid(&self, zxid: &str) -> bool {
        self.numbers.iter().any(|number| number == zxid)
    }

    /// Its names.
    pub(super) fn words(&self) -> Vec<String> {
        let partitions = self.partitions.iter().map(|(topic, number)| format!("{topic}-{number}"));
        partitions.chain(self.paths.iter().cloned()).chain(self.numbers.iter().cloned()).collect()
    }
}

/// `orders-0`, if there is such a topic.
fn partition_of(word: &str, topology: &Topology) -> Option<(String, String)> {
    let (topic, number) = word.rsplit_once('-')?;
    let is_known = topology.topics.iter().any(|known| known.name.to_string() == topic);
    let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    (is_known && is_number).then(|| (topic.to_owned(), number.to_owned()))
}

/// Whether a text has that word, and not only as a part of another.
fn is_word_of(word: &str, text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '/';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::is_word_of;

    #[test]
    fn a_word_is_not_a_part_of_another() {
        assert!(is_word_of("kafka1", "kafka1, controller of epoch 1"));
        assert!(!is_word_of("kafka1", "kafka12 leads"));
        assert!(is_word_of("/controller", "Delete { path: \"/controller\" }"));
        assert!(!is_word_of("/controller", "/controller_epoch"));
    }
}
