//! Collections: the folders everything lives in, and whose rights it takes.

use serde_json::{Map, Value, json};

use super::access::{Caller, ancestors, need, root_key};
use super::call::Call;
use super::reply::{Answer, Reply, forbidden, invalid, no_such_route, paid_feature};
use super::state::{Collection, Level, State, stamp};

/// Everything under `/api/collection` but the graph.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(list(state, caller, call)),
        ("GET", ["tree"]) => Ok(tree(state, caller, call)),
        ("POST", []) => create(state, caller, call),
        ("GET", ["root"]) => Ok(Reply::ok(root(state, caller, call.asked("namespace")))),
        ("GET", ["root", "items"]) => super::items::list(state, caller, call, None),
        ("GET", [collection, "items"]) => {
            let id = readable(state, caller, collection)?;
            super::items::list(state, caller, call, Some(id))
        }
        ("GET", [collection]) => {
            let id = readable(state, caller, collection)?;
            let mut answer = describe(state, caller, &state.collections[&id]);
            let parent = state.visible_parent(caller, &state.collections[&id]);
            answer["parent_id"] = json!(parent);
            answer["effective_ancestors"] = json!(
                state
                    .visible_ancestors(caller, &state.collections[&id])
                    .into_iter()
                    .map(|id| describe(state, caller, &state.collections[&id]))
                    .collect::<Vec<_>>()
            );
            Ok(Reply::ok(answer))
        }
        ("PUT", [collection]) => update(state, caller, call, collection),
        ("DELETE", [collection]) => delete(state, caller, collection),
        _ => Err(no_such_route()),
    }
}

fn list(state: &State, caller: &Caller, call: &Call) -> Reply {
    let namespace = call.asked("namespace");
    let archived = call.asked_flag("archived");
    let mut answer = Vec::new();
    let personal_only = call.asked_flag("personal-only");
    if !archived && !personal_only && state.root_level(caller, namespace) > Level::None {
        answer.push(root(state, caller, namespace));
    }
    let mut collections: Vec<&Collection> = state
        .collections
        .values()
        .filter(|collection| collection.archived == archived)
        .filter(|collection| collection.namespace.as_deref() == namespace)
        .filter(|collection| collection.kind.as_deref() != Some("trash"))
        .filter(|collection| state.collection_level(caller, Some(collection.id)) > Level::None)
        .filter(|collection| {
            let owner = state.personal_owner(collection.id);
            (!personal_only || owner.is_some())
                && (!call.asked_flag("exclude-other-user-collections")
                    || owner.is_none_or(|owner| owner == caller.user_id))
        })
        .collect();
    collections.sort_by_key(|collection| (collection.name.to_lowercase(), collection.id));
    answer.extend(collections.into_iter().map(|collection| describe(state, caller, collection)));
    Reply::ok(answer)
}

fn tree(state: &State, caller: &Caller, call: &Call) -> Reply {
    let skip_archived = call.asked_flag("exclude-archived");
    let others = call.asked_flag("exclude-other-user-collections");
    let seen: Vec<&Collection> = state
        .collections
        .values()
        .filter(|collection| !(skip_archived && (collection.archived || collection.kind.as_deref() == Some("trash"))))
        .filter(|collection| collection.namespace.as_deref() == call.asked("namespace"))
        .filter(|collection| state.collection_level(caller, Some(collection.id)) > Level::None)
        .filter(|collection| !others || state.personal_owner(collection.id).is_none_or(|owner| owner == caller.user_id))
        .collect();
    Reply::ok(branches(state, caller, &seen, None))
}

