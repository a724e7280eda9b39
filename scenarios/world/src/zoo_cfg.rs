//! A stock `zoo.cfg`, read with the real server's keys, units and defaults (zookeeper.md §1.2).
//!
//! Bad values and malformed lines are errors with file, line and hint. Unknown keys are kept and listed with the nearest
//! known key, because the real server accepts them (it turns them into Java properties); valid keys that the model does not
//! have are listed as such. Nothing is ignored in silence.

mod keys;
mod servers;

use std::collections::BTreeMap;

use coordinator::ServerConfig;
use java_properties::{LineContent, PropertiesIter};
use jute::Sid;
use machine::Span;

use crate::place::{BadInput, nearest};
use keys::{Effect, KEYS};
pub use servers::ServerLine;

/// What is known about an unusual key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Line in the file.
    pub line: usize,
    /// The key.
    pub key: String,
    /// What to know about it.
    pub text: String,
}

/// A `zoo.cfg`, checked: every value in it is usable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZooCfg {
    /// Name of the file, for messages.
    pub file: String,
    values: Vec<(usize, String, String)>,
    /// `server.N` lines by id; empty in a stock sample file.
    pub servers: BTreeMap<Sid, ServerLine>,
    /// Keys that no server of this era knows.
    pub unknown: Vec<Remark>,
    /// Keys that are valid and not modelled.
    pub unmodelled: Vec<Remark>,
}

impl ZooCfg {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// A malformed line, a bad value, or values that contradict each other.
    pub fn parse(file: &str, text: &str) -> Result<Self, BadInput> {
        let mut cfg = Self { file: file.to_owned(), ..Self::default() };
        for line in PropertiesIter::new(text.as_bytes()) {
            let line =
                line.map_err(|error| BadInput::new(file, error.line_number(), format!("malformed line: {error}")))?;
            let number = line.line_number();
            match line.consume_content() {
                LineContent::Comment(_) => {}
                LineContent::KVPair(key, value) => cfg.entry(number, key.trim(), value.trim())?,
            }
        }
        cfg.check()?;
        Ok(cfg)
    }

    fn entry(&mut self, line: usize, key: &str, value: &str) -> Result<(), BadInput> {
        if let Some(id) = key.strip_prefix("server.") {
            let (sid, server) = servers::parse(&self.file, line, id, value)?;
            if self.servers.insert(sid, server).is_some() {
                return Err(BadInput::new(&self.file, Some(line), format!("server.{sid} is listed twice")));
            }
            return Ok(());
        }
        if key.starts_with("group.") || key.starts_with("weight.") || key.starts_with("authProvider.") {
            self.unmodelled.push(Remark {
                line,
                key: key.to_owned(),
                text: "valid, not modelled: it has no effect here".into(),
            });
            return Ok(());
        }
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            self.unknown.push(Remark { line, key: key.to_owned(), text: unknown_key(key) });
            return Ok(());
        };
        match known.effect {
            Effect::Set(set) => {
                // Tried on a throw-away configuration now, so that a bad value is an error with its line.
                set(&mut ServerConfig::standalone(), value).map_err(|expected| {
                    BadInput::new(&self.file, Some(line), format!("{key} is \"{value}\", which is not {expected}"))
                        .hint(format!("default: {}", known.default))
                })?;
                self.values.retain(|(_, earlier, _)| earlier != key); // As in java.util.Properties, the last one counts.
                self.values.push((line, key.to_owned(), value.to_owned()));
            }
            Effect::NotModelled => {
                self.unmodelled.push(Remark {
                    line,
                    key: key.to_owned(),
                    text: "valid, not modelled: it has no effect here".into(),
                });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), BadInput> {
        if !self.servers.is_empty() && self.servers.len() > 1 {
            for needed in ["initLimit", "syncLimit"] {
                if !self.values.iter().any(|(_, key, _)| key == needed) {
                    return Err(BadInput::new(
                        &self.file,
                        None,
                        format!("{needed} is missing, and servers are listed"),
                    )
                    .hint("an ensemble needs initLimit and syncLimit; the sample configuration says 10 and 5"));
                }
            }
        }
        let mut config = ServerConfig::standalone();
        self.apply_over(&mut config);
        if config.min_session() > config.max_session() {
            return Err(BadInput::new(
                &self.file,
                self.line_of_key("minSessionTimeout").or_else(|| self.line_of_key("maxSessionTimeout")),
                format!(
                    "minSessionTimeout {} is longer than maxSessionTimeout {}",
                    config.min_session(),
                    config.max_session()
                ),
            )
            .hint("their defaults are 2 and 20 ticks"));
        }
        Ok(())
    }

    fn line_of_key(&self, key: &str) -> Option<usize> {
        self.values.iter().find(|(_, name, _)| name == key).map(|&(line, _, _)| line)
    }

    /// Sets what the file says in a server's configuration, and the real server's default where it says nothing.
    ///
    /// # Panics
    /// Never: every value was tried when the file was read.
    pub fn apply(&self, config: &mut ServerConfig) {
        config.tick_time = Span::secs(3); // The sample files say 2000; a file without the key means 3000.
        self.apply_over(config);
    }

    /// Sets what the file says in a server's configuration, and nothing else.
    ///
    /// # Panics
    /// Never: every value was tried when the file was read.
    pub fn apply_over(&self, config: &mut ServerConfig) {
        // dataLogDir follows dataDir wherever it does not stand for itself, in whichever order the file has them.
        let (last, first): (Vec<_>, Vec<_>) = self.values.iter().partition(|(_, name, _)| name == "dataLogDir");
        for (_, name, value) in first.into_iter().chain(last) {
            let known = KEYS.iter().find(|known| known.name == name).expect("only known keys are kept");
            let Effect::Set(set) = known.effect else { unreachable!("only modelled keys are kept") };
            set(config, value).expect("tried when the file was read");
        }
    }

    /// The keys the model reads, with their defaults, in order: what `tribunal list config` shows.
    pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        KEYS.iter().map(|key| (key.name, key.default, matches!(key.effect, Effect::Set(_))))
    }
}

