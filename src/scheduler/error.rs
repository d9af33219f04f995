//! Why the scheduler could not work.

use super::policy::ScheduleError;

/// Why the scheduler could not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A schedule cannot be understood.
    #[error("failed to read the schedule of pipeline `{pipeline}`")]
    Schedule {
        /// Whose.
        pipeline: String,
        /// What is wrong with it.
        source: ScheduleError,
    },
    /// The ledger could not be read or written.
    #[error("failed to {action} the schedule ledger")]
    Ledger {
        /// `read`, `write`.
        action: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The ticks could not be started or stopped.
    #[error("failed to set up the scheduler's ticks")]
    Ticks(#[source] tokio_cron_scheduler::JobSchedulerError),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Schedule { .. } => {
                Some("write five fields: minute, hour, day of month, month, day of week, e.g. `0 6 * * *`")
            }
            Self::Ledger { .. } => Some("run `storekeeper db status`; a missing table means `db migrate` has not run"),
            Self::Ticks(_) => None,
        }
    }
}
