//! Dashboards: a write replaces all cards and all tabs, or none.

use serde_json::{Map, Value, json};

use super::access::{Caller, need};
use super::call::{Call, id};
use super::cards::collection_of;
use super::collections::{archived, brief, keep};
use super::dashcards;
use super::items::last_edit;
use super::reply::{Answer, Reply, invalid, no_such_route};
use super::state::{Card, Dashboard, Level, State, stamp};

/// Settings of a dashboard that are stored and given back.
const EXTRA: &[&str] = &[
    "cache_ttl",
    "caveats",
    "collection_position",
    "embedding_params",
    "embedding_type",
    "enable_embedding",
    "points_of_interest",
    "position",
    "show_in_getting_started",
];

/// Everything under `/api/dashboard` that runs nothing.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let list: Vec<Value> = state
                .dashboards
                .values()
                .filter(|dashboard| !dashboard.archived)
                .filter(|dashboard| state.dashboard_level(caller, dashboard) > Level::None)
                .map(|dashboard| outline(state, caller, dashboard))
                .collect();
            Ok(Reply::ok(list))
        }
        ("POST", []) => create(state, caller, call),
        ("GET", [dashboard]) => {
            let dashboard_id = dashboard_ref(state, dashboard)?;
            state.readable_dashboard(caller, dashboard_id)?;
            Ok(Reply::ok(hydrated(state, caller, dashboard_id)))
        }
        ("PUT", [dashboard]) => update(state, caller, call, id(dashboard)?),
        ("PUT", [dashboard, "cards"]) => {
            let mut call = call.clone();
            if let Some(fields) = call.body.as_object_mut()
                && let Some(cards) = fields.remove("cards")
            {
                fields.insert("dashcards".into(), cards);
            }
            update(state, caller, &call, id(dashboard)?)
        }
        ("POST", [dashboard, "copy"]) => copy(state, caller, call, id(dashboard)?),
        ("DELETE", [dashboard]) => {
            let dashboard = state.readable_dashboard(caller, id(dashboard)?)?;
            need(state.dashboard_level(caller, dashboard), Level::Write)?;
            let gone = dashboard.id;
            state.dashboards.remove(&gone);
            state.cards.retain(|_, card| card.dashboard_id != Some(gone));
            Ok(Reply::empty())
        }
        (method, [dashboard, "public_link"]) => {
            caller.must_be_admin()?;
            let dashboard_id = id(dashboard)?;
            let enabled = state.setting("enable-public-sharing") == Value::Bool(true);
            let missing = state.not_found();
            let dashboard = state.dashboards.get_mut(&dashboard_id).ok_or(missing)?;
            super::public::link(method, enabled, &mut dashboard.public_uuid)
        }
        _ => Err(no_such_route()),
    }
}

fn create(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    let name = call.required_text("name")?;
    let description = call.optional_text("description")?;
    let collection_id = collection_of(state, call)?.flatten();
    need(state.collection_level(caller, collection_id), Level::Write)?;
    if collection_id.is_some_and(|id| state.collections[&id].archived) {
        return Err(archived());
    }
    let mut extra = Map::new();
    keep(call, EXTRA, &mut extra);
    let dashboard_id = state.next_id("dashboard");
    let dashboard = Dashboard {
        id: dashboard_id,
        name,
        description,
        collection_id,
        parameters: parameters(call)?.unwrap_or_else(|| json!([])),
        width: "fixed".into(),
        auto_apply_filters: true,
        entity_id: state.entity_id("dashboard", dashboard_id),
        archived: false,
        archived_directly: false,
        public_uuid: None,
        creator_id: caller.user_id,
        tabs: Vec::new(),
        dashcards: Vec::new(),
        turns: 0,
        extra,
        created_at: state.now,
        updated_at: state.now,
    };
    make_room(state, None, &dashboard);
    state.dashboards.insert(dashboard_id, dashboard);
    Ok(Reply::ok(hydrated(state, caller, dashboard_id)))
}

