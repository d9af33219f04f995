//! `mart_all`: the brands' tables side by side, for those who read every brand.
//!
//! A view is made for each table or view that every brand has, of the columns
//! they share, `brand` first. It asks with its reader's rights.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};

use super::Ident;
use super::digest::hexadecimal;
use super::ident::literal;
use super::roles::{Error, refused, run};

/// Makes the views follow the brands' schemas; tells how many were changed.
/// `schemas` are brand ids with their schemas.
pub(super) async fn refresh(connection: &mut PgConnection, schemas: &[(&str, &str)]) -> Result<u64, Error> {
    let wanted = definitions(connection, schemas).await?;
    let found = found(connection).await?;
    let mut changed = 0;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        changed += 1;
        run(connection, format!("DROP VIEW mart_all.{}", Ident::known(name)), "drop the union of", name).await?;
    }
    for (name, text) in &wanted {
        let digest = hexadecimal(&Sha256::digest(text)[..8]);
        if found.get(name) == Some(&digest) {
            continue;
        }
        changed += 1;
        let view = format!("mart_all.{}", Ident::known(name));
        for statement in [
            format!("DROP VIEW IF EXISTS {view}"),
            format!("CREATE VIEW {view} WITH (security_invoker = true) AS {text}"),
            format!("COMMENT ON VIEW {view} IS {}", literal(&digest)),
        ] {
            run(connection, statement, "make the union of", name).await?;
        }
    }
    Ok(changed)
}

/// Lists the union views.
pub(super) async fn names(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    Ok(found(connection).await?.into_keys().collect())
}

/// The views that there are, with the digest of their text.
async fn found(connection: &mut PgConnection) -> Result<BTreeMap<String, String>, Error> {
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS digest
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'mart_all' AND c.relkind = 'v'",
    )
    .fetch_all(connection)
    .await
    .map_err(refused("read the views of", "mart_all"))?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("digest"))).collect())
}

async fn definitions(
    connection: &mut PgConnection,
    schemas: &[(&str, &str)],
) -> Result<BTreeMap<String, String>, Error> {
    let names: Vec<&str> = schemas.iter().map(|(_, schema)| *schema).collect();
    let rows = sqlx::query(
        "SELECT n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS name,
                format_type(a.atttypid, a.atttypmod) AS kind
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
           AND c.relname NOT LIKE '\\_%' AND a.attname <> 'brand'
         ORDER BY c.relname, a.attnum",
    )
    .bind(&names)
    .fetch_all(connection)
    .await
    .map_err(refused("read the columns of", "the brands' schemas"))?;
    let mut columns: BTreeMap<String, BTreeMap<String, Vec<(String, String)>>> = BTreeMap::new();
    for row in &rows {
        columns
            .entry(row.get("relation"))
            .or_default()
            .entry(row.get("schema"))
            .or_default()
            .push((row.get("name"), row.get("kind")));
    }
    let mut views = BTreeMap::new();
    for (relation, by_schema) in columns {
        let Some((_, first)) = schemas.first().and_then(|(_, schema)| by_schema.get_key_value(*schema)) else {
            continue;
        };
        if by_schema.len() < schemas.len() {
            continue;
        }
        let list: String = first
            .iter()
            .filter(|column| by_schema.values().all(|columns| columns.contains(column)))
            .map(|(name, _)| format!(", t.{}", Ident::known(name)))
            .collect();
        let parts: Vec<String> = schemas
            .iter()
            .map(|(brand, schema)| {
                let from = format!("{}.{}", Ident::known(schema), Ident::known(&relation));
                format!("SELECT {}::text AS brand{list} FROM {from} t", literal(brand))
            })
            .collect();
        views.insert(relation, parts.join("\nUNION ALL\n"));
    }
    Ok(views)
}
