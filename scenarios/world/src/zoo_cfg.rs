//! A stock `zoo.cfg`, read with the real server's keys, units and defaults (zookeeper.md §1.2).
//!
//! The real server accepts unknown keys: it turns them into Java properties.

mod keys;
mod servers;

use std::collections::BTreeMap;

use coordinator::{Hierarchy, LearnerType, ServerConfig};
use jute::Sid;
use machine::Span;

use crate::place::{BadInput, nearest};
use crate::properties::{Effect, Properties, Remark};
use keys::KEYS;
pub use servers::ServerLine;

/// A `zoo.cfg`, checked: every value in it is usable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZooCfg {
    /// Its lines.
    pub properties: Properties,
    /// `server.N` lines by id; empty in a stock sample file.
    pub servers: BTreeMap<Sid, ServerLine>,
    /// `group.N` and `weight.N` lines, if there are any.
    pub hierarchy: Option<Hierarchy>,
}

impl ZooCfg {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// A malformed line, a bad value, or values that contradict each other.
    pub fn parse(file: &str, text: &str) -> Result<Self, BadInput> {
        let mut servers = BTreeMap::new();
        let mut hierarchy = Hierarchy::default();
        let special = |properties: &mut Properties, line: usize, key: &str, value: &str| {
            if let Some(id) = key.strip_prefix("server.") {
                let (sid, server) = servers::parse(file, line, id, value)?;
                if servers.insert(sid, server).is_some() {
                    return Err(BadInput::new(file, Some(line), format!("server.{sid} is listed twice")));
                }
                return Ok(true);
            }
            if let Some(group) = key.strip_prefix("group.") {
                servers::parse_group(file, line, group, value, &mut hierarchy)?;
                return Ok(true);
            }
            if let Some(id) = key.strip_prefix("weight.") {
                servers::parse_weight(file, line, id, value, &mut hierarchy)?;
                return Ok(true);
            }
            let is_provider = key.starts_with("authProvider.");
            if is_provider {
                properties.unmodelled.push(Remark::not_modelled(line, key));
            }
            Ok(is_provider)
        };
        let properties = Properties::read(file, text, KEYS, ServerConfig::standalone, special, unknown_key)?;
        let hierarchy = Some(hierarchy).filter(|hierarchy| *hierarchy != Hierarchy::default());
        let cfg = Self { properties, servers, hierarchy };
        cfg.check()?;
        Ok(cfg)
    }

