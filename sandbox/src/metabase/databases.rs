//! Databases: connected to before they are kept, open to all by default.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::access::{Caller, Queries};
use super::call::{Call, id};
use super::collections::keep;
use super::reply::{Answer, Reply, forbidden, invalid, missing, no_such_route, paid_feature};
use super::server::Server;
use super::state::{Database, State, stamp};
use super::sync;
use super::tables;

/// What stands in answers where a secret is, and keeps it when sent back.
const MASK: &str = "**MetabasePass**";
const SECRETS: &[&str] = &["password", "tunnel-pass", "ssl-key-password"];
/// Settings of a database that are stored and given back.
const EXTRA: &[&str] = &[
    "auto_run_queries",
    "caveats",
    "description",
    "is_full_sync",
    "is_on_demand",
    "points_of_interest",
    "provider_name",
    "refingerprint",
    "schedules",
    "settings",
];

/// What needs a connection; `None` where the path is another's.
pub(super) async fn connected(server: &Arc<Server>, call: &Call, path: &[&str]) -> Option<Answer> {
    match (call.method.as_str(), path) {
        ("POST", ["database"]) => Some(create(server, call).await),
        ("POST", ["database", "validate"]) => Some(validate(server, call).await),
        ("PUT", ["database", database]) => Some(update(server, call, database).await),
        ("GET", ["database", database, "healthcheck"]) => Some(healthcheck(server, call, database).await),
        ("POST", ["database", database, "sync_schema"]) => {
            Some(admin_database(server, call, database).map(|database| {
                sync::start(server, database);
                Reply::ok(json!({ "status": "ok" }))
            }))
        }
        ("POST", ["database", database, "rescan_values" | "discard_values"]) => {
            Some(admin_database(server, call, database).map(|database| {
                server.write(|state| {
                    let fields: Vec<i64> = state
                        .tables
                        .values()
                        .filter(|table| table.database_id == database)
                        .flat_map(|table| table.fields.iter().map(|field| field.id))
                        .collect();
                    for field in fields {
                        state.field_values.remove(&field);
                    }
                });
                Reply::ok(json!({ "status": "ok" }))
            }))
        }
        _ => None,
    }
}

/// What the stored state answers by itself.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let with_tables = call.asked("include") == Some("tables");
            let rows: Vec<Value> = state
                .databases
                .values()
                .filter(|database| state.queries(caller, database.id) > Queries::No)
                .map(|database| {
                    let mut row = describe(state, caller, database);
                    if with_tables {
                        row["tables"] = json!(tables::of_database(state, caller, database.id));
                    }
                    row
                })
                .collect();
            Ok(Reply::ok(json!({ "total": rows.len(), "data": rows })))
        }
        ("GET", [database]) => {
            let database = readable(state, caller, id(database)?)?;
            let mut answer = describe(state, caller, database);
            if let Some(include @ ("tables" | "tables.fields")) = call.asked("include") {
                answer["tables"] = json!(tables::listed(state, caller, database.id, include == "tables.fields"));
            }
            Ok(Reply::ok(answer))
        }
        ("GET", [database, "metadata"]) => {
            let database = readable(state, caller, id(database)?)?;
            let mut answer = describe(state, caller, database);
            let fields = !call.asked_flag("skip_fields");
            answer["tables"] = json!(tables::listed(state, caller, database.id, fields));
            Ok(Reply::ok(answer))
        }
        ("GET", [database, "schemas"]) => {
            let database = readable(state, caller, id(database)?)?;
            Ok(Reply::ok(tables::schemas(state, caller, database.id)))
        }
        ("GET", [database, "schema", schema]) => {
            let database = readable(state, caller, id(database)?)?;
            let mut rows = tables::of_database(state, caller, database.id);
            rows.retain(|table| table["schema"] == *schema);
            Ok(Reply::ok(rows))
        }
        ("GET", [database, "fields"]) => {
            let database = readable(state, caller, id(database)?)?;
            Ok(Reply::ok(tables::all_fields(state, caller, database.id)))
        }
        ("DELETE", [database]) => {
            caller.must_be_admin()?;
            delete(state, id(database)?)
        }
        _ => Err(no_such_route()),
    }
}

