//! Where rows came from: their versions, now and before, and the tables that a view reads.
//!
//! Nothing here changes anything. Values are read as PostgreSQL writes them, so that a
//! number keeps the digits it has.

use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::Warehouse;
use super::ident::{Ident, Statement};
use super::table::{LINEAGE, list};
use crate::ids::BrandId;

/// Why lineage could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL refused.
    #[error("failed to {action}")]
    Query {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// A text that was given is no value of its column.
    #[error("`{value}` is no value of column `{column}`, which is {kind}")]
    NoSuchValue {
        /// The text.
        value: String,
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Query { .. } => Some("check that PostgreSQL runs and that `storekeeper db migrate` was run"),
            Self::NoSuchValue { .. } => Some("write dates as 2025-11-28 and numbers with a point"),
        }
    }

    pub(super) fn query(action: &'static str) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |source| Self::Query { action, source }
    }
}

/// A table or view of a brand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is a view.
    pub view: bool,
    /// Name and type of its columns, without those of ours.
    pub columns: Vec<(String, String)>,
    /// The columns of its primary key, in their order.
    pub key: Vec<String>,
    /// Whether its rows say which load brought them.
    pub loaded: bool,
    /// The table of its earlier versions, where there is one.
    pub history: Option<String>,
}

impl Relation {
    /// Finds a table or view by its name.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn find(warehouse: &Warehouse, brand: &BrandId, name: &str) -> Result<Option<Self>, Error> {
        let query = Error::query("look for the table");
        let row = sqlx::query(
            "SELECT c.oid, c.relkind IN ('v', 'm') AS view,
                    EXISTS (SELECT FROM pg_class h JOIN pg_namespace n ON n.oid = h.relnamespace
                            WHERE n.nspname = $3 AND h.relname = $2 AND h.relkind IN ('r', 'p')) AS history
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm')",
        )
        .bind(brand.schema())
        .bind(name)
        .bind(brand.history_schema())
        .fetch_optional(warehouse.pool())
        .await
        .map_err(query)?;
        let Some(row) = row else { return Ok(None) };
        let oid: sqlx::postgres::types::Oid = row.get("oid");
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(oid)
        .fetch_all(warehouse.pool())
        .await
        .map_err(query)?;
        let key: Vec<String> = sqlx::query_scalar(
            "SELECT a.attname::text FROM pg_constraint k
             CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS c(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum
             WHERE k.conrelid = $1 AND k.contype = 'p' ORDER BY c.place",
        )
        .bind(oid)
        .fetch_all(warehouse.pool())
        .await
        .map_err(query)?;
        let view: bool = row.get("view");
        let ours = |name: &str| LINEAGE.iter().any(|(own, _)| *own == name);
        let loaded = !view && LINEAGE.iter().all(|(own, _)| columns.iter().any(|(name, _)| name == own));
        let columns = columns.into_iter().filter(|(name, _)| view || !ours(name)).collect();
        let history = (loaded && row.get("history")).then(|| format!("{}.{}", brand.history_schema(), name));
        let (schema, name) = (brand.schema(), name.to_owned());
        Ok(Some(Self { schema, name, view, columns, key, loaded, history }))
    }

