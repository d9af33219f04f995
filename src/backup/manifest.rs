//! What is known of a backup: the document beside it.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::warehouse::snapshot::Contents;

/// The form of this document; another one is refused.
pub(super) const FORMAT: u32 = 1;
const MOMENT: &str = "%Y%m%dT%H%M%SZ";

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The stores' data, and everything of ours.
    Warehouse,
    /// Metabase's own database.
    Metabase,
}

impl What {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Warehouse, Self::Metabase];

    /// The folder below the target.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warehouse => "warehouse",
            Self::Metabase => "metabase",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What must be in a backup, and what it was made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this document.
    pub format: u32,
    /// The backup's name.
    pub id: String,
    /// Which database it is of.
    pub what: What,
    /// When its snapshot was taken.
    pub made_at: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// Version of storekeeper that made it.
    pub storekeeper: String,
    /// Major version of the `pg_dump` that wrote it.
    pub pg_dump: u32,
    /// The database's name.
    pub database: String,
    /// The object, below the target.
    pub object: String,
    /// Its size as stored.
    pub bytes: u64,
    /// SHA-256 of it as stored.
    pub sha256: String,
    /// Age recipients it was encrypted for; none: it is not encrypted.
    pub recipients: Vec<String>,
    /// What was in the database.
    pub contents: Contents,
}

impl Manifest {
    /// Counts the rows of all tables.
    pub fn rows(&self) -> i64 {
        self.contents.tables.values().map(|table| table.rows).sum()
    }
}

/// How whole a backup is, as far as a look at the target tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Manifest and object are there, the object in its size. `verify` tells the rest.
    Complete,
    /// The manifest is there, its object is not, or in another size.
    Damaged,
    /// An object without a manifest: it is being made, or was broken off.
    Incomplete,
    /// A manifest that cannot be read.
    Unreadable,
}

/// A backup as `list` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// Which database it is of.
    pub what: What,
    /// How whole it is.
    pub state: State,
    /// When it was begun.
    pub made_at: Option<DateTime<Utc>>,
    /// Bytes that lie in the target.
    pub bytes: u64,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
}

/// Names a backup by its moment; the mark tells two of one second apart.
pub(super) fn id_of(made_at: DateTime<Utc>, mark: &str) -> String {
    format!("{}-{mark}", made_at.format(MOMENT))
}

/// Reads the moment back from a name.
pub(super) fn moment_of(id: &str) -> Option<DateTime<Utc>> {
    let (moment, _) = id.split_once('-')?;
    NaiveDateTime::parse_from_str(moment, MOMENT).ok().map(|moment| moment.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_moment() {
        let moment: DateTime<Utc> = "2026-03-02T06:05:12Z".parse().unwrap();
        assert_eq!(id_of(moment, "1f3a"), "20260302T060512Z-1f3a");
        assert_eq!(moment_of("20260302T060512Z-1f3a"), Some(moment));
        assert_eq!(moment_of("notes"), None);
    }
}
