//! Copies of the warehouse and of Metabase's own database, and the way back.
//!
//! A backup is two objects: what `pg_dump` wrote, and a [`Manifest`] beside it that
//! says what must be in it. [`verify`] restores it into a cluster of its own and
//! compares; [`restore`] does the same before it exchanges anything.
//!
//! Invariants: the manifest is written last, so a backup that can be listed as
//! complete was complete; rows are counted in the very snapshot that was dumped;
//! no dump is held in memory, and none touches a disk unencrypted but the
//! target's, where no recipient is set.

mod age;
mod bech32;
mod compare;
mod create;
mod error;
mod manifest;
mod restore;
mod retention;
mod target;
mod verify;

pub use age::{AgeError, Identity, Recipient};
pub use compare::Difference;
pub use create::{Created, create};
pub use error::Error;
pub use manifest::{Listed, Manifest, State, What};
pub use restore::{Order, Restored, restore};
pub use retention::{Keep, superseded};
pub use target::Target;
pub use verify::{Verified, verify};
