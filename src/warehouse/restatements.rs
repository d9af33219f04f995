//! What loads changed in business dates that were over when they were made.
//!
//! Nothing is noted for this: it is read from the history. A version that a load
//! replaced is held against the one that the load put in its place; one that it put
//! where there was none counts as late where the same window had rows before.
//! "Over" means before the day the load was made, by its brand's clocks.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{Executor as _, PgConnection, Row as _};

use super::Warehouse;
use super::history::KNOWN_LOADS;
use super::ident::{Ident, Statement, literal};
use super::lineage;
use super::load::Error;
use super::merge::pairs;
use super::table::{Table, list};
use crate::ids::{BrandId, StoreId};

/// One value of one row that was said differently later.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restatement {
    /// The table.
    pub table: String,
    /// `changed`, `added` or `removed`.
    pub change: String,
    /// The business date of the row.
    pub business_date: NaiveDate,
    /// The row's key, as texts.
    pub key: Map<String, Value>,
    /// The column.
    pub column: String,
    /// What it was.
    pub old: Option<String>,
    /// What it is from then on.
    pub new: Option<String>,
    /// Whether the values are kept back, because they are personal.
    pub withheld: bool,
    /// When it became known.
    pub restated_at: DateTime<Utc>,
    /// The day that was, by the brand's clocks.
    pub made_on: NaiveDate,
    /// By which load.
    pub load_id: i64,
    /// The load that this one takes back.
    pub undoes: Option<i64>,
    /// The file that says so; of a row that was removed, any file of the load.
    pub file: Option<String>,
    /// Its sheet.
    pub sheet: Option<String>,
    /// The row there.
    pub source_row: Option<i64>,
}

/// What of a ledger is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What became known from then on.
    pub since: DateTime<Utc>,
    /// Of this store only.
    pub store: Option<String>,
    /// At most so many, the latest first.
    pub limit: i64,
}

impl Table {
    /// The column that says which day a row belongs to: that of the partitions, or
    /// the first date of the window or of the key.
    pub fn business_date(&self) -> Option<&str> {
        let date = |name: &&String| self.columns.iter().any(|(column, kind)| column == *name && kind == "date");
        let named = self.window.iter().chain(&self.key).find(date);
        self.partition_by.as_ref().or(named).map(String::as_str)
    }

