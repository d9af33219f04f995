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

/// Spells a stored query as MBQL 5; what is not native is given back as it came.
pub(super) fn to_mbql5(query: &Value) -> Value {
    let Some(text) = sql(query) else {
        return query.clone();
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
    fn an_empty_query_breaks_in_the_database_and_not_before() {
        assert_eq!(accept(&json!({})).unwrap_err().status, 500);
    }
}
