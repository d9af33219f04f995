//! Reads a large instance with few calls.
//!
//! Lists are read through the search, which pages over everything, instead of collection by
//! collection. Rights to ask are read from the smaller side of groups and databases, and not
//! at all while nothing can have changed them: every write to them moves their revision, and
//! a new group or database shows in its own list. An audit relies on none of that.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::actual::{Actual, Item, asked, item};
use super::client::{self, Client};
use super::tables::Kind;

/// Collections up to which each is asked for its own list.
pub(super) const COLLECTIONS: usize = 120;
/// Groups up to which nothing is remembered.
const GROUPS: usize = 60;

/// The rights to ask as they were read once, and what must be the same for them to be so still.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct KnownGraph {
    /// The revision, the groups and the databases.
    pub(super) mark: String,
    /// What each group may ask of which database.
    pub(super) asks: BTreeMap<(i64, i64), String>,
}

impl KnownGraph {
    /// As it is stored.
    pub(super) fn stored(&self) -> Value {
        self.asks.iter().map(|((group, database), level)| json!([group, database, level])).collect()
    }

    pub(super) fn of(mark: String, stored: &Value) -> Self {
        let row = |row: &Value| Some(((row[0].as_i64()?, row[1].as_i64()?), row[2].as_str()?.to_owned()));
        Self { mark, asks: stored.as_array().into_iter().flatten().filter_map(row).collect() }
    }
}

/// Reads what groups may ask of databases; says what to remember of it.
pub(super) async fn asks(
    client: &Client,
    known: Option<&KnownGraph>,
    actual: &mut Actual,
) -> Result<Option<KnownGraph>, client::Error> {
    let groups: Vec<i64> = actual.ordinary_groups().collect();
    let databases: Vec<i64> = actual.databases.keys().copied().collect();
    // Read first: what changes meanwhile moves it past what is remembered.
    let revision = client.get(&format!("api/permissions/graph/group/{}", actual.all_users)).await?["revision"].clone();
    let mark = json!([revision, groups, databases]).to_string();
    let large = groups.len() > GROUPS;
    // Rights to see are not remembered.
    if let Some(known) =
        known.filter(|known| large && actual.views.is_none() && known.mark == mark && revision.is_i64())
    {
        actual.asks = known.asks.clone();
        return Ok(None);
    }
    let by_group = groups.len() <= databases.len();
    let paths: Vec<String> = if by_group {
        groups.iter().map(|group| format!("api/permissions/graph/group/{group}")).collect()
    } else {
        databases.iter().map(|database| format!("api/permissions/graph/db/{database}")).collect()
    };
    let ordinary: BTreeSet<i64> = groups.into_iter().collect();
    let calls = paths.into_iter().map(|path| async move { client.get(&path).await });
    let mut answers = futures::stream::iter(calls).buffer_unordered(super::AT_ONCE);
    // One after the other: an answer names every database, and there may be thousands of both.
    while let Some(answer) = answers.try_next().await? {
        for (group, databases) in answer["groups"].as_object().into_iter().flatten() {
            let Some(group) = group.parse().ok().filter(|group| ordinary.contains(group)) else { continue };
            for (database, rights) in databases.as_object().into_iter().flatten() {
                let Ok(database) = database.parse() else { continue };
                if let Some(level) = asked(&rights["create-queries"]) {
                    actual.asks.insert((group, database), level);
                }
                // The least right is left out of some answers.
                let sees = !rights["view-data"].is_null() && rights["view-data"] != "blocked";
                if let Some(views) = actual.views.as_mut().filter(|_| sees) {
                    views.insert((group, database));
                }
            }
        }
    }
    Ok((large && revision.is_i64()).then(|| KnownGraph { mark, asks: actual.asks.clone() }))
}

/// Lists the questions and dashboards of many collections.
pub(super) async fn items(
    client: &Client,
    collections: &[i64],
    items: &mut BTreeMap<(Kind, i64), Item>,
) -> Result<(), client::Error> {
    let ours: BTreeSet<i64> = collections.iter().copied().collect();
    let models = "models=card&models=dataset&models=metric&models=dashboard";
    for row in client.pages(&format!("api/search?{models}")).await? {
        let kind = if row["model"] == "dashboard" { Kind::Dashboard } else { Kind::Card };
        let collection = row["collection_id"].as_i64().or_else(|| row["collection"]["id"].as_i64());
        if let (Some(id), Some(collection)) = (row["id"].as_i64(), collection.filter(|id| ours.contains(id))) {
            items.insert((kind, id), item(&row, Some(collection)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_as_it_was() {
        let asks = BTreeMap::from([((3, 7), "query-builder".to_owned()), ((4, 9), "some tables".to_owned())]);
        let known = KnownGraph { mark: "[1,[3,4],[7,9]]".to_owned(), asks };
        assert_eq!(KnownGraph::of(known.mark.clone(), &known.stored()), known);
    }
}
