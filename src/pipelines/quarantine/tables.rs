//! The quarantine in PostgreSQL.

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::super::error::Error;
use super::super::tables::failed;
use crate::ids::{BrandId, PipelineName, RunId};
use crate::warehouse::Warehouse;

/// What became of a refused row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineState {
    /// Nobody has done anything about it.
    Open,
    /// A replay loaded it.
    Replayed,
    /// Newer data stands where it would have gone.
    Superseded,
    /// Somebody said that it is settled.
    Dismissed,
    /// The load that refused it was taken back.
    Undone,
}

impl QuarantineState {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Superseded => "superseded",
            Self::Dismissed => "dismissed",
            Self::Undone => "undone",
        }
    }
}

/// Which refused rows are meant. What is left out does not narrow.
#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    /// Of this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Of this brand.
    pub brand: Option<BrandId>,
    /// Refused by this run.
    pub run: Option<RunId>,
    /// For breaking this rule, e.g. `known_store`.
    pub rule: Option<String>,
    /// By their numbers, as `list` gives them.
    pub ids: Vec<i64>,
    /// In this state.
    pub state: Option<QuarantineState>,
}

/// The filter's conditions, over `q`; [`bound`] binds their values as $1 to $6.
const CONDITIONS: &str = "($1::text IS NULL OR q.pipeline = $1) AND ($2::text IS NULL OR q.brand = $2)
    AND ($3::bigint IS NULL OR q.run_id = $3) AND ($4::text IS NULL OR q.rule = $4)
    AND (cardinality($5::bigint[]) = 0 OR q.quarantine_id = ANY ($5)) AND ($6::text IS NULL OR q.state = $6)";

macro_rules! bound {
    ($query:expr, $filter:expr) => {
        $query
            .bind($filter.pipeline.as_ref().map(|pipeline| pipeline.0.clone()))
            .bind($filter.brand.as_ref().map(|brand| brand.0.clone()))
            .bind($filter.run.map(|run| run.0))
            .bind($filter.rule.clone())
            .bind($filter.ids.clone())
            .bind($filter.state.map(QuarantineState::word))
    };
}

macro_rules! filtered {
    ($before:expr, $after:expr) => {
        crate::warehouse::Statement::new(format!("{} WHERE {CONDITIONS} {}", $before, $after)).safe()
    };
}

/// How many rows were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedCount {
    /// The pipeline.
    pub pipeline: String,
    /// The brand.
    pub brand: String,
    /// The column, or those of the key.
    pub column: String,
    /// The rule.
    pub rule: String,
    /// What became of them.
    pub state: String,
    /// How many.
    pub rows: i64,
}

/// Counts refused rows by reason, most first.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn quarantine_counts(warehouse: &Warehouse, filter: &QuarantineFilter) -> Result<Vec<RefusedCount>, Error> {
    let statement = filtered!(
        "SELECT q.pipeline, q.brand, q.column_name, q.rule, q.state, count(*) AS rows FROM ops.quarantine q",
        "GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC, 1, 2, 3, 4, 5"
    );
    let rows = bound!(sqlx::query(statement), filter).fetch_all(warehouse.pool()).await;
    let count = |row: &PgRow| RefusedCount {
        pipeline: row.get(0),
        brand: row.get(1),
        column: row.get(2),
        rule: row.get(3),
        state: row.get(4),
        rows: row.get(5),
    };
    Ok(rows.map_err(failed("count the quarantine"))?.iter().map(count).collect())
}

/// Lists refused rows, of the latest runs first. The row itself is left out: it
/// may be personal.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn list_quarantine(
    warehouse: &Warehouse,
    filter: &QuarantineFilter,
    limit: i64,
) -> Result<Vec<Value>, Error> {
    let statement = filtered!(
        "SELECT jsonb_build_object('id', q.quarantine_id, 'run_id', q.run_id, 'pipeline', q.pipeline,
                    'brand', q.brand, 'file', f.name, 'sheet', f.sheet, 'row', q.source_row,
                    'column', q.column_name, 'rule', q.rule, 'reason', q.reason, 'state', q.state,
                    'handled_at', q.handled_at, 'handled_run_id', q.handled_run_id,
                    'handled_by', q.handled_by, 'handled_why', q.handled_why)
         FROM ops.quarantine q JOIN ops.files f USING (file_id)",
        "ORDER BY q.run_id DESC, f.file_id, q.source_row, q.quarantine_id LIMIT $7"
    );
    bound!(sqlx::query_scalar(statement), filter)
        .bind(limit)
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("list the quarantine"))
}

