//! Definitions, and the one path a row takes.

mod report;

pub use report::{FileReport, QuarantineSample, RunReport, Status, Trigger};
