//! Questions: saving needs the right to run them, seeing only their collection.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::access::{Caller, Queries, need};
use super::call::{Call, id};
use super::collections::{archived, brief, keep};
use super::items::last_edit;
use super::queries;
use super::reply::{Answer, Reply, invalid, missing, no_such_route};
use super::state::{Card, INTERNAL_USER, Level, State, stamp};

/// Settings of a question that are stored and given back.
const EXTRA: &[&str] = &[
    "cache_ttl",
    "collection_position",
    "collection_preview",
    "enable_embedding",
    "embedding_type",
    "embedding_params",
];

/// Everything under `/api/card` that runs nothing.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let cards: Vec<Value> = state
                .cards
                .values()
                .filter(|card| state.card_level(caller, card) > Level::None)
                .filter(|card| card.archived == (call.asked("f") == Some("archived")))
                .filter(|card| {
                    call.asked("f") != Some("database")
                        || Some(queries::database(&card.query)) == call.asked_id("model_id")
                })
                .map(|card| describe(state, caller, card, false))
                .collect();
            Ok(Reply::ok(cards))
        }
        ("POST", []) => create(state, caller, call),
        ("GET", [card]) => {
            let card = state.readable_card(caller, card_ref(state, card)?)?;
            let legacy = call.asked_flag("legacy-mbql");
            Ok(Reply::ok(describe(state, caller, card, legacy)))
        }
        ("GET", [card, "dashboards"]) => {
            let card_id = state.readable_card(caller, id(card)?)?.id;
            let dashboards: Vec<Value> = state
                .dashboards
                .values()
                .filter(|dashboard| dashboard.dashcards.iter().any(|dashcard| dashcard.card_id == Some(card_id)))
                .map(|dashboard| json!({ "id": dashboard.id, "name": dashboard.name }))
                .collect();
            Ok(Reply::ok(dashboards))
        }
        ("PUT", [card]) => update(state, caller, call, id(card)?),
        ("POST", [card, "copy"]) => copy(state, caller, id(card)?),
        ("DELETE", [card]) => {
            let card = state.readable_card(caller, id(card)?)?;
            need(state.card_level(caller, card), Level::Write)?;
            let card_id = card.id;
            state.delete_card(card_id);
            Ok(Reply::empty())
        }
        (method, [card, "public_link"]) => {
            caller.must_be_admin()?;
            let card_id = id(card)?;
            let enabled = state.setting("enable-public-sharing") == Value::Bool(true);
            let missing = state.not_found();
            let card = state.cards.get_mut(&card_id).ok_or(missing)?;
            super::public::link(method, enabled, &mut card.public_uuid)
        }
        _ => Err(no_such_route()),
    }
}

/// `POST /api/cards/move`.
pub(super) fn move_cards(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    let target = collection_of(state, call)?.flatten();
    need(state.collection_level(caller, target), Level::Write)?;
    let ids: Vec<i64> = call
        .given("card_ids")
        .and_then(Value::as_array)
        .ok_or_else(|| missing("card_ids", "sequence of card ids"))?
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    for card_id in &ids {
        let card = state.readable_card(caller, *card_id)?;
        need(state.card_level(caller, card), Level::Write)?;
    }
    for card_id in ids {
        if let Some(card) = state.cards.get_mut(&card_id) {
            card.collection_id = target;
        }
    }
    Ok(Reply::empty())
}

