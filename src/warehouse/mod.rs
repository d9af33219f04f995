//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariant: identifiers pass through [`Ident`], values are bound.

mod connect;
mod embedded;
mod ident;

pub use connect::{Address, Error, Warehouse};
pub use embedded::{Embedded, Error as EmbeddedError};
pub use ident::{Ident, Statement};
