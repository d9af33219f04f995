//! Starts pipelines on time, once, on however many daemons.
//!
//! [`policy`] decides purely: which occurrences of a schedule were due, and
//! whether each is started, skipped or waits. The worker asks it on every tick
//! of tokio-cron-scheduler and writes each decision to PostgreSQL, whose ledger
//! is the memory: after a restart it says what was missed.
//!
//! Invariants: one occurrence is started by one daemon; a decision is written
//! before anything starts; two runs of one pipeline and brand never overlap
//! through the scheduler.

mod error;
mod jobs;
pub mod policy;
mod tables;
mod worker;

pub use error::Error;
pub use jobs::run;
pub use policy::{CatchUp, Overlap, Scheduled};
pub use worker::Worker;
