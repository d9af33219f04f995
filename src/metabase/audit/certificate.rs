//! The certificate: what an audit found, in the form in which it is kept and signed. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};

use super::findings::{GroupProof, Leak, PersonProof, RoleProof, digest};
use super::run::Audit;

/// The form of the document; a reader refuses one it does not know.
pub(super) const FORM: u32 = 1;

/// The instance that was audited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What its people call it.
    pub name: String,
    /// Where they reach it.
    pub url: String,
    /// Its release.
    pub release: String,
}

/// How much was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Whether everything was.
    pub full: bool,
    /// What was drawn by, where not everything was.
    pub seed: String,
    /// Places of other scopes, over all groups.
    pub foreign_places: u64,
    /// Those that were tried.
    pub foreign_tried: u64,
}

/// What was proven, of whom, when, and by which program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The form of this document.
    pub form: u32,
    /// The installation that made it.
    pub installation: String,
    /// The instance.
    pub instance: Instance,
    /// The program's version.
    pub storekeeper: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// How long the audit took.
    pub seconds: f64,
    /// Where rows are separated in PostgreSQL: `store`, `region` or `brand`.
    pub wall: String,
    /// `clean`, `leaks`, or `lacks`: somebody sees too little, nobody too much.
    pub outcome: String,
    /// Digest over what was found: the same findings have the same.
    pub outcome_hash: String,
    /// Things tried or compared.
    pub checks: u64,
    /// How much was tried.
    pub coverage: Coverage,
    /// How often each kind of thing was tried.
    pub tried: BTreeMap<String, u64>,
    /// What should not have been seen.
    pub leaks: Vec<Leak>,
    /// What should have been seen and could not be.
    pub failures: Vec<String>,
    /// Weaknesses of open-source Metabase itself that are open here.
    pub exposures: Vec<String>,
    /// Stores that have rows and stand in no list, as `brand/store`: nobody sees them.
    #[serde(default)]
    pub unlisted: Vec<String>,
    /// What each group sees.
    pub groups: Vec<GroupProof>,
    /// How each person's view follows from that.
    pub people: Vec<PersonProof>,
    /// What each role of the database reads.
    pub roles: Vec<RoleProof>,
}

impl Certificate {
    /// Writes down what an audit found.
    pub fn of(audit: Audit, installation: &str, instance: Instance, wall: &str, now: DateTime<Utc>) -> Self {
        let outcome = match (audit.leaks.is_empty(), audit.failures.is_empty()) {
            (false, _) => "leaks",
            (true, false) => "lacks",
            (true, true) => "clean",
        };
        let found = audit.leaks.iter().map(|leak| format!("{} {} {}", leak.who, leak.what, leak.how));
        let outcome_hash = digest(std::iter::once(outcome.to_owned()).chain(found).chain(audit.failures.clone()));
        Self {
            form: FORM,
            installation: installation.to_owned(),
            instance,
            storekeeper: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now.trunc_subsecs(0),
            seconds: (audit.seconds * 10.0).round() / 10.0,
            wall: wall.to_owned(),
            outcome: outcome.to_owned(),
            outcome_hash,
            checks: audit.checks,
            coverage: Coverage {
                full: audit.full,
                seed: audit.seed,
                foreign_places: audit.evidence.foreign_places,
                foreign_tried: audit.evidence.foreign_tried,
            },
            tried: audit.evidence.tried,
            leaks: audit.leaks,
            failures: audit.failures,
            exposures: audit.exposures,
            unlisted: audit.evidence.unlisted,
            groups: audit.evidence.groups,
            people: audit.evidence.people,
            roles: audit.evidence.roles,
        }
    }

    /// Says whether everybody sees what she should, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.outcome == "clean"
    }
}
