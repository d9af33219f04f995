//! Where collections hang, and what moving or archiving one takes along.

use serde_json::Value;

use super::access::{Caller, ancestors};
use super::reply::Reply;
use super::state::{Collection, Level, State};

impl State {
    /// The id behind a number, a numeric text or an entity id.
    pub(super) fn collection_ref(&self, value: &Value) -> Result<i64, Reply> {
        let found = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok().or_else(|| {
                self.collections
                    .values()
                    .find(|collection| collection.entity_id == *text)
                    .map(|collection| collection.id)
            }),
            _ => None,
        };
        found.filter(|id| self.collections.contains_key(id)).ok_or_else(|| self.not_found())
    }

    /// Adds a collection.
    pub(super) fn add_collection(
        &mut self,
        name: String,
        description: Option<String>,
        location: String,
        namespace: Option<String>,
        owner_id: Option<i64>,
    ) -> i64 {
        let id = self.next_id("collection");
        self.collections.insert(
            id,
            Collection {
                id,
                name,
                description,
                entity_id: self.entity_id("collection", id),
                location,
                namespace,
                owner_id,
                kind: None,
                sample: false,
                archived: false,
                archived_directly: false,
                location_before: None,
                created_at: self.now,
            },
        );
        id
    }

    /// The personal collection of somebody, made when it is not there yet; the
    /// user behind a key has none.
    pub(super) fn personal_collection(&mut self, user_id: i64) -> Option<i64> {
        let user = self.users.get(&user_id).filter(|user| !user.api_key)?;
        let name = personal_name(&user.common_name());
        let there = self
            .collections
            .values()
            .find(|collection| collection.owner_id == Some(user_id))
            .map(|collection| collection.id);
        Some(there.unwrap_or_else(|| self.add_collection(name, None, "/".into(), None, Some(user_id))))
    }

    /// Carries a new name over to the personal collection.
    pub(super) fn rename_personal_collection(&mut self, user_id: i64) {
        let Some(user) = self.users.get(&user_id) else {
            return;
        };
        let name = personal_name(&user.common_name());
        let own = self.collections.values_mut().find(|collection| collection.owner_id == Some(user_id));
        if let Some(collection) = own {
            collection.name = name;
        }
    }

    /// The trash, a collection of its own.
    pub(super) fn trash_id(&self) -> i64 {
        self.collections
            .values()
            .find(|collection| collection.kind.as_deref() == Some("trash"))
            .map(|collection| collection.id)
            .expect("a fresh state has a trash and nothing removes it")
    }

    /// Ancestors the caller can see, outermost first.
    pub(super) fn visible_ancestors(&self, caller: &Caller, collection: &Collection) -> Vec<i64> {
        ancestors(&collection.location)
            .into_iter()
            .filter(|id| self.collections.contains_key(id))
            .filter(|id| self.collection_level(caller, Some(*id)) > Level::None)
            .collect()
    }

    /// The nearest ancestor the caller can see.
    pub(super) fn visible_parent(&self, caller: &Caller, collection: &Collection) -> Option<i64> {
        self.visible_ancestors(caller, collection).last().copied()
    }

    /// Whether one collection hangs somewhere under another.
    pub(super) fn under(&self, id: i64, above: i64) -> bool {
        self.collections.get(&id).is_some_and(|collection| ancestors(&collection.location).contains(&above))
    }

    pub(super) fn subtree(&self, id: i64) -> Vec<i64> {
        let mut ids = vec![id];
        ids.extend(self.collections.keys().copied().filter(|other| self.under(*other, id)));
        ids
    }

    fn relocate(&mut self, id: i64, location: String) {
        let before = format!("{}{id}/", self.collections[&id].location);
        let after = format!("{location}{id}/");
        for collection in self.collections.values_mut() {
            if collection.id == id {
                collection.location.clone_from(&location);
            } else if let Some(rest) = collection.location.strip_prefix(&before) {
                collection.location = format!("{after}{rest}");
            }
        }
    }

    pub(super) fn move_collection(&mut self, id: i64, parent: Option<i64>) {
        let location = match parent {
            None => "/".to_owned(),
            Some(parent) => format!("{}{parent}/", self.collections[&parent].location),
        };
        self.relocate(id, location);
    }

    pub(super) fn trash_collection(&mut self, id: i64) {
        let before = self.collections[&id].location.clone();
        self.relocate(id, format!("/{}/", self.trash_id()));
        for part in self.subtree(id) {
            if let Some(collection) = self.collections.get_mut(&part) {
                collection.archived = true;
                collection.archived_directly = part == id;
                if part == id {
                    collection.location_before = Some(before.clone());
                }
            }
            self.archive_contents(part, true);
        }
    }

    pub(super) fn restore_collection(&mut self, id: i64) {
        let back = self.collections[&id]
            .location_before
            .clone()
            .filter(|location| {
                ancestors(location)
                    .iter()
                    .all(|id| self.collections.get(id).is_some_and(|collection| !collection.archived))
            })
            .unwrap_or_else(|| "/".to_owned());
        self.relocate(id, back);
        for part in self.subtree(id) {
            if let Some(collection) = self.collections.get_mut(&part) {
                collection.archived = false;
                collection.archived_directly = false;
                collection.location_before = None;
            }
            self.archive_contents(part, false);
        }
    }

    /// Takes what lies in a collection along; what was put into the trash by
    /// itself stays there.
    fn archive_contents(&mut self, collection: i64, archived: bool) {
        let cards = self.cards.values_mut();
        for card in cards.filter(|card| card.collection_id == Some(collection)) {
            if !card.archived_directly {
                card.archived = archived;
            }
        }
        let dashboards = self.dashboards.values_mut();
        for board in dashboards.filter(|board| board.collection_id == Some(collection)) {
            if !board.archived_directly {
                board.archived = archived;
            }
        }
    }
}

fn personal_name(name: &str) -> String {
    format!("{name}'s Personal Collection")
}