    /// The type of a column.
    pub fn type_of(&self, column: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str())
    }

    fn path(&self) -> String {
        format!("{}.{}", Ident::known(&self.schema), Ident::known(&self.name))
    }

    /// All versions of all rows, as something to select from.
    pub(super) fn versions(&self) -> String {
        let mut columns: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        columns.extend(LINEAGE.iter().map(|(name, _)| (*name).to_owned()));
        let columns = list(&columns);
        let now = format!("SELECT {columns}, NULL::bigint AS superseded_by FROM {}", self.path());
        match self.history.as_ref().and_then(|name| name.split_once('.')) {
            None => format!("({now})"),
            Some((schema, name)) => {
                let (schema, name) = (Ident::known(schema), Ident::known(name));
                format!("({now} UNION ALL SELECT {columns}, superseded_by FROM {schema}.{name})")
            }
        }
    }

    /// The values of a row of `alias` as one JSON object of texts, in the table's order.
    fn values(&self, alias: &str) -> String {
        let part = |write: fn(&str, &Ident) -> String| -> String {
            let parts: Vec<String> = self.columns.iter().map(|(name, _)| write(alias, &Ident::known(name))).collect();
            parts.join(", ")
        };
        let names: Vec<String> = self.columns.iter().map(|(name, _)| super::ident::literal(name)).collect();
        format!(
            "json_object(ARRAY[{}]::text[], ARRAY[{}]::text[])",
            names.join(", "),
            part(|alias, name| format!("{alias}.{name}::text"))
        )
    }

    /// Conditions on columns, by the order of what is asked; an absent value means none is there.
    fn conditions(&self, alias: &str, asked: &[(String, Option<String>)]) -> String {
        let one = |(at, (column, value)): (usize, &(String, Option<String>))| {
            let name = Ident::known(column);
            match value {
                None => format!("{alias}.{name} IS NULL"),
                Some(_) => {
                    let kind = self.type_of(column).unwrap_or("text");
                    format!("{alias}.{name} = CAST(${}::text AS {kind})", at + 1)
                }
            }
        };
        let parts: Vec<String> = asked.iter().enumerate().map(one).collect();
        if parts.is_empty() { "true".to_owned() } else { parts.join(" AND ") }
    }
}

/// A version of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its values by column, as texts.
    pub values: Map<String, Value>,
    /// The load that made it.
    pub load_id: i64,
    /// The file it is from.
    pub file_id: i64,
    /// Its row there, where the transform kept it.
    pub source_row: Option<i64>,
    /// The load that brought it back.
    pub restored_by: Option<i64>,
    /// The load that replaced or removed it; of rows of the table, none.
    pub superseded_by: Option<i64>,
}

impl Version {
    /// The load from which on it was to be seen.
    pub fn since(&self) -> i64 {
        self.restored_by.unwrap_or(self.load_id)
    }

