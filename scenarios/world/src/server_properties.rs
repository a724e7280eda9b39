//! A stock `server.properties`, read with the real broker's keys, units and defaults (kafka-broker.md §1).
//!
//! The real broker accepts unknown keys: it logs them and goes on. Which host a broker runs on, its id and its ensemble are the
//! world's, whatever the file says.

mod keys;

use broker::BrokerConfig;
use kafkawire::BrokerId;
use machine::Port;

use crate::place::{BadInput, nearest};
use crate::properties::{Effect, Properties, Remark};
use keys::KEYS;

/// The key that selects an era.
const INTER_BROKER_PROTOCOL: &str = "inter.broker.protocol.version";

/// What a world decides, whatever a file says.
const OF_THE_WORLD: &[(&str, &str)] = &[
    ("broker.id", "each broker of a world has its own, from 1"),
    ("zookeeper.connect", "the brokers of a world use its own ensemble"),
    ("advertised.listeners", "the brokers of a world are known by their hosts' names"),
];

/// A `server.properties`, checked: every value in it is usable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerProperties {
    /// Its lines.
    pub properties: Properties,
    /// What the world decides although the file says something, and what is read although the file says nothing.
    pub notes: Vec<Remark>,
}

fn blank() -> BrokerConfig {
    BrokerConfig::new(BrokerId(0), "localhost", Port(9092))
}

impl ServerProperties {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// A malformed line, a bad value, a file of a broker without ZooKeeper.
    pub fn parse(file: &str, text: &str) -> Result<Self, BadInput> {
        let mut this = Self::parse_some(file, text)?;
        if !this.properties.has(INTER_BROKER_PROTOCOL) {
            this.notes.push(Remark {
                line: 0,
                key: INTER_BROKER_PROTOCOL.to_owned(),
                text: "absent: read as 2.6".to_owned(),
            });
        }
        Ok(this)
    }

    /// Reads keys that are no whole file: what they do not say is not said.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_some(file: &str, text: &str) -> Result<Self, BadInput> {
        let mut notes = Vec::new();
        let special = |_: &mut Properties, line: usize, key: &str, _: &str| {
            if key == "process.roles" || key.starts_with("controller.quorum.") {
                let what = format!("{key} is for a broker without ZooKeeper (KRaft), which is not modelled");
                return Err(BadInput::new(file, Some(line), what)
                    .hint("use the file of the same release that has zookeeper.connect"));
            }
            let Some(&(_, text)) = OF_THE_WORLD.iter().find(|&&(name, _)| name == key) else { return Ok(false) };
            notes.push(Remark { line, key: key.to_owned(), text: text.to_owned() });
            Ok(true)
        };
        let properties = Properties::read(file, text, KEYS, blank, special, unknown_key)?;
        let this = Self { properties, notes };
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), BadInput> {
        let mut config = blank();
        self.apply(&mut config);
        if config.replica_fetch_wait_max >= config.replica_lag_time_max {
            let line = ["replica.fetch.wait.max.ms", "replica.lag.time.max.ms"]
                .iter()
                .find_map(|key| self.properties.line_of_key(key));
            return Err(BadInput::new(
                &self.properties.file,
                line,
                format!(
                    "replica.fetch.wait.max.ms {} is not below replica.lag.time.max.ms {}",
                    config.replica_fetch_wait_max, config.replica_lag_time_max
                ),
            )
            .hint("followers without traffic would fall out of the ISR; the defaults are 500 and 30000"));
        }
        Ok(())
    }

    /// Sets what the file says in a broker's configuration, and nothing else.
    ///
    /// # Panics
    /// Never: every value was tried when the file was read.
    pub fn apply(&self, config: &mut BrokerConfig) {
        // The finer unit wins, in whichever order the file has them; a connection waits as long as a session unless it says so.
        let session = self.properties.has("zookeeper.session.timeout.ms");
        let connection = self.properties.has("zookeeper.connection.timeout.ms");
        self.properties.apply(KEYS, &["log.roll.ms"], config);
        if session && !connection {
            config.zookeeper_connection_timeout = config.zookeeper_session_timeout;
        }
    }

    /// The keys the model reads, with their defaults, in order: what `tribunal list config` shows.
    pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        KEYS.iter().map(|key| (key.name, key.default, matches!(key.effect, Effect::Set(_))))
    }
}

fn unknown_key(key: &str) -> String {
    match nearest(key, KEYS.iter().map(|known| known.name)) {
        Some(near) => format!("unknown; did you mean `{near}`?"),
        None => "unknown; the real broker would log it and go on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerProperties, blank};
    use machine::Span;

    /// The keys of the file that comes with Kafka 3.3, with their values.
    const STOCK: &str = "broker.id=0\nnum.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
                         socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\nlog.dirs=/tmp/kafka-logs\n\
                         num.partitions=1\nnum.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
                         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
                         log.retention.hours=168\nlog.retention.check.interval.ms=300000\n\
                         zookeeper.connect=localhost:2181\nzookeeper.connection.timeout.ms=18000\n\
                         group.initial.rebalance.delay.ms=0\n";

    #[test]
    fn the_stock_file_is_read_as_2_6_and_says_so() {
        let read = ServerProperties::parse("server.properties", STOCK).expect("the stock file");
        assert!(read.properties.unknown.is_empty(), "{:?}", read.properties.unknown);
        let notes: Vec<&str> = read.notes.iter().map(|note| note.key.as_str()).collect();
        assert_eq!(notes, ["broker.id", "zookeeper.connect", "inter.broker.protocol.version"]);
        let mut config = blank();
        read.apply(&mut config);
        assert_eq!(config.zookeeper_connection_timeout, Span::secs(18));
    }

    #[test]
    fn a_bad_value_names_file_line_value_and_default() {
        let error = ServerProperties::parse("server.properties", "num.io.threads=8\nmin.insync.replicas=two\n");
        let text = error.expect_err("not a number").to_string();
        assert!(text.starts_with("server.properties:2: min.insync.replicas is \"two\""), "{text}");
        assert!(text.contains("default: 1"), "{text}");
    }

    #[test]
    fn a_later_protocol_and_a_file_without_zookeeper_are_refused() {
        let error = ServerProperties::parse("s", "inter.broker.protocol.version=3.3\n").expect_err("AlterPartition");
        assert!(error.to_string().contains("a version from 2.2 to 2.6"), "{error}");
        let error = ServerProperties::parse("s", "process.roles=broker,controller\n").expect_err("KRaft");
        assert!(error.to_string().contains("KRaft"), "{error}");
    }

    #[test]
    fn unknown_keys_are_kept_with_the_nearest_known_one() {
        let read = ServerProperties::parse("s", "min.insync.replica=2\nconfluent.support.metrics.enable=true\n");
        let read = read.expect("accepted, like the real one");
        assert_eq!(read.properties.unknown[0].text, "unknown; did you mean `min.insync.replicas`?");
        assert_eq!(read.properties.unknown[1].line, 2);
    }

    #[test]
    fn a_follower_may_not_wait_longer_than_it_may_lag() {
        let error = ServerProperties::parse("s", "replica.lag.time.max.ms=400\n").expect_err("400 < 500");
        assert!(error.to_string().starts_with("s:1: replica.fetch.wait.max.ms 500ms is not below"), "{error}");
    }
}
