//! Which occurrences of a schedule start, wait or are skipped. Pure.
//!
//! A schedule is a cron expression in a zone. Each local time it names happens
//! exactly once: one that the clocks jump over happens at the first moment that
//! exists again, one that they show twice happens the first time. Names that
//! fall on one moment are one occurrence.

use std::collections::VecDeque;
use std::fmt;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::ids::{BrandId, PipelineName};
use crate::pipelines::Trigger;
pub use crate::pipelines::{CatchUp, Overlap};

/// Later than this, an occurrence was missed. Longer than two ticks.
const ON_TIME: TimeDelta = TimeDelta::seconds(90);
/// Missed occurrences that are looked at; older ones are forgotten.
const MISSED_LIMIT: usize = 100;

/// A pipeline's schedule as its definition says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduled {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The brand it runs for.
    pub brand: BrandId,
    /// Five fields: minute, hour, day of month, month, day of week.
    pub cron: String,
    /// The zone in which `cron` is meant.
    pub time_zone: Tz,
    /// What happens when a run is still going.
    pub overlap: Overlap,
    /// What happens to occurrences that were missed.
    pub catch_up: CatchUp,
}

/// Why a schedule cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It is no cron expression.
    #[error("failed to read cron expression `{cron}`")]
    Cron {
        /// The expression.
        cron: String,
        /// What is wrong with it.
        source: croner::errors::CronError,
    },
    /// It names no moment at all, such as 30 February.
    #[error("cron expression `{cron}` never comes due")]
    Never {
        /// The expression.
        cron: String,
    },
}

/// A schedule that was understood.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: croner::Cron,
    zone: Tz,
    overlap: Overlap,
    catch_up: CatchUp,
}

/// What the ledger remembers of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The newest occurrence that was decided, or since when the schedule is known.
    pub decided_until: DateTime<Utc>,
    /// Whether a run is going.
    pub running: bool,
    /// Occurrences that wait for it to end.
    pub waiting: u64,
}

/// What becomes of one occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// What becomes of it.
    pub action: Action,
}

/// What is done about an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It starts now.
    Start(Trigger),
    /// It starts when the run that is going, and those before it, have ended.
    Wait(Trigger),
    /// It does not happen.
    Skip(Reason),
}

/// Why an occurrence does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody was there to start it.
    Missed,
    /// A run was still going.
    Running,
    /// A run was still going, and another one waited already.
    Buffered,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missed => "missed",
            Self::Running => "a run was still going",
            Self::Buffered => "another occurrence waited already",
        })
    }
}

impl CatchUp {
    /// Says whether a run that a crash ended is started again.
    pub fn makes_up(self) -> bool {
        self != Self::None
    }
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// When `cron` is no cron expression of five fields, or never comes due.
    pub fn parse(scheduled: &Scheduled) -> Result<Self, ScheduleError> {
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&scheduled.cron)
            .map_err(|source| ScheduleError::Cron { cron: scheduled.cron.clone(), source })?;
        let schedule =
            Self { cron, zone: scheduled.time_zone, overlap: scheduled.overlap, catch_up: scheduled.catch_up };
        // Any moment does: what never comes due after it never does at all.
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { cron: scheduled.cron.clone() }),
        }
    }

    /// What it does with missed occurrences.
    pub fn catch_up(&self) -> CatchUp {
        self.catch_up
    }

    /// Finds the first occurrence after a moment.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // The search runs on local times as if they had no zone: croner's own
        // zone rules lose occurrences of `30 1,2 * * *` where clocks jump.
        let mut local = after.with_timezone(&self.zone).naive_local().and_utc();
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let moment = self.moment_of(local.naive_utc());
            if moment > after {
                return Some(moment);
            }
        }
    }

    /// The moment at which a local time happens.
    fn moment_of(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(moment) => moment.to_utc(),
            LocalResult::Ambiguous(first, second) => first.min(second).to_utc(),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first moment after the gap in which a local time lies.
    fn end_of_gap(&self, local: NaiveDateTime) -> DateTime<Utc> {
        // Clocks jump by less than a day but for two islands' date-line days;
        // zones change on whole seconds, and between two whole hours' halves the
        // answer is found by halving.
        let exists = |seconds: i64| self.zone.from_local_datetime(&(local + TimeDelta::seconds(seconds))).earliest();
        let (mut missing, mut found) = (0, 2 * 24 * 3600);
        while found - missing > 1 {
            let middle = missing + (found - missing) / 2;
            if exists(middle).is_some() { found = middle } else { missing = middle }
        }
        exists(found).map_or_else(|| local.and_utc(), |moment| moment.to_utc())
    }

    /// The newest occurrences after one moment and up to another.
    fn between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> VecDeque<DateTime<Utc>> {
        let mut due = VecDeque::new();
        let mut last = after;
        while let Some(next) = self.next_after(last).filter(|next| *next <= until) {
            if due.len() > MISSED_LIMIT {
                due.pop_front();
            }
            due.push_back(next);
            last = next;
        }
        due
    }
}

/// Decides every occurrence that has come due since the last decision, in order.
/// Waiting occurrences are started by the worker, the oldest first, when no run is going.
pub fn decide(schedule: &Schedule, memory: Memory, now: DateTime<Utc>) -> Vec<Decision> {
    let due = schedule.between(memory.decided_until, now);
    let newest = due.back().copied();
    let mut idle = !memory.running && memory.waiting == 0;
    let mut waiting = memory.waiting;
    let mut decisions = Vec::with_capacity(due.len());
    let missed_some = due.iter().any(|due_at| now - *due_at > ON_TIME);
    for due_at in due {
        let missed = now - due_at > ON_TIME;
        let trigger = if missed { Trigger::CatchUp } else { Trigger::Schedule };
        let queues = schedule.catch_up == CatchUp::All && missed_some;
        let wanted = !missed
            || match schedule.catch_up {
                CatchUp::None => false,
                CatchUp::Latest => newest == Some(due_at),
                CatchUp::All => true,
            };
        let action = match (wanted, idle, schedule.overlap) {
            (false, _, _) => Action::Skip(Reason::Missed),
            (true, true, _) => Action::Start(trigger),
            // What is made up for one by one did not overlap when it was due.
            (true, false, _) if queues => Action::Wait(trigger),
            (true, false, Overlap::Skip) => Action::Skip(Reason::Running),
            (true, false, Overlap::BufferOne) if waiting == 0 => Action::Wait(trigger),
            (true, false, Overlap::BufferOne) => Action::Skip(Reason::Buffered),
        };
        match action {
            Action::Start(_) => idle = false,
            Action::Wait(_) => waiting += 1,
            Action::Skip(_) => {}
        }
        decisions.push(Decision { due_at, action });
    }
    decisions
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
