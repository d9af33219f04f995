//! Whether the ways in are there at all. A call that nobody can make any more is refused to
//! everybody, and every attempt with it would end well: so each is made once with all rights.

use serde_json::{Value, json};

use super::acting::nothing;
use super::downloads;
use super::findings::Findings;
use super::foreign::{built, in_sql, on_question, subscription, tables_offered};
use super::world::World;
use crate::metabase::client::{self, list};
use crate::metabase::tables::Kind;

/// Of what is ours so many are tried, where one by itself is broken.
const TRIES: usize = 3;

impl World<'_> {
    /// Makes each kind of attempt as administrator.
    pub(super) async fn controls(&self, findings: &mut Findings) -> Result<(), client::Error> {
        self.questions_open(findings).await?;
        self.dashboards_open(findings).await?;
        self.connections_open(findings).await
    }

    async fn questions_open(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let ours = self.desired().cards.iter().filter_map(|(key, card)| {
            let connection = self.index.get(Kind::Connection, &card.connection)?;
            Some((self.index.get(Kind::Card, key)?, self.index.get(Kind::Collection, &card.collection)?, connection))
        });
        for (card, collection, connection) in ours.take(TRIES) {
            let (items, path) = (format!("api/collection/{collection}/items"), format!("api/card/{card}"));
            let some = |answer: &Value| !list(answer.clone()).is_empty();
            let mut all = through(findings, "collections by id", client.get(&items), some).await?.is_some();
            let same = |answer: &Value| answer["id"] == card;
            all &= through(findings, "questions by id", client.get(&path), same).await?.is_some();
            let path = format!("{path}/query");
            all &= through(findings, "answers by id", client.post(&path, &nothing()), completed).await?.is_some();
            for (way, format) in
                [("downloads as csv", "csv"), ("downloads as json", "json"), ("downloads as xlsx", "xlsx")]
            {
                let (path, body) = (format!("{path}/{format}"), downloads::body());
                let read = |bytes: &bytes::Bytes| downloads::read(format, bytes).is_some();
                all &= through(findings, way, client.download(&path, &body), read).await?.is_some();
            }
            let body = on_question(connection, card);
            let asked = client.post("api/dataset", &body);
            all &= through(findings, "queries on questions", asked, completed).await?.is_some();
            if all {
                break;
            }
        }
        Ok(())
    }

    async fn dashboards_open(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let ours = self.desired().dashboards.keys().filter_map(|key| self.index.get(Kind::Dashboard, key));
        for dashboard in ours.take(TRIES) {
            let path = format!("api/dashboard/{dashboard}");
            let same = |answer: &Value| answer["id"] == dashboard;
            let whole = through(findings, "dashboards by id", client.get(&path), same).await?;
            let Some(body) = whole.as_ref().and_then(subscription) else { continue };
            let numbered = |answer: &Value| answer["id"].is_i64();
            let made = through(findings, "subscriptions", client.post("api/pulse", &body), numbered).await?;
            if let Some(made) = made {
                return self.put_away(&made).await;
            }
        }
        Ok(())
    }

    async fn connections_open(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let xrays = self.gathered.actual.settings.get("enable-xrays").is_none_or(|setting| setting.value != false);
        let ours = self.desired().connections.iter();
        let ours = ours.filter_map(|(key, connection)| Some((self.index.get(Kind::Connection, key)?, connection)));
        for (id, connection) in ours.take(TRIES) {
            let body = in_sql(id, connection);
            let mut all = through(findings, "SQL", client.post("api/dataset", &body), completed).await?.is_some();
            let tables = self.tables(id, &connection.schema).await?;
            for (_, table) in tables.iter().filter(|(name, _)| name == "stores") {
                let body = built(id, json!({"source-table": table}));
                let asked = client.post("api/dataset", &body);
                all &= through(findings, "the query builder", asked, completed).await?.is_some();
                let path = format!("api/table/{table}/query_metadata");
                let same = |answer: &Value| answer["id"] == *table;
                all &= through(findings, "the columns of tables", client.get(&path), same).await?.is_some();
                // Switched off they are refused to everybody, and that they are is looked at with the rights.
                if xrays {
                    let path = format!("api/automagic-dashboards/database/{id}/candidates");
                    all &=
                        through(findings, "x-rays of connections", client.get(&path), tables_offered).await?.is_some();
                    let path = format!("api/automagic-dashboards/table/{table}");
                    all &= through(findings, "x-rays of tables", client.get(&path), Value::is_object).await?.is_some();
                }
            }
            if all {
                break;
            }
        }
        Ok(())
    }

    /// Ends a subscription that was only tried.
    pub(super) async fn put_away(&self, made: &Value) -> Result<(), client::Error> {
        if let Some(id) = made["id"].as_i64() {
            self.gathered.client.put(&format!("api/pulse/{id}"), &json!({"archived": true})).await?;
        }
        Ok(())
    }
}

/// Makes a call that must get through; what came, where that is what should come.
async fn through<T>(
    findings: &mut Findings,
    way: &'static str,
    call: impl Future<Output = Result<T, client::Error>>,
    came: impl FnOnce(&T) -> bool,
) -> Result<Option<T>, client::Error> {
    findings.check("ways in with all rights");
    let answer = match call.await {
        Ok(answer) => came(&answer).then_some(answer),
        Err(error) if error.status().is_some_and(|status| status.is_client_error()) => None,
        Err(error) => return Err(error),
    };
    findings.control(way, answer.is_some());
    Ok(answer)
}

fn completed(answer: &Value) -> bool {
    answer["status"] == "completed"
}
