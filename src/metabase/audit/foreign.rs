//! What nobody granted: ids that are guessed, queries of one's own, x-rays, subscriptions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::acting::{Acting, Tried, nothing};
use super::findings::Findings;
use crate::metabase::client::{self, list};
use crate::metabase::desired::Connection;
use crate::metabase::tables::Kind;

/// What an audit calls subscriptions that it tries.
pub(super) const SUBSCRIPTION: &str = "storekeeper audit";

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
            let items = self.get(findings, &format!("api/collection/{id}/items")).await?;
            // What lies in a collection is only listed where it may be read.
            let open = items.map(|answer| if list(answer).is_empty() { Tried::Refused } else { Tried::Given(()) });
            self.guessed(findings, &open, format!("collection {id} of `{key}`"));
        }
        for id in &place.dashboards {
            let given = self.get(findings, &format!("api/dashboard/{id}")).await?;
            self.guessed(findings, &given, format!("dashboard {id} of `{key}`"));
        }
        let cards = self.world.drawn(&self.who, place.cards.clone(), i64::to_string);
        for id in cards.iter().take(1) {
            let given = self.get(findings, &format!("api/card/{id}")).await?;
            self.guessed(findings, &given, format!("question {id} of `{key}`"));
            let ran = self.run(findings, &format!("api/card/{id}/query"), &nothing()).await?;
            self.guessed(findings, &ran, format!("the answer of question {id} of `{key}`"));
            let file = self.download(findings, &format!("api/card/{id}/query"), "csv").await?;
            self.guessed(findings, &file, format!("the download of question {id} of `{key}`"));
        }
        if let (true, Some(dashboard)) = (first, place.dashboards.first()) {
            self.subscribe(findings, *dashboard, key).await?;
        }
        Ok(())
    }

    fn guessed<T>(&self, findings: &mut Findings, tried: &Tried<T>, what: String) {
        findings.check("ids guessed");
        self.refused(findings, tried, what, "asked for by its id");
    }

    /// What must be refused.
    pub(super) fn refused<T>(&self, findings: &mut Findings, tried: &Tried<T>, what: String, how: &str) {
        match tried {
            Tried::Given(_) => findings.leak(&self.who, what, how),
            Tried::Refused => findings.refused += 1,
            Tried::Unclear => {}
        }
    }

    /// Tries to have a foreign dashboard mailed. The channel is switched off: nothing leaves,
    /// and where it was taken it is put away again.
    async fn subscribe(&self, findings: &mut Findings, dashboard: i64, key: &str) -> Result<(), client::Error> {
        let whole = self.world.gathered.client.get(&format!("api/dashboard/{dashboard}")).await?;
        let Some(body) = subscription(&whole) else { return Ok(()) };
        findings.check("subscriptions");
        let tried = self.attempt(findings, self.client.post("api/pulse", &body)).await?;
        self.refused(findings, &tried, format!("dashboard {dashboard} of `{key}` by mail"), "POST /api/pulse");
        if let Tried::Given(made) = tried {
            self.world.put_away(&made).await?;
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
            let mut ways = vec![("SQL", in_sql(id, connection))];
            for (table, number) in
                self.world.tables(id, &connection.schema).await?.iter().filter(|(name, _)| name == "stores")
            {
                findings.check("query builder");
                ways.push(("the query builder", built(id, json!({"source-table": number}))));
                let metadata = self.get(findings, &format!("api/table/{number}/query_metadata")).await?;
                if let (Tried::Given(_), false) = (metadata, allowed) {
                    findings.leak(&self.who, format!("the columns of `{table}` on `{key}`"), "GET /api/table");
                }
            }
            for (way, body) in ways {
                findings.check(if way == "SQL" { "SQL" } else { "query builder" });
                let what = format!("{way} on the connection `{key}`");
                let tried = self.run(findings, "api/dataset", &body).await?;
                match (allowed, tried) {
                    (false, tried) => self.refused(findings, &tried, what, "POST /api/dataset"),
                    (true, Tried::Given(rows)) => {
                        self.stores_within(findings, &rows.stores(brand), &what, "POST /api/dataset");
                    }
                    (true, Tried::Refused | Tried::Unclear) => {
                        findings.failures.push(format!("`{}` cannot ask by {what}", self.who));
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
            let tried = self.run(findings, "api/dataset", &on_question(connection, id)).await?;
            let what = format!("a query on question {id} of `{}`", card.scope);
            self.refused(findings, &tried, what, "POST /api/dataset");
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
            let candidates = self.get(findings, &format!("api/automagic-dashboards/database/{id}/candidates")).await?;
            let offer =
                candidates.map(|answer| if tables_offered(&answer) { Tried::Given(answer) } else { Tried::Refused });
            let mut tried = vec![offer];
            let tables = self.world.tables(id, &connection.schema).await?;
            for (_, table) in self
                .world
                .drawn(&self.who, tables, |(name, _)| name.clone())
                .iter()
                .take(if self.world.extent.full { 2 } else { 1 })
            {
                findings.check("x-rays");
                tried.push(self.get(findings, &format!("api/automagic-dashboards/table/{table}")).await?);
            }
            if tried.iter().any(|one| matches!(one, Tried::Given(_))) {
                let what = format!("an x-ray of the connection `{key}`");
                findings.leak(&self.who, what, "GET /api/automagic-dashboards");
            } else if tried.iter().all(|one| matches!(one, Tried::Refused)) {
                findings.refused += 1;
            }
        }
        Ok(())
    }
}

/// The stores of a connection, asked for in SQL of one's own.
pub(super) fn in_sql(id: i64, connection: &Connection) -> Value {
    // Of the union of all brands a number alone does not name a store.
    let columns = if connection.scope.brand().is_some() { "store_id" } else { "brand, store_id" };
    let sql = format!("SELECT DISTINCT {columns} FROM {}.stores", connection.schema);
    json!({"database": id, "type": "native", "native": {"query": sql}})
}

/// A query of the query builder.
pub(super) fn built(id: i64, query: Value) -> Value {
    json!({"database": id, "type": "query", "query": query})
}

/// A query of one's own on a question.
pub(super) fn on_question(connection: i64, card: i64) -> Value {
    built(connection, json!({"source-table": format!("card__{card}"), "limit": 1}))
}

/// What subscribes to a dashboard, switched off and to nobody; a dashboard without
/// questions cannot be mailed.
pub(super) fn subscription(dashboard: &Value) -> Option<Value> {
    let places = dashboard["dashcards"].as_array().into_iter().flatten();
    let cards: Vec<Value> = places
        .filter(|place| place["card_id"].is_i64())
        .map(|place| {
            json!({
                "id": place["card_id"], "dashboard_card_id": place["id"], "include_csv": false, "include_xls": false,
            })
        })
        .collect();
    let channel = json!({
        "channel_type": "email", "enabled": false, "schedule_type": "daily", "schedule_hour": 3, "schedule_day": null,
        "schedule_frame": null, "recipients": [],
    });
    (!cards.is_empty()).then(|| {
        json!({
            "name": SUBSCRIPTION, "dashboard_id": dashboard["id"], "cards": cards, "channels": [channel],
            "skip_if_empty": false, "parameters": [],
        })
    })
}

/// Says whether x-rays of a connection offer any table.
pub(super) fn tables_offered(answer: &Value) -> bool {
    let schemas = answer.as_array().into_iter().flatten();
    schemas.flat_map(|schema| schema["tables"].as_array()).any(|tables| !tables.is_empty())
}
