//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariants: identifiers pass through [`Ident`], values are bound; a [`Load`]
//! is one transaction.

mod archive;
mod archive_file;
mod archive_ledger;
mod archive_rows;
mod archive_table;
pub mod ask;
pub mod basis;
mod commit;
mod connect;
pub mod contents;
mod copy;
pub mod databases;
mod digest;
pub mod duties;
mod embedded;
mod endpoint;
pub mod file_rows;
mod history;
mod ident;
mod indexes;
pub mod lineage;
mod load;
pub mod marts;
mod merge;
mod migrate;
pub mod origins;
mod part;
mod partitions;
mod policies;
pub mod probe;
pub mod programs;
mod replay;
pub mod restatements;
mod rights;
pub mod roles;
mod scratch;
mod set_aside;
pub mod snapshot;
mod table;
mod undo;
mod unions;
mod upkeep;
pub mod walk;

pub use archive::{Archived, Error as ArchiveError, archive, due, restore, verify};
pub use archive_ledger::{Archive, archived_months, list as list_archives};
pub use commit::commit;
pub use connect::{Address, Error, Located, Warehouse, locate};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use duties::{Duty, make_schema};
pub use embedded::{Embedded, Error as EmbeddedError, supervise};
pub use endpoint::Endpoint;
pub use history::{HORIZON, KNOWN_LOADS, horizon};
pub use ident::{Ident, Statement};
pub use load::{Counts, Error as LoadError, FileEntry, Load};
pub use migrate::{Error as MigrateError, Migration, migrate, migration_status, newest_migration};
pub use part::Part;
pub use replay::GaveWay;
pub use scratch::Scratch;
pub use set_aside::{ARCHIVED_RULE, SetAside};
pub use table::{Table, WriteDisposition, columns_of};
pub use undo::{Because, LoadEntry, TakenBack, UndoStep, find_load, plan_undo, take_back};
pub use upkeep::{Kept, Maintained, maintain, prepare};
