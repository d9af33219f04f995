//! Turns the tree into database roles: one for each scope at or above the wall.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::credentials::{self, Credentials};
use super::grants::{Scope, ScopeKind, Tree};
use super::tables::{self, TablesError};
use crate::ids::BrandId;
use crate::settings::{self, Wall};
use crate::warehouse::duties::Worker;
use crate::warehouse::roles::{self, Reader, Reconciled};
use crate::warehouse::{Duty, Warehouse, hexadecimal};

/// Why the roles are not as the tree wants them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two scopes would share a role, and with it their rows.
    #[error("the scopes `{first}` and `{second}` would share the role `{role}`")]
    SameName {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The role's name.
        role: String,
    },
    /// The tree could not be read.
    #[error("failed to read the tree of stores")]
    Tree(#[source] TablesError),
    /// The passwords' key.
    #[error("failed to derive the roles' passwords")]
    Credentials(#[source] credentials::Error),
    /// The warehouse.
    #[error("failed to reconcile the database roles")]
    Roles(#[source] roles::Error),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SameName { .. } => Some("rename one of the brands or regions"),
            Self::Tree(_) => None,
            Self::Credentials(error) => error.hint(),
            Self::Roles(error) => error.hint(),
        }
    }
}

/// Makes roles, row policies and rights follow the tree. Nothing is altered
/// that is right already. Run it after loads that made a table, after
/// `marts::apply`, and before `plan`.
///
/// # Errors
/// When the tree cannot be read or a right is missing.
pub async fn reconcile_roles(
    warehouse: &Warehouse,
    brands: &BTreeMap<BrandId, settings::Brand>,
    data_dir: &Path,
    wall: Wall,
) -> Result<Reconciled, Error> {
    let tree = tables::tree(warehouse, brands).await.map_err(Error::Tree)?;
    let credentials = Credentials::open(data_dir).map_err(Error::Credentials)?;
    let readers = readers(&tree, wall, warehouse.installation(), &credentials)?;
    let ids: Vec<BrandId> = tree.brands.iter().map(|brand| brand.id.clone()).collect();
    let workers = workers(warehouse.installation(), &credentials);
    roles::reconcile(warehouse, &ids, &readers, &workers).await.map_err(Error::Roles)
}

/// The roles that own, load and watch. Nobody signs in as the owner.
fn workers(installation: &str, credentials: &Credentials) -> Vec<Worker> {
    let worker = |duty: Duty| {
        let role = duty.role(installation);
        let signs_in = duty != Duty::Owner;
        Worker {
            duty,
            password: signs_in.then(|| credentials.password(&role)),
            password_mark: if signs_in { credentials.password_mark(&role) } else { String::new() },
            role,
        }
    };
    [Duty::Owner, Duty::Loader, Duty::Ops].map(worker).to_vec()
}

/// The address and password with which a role that works signs in; none for the owner.
///
/// # Errors
/// When the key cannot be read.
pub fn sign_in(warehouse: &Warehouse, data_dir: &Path, duty: Duty) -> Result<Option<SecretString>, Error> {
    let credentials = Credentials::open(data_dir).map_err(Error::Credentials)?;
    let address = warehouse.address();
    let worker = workers(warehouse.installation(), &credentials).into_iter().find(|worker| worker.duty == duty);
    Ok(worker.and_then(|worker| {
        let password = worker.password?;
        // The password is made of letters, digits, `-` and `_`.
        Some(SecretString::from(format!(
            "postgres://{}:{}@{}:{}/{}",
            worker.role,
            password.expose_secret(),
            address.host,
            address.port,
            address.database
        )))
    }))
}

fn readers(tree: &Tree, wall: Wall, installation: &str, credentials: &Credentials) -> Result<Vec<Reader>, Error> {
    let mut readers = Vec::new();
    let mut names: BTreeMap<String, Scope> = BTreeMap::new();
    for scope in tree.scopes().into_iter().filter(|scope| has_role(scope, wall)) {
        let role = role_name(installation, &scope);
        if let Some(first) = names.insert(role.clone(), scope.clone()) {
            return Err(Error::SameName { first: first.to_string(), second: scope.to_string(), role });
        }
        let stores = tree.stores_of(&scope);
        let brands: BTreeSet<BrandId> = match scope.brand() {
            Some(brand) => BTreeSet::from([brand.clone()]),
            None => tree.brands.iter().map(|brand| brand.id.clone()).collect(),
        };
        readers.push(Reader {
            password: credentials.password(&role),
            password_mark: credentials.password_mark(&role),
            role,
            scope: scope.to_string(),
            brands,
            stores,
            every_brand: scope.kind() == ScopeKind::Chain,
        });
    }
    Ok(readers)
}

