//! The daemon's backups: on a schedule, made up for when missed, tried again when failed.
//!
//! What was made is read from the target, not remembered: a backup made by hand or by
//! another daemon counts, and a restart forgets nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tracing::{error, warn};

use super::Failure;
use crate::app::App;
use crate::backup::{self, State, Target, What};
use crate::ids::{BrandId, PipelineName};
use crate::scheduler::policy::{CatchUp, Overlap, Schedule, Scheduled};
use crate::telemetry::chain;
use crate::warehouse::databases;

/// How often it is asked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often the target is looked into without that.
const TARGET_EVERY: TimeDelta = TimeDelta::minutes(15);
/// When one that failed is tried again.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);

type Newest = BTreeMap<What, DateTime<Utc>>;

/// Makes backups when they are due, and tells when the newest were made, until it is told to stop.
pub(super) async fn keep(app: Arc<App>, newest: watch::Sender<Newest>, mut stopping: watch::Receiver<bool>) {
    if app.settings.backup.target.is_none() {
        return;
    }
    let target = match app.backup_target() {
        Ok(target) => target,
        Err(error) => return error!(error = %chain(&error), "backups are not set up"),
    };
    tokio::select! {
        // A backup that is broken off leaves nothing that counts, and may take hours.
        _ = stopping.wait_for(|stop| *stop) => {}
        () = keep_looking(&app, &target, &newest) => {}
    }
}

async fn keep_looking(app: &App, target: &Target, newest: &watch::Sender<Newest>) {
    let schedule = schedule(app);
    let (mut looked_at, mut not_before) = (None, BTreeMap::<What, DateTime<Utc>>::new());
    loop {
        let now = app.clock.now();
        if looked_at.is_none_or(|at| now - at >= TARGET_EVERY) {
            match look(app, target, newest).await {
                Ok(()) => looked_at = Some(now),
                Err(error) => warn!(error = %chain(&error), "target of backups was not read"),
            }
        }
        for what in databases(app) {
            let waits = not_before.get(&what).is_some_and(|until| now < *until);
            let last = newest.borrow().get(&what).copied();
            // Without a look nobody knows what is there.
            let Some(schedule) = schedule.as_ref().filter(|_| looked_at.is_some() && !waits) else { continue };
            if !is_due(schedule, last, now) {
                continue;
            }
            not_before.insert(what, now + AGAIN_AFTER);
            if let Err(failure) = make(app, target, newest, what, schedule).await {
                error!(%what, error = failure.message, hint = failure.hint, last_success_at = ?last, "backup failed");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn databases(app: &App) -> Vec<What> {
    let metabase = app.settings.backup.metabase_database_url.is_some();
    What::ALL.into_iter().filter(|what| *what == What::Warehouse || metabase).collect()
}

fn schedule(app: &App) -> Option<Schedule> {
    let cron = app.settings.backup.cron.clone()?;
    let scheduled = Scheduled {
        pipeline: PipelineName("backup".to_owned()),
        brand: BrandId("all".to_owned()),
        cron,
        time_zone: app.settings.backup.time_zone,
        overlap: Overlap::Skip,
        catch_up: CatchUp::Latest,
    };
    match Schedule::parse(&scheduled) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            error!(error = %chain(&error), "backups have no schedule");
            None
        }
    }
}

/// Whether an occurrence came since the newest backup; where there is none, one is due.
fn is_due(schedule: &Schedule, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    last.is_none_or(|last| schedule.next_after(last).is_some_and(|next| next <= now))
}

async fn look(app: &App, target: &Target, newest: &watch::Sender<Newest>) -> Result<(), backup::Error> {
    let mut found = Newest::new();
    for what in databases(app) {
        let listed = target.list(what).await?;
        let complete = listed.iter().filter(|one| one.state == State::Complete);
        if let Some(at) = complete.filter_map(|one| one.made_at).max() {
            found.insert(what, at);
        }
    }
    newest.send_replace(found);
    Ok(())
}

async fn make(
    app: &App,
    target: &Target,
    newest: &watch::Sender<Newest>,
    what: What,
    schedule: &Schedule,
) -> Result<(), Failure> {
    let located = app.located(what).await?;
    let turn = databases::take_turn(&located.endpoint).await.map_err(backup::Error::from)?;
    // Another daemon makes it.
    if turn.is_none() {
        return Ok(());
    }
    // Or has just made it.
    look(app, target, newest).await?;
    let last = newest.borrow().get(&what).copied();
    if !is_due(schedule, last, app.clock.now()) {
        return Ok(());
    }
    backup::create(target, &app.settings.backup, what, &located.endpoint, app.clock.now()).await?;
    look(app, target, newest).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_backup_is_due_until_one_is_made() {
        let scheduled = Scheduled {
            pipeline: PipelineName("backup".to_owned()),
            brand: BrandId("all".to_owned()),
            cron: "30 2 * * *".to_owned(),
            time_zone: chrono_tz::Tz::UTC,
            overlap: Overlap::Skip,
            catch_up: CatchUp::Latest,
        };
        let schedule = Schedule::parse(&scheduled).unwrap();
        let at = |moment: &str| moment.parse::<DateTime<Utc>>().unwrap();
        let last = Some(at("2026-03-01T02:30:05Z"));
        assert!(!is_due(&schedule, last, at("2026-03-02T02:29:59Z")));
        assert!(is_due(&schedule, last, at("2026-03-02T02:30:00Z")));
        assert!(is_due(&schedule, last, at("2026-03-05T11:00:00Z")));
        assert!(!is_due(&schedule, Some(at("2026-03-05T11:00:00Z")), at("2026-03-05T11:00:30Z")));
        assert!(is_due(&schedule, None, at("2026-03-05T11:00:00Z")));
    }
}
