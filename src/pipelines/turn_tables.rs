//! Whose turn it is to run a pipeline, over all processes.

use sqlx::{Connection as _, PgConnection};

use super::error::Error;
use super::tables::failed;
use crate::ids::{BrandId, PipelineName};
use crate::warehouse::Warehouse;

/// The lock of a load within a turn.
fn load_key(turn: &str) -> String {
    format!("{turn} load")
}

/// One pipeline of one brand, held by this process alone. PostgreSQL lets go of
/// it when the process ends, however it ends; and when the connection does, which
/// the process may not notice: [`Turn::guard`] does.
#[derive(Debug)]
pub(super) struct Turn {
    connection: PgConnection,
    key: String,
    /// The server's process behind the connection.
    backend: i32,
    /// Whether another process had it.
    waited: bool,
}

impl Turn {
    /// Waits until no other process runs this pipeline, and marks what such a
    /// process left open as interrupted.
    pub(super) async fn take(warehouse: &Warehouse, pipeline: &PipelineName, brand: &BrandId) -> Result<Self, Error> {
        let query = failed("wait for the pipeline's turn");
        let mut connection = warehouse.pool().acquire().await.map_err(query)?.detach();
        let key = format!("storekeeper run {pipeline} {brand}");
        let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(&key)
            .fetch_one(&mut connection)
            .await
            .map_err(query)?;
        if !free {
            tracing::info!(%pipeline, %brand, "waiting: another process runs this pipeline");
            sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
                .bind(&key)
                .execute(&mut connection)
                .await
                .map_err(query)?;
        }
        // One that lost its turn in the middle of a load may still commit it: what is
        // new is looked up behind that.
        sqlx::query("SELECT pg_advisory_lock(k), pg_advisory_unlock(k) FROM hashtextextended($1, 0) AS k")
            .bind(load_key(&key))
            .execute(&mut connection)
            .await
            .map_err(query)?;
        let backend: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.map_err(query)?;
        sqlx::query(
            "UPDATE ops.runs SET status = 'interrupted', finished_at = started_at,
                    error = CASE WHEN starts_with(pipeline, 'export_')
                        THEN 'the process ended in the middle; the next export goes on from there'
                        ELSE 'the process ended in the middle; nothing was changed' END
             WHERE pipeline = $1 AND brand = $2 AND status = 'running'",
        )
        .bind(&pipeline.0)
        .bind(&brand.0)
        .execute(&mut connection)
        .await
        .map_err(query)?;
        Ok(Self { connection, key, backend, waited: !free })
    }

    /// What a run's report should say of the wait for its turn.
    pub(super) fn note(&self) -> Option<String> {
        self.waited.then(|| "waited for another process that was running this pipeline".to_owned())
    }

    /// Makes sure that the turn is still held, for as long as a load's transaction lasts:
    /// whoever takes it over waits for the transaction's end.
    pub(super) async fn guard(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let query = failed("make sure of the pipeline's turn");
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(load_key(&self.key))
            .execute(&mut *connection)
            .await
            .map_err(query)?;
        let held: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $2 AND objsubid = 1
             AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, 0))",
        )
        .bind(&self.key)
        .bind(self.backend)
        .fetch_one(connection)
        .await
        .map_err(query)?;
        if held { Ok(()) } else { Err(Error::TurnLost) }
    }

    /// Lets the next one in.
    pub(super) async fn give_back(mut self) {
        // The server lets go of a closed connection's locks only once it has noticed.
        let given = sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut self.connection).await;
        let closed = self.connection.close().await;
        if let Err(error) = given.and(closed) {
            // With the connection the turn is gone as well.
            tracing::warn!(%error, "the connection that held the pipeline's turn was lost");
        }
    }
}
