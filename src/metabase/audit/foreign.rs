//! What nobody granted: ids that are guessed, queries of one's own, x-rays, subscriptions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::acting::{Acting, Tried, nothing};
use super::findings::Findings;
use crate::metabase::client::{self, list};
use crate::metabase::tables::Kind;

/// A place of another scope, and what lies there.
#[derive(Default)]
struct Place {
    collection: Option<i64>,
    dashboards: Vec<i64>,
    cards: Vec<i64>,
}

impl Acting<'_> {
    /// Questions, dashboards and collections of other scopes, by their ids.
    pub(super) async fn foreign(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let readable = self.may_read();
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        let (desired, index) = (self.world.desired(), self.world.index);
        for collection in &desired.collections {
            let id = index.get(Kind::Collection, &collection.key);
            places.entry(&collection.key).or_default().collection = id;
        }
        for (key, dashboard) in &desired.dashboards {
            let place = places.entry(&dashboard.collection).or_default();
            place.dashboards.extend(index.get(Kind::Dashboard, key));
        }
        for (key, card) in &desired.cards {
            places.entry(&card.collection).or_default().cards.extend(index.get(Kind::Card, key));
        }
        places.retain(|_, place| place.collection.is_none_or(|id| !readable.contains(&id)));
        findings.foreign_places += places.len() as u64;
        let places = self.world.drawn(&self.who, places.into_iter().collect(), |(key, _)| (*key).to_owned());
        let share = self.world.share(places.len());
        findings.foreign_tried += share as u64;
        for (at, (key, place)) in places.into_iter().take(share).enumerate() {
            self.guess(findings, key, &place, at == 0).await?;
        }
        Ok(())
    }

    async fn guess(&self, findings: &mut Findings, key: &str, place: &Place, first: bool) -> Result<(), client::Error> {
        if let Some(id) = place.collection {
            let items = self.get(&format!("api/collection/{id}/items")).await?;
            // What lies in a collection is only listed where it may be read.
            let open = matches!(items, Tried::Given(answer) if !list(answer.clone()).is_empty());
            self.guessed(findings, open, format!("collection {id} of `{key}`"));
        }
        for id in &place.dashboards {
            let given = matches!(self.get(&format!("api/dashboard/{id}")).await?, Tried::Given(_));
            self.guessed(findings, given, format!("dashboard {id} of `{key}`"));
        }
        let cards = self.world.drawn(&self.who, place.cards.clone(), i64::to_string);
        for id in cards.iter().take(1) {
            let given = matches!(self.get(&format!("api/card/{id}")).await?, Tried::Given(_));
            self.guessed(findings, given, format!("question {id} of `{key}`"));
            let ran = self.run(&format!("api/card/{id}/query"), &nothing()).await?.is_some();
            self.guessed(findings, ran, format!("the answer of question {id} of `{key}`"));
            let file = self.download(&format!("api/card/{id}/query"), "csv").await?.is_some();
            self.guessed(findings, file, format!("the download of question {id} of `{key}`"));
        }
        if let (true, Some(dashboard)) = (first, place.dashboards.first()) {
            self.subscribe(findings, *dashboard, key).await?;
        }
        Ok(())
    }

    fn guessed(&self, findings: &mut Findings, given: bool, what: String) {
        findings.check("ids guessed");
        if given {
            findings.leak(&self.who, what, "asked for by its id");
        } else {
            findings.refused += 1;
        }
    }

    /// Tries to have a foreign dashboard mailed. The channel is switched off: nothing leaves,
    /// and where it was taken it is put away again.
    async fn subscribe(&self, findings: &mut Findings, dashboard: i64, key: &str) -> Result<(), client::Error> {
        findings.check("subscriptions");
        let channel = json!({
            "channel_type": "email", "enabled": false, "schedule_type": "daily", "schedule_hour": 3, "recipients": [],
        });
        let body = json!({"name": "storekeeper audit", "dashboard_id": dashboard, "cards": [], "channels": [channel]});
        if let Tried::Given(made) = self.attempt(self.client.post("api/pulse", &body)).await? {
            findings.leak(&self.who, format!("dashboard {dashboard} of `{key}` by mail"), "POST /api/pulse");
            if let Some(id) = made["id"].as_i64() {
                self.world.gathered.client.put(&format!("api/pulse/{id}"), &json!({"archived": true})).await?;
            }
        } else {
            findings.refused += 1;
        }
        Ok(())
    }

    /// Queries of one's own, in SQL and with the query builder: analysts on their
    /// connection, nobody on any other.
    pub(super) async fn queries(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let askable = self.may_ask();
        let connections: Vec<_> = self.world.desired().connections.iter().collect();
        let connections = self.world.drawn(&self.who, connections, |(key, _)| (*key).clone());
        let near = |scope: &crate::access::Scope| {
            let tree = &self.world.gathered.tree;
            self.scopes.iter().any(|own| tree.lineage(own).contains(scope) || tree.lineage(scope).contains(own))
        };
        let share = self.world.share(connections.len());
        let mut below = 0;
        for (at, (key, connection)) in connections.into_iter().enumerate() {
            let Some(id) = self.world.index.get(Kind::Connection, key) else { continue };
            let allowed = askable.contains(&id);
            if !allowed && at >= share {
                // Of those around her own more than chance would pick.
                let tried = near(&connection.scope) && below < self.world.extent.sample;
                below += usize::from(tried);
                if !tried {
                    continue;
                }
            }
            let brand = connection.scope.brand();
            // Of the union of all brands a number alone does not name a store.
            let columns = if brand.is_some() { "store_id" } else { "brand, store_id" };
            let sql = format!("SELECT DISTINCT {columns} FROM {}.stores", connection.schema);
            let native = json!({"database": id, "type": "native", "native": {"query": sql}});
            let mut ways = vec![("SQL", native)];
            for (table, number) in
                self.world.tables(id, &connection.schema).await?.iter().filter(|(name, _)| name == "stores")
            {
                findings.check("query builder");
                let query = json!({"source-table": number});
                ways.push(("the query builder", json!({"database": id, "type": "query", "query": query})));
                let metadata = self.get(&format!("api/table/{number}/query_metadata")).await?;
                if let (Tried::Given(_), false) = (metadata, allowed) {
                    findings.leak(&self.who, format!("the columns of `{table}` on `{key}`"), "GET /api/table");
                }
            }
            for (way, body) in ways {
                findings.check(if way == "SQL" { "SQL" } else { "query builder" });
                let what = format!("{way} on the connection `{key}`");
                match (allowed, self.run("api/dataset", &body).await?) {
                    (false, Some(_)) => findings.leak(&self.who, what, "POST /api/dataset"),
                    (false, None) => findings.refused += 1,
                    (true, None) => {
                        findings.failures.push(format!("`{}` cannot ask by {what}", self.who));
                    }
                    (true, Some(rows)) => {
                        self.stores_within(findings, &rows.stores(brand), &what, "POST /api/dataset");
                    }
                }
            }
        }
        self.on_foreign_questions(findings).await
    }

    /// A query of one's own on a question of another scope.
    async fn on_foreign_questions(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let readable = self.may_read();
        let foreign: Vec<_> = self
            .world
            .desired()
            .cards
            .iter()
            .filter(|(_, card)| {
                let collection = self.world.index.get(Kind::Collection, &card.collection);
                collection.is_none_or(|id| !readable.contains(&id))
            })
            .collect();
        for (key, card) in self.world.drawn(&self.who, foreign, |(key, _)| (*key).clone()).into_iter().take(2) {
            let ids =
                self.world.index.get(Kind::Card, key).zip(self.world.index.get(Kind::Connection, &card.connection));
            let Some((id, connection)) = ids else { continue };
            findings.check("query builder");
            let query = json!({"source-table": format!("card__{id}"), "limit": 1});
            let body = json!({"database": connection, "type": "query", "query": query});
            if self.run("api/dataset", &body).await?.is_some() {
                let what = format!("a query on question {id} of `{}`", card.scope);
                findings.leak(&self.who, what, "POST /api/dataset");
            } else {
                findings.refused += 1;
            }
        }
        Ok(())
    }

    /// X-rays of connections that are not hers.
    pub(super) async fn xrays(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let askable = self.may_ask();
        let connections: Vec<_> = self.world.desired().connections.iter().collect();
        let connections = self.world.drawn(&self.who, connections, |(key, _)| format!("x-ray {key}"));
        let share = self.world.share(connections.len());
        for (key, connection) in connections.into_iter().take(share) {
            let Some(id) = self.world.index.get(Kind::Connection, key).filter(|id| !askable.contains(id)) else {
                continue;
            };
            findings.check("x-rays");
            let candidates = self.get(&format!("api/automagic-dashboards/database/{id}/candidates")).await?;
            let offered = matches!(&candidates, Tried::Given(answer) if tables_offered(answer));
            let mut made = false;
            let tables = self.world.tables(id, &connection.schema).await?;
            for (_, table) in self
                .world
                .drawn(&self.who, tables, |(name, _)| name.clone())
                .iter()
                .take(if self.world.extent.full { 2 } else { 1 })
            {
                findings.check("x-rays");
                made |= matches!(self.get(&format!("api/automagic-dashboards/table/{table}")).await?, Tried::Given(_));
            }
            if offered || made {
                findings.leak(
                    &self.who,
                    format!("an x-ray of the connection `{key}`"),
                    "GET /api/automagic-dashboards",
                );
            } else {
                findings.refused += 1;
            }
        }
        Ok(())
    }
}

fn tables_offered(answer: &Value) -> bool {
    let schemas = answer.as_array().into_iter().flatten();
    schemas.flat_map(|schema| schema["tables"].as_array()).any(|tables| !tables.is_empty())
}
