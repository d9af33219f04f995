//! The part of a plan about who may do what, and who is who. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::actual::{Place, User};
use super::desired::Account;
use super::plan::Planning;
use super::step::{Action, Change, Work};
use super::tables::{Kind, no_locale};
use crate::words::counted;

const NATIVE: &str = "query-builder-and-native";

impl Planning<'_> {
    pub(super) fn data_rights(&mut self) {
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

    pub(super) fn collection_rights(&mut self) {
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

    /// Plans people's accounts; says how many of ours are open.
    pub(super) fn people(&mut self) -> usize {
        let ours = |key: &str| self.objects.contains_key(&(Kind::Person, key.to_owned()));
        let active = self
            .desired
            .people
            .keys()
            .filter(|key| ours(key))
            .filter_map(|key| self.actual.users.get(&self.index.get(Kind::Person, key)?))
            .filter(|user| user.active)
            .count();
        let mut lack: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, account) in &self.desired.people {
            let scope = account.groups.iter().cloned().collect::<Vec<_>>().join(", ");
            let Some(id) = self.index.get(Kind::Person, key) else {
                if account.active {
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
                    if self.remains_administrator(account, id, user, &scope) {
                        self.note("an administrator without a grant keeps the account".to_owned());
                    } else {
                        let work = Work::Deactivate { user: id };
                        self.step(Action::Deactivate, "person", &account.email, &scope, Vec::new(), work);
                    }
                }
                continue;
            }
            if !user.active {
                let work = Work::ReactivatePerson { key: key.clone(), id };
                self.step(Action::Reactivate, "person", &account.email, &scope, Vec::new(), work);
            }
            let lacking = account.locale.as_deref().filter(|locale| self.lacks(locale));
            let (changes, fields) = account_changes(account, user, lacking.is_none());
            if let Some(locale) = lacking {
                *lack.entry(locale).or_default() += 1;
            }
            if !changes.is_empty() {
                self.step(Action::Update, "person", &account.email, &scope, changes, Work::UpdatePerson { id, fields });
            }
            self.remains_administrator(account, id, user, &scope);
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
        for (locale, people) in lack {
            self.note(format!(
                "this release has no language `{locale}`: {}",
                counted(people, "person keeps the one she has", "people keep the one they have")
            ));
        }
        active
    }

    /// Whether the instance refused a language; another release may have it.
    fn lacks(&self, locale: &str) -> bool {
        let known = self.objects.get(&(Kind::Setting, no_locale(locale)));
        known.is_some_and(|known| known.hash == self.actual.version)
    }

    /// Whether somebody of ours is an administrator and stays one: by the settings, or as
    /// the last there is. Who was made one by hand sees everything: that is taken back.
    fn remains_administrator(&mut self, account: &Account, id: i64, user: &User, scope: &str) -> bool {
        let may = |user: &User| self.desired.administrators.contains(&user.email.to_lowercase());
        if !user.superuser || !user.active {
            return false;
        }
        if may(user) {
            return true;
        }
        if !self.actual.users.values().any(|other| other.active && other.superuser && may(other)) {
            self.note("somebody who is in no setting stays administrator, because nobody else is one".to_owned());
            return true;
        }
        let changes = vec![Change::new("administrator", true, false)];
        self.step(Action::Revoke, "administrator", &account.email, scope, changes, Work::Demote { user: id });
        false
    }

    /// Who is in our groups and should not be, and who is in others' groups.
    pub(super) fn memberships(&mut self) {
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
            self.note(format!("{} not ours", counted(foreign, "active account is", "active accounts are")));
        }
    }
}

fn account_changes(account: &Account, user: &User, has_locale: bool) -> (Vec<Change>, Value) {
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
        .filter(|_| has_locale)
        .filter(|wanted| !user.locale.as_deref().is_some_and(|found| same_locale(found, wanted)));
    change("locale", user.locale.as_deref(), locale);
    (changes, Value::Object(fields))
}
