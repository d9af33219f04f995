//! X-rays: dashboards made up on the spot, for whoever may build queries on a table.

use serde_json::{Value, json};

use super::access::Caller;
use super::call::{Call, id};
use super::reply::{Answer, Reply, forbidden, no_such_route};
use super::state::State;

/// Everything under `/api/automagic-dashboards`.
pub(super) fn handle(state: &State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    if call.method != axum::http::Method::GET {
        return Err(no_such_route());
    }
    if state.setting("enable-xrays") == Value::Bool(false) {
        return Err(Reply::text(403, "X-rays are disabled."));
    }
    match rest {
        ["database", database, "candidates"] => {
            let database = id(database)?;
            if !state.databases.contains_key(&database) {
                return Err(state.not_found());
            }
            let tables = state
                .tables
                .values()
                .filter(|table| table.database_id == database && table.active && state.sees_table(caller, table.id));
            let tables: Vec<Value> = tables
                .map(|table| {
                    json!({
                        "url": format!("/auto/dashboard/table/{}", table.id),
                        "title": table.name,
                        "score": 1,
                    })
                })
                .collect();
            // Nobody's candidates are refused to nobody: the list is empty.
            Ok(Reply::ok(json!([{ "id": "1/schema", "schema": null, "tables": tables }])))
        }
        ["table", table] => {
            let table = state.tables.get(&id(table)?).ok_or_else(|| state.not_found())?;
            if !state.sees_table(caller, table.id) {
                return Err(forbidden());
            }
            Ok(Reply::ok(json!({
                "name": format!("A look at {}", table.name),
                "transient_name": format!("A look at {}", table.name),
                "dashcards": [{
                    "id": "x1",
                    "card": {
                        "name": "Total",
                        "display": "scalar",
                        "dataset_query": {
                            "type": "query",
                            "database": table.database_id,
                            "query": { "source-table": table.id, "aggregation": [["count"]] },
                        },
                    },
                }],
            })))
        }
        [model @ ("question" | "model"), card] => {
            let card = state.readable_card(caller, id(card)?)?;
            // Its parts are queries on the tables below it.
            let allowed = match super::mbql::source(&card.query) {
                Some(super::mbql::Source::Table(table)) => state.sees_table(caller, table),
                _ => state.queries(caller, super::queries::database(&card.query)) >= super::access::Queries::Builder,
            };
            if !allowed {
                return Err(forbidden());
            }
            Ok(Reply::ok(json!({ "name": format!("A closer look at the {model} {}", card.name), "dashcards": [] })))
        }
        _ => Err(no_such_route()),
    }
}
