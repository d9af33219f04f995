//! Imports a list, gives and takes back grants, shows a person.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::grants::{Level, Scope, Tree};
use super::people::{self, Listed, Mistake};
use super::tables::{self, Origin, Person, TablesError};
use crate::warehouse::Warehouse;
use crate::words::counted;

/// Why access was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list has mistakes: nothing of it was taken.
    #[error("{} in `{source_name}`:\n{}", counted(.mistakes.len(), "mistake", "mistakes"), lines(.mistakes))]
    Mistakes {
        /// The list.
        source_name: String,
        /// All of them, by line.
        mistakes: Vec<Mistake>,
    },
    /// The list names nobody, and would take back all that it gave before.
    #[error("`{source_name}` names nobody: a header was read, and no line below it")]
    Nobody {
        /// The list.
        source_name: String,
    },
    /// The scope of a grant is not in the tree.
    #[error("{0}")]
    Scope(String),
    /// Not a mail address; it is not repeated here.
    #[error("the person must be given by a mail address")]
    Address,
    /// Nobody has this address.
    #[error("nobody is known by this address")]
    UnknownPerson,
    /// The grant comes from a list: taking it back would last until the next import.
    #[error("the grant of `{0}` comes from an imported list")]
    Imported(Scope),
    /// Whoever is to give it is owner of nothing.
    #[error("the person in whose name this is done is owner of no scope")]
    NoOwner,
    /// It is outside of what she owns.
    #[error("`{0}` is outside of what this owner may give")]
    Outside(Scope),
    /// Another person has that address.
    #[error("somebody else has this address")]
    AddressTaken,
    /// She does not hold it.
    #[error("the person holds no grant of `{0}`")]
    NotGranted(Scope),
    /// The warehouse.
    #[error("failed to reach the tables of people and grants")]
    Tables(#[from] TablesError),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Mistakes { .. } => Some("correct the lines and import again; nothing was changed"),
            Self::Nobody { .. } => Some(
                "nothing was changed; look whether the whole list was saved; `--empty` takes every grant of the list back",
            ),
            Self::Scope(_) => Some(
                "write `chain`, `brand:<id>`, `region:<brand>/<name>` or `store:<brand>/<number>`; stores are known after their first load",
            ),
            Self::Imported(_) => Some("remove the line from the list and import it again"),
            Self::UnknownPerson => Some("`access import` and `access grant` make people known"),
            Self::NoOwner => Some("`access show` tells her grants; an operator gives one with `--level owner`"),
            Self::Outside(_) => Some("nothing was changed; ask an owner of a wider scope, or an operator"),
            Self::AddressTaken => Some("`access show` tells whose it is; grants can be given to that person instead"),
            Self::Address | Self::NotGranted(_) | Self::Tables(_) => None,
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("  {mistake}")).collect::<Vec<_>>().join("\n")
}

/// A list of people as it was read.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// Its lines, `email,first_name,last_name,language,scope,level`.
    pub text: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Whether it may name nobody, which takes back all that it gave before.
    pub may_be_empty: bool,
}

impl List<'_> {
    /// Reads the people of the list.
    pub(super) fn people(&self, tree: &Tree) -> Result<Vec<Listed>, Error> {
        let source_name = self.name.to_owned();
        match people::parse(self.text, tree) {
            Ok(listed) if listed.is_empty() && !self.may_be_empty => Err(Error::Nobody { source_name }),
            Ok(listed) => Ok(listed),
            Err(mistakes) => Err(Error::Mistakes { source_name, mistakes }),
        }
    }
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// People in the list.
    pub people: u64,
    /// Grants in the list.
    pub grants: u64,
    /// People seen for the first time.
    pub people_added: u64,
    /// People whose name or language changed.
    pub people_changed: u64,
    /// People left without a grant: marked inactive.
    pub people_left: u64,
    /// Grants that are new.
    pub grants_added: u64,
    /// Grants whose level changed.
    pub grants_changed: u64,
    /// Grants of an earlier import that this list no longer has.
    pub grants_removed: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with {}; people: {} new, {} changed, {} left; grants: {} new, {} changed, {} taken back",
            counted(self.people, "person", "people"),
            counted(self.grants, "grant", "grants"),
            self.people_added,
            self.people_changed,
            self.people_left,
            self.grants_added,
            self.grants_changed,
            self.grants_removed
        )
    }
}