/// Moves what is pinned in the collection, as the real server does: what comes in, or
/// moves up, pushes back what stands there; what moves down or goes lets it move up.
fn make_room(state: &mut State, before: Option<&Dashboard>, after: &Dashboard) {
    let place = |dashboard: &Dashboard| {
        dashboard.extra.get("collection_position").and_then(Value::as_i64).filter(|_| !dashboard.archived)
    };
    let (from, to) = (before.and_then(place), place(after));
    let same = |collection: Option<i64>| collection == after.collection_id;
    if before.is_some_and(|before| !same(before.collection_id)) || from == to {
        return;
    }
    let shift = |position: i64| match (from, to) {
        (None, Some(to)) if position >= to => 1,
        (Some(from), None) if position > from => -1,
        (Some(from), Some(to)) if to < from && (to..from).contains(&position) => 1,
        (Some(from), Some(to)) if from < to && (from + 1..=to).contains(&position) => -1,
        _ => 0,
    };
    let boards = state.dashboards.values_mut().filter(|board| board.id != after.id && same(board.collection_id));
    let cards = state.cards.values_mut().filter(|card| same(card.collection_id));
    for extra in boards.map(|board| &mut board.extra).chain(cards.map(|card| &mut card.extra)) {
        if let Some(position) = extra.get("collection_position").and_then(Value::as_i64) {
            extra.insert("collection_position".into(), json!(position + shift(position)));
        }
    }
}

fn update(state: &mut State, caller: &Caller, call: &Call, dashboard_id: i64) -> Answer {
    let mut next = state.readable_dashboard(caller, dashboard_id)?.clone();
    need(state.dashboard_level(caller, &next), Level::Write)?;
    if let Some(name) = call.optional_text("name")? {
        next.name = name;
    }
    if call.field("description").is_some() {
        next.description = call.optional_text("description")?;
    }
    if let Some(parameters) = parameters(call)? {
        next.parameters = parameters;
    }
    match call.optional_text("width")?.as_deref() {
        None => {}
        Some(width @ ("fixed" | "full")) => next.width = width.to_owned(),
        Some(other) => {
            return Err(invalid("width", "enum of fixed, full", &format!("received: {other:?}")));
        }
    }
    if let Some(auto) = call.optional_flag("auto_apply_filters")? {
        next.auto_apply_filters = auto;
    }
    if let Some(target) = collection_of(state, call)? {
        need(state.collection_level(caller, target), Level::Write)?;
        next.collection_id = target;
    }
    if let Some(archived) = call.optional_flag("archived")? {
        next.archived = archived;
        next.archived_directly = archived;
    }
    keep(call, EXTRA, &mut next.extra);
    if call.given("dashcards").is_some() {
        // `tabs` counts only beside `dashcards`, and then its absence means none.
        let left = dashcards::replace(state, caller, call, &mut next)?;
        for card_id in left {
            let own = state.cards.get_mut(&card_id).filter(|card| card.dashboard_id == Some(dashboard_id));
            if let Some(card) = own {
                card.archived = true;
                card.archived_directly = true;
            }
        }
    }
    let before = state.dashboards.get(&dashboard_id).cloned();
    make_room(state, before.as_ref(), &next);
    next.updated_at = state.now;
    state.editors.insert(format!("dashboard {dashboard_id}"), caller.user_id);
    state.dashboards.insert(dashboard_id, next);
    Ok(Reply::ok(hydrated(state, caller, dashboard_id)))
}

fn copy(state: &mut State, caller: &Caller, call: &Call, dashboard_id: i64) -> Answer {
    let mut copied = state.readable_dashboard(caller, dashboard_id)?.clone();
    if let Some(target) = collection_of(state, call)? {
        copied.collection_id = target;
    }
    need(state.collection_level(caller, copied.collection_id), Level::Write)?;
    if let Some(name) = call.optional_text("name")? {
        copied.name = name;
    }
    if let Some(description) = call.optional_text("description")? {
        copied.description = Some(description);
    }
    let deep = call.optional_flag("is_deep_copy")? == Some(true);
    copied.id = state.next_id("dashboard");
    copied.entity_id = state.entity_id("dashboard", copied.id);
    copied.public_uuid = None;
    copied.creator_id = caller.user_id;
    let mut tabs = std::collections::BTreeMap::new();
    for tab in &mut copied.tabs {
        let tab_id = state.next_id("tab");
        tabs.insert(std::mem::replace(&mut tab.id, tab_id), tab_id);
    }
    for dashcard in &mut copied.dashcards {
        dashcard.id = state.next_id("dashcard");
        dashcard.tab_id = dashcard.tab_id.and_then(|tab| tabs.get(&tab).copied());
        let original = dashcard.card_id.and_then(|id| state.cards.get(&id).cloned());
        if let Some(card) = original.filter(|_| deep) {
            // What the caller may not read is not copied into their reach.
            dashcard.card_id = match state.card_level(caller, &card) {
                Level::None => None,
                _ => Some(copy_card(state, caller, card, copied.collection_id)),
            };
            for mapping in dashcard.parameter_mappings.as_array_mut().into_iter().flatten() {
                mapping["card_id"] = json!(dashcard.card_id);
            }
        }
    }
    if deep {
        copied.dashcards.retain(|dashcard| {
            dashcard.card_id.is_some() || dashcard.visualization_settings.get("virtual_card").is_some()
        });
    }
    let copy_id = copied.id;
    state.dashboards.insert(copy_id, copied);
    Ok(Reply::ok(hydrated(state, caller, copy_id)))
}

