//! Writes what a query selects back to a table of Dataverse.
//!
//! Invariants: a row is found by its alternate key, so that it may be sent twice
//! and is there once; what was sent is noted after the answer and before the next
//! rows, so that an export which ended in the middle goes on where it was; rows
//! that are as they were sent last are not sent.

mod changes;
mod definition;
mod run;
mod tables;

pub use definition::{ExportTo, Follows, Missing};
pub(super) use definition::{problems, read_query};
pub use run::{ExportOrder, ExportPlan};
pub use tables::list_rejects;
