//! The steps between what an instance holds and what it should hold. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::actual::{Actual, Collection as ActualCollection, Database};
use super::desired::{Card, Connection, Dashboard, Desired};
use super::index::Index;
use super::plan_settings::mail_is_on;
use super::selection::Selection;
use super::step::{Action, Change, Step, Work};
use super::tables::{Kind, Objects};
use crate::settings;
use crate::warehouse::hexadecimal;
use crate::words::counted;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More people would lose their account than one apply may shut.
    #[error("{leaving} of {active} active people would be deactivated; `metabase.deactivation_limit` allows {allowed}")]
    TooManyLeave {
        /// Accounts that would be shut.
        leaving: usize,
        /// Accounts of ours that are open.
        active: usize,
        /// How many the limit allows.
        allowed: usize,
    },
    /// More scopes would lose a group or connection than one apply may take it from.
    #[error(
        "{going} of {} would lose their group or connection; `metabase.deletion_limit` allows {allowed}",
        counted(*scopes, "scope", "scopes")
    )]
    TooManyGo {
        /// Scopes that would lose one.
        going: usize,
        /// Scopes that have one.
        scopes: usize,
        /// How many the limit allows.
        allowed: usize,
    },
    /// The instance was in use before us, and nobody said that it is ours to change.
    #[error("this Metabase is in use and was not ours so far")]
    NotOurs,
    /// The configuration wants something that this Metabase's licence does not have.
    #[error(
        "`metabase.isolation = \"blocked\"` needs the feature `{feature}`, which this Metabase's token does not have"
    )]
    NoFeature {
        /// Its name in `token-features`.
        feature: &'static str,
    },
    /// Metabase has a group of that name, which is not ours.
    #[error("Metabase has groups that are not ours under the names of ours: {}", .names.join(", "))]
    NamesTaken {
        /// Their names.
        names: Vec<String>,
    },
    /// Metabase would mail every new person.
    #[error("Metabase has a mail server set: it would send its own invitation to each of {joining} new people")]
    MailIsOn {
        /// New accounts.
        joining: usize,
    },
}

impl Refusal {
    /// Says what the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::TooManyLeave { .. } => "look at the last import; if it is right, raise the limit for this apply",
            Self::TooManyGo { .. } => {
                "look at `[brands]`, `metabase.wall`, and the stores that were loaded last; if all is right, raise the limit for this apply"
            }
            Self::NotOurs => {
                "look at `storekeeper plan`; where `metabase.url` is the right one, `storekeeper apply --own` takes it over"
            }
            Self::NoFeature { .. } => {
                "write `isolation = \"collections\"`, which every edition has: PostgreSQL keeps the rows apart either way"
            }
            Self::NamesTaken { .. } => {
                "names of groups are unique in Metabase: rename those groups there, or delete them where nobody needs them"
            }
            Self::MailIsOn { .. } => {
                "clear Metabase's mail settings, or write them into [metabase.mail]: then `apply` takes them out while it makes accounts"
            }
        })
    }
}

/// The steps to take; nothing else is done.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order in which they are taken.
    pub steps: Vec<Step>,
    /// What was found and is not ours to change.
    pub notes: Vec<String>,
    /// The part of the whole plan that this is.
    pub(super) selection: Selection,
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.steps.serialize(serializer)
    }
}

impl Plan {
    /// Says whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Tells one plan from another.
    pub(super) fn digest(&self) -> String {
        hexadecimal(&Sha256::digest(format!("{:?}", self.steps)))
    }
}

impl fmt::Display for Plan {
    /// Rights first; of many steps alike the first few.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.steps.is_empty() {
            writeln!(f, "nothing to do")?;
        }
        let about_rights = |step: &Step| !matches!(step.action, Action::Revoke | Action::Deactivate | Action::Grant);
        let mut alike: BTreeMap<(bool, usize, Action, &str), Vec<&Step>> = BTreeMap::new();
        let mut first: BTreeMap<(Action, &str), usize> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let at = *first.entry((step.action, step.kind)).or_insert(at);
            alike.entry((about_rights(step), at, step.action, step.kind)).or_default().push(step);
        }
        for ((_, _, action, kind), steps) in &alike {
            let shown = if steps.len() > SHOWN + 2 { SHOWN } else { steps.len() };
            for step in &steps[..shown] {
                writeln!(f, "{step}")?;
            }
            if steps.len() > shown {
                writeln!(f, "  … and {} more: {action} {kind}", steps.len() - shown)?;
            }
        }
        for note in &self.notes {
            writeln!(f, "! {note}")?;
        }
        f.write_str(&counted(self.steps.len(), "step", "steps"))
    }
}

