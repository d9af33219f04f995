//! Values for the drop-down lists of filters.
//!
//! This is the leak of the real server: reading the card or dashboard is
//! enough, and the values of a field are those of the whole table, whatever
//! the card's own SQL lets through.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::call::{Call, id};
use super::queries;
use super::reply::{Answer, Reply, forbidden};
use super::results::first_column;
use super::runs::{execute, plan_card, target_tag};
use super::server::Server;
use super::state::State;
use super::template::field_id;
use super::warehouse::FILE_ROWS;

/// Values a list holds at most.
const LIST_VALUES: usize = 1_000;

/// Where the values of a list come from.
enum Origin {
    Listed(Vec<Value>),
    Field { field: i64, column: String, details: Map<String, Value> },
    Card(Box<super::runs::Plan>, String),
}

/// Everything that gives values; `None` where the path is another's.
pub(super) async fn handle(server: &Server, call: &Call, path: &[&str]) -> Option<Answer> {
    if call.method != Method::GET {
        return None;
    }
    match path {
        [model @ ("card" | "dashboard"), object, "params", key, "values"] => {
            Some(values(server, call, model, object, key, None).await)
        }
        [model @ ("card" | "dashboard"), object, "params", key, "search", text] => {
            Some(values(server, call, model, object, key, Some(text)).await)
        }
        ["field", field, "values"] => Some(field_values(server, call, field).await),
        _ => None,
    }
}

async fn values(server: &Server, call: &Call, model: &str, object: &str, key: &str, search: Option<&str>) -> Answer {
    let origin = server.read(|state| {
        let caller = state.caller(call)?;
        let object = id(object)?;
        let (parameter, field) = if model == "card" {
            let card = state.readable_card(&caller, object)?;
            let parameter = find(&card.parameters, key);
            let tags = queries::tags(&card.query);
            let tag = parameter
                .as_ref()
                .and_then(|parameter| target_tag(&parameter["target"]))
                .and_then(|name| tags.get(&name))
                .or_else(|| tags.values().find(|tag| tag["id"] == key));
            let field = tag.and_then(|tag| field_id(&tag["dimension"]));
            if parameter.is_none() && tag.is_none() {
                return Err(state.not_found());
            }
            (parameter.unwrap_or_default(), field)
        } else {
            let dashboard = state.readable_dashboard(&caller, object)?;
            let parameter = find(&dashboard.parameters, key).ok_or_else(|| state.not_found())?;
            (parameter, mapped_field(state, dashboard, key))
        };
        origin(state, call, &parameter, field)
    })?;
    let all = match origin {
        Origin::Listed(values) => values,
        Origin::Field { field, column, details } => cached_values(server, field, &column, &details).await,
        Origin::Card(plan, column) => {
            let ran = execute(server, &plan, FILE_ROWS).await;
            let ran = ran.map_err(|refusal| Reply::text(400, &refusal.text))?;
            let at = ran.columns.iter().position(|known| known.name == column);
            let mut values: Vec<Value> = ran
                .rows
                .iter()
                .filter_map(|row| row.get(at?))
                .filter_map(|cell| serde_json::to_value(cell.exported_json()).ok())
                .filter(|value| !value.is_null())
                .collect();
            values.sort_by_key(Value::to_string);
            values.dedup();
            values
        }
    };
    let needle = search.map(str::to_lowercase);
    let found: Vec<Value> = all
        .into_iter()
        .map(|value| if value.is_array() { value } else { json!([value]) })
        .filter(|value| needle.as_ref().is_none_or(|needle| value.to_string().to_lowercase().contains(needle)))
        .collect();
    let more = found.len() > LIST_VALUES;
    let shown: Vec<Value> = found.into_iter().take(LIST_VALUES).collect();
    Ok(Reply::ok(json!({ "values": shown, "has_more_values": more })))
}

async fn field_values(server: &Server, call: &Call, field: &str) -> Answer {
    let (field, column, details) = server.read(|state| {
        let caller = state.caller(call)?;
        let field = id(field)?;
        let table = state.field(field).map(|(table, _)| table.id).ok_or_else(|| state.not_found())?;
        if !state.sees_table(&caller, table) {
            return Err(forbidden());
        }
        match field_origin(state, field) {
            Some(Origin::Field { field, column, details }) => Ok((field, column, details)),
            _ => Err(state.not_found()),
        }
    })?;
    let values: Vec<Value> =
        cached_values(server, field, &column, &details).await.into_iter().map(|value| json!([value])).collect();
    Ok(Reply::ok(json!({
        "values": values,
        "field_id": field,
        "has_more_values": false,
    })))
}

async fn cached_values(server: &Server, field: i64, column: &str, details: &Map<String, Value>) -> Vec<Value> {
    if let Some(values) = server.read(|state| state.field_values.get(&field).cloned()) {
        return values;
    }
    let (table, _) = column.rsplit_once('.').unwrap_or((column, ""));
    let sql = format!(
        "SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY 1 LIMIT {}",
        LIST_VALUES + 1
    );
    let Ok(outcome) = server.warehouse.run(details, &sql, FILE_ROWS).await else {
        return Vec::new();
    };
    let values = first_column(&outcome);
    server.write(|state| state.field_values.insert(field, values.clone()));
    values
}

fn origin(state: &State, call: &Call, parameter: &Value, field: Option<i64>) -> Result<Origin, Reply> {
    if parameter["values_query_type"] == "none" {
        return Ok(Origin::Listed(Vec::new()));
    }
    let config = &parameter["values_source_config"];
    match parameter["values_source_type"].as_str() {
        Some("static-list") => Ok(Origin::Listed(config["values"].as_array().cloned().unwrap_or_default())),
        Some("card") => {
            let caller = state.caller(call)?;
            let card_id = config["card_id"].as_i64().unwrap_or(0);
            let card = state.readable_card(&caller, card_id)?;
            let plan = plan_card(state, card, &[], "question").seen_by(state, &caller, card);
            let column = config["value_field"][1].as_str().unwrap_or_default();
            Ok(Origin::Card(Box::new(plan), column.to_owned()))
        }
        _ => Ok(field.and_then(|field| field_origin(state, field)).unwrap_or(Origin::Listed(Vec::new()))),
    }
}

fn field_origin(state: &State, field: i64) -> Option<Origin> {
    let (table, _) = state.field(field)?;
    let database = state.databases.get(&table.database_id)?;
    let (column, _) = state.column(field)?;
    Some(Origin::Field { field, column, details: database.details.clone() })
}

fn mapped_field(state: &State, dashboard: &super::state::Dashboard, key: &str) -> Option<i64> {
    dashboard.dashcards.iter().find_map(|dashcard| {
        let mappings = dashcard.parameter_mappings.as_array()?;
        mappings.iter().filter(|mapping| mapping["parameter_id"] == key).find_map(|mapping| {
            let target = &mapping["target"];
            match target_tag(target) {
                Some(name) => {
                    let card = state.cards.get(&dashcard.card_id?)?;
                    let tags = queries::tags(&card.query);
                    field_id(&tags.get(&name)?["dimension"])
                }
                None => field_id(&target[1]),
            }
        })
    })
}

fn find(parameters: &Value, key: &str) -> Option<Value> {
    parameters.as_array()?.iter().find(|parameter| parameter["id"] == key).cloned()
}
