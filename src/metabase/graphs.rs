//! Writes fragments of the two permission graphs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::actual::{Actual, Place};
use super::apply::Applying;
use super::client;
use super::context::Error;
use super::step::{Step, Who, Work};
use super::tables::Kind;

impl Applying<'_> {
    pub(super) async fn data_graph(&self, steps: &[Step]) -> Result<(), Error> {
        let mut groups: Map<String, Value> = Map::new();
        for step in steps {
            let (group, database, wanted) = match &step.work {
                // Who may see what stays: it may be narrower, where Metabase is licensed.
                Work::Silence { group, database } => (*group, *database, json!({"create-queries": "no"})),
                Work::Ask { group, connection } => (
                    self.id(Kind::Group, group).await?,
                    self.id(Kind::Connection, connection).await?,
                    rights("query-builder-and-native"),
                ),
                Work::View { group, connections } => {
                    let group = self.id(Kind::Group, group).await?;
                    let rows = groups.entry(group.to_string()).or_insert_with(|| json!({}));
                    for connection in connections {
                        let database = self.id(Kind::Connection, connection).await?.to_string();
                        // A right to ask beside it says that already, and more.
                        if rows[&database].is_null() {
                            rows[database] = json!({"view-data": "unrestricted"});
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            let rows = groups.entry(group.to_string()).or_insert_with(|| json!({}));
            rows[database.to_string()] = wanted;
            if matches!(step.work, Work::Silence { .. }) {
                self.unguarded.lock().await.remove(&group);
            }
        }
        self.put_graph("api/permissions/graph", &groups, None).await.map_err(graph_failed(steps))
    }

    /// Shuts groups out, a part of the graph at a time: it is as large as groups times connections.
    pub(super) async fn block(&self, steps: &[Step]) -> Result<(), Error> {
        const PAIRS: usize = 10_000;
        let mut groups: Map<String, Value> = Map::new();
        let mut pairs = 0;
        for step in steps {
            let Work::Block { group, connections } = &step.work else { continue };
            let group = match group {
                Who::Ours(key) => self.id(Kind::Group, key).await?,
                Who::Other(id) => *id,
            };
            let mut rows = Map::new();
            for connection in connections {
                let database = self.id(Kind::Connection, connection).await?;
                rows.insert(database.to_string(), json!({"view-data": "blocked", "create-queries": "no"}));
            }
            pairs += rows.len();
            groups.insert(group.to_string(), rows.into());
            if pairs >= PAIRS {
                let part = std::mem::take(&mut groups);
                self.put_graph("api/permissions/graph", &part, None).await.map_err(graph_failed(steps))?;
                pairs = 0;
            }
        }
        self.put_graph("api/permissions/graph", &groups, None).await.map_err(graph_failed(steps))
    }

    pub(super) async fn collection_graph(&self, steps: &[Step]) -> Result<(), Error> {
        let mut groups: Map<String, Value> = Map::new();
        let mut snippets: Map<String, Value> = Map::new();
        for step in steps {
            let (group, place, level) = match &step.work {
                Work::Level { group, place, level } => (*group, *place, *level),
                Work::Read { group, collection } => (
                    self.id(Kind::Group, group).await?,
                    Place::Collection(self.id(Kind::Collection, collection).await?),
                    "read",
                ),
                _ => continue,
            };
            let mut levels = self.levels.lock().await;
            let there = levels.entry(place).or_default();
            match level {
                "none" => drop(there.remove(&group)),
                level => drop(there.insert(group, level.to_owned())),
            }
            drop(levels);
            let (graph, key) = match place {
                Place::Root => (&mut groups, "root".to_owned()),
                Place::SnippetsRoot => (&mut snippets, "root".to_owned()),
                Place::Collection(id) => (&mut groups, id.to_string()),
            };
            let rows = graph.entry(group.to_string()).or_insert_with(|| json!({}));
            rows[key] = level.into();
        }
        for (graph, namespace) in [(&groups, None), (&snippets, Some("snippets"))] {
            self.put_graph("api/collection/graph", graph, namespace).await.map_err(graph_failed(steps))?;
        }
        Ok(())
    }

    /// Writes a fragment of a graph. The revision is read right before; where
    /// somebody else was faster it is read again.
    pub(super) async fn put_graph(
        &self,
        path: &str,
        groups: &Map<String, Value>,
        namespace: Option<&str>,
    ) -> Result<(), client::Error> {
        if groups.is_empty() {
            return Ok(());
        }
        // The smallest answer that has the data graph's revision.
        let revision_path = match (path, namespace) {
            ("api/permissions/graph", _) => format!("{path}/group/{}", self.actual.all_users),
            (_, Some(namespace)) => format!("{path}?namespace={namespace}"),
            (_, None) => path.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let revision = self.client.get(&revision_path).await?["revision"].clone();
            let mut body = json!({"revision": revision, "groups": groups});
            if let Some(namespace) = namespace {
                body["namespace"] = namespace.into();
            }
            match self.client.put(&format!("{path}?skip-graph=true"), &body).await {
                Err(error) if error.status().is_some_and(|status| status.as_u16() == 409) && attempt < 5 => {
                    attempt += 1
                }
                other => return other.map(drop),
            }
        }
    }
}

/// Finds the groups that would get rights on a new database: those which have
/// some on every database there is, and all when there is none.
pub(super) fn unguarded(actual: &Actual) -> BTreeSet<i64> {
    actual
        .ordinary_groups()
        .filter(|group| actual.databases.keys().all(|database| actual.asks.contains_key(&(*group, *database))))
        .collect()
}

pub(super) fn rights(queries: &str) -> Value {
    json!({"view-data": "unrestricted", "create-queries": queries})
}

fn graph_failed(steps: &[Step]) -> impl FnOnce(client::Error) -> Error + use<> {
    let step = steps.first().map(Step::label).unwrap_or_default();
    let step = if steps.len() > 1 { format!("{step} and {} more", steps.len() - 1) } else { step };
    move |source| Error::Step { step, source }
}
