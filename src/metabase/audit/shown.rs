//! What a question that is not ours shows, run as administrator, and who may see that.

use std::collections::BTreeSet;

use serde_json::Value;

use super::answers::{Rows, StoreKey};
use super::world::{Kept, OPENED, World};
use crate::access::Scope;
use crate::metabase::actual::query_of;
use crate::metabase::client;
use crate::metabase::desired::Connection;

/// A question over a connection of ours, and the stores in its answer.
pub(super) struct Shown<'a> {
    /// What findings call it.
    pub(super) what: String,
    key: &'a str,
    connection: &'a Connection,
    stores: BTreeSet<StoreKey>,
    tells_stores: bool,
    sql: String,
}

/// What was found under a question's number.
pub(super) enum Found<'a> {
    Gone,
    /// It asks over a connection that is not ours; what it is called.
    Elsewhere(String),
    Here(Shown<'a>),
}

/// How much of a question is not for somebody.
pub(super) enum Beyond {
    /// These stores are in its rows.
    Stores(BTreeSet<StoreKey>),
    /// Nothing keeps it from showing more; what, and how that was found.
    Unfenced(String, Option<&'static str>),
    Nothing,
}

impl<'a> World<'a> {
    /// Runs a question, at a path of its own or of a dashboard that shows it.
    pub(super) async fn shown(&self, card: i64, path: &str, body: &Value) -> Result<Found<'a>, client::Error> {
        let client = &self.gathered.client;
        let whole = match client.get(&format!("api/card/{card}?legacy-mbql=true")).await {
            Err(error) if error.is_gone() => return Ok(Found::Gone),
            other => other?,
        };
        let what = format!("question `{}` ({card})", whole["name"].as_str().unwrap_or_default());
        let database = whole["database_id"].as_i64().or_else(|| whole["dataset_query"]["database"].as_i64());
        let Some((key, connection)) = self.connection(database) else { return Ok(Found::Elsewhere(what)) };
        let rows = Rows::of_answer(&client.post(path, body).await?);
        let stores = rows.stores(connection.scope.brand());
        let sql = query_of(&whole).unwrap_or_default().sql;
        Ok(Found::Here(Shown { what, key, connection, stores, tells_stores: rows.tells_stores(), sql }))
    }

    /// What of it somebody with an account should not see.
    pub(super) fn beyond(&self, shown: &Shown<'_>, user: i64) -> Beyond {
        let allowed = self.stores_of_person(user).unwrap_or_default();
        let foreign: BTreeSet<StoreKey> = shown.stores.difference(&allowed).cloned().collect();
        if !foreign.is_empty() {
            return Beyond::Stores(foreign);
        }
        if !self.wider(shown.connection, &allowed) {
            return Beyond::Nothing;
        }
        let over = || format!("{}, over the connection `{}`", shown.what, shown.key);
        match self.kept(self.scopes_of_person(user), &shown.sql) {
            Kept::Always => Beyond::Nothing,
            Kept::UnlessChosen => Beyond::Unfenced(over(), Some(OPENED)),
            // Without a store in its rows, the connection says whose they may be.
            Kept::Not if !shown.tells_stores => Beyond::Unfenced(over(), None),
            Kept::Not => Beyond::Nothing,
        }
    }

    /// The scopes of one of our people.
    fn scopes_of_person(&self, user: i64) -> impl Iterator<Item = &'a Scope> {
        let groups = self.person(user).into_iter().flat_map(|(_, account)| &account.groups);
        groups.filter_map(|group| self.desired().groups.get(group)).map(|group| &group.scope)
    }
}
