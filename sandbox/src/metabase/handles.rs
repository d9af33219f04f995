//! What a test may do to a stand-in behind the back of its clients.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::wire::locked;

use super::data_graph::open_permission;
use super::faults::Fault;
use super::server::{Metabase, Recorded};
use super::state::{DataPermission, Level};

impl Metabase {
    /// The whole state as JSON, secrets included.
    pub fn snapshot(&self) -> Value {
        self.server.read(|state| serde_json::to_value(&*state)).expect("the state has text keys only")
    }

    /// The calls so far, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.server.log).clone()
    }

    /// Forgets the calls so far.
    pub fn clear_requests(&self) {
        locked(&self.server.log).clear();
    }

    /// Shows every state there is from now on, right after the change that made it.
    pub fn watch(&self, watcher: impl Fn(&Value) + Send + 'static) {
        *locked(&self.server.watcher) = Some(Box::new(watcher));
    }

    /// Plans a failure; several stand in line.
    pub fn fail_next(&self, fault: Fault) {
        locked(&self.server.faults).push(fault);
    }

    /// Forgets the failures that have not come yet.
    pub fn clear_failures(&self) {
        locked(&self.server.faults).clear();
    }

    /// Answers 503 to everything, as a server does while it starts.
    pub fn set_starting(&self, starting: bool) {
        self.server.starting.store(starting, Ordering::SeqCst);
    }

    /// The token the first set-up needs; gone once it was used.
    pub fn setup_token(&self) -> Option<String> {
        self.server.read(|state| state.setup_token.clone())
    }

    /// Mails a server with SMTP would have sent: `kind`, `to`, `at`, `content`.
    pub fn mails(&self) -> Vec<Value> {
        self.server.read(|state| state.mails.clone())
    }

    /// Writes the state file now.
    pub fn save(&self) -> anyhow::Result<()> {
        self.server.save(false)
    }

    /// Goes by another clock from now on: one that stands, or one shared with
    /// the other stand-ins.
    pub fn use_clock(&self, clock: Clock) {
        *locked(&self.server.clock) = clock;
    }

    /// Moves the clock on.
    pub fn advance_clock(&self, seconds: i64) {
        locked(&self.server.clock).advance_seconds(seconds);
    }

    /// Forgets failed logins, as a restart does.
    pub fn clear_throttle(&self) {
        self.server.write(|state| state.throttle.clear());
    }

    /// Sets a group's level in a collection; `None` is "Our analytics". Levels
    /// are `read`, `write`; any other word takes the grant away. The revision
    /// moves, as if an administrator had clicked.
    pub fn grant_collection(&self, group: i64, collection: impl Into<Option<i64>>, level: &str) {
        let key = collection.into().map_or_else(|| "root".to_owned(), |id| id.to_string());
        let level = match level {
            "read" => Level::Read,
            "write" => Level::Write,
            _ => Level::None,
        };
        self.server.write(|state| {
            if state.set_collection_level(group, &key, level) {
                state.collection_revision += 1;
            }
        });
    }

    /// Sets what a group may ask of a database, as in the data graph.
    pub fn grant_data(&self, group: i64, database: i64, create_queries: &str) {
        self.server.write(|state| {
            state
                .data_permissions
                .entry(group)
                .or_default()
                .insert(database, DataPermission { create_queries: Value::from(create_queries), ..open_permission() });
            state.data_revision += 1;
        });
    }

    /// Puts a user into a group.
    pub fn add_member(&self, user: i64, group: i64) {
        self.server.write(|state| state.join(user, group));
    }

    /// Rewrites the SQL of a question, as a hand in its editor would.
    pub fn set_card_sql(&self, card: i64, sql: &str) {
        self.server.write(|state| {
            let now = state.now;
            if let Some(card) = state.cards.get_mut(&card) {
                card.query["native"]["query"] = json!(sql);
                card.updated_at = now;
            }
        });
    }

    /// Moves a question to another collection; `None` is "Our analytics".
    pub fn set_card_collection(&self, card: i64, collection: impl Into<Option<i64>>) {
        let collection = collection.into();
        self.server.write(|state| {
            if let Some(card) = state.cards.get_mut(&card) {
                card.collection_id = collection;
            }
        });
    }
}
