//! Objects that are kept and given back: subscriptions, timelines, snippets,
//! notifications, the cache of the whole instance.

use serde_json::{Map, Value, json};

use super::access::{Caller, Queries, need};
use super::call::{Call, id};
use super::cards::collection_of;
use super::reply::{Answer, Reply, exception, forbidden, invalid, missing, no_such_route, paid_feature};
use super::state::{Level, State, User, stamp};

/// Everything under `/api/pulse`: any reader of a dashboard may mail it to any
/// address.
pub(super) fn pulse(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let archived = call.asked_flag("archived");
            let dashboard = call.asked_id("dashboard_id");
            let rows: Vec<Value> = state
                .stored("pulse")
                .into_iter()
                .filter(|pulse| pulse["archived"] == archived)
                .filter(|pulse| dashboard.is_none_or(|id| pulse["dashboard_id"].as_i64() == Some(id)))
                .filter(|pulse| own(caller, pulse) || receives(caller, pulse))
                .collect();
            Ok(Reply::ok(rows))
        }
        ("POST", []) => {
            let name = call.required_text("name")?;
            let dashboard = call.optional_id("dashboard_id")?;
            // What is no subscription is refused to everybody, before rights are looked at.
            for key in ["cards", "channels"] {
                if call.given(key).is_none_or(|list| !list.is_array()) {
                    return Err(missing(key, "value must be a sequence."));
                }
            }
            if call.given("cards").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                return Err(invalid(
                    "cards",
                    "value must be a sequence of at least one.",
                    "should have at least 1 element",
                ));
            }
            if let Some(dashboard) = dashboard {
                state.readable_dashboard(caller, dashboard)?;
            }
            let mut pulse = new_object(state, caller, "pulse");
            pulse.insert("name".into(), json!(name));
            pulse.insert("dashboard_id".into(), json!(dashboard));
            pulse.insert("collection_id".into(), json!(call.optional_id("collection_id")?));
            pulse.insert("parameters".into(), json!([]));
            pulse.insert("skip_if_empty".into(), json!(false));
            fill_pulse(state, caller, call, &mut pulse)?;
            Ok(Reply::ok(store(state, "pulse", pulse)))
        }
        ("GET", [pulse]) => {
            let pulse = stored(state, "pulse", id(pulse)?)?;
            if own(caller, &pulse) || receives(caller, &pulse) { Ok(Reply::ok(pulse)) } else { Err(forbidden()) }
        }
        ("PUT", [pulse]) => {
            let pulse = stored(state, "pulse", id(pulse)?)?;
            if !own(caller, &pulse) {
                return Err(forbidden());
            }
            let mut pulse = pulse.as_object().cloned().unwrap_or_default();
            fill_pulse(state, caller, call, &mut pulse)?;
            for key in ["name", "archived", "skip_if_empty", "parameters"] {
                if let Some(value) = call.given(key) {
                    pulse.insert(key.into(), value.clone());
                }
            }
            Ok(Reply::ok(store(state, "pulse", pulse)))
        }
        _ => Err(no_such_route()),
    }
}

fn fill_pulse(state: &mut State, caller: &Caller, call: &Call, pulse: &mut Map<String, Value>) -> Result<(), Reply> {
    if let Some(cards) = call.given("cards").and_then(Value::as_array) {
        for card in cards {
            let card_id = card["id"].as_i64().ok_or_else(|| invalid("cards", "maps with an id", "missing id"))?;
            state.readable_card(caller, card_id)?;
        }
        pulse.insert("cards".into(), json!(cards));
    }
    if let Some(channels) = call.given("channels").and_then(Value::as_array) {
        let mut kept = Vec::new();
        for channel in channels {
            if !channel["enabled"].is_boolean() {
                return Err(exception("Assert failed: (boolean? enabled)"));
            }
            let mut channel = channel.clone();
            if channel.get("id").is_none() {
                channel["id"] = json!(state.next_id("pulse_channel"));
            }
            kept.push(channel);
        }
        pulse.insert("channels".into(), json!(kept));
    }
    for key in ["parameters", "skip_if_empty"] {
        if let Some(value) = call.given(key) {
            pulse.insert(key.into(), value.clone());
        }
    }
    pulse.insert("updated_at".into(), json!(stamp(state.now)));
    Ok(())
}

fn own(caller: &Caller, object: &Value) -> bool {
    caller.superuser || object["creator_id"].as_i64() == Some(caller.user_id)
}

fn receives(caller: &Caller, pulse: &Value) -> bool {
    let channels = pulse["channels"].as_array().into_iter().flatten();
    channels
        .filter_map(|channel| channel["recipients"].as_array())
        .flatten()
        .any(|recipient| recipient["id"].as_i64() == Some(caller.user_id))
}

