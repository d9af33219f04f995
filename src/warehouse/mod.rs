//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariants: identifiers pass through [`Ident`], values are bound; a [`Load`]
//! is one transaction.

mod connect;
mod copy;
pub mod databases;
mod digest;
mod embedded;
mod endpoint;
mod ident;
mod load;
pub mod marts;
mod migrate;
mod part;
mod policies;
pub mod probe;
pub mod programs;
mod replay;
pub mod roles;
mod scratch;
pub mod snapshot;
mod table;
mod unions;

pub use connect::{Address, Error, Located, Warehouse, locate};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use embedded::{Embedded, Error as EmbeddedError, supervise};
pub use endpoint::Endpoint;
pub use ident::{Ident, Statement};
pub use load::{Counts, Error as LoadError, FileEntry, Load};
pub use migrate::{Error as MigrateError, Migration, migrate, migration_status, newest_migration};
pub use part::Part;
pub use replay::GaveWay;
pub use scratch::Scratch;
pub use table::{Table, WriteDisposition, columns_of};