/// Says whether a scope has a role of its own: it is at the wall or above.
pub fn has_role(scope: &Scope, wall: Wall) -> bool {
    scope.kind()
        <= match wall {
            Wall::Store => ScopeKind::Store,
            Wall::Region => ScopeKind::Region,
            Wall::Brand => ScopeKind::Brand,
        }
}

/// Names the role of a scope, e.g. `storekeeper_harbor_store_000125`. The name
/// depends on nothing else, and fits into PostgreSQL's 63 bytes.
pub fn role_name(installation: &str, scope: &Scope) -> String {
    let (text, exact) = match scope {
        Scope::Chain => ("chain".to_owned(), true),
        Scope::Brand(brand) => (format!("{brand}_brand"), true),
        Scope::Region(brand, region) => {
            let (slug, exact) = slug(region);
            (format!("{brand}_region_{slug}"), exact)
        }
        Scope::Store(brand, store) => {
            let (slug, exact) = slug(&store.0);
            (format!("{brand}_store_{slug}"), exact)
        }
    };
    let (prefix, _) = slug(installation);
    let name = format!("{prefix}_{text}");
    if exact && name.len() <= 63 {
        return name;
    }
    // What the slug loses comes back as a digest of the whole.
    let digest = hexadecimal(&Sha256::digest(format!("{installation} {scope}"))[..4]);
    let kept: String = name.chars().take(63 - 1 - digest.len()).collect();
    format!("{kept}_{digest}")
}

/// Writes a text in letters, digits and underscores; says whether nothing was
/// lost but the capitals that words start with.
fn slug(text: &str) -> (String, bool) {
    let slug: String = text
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' })
        .collect();
    let mut back = String::new();
    for (at, word) in slug.split('_').enumerate() {
        if at > 0 {
            back.push(' ');
        }
        let mut letters = word.chars();
        back.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        back.push_str(letters.as_str());
    }
    let exact = back == text;
    (slug, exact)
}

#[cfg(test)]
mod tests {
    use super::super::grants::tests::small_tree;
    use super::*;

    #[test]
    fn a_role_is_named_after_its_scope_within_63_bytes() {
        let name = |scope: &str| role_name("storekeeper", &scope.parse().unwrap());
        assert_eq!(name("chain"), "storekeeper_chain");
        assert_eq!(name("brand:harbor"), "storekeeper_harbor_brand");
        assert_eq!(name("region:harbor/North"), "storekeeper_harbor_region_north");
        assert_eq!(name("region:harbor/New England"), "storekeeper_harbor_region_new_england");
        assert_eq!(name("store:harbor/000125"), "storekeeper_harbor_store_000125");
        let long = format!("region:harbor/{}", "Ü".repeat(80));
        assert!(name(&long).len() <= 63, "{}", name(&long));
    }

    #[test]
    fn regions_that_look_alike_get_roles_of_their_own() {
        let regions = ["North", "north", "NORTH", "North-East", "North East", "North_East"];
        let names: BTreeSet<String> = regions
            .iter()
            .map(|region| role_name("sk", &Scope::Region("harbor".into(), (*region).to_owned())))
            .collect();
        assert_eq!(names.len(), regions.len(), "{names:?}");
    }

    #[test]
    fn a_reader_gets_the_stores_of_its_scope() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder.path()).unwrap();
        let all = readers(&small_tree(), Wall::Store, "sk", &credentials).unwrap();
        assert_eq!(all.len(), 10);
        let north = all.iter().find(|reader| reader.scope == "region:harbor/North").unwrap();
        assert_eq!(north.stores.len(), 2);
        assert!(!north.every_brand);
        assert_eq!(readers(&small_tree(), Wall::Brand, "sk", &credentials).unwrap().len(), 3);
    }
}
