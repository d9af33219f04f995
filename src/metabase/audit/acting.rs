//! What somebody can do, tried with a key that has her rights: who she is, and her lists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answers::{Rows, StoreKey};
use super::findings::Findings;
use super::world::World;
use crate::access::Scope;
use crate::metabase::client::{self, Client, list};
use crate::metabase::tables::Kind;

/// One group's rights, or those of several together, in use.
pub(super) struct Acting<'a> {
    pub(super) world: &'a World<'a>,
    /// What findings call her.
    pub(super) who: String,
    pub(super) groups: Vec<&'a str>,
    pub(super) scopes: Vec<&'a Scope>,
    /// The stores that the tables list for her.
    pub(super) allowed: BTreeSet<StoreKey>,
    pub(super) client: Client,
}

/// How an attempt ended.
pub(super) enum Tried<T = Value> {
    Given(T),
    Refused,
    /// Neither: what was asked was not understood, or is not there. It proves nothing, and
    /// is noted as a failure.
    Unclear,
}

impl<T> Tried<T> {
    pub(super) fn given(self) -> Option<T> {
        match self {
            Self::Given(given) => Some(given),
            Self::Refused | Self::Unclear => None,
        }
    }

    pub(super) fn map<U>(self, with: impl FnOnce(T) -> Tried<U>) -> Tried<U> {
        match self {
            Self::Given(given) => with(given),
            Self::Refused => Tried::Refused,
            Self::Unclear => Tried::Unclear,
        }
    }
}

impl<'a> Acting<'a> {
    pub(super) fn new(world: &'a World<'a>, groups: Vec<&'a str>, client: Client) -> Self {
        let scopes: Vec<&Scope> = groups.iter().map(|group| &world.desired().groups[*group].scope).collect();
        let allowed = scopes.iter().flat_map(|scope| world.stores.of(scope)).collect();
        let who = groups.join(" + ");
        Self { world, who, groups, scopes, allowed, client }
    }

    /// Tries everything there is to try.
    pub(super) async fn everything(&self, findings: &mut Findings) -> Result<(), client::Error> {
        self.itself(findings).await?;
        self.lists(findings).await?;
        self.own(findings).await?;
        self.foreign(findings).await?;
        self.queries(findings).await?;
        self.xrays(findings).await
    }

