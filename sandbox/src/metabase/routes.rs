//! Which path is answered by whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::Method;
use serde_json::json;

use super::call::Call;
use super::declared;
use super::reply::{Answer, Reply, no_such_route};
use super::server::Server;
use super::state::State;
use super::{
    api_keys, cards, collection_graph, collections, dashboards, data_graph, databases, groups, objects, pages, params,
    public, runs, search, sessions, settings, tables, users, xrays,
};

/// First parts of paths that ask who is calling before anything else.
const GUARDED: &[&str] = &[
    "alert",
    "api-key",
    "automagic-dashboards",
    "cache",
    "card",
    "cards",
    "collection",
    "dashboard",
    "database",
    "dataset",
    "email",
    "field",
    "native-query-snippet",
    "notification",
    "permissions",
    "pulse",
    "search",
    "setting",
    "table",
    "timeline",
    "timeline-event",
    "user",
];

/// Answers one call.
pub(super) async fn answer(server: &Arc<Server>, call: &Call) -> Reply {
    let segments = call.segments();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match path.split_first() {
        Some((&"api", rest)) => api(server, call, rest).await.unwrap_or_else(|refusal| refusal),
        _ => pages::answer(server, call, &path).await,
    }
}

async fn api(server: &Arc<Server>, call: &Call, path: &[&str]) -> Answer {
    if server.starting.load(Ordering::SeqCst) {
        return Err(match path {
            ["health"] => Reply::json(503, json!({ "status": "initializing", "progress": 0.3 })),
            _ => Reply::text(503, "Metabase is still initializing. Please sit tight..."),
        });
    }
    if path == ["health"] {
        return Ok(Reply::ok(json!({ "status": "ok" })));
    }
    if path.first().is_some_and(|first| GUARDED.contains(first)) {
        server.read(|state| state.caller(call).map(|_| ()))?;
    }
    if server.strict {
        declared::check(call)?;
    }
    if let Some(answer) = runs::handle(server, call, path).await {
        return answer;
    }
    if let Some(answer) = params::handle(server, call, path).await {
        return answer;
    }
    if let Some(answer) = databases::connected(server, call, path).await {
        return answer;
    }
    if let Some(answer) = settings::email(server, call, path).await {
        return answer;
    }
    let answer = if call.method == Method::GET {
        server.read(|state| stored(state, call, path))
    } else {
        server.write(|state| stored(state, call, path))
    };
    if call.method == Method::DELETE && path.first() == Some(&"database") {
        server.warehouse.forget();
    }
    answer
}

/// Everything the state answers by itself.
fn stored(state: &mut State, call: &Call, path: &[&str]) -> Answer {
    match path {
        ["setup"] => return sessions::setup(state, call),
        ["session", rest @ ..] => return sessions::session(state, call, rest),
        ["public", rest @ ..] => return public::handle(state, call, rest),
        _ => {}
    }
    let guarded = path.first().is_some_and(|first| GUARDED.contains(first));
    if !guarded {
        return Err(no_such_route());
    }
    let caller = state.caller(call)?;
    let get = call.method == Method::GET;
    match path {
        ["api-key", rest @ ..] => api_keys::handle(state, &caller, call, rest),
        ["user", rest @ ..] => users::handle(state, &caller, call, rest),
        ["permissions", "group", rest @ ..] => groups::group(state, &caller, call, rest),
        ["permissions", "membership", rest @ ..] => groups::membership(state, &caller, call, rest),
        ["permissions", "graph", rest @ ..] => data_graph::handle(state, &caller, call, rest),
        ["collection", "graph"] => collection_graph::handle(state, &caller, call),
        ["collection", rest @ ..] => collections::handle(state, &caller, call, rest),
        [model @ ("card" | "dashboard"), "public"] if get => public::list(state, &caller, model),
        ["card", rest @ ..] => cards::handle(state, &caller, call, rest),
        ["cards", "move"] if !get => cards::move_cards(state, &caller, call),
        ["dashboard", rest @ ..] => dashboards::handle(state, &caller, call, rest),
        ["database", rest @ ..] => databases::handle(state, &caller, call, rest),
        ["table", rest @ ..] => tables::handle(state, &caller, call, rest),
        ["field", rest @ ..] => tables::field(state, &caller, call, rest),
        ["setting", rest @ ..] => settings::handle(state, &caller, call, rest),
        ["search"] if get => Ok(search::search(state, &caller, call)),
        ["pulse", rest @ ..] => objects::pulse(state, &caller, call, rest),
        ["alert"] if get => Ok(Reply::ok(json!([]))),
        ["notification", rest @ ..] => objects::notification(state, &caller, call, rest),
        ["timeline" | "timeline-event", ..] => objects::timeline(state, &caller, call, path),
        ["native-query-snippet", rest @ ..] => objects::snippet(state, &caller, call, rest),
        ["cache"] => objects::cache(state, &caller, call),
        ["automagic-dashboards", rest @ ..] => xrays::handle(state, &caller, call, rest),
        _ => Err(no_such_route()),
    }
}
