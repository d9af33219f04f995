//! What keeps the tables in order: partitions made ahead, indexes that lack, old
//! versions pruned; and statistics after a load that changed much.
//!
//! Each table has its turn, in short transactions that queue with the loads into it.
//! A second process finds less to do; killed in between, the next one goes on.

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use sqlx::Executor as _;
use tracing::{info, warn};

use super::Warehouse;
use super::duties::make_schema;
use super::ident::Statement;
use super::load::Error;
use super::partitions::{month_of, shown};
use super::table::Table;
use crate::ids::BrandId;
use crate::settings;
use crate::telemetry::chain;

/// A table, and what its definition says of keeping it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Whose.
    pub brand: BrandId,
    /// The table.
    pub table: Table,
    /// Months after which a partition goes to a file, where any does.
    pub archive_after_months: Option<u32>,
}

/// What was done to a table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Maintained {
    /// Schema and name.
    pub table: String,
    /// Partitions that were made, as months.
    pub partitions_made: Vec<String>,
    /// Indexes that were made or finished, by their columns.
    pub indexes_made: Vec<String>,
    /// Versions that were pruned from the history.
    pub versions_pruned: u64,
    /// Whether its statistics as a whole were brought up to date.
    pub analyzed: bool,
    /// Why it was not finished, if it was not.
    pub error: Option<String>,
}

/// Keeps tables in order; those that no load has made yet are left out. What fails for
/// one table keeps no other from its turn.
pub async fn maintain(
    warehouse: &Warehouse,
    tables: &[Kept],
    settings: &settings::Warehouse,
    now: DateTime<Utc>,
) -> Vec<Maintained> {
    let mut all = Vec::new();
    for kept in tables {
        let table = format!("{}.{}", kept.table.schema, kept.table.name);
        let mut done = Maintained { table, ..Maintained::default() };
        match one(warehouse, kept, settings, now, &mut done).await {
            Ok(false) => continue,
            Ok(true) => match analyze_whole(warehouse, &kept.table).await {
                Ok(analyzed) => done.analyzed = analyzed,
                Err(error) => {
                    warn!(table = done.table, error = %chain(&error), "statistics were not brought up to date")
                }
            },
            Err(error) => {
                warn!(table = done.table, error = %chain(&error), "table was not kept in order");
                done.error = Some(chain(&error));
            }
        }
        if !done.partitions_made.is_empty() || !done.indexes_made.is_empty() || done.versions_pruned > 0 {
            info!(
                table = done.table,
                partitions_made = done.partitions_made.len(),
                indexes_made = done.indexes_made.len(),
                versions_pruned = done.versions_pruned,
                "kept in order"
            );
        }
        all.push(done);
    }
    all
}

/// Makes the tables that are not there yet, empty and without their keys, which come with
/// the first load, so that a brand has the same as the
/// others before its first load: what unites the brands holds what all of them have.
/// Running it twice changes nothing.
///
/// # Errors
/// When PostgreSQL refuses, or a column is there with another type. Tables before it stay.
pub async fn prepare(warehouse: &Warehouse, tables: &[Kept]) -> Result<Vec<String>, Error> {
    let query = Error::query("make a table");
    let mut made = Vec::new();
    for Kept { table, brand, .. } in tables {
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        table.lock(&mut transaction).await?;
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(table.path())
            .fetch_one(&mut *transaction)
            .await
            .map_err(query)?;
        make_schema(&mut transaction, &table.schema).await.map_err(query)?;
        super::history::ensure_schema(&mut transaction, brand).await?;
        table.ensure(&mut transaction).await?;
        table.ensure_history(&mut transaction).await?;
        transaction.commit().await.map_err(query)?;
        if !there {
            made.push(format!("{}.{}", table.schema, table.name));
        }
    }
    Ok(made)
}

