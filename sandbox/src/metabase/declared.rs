//! The body keys each route declares, and the refusal of any other.
//!
//! Released servers strip what they do not know; newer ones are on the way to
//! refusing it. A client tested against the refusal works with both.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::reply::Reply;

/// One route a line: method, path under `/api`, keys.
const DECLARED: &str = include_str!("declared.txt");

const DASHCARD: &[&str] = &[
    "id",
    "row",
    "col",
    "size_x",
    "size_y",
    "card_id",
    "dashboard_tab_id",
    "parameter_mappings",
    "visualization_settings",
    "series",
    "inline_parameters",
    "action_id",
];
const TAB: &[&str] = &["id", "name", "position"];
const PARAMETER: &[&str] = &[
    "id",
    "type",
    "name",
    "slug",
    "sectionId",
    "default",
    "required",
    "filteringParameters",
    "mappings",
    "target",
    "temporal_units",
    "values_query_type",
    "values_source_type",
    "values_source_config",
];
const MAPPING: &[&str] = &["parameter_id", "card_id", "target", "dashcard"];
const QUERY: &[&str] = &["database", "type", "native", "query", "parameters", "lib/type", "stages"];
const NATIVE: &[&str] = &["query", "template-tags", "collection"];
const TEMPLATE_TAG: &[&str] = &[
    "id",
    "name",
    "display-name",
    "type",
    "required",
    "default",
    "dimension",
    "widget-type",
    "options",
    "snippet-id",
    "snippet-name",
    "card-id",
];
const DATA_PERMISSION: &[&str] = &["view-data", "create-queries", "download", "data-model", "details", "transforms"];

/// Refuses a body with keys the route does not declare.
pub(super) fn check(call: &Call) -> Result<(), Reply> {
    let segments = call.segments();
    let Some(("api", rest)) = segments.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return Ok(());
    };
    let Some(keys) = declared(&call.method, rest) else {
        return Ok(());
    };
    let mut wrong = Vec::new();
    undeclared("", call.fields(), &keys, &mut wrong);
    nested(rest, call.fields(), &mut wrong);
    if wrong.is_empty() {
        return Ok(());
    }
    let mut errors = Map::new();
    let mut specific = Map::new();
    for key in wrong {
        errors.insert(key.clone(), Value::from("disallowed key"));
        specific.insert(key, json!(["disallowed key"]));
    }
    Err(Reply::json(400, json!({ "errors": errors, "specific-errors": specific })))
}

fn declared(method: &Method, path: &[String]) -> Option<Vec<&'static str>> {
    let fits = |pattern: &str| {
        let parts: Vec<_> = pattern.split('/').collect();
        parts.len() == path.len() && parts.iter().zip(path).all(|(part, given)| *part == "*" || part == given)
    };
    // A literal path such as `collection/graph` wins over `collection/*`.
    DECLARED
        .lines()
        .filter_map(|line| line.strip_prefix(method.as_str())?.trim().split_once(' '))
        .filter(|(pattern, _)| fits(pattern))
        .min_by_key(|(pattern, _)| pattern.matches('*').count())
        .map(|(_, keys)| keys.split(' ').collect())
}

fn nested(path: &[String], body: &Map<String, Value>, wrong: &mut Vec<String>) {
    match path.first().map(String::as_str) {
        Some("dashboard") => {
            each(body, "dashcards", DASHCARD, wrong);
            each(body, "tabs", TAB, wrong);
            for card in items(body, "dashcards") {
                each(card, "parameter_mappings", MAPPING, wrong);
            }
            if path.len() < 3 {
                each(body, "parameters", PARAMETER, wrong);
            }
        }
        Some("card") if path.len() < 3 => {
            each(body, "parameters", PARAMETER, wrong);
            if let Some(Value::Object(query)) = body.get("dataset_query") {
                undeclared("dataset_query.", query, QUERY, wrong);
                native(query, wrong);
            }
        }
        Some("dataset") => native(body, wrong),
        Some("user") => each(body, "user_group_memberships", &["id", "is_group_manager"], wrong),
        Some("setup") => {
            for (part, keys) in [
                ("user", &["email", "password", "first_name", "last_name"][..]),
                ("prefs", &["site_name", "site_locale"][..]),
            ] {
                if let Some(Value::Object(fields)) = body.get(part) {
                    undeclared(&format!("{part}."), fields, keys, wrong);
                }
            }
        }
        Some("permissions") => {
            let groups = body.get("groups").and_then(Value::as_object);
            for databases in groups.into_iter().flat_map(Map::values) {
                let databases = databases.as_object();
                for permission in databases.into_iter().flat_map(Map::values) {
                    if let Some(permission) = permission.as_object() {
                        undeclared("groups.", permission, DATA_PERMISSION, wrong);
                    }
                }
            }
        }
        _ => {}
    }
}

fn native(query: &Map<String, Value>, wrong: &mut Vec<String>) {
    let Some(Value::Object(native)) = query.get("native") else {
        return;
    };
    undeclared("native.", native, NATIVE, wrong);
    if let Some(Value::Object(tags)) = native.get("template-tags") {
        for tag in tags.values().filter_map(Value::as_object) {
            undeclared("template-tags.", tag, TEMPLATE_TAG, wrong);
        }
    }
}

fn items<'a>(body: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    body.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn each(body: &Map<String, Value>, key: &str, keys: &[&str], wrong: &mut Vec<String>) {
    for item in items(body, key) {
        undeclared(&format!("{key}."), item, keys, wrong);
    }
}

fn undeclared(prefix: &str, fields: &Map<String, Value>, keys: &[&str], wrong: &mut Vec<String>) {
    for key in fields.keys() {
        if !keys.contains(&key.as_str()) {
            wrong.push(format!("{prefix}{key}"));
        }
    }
}
