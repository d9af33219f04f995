//! What hours are made from.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::definition::StaffingOf;
use super::opening::{Opening, Part};
use super::plan::Demand;
use crate::ids::BrandId;
use crate::pipelines::Error;
use crate::pipelines::forecasting::{DAY, ForecastOf, TABLE};
use crate::pipelines::tables::rows_if_there;
use crate::warehouse::{Ident, Warehouse};

/// Where everything is.
pub(super) struct Source<'a> {
    pub(super) warehouse: &'a Warehouse,
    pub(super) brand: &'a BrandId,
    pub(super) staffing: &'a StaffingOf,
    /// The table of the pipeline with `[staffing]`.
    pub(super) own_table: &'a str,
    /// How the demand is forecast, and from which table.
    pub(super) demand: &'a ForecastOf,
    pub(super) demand_table: &'a str,
}

/// Expected demand of a store's day, by daypart.
pub(super) type Expected = BTreeMap<(String, NaiveDate), BTreeMap<String, Demand>>;

/// A daypart of a day that was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Past {
    pub(super) store_id: String,
    pub(super) date: NaiveDate,
    pub(super) daypart: String,
    pub(super) demand: f64,
    pub(super) hours: f64,
}

impl Source<'_> {
    fn path(&self, table: &str) -> String {
        format!("{}.{}", Ident::known(&self.brand.schema()), Ident::known(table))
    }

    /// The demand that is forecast for the days behind the last one that the forecast knew, and that day.
    pub(super) async fn expected(&self) -> Result<Option<(NaiveDate, Expected)>, Error> {
        let sql = format!(
            "SELECT store_id, business_date, daypart, made_on,
                    ARRAY[mean, median, lower_80, upper_80]::double precision[] AS demand
             FROM {path} WHERE series = '{series}' AND daypart <> '{DAY}'
               AND made_on = (SELECT max(made_on) FROM {path} WHERE series = '{series}') AND business_date > made_on
             ORDER BY store_id, business_date, daypart",
            path = self.path(TABLE),
            series = self.demand.series.replace('\'', "''"),
        );
        let rows = rows_if_there(self.warehouse, "read the demand to staff for", sql).await?;
        let Some(made_on) = rows.first().map(|row| row.get("made_on")) else { return Ok(None) };
        let mut expected = Expected::new();
        for row in &rows {
            let values: Vec<f64> = row.get("demand");
            let demand = Demand { mean: values[0], median: values[1], lower_80: values[2], upper_80: values[3] };
            let key = (row.get("store_id"), row.get("business_date"));
            expected.entry(key).or_default().insert(row.get("daypart"), demand);
        }
        Ok(Some((made_on, expected)))
    }

    /// Dayparts of the latest weeks with the demand that came and the hours that were worked.
    pub(super) async fn past(&self, made_on: NaiveDate) -> Result<Vec<Past>, Error> {
        let first = made_on.checked_sub_days(Days::new(7 * u64::from(self.staffing.weeks) - 1)).unwrap_or(made_on);
        let worked = &self.staffing.worked;
        // `problems_among` refuses a demand without dayparts.
        let Some(daypart) = &self.demand.daypart else { return Ok(Vec::new()) };
        let demand_from = self.demand.dayparts_from.as_deref().unwrap_or(self.demand_table);
        let sql = format!(
            "WITH demand AS (
                 SELECT store_id, {date} AS day, {daypart} AS daypart, sum({value})::double precision AS demand
                 FROM {demand} WHERE {date} BETWEEN '{first}' AND '{made_on}' GROUP BY 1, 2, 3
             ), worked AS (
                 SELECT store_id, {on} AS day, {part} AS daypart, sum({hours})::double precision AS hours
                 FROM {worked} WHERE {on} BETWEEN '{first}' AND '{made_on}' AND {hours} IS NOT NULL GROUP BY 1, 2, 3
             )
             SELECT store_id, day, daypart, demand, hours FROM demand JOIN worked USING (store_id, day, daypart)
             WHERE demand > 0 AND hours > 0 ORDER BY store_id, day, daypart",
            date = Ident::known(&self.demand.date),
            daypart = Ident::known(daypart),
            value = Ident::known(&self.demand.value),
            demand = self.path(demand_from),
            on = Ident::known(&worked.date),
            part = Ident::known(&worked.daypart),
            hours = Ident::known(&worked.value),
            worked = self.path(worked.from.as_deref().unwrap_or(self.own_table)),
        );
        let rows = rows_if_there(self.warehouse, "read the hours that were worked", sql).await?;
        let one = |row: &PgRow| Past {
            store_id: row.get("store_id"),
            date: row.get("day"),
            daypart: row.get("daypart"),
            demand: row.get("demand"),
            hours: row.get("hours"),
        };
        Ok(rows.iter().map(one).collect())
    }

    /// The dayparts of a day, in its order.
    pub(super) async fn dayparts(&self) -> Result<Vec<Part>, Error> {
        let sql = format!(
            "SELECT daypart, from_minute::bigint AS from_minute, until_minute::bigint AS until_minute
             FROM {} ORDER BY from_minute, daypart",
            self.path(&self.staffing.dayparts),
        );
        let rows = rows_if_there(self.warehouse, "read the dayparts", sql).await?;
        let one = |row: &PgRow| Part {
            name: row.get("daypart"),
            from: row.get("from_minute"),
            until: row.get("until_minute"),
        };
        Ok(rows.iter().map(one).collect())
    }

    /// Opening hours; none where the definition names no table of them.
    pub(super) async fn opening(&self) -> Result<Opening, Error> {
        let mut opening = Opening::default();
        let Some(table) = &self.staffing.opening else { return Ok(opening) };
        let sql = format!(
            "SELECT store_id, day_of_week::bigint AS day_of_week, opens_at, closes_at FROM {}
             WHERE opens_at IS NOT NULL AND closes_at IS NOT NULL ORDER BY store_id, day_of_week, opens_at",
            self.path(table),
        );
        for row in &rows_if_there(self.warehouse, "read the opening hours", sql).await? {
            let store_id: String = row.get("store_id");
            let weekday = u32::try_from(row.get::<i64, _>("day_of_week")).unwrap_or_default();
            opening.add(&store_id, weekday, row.get("opens_at"), row.get("closes_at"));
        }
        Ok(opening)
    }
}
