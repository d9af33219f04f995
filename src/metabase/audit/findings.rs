//! What an audit notes while it goes: findings, counts, and evidence. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::warehouse::hexadecimal;

/// Something that somebody sees, or could see, and should not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leak {
    /// Who: a group, a role, or a person's number.
    pub who: String,
    /// What: an object, a store, a right.
    pub what: String,
    /// How it was found.
    pub how: String,
}

/// One thing that was seen, and what it held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// What: a question of a scope, or a table.
    pub what: String,
    /// Rows that came.
    pub rows: usize,
    /// Stores they speak of.
    pub stores: usize,
    /// Digest of the rows, in whatever order they came.
    pub hash: String,
    /// Whether they are those of the tables, or why that was not compared.
    pub truth: String,
}

/// What one group was found to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupProof {
    /// The group.
    pub group: String,
    /// Its scope.
    pub scope: String,
    /// Stores that the tables list for it.
    pub stores: usize,
    /// Things that were tried.
    pub checks: u64,
    /// Foreign things that were refused, as they should be.
    pub refused: u64,
    /// Digest over everything seen.
    pub hash: String,
    /// Everything seen.
    pub seen: Vec<Seen>,
}

/// How one person's view follows from her groups'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonProof {
    /// Her number: `access show` has the name.
    pub person: String,
    /// Her groups.
    pub groups: Vec<String>,
    /// The stores of all of them together.
    pub stores: usize,
    /// `one group`, `union of memberships`, or `probe account`.
    pub proven_by: String,
    /// Digest over what her groups see.
    pub hash: String,
}

/// What one role of the database was found to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleProof {
    /// The role.
    pub role: String,
    /// Its scope.
    pub scope: String,
    /// Tables and views it could read.
    pub relations: usize,
    /// Those that refused it.
    pub refused: usize,
    /// Stores in all of them together.
    pub stores: usize,
    /// Digest over relation and stores.
    pub hash: String,
}

/// Everything that was seen, for the certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// By group.
    pub groups: Vec<GroupProof>,
    /// By person.
    pub people: Vec<PersonProof>,
    /// By role.
    pub roles: Vec<RoleProof>,
    /// How often each kind of thing was tried.
    pub tried: BTreeMap<String, u64>,
    /// Foreign places that could have been tried, over all groups.
    pub foreign_places: u64,
    /// Those that were.
    pub foreign_tried: u64,
    /// Stores that have rows and stand in no list, as `brand/store`: nobody's.
    #[serde(default)]
    pub unlisted: Vec<String>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) checks: u64,
    pub(super) leaks: Vec<Leak>,
    pub(super) failures: Vec<String>,
    pub(super) exposures: BTreeSet<String>,
    pub(super) tried: BTreeMap<String, u64>,
    pub(super) foreign_places: u64,
    pub(super) foreign_tried: u64,
    pub(super) refused: u64,
    pub(super) seen: Vec<Seen>,
    /// Ways in that were tried with rights that must be enough, and whether one got through.
    controls: BTreeMap<&'static str, bool>,
}

impl Findings {
    pub(super) fn leak(&mut self, who: &str, what: impl Into<String>, how: &str) {
        self.leaks.push(Leak { who: who.to_owned(), what: what.into(), how: how.to_owned() });
    }

    /// Notes how a way in ended that must not be refused: where none gets through, a refusal
    /// proves nothing.
    pub(super) fn control(&mut self, way: &'static str, through: bool) {
        *self.controls.entry(way).or_insert(false) |= through;
    }

    /// Says of which ways in a refusal proves nothing.
    pub(super) fn judge_controls(&mut self) {
        let blind = std::mem::take(&mut self.controls).into_iter().filter(|(_, through)| !through);
        self.failures.extend(blind.map(|(way, _)| {
            format!("{way}: even with rights that must be enough nothing came, so no refusal of it proves anything")
        }));
    }

    /// Counts one thing that is tried.
    pub(super) fn check(&mut self, kind: &str) {
        self.checks(kind, 1);
    }

    pub(super) fn checks(&mut self, kind: &str, times: usize) {
        self.checks += times as u64;
        match self.tried.get_mut(kind) {
            Some(count) => *count += times as u64,
            None => {
                self.tried.insert(kind.to_owned(), times as u64);
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.leaks.extend(other.leaks);
        self.failures.extend(other.failures);
        self.exposures.extend(other.exposures);
        for (kind, times) in other.tried {
            *self.tried.entry(kind).or_insert(0) += times;
        }
        for (way, through) in other.controls {
            self.control(way, through);
        }
        self.foreign_places += other.foreign_places;
        self.foreign_tried += other.foreign_tried;
    }

    /// What a group's findings prove of it.
    pub(super) fn proof(&mut self, group: &str, scope: &str, stores: usize) -> GroupProof {
        let mut seen = std::mem::take(&mut self.seen);
        seen.sort();
        GroupProof {
            group: group.to_owned(),
            scope: scope.to_owned(),
            stores,
            checks: self.checks,
            refused: self.refused,
            hash: digest(seen.iter().map(|one| format!("{} {}", one.what, one.hash))),
            seen,
        }
    }
}

/// A digest over lines.
pub(super) fn digest(lines: impl IntoIterator<Item = String>) -> String {
    let mut digest = Sha256::new();
    for line in lines {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    }
    hexadecimal(&digest.finalize()[..16])
}
