//! `ops.schedules` and `ops.schedule_occurrences`: the scheduler's memory.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, Row as _, Transaction};

use super::error::Error;
use super::policy::{Action, Decision, Memory, Scheduled};
use crate::pipelines::{RunReport, Status, Trigger};

/// An occurrence that this daemon starts.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) occurrence_id: i64,
    pub(super) trigger: Trigger,
}

/// What stands open for one schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) memory: Memory,
    /// Runs whose daemon has not been heard of.
    pub(super) lost: u64,
}

/// Makes the ledger know exactly these schedules. One that is new, or whose
/// times changed, counts from now.
pub(super) async fn register(pool: &PgPool, schedules: &[Scheduled], now: DateTime<Utc>) -> Result<(), Error> {
    let column = |of: fn(&Scheduled) -> String| schedules.iter().map(of).collect::<Vec<String>>();
    let pipelines = column(|scheduled| scheduled.pipeline.to_string());
    let brands = column(|scheduled| scheduled.brand.to_string());
    let crons = column(|scheduled| scheduled.cron.clone());
    let zones = column(|scheduled| scheduled.time_zone.name().to_owned());
    let mut transaction = pool.begin().await.map_err(written)?;
    sqlx::query(
        "DELETE FROM ops.schedules AS known
         WHERE NOT EXISTS (
             SELECT FROM unnest($1::text[], $2::text[]) AS given (pipeline, brand)
             WHERE (given.pipeline, given.brand) = (known.pipeline, known.brand)
         )",
    )
    .bind(&pipelines)
    .bind(&brands)
    .execute(&mut *transaction)
    .await
    .map_err(written)?;
    sqlx::query(
        "INSERT INTO ops.schedules AS known (pipeline, brand, cron, time_zone, since_at)
         SELECT pipeline, brand, cron, time_zone, $5
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS given (pipeline, brand, cron, time_zone)
         ORDER BY pipeline, brand
         ON CONFLICT (pipeline, brand) DO UPDATE
         SET cron = EXCLUDED.cron, time_zone = EXCLUDED.time_zone, since_at = EXCLUDED.since_at
         WHERE (known.cron, known.time_zone) IS DISTINCT FROM (EXCLUDED.cron, EXCLUDED.time_zone)",
    )
    .bind(&pipelines)
    .bind(&brands)
    .bind(&crons)
    .bind(&zones)
    .bind(now)
    .execute(&mut *transaction)
    .await
    .map_err(written)?;
    transaction.commit().await.map_err(written)
}

/// Reads what is remembered of a schedule; nothing if the ledger does not know it.
pub(super) async fn open(
    pool: &PgPool,
    scheduled: &Scheduled,
    lost_before: DateTime<Utc>,
) -> Result<Option<Open>, Error> {
    let mut connection = pool.acquire().await.map_err(read)?;
    remembered(&mut connection, scheduled, lost_before).await
}

/// Locks a schedule, so that one daemon at a time decides it, and reads what is remembered.
pub(super) async fn lock(
    pool: &PgPool,
    scheduled: &Scheduled,
    lost_before: DateTime<Utc>,
) -> Result<Option<(Transaction<'static, Postgres>, Open)>, Error> {
    let mut transaction = pool.begin().await.map_err(written)?;
    sqlx::query("SELECT FROM ops.schedules WHERE pipeline = $1 AND brand = $2 FOR UPDATE")
        .bind(&scheduled.pipeline.0)
        .bind(&scheduled.brand.0)
        .execute(&mut *transaction)
        .await
        .map_err(written)?;
    // A statement of its own: it sees what the daemon before us committed.
    let open = remembered(&mut transaction, scheduled, lost_before).await?;
    Ok(open.map(|open| (transaction, open)))
}

/// Reads what is remembered of a schedule, on a connection that may hold its lock.
pub(super) async fn remembered(
    connection: &mut PgConnection,
    scheduled: &Scheduled,
    lost_before: DateTime<Utc>,
) -> Result<Option<Open>, Error> {
    let row = sqlx::query(
        "SELECT greatest(since_at, (
                    SELECT max(due_at) FROM ops.schedule_occurrences AS occurrence
                    WHERE (occurrence.pipeline, occurrence.brand) = (schedule.pipeline, schedule.brand)
                )) AS decided_until,
                standing.*
         FROM ops.schedules AS schedule,
         LATERAL (
             SELECT count(*) FILTER (WHERE decision = 'waiting') AS waiting,
                    count(*) FILTER (WHERE decision = 'started' AND seen_at >= $3) AS running,
                    count(*) FILTER (WHERE decision = 'started' AND seen_at < $3) AS lost
             FROM ops.schedule_occurrences AS occurrence
             WHERE (occurrence.pipeline, occurrence.brand) = (schedule.pipeline, schedule.brand)
               AND (decision = 'waiting' OR (decision = 'started' AND finished_at IS NULL))
         ) AS standing
         WHERE schedule.pipeline = $1 AND schedule.brand = $2",
    )
    .bind(&scheduled.pipeline.0)
    .bind(&scheduled.brand.0)
    .bind(lost_before)
    .fetch_optional(connection)
    .await
    .map_err(read)?;
    let parse = |row: PgRow| {
        let count = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
        let memory = Memory {
            decided_until: row.try_get("decided_until")?,
            running: count("running")? > 0,
            waiting: count("waiting")?,
        };
        Ok(Open { memory, lost: count("lost")? })
    };
    row.map(parse).transpose().map_err(read)
}

