//! The runs' ledger in PostgreSQL.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::Learned;
use super::error::Error;
use super::report::{RunReport, Trigger};
use crate::contracts::SeenColumn;
use crate::ids::{BrandId, PipelineName, RunId};
use crate::warehouse::{Ident, Load, Statement, Warehouse, make_schema};

pub(super) fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> Error + Copy {
    move |source| Error::Ledger { action, source }
}

/// Whether a query failed because its table, or its schema, is not there: nothing was loaded into it yet.
pub(super) fn is_not_there(error: &sqlx::Error) -> bool {
    // 42P01: no such table; 3F000: no such schema.
    matches!(error, sqlx::Error::Database(error) if matches!(error.code().as_deref(), Some("42P01" | "3F000")))
}

/// Rows of a query; none where its table is not there yet.
pub(super) async fn rows_if_there(
    warehouse: &Warehouse,
    action: &'static str,
    sql: String,
) -> Result<Vec<PgRow>, Error> {
    match sqlx::query(Statement::new(sql).safe()).fetch_all(warehouse.pool()).await {
        Ok(rows) => Ok(rows),
        Err(error) if is_not_there(&error) => Ok(Vec::new()),
        Err(source) => Err(failed(action)(source)),
    }
}

/// The word under which a value of an enumeration is stored and printed.
pub fn word<T: serde::Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Opens a run: what a crash leaves behind.
pub(super) async fn open_run(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
    trigger: Trigger,
    now: DateTime<Utc>,
) -> Result<RunId, Error> {
    sqlx::query_scalar(
        "INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at)
         VALUES ($1, $2, $3, 'running', $4) RETURNING run_id",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(word(trigger))
    .bind(now)
    .fetch_one(warehouse.pool())
    .await
    .map(RunId)
    .map_err(failed("open the run"))
}

/// Writes a run's outcome, on the load's own connection where there is a load.
pub(super) async fn close_run(
    connection: &mut PgConnection,
    report: &RunReport,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let json = serde_json::to_value(report).unwrap_or_default();
    sqlx::query(
        "UPDATE ops.runs SET status = $2, finished_at = $3, rows_loaded = $4, rows_quarantined = $5, error = $6, report = $7
         -- A run whose commit went through stays a success, whatever became of the answer.
         WHERE run_id = $1 AND status IN ('running', $2)",
    )
    .bind(report.run_id.0)
    .bind(word(report.status))
    .bind(now)
    .bind(i64::try_from(report.rows_loaded).unwrap_or(i64::MAX))
    .bind(i64::try_from(report.rows_quarantined).unwrap_or(i64::MAX))
    .bind(&report.error)
    .bind(json)
    .execute(connection)
    .await
    .map_err(failed("close the run"))?;
    Ok(())
}

/// The same on a connection of the pool.
pub(super) async fn close_run_alone(
    warehouse: &Warehouse,
    report: &RunReport,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut connection = warehouse.pool().acquire().await.map_err(failed("close the run"))?;
    close_run(&mut connection, report, now).await
}

/// Whether a content was loaded before, under this name or another. A name that
/// goes back to an earlier content is a change like any other.
pub(super) async fn same_content(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
    name: &str,
    content_hash: &str,
) -> Result<bool, Error> {
    let query = failed("look a file up in the ledger");
    let last: Option<String> = sqlx::query_scalar(
        "SELECT content_hash FROM ops.files WHERE pipeline = $1 AND brand = $2 AND name = $3
           AND NOT released ORDER BY file_id DESC LIMIT 1",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(name)
    .fetch_optional(warehouse.pool())
    .await
    .map_err(query)?;
    if let Some(last) = last {
        return Ok(last == content_hash);
    }
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM ops.files WHERE pipeline = $1 AND brand = $2 AND content_hash = $3
                        AND NOT released)",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(content_hash)
    .fetch_one(warehouse.pool())
    .await
    .map_err(query)
}

/// Names of files that count as loaded though their load was taken back: nothing newer came under
/// their name, their content was not loaded again, and was not what the name held before either.
pub(super) async fn undone_files(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "WITH known AS (
             SELECT f.file_id, f.name, f.content_hash, l.undone_by IS NOT NULL AS undone
             FROM ops.files f JOIN ops.loads l USING (load_id)
             WHERE f.pipeline = $1 AND f.brand = $2 AND NOT f.released)
         SELECT DISTINCT name FROM known f
         WHERE undone
           AND NOT EXISTS (SELECT FROM known o WHERE o.file_id > f.file_id
                           AND (o.name = f.name AND o.content_hash <> f.content_hash
                                OR o.content_hash = f.content_hash AND NOT o.undone))
           AND (SELECT o.content_hash FROM known o WHERE o.name = f.name AND o.file_id < f.file_id AND NOT o.undone
                ORDER BY o.file_id DESC LIMIT 1) IS DISTINCT FROM f.content_hash
         ORDER BY name",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("look for files whose load was taken back"))
}

