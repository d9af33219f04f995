//! Takes a load back: what it brought leaves, what it replaced or removed returns.
//!
//! That is the table as it would be had the load never been, as long as no later
//! load spoke of the same rows. Which did is known from the history (it replaced
//! or brought back one of them), from what loads confirmed (it said the same
//! again) and from what they cover (it is the whole truth of a part that the row
//! belongs to). Loads made of the undone one, forecasts and replays, go with it.
//!
//! An undo is a load of its own, so that the table can still be read as it was
//! known in between.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row as _};

use super::archive_ledger::archived_months;
use super::history::horizon;
use super::ident::{Ident, Statement};
use super::load::Error;
use super::merge::pairs;
use super::table::list;
use crate::ids::{BrandId, LoadId, PipelineName, RunId};

/// A load as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadEntry {
    /// The load.
    pub load_id: LoadId,
    /// Its run.
    pub run_id: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Whose rows it loaded.
    pub brand: BrandId,
    /// Into which table.
    pub table: String,
    /// When it became visible.
    pub committed_at: DateTime<Utc>,
    /// The load that took it back.
    pub undone_by: Option<LoadId>,
    /// The load that it takes back.
    pub undoes: Option<LoadId>,
    /// Whether the rows that it replaced were kept.
    #[serde(skip)]
    pub kept_history: bool,
}

/// Why a load is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Somebody asked for it.
    Asked,
    /// It was made of one that is taken back.
    MadeOfIt,
    /// It spoke of rows of one that is taken back.
    BuiltOnIt,
}

/// One load to take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoStep {
    /// Which.
    #[serde(flatten)]
    pub load: LoadEntry,
    /// Why.
    pub because: Because,
    /// What it did to the rows, in words; empty where it was asked for.
    pub detail: String,
}

/// What taking a load back changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TakenBack {
    /// Rows that left.
    pub removed: u64,
    /// Rows that returned.
    pub restored: u64,
}

const ENTRY: &str =
    "l.load_id, l.run_id, l.pipeline, l.brand, l.table_name, l.committed_at, l.undone_by, l.undoes, l.kept_history";

fn entry(row: &sqlx::postgres::PgRow) -> LoadEntry {
    LoadEntry {
        load_id: LoadId(row.get("load_id")),
        run_id: RunId(row.get("run_id")),
        pipeline: PipelineName(row.get("pipeline")),
        brand: BrandId(row.get("brand")),
        table: row.get("table_name"),
        committed_at: row.get("committed_at"),
        undone_by: row.get::<Option<i64>, _>("undone_by").map(LoadId),
        undoes: row.get::<Option<i64>, _>("undoes").map(LoadId),
        kept_history: row.get("kept_history"),
    }
}

/// Finds a load by its id, or by its run's.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn find_load(
    connection: &mut PgConnection,
    load: Option<LoadId>,
    run: Option<RunId>,
) -> Result<Option<LoadEntry>, Error> {
    let statement = format!("SELECT {ENTRY} FROM ops.loads l WHERE l.load_id = $1 OR l.run_id = $2 ORDER BY 1 LIMIT 1");
    let row = sqlx::query(Statement::new(statement).safe())
        .bind(load.map(|load| load.0))
        .bind(run.map(|run| run.0))
        .fetch_optional(connection)
        .await
        .map_err(Error::query("look the load up"))?;
    Ok(row.as_ref().map(entry))
}

/// Lists what has to be taken back together with a load, the latest first, itself included.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn plan_undo(connection: &mut PgConnection, asked: &LoadEntry) -> Result<Vec<UndoStep>, Error> {
    let first = UndoStep { load: asked.clone(), because: Because::Asked, detail: String::new() };
    let mut steps = BTreeMap::from([(asked.load_id, first)]);
    let mut open = vec![asked.clone()];
    while let Some(load) = open.pop() {
        let made_of = made_of(connection, &load).await?;
        let built_on = built_on(connection, &load).await?;
        let found = made_of
            .into_iter()
            .map(|(entry, detail)| (entry, Because::MadeOfIt, detail))
            .chain(built_on.into_iter().map(|(entry, detail)| (entry, Because::BuiltOnIt, detail)));
        for (entry, because, detail) in found {
            match steps.get_mut(&entry.load_id) {
                // What is made of it goes anyway, whatever else it did.
                Some(step) if because == Because::MadeOfIt && step.because == Because::BuiltOnIt => {
                    (step.because, step.detail) = (because, detail);
                }
                Some(_) => {}
                None => {
                    open.push(entry.clone());
                    steps.insert(entry.load_id, UndoStep { load: entry, because, detail });
                }
            }
        }
    }
    Ok(steps.into_values().rev().collect())
}

