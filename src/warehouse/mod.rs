//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariants: identifiers pass through [`Ident`], values are bound; a [`Load`]
//! is one transaction.

pub mod basis;
mod connect;
pub mod contents;
mod copy;
mod digest;
mod embedded;
pub mod file_rows;
mod history;
mod ident;
pub mod lineage;
mod load;
pub mod marts;
mod merge;
mod migrate;
pub mod origins;
mod part;
mod policies;
pub mod probe;
mod replay;
pub mod restatements;
pub mod roles;
mod table;
mod unions;

pub use connect::{Address, Error, Warehouse};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use embedded::{Embedded, Error as EmbeddedError, supervise};
pub use ident::{Ident, Statement};
pub use load::{Counts, Error as LoadError, FileEntry, Load};
pub use migrate::{Error as MigrateError, Migration, migrate, migration_status};
pub use part::Part;
pub use replay::GaveWay;
pub use table::{Table, WriteDisposition, columns_of};