/// Refuses a plan that would do what it must not.
pub(super) fn guard(plan: &Plan, moves: Moves, actual: &Actual, settings: &settings::Metabase) -> Result<(), Refusal> {
    let Moves { active, taken, scopes } = moves;
    let named = |name: &String| plan.steps.iter().any(|step| step.kind == "group" && step.name == *name);
    let names: Vec<String> = taken.into_iter().filter(named).collect();
    if !names.is_empty() {
        return Err(Refusal::NamesTaken { names });
    }
    let count =
        |action: Action| plan.steps.iter().filter(|step| step.kind == "person" && step.action == action).count();
    let (joining, leaving) = (count(Action::Create), count(Action::Deactivate));
    let share = |all: usize, limit: f64| ((all as f64 * limit).floor() as usize).max(1);
    let allowed = share(active, settings.deactivation_limit);
    if leaving > allowed {
        return Err(Refusal::TooManyLeave { leaving, active, allowed });
    }
    let goes = |step: &&Step| step.action == Action::Delete && ["group", "connection"].contains(&step.kind);
    let going = plan.steps.iter().filter(goes).map(|step| scope_of(&step.scope)).collect::<BTreeSet<_>>().len();
    let allowed = share(scopes, settings.deletion_limit);
    if going > allowed {
        return Err(Refusal::TooManyGo { going, scopes, allowed });
    }
    let held = plan.steps.iter().any(|step| step.work == Work::HoldMail);
    if joining > 0 && mail_is_on(actual) && !held {
        return Err(Refusal::MailIsOn { joining });
    }
    Ok(())
}

/// What a guard must know besides the steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// Accounts of ours that are open.
    pub(super) active: usize,
    /// Names of groups of ours that groups of others have.
    pub(super) taken: Vec<String>,
    /// Scopes that have a group or connection of ours.
    pub(super) scopes: usize,
}

/// The scope in a group's key, which may have more words.
fn scope_of(key: &str) -> &str {
    key.split(" (").next().unwrap_or_default()
}

/// Lists the steps whatever the guards say.
pub(super) fn steps(desired: &Desired, actual: &Actual, objects: &Objects) -> (Plan, Moves) {
    let index = Index::resolve(desired, actual, objects);
    let mut planning = Planning { desired, actual, objects, index: &index, plan: Plan::default() };
    planning.settings();
    planning.connections();
    planning.groups();
    planning.collections();
    planning.data_rights();
    planning.views();
    planning.collection_rights();
    planning.content();
    planning.pins();
    planning.home_page();
    let moves = Moves { active: planning.people(), taken: planning.taken(), scopes: planning.scopes() };
    planning.memberships();
    planning.plan.notes.extend(desired.notes.iter().cloned());
    let mut plan = planning.plan;
    plan.steps.sort_by_key(|step| step.work.phase());
    plan.notes.sort();
    plan.notes.dedup();
    (plan, moves)
}

/// A plan in the making.
pub(super) struct Planning<'a> {
    pub(super) desired: &'a Desired,
    pub(super) actual: &'a Actual,
    pub(super) objects: &'a Objects,
    pub(super) index: &'a Index,
    pub(super) plan: Plan,
}

