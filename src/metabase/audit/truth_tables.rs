//! The truth that answers are compared with, read from the tables by their owner: through
//! no wall, no role of a reader, and no Metabase.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::Row as _;

use super::answers::{Rows, StoreKey};
use crate::access::Scope;
use crate::ids::{BrandId, StoreId};
use crate::warehouse::probe::{self, Relation};
use crate::warehouse::{Ident, Statement, Warehouse};

/// A store and its region.
type Listed = Vec<(StoreId, Option<String>)>;

/// The stores that the tables list, by brand.
#[derive(Debug, Clone, Default)]
pub(super) struct Stores(BTreeMap<BrandId, Listed>);

impl Stores {
    /// Reads each brand's list; a brand without one has no stores yet.
    pub(super) async fn read(warehouse: &Warehouse, brands: &[BrandId]) -> Result<Self, sqlx::Error> {
        let mut stores = BTreeMap::new();
        for brand in brands {
            let schema = brand.schema();
            let there: bool = sqlx::query_scalar("SELECT to_regclass(quote_ident($1) || '.stores') IS NOT NULL")
                .bind(&schema)
                .fetch_one(warehouse.pool())
                .await?;
            if !there {
                continue;
            }
            let text =
                format!("SELECT store_id::text, to_jsonb(s) ->> 'region' FROM {}.stores AS s", Ident::known(&schema));
            let rows = sqlx::query(Statement::new(text).safe()).fetch_all(warehouse.pool()).await?;
            let listed: Result<Listed, sqlx::Error> =
                rows.iter().map(|row| Ok((StoreId(row.try_get(0)?), row.try_get(1)?))).collect();
            stores.insert(brand.clone(), listed?);
        }
        Ok(Self(stores))
    }

    /// The schemas whose stores are listed.
    fn schemas(&self) -> Vec<String> {
        self.0.keys().map(BrandId::schema).collect()
    }

    /// The stores of a scope.
    pub(super) fn of(&self, scope: &Scope) -> BTreeSet<StoreKey> {
        let within = |brand: &BrandId, store: &StoreId, region: Option<&String>| match scope {
            Scope::Chain => true,
            Scope::Brand(of) => of == brand,
            Scope::Region(of, name) => of == brand && region == Some(name),
            Scope::Store(of, number) => of == brand && number == store,
        };
        self.0
            .iter()
            .flat_map(|(brand, listed)| listed.iter().map(move |(store, region)| (brand, store, region.as_ref())))
            .filter(|(brand, store, region)| within(brand, store, *region))
            .map(|(brand, store, _)| (brand.clone(), store.clone()))
            .collect()
    }
}

/// Rows whose store is in no list: nobody's, since every reader is held to the list.
#[derive(Debug, Clone, Default)]
pub(super) struct Unlisted {
    /// Their stores, as `brand/store`; `brand/-` where a row names none.
    pub(super) stores: BTreeSet<String>,
    /// The tables and views that a question may read.
    pub(super) relations: Vec<Relation>,
}

impl Unlisted {
    /// Looks for them in every table of the brands that list their stores.
    pub(super) async fn read(warehouse: &Warehouse, stores: &Stores) -> Result<Self, sqlx::Error> {
        let mut schemas = stores.schemas();
        schemas.push("mart_all".to_owned());
        let relations = probe::relations(warehouse, &schemas).await?;
        let mut unlisted = BTreeSet::new();
        for relation in relations.iter().filter(|relation| relation.by_store && !relation.view) {
            let Some(brand) = relation.schema.strip_prefix("mart_") else { continue };
            let (schema, table) = (Ident::known(&relation.schema), Ident::known(&relation.name));
            let text = format!(
                "SELECT DISTINCT coalesce(t.store_id::text, '-') FROM {schema}.{table} AS t
                 WHERE NOT EXISTS (SELECT FROM {schema}.stores AS s WHERE s.store_id = t.store_id)"
            );
            let found: Vec<String> =
                sqlx::query_scalar(Statement::new(text).safe()).fetch_all(warehouse.pool()).await?;
            unlisted.extend(found.into_iter().map(|store| format!("{brand}/{store}")));
        }
        Ok(Self { stores: unlisted, relations })
    }
}

/// Runs a question's own text as the owner of the tables.
pub(super) async fn answer(warehouse: &Warehouse, sql: &str) -> Result<Rows, sqlx::Error> {
    let mut transaction = warehouse.pool().begin().await?;
    for setting in ["SET TRANSACTION READ ONLY", "SET LOCAL TIME ZONE 'UTC'", "SET LOCAL statement_timeout = '60s'"] {
        sqlx::query(setting).execute(&mut *transaction).await?;
    }
    // The text was parsed and found to be one SELECT; a comment at its end must not take the bracket.
    let text =
        format!("SELECT row_to_json(answer)::text FROM (\n{}\n) AS answer", sql.trim_end().trim_end_matches(';'));
    let lines: Vec<String> = sqlx::query_scalar(Statement::new(text).safe()).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    let mut rows = Rows::default();
    for line in lines {
        let row: Value = serde_json::from_str(&line).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let Value::Object(fields) = row else { continue };
        if rows.columns.is_empty() {
            rows.columns = fields.keys().cloned().collect();
        }
        rows.rows.push(fields.into_iter().map(|(_, value)| value).collect());
    }
    Ok(rows)
}