    fn of(row: &PgRow) -> Self {
        Self {
            values: object(row.get("values")),
            load_id: row.get("load_id"),
            file_id: row.get("file_id"),
            source_row: row.get("source_row"),
            restored_by: row.get("restored_by"),
            superseded_by: row.get("superseded_by"),
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}

/// Reads every version of the rows of a loaded table of which some version has these
/// values; of each row the latest version first. At most `limit` versions.
///
/// # Errors
/// When PostgreSQL refuses, or a text is no value of its column.
pub async fn versions(
    warehouse: &Warehouse,
    relation: &Relation,
    asked: &[(String, Option<String>)],
    limit: i64,
) -> Result<Vec<Version>, Error> {
    let from = relation.versions();
    let by_key = asked.iter().all(|(column, _)| relation.key.contains(column));
    // A condition beside the key finds rows, of which all versions are wanted.
    let which = if by_key || relation.key.is_empty() {
        relation.conditions("v", asked)
    } else {
        let key: Vec<String> = relation.key.iter().map(|name| format!("v.{}", Ident::known(name))).collect();
        let inner: Vec<String> = relation.key.iter().map(|name| format!("w.{}", Ident::known(name))).collect();
        let conditions = relation.conditions("w", asked);
        format!("({}) IN (SELECT {} FROM {from} w WHERE {conditions})", key.join(", "), inner.join(", "))
    };
    let order: Vec<String> = relation.key.iter().map(|name| format!("v.{}, ", Ident::known(name))).collect();
    let statement = format!(
        "SELECT {} AS values, v.load_id, v.file_id, v.source_row, v.restored_by, v.superseded_by
         FROM {from} v WHERE {which}
         ORDER BY {}v.superseded_by DESC NULLS FIRST, coalesce(v.restored_by, v.load_id) DESC LIMIT {limit}",
        relation.values("v"),
        order.concat(),
    );
    let rows = fetch(warehouse, statement, relation, asked, "read the versions of rows").await?;
    Ok(rows.iter().map(Version::of).collect())
}

/// Reads rows of a view as it is now, and counts how many there are.
///
/// # Errors
/// When PostgreSQL refuses, or a text is no value of its column.
pub async fn view_rows(
    warehouse: &Warehouse,
    relation: &Relation,
    asked: &[(String, Option<String>)],
    limit: i64,
) -> Result<(Vec<Map<String, Value>>, i64), Error> {
    let statement = format!(
        "SELECT {} AS values, count(*) OVER () AS rows FROM {} v WHERE {} LIMIT {limit}",
        relation.values("v"),
        relation.path(),
        relation.conditions("v", asked),
    );
    let rows = fetch(warehouse, statement, relation, asked, "read the rows of a view").await?;
    let count = rows.first().map_or(0, |row| row.get("rows"));
    Ok((rows.iter().map(|row| object(row.get("values"))).collect(), count))
}

/// Counts the rows of a table that have these values.
///
/// # Errors
/// When PostgreSQL refuses, or a text is no value of its column.
pub async fn count_rows(
    warehouse: &Warehouse,
    relation: &Relation,
    asked: &[(String, Option<String>)],
) -> Result<i64, Error> {
    let conditions = relation.conditions("v", asked);
    let statement = format!("SELECT count(*) AS rows FROM {} v WHERE {conditions}", relation.path());
    let rows = fetch(warehouse, statement, relation, asked, "count rows").await?;
    Ok(rows.first().map_or(0, |row| row.get("rows")))
}

async fn fetch(
    warehouse: &Warehouse,
    statement: String,
    relation: &Relation,
    asked: &[(String, Option<String>)],
    action: &'static str,
) -> Result<Vec<PgRow>, Error> {
    let safe: AssertSqlSafe<String> = Statement::new(statement).safe();
    let mut query = sqlx::query(safe);
    for (_, value) in asked {
        // One that is absent is in no condition, but its place is counted.
        query = query.bind(value.as_deref());
    }
    match query.fetch_all(warehouse.pool()).await {
        Ok(rows) => Ok(rows),
        // 22xxx: a text is no value of the type it was to be.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("22")) => {
            let said = error.message().to_owned();
            let guilty = asked.iter().find(|(_, value)| value.as_ref().is_some_and(|value| said.contains(value)));
            match guilty.or_else(|| asked.first()) {
                Some((column, value)) => Err(Error::NoSuchValue {
                    value: value.clone().unwrap_or_default(),
                    kind: relation.type_of(column).unwrap_or("text").to_owned(),
                    column: column.clone(),
                }),
                None => Err(Error::Query { action, source: sqlx::Error::Database(error) }),
            }
        }
        Err(source) => Err(Error::Query { action, source }),
    }
}

/// The loaded tables that a view reads in the end, through whatever views, and its text.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn bases(warehouse: &Warehouse, view: &Relation) -> Result<(Vec<(String, String)>, String), Error> {
    let query = Error::query("read what a view reads");
    let bases = sqlx::query_as(
        "WITH RECURSIVE reads(oid) AS (
             SELECT to_regclass($1)::oid
             UNION
             SELECT d.refobjid FROM reads r
             JOIN pg_rewrite w ON w.ev_class = r.oid
             JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                             AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.oid
         )
         SELECT n.nspname::text, c.relname::text FROM reads r
         JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2",
    )
    .bind(view.path())
    .fetch_all(warehouse.pool())
    .await
    .map_err(query)?;
    let text = sqlx::query_scalar("SELECT pg_get_viewdef(to_regclass($1), true)")
        .bind(view.path())
        .fetch_one(warehouse.pool())
        .await
        .map_err(query)?;
    Ok((bases, text))
}

/// Lists the tables and views of a brand that people read.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn names(warehouse: &Warehouse, brand: &BrandId) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition ORDER BY 1",
    )
    .bind(brand.schema())
    .fetch_all(warehouse.pool())
    .await
    .map_err(Error::query("list the tables"))
}
