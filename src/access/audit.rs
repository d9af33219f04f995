//! Proves the walls: signs in as every role, counts everything there is, and compares
//! with what the owner counts for the stores of that role's scope.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use serde::Serialize;

use super::credentials::{self, Credentials};
use super::grants::Scope;
use super::roles::{has_role, role_name};
use super::tables::{self, TablesError};
use crate::ids::{BrandId, StoreId};
use crate::settings::{self, Wall};
use crate::warehouse::duties::OPS_WITHHOLDS;
use crate::warehouse::walk::{Kind, Rows, Saw, Thing, Walk};
use crate::warehouse::{Duty, HORIZON, KNOWN_LOADS, Warehouse};
use crate::words::counted;

/// Roles that count at the same time.
const AT_ONCE: usize = 4;

/// Why the walls could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of what is for everybody.
    #[error("failed to read `{path}`")]
    Shared {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The list of what is for everybody makes no sense.
    #[error("failed to understand `{path}`")]
    SharedText {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// The tree could not be read.
    #[error("failed to read the tree of stores")]
    Tree(#[source] TablesError),
    /// The passwords' key.
    #[error("failed to derive the roles' passwords")]
    Credentials(#[source] credentials::Error),
    /// Counting as the owner.
    #[error("failed to {action}")]
    Owner {
        /// What was tried.
        action: &'static str,
        /// What the server said.
        source: sqlx::Error,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shared { .. } => Some("`--definitions` names the folder that holds sql/marts/shared.toml"),
            Self::SharedText { .. } => {
                Some("write a line a table or view: name = \"why every reader of a brand sees it\"")
            }
            Self::Credentials(error) => error.hint(),
            Self::Tree(_) | Self::Owner { .. } => None,
        }
    }
}

/// Who may see a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "because")]
pub enum Rule {
    /// A reader sees the rows of its stores.
    ByStore,
    /// Every reader of the brand sees all of it, for this reason.
    Shared(String),
    /// Every reader of the whole brand and above sees all of it and other readers no row, for this reason.
    BrandReaders(String),
    /// A role sees the lines about itself.
    OwnLines,
    /// Whoever watches sees it, no reader.
    Ops,
    /// No reader.
    Closed,
    /// Nobody has said: it has no `store_id` and is not on the list.
    Unclassified,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ByStore => "by store",
            Self::Shared(_) => "every reader of the brand",
            Self::BrandReaders(_) => "readers of the whole brand",
            Self::OwnLines => "own lines",
            Self::Ops => "ops",
            Self::Closed => "closed",
            Self::Unclassified => "UNCLASSIFIED",
        })
    }
}

/// One thing that was walked.
#[derive(Debug, Clone, Serialize)]
pub struct Walked {
    /// Its schema and name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Who may see it.
    pub rule: Rule,
    /// Rows in it; none where only its caller knows how to call it.
    pub rows: Option<i64>,
}

/// What one role saw of one thing.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The role's scope, or `ops`.
    pub scope: String,
    /// The thing.
    pub name: String,
    /// Rows it should see; none: it should be refused.
    pub expected: Option<i64>,
    /// Rows it saw; none: it was refused.
    pub seen: Option<i64>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// For whom: a scope, a role, or everybody.
    pub who: String,
    /// What.
    pub what: String,
    /// In which way.
    pub how: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.who, self.what, self.how)
    }
}

/// The proof.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Audit {
    /// Roles that signed in.
    pub roles: usize,
    /// Everything there is.
    pub things: Vec<Walked>,
    /// What every role saw of every thing.
    pub cells: Vec<Cell>,
    /// Rows or rights that somebody should not have.
    pub leaks: Vec<Finding>,
    /// Rows that somebody should see and does not.
    pub lacks: Vec<Finding>,
    /// Tables and views without a `store_id` that nobody has classified.
    pub unclassified: Vec<String>,
    /// What could not be tried.
    pub not_covered: Vec<Finding>,
}

impl Audit {
    /// Whether everything was tried and is as it should be.
    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty() && self.lacks.is_empty() && self.unclassified.is_empty() && self.not_covered.is_empty()
    }
}