fn create(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    let name = call.required_text("name")?;
    let display = call.required_text("display")?;
    let settings = call
        .given("visualization_settings")
        .filter(|settings| settings.is_object())
        .ok_or_else(|| missing("visualization_settings", "value must be a map."))?
        .clone();
    let query =
        queries::accept(call.given("dataset_query").ok_or_else(|| missing("dataset_query", "value must be a map."))?)?;
    let kind = kind(call)?.unwrap_or_else(|| "question".to_owned());
    let description = call.optional_text("description")?;
    let dashboard_id = call.optional_id("dashboard_id")?;
    let collection_id = match dashboard_id {
        None => collection_of(state, call)?.flatten(),
        Some(dashboard) => {
            let dashboard = state.readable_dashboard(caller, dashboard)?;
            dashboard.collection_id
        }
    };
    need(state.collection_level(caller, collection_id), Level::Write)?;
    if collection_id.is_some_and(|id| state.collections[&id].archived) {
        return Err(archived());
    }
    check_query(state, caller, &query, &kind)?;
    let card_id = state.next_id("card");
    let mut extra = Map::new();
    keep(call, EXTRA, &mut extra);
    let list = |key: &str| call.given(key).cloned().unwrap_or_else(|| json!([]));
    let card = Card {
        id: card_id,
        name,
        description,
        kind,
        display,
        query,
        visualization_settings: settings,
        parameters: list("parameters"),
        parameter_mappings: list("parameter_mappings"),
        result_metadata: call.field("result_metadata").cloned().unwrap_or_default(),
        collection_id,
        dashboard_id,
        entity_id: call.optional_text("entity_id")?.unwrap_or_else(|| state.entity_id("card", card_id)),
        archived: false,
        archived_directly: false,
        public_uuid: None,
        creator_id: caller.user_id,
        extra,
        created_at: state.now,
        updated_at: state.now,
    };
    let answer = describe(state, caller, &card, false);
    state.cards.insert(card_id, card);
    if let Some(dashboard) = dashboard_id {
        state.append_dashcard(dashboard, card_id);
    }
    Ok(Reply::ok(answer))
}

fn update(state: &mut State, caller: &Caller, call: &Call, card_id: i64) -> Answer {
    let mut card = state.readable_card(caller, card_id)?.clone();
    need(state.card_level(caller, &card), Level::Write)?;
    if let Some(kind) = kind(call)? {
        card.kind = kind;
    }
    if let Some(query) = call.given("dataset_query") {
        let query = queries::accept(query)?;
        if query != card.query {
            check_query(state, caller, &query, &card.kind)?;
        }
        card.query = query;
    } else if call.given("type").is_some() {
        check_query(state, caller, &card.query, &card.kind)?;
    }
    if let Some(target) = collection_of(state, call)? {
        need(state.collection_level(caller, target), Level::Write)?;
        card.collection_id = target;
    }
    for (key, slot) in [("name", &mut card.name), ("display", &mut card.display)] {
        if let Some(text) = call.optional_text(key)? {
            *slot = text;
        }
    }
    if call.field("description").is_some() {
        card.description = call.optional_text("description")?;
    }
    for (key, slot) in [
        ("visualization_settings", &mut card.visualization_settings),
        ("parameters", &mut card.parameters),
        ("parameter_mappings", &mut card.parameter_mappings),
        ("result_metadata", &mut card.result_metadata),
    ] {
        if let Some(value) = call.given(key) {
            *slot = value.clone();
        }
    }
    if let Some(archived) = call.optional_flag("archived")? {
        card.archived = archived;
        card.archived_directly = archived;
    }
    keep(call, EXTRA, &mut card.extra);
    card.updated_at = state.now;
    state.editors.insert(format!("card {card_id}"), caller.user_id);
    let answer = describe(state, caller, &card, false);
    state.cards.insert(card_id, card);
    Ok(Reply::ok(answer))
}

fn copy(state: &mut State, caller: &Caller, card_id: i64) -> Answer {
    let mut card = state.readable_card(caller, card_id)?.clone();
    need(state.collection_level(caller, card.collection_id), Level::Write)?;
    check_query(state, caller, &card.query, &card.kind)?;
    card.id = state.next_id("card");
    card.name = format!("Copy of {}", card.name);
    card.entity_id = state.entity_id("card", card.id);
    card.public_uuid = None;
    card.creator_id = caller.user_id;
    card.created_at = state.now;
    card.updated_at = state.now;
    let answer = describe(state, caller, &card, false);
    state.cards.insert(card.id, card);
    Ok(Reply::ok(answer))
}

/// Refuses a query the caller may not run, and a model that asks for values.
fn check_query(state: &State, caller: &Caller, query: &Value, kind: &str) -> Result<(), Reply> {
    let native = queries::sql(query).is_some();
    let needed = if native { Queries::Native } else { Queries::Builder };
    let database = queries::database(query);
    if !state.databases.contains_key(&database) || state.queries(caller, database) < needed {
        return Err(Reply::json(
            403,
            json!({
                "message": "You cannot save this Question because you do not have permissions to run its query.",
                "query": query,
                "required-perms": { "perms/create-queries": needed_word(native) },
                "actual-perms": [],
            }),
        ));
    }
    let asks = queries::tags(query).values().any(|tag| !matches!(tag["type"].as_str(), Some("snippet" | "card")));
    if kind == "model" && native && asks {
        return Err(Reply::text(
            400,
            "A model made from a native SQL question cannot have a variable or field filter.",
        ));
    }
    Ok(())
}

