//! Figures of `ops.runs` and `ops.mail_outbox` for `/metrics`.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row as _};

/// What `/metrics` says of one pipeline of one brand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFigures {
    /// The pipeline.
    pub pipeline: String,
    /// The brand.
    pub brand: String,
    /// How its runs ended, or `running`.
    pub status: String,
    /// How many did.
    pub runs: i64,
    /// Rows they loaded.
    pub rows_loaded: i64,
    /// Rows they refused.
    pub rows_quarantined: i64,
    /// When the newest of them ended.
    pub last_finished_at: Option<DateTime<Utc>>,
}

/// Asks the database for nothing, to see whether it answers.
pub(super) async fn answers(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop)
}

/// Sums up all runs; nothing where the engine's tables are not there yet.
pub(super) async fn run_figures(pool: &PgPool) -> Result<Vec<RunFigures>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('ops.runs') IS NOT NULL").fetch_one(pool).await?;
    if !there {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT pipeline, brand, status, count(*) AS runs,
                coalesce(sum(rows_loaded), 0)::bigint AS rows_loaded,
                coalesce(sum(rows_quarantined), 0)::bigint AS rows_quarantined,
                max(finished_at) AS last_finished_at
         FROM ops.runs
         GROUP BY pipeline, brand, status
         ORDER BY pipeline, brand, status",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RunFigures {
                pipeline: row.try_get("pipeline")?,
                brand: row.try_get("brand")?,
                status: row.try_get("status")?,
                runs: row.try_get("runs")?,
                rows_loaded: row.try_get("rows_loaded")?,
                rows_quarantined: row.try_get("rows_quarantined")?,
                last_finished_at: row.try_get("last_finished_at")?,
            })
        })
        .collect()
}

/// Counts mails by how far they came: one that cannot be sent cannot tell of itself.
pub(super) async fn mail_figures(pool: &PgPool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('ops.mail_outbox') IS NOT NULL").fetch_one(pool).await?;
    if !there {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT state, count(*) FROM ops.mail_outbox GROUP BY state ORDER BY state").fetch_all(pool).await
}