fn unknown_key(key: &str) -> String {
    if let Some(bare) = key.strip_prefix("zookeeper.")
        && KEYS.iter().any(|known| known.name == bare)
    {
        return format!("no effect: the real server adds the prefix itself; write `{bare}`");
    }
    match nearest(key, KEYS.iter().map(|known| known.name)) {
        Some(near) => format!("unknown; did you mean `{near}`?"),
        None => format!("unknown; the real server would set the Java property zookeeper.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::ZooCfg;
    use coordinator::ServerConfig;
    use machine::Span;

    const SAMPLE: &str = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                          dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n";

    #[test]
    fn the_stock_sample_file_is_read_without_a_remark() {
        let cfg = ZooCfg::parse("zoo_sample.cfg", SAMPLE).expect("the stock file");
        assert!(cfg.unknown.is_empty() && cfg.unmodelled.is_empty(), "{cfg:?}");
        let mut config = ServerConfig::standalone();
        config.tick_time = Span::millis(1);
        cfg.apply(&mut config);
        assert_eq!(config.tick_time, Span::secs(2));
        assert_eq!(config.max_session(), Span::secs(40));
    }

    #[test]
    fn a_bad_value_names_file_line_value_and_default() {
        let error = ZooCfg::parse("zoo.cfg", "initLimit=10\ntickTime=fast\n").expect_err("not a number");
        let text = error.to_string();
        assert!(text.starts_with("zoo.cfg:2: tickTime is \"fast\""), "{text}");
        assert!(text.contains("default: 3000"), "{text}");
    }

    #[test]
    fn unknown_keys_are_kept_with_the_nearest_known_one() {
        let cfg = ZooCfg::parse("zoo.cfg", "tickTme=2000\nzookeeper.snapCount=5\nqux=1\n")
            .expect("accepted, like the real one");
        let texts: Vec<&str> = cfg.unknown.iter().map(|remark| remark.text.as_str()).collect();
        assert_eq!(texts[0], "unknown; did you mean `tickTime`?");
        assert!(texts[1].contains("write `snapCount`"), "{texts:?}");
        assert!(texts[2].contains("Java property zookeeper.qux"), "{texts:?}");
        assert_eq!(cfg.unknown[1].line, 2);
    }

    #[test]
    fn a_valid_key_that_is_not_modelled_is_said_to_be_so() {
        let cfg = ZooCfg::parse("zoo.cfg", "autopurge.purgeInterval=24\n").expect("valid");
        assert_eq!(cfg.unmodelled.len(), 1);
        assert!(cfg.unknown.is_empty());
    }

    #[test]
    fn session_bounds_that_contradict_each_other_are_an_error() {
        let error = ZooCfg::parse("zoo.cfg", "tickTime=2000\nminSessionTimeout=9000\nmaxSessionTimeout=8000\n")
            .expect_err("9 s > 8 s");
        assert!(error.to_string().starts_with("zoo.cfg:2: minSessionTimeout 9s is longer"), "{error}");
    }

    #[test]
    fn server_lines_are_read_with_ports_role_and_client_address() {
        let text = "initLimit=5\nsyncLimit=2\nserver.1=zoo1:2888:3888\nserver.2=zoo2:2889:3889:participant;2182\n\
                    server.3=zoo3:2888:3888;0.0.0.0:2181\n";
        let cfg = ZooCfg::parse("zoo.cfg", text).expect("three servers");
        let ports: Vec<_> = cfg.servers.values().map(|s| (s.quorum_port, s.election_port, s.client_port)).collect();
        assert_eq!(ports, [(2888, 3888, None), (2889, 3889, Some(2182)), (2888, 3888, Some(2181))]);
    }

    #[test]
    fn an_observer_is_refused_and_an_ensemble_needs_its_limits() {
        let error =
            ZooCfg::parse("zoo.cfg", "initLimit=5\nsyncLimit=2\nserver.1=a:1:2:observer\n").expect_err("observer");
        assert!(error.to_string().contains("observer"), "{error}");
        let error = ZooCfg::parse("zoo.cfg", "server.1=a:1:2\nserver.2=b:1:2\n").expect_err("no initLimit");
        assert!(error.to_string().contains("initLimit is missing"), "{error}");
        let error = ZooCfg::parse("zoo.cfg", "server.x=a:1:2\n").expect_err("no number");
        assert!(error.to_string().starts_with("zoo.cfg:1: "), "{error}");
    }
}
