//! Remembers which objects of an instance are ours, in `ops.metabase_objects`,
//! and lets one writer at a time work on an instance.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Row as _};

use super::large::KnownGraph;
use crate::warehouse::Warehouse;

/// What kinds of objects we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Connection,
    Group,
    Collection,
    Card,
    Dashboard,
    Person,
    Timeline,
    /// A setting of the instance that cannot be read back.
    Setting,
}

impl Kind {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Group => "group",
            Self::Collection => "collection",
            Self::Card => "question",
            Self::Dashboard => "dashboard",
            Self::Person => "person",
            Self::Timeline => "timeline",
            Self::Setting => "setting",
        }
    }

    fn of(text: &str) -> Option<Self> {
        use Kind::{Card, Collection, Connection, Dashboard, Group, Person, Setting, Timeline};
        let all = [Connection, Group, Collection, Card, Dashboard, Person, Setting, Timeline];
        all.into_iter().find(|kind| kind.text() == text)
    }
}

/// The key under which the mail server's password is remembered, as marks of it.
pub(super) const MAIL: &str = "mail";
/// The key under which it is remembered that a release has no such locale.
pub(super) fn no_locale(locale: &str) -> String {
    format!("no locale {locale}")
}

/// In place of a hash: the account was there before us.
pub(super) const ADOPTED: &str = "adopted";

/// An object of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Missing when a crash came between making it and noting its id.
    pub(super) id: Option<i64>,
    pub(super) entity_id: Option<String>,
    pub(super) hash: String,
    /// When it was last edited; while it is being made, above which id it will be.
    pub(super) mark: String,
}

impl Known {
    /// Of an object that was being made: all that were there before had this id or a lower one.
    pub(super) fn made_after(&self) -> Option<i64> {
        self.mark.strip_prefix(AFTER).filter(|_| self.id.is_none())?.parse().ok()
    }
}

const AFTER: &str = "after ";

/// Everything of ours in one instance.
pub(super) type Objects = BTreeMap<(Kind, String), Known>;

/// The rows of one instance.
#[derive(Debug, Clone)]
pub(super) struct Ledger<'a> {
    pub(super) warehouse: &'a Warehouse,
    pub(super) instance: &'a str,
    pub(super) now: DateTime<Utc>,
}

