//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariants: identifiers pass through [`Ident`], values are bound; a [`Load`]
//! is one transaction.

mod commit;
mod connect;
mod copy;
mod digest;
pub mod duties;
mod embedded;
mod history;
mod ident;
mod load;
pub mod marts;
mod merge;
mod migrate;
mod part;
mod policies;
pub mod probe;
mod replay;
mod rights;
pub mod roles;
mod table;
mod undo;
mod unions;
pub mod walk;

pub use commit::commit;
pub use connect::{Address, Error, Warehouse};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use duties::{Duty, make_schema};
pub use embedded::{Embedded, Error as EmbeddedError, supervise};
pub use history::KNOWN_LOADS;
pub use ident::{Ident, Statement};
pub use load::{Counts, Error as LoadError, FileEntry, Load};
pub use migrate::{Error as MigrateError, Migration, migrate, migration_status};
pub use part::Part;
pub use replay::GaveWay;
pub use table::{Table, WriteDisposition, columns_of};
pub use undo::{Because, LoadEntry, TakenBack, UndoStep, find_load, plan_undo, take_back};