/// Everything under `/api/notification`.
pub(super) fn notification(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    if !state.profile.notifications() {
        return Err(no_such_route());
    }
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let mut rows = state.stored("notification");
            rows.retain(|row| own(caller, row));
            Ok(Reply::ok(rows))
        }
        ("POST", []) => {
            call.required_text("payload_type")?;
            if let Some(card) = call.given("payload").and_then(|it| it["card_id"].as_i64()) {
                state.readable_card(caller, card)?;
            }
            let mut object = new_object(state, caller, "notification");
            object.insert("active".into(), json!(true));
            object.extend(call.fields().clone());
            Ok(Reply::ok(store(state, "notification", object)))
        }
        ("GET", [object]) => {
            let object = stored(state, "notification", id(object)?)?;
            if own(caller, &object) { Ok(Reply::ok(object)) } else { Err(forbidden()) }
        }
        ("PUT", [object]) => {
            let object = stored(state, "notification", id(object)?)?;
            if !own(caller, &object) {
                return Err(forbidden());
            }
            let mut next = object.as_object().cloned().unwrap_or_default();
            next.extend(call.fields().clone());
            next.insert("id".into(), object["id"].clone());
            Ok(Reply::ok(store(state, "notification", next)))
        }
        _ => Err(no_such_route()),
    }
}

/// Everything under `/api/timeline` and `/api/timeline-event`.
pub(super) fn timeline(state: &mut State, caller: &Caller, call: &Call, path: &[&str]) -> Answer {
    match (call.method.as_str(), path) {
        ("GET", ["timeline"]) => Ok(Reply::ok(timelines(state, caller, call, None))),
        ("GET", ["timeline", "collection", collection]) => {
            let collection = match *collection {
                "root" => None,
                number => Some(id(number)?),
            };
            need(state.collection_level(caller, collection), Level::Read)?;
            Ok(Reply::ok(timelines(state, caller, call, Some(collection))))
        }
        ("POST", ["timeline"]) => {
            let name = call.required_text("name")?;
            let collection = collection_of(state, call)?.flatten();
            need(state.collection_level(caller, collection), Level::Write)?;
            let mut object = new_object(state, caller, "timeline");
            object.insert("icon".into(), json!("star"));
            object.insert("default".into(), json!(false));
            object.extend(call.fields().clone());
            object.insert("name".into(), json!(name));
            object.insert("collection_id".into(), json!(collection));
            Ok(Reply::ok(store(state, "timeline", object)))
        }
        ("POST", ["timeline-event"]) => {
            call.required_text("name")?;
            let timeline = call.required_id("timeline_id")?;
            writable_timeline(state, caller, timeline)?;
            if call.given("time_matters").is_none() {
                return Err(exception("ERROR: null value in column \"time_matters\" violates not-null constraint"));
            }
            let mut object = new_object(state, caller, "timeline-event");
            object.extend(call.fields().clone());
            Ok(Reply::ok(store(state, "timeline-event", object)))
        }
        ("GET", [kind @ ("timeline" | "timeline-event"), object]) => {
            let mut object = stored(state, kind, id(object)?)?;
            let timeline = match *kind {
                "timeline" => object.clone(),
                _ => stored(state, "timeline", object["timeline_id"].as_i64().unwrap_or(0))?,
            };
            let collection = timeline["collection_id"].as_i64();
            need(state.collection_level(caller, collection), Level::Read)?;
            if *kind == "timeline" && call.asked("include") == Some("events") {
                object["events"] = json!(events(state, object["id"].as_i64()));
            }
            Ok(Reply::ok(object))
        }
        (method @ ("PUT" | "DELETE"), [kind @ ("timeline" | "timeline-event"), object]) => {
            let object_id = id(object)?;
            let object = stored(state, kind, object_id)?;
            let timeline = match *kind {
                "timeline" => object_id,
                _ => object["timeline_id"].as_i64().unwrap_or(0),
            };
            writable_timeline(state, caller, timeline)?;
            if method == "DELETE" {
                if let Some(all) = state.objects.get_mut(*kind) {
                    all.remove(&object_id);
                }
                // A time line takes its events along.
                if let (&"timeline", Some(events)) = (kind, state.objects.get_mut("timeline-event")) {
                    events.retain(|_, event| event["timeline_id"].as_i64() != Some(object_id));
                }
                return Ok(Reply::empty());
            }
            let mut next = object.as_object().cloned().unwrap_or_default();
            next.extend(call.fields().clone());
            Ok(Reply::ok(store(state, kind, next)))
        }
        _ => Err(no_such_route()),
    }
}

fn timelines(state: &State, caller: &Caller, call: &Call, only: Option<Option<i64>>) -> Vec<Value> {
    let mut rows = state.stored("timeline");
    rows.retain(|row| {
        let collection = row["collection_id"].as_i64();
        only.is_none_or(|only| only == collection)
            && state.collection_level(caller, collection) > Level::None
            && row["archived"] == call.asked_flag("archived")
    });
    if call.asked("include") == Some("events") {
        for row in &mut rows {
            row["events"] = json!(events(state, row["id"].as_i64()));
        }
    }
    rows
}