impl Planning<'_> {
    pub(super) fn step(
        &mut self,
        action: Action,
        kind: &'static str,
        name: &str,
        scope: &str,
        changes: Vec<Change>,
        work: Work,
    ) {
        let (name, scope) = (name.to_owned(), scope.to_owned());
        let content = self.content_of(&work);
        self.plan.steps.push(Step { action, kind, name, scope, changes, work, content });
    }

    /// What a step writes and does not show.
    fn content_of(&self, work: &Work) -> String {
        let desired = self.desired;
        let content = match work {
            Work::CreateConnection { key } | Work::UpdateConnection { key, .. } => {
                desired.connections.get(key).map(Connection::hash)
            }
            Work::CreateCard { key } | Work::UpdateCard { key, .. } => desired.cards.get(key).map(Card::hash),
            Work::CreateDashboard { key } | Work::UpdateDashboard { key, .. } => {
                desired.dashboards.get(key).map(Dashboard::hash)
            }
            _ => None,
        };
        content.unwrap_or_default()
    }

    pub(super) fn note(&mut self, note: String) {
        self.plan.notes.push(note);
    }

    /// Keys of ours that nobody wants any more, with their ids.
    pub(super) fn obsolete(&self, kind: Kind, wanted: impl Fn(&str) -> bool) -> Vec<(String, i64)> {
        self.objects
            .keys()
            .filter(|(of, key)| *of == kind && !wanted(key))
            .filter_map(|(_, key)| Some((key.clone(), self.index.get(kind, key)?)))
            .collect()
    }

    fn connections(&mut self) {
        for (key, connection) in &self.desired.connections {
            let scope = connection.scope.to_string();
            let Some(id) = self.index.get(Kind::Connection, key) else {
                let alike = |(id, found): (&i64, &Database)| {
                    found.name == connection.name() && self.index.key(Kind::Connection, *id).is_none()
                };
                if self.actual.databases.iter().any(alike) {
                    self.note(format!(
                        "the connection `{}` beside ours is not ours: it stays as it is",
                        connection.name()
                    ));
                }
                let changes = vec![
                    Change::new("user", Value::Null, connection.role.clone()),
                    Change::new("queries of others", Value::Null, "no"),
                ];
                let work = Work::CreateConnection { key: key.clone() };
                self.step(Action::Create, "connection", &connection.name(), &scope, changes, work);
                continue;
            };
            let found = &self.actual.databases[&id];
            let mut changes = Vec::new();
            if found.name != connection.name() {
                changes.push(Change::new("name", found.name.clone(), connection.name()));
            }
            let details = connection.details("");
            for field in ["host", "port", "dbname", "user", "ssl", "schema-filters-type", "schema-filters-patterns"] {
                if found.details[field] != details[field] {
                    changes.push(Change::new(field, found.details[field].clone(), details[field].clone()));
                }
            }
            let known = self.objects.get(&(Kind::Connection, key.clone()));
            if changes.is_empty() && known.is_some_and(|known| known.hash != connection.hash()) {
                changes.push(Change::new("password", "an older one", "the role's"));
            }
            if !changes.is_empty() {
                let work = Work::UpdateConnection { key: key.clone(), id };
                self.step(Action::Update, "connection", &connection.name(), &scope, changes, work);
            }
        }
        for (key, id) in self.obsolete(Kind::Connection, |key| self.desired.connections.contains_key(key)) {
            let name = self.actual.databases[&id].name.clone();
            let standing = self.actual.standing.get(&id).into_iter().flatten();
            let others = standing.filter(|card| self.index.key(Kind::Card, **card).is_none()).count();
            if others > 0 {
                let others = counted(others, "question that is not ours stands", "questions that are not ours stand");
                self.note(format!("the connection `{name}` stays: {others} on it"));
                continue;
            }
            self.step(
                Action::Delete,
                "connection",
                &name,
                &key,
                Vec::new(),
                Work::DeleteConnection { key: key.clone(), id },
            );
        }
    }

    fn groups(&mut self) {
        for (key, group) in &self.desired.groups {
            let scope = group.scope.to_string();
            match self.index.get(Kind::Group, key) {
                None => {
                    let work = Work::CreateGroup { key: key.clone() };
                    self.step(Action::Create, "group", &group.name, &scope, Vec::new(), work);
                }
                Some(id) if self.actual.groups[&id] != group.name => {
                    let changes = vec![Change::new("name", self.actual.groups[&id].clone(), group.name.clone())];
                    let work = Work::RenameGroup { key: key.clone(), id };
                    self.step(Action::Update, "group", &group.name, &scope, changes, work);
                }
                Some(_) => {}
            }
        }
        for (key, id) in self.obsolete(Kind::Group, |key| self.desired.groups.contains_key(key)) {
            let name = self.actual.groups[&id].clone();
            self.step(Action::Delete, "group", &name, &key, Vec::new(), Work::DeleteGroup { key: key.clone(), id });
        }
    }

    /// Counts the scopes that have a group or connection.
    fn scopes(&self) -> usize {
        let ours = self.objects.keys().filter(|(kind, key)| {
            matches!(kind, Kind::Group | Kind::Connection) && self.index.get(*kind, key).is_some()
        });
        ours.map(|(_, key)| scope_of(key)).collect::<BTreeSet<_>>().len()
    }

    /// Names of groups that are to be made or renamed, and that groups of others have.
    fn taken(&self) -> Vec<String> {
        let others: BTreeSet<String> = self
            .actual
            .groups
            .iter()
            .filter(|(id, _)| self.index.key(Kind::Group, **id).is_none())
            .map(|(_, name)| name.to_lowercase())
            .collect();
        let groups = self.desired.groups.values().map(|group| &group.name);
        groups.filter(|name| others.contains(&name.to_lowercase())).cloned().collect()
    }

    fn collections(&mut self) {
        for collection in &self.desired.collections {
            let scope = collection.scope.to_string();
            let Some(id) = self.index.get(Kind::Collection, &collection.key) else {
                let parent = collection.parent.as_ref().map(|parent| self.index.get(Kind::Collection, parent));
                let alike = self.actual.collections.iter().any(|(id, found)| {
                    found.name == collection.name
                        && !found.archived
                        && parent.is_none_or(|parent| parent.is_some())
                        && found.parent == parent.flatten()
                        && self.index.key(Kind::Collection, *id).is_none()
                });
                if alike {
                    self.note(format!(
                        "the collection `{}` beside ours is not ours: it stays as it is",
                        collection.name
                    ));
                }
                let changes = vec![Change::new("description", Value::Null, collection.description.clone())];
                let work = Work::CreateCollection { key: collection.key.clone() };
                self.step(Action::Create, "collection", &collection.name, &scope, changes, work);
                continue;
            };
            let found = &self.actual.collections[&id];
            let mut changes = Vec::new();
            if found.archived {
                changes.push(Change::new("archived", true, false));
            }
            if found.name != collection.name {
                changes.push(Change::new("name", found.name.clone(), collection.name.clone()));
            }
            if found.description != collection.description {
                changes.push(Change::new("description", found.description.clone(), collection.description.clone()));
            }
            let parent = collection.parent.as_ref().map(|parent| self.index.get(Kind::Collection, parent));
            // A parent that is still to be made is another one in any case.
            if !found.archived && parent.unwrap_or(None) != found.parent {
                let from = found
                    .parent
                    .map(|id| self.index.key(Kind::Collection, id).map_or_else(|| id.to_string(), str::to_owned));
                changes.push(Change::new("parent", from, collection.parent.clone()));
            }
            if !changes.is_empty() {
                let work = Work::UpdateCollection { key: collection.key.clone(), id };
                self.step(Action::Update, "collection", &collection.name, &scope, changes, work);
            }
        }
        let wanted: BTreeSet<&str> =
            self.desired.collections.iter().map(|collection| collection.key.as_str()).collect();
        let mut obsolete = self.obsolete(Kind::Collection, |key| wanted.contains(key));
        let mut stays = BTreeSet::new();
        // Children before their parents.
        obsolete.sort_by_key(|(_, id)| std::cmp::Reverse(depth(&self.actual.collections, *id)));
        for (key, id) in obsolete {
            let found = &self.actual.collections[&id];
            if found.archived {
                continue;
            }
            let others = self.items_of_others(id);
            if others > 0 {
                let others = counted(others, "object that is not ours", "objects that are not ours");
                self.note(format!("the collection `{}` stays: it holds {others}", found.name));
                stays.insert(id);
            }
            // Into the trash goes all that is below: what stays keeps its parents.
            if stays.contains(&id) {
                stays.extend(found.parent);
                continue;
            }
            let name = found.name.clone();
            let work = Work::ArchiveCollection { key: key.clone(), id };
            self.step(Action::Delete, "collection", &name, &key, Vec::new(), work);
        }
    }

    /// Questions, dashboards and collections of others in a collection of ours.
    pub(super) fn items_of_others(&self, collection: i64) -> usize {
        let inside = |found: &ActualCollection| !found.archived && found.parent == Some(collection);
        let collections = self.actual.collections.iter();
        let below = collections.filter(|(id, found)| inside(found) && self.index.key(Kind::Collection, **id).is_none());
        let items = self
            .actual
            .items
            .iter()
            .filter(|((kind, id), item)| item.collection == Some(collection) && self.index.key(*kind, *id).is_none())
            .count();
        items + below.count()
    }

    /// Groups that go anyway: their rights go with them.
    pub(super) fn going(&self, group: Option<&str>) -> bool {
        group.is_some_and(|key| !self.desired.groups.contains_key(key))
    }
}

fn depth(collections: &BTreeMap<i64, ActualCollection>, id: i64) -> usize {
    let mut depth = 0;
    let mut at = collections.get(&id).and_then(|found| found.parent);
    // Bounded: a loop in the answers must not hang us.
    while let Some(parent) = at.filter(|_| depth < 50) {
        depth += 1;
        at = collections.get(&parent).and_then(|found| found.parent);
    }
    depth
}
