//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariant: identifiers pass through [`Ident`], values are bound.

mod connect;
mod digest;
mod embedded;
mod ident;
pub mod marts;
pub mod roles;
mod unions;

pub use connect::{Address, Error, Warehouse};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use embedded::{Embedded, Error as EmbeddedError};
pub use ident::{Ident, Statement};
