//! Where data comes from: a drive, Dataverse, a folder.
//!
//! Every source lists what there is and fetches what is asked for into a file,
//! with a hash over its content: a file is known by what it holds, never by its
//! name or its place. What the bytes mean is no matter of this module.
//!
//! Invariants: a token goes to the origin it was made for and nowhere else; a
//! fetched file is whole and of one version, or there is none; an answer that
//! is no listing is never taken for an empty one.

mod archive;
mod dataverse;
mod dataverse_batch;
mod dataverse_changes;
mod dataverse_columns;
mod dataverse_flow;
mod dataverse_reaction;
mod dataverse_target;
mod dataverse_value;
mod dataverse_walk;
mod dataverse_write;
mod delta;
mod download;
mod drive;
mod error;
mod file;
mod folder;
mod item;
mod metadata;
mod quick_xor_hash;
mod service;

pub use archive::Moved;
pub use dataverse::{Dataverse, TableQuery, WhoAmI};
pub use dataverse_batch::{BatchAnswer, BatchError, parse_batch};
pub use dataverse_changes::TableChanges;
pub use dataverse_reaction::Reason;
pub use dataverse_target::{Lookup, Target, TargetQuery, TargetRow};
pub use dataverse_write::{Outcome, Round, Writer};
pub use drive::{Drive, DriveInfo};
pub use error::Error;
pub use file::{Changes, Fetched, Listing, RemoteFile};
pub use folder::Folder;
