//! Commits, and finds out what became of a commit whose answer never came.

use std::time::Duration;

use sqlx::{Postgres, Transaction};
use tracing::warn;

use super::Warehouse;
use super::load::Error;

/// How long an answer is looked for, and how often.
const TRIES: u32 = 60;
const EVERY: Duration = Duration::from_secs(1);

/// Commits a transaction. Where the connection breaks before the server answers, the
/// server is asked on another what became of it: it keeps that for as long as the
/// transaction is recent (`pg_xact_status`, PostgreSQL manual, "Transaction ID and
/// Snapshot Information Functions").
///
/// # Errors
/// When it was not committed, or nobody can tell.
pub async fn commit(warehouse: &Warehouse, mut transaction: Transaction<'static, Postgres>) -> Result<(), Error> {
    let query = Error::query("commit the load");
    let id: String =
        sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(&mut *transaction).await.map_err(query)?;
    let Err(lost) = transaction.commit().await else { return Ok(()) };
    if matches!(lost, sqlx::Error::Database(_)) {
        // The server answered: no.
        return Err(query(lost));
    }
    warn!(error = %lost, "the answer to a commit was lost: asking what became of it");
    for _ in 0..TRIES {
        let status: Result<Option<String>, sqlx::Error> =
            sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)").bind(&id).fetch_one(warehouse.pool()).await;
        match status.as_ref().map(Option::as_deref) {
            Ok(Some("committed")) => return Ok(()),
            Ok(Some("aborted")) => return Err(query(lost)),
            // Still going on, or the server is away.
            _ => tokio::time::sleep(EVERY).await,
        }
    }
    Err(Error::Unknown(lost))
}
