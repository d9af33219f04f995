//! Decides what may enter the warehouse.
//!
//! A [`Contract`] names the columns a file must have and the rules its rows
//! must keep. [`check`] splits a batch of raw text into typed rows to load and
//! rows to quarantine: a bad row is an answer, not an error.
//!
//! Invariant: every row that comes in goes out exactly once.

mod check;
mod contract;
mod convert;
mod values;

pub use check::{Checked, Reference, Rejection, check};
pub(crate) use contract::is_plain;
pub use contract::{Column, ColumnType, Contract, DateOrder, NewColumns, Rule, RuleKind, Severity};