fn branches(state: &State, caller: &Caller, seen: &[&Collection], parent: Option<i64>) -> Vec<Value> {
    let mut level: Vec<&&Collection> =
        seen.iter().filter(|collection| state.visible_parent(caller, collection) == parent).collect();
    level.sort_by_key(|collection| (collection.name.to_lowercase(), collection.id));
    level
        .into_iter()
        .map(|collection| {
            let mut row = describe(state, caller, collection);
            let children = branches(state, caller, seen, Some(collection.id));
            let mut here = Vec::new();
            if state.cards.values().any(|card| card.collection_id == Some(collection.id) && !card.archived) {
                here.push("card");
            }
            if state.dashboards.values().any(|board| board.collection_id == Some(collection.id) && !board.archived) {
                here.push("dashboard");
            }
            row["here"] = json!(here);
            row["below"] = json!(if children.is_empty() { vec![] } else { vec!["collection"] });
            row["children"] = json!(children);
            row
        })
        .collect()
}

fn create(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    let name = call.required_text("name")?;
    let description = call.optional_text("description")?;
    let namespace = call.optional_text("namespace")?;
    let parent = match call.given("parent_id") {
        None => None,
        Some(value) => Some(state.collection_ref(value)?),
    };
    if call.given("authority_level").is_some() {
        return Err(paid_feature("Official Collections"));
    }
    let (location, parent_key) = match parent {
        None => {
            need(state.root_level(caller, namespace.as_deref()), Level::Write)?;
            ("/".to_owned(), root_key(namespace.as_deref()))
        }
        Some(parent) => {
            need(state.collection_level(caller, Some(parent)), Level::Write)?;
            let above = &state.collections[&parent];
            if above.archived || above.kind.as_deref() == Some("trash") {
                return Err(archived());
            }
            if above.namespace != namespace {
                return Err(invalid(
                    "parent_id",
                    "a collection of the same namespace",
                    "Collection must be in the same namespace as its parent",
                ));
            }
            (format!("{}{parent}/", above.location), parent.to_string())
        }
    };
    let id = state.add_collection(name, description, location, namespace, None);
    if state.personal_owner(id).is_none() {
        state.copy_parent_levels(&parent_key, id);
    }
    if state.profile.collection_create_bumps_revision() {
        state.collection_revision += 1;
    }
    let mut answer = describe(state, caller, &state.collections[&id]);
    answer["parent_id"] = json!(parent);
    Ok(Reply::ok(answer))
}

fn update(state: &mut State, caller: &Caller, call: &Call, collection: &str) -> Answer {
    let id = state.collection_ref(&Value::from(collection))?;
    need(state.collection_level(caller, Some(id)), Level::Write)?;
    let before = state.collections[&id].clone();
    if before.kind.as_deref() == Some("trash") {
        return Err(forbidden());
    }
    // The switch defaults to false: a call that leaves it out takes the
    // collection back out of the trash.
    let archive = call.optional_flag("archived")?.unwrap_or(false);
    let moved = match call.field("parent_id") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(value) => Some(Some(state.collection_ref(value)?)),
    };
    if let Some(target) = moved {
        need(state.collection_level(caller, target), Level::Write)?;
        if target.is_some_and(|target| target == id || state.under(target, id)) {
            return Err(invalid("parent_id", "a collection outside this one", "a loop"));
        }
    }
    if before.owner_id.is_some() && (archive || moved.is_some()) {
        return Err(Reply::text(400, "You are not allowed to change the location of a Personal Collection."));
    }
    if call.given("authority_level").is_some() {
        return Err(paid_feature("Official Collections"));
    }
    let name = call.optional_text("name")?;
    let description = call.optional_text("description")?;
    let entry = state.collections.get_mut(&id).expect("the collection was read above");
    if let Some(name) = name {
        entry.name = name;
    }
    if call.field("description").is_some() {
        entry.description = description;
    }
    if archive && !before.archived {
        state.trash_collection(id);
    } else if !archive {
        if before.archived {
            state.restore_collection(id);
        }
        if let Some(target) = moved {
            state.move_collection(id, target);
        }
    }
    let mut answer = describe(state, caller, &state.collections[&id]);
    answer["parent_id"] = json!(ancestors(&state.collections[&id].location).last());
    Ok(Reply::ok(answer))
}

