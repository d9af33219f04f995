//! Carries out what the policy decides: asks, writes down, starts, waits.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::{Id, JoinSet};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::error::Error;
use super::policy::{Action, Schedule, Scheduled, decide};
use super::tables::{self, Started};
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::{RunReport, Trigger};
use crate::telemetry::chain;
use crate::warehouse::Warehouse;

/// A daemon that was not heard of for this long has ended. Many ticks long, so
/// that a slow database is not taken for a death.
const LOST_AFTER: TimeDelta = TimeDelta::minutes(2);
/// How often an occurrence is started that ended with its daemon.
const ATTEMPTS: i32 = 3;

/// Starts what is due. Time comes in with every call.
#[derive(Debug)]
pub struct Worker<S> {
    warehouse: Warehouse,
    schedules: Vec<(Scheduled, Schedule)>,
    starter: Arc<S>,
    daemon: String,
    running: JoinSet<RunReport>,
    occurrences: HashMap<Id, i64>,
    /// Runs that ended and are not in the ledger yet.
    ended: Vec<(i64, Option<RunReport>)>,
}

impl<S, F> Worker<S>
where
    S: Fn(PipelineName, BrandId, Trigger) -> F + Send + Sync + 'static,
    F: Future<Output = RunReport> + Send + 'static,
{
    /// Reads the schedules and makes the ledger know them. `starter` runs a pipeline.
    ///
    /// # Errors
    /// When a schedule cannot be understood, or the ledger not be written.
    pub async fn new(
        warehouse: Warehouse,
        schedules: Vec<Scheduled>,
        starter: S,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let read = |scheduled: Scheduled| match Schedule::parse(&scheduled) {
            Ok(schedule) => Ok((scheduled, schedule)),
            Err(source) => Err(Error::Schedule { pipeline: scheduled.pipeline.to_string(), source }),
        };
        tables::register(warehouse.pool(), &schedules, now).await?;
        Ok(Self {
            warehouse,
            schedules: schedules.into_iter().map(read).collect::<Result<_, _>>()?,
            starter: Arc::new(starter),
            daemon: Uuid::new_v4().to_string(),
            running: JoinSet::new(),
            occurrences: HashMap::new(),
            ended: Vec::new(),
        })
    }

    /// Decides what has come due and starts it; answers how many runs started.
    ///
    /// # Errors
    /// When the ledger cannot be read or written; what could be done was done.
    pub async fn tick(&mut self, now: DateTime<Utc>) -> Result<usize, Error> {
        self.beat(now).await?;
        let mut started = 0;
        let mut failed = None;
        for index in 0..self.schedules.len() {
            match self.tick_one(index, now).await {
                Ok(count) => started += count,
                // One schedule's trouble keeps the others from nothing.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(started), Err)
    }

    /// Writes down what ended and that the rest still runs; starts nothing.
    ///
    /// # Errors
    /// When the ledger cannot be written; the next call tries again.
    pub async fn beat(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        let pool = self.warehouse.pool();
        while let Some((occurrence_id, report)) = self.ended.last() {
            tables::finish(pool, *occurrence_id, &self.daemon, report.as_ref(), now).await?;
            self.ended.pop();
        }
        let alive: Vec<i64> = self.occurrences.values().copied().collect();
        if alive.is_empty() { Ok(()) } else { tables::beat(pool, &alive, &self.daemon, now).await }
    }

    /// Says whether runs are going.
    pub fn busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Waits until one of the runs ends; forever if none is going. Nothing is
    /// lost when the wait is given up. The next tick or beat writes it down.
    pub async fn ended(&mut self) {
        let Some(outcome) = self.running.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (task, report) = match outcome {
            Ok((task, report)) => (task, Some(report)),
            Err(fallen) => {
                error!(error = %chain(&fallen), "run fell over");
                (fallen.id(), None)
            }
        };
        if let Some(occurrence_id) = self.occurrences.remove(&task) {
            self.ended.push((occurrence_id, report));
        }
    }

    async fn tick_one(&mut self, index: usize, now: DateTime<Utc>) -> Result<usize, Error> {
        let (scheduled, schedule) = &self.schedules[index];
        let (pool, daemon, lost_before) = (self.warehouse.pool(), self.daemon.as_str(), now - LOST_AFTER);
        let Some(open) = tables::open(pool, scheduled, lost_before).await? else {
            return Ok(0);
        };
        let may_start = open.memory.waiting > 0 && !open.memory.running;
        if open.lost == 0 && !may_start && decide(schedule, open.memory, now).is_empty() {
            return Ok(0);
        }
        // Another daemon may have decided in between: ask again under the lock.
        let Some((mut transaction, mut open)) = tables::lock(pool, scheduled, lost_before).await? else {
            return Ok(0);
        };
        if open.lost > 0 {
            let again = schedule.catch_up().makes_up();
            let lost = tables::end_lost(&mut transaction, scheduled, lost_before, again, ATTEMPTS, now).await?;
            warn!(pipeline = %scheduled.pipeline, brand = %scheduled.brand, runs = lost, "runs ended with their daemon");
            if let Some(after) = tables::remembered(&mut transaction, scheduled, lost_before).await? {
                open = after;
            }
        }
        let mut starts: Vec<Started> = Vec::new();
        for decision in decide(schedule, open.memory, now) {
            if let Action::Skip(reason) = decision.action {
                warn!(pipeline = %scheduled.pipeline, brand = %scheduled.brand, due_at = %decision.due_at, %reason, "occurrence was skipped");
            }
            starts.extend(tables::record(&mut transaction, scheduled, decision, daemon, now).await?);
        }
        if starts.is_empty() && !open.memory.running {
            starts.extend(tables::start_waiting(&mut transaction, scheduled, daemon, now).await?);
        }
        transaction.commit().await.map_err(|source| Error::Ledger { action: "write", source })?;
        let count = starts.len();
        let (pipeline, brand) = (scheduled.pipeline.clone(), scheduled.brand.clone());
        for started in starts {
            info!(%pipeline, %brand, occurrence.id = started.occurrence_id, "started scheduled run");
            let run = (self.starter)(pipeline.clone(), brand.clone(), started.trigger);
            let task = self.running.spawn(run);
            self.occurrences.insert(task.id(), started.occurrence_id);
        }
        Ok(count)
    }
}