/// Signs in as every role and counts everything. Changes nothing.
///
/// # Errors
/// When the owner cannot count, or the list of what is shared cannot be read. A role that
/// cannot is in the answer.
pub async fn audit(
    warehouse: &Warehouse,
    brands: &BTreeMap<BrandId, settings::Brand>,
    data_dir: &Path,
    wall: Wall,
    definitions: &Path,
) -> Result<Audit, Error> {
    let shared = shared(definitions)?;
    let tree = tables::tree(warehouse, brands).await.map_err(Error::Tree)?;
    let credentials = Credentials::open(data_dir).map_err(Error::Credentials)?;
    let ids: Vec<BrandId> = brands.keys().cloned().collect();
    let failed = |action| move |source| Error::Owner { action, source };
    let mut walk = Walk::begin(warehouse, &ids).await.map_err(failed("list what there is"))?;
    let there = walk.owner().await.map_err(failed("count as the owner"))?;
    let installation = warehouse.installation();
    let mut roles: Vec<(Option<Scope>, String)> = tree
        .scopes()
        .into_iter()
        .filter(|scope| has_role(scope, wall))
        .map(|scope| (Some(scope.clone()), role_name(installation, &scope)))
        .collect();
    roles.push((None, Duty::Ops.role(installation)));
    let names: Vec<String> = roles.iter().map(|(_, role)| role.clone()).collect();
    let holes = walk.holes(&names, &ids).await.map_err(failed("read the rights"))?;
    let walk = &walk;
    let credentials = &credentials;
    let looks: Vec<Result<Vec<Saw>, sqlx::Error>> = futures::stream::iter(&roles)
        .map(|(_, role)| async move { walk.role(warehouse, role, &credentials.password(role)).await })
        .buffered(AT_ONCE)
        .collect()
        .await;

    let mut audit = Audit { roles: roles.len(), ..Audit::default() };
    for hole in holes {
        audit.leaks.push(Finding { who: hole.who, what: hole.what, how: hole.how });
    }
    let rules: Vec<Rule> = walk.things.iter().map(|thing| rule(thing, &shared)).collect();
    for ((thing, rule), there) in walk.things.iter().zip(&rules).zip(&there) {
        if *rule == Rule::Unclassified {
            audit.unclassified.push(thing.path());
        }
        let rows = match there {
            Saw::Rows(rows) => Some(rows.values().sum()),
            Saw::Callable => None,
            Saw::Refused | Saw::Failed(_) => {
                audit.not_covered.push(finding("owner", thing, &describe(there)));
                None
            }
        };
        audit.things.push(Walked { name: thing.path(), kind: thing.kind, rule: rule.clone(), rows });
    }
    for ((scope, role), look) in roles.iter().zip(looks) {
        let who = scope.as_ref().map_or_else(|| Duty::Ops.word().to_owned(), ToString::to_string);
        let seen = match look {
            Ok(seen) => seen,
            Err(error) => {
                let how = crate::telemetry::chain(&error);
                audit.not_covered.push(Finding { who, what: format!("role {role}"), how });
                continue;
            }
        };
        let stores = scope.as_ref().map(|scope| tree.stores_of(scope)).unwrap_or_default();
        for (((thing, rule), there), saw) in walk.things.iter().zip(&rules).zip(&there).zip(&seen) {
            let expected = expected(scope.as_ref(), &stores, thing, rule, there);
            audit.compare(&who, thing, expected, saw);
        }
    }
    Ok(audit)
}

impl Audit {
    fn compare(&mut self, who: &str, thing: &Thing, expected: Option<Rows>, saw: &Saw) {
        let total = |rows: &Rows| rows.values().sum::<i64>();
        let seen = match saw {
            Saw::Failed(_) => return self.not_covered.push(finding(who, thing, &describe(saw))),
            Saw::Callable => {
                return self.leaks.push(finding(who, thing, "may call a function that nobody said is for readers"));
            }
            Saw::Refused => None,
            Saw::Rows(rows) => Some(rows),
        };
        self.cells.push(Cell {
            scope: who.to_owned(),
            name: thing.path(),
            expected: expected.as_ref().map(total),
            seen: seen.map(total),
        });
        match (&expected, seen) {
            (None, None) => {}
            (None, Some(rows)) => {
                self.leaks.push(finding(who, thing, &format!("reads it: {}", counted(total(rows), "row", "rows"))));
            }
            (Some(rows), None) => {
                self.lacks.push(finding(who, thing, &format!("is refused {}", counted(total(rows), "row", "rows"))))
            }
            (Some(expected), Some(seen)) => {
                let of = |key: &(Option<String>, Option<String>)| {
                    let store = key.1.as_deref().unwrap_or("no store");
                    key.0.as_ref().map_or_else(|| store.to_owned(), |brand| format!("{brand}/{store}"))
                };
                for key in expected.keys().chain(seen.keys()).collect::<BTreeSet<_>>() {
                    let rows = |rows: &Rows| rows.get(key).copied().unwrap_or_default();
                    let (should, does) = (rows(expected), rows(seen));
                    let how = format!("sees {} of {}, not {should}", counted(does, "row", "rows"), of(key));
                    match does.cmp(&should) {
                        std::cmp::Ordering::Greater => self.leaks.push(finding(who, thing, &how)),
                        std::cmp::Ordering::Less => self.lacks.push(finding(who, thing, &how)),
                        std::cmp::Ordering::Equal => {}
                    }
                }
            }
        }
    }
}

