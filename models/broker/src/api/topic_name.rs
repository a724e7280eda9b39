//! What a topic may be called (kafka-broker.md App. B, `org.apache.kafka.common.internals.Topic`).

const LENGTH_MAX: usize = 249;
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Whether a name is legal: 1 to 249 of `[a-zA-Z0-9._-]`, but not `.` or `..`.
#[must_use]
pub fn is_legal(name: &str) -> bool {
    let is_legal_char = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=LENGTH_MAX).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(is_legal_char)
}

/// Whether a topic is Kafka's own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether a name can collide at all.
#[must_use]
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Whether two names differ only in `.` and `_`: their metrics would be mixed up.
#[must_use]
pub fn collide(one: &str, other: &str) -> bool {
    one.replace('.', "_") == other.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_those_of_the_reference() {
        for name in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert!(is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_collide() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a-b"));
        assert!(has_collision_chars("a_b") && !has_collision_chars("a-b"));
    }
}