/// Reads how far a place of a source was read: what the source handed out, as it came.
pub(super) async fn cursor(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
    place: &str,
) -> Result<Option<String>, Error> {
    sqlx::query_scalar("SELECT value FROM ops.cursors WHERE pipeline = $1 AND brand = $2 AND place = $3")
        .bind(&pipeline.0)
        .bind(&brand.0)
        .bind(place)
        .fetch_optional(warehouse.pool())
        .await
        .map_err(failed("read how far the source was read"))
}

/// Keeps how far a place was read, on the connection of the load that has the rows.
pub(super) async fn keep_cursor(
    connection: &mut PgConnection,
    pipeline: &PipelineName,
    brand: &BrandId,
    place: &str,
    value: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO ops.cursors AS c (pipeline, brand, place, value, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (pipeline, brand, place) DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(place)
    .bind(value)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failed("keep how far the source was read"))?;
    Ok(())
}

/// Forgets how far a place was read; the next run reads it from its start.
pub(super) async fn drop_cursor(
    connection: &mut PgConnection,
    pipeline: &PipelineName,
    brand: &BrandId,
    place: &str,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM ops.cursors WHERE pipeline = $1 AND brand = $2 AND place = $3")
        .bind(&pipeline.0)
        .bind(&brand.0)
        .bind(place)
        .execute(connection)
        .await
        .map_err(failed("forget how far the source was read"))?;
    Ok(())
}

/// Makes a brand's schema where there is none.
pub(super) async fn ensure_schema(connection: &mut PgConnection, brand: &BrandId) -> Result<(), Error> {
    make_schema(connection, &brand.schema()).await.map_err(failed("make the brand's schema"))
}

/// Reads the values that a rule looks up.
pub(super) async fn known_values(
    warehouse: &Warehouse,
    brand: &BrandId,
    table: &str,
    column: &str,
) -> Result<HashSet<String>, Error> {
    let statement = format!(
        "SELECT DISTINCT {0}::text FROM {1}.{2} WHERE {0} IS NOT NULL",
        Ident::known(column),
        Ident::known(&brand.schema()),
        Ident::known(table)
    );
    let values: Result<Vec<String>, sqlx::Error> =
        sqlx::query_scalar(Statement::new(statement).safe()).fetch_all(warehouse.pool()).await;
    match values {
        Ok(values) => Ok(values.into_iter().collect()),
        // A table that nothing was loaded into yet holds nothing.
        Err(error) if is_not_there(&error) => Ok(HashSet::new()),
        Err(source) => Err(failed("read the values that rules look up")(source)),
    }
}

/// The last load of a table.
pub(super) async fn last_load(warehouse: &Warehouse, brand: &BrandId, table: &str) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("SELECT max(load_id) FROM ops.loads WHERE brand = $1 AND table_name = $2")
        .bind(&brand.0)
        .bind(table)
        .fetch_one(warehouse.pool())
        .await
        .map_err(failed("look up the last load of a table"))
}

/// The last load that a pipeline's runs made of a table, if any stands.
pub(super) async fn last_load_of(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
    table: &str,
) -> Result<Option<i64>, Error> {
    sqlx::query_scalar(
        "SELECT max(load_id) FROM ops.loads
         WHERE pipeline = $1 AND brand = $2 AND table_name = $3 AND undone_by IS NULL",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(table)
    .fetch_one(warehouse.pool())
    .await
    .map_err(failed("look up the last load of a run"))
}

/// The loads that brought files.
pub(super) async fn loads_of(warehouse: &Warehouse, files: &[i64]) -> Result<Vec<i64>, Error> {
    sqlx::query_scalar("SELECT DISTINCT load_id FROM ops.files WHERE file_id = ANY($1) ORDER BY 1")
        .bind(files)
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("look up the loads of files"))
}

/// Notes the loads that a load was made of.
pub(super) async fn note_inputs(load: &mut Load, inputs: &[i64]) -> Result<(), Error> {
    let load_id = load.id();
    sqlx::query("INSERT INTO ops.load_inputs (load_id, input_load_id) SELECT $1, * FROM unnest($2::bigint[])")
        .bind(load_id.0)
        .bind(inputs)
        .execute(load.connection())
        .await
        .map_err(failed("note what the load was made of"))?;
    Ok(())
}