impl Ledger<'_> {
    pub(super) async fn read(&self) -> Result<Objects, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT kind, key, metabase_id, entity_id, content_hash, mark FROM ops.metabase_objects WHERE instance = $1",
        )
        .bind(self.instance)
        .fetch_all(self.warehouse.pool())
        .await?;
        let mut objects = Objects::new();
        for row in rows {
            if let Some(kind) = Kind::of(row.try_get("kind")?) {
                objects.insert(
                    (kind, row.try_get("key")?),
                    Known {
                        id: row.try_get("metabase_id")?,
                        entity_id: row.try_get("entity_id")?,
                        hash: row.try_get("content_hash")?,
                        mark: row.try_get("mark")?,
                    },
                );
            }
        }
        Ok(objects)
    }

    /// Notes what is about to be made, and the highest id of its kind before that, so that it
    /// and nothing of others is found again after a crash.
    pub(super) async fn intend(&self, kind: Kind, keys: &[&str], highest: i64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO ops.metabase_objects (instance, kind, key, mark, changed_at)
             SELECT $1, $2, key, $5, $4 FROM unnest($3::text[]) AS key
             ON CONFLICT (instance, kind, key) DO UPDATE
             SET metabase_id = NULL, entity_id = NULL, mark = $5, changed_at = $4",
        )
        .bind(self.instance)
        .bind(kind.text())
        .bind(keys)
        .bind(self.now)
        .bind(format!("{AFTER}{highest}"))
        .execute(self.warehouse.pool())
        .await?;
        Ok(())
    }

    /// Notes what was written.
    pub(super) async fn note(&self, kind: Kind, key: &str, known: &Known) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO ops.metabase_objects (instance, kind, key, metabase_id, entity_id, content_hash, mark, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (instance, kind, key) DO UPDATE
             SET metabase_id = EXCLUDED.metabase_id, entity_id = EXCLUDED.entity_id,
                 content_hash = EXCLUDED.content_hash, mark = EXCLUDED.mark, changed_at = EXCLUDED.changed_at",
        )
        .bind(self.instance)
        .bind(kind.text())
        .bind(key)
        .bind(known.id)
        .bind(&known.entity_id)
        .bind(&known.hash)
        .bind(&known.mark)
        .bind(self.now)
        .execute(self.warehouse.pool())
        .await?;
        Ok(())
    }

    /// Notes when Metabase says that objects were last edited.
    pub(super) async fn mark(&self, kind: Kind, marks: &[(String, String)]) -> Result<(), sqlx::Error> {
        let keys: Vec<&str> = marks.iter().map(|(key, _)| key.as_str()).collect();
        let texts: Vec<&str> = marks.iter().map(|(_, mark)| mark.as_str()).collect();
        sqlx::query(
            "UPDATE ops.metabase_objects o SET mark = m.mark
             FROM unnest($3::text[], $4::text[]) AS m(key, mark)
             WHERE o.instance = $1 AND o.kind = $2 AND o.key = m.key AND o.mark <> m.mark",
        )
        .bind(self.instance)
        .bind(kind.text())
        .bind(&keys)
        .bind(&texts)
        .execute(self.warehouse.pool())
        .await?;
        Ok(())
    }

    pub(super) async fn forget(&self, kind: Kind, key: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM ops.metabase_objects WHERE instance = $1 AND kind = $2 AND key = $3")
            .bind(self.instance)
            .bind(kind.text())
            .bind(key)
            .execute(self.warehouse.pool())
            .await?;
        Ok(())
    }

    /// The rights to ask as they were read last.
    pub(super) async fn graph(&self) -> Result<Option<KnownGraph>, sqlx::Error> {
        let row = sqlx::query("SELECT mark, asks FROM ops.metabase_graphs WHERE instance = $1")
            .bind(self.instance)
            .fetch_optional(self.warehouse.pool())
            .await?;
        row.map(|row| Ok(KnownGraph::of(row.try_get("mark")?, &row.try_get("asks")?))).transpose()
    }

    /// Remembers the rights to ask.
    pub(super) async fn keep_graph(&self, graph: &KnownGraph) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO ops.metabase_graphs (instance, mark, asks, read_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (instance) DO UPDATE
             SET mark = EXCLUDED.mark, asks = EXCLUDED.asks, read_at = EXCLUDED.read_at",
        )
        .bind(self.instance)
        .bind(&graph.mark)
        .bind(graph.stored())
        .bind(self.now)
        .execute(self.warehouse.pool())
        .await?;
        Ok(())
    }

    pub(super) async fn forget_all(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM ops.metabase_graphs WHERE instance = $1")
            .bind(self.instance)
            .execute(self.warehouse.pool())
            .await?;
        sqlx::query("DELETE FROM ops.metabase_objects WHERE instance = $1")
            .bind(self.instance)
            .execute(self.warehouse.pool())
            .await?;
        Ok(())
    }

    /// Notes that the instance is ours to change; `origin` is `set up` or `told`.
    pub(super) async fn own(&self, origin: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO ops.metabase_instances (instance, origin, owned_at) VALUES ($1, $2, $3)
             ON CONFLICT (instance) DO NOTHING",
        )
        .bind(self.instance)
        .bind(origin)
        .bind(self.now)
        .execute(self.warehouse.pool())
        .await?;
        Ok(())
    }

    pub(super) async fn owned(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM ops.metabase_instances WHERE instance = $1)")
            .bind(self.instance)
            .fetch_one(self.warehouse.pool())
            .await
    }

    /// Forgets that the instance was ours, and who was invited to it.
    pub(super) async fn disown(&self) -> Result<(), sqlx::Error> {
        for statement in [
            "DELETE FROM ops.metabase_invitations WHERE instance = $1",
            "DELETE FROM ops.metabase_instances WHERE instance = $1",
        ] {
            sqlx::query(statement).bind(self.instance).execute(self.warehouse.pool()).await?;
        }
        Ok(())
    }

    /// Notes an invitation, unless there was one; says whether it is the first.
    pub(super) async fn invite(&self, person: &str) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "INSERT INTO ops.metabase_invitations (instance, person_id, invited_at)
             SELECT $1, person_id, $3 FROM access.people WHERE person_id::text = $2
             ON CONFLICT (instance, person_id) DO NOTHING",
        )
        .bind(self.instance)
        .bind(person)
        .bind(self.now)
        .execute(self.warehouse.pool())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes an invitation back that certainly did not leave.
    pub(super) async fn uninvite(&self, person: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM ops.metabase_invitations WHERE instance = $1 AND person_id::text = $2")
            .bind(self.instance)
            .bind(person)
            .execute(self.warehouse.pool())
            .await?;
        Ok(())
    }

    /// Who was invited already, by our keys of people.
    pub(super) async fn invited(&self) -> Result<BTreeSet<String>, sqlx::Error> {
        let keys: Vec<String> =
            sqlx::query_scalar("SELECT person_id::text FROM ops.metabase_invitations WHERE instance = $1")
                .bind(self.instance)
                .fetch_all(self.warehouse.pool())
                .await?;
        Ok(keys.into_iter().collect())
    }

    /// Claims the instance; `None` when somebody else is writing to it. The
    /// claim ends with its connection, however this process ends.
    pub(super) async fn claim(&self) -> Result<Option<Claim>, sqlx::Error> {
        let mut connection = self.warehouse.pool().acquire().await?;
        connection.close_on_drop();
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('metabase'), hashtext($1))")
            .bind(self.instance)
            .fetch_one(&mut *connection)
            .await?;
        Ok(mine.then_some(Claim(connection)))
    }
}

/// The right to write to an instance.
#[derive(Debug)]
pub(super) struct Claim(PoolConnection<Postgres>);

impl Claim {
    /// Lets go at once; dropping it does so when the server notices.
    pub(super) async fn release(mut self) {
        // Where the connection is gone, so is the claim.
        let _released = sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *self.0).await;
        let _closed = self.0.close().await;
    }
}