fn copy_card(state: &mut State, caller: &Caller, card: Card, collection_id: Option<i64>) -> i64 {
    let id = state.next_id("card");
    let entity_id = state.entity_id("card", id);
    let creator_id = caller.user_id;
    state.cards.insert(id, Card { id, entity_id, collection_id, creator_id, public_uuid: None, ..card });
    id
}

fn parameters(call: &Call) -> Result<Option<Value>, Reply> {
    let Some(given) = call.given("parameters") else {
        return Ok(None);
    };
    let sound = given
        .as_array()
        .is_some_and(|list| list.iter().all(|parameter| parameter["id"].is_string() && parameter["type"].is_string()));
    if sound {
        Ok(Some(given.clone()))
    } else {
        Err(invalid("parameters", "parameter must be a map with :id and :type keys", "missing required key"))
    }
}

fn dashboard_ref(state: &State, part: &str) -> Result<i64, Reply> {
    part.parse()
        .ok()
        .or_else(|| {
            state.dashboards.values().find(|dashboard| dashboard.entity_id == part).map(|dashboard| dashboard.id)
        })
        .ok_or_else(|| state.not_found())
}

/// A dashboard with its cards; their order turns with every answer.
fn hydrated(state: &mut State, caller: &Caller, dashboard_id: i64) -> Value {
    let turns = match state.dashboards.get_mut(&dashboard_id) {
        Some(dashboard) => {
            dashboard.turns += 1;
            dashboard.turns
        }
        None => 0,
    };
    let dashboard = &state.dashboards[&dashboard_id];
    let mut answer = outline(state, caller, dashboard);
    let cards = dashcards::describe_all(state, caller, dashboard, turns);
    let tabs: Vec<Value> = dashboard
        .tabs
        .iter()
        .enumerate()
        .map(|(position, tab)| {
            json!({
                "id": tab.id,
                "name": tab.name,
                "position": position,
                "entity_id": tab.entity_id,
                "dashboard_id": dashboard_id,
            })
        })
        .collect();
    answer["dashcards"] = json!(cards);
    answer["tabs"] = json!(tabs);
    answer["param_fields"] = json!({});
    answer["collection"] = brief(state, caller, dashboard.collection_id);
    answer["last_used_param_values"] = json!({});
    answer["can_restore"] = json!(answer["can_write"] == true && dashboard.archived_directly);
    answer["can_delete"] = json!(answer["can_write"] == true && dashboard.archived);
    answer["moderation_reviews"] = json!([]);
    answer["collection_authority_level"] = Value::Null;
    answer
}

/// A dashboard without its cards.
pub(super) fn outline(state: &State, caller: &Caller, dashboard: &Dashboard) -> Value {
    let mut answer = json!({
        "id": dashboard.id,
        "name": dashboard.name,
        "description": dashboard.description,
        "collection_id": dashboard.collection_id,
        "parameters": dashboard.parameters,
        "width": dashboard.width,
        "auto_apply_filters": dashboard.auto_apply_filters,
        "entity_id": dashboard.entity_id,
        "archived": dashboard.archived,
        "archived_directly": dashboard.archived_directly,
        "public_uuid": dashboard.public_uuid,
        "made_public_by_id": null,
        "creator_id": dashboard.creator_id,
        "can_write": state.dashboard_level(caller, dashboard) == Level::Write,
        "last-edit-info": last_edit(state, &format!("dashboard {}", dashboard.id), dashboard.creator_id, stamp(dashboard.updated_at)),
        "created_at": stamp(dashboard.created_at),
        "updated_at": stamp(dashboard.updated_at),
    });
    if let Some(fields) = answer.as_object_mut() {
        for key in EXTRA {
            let value = dashboard.extra.get(*key).cloned().unwrap_or_default();
            fields.insert((*key).to_owned(), value);
        }
    }
    answer
}
