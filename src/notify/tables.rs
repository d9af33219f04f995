//! `ops.mail_outbox`: every mail before, while and after it is sent.

use chrono::{DateTime, Utc};
use lettre::address::{Address, Envelope};
use sqlx::{PgPool, Row as _};

use super::error::Error;
use super::message::Message;
use super::outbox::State;

/// A mail that this process alone may send now.
pub(super) struct Claimed {
    pub(super) mail_id: i64,
    pub(super) message_id: String,
    pub(super) envelope: Option<Envelope>,
    pub(super) eml: Vec<u8>,
    pub(super) attempts: i32,
}

/// What is known of a mail with a given key.
pub(super) struct Known {
    pub(super) mail_id: i64,
    pub(super) message_id: String,
    pub(super) state: State,
    pub(super) eml_path: Option<String>,
    pub(super) html_path: Option<String>,
}

/// Queues a mail; answers nothing when one with its key is there already.
pub(super) async fn queue(pool: &PgPool, message: &Message, now: DateTime<Utc>) -> Result<Option<i64>, Error> {
    let recipients: Vec<String> = message.envelope.to().iter().map(ToString::to_string).collect();
    sqlx::query_scalar(
        "INSERT INTO ops.mail_outbox (idempotency_key, message_id, subject, sender, recipients, eml, queued_at, next_attempt_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT DO NOTHING
         RETURNING mail_id",
    )
    .bind(&message.key)
    .bind(&message.message_id)
    .bind(&message.subject)
    .bind(message.envelope.from().map_or_else(String::new, ToString::to_string))
    .bind(recipients)
    .bind(&message.eml)
    .bind(now)
    .fetch_optional(pool)
    .await
    .map_err(written)
}

/// Notes where a mail is kept.
pub(super) async fn note_files(pool: &PgPool, mail_id: i64, eml: &str, html: &str) -> Result<(), Error> {
    sqlx::query("UPDATE ops.mail_outbox SET eml_path = $2, html_path = $3 WHERE mail_id = $1")
        .bind(mail_id)
        .bind(eml)
        .bind(html)
        .execute(pool)
        .await
        .map(drop)
        .map_err(written)
}

/// Finds the mail with a key.
pub(super) async fn find(pool: &PgPool, key: &str) -> Result<Option<Known>, Error> {
    let row = sqlx::query(
        "SELECT mail_id, message_id, state, eml_path, html_path FROM ops.mail_outbox WHERE idempotency_key = $1",
    )
    .bind(key)
    .fetch_optional(pool)
    .await
    .map_err(read)?;
    row.map(|row| {
        Ok(Known {
            mail_id: row.try_get("mail_id")?,
            message_id: row.try_get("message_id")?,
            state: State::parse(row.try_get("state")?),
            eml_path: row.try_get("eml_path")?,
            html_path: row.try_get("html_path")?,
        })
    })
    .transpose()
    .map_err(read)
}

/// Claims one mail that is due: the given one, or the oldest. Two processes
/// that ask at once get two different mails, or one of them none.
pub(super) async fn claim(pool: &PgPool, mail_id: Option<i64>, now: DateTime<Utc>) -> Result<Option<Claimed>, Error> {
    let row = sqlx::query(
        "UPDATE ops.mail_outbox AS mail
         SET state = 'sending', attempts = attempts + 1, claimed_at = $2
         WHERE mail_id = (
             SELECT mail_id FROM ops.mail_outbox
             WHERE state = 'queued' AND next_attempt_at <= $2 AND ($1::bigint IS NULL OR mail_id = $1)
             ORDER BY mail_id
             LIMIT 1
             FOR UPDATE SKIP LOCKED
         )
         RETURNING mail_id, message_id, sender, recipients, eml, attempts",
    )
    .bind(mail_id)
    .bind(now)
    .fetch_optional(pool)
    .await
    .map_err(written)?;
    row.map(|row| {
        let sender: String = row.try_get("sender")?;
        let recipients: Vec<String> = row.try_get("recipients")?;
        Ok(Claimed {
            mail_id: row.try_get("mail_id")?,
            message_id: row.try_get("message_id")?,
            envelope: envelope(&sender, &recipients),
            eml: row.try_get("eml")?,
            attempts: row.try_get("attempts")?,
        })
    })
    .transpose()
    .map_err(read)
}

/// Ends or postpones an attempt of this process.
pub(super) async fn settle(
    pool: &PgPool,
    mail_id: i64,
    state: State,
    reason: Option<&str>,
    next_attempt_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE ops.mail_outbox
         SET state = $2, reason = $3, next_attempt_at = coalesce($4, next_attempt_at),
             finished_at = CASE WHEN $4 IS NULL THEN $5 END
         WHERE mail_id = $1 AND state = 'sending'",
    )
    .bind(mail_id)
    .bind(state.as_str())
    .bind(reason)
    .bind(next_attempt_at)
    .bind(now)
    .execute(pool)
    .await
    .map(drop)
    .map_err(written)
}

/// Gives up on mails whose process ended while it sent them: they may have left.
pub(super) async fn give_up_abandoned(
    pool: &PgPool,
    claimed_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    sqlx::query(
        "UPDATE ops.mail_outbox
         SET state = 'uncertain', finished_at = $2, reason = 'the process that sent it ended before an answer came'
         WHERE state = 'sending' AND claimed_at < $1",
    )
    .bind(claimed_before)
    .bind(now)
    .execute(pool)
    .await
    .map(|done| done.rows_affected())
    .map_err(written)
}

/// Counts the mails that wait for another attempt.
pub(super) async fn waiting(pool: &PgPool) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ops.mail_outbox WHERE state = 'queued'")
        .fetch_one(pool)
        .await
        .map_err(read)?;
    Ok(count.unsigned_abs())
}

fn envelope(sender: &str, recipients: &[String]) -> Option<Envelope> {
    let from: Option<Address> = if sender.is_empty() { None } else { Some(sender.parse().ok()?) };
    let to = recipients.iter().map(|text| text.parse().ok()).collect::<Option<Vec<Address>>>()?;
    Envelope::new(from, to).ok()
}

fn read(source: sqlx::Error) -> Error {
    Error::Outbox { action: "read", source }
}

fn written(source: sqlx::Error) -> Error {
    Error::Outbox { action: "write", source }
}
