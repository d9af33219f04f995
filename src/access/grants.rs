//! The tree of scopes, and what a grant can say. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::ids::{BrandId, StoreId};

/// One node of the tree of stores, written `chain`, `brand:harbor`,
/// `region:harbor/North` or `store:harbor/000125`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Every store of every brand.
    Chain,
    /// Every store of a brand.
    Brand(BrandId),
    /// The stores of a brand that name this region.
    Region(BrandId, String),
    /// One store.
    Store(BrandId, StoreId),
}

/// How wide a scope is, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The whole chain.
    Chain,
    /// A brand.
    Brand,
    /// A region.
    Region,
    /// A store.
    Store,
}

impl Scope {
    /// Says how wide it is.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Chain => ScopeKind::Chain,
            Self::Brand(_) => ScopeKind::Brand,
            Self::Region(..) => ScopeKind::Region,
            Self::Store(..) => ScopeKind::Store,
        }
    }

    /// Names its brand; the chain has none.
    pub fn brand(&self) -> Option<&BrandId> {
        match self {
            Self::Chain => None,
            Self::Brand(brand) | Self::Region(brand, _) | Self::Store(brand, _) => Some(brand),
        }
    }
}

impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Chain => "chain",
            Self::Brand => "brand",
            Self::Region => "region",
            Self::Store => "store",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Chain => "chain".to_owned(),
            Self::Brand(brand) => format!("brand:{brand}"),
            Self::Region(brand, region) => format!("region:{brand}/{region}"),
            Self::Store(brand, store) => format!("store:{brand}/{store}"),
        };
        f.pad(&text)
    }
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: write `chain`, `brand:<id>`, `region:<brand>/<name>` or `store:<brand>/<number>`")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let text = text.trim();
        let unknown = || UnknownScope(text.to_owned());
        if text == "chain" {
            return Ok(Self::Chain);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        let below = || rest.split_once('/').filter(|(brand, name)| !brand.is_empty() && !name.is_empty());
        match (kind, below()) {
            ("brand", None) if !rest.is_empty() && !rest.contains('/') => Ok(Self::Brand(rest.into())),
            ("region", Some((brand, name))) => Ok(Self::Region(brand.into(), name.to_owned())),
            ("store", Some((brand, number))) => Ok(Self::Store(brand.into(), number.into())),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;

    fn try_from(text: String) -> Result<Self, UnknownScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// What a grant allows within its scope, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Reads dashboards.
    #[default]
    Viewer,
    /// Also asks questions of her own on her wall's connection.
    Analyst,
    /// Also gives grants within her scope.
    Owner,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Owner => "owner",
        })
    }
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level: write `viewer`, `analyst` or `owner`")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text.trim() {
            "viewer" => Ok(Self::Viewer),
            "analyst" => Ok(Self::Analyst),
            "owner" => Ok(Self::Owner),
            other => Err(UnknownLevel(other.to_owned())),
        }
    }
}

/// The chain: which brands, regions and stores there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Its brands, by id.
    pub brands: Vec<Brand>,
}

/// A brand with its stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    /// Its id.
    pub id: BrandId,
    /// What people call it.
    pub title: String,
    /// Its stores by number, closed ones included.
    pub stores: Vec<Store>,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its number.
    pub id: StoreId,
    /// What people call it.
    pub name: String,
    /// Its region; without one it hangs directly under the brand.
    pub region: Option<String>,
    /// When it closed for good.
    pub closed_on: Option<NaiveDate>,
}

impl Brand {
    /// Lists the regions its stores name, by name.
    pub fn regions(&self) -> BTreeSet<&str> {
        self.stores.iter().filter_map(|store| store.region.as_deref()).collect()
    }
}

