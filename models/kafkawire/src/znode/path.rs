//! Where things are.

use crate::{BrokerId, Topic, TopicPartition};

/// The claim of the active controller.
pub const CONTROLLER: &str = "/controller";
/// The epoch of the last elected controller, as decimal text.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// The registered brokers.
pub const BROKERS_IDS: &str = "/brokers/ids";
/// The topics.
pub const BROKERS_TOPICS: &str = "/brokers/topics";
/// The counter of generated broker ids.
pub const BROKERS_SEQID: &str = "/brokers/seqid";
/// Topics' own settings.
pub const CONFIG_TOPICS: &str = "/config/topics";
/// Topics whose deletion was asked.
pub const ADMIN_DELETE_TOPICS: &str = "/admin/delete_topics";
/// Where leaders tell the controller that they wrote an ISR.
pub const ISR_CHANGE_NOTIFICATION: &str = "/isr_change_notification";
/// Where brokers tell the controller that a log directory failed.
pub const LOG_DIR_EVENT_NOTIFICATION: &str = "/log_dir_event_notification";
/// Groups of the consumers that are balanced by ZooKeeper, and their offsets.
pub const CONSUMERS: &str = "/consumers";

/// The persistent znodes that every broker creates at its start if they are absent, with their parents, in this order.
pub const TOP_LEVEL: &[&str] = &[
    CONSUMERS,
    BROKERS_IDS,
    BROKERS_TOPICS,
    "/config/changes",
    ADMIN_DELETE_TOPICS,
    BROKERS_SEQID,
    ISR_CHANGE_NOTIFICATION,
    "/latest_producer_id_block",
    LOG_DIR_EVENT_NOTIFICATION,
    CONFIG_TOPICS,
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
];

/// A broker's registration.
#[must_use]
pub fn broker_id(broker: BrokerId) -> String {
    format!("{BROKERS_IDS}/{broker}")
}

/// A topic's assignment.
#[must_use]
pub fn topic(topic: &Topic) -> String {
    format!("{BROKERS_TOPICS}/{topic}")
}

/// The parent of a topic's partitions.
#[must_use]
pub fn topic_partitions(topic: &Topic) -> String {
    format!("{BROKERS_TOPICS}/{topic}/partitions")
}

/// The parent of a partition's state.
#[must_use]
pub fn partition(partition: &TopicPartition) -> String {
    format!("{BROKERS_TOPICS}/{}/partitions/{}", partition.topic, partition.partition)
}

/// A partition's leader, epochs and ISR.
#[must_use]
pub fn partition_state(partition: &TopicPartition) -> String {
    format!("{BROKERS_TOPICS}/{}/partitions/{}/state", partition.topic, partition.partition)
}

/// A topic's own settings.
#[must_use]
pub fn topic_config(topic: &Topic) -> String {
    format!("{CONFIG_TOPICS}/{topic}")
}

/// The request to delete a topic.
#[must_use]
pub fn delete_topic(topic: &Topic) -> String {
    format!("{ADMIN_DELETE_TOPICS}/{topic}")
}

/// What a leader creates, sequential and persistent, to tell that it wrote an ISR.
#[must_use]
pub fn isr_change_prefix() -> String {
    format!("{ISR_CHANGE_NOTIFICATION}/{ISR_CHANGE}")
}

/// What a broker creates, sequential and persistent, to tell that a log directory failed.
#[must_use]
pub fn log_dir_event_prefix() -> String {
    format!("{LOG_DIR_EVENT_NOTIFICATION}/{LOG_DIR_EVENT}")
}

/// The parent of a group's members.
#[must_use]
pub fn consumer_ids(group: &str) -> String {
    format!("{CONSUMERS}/{group}/ids")
}

/// A member of a group.
#[must_use]
pub fn consumer_id(group: &str, consumer: &str) -> String {
    format!("{CONSUMERS}/{group}/ids/{consumer}")
}

/// The parent of a group's claims on partitions of a topic.
#[must_use]
pub fn consumer_owners(group: &str, topic: &Topic) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}")
}

/// A group's claim on a partition.
#[must_use]
pub fn consumer_owner(group: &str, partition: &TopicPartition) -> String {
    format!("{CONSUMERS}/{group}/owners/{}/{}", partition.topic, partition.partition)
}

/// The parent of a group's offsets in a topic.
#[must_use]
pub fn consumer_offsets(group: &str, topic: &Topic) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}")
}