impl Imported {
    pub(super) fn of(listed: &[Listed], replaced: &tables::Replaced) -> Self {
        Self {
            people: listed.len() as u64,
            grants: listed.iter().map(|person| person.grants.len() as u64).sum(),
            people_added: replaced.people_added,
            people_changed: replaced.people_changed,
            people_left: replaced.people_left,
            grants_added: replaced.grants_added,
            grants_changed: replaced.grants_changed,
            grants_removed: replaced.grants_removed,
        }
    }
}

/// Puts a list of people in place of what earlier imports brought. Grants made
/// by hand stay. The same list again changes nothing.
///
/// # Errors
/// Every mistake of the list at once, with nothing changed; a list that names nobody and may not.
pub async fn import(warehouse: &Warehouse, tree: &Tree, list: List<'_>, now: DateTime<Utc>) -> Result<Imported, Error> {
    let listed = list.people(tree)?;
    let hash = crate::warehouse::hexadecimal(&Sha256::digest(list.text));
    let replaced = tables::replace(warehouse, &listed, list.name, &hash, now).await?;
    let imported = Imported::of(&listed, &replaced);
    info!(
        source_name = list.name,
        people = imported.people,
        grants = imported.grants,
        people_added = imported.people_added,
        people_left = imported.people_left,
        "imported people"
    );
    Ok(imported)
}

/// Gives a person a scope by hand; says whether that changed anything. A person
/// nobody knew becomes known by her address.
///
/// # Errors
/// When the scope is not in the tree, or the warehouse fails.
pub async fn grant(
    warehouse: &Warehouse,
    tree: &Tree,
    email: &str,
    scope: &str,
    level: Level,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let email = address(email)?;
    let scope = people::scope(scope, tree).map_err(Error::Scope)?;
    let changed = tables::give(warehouse, &email, &scope, level, now).await?;
    info!(%scope, %level, changed, "gave grant");
    Ok(changed)
}

/// Takes a grant back that was given by hand. A scope that is no longer in the
/// tree can be taken back too.
///
/// # Errors
/// When she does not hold it, or holds it by an imported list.
pub async fn revoke(
    warehouse: &Warehouse,
    tree: &Tree,
    email: &str,
    scope: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let person = show(warehouse, email).await?;
    let held = scope.parse().ok().filter(|scope| person.grants.iter().any(|grant| grant.scope == *scope));
    let scope = match held {
        Some(scope) => scope,
        None => Err(match people::scope(scope, tree) {
            Ok(scope) => Error::NotGranted(scope),
            Err(message) => Error::Scope(message),
        })?,
    };
    if !tables::take_back(warehouse, &person.email, &scope, now).await? {
        return Err(Error::Imported(scope));
    }
    let also_imported = person.grants.iter().any(|grant| grant.scope == scope && grant.origin == Origin::Import);
    info!(%scope, also_imported, "took grant back");
    Ok(())
}

/// Finds a person by address.
///
/// # Errors
/// When nobody has it.
pub async fn show(warehouse: &Warehouse, email: &str) -> Result<Person, Error> {
    tables::person(warehouse, &address(email)?).await?.ok_or(Error::UnknownPerson)
}

pub(super) fn address(text: &str) -> Result<String, Error> {
    let text = text.trim().to_lowercase();
    if people::address(&text) { Ok(text) } else { Err(Error::Address) }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{} {}", self.first_name, self.last_name);
        write!(f, "{} <{}>", name.trim(), self.email)?;
        if let Some(language) = &self.language {
            write!(f, ", {language}")?;
        }
        writeln!(f, ", {}", if self.active { "active" } else { "inactive" })?;
        for grant in &self.grants {
            let origin = match grant.origin {
                Origin::Import => "from a list",
                Origin::Hand => "by hand",
            };
            writeln!(f, "  {:<30} {:<8} {origin}", grant.scope, grant.level)?;
        }
        Ok(())
    }
}
