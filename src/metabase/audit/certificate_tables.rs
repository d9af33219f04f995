//! Which certificates were made, in `ops.certificates`.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::certificate::Certificate;
use super::files::Kept;
use crate::warehouse::Warehouse;

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub certificate_id: i64,
}

/// What was made and told before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Previous {
    /// When the newest certificate was made.
    pub made_at: Option<DateTime<Utc>>,
    /// The newest outcome that was mailed, and the number of its certificate.
    pub mailed: Option<(i64, String)>,
}

/// Reads what was made and told before of an instance.
///
/// # Errors
/// When the table cannot be read.
pub async fn previous(warehouse: &Warehouse, instance: &str) -> Result<Previous, sqlx::Error> {
    let made_at = sqlx::query_scalar("SELECT max(made_at) FROM ops.certificates WHERE instance = $1")
        .bind(instance)
        .fetch_one(warehouse.pool())
        .await?;
    let mailed = sqlx::query(
        "SELECT certificate_id, outcome_hash FROM ops.certificates
         WHERE instance = $1 AND mailed_at IS NOT NULL ORDER BY certificate_id DESC LIMIT 1",
    )
    .bind(instance)
    .fetch_optional(warehouse.pool())
    .await?;
    let mailed = match mailed {
        Some(row) => Some((row.try_get(0)?, row.try_get(1)?)),
        None => None,
    };
    Ok(Previous { made_at, mailed })
}

/// Notes a certificate that was kept.
///
/// # Errors
/// When the table cannot be written.
pub async fn note(
    warehouse: &Warehouse,
    instance: &str,
    occasion: &str,
    certificate: &Certificate,
    kept: &Kept,
) -> Result<Issue, sqlx::Error> {
    let certificate_id = sqlx::query_scalar(
        "INSERT INTO ops.certificates (instance, made_at, occasion, metabase, storekeeper, people, checks, leaks,
            failures, seconds, complete, outcome, outcome_hash, json_path, html_path, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) RETURNING certificate_id",
    )
    .bind(instance)
    .bind(certificate.made_at)
    .bind(occasion)
    .bind(&certificate.instance.release)
    .bind(&certificate.storekeeper)
    .bind(certificate.people.len() as i64)
    .bind(certificate.checks as i64)
    .bind(certificate.leaks.len() as i64)
    .bind(certificate.failures.len() as i64)
    .bind(certificate.seconds)
    .bind(certificate.coverage.full)
    .bind(&certificate.outcome)
    .bind(&certificate.outcome_hash)
    .bind(kept.json.to_string_lossy())
    .bind(kept.html.to_string_lossy())
    .bind(&kept.sha256)
    .fetch_one(warehouse.pool())
    .await?;
    Ok(Issue { certificate_id })
}

impl Issue {
    /// Notes that its outcome was mailed.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn mailed(&self, warehouse: &Warehouse, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE ops.certificates SET mailed_at = $2 WHERE certificate_id = $1")
            .bind(self.certificate_id)
            .bind(now)
            .execute(warehouse.pool())
            .await?;
        Ok(())
    }
}
