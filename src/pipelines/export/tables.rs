//! What was exported, kept in PostgreSQL; and the query that says what to export.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::{Connection as _, PgConnection, Postgres, Row as _, Transaction};

use super::changes::{Refused, Sent};
use crate::ids::{BrandId, PipelineName, RunId};
use crate::pipelines::error::Error;
use crate::warehouse::{Ident, Statement, Warehouse};

fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> Error + Copy {
    move |source| Error::Ledger { action, source }
}

/// A transaction that cannot write and sees one moment, whatever is loaded meanwhile.
pub(super) struct Reader {
    transaction: Transaction<'static, Postgres>,
    pipeline: PipelineName,
}

impl Reader {
    pub(super) async fn open(warehouse: &Warehouse, pipeline: &PipelineName, brand: &BrandId) -> Result<Self, Error> {
        let query = failed("begin to read what to export");
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        let path = format!("SET LOCAL search_path = {}", Ident::known(&brand.schema()));
        for statement in ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned(), path] {
            sqlx::query(Statement::new(statement).safe()).execute(&mut *transaction).await.map_err(query)?;
        }
        Ok(Self { transaction, pipeline: pipeline.clone() })
    }

    /// The rows of a definition's query as JSON objects, one by one.
    pub(super) fn rows(&mut self, sql: &str) -> BoxStream<'_, Result<String, Error>> {
        let statement = Statement::new(format!("SELECT row_to_json(q)::text AS line FROM (\n{sql}\n) AS q"));
        let pipeline = self.pipeline.clone();
        sqlx::query(statement.safe())
            .fetch(&mut *self.transaction)
            .map(|row| row.and_then(|row| row.try_get("line")))
            .map_err(move |source| Error::ExportQuery { pipeline: pipeline.clone(), source })
            .boxed()
    }
}

/// Which rows of which table are meant.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) organization_id: String,
    pub(super) entity_set: String,
    pub(super) pipeline: PipelineName,
    pub(super) brand: BrandId,
}

/// The memory of one place, for the length of one export.
pub(super) struct Book {
    connection: PgConnection,
    place: Place,
}

macro_rules! at_place {
    ($sql:expr, $place:expr) => {
        sqlx::query($sql)
            .bind(&$place.organization_id)
            .bind(&$place.entity_set)
            .bind(&$place.pipeline.0)
            .bind(&$place.brand.0)
    };
}

impl Book {
    pub(super) async fn open(warehouse: &Warehouse, place: Place) -> Result<Self, Error> {
        let query = failed("open the book of exports");
        let mut connection = warehouse.pool().acquire().await.map_err(query)?.detach();
        sqlx::query("CREATE TEMPORARY TABLE seen (row_key text PRIMARY KEY)")
            .execute(&mut connection)
            .await
            .map_err(query)?;
        Ok(Self { connection, place })
    }