fn needed_word(native: bool) -> &'static str {
    if native { "query-builder-and-native" } else { "query-builder" }
}

fn kind(call: &Call) -> Result<Option<String>, Reply> {
    match call.optional_text("type")?.as_deref() {
        None => Ok(None),
        Some(kind @ ("question" | "model" | "metric")) => Ok(Some(kind.to_owned())),
        Some(other) => Err(invalid("type", "enum of :question, :metric, :model", &format!("received: {other:?}"))),
    }
}

/// The collection a body names: absent, root, or one by id.
pub(super) fn collection_of(state: &State, call: &Call) -> Result<Option<Option<i64>>, Reply> {
    match call.field("collection_id") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => state.collection_ref(value).map(|id| Some(Some(id))),
    }
}

fn card_ref(state: &State, part: &str) -> Result<i64, Reply> {
    part.parse()
        .ok()
        .or_else(|| state.cards.values().find(|card| card.entity_id == part).map(|card| card.id))
        .ok_or_else(|| state.not_found())
}

/// Who made what a fresh instance brings; no list of accounts has it.
fn internal_user() -> Value {
    json!({
        "id": INTERNAL_USER,
        "email": "internal@metabase.com",
        "first_name": "Metabase",
        "last_name": "Internal",
        "common_name": "Metabase Internal",
        "is_qbnewb": true,
    })
}

/// A question as answers show it.
pub(super) fn describe(state: &State, caller: &Caller, card: &Card, legacy: bool) -> Value {
    let write = state.card_level(caller, card) == Level::Write;
    let database = queries::database(&card.query);
    let native = queries::sql(&card.query).is_some();
    let creator = state.users.get(&card.creator_id);
    let mut answer = json!({
        "id": card.id,
        "name": card.name,
        "description": card.description,
        "type": card.kind,
        "display": card.display,
        "database_id": database,
        "table_id": null,
        "query_type": if native { "native" } else { "query" },
        "dataset_query": card.query,
        "visualization_settings": card.visualization_settings,
        "parameters": card.parameters,
        "parameter_mappings": card.parameter_mappings,
        "result_metadata": card.result_metadata,
        "collection_id": card.collection_id,
        "collection": brief(state, caller, card.collection_id),
        "dashboard_id": card.dashboard_id,
        "dashboard_count": state.dashboards_with(card.id),
        "entity_id": card.entity_id,
        "archived": card.archived,
        "archived_directly": card.archived_directly,
        "public_uuid": card.public_uuid,
        "made_public_by_id": null,
        "creator_id": card.creator_id,
        "creator": creator.map_or_else(internal_user, super::state::User::brief),
        "last-edit-info": last_edit(state, &format!("card {}", card.id), card.creator_id, stamp(card.updated_at)),
        "can_write": write,
        "can_run_adhoc_query": state.queries(caller, database) == Queries::Native,
        "can_manage_db": caller.superuser,
        "can_restore": write && card.archived_directly,
        "can_delete": write && card.archived,
        "collection_preview": true,
        "collection_position": null,
        "cache_ttl": null,
        "enable_embedding": false,
        "embedding_params": null,
        "moderation_reviews": [],
        "metabase_version": state.profile.tag(),
        "created_at": stamp(card.created_at),
        "updated_at": stamp(card.updated_at),
    });
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(card.extra.clone());
        if state.profile.answers_mbql5() && !legacy {
            fields.insert("dataset_query".into(), queries::to_mbql5(&card.query));
            fields.insert("legacy_query".into(), Value::from(card.query.to_string()));
            fields.insert("card_schema".into(), Value::from(22));
        }
    }
    answer
}

impl State {
    /// How many dashboards show a question.
    pub(super) fn dashboards_with(&self, card_id: i64) -> usize {
        self.dashboards
            .values()
            .filter(|dashboard| dashboard.dashcards.iter().any(|dashcard| dashcard.card_id == Some(card_id)))
            .count()
    }

    /// Removes a question for good, and from every dashboard.
    pub(super) fn delete_card(&mut self, card_id: i64) {
        self.cards.remove(&card_id);
        for dashboard in self.dashboards.values_mut() {
            dashboard.dashcards.retain(|dashcard| dashcard.card_id != Some(card_id));
        }
    }
}

/// A new public id.
pub(super) fn public_id() -> String {
    Uuid::new_v4().to_string()
}
