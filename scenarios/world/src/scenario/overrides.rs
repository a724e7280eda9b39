//! `--set key=value`: one value of a scenario file, replaced.

use toml::{Table, Value};

use crate::place::BadInput;

/// Sets one value. The key is a path with dots; a number in it is an index into a list.
pub(super) fn apply(table: &mut Table, set: &str) -> Result<(), BadInput> {
    let place = format!("--set {set}");
    let bad = |what: String| {
        BadInput::new(&place, None, what).hint("key=value, such as duration=10s or workloads.0.clients=5")
    };
    let Some((path, text)) = set.split_once('=') else { return Err(bad("there is no `=` in it".to_owned())) };
    let value = value(text.trim());
    let mut keys = path.trim().split('.').peekable();
    let mut here = keys.next().map(|first| {
        table
            .entry(first.to_owned())
            .or_insert_with(|| if keys.peek().is_some() { Value::Table(Table::new()) } else { Value::Boolean(false) })
    });
    let mut walked = String::new();
    while let Some(key) = keys.next() {
        walked.push_str(key);
        let last = keys.peek().is_none();
        here = match here.take() {
            Some(Value::Table(table)) => Some(
                table
                    .entry(key.to_owned())
                    .or_insert_with(|| if last { Value::Boolean(false) } else { Value::Table(Table::new()) }),
            ),
            Some(Value::Array(items)) => {
                let len = items.len();
                let found = key.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                Some(found.ok_or_else(|| bad(format!("`{key}` is not an index into a list of {len}, from 0")))?)
            }
            Some(Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_))
            | None => {
                return Err(bad(format!("there is nothing below a value at `{key}`")));
            }
        };
    }
    match here {
        Some(place) => {
            *place = value;
            Ok(())
        }
        None => Err(bad("the key is empty".to_owned())),
    }
}

/// A TOML value if it is one, otherwise a text: `10s` needs no quotes on a command line.
fn value(text: &str) -> Value {
    let parsed: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::apply;
    use toml::Table;

    #[track_caller]
    fn check(before: &str, set: &str, after: &str) {
        let mut table: Table = toml::from_str(before).expect("toml");
        apply(&mut table, set).expect("applies");
        assert_eq!(table, toml::from_str::<Table>(after).expect("toml"));
    }

    #[test]
    fn values_are_replaced_added_and_found_in_lists() {
        check("duration = \"5s\"", "duration=10s", "duration = \"10s\"");
        check("[cluster]\ncoordinators = 3", "cluster.coordinators=5", "[cluster]\ncoordinators = 5");
        check("", "cluster.zoo.tickTime=200", "[cluster.zoo]\ntickTime = 200");
        check("[[workloads]]\nclients = 1", "workloads.0.clients=7", "[[workloads]]\nclients = 7");
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let mut table: Table = toml::from_str("duration = \"5s\"\nlist = [1]").expect("toml");
        for set in ["duration", "duration.x=1", "list.9=1", "list.x=1"] {
            assert!(apply(&mut table, set).is_err(), "{set}");
        }
    }
}