/// Ends runs whose daemon has not been heard of; with `again`, they wait for
/// another try, at most `attempts` in all.
pub(super) async fn end_lost(
    connection: &mut PgConnection,
    scheduled: &Scheduled,
    lost_before: DateTime<Utc>,
    again: bool,
    attempts: i32,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    sqlx::query(
        "UPDATE ops.schedule_occurrences
         SET decision = CASE WHEN $4 AND attempts < $5 THEN 'waiting' ELSE decision END,
             finished_at = CASE WHEN $4 AND attempts < $5 THEN NULL ELSE $6 END,
             status = CASE WHEN $4 AND attempts < $5 THEN NULL ELSE 'interrupted' END,
             reason = 'its daemon ended in the middle'
         WHERE pipeline = $1 AND brand = $2 AND decision = 'started' AND finished_at IS NULL AND seen_at < $3",
    )
    .bind(&scheduled.pipeline.0)
    .bind(&scheduled.brand.0)
    .bind(lost_before)
    .bind(again)
    .bind(attempts)
    .bind(now)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
    .map_err(written)
}

/// Writes a decision down; answers the occurrence if it is this daemon's to start.
pub(super) async fn record(
    connection: &mut PgConnection,
    scheduled: &Scheduled,
    decision: Decision,
    daemon: &str,
    now: DateTime<Utc>,
) -> Result<Option<Started>, Error> {
    let (word, trigger, reason) = match decision.action {
        Action::Start(trigger) => ("started", trigger, None),
        Action::Wait(trigger) => ("waiting", trigger, None),
        Action::Skip(reason) => ("skipped", Trigger::Schedule, Some(reason.to_string())),
    };
    let starts = word == "started";
    let occurrence_id: Option<i64> = sqlx::query_scalar(
        "INSERT INTO ops.schedule_occurrences
             (pipeline, brand, due_at, trigger, decision, reason, decided_at, daemon, seen_at, started_at, attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7,
             CASE WHEN $9 THEN $8 END, CASE WHEN $9 THEN $7 END, CASE WHEN $9 THEN $7 END, CASE WHEN $9 THEN 1 ELSE 0 END)
         ON CONFLICT (pipeline, brand, due_at) DO NOTHING
         RETURNING occurrence_id",
    )
    .bind(&scheduled.pipeline.0)
    .bind(&scheduled.brand.0)
    .bind(decision.due_at)
    .bind(trigger_word(trigger))
    .bind(word)
    .bind(reason)
    .bind(now)
    .bind(daemon)
    .bind(starts)
    .fetch_optional(connection)
    .await
    .map_err(written)?;
    Ok(occurrence_id.filter(|_| starts).map(|occurrence_id| Started { occurrence_id, trigger }))
}

/// Starts the oldest occurrence that waits.
pub(super) async fn start_waiting(
    connection: &mut PgConnection,
    scheduled: &Scheduled,
    daemon: &str,
    now: DateTime<Utc>,
) -> Result<Option<Started>, Error> {
    let row = sqlx::query(
        "UPDATE ops.schedule_occurrences
         SET decision = 'started', reason = NULL, daemon = $3, seen_at = $4, started_at = $4, attempts = attempts + 1
         WHERE occurrence_id = (
             SELECT occurrence_id FROM ops.schedule_occurrences
             WHERE pipeline = $1 AND brand = $2 AND decision = 'waiting'
             ORDER BY due_at
             LIMIT 1
         )
         RETURNING occurrence_id, trigger",
    )
    .bind(&scheduled.pipeline.0)
    .bind(&scheduled.brand.0)
    .bind(daemon)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(written)?;
    row.map(|row| {
        let trigger: &str = row.try_get("trigger")?;
        let trigger = if trigger == "catch_up" { Trigger::CatchUp } else { Trigger::Schedule };
        Ok(Started { occurrence_id: row.try_get("occurrence_id")?, trigger })
    })
    .transpose()
    .map_err(read)
}

/// Says that this daemon still runs these occurrences.
pub(super) async fn beat(pool: &PgPool, occurrence_ids: &[i64], daemon: &str, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "UPDATE ops.schedule_occurrences SET seen_at = $3
         WHERE occurrence_id = ANY($1) AND daemon = $2 AND decision = 'started' AND finished_at IS NULL",
    )
    .bind(occurrence_ids)
    .bind(daemon)
    .bind(now)
    .execute(pool)
    .await
    .map(drop)
    .map_err(written)
}

/// Writes down how a run ended; `None` is a run that fell over.
pub(super) async fn finish(
    pool: &PgPool,
    occurrence_id: i64,
    daemon: &str,
    report: Option<&RunReport>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let status = report.map_or("failed", |report| status_word(report));
    sqlx::query(
        "UPDATE ops.schedule_occurrences
         SET finished_at = $3, run_id = $4, status = $5, reason = $6
         WHERE occurrence_id = $1 AND daemon = $2 AND decision = 'started' AND finished_at IS NULL",
    )
    .bind(occurrence_id)
    .bind(daemon)
    .bind(now)
    .bind(report.map(|report| report.run_id.0))
    .bind(status)
    .bind(report.is_none().then_some("the run fell over"))
    .execute(pool)
    .await
    .map(drop)
    .map_err(written)
}

fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::CatchUp => "catch_up",
        _ => "schedule",
    }
}

fn status_word(report: &RunReport) -> &'static str {
    match report.status {
        Status::Succeeded => "succeeded",
        Status::Partial => "partial",
        Status::NothingNew => "nothing_new",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted",
    }
}

fn read(source: sqlx::Error) -> Error {
    Error::Ledger { action: "read", source }
}

fn written(source: sqlx::Error) -> Error {
    Error::Ledger { action: "write", source }
}