/// Loads that stand and were made of a load: forecasts of its table, replays of its rows.
async fn made_of(connection: &mut PgConnection, load: &LoadEntry) -> Result<Vec<(LoadEntry, String)>, Error> {
    let statement = format!(
        "SELECT DISTINCT {ENTRY} FROM ops.load_inputs i
         JOIN ops.loads l ON l.load_id = i.load_id
         JOIN ops.loads w ON w.load_id = i.input_load_id
         WHERE w.brand = $1 AND w.table_name = $2 AND l.undone_by IS NULL AND l.load_id > $3
           AND CASE WHEN l.table_name = w.table_name THEN w.load_id = $3 ELSE w.load_id >= $3 END"
    );
    let rows = sqlx::query(Statement::new(statement).safe())
        .bind(&load.brand.0)
        .bind(&load.table)
        .bind(load.load_id.0)
        .fetch_all(connection)
        .await
        .map_err(Error::query("list what was made of the load"))?;
    Ok(rows
        .iter()
        .map(|row| (entry(row), format!("was made of `{}` as load {} left it", load.table, load.load_id)))
        .collect())
}

/// Loads that stand, came later, and spoke of the same rows.
async fn built_on(connection: &mut PgConnection, load: &LoadEntry) -> Result<Vec<(LoadEntry, String)>, Error> {
    let query = Error::query("list what was built on the load");
    let stored = Stored::read(connection, load).await?;
    let mut found: BTreeMap<i64, &str> = BTreeMap::new();
    // Said last counts: the strongest word.
    if let Some(condition) = stored.covers(connection, load).await? {
        let statement = format!(
            "SELECT l.load_id FROM ops.loads l, (SELECT {bounds} FROM {history} h WHERE h.superseded_by = $1) AS b
             WHERE l.brand = $2 AND l.table_name = $3 AND l.load_id > $1 AND l.covers IS NOT NULL
               AND (l.covers = '{{}}'::jsonb OR ({condition}))",
            bounds = stored.bounds(),
            history = stored.history,
            condition = condition,
        );
        let later: Vec<i64> = sqlx::query_scalar(Statement::new(statement).safe())
            .bind(load.load_id.0)
            .bind(&load.brand.0)
            .bind(&load.table)
            .fetch_all(&mut *connection)
            .await
            .map_err(query)?;
        found.extend(later.into_iter().map(|id| (id, "is the whole truth of a part that it changed")));
    }
    let later: Vec<i64> = sqlx::query_scalar(
        "SELECT load_id FROM ops.loads WHERE brand = $2 AND table_name = $3 AND load_id > $1 AND $1 = ANY(confirmed)",
    )
    .bind(load.load_id.0)
    .bind(&load.brand.0)
    .bind(&load.table)
    .fetch_all(&mut *connection)
    .await
    .map_err(query)?;
    found.extend(later.into_iter().map(|id| (id, "brought rows of it again")));
    if !stored.key.is_empty() {
        // Keys that it replaced or removed, and that a later load spoke of.
        let statement = format!(
            "WITH touched AS (SELECT DISTINCT {key} FROM {history} WHERE superseded_by = $1),
                  versions AS (
                      SELECT t.load_id AS one, NULL::bigint AS two FROM {path} t JOIN touched k ON {same}
                      WHERE t.load_id > $1
                      UNION SELECT t.load_id, t.superseded_by FROM {history} t JOIN touched k ON {same}
                      WHERE t.superseded_by > $1)
             SELECT DISTINCT id FROM versions, LATERAL (VALUES (one), (two)) AS v(id) WHERE id > $1",
            key = list(&stored.key),
            history = stored.history,
            path = stored.path,
            same = pairs("t", "k", &stored.key),
        );
        let later: Vec<i64> = sqlx::query_scalar(Statement::new(statement).safe())
            .bind(load.load_id.0)
            .fetch_all(&mut *connection)
            .await
            .map_err(query)?;
        found.extend(later.into_iter().map(|id| (id, "changed rows that it had changed")));
    }
    let statement = format!("SELECT DISTINCT superseded_by FROM {} WHERE load_id = $1", stored.history);
    let later: Vec<i64> = sqlx::query_scalar(Statement::new(statement).safe())
        .bind(load.load_id.0)
        .fetch_all(&mut *connection)
        .await
        .map_err(query)?;
    found.extend(later.into_iter().map(|id| (id, "replaced or removed rows of it")));
    let ids: Vec<i64> = found.keys().copied().collect();
    let statement = format!(
        "SELECT {ENTRY} FROM ops.loads l WHERE l.load_id = ANY($1) AND l.undone_by IS NULL AND l.undoes IS NULL"
    );
    let rows = sqlx::query(Statement::new(statement).safe()).bind(ids).fetch_all(connection).await.map_err(query)?;
    Ok(rows
        .iter()
        .map(|row| {
            let entry = entry(row);
            let detail = found.get(&entry.load_id.0).copied().unwrap_or_default().to_owned();
            (entry, detail)
        })
        .collect())
}

