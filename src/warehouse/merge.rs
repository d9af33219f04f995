//! Moves staging into the table: what is new, what differs, what is no longer there.
//!
//! Rows are compared once. A row that is there with the same values is not
//! written again; one that is replaced or removed goes to the history. What the
//! load spoke of without changing it is noted on the load, because undoing an
//! earlier one must not take back what a later one said again.

use chrono::NaiveDate;
use sqlx::{Executor as _, PgConnection, Row as _};

use super::ident::{Ident, Statement};
use super::load::{Counts, Error, Load};
use super::table::{Table, WriteDisposition, list};
use crate::ids::LoadId;

/// From so many rows on each is found by hashing all of them, whatever the planner expects:
/// looking each up by the key costs several times as much, and so does sorting by keys
/// that begin with one of a few stores.
const MANY: i64 = 20_000;

/// What a merge came to, besides its counts.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) counts: Counts,
    /// The loads whose rows came again with the same values.
    pub(super) confirmed: Vec<i64>,
    /// Of which part of the table the load is the whole truth.
    pub(super) covers: Option<serde_json::Value>,
}

impl Load {
    /// Moves staging into the table.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn merge(&mut self) -> Result<Counts, Error> {
        // Two pipelines may share a table: the second finds it made.
        self.table.lock(&mut self.transaction).await?;
        super::history::ensure_schema(&mut self.transaction, &self.brand).await?;
        self.table.ensure(&mut self.transaction).await?;
        self.table.ensure_history(&mut self.transaction).await?;
        self.set_archived_aside().await?;
        let days = self.days().await?;
        let merge = Merge { table: &self.table, load_id: self.load_id, days };
        let merged = merge.run(&mut self.transaction).await?;
        self.table.ensure_key(&mut self.transaction).await?;
        self.counts = merged.counts;
        self.confirmed.extend(merged.confirmed);
        self.covers = merged.covers;
        Ok(merged.counts)
    }

    /// Makes the partitions that staging needs; answers with its first and last day.
    async fn days(&mut self) -> Result<Option<(NaiveDate, NaiveDate)>, Error> {
        let Some(column) = self.table.partition_by.clone() else { return Ok(None) };
        let query = Error::query("list the months");
        let months = format!(
            "SELECT date_trunc('month', day)::date AS month, min(day) AS first, max(day) AS last \
             FROM (SELECT {0} AS day FROM pg_temp.staging WHERE {0} IS NOT NULL GROUP BY 1) AS days GROUP BY 1 ORDER BY 1",
            Ident::known(&column)
        );
        let rows = sqlx::query(Statement::new(months).safe()).fetch_all(&mut *self.transaction).await.map_err(query)?;
        let months: Vec<NaiveDate> = rows.iter().map(|row| row.get("month")).collect();
        self.table.ensure_partitions(&mut self.transaction, &months).await?;
        self.months = months;
        Ok(rows.first().zip(rows.last()).map(|(first, last)| (first.get("first"), last.get("last"))))
    }
}

/// A merge of staging, `s`, into the table, `t`.
struct Merge<'a> {
    table: &'a Table,
    load_id: LoadId,
    /// The first and last day in staging, where the table is partitioned by one.
    days: Option<(NaiveDate, NaiveDate)>,
}

