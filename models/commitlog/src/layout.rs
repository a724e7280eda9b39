//! Names of files and directories in a log dir (kafka-broker.md §5.1).

use kafkawire::{Offset, TopicPartition};

/// Marks the file of a segment that waits to be removed.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";
/// Marks the directory of a partition that waits to be removed.
const DELETE_SUFFIX: &str = "-delete";

pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";

pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const META_PROPERTIES: &str = "meta.properties";
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// The path of a segment's file, such as `kafka-logs/orders-0/00000000000000000042.log`.
pub(crate) fn segment_file(dir: &str, base: Offset, suffix: &str) -> String {
    format!("{dir}/{:020}{suffix}", base.0)
}

/// The base offset that a segment's file of that name and suffix has.
pub(crate) fn base_offset(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit())).map(Offset)
}

/// What the name of a directory in a log dir says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DirName {
    /// `orders-0`.
    Partition(TopicPartition),
    /// `orders-0.<32 hex digits>-delete`.
    Deleted,
    /// Anything else: no broker made it.
    Strange,
}

impl DirName {
    pub(crate) fn parse(name: &str) -> Self {
        if let Some(rest) = name.strip_suffix(DELETE_SUFFIX) {
            return match rest.rsplit_once('.') {
                Some((partition, id))
                    if id.len() == 32
                        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
                        && parse_partition(partition).is_some() =>
                {
                    Self::Deleted
                }
                Some(_) | None => Self::Strange,
            };
        }
        parse_partition(name).map_or(Self::Strange, Self::Partition)
    }
}

/// The name a partition's directory gets while it waits to be removed.
pub(crate) fn deleted_dir(tp: &TopicPartition, id: u128) -> String {
    // A directory's name has at most 255 characters: as the real one, it is the topic that is cut.
    let rest = format!("-{}.{id:032x}{DELETE_SUFFIX}", tp.partition);
    let topic: String = tp.topic.as_str().chars().take(255 - rest.len()).collect();
    format!("{topic}{rest}")
}

fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse().ok().filter(|&partition: &i32| partition >= 0)?;
    if topic.is_empty() { None } else { Some(TopicPartition::new(topic, partition)) }
}

#[cfg(test)]
mod tests {
    use kafkawire::{Offset, TopicPartition};

    use super::{DirName, LOG, base_offset, deleted_dir, segment_file};

    #[test]
    fn names_are_read_back() {
        let path = segment_file("kafka-logs/orders-0", Offset(42), LOG);
        assert_eq!(path, "kafka-logs/orders-0/00000000000000000042.log");
        assert_eq!(base_offset("00000000000000000042.log", LOG), Some(Offset(42)));
        assert_eq!(base_offset("00000000000000000042.log.deleted", LOG), None);
        assert_eq!(base_offset("+0000000000000000042.log", LOG), None);
        let tp = TopicPartition::new("a-b.c", 7);
        assert_eq!(DirName::parse("a-b.c-7"), DirName::Partition(tp.clone()));
        assert_eq!(DirName::parse(&deleted_dir(&tp, 0xABC)), DirName::Deleted);
        for name in ["orders", "-0", "orders--x", "orders-0-delete", "orders-0.abc-delete"] {
            assert_eq!(DirName::parse(name), DirName::Strange, "{name}");
        }
        let long = TopicPartition::new("x".repeat(249).as_str(), 3);
        let name = deleted_dir(&long, 1);
        assert_eq!((name.len(), DirName::parse(&name)), (255, DirName::Deleted));
    }
}
