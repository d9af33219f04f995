//! `serve`: the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use super::export::export_after;
use super::making::{MadeSoFar, Making, make_stale_again};
use super::run::follow_up;
use super::schedules::schedules;
use super::{Exit, Failure, serve_audit, serve_backup, serve_events};
use crate::app::App;
use crate::ids::BrandId;
use crate::notify::{self, Summary};
use crate::ops;
use crate::pipelines::{Engine, Error, Follows, Order, Pipeline, RunReport, Status};
use crate::scheduler;
use crate::telemetry::chain;
use crate::warehouse::{Warehouse, duties, migrate, migration_status};

#[derive(Debug, Args)]
pub(super) struct Command {}

/// How often the outbox is looked into.
const OUTBOX_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) async fn run(app: &App, _command: &Command) -> Result<Exit, Failure> {
    let app = Arc::new(App { settings: app.settings.clone(), clock: app.clock, definitions: app.definitions.clone() });
    let pipelines = Arc::new(app.pipelines().await?);
    let owner = app.warehouse().await?;
    prepare(&app, &owner).await?;
    // The daemon loads; the private server stays, since the second joins it before the first leaves.
    let warehouse = app.warehouse_to_load().await?;
    owner.close().await;
    drop(owner);
    let listen = app.settings.ops.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::usage(format!("failed to listen on `{listen}`: {error}"), Some("change `ops.listen`"))
    })?;
    let (stop, stopping) = watch::channel(false);
    let (ticked, ticks) = watch::channel(None);
    let enabled = app.settings.scheduler.enabled;
    if enabled {
        // An undo may have ended before what it left stale was made again.
        make_stale_again(&app, &app.engine(&warehouse)?, &pipelines).await?;
    }
    let (backed_up, backups) = watch::channel(BTreeMap::new());
    let state =
        ops::State { warehouse: warehouse.clone(), clock: app.clock, ticked: enabled.then_some(ticks), backups };
    let face = tokio::spawn(ops::serve(listener, state, stopping.clone()));
    let outbox = tokio::spawn(keep_sending(app.clone(), warehouse.clone(), stopping.clone()));
    let backups = tokio::spawn(serve_backup::keep(app.clone(), backed_up, stopping.clone()));
    let audits = serve_audit::start(app.clone(), warehouse.clone(), stopping.clone());
    let loaded = Arc::new(Notify::new());
    let events =
        serve_events::keep(app.clone(), pipelines.clone(), warehouse.clone(), loaded.clone(), stopping.clone());
    let events = tokio::spawn(events);
    let upkeep = super::upkeep::daily(app.clone(), pipelines.clone(), warehouse.clone(), stopping.clone());
    let upkeep = tokio::spawn(upkeep);
    let scheduler = if enabled {
        let engine = app.engine(&warehouse)?;
        let app_of_runs = app.clone();
        let schedules = schedules(&app, &pipelines);
        info!(schedules = schedules.len(), "started scheduler");
        let starter = move |name, brand, trigger| {
            let (engine, pipelines) = (engine.clone(), pipelines.clone());
            let (app, loaded) = (app_of_runs.clone(), loaded.clone());
            async move {
                let pipeline = pipelines
                    .iter()
                    .find(|pipeline: &&Pipeline| pipeline.name == name)
                    .expect("schedules were made from these pipelines");
                let order = Order { trigger, file: None, full: false };
                let report = match engine.run(pipeline, &brand, &order).await {
                    Ok(report) => report,
                    Err(failure) => {
                        error!(%name, %brand, error = %chain(&failure), "run could not be noted");
                        RunReport::not_started(&name, &brand, trigger, app.clock.now(), chain(&failure), failure.hint())
                    }
                };
                after(&app, &engine, &pipelines, pipeline, &report).await;
                if report.status.has_loaded() {
                    loaded.notify_one();
                }
                report
            }
        };
        Some(tokio::spawn(scheduler::run(warehouse.clone(), schedules, app.clock, starter, ticked, stopping)))
    } else {
        None
    };
    until_told().await;
    info!("stopping");
    // Receivers that are gone have stopped already.
    let _gone = stop.send(true);
    if let Some(scheduler) = scheduler {
        scheduler.await.map_err(|error| Failure::new(&error, None))??;
    }
    backups.await.map_err(|error| Failure::new(&error, None))?;
    audits.await.map_err(|error| Failure::new(&error, None))?;
    events.await.map_err(|error| Failure::new(&error, None))?;
    upkeep.await.map_err(|error| Failure::new(&error, None))?;
    outbox.await.map_err(|error| Failure::new(&error, None))?;
    face.await.map_err(|error| Failure::new(&error, None))?.map_err(|error| Failure::new(&error, None))?;
    warehouse.close().await;
    info!("stopped");
    Ok(Exit::Done)
}

