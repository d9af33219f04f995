//! What one group can do, tried with a key that has its rights.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::actual::sql_of;
use super::audit::{Auditing, Findings};
use super::client::{self, Client, list};
use super::fence::Fence;
use super::tables::Kind;
use crate::access::Scope;
use crate::ids::{BrandId, StoreId};

/// One group's rights, in use.
pub(super) struct Acting<'a> {
    pub(super) auditing: &'a Auditing<'a>,
    pub(super) group: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) client: Client,
}

/// How an attempt ended.
enum Tried {
    Given(Value),
    Refused,
}

impl Acting<'_> {
    /// Tries everything there is to try.
    pub(super) async fn everything(&self, findings: &mut Findings) -> Result<(), client::Error> {
        self.itself(findings).await?;
        self.lists(findings).await?;
        self.own(findings).await?;
        self.foreign(findings).await?;
        self.own_sql(findings).await
    }

    /// Tries a call; only a refusal or an answer ends it well.
    async fn attempt(&self, call: impl Future<Output = Result<Value, client::Error>>) -> Result<Tried, client::Error> {
        match call.await {
            Ok(answer) => Ok(Tried::Given(answer)),
            Err(error) if error.status().is_some_and(|status| status.is_client_error()) => Ok(Tried::Refused),
            Err(error) => Err(error),
        }
    }

    fn readable(&self) -> BTreeSet<i64> {
        let desired = self.auditing.desired();
        desired
            .reads
            .iter()
            .filter(|(group, _)| group == self.group)
            .filter_map(|(_, collection)| self.auditing.index.get(Kind::Collection, collection))
            .collect()
    }

    fn askable(&self) -> BTreeSet<i64> {
        let desired = self.auditing.desired();
        desired
            .asks
            .iter()
            .filter(|(group, _)| group == self.group)
            .filter_map(|(_, connection)| self.auditing.index.get(Kind::Connection, connection))
            .collect()
    }

    async fn itself(&self, findings: &mut Findings) -> Result<(), client::Error> {
        findings.checks += 3;
        if self.client.get("api/user/current").await?["is_superuser"] == true {
            findings.leak(self.group, "everything", "the group makes administrators");
        }
        if let Tried::Given(answer) = self.attempt(self.client.get("api/user")).await?
            && !list(answer).is_empty()
        {
            findings.leak(self.group, "the list of accounts", "GET /api/user");
        }
        if let Tried::Given(answer) = self.attempt(self.client.get("api/user/recipients")).await?
            && list(answer).len() > 1
        {
            findings.exposures.insert(
                "every signed-in person can read names and addresses of all others (GET /api/user/recipients): \
                 reach Metabase through the shipped nginx, which refuses that path"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What the group's own lists show must be within what was granted.
    async fn lists(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let readable = self.readable();
        for row in list(self.client.get("api/collection").await?) {
            let personal = row["is_personal"] == true || row["personal_owner_id"].is_i64();
            if personal || row["type"] == "trash" {
                continue;
            }
            findings.checks += 1;
            if row["id"].as_i64().is_none_or(|id| !readable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(self.group, format!("collection `{name}`"), "GET /api/collection");
            }
        }
        let models = "models=card&models=dataset&models=metric&models=dashboard";
        for row in self.client.pages(&format!("api/search?{models}")).await? {
            findings.checks += 1;
            let collection = row["collection_id"].as_i64().or_else(|| row["collection"]["id"].as_i64());
            if collection.is_none_or(|id| !readable.contains(&id)) {
                let (model, name) = (row["model"].as_str(), row["name"].as_str());
                let what = format!("{} `{}`", model.unwrap_or_default(), name.unwrap_or_default());
                findings.leak(self.group, what, "GET /api/search");
                continue;
            }
            let question = row["model"] != "dashboard";
            if let (true, Some(id)) = (question, row["id"].as_i64())
                && !self.auditing.in_place(id, collection)
            {
                self.stray(findings, id).await?;
            }
        }
        let askable = self.askable();
        for row in list(self.client.get("api/database").await?) {
            findings.checks += 1;
            if row["id"].as_i64().is_none_or(|id| !askable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(self.group, format!("connection `{name}`"), "GET /api/database");
            }
        }
        Ok(())
    }

    /// A question in a collection of ours that is not where we put it, or not ours
    /// at all: its rows must be of the group's stores like any other's.
    async fn stray(&self, findings: &mut Findings, id: i64) -> Result<(), client::Error> {
        findings.checks += 1;
        let path = format!("api/card/{id}");
        let Tried::Given(whole) = self.attempt(self.client.get(&path)).await? else {
            return Ok(());
        };
        let name = whole["name"].as_str().unwrap_or_default();
        let (path, nothing) = (format!("{path}/query"), json!({}));
        let Tried::Given(answer) = self.attempt(self.client.post(&path, &nothing)).await? else {
            return Ok(());
        };
        let database = whole["database_id"].as_i64().or_else(|| whole["dataset_query"]["database"].as_i64());
        let connection = self
            .auditing
            .desired()
            .connections
            .iter()
            .find(|(key, _)| database.is_some() && self.auditing.index.get(Kind::Connection, key) == database);
        let Some((key, connection)) = connection else {
            findings.exposures.insert(format!(
                "the question `{name}` ({id}) in a collection of ours asks over a connection that is not ours"
            ));
            return Ok(());
        };
        let allowed = self.auditing.tree.stores_of(self.scope);
        let seen = stores_in(&answer, connection.scope.brand());
        let wider = !self.auditing.tree.stores_of(&connection.scope).is_subset(&allowed);
        // Without a store in its rows, the connection says whose they may be.
        if seen.iter().any(|pair| !allowed.contains(pair)) || (seen.is_empty() && wider) {
            findings.leak(
                self.group,
                format!("question `{name}` ({id}), over the connection `{key}`"),
                "the rows of its answer",
            );
        }
        Ok(())
    }

    /// Everything of the group's own scope; of each scope below it one question,
    /// the rest is run by the group whose own it is.
    async fn own(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let desired = self.auditing.desired();
        let reads = |collection: &String| desired.reads.contains(&(self.group.to_owned(), collection.clone()));
        let own = self.scope.to_string();
        for (key, dashboard) in desired.dashboards.iter().filter(|(_, dashboard)| reads(&dashboard.collection)) {
            let Some(id) = self.auditing.index.get(Kind::Dashboard, key) else {
                findings.failures.push(format!("the dashboard `{key}` is not there yet: apply first"));
                continue;
            };
            findings.checks += 1;
            if matches!(self.attempt(self.client.get(&format!("api/dashboard/{id}"))).await?, Tried::Refused) {
                findings.failures.push(format!(
                    "`{}` cannot open the dashboard `{}` of `{}`",
                    self.group, dashboard.name, dashboard.scope
                ));
            }
        }
        let mut sampled = BTreeSet::new();
        for (key, card) in desired.cards.iter().filter(|(_, card)| reads(&card.collection)) {
            if card.collection != own && !sampled.insert(&card.collection) {
                continue;
            }
            let Some(id) = self.auditing.index.get(Kind::Card, key) else {
                findings.failures.push(format!("the question `{key}` is not there yet: apply first"));
                continue;
            };
            self.run_own(findings, id, key).await?;
        }
        Ok(())
    }

    async fn run_own(&self, findings: &mut Findings, id: i64, key: &str) -> Result<(), client::Error> {
        let card = &self.auditing.desired().cards[key];
        findings.checks += 2;
        let path = format!("api/card/{id}");
        match self.attempt(self.client.get(&path)).await? {
            Tried::Given(whole) => {
                let (database, sql) = sql_of(&whole).unwrap_or_default();
                let what = format!("question `{}` of `{}`", card.name, card.scope);
                if Some(database) != self.auditing.index.get(Kind::Connection, &card.connection) {
                    findings.leak(self.group, what.clone(), "it asks over another connection than its scope's");
                }
                let fence = Fence { scope: &card.scope, unscoped: &self.auditing.gathered.unscoped };
                if fence.check(&sql).is_err() {
                    findings.leak(self.group, what, "its SQL lacks the literal of its scope");
                }
            }
            Tried::Refused => {
                findings
                    .failures
                    .push(format!("`{}` cannot open the question `{}` of `{}`", self.group, card.name, card.scope));
            }
        }
        let (path, nothing) = (format!("{path}/query"), json!({}));
        let Tried::Given(answer) = self.attempt(self.client.post(&path, &nothing)).await? else {
            findings.failures.push(format!("`{}` may not run `{}` of `{}`", self.group, card.name, card.scope));
            return Ok(());
        };
        if answer["status"] != "completed" {
            findings.failures.push(format!("`{}` of `{}` does not run", card.name, card.scope));
            return Ok(());
        }
        let allowed = self.auditing.tree.stores_of(self.scope);
        for pair in stores_in(&answer, card.scope.brand()) {
            findings.checks += 1;
            if !allowed.contains(&pair) {
                let what = format!("store {}/{} in question `{}` of `{}`", pair.0, pair.1, card.name, card.scope);
                findings.leak(self.group, what, "the rows of its answer");
            }
        }
        Ok(())
    }

    /// Questions, dashboards and collections of other scopes, by their ids.
    async fn foreign(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let desired = self.auditing.desired();
        let index = self.auditing.index;
        let readable = self.readable();
        let mut one_of: BTreeMap<&String, Vec<(&str, String, i64)>> = BTreeMap::new();
        for (key, dashboard) in &desired.dashboards {
            if let Some(id) = index.get(Kind::Dashboard, key) {
                one_of.entry(&dashboard.collection).or_default().push(("dashboard", format!("api/dashboard/{id}"), id));
            }
        }
        for (key, card) in &desired.cards {
            let Some(id) = index.get(Kind::Card, key) else { continue };
            let tries = one_of.entry(&card.collection).or_default();
            if !tries.iter().any(|(kind, ..)| *kind == "question") {
                tries.push(("question", format!("api/card/{id}/query"), id));
            }
        }
        for collection in &desired.collections {
            if let Some(id) = index.get(Kind::Collection, &collection.key) {
                one_of.entry(&collection.key).or_default().push((
                    "collection",
                    format!("api/collection/{id}/items"),
                    id,
                ));
            }
        }
        for (collection, tries) in one_of {
            if index.get(Kind::Collection, collection).is_some_and(|id| readable.contains(&id)) {
                continue;
            }
            for (kind, path, id) in tries {
                findings.checks += 1;
                let tried = match kind {
                    "question" => self.attempt(self.client.post(&path, &json!({}))).await?,
                    _ => self.attempt(self.client.get(&path)).await?,
                };
                let given = match (&tried, kind) {
                    (Tried::Given(answer), "question") => answer["status"] == "completed",
                    // What lies in a collection is only listed where it may be read.
                    (Tried::Given(answer), "collection") => !list(answer.clone()).is_empty(),
                    (Tried::Given(_), _) => true,
                    (Tried::Refused, _) => false,
                };
                if given {
                    findings.leak(self.group, format!("{kind} {id} of `{collection}`"), "asked for by its id");
                }
            }
        }
        Ok(())
    }

    /// SQL of one's own: analysts on their connection, nobody on any other.
    async fn own_sql(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let askable = self.askable();
        for (key, connection) in &self.auditing.desired().connections {
            let Some(id) = self.auditing.index.get(Kind::Connection, key) else { continue };
            let allowed = askable.contains(&id);
            let related = self.auditing.tree.lineage(self.scope).contains(&connection.scope)
                || self.auditing.tree.lineage(&connection.scope).contains(self.scope);
            let neighbour = stable_pick(self.group, key);
            if !allowed && !related && !neighbour {
                continue;
            }
            findings.checks += 1;
            // Of the union of all brands a number alone does not name a store.
            let columns = if connection.scope.brand().is_some() { "store_id" } else { "brand, store_id" };
            let sql = format!("SELECT DISTINCT {columns} FROM {}.stores", connection.schema);
            let body = json!({"database": id, "type": "native", "native": {"query": sql}});
            let given = match self.attempt(self.client.post("api/dataset", &body)).await? {
                Tried::Given(answer) if answer["status"] == "completed" => Some(answer),
                _ => None,
            };
            match (allowed, given) {
                (false, Some(_)) => {
                    findings.leak(self.group, format!("SQL on the connection `{key}`"), "POST /api/dataset");
                }
                (true, None) => findings.failures.push(format!("`{}` cannot ask questions on `{key}`", self.group)),
                (true, Some(answer)) => {
                    let stores = self.auditing.tree.stores_of(self.scope);
                    for pair in stores_in(&answer, connection.scope.brand()) {
                        if !stores.contains(&pair) {
                            let what = format!("store {}/{} by SQL on `{key}`", pair.0, pair.1);
                            findings.leak(self.group, what, "POST /api/dataset");
                        }
                    }
                }
                (false, None) => {}
            }
        }
        Ok(())
    }
}

/// Picks about one in sixteen of the pairs, always the same ones.
fn stable_pick(group: &str, connection: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(format!("{group} {connection}"))[0] % 16 == 0
}

/// Finds the stores an answer speaks of: in a column `store_id`, or in a column
/// `stores` that lists those which were added up.
fn stores_in(answer: &Value, brand: Option<&BrandId>) -> BTreeSet<(BrandId, StoreId)> {
    let names: Vec<&str> = answer["data"]["cols"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| column["name"].as_str().unwrap_or_default())
        .collect();
    let at = |name: &str| names.iter().position(|found| *found == name);
    let (one, many, brands) = (at("store_id"), at("stores"), at("brand"));
    let mut stores = BTreeSet::new();
    for row in answer["data"]["rows"].as_array().into_iter().flatten() {
        let text = |at: Option<usize>| at.and_then(|at| row[at].as_str());
        let brand = text(brands).map(BrandId::from).or_else(|| brand.cloned()).unwrap_or_else(|| BrandId::from(""));
        let listed = text(many).into_iter().flat_map(|list| list.split(','));
        for store in text(one).into_iter().chain(listed) {
            stores.insert((brand.clone(), StoreId::from(store.trim())));
        }
    }
    stores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_found_in_single_and_in_listed_form() {
        let brand = BrandId::from("harbor");
        let answer =
            json!({"data": {"cols": [{"name": "x"}, {"name": "store_id"}], "rows": [[1, "000101"], [2, null]]}});
        assert_eq!(stores_in(&answer, Some(&brand)).len(), 1);
        let answer = json!({"data": {"cols": [{"name": "stores"}], "rows": [["000101,000102"], ["000102, 000103"]]}});
        assert_eq!(stores_in(&answer, Some(&brand)).len(), 3);
        let answer = json!({"data": {"cols": [{"name": "brand"}, {"name": "store_id"}], "rows": [["mesa", "000101"]]}});
        assert_eq!(stores_in(&answer, None).into_iter().next().map(|pair| pair.0), Some(BrandId::from("mesa")));
    }
}
