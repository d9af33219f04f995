//! What became of a file's rows: how many it made, and how many of them still stand.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::Warehouse;
use super::ident::{Ident, Statement, literal};
use super::lineage::{Error, Relation};
use super::table::list;

/// Counts of what a file made of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileRows {
    /// Rows whose keys were not in the table before.
    pub inserted: i64,
    /// Rows that replaced another.
    pub updated: i64,
    /// Rows of the file that are in the table now.
    pub current: i64,
    /// Rows of the file that a later load replaced or removed.
    pub superseded: i64,
}

/// Counts the rows that a file made, and shows some of their keys.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn made_of(
    warehouse: &Warehouse,
    relation: &Relation,
    file_id: i64,
    sample: i64,
) -> Result<(FileRows, Vec<Map<String, Value>>), Error> {
    let query = Error::query("count the rows that a file made");
    let versions = relation.versions();
    let key = match relation.key.as_slice() {
        // Rows that nothing tells from each other are counted one by one.
        [] => "coalesce(source_row, -n)".to_owned(),
        key => list(key),
    };
    // A row that was replaced and brought back is one row.
    let replaced = match &relation.history {
        Some(history) if !relation.key.is_empty() => {
            let (schema, name) = history.split_once('.').unwrap_or_default();
            let same: Vec<String> =
                relation.key.iter().map(|name| format!("h.{0} = m.{0}", Ident::known(name))).collect();
            format!(
                "EXISTS (SELECT FROM {}.{} h WHERE h.superseded_by = m.load_id AND {})",
                Ident::known(schema),
                Ident::known(name),
                same.join(" AND ")
            )
        }
        _ => "false".to_owned(),
    };
    let statement = format!(
        "WITH m AS (
             SELECT load_id, {key}, bool_or(superseded_by IS NULL) AS stands
             FROM (SELECT *, row_number() OVER () AS n FROM {versions} v WHERE file_id = $1) AS own
             GROUP BY load_id, {key}
         )
         SELECT count(*) AS made, count(*) FILTER (WHERE {replaced}) AS updated,
                count(*) FILTER (WHERE stands) AS current FROM m"
    );
    let row =
        sqlx::query(Statement::new(statement).safe()).bind(file_id).fetch_one(warehouse.pool()).await.map_err(query)?;
    let (made, updated, current): (i64, i64, i64) = (row.get("made"), row.get("updated"), row.get("current"));
    let counts = FileRows { inserted: made - updated, updated, current, superseded: made - current };
    let shown: Vec<&String> = relation.key.iter().collect();
    let names: Vec<String> = shown.iter().map(|name| literal(name)).collect();
    let texts: Vec<String> = shown.iter().map(|name| format!("v.{}::text", Ident::known(name))).collect();
    let statement = format!(
        "SELECT json_object(ARRAY[{}]::text[], ARRAY[{}]::text[]) AS key, v.source_row, v.superseded_by
         FROM {versions} v WHERE v.file_id = $1
         ORDER BY v.superseded_by NULLS FIRST, v.source_row LIMIT {sample}",
        names.join(", "),
        texts.join(", ")
    );
    let rows =
        sqlx::query(Statement::new(statement).safe()).bind(file_id).fetch_all(warehouse.pool()).await.map_err(query)?;
    let one = |row: &sqlx::postgres::PgRow| {
        let mut one = Map::new();
        one.insert("key".to_owned(), row.get("key"));
        one.insert("row".to_owned(), row.get::<Option<i64>, _>("source_row").into());
        one.insert("current".to_owned(), row.get::<Option<i64>, _>("superseded_by").is_none().into());
        one
    };
    Ok((counts, rows.iter().map(one).collect()))
}