/// Takes one load back. What builds on it must have been taken back before.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn take_back(
    connection: &mut PgConnection,
    step: &UndoStep,
    run: RunId,
    now: DateTime<Utc>,
) -> Result<(LoadId, TakenBack), Error> {
    let query = Error::query("take the load back");
    let UndoStep { load, because, .. } = step;
    let stored = Stored::read(connection, load).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))")
        .bind(&stored.path)
        .execute(&mut *connection)
        .await
        .map_err(query)?;
    if let Some(month) = archived_months(connection, &load.brand, &load.table, load.load_id).await?.first() {
        let (table, month) = (load.table.clone(), month.format("%Y-%m").to_string());
        return Err(Error::Archived { table, month, brand: load.brand.0.clone() });
    }
    if horizon(connection, &load.brand).await?.is_some_and(|since| load.committed_at < since) {
        return Err(Error::Pruned { load_id: load.load_id });
    }
    let by: i64 = sqlx::query_scalar(
        "INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at, undoes, kept_history)
         VALUES ($1, $2, $3, $4, $5, $6, true) RETURNING load_id",
    )
    .bind(run.0)
    .bind(&load.pipeline.0)
    .bind(&load.brand.0)
    .bind(&load.table)
    .bind(now)
    .bind(load.load_id.0)
    .fetch_one(&mut *connection)
    .await
    .map_err(query)?;
    let columns = list(&stored.columns);
    let remove = format!(
        "WITH gone AS (DELETE FROM {} WHERE load_id = $1 RETURNING {columns}, restored_by)
         INSERT INTO {} ({columns}, restored_by, superseded_by) SELECT {columns}, restored_by, $2 FROM gone",
        stored.path, stored.history,
    );
    let restore = format!(
        "INSERT INTO {} ({columns}, restored_by) SELECT {columns}, $2 FROM {} WHERE superseded_by = $1",
        stored.path, stored.history,
    );
    let mut changed = [0; 2];
    for (rows, statement) in changed.iter_mut().zip([remove, restore]) {
        let done = sqlx::query(Statement::new(statement).safe()).bind(load.load_id.0).bind(by);
        *rows = done.execute(&mut *connection).await.map_err(query)?.rows_affected();
    }
    let [removed, restored] = changed;
    note_undone(connection, step, by, TakenBack { removed, restored }).await.map_err(query)?;
    settle_refused(connection, load, run, now).await.map_err(query)?;
    // How far the source was read lies behind what was taken back: it is read anew.
    sqlx::query("DELETE FROM ops.cursors WHERE pipeline = $1 AND brand = $2")
        .bind(&load.pipeline.0)
        .bind(&load.brand.0)
        .execute(&mut *connection)
        .await
        .map_err(query)?;
    if *because == Because::MadeOfIt {
        sqlx::query(
            "INSERT INTO ops.stale (pipeline, brand, load_id, since) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pipeline, brand) DO UPDATE SET load_id = EXCLUDED.load_id, since = EXCLUDED.since",
        )
        .bind(&load.pipeline.0)
        .bind(&load.brand.0)
        .bind(by)
        .bind(now)
        .execute(connection)
        .await
        .map_err(query)?;
    }
    Ok((LoadId(by), TakenBack { removed, restored }))
}

