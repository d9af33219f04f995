//! Which of our keys are which objects of an instance. Pure.

use std::collections::BTreeMap;

use super::actual::Actual;
use super::desired::Desired;
use super::tables::{Kind, Objects};

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
    /// process ended, by their names, among what was not there before. What has
    /// the same name and was there is somebody else's.
    pub(super) fn resolve(desired: &Desired, actual: &Actual, objects: &Objects) -> Self {
        let mut index = Self::default();
        let exists = |kind: Kind, id: i64| match kind {
            Kind::Connection => actual.databases.contains_key(&id),
            Kind::Group => actual.groups.contains_key(&id),
            Kind::Collection => actual.collections.contains_key(&id),
            Kind::Card | Kind::Dashboard => actual.items.contains_key(&(kind, id)),
            Kind::Person => actual.users.contains_key(&id),
            // Events are kept apart from plans.
            Kind::Timeline => false,
            // It has no number.
            Kind::Setting => false,
        };
        for ((kind, key), known) in objects {
            if let Some(id) = known.id.filter(|id| exists(*kind, *id)) {
                index.put(*kind, key, id);
            }
        }
        let pending = |kind: Kind, key: &str| objects.get(&(kind, key.to_owned()))?.made_after();
        for (key, connection) in &desired.connections {
            let Some(after) = pending(Kind::Connection, key) else { continue };
            let name = connection.name();
            let free = |id: &i64| *id > after && index.key(Kind::Connection, *id).is_none();
            if let Some((id, _)) = actual.databases.iter().find(|(id, found)| found.name == name && free(id)) {
                index.put(Kind::Connection, key, *id);
            }
        }
        for (key, group) in &desired.groups {
            let Some(after) = pending(Kind::Group, key) else { continue };
            let free = |id: &i64| *id > after && index.key(Kind::Group, *id).is_none();
            if let Some((id, _)) = actual.groups.iter().find(|(id, name)| same_name(name, &group.name) && free(id)) {
                index.put(Kind::Group, key, *id);
            }
        }
        for collection in &desired.collections {
            let Some(after) = pending(Kind::Collection, &collection.key) else { continue };
            let parent = collection.parent.as_ref().and_then(|parent| index.get(Kind::Collection, parent));
            let found = actual.collections.iter().find(|(id, found)| {
                // One that is for few is made at the top, and moved.
                found.name == collection.name
                    && (found.parent == parent || found.parent.is_none())
                    && !found.archived
                    && **id > after
                    && index.key(Kind::Collection, **id).is_none()
            });
            if let Some((id, _)) = found {
                index.put(Kind::Collection, &collection.key, *id);
            }
        }
        let cards = desired.cards.iter().map(|(key, card)| (Kind::Card, key, &card.collection, &card.name));
        let dashboards = desired
            .dashboards
            .iter()
            .map(|(key, dashboard)| (Kind::Dashboard, key, &dashboard.collection, &dashboard.name));
        for (kind, key, collection, name) in cards.chain(dashboards) {
            let Some(after) = pending(kind, key) else { continue };
            let Some(collection) = index.get(Kind::Collection, collection) else { continue };
            let found = actual.items.iter().find(|((of, id), item)| {
                *of == kind
                    && item.collection == Some(collection)
                    && item.name == *name
                    && *id > after
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

/// Whether Metabase takes two groups' names for one.
fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
