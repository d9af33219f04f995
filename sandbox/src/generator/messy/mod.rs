//! The messiest workbooks: one for each kind of mess, and one with all of it.
//!
//! Each knows the truth that a reader must find, as typed values with sheet and
//! row. The same call makes the same bytes.

mod kinds;
mod package;
mod sales;
#[cfg(test)]
mod tests;
mod truth;

pub use kinds::all;
pub use truth::{Column, Messy, Row, Value};
