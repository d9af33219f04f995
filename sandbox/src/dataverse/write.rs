//! Creates, updates and deletes single rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::bind;
use super::cell::{Cell, Misfit};
use super::key::Key;
use super::service::Refusal;
use super::store::{Conflict, Store, Stored};
use crate::wire::Request;

/// What a write did.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) created: bool,
}

/// Carries out `PATCH set(key)`: an upsert, unless a condition makes it less.
pub(super) fn upsert(
    store: &mut Store,
    at: usize,
    key: &Key,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<Written, Refusal> {
    let table = &store.tables[at];
    let found = table.resolve(key).map_err(|()| not_a_key(table))?;
    check_conditions(table, key, found.as_deref(), request)?;
    let mut values = body(&store.tables, at, request)?;
    let table = &mut store.tables[at];
    let created = found.is_none();
    let id = match (found, key) {
        (Some(id), Key::Id(_)) => id,
        (Some(id), Key::Columns(parts)) => {
            // On update the columns of the key are ignored in the body.
            values.retain(|(column, _)| parts.iter().all(|(name, _)| *name != table.columns[*column].name));
            id
        }
        (None, Key::Id(id)) => id.clone(),
        (None, Key::Columns(parts)) => {
            let (_, cells) = table.key_cells(parts).map_err(|()| not_a_key(table))?;
            for (column, cell) in cells {
                // On create the body wins, even where it differs from the URL.
                if !values.iter().any(|(other, _)| *other == column) {
                    values.push((column, cell));
                }
            }
            given_id(table, &values).unwrap_or_else(|| table.new_id())
        }
    };
    finish(store, at, id, created, values, now)
}

/// Carries out `POST set`.
pub(super) fn create(store: &mut Store, at: usize, request: &Request, now: DateTime<Utc>) -> Result<Written, Refusal> {
    let values = body(&store.tables, at, request)?;
    let table = &mut store.tables[at];
    let id = given_id(table, &values).unwrap_or_else(|| table.new_id());
    finish(store, at, id, true, values, now)
}

/// Carries out `DELETE set(key)`.
pub(super) fn delete(store: &mut Store, at: usize, key: &Key, request: &Request) -> Result<(), Refusal> {
    let table = &mut store.tables[at];
    let found = table.resolve(key).map_err(|()| not_a_key(table))?;
    check_conditions(table, key, found.as_deref(), request)?;
    match found {
        None => Err(does_not_exist(table, key)),
        Some(id) => {
            table.delete(&id, &mut store.version);
            Ok(())
        }
    }
}

fn finish(
    store: &mut Store,
    at: usize,
    id: String,
    created: bool,
    mut values: Vec<(usize, Cell)>,
    now: DateTime<Utc>,
) -> Result<Written, Refusal> {
    let table = &mut store.tables[at];
    let mut cells = match table.rows.get(&id) {
        Some(row) => row.cells.clone(),
        None => vec![Cell::Null; table.columns.len()],
    };
    for (column, cell) in &values {
        cells[*column] = cell.clone();
    }
    if let Some(conflict) = table.conflict(&id, &cells, created) {
        return Err(explain(conflict));
    }
    table.stamp(&mut values, created, now);
    table.write(&id, values, &mut store.version);
    Ok(Written { id, created })
}

fn check_conditions(table: &Stored, key: &Key, found: Option<&str>, request: &Request) -> Result<(), Refusal> {
    if let Some(tag) = request.header("if-match") {
        let Some(id) = found else {
            return Err(does_not_exist(table, key));
        };
        let version = table.rows.get(id).map_or(0, |row| row.version);
        if tag != "*" && tag != super::render::e_tag(version) {
            let text = "The version of the existing record doesn't match the RowVersion property provided.";
            return Err(Refusal::new(412, "0x80060882", text));
        }
    }
    if request.header("if-none-match") == Some("*") && found.is_some() {
        return Err(explain(Conflict::Id));
    }
    Ok(())
}

/// Reads the body as values of columns, numbers by their text.
fn body(tables: &[Stored], at: usize, request: &Request) -> Result<Vec<(usize, Cell)>, Refusal> {
    let table = &tables[at];
    let payload = |text: String| payload(table, text);
    let media_type = request.header("content-type").unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(payload("A content type of application/json is required.".to_owned()));
    }
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(&request.body).map_err(|_| payload("The payload is no JSON object.".to_owned()))?;
    let mut values = Vec::new();
    for (name, value) in members {
        if let Some(navigation) = name.strip_suffix("@odata.bind") {
            values.push(bind::read(tables, at, navigation, value.get())?);
            continue;
        }
        if name.contains('@') {
            continue;
        }
        let Some(column) = table.column(&name) else {
            return Err(payload(format!(
                "The property '{name}' does not exist on type 'Microsoft.Dynamics.CRM.{}'. Make sure to \
                 only use property names that are defined by the type.",
                table.logical_name
            )));
        };
        let cell = Cell::from_json(&table.columns[column].kind, value.get()).map_err(|misfit| match misfit {
            Misfit::Type(expected) => {
                let literal = value.get().trim_matches('"');
                payload(format!("Cannot convert the literal '{literal}' to the expected type '{expected}'."))
            }
            Misfit::Length => Refusal::new(
                400,
                "0x80044331",
                format!(
                    "A validation error occurred.  The length of the '{name}' attribute of the '{}' entity \
                     exceeded the maximum allowed length of '4000'.",
                    table.logical_name
                ),
            ),
        })?;
        values.push((column, cell));
    }
    Ok(values)
}

/// The refusal of a body, in the words of the service.
pub(super) fn payload(table: &Stored, text: String) -> Refusal {
    let text = format!(
        "Error identified in Payload provided by the user for Entity :'{}', For more information on \
         this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  \
         ---->  InnerException : Microsoft.OData.ODataException: {text}",
        table.entity_set
    );
    Refusal::new(400, "0x80048d19", text)
}

fn given_id(table: &Stored, values: &[(usize, Cell)]) -> Option<String> {
    let primary = table.primary();
    values.iter().find_map(|(column, cell)| match cell {
        Cell::Guid(id) if *column == primary => Some(id.clone()),
        _ => None,
    })
}

fn explain(conflict: Conflict) -> Refusal {
    match conflict {
        Conflict::Id => Refusal::new(412, "0x80040237", "A record with matching key values already exists."),
        Conflict::Key(name) => Refusal::new(
            412,
            "0x80060892",
            format!(
                "A record that has the attribute values {name} already exists. The entity key {name} \
                 requires that this set of attributes contains unique values. Select unique values and \
                 try again."
            ),
        ),
    }
}

/// The refusal of a key that the table does not have, or whose index is not ready.
pub(super) fn not_a_key(table: &Stored) -> Refusal {
    let name = &table.logical_name;
    Refusal::bad_request(format!(
        "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{name}'. Ensure that \
         the names and number of key properties match the declared or alternate key properties for the \
         resource 'Microsoft.Dynamics.CRM.{name}'."
    ))
}

/// The refusal of a row that is not there.
pub(super) fn does_not_exist(table: &Stored, key: &Key) -> Refusal {
    let text = match key {
        Key::Id(id) => format!("{} With Id = {id} Does Not Exist", table.logical_name),
        Key::Columns(_) => {
            format!("A record with the specified key values does not exist in {} entity", table.logical_name)
        }
    };
    Refusal::new(404, "0x80040217", text)
}
