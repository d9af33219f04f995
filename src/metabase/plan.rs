//! The steps between what an instance holds and what it should hold. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::actual::{Actual, Collection as ActualCollection, Item, Place, User, sql_of};
use super::desired::{Account, Card, Dashboard, Desired, Place as Rectangle, Shows};
use super::step::{Action, Change, Step, Work};
use super::tables::{Kind, Objects};
use crate::warehouse::hexadecimal;

const NATIVE: &str = "query-builder-and-native";

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
            Self::MailIsOn { .. } => "clear Metabase's mail settings: invitations and reports are ours to send",
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
        write!(f, "{} steps", self.steps.len())
    }
}

/// Which of our keys are which objects of the instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    ids: BTreeMap<(Kind, String), i64>,
    keys: BTreeMap<(Kind, i64), String>,
}

impl Index {
    pub(super) fn get(&self, kind: Kind, key: &str) -> Option<i64> {
        self.ids.get(&(kind, key.to_owned())).copied()
    }

    pub(super) fn key(&self, kind: Kind, id: i64) -> Option<&str> {
        self.keys.get(&(kind, id)).map(String::as_str)
    }

    pub(super) fn put(&mut self, kind: Kind, key: &str, id: i64) {
        self.ids.insert((kind, key.to_owned()), id);
        self.keys.insert((kind, id), key.to_owned());
    }

    /// Finds our objects by the ids we noted; those that were being made when a
    /// process ended, by their names.
    pub(super) fn resolve(desired: &Desired, actual: &Actual, objects: &Objects) -> Self {
        let mut index = Self::default();
        let exists = |kind: Kind, id: i64| match kind {
            Kind::Connection => actual.databases.contains_key(&id),
            Kind::Group => actual.groups.contains_key(&id),
            Kind::Collection => actual.collections.contains_key(&id),
            Kind::Card | Kind::Dashboard => actual.items.contains_key(&(kind, id)),
            Kind::Person => actual.users.contains_key(&id),
        };
        for ((kind, key), known) in objects {
            if let Some(id) = known.id.filter(|id| exists(*kind, *id)) {
                index.put(*kind, key, id);
            }
        }
        let pending =
            |kind: Kind, key: &str| objects.get(&(kind, key.to_owned())).is_some_and(|known| known.id.is_none());
        for (key, connection) in &desired.connections {
            let named = |name: &str| name == connection.name();
            if pending(Kind::Connection, key)
                && let Some((id, _)) = actual.databases.iter().find(|(_, found)| named(&found.name))
            {
                index.put(Kind::Connection, key, *id);
            }
        }
        for (key, group) in &desired.groups {
            if pending(Kind::Group, key)
                && let Some((id, _)) =
                    actual.groups.iter().find(|(_, name)| name.to_lowercase() == group.name.to_lowercase())
            {
                index.put(Kind::Group, key, *id);
            }
        }
        for collection in &desired.collections {
            let parent = collection.parent.as_ref().and_then(|parent| index.get(Kind::Collection, parent));
            let found = actual.collections.iter().find(|(id, found)| {
                found.name == collection.name
                    && found.parent == parent
                    && !found.archived
                    && index.key(Kind::Collection, **id).is_none()
            });
            if let (true, Some((id, _))) = (pending(Kind::Collection, &collection.key), found) {
                index.put(Kind::Collection, &collection.key, *id);
            }
        }
        let cards = desired.cards.iter().map(|(key, card)| (Kind::Card, key, &card.collection, &card.name));
        let dashboards = desired
            .dashboards
            .iter()
            .map(|(key, dashboard)| (Kind::Dashboard, key, &dashboard.collection, &dashboard.name));
        for (kind, key, collection, name) in cards.chain(dashboards).filter(|(kind, key, ..)| pending(*kind, key)) {
            let Some(collection) = index.get(Kind::Collection, collection) else { continue };
            let found = actual.items.iter().find(|((of, id), item)| {
                *of == kind
                    && item.collection == Some(collection)
                    && item.name == *name
                    && index.key(kind, *id).is_none()
            });
            if let Some(((_, id), _)) = found {
                index.put(kind, key, *id);
            }
        }
        for (key, account) in &desired.people {
            if index.get(Kind::Person, key).is_none()
                && let Some((id, _)) = actual.users.iter().find(|(_, user)| user.email == account.email)
            {
                index.put(Kind::Person, key, *id);
            }
        }
        index
    }
}