/// The rows a role should see; none: it should be refused.
fn expected(
    scope: Option<&Scope>,
    stores: &BTreeSet<(BrandId, StoreId)>,
    thing: &Thing,
    rule: &Rule,
    there: &Saw,
) -> Option<Rows> {
    let Saw::Rows(rows) = there else { return None };
    let Some(scope) = scope else {
        return (*rule == Rule::Ops).then(|| rows.clone());
    };
    let enters = match &thing.brand {
        Some(brand) => scope.brand().is_none_or(|own| own == brand),
        None => *scope == Scope::Chain,
    };
    match rule {
        Rule::ByStore if enters => {
            let own = |brand: &Option<String>, store: &Option<String>| {
                let brand = thing.brand.clone().or_else(|| brand.as_deref().map(BrandId::from));
                brand.zip(store.as_deref().map(StoreId::from)).is_some_and(|pair| stores.contains(&pair))
            };
            Some(rows.iter().filter(|((brand, store), _)| own(brand, store)).map(|(k, n)| (k.clone(), *n)).collect())
        }
        Rule::Shared(_) if enters => Some(rows.clone()),
        Rule::BrandReaders(_) if enters => {
            let wide = matches!(scope, Scope::Chain | Scope::Brand(_));
            Some(if wide { rows.clone() } else { Rows::new() })
        }
        Rule::OwnLines => {
            Some(stores.iter().map(|(brand, store)| ((Some(brand.0.clone()), Some(store.0.clone())), 1)).collect())
        }
        _ => None,
    }
}

/// Says who may see a thing, by what it is and where it stands.
fn rule(thing: &Thing, shared: &SharedThings) -> Rule {
    if thing.brand.is_none() && thing.schema != "mart_all" {
        return match (thing.schema.as_str(), thing.kind) {
            ("walls", Kind::Table) if thing.name == "stores" => Rule::OwnLines,
            ("ops", Kind::Table) if OPS_WITHHOLDS.iter().any(|(table, _)| *table == thing.name) => Rule::Ops,
            _ => Rule::Closed,
        };
    }
    let name = match thing.kind {
        Kind::Table | Kind::View => thing.name.as_str(),
        Kind::Function if thing.is_as_of() => thing.name.trim_end_matches("_as_of"),
        _ => return Rule::Closed,
    };
    // The union views tell their brands.
    if name.starts_with('_') {
        Rule::Closed
    } else if thing.by_store && (thing.brand.is_some() || thing.by_brand) {
        Rule::ByStore
    } else {
        let ours = (thing.schema.starts_with("history_") && [KNOWN_LOADS, HORIZON].contains(&name))
            .then(|| "tells when the brand's loads became known and how far back, and nothing of a store".to_owned());
        let all = ours.or_else(|| shared.all.get(name).cloned()).map(Rule::Shared);
        let wide = || shared.brand_readers.get(name).cloned().map(Rule::BrandReaders);
        all.or_else(wide).unwrap_or(Rule::Unclassified)
    }
}

/// `sql/marts/shared.toml`: tables and views without a `store_id`, and why who sees them.
#[derive(Debug, Default)]
struct SharedThings {
    /// Every reader of a brand sees all rows.
    all: BTreeMap<String, String>,
    /// The readers of the whole brand and above see all rows, others none.
    brand_readers: BTreeMap<String, String>,
}

/// Reads which tables and views without a `store_id` are for whom, and why.
fn shared(definitions: &Path) -> Result<SharedThings, Error> {
    let path = definitions.join("sql/marts/shared.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(Error::Shared { path, source }),
    };
    let understood = |text: &str| {
        let mut lines: toml::Table = toml::from_str(text)?;
        let brand_readers = lines.remove("brand_readers").map_or(Ok(BTreeMap::new()), toml::Value::try_into)?;
        Ok(SharedThings { all: lines.try_into()?, brand_readers })
    };
    understood(&text).map_err(|source| Error::SharedText { path, source: Box::new(source) })
}

fn finding(who: &str, thing: &Thing, how: &str) -> Finding {
    Finding { who: who.to_owned(), what: format!("{} {}", thing.kind, thing.path()), how: how.to_owned() }
}

fn describe(saw: &Saw) -> String {
    match saw {
        Saw::Refused => "was refused".to_owned(),
        Saw::Failed(code) => format!("counting failed with {code}"),
        Saw::Rows(_) | Saw::Callable => "was seen".to_owned(),
    }
}
