//! Words for facts that no report of a whole run tells, because there are thousands of them: an explanation tells the few that
//! are about what was violated.

use search::Telling;

use super::object::Object;

/// What to say about such a fact; none if even an explanation has no use for it.
pub(super) fn words(kind: &str, fields: &[(&'static str, String)], object: &Object) -> Option<(Telling, String)> {
    use Telling::{Detail, Step};
    let f = |name: &str| fields.iter().find(|(field, _)| *field == name).map_or("?", |(_, value)| value.as_str());
    let tp = || format!("{}-{}", f("topic"), f("partition"));
    let offsets = || {
        if f("base") == f("last") {
            format!("offset {}", f("base"))
        } else {
            format!("offsets {} to {}", f("base"), f("last"))
        }
    };
    let operation = || if f("path") == "?" { f("kind").to_owned() } else { format!("{} {}", f("kind"), f("path")) };
    Some(match kind {
        "appended" => {
            let side = if f("side") == "leader" { "as leader" } else { "as follower" };
            (Detail, format!("appends {} of {} in epoch {}, {side}", offsets(), tp(), f("leader_epoch")))
        }
        "high-watermark" => (Detail, format!("high watermark of {} is {} ({})", tp(), f("offset"), f("side"))),
        "produce-acknowledged" => (
            Step,
            format!(
                "acknowledges {} of {}: high watermark {}, {} in the ISR, min.insync {}",
                offsets(),
                tp(),
                f("high_watermark"),
                f("isr_size"),
                f("min_insync")
            ),
        ),
        "records-served" => (
            Detail,
            format!("serves {} from {} to {}, high watermark {}", tp(), f("start"), f("end"), f("high_watermark")),
        ),
        "log-loaded" => (Detail, format!("loads {}: it ends at {}", tp(), f("log_end"))),
        "control-request-applied" => (
            Detail,
            format!(
                "obeys {} of controller {} of epoch {}, for broker epoch {} (its own is {})",
                f("api"),
                f("controller"),
                f("controller_epoch"),
                f("broker_epoch"),
                f("own_epoch")
            ),
        ),
        "record-sent" => (Detail, format!("sends a record for {} with acks {}", tp(), f("acks"))),
        "record-acknowledged" => (Detail, format!("is told that its record is at {} of {}", f("offset"), tp())),
        "record-consumed" => (Detail, format!("is given offset {} of {}", f("offset"), tp())),
        "offset-commit-completed" => {
            (Detail, format!("commit of offset {} of {}: {}", f("offset"), tp(), f("outcome")))
        }
        "offset-fetched" => (Detail, format!("finds offset {} committed for {}", f("offset"), tp())),
        // Every request of a session is about the session; that of the zxid in question tells more.
        "proposed" => (
            if object.has_zxid(f("zxid")) { Step } else { Detail },
            format!("proposes {}: {} of session {}", f("zxid"), f("op"), f("session")),
        ),
        "committed" => (Detail, format!("commits {}", f("zxid"))),
        "applied" => (Detail, format!("applies {}", f("zxid"))),
        "session-created" => (Step, format!("creates session {} (timeout {} ms)", f("session"), f("timeout_ms"))),
        "session-closed" => (Step, format!("removes session {}", f("session"))),
        "session-moved" => (Detail, format!("takes over session {}", f("session"))),
        "watch-fired" => (Detail, format!("fires a watch: {} {}", f("event"), f("path"))),
        "watch-delivered" => (Detail, format!("is told by its watch: {} {}", f("event"), f("path"))),
        "client-connected" => (Detail, format!("is connected to {} with session {}", f("server"), f("session"))),
        "op-invoked" => (Detail, format!("calls {}", operation())),
        "op-completed" => (Detail, format!("{}: {}", operation(), f("outcome"))),
        _ => return None,
    })
}