    /// The ledger, as a query with one parameter: since when. Only for tables with a
    /// key and a business date.
    fn restatements(&self) -> Option<String> {
        if self.key.is_empty() {
            return None;
        }
        let date = Ident::known(self.business_date()?);
        let loads = format!("{}.{KNOWN_LOADS}", Ident::known(&self.history_schema()));
        let columns = list(&self.version_columns());
        let versions = format!(
            "(SELECT {columns}, coalesce(restored_by, load_id) AS since FROM {} \
             UNION ALL SELECT {columns}, coalesce(restored_by, load_id) FROM {})",
            self.path(),
            self.history(),
        );
        let key = |alias: &str| {
            let names: Vec<String> = self.key.iter().map(|name| literal(name)).collect();
            let texts: Vec<String> =
                self.key.iter().map(|name| format!("{alias}.{}::text", Ident::known(name))).collect();
            format!("jsonb_object(ARRAY[{}]::text[], ARRAY[{}]::text[])", names.join(", "), texts.join(", "))
        };
        let values: Vec<&String> =
            self.columns.iter().map(|(name, _)| name).filter(|name| !self.key.contains(name)).collect();
        let each = |old: &str, new: &str| {
            let one = |name: &&String| {
                let side = |alias: &str| {
                    if alias.is_empty() {
                        "NULL::text".to_owned()
                    } else {
                        format!("{alias}.{}::text", Ident::known(name))
                    }
                };
                format!("({}, {}, {})", literal(name), side(old), side(new))
            };
            if values.is_empty() {
                // A row that is all key has come or gone.
                return "(VALUES (NULL::text, NULL::text, '')) AS c(name, old, new)".to_owned();
            }
            format!("(VALUES {}) AS c(name, old, new)", values.iter().map(one).collect::<Vec<_>>().join(", "))
        };
        let day = "coalesce(l.made_on, (l.committed_at AT TIME ZONE 'UTC')::date)";
        // What belongs together: a row that comes late joins others of its store and day.
        let group: Vec<String> = if self.window.is_empty() {
            let store = self.columns.iter().find(|(name, _)| name == "store_id").map(|(name, _)| name.clone());
            store.into_iter().chain(self.business_date().map(str::to_owned)).collect()
        } else {
            self.window.clone()
        };
        let said = "l.committed_at AS restated_at, l.load_id, l.undoes";
        Some(format!(
            "SELECT {said}, {day} AS made_on, CASE WHEN n.load_id IS NULL THEN 'removed' ELSE 'changed' END AS change, \
                    {old_key} AS key, o.{date} AS business_date, c.name AS column_name, c.old AS old_value, \
                    c.new AS new_value, n.file_id, n.source_row \
             FROM {history} o JOIN {loads} l ON l.load_id = o.superseded_by \
             LEFT JOIN {versions} n ON n.since = o.superseded_by AND {o_n} \
             CROSS JOIN LATERAL {each_changed} \
             WHERE l.committed_at >= $1 AND o.{date} < {day} AND c.old IS DISTINCT FROM c.new \
             UNION ALL \
             SELECT {said}, {day}, 'added', {new_key}, n.{date}, c.name, c.old, c.new, n.file_id, n.source_row \
             FROM {versions} n JOIN {loads} l ON l.load_id = n.since CROSS JOIN LATERAL {each_added} \
             WHERE l.committed_at >= $1 AND n.{date} < {day} AND c.new IS NOT NULL \
               AND NOT EXISTS (SELECT FROM {history} o WHERE o.superseded_by = n.since AND {o_n}) \
               AND EXISTS (SELECT FROM {versions} p WHERE p.since < n.since AND {p_n})",
            old_key = key("o"),
            new_key = key("n"),
            history = self.history(),
            o_n = pairs("o", "n", &self.key),
            p_n = pairs("p", "n", &group),
            each_changed = each("o", "n"),
            each_added = each("", "n"),
        ))
    }

    /// Makes the function by which readers ask for the ledger, if the table lacks it or
    /// its columns changed. It asks with its reader's rights.
    pub(super) async fn ensure_restatements(&self, connection: &mut PgConnection, changed: bool) -> Result<(), Error> {
        let query = Error::query("make the ledger of restatements");
        // PostgreSQL cuts names at 63 bytes: a table whose name leaves no room goes without.
        let name = format!("{}_restatements", self.name);
        let (Some(text), Some(name)) = (self.restatements(), Ident::new(&name)) else { return Ok(()) };
        let path = format!("{}.{name}", Ident::known(&self.schema));
        if !changed {
            let there: bool = sqlx::query_scalar("SELECT to_regprocedure($1 || '(timestamptz)') IS NOT NULL")
                .bind(&path)
                .fetch_one(&mut *connection)
                .await
                .map_err(query)?;
            if there {
                return Ok(());
            }
        }
        let statement = format!(
            "CREATE OR REPLACE FUNCTION {path}(since timestamptz) RETURNS TABLE (
                 restated_at timestamptz, load_id bigint, undoes bigint, made_on date, change text, key jsonb,
                 business_date date, column_name text, old_value text, new_value text, file_id bigint, source_row bigint
             ) LANGUAGE sql STABLE AS $$ {text} $$"
        );
        connection.execute(Statement::new(statement).safe()).await.map(drop).map_err(query)
    }
}

