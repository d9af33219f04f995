//! `name@odata.bind`: lookups are written through their navigation property.

use super::cell::Cell;
use super::key;
use super::schema::ColumnKind;
use super::service::Refusal;
use super::store::Stored;
use super::write::{does_not_exist, not_a_key, payload};

/// Reads a reference to another row as the value of the lookup column it is for.
///
/// `navigation` is the name before `@odata.bind`, in its case; `json` the text of the value: an
/// address such as `/accounts(name='x')`, relative or absolute, or `null`, which clears the lookup.
pub(super) fn read(tables: &[Stored], at: usize, navigation: &str, json: &str) -> Result<(usize, Cell), Refusal> {
    let table = &tables[at];
    let (column, targets) = lookup(table, navigation).ok_or_else(|| {
        payload(
            table,
            format!(
                "An undeclared property '{navigation}' which only has property annotations in the payload but no \
                 property value was found in the payload. In OData, only declared navigation properties and \
                 declared named streams can be represented as properties without values."
            ),
        )
    })?;
    if json.trim() == "null" {
        return Ok((column, Cell::Null));
    }
    let address: String = serde_json::from_str(json)
        .map_err(|_| payload(table, format!("The reference of '{navigation}' is no address.")))?;
    let path = address.rsplit_once("/api/data/v9.2/").map_or(address.as_str(), |(_, path)| path);
    let (set, raw_key) = key::split(path.trim_start_matches('/'));
    let target = tables
        .iter()
        .find(|other| other.entity_set == set)
        .filter(|other| targets.contains(&other.logical_name))
        .ok_or_else(|| Refusal::bad_request(format!("Resource not found for the segment '{set}'.")))?;
    let key = raw_key.and_then(|raw| key::parse(raw).ok()).ok_or_else(|| not_a_key(target))?;
    let id = target.resolve(&key).map_err(|()| not_a_key(target))?.ok_or_else(|| does_not_exist(target, &key))?;
    let name = name_of(target, &id);
    Ok((column, Cell::Reference { id, table: target.logical_name.clone(), name }))
}

/// The lookup behind a navigation property: called as the lookup or, where it may lead to
/// several tables, as the lookup and one of them.
fn lookup(table: &Stored, navigation: &str) -> Option<(usize, Vec<String>)> {
    table.columns.iter().enumerate().find_map(|(column, found)| {
        let ColumnKind::Lookup(targets) = &found.kind else { return None };
        let name = found.name.strip_prefix('_')?.strip_suffix("_value")?;
        if let [_] = targets.as_slice() {
            return (name == navigation).then(|| (column, targets.clone()));
        }
        let target = navigation.strip_prefix(name)?.strip_prefix('_')?;
        targets.iter().any(|known| known == target).then(|| (column, vec![target.to_owned()]))
    })
}

/// What people read for a row: its first text.
fn name_of(table: &Stored, id: &str) -> String {
    let row = table.rows.get(id);
    let mut texts = row.into_iter().flat_map(|row| &row.cells).filter_map(|cell| match cell {
        Cell::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.next().unwrap_or_default()
}
