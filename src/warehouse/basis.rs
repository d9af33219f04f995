//! The rows that a forecast of a day was made from.

use chrono::NaiveDate;
use sqlx::Row as _;

use super::Warehouse;
use super::ident::{Ident, Statement};
use super::lineage::{Error, Relation};
use crate::ids::BrandId;

/// Which series of a table, and up to where.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// The table.
    pub relation: &'a Relation,
    /// The column that was summed up.
    pub value: &'a str,
    /// The date column.
    pub date: &'a str,
    /// The store.
    pub store_id: &'a str,
    /// The column of dayparts and the one that counts; `None` for whole days.
    pub daypart: Option<(&'a str, &'a str)>,
    /// The last load that was seen.
    pub up_to_load: i64,
    /// The first day that counts.
    pub first_day: NaiveDate,
    /// The last day that counts.
    pub last_day: NaiveDate,
}

/// What a series holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// Rows.
    pub rows: i64,
    /// Their first day.
    pub first_day: Option<NaiveDate>,
    /// Their last day.
    pub last_day: Option<NaiveDate>,
    /// Their sum.
    pub total: Option<String>,
}

/// One row of it.
#[derive(Debug, Clone)]
pub struct HeldRow {
    /// Its day.
    pub date: NaiveDate,
    /// Its value.
    pub value: String,
    /// The load that made it.
    pub load_id: i64,
    /// The file it is from.
    pub file_id: i64,
    /// The row there.
    pub source_row: Option<i64>,
}

impl Series<'_> {
    fn rows(&self) -> String {
        let (date, value) = (Ident::known(self.date), Ident::known(self.value));
        let part =
            self.daypart.map_or("$2::text IS NULL".to_owned(), |(name, _)| format!("{} = $2", Ident::known(name)));
        format!(
            "(SELECT {date} AS day, {value} AS value, load_id, file_id, source_row FROM {} v
              WHERE store_id = $1 AND {part} AND {value} IS NOT NULL AND {date} BETWEEN $4 AND $5
                AND coalesce(restored_by, load_id) <= $3 AND (superseded_by IS NULL OR superseded_by > $3)) AS held",
            self.relation.versions()
        )
    }

    /// Reads what the series held, and the latest rows that stand whole seasons before a day.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn read(
        &self,
        warehouse: &Warehouse,
        day: NaiveDate,
        season_days: i32,
        limit: i64,
    ) -> Result<(Held, Vec<HeldRow>), Error> {
        let query = Error::query("read what a forecast was made from");
        let rows = self.rows();
        let all = Statement::new(format!("SELECT count(*), min(day), max(day), sum(value)::text FROM {rows}"));
        let row = sqlx::query(all.safe())
            .bind(self.store_id)
            .bind(self.daypart.map(|(_, part)| part))
            .bind(self.up_to_load)
            .bind(self.first_day)
            .bind(self.last_day)
            .fetch_one(warehouse.pool())
            .await
            .map_err(query)?;
        let held = Held { rows: row.get(0), first_day: row.get(1), last_day: row.get(2), total: row.get(3) };
        let some = Statement::new(format!(
            "SELECT day, value::text AS value, load_id, file_id, source_row FROM {rows}
             WHERE ($6 - day) % $7 = 0 ORDER BY day DESC, file_id, source_row LIMIT $8"
        ));
        let rows = sqlx::query(some.safe())
            .bind(self.store_id)
            .bind(self.daypart.map(|(_, part)| part))
            .bind(self.up_to_load)
            .bind(self.first_day)
            .bind(self.last_day)
            .bind(day)
            .bind(season_days)
            .bind(limit)
            .fetch_all(warehouse.pool())
            .await
            .map_err(query)?;
        let one = |row: &sqlx::postgres::PgRow| HeldRow {
            date: row.get("day"),
            value: row.get("value"),
            load_id: row.get("load_id"),
            file_id: row.get("file_id"),
            source_row: row.get("source_row"),
        };
        Ok((held, rows.iter().map(one).collect()))
    }
}

/// The last load of a table that was known when another was made.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn last_load_before(
    warehouse: &Warehouse,
    brand: &BrandId,
    table: &str,
    load_id: i64,
) -> Result<Option<i64>, Error> {
    sqlx::query_scalar(
        "SELECT max(l.load_id) FROM ops.loads l, ops.loads made
         WHERE made.load_id = $3 AND l.brand = $1 AND l.table_name = $2
           AND l.load_id < made.load_id AND l.committed_at <= made.committed_at",
    )
    .bind(&brand.0)
    .bind(table)
    .bind(load_id)
    .fetch_one(warehouse.pool())
    .await
    .map_err(Error::query("look for what a forecast saw"))
}