impl Tree {
    /// Lists every scope, each behind the ones it hangs under.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes = vec![Scope::Chain];
        for brand in &self.brands {
            scopes.push(Scope::Brand(brand.id.clone()));
            let region = |name: &str| Scope::Region(brand.id.clone(), name.to_owned());
            scopes.extend(brand.regions().into_iter().map(region));
            scopes.extend(brand.stores.iter().map(|store| Scope::Store(brand.id.clone(), store.id.clone())));
        }
        scopes
    }

    /// Finds a brand.
    pub fn brand(&self, id: &BrandId) -> Option<&Brand> {
        self.brands.iter().find(|brand| brand.id == *id)
    }

    /// Finds the store a scope means.
    pub fn store(&self, scope: &Scope) -> Option<&Store> {
        let Scope::Store(brand, number) = scope else {
            return None;
        };
        self.brand(brand)?.stores.iter().find(|store| store.id == *number)
    }

    /// Says whether the tree has this scope.
    pub fn contains(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Chain => true,
            Scope::Brand(brand) => self.brand(brand).is_some(),
            Scope::Region(brand, region) => {
                self.brand(brand).is_some_and(|brand| brand.regions().contains(region.as_str()))
            }
            Scope::Store(..) => self.store(scope).is_some(),
        }
    }

    /// Lists the stores within a scope; none when the tree does not have it.
    pub fn stores_of(&self, scope: &Scope) -> BTreeSet<(BrandId, StoreId)> {
        self.brands
            .iter()
            .flat_map(|brand| brand.stores.iter().map(move |store| (brand, store)))
            .filter(|(brand, store)| match scope {
                Scope::Chain => true,
                Scope::Brand(id) => brand.id == *id,
                Scope::Region(id, region) => brand.id == *id && store.region.as_ref() == Some(region),
                Scope::Store(id, number) => brand.id == *id && store.id == *number,
            })
            .map(|(brand, store)| (brand.id.clone(), store.id.clone()))
            .collect()
    }

    /// Finds the scope that one hangs under.
    pub fn parent(&self, scope: &Scope) -> Option<Scope> {
        match scope {
            Scope::Chain => None,
            Scope::Brand(_) => Some(Scope::Chain),
            Scope::Region(brand, _) => Some(Scope::Brand(brand.clone())),
            Scope::Store(brand, _) => Some(match self.store(scope)?.region.clone() {
                Some(region) => Scope::Region(brand.clone(), region),
                None => Scope::Brand(brand.clone()),
            }),
        }
    }

    /// Lists a scope and everything it hangs under, narrowest first.
    pub fn lineage(&self, scope: &Scope) -> Vec<Scope> {
        std::iter::successors(Some(scope.clone()), |scope| self.parent(scope)).collect()
    }

    /// Calls a scope by the name people use.
    pub fn title(&self, scope: &Scope) -> String {
        match scope {
            Scope::Chain => "All brands".to_owned(),
            Scope::Brand(id) => self.brand(id).map_or_else(|| id.to_string(), |brand| brand.title.clone()),
            Scope::Region(_, region) => region.clone(),
            Scope::Store(_, number) => match self.store(scope) {
                Some(store) if !store.name.is_empty() => format!("{number} {}", store.name),
                _ => number.to_string(),
            },
        }
    }

    /// Finds the scope of the same kind that is spelled most alike, two letters off at most beside a number's
    /// leading zeros: a wider one, or somebody else's store, is no help.
    pub fn nearest(&self, text: &str) -> Option<Scope> {
        let kind = |text: &str| text.split_once(':').map(|(kind, _)| kind.to_owned());
        let bare = |text: &str| match text.trim().rsplit_once('/') {
            Some((brand, number)) => format!("{brand}/{}", number.trim_start_matches('0')),
            None => text.trim().to_owned(),
        };
        self.scopes()
            .into_iter()
            .map(|scope| (scope.to_string(), scope))
            .filter(|(name, _)| kind(text).is_none() || kind(name) == kind(text))
            .map(|(name, scope)| (strsim::damerau_levenshtein(&bare(&name), &bare(text)), scope))
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, scope)| scope)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two brands, three regions, four stores; both brands have a 000125.
    pub(crate) fn small_tree() -> Tree {
        let store = |id: &str, name: &str, region: Option<&str>| Store {
            id: id.into(),
            name: name.to_owned(),
            region: region.map(str::to_owned),
            closed_on: None,
        };
        Tree {
            brands: vec![
                Brand {
                    id: "harbor".into(),
                    title: "Harbor Pizza".to_owned(),
                    stores: vec![
                        store("000101", "Riverside", Some("North")),
                        store("000102", "Old Mill", Some("North")),
                        store("000125", "Pier", Some("Coast")),
                    ],
                },
                Brand {
                    id: "mesa".into(),
                    title: "Mesa Grill".to_owned(),
                    stores: vec![store("000125", "Canyon", Some("Desert"))],
                },
            ],
        }
    }

    #[test]
    fn a_scope_reads_back_as_it_was_written() {
        for text in ["chain", "brand:harbor", "region:harbor/North Shore", "store:harbor/000125"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "harbor", "brand:", "brand:a/b", "region:harbor", "store:/1", "shop:a/b"] {
            assert_eq!(text.parse::<Scope>(), Err(UnknownScope(text.to_owned())));
        }
    }

    #[test]
    fn a_store_number_belongs_to_one_brand() {
        let tree = small_tree();
        let stores = tree.stores_of(&"store:mesa/000125".parse().unwrap());
        assert_eq!(stores.into_iter().collect::<Vec<_>>(), [("mesa".into(), "000125".into())]);
        assert_eq!(tree.stores_of(&Scope::Chain).len(), 4);
        assert_eq!(tree.stores_of(&"region:mesa/North".parse().unwrap()).len(), 0);
    }

    #[test]
    fn every_scope_stands_behind_the_one_it_hangs_under() {
        let tree = small_tree();
        let scopes = tree.scopes();
        assert_eq!(scopes.len(), 1 + 2 + 3 + 4);
        for (at, scope) in scopes.iter().enumerate() {
            assert!(tree.contains(scope));
            if let Some(parent) = tree.parent(scope) {
                assert!(scopes[..at].contains(&parent), "{scope} stands before {parent}");
            }
        }
    }

    #[test]
    fn lost_zeros_lead_to_the_store_that_was_meant() {
        let nearest = small_tree().nearest("store:harbor/125");
        assert_eq!(nearest.map(|scope| scope.to_string()).as_deref(), Some("store:harbor/000125"));
        assert_eq!(small_tree().nearest("something else entirely"), None);
        assert_eq!(small_tree().nearest("foo"), None, "no guess gives everything away");
        assert_eq!(small_tree().nearest("store:harbor/999999"), None);
    }
}