/// Lists the steps from `actual` to `desired`.
pub(super) fn plan(
    desired: &Desired,
    actual: &Actual,
    objects: &Objects,
    deactivation_limit: f64,
) -> Result<Plan, Refusal> {
    let (plan, moves) = steps(desired, actual, objects);
    let Moves { joining, leaving, active } = moves;
    let allowed = ((active as f64 * deactivation_limit).floor() as usize).max(1);
    if leaving > allowed {
        return Err(Refusal::TooManyLeave { leaving, active, allowed });
    }
    let mail = actual.settings.get("email-smtp-host").map(|setting| &setting.value);
    if joining > 0 && mail.and_then(Value::as_str).is_some_and(|host| !host.is_empty()) {
        return Err(Refusal::MailIsOn { joining });
    }
    Ok(plan)
}

/// How many people come and go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moves {
    joining: usize,
    leaving: usize,
    /// Accounts of ours that are open.
    active: usize,
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
    planning.collection_rights();
    planning.content();
    let moves = planning.people();
    planning.memberships();
    planning.plan.notes.extend(desired.notes.iter().cloned());
    let mut plan = planning.plan;
    plan.steps.sort_by_key(|step| step.work.phase());
    plan.notes.sort();
    plan.notes.dedup();
    (plan, moves)
}

struct Planning<'a> {
    desired: &'a Desired,
    actual: &'a Actual,
    objects: &'a Objects,
    index: &'a Index,
    plan: Plan,
}

