//! What was backed up against what came back. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::warehouse::snapshot::{Contents, TableState};
use crate::words::counted;

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// A table, or a kind of objects.
    pub object: String,
    /// What the manifest says.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.object, self.expected, self.found)
    }
}

/// Lists everything that differs.
pub(super) fn differences(expected: &Contents, found: &Contents) -> Vec<Difference> {
    let mut differences = Vec::new();
    let tables: BTreeSet<&String> = expected.tables.keys().chain(found.tables.keys()).collect();
    for name in tables {
        let (was, is) = (expected.tables.get(name), found.tables.get(name));
        if was != is {
            // Equal counts with other rows would read as if nothing was wrong.
            let digests = was.zip(is).is_some_and(|(was, is)| was.rows == is.rows);
            let text = |state: Option<&TableState>| match state {
                None => "no table".to_owned(),
                Some(state) if digests => {
                    format!("{} with digest {}", counted(state.rows, "row", "rows"), state.digest)
                }
                Some(state) => counted(state.rows, "row", "rows"),
            };
            differences.push(Difference { object: format!("table {name}"), expected: text(was), found: text(is) });
        }
    }
    // Another major version writes definitions otherwise.
    let same_words = expected.postgres_number / 10_000 == found.postgres_number / 10_000;
    let kinds: BTreeSet<&String> = expected.objects.keys().chain(found.objects.keys()).collect();
    for kind in kinds {
        // Rights are those of others than the owner: with another owner they are others.
        if kind == "rights" && expected.owner != found.owner {
            continue;
        }
        let (was, is) = (expected.objects.get(kind), found.objects.get(kind));
        let (counted, there) = (was.map_or(0, |one| one.count), is.map_or(0, |one| one.count));
        if counted != there {
            differences.push(Difference {
                object: kind.clone(),
                expected: counted.to_string(),
                found: there.to_string(),
            });
        } else if same_words && was.map(|one| &one.digest) != is.map(|one| &one.digest) {
            differences.push(Difference {
                object: kind.clone(),
                expected: format!("{counted} as they were"),
                found: "others".to_owned(),
            });
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::snapshot::ObjectsState;

    fn contents(tables: &[(&str, i64, &str)], policies: (i64, &str), postgres_number: i32) -> Contents {
        let state = |rows: i64, digest: &str| TableState { rows, digest: digest.to_owned() };
        Contents {
            postgres: "15.8".to_owned(),
            postgres_number,
            migration: Some(10),
            owner: "sk".to_owned(),
            roles: Vec::new(),
            tables: tables.iter().map(|(name, rows, digest)| ((*name).to_owned(), state(*rows, digest))).collect(),
            objects: [("policies".to_owned(), ObjectsState { count: policies.0, digest: policies.1.to_owned() })]
                .into(),
        }
    }

    #[test]
    fn a_lost_row_a_changed_row_a_lost_table_and_a_lost_policy_are_told() {
        let was = contents(&[("m.a", 3, "1"), ("m.b", 3, "1"), ("m.c", 0, "0"), ("m.d", 1, "9")], (2, "x"), 150_008);
        let is = contents(&[("m.a", 2, "5"), ("m.b", 3, "2"), ("m.d", 1, "9")], (1, "y"), 150_008);
        let told: Vec<String> = differences(&was, &is).iter().map(Difference::to_string).collect();
        assert_eq!(
            told,
            [
                "table m.a: expected 3 rows, found 2 rows",
                "table m.b: expected 3 rows with digest 1, found 3 rows with digest 2",
                "table m.c: expected 0 rows, found no table",
                "policies: expected 2, found 1",
            ]
        );
        assert!(differences(&was, &was).is_empty());
    }

    #[test]
    fn words_are_compared_within_one_major_version_only() {
        let was = contents(&[], (2, "x"), 150_008);
        assert!(differences(&was, &contents(&[], (2, "y"), 170_002)).is_empty());
        assert_eq!(differences(&was, &contents(&[], (2, "y"), 150_009)).len(), 1);
        assert_eq!(differences(&was, &contents(&[], (3, "y"), 170_002)).len(), 1);
    }
}