    /// Tries a call; only an answer or a refusal for want of rights ends it well.
    pub(super) async fn attempt<T>(
        &self,
        findings: &mut Findings,
        call: impl Future<Output = Result<T, client::Error>>,
    ) -> Result<Tried<T>, client::Error> {
        match call.await {
            Ok(answer) => Ok(Tried::Given(answer)),
            Err(error) if is_refusal(&error) => Ok(Tried::Refused),
            Err(client::Error::Refused { call, status, .. }) if status.is_client_error() => {
                // Without numbers: one line for a way in, however often it was tried.
                let call: Vec<&str> =
                    call.split('/').map(|part| if part.parse::<i64>().is_ok() { ":id" } else { part }).collect();
                findings.failures.push(format!(
                    "`{}` was answered {status}, which neither gives nor refuses: who gets what there is not known",
                    call.join("/")
                ));
                Ok(Tried::Unclear)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get(&self, findings: &mut Findings, path: &str) -> Result<Tried, client::Error> {
        self.attempt(findings, self.client.get(path)).await
    }

    /// Runs something; the rows, where it ran. Want of rights may be a query that fails.
    pub(super) async fn run(
        &self,
        findings: &mut Findings,
        path: &str,
        body: &Value,
    ) -> Result<Tried<Rows>, client::Error> {
        let tried = self.attempt(findings, self.client.post(path, body)).await?;
        Ok(tried.map(|answer| match answer["status"] == "completed" {
            true => Tried::Given(Rows::of_answer(&answer)),
            false => Tried::Refused,
        }))
    }

    pub(super) fn may_read(&self) -> BTreeSet<i64> {
        self.world.readable(&self.groups)
    }

    pub(super) fn may_ask(&self) -> BTreeSet<i64> {
        self.world.askable(&self.groups)
    }

    async fn itself(&self, findings: &mut Findings) -> Result<(), client::Error> {
        findings.check("account");
        if self.client.get("api/user/current").await?["is_superuser"] == true {
            findings.leak(&self.who, "everything", "the group makes administrators");
        }
        for (path, what) in [
            ("api/user", "the list of accounts"),
            ("api/permissions/group", "the list of groups"),
            ("api/permissions/membership", "who is in which group"),
            ("api/collection/graph", "who may read which collection"),
            ("api/api-key", "the list of API keys"),
            ("api/setting", "the settings of the instance"),
        ] {
            findings.check("account");
            match self.get(findings, path).await? {
                Tried::Given(answer) if !empty(&answer) => {
                    findings.leak(&self.who, what, &format!("GET /{path}"));
                }
                Tried::Given(_) | Tried::Refused => findings.refused += 1,
                Tried::Unclear => {}
            }
        }
        findings.check("recipients");
        // A proxy may refuse the path in its own way.
        let recipients = match self.client.get("api/user/recipients").await {
            Err(error) if error.status().is_some_and(|status| status.is_client_error()) => Value::Null,
            other => other?,
        };
        if list(recipients).len() > 1 {
            findings.exposures.insert(
                "every signed-in person can read names and addresses of all others (GET /api/user/recipients): \
                 reach Metabase through the shipped nginx, which refuses that path"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What her own lists show must be within what was granted.
    async fn lists(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let readable = self.may_read();
        for row in list(self.client.get("api/collection").await?) {
            let personal = row["is_personal"] == true || row["personal_owner_id"].is_i64();
            if personal || row["type"] == "trash" {
                continue;
            }
            findings.check("collections");
            if row["id"].as_i64().is_none_or(|id| !readable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(&self.who, format!("collection `{name}`"), "GET /api/collection");
            }
        }
        let models = "models=card&models=dataset&models=metric&models=dashboard";
        for row in self.client.pages(&format!("api/search?{models}")).await? {
            findings.check("search");
            let collection = row["collection_id"].as_i64().or_else(|| row["collection"]["id"].as_i64());
            let question = row["model"] != "dashboard";
            if collection.is_none_or(|id| !readable.contains(&id)) {
                let (model, name) = (row["model"].as_str(), row["name"].as_str());
                let place = row["collection"]["name"].as_str().map(|name| format!(" in the collection `{name}`"));
                let what = format!("{} `{}`", model.unwrap_or_default(), name.unwrap_or_default());
                let what = format!("{what}{}", place.unwrap_or_default());
                findings.leak(&self.who, what, "GET /api/search");
                continue;
            }
            let Some(id) = row["id"].as_i64() else { continue };
            if question && !self.world.in_place(id, collection) {
                self.stray(findings, id).await?;
            }
            if !question && self.world.index.key(Kind::Dashboard, id).is_none() {
                self.stray_dashboard(findings, id).await?;
            }
        }
        let askable = self.may_ask();
        for row in list(self.client.get("api/database").await?) {
            findings.check("connections");
            if row["id"].as_i64().is_none_or(|id| !askable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(&self.who, format!("connection `{name}`"), "GET /api/database");
            }
        }
        findings.check("collections");
        if let Tried::Given(answer) = self.get(findings, "api/collection/root/items").await? {
            let strange = list(answer).into_iter().filter(|row| row["model"] != "collection");
            for row in strange {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(&self.who, format!("`{name}` at the top"), "GET /api/collection/root/items");
            }
        }
        Ok(())
    }

    /// Compares an answer's stores with hers.
    pub(super) fn stores_within(
        &self,
        findings: &mut Findings,
        seen: &BTreeSet<StoreKey>,
        what: &str,
        how: &str,
    ) -> bool {
        findings.checks("stores in rows", seen.len());
        let mut within = true;
        for pair in seen.iter().filter(|pair| !self.allowed.contains(*pair)) {
            within = false;
            findings.leak(&self.who, format!("store {}/{} in {what}", pair.0, pair.1), how);
        }
        within
    }

    /// Stores that are not hers, the nearest first: of a connection that is wider than
    /// her scope, they are the ones that would show.
    pub(super) fn strangers(&self, within: Option<&Scope>) -> Vec<StoreKey> {
        let all = self.world.stores.of(within.unwrap_or(&Scope::Chain));
        let foreign: Vec<StoreKey> = all.into_iter().filter(|pair| !self.allowed.contains(pair)).collect();
        self.world.drawn(&self.who, foreign, |pair| format!("{}/{}", pair.0, pair.1)).into_iter().take(2).collect()
    }
}

/// Says whether a call was refused for want of rights: nobody signed in, not paid for, not
/// allowed. A 404 is none: what is tried is there, and Metabase does not hide that.
pub(super) fn is_refusal(error: &client::Error) -> bool {
    error.status().is_some_and(|status| matches!(status.as_u16(), 401..=403))
}

fn empty(answer: &Value) -> bool {
    match answer {
        Value::Null => true,
        Value::Array(rows) => rows.is_empty(),
        Value::Object(fields) => match fields.get("data").or_else(|| fields.get("groups")) {
            Some(Value::Array(rows)) => rows.is_empty(),
            Some(Value::Object(rows)) => rows.is_empty(),
            _ => fields.is_empty(),
        },
        _ => false,
    }
}

/// The body of a run without parameters.
pub(super) fn nothing() -> Value {
    json!({})
}