/// A group's offset in a partition.
#[must_use]
pub fn consumer_offset(group: &str, partition: &TopicPartition) -> String {
    format!("{CONSUMERS}/{group}/offsets/{}/{}", partition.topic, partition.partition)
}

const ISR_CHANGE: &str = "isr_change_";
const LOG_DIR_EVENT: &str = "log_dir_event_";

/// The number at the end of the name of a sequential znode, path or last component.
#[must_use]
pub fn sequence_of(name: &str) -> Option<i32> {
    let (_, number) = name.rsplit_once('_')?;
    number.parse().ok()
}

/// What a path means.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Znode {
    /// [`CONTROLLER`].
    Controller,
    /// [`CONTROLLER_EPOCH`].
    ControllerEpoch,
    /// [`CLUSTER_ID`].
    ClusterId,
    /// [`BROKERS_IDS`].
    BrokerIds,
    /// [`broker_id`].
    BrokerId(BrokerId),
    /// [`BROKERS_SEQID`].
    BrokersSeqid,
    /// [`BROKERS_TOPICS`].
    Topics,
    /// [`topic`](fn@topic).
    Topic(Topic),
    /// [`topic_partitions`].
    TopicPartitions(Topic),
    /// [`partition`](fn@partition).
    Partition(TopicPartition),
    /// [`partition_state`].
    PartitionState(TopicPartition),
    /// [`topic_config`].
    TopicConfig(Topic),
    /// [`ADMIN_DELETE_TOPICS`].
    DeleteTopics,
    /// [`delete_topic`].
    DeleteTopic(Topic),
    /// [`ISR_CHANGE_NOTIFICATION`].
    IsrChanges,
    /// One of [`isr_change_prefix`], with its sequence number.
    IsrChange(i32),
    /// [`LOG_DIR_EVENT_NOTIFICATION`].
    LogDirEvents,
    /// One of [`log_dir_event_prefix`], with its sequence number.
    LogDirEvent(i32),
    /// [`CONSUMERS`].
    Consumers,
    /// [`consumer_ids`].
    ConsumerIds {
        /// The group.
        group: String,
    },
    /// [`consumer_id`].
    ConsumerId {
        /// The group.
        group: String,
        /// The member.
        consumer: String,
    },
    /// [`consumer_owners`].
    ConsumerOwners {
        /// The group.
        group: String,
        /// The topic.
        topic: Topic,
    },
    /// [`consumer_owner`].
    ConsumerOwner {
        /// The group.
        group: String,
        /// What is claimed.
        partition: TopicPartition,
    },
    /// [`consumer_offsets`].
    ConsumerOffsets {
        /// The group.
        group: String,
        /// The topic.
        topic: Topic,
    },
    /// [`consumer_offset`].
    ConsumerOffset {
        /// The group.
        group: String,
        /// Where.
        partition: TopicPartition,
    },
}

impl Znode {
    /// What a path means; none if it is not one of these, such as the parent of one or what another era keeps.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let names: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match names.as_slice() {
            ["controller"] => Self::Controller,
            ["controller_epoch"] => Self::ControllerEpoch,
            ["cluster", "id"] => Self::ClusterId,
            ["brokers", "ids"] => Self::BrokerIds,
            ["brokers", "ids", id] => Self::BrokerId(BrokerId(index(id)?)),
            ["brokers", "seqid"] => Self::BrokersSeqid,
            ["brokers", "topics"] => Self::Topics,
            ["brokers", "topics", topic] => Self::Topic(Topic::from(*topic)),
            ["brokers", "topics", topic, "partitions"] => Self::TopicPartitions(Topic::from(*topic)),
            ["brokers", "topics", topic, "partitions", at] => Self::Partition(in_topic(topic, at)?),
            ["brokers", "topics", topic, "partitions", at, "state"] => Self::PartitionState(in_topic(topic, at)?),
            ["config", "topics", topic] => Self::TopicConfig(Topic::from(*topic)),
            ["admin", "delete_topics"] => Self::DeleteTopics,
            ["admin", "delete_topics", topic] => Self::DeleteTopic(Topic::from(*topic)),
            ["isr_change_notification"] => Self::IsrChanges,
            ["isr_change_notification", name] => Self::IsrChange(name.strip_prefix(ISR_CHANGE)?.parse().ok()?),
            ["log_dir_event_notification"] => Self::LogDirEvents,
            ["log_dir_event_notification", name] => Self::LogDirEvent(name.strip_prefix(LOG_DIR_EVENT)?.parse().ok()?),
            ["consumers"] => Self::Consumers,
            ["consumers", group, "ids"] => Self::ConsumerIds { group: (*group).to_owned() },
            ["consumers", group, "ids", consumer] => {
                Self::ConsumerId { group: (*group).to_owned(), consumer: (*consumer).to_owned() }
            }
            ["consumers", group, "owners", topic] => {
                Self::ConsumerOwners { group: (*group).to_owned(), topic: Topic::from(*topic) }
            }
            ["consumers", group, "owners", topic, at] => {
                Self::ConsumerOwner { group: (*group).to_owned(), partition: in_topic(topic, at)? }
            }
            ["consumers", group, "offsets", topic] => {
                Self::ConsumerOffsets { group: (*group).to_owned(), topic: Topic::from(*topic) }
            }
            ["consumers", group, "offsets", topic, at] => {
                Self::ConsumerOffset { group: (*group).to_owned(), partition: in_topic(topic, at)? }
            }
            _ => return None,
        })
    }
}

