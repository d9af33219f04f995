//! PostgreSQL: the one place, with the files named `tables.rs`, that speaks to it.
//!
//! Invariants: identifiers pass through [`Ident`], values are bound; a [`Load`]
//! is one transaction.

mod archive;
mod archive_file;
mod archive_ledger;
mod archive_rows;
mod archive_table;
mod connect;
mod copy;
mod digest;
mod embedded;
mod history;
mod ident;
mod indexes;
mod load;
pub mod marts;
mod merge;
mod migrate;
mod part;
mod partitions;
mod policies;
pub mod probe;
mod replay;
pub mod roles;
mod set_aside;
mod table;
mod unions;
mod upkeep;

pub use archive::{Archived, Error as ArchiveError, archive, due, restore, verify};
pub use archive_ledger::{Archive, archived_months, list as list_archives};
pub use connect::{Address, Error, Warehouse};
pub(crate) use digest::{hexadecimal, hmac_sha256};
pub use embedded::{Embedded, Error as EmbeddedError, supervise};
pub use history::horizon;
pub use ident::{Ident, Statement};
pub use load::{Counts, Error as LoadError, FileEntry, Load};
pub use migrate::{Error as MigrateError, Migration, migrate, migration_status};
pub use part::Part;
pub use replay::GaveWay;
pub use set_aside::{ARCHIVED_RULE, SetAside};
pub use table::{Table, WriteDisposition, columns_of};
pub use upkeep::{Kept, Maintained, maintain};
