//! Hours of work that expected demand asks for, loaded like anything else.
//!
//! What is expected by daypart (a forecast's series) becomes hours through a curve of how
//! much an hour of work serves, learned from what was worked; fixed hours, the fewest people,
//! opening hours and rounding are rules with the days on which they hold. The hours go to two
//! tables of the brand: the hours themselves, and the curve of each store.
//!
//! Invariants: the same input makes the same hours; a closed day asks for none; a store
//! without a curve of its own or of the others is named, and the others are planned.

mod curves;
mod definition;
mod opening;
mod plan;
mod rows;
mod rules;
mod run;
mod shown_tables;
mod tables;

pub use definition::StaffingOf;
pub(in crate::pipelines) use rows::is_of_staffing;
pub use rows::staffing_tables;
pub use run::Staffed;
pub use shown_tables::{StaffedPart, staffed};
