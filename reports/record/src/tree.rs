//! Paths and their rows over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A table whose rows have paths: what it shows at an instant follows from its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// What the tree shows.
    pub name: String,
    /// Column heads, without that of the path.
    pub head: Vec<String>,
    /// Its changes, in order of time.
    pub changes: Vec<TreeChange>,
}

/// A row that is new, different or gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeChange {
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// The event that changed it.
    pub event: u64,
    /// The path.
    pub path: String,
    /// The row from then on, as long as the head; none if the path is gone.
    pub row: Option<Vec<String>>,
}

impl Tree {
    /// The rows at an instant, in nanoseconds of simulated time, by path.
    #[must_use]
    pub fn at(&self, instant: u64) -> BTreeMap<&str, &[String]> {
        let mut rows = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.at <= instant) {
            match &change.row {
                Some(row) => rows.insert(change.path.as_str(), row.as_slice()),
                None => rows.remove(change.path.as_str()),
            };
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::{Tree, TreeChange};

    #[test]
    fn a_tree_is_what_its_changes_up_to_an_instant_made_of_it() {
        let change = |at, path: &str, row: Option<&str>| TreeChange {
            at,
            event: at,
            path: path.to_owned(),
            row: row.map(|cell| vec![cell.to_owned()]),
        };
        let tree = Tree {
            name: "paths".to_owned(),
            head: vec!["version".to_owned()],
            changes: vec![
                change(1, "/a", Some("0")),
                change(2, "/b", Some("0")),
                change(3, "/a", Some("1")),
                change(4, "/b", None),
            ],
        };
        let rows = |at| tree.at(at).into_iter().map(|(path, row)| format!("{path} {}", row[0])).collect::<Vec<_>>();
        assert_eq!(rows(0), Vec::<String>::new());
        assert_eq!(rows(2), ["/a 0", "/b 0"]);
        assert_eq!(rows(9), ["/a 1"]);
    }
}
