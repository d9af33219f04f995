//! A query in its two spellings.
//!
//! Stored is the legacy one. From 0.57 on, answers spell it as MBQL 5 and add
//! the legacy form as a string.

use serde_json::{Map, Value, json};

use super::reply::{Reply, exception, invalid};

/// Reads a query in either spelling and gives the legacy one.
pub(super) fn accept(query: &Value) -> Result<Value, Reply> {
    let fields = query.as_object().ok_or_else(|| invalid("dataset_query", "value must be a map.", "not a map"))?;
    if fields.is_empty() {
        // No schema stops it; the application database does.
        return Err(exception("ERROR: null value in column \"database_id\" violates not-null constraint"));
    }
    let database = fields
        .get("database")
        .and_then(Value::as_i64)
        .ok_or_else(|| invalid("dataset_query", "map with a database", "missing database"))?;
    if let Some(native) = fields.get("native") {
        let text = native
            .get("query")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("dataset_query", "native query with a text", "missing native.query"))?;
        let tags = native.get("template-tags").filter(|tags| !tags.is_null());
        return Ok(legacy_native(database, text, tags.cloned()));
    }
    if let Some(stage) = fields.get("stages").and_then(|stages| stages.get(0))
        && let Some(text) = stage.get("native").and_then(Value::as_str)
    {
        let tags = stage.get("template-tags").filter(|tags| !tags.is_null());
        return Ok(legacy_native(database, text, tags.cloned()));
    }
    Ok(query.clone())
}

fn legacy_native(database: i64, text: &str, tags: Option<Value>) -> Value {
    json!({
        "database": database,
        "type": "native",
        "native": {
            "template-tags": tags.unwrap_or_else(|| json!({})),
            "query": text,
        },
    })
}

/// The SQL of a stored query, when it is native.
pub(super) fn sql(query: &Value) -> Option<&str> {
    query.get("native")?.get("query")?.as_str()
}

/// The template tags of a stored query.
pub(super) fn tags(query: &Value) -> Map<String, Value> {
    query
        .get("native")
        .and_then(|native| native.get("template-tags"))
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// The database a stored query asks.
pub(super) fn database(query: &Value) -> i64 {
    query.get("database").and_then(Value::as_i64).unwrap_or(0)
}

/// Spells a stored query as MBQL 5; what is so already is given back as it came.
pub(super) fn to_mbql5(query: &Value) -> Value {
    let Some(text) = sql(query) else {
        let Some(inner) = query.get("query").and_then(Value::as_object) else {
            return query.clone();
        };
        let mut stages = Vec::new();
        add_stages(inner, &mut stages);
        return json!({
            "lib/type": "mbql/query",
            "stages": stages,
            "database": query["database"],
            "lib.convert/converted?": true,
        });
    };
    let mut stage = Map::new();
    stage.insert("lib/type".into(), Value::from("mbql.stage/native"));
    stage.insert("native".into(), Value::from(text));
    let tags = tags(query);
    if !tags.is_empty() {
        stage.insert("template-tags".into(), Value::Object(tags));
    }
    json!({
        "lib/type": "mbql/query",
        "stages": [stage],
        "database": query["database"],
        "lib.convert/converted?": true,
    })
}

/// An inner query is the stage before.
fn add_stages(inner: &Map<String, Value>, stages: &mut Vec<Value>) {
    if let Some(before) = inner.get("source-query").and_then(Value::as_object) {
        add_stages(before, stages);
    }
    let mut stage = Map::new();
    stage.insert("lib/type".into(), Value::from("mbql.stage/mbql"));
    for (key, value) in inner {
        let clauses = || value.as_array().map(|all| all.iter().map(clause).collect::<Vec<_>>());
        match (key.as_str(), value) {
            ("source-query", _) => {}
            ("source-table", Value::String(text)) => {
                let card = text.strip_prefix("card__").and_then(|id| id.parse::<i64>().ok());
                stage.insert("source-card".into(), json!(card));
            }
            ("filter", Value::Array(_)) => {
                stage.insert("filters".into(), json!([clause(value)]));
            }
            ("aggregation" | "breakout" | "fields" | "order-by", Value::Array(all)) => {
                // The oldest spelling has one aggregation without a list around it.
                let one = all.first().is_some_and(Value::is_string);
                let list = if one { vec![clause(value)] } else { clauses().unwrap_or_default() };
                stage.insert(key.clone(), Value::Array(list));
            }
            _ => {
                stage.insert(key.clone(), value.clone());
            }
        }
    }
    stages.push(Value::Object(stage));
}

/// Puts the options behind the operator.
fn clause(legacy: &Value) -> Value {
    let Some([Value::String(operator), arguments @ ..]) = legacy.as_array().map(Vec::as_slice) else {
        return legacy.clone();
    };
    if operator == "field" || operator == "field-id" {
        let which = arguments.iter().find(|part| part.is_i64() || part.is_string()).cloned().unwrap_or_default();
        let options = arguments.iter().find(|part| part.is_object()).cloned().unwrap_or_else(|| json!({}));
        return json!(["field", options, which]);
    }
    let operator = Value::from(operator.as_str());
    let behind = arguments.iter().map(clause);
    Value::Array([operator, json!({})].into_iter().chain(behind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_way_there_and_back() {
        let legacy = json!({
            "database": 3,
            "type": "native",
            "native": {
                "template-tags": { "since": { "name": "since", "type": "date" } },
                "query": "SELECT 1 [[WHERE day >= {{since}}]]",
            },
        });
        assert_eq!(accept(&to_mbql5(&legacy)).unwrap(), legacy);
    }

    #[test]
    fn a_built_query_is_answered_in_stages() {
        let legacy = json!({"database": 3, "type": "query", "query": {
            "source-query": {"source-table": "card__7", "filter": ["=", ["field", 4, null], "x"]},
            "aggregation": ["count"],
            "breakout": [["field", "day", {"temporal-unit": "month"}]],
            "limit": 5,
        }});
        assert_eq!(
            to_mbql5(&legacy)["stages"],
            json!([
                {"lib/type": "mbql.stage/mbql", "source-card": 7, "filters": [["=", {}, ["field", {}, 4], "x"]]},
                {
                    "lib/type": "mbql.stage/mbql",
                    "aggregation": [["count", {}]],
                    "breakout": [["field", {"temporal-unit": "month"}, "day"]],
                    "limit": 5,
                },
            ])
        );
    }

    #[test]
    fn an_empty_query_breaks_in_the_database_and_not_before() {
        assert_eq!(accept(&json!({})).unwrap_err().status, 500);
    }
}
