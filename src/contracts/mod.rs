//! Decides what may enter the warehouse.
//!
//! A [`Contract`] names the columns a file must have and the rules its rows
//! must keep. [`check`] splits a batch of raw text into typed rows to load and
//! rows to quarantine: a bad row is an answer, not an error.
//!
//! Invariant: every row that comes in goes out exactly once.

mod check;
mod contract;
mod draft;
mod draft_column;
mod draft_key;
mod draft_name;
mod draft_number;
#[cfg(test)]
mod draft_tests;
mod values;

pub use check::{Checked, Reference, Rejection, check};
pub(crate) use contract::is_plain;
pub use contract::{Column, ColumnType, Contract, DateOrder, NewColumns, Rule, RuleKind, Severity};
pub use draft::{Observation, Observed};
pub use draft_column::{DraftColumn, propose};
pub use draft_key::key_candidates;
