//! Refused rows: seeing them, handing them out, settling them.
//!
//! A refused row is never deleted. It is `open` until it was loaded by a replay,
//! gave way to newer data, or was dismissed by somebody who says why.

mod export;
mod tables;

pub use export::{ExportError, Exported, export_quarantine};
pub use tables::{
    QuarantineFilter, QuarantineState, RefusedCount, dismiss_quarantine, list_quarantine, quarantine_counts,
    quarantined_pairs,
};
pub(super) use tables::{Refusal, Refused, Verdict, refused_files, refused_rows, settle_refused};
