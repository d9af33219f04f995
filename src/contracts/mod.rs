//! Decides what may enter the warehouse.
//!
//! A [`Contract`] names the columns a file must have and the rules its rows
//! must keep. [`check`] splits a batch of raw text into typed rows to load and
//! rows to quarantine: a bad row is an answer, not an error. A [`Survey`] decides
//! what only all values together can tell, such as the order of day and month; a
//! [`Drift`] says how a file's columns changed.
//!
//! Invariant: every row that comes in goes out exactly once.

mod check;
mod contract;
mod convert;
mod draft;
mod draft_column;
mod draft_key;
mod draft_name;
mod draft_number;
#[cfg(test)]
mod draft_tests;
mod drift;
mod duration;
mod moments;
mod prepare;
mod rules;
mod survey;
mod totals;
mod typed;
mod values;

pub use check::{Checked, Reference, Rejection, SHAPE_RULE, check};
pub(crate) use contract::is_plain;
pub use contract::{Ambiguous, Column, ColumnType, Contract, DateOrder, DecimalMark, NewColumns};
pub use draft::{Observation, Observed};
pub use draft_column::{DraftColumn, propose};
pub use draft_key::key_candidates;
pub use drift::{Drift, Renamed, SeenColumn, looks_like, plain_name};
pub use rules::{Rule, RuleKind, Severity};
pub use survey::{Survey, Undecidable, undecided};
pub use totals::{ControlFailure, ControlSums, TotalRow};
pub use typed::spelled;