async fn create(server: &Arc<Server>, call: &Call) -> Answer {
    let (name, engine, mut details) = server.read(|state| {
        state.caller(call)?.must_be_admin()?;
        if call.given("cache_ttl").is_some() {
            return Err(paid_feature("Cache Granular Controls"));
        }
        Ok((call.required_text("name")?, call.required_text("engine")?, details_of(call.given("details"))?))
    })?;
    must_be_postgres(&engine)?;
    let version = server.warehouse.check(&details).await?;
    // The real server settles on what worked when the caller left it open.
    details.entry("ssl").or_insert(Value::Bool(false));
    let answer = server.write(|state| {
        let caller = state.caller(call)?;
        let database_id = state.next_id("database");
        let mut extra = Map::new();
        keep(call, EXTRA, &mut extra);
        let database = Database {
            id: database_id,
            name,
            engine,
            details,
            sample: false,
            synced: false,
            extra,
            version: Some(version),
            creator_id: Some(caller.user_id),
            created_at: state.now,
            updated_at: state.now,
        };
        let answer = describe(state, &caller, &database);
        state.databases.insert(database_id, database);
        state.grant_new_database(database_id);
        Ok::<_, Reply>((database_id, answer))
    });
    let (database_id, answer) = answer?;
    sync::start(server, database_id);
    Ok(Reply::ok(answer))
}

async fn validate(server: &Server, call: &Call) -> Answer {
    server.read(|state| state.caller(call)?.must_be_admin())?;
    let outer = details_of(call.given("details"))?;
    let engine = outer.get("engine").and_then(Value::as_str);
    must_be_postgres(engine.unwrap_or_default())?;
    let details = details_of(outer.get("details"))?;
    match server.warehouse.check(&details).await {
        Ok(_) => Ok(Reply::ok(json!({ "valid": true }))),
        Err(refusal) => {
            let body: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
            let mut answer = json!({ "valid": false });
            if let (Some(answer), Some(body)) = (answer.as_object_mut(), body.as_object()) {
                answer.extend(body.clone());
            }
            Ok(Reply::ok(answer))
        }
    }
}

async fn update(server: &Arc<Server>, call: &Call, database: &str) -> Answer {
    let database_id = admin_database(server, call, database)?;
    let mut next = server.read(|state| state.databases[&database_id].clone());
    if let Some(name) = call.optional_text("name")? {
        next.name = name;
    }
    if call.given("cache_ttl").is_some() {
        return Err(paid_feature("Cache Granular Controls"));
    }
    let new_details = call.given("details").is_some();
    if new_details {
        let mut details = details_of(call.given("details"))?;
        for secret in SECRETS {
            if details.get(*secret) == Some(&Value::from(MASK)) {
                match next.details.get(*secret) {
                    Some(stored) => details.insert((*secret).to_owned(), stored.clone()),
                    None => details.remove(*secret),
                };
            }
        }
        if next.engine == "postgres" {
            next.version = Some(server.warehouse.check(&details).await?);
        }
        next.details = details;
        server.warehouse.forget();
    }
    keep(call, EXTRA, &mut next.extra);
    let answer = server.write(|state| {
        let caller = state.caller(call)?;
        if !state.databases.contains_key(&database_id) {
            return Err(state.not_found());
        }
        next.updated_at = state.now;
        let answer = describe(state, &caller, &next);
        state.databases.insert(database_id, next);
        Ok(answer)
    })?;
    if new_details {
        sync::start(server, database_id);
    }
    Ok(Reply::ok(answer))
}

