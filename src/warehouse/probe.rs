//! Tries what a role can read, by signing in as it.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};

use super::{Ident, Statement, Warehouse};

/// A table or view of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is a view.
    pub view: bool,
    /// Whether it has a `store_id`.
    pub by_store: bool,
    /// Whether it has a `brand`, as the union views do.
    pub by_brand: bool,
    /// Whether it is a view that asks with its owner's rights.
    pub owner_rights: bool,
}

/// A store as a relation tells it: brand, where there is one, and number.
pub type SeenStore = (Option<String>, String);

/// What a role saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The relations it could read.
    pub readable: BTreeSet<(String, String)>,
    /// The stores in each.
    pub stores: BTreeMap<(String, String), BTreeSet<SeenStore>>,
}

/// Lists the tables and views of some schemas, partitions left out.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn relations(warehouse: &Warehouse, schemas: &[String]) -> Result<Vec<Relation>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'v' AS view,
                bool_or(a.attname = 'store_id') AS by_store, bool_or(a.attname = 'brand') AS by_brand,
                c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY(c.reloptions), false) AS owner_rights
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
         GROUP BY 1, 2, c.relkind, c.reloptions
         ORDER BY 1, 2",
    )
    .bind(schemas)
    .fetch_all(warehouse.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Relation {
                schema: row.try_get("schema")?,
                name: row.try_get("name")?,
                view: row.try_get("view")?,
                by_store: row.try_get("by_store")?,
                by_brand: row.try_get("by_brand")?,
                owner_rights: row.try_get("owner_rights")?,
            })
        })
        .collect()
}

/// Signs in as a role and reads from each relation: the stores where it has
/// some, a row otherwise. What is refused is not in the answer.
///
/// # Errors
/// When the role cannot sign in, or a statement fails for another reason than a
/// missing right.
pub async fn look(
    warehouse: &Warehouse,
    role: &str,
    password: &SecretString,
    relations: &[&Relation],
) -> Result<Seen, sqlx::Error> {
    let mut connection = connect(warehouse, role, password).await?;
    let mut seen = Seen::default();
    for relation in relations {
        let from = format!("{}.{}", Ident::known(&relation.schema), Ident::known(&relation.name));
        let brand = if relation.by_brand { "brand::text" } else { "NULL::text" };
        let text = if relation.by_store {
            format!("SELECT DISTINCT {brand} AS brand, store_id::text AS store_id FROM {from}")
        } else {
            format!("SELECT NULL::text AS brand, NULL::text AS store_id FROM {from} LIMIT 1")
        };
        let key = (relation.schema.clone(), relation.name.clone());
        match sqlx::query(Statement::new(text).safe()).fetch_all(&mut connection).await {
            Ok(rows) => {
                let stores = seen.stores.entry(key.clone()).or_default();
                for row in &rows {
                    if let Some(store) = row.try_get::<Option<String>, _>("store_id")? {
                        stores.insert((row.try_get("brand")?, store));
                    }
                }
                seen.readable.insert(key);
            }
            // 42501: the role has no right to it.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {}
            Err(error) => return Err(error),
        }
    }
    connection.close().await?;
    Ok(seen)
}

pub(super) async fn connect(
    warehouse: &Warehouse,
    role: &str,
    password: &SecretString,
) -> Result<PgConnection, sqlx::Error> {
    // As the owner connects, TLS included, with another name.
    let options = warehouse.pool().connect_options();
    let options = PgConnectOptions::clone(&options)
        .username(role)
        .password(password.expose_secret())
        .application_name("storekeeper audit");
    PgConnection::connect_with(&options).await
}