/// The pipelines and brands that have such rows.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn quarantined_pairs(
    warehouse: &Warehouse,
    filter: &QuarantineFilter,
) -> Result<Vec<(PipelineName, BrandId)>, Error> {
    let statement = filtered!("SELECT DISTINCT q.pipeline, q.brand FROM ops.quarantine q", "ORDER BY 1, 2");
    let rows: Vec<(String, String)> = bound!(sqlx::query_as(statement), filter)
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("list the quarantine"))?;
    Ok(rows.into_iter().map(|(pipeline, brand)| (PipelineName(pipeline), BrandId(brand))).collect())
}

/// Marks open rows as settled without loading them; answers with how many.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn dismiss_quarantine(
    warehouse: &Warehouse,
    filter: &QuarantineFilter,
    by: &str,
    why: &str,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let statement = filtered!(
        "UPDATE ops.quarantine q SET state = 'dismissed', handled_at = $7, handled_by = $8, handled_why = $9",
        "AND q.state = 'open'"
    );
    let done = bound!(sqlx::query(statement), filter).bind(now).bind(by).bind(why).execute(warehouse.pool()).await;
    Ok(done.map_err(failed("dismiss refused rows"))?.rows_affected())
}

/// A refused row, whole.
#[derive(Debug, Clone)]
pub(in super::super) struct Refused {
    pub(in super::super) id: i64,
    pub(in super::super) run_id: i64,
    pub(in super::super) pipeline: String,
    pub(in super::super) brand: String,
    pub(in super::super) file: String,
    pub(in super::super) sheet: Option<String>,
    pub(in super::super) row: i64,
    pub(in super::super) column: String,
    pub(in super::super) rule: String,
    pub(in super::super) reason: String,
    pub(in super::super) values: serde_json::Map<String, Value>,
}

impl Refused {
    /// A value as it came; `None` where none was kept.
    pub(in super::super) fn value(&self, name: &str) -> Option<Option<String>> {
        self.values.get(name).map(|value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }

    fn of(row: &PgRow) -> Self {
        Self {
            id: row.get("quarantine_id"),
            run_id: row.get("run_id"),
            pipeline: row.get("pipeline"),
            brand: row.get("brand"),
            file: row.get("name"),
            sheet: row.get("sheet"),
            row: row.get("source_row"),
            column: row.get("column_name"),
            rule: row.get("rule"),
            reason: row.get("reason"),
            values: match row.get("row_values") {
                Value::Object(values) => values,
                _ => serde_json::Map::new(),
            },
        }
    }
}

const WHOLE: &str = "SELECT q.quarantine_id, q.run_id, q.pipeline, q.brand, f.name, f.sheet, q.source_row,
    q.column_name, q.rule, q.reason, q.row_values FROM ops.quarantine q JOIN ops.files f USING (file_id)";

/// Streams refused rows in the order of their files.
pub(super) async fn each_refused(
    warehouse: &Warehouse,
    filter: &QuarantineFilter,
    mut each: impl FnMut(Refused) -> Result<(), super::ExportError>,
) -> Result<(), super::ExportError> {
    let statement = filtered!(WHOLE, "ORDER BY q.pipeline, q.brand, q.file_id, q.source_row, q.quarantine_id");
    let mut rows = bound!(sqlx::query(statement), filter).fetch(warehouse.pool());
    while let Some(row) = next(&mut rows).await.map_err(super::ExportError::Ledger)? {
        each(row)?;
    }
    Ok(())
}

async fn next(rows: &mut (impl Stream<Item = Result<PgRow, sqlx::Error>> + Unpin)) -> Result<Option<Refused>, Error> {
    let row = rows.next().await.transpose().map_err(failed("read the quarantine"))?;
    Ok(row.as_ref().map(Refused::of))
}

/// The names of the members that refused rows have.
pub(super) async fn kept_columns(warehouse: &Warehouse, filter: &QuarantineFilter) -> Result<Vec<String>, Error> {
    let statement = filtered!(
        "SELECT DISTINCT k.name FROM ops.quarantine q CROSS JOIN LATERAL jsonb_object_keys(q.row_values) AS k(name)",
        "ORDER BY 1"
    );
    bound!(sqlx::query_scalar(statement), filter)
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("read the quarantine"))
}

