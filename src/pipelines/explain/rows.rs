//! A row's versions put in order: which one is meant, and what it was before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::answer::{Change, Standing};
use super::personal::Shown;
use crate::warehouse::lineage::Version;
use crate::warehouse::origins::LoadFacts;

/// A row of which every version is known.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) standing: Standing,
    /// The version that is meant; of a row that was removed, its last.
    pub(super) meant: Version,
    /// Those before, the latest first.
    pub(super) earlier: Vec<Version>,
    /// Those after.
    pub(super) later: usize,
}

/// Puts the versions of rows together, row by row, and finds the one that is meant.
/// They come sorted by key. Without a key every version is a row of its own.
pub(super) fn rows(
    versions: Vec<Version>,
    key: &[String],
    as_of: Option<DateTime<Utc>>,
    loads: &BTreeMap<i64, LoadFacts>,
) -> Vec<Row> {
    let mut groups: Vec<Vec<Version>> = Vec::new();
    for version in versions {
        let same = |other: &Version| key.iter().all(|name| other.values.get(name) == version.values.get(name));
        match groups.last_mut() {
            Some(group) if !key.is_empty() && same(&group[0]) => group.push(version),
            _ => groups.push(vec![version]),
        }
    }
    groups.into_iter().filter_map(|group| row(group, as_of, loads)).collect()
}

fn row(mut versions: Vec<Version>, as_of: Option<DateTime<Utc>>, loads: &BTreeMap<i64, LoadFacts>) -> Option<Row> {
    let known = |load_id: i64| {
        // A load of which nothing is known any more was long ago.
        let at = loads.get(&load_id).map(|load| load.committed_at);
        as_of.is_none_or(|moment| at.is_none_or(|at| at <= moment))
    };
    versions.sort_by_key(|version| (version.since(), version.superseded_by.unwrap_or(i64::MAX)));
    let begun = versions.iter().rposition(|version| known(version.since()));
    let Some(at) = begun else {
        let later = versions.len();
        return versions.into_iter().next().map(|meant| Row {
            standing: Standing::NotYet,
            meant,
            earlier: Vec::new(),
            later,
        });
    };
    let later = versions.len() - at - 1;
    versions.truncate(at + 1);
    let meant = versions.pop()?;
    versions.reverse();
    let ended = meant.superseded_by.is_some_and(known);
    let standing = if ended { Standing::Removed } else { Standing::There };
    Some(Row { standing, meant, earlier: versions, later })
}

/// What differs between a version and the one after it.
pub(super) fn changes(old: &Version, new: &Version, shown: &Shown, only: &[String]) -> Vec<Change> {
    let text = |values: &Map<String, serde_json::Value>, column: &str| {
        values.get(column).and_then(|value| value.as_str().map(str::to_owned))
    };
    let differs = |column: &&String| old.values.get(*column) != new.values.get(*column);
    let wanted = |column: &&String| only.is_empty() || only.contains(column);
    let change = |column: &String| {
        let open = shown.has(column);
        Change {
            column: column.clone(),
            old: text(&old.values, column).filter(|_| open),
            new: text(&new.values, column).filter(|_| open),
            withheld: !open,
        }
    };
    new.values.keys().filter(differs).filter(wanted).map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: &str, load_id: i64, restored_by: Option<i64>, superseded_by: Option<i64>) -> Version {
        let values = [("id".to_owned(), "1".into()), ("amount".to_owned(), value.into())].into_iter().collect();
        Version { values, load_id, file_id: load_id, source_row: Some(2), restored_by, superseded_by }
    }

    fn loads() -> BTreeMap<i64, LoadFacts> {
        let load = |load_id: i64| LoadFacts {
            load_id,
            run_id: load_id,
            pipeline: "sales".into(),
            brand: "harbor".into(),
            table: "sales".into(),
            trigger: "manual".into(),
            started_at: moment(load_id),
            committed_at: moment(load_id),
            made_on: None,
            undone_by: None,
            undoes: None,
            inputs: Vec::new(),
            rows_inserted: 0,
            rows_updated: 0,
            rows_unchanged: 0,
            rows_deleted: 0,
        };
        (1..=9).map(|id| (id, load(id))).collect()
    }

    fn moment(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    /// What is meant at a moment, what it was before, and how many versions follow.
    fn said(versions: &[Version], as_of: Option<i64>) -> String {
        let rows = rows(versions.to_vec(), &["id".to_owned()], as_of.map(moment), &loads());
        let [row] = rows.as_slice() else { panic!("one row") };
        let amount = |version: &Version| version.values["amount"].as_str().unwrap().to_owned();
        let earlier: Vec<String> = row.earlier.iter().map(amount).collect();
        format!("{:?} {} after [{}] before {}", row.standing, amount(&row.meant), earlier.join(" "), row.later)
    }

    #[test]
    fn the_version_of_a_moment_is_the_one_that_was_visible() {
        let changed = [version("3", 5, None, None), version("2", 3, None, Some(5)), version("1", 1, None, Some(3))];
        assert_eq!(said(&changed, None), "There 3 after [2 1] before 0");
        assert_eq!(said(&changed, Some(4)), "There 2 after [1] before 1");
        assert_eq!(said(&changed, Some(3)), "There 2 after [1] before 1");
        assert_eq!(said(&changed, Some(0)), "NotYet 1 after [] before 3");
    }

    #[test]
    fn a_row_that_was_removed_and_came_again_was_away_in_between() {
        let again = [version("2", 6, None, None), version("1", 1, None, Some(3))];
        assert_eq!(said(&again, Some(4)), "Removed 1 after [] before 1");
        assert_eq!(said(&again, None), "There 2 after [1] before 0");
        assert_eq!(said(&[version("1", 1, None, Some(3))], None), "Removed 1 after [] before 0");
    }

    #[test]
    fn a_version_that_was_brought_back_follows_the_one_that_was_undone() {
        let undone = [version("1", 1, Some(7), None), version("2", 5, None, Some(7)), version("1", 1, None, Some(5))];
        assert_eq!(said(&undone, None), "There 1 after [2 1] before 0");
        assert_eq!(said(&undone, Some(6)), "There 2 after [1] before 1");
    }

    #[test]
    fn rows_without_a_key_stand_alone() {
        let found = rows(vec![version("1", 1, None, None), version("1", 2, None, None)], &[], None, &loads());
        assert_eq!(found.len(), 2);
    }
}