/// Says whether the table is there.
async fn one(
    warehouse: &Warehouse,
    kept: &Kept,
    settings: &settings::Warehouse,
    now: DateTime<Utc>,
    done: &mut Maintained,
) -> Result<bool, Error> {
    let query = Error::query("keep a table in order");
    let table = &kept.table;
    let mut transaction = warehouse.pool().begin().await.map_err(query)?;
    table.lock(&mut transaction).await?;
    let kind: Option<String> = sqlx::query_scalar("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)")
        .bind(table.path())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(query)?;
    let Some(kind) = kind else { return Ok(false) };
    if kind == "p" {
        let first = month_of(now.date_naive());
        let ahead: Vec<NaiveDate> = (0..=settings.partitions_ahead).map(|months| first + Months::new(months)).collect();
        let made = table.ensure_partitions(&mut transaction, &ahead).await?;
        done.partitions_made = made.into_iter().map(shown).collect();
    }
    super::history::ensure_schema(&mut transaction, &kept.brand).await?;
    table.ensure_history(&mut transaction).await?;
    if settings.history_days > 0 {
        let before = now - Days::new(settings.history_days.into());
        done.versions_pruned = table.prune(&mut transaction, before).await?;
    }
    transaction.commit().await.map_err(query)?;
    done.indexes_made = table.ensure_indexes(warehouse).await?;
    Ok(true)
}

/// A month is looked at by 7,500 of its rows (300 a unit: PostgreSQL manual, ANALYZE), a
/// quarter of what is usual: a load that changed many months waits for each of them. The
/// table as a whole is looked at with the server's own setting, by `db maintain`.
const SAMPLED: &str = "SET LOCAL default_statistics_target = 25";

/// How many months are looked at at once.
const AT_ONCE: usize = 2;

/// After a load that changed many rows: statistics of the partitions that it changed,
/// or of the table where it has none. The load stands
/// whatever becomes of it; who reads meanwhile waits for nothing.
pub(super) async fn analyze_changed(warehouse: &Warehouse, table: &Table, months: &[NaiveDate], rows: u64) {
    if rows < warehouse.analyze_rows() {
        return;
    }
    if let Err(error) = analyze(warehouse, table, months).await {
        warn!(table = table.name, error = %chain(&error), "statistics were not brought up to date");
    }
}

async fn analyze(warehouse: &Warehouse, table: &Table, months: &[NaiveDate]) -> Result<(), Error> {
    let query = Error::query("bring statistics up to date");
    let mut parts: Vec<String> = months.iter().map(|month| table.partition_path(*month)).collect();
    if table.partition_by.is_none() {
        parts.push(table.path());
    }
    let one = async |part: &String| {
        let mut transaction = warehouse.pool().begin().await?;
        transaction.execute(SAMPLED).await?;
        // What another one locks right now will have its turn with the next load.
        let analyze = format!("ANALYZE (SKIP_LOCKED) {part}");
        transaction.execute(Statement::new(analyze).safe()).await?;
        transaction.commit().await
    };
    stream::iter(&parts).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await.map_err(query)?;
    info!(table = table.name, parts = parts.len(), "brought statistics up to date");
    Ok(())
}

/// Brings the statistics of a partitioned table as a whole up to date, where it never had
/// any or grew by a tenth. That reads all its partitions: nothing for a load to wait for.
async fn analyze_whole(warehouse: &Warehouse, table: &Table) -> Result<bool, Error> {
    let query = Error::query("bring statistics up to date");
    let mut connection = warehouse.pool().acquire().await.map_err(query)?;
    let behind: Option<bool> = sqlx::query_scalar(
        "SELECT coalesce(p.rows, 0) > 0 AND (c.reltuples < 0 OR c.reltuples * 1.1 < p.rows)
         FROM pg_class c, LATERAL (
             SELECT sum(greatest(p.reltuples, 0)) AS rows
             FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid WHERE i.inhparent = c.oid) AS p
         WHERE c.oid = to_regclass($1) AND c.relkind = 'p'",
    )
    .bind(table.path())
    .fetch_optional(&mut *connection)
    .await
    .map_err(query)?;
    if behind == Some(true) {
        let whole = format!("ANALYZE (SKIP_LOCKED) {}", table.path());
        connection.execute(Statement::new(whole).safe()).await.map_err(query)?;
    }
    Ok(behind == Some(true))
}
