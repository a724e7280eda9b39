//! What Kafka's facts mean, in words.

use record::Weight;

use super::Fields;

/// A leader's id as people say it: −1 is nobody.
pub(super) fn whom(id: &str) -> &str {
    if id == "-1" { "nobody" } else { id }
}

/// What to say about a fact of a broker's or of a client of Kafka's; none if nobody wants to know, or it is neither's.
pub(super) fn words(kind: &str, fields: &Fields<'_>) -> Option<(Weight, String)> {
    use Weight::{Detail, Step, Turn};
    let f = |name| fields.of(name);
    let tp = || format!("{}-{}", f("topic"), f("partition"));
    Some(match kind {
        "log-loaded" if f("recovered") == "true" => {
            (Step, format!("recovers {} from {}: it ends at {}", tp(), f("recovery_point"), f("log_end")))
        }
        "broker-registered" => (Step, format!("registers as broker {} with epoch {}", f("broker"), f("epoch"))),
        "registration-refused" => {
            (Turn, format!("CANNOT REGISTER: /brokers/ids/{} belongs to session {}", f("broker"), f("owner")))
        }
        "own-registration-deleted" => (Step, format!("deletes its own registration of session {}", f("owner"))),
        "broker-running" => (Detail, "processes requests".to_owned()),
        "broker-session-expired" => (Turn, format!("learns that its session {} is over", f("session"))),
        "broker-stopping" => (Step, "is told to stop".to_owned()),
        "broker-stopped" if f("controlled") == "true" => (Step, "stopped: all its leaderships had moved".to_owned()),
        "broker-stopped" => (Step, "stopped without the controller's leave".to_owned()),
        "log-dir-failed" => (Turn, format!("HALTS: its disk answered {}", f("error"))),
        "controller-elected" => (Turn, format!("is CONTROLLER of epoch {}", f("epoch"))),
        "controller-ready" => (Step, format!("has taken over {} partitions", f("partitions"))),
        "controller-resigned" => (Turn, format!("resigns as controller of epoch {}", f("epoch"))),
        "partition-leader-elected" => (
            Turn,
            format!(
                "elects {} for {} in leader epoch {}{} (ISR {})",
                whom(f("leader")),
                tp(),
                f("leader_epoch"),
                if f("unclean") == "true" { ", UNCLEAN" } else { "" },
                f("isr")
            ),
        ),
        "topic-created" => (Step, format!("takes up topic {} with {} partitions", f("topic"), f("partitions"))),
        "broker-change" => (Step, broker_change(fields)),
        "control-request-refused" => (
            Step,
            format!(
                "refuses {} of controller {} of epoch {}: {}",
                f("api"),
                f("controller"),
                f("controller_epoch"),
                f("error")
            ),
        ),
        "became-leader" => (Step, format!("leads {} in epoch {} from offset {}", tp(), f("leader_epoch"), f("start"))),
        "became-follower" => {
            (Step, format!("follows {} for {} in epoch {}", whom(f("leader")), tp(), f("leader_epoch")))
        }
        "replica-stopped" => (Detail, format!("stops its replica of {}", tp())),
        "log-truncated" if f("from") != f("to") => (Turn, format!("cuts {} from {} to {}", tp(), f("from"), f("to"))),
        "isr-changed" => (Turn, format!("the ISR of {} is {} (version {})", tp(), f("isr"), f("version"))),
        "isr-change-refused" => (Step, format!("may not change the ISR of {}: not at version {}", tp(), f("version"))),
        "topics-ready" => (Step, format!("{} topics are there", f("topics"))),
        "record-failed" => (
            Detail,
            format!(
                "gives record {} for {} up: {}{}",
                f("record"),
                tp(),
                f("error"),
                if f("surely") == "true" { "" } else { " (it may be there)" }
            ),
        ),
        "position-reset" => {
            (Step, format!("{}: its position in {} goes from {} to {}", f("why"), tp(), f("from"), f("to")))
        }
        "partition-assigned" => (Step, format!("owns {} of group {} from offset {}", tp(), f("group"), f("position"))),
        "partition-revoked" => (Step, format!("no longer owns {} of group {}: {}", tp(), f("group"), f("why"))),
        "rebalance-begun" => (Detail, format!("rebalances, attempt {}: {}", f("attempt"), f("why"))),
        "rebalance-failed" => (Turn, format!("GIVES UP rebalancing after {} attempts", f("attempts"))),
        "claim-refused" => (Detail, format!("may not claim {}: it is owned", tp())),
        "producer-brokers-known" => (Step, format!("knows brokers {}", f("brokers"))),
        "kafka-probe-succeeded" => (Detail, "works again after the heal".to_owned()),
        _ => return None,
    })
}

fn broker_change(fields: &Fields<'_>) -> String {
    let parts = [("added", "new"), ("bounced", "restarted"), ("dead", "gone")];
    let said: Vec<String> = parts
        .into_iter()
        .filter(|(field, _)| !fields.of(field).is_empty())
        .map(|(field, word)| format!("{word}: {}", fields.of(field)))
        .collect();
    format!("notices brokers: {}", said.join("; "))
}
