//! Public links: made by administrators, open to the world.

use serde_json::{Value, json};

use super::access::Caller;
use super::call::Call;
use super::cards::public_id;
use super::reply::{Answer, Reply, no_such_route};
use super::state::{Card, Dashboard, State};

/// Makes or removes the link of one object.
pub(super) fn link(method: &str, enabled: bool, slot: &mut Option<String>) -> Answer {
    match method {
        "POST" if !enabled => Err(off()),
        "POST" => {
            let uuid = slot.get_or_insert_with(public_id);
            Ok(Reply::ok(json!({ "uuid": uuid })))
        }
        "DELETE" => {
            *slot = None;
            Ok(Reply::empty())
        }
        _ => Err(no_such_route()),
    }
}

/// What anybody may read without signing in.
pub(super) fn handle(state: &State, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", ["card", uuid]) => {
            let card = card(state, uuid)?;
            Ok(Reply::ok(json!({
                "id": card.id,
                "name": card.name,
                "description": card.description,
                "display": card.display,
                "visualization_settings": card.visualization_settings,
                "parameters": card.parameters,
            })))
        }
        ("GET", ["dashboard", uuid]) => {
            let dashboard = dashboard(state, uuid)?;
            let dashcards: Vec<Value> = dashboard
                .dashcards
                .iter()
                .map(|dashcard| {
                    json!({
                        "id": dashcard.id,
                        "card_id": dashcard.card_id,
                        "row": dashcard.row,
                        "col": dashcard.col,
                        "size_x": dashcard.size_x,
                        "size_y": dashcard.size_y,
                        "visualization_settings": dashcard.visualization_settings,
                    })
                })
                .collect();
            Ok(Reply::ok(json!({
                "id": dashboard.id,
                "name": dashboard.name,
                "parameters": dashboard.parameters,
                "dashcards": dashcards,
            })))
        }
        _ => Err(no_such_route()),
    }
}

/// `GET /api/card/public` and `/api/dashboard/public`.
pub(super) fn list(state: &State, caller: &Caller, model: &str) -> Answer {
    caller.must_be_admin()?;
    enabled(state)?;
    let row = |id: i64, name: &str, uuid: &str| json!({ "id": id, "name": name, "public_uuid": uuid });
    let rows: Vec<Value> = if model == "card" {
        state.cards.values().filter_map(|card| Some(row(card.id, &card.name, card.public_uuid.as_ref()?))).collect()
    } else {
        state
            .dashboards
            .values()
            .filter_map(|board| Some(row(board.id, &board.name, board.public_uuid.as_ref()?)))
            .collect()
    };
    Ok(Reply::ok(rows))
}

/// The question behind a public id.
pub(super) fn card<'a>(state: &'a State, uuid: &str) -> Result<&'a Card, Reply> {
    enabled(state)?;
    state
        .cards
        .values()
        .find(|card| card.public_uuid.as_deref() == Some(uuid) && !card.archived)
        .ok_or_else(|| state.not_found())
}

/// The dashboard behind a public id.
pub(super) fn dashboard<'a>(state: &'a State, uuid: &str) -> Result<&'a Dashboard, Reply> {
    enabled(state)?;
    state
        .dashboards
        .values()
        .find(|dashboard| dashboard.public_uuid.as_deref() == Some(uuid) && !dashboard.archived)
        .ok_or_else(|| state.not_found())
}

fn enabled(state: &State) -> Result<(), Reply> {
    if state.setting("enable-public-sharing") == Value::Bool(true) { Ok(()) } else { Err(off()) }
}

fn off() -> Reply {
    Reply::text(400, "Public sharing is not enabled.")
}
