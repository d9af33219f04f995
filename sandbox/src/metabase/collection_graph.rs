//! What groups may do in collections.

use serde_json::{Map, Value, json};

use super::access::{Caller, root_key};
use super::call::{Call, id};
use super::data_graph::{forced, skips_graph};
use super::reply::{Answer, Reply, invalid, no_such_route, stale_graph};
use super::state::{ADMINISTRATORS, Collection, Level, State};

/// `/api/collection/graph`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    caller.must_be_admin()?;
    match call.method.as_str() {
        "GET" => Ok(Reply::ok(graph(state, call.asked("namespace")))),
        "PUT" => update(state, call),
        _ => Err(no_such_route()),
    }
}

fn update(state: &mut State, call: &Call) -> Answer {
    let namespace = call.optional_text("namespace")?;
    let namespace = namespace.as_deref();
    let groups = call
        .given("groups")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("groups", "map", "missing required key, received: nil"))?;
    let mut wanted = Vec::new();
    for (group, collections) in groups {
        let group_id = id(group)?;
        let collections =
            collections.as_object().ok_or_else(|| invalid("groups", "map of group to collection", "not a map"))?;
        for (collection, level) in collections {
            let level = match level.as_str() {
                Some("none") => Level::None,
                Some("read") => Level::Read,
                Some("write") => Level::Write,
                _ => {
                    return Err(invalid("groups", "one of read, write, none", &format!("received: {level}")));
                }
            };
            let key = match collection.as_str() {
                "root" => root_key(namespace),
                number => number.to_owned(),
            };
            // Ids nobody knows and personal collections are dropped in silence.
            let known = collection == "root"
                || collection.parse().is_ok_and(|id| {
                    state.collections.get(&id).is_some_and(|collection| listed(state, collection, namespace))
                });
            if known && group_id != ADMINISTRATORS && state.groups.contains_key(&group_id) {
                wanted.push((group_id, key, level));
            }
        }
    }
    let revision = call.given("revision").and_then(Value::as_i64);
    if revision != Some(state.collection_revision) && !forced(state, call) {
        return Err(stale_graph());
    }
    let mut changed = false;
    for (group, key, level) in wanted {
        changed |= state.set_collection_level(group, &key, level);
    }
    if changed {
        state.collection_revision += 1;
    }
    if skips_graph(state, call) {
        return Ok(Reply::ok(json!({ "revision": state.collection_revision })));
    }
    Ok(Reply::ok(graph(state, namespace)))
}

fn graph(state: &State, namespace: Option<&str>) -> Value {
    let mut keys = vec![("root".to_owned(), root_key(namespace))];
    for collection in state.collections.values() {
        if listed(state, collection, namespace) {
            let key = collection.id.to_string();
            keys.push((key.clone(), key));
        }
    }
    let mut groups = Map::new();
    for group in state.groups.keys() {
        let granted = state.collection_permissions.get(group);
        let mut levels = Map::new();
        for (shown, key) in &keys {
            let level = if *group == ADMINISTRATORS {
                Level::Write
            } else {
                granted.and_then(|levels| levels.get(key)).copied().unwrap_or(Level::None)
            };
            if level > Level::None || !state.profile.sparse_collection_graph() {
                levels.insert(shown.clone(), json!(level));
            }
        }
        groups.insert(group.to_string(), Value::Object(levels));
    }
    json!({ "revision": state.collection_revision, "groups": groups })
}

/// Whether a collection is one that the graph speaks of.
fn listed(state: &State, collection: &Collection, namespace: Option<&str>) -> bool {
    !collection.archived
        && collection.kind.as_deref() != Some("trash")
        && collection.namespace.as_deref() == namespace.filter(|name| !name.is_empty())
        && state.personal_owner(collection.id).is_none()
}

impl State {
    /// Sets one level; says whether that changed anything.
    pub(super) fn set_collection_level(&mut self, group: i64, key: &str, level: Level) -> bool {
        let levels = self.collection_permissions.entry(group).or_default();
        let before = if level == Level::None { levels.remove(key) } else { levels.insert(key.to_owned(), level) };
        before.unwrap_or(Level::None) != level
    }

    /// Gives a new collection the grants of its parent.
    pub(super) fn copy_parent_levels(&mut self, parent_key: &str, collection: i64) {
        for levels in self.collection_permissions.values_mut() {
            if let Some(level) = levels.get(parent_key).copied() {
                levels.insert(collection.to_string(), level);
            }
        }
    }
}