/// Reads the ledger of a table; `None` where it has no key or no business date, or
/// nothing was ever replaced in it.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn read(
    warehouse: &Warehouse,
    table: &Table,
    wanted: &Wanted,
) -> Result<Option<Vec<Restatement>>, lineage::Error> {
    let query = lineage::Error::query("read the restatements");
    let Some(text) = table.restatements() else { return Ok(None) };
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL")
        .bind(table.history())
        .bind(format!("{}.{KNOWN_LOADS}", Ident::known(&table.history_schema())))
        .fetch_one(warehouse.pool())
        .await
        .map_err(query)?;
    if !there {
        return Ok(None);
    }
    let statement = format!(
        "SELECT r.*, f.name AS file, f.sheet
         FROM ({text}) AS r
         LEFT JOIN LATERAL (
             SELECT name, CASE WHEN r.file_id IS NOT NULL THEN sheet END AS sheet FROM ops.files
             WHERE CASE WHEN r.file_id IS NULL THEN load_id = r.load_id ELSE file_id = r.file_id END
             ORDER BY file_id DESC LIMIT 1
         ) AS f ON true
         WHERE $2::text IS NULL OR r.key ->> 'store_id' = $2
         ORDER BY r.load_id DESC, r.business_date DESC, r.key, r.column_name LIMIT $3"
    );
    let rows = sqlx::query(Statement::new(statement).safe())
        .bind(wanted.since)
        .bind(&wanted.store)
        .bind(wanted.limit)
        .fetch_all(warehouse.pool())
        .await
        .map_err(query)?;
    let one = |row: &sqlx::postgres::PgRow| Restatement {
        table: table.name.clone(),
        change: row.get("change"),
        business_date: row.get("business_date"),
        key: match row.get("key") {
            // jsonb has an order of its own.
            Value::Object(key) => {
                table.key.iter().filter_map(|name| Some((name.clone(), key.get(name)?.clone()))).collect()
            }
            _ => Map::new(),
        },
        column: row.get::<Option<String>, _>("column_name").unwrap_or_default(),
        old: row.get("old_value"),
        new: row.get("new_value"),
        withheld: false,
        restated_at: row.get("restated_at"),
        made_on: row.get("made_on"),
        load_id: row.get("load_id"),
        undoes: row.get("undoes"),
        file: row.get("file"),
        sheet: row.get("sheet"),
        source_row: row.get("source_row"),
    };
    Ok(Some(rows.iter().map(one).collect()))
}

/// What one load, or several of one run, told anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anew {
    /// Rows that say something else now, came late or are gone.
    pub rows: i64,
    /// Their business dates: one at least.
    pub days: BTreeSet<NaiveDate>,
    /// Their stores; none where rows are of no store.
    pub stores: BTreeSet<StoreId>,
    /// The day it became known, by the brand's clocks.
    pub made_on: NaiveDate,
}

impl Anew {
    /// Both together: of two tables, or of two stores.
    pub fn and(mut self, other: &Self) -> Self {
        self.rows += other.rows;
        self.days.extend(&other.days);
        self.stores.extend(other.stores.iter().cloned());
        self.made_on = self.made_on.max(other.made_on);
        self
    }
}

/// Sums up what each of some loads told anew of a brand's table, a sum for each store;
/// `since` is when the first of them was made. Those that told nothing anew are left out,
/// and all where the table has no ledger.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn of_loads(
    warehouse: &Warehouse,
    brand: &BrandId,
    table: &str,
    since: DateTime<Utc>,
    loads: &[i64],
) -> Result<Vec<(i64, Anew)>, sqlx::Error> {
    let Some(name) = Ident::new(&format!("{table}_restatements")) else { return Ok(Vec::new()) };
    let path = format!("{}.{name}", Ident::known(&brand.schema()));
    let there: bool = sqlx::query_scalar("SELECT to_regprocedure($1 || '(timestamptz)') IS NOT NULL")
        .bind(&path)
        .fetch_one(warehouse.pool())
        .await?;
    if !there {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT load_id, key ->> 'store_id' AS store, count(DISTINCT key) AS rows,
                array_agg(DISTINCT business_date) AS days, max(made_on) AS made_on
         FROM {path}($1) WHERE load_id = ANY($2) GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let rows = sqlx::query(Statement::new(text).safe()).bind(since).bind(loads).fetch_all(warehouse.pool()).await?;
    let one = |row: &sqlx::postgres::PgRow| {
        let store: Option<String> = row.try_get("store")?;
        let anew = Anew {
            rows: row.try_get("rows")?,
            days: row.try_get::<Vec<NaiveDate>, _>("days")?.into_iter().collect(),
            stores: store.map(StoreId).into_iter().collect(),
            made_on: row.try_get("made_on")?,
        };
        Ok((row.try_get("load_id")?, anew))
    };
    rows.iter().map(one).collect()
}
