//! The ledger of archived months: which file holds them.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};

use super::Warehouse;
use super::archive::{Error, query};
use super::archive_file::Contents;
use super::ident::Statement;
use super::load;
use super::table::Table;
use crate::ids::{BrandId, LoadId};

const COLUMNS: &str = "archive_id, brand, table_name AS \"table\", to_char(month, 'YYYY-MM') AS month, file, sha256, \
    size_bytes, row_count AS rows, row_digest, version_count AS versions, version_digest, archived_at, restored_at";

/// A month in a file, as the ledger has it.
#[derive(Debug, Clone, Serialize)]
pub struct Archive {
    #[serde(skip)]
    archive_id: i64,
    /// Whose.
    pub brand: String,
    /// Table.
    pub table: String,
    /// Month, e.g. `2023-01`.
    pub month: String,
    /// File, below `warehouse.archive_dir`.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size.
    pub size_bytes: i64,
    /// Rows of the table in it.
    pub rows: i64,
    /// Their digest.
    pub row_digest: String,
    /// Earlier versions of them.
    pub versions: i64,
    /// Their digest.
    pub version_digest: String,
    /// When it was archived.
    pub archived_at: DateTime<Utc>,
    /// When it was brought back, if it was.
    pub restored_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Archive {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            archive_id: row.try_get("archive_id")?,
            brand: row.try_get("brand")?,
            table: row.try_get("table")?,
            month: row.try_get("month")?,
            file: row.try_get("file")?,
            sha256: row.try_get("sha256")?,
            size_bytes: row.try_get("size_bytes")?,
            rows: row.try_get("rows")?,
            row_digest: row.try_get("row_digest")?,
            versions: row.try_get("versions")?,
            version_digest: row.try_get("version_digest")?,
            archived_at: row.try_get("archived_at")?,
            restored_at: row.try_get("restored_at")?,
        })
    }
}

/// Lists all archives, those that were brought back too.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn list(warehouse: &Warehouse) -> Result<Vec<Archive>, Error> {
    let select =
        format!("SELECT {COLUMNS} FROM ops.archives ORDER BY brand, table_name, ops.archives.month, archive_id");
    let rows = sqlx::query_as(Statement::new(select).safe()).fetch_all(warehouse.pool()).await;
    rows.map_err(query("list the archives"))
}

/// The months of a table whose archived rows a load brought, restored or superseded:
/// without them it cannot be undone. Who undoes asks while the table is locked.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn archived_months(
    connection: &mut PgConnection,
    brand: &BrandId,
    table: &str,
    load_id: LoadId,
) -> Result<Vec<NaiveDate>, load::Error> {
    sqlx::query_scalar(
        "SELECT month FROM ops.archives
         WHERE brand = $1 AND table_name = $2 AND restored_at IS NULL AND $3 = ANY(loads) ORDER BY month",
    )
    .bind(&brand.0)
    .bind(table)
    .bind(load_id.0)
    .fetch_all(connection)
    .await
    .map_err(load::Error::query("look up which months of a load are archived"))
}

/// The archive that stands for a month now.
pub(super) async fn live(
    connection: &mut PgConnection,
    table: &Table,
    month: NaiveDate,
) -> Result<Option<Archive>, Error> {
    let select = format!(
        "SELECT {COLUMNS} FROM ops.archives
         WHERE brand = $1 AND table_name = $2 AND ops.archives.month = $3 AND restored_at IS NULL FOR UPDATE"
    );
    sqlx::query_as(Statement::new(select).safe())
        .bind(table.brand())
        .bind(&table.name)
        .bind(month)
        .fetch_optional(connection)
        .await
        .map_err(query("look a month up in the ledger"))
}

/// The months of a table that were brought back since.
pub(super) async fn restored_since(
    connection: &mut PgConnection,
    table: &Table,
    since: DateTime<Utc>,
) -> Result<Vec<NaiveDate>, Error> {
    sqlx::query_scalar("SELECT month FROM ops.archives WHERE brand = $1 AND table_name = $2 AND restored_at > $3")
        .bind(table.brand())
        .bind(&table.name)
        .bind(since)
        .fetch_all(connection)
        .await
        .map_err(query("list the months that were brought back"))
}

/// Enters a file. While the rows are still there: their loads are noted.
pub(super) async fn enter(
    connection: &mut PgConnection,
    table: &Table,
    month: NaiveDate,
    file: &str,
    contents: &Contents,
    now: DateTime<Utc>,
) -> Result<Archive, Error> {
    let versions = table.versions_of(&["load_id".to_owned(), "restored_by".to_owned()], month);
    let insert = format!(
        "INSERT INTO ops.archives (brand, table_name, month, partition_column, file, sha256, size_bytes, row_count,
                                   row_digest, version_count, version_digest, archived_at, loads)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, ARRAY(
             SELECT DISTINCT one FROM (
                 SELECT unnest(ARRAY[load_id, restored_by]) AS one FROM {}
                 UNION ALL SELECT unnest(ARRAY[v.load_id, v.restored_by, v.superseded_by]) FROM ({versions}) v
             ) AS loads WHERE one IS NOT NULL ORDER BY one)
         RETURNING {COLUMNS}",
        table.partition_path(month)
    );
    sqlx::query_as(Statement::new(insert).safe())
        .bind(table.brand())
        .bind(&table.name)
        .bind(month)
        .bind(&table.partition_by)
        .bind(file)
        .bind(&contents.sha256)
        .bind(contents.size_bytes)
        .bind(contents.rows.rows)
        .bind(contents.rows.text())
        .bind(contents.versions.rows)
        .bind(contents.versions.text())
        .bind(now)
        .fetch_one(connection)
        .await
        .map_err(query("enter the file into the ledger"))
}

/// Notes that a month is back.
pub(super) async fn settle(
    connection: &mut PgConnection,
    archive: &Archive,
    now: DateTime<Utc>,
) -> Result<Archive, Error> {
    let update = format!("UPDATE ops.archives SET restored_at = $2 WHERE archive_id = $1 RETURNING {COLUMNS}");
    sqlx::query_as(Statement::new(update).safe())
        .bind(archive.archive_id)
        .bind(now)
        .fetch_one(connection)
        .await
        .map_err(query("note that a month is back"))
}
