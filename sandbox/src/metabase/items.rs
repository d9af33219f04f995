//! What lies in a collection, as the caller may see it.

use serde_json::{Value, json};

use super::access::Caller;
use super::call::Call;
use super::reply::{Answer, Reply};
use super::state::{Card, Collection, Dashboard, Level, State, stamp};

/// Lists the items of one collection; `None` is "Our analytics".
pub(super) fn list(state: &State, caller: &Caller, call: &Call, id: Option<i64>) -> Answer {
    let asked = call.asked_all("models");
    let wants = |model: &str| {
        asked.is_empty()
            || asked.iter().any(|name| *name == model || (*name == "no_models" && asked.len() == 1 && model.is_empty()))
    };
    let trash = id == Some(state.trash_id());
    let archived = call.asked_flag("archived") || trash;
    let in_archived = id.and_then(|id| state.collections.get(&id)).is_some_and(|collection| collection.archived);
    let archived = archived || in_archived;
    // Without rights on the root, only the collections below it are shown.
    let own_items = id.is_some() || state.collection_level(caller, None) > Level::None;
    let mut rows: Vec<(String, Value)> = Vec::new();
    if wants("collection") {
        for collection in state.collections.values() {
            if shown(state, caller, collection, id, archived, call.asked("namespace")) {
                rows.push((collection.name.to_lowercase(), collection_row(state, caller, collection)));
            }
        }
    }
    let with_dashboard_questions = call.asked_flag("show_dashboard_questions");
    if own_items {
        for card in state.cards.values() {
            let here = if trash {
                card.archived_directly && state.card_level(caller, card) == Level::Write
            } else {
                card.collection_id == id && card.archived == archived
            };
            let hidden = card.dashboard_id.is_some() && !with_dashboard_questions;
            if here && !hidden && wants(model_of(card)) {
                rows.push((card.name.to_lowercase(), card_row(state, caller, card)));
            }
        }
        for dashboard in state.dashboards.values() {
            let here = if trash {
                dashboard.archived_directly && state.dashboard_level(caller, dashboard) == Level::Write
            } else {
                dashboard.collection_id == id && dashboard.archived == archived
            };
            if here && wants("dashboard") {
                rows.push((dashboard.name.to_lowercase(), dashboard_row(state, caller, dashboard)));
            }
        }
        for (kind, model) in [("timeline", "timeline"), ("snippet", "snippet")] {
            for object in state.stored(kind) {
                let here = object["collection_id"].as_i64() == id
                    && object["archived"].as_bool().unwrap_or(false) == archived
                    && (kind == "timeline" || call.asked("namespace") == Some("snippets"));
                if here && wants(model) {
                    let name = object["name"].as_str().unwrap_or_default().to_lowercase();
                    let mut row = object.clone();
                    row["model"] = json!(model);
                    rows.push((name, row));
                }
            }
        }
    }
    match call.asked("pinned_state") {
        Some("is_pinned") => rows.retain(|(_, row)| !row["collection_position"].is_null()),
        Some("is_not_pinned") => rows.retain(|(_, row)| row["collection_position"].is_null()),
        _ => {}
    }
    rows.sort_by(|(left_name, left), (right_name, right)| {
        let rank = |row: &Value| row["model"] != "collection";
        let names = left_name.cmp(right_name);
        let names = if call.asked("sort_direction") == Some("desc") { names.reverse() } else { names };
        rank(left).cmp(&rank(right)).then(names).then_with(|| left["id"].as_i64().cmp(&right["id"].as_i64()))
    });
    let total = rows.len();
    let page = call.page();
    let (limit, offset) = page.unwrap_or((usize::MAX, 0));
    let data: Vec<Value> = rows.into_iter().skip(offset).take(limit).map(|(_, row)| row).collect();
    Ok(Reply::ok(json!({
        "data": data,
        "total": total,
        "models": asked,
        "limit": page.map(|(limit, _)| limit),
        "offset": page.map(|(_, offset)| offset),
    })))
}

/// The name of a question's kind in lists.
pub(super) fn model_of(card: &Card) -> &'static str {
    match card.kind.as_str() {
        "model" => "dataset",
        "metric" => "metric",
        _ => "card",
    }
}

fn shown(
    state: &State,
    caller: &Caller,
    collection: &Collection,
    under: Option<i64>,
    archived: bool,
    namespace: Option<&str>,
) -> bool {
    collection.archived == archived
        && collection.kind.as_deref() != Some("trash")
        && collection.namespace.as_deref() == namespace
        && state.collection_level(caller, Some(collection.id)) > Level::None
        && match under {
            Some(id) if id == state.trash_id() => collection.archived_directly,
            _ => state.visible_parent(caller, collection) == under,
        }
}

fn collection_row(state: &State, caller: &Caller, collection: &Collection) -> Value {
    let write = state.collection_level(caller, Some(collection.id)) == Level::Write;
    json!({
        "id": collection.id,
        "name": collection.name,
        "description": collection.description,
        "model": "collection",
        "entity_id": collection.entity_id,
        "location": collection.location,
        "archived": collection.archived,
        "authority_level": null,
        "personal_owner_id": collection.owner_id,
        "type": collection.kind,
        "can_write": write,
        "can_restore": write && collection.archived_directly,
        "can_delete": caller.superuser && collection.archived,
        "collection_position": null,
    })
}

fn card_row(state: &State, caller: &Caller, card: &Card) -> Value {
    let write = state.card_level(caller, card) == Level::Write;
    json!({
        "id": card.id,
        "name": card.name,
        "description": card.description,
        "model": model_of(card),
        "display": card.display,
        "database_id": card.query["database"],
        "collection_id": card.collection_id,
        "collection_position": card.extra.get("collection_position"),
        "collection_preview": true,
        "entity_id": card.entity_id,
        "archived": card.archived,
        "dashboard_id": card.dashboard_id,
        "dashboard_count": state.dashboards_with(card.id),
        "fully_parameterized": true,
        "location": null,
        "moderated_status": null,
        "can_write": write,
        "can_restore": write && card.archived_directly,
        "can_delete": write && card.archived,
        "last-edit-info": last_edit(state, &format!("card {}", card.id), card.creator_id, stamp(card.updated_at)),
    })
}

fn dashboard_row(state: &State, caller: &Caller, dashboard: &Dashboard) -> Value {
    let write = state.dashboard_level(caller, dashboard) == Level::Write;
    json!({
        "id": dashboard.id,
        "name": dashboard.name,
        "description": dashboard.description,
        "model": "dashboard",
        "collection_id": dashboard.collection_id,
        "collection_position": dashboard.extra.get("collection_position"),
        "entity_id": dashboard.entity_id,
        "archived": dashboard.archived,
        "location": null,
        "can_write": write,
        "can_restore": write && dashboard.archived_directly,
        "can_delete": write && dashboard.archived,
        "last-edit-info": last_edit(state, &format!("dashboard {}", dashboard.id), dashboard.creator_id, stamp(dashboard.updated_at)),
    })
}

/// Who changed something last: at first, who made it.
pub(super) fn last_edit(state: &State, what: &str, creator: i64, at: String) -> Value {
    let user_id = state.editors.get(what).copied().unwrap_or(creator);
    let user = state.users.get(&user_id);
    json!({
        "id": user_id,
        "email": user.map(|user| &user.email),
        "first_name": user.and_then(|user| user.first_name.as_ref()),
        "last_name": user.and_then(|user| user.last_name.as_ref()),
        "timestamp": at,
    })
}
