//! Refused rows in PostgreSQL, as the way back needs them.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::ids::BrandId;
use crate::pipelines::Error;
use crate::pipelines::tables::failed;
use crate::warehouse::Warehouse;

/// A refused row with its file.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) id: i64,
    pub(super) run_id: i64,
    pub(super) pipeline: String,
    pub(super) file: String,
    pub(super) sheet: Option<String>,
    pub(super) row: i64,
    pub(super) column: String,
    pub(super) rule: String,
    pub(super) reason: String,
    pub(super) state: String,
    pub(super) handled_why: Option<String>,
    pub(super) values: Map<String, Value>,
}

impl Refusal {
    fn of(row: &PgRow) -> Self {
        Self {
            id: row.get("quarantine_id"),
            run_id: row.get("run_id"),
            pipeline: row.get("pipeline"),
            file: row.get("name"),
            sheet: row.get("sheet"),
            row: row.get("source_row"),
            column: row.get("column_name"),
            rule: row.get("rule"),
            reason: row.get("reason"),
            state: row.get("state"),
            handled_why: row.get("handled_why"),
            values: match row.get("row_values") {
                Value::Object(values) => values,
                _ => Map::new(),
            },
        }
    }
}

/// Shows every refused row of some pipelines of a brand to `each`, the latest first.
pub(super) async fn each_refusal(
    warehouse: &Warehouse,
    brand: &BrandId,
    pipelines: &[String],
    mut each: impl FnMut(Refusal),
) -> Result<(), Error> {
    let query = failed("look into the quarantine");
    let mut rows = sqlx::query(
        "SELECT q.quarantine_id, q.run_id, q.pipeline, f.name, f.sheet, q.source_row, q.column_name, q.rule,
                q.reason, q.state, q.handled_why, q.row_values
         FROM ops.quarantine q JOIN ops.files f USING (file_id)
         WHERE q.brand = $1 AND q.pipeline = ANY($2) ORDER BY q.quarantine_id DESC",
    )
    .bind(&brand.0)
    .bind(pipelines)
    .fetch(warehouse.pool());
    while let Some(row) = rows.try_next().await.map_err(query)? {
        each(Refusal::of(&row));
    }
    Ok(())
}

/// Counts a file's refused rows by what became of them.
pub(super) async fn refused_of_file(warehouse: &Warehouse, file_id: i64) -> Result<BTreeMap<String, i64>, Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM ops.quarantine WHERE file_id = $1 GROUP BY 1 ORDER BY 1")
            .bind(file_id)
            .fetch_all(warehouse.pool())
            .await
            .map_err(failed("count the refused rows of a file"))?;
    Ok(rows.into_iter().collect())
}
