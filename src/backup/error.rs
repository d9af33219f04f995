//! What can go wrong between a database and its copy.

use std::error::Error as _;
use std::io;

use super::age::AgeError;
use super::compare::Difference;
use crate::warehouse::databases::Occupant;
use crate::warehouse::{EmbeddedError, databases, programs, snapshot};
use crate::words::counted;

/// Why there is no backup, or no way back from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place for backups is set.
    #[error("`backup.target` is not set")]
    NoTarget,
    /// A setting cannot be used.
    #[error("failed to use `{key}`: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The target could not be prepared.
    #[error("failed to prepare the target `{target}`")]
    Prepare {
        /// Folder or URL.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// The target refused.
    #[error("failed to {action} `{name}` in `{target}`")]
    Target {
        /// What was tried.
        action: &'static str,
        /// On which object.
        name: String,
        /// Folder or URL.
        target: String,
        /// What it said.
        source: object_store::Error,
    },
    /// No backup of that name, or none at all.
    #[error("there is no complete backup {wanted} in `{target}`")]
    NotFound {
        /// Which one was asked for.
        wanted: String,
        /// Folder or URL.
        target: String,
    },
    /// A manifest that is none.
    #[error("failed to read the manifest `{name}`")]
    Manifest {
        /// The object.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The object is not what was stored.
    #[error("backup `{id}` is damaged: {problem}")]
    Damaged {
        /// The backup.
        id: String,
        /// What differs.
        problem: String,
    },
    /// It was encrypted, and no identity is there.
    #[error("backup `{id}` is encrypted, and no identity is given")]
    NoIdentity {
        /// The backup.
        id: String,
    },
    /// It was encrypted for somebody else.
    #[error("failed to open backup `{id}`, which was encrypted for {}", .recipients.join(", "))]
    Open {
        /// The backup.
        id: String,
        /// Whom it was encrypted for: public keys.
        recipients: Vec<String>,
        /// Why.
        source: AgeError,
    },
    /// Encrypting failed.
    #[error("failed to encrypt the backup")]
    Encrypt(#[source] AgeError),
    /// A dump broke off on its way.
    #[error("failed to read what `pg_dump` writes")]
    Read(#[source] io::Error),
    /// The database could not be read.
    #[error("failed to look at the database")]
    Snapshot(#[source] snapshot::Error),
    /// A program of PostgreSQL's.
    #[error(transparent)]
    Program(programs::Error),
    /// A database could not be made or exchanged.
    #[error("failed to prepare the database")]
    Database(#[source] databases::Error),
    /// No cluster to try a backup in.
    #[error("failed to start a scratch cluster")]
    Scratch(#[source] EmbeddedError),
    /// The database is in use and `--replace` was not given.
    #[error("`{database}` is not empty:\n{}", occupants(.found))]
    Occupied {
        /// The database.
        database: String,
        /// What is in it.
        found: Vec<Occupant>,
    },
    /// What was restored is not what was backed up.
    #[error("what backup `{id}` brought back is not what was backed up:\n{}", differences(.found))]
    Differs {
        /// The backup.
        id: String,
        /// Where.
        found: Vec<Difference>,
    },
    /// The backup is of a newer storekeeper.
    #[error("backup `{id}` has migration {migration}, this program knows {known}")]
    Newer {
        /// The backup.
        id: String,
        /// Its newest migration.
        migration: i64,
        /// Ours.
        known: i64,
    },
}

fn occupants(found: &[Occupant]) -> String {
    let line = |one: &Occupant| {
        format!("  schema {}: {}, {} bytes", one.schema, counted(one.objects, "object", "objects"), one.bytes)
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn differences(found: &[Difference]) -> String {
    found.iter().map(|one| format!("  {one}")).collect::<Vec<_>>().join("\n")
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTarget => Some("set it to a folder, s3://bucket/prefix or azure://container/prefix"),
            Self::Setting { .. } => Some("config/default.toml explains every key of [backup]"),
            Self::Target { source, .. } if is_full(source) => Some(
                "there is no room in the target: make some, or lower `backup.keep_last`, `keep_daily` and `keep_weekly`",
            ),
            Self::Prepare { .. } => Some("check that the folder's disk is there, and the rights on it"),
            Self::Target { .. } => Some("check the target's address, its keys and the rights they have"),
            Self::NotFound { .. } => Some("`storekeeper backup list` shows what there is"),
            Self::Manifest { .. } => {
                Some("the object lies there still; without its manifest, pg_restore restores it by hand")
            }
            Self::Damaged { .. } => {
                Some("take an older one (`storekeeper backup list`), and look for the cause at the target")
            }
            Self::NoIdentity { .. } => Some("give --identity FILE, or set `backup.identity_file`"),
            Self::Open { .. } => Some("the identity whose public key that is opens it: --identity FILE"),
            Self::Read(_) | Self::Encrypt(_) => None,
            Self::Snapshot(error) => error.hint(),
            Self::Program(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::Scratch(EmbeddedError::NotInstalled) => {
                Some("a backup is verified in a server of its own: install one (Debian: apt-get install postgresql)")
            }
            Self::Scratch(error) => error.hint(),
            Self::Occupied { .. } => Some(
                "--replace puts the backup in its place and keeps it under another name; --into URL restores elsewhere",
            ),
            Self::Differs { .. } => {
                Some("a database that was there is as it was; `storekeeper backup verify ID` tries other backups")
            }
            Self::Newer { .. } => {
                Some("install the version of storekeeper that `storekeeper backup list` shows beside it")
            }
        }
    }
}

/// Whether a disk, a quota or a file's limit is the cause.
fn is_full(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            return matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        }
        cause = error.source();
    }
    false
}

macro_rules! from {
    ($($variant:ident($source:ty)),*) => {
        $(impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::$variant(source)
            }
        })*
    };
}

from!(Snapshot(snapshot::Error), Program(programs::Error), Database(databases::Error), Scratch(EmbeddedError));