impl Planning<'_> {
    fn step(&mut self, action: Action, kind: &'static str, name: &str, scope: &str, changes: Vec<Change>, work: Work) {
        let (name, scope) = (name.to_owned(), scope.to_owned());
        self.plan.steps.push(Step { action, kind, name, scope, changes, work });
    }

    fn note(&mut self, note: String) {
        self.plan.notes.push(note);
    }

    fn settings(&mut self) {
        for (key, wanted) in &self.desired.settings {
            let Some(setting) = self.actual.settings.get(key) else {
                self.note(format!("this release has no setting `{key}`"));
                continue;
            };
            let same = setting.value == *wanted
                || (wanted.is_boolean() && setting.value.as_str() == Some(&wanted.to_string()));
            if same {
                continue;
            }
            if setting.fixed {
                self.note(format!("the setting `{key}` is fixed by the server's environment and should be `{wanted}`"));
                continue;
            }
            let changes = vec![Change::new("value", setting.value.clone(), wanted.clone())];
            let work = Work::Setting { key: key.clone(), value: wanted.clone() };
            self.step(Action::Update, "setting", key, "", changes, work);
        }
        for (id, database) in self.actual.databases.iter().filter(|(_, database)| database.sample) {
            let work = Work::DeleteSample { id: *id };
            self.step(Action::Delete, "sample database", &database.name, "", Vec::new(), work);
        }
        for (id, collection) in &self.actual.collections {
            if collection.sample && !collection.archived {
                let work = Work::ArchiveSample { id: *id };
                self.step(Action::Delete, "sample collection", &collection.name, "", Vec::new(), work);
            }
        }
    }

    /// Keys of ours that nobody wants any more, with their ids.
    fn obsolete(&self, kind: Kind, wanted: impl Fn(&str) -> bool) -> Vec<(String, i64)> {
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

    fn collections(&mut self) {
        for collection in &self.desired.collections {
            let scope = collection.scope.to_string();
            let Some(id) = self.index.get(Kind::Collection, &collection.key) else {
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
        // Children before their parents.
        obsolete.sort_by_key(|(_, id)| std::cmp::Reverse(depth(&self.actual.collections, *id)));
        for (key, id) in obsolete {
            let found = &self.actual.collections[&id];
            if found.archived {
                continue;
            }
            let others = self.items_of_others(id);
            if others > 0 {
                self.note(format!(
                    "the collection `{}` stays: it holds {others} objects that are not ours",
                    found.name
                ));
                continue;
            }
            let name = found.name.clone();
            let work = Work::ArchiveCollection { key: key.clone(), id };
            self.step(Action::Delete, "collection", &name, &key, Vec::new(), work);
        }
    }

    fn items_of_others(&self, collection: i64) -> usize {
        self.actual
            .items
            .iter()
            .filter(|((kind, id), item)| item.collection == Some(collection) && self.index.key(*kind, *id).is_none())
            .count()
    }

    /// Groups that go anyway: their rights go with them.
    fn going(&self, group: Option<&str>) -> bool {
        group.is_some_and(|key| !self.desired.groups.contains_key(key))
    }

    fn data_rights(&mut self) {
        let index = self.index;
        for ((group, database), level) in &self.actual.asks {
            let (group_key, connection) = (index.key(Kind::Group, *group), index.key(Kind::Connection, *database));
            let everybody = *group == self.actual.all_users;
            let Some(found) = self.actual.databases.get(database) else { continue };
            // Rights on what is ours are ours to give; strangers' rights on
            // strangers' databases are not. Everybody has none anywhere. And nobody
            // has any on the sample: who is shut out of one database gets no right
            // on the next, so the first of ours opens to nobody.
            let ours = group_key.is_some() || connection.is_some();
            if self.going(group_key) || !(everybody || ours || found.sample) {
                continue;
            }
            let wanted = matches!((group_key, connection), (Some(group), Some(connection))
                if self.desired.asks.contains(&(group.to_owned(), connection.to_owned())));
            if wanted && level == NATIVE {
                continue;
            }
            let name = self.actual.groups.get(group).cloned().unwrap_or_default();
            let scope = connection.unwrap_or_default();
            if !wanted {
                let changes = vec![
                    Change::new("connection", found.name.clone(), found.name.clone()),
                    Change::new("queries", level.clone(), "no"),
                ];
                let work = Work::Silence { group: *group, database: *database };
                self.step(Action::Revoke, "data permission", &name, scope, changes, work);
            }
        }
        for (group, connection) in &self.desired.asks {
            let pair = self.index.get(Kind::Group, group).zip(self.index.get(Kind::Connection, connection));
            if pair.and_then(|pair| self.actual.asks.get(&pair)).is_some_and(|level| level == NATIVE) {
                continue;
            }
            let changes = vec![Change::new("queries", "no", NATIVE)];
            let work = Work::Ask { group: group.clone(), connection: connection.clone() };
            let name = self.desired.groups[group].name.clone();
            self.step(Action::Grant, "data permission", &name, connection, changes, work);
        }
    }

    fn collection_rights(&mut self) {
        let index = self.index;
        for ((group, place), level) in &self.actual.levels {
            let group_key = index.key(Kind::Group, *group);
            let collection = match place {
                Place::Collection(id) => index.key(Kind::Collection, *id),
                Place::Root | Place::SnippetsRoot => None,
            };
            let everybody = *group == self.actual.all_users;
            if self.going(group_key) || !(everybody || group_key.is_some() || collection.is_some()) {
                continue;
            }
            let reads = matches!((group_key, collection), (Some(group), Some(collection))
                if self.desired.reads.contains(&(group.to_owned(), collection.to_owned())));
            let wanted = if reads { "read" } else { "none" };
            if level == wanted {
                continue;
            }
            let name = self.actual.groups.get(group).cloned().unwrap_or_default();
            let (place_name, scope) = match (place, collection) {
                (Place::Root, _) => ("Our analytics".to_owned(), ""),
                (Place::SnippetsRoot, _) => ("snippets".to_owned(), ""),
                (Place::Collection(id), key) => (
                    self.actual.collections.get(id).map_or_else(|| id.to_string(), |found| found.name.clone()),
                    key.unwrap_or_default(),
                ),
            };
            let changes = vec![
                Change::new("collection", place_name.clone(), place_name),
                Change::new("level", level.clone(), wanted),
            ];
            let work = Work::Level { group: *group, place: *place, level: wanted };
            self.step(Action::Revoke, "collection permission", &name, scope, changes, work);
        }
        for (group, collection) in &self.desired.reads {
            let pair = self.index.get(Kind::Group, group).zip(self.index.get(Kind::Collection, collection));
            let has = pair.is_some_and(|(group, id)| self.actual.levels.contains_key(&(group, Place::Collection(id))));
            if !has {
                let changes = vec![Change::new("level", "none", "read")];
                let work = Work::Read { group: group.clone(), collection: collection.clone() };
                let name = self.desired.groups[group].name.clone();
                self.step(Action::Grant, "collection permission", &name, collection, changes, work);
            }
        }
    }

    fn content(&mut self) {
        for (key, card) in &self.desired.cards {
            let (name, scope) = (&card.name, card.scope.to_string());
            match self.index.get(Kind::Card, key) {
                None => {
                    let changes = vec![Change::new("display", Value::Null, card.display.clone())];
                    let work = Work::CreateCard { key: key.clone() };
                    self.step(Action::Create, "question", name, &scope, changes, work);
                }
                Some(id) => {
                    let changes = self.card_changes(key, id, card);
                    if !changes.is_empty() {
                        let work = Work::UpdateCard { key: key.clone(), id };
                        self.step(Action::Update, "question", name, &scope, changes, work);
                    }
                }
            }
        }
        for (key, dashboard) in &self.desired.dashboards {
            let (name, scope) = (&dashboard.name, dashboard.scope.to_string());
            match self.index.get(Kind::Dashboard, key) {
                None => {
                    let changes = vec![Change::new("cards", Value::Null, dashboard.places.len())];
                    let work = Work::CreateDashboard { key: key.clone() };
                    self.step(Action::Create, "dashboard", name, &scope, changes, work);
                }
                Some(id) => {
                    let changes = self.dashboard_changes(key, id, dashboard);
                    if !changes.is_empty() {
                        let work = Work::UpdateDashboard { key: key.clone(), id };
                        self.step(Action::Update, "dashboard", name, &scope, changes, work);
                    }
                }
            }
        }
        for (kind, word) in [(Kind::Dashboard, "dashboard"), (Kind::Card, "question")] {
            let wanted = |key: &str| match kind {
                Kind::Dashboard => self.desired.dashboards.contains_key(key),
                _ => self.desired.cards.contains_key(key),
            };
            for (key, id) in self.obsolete(kind, wanted) {
                let Some(item) = self.actual.items.get(&(kind, id)).filter(|item| !item.archived) else { continue };
                let scope = key.split_once('@').map_or("", |(_, scope)| scope).to_owned();
                let work = match kind {
                    Kind::Dashboard => Work::ArchiveDashboard { key, id },
                    _ => Work::ArchiveCard { key, id },
                };
                let name = item.name.clone();
                self.step(Action::Delete, word, &name, &scope, Vec::new(), work);
            }
        }
        for collection in &self.desired.collections {
            if let Some(id) = self.index.get(Kind::Collection, &collection.key) {
                let others = self.items_of_others(id);
                if others > 0 {
                    self.note(format!("the collection `{}` holds {others} objects that are not ours", collection.key));
                }
            }
        }
    }

    /// What the list of items tells of any object.
    fn item_changes(&self, item: &Item, name: &str, description: &str, collection: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        if item.archived {
            changes.push(Change::new("archived", true, false));
        }
        if item.name != name {
            changes.push(Change::new("name", item.name.clone(), name));
        }
        if item.description.as_deref().unwrap_or_default() != description {
            changes.push(Change::new("description", item.description.clone(), description));
        }
        let home = self.index.get(Kind::Collection, collection);
        if !item.archived && (home.is_none() || item.collection != home) {
            changes.push(Change::new("collection", item.collection, collection));
        }
        changes
    }

    /// Who edited it, for people who ask where a change comes from.
    fn edited(&self, item: &Item, changes: &mut Vec<Change>) {
        if changes.is_empty() || item.mark.is_empty() {
            return;
        }
        let by = match item.editor.map(|id| (id, self.actual.users.get(&id))) {
            Some((_, Some(editor))) => format!("{} by {}", item.mark, editor.email),
            // Behind an API key stands an account that no list shows.
            Some((id, None)) => format!("{} by the account {id}", item.mark),
            None => item.mark.clone(),
        };
        changes.push(Change::new("last edited", by, Value::Null));
    }

    fn card_changes(&self, key: &str, id: i64, card: &Card) -> Vec<Change> {
        let known = self.objects.get(&(Kind::Card, key.to_owned()));
        let item = &self.actual.items[&(Kind::Card, id)];
        let mut changes = self.item_changes(item, &card.name, &card.description, &card.collection);
        if item.display.as_ref().is_some_and(|display| *display != card.display) {
            changes.push(Change::new("display", item.display.clone(), card.display.clone()));
        }
        let database = self.index.get(Kind::Connection, &card.connection);
        let ours = known.is_some_and(|known| known.hash == card.hash());
        match self.actual.details.get(&(Kind::Card, id)) {
            Some(whole) => {
                let (found_database, sql) = sql_of(whole).unwrap_or_default();
                if sql.trim() != card.sql.trim() {
                    changes.push(Change::new("query", sql, card.sql.clone()));
                }
                if Some(found_database) != database {
                    changes.push(Change::new("connection", found_database, card.connection.clone()));
                }
                let visualization = &whole["visualization_settings"];
                if *visualization != card.visualization {
                    changes.push(Change::new("visualization", visualization.clone(), card.visualization.clone()));
                }
                self.edited(item, &mut changes);
            }
            None if !ours => changes.push(Change::new("definition", "an older one", "the file's")),
            None if database.is_none() => {
                changes.push(Change::new("connection", Value::Null, card.connection.clone()));
            }
            None => {}
        }
        changes
    }

    fn dashboard_changes(&self, key: &str, id: i64, dashboard: &Dashboard) -> Vec<Change> {
        let known = self.objects.get(&(Kind::Dashboard, key.to_owned()));
        let item = &self.actual.items[&(Kind::Dashboard, id)];
        let mut changes = self.item_changes(item, &dashboard.name, &dashboard.description, &dashboard.collection);
        let ours = known.is_some_and(|known| known.hash == dashboard.hash());
        // A question that is made anew has another id.
        let cards_stay = dashboard.places.iter().all(|place| match &place.shows {
            Shows::Card(card) => self.index.get(Kind::Card, card).is_some(),
            _ => true,
        });
        match self.actual.details.get(&(Kind::Dashboard, id)) {
            Some(whole) => {
                if whole["width"].as_str().is_some_and(|width| width != dashboard.width) {
                    changes.push(Change::new("width", whole["width"].clone(), dashboard.width));
                }
                let tabs = whole["tabs"].as_array().map_or(0, Vec::len);
                if tabs > 0 {
                    changes.push(Change::new("tabs", tabs, 0));
                }
                let found = self.found_places(whole);
                let wanted = self.wanted_places(&dashboard.places);
                if found != wanted {
                    let kept = found.intersection(&wanted).count();
                    changes.push(Change::new("cards", format!("{} ({kept} in place)", found.len()), wanted.len()));
                }
                self.edited(item, &mut changes);
            }
            None if !ours => changes.push(Change::new("definition", "an older one", "the file's")),
            None if !cards_stay => changes.push(Change::new("cards", "some are gone", dashboard.places.len())),
            None => {}
        }
        changes
    }

    fn wanted_places(&self, places: &[Rectangle]) -> BTreeSet<String> {
        let shown = |place: &Rectangle| {
            let shows = match &place.shows {
                Shows::Card(key) => json!(self.index.get(Kind::Card, key)),
                Shows::Text(text) => json!(["text", text]),
                Shows::Heading(text) => json!(["heading", text]),
            };
            json!([place.row, place.col, place.size_x, place.size_y, shows]).to_string()
        };
        places.iter().map(shown).collect()
    }

    fn found_places(&self, whole: &Value) -> BTreeSet<String> {
        let shown = |card: &Value| {
            let settings = &card["visualization_settings"];
            let shows = match &card["card_id"] {
                Value::Null => json!([settings["virtual_card"]["display"], settings["text"]]),
                id => id.clone(),
            };
            json!([card["row"], card["col"], card["size_x"], card["size_y"], shows]).to_string()
        };
        whole["dashcards"].as_array().into_iter().flatten().map(shown).collect()
    }

    fn people(&mut self) -> Moves {
        let mut joining = 0;
        let mut leaving = 0;
        let ours = |key: &str| self.objects.contains_key(&(Kind::Person, key.to_owned()));
        let active = self
            .desired
            .people
            .keys()
            .filter(|key| ours(key))
            .filter_map(|key| self.actual.users.get(&self.index.get(Kind::Person, key)?))
            .filter(|user| user.active)
            .count();
        for (key, account) in &self.desired.people {
            let scope = account.groups.iter().cloned().collect::<Vec<_>>().join(", ");
            let Some(id) = self.index.get(Kind::Person, key) else {
                if account.active {
                    joining += 1;
                    let names: Vec<&str> = account.groups.iter().map(String::as_str).collect();
                    let changes = vec![Change::new("groups", Value::Null, names)];
                    let work = Work::CreatePerson { key: key.clone() };
                    self.step(Action::Create, "person", &account.email, &scope, changes, work);
                }
                continue;
            };
            let user = &self.actual.users[&id];
            if !ours(key) && account.active {
                let work = Work::AdoptPerson { key: key.clone(), id };
                self.step(Action::Adopt, "person", &account.email, &scope, Vec::new(), work);
            }
            if !account.active {
                if user.active && ours(key) {
                    if user.superuser {
                        self.note("an administrator without a grant keeps the account".to_owned());
                    } else {
                        leaving += 1;
                        self.step(
                            Action::Deactivate,
                            "person",
                            &account.email,
                            &scope,
                            Vec::new(),
                            Work::Deactivate { user: id },
                        );
                    }
                }
                continue;
            }
            if !user.active {
                let work = Work::ReactivatePerson { key: key.clone(), id };
                self.step(Action::Reactivate, "person", &account.email, &scope, Vec::new(), work);
            }
            let (changes, fields) = account_changes(account, user);
            if !changes.is_empty() {
                self.step(Action::Update, "person", &account.email, &scope, changes, Work::UpdatePerson { id, fields });
            }
            let member: BTreeSet<i64> = self
                .actual
                .memberships
                .iter()
                .filter(|membership| membership.user == id)
                .map(|membership| membership.group)
                .collect();
            for group in &account.groups {
                if self.index.get(Kind::Group, group).is_some_and(|group| member.contains(&group)) {
                    continue;
                }
                let changes = vec![Change::new("group", Value::Null, self.desired.groups[group].name.clone())];
                let group_scope = self.desired.groups[group].scope.to_string();
                let work = Work::Join { person: key.clone(), group: group.clone() };
                self.step(Action::Grant, "membership", &account.email, &group_scope, changes, work);
            }
        }
        Moves { joining, leaving, active }
    }

    /// Who is in our groups and should not be, and who is in others' groups.
    fn memberships(&mut self) {
        let index = self.index;
        let mut strangers = BTreeSet::new();
        for membership in &self.actual.memberships {
            // A user that is not in the list stands behind an API key.
            let Some(user) = self.actual.users.get(&membership.user) else { continue };
            let group = index.key(Kind::Group, membership.group);
            let person = index.key(Kind::Person, membership.user);
            let wanted = matches!((group, person), (Some(group), Some(person))
                if self.desired.people.get(person).is_some_and(|account| account.active && account.groups.contains(group)));
            let built_in = [self.actual.all_users, self.actual.administrators].contains(&membership.group);
            match group {
                Some(key) if !wanted && !self.going(Some(key)) => {
                    let name = self.actual.groups.get(&membership.group).cloned().unwrap_or_default();
                    let changes = vec![Change::new("group", name, Value::Null)];
                    let scope = self.desired.groups.get(key).map_or_else(String::new, |group| group.scope.to_string());
                    let email = user.email.clone();
                    self.step(
                        Action::Revoke,
                        "membership",
                        &email,
                        &scope,
                        changes,
                        Work::Leave { membership: membership.id },
                    );
                }
                None if person.is_some() && !built_in => {
                    strangers.insert(membership.group);
                }
                _ => {}
            }
        }
        for group in strangers {
            let name = self.actual.groups.get(&group).cloned().unwrap_or_default();
            self.note(format!("people of ours are in the group `{name}`, which is not ours"));
        }
        let foreign = self
            .actual
            .users
            .iter()
            .filter(|(id, user)| user.active && !user.superuser && index.key(Kind::Person, **id).is_none())
            .count();
        if foreign > 0 {
            self.note(format!("{foreign} active accounts are not ours"));
        }
    }
}

fn account_changes(account: &Account, user: &User) -> (Vec<Change>, Value) {
    let mut changes = Vec::new();
    let mut fields = serde_json::Map::new();
    let mut change = |field: &str, from: Option<&str>, to: Option<&str>| {
        if let Some(to) = to.filter(|to| Some(*to) != from) {
            changes.push(Change::new(field, from, to));
            fields.insert(field.to_owned(), to.into());
        }
    };
    change("email", Some(&user.email), Some(&account.email));
    change("first_name", user.first_name.as_deref(), account.first_name.as_deref());
    change("last_name", user.last_name.as_deref(), account.last_name.as_deref());
    let same_locale = |found: &str, wanted: &str| found.replace('-', "_").eq_ignore_ascii_case(wanted);
    let locale = account
        .locale
        .as_deref()
        .filter(|wanted| !user.locale.as_deref().is_some_and(|found| same_locale(found, wanted)));
    change("locale", user.locale.as_deref(), locale);
    (changes, Value::Object(fields))
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