/// Whether any of `makers` has not come to an end since the last load of a table. One that failed has: it was
/// told, and the next load is its next try.
pub(super) async fn behind(
    warehouse: &Warehouse,
    makers: &[PipelineName],
    brand: &BrandId,
    table: &str,
) -> Result<bool, Error> {
    let makers: Vec<&str> = makers.iter().map(|maker| maker.0.as_str()).collect();
    sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT FROM unnest($1::text[]) AS maker
             WHERE (SELECT max(run_id) FROM ops.loads WHERE brand = $2 AND table_name = $3 AND undone_by IS NULL)
                 > coalesce((SELECT max(run_id) FROM ops.runs WHERE pipeline = maker AND brand = $2
                             AND status IN ('succeeded', 'nothing_new', 'failed')), 0))",
    )
    .bind(makers)
    .bind(&brand.0)
    .bind(table)
    .fetch_one(warehouse.pool())
    .await
    .map_err(failed("look up what was made of a table"))
}

/// Lists what is to be made again.
pub(super) async fn stale(warehouse: &Warehouse) -> Result<Vec<(PipelineName, BrandId)>, Error> {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT pipeline, brand FROM ops.stale ORDER BY 1, 2")
        .fetch_all(warehouse.pool())
        .await
        .map_err(failed("list what is to be made again"))?;
    Ok(rows.into_iter().map(|(pipeline, brand)| (PipelineName(pipeline), BrandId(brand))).collect())
}

/// Notes that something was made again, together with what was made.
pub(super) async fn no_longer_stale(
    connection: &mut PgConnection,
    pipeline: &PipelineName,
    brand: &BrandId,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM ops.stale WHERE pipeline = $1 AND brand = $2")
        .bind(&pipeline.0)
        .bind(&brand.0)
        .execute(connection)
        .await
        .map_err(failed("note that it was made again"))?;
    Ok(())
}

/// The header of the file that was loaded last.
pub(super) async fn last_header(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
) -> Result<Option<Vec<SeenColumn>>, Error> {
    let columns: Option<serde_json::Value> =
        sqlx::query_scalar("SELECT columns FROM ops.file_columns WHERE pipeline = $1 AND brand = $2")
            .bind(&pipeline.0)
            .bind(&brand.0)
            .fetch_optional(warehouse.pool())
            .await
            .map_err(failed("read the columns of the last file"))?;
    // One that no longer reads is no reason to stop: the contract is compared with instead.
    Ok(columns.and_then(|columns| serde_json::from_value(columns).ok()))
}

/// Keeps a file's header, to become visible with its rows.
pub(super) async fn remember_header(load: &mut Load, file_id: i64, columns: &[SeenColumn]) -> Result<(), Error> {
    let (pipeline, brand) = load.owner();
    sqlx::query(
        "INSERT INTO ops.file_columns (pipeline, brand, file_id, columns) VALUES ($1, $2, $3, $4)
         ON CONFLICT (pipeline, brand) DO UPDATE SET file_id = EXCLUDED.file_id, columns = EXCLUDED.columns",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(file_id)
    .bind(serde_json::to_value(columns).unwrap_or_default())
    .execute(load.connection())
    .await
    .map(drop)
    .map_err(failed("keep the columns of a file"))
}

/// Which of these contents were refused by an earlier run.
pub(super) async fn refused_before(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
    hashes: &[String],
) -> Result<HashSet<String>, Error> {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT f ->> 'content_hash'
         FROM ops.runs r CROSS JOIN LATERAL jsonb_array_elements(r.report -> 'files') AS f
         WHERE r.pipeline = $1 AND r.brand = $2 AND r.status IN ('partial', 'failed')
           AND f ? 'error' AND f ->> 'content_hash' = ANY($3)",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(hashes)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("look for files that were refused before"))?;
    Ok(found.into_iter().collect())
}

/// Columns that `evolve` made of earlier files.
pub(super) async fn evolved_columns(
    warehouse: &Warehouse,
    pipeline: &PipelineName,
    brand: &BrandId,
) -> Result<Vec<Learned>, Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, source_name FROM ops.evolved_columns WHERE pipeline = $1 AND brand = $2 ORDER BY load_id, name",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("read the columns that files brought along"))?;
    Ok(rows.into_iter().map(|(name, source_name)| Learned { name, source_name }).collect())
}

/// Keeps a column that a file brought along, to become visible with its rows.
pub(super) async fn remember_column(load: &mut Load, column: &Learned) -> Result<(), Error> {
    let ((pipeline, brand), load_id) = (load.owner(), load.id());
    sqlx::query(
        "INSERT INTO ops.evolved_columns (pipeline, brand, name, source_name, load_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(&pipeline.0)
    .bind(&brand.0)
    .bind(&column.name)
    .bind(&column.source_name)
    .bind(load_id.0)
    .execute(load.connection())
    .await
    .map(drop)
    .map_err(failed("keep a column that a file brought along"))
}