async fn healthcheck(server: &Server, call: &Call, database: &str) -> Answer {
    let (engine, details) = server.read(|state| {
        let caller = state.caller(call)?;
        let database = readable(state, &caller, id(database)?)?;
        Ok::<_, Reply>((database.engine.clone(), database.details.clone()))
    })?;
    if engine != "postgres" {
        return Ok(Reply::ok(json!({ "status": "ok" })));
    }
    match server.warehouse.check(&details).await {
        Ok(_) => Ok(Reply::ok(json!({ "status": "ok" }))),
        Err(refusal) => {
            let mut body: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
            body["status"] = json!("error");
            Ok(Reply::ok(body))
        }
    }
}

fn delete(state: &mut State, database_id: i64) -> Answer {
    if state.databases.remove(&database_id).is_none() {
        return Err(state.not_found());
    }
    for databases in state.data_permissions.values_mut() {
        databases.remove(&database_id);
    }
    let fields: Vec<i64> = state
        .tables
        .values()
        .filter(|table| table.database_id == database_id)
        .flat_map(|table| table.fields.iter().map(|field| field.id))
        .collect();
    for field in fields {
        state.field_values.remove(&field);
    }
    state.tables.retain(|_, table| table.database_id != database_id);
    let cards: Vec<i64> = state
        .cards
        .values()
        .filter(|card| super::queries::database(&card.query) == database_id)
        .map(|card| card.id)
        .collect();
    for card in cards {
        state.delete_card(card);
    }
    Ok(Reply::empty())
}

fn admin_database(server: &Server, call: &Call, database: &str) -> Result<i64, Reply> {
    server.read(|state| {
        state.caller(call)?.must_be_admin()?;
        let database_id = id(database)?;
        if state.databases.contains_key(&database_id) { Ok(database_id) } else { Err(state.not_found()) }
    })
}

fn readable<'a>(state: &'a State, caller: &Caller, database_id: i64) -> Result<&'a Database, Reply> {
    let database = state.databases.get(&database_id).ok_or_else(|| state.not_found())?;
    if state.queries(caller, database_id) > Queries::No { Ok(database) } else { Err(forbidden()) }
}

fn details_of(value: Option<&Value>) -> Result<Map<String, Value>, Reply> {
    value.and_then(Value::as_object).cloned().ok_or_else(|| missing("details", "value must be a map."))
}

fn must_be_postgres(engine: &str) -> Result<(), Reply> {
    if engine == "postgres" {
        return Ok(());
    }
    Err(invalid("engine", "value must be a valid database engine.", &format!("received: {engine:?}")))
}

/// A database as answers show it; only administrators see the connection.
fn describe(state: &State, caller: &Caller, database: &Database) -> Value {
    let native = state.queries(caller, database.id) == Queries::Native;
    let mut answer = json!({
        "id": database.id,
        "name": database.name,
        "engine": database.engine,
        "is_sample": database.sample,
        "is_audit": false,
        "is_full_sync": true,
        "is_on_demand": false,
        "is_attached_dwh": false,
        "auto_run_queries": true,
        "initial_sync_status": if database.synced { "complete" } else { "incomplete" },
        "native_permissions": if native { "write" } else { "none" },
        "features": ["basic-aggregations", "native-parameters", "schemas", "nested-queries"],
        "timezone": "UTC",
        "metadata_sync_schedule": "0 11 * * * ? *",
        "cache_field_values_schedule": "0 0 5 * * ? *",
        "cache_ttl": null,
        "caveats": null,
        "description": null,
        "points_of_interest": null,
        "provider_name": null,
        "settings": null,
        "refingerprint": false,
        "uploads_enabled": false,
        "router_database_id": null,
        "creator_id": database.creator_id,
        "dbms_version": database.version.as_ref().map(|version| {
            json!({ "flavor": "PostgreSQL", "version": version })
        }),
        "created_at": stamp(database.created_at),
        "updated_at": stamp(database.updated_at),
    });
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(database.extra.clone());
        if caller.superuser {
            let mut details = database.details.clone();
            for secret in SECRETS {
                if details.contains_key(*secret) {
                    details.insert((*secret).to_owned(), Value::from(MASK));
                }
            }
            fields.insert("details".into(), Value::Object(details));
        }
    }
    answer
}