fn in_topic(topic: &str, partition: &str) -> Option<TopicPartition> {
    Some(TopicPartition::new(topic, index(partition)?))
}

/// A number as Kafka writes it into paths: no sign, no leading zero.
fn index(text: &str) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::{
        CLUSTER_ID, CONTROLLER, CONTROLLER_EPOCH, TOP_LEVEL, Znode, broker_id, consumer_id, consumer_ids,
        consumer_offset, consumer_offsets, consumer_owner, consumer_owners, delete_topic, isr_change_prefix,
        log_dir_event_prefix, partition, partition_state, sequence_of, topic, topic_config, topic_partitions,
    };
    use crate::{BrokerId, Topic, TopicPartition};

    #[track_caller]
    fn check(path: &str, means: Znode) {
        assert_eq!(Znode::of(path), Some(means), "{path}");
    }

    #[test]
    fn every_path_is_recognised() {
        let orders = Topic::from("orders");
        let third = TopicPartition::new("orders", 3);
        let group = || "g".to_owned();
        check(CONTROLLER, Znode::Controller);
        check(CONTROLLER_EPOCH, Znode::ControllerEpoch);
        check(CLUSTER_ID, Znode::ClusterId);
        check(&broker_id(BrokerId(7)), Znode::BrokerId(BrokerId(7)));
        check(&topic(&orders), Znode::Topic(orders.clone()));
        check(&topic_partitions(&orders), Znode::TopicPartitions(orders.clone()));
        check(&partition(&third), Znode::Partition(third.clone()));
        check(&partition_state(&third), Znode::PartitionState(third.clone()));
        check(&topic_config(&orders), Znode::TopicConfig(orders.clone()));
        check(&delete_topic(&orders), Znode::DeleteTopic(orders.clone()));
        check(&format!("{}0000000003", isr_change_prefix()), Znode::IsrChange(3));
        check(&format!("{}0000000012", log_dir_event_prefix()), Znode::LogDirEvent(12));
        check(&consumer_ids("g"), Znode::ConsumerIds { group: group() });
        check(&consumer_id("g", "c"), Znode::ConsumerId { group: group(), consumer: "c".to_owned() });
        check(&consumer_owners("g", &orders), Znode::ConsumerOwners { group: group(), topic: orders.clone() });
        check(&consumer_owner("g", &third), Znode::ConsumerOwner { group: group(), partition: third.clone() });
        check(&consumer_offsets("g", &orders), Znode::ConsumerOffsets { group: group(), topic: orders });
        check(&consumer_offset("g", &third), Znode::ConsumerOffset { group: group(), partition: third });
    }

    #[test]
    fn paths_are_those_of_the_reference() {
        assert_eq!(partition_state(&TopicPartition::new("orders", 3)), "/brokers/topics/orders/partitions/3/state");
        assert_eq!(consumer_offset("g", &TopicPartition::new("orders", 3)), "/consumers/g/offsets/orders/3");
        assert_eq!(isr_change_prefix(), "/isr_change_notification/isr_change_");
        assert_eq!(sequence_of("isr_change_0000000003"), Some(3));
    }

    #[test]
    fn other_paths_mean_nothing() {
        for path in [
            "",
            "/",
            "brokers/ids/1",
            "/brokers/ids/x",
            "/brokers/ids/01",
            "/brokers",
            "/brokers/topics/t/partitions/-1",
        ] {
            assert_eq!(Znode::of(path), None, "{path}");
        }
        // Parents that exist for their children only, and what this era does not read.
        assert!(TOP_LEVEL.iter().filter(|path| Znode::of(path).is_some()).count() >= 6);
    }
}
