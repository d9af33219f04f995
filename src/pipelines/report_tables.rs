//! Reports of runs, as they are kept in the ledger.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::error::Error;
use super::report::{RunReport, Status};
use super::tables::failed;
use crate::ids::{BrandId, PipelineName, RunId};
use crate::warehouse::{Statement, Warehouse};

/// The run that took the load of run `r` back.
const UNDONE_BY: &str = "(SELECT max(u.run_id) FROM ops.loads l JOIN ops.loads u ON u.load_id = l.undone_by
                         WHERE l.run_id = r.run_id)";

/// Lists the latest runs, newest first.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn list_runs(warehouse: &Warehouse, limit: i64) -> Result<Vec<serde_json::Value>, Error> {
    let text = format!(
        "SELECT to_jsonb(r) - 'report' || jsonb_build_object(
                    'duration_ms', r.report -> 'duration_ms', 'undone_by', {UNDONE_BY})
         FROM (SELECT * FROM ops.runs ORDER BY run_id DESC LIMIT $1) r ORDER BY r.run_id DESC"
    );
    sqlx::query_scalar(Statement::new(text).safe())
        .bind(limit)
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("list the runs"))
}

/// Reads one run's report, and which run took its load back; `None` for a run that never was.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn show_run(warehouse: &Warehouse, run_id: RunId) -> Result<Option<serde_json::Value>, Error> {
    let text = format!(
        "SELECT coalesce(report, to_jsonb(r) - 'report') || jsonb_build_object('undone_by', {UNDONE_BY})
         FROM ops.runs r WHERE run_id = $1"
    );
    sqlx::query_scalar(Statement::new(text).safe())
        .bind(run_id.0)
        .fetch_optional(warehouse.pool())
        .await
        .map_err(failed("read the run"))
}

/// Reads the reports of runs that ended at or after a moment, oldest first.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn reports_since(warehouse: &Warehouse, first: RunId) -> Result<Vec<RunReport>, Error> {
    let rows = sqlx::query(
        "SELECT run_id, pipeline, brand, trigger, status, started_at, error, report FROM ops.runs
         WHERE run_id >= $1 AND (report IS NOT NULL OR status = 'interrupted') ORDER BY run_id",
    )
    .bind(first.0)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("read the runs"))?;
    // A report of an older version that no longer reads is left out of a summary, not of the ledger.
    let read = |row: &PgRow| match row.get::<Option<serde_json::Value>, _>("report") {
        Some(report) => serde_json::from_value(report).ok(),
        None => interrupted(row),
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// What is known of a run whose process ended before it could say anything.
fn interrupted(row: &PgRow) -> Option<RunReport> {
    let trigger = serde_json::from_value(serde_json::Value::String(row.get("trigger"))).ok()?;
    let (pipeline, brand) = (PipelineName(row.get("pipeline")), BrandId(row.get("brand")));
    let said: Option<String> = row.get("error");
    let started_at = row.get("started_at");
    let report = RunReport::not_started(&pipeline, &brand, trigger, started_at, said.unwrap_or_default(), None);
    Some(RunReport { run_id: RunId(row.get("run_id")), status: Status::Interrupted, ..report })
}
