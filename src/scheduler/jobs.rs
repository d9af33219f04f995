//! The ticks: tokio-cron-scheduler wakes the worker, the worker decides.

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio_cron_scheduler::{Job, JobScheduler};
use tracing::{error, info};

use super::error::Error;
use super::policy::Scheduled;
use super::worker::Worker;
use crate::clock::Clock;
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::{RunReport, Trigger};
use crate::telemetry::chain;
use crate::warehouse::Warehouse;

/// One job for all schedules: what is due is the policy's to say, which knows
/// the days on which clocks change, and the ledger's, which knows the past.
const EVERY_TEN_SECONDS: &str = "*/10 * * * * *";

/// Starts pipelines on their schedules until `shutdown` says true, then waits
/// for the runs that are going. `starter` runs a pipeline; `ticked` hears of
/// every tick that reached the ledger.
///
/// # Errors
/// When a schedule cannot be understood, or the first look into the ledger fails.
/// A ledger that fails later is tried again on the next tick.
pub async fn run<S, F>(
    warehouse: Warehouse,
    schedules: Vec<Scheduled>,
    clock: Clock,
    starter: S,
    ticked: watch::Sender<Option<DateTime<Utc>>>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error>
where
    S: Fn(PipelineName, BrandId, Trigger) -> F + Send + Sync + 'static,
    F: Future<Output = RunReport> + Send + 'static,
{
    let mut worker = Worker::new(warehouse, schedules, starter, clock.now()).await?;
    // One place: a tick that finds the worker busy with the one before is not kept.
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut ticks = start_ticks(wake).await?;
    let stop = async { shutdown.wait_for(|stop| *stop).await.map(drop) };
    tokio::pin!(stop);
    loop {
        match worker.tick(clock.now()).await {
            Ok(_) => drop(ticked.send_replace(Some(clock.now()))),
            Err(error) => error!(error = %chain(&error), "schedule tick failed"),
        }
        tokio::select! {
            // A sender that is gone means the same as one that says stop.
            _ = &mut stop => break,
            _ = woken.recv() => {}
            // A run that ended may let a waiting one start at once.
            () = worker.ended() => {}
        }
    }
    if worker.busy() {
        info!("waiting for running pipelines");
    }
    loop {
        // The other daemons must not take these runs for lost while they end.
        if let Err(error) = worker.beat(clock.now()).await {
            error!(error = %chain(&error), "schedule ledger was not written");
        }
        if !worker.busy() {
            break;
        }
        tokio::select! {
            _ = woken.recv() => {}
            () = worker.ended() => {}
        }
    }
    ticks.shutdown().await.map_err(Error::Ticks)
}

async fn start_ticks(wake: mpsc::Sender<()>) -> Result<JobScheduler, Error> {
    let ticks = JobScheduler::new().await.map_err(Error::Ticks)?;
    let job = Job::new(EVERY_TEN_SECONDS, move |_, _| {
        // Full means that a tick waits already; closed that we are stopping.
        let _one_is_enough = wake.try_send(());
    })
    .map_err(Error::Ticks)?;
    ticks.add(job).await.map_err(Error::Ticks)?;
    ticks.start().await.map_err(Error::Ticks)?;
    Ok(ticks)
}