    /// Notes keys of the query; answers with those that were not there before.
    pub(super) async fn fresh(&mut self, keys: &[String]) -> Result<HashSet<String>, Error> {
        let fresh: Vec<String> = sqlx::query_scalar(
            "INSERT INTO seen SELECT DISTINCT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING row_key",
        )
        .bind(keys)
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("note the keys to export"))?;
        Ok(fresh.into_iter().collect())
    }

    /// Looks up what was sent last for some keys.
    pub(super) async fn known(&mut self, keys: &[String]) -> Result<HashMap<String, String>, Error> {
        let rows = at_place!(
            "SELECT row_key, body_hash FROM ops.exported
             WHERE organization_id = $1 AND entity_set = $2 AND pipeline = $3 AND brand = $4 AND row_key = ANY ($5)",
            self.place
        )
        .bind(keys)
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("look up what was exported"))?;
        Ok(rows.iter().map(|row| (row.get("row_key"), row.get("body_hash"))).collect())
    }

    /// Keys that were exported and are not selected any more, in order, behind one of them.
    pub(super) async fn vanished(&mut self, behind: &str, most: usize) -> Result<Vec<String>, Error> {
        let rows = at_place!(
            "SELECT row_key FROM ops.exported e
             WHERE organization_id = $1 AND entity_set = $2 AND pipeline = $3 AND brand = $4
               AND row_key COLLATE \"C\" > $5 AND NOT EXISTS (SELECT FROM seen s WHERE s.row_key = e.row_key)
             ORDER BY row_key COLLATE \"C\" LIMIT $6",
            self.place
        )
        .bind(behind)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("look for rows that are to be deleted"))?;
        Ok(rows.iter().map(|row| row.get("row_key")).collect())
    }

    /// Keeps what became of some rows: all of it, or nothing.
    pub(super) async fn keep(
        &mut self,
        run_id: RunId,
        now: DateTime<Utc>,
        sent: &[Sent],
        refused: &[Refused],
        deleted: &[String],
    ) -> Result<(), Error> {
        let query = failed("note what was exported");
        let place = &self.place;
        let mut transaction = self.connection.begin().await.map_err(query)?;
        let keys: Vec<&str> = sent.iter().map(|sent| sent.key.as_str()).collect();
        let hashes: Vec<&str> = sent.iter().map(|sent| sent.hash.as_str()).collect();
        at_place!(
            "INSERT INTO ops.exported
             SELECT $1, $2, $3, $4, row_key, body_hash, $7, $8 FROM unnest($5::text[], $6::text[]) AS s(row_key, body_hash)
             ON CONFLICT (organization_id, entity_set, pipeline, brand, row_key) DO UPDATE
             SET body_hash = EXCLUDED.body_hash, run_id = EXCLUDED.run_id, exported_at = EXCLUDED.exported_at",
            place
        )
        .bind(&keys)
        .bind(&hashes)
        .bind(run_id.0)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(query)?;
        let column = |of: fn(&Refused) -> &str| refused.iter().map(of).collect::<Vec<_>>();
        let numbers: Vec<i64> =
            refused.iter().map(|refused| i64::try_from(refused.number).unwrap_or(i64::MAX)).collect();
        at_place!(
            "INSERT INTO ops.export_rejects
             SELECT $1, $2, $3, $4, row_key, $9, source_row, code, reason, $10
             FROM unnest($5::text[], $6::bigint[], $7::text[], $8::text[]) AS r(row_key, source_row, code, reason)
             ON CONFLICT (organization_id, entity_set, pipeline, brand, row_key) DO UPDATE
             SET run_id = EXCLUDED.run_id, source_row = EXCLUDED.source_row, code = EXCLUDED.code,
                 reason = EXCLUDED.reason, rejected_at = EXCLUDED.rejected_at",
            place
        )
        .bind(column(|refused| &refused.key))
        .bind(&numbers)
        .bind(column(|refused| &refused.reason.code))
        .bind(column(|refused| &refused.reason.message))
        .bind(run_id.0)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(query)?;
        at_place!(
            "DELETE FROM ops.exported
             WHERE organization_id = $1 AND entity_set = $2 AND pipeline = $3 AND brand = $4 AND row_key = ANY ($5)",
            place
        )
        .bind(deleted)
        .execute(&mut *transaction)
        .await
        .map_err(query)?;
        transaction.commit().await.map_err(query)
    }

    /// Forgets refusals of earlier runs: this one tried those rows again, or they are gone.
    pub(super) async fn forget_rejects(&mut self, run_id: RunId) -> Result<(), Error> {
        at_place!(
            "DELETE FROM ops.export_rejects
             WHERE organization_id = $1 AND entity_set = $2 AND pipeline = $3 AND brand = $4 AND run_id <> $5",
            self.place
        )
        .bind(run_id.0)
        .execute(&mut self.connection)
        .await
        .map_err(failed("forget earlier refusals"))?;
        Ok(())
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        self.connection.close().await.map_err(failed("close the book of exports"))
    }
}

/// Lists rows that could not be exported, latest first. Keys are left out: they may be personal.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn list_rejects(warehouse: &Warehouse, limit: i64) -> Result<Vec<serde_json::Value>, Error> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('run_id', run_id, 'pipeline', pipeline, 'brand', brand, 'entity_set', entity_set,
                                   'row', source_row, 'code', code, 'reason', reason)
         FROM ops.export_rejects ORDER BY run_id DESC, source_row LIMIT $1",
    )
    .bind(limit)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("list what could not be exported"))
}
