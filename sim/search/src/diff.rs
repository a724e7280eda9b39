//! Where two values differ: the paths of a JSON tree whose leaves changed.

use serde::Serialize;
use serde_json::Value;

/// A leaf that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// Where, such as `partitions.orders-0.leader`.
    pub path: String,
    /// What it is on the one side; absent if it is not there.
    pub old: Option<Value>,
    /// What it is on the other side.
    pub new: Option<Value>,
}

/// Every leaf in which two trees differ, in the order of their paths.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(Some(old), Some(new), &mut String::new(), &mut changes);
    changes
}

fn compare(old: Option<&Value>, new: Option<&Value>, path: &mut String, changes: &mut Vec<Change>) {
    let length = path.len();
    let below = |path: &mut String, key: &str| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    };
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.sort_unstable();
            for key in keys {
                below(path, key);
                compare(a.get(key), b.get(key), path, changes);
                path.truncate(length);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b)))
            if a.iter().chain(b).any(|it| it.is_object() || it.is_array()) =>
        {
            for at in 0..a.len().max(b.len()) {
                below(path, &at.to_string());
                compare(a.get(at), b.get(at), path, changes);
                path.truncate(length);
            }
        }
        (a, b) if a == b => {}
        (a, b) => changes.push(Change { path: path.clone(), old: a.cloned(), new: b.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::changes;

    #[test]
    fn changed_leaves_are_named_by_their_paths() {
        let old = json!({ "role": "leader", "log": { "end": 5, "isr": [1, 2] }, "rows": [{ "a": 1 }, { "a": 2 }] });
        let new = json!({ "role": "leader", "log": { "end": 7, "isr": [1] }, "rows": [{ "a": 1 }], "late": true });
        let told: Vec<String> = changes(&old, &new)
            .into_iter()
            .map(|it| {
                let side = |it: Option<serde_json::Value>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
                format!("{} {} {}", it.path, side(it.old), side(it.new))
            })
            .collect();
        assert_eq!(told, ["late - true", "log.end 5 7", "log.isr [1,2] [1]", "rows.1 {\"a\":2} -"]);
        assert_eq!(changes(&old, &old), []);
    }
}
