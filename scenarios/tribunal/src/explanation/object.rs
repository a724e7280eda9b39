//! What was violated: the partition, znode, session or zxid that a violation names, so that a slice keeps what touches it.

use engine::Violation;
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
        let named = |name: &String| is_word_of(name, &violation.headline);
        let hosts = topology.names().into_iter().filter(named).collect();
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
        let is_named = |value: &str| self.paths.iter().chain(&self.numbers).any(|name| name == value);
        let is_about_host = turns && of("topic").is_none() && self.hosts.iter().any(|name| name == host);
        is_about_host || fields.iter().any(|(_, value)| is_named(value))
    }

    /// Which of its names the text of a message has, as far as the text goes.
    pub(super) fn named_in(&self, summary: &str) -> Option<String> {
        let names = self.paths.iter().chain(&self.numbers);
        let named = names.filter(|name| is_word_of(name, summary)).max_by_key(|name| name.len());
        let partition = || self.partitions.iter().find(|(topic, _)| is_word_of(topic, summary));
        named.cloned().or_else(|| partition().map(|(topic, number)| format!("{topic}-{number}")))
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