    fn check(&self) -> Result<(), BadInput> {
        if !self.servers.is_empty() && self.servers.len() > 1 {
            for needed in ["initLimit", "syncLimit"] {
                if !self.properties.has(needed) {
                    return Err(BadInput::new(
                        &self.properties.file,
                        None,
                        format!("{needed} is missing, and servers are listed"),
                    )
                    .hint("an ensemble needs initLimit and syncLimit; the sample configuration says 10 and 5"));
                }
            }
        }
        let voters: Vec<Sid> = self
            .servers
            .iter()
            .filter(|(_, line)| line.role == LearnerType::Participant)
            .map(|(&sid, _)| sid)
            .collect();
        if !self.servers.is_empty() && voters.is_empty() {
            return Err(BadInput::new(&self.properties.file, None, "every server is an observer")
                .hint("observers without participants is an invalid configuration"));
        }
        if let Some(hierarchy) = &self.hierarchy
            && let Some(sid) = voters.iter().find(|sid| !hierarchy.groups.contains_key(sid))
        {
            return Err(BadInput::new(&self.properties.file, None, format!("server {sid} is not in a group"))
                .hint("with group.N lines every participant is in exactly one group"));
        }
        let mut config = ServerConfig::standalone();
        self.apply_over(&mut config);
        if voters.len() == 1 && self.servers.len() > 1 && config.standalone_enabled {
            return Err(BadInput::new(&self.properties.file, None, "observers, and only one participant")
                .hint("observers without a quorum is an invalid configuration unless standaloneEnabled=false"));
        }
        if config.min_session() > config.max_session() {
            return Err(BadInput::new(
                &self.properties.file,
                self.properties
                    .line_of_key("minSessionTimeout")
                    .or_else(|| self.properties.line_of_key("maxSessionTimeout")),
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
        self.properties.apply(KEYS, &["dataLogDir"], config);
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
    use coordinator::{LearnerType, ServerConfig};
    use machine::Span;

    const SAMPLE: &str = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                          dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n";

    #[test]
    fn the_stock_sample_file_is_read_without_a_remark() {
        let cfg = ZooCfg::parse("zoo_sample.cfg", SAMPLE).expect("the stock file");
        assert!(cfg.properties.unknown.is_empty() && cfg.properties.unmodelled.is_empty(), "{cfg:?}");
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
        let texts: Vec<&str> = cfg.properties.unknown.iter().map(|remark| remark.text.as_str()).collect();
        assert_eq!(texts[0], "unknown; did you mean `tickTime`?");
        assert!(texts[1].contains("write `snapCount`"), "{texts:?}");
        assert!(texts[2].contains("Java property zookeeper.qux"), "{texts:?}");
        assert_eq!(cfg.properties.unknown[1].line, 2);
    }

    #[test]
    fn a_valid_key_that_is_not_modelled_is_said_to_be_so() {
        let cfg = ZooCfg::parse("zoo.cfg", "observerMasterPort=2191\n").expect("valid");
        assert_eq!(cfg.properties.unmodelled.len(), 1);
        assert!(cfg.properties.unknown.is_empty());
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
    fn groups_and_weights_are_read_and_checked() {
        let text = "initLimit=5\nsyncLimit=2\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
        let parse = |lines: &str| ZooCfg::parse("zoo.cfg", &format!("{text}{lines}"));
        let cfg = parse("group.1=1:2\ngroup.2=3\nweight.2=5\n").expect("two groups");
        let hierarchy = cfg.hierarchy.expect("groups");
        assert_eq!(hierarchy.groups.values().copied().collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(hierarchy.weights.values().copied().collect::<Vec<_>>(), [5]);
        for (lines, what) in [
            ("group.1=1:2\n", "server 3 is not in a group"),
            ("group.1=1:2\ngroup.2=2:3\n", "in two groups"),
            ("group.x=1\n", "group.x"),
            ("weight.1=heavy\n", "weight.1"),
        ] {
            let error = parse(lines).expect_err(lines).to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(parse("").expect("a majority").hierarchy.is_none());
    }

    #[test]
    fn observers_need_voters_and_an_ensemble_needs_its_limits() {
        let limits = "initLimit=5\nsyncLimit=2\n";
        let parse = |lines: &str| ZooCfg::parse("zoo.cfg", &format!("{limits}{lines}"));
        let cfg = parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n").expect("an observer");
        assert_eq!(cfg.servers.values().filter(|line| line.role == LearnerType::Observer).count(), 1);
        let error = parse("server.1=a:1:2:observer\n").expect_err("nobody votes");
        assert!(error.to_string().contains("every server is an observer"), "{error}");
        let error = parse("server.1=a:1:2\nserver.2=b:1:2:observer\n").expect_err("one voter");
        assert!(error.to_string().contains("only one participant"), "{error}");
        assert!(parse("standaloneEnabled=false\nserver.1=a:1:2\nserver.2=b:1:2:observer\n").is_ok());
        let error = ZooCfg::parse("zoo.cfg", "server.1=a:1:2\nserver.2=b:1:2\n").expect_err("no initLimit");
        assert!(error.to_string().contains("initLimit is missing"), "{error}");
        let error = ZooCfg::parse("zoo.cfg", "server.x=a:1:2\n").expect_err("no number");
        assert!(error.to_string().starts_with("zoo.cfg:1: "), "{error}");
    }
}
