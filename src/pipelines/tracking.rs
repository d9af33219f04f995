//! Rows that a source deletes: found by its ids, deleted with the load.
//!
//! Of each row that is loaded its id at the source is kept with the key that it
//! has here. A row goes once no id stands for its key any more: its own was
//! deleted, or has another key now.

use std::path::Path;

use sqlx::{Executor as _, PgConnection};

use super::acquire::{Acquired, Doors, table_query};
use super::definition::{Changes, Definition, Pipeline, SourceKind};
use super::error::Error;
use super::tables;
use crate::ids::{BrandId, PipelineName};
use crate::sources::TableChanges;
use crate::warehouse::{Ident, Load, Statement, Table, Warehouse, WriteDisposition};

/// Ids are sent in pieces of so many.
const PIECE: usize = 10_000;
const SHRINK_THRESHOLD: f64 = 0.5;

/// What a source says of its rows, besides their values.
pub(super) struct Tracked {
    /// Line from 1 and id of the rows that were read.
    ids: Vec<(i64, String)>,
    deleted: Vec<String>,
    /// Whether those are all the rows that there are.
    complete: bool,
    entity_set: String,
    shrink_threshold: f64,
}

/// Lists what does not go together with `changes = "track"`, in words.
pub(super) fn problems(definition: &Definition) -> Vec<String> {
    let source = &definition.source;
    let mut problems = Vec::new();
    let mut refuse = |wrong: bool, message: &str| {
        if wrong {
            problems.push(message.to_owned());
        }
    };
    let track = source.changes == Changes::Track;
    refuse(track && source.kind != SourceKind::Dataverse, "`changes` is for dataverse sources");
    refuse(source.shrink_threshold.is_some() && !track, "`shrink_threshold` goes with `changes = \"track\"`");
    let share = source.shrink_threshold.unwrap_or_default();
    refuse(!(0.0..=1.0).contains(&share), "`shrink_threshold` is a share between 0 and 1");
    if track {
        refuse(source.filter.is_some(), "Dataverse takes no `filter` with `changes = \"track\"`");
        refuse(source.order_by.is_some(), "Dataverse takes no `order_by` with `changes = \"track\"`");
        let merges = definition.destination.write_disposition == WriteDisposition::Merge;
        refuse(!merges, "`changes = \"track\"` needs `write_disposition = \"merge\"`");
    }
    problems
}

impl Doors {
    /// Fetches what changed in a pipeline's table; with `full` all of it.
    pub(super) async fn tracked_table(
        &self,
        warehouse: &Warehouse,
        pipeline: &Pipeline,
        brand: &BrandId,
        full: bool,
        into: &Path,
        acquired: &mut Acquired,
    ) -> Result<(), Error> {
        let dataverse = self.dataverse(brand)?;
        let query = table_query(pipeline);
        let link = if full {
            None
        } else {
            let place = dataverse.place(&query).await.map_err(Error::Source)?;
            tables::cursor(warehouse, &pipeline.name, brand, &place).await?
        };
        let limit = self.limits().file_limit_bytes;
        let changes = dataverse.fetch_changes(&query, link.as_deref(), into, limit).await.map_err(Error::Source)?;
        let TableChanges { fetched, ids, deleted, complete, link, notes } = changes;
        acquired.notes.extend(notes);
        acquired.cursors.extend(link);
        if !ids.is_empty() {
            acquired.files.push(fetched);
        }
        let shrink_threshold = pipeline.definition.source.shrink_threshold.unwrap_or(SHRINK_THRESHOLD);
        acquired.tracked = Some(Tracked { ids, deleted, complete, entity_set: query.entity_set, shrink_threshold });
        Ok(())
    }
}

