//! Who is meant by a role of a Kafka cluster, and which situations a rule may wait for.

use kafkawire::Topic;
use machine::HostId;

use super::cluster::BrokerAt;
use super::oracle::KafkaOracle;

/// The roles a fault may be aimed at, each with a sentence. `<topic>-<partition>` stands for a partition, such as `orders-0`.
pub const KAFKA_ROLES: &[(&str, &str)] = &[
    ("controller", "the broker that was elected controller last, whether it still is or not"),
    ("former-controller", "the last other broker that was controller before it"),
    ("any-broker-but-the-controller", "the first live broker that is not the controller"),
    ("leader-of-<topic>-<partition>", "the broker that ZooKeeper names the leader of the partition"),
    ("isr-follower-of-<topic>-<partition>", "the first broker in the ISR of the partition that does not lead it"),
    (
        "last-isr-member-of-<topic>-<partition>",
        "the only broker in the ISR of the partition; nobody while it has several",
    ),
    ("out-of-sync-replica-of-<topic>-<partition>", "the first replica of the partition that is not in its ISR"),
];

/// Situations over several machines of a Kafka cluster, each with a sentence. They trigger rules as facts do.
pub const KAFKA_SITUATIONS: &[(&str, &str)] = &[
    (
        "follower-behind-high-watermark",
        "a follower in the ISR has records that its leader has just committed, and does not know it yet (S01)",
    ),
    ("isr-shrunk-to-one", "one broker alone is left in the ISR of a partition (S07)"),
    ("control-request-resent", "a controller sends a control request again, because it was never answered (S05)"),
    ("two-controllers", "a broker is elected controller while another still believes that it is (S06)"),
];

const PARTITION: &str = "<topic>-<partition>";

/// Every role there is in a cluster with these topics: the patterns are written out for each partition.
#[must_use]
pub fn kafka_roles<'a>(topics: impl IntoIterator<Item = (&'a Topic, i32)>) -> Vec<String> {
    let (patterns, plain): (Vec<&str>, Vec<&str>) =
        KAFKA_ROLES.iter().map(|&(role, _)| role).partition(|role| role.contains(PARTITION));
    let mut roles: Vec<String> = plain.into_iter().map(str::to_owned).collect();
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            let name = format!("{topic}-{partition}");
            roles.extend(patterns.iter().map(|pattern| pattern.replace(PARTITION, &name)));
        }
    }
    roles
}

impl KafkaOracle {
    /// Who has a role now; none if nobody has, or there is no such role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<HostId> {
        let host = |broker: BrokerAt| self.seating.cluster.brokers[broker].host;
        let terms = || self.znodes.terms.values().rev().filter_map(|term| self.seating.broker(term.broker));
        match name {
            "controller" => return terms().next().map(host),
            "former-controller" => {
                let controller = terms().next()?;
                return terms().find(|&broker| broker != controller).map(host);
            }
            "any-broker-but-the-controller" => {
                let controller = terms().next();
                let brokers = 0..self.brokers.len();
                return brokers.into_iter().find(|&it| Some(it) != controller && self.is_up(it)).map(host);
            }
            _ => {}
        }
        for (pattern, _) in KAFKA_ROLES {
            let Some(prefix) = pattern.strip_suffix(PARTITION) else { continue };
            let Some((topic, number)) = name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('-')) else {
                continue;
            };
            let at = self.find(topic, number.parse().ok()?)?;
            let partition = &self.partitions[at];
            let zk = partition.zk.as_ref()?;
            let is_follower = |broker: &BrokerAt| Some(*broker) != zk.leader;
            let broker = match prefix {
                "leader-of-" => zk.leader,
                "isr-follower-of-" => zk.isr.iter().find(is_follower),
                "last-isr-member-of-" => zk.isr.iter().next().filter(|_| zk.isr.iter().count() == 1),
                _ => partition.assigned.without(zk.isr).iter().next(),
            };
            return broker.map(host);
        }
        None
    }
}
