//! What one audit works on: what is wanted, what is there, and the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OnceCell};

use super::answers::{Rows, StoreKey};
use super::listed::narrowed;
use super::run::Extent;
use super::truth_tables::{self, Stores, Unlisted};
use crate::access::Scope;
use crate::metabase::client::{self, list};
use crate::metabase::context::{Context, Gathered};
use crate::metabase::desired::{Account, Connection, Desired};
use crate::metabase::fence::Fence;
use crate::metabase::index::Index;
use crate::metabase::optional::without_optional_parts;
use crate::metabase::tables::Kind;
use crate::warehouse::Warehouse;

/// What a question really answers, or why nobody knows.
pub(super) type Truth = Arc<Result<Rows, String>>;

/// A connection's tables, read once; names and numbers.
type Tables = Arc<OnceCell<Vec<(String, i64)>>>;

/// How a question's text keeps to a scope.
pub(super) enum Kept {
    Always,
    /// Until a reader chooses something: an optional part lets more through.
    UnlessChosen,
    Not,
}

/// How a text that is kept unless chosen was found.
pub(super) const OPENED: &str = "an optional part of its SQL goes beyond the literal of its scope";

/// One audit.
pub(super) struct World<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) gathered: &'a Gathered,
    pub(super) index: &'a Index,
    pub(super) stores: Stores,
    pub(super) unlisted: Unlisted,
    pub(super) extent: Extent,
    truths: Mutex<BTreeMap<String, Arc<OnceCell<Truth>>>>,
    tables: Mutex<BTreeMap<i64, Tables>>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        gathered: &'a Gathered,
        index: &'a Index,
        stores: Stores,
        unlisted: Unlisted,
        extent: Extent,
    ) -> Self {
        Self { context, gathered, index, stores, unlisted, extent, truths: Mutex::default(), tables: Mutex::default() }
    }

    pub(super) fn desired(&self) -> &'a Desired {
        &self.gathered.desired
    }

    pub(super) fn warehouse(&self) -> &'a Warehouse {
        self.context.warehouse
    }

    pub(super) fn fence<'s>(&'s self, scope: &'s Scope) -> Fence<'s> {
        Fence { scope, unscoped: &self.gathered.unscoped }
    }

    /// Says how a text keeps to one of these scopes, whatever a reader chooses.
    pub(super) fn kept<'s>(&'s self, scopes: impl IntoIterator<Item = &'s Scope>, sql: &str) -> Kept {
        let (mut kept, default) = (Kept::Not, without_optional_parts(sql));
        for fence in scopes.into_iter().map(|scope| self.fence(scope)) {
            if fence.check(sql).is_ok() {
                return Kept::Always;
            }
            if fence.check(&default).is_ok() {
                kept = Kept::UnlessChosen;
            }
        }
        kept
    }

    /// Says whether a question is ours and lies in the collection we put it into.
    pub(super) fn in_place(&self, id: i64, collection: Option<i64>) -> bool {
        let key = self.index.key(Kind::Card, id);
        let card = key.and_then(|key| self.desired().cards.get(key));
        card.is_some_and(|card| self.index.get(Kind::Collection, &card.collection) == collection)
    }

    /// Our connection behind a database of the instance.
    pub(super) fn connection(&self, database: Option<i64>) -> Option<(&'a str, &'a Connection)> {
        let key = self.index.key(Kind::Connection, database?)?;
        self.desired().connections.get_key_value(key).map(|(key, connection)| (key.as_str(), connection))
    }

    /// Says whether a connection shows stores beyond these.
    pub(super) fn wider(&self, connection: &Connection, allowed: &BTreeSet<StoreKey>) -> bool {
        !self.stores.of(&connection.scope).is_subset(allowed)
    }

    /// Our number of a person, and the account she should have, by the instance's number.
    pub(super) fn person(&self, user: i64) -> Option<(&'a str, &'a Account)> {
        let key = self.index.key(Kind::Person, user)?;
        self.desired().people.get_key_value(key).map(|(key, account)| (key.as_str(), account))
    }

    /// How a person is named where names have no place: by our own number, as the certificate's list of people
    /// and `access show` have it.
    pub(super) fn who(&self, user: i64) -> String {
        match self.person(user) {
            Some((key, _)) => format!("person {key}"),
            None => format!("account {user} of Metabase"),
        }
    }

    /// The stores of one of our people.
    pub(super) fn stores_of_person(&self, user: i64) -> Option<BTreeSet<StoreKey>> {
        let (_, account) = self.person(user)?;
        let scopes = account.groups.iter().filter_map(|group| self.desired().groups.get(group));
        Some(scopes.flat_map(|group| self.stores.of(&group.scope)).collect())
    }

    /// The collections that a group should read.
    pub(super) fn readable(&self, groups: &[&str]) -> BTreeSet<i64> {
        let of = self.desired().reads.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        of.filter_map(|(_, collection)| self.index.get(Kind::Collection, collection)).collect()
    }

    /// The connections that a group should ask.
    pub(super) fn askable(&self, groups: &[&str]) -> BTreeSet<i64> {
        let of = self.desired().asks.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        of.filter_map(|(_, connection)| self.index.get(Kind::Connection, connection)).collect()
    }

    /// What a question of ours really answers, of the stores that are listed; asked of
    /// the tables once.
    pub(super) async fn truth(&self, key: &str) -> Truth {
        let cell = Arc::clone(self.truths.lock().await.entry(key.to_owned()).or_default());
        let read = async || {
            let sql = without_optional_parts(&self.desired().cards[key].sql);
            // Where all rows are of listed stores the text is asked as it stands.
            let text = if self.unlisted.stores.is_empty() { Ok(sql) } else { narrowed(&sql, &self.unlisted.relations) };
            Arc::new(match text {
                Ok(text) => truth_tables::answer(self.warehouse(), &text).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            })
        };
        Arc::clone(cell.get_or_init(read).await)
    }

    /// Says whether rows are those that a question has with the stores no list holds.
    pub(super) async fn counts_unlisted(&self, key: &str, rows: &Rows) -> bool {
        if self.unlisted.stores.is_empty() {
            return false;
        }
        // What the tables say, not narrowed; where they say nothing the rows are foreign all the same.
        let whole =
            truth_tables::answer(self.warehouse(), &without_optional_parts(&self.desired().cards[key].sql)).await;
        whole.is_ok_and(|whole| rows.differs(&whole) == Default::default())
    }

    /// The truth once more: a load may have come in between.
    pub(super) async fn truth_now(&self, key: &str) -> Truth {
        self.truths.lock().await.remove(key);
        self.truth(key).await
    }

    /// The tables of a connection, as Metabase numbers them.
    pub(super) async fn tables(&self, database: i64, schema: &str) -> Result<Vec<(String, i64)>, client::Error> {
        let cell = Arc::clone(self.tables.lock().await.entry(database).or_default());
        let read = async || {
            let rows = list(self.gathered.client.get(&format!("api/database/{database}/schema/{schema}")).await?);
            let named = |row: &serde_json::Value| Some((row["name"].as_str()?.to_owned(), row["id"].as_i64()?));
            Ok(rows.iter().filter_map(named).collect())
        };
        cell.get_or_try_init(read).await.cloned()
    }

    /// Orders things by chance, always alike for one seed and one asker. Where everything is
    /// tried no day differs from another: a leak that stands is the same outcome.
    pub(super) fn drawn<T>(&self, who: &str, mut things: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
        let seed = if self.extent.full { "" } else { &self.extent.seed };
        things.sort_by_cached_key(|thing| {
            let digest = Sha256::digest(format!("{seed}\u{1f}{who}\u{1f}{}", name(thing)));
            <[u8; 32]>::from(digest)
        });
        things
    }

    /// How many of so many are tried.
    pub(super) fn share(&self, of: usize) -> usize {
        if self.extent.full { of } else { of.min(self.extent.sample) }
    }
}