fn delete(state: &mut State, caller: &Caller, collection: &str) -> Answer {
    caller.must_be_admin()?;
    let id = state.collection_ref(&Value::from(collection))?;
    if !state.collections[&id].archived {
        return Err(Reply::text(400, "Collection must be trashed before deletion."));
    }
    for gone in state.subtree(id) {
        state.collections.remove(&gone);
        for levels in state.collection_permissions.values_mut() {
            levels.remove(&gone.to_string());
        }
        let cards: Vec<i64> =
            state.cards.values().filter(|card| card.collection_id == Some(gone)).map(|card| card.id).collect();
        for card in cards {
            state.delete_card(card);
        }
        state.dashboards.retain(|_, dashboard| dashboard.collection_id != Some(gone));
    }
    Ok(Reply::empty())
}

fn readable(state: &State, caller: &Caller, collection: &str) -> Result<i64, Reply> {
    let id = match collection {
        "trash" => state.trash_id(),
        other => state.collection_ref(&Value::from(other))?,
    };
    if state.collections[&id].kind.as_deref() != Some("trash") {
        need(state.collection_level(caller, Some(id)), Level::Read)?;
    }
    Ok(id)
}

fn root(state: &State, caller: &Caller, namespace: Option<&str>) -> Value {
    json!({
        "metabase.collections.models.collection.root/is-root?": true,
        "authority_level": null,
        "can_write": state.root_level(caller, namespace) == Level::Write,
        "name": "Our analytics",
        "effective_ancestors": [],
        "can_restore": false,
        "effective_location": null,
        "parent_id": null,
        "id": "root",
        "is_personal": false,
        "can_delete": false,
    })
}

/// The object other answers carry for the collection they live in.
pub(super) fn brief(state: &State, caller: &Caller, id: Option<i64>) -> Value {
    match id.and_then(|id| state.collections.get(&id)) {
        Some(collection) => describe(state, caller, collection),
        None => json!({
            "metabase.collections.models.collection.root/is-root?": true,
            "authority_level": null,
            "name": "Our analytics",
            "is_personal": false,
            "id": "root",
            "can_write": state.collection_level(caller, None) == Level::Write,
        }),
    }
}

/// 404 for something that lies in the trash.
pub(super) fn archived() -> Reply {
    Reply::json(404, json!({ "message": "The object has been archived.", "error_code": "archived" }))
}

fn describe(state: &State, caller: &Caller, collection: &Collection) -> Value {
    let write = state.collection_level(caller, Some(collection.id)) == Level::Write;
    let visible: String = state.visible_ancestors(caller, collection).iter().map(|id| format!("{id}/")).collect();
    json!({
        "id": collection.id,
        "name": collection.name,
        "description": collection.description,
        "slug": slug(&collection.name),
        "entity_id": collection.entity_id,
        "location": collection.location,
        "effective_location": format!("/{visible}"),
        "archived": collection.archived,
        "archived_directly": collection.archived.then_some(collection.archived_directly),
        "archive_operation_id": null,
        "type": collection.kind,
        "namespace": collection.namespace,
        "authority_level": null,
        "personal_owner_id": collection.owner_id,
        "is_personal": state.personal_owner(collection.id).is_some(),
        "is_sample": collection.sample,
        "can_write": write && collection.kind.as_deref() != Some("trash"),
        "can_restore": write && collection.archived_directly,
        "can_delete": caller.superuser && collection.archived,
        "created_at": stamp(collection.created_at),
    })
}

fn slug(name: &str) -> String {
    name.to_lowercase().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect()
}

/// Keys of a body that are stored and given back untouched.
pub(super) fn keep(call: &Call, keys: &[&str], extra: &mut Map<String, Value>) {
    for key in keys {
        if let Some(value) = call.field(key) {
            extra.insert((*key).to_owned(), value.clone());
        }
    }
}