impl Merge<'_> {
    async fn run(&self, connection: &mut PgConnection) -> Result<Merged, Error> {
        let query = Error::query("merge the rows");
        let mut merged = Merged::default();
        let staged = format!("SELECT count(*) FROM (SELECT FROM pg_temp.staging LIMIT {MANY}) AS rows_staged");
        let staged = count(connection, &staged).await.map_err(query)?;
        if staged == 0 {
            // Every row was refused: that is no order to empty the table.
            return Ok(merged);
        }
        merged.covers = self.covers(connection).await.map_err(query)?;
        let there = format!("SELECT count(*) FROM (SELECT FROM {} LIMIT 1) AS one", self.table.path());
        let empty = count(connection, &there).await.map_err(query)? == 0;
        if let (Some(removal), false) = (self.removal(), empty) {
            let gone = Statement::new(self.table.remove(self.load_id, &removal));
            merged.counts.deleted = connection.execute(gone.safe()).await.map_err(query)?.rows_affected();
        }
        if empty || !self.compares() {
            merged.counts.inserted = self.insert(connection, "").await.map_err(query)?;
            return Ok(merged);
        }
        if staged >= MANY {
            connection
                .execute("SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off")
                .await
                .map_err(query)?;
        }
        let merged = self.meet(connection, merged).await.map_err(query)?;
        if staged >= MANY {
            connection
                .execute("SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on")
                .await
                .map_err(query)?;
        }
        Ok(merged)
    }

    /// Compares staging with rows that are there, and writes what is new or changed.
    async fn meet(&self, connection: &mut PgConnection, mut merged: Merged) -> Result<Merged, sqlx::Error> {
        let same = self.compare(connection).await?;
        merged.confirmed = same.iter().map(|(load_id, _)| *load_id).collect();
        merged.counts.unchanged = same.iter().map(|(_, rows)| *rows as u64).sum();
        let changed = count(connection, "SELECT count(*) FROM pg_temp.met WHERE changed").await?;
        let new = count(connection, "SELECT count(*) FROM pg_temp.met WHERE NOT changed").await?;
        if changed > 0 {
            merged.counts.updated = self.update(connection).await?;
        }
        if new > 0 {
            let all = changed == 0 && merged.counts.unchanged == 0;
            let only = if all { "" } else { " JOIN pg_temp.met m ON m.seq = s.seq AND NOT m.changed" };
            merged.counts.inserted = self.insert(connection, only).await?;
        }
        Ok(merged)
    }

    /// Whether rows may be there already.
    fn compares(&self) -> bool {
        !self.table.key.is_empty() && self.table.disposition != WriteDisposition::Append
    }

    /// Which rows of the table are no longer there, as a condition on `t`.
    fn removal(&self) -> Option<String> {
        let gone = format!("NOT EXISTS (SELECT 1 FROM pg_temp.staging s WHERE {})", self.same_key());
        match self.table.disposition {
            WriteDisposition::Replace if self.table.key.is_empty() => Some(String::new()),
            WriteDisposition::Replace => Some(format!("WHERE {gone}")),
            WriteDisposition::ReplaceWindow => Some(format!(
                "USING (SELECT DISTINCT {} FROM pg_temp.staging) w WHERE {} AND {gone}",
                list(&self.table.window),
                pairs("t", "w", &self.table.window),
            )),
            WriteDisposition::Append | WriteDisposition::Merge => None,
        }
    }

    /// The part of the table of which staging is the whole truth.
    async fn covers(&self, connection: &mut PgConnection) -> Result<Option<serde_json::Value>, sqlx::Error> {
        match self.table.disposition {
            WriteDisposition::Append | WriteDisposition::Merge => Ok(None),
            WriteDisposition::Replace => Ok(Some(serde_json::json!({}))),
            WriteDisposition::ReplaceWindow => {
                let bounds = self.table.window.iter().map(|name| {
                    let column = Ident::known(name);
                    format!("'{}', jsonb_build_array(min({column}), max({column}))", name.replace('\'', "''"))
                });
                let bounds = bounds.collect::<Vec<_>>().join(", ");
                let statement = format!("SELECT jsonb_build_object({bounds}) FROM pg_temp.staging");
                sqlx::query_scalar(Statement::new(statement).safe()).fetch_one(connection).await.map(Some)
            }
        }
    }

    /// Compares staging with the table: `pg_temp.met` lists what is new and what is
    /// changed. Answers with the loads whose rows came again, and how many.
    async fn compare(&self, connection: &mut PgConnection) -> Result<Vec<(i64, i64)>, sqlx::Error> {
        connection.execute("ANALYZE pg_temp.staging").await?;
        let met = "CREATE TEMPORARY TABLE met (seq bigint NOT NULL, changed boolean NOT NULL) ON COMMIT DROP";
        connection.execute(met).await?;
        let values = self.values();
        let differs = if values.is_empty() {
            "false".to_owned()
        } else {
            format!("({}) IS DISTINCT FROM ({})", of("t", &values), of("s", &values))
        };
        let statement = format!(
            "WITH met AS MATERIALIZED (
                 SELECT s.seq, t.load_id AS there, {differs} AS differs
                 FROM pg_temp.staging s LEFT JOIN {} t ON {}{}
             ), noted AS (
                 INSERT INTO pg_temp.met SELECT seq, there IS NOT NULL FROM met WHERE there IS NULL OR differs
             )
             SELECT there, count(*) FROM met WHERE there IS NOT NULL AND NOT differs GROUP BY there ORDER BY there",
            self.table.path(),
            self.same_key(),
            self.within_days(),
        );
        let same = sqlx::query_as(Statement::new(statement).safe()).fetch_all(&mut *connection).await?;
        connection.execute("ANALYZE pg_temp.met").await?;
        Ok(same)
    }

    /// Replaces the rows that differ. What they were goes to the history.
    async fn update(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let versions = self.table.version_columns();
        let changed = format!(
            "FROM pg_temp.met m JOIN pg_temp.staging s ON s.seq = m.seq AND m.changed JOIN {} t ON {}{}",
            self.table.path(),
            self.same_key(),
            self.within_days(),
        );
        let keep = format!(
            "INSERT INTO {} ({}, superseded_by) SELECT {}, {} {changed}",
            self.table.history(),
            list(&versions),
            of("t", &versions),
            self.load_id,
        );
        connection.execute(Statement::new(keep).safe()).await?;
        let set: Vec<String> = self.values().iter().map(|name| format!("{0} = s.{0}", Ident::known(name))).collect();
        let update = format!(
            "UPDATE {} t SET {}, load_id = {}, file_id = s.file_id, source_row = s.source_row, restored_by = NULL \
             FROM pg_temp.staging s JOIN pg_temp.met m ON m.seq = s.seq AND m.changed WHERE {}{}",
            self.table.path(),
            set.join(", "),
            self.load_id,
            self.same_key(),
            self.within_days(),
        );
        Ok(connection.execute(Statement::new(update).safe()).await?.rows_affected())
    }

    async fn insert(&self, connection: &mut PgConnection, only: &str) -> Result<u64, sqlx::Error> {
        let names: Vec<String> = self.table.columns.iter().map(|(name, _)| name.clone()).collect();
        let insert = format!(
            "INSERT INTO {} ({}, load_id, file_id, source_row) SELECT {}, {}, s.file_id, s.source_row \
             FROM pg_temp.staging s{only}",
            self.table.path(),
            list(&names),
            of("s", &names),
            self.load_id,
        );
        Ok(connection.execute(Statement::new(insert).safe()).await?.rows_affected())
    }

    fn same_key(&self) -> String {
        pairs("t", "s", &self.table.key)
    }

    /// The columns that do not belong to the key.
    fn values(&self) -> Vec<String> {
        let names = self.table.columns.iter().map(|(name, _)| name);
        names.filter(|name| !self.table.key.contains(name)).cloned().collect()
    }

    /// Keeps the planner to the months that staging speaks of; it cannot see them
    /// through a join. Only where a row's day belongs to its key: otherwise a row may
    /// come back with another.
    fn within_days(&self) -> String {
        match (&self.table.partition_by, self.days) {
            (Some(column), Some((first, last))) if self.table.key.contains(column) => {
                format!(" AND t.{} BETWEEN '{first}' AND '{last}'", Ident::known(column))
            }
            _ => String::new(),
        }
    }
}

async fn count(connection: &mut PgConnection, sql: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(Statement::new(sql).safe()).fetch_one(connection).await
}

/// Columns of one relation, with commas.
fn of(alias: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{alias}.{}", Ident::known(name))).collect::<Vec<_>>().join(", ")
}

/// Says that two relations agree in some columns.
pub(super) fn pairs(one: &str, two: &str, names: &[String]) -> String {
    let pairs = names.iter().map(|name| format!("{one}.{0} = {two}.{0}", Ident::known(name)));
    pairs.collect::<Vec<_>>().join(" AND ")
}
