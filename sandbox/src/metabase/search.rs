//! Search: readable items only.

use serde_json::{Value, json};

use super::access::Caller;
use super::call::Call;
use super::collections::brief;
use super::items::model_of;
use super::reply::Reply;
use super::state::{Level, State, stamp};

/// `GET /api/search`.
pub(super) fn search(state: &State, caller: &Caller, call: &Call) -> Reply {
    let needle = call.asked("q").unwrap_or_default().to_lowercase();
    let archived = call.asked_flag("archived");
    let within = call.asked_id("collection");
    let asked = call.asked_all("models");
    let wants = |model: &str| asked.is_empty() || asked.contains(&model);
    let found = |name: &str, description: Option<&String>| {
        name.to_lowercase().contains(&needle) || description.is_some_and(|text| text.to_lowercase().contains(&needle))
    };
    let inside = |collection: Option<i64>| {
        within.is_none_or(|within| collection == Some(within) || collection.is_some_and(|id| state.under(id, within)))
    };
    let mut rows: Vec<Value> = Vec::new();
    for card in state.cards.values() {
        if card.archived == archived
            && wants(model_of(card))
            && found(&card.name, card.description.as_ref())
            && inside(card.collection_id)
            && state.card_level(caller, card) > Level::None
        {
            rows.push(json!({
                "id": card.id,
                "name": card.name,
                "description": card.description,
                "model": model_of(card),
                "display": card.display,
                "archived": card.archived,
                "database_id": super::queries::database(&card.query),
                "collection_id": card.collection_id,
                "collection": brief(state, caller, card.collection_id),
                "created_at": stamp(card.created_at),
                "updated_at": stamp(card.updated_at),
            }));
        }
    }
    for dashboard in state.dashboards.values() {
        if dashboard.archived == archived
            && wants("dashboard")
            && found(&dashboard.name, dashboard.description.as_ref())
            && inside(dashboard.collection_id)
            && state.dashboard_level(caller, dashboard) > Level::None
        {
            rows.push(json!({
                "id": dashboard.id,
                "name": dashboard.name,
                "description": dashboard.description,
                "model": "dashboard",
                "archived": dashboard.archived,
                "collection_id": dashboard.collection_id,
                "collection": brief(state, caller, dashboard.collection_id),
                "created_at": stamp(dashboard.created_at),
                "updated_at": stamp(dashboard.updated_at),
            }));
        }
    }
    for collection in state.collections.values() {
        if collection.archived == archived
            && collection.kind.as_deref() != Some("trash")
            && wants("collection")
            && found(&collection.name, collection.description.as_ref())
            && inside(Some(collection.id))
            && state.collection_level(caller, Some(collection.id)) > Level::None
        {
            rows.push(json!({
                "id": collection.id,
                "name": collection.name,
                "description": collection.description,
                "model": "collection",
                "archived": collection.archived,
                "location": collection.location,
            }));
        }
    }
    if !archived && within.is_none() && wants("table") {
        let seen = |id: i64| caller.superuser || state.sees_table(caller, id);
        for table in state.tables.values() {
            if table.active && found(&table.name, None) && seen(table.id) {
                rows.push(json!({
                    "id": table.id,
                    "name": table.name,
                    "model": "table",
                    "database_id": table.database_id,
                    "table_schema": table.schema,
                }));
            }
        }
    }
    rows.sort_by_key(|row| {
        let name = row["name"].as_str().unwrap_or_default().to_lowercase();
        (name, row["id"].as_i64())
    });
    let total = rows.len();
    let page = call.page();
    let (limit, offset) = page.unwrap_or((usize::MAX, 0));
    let data: Vec<Value> = rows.into_iter().skip(offset).take(limit).collect();
    Reply::ok(json!({
        "data": data,
        "total": total,
        "limit": page.map(|(limit, _)| limit),
        "offset": page.map(|(_, offset)| offset),
        "models": asked,
        "available_models": ["card", "dashboard", "collection", "dataset", "metric", "table"],
        "engine": "in-place",
    }))
}
