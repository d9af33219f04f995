//! The loads and files that rows came from, as the ledger has them.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Warehouse;
use super::lineage::Error;
use crate::ids::BrandId;

/// A load, with the run it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadFacts {
    /// Its id.
    pub load_id: i64,
    /// The run.
    pub run_id: i64,
    /// The pipeline.
    pub pipeline: String,
    /// The brand.
    pub brand: String,
    /// The table.
    pub table: String,
    /// Why the run started.
    pub trigger: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When its rows became visible.
    pub committed_at: DateTime<Utc>,
    /// The day it was, by its brand's clocks.
    pub made_on: Option<NaiveDate>,
    /// The load that took it back.
    pub undone_by: Option<i64>,
    /// The load that it takes back.
    pub undoes: Option<i64>,
    /// The last loads that its inputs held, where it was made of other tables.
    pub inputs: Vec<i64>,
    /// Rows that were new.
    pub rows_inserted: i64,
    /// Rows that it changed.
    pub rows_updated: i64,
    /// Rows that were there already, the same.
    pub rows_unchanged: i64,
    /// Rows that it removed.
    pub rows_deleted: i64,
}

/// Reads loads by their ids.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn loads(warehouse: &Warehouse, ids: &[i64]) -> Result<Vec<LoadFacts>, Error> {
    let rows = sqlx::query(
        "SELECT l.*, r.trigger, r.started_at,
                ARRAY(SELECT i.input_load_id FROM ops.load_inputs i WHERE i.load_id = l.load_id ORDER BY 1) AS inputs
         FROM ops.loads l JOIN ops.runs r USING (run_id) WHERE l.load_id = ANY($1) ORDER BY l.load_id",
    )
    .bind(ids)
    .fetch_all(warehouse.pool())
    .await
    .map_err(Error::query("read the loads"))?;
    let load = |row: &PgRow| LoadFacts {
        load_id: row.get("load_id"),
        run_id: row.get("run_id"),
        pipeline: row.get("pipeline"),
        brand: row.get("brand"),
        table: row.get("table_name"),
        trigger: row.get("trigger"),
        started_at: row.get("started_at"),
        committed_at: row.get("committed_at"),
        made_on: row.get("made_on"),
        undone_by: row.get("undone_by"),
        undoes: row.get("undoes"),
        inputs: row.get("inputs"),
        rows_inserted: row.get("rows_inserted"),
        rows_updated: row.get("rows_updated"),
        rows_unchanged: row.get("rows_unchanged"),
        rows_deleted: row.get("rows_deleted"),
    };
    Ok(rows.iter().map(load).collect())
}

/// A file, or a sheet of one, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Its id.
    pub file_id: i64,
    /// The load that entered it.
    pub load_id: i64,
    /// The pipeline that read it.
    pub pipeline: String,
    /// Whose it is.
    pub brand: String,
    /// Its name at the source.
    pub name: String,
    /// The sheet.
    pub sheet: Option<String>,
    /// SHA-256 of its bytes.
    pub content_hash: String,
    /// Its size.
    pub size_bytes: i64,
    /// Rows handed over.
    pub rows_read: i64,
    /// The drive it was on.
    pub drive_id: Option<String>,
    /// The drive's name for it.
    pub item_id: Option<String>,
    /// The drive's tag of its content.
    pub version: Option<String>,
    /// When it was changed last.
    pub modified_at: Option<DateTime<Utc>>,
    /// By whom.
    pub modified_by: Option<String>,
}

fn file(row: &PgRow) -> FileFacts {
    FileFacts {
        file_id: row.get("file_id"),
        load_id: row.get("load_id"),
        pipeline: row.get("pipeline"),
        brand: row.get("brand"),
        name: row.get("name"),
        sheet: row.get("sheet"),
        content_hash: row.get("content_hash"),
        size_bytes: row.get("size_bytes"),
        rows_read: row.get("rows_read"),
        // Folders leave it empty.
        drive_id: row.get::<Option<String>, _>("drive_id").filter(|id| !id.is_empty()),
        item_id: row.get("item_id"),
        version: row.get("version"),
        modified_at: row.get("modified_at"),
        modified_by: row.get("modified_by"),
    }
}

/// Reads files by their ids.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn files(warehouse: &Warehouse, ids: &[i64]) -> Result<Vec<FileFacts>, Error> {
    let rows = sqlx::query("SELECT * FROM ops.files WHERE file_id = ANY($1) ORDER BY file_id")
        .bind(ids)
        .fetch_all(warehouse.pool())
        .await
        .map_err(Error::query("read the files"))?;
    Ok(rows.iter().map(file).collect())
}

/// Finds files by their name, or by the beginning of their hash; the latest first.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn files_called(warehouse: &Warehouse, brands: &[BrandId], wanted: &str) -> Result<Vec<FileFacts>, Error> {
    let brands: Vec<&str> = brands.iter().map(|brand| brand.0.as_str()).collect();
    let rows = sqlx::query(
        "SELECT * FROM ops.files WHERE brand = ANY($2)
           AND (name = $1 OR ($1 ~ '^[0-9a-f]{8,64}$' AND starts_with(content_hash, $1)))
         ORDER BY load_id DESC, file_id",
    )
    .bind(wanted)
    .bind(brands)
    .fetch_all(warehouse.pool())
    .await
    .map_err(Error::query("look for a file"))?;
    Ok(rows.iter().map(file).collect())
}