/// The files that have such rows, oldest first.
pub(in super::super) async fn refused_files(
    connection: &mut PgConnection,
    filter: &QuarantineFilter,
) -> Result<Vec<i64>, Error> {
    let statement = filtered!("SELECT DISTINCT q.file_id FROM ops.quarantine q", "ORDER BY 1");
    bound!(sqlx::query_scalar(statement), filter).fetch_all(connection).await.map_err(failed("read the quarantine"))
}

/// A file's refused rows, from its top, held against others until the transaction ends.
pub(in super::super) async fn refused_rows(
    connection: &mut PgConnection,
    filter: &QuarantineFilter,
    file_id: i64,
) -> Result<Vec<Refused>, Error> {
    let statement = filtered!(WHOLE, "AND q.file_id = $7 ORDER BY q.source_row, q.quarantine_id FOR UPDATE OF q");
    let rows = bound!(sqlx::query(statement), filter).bind(file_id).fetch_all(connection).await;
    Ok(rows.map_err(failed("read the quarantine"))?.iter().map(Refused::of).collect())
}

/// What a replay has to say about a refused row.
#[derive(Debug, Clone)]
pub(in super::super) struct Verdict {
    pub(in super::super) id: i64,
    pub(in super::super) state: QuarantineState,
    /// Where it stays open, or gave way.
    pub(in super::super) refusal: Option<Refusal>,
}

/// Why a row was not loaded after all.
#[derive(Debug, Clone)]
pub(in super::super) struct Refusal {
    pub(in super::super) column: String,
    pub(in super::super) rule: String,
    pub(in super::super) reason: String,
    /// What stood there; left out where it is personal.
    pub(in super::super) value: Option<String>,
}

/// Writes what became of refused rows.
pub(in super::super) async fn settle_refused(
    connection: &mut PgConnection,
    run_id: RunId,
    verdicts: &[Verdict],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for chunk in verdicts.chunks(1000) {
        let ids: Vec<i64> = chunk.iter().map(|verdict| verdict.id).collect();
        let states: Vec<&str> = chunk.iter().map(|verdict| verdict.state.word()).collect();
        let part = |pick: fn(&Refusal) -> Option<String>| -> Vec<Option<String>> {
            chunk.iter().map(|verdict| verdict.refusal.as_ref().and_then(pick)).collect()
        };
        sqlx::query(
            "UPDATE ops.quarantine q
             SET state = v.state, handled_at = $2, handled_run_id = $1,
                 handled_why = CASE WHEN v.state = 'superseded' THEN v.reason END,
                 column_name = CASE WHEN v.state = 'open' THEN coalesce(v.column_name, q.column_name) ELSE q.column_name END,
                 rule = CASE WHEN v.state = 'open' THEN coalesce(v.rule, q.rule) ELSE q.rule END,
                 reason = CASE WHEN v.state = 'open' THEN coalesce(v.reason, q.reason) ELSE q.reason END,
                 value = CASE WHEN v.state = 'open' AND v.rule IS NOT NULL THEN v.value ELSE q.value END
             FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
                  AS v(id, state, column_name, rule, reason, value)
             WHERE q.quarantine_id = v.id AND q.state = 'open'",
        )
        .bind(run_id.0)
        .bind(now)
        .bind(ids)
        .bind(states)
        .bind(part(|refusal| Some(refusal.column.clone())))
        .bind(part(|refusal| Some(refusal.rule.clone())))
        .bind(part(|refusal| Some(refusal.reason.clone())))
        .bind(part(|refusal| refusal.value.clone()))
        .execute(&mut *connection)
        .await
        .map_err(failed("settle refused rows"))?;
    }
    Ok(())
}
