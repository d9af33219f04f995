//! The daemon's audits: on a schedule, made up for when missed.
//!
//! When the last one was made is read from the list of certificates, so that one made by
//! hand or after an apply counts, and a restart forgets nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::Failure;
use super::audit::{Occasion, extent, prove, tell_unmade};
use super::metabase::Opened;
use crate::app::App;
use crate::ids::{BrandId, PipelineName};
use crate::metabase;
use crate::scheduler::policy::{CatchUp, Overlap, Schedule, Scheduled};
use crate::telemetry::chain;
use crate::warehouse::{Warehouse, duties};

/// How often it is asked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// When one that failed is tried again.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Starts the audits, on a thread of their own: what they wait for stays on one thread.
pub(super) fn start(app: Arc<App>, warehouse: Warehouse, stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(keep(app, warehouse, stopping)))
}

/// Audits when it is due, until it is told to stop.
async fn keep(app: Arc<App>, warehouse: Warehouse, mut stopping: watch::Receiver<bool>) {
    let (Some(settings), Some(schedule)) = (&app.settings.metabase, schedule(&app)) else { return };
    let instance = settings.url.trim_end_matches('/').to_owned();
    tokio::select! {
        // Broken off, an audit leaves keys that the next one removes.
        _ = stopping.wait_for(|stop| *stop) => {}
        () = keep_looking(&app, &warehouse, &instance, &schedule) => {}
    }
}

async fn keep_looking(app: &App, warehouse: &Warehouse, instance: &str, schedule: &Schedule) {
    // Nothing is made up for that was due before the first start.
    let started = app.clock.now();
    let mut not_before = None;
    loop {
        let now = app.clock.now();
        if not_before.is_none_or(|until| now >= until) {
            match metabase::previous_certificate(warehouse, instance).await {
                Ok(previous) if is_due(schedule, previous.made_at.unwrap_or(started), now) => {
                    not_before = Some(now + AGAIN_AFTER);
                    if let Err(failure) = make(app).await {
                        error!(error = failure.message, hint = failure.hint, "scheduled audit failed");
                        if let Err(error) = tell_unmade(app, warehouse, &failure).await {
                            warn!(error = %chain(&error), "failure of the audit was not mailed");
                        }
                    }
                }
                Ok(_) => {}
                Err(error) => warn!(error = %chain(&error), "list of certificates was not read"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether an occurrence came since the last one was made.
fn is_due(schedule: &Schedule, last: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    schedule.next_after(last).is_some_and(|next| next <= now)
}

async fn make(app: &App) -> Result<(), Failure> {
    let opened = Opened::new(app).await?;
    if !duties::may_own(&opened.warehouse).await.map_err(|error| Failure::new(&error, None))? {
        // A loader knows nobody's grants.
        warn!("the audit is left to the owner: run `storekeeper audit` with a `database.url` of the owner");
        opened.close().await;
        return Ok(());
    }
    let outcome = prove(&opened, &extent(app), Occasion::Schedule, None, true).await;
    opened.close().await;
    let proven = outcome?;
    let (leaks, checks) = (proven.audit.leaks.len(), proven.audit.checks);
    info!(checks, leaks, certificate = %proven.kept.json.display(), "made the scheduled certificate");
    Ok(())
}

fn schedule(app: &App) -> Option<Schedule> {
    let cron = app.settings.audit.cron.clone().filter(|cron| !cron.is_empty())?;
    let scheduled = Scheduled {
        pipeline: PipelineName("audit".to_owned()),
        brand: BrandId("all".to_owned()),
        cron,
        time_zone: app.settings.audit.time_zone,
        overlap: Overlap::Skip,
        catch_up: CatchUp::Latest,
    };
    match Schedule::parse(&scheduled) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            error!(error = %chain(&error), "audits have no schedule");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_that_was_missed_is_due_until_one_is_made() {
        let scheduled = Scheduled {
            pipeline: PipelineName("audit".to_owned()),
            brand: BrandId("all".to_owned()),
            cron: "30 6 * * *".to_owned(),
            time_zone: chrono_tz::Tz::UTC,
            overlap: Overlap::Skip,
            catch_up: CatchUp::Latest,
        };
        let schedule = Schedule::parse(&scheduled).unwrap();
        let at = |moment: &str| moment.parse::<DateTime<Utc>>().unwrap();
        let last = at("2026-03-01T06:31:00Z");
        assert!(!is_due(&schedule, last, at("2026-03-02T06:29:59Z")));
        assert!(is_due(&schedule, last, at("2026-03-02T06:30:00Z")));
        assert!(is_due(&schedule, last, at("2026-03-05T11:00:00Z")));
        assert!(!is_due(&schedule, at("2026-03-05T11:00:00Z"), at("2026-03-05T11:00:30Z")));
    }
}