impl Tracked {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        !self.complete && self.ids.is_empty() && self.deleted.is_empty()
    }

    /// Notes which ids were read and which are gone. Before duplicates are taken
    /// out of staging: each id stands for its key.
    pub(super) async fn note(
        &self,
        connection: &mut PgConnection,
        pipeline: &PipelineName,
        brand: &BrandId,
        table: &Table,
    ) -> Result<(), Error> {
        let query = |source| Error::Ledger { action: "note the ids of the source's rows", source };
        connection
            .execute(
                "CREATE TEMPORARY TABLE source_rows (source_row bigint, source_id text PRIMARY KEY) ON COMMIT DROP;
                 CREATE TEMPORARY TABLE gone_ids (source_id text PRIMARY KEY) ON COMMIT DROP;
                 CREATE TEMPORARY TABLE gone_keys (key jsonb) ON COMMIT DROP",
            )
            .await
            .map_err(query)?;
        for piece in self.ids.chunks(PIECE) {
            let (rows, ids): (Vec<i64>, Vec<&str>) = piece.iter().map(|(row, id)| (*row, id.as_str())).unzip();
            sqlx::query("INSERT INTO pg_temp.source_rows SELECT * FROM unnest($1::bigint[], $2::text[])")
                .bind(rows)
                .bind(ids)
                .execute(&mut *connection)
                .await
                .map_err(query)?;
        }
        for piece in self.deleted.chunks(PIECE) {
            sqlx::query("INSERT INTO pg_temp.gone_ids SELECT * FROM unnest($1::text[])")
                .bind(piece)
                .execute(&mut *connection)
                .await
                .map_err(query)?;
        }
        if self.complete {
            self.missing(connection, pipeline, brand).await?;
        }
        let (orphans,): (i64,) = sqlx::query_as("SELECT count(*) FROM pg_temp.staging WHERE source_row IS NULL")
            .fetch_one(&mut *connection)
            .await
            .map_err(query)?;
        if orphans > 0 {
            return Err(Error::Untraceable);
        }
        let pairs: Vec<String> = table.key.iter().map(|name| format!("'{name}', s.{}", Ident::known(name))).collect();
        let keys = format!(
            "CREATE TEMPORARY TABLE read_keys ON COMMIT DROP AS
             SELECT DISTINCT ON (r.source_id) r.source_id, jsonb_build_object({}) AS key
             FROM pg_temp.staging s JOIN pg_temp.source_rows r USING (source_row) ORDER BY r.source_id, s.seq DESC",
            pairs.join(", ")
        );
        connection.execute(Statement::new(keys).safe()).await.map_err(query)?;
        for statement in [
            "INSERT INTO pg_temp.gone_keys SELECT k.key FROM ops.source_keys k JOIN pg_temp.read_keys r USING (source_id)
             WHERE k.pipeline = $1 AND k.brand = $2 AND k.key IS DISTINCT FROM r.key",
            "INSERT INTO ops.source_keys AS k (pipeline, brand, source_id, key)
             SELECT $1, $2, source_id, key FROM pg_temp.read_keys
             ON CONFLICT (pipeline, brand, source_id) DO UPDATE SET key = EXCLUDED.key
             WHERE k.key IS DISTINCT FROM EXCLUDED.key",
            "WITH gone AS (
                 DELETE FROM ops.source_keys k USING pg_temp.gone_ids g
                 WHERE k.pipeline = $1 AND k.brand = $2 AND k.source_id = g.source_id RETURNING k.key
             )
             INSERT INTO pg_temp.gone_keys SELECT key FROM gone",
        ] {
            let statement = sqlx::query(statement).bind(&pipeline.0).bind(&brand.0);
            statement.execute(&mut *connection).await.map_err(query)?;
        }
        Ok(())
    }

    /// Finds the ids that a whole table no longer has; many at once are more
    /// likely a right that was lost than rows that were deleted.
    async fn missing(
        &self,
        connection: &mut PgConnection,
        pipeline: &PipelineName,
        brand: &BrandId,
    ) -> Result<(), Error> {
        let query = |source| Error::Ledger { action: "compare the ids of the source's rows", source };
        sqlx::query(
            "INSERT INTO pg_temp.gone_ids SELECT k.source_id FROM ops.source_keys k
             WHERE k.pipeline = $1 AND k.brand = $2
               AND NOT EXISTS (SELECT 1 FROM pg_temp.source_rows r WHERE r.source_id = k.source_id)",
        )
        .bind(&pipeline.0)
        .bind(&brand.0)
        .execute(&mut *connection)
        .await
        .map_err(query)?;
        let (known, gone): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM ops.source_keys WHERE pipeline = $1 AND brand = $2),
                    (SELECT count(*) FROM pg_temp.gone_ids)",
        )
        .bind(&pipeline.0)
        .bind(&brand.0)
        .fetch_one(&mut *connection)
        .await
        .map_err(query)?;
        if gone as f64 > self.shrink_threshold * known as f64 {
            return Err(Error::Shrunk { entity_set: self.entity_set.clone(), known, gone });
        }
        Ok(())
    }

    /// Deletes the rows whose keys no id stands for any more; answers how many.
    /// After the merge, which makes the table and may bring a key back.
    pub(super) async fn sweep(
        &self,
        load: &mut Load,
        pipeline: &PipelineName,
        brand: &BrandId,
        table: &Table,
    ) -> Result<u64, Error> {
        let (load_id, connection) = (load.id(), load.connection());
        let query = |source| Error::Ledger { action: "delete rows that the source deleted", source };
        let path = format!("{}.{}", Ident::known(&table.schema), Ident::known(&table.name));
        let same = |one: &str, two: &str| -> String {
            let pairs = table.key.iter().map(|name| format!("{one}.{0} = {two}.{0}", Ident::known(name)));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let names: Vec<String> = table.key.iter().map(|name| format!("s.{}", Ident::known(name))).collect();
        let names = names.join(", ");
        // Through the table's own types: one value may have two texts. Both are made
        // into tables, because the planner guesses wildly at rows that functions make.
        let gone = format!(
            "CREATE TEMPORARY TABLE swept ON COMMIT DROP AS
             SELECT {names} FROM pg_temp.gone_keys k, jsonb_populate_record(NULL::{path}, k.key) s"
        );
        connection.execute(Statement::new(gone).safe()).await.map_err(query)?;
        let kept = format!("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT {names} FROM {path} s WITH NO DATA");
        connection.execute(Statement::new(kept).safe()).await.map_err(query)?;
        let kept = format!(
            "INSERT INTO pg_temp.kept SELECT {names}
             FROM ops.source_keys k, jsonb_populate_record(NULL::{path}, k.key) s
             WHERE k.pipeline = $1 AND k.brand = $2 AND ($3 OR EXISTS (SELECT 1 FROM pg_temp.gone_keys))"
        );
        sqlx::query(Statement::new(kept).safe())
            .bind(&pipeline.0)
            .bind(&brand.0)
            .bind(self.complete)
            .execute(&mut *connection)
            .await
            .map_err(query)?;
        let analyze =
            "ANALYZE pg_temp.swept; ANALYZE pg_temp.kept; ANALYZE pg_temp.source_rows; ANALYZE pg_temp.read_keys";
        connection.execute(analyze).await.map_err(query)?;
        let swept = format!(
            "USING pg_temp.swept g WHERE {} AND NOT EXISTS (SELECT 1 FROM pg_temp.kept k WHERE {})",
            same("t", "g"),
            same("k", "t"),
        );
        let delete = table.remove(load_id, &swept);
        let deleted =
            sqlx::query(Statement::new(delete).safe()).execute(&mut *connection).await.map_err(query)?.rows_affected();
        if !self.complete {
            load.removed(deleted);
            return Ok(deleted);
        }
        // Rows of ours that were loaded before ids were kept; not while a refused
        // row may be one of them.
        let orphans = format!(
            "WHERE t.load_id IN (SELECT load_id FROM ops.loads WHERE pipeline = $1 AND brand = $2)
               AND NOT EXISTS (SELECT 1 FROM pg_temp.kept k WHERE {})
               AND NOT EXISTS (SELECT 1 FROM pg_temp.source_rows r
                               WHERE NOT EXISTS (SELECT 1 FROM pg_temp.read_keys k WHERE k.source_id = r.source_id))",
            same("k", "t"),
        );
        let orphans = sqlx::query(Statement::new(table.remove(load_id, &orphans)).safe())
            .bind(&pipeline.0)
            .bind(&brand.0)
            .execute(&mut *connection)
            .await
            .map_err(query)?
            .rows_affected();
        load.removed(deleted + orphans);
        Ok(deleted + orphans)
    }
}
