//! Tables and fields, for those who may build queries on them.

use serde_json::{Value, json};

use super::access::Caller;
use super::call::{Call, id};
use super::collections::keep;
use super::reply::{Answer, Reply, forbidden, no_such_route};
use super::state::{Field, State, Table, stamp};

/// What administrators may write about a table.
const TABLE_EXTRA: &[&str] =
    &["caveats", "description", "display_name", "entity_type", "field_order", "points_of_interest", "visibility_type"];
/// What administrators may write about a field.
const FIELD_EXTRA: &[&str] = &[
    "caveats",
    "coercion_strategy",
    "description",
    "display_name",
    "fk_target_field_id",
    "has_field_values",
    "points_of_interest",
    "semantic_type",
    "settings",
    "visibility_type",
];

/// Everything under `/api/table`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let rows: Vec<Value> = state
                .tables
                .values()
                .filter(|table| table.active && state.sees_table(caller, table.id))
                .map(|table| with_database(state, table, false))
                .collect();
            Ok(Reply::ok(rows))
        }
        ("GET", [table]) => Ok(Reply::ok(with_database(state, seen(state, caller, table)?, false))),
        ("GET", [table, "query_metadata"]) => Ok(Reply::ok(with_database(state, seen(state, caller, table)?, true))),
        ("PUT", [table]) => {
            caller.must_be_admin()?;
            let table_id = seen(state, caller, table)?.id;
            let missing = state.not_found();
            let table = state.tables.get_mut(&table_id).ok_or(missing)?;
            keep(call, TABLE_EXTRA, &mut table.extra);
            Ok(Reply::ok(describe(table, false)))
        }
        ("PUT", [table, "fields", "order"]) => {
            caller.must_be_admin()?;
            let table_id = seen(state, caller, table)?.id;
            let missing = state.not_found();
            let table = state.tables.get_mut(&table_id).ok_or(missing)?;
            let order: Vec<i64> = call.body.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
            table.fields.sort_by_key(|field| order.iter().position(|id| *id == field.id).unwrap_or(usize::MAX));
            table.extra.insert("field_order".into(), json!("custom"));
            let fields = table.fields.iter().enumerate();
            Ok(Reply::ok(fields.map(|(at, field)| describe_field(table, at, field)).collect::<Vec<_>>()))
        }
        ("GET", [table, "fks"]) => {
            seen(state, caller, table)?;
            Ok(Reply::ok(json!([])))
        }
        _ => Err(no_such_route()),
    }
}

/// `/api/field/:id`.
pub(super) fn field(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("PUT", [field]) => {
            caller.must_be_admin()?;
            let field_id = id(field)?;
            let missing = state.not_found();
            let table = state.tables.values_mut().find(|table| table.fields.iter().any(|field| field.id == field_id));
            let table = table.ok_or(missing)?;
            if let Some(field) = table.fields.iter_mut().find(|field| field.id == field_id) {
                keep(call, FIELD_EXTRA, &mut field.extra);
            }
            let at = table.fields.iter().position(|field| field.id == field_id).unwrap_or(0);
            Ok(Reply::ok(describe_field(table, at, &table.fields[at])))
        }
        ("GET", [field]) => {
            let (table, field) = state.field(id(field)?).ok_or_else(|| state.not_found())?;
            if !state.sees_table(caller, table.id) {
                return Err(forbidden());
            }
            Ok(Reply::ok(describe_field(table, 0, field)))
        }
        _ => Err(no_such_route()),
    }
}

/// The tables of a database the caller may see, with or without their fields.
pub(super) fn listed(state: &State, caller: &Caller, database_id: i64, with_fields: bool) -> Vec<Value> {
    visible(state, caller, database_id).map(|table| describe(table, with_fields)).collect()
}

/// The tables of a database the caller may see, without their fields.
pub(super) fn of_database(state: &State, caller: &Caller, database_id: i64) -> Vec<Value> {
    listed(state, caller, database_id, false)
}

/// The schemas of those tables.
pub(super) fn schemas(state: &State, caller: &Caller, database_id: i64) -> Vec<String> {
    let mut names: Vec<String> = visible(state, caller, database_id).map(|table| table.schema.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// The fields of those tables.
pub(super) fn all_fields(state: &State, caller: &Caller, database_id: i64) -> Vec<Value> {
    visible(state, caller, database_id)
        .flat_map(|table| {
            table.fields.iter().filter(|field| field.active).map(|field| {
                json!({
                    "id": field.id,
                    "name": field.name,
                    "display_name": field.name,
                    "base_type": field.base_type,
                    "semantic_type": null,
                    "table_name": table.name,
                    "schema": table.schema,
                })
            })
        })
        .collect()
}

fn visible<'a>(state: &'a State, caller: &'a Caller, database_id: i64) -> impl Iterator<Item = &'a Table> {
    state
        .tables
        .values()
        .filter(move |table| table.database_id == database_id && table.active)
        .filter(|table| state.sees_table(caller, table.id))
}

fn seen<'a>(state: &'a State, caller: &Caller, table: &str) -> Result<&'a Table, Reply> {
    let table = state.tables.get(&id(table)?).ok_or_else(|| state.not_found())?;
    if state.sees_table(caller, table.id) { Ok(table) } else { Err(forbidden()) }
}

/// What `/api/table` answers has the database in it; lists below a database do not.
fn with_database(state: &State, table: &Table, with_fields: bool) -> Value {
    let mut answer = describe(table, with_fields);
    if let Some(database) = state.databases.get(&table.database_id) {
        answer["db"] = json!({ "id": database.id, "name": database.name, "engine": database.engine });
    }
    answer
}

fn describe(table: &Table, with_fields: bool) -> Value {
    let mut answer = json!({
        "id": table.id,
        "db_id": table.database_id,
        "schema": table.schema,
        "name": table.name,
        "display_name": table.name,
        "entity_type": "entity/GenericTable",
        "active": table.active,
        "initial_sync_status": "complete",
        "visibility_type": null,
        "description": null,
        "field_order": "database",
        "created_at": stamp(table.synced_at),
        "updated_at": stamp(table.synced_at),
    });
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(table.extra.clone());
    }
    if with_fields {
        let fields: Vec<Value> = table
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.active)
            .map(|(position, field)| describe_field(table, position, field))
            .collect();
        answer["fields"] = json!(fields);
    }
    answer
}

fn describe_field(table: &Table, position: usize, field: &Field) -> Value {
    let mut answer = json!({
        "id": field.id,
        "description": null,
        "table_id": table.id,
        "name": field.name,
        "display_name": field.name,
        "database_type": field.database_type,
        "base_type": field.base_type,
        "effective_type": field.base_type,
        "semantic_type": null,
        "database_is_nullable": field.nullable,
        "position": position,
        "database_position": position,
        "active": field.active,
        "visibility_type": "normal",
        "has_field_values": "auto-list",
        "fk_target_field_id": null,
        "created_at": stamp(table.synced_at),
        "updated_at": stamp(table.synced_at),
    });
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(field.extra.clone());
    }
    answer
}
