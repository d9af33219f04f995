//! Reading the tables of a database: asked for at once, done a moment later.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cells::{Cell, base_type};
use super::server::Server;
use super::state::{Field, State, Table};
use super::warehouse::Outcome;

/// Everything the connection's role may read. A partition is no table of its own.
const COLUMNS: &str = "
SELECT n.nspname, c.relname, a.attname, t.typname, NOT a.attnotnull
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')
  AND NOT c.relispartition
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
  AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum";

/// Starts the reading and does not wait for it.
pub(super) fn start(server: &Arc<Server>, database_id: i64) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let database = server.read(|state| state.databases.get(&database_id).cloned());
        let Some(database) = database.filter(|database| database.engine == "postgres") else {
            return;
        };
        let found = server.warehouse.run(&database.details, COLUMNS, usize::MAX - 1).await;
        server.write(|state| {
            if let Ok(found) = &found {
                store(state, database_id, &database.details, found);
            }
            if let Some(database) = state.databases.get_mut(&database_id) {
                database.synced = found.is_ok();
            }
        });
    });
}

/// A column's name, type, and whether it may be empty.
type Found = (String, String, bool);

fn store(state: &mut State, database_id: i64, details: &Map<String, Value>, found: &Outcome) {
    let mut columns: BTreeMap<(String, String), Vec<Found>> = BTreeMap::new();
    for row in &found.rows {
        let [schema, table, column, kind, nullable] = row.as_slice() else {
            continue;
        };
        let schema = schema.exported();
        if wanted(details, &schema) {
            columns.entry((schema, table.exported())).or_default().push((
                column.exported(),
                kind.exported(),
                *nullable == Cell::Bool(true),
            ));
        }
    }
    let known: BTreeMap<(String, String), i64> = state
        .tables
        .values()
        .filter(|table| table.database_id == database_id)
        .map(|table| ((table.schema.clone(), table.name.clone()), table.id))
        .collect();
    for (name, id) in &known {
        if let Some(table) = state.tables.get_mut(id) {
            table.active = columns.contains_key(name);
        }
    }
    for ((schema, name), columns) in columns {
        let key = (schema, name);
        let table_id = match known.get(&key) {
            Some(id) => *id,
            None => state.next_id("table"),
        };
        let mut before = state.tables.get(&table_id).map(|table| table.fields.clone()).unwrap_or_default();
        let mut fields = Vec::with_capacity(columns.len());
        for (name, database_type, nullable) in columns {
            let known = before.iter().position(|field| field.name == name);
            let (id, extra) = match known.map(|index| before.remove(index)) {
                Some(field) => (field.id, field.extra),
                None => (state.next_id("field"), Map::new()),
            };
            fields.push(Field {
                id,
                name,
                base_type: base_type(&database_type).to_owned(),
                database_type,
                nullable,
                active: true,
                extra,
            });
        }
        for mut gone in before {
            gone.active = false;
            fields.push(gone);
        }
        let (schema, name) = key;
        let extra = state.tables.get(&table_id).map(|table| table.extra.clone()).unwrap_or_default();
        let table =
            Table { id: table_id, database_id, schema, name, active: true, fields, synced_at: state.now, extra };
        state.tables.insert(table_id, table);
    }
}

/// Whether the schema filter of the connection lets a schema through.
fn wanted(details: &Map<String, Value>, schema: &str) -> bool {
    let text = |key: &str| details.get(key).and_then(Value::as_str);
    let patterns = text("schema-filters-patterns").unwrap_or_default();
    let listed = patterns
        .split(',')
        .map(str::trim)
        .filter(|pattern| !pattern.is_empty())
        .any(|pattern| matches(pattern, schema));
    match text("schema-filters-type") {
        Some("inclusion") => listed,
        Some("exclusion") => !listed,
        _ => true,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_filter_knows_stars_and_lists() {
        let details = json!({
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": "mart_*, ref",
        });
        let details = details.as_object().unwrap();
        assert!(wanted(details, "mart_harbor"));
        assert!(wanted(details, "ref"));
        assert!(!wanted(details, "staging"));
        assert!(wanted(&Map::new(), "staging"));
    }
}