fn events(state: &State, timeline: Option<i64>) -> Vec<Value> {
    let mut rows = state.stored("timeline-event");
    rows.retain(|row| row["timeline_id"].as_i64() == timeline && row["archived"] == false);
    rows
}

fn writable_timeline(state: &State, caller: &Caller, timeline: i64) -> Result<(), Reply> {
    let timeline = stored(state, "timeline", timeline)?;
    let collection = timeline["collection_id"].as_i64();
    need(state.collection_level(caller, collection), Level::Write)
}

/// Everything under `/api/native-query-snippet`.
pub(super) fn snippet(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    let writes_sql = state.databases.keys().any(|database| state.queries(caller, *database) == Queries::Native);
    if !writes_sql {
        return Err(forbidden());
    }
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let mut rows = state.stored("snippet");
            rows.retain(|row| row["archived"] == call.asked_flag("archived"));
            Ok(Reply::ok(rows))
        }
        ("POST", []) => {
            let name = call.required_text("name")?;
            let content = call.required_text("content")?;
            let taken = state.stored("snippet").iter().any(|row| row["name"] == name);
            if taken {
                return Err(Reply::text(400, "A snippet with that name already exists. Please pick a different name."));
            }
            let mut object = new_object(state, caller, "snippet");
            object.insert("collection_id".into(), Value::Null);
            object.extend(call.fields().clone());
            object.insert("content".into(), json!(content));
            Ok(Reply::ok(store(state, "snippet", object)))
        }
        ("GET", [object]) => Ok(Reply::ok(stored(state, "snippet", id(object)?)?)),
        ("PUT", [object]) => {
            let object = stored(state, "snippet", id(object)?)?;
            let mut next = object.as_object().cloned().unwrap_or_default();
            next.extend(call.fields().clone());
            Ok(Reply::ok(store(state, "snippet", next)))
        }
        _ => Err(no_such_route()),
    }
}

/// `/api/cache`: the free edition knows the whole instance only.
pub(super) fn cache(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    caller.must_be_admin()?;
    match call.method.as_str() {
        "GET" => {
            let asked = call.asked_all("model");
            let wanted = |row: &&Value| {
                let model = row["model"].as_str().unwrap_or_default();
                asked.contains(&model) || (asked.is_empty() && model == "root")
            };
            let rows: Vec<Value> = state.stored("cache").iter().filter(wanted).cloned().collect();
            Ok(Reply::ok(json!({ "data": rows })))
        }
        "PUT" => {
            let model = call.required_text("model")?;
            let strategy = call.given("strategy").cloned().unwrap_or_default();
            let kind = strategy["type"].as_str().unwrap_or_default();
            if model != "root" || !matches!(kind, "ttl" | "nocache") {
                return Err(paid_feature("Cache Granular Controls"));
            }
            let whole = |key: &str, least: u64| strategy[key].as_u64().is_some_and(|number| number >= least);
            let keys = strategy.as_object().map_or(0, Map::len);
            let complete = kind == "nocache" || (whole("multiplier", 1) && whole("min_duration_ms", 0) && keys == 3);
            if !complete || call.given("model_id").and_then(Value::as_u64) != Some(0) {
                return Err(invalid("strategy", "cache strategy of an OSS server", "missing or disallowed key"));
            }
            let row = json!({ "model": "root", "model_id": 0, "strategy": strategy });
            state.objects.entry("cache".into()).or_default().insert(0, row.clone());
            Ok(Reply::ok(row))
        }
        "DELETE" => {
            state.objects.remove("cache");
            Ok(Reply::empty())
        }
        _ => Err(no_such_route()),
    }
}

fn new_object(state: &mut State, caller: &Caller, kind: &str) -> Map<String, Value> {
    let object_id = state.next_id(kind);
    let mut object = Map::new();
    object.insert("id".into(), json!(object_id));
    object.insert("entity_id".into(), json!(state.entity_id(kind, object_id)));
    object.insert("archived".into(), json!(false));
    object.insert("creator_id".into(), json!(caller.user_id));
    let creator = state.users.get(&caller.user_id).map(User::brief);
    object.insert("creator".into(), json!(creator));
    object.insert("created_at".into(), json!(stamp(state.now)));
    object.insert("updated_at".into(), json!(stamp(state.now)));
    object
}

fn store(state: &mut State, kind: &str, object: Map<String, Value>) -> Value {
    let object_id = object.get("id").and_then(Value::as_i64).unwrap_or(0);
    let object = Value::Object(object);
    state.objects.entry(kind.to_owned()).or_default().insert(object_id, object.clone());
    object
}

fn stored(state: &State, kind: &str, object_id: i64) -> Result<Value, Reply> {
    state.objects.get(kind).and_then(|all| all.get(&object_id)).cloned().ok_or_else(|| state.not_found())
}