/// Brings schemas, views and walls up to date, or makes sure that the owner did.
async fn prepare(app: &App, warehouse: &Warehouse) -> Result<(), Failure> {
    if duties::may_own(warehouse).await.map_err(|error| Failure::new(&error, None))? {
        migrate(warehouse, &app.definitions).await?;
        bring_up_to_date(app, warehouse).await;
        return Ok(());
    }
    let migrations = migration_status(warehouse, &app.definitions).await?;
    if migrations.iter().any(|migration| !migration.applied) {
        let message = "the database's schemas are older than this program, and this user may not change them";
        return Err(Failure::usage(message, Some("run `storekeeper db migrate` with a `database.url` of the owner")));
    }
    Ok(())
}

/// What follows a scheduled run: fresh forecasts and hours of work, views and walls, and a mail
/// about what came of it.
async fn after(app: &App, engine: &Engine, pipelines: &[Pipeline], pipeline: &Pipeline, report: &RunReport) {
    let warehouse = engine.warehouse();
    let mut reports = vec![report.clone()];
    let loaded = report.status.has_loaded();
    if report.status.is_fine() || loaded {
        reports.extend(exported(app, engine, pipeline, report, Follows::Load).await);
    }
    if loaded && reads_views(pipeline) {
        bring_up_to_date(app, warehouse).await;
    }
    let making = Making { app, engine, pipelines, trigger: report.trigger };
    let mut made = MadeSoFar::default();
    let due = loaded || report.status.is_fine() && is_behind(engine, pipelines, pipeline, &report.brand).await;
    if due && let Err(failure) = make(&making, pipeline, &report.brand, &mut made).await {
        error!(error = %chain(&failure), "forecasts or hours of work could not be noted");
    } else if report.status.is_fine() && !loaded {
        // Also when nothing is new: an earlier export may have ended in the middle.
        for step in [Follows::Forecast, Follows::Staffing] {
            reports.extend(exported(app, engine, pipeline, report, step).await);
        }
    }
    reports.extend(made.runs);
    reports.retain(|report| report.status != Status::NothingNew);
    if reports.is_empty() {
        return;
    }
    if due {
        bring_up_to_date(app, warehouse).await;
    }
    let owner = pipeline.definition.owner.as_deref().filter(|_| !report.status.is_fine());
    let summary = Summary::new(reports);
    let sent = match app.mailer_also_to(owner) {
        Ok(mailer) => notify::send_summary_through(warehouse, &mailer, &summary, app.clock.now()).await.map(drop),
        Err(error) => return error!(error = %chain(&error), "mail is not set up"),
    };
    if let Err(error) = sent {
        warn!(error = %chain(&error), "run summary was not mailed");
    }
}

/// Whether who loaded a pipeline's table died before anything was made of it.
async fn is_behind(engine: &Engine, pipelines: &[Pipeline], pipeline: &Pipeline, brand: &BrandId) -> bool {
    engine.is_behind(pipelines, pipeline, brand).await.unwrap_or_else(|failure| {
        error!(error = %chain(&failure), "what was made of a table could not be looked up");
        false
    })
}

/// Makes what rests on a pipeline's table, and hours of work for the demand that it forecasts.
async fn make(making: &Making<'_>, pipeline: &Pipeline, brand: &BrandId, made: &mut MadeSoFar) -> Result<(), Error> {
    making.forecasts(pipeline, brand, made, |_| true).await?;
    let forecasts = |series: &str| pipeline.definition.forecasts.iter().any(|of| of.series == series);
    making.hours(brand, made, |one, of| one.name == pipeline.name || forecasts(&of.demand)).await
}

/// Whether what is made of a pipeline's table is made of views, which have to be there before.
fn reads_views(pipeline: &Pipeline) -> bool {
    let definition = &pipeline.definition;
    definition.staffing.is_some() || definition.forecasts.iter().any(|of| of.dayparts_from.is_some())
}

async fn bring_up_to_date(app: &App, warehouse: &Warehouse) {
    if let Err(failure) = follow_up(app, warehouse).await {
        error!(error = failure.message, "views and walls were not brought up to date");
    }
}

/// Runs the export that follows a load, forecasts or hours, where there is one.
async fn exported(
    app: &App,
    engine: &Engine,
    pipeline: &Pipeline,
    report: &RunReport,
    after: Follows,
) -> Option<RunReport> {
    let (brand, trigger) = (&report.brand, report.trigger);
    match export_after(engine, pipeline, brand, after, trigger).await {
        Ok(report) => report,
        Err(failure) => {
            error!(error = %chain(&failure), "export could not be noted");
            let (now, said) = (app.clock.now(), chain(&failure));
            Some(RunReport::not_started(&pipeline.name, brand, trigger, now, said, failure.hint()))
        }
    }
}

async fn keep_sending(app: Arc<App>, warehouse: Warehouse, mut stopping: watch::Receiver<bool>) {
    let mailer = match app.mailer() {
        Ok(mailer) => mailer,
        Err(error) => return error!(error = %chain(&error), "mail is not set up"),
    };
    loop {
        if let Err(error) = notify::flush(&warehouse, &mailer, app.clock.now()).await {
            warn!(error = %chain(&error), "outbox was not sent");
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(OUTBOX_EVERY) => {}
        }
    }
}

async fn until_told() {
    let terminate = signal(SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            warn!(%error, "SIGTERM cannot be heard, only ctrl-c");
            let _heard = tokio::signal::ctrl_c().await;
        }
    }
}
