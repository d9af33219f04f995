//! Grants in the name of an owner: she gives and takes within her scopes, and
//! nothing outside of them.

use chrono::{DateTime, Utc};
use tracing::info;

use super::grants::{Level, Scope, Tree};
use super::manage::{Error, Imported, List, address, revoke, show};
use super::owner_tables as tables;
use super::people::{self, Listed};
use super::tables::Person;
use crate::warehouse::Warehouse;

/// Gives a person a scope in the name of an owner; says whether that changed anything.
///
/// # Errors
/// When she is owner of no scope around it, the scope is not in the tree, or the warehouse fails.
pub async fn grant_as(
    warehouse: &Warehouse,
    tree: &Tree,
    owner: &str,
    email: &str,
    scope: &str,
    level: Level,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let scope = people::scope(scope, tree).map_err(Error::Scope)?;
    let owner = owning(warehouse, owner).await?;
    reaches(tree, &owner, &scope)?;
    let listed = Listed::one(address(email)?, scope.clone(), level);
    let replaced = tables::give_all(warehouse, owner.id, &[listed], false, now).await?;
    let changed = replaced.grants_added + replaced.grants_changed > 0;
    info!(%scope, %level, changed, owner = owner.id, "gave grant in the name of an owner");
    Ok(changed)
}

/// Takes a grant back in the name of an owner.
///
/// # Errors
/// As [`grant_as`], and when nobody holds it by hand.
pub async fn revoke_as(
    warehouse: &Warehouse,
    tree: &Tree,
    owner: &str,
    email: &str,
    scope: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let owner = owning(warehouse, owner).await?;
    reaches(tree, &owner, &people::scope(scope, tree).map_err(Error::Scope)?)?;
    revoke(warehouse, tree, email, scope, now).await
}

/// Puts an owner's list in place of what she gave before. Grants of others stay.
/// One line outside of her scopes, and nothing of the list is taken.
///
/// # Errors
/// Every mistake of the list, a scope that she does not reach, or a list that names nobody and may not.
pub async fn import_as(
    warehouse: &Warehouse,
    tree: &Tree,
    owner: &str,
    list: List<'_>,
    now: DateTime<Utc>,
) -> Result<Imported, Error> {
    let listed = list.people(tree)?;
    let owner = owning(warehouse, owner).await?;
    for scope in listed.iter().flat_map(|person| person.grants.keys()) {
        reaches(tree, &owner, scope)?;
    }
    let replaced = tables::give_all(warehouse, owner.id, &listed, true, now).await?;
    info!(source_name = list.name, people = listed.len(), owner = owner.id, "imported an owner's list");
    Ok(Imported::of(&listed, &replaced))
}

/// Changes a person's address and nothing else: her number, grants and account stay.
///
/// # Errors
/// When nobody has the old one, or somebody has the new one.
pub async fn change_address(warehouse: &Warehouse, from: &str, to: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let person = show(warehouse, from).await?;
    let to = address(to)?;
    if !tables::change_address(warehouse, person.id, &to, now).await? {
        return Err(Error::AddressTaken);
    }
    info!(person = person.id, "changed an address");
    Ok(())
}

async fn owning(warehouse: &Warehouse, owner: &str) -> Result<Person, Error> {
    let person = show(warehouse, owner).await?;
    let owns = person.active && person.levels().values().any(|level| *level == Level::Owner);
    if owns { Ok(person) } else { Err(Error::NoOwner) }
}

/// Says whether one of her scopes as owner is around a scope, or is that scope.
fn reaches(tree: &Tree, owner: &Person, scope: &Scope) -> Result<(), Error> {
    let levels = owner.levels();
    let around = tree.lineage(scope);
    if around.iter().any(|around| levels.get(around) == Some(&Level::Owner)) {
        Ok(())
    } else {
        Err(Error::Outside(scope.clone()))
    }
}