/// Notes on both loads what was done.
async fn note_undone(
    connection: &mut PgConnection,
    step: &UndoStep,
    by: i64,
    rows: TakenBack,
) -> Result<(), sqlx::Error> {
    let load_id = step.load.load_id.0;
    sqlx::query("UPDATE ops.loads SET undone_by = $2 WHERE load_id = $1")
        .bind(load_id)
        .bind(by)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE ops.loads SET rows_inserted = $2, rows_deleted = $3 WHERE load_id = $1")
        .bind(by)
        .bind(i64::try_from(rows.restored).unwrap_or(i64::MAX))
        .bind(i64::try_from(rows.removed).unwrap_or(i64::MAX))
        .execute(&mut *connection)
        .await?;
    // Its file stays known where somebody wanted it gone; one that only stood in the way
    // is to be loaded again.
    sqlx::query("UPDATE ops.files SET released = $2 WHERE load_id = $1")
        .bind(load_id)
        .bind(step.because != Because::Asked)
        .execute(connection)
        .await
        .map(drop)
}

/// What a replay had settled is open again; what the load itself refused is gone with it.
async fn settle_refused(
    connection: &mut PgConnection,
    load: &LoadEntry,
    run: RunId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE ops.quarantine SET state = 'open', handled_at = NULL, handled_run_id = NULL
         WHERE handled_run_id = $1 AND state IN ('replayed', 'superseded')",
    )
    .bind(load.run_id.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE ops.quarantine SET state = 'undone', handled_at = $3, handled_run_id = $2
         WHERE load_id = $1 AND state = 'open'",
    )
    .bind(load.load_id.0)
    .bind(run.0)
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// A table and its history as the catalog has them; its definition may be gone.
struct Stored {
    path: String,
    history: String,
    /// All columns but `restored_by`.
    columns: Vec<String>,
    key: Vec<String>,
    /// The columns that make a window, with their types, where a load noted them.
    window: Vec<(String, String)>,
}

impl Stored {
    async fn read(connection: &mut PgConnection, load: &LoadEntry) -> Result<Self, Error> {
        let query = Error::query("read the table's columns");
        let table = Ident::known(&load.table);
        let path = format!("{}.{table}", Ident::known(&load.brand.schema()));
        let history = format!("{}.{table}", Ident::known(&load.brand.history_schema()));
        let columns: Vec<(String, String, bool)> = sqlx::query_as(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
                    EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'p'
                            AND a.attnum = ANY(c.conkey))
             FROM pg_attribute a
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'restored_by'
             ORDER BY a.attnum",
        )
        .bind(&path)
        .fetch_all(&mut *connection)
        .await
        .map_err(query)?;
        let windows: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT jsonb_object_keys(covers) FROM ops.loads
             WHERE brand = $1 AND table_name = $2 AND load_id > $3 AND covers IS NOT NULL",
        )
        .bind(&load.brand.0)
        .bind(&load.table)
        .bind(load.load_id.0)
        .fetch_all(connection)
        .await
        .map_err(query)?;
        Ok(Self {
            path,
            history,
            key: columns.iter().filter(|column| column.2).map(|column| column.0.clone()).collect(),
            window: columns
                .iter()
                .filter(|(name, ..)| windows.contains(name))
                .map(|(name, kind, _)| (name.clone(), kind.clone()))
                .collect(),
            columns: columns.into_iter().map(|column| column.0).collect(),
        })
    }

    /// The least and the greatest value of each window's column, by number.
    fn bounds(&self) -> String {
        let bounds = self.window.iter().enumerate().map(|(at, (name, _))| {
            let name = Ident::known(name);
            format!("min({name}) AS least_{at}, max({name}) AS most_{at}")
        });
        std::iter::once("count(*) AS rows".to_owned()).chain(bounds).collect::<Vec<_>>().join(", ")
    }

    /// The condition that what `l.covers` overlaps the bounds `b`; none where the load
    /// neither replaced nor removed a row.
    async fn covers(&self, connection: &mut PgConnection, load: &LoadEntry) -> Result<Option<String>, Error> {
        let touched = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE superseded_by = $1)", self.history);
        let touched: bool = sqlx::query_scalar(Statement::new(touched).safe())
            .bind(load.load_id.0)
            .fetch_one(connection)
            .await
            .map_err(Error::query("look for rows that the load replaced"))?;
        let overlaps = self.window.iter().enumerate().map(|(at, (name, kind))| {
            let name = name.replace('\'', "''");
            format!(
                "(NOT l.covers ? '{name}' OR ((l.covers -> '{name}' ->> 0)::{kind} <= b.most_{at}
                  AND (l.covers -> '{name}' ->> 1)::{kind} >= b.least_{at}))"
            )
        });
        let overlaps = std::iter::once("true".to_owned()).chain(overlaps).collect::<Vec<_>>().join(" AND ");
        Ok(touched.then_some(overlaps))
    }
}
