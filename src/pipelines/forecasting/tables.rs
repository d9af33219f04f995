//! What forecasts are made from, and what became of earlier ones.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::definition::{ForecastOf, Grain};
use super::events;
use super::history::{DAY, StoreDay};
use super::rows::MODELS;
use super::shares::{PartDay, WEEKS};
use crate::ids::BrandId;
use crate::pipelines::error::Error;
use crate::pipelines::tables::rows_if_there;
use crate::warehouse::{Ident, Table, Warehouse};
use forecast::panel::{Champion, Scores};

/// How far ahead the forecasts of days were that are judged; of longer steps, all are.
const JUDGED_LEADS: [i64; 5] = [1, 7, 14, 28, 35];

/// Days whose forecasts are held against what came, each time.
fn judged_days(grain: Grain) -> u64 {
    match grain {
        Grain::Day => 28,
        Grain::Week => 12 * 7,
        Grain::Month => 366,
    }
}

/// Where the history of a series is.
pub(super) struct Source<'a> {
    pub(super) warehouse: &'a Warehouse,
    pub(super) brand: &'a BrandId,
    pub(super) table: &'a str,
    pub(super) of: &'a ForecastOf,
}

impl Source<'_> {
    pub(super) fn path(&self) -> String {
        format!("{}.{}", Ident::known(&self.brand.schema()), Ident::known(self.table))
    }

    pub(super) fn date(&self) -> String {
        Ident::known(&self.of.date).to_string()
    }

    /// SQL for the first day of a row's step; by the day it is the date.
    pub(super) fn step(&self) -> String {
        self.of.grain.start_of(&self.date())
    }

    /// Where the parts of a day are.
    fn parts(&self) -> String {
        let parts = self.of.dayparts_from.as_deref().unwrap_or(self.table);
        format!("{}.{}", Ident::known(&self.brand.schema()), Ident::known(parts))
    }

    /// Each store's total by the day, over the days that count.
    pub(super) async fn days(&self) -> Result<Vec<StoreDay>, Error> {
        let sql = format!(
            "SELECT store_id, {step} AS day, min({date}) AS earliest, max({date}) AS latest,
                    sum({value})::double precision AS value
             FROM {path}
             WHERE {value} IS NOT NULL AND {date} >= (SELECT {first} FROM {path})
             GROUP BY 1, 2 ORDER BY 1, 2",
            step = self.step(),
            date = self.date(),
            first = self.of.grain.start_of(&format!("(max({}) - {})", self.date(), self.of.grain.history_days() - 1)),
            value = Ident::known(&self.of.value),
            path = self.path(),
        );
        let rows = rows_if_there(self.warehouse, "read the history to forecast from", sql).await?;
        let day = |row: &PgRow| StoreDay {
            store_id: row.get("store_id"),
            date: row.get("day"),
            told: (row.get("earliest"), row.get("latest")),
            value: row.get("value"),
        };
        Ok(rows.iter().map(day).collect())
    }

    /// The dayparts of the latest weeks; none where the table has no such column.
    pub(super) async fn dayparts(&self, last_day: NaiveDate) -> Result<Vec<PartDay>, Error> {
        let Some(daypart) = &self.of.daypart else { return Ok(Vec::new()) };
        let first = last_day.checked_sub_days(Days::new(7 * WEEKS - 1)).unwrap_or(last_day);
        let sql = format!(
            "SELECT store_id, {daypart} AS daypart, {date} AS day, sum({value})::double precision AS value FROM {path}
             WHERE {value} IS NOT NULL AND {date} BETWEEN '{first}' AND '{last_day}'
             GROUP BY store_id, {date}, {daypart} ORDER BY store_id, {date}, {daypart}",
            daypart = Ident::known(daypart),
            date = Ident::known(&self.of.date),
            value = Ident::known(&self.of.value),
            path = self.parts(),
        );
        let rows = rows_if_there(self.warehouse, "read the dayparts to forecast from", sql).await?;
        let part = |row: &PgRow| PartDay {
            store_id: row.get("store_id"),
            daypart: row.get("daypart"),
            date: row.get("day"),
            value: row.get("value"),
        };
        Ok(rows.iter().map(part).collect())
    }

    /// What the chain plans. What a table of events may lack is read as if it were empty.
    pub(super) async fn events(&self, table: &str) -> Result<Vec<events::Row>, Error> {
        let sql = format!(
            "SELECT e.store_id, e.kind, e.first_day, r.name, r.last_day, r.value, r.known_on
             FROM {}.{} e, jsonb_to_record(to_jsonb(e))
                  AS r(name text, last_day date, value double precision, known_on date)
             WHERE e.first_day IS NOT NULL AND e.kind IS NOT NULL
             ORDER BY e.store_id, e.first_day, e.kind, r.name, r.last_day, r.value, r.known_on",
            Ident::known(&self.brand.schema()),
            Ident::known(table),
        );
        let rows = rows_if_there(self.warehouse, "read the events that a forecast knows of", sql).await?;
        let one = |row: &PgRow| events::Row {
            store_id: row.get("store_id"),
            kind: row.get("kind"),
            name: row.get("name"),
            first_day: row.get("first_day"),
            last_day: row.get("last_day"),
            value: row.get("value"),
            known_on: row.get("known_on"),
        };
        Ok(rows.iter().map(one).collect())
    }

    /// What the last run settled on for each store.
    pub(super) async fn earlier(&self) -> Result<BTreeMap<String, Earlier>, Error> {
        let sql = format!(
            "SELECT store_id, champion, tested_days, mase, wape, bias, coverage_80, coverage_95
             FROM {}.{MODELS} WHERE series = '{}'",
            Ident::known(&self.brand.schema()),
            self.of.series.replace('\'', "''"),
        );
        let rows = rows_if_there(self.warehouse, "read the models of before", sql).await?;
        let one = |row: &PgRow| {
            let champion: Option<String> = row.get("champion");
            let earlier = Earlier {
                // One of an earlier version that cannot be read any more: its store's models compete again.
                champion: champion.and_then(|text| serde_json::from_str(&text).ok()),
                scores: Scores {
                    days: usize::try_from(row.get::<i64, _>("tested_days")).unwrap_or_default(),
                    mase: row.get("mase"),
                    wape: row.get("wape"),
                    bias: row.get("bias"),
                    coverage_80: row.get("coverage_80"),
                    coverage_95: row.get("coverage_95"),
                    ..Scores::default()
                },
            };
            (row.get("store_id"), earlier)
        };
        Ok(rows.iter().map(one).collect())
    }

    /// Forecasts of the latest days, as they were at some leads, beside what came. A
    /// forecast that was taken back counts no more than if it had never been.
    pub(super) async fn realised(&self, last_day: NaiveDate, forecast: &Table) -> Result<Vec<Realised>, Error> {
        let first = last_day.checked_sub_days(Days::new(judged_days(self.of.grain) - 1)).unwrap_or(last_day);
        let first = self.of.grain.of_panel().start_of(first);
        let leads = match self.of.grain {
            Grain::Day => format!(" AND lead_days IN ({})", JUDGED_LEADS.map(|lead| lead.to_string()).join(", ")),
            Grain::Week | Grain::Month => String::new(),
        };
        let wanted = format!(
            "series = '{}' AND business_date BETWEEN '{first}' AND '{last_day}'{leads}",
            self.of.series.replace('\'', "''"),
        );
        let columns = "store_id, daypart, business_date, lead_days, mean, median, lower_80, upper_80, lower_95, upper_95, load_id";
        let part = self.of.daypart.as_ref().map_or(String::new(), |daypart| {
            format!(
                " UNION ALL SELECT store_id, {0}, {date}, sum({value}) FROM {path}
                  WHERE {date} BETWEEN '{first}' AND '{last_day}' GROUP BY 1, 2, 3",
                Ident::known(daypart),
                date = Ident::known(&self.of.date),
                value = Ident::known(&self.of.value),
                path = self.parts(),
            )
        });
        let sql = format!(
            "WITH said AS (
                 SELECT {columns} FROM {current} WHERE {wanted}
                 UNION ALL
                 SELECT {columns} FROM {past} h WHERE {wanted}
                    AND EXISTS (SELECT FROM ops.loads l WHERE l.load_id = h.load_id AND l.undone_by IS NULL)
             ), last AS (
                 SELECT DISTINCT ON (store_id, daypart, business_date, lead_days) * FROM said
                 ORDER BY store_id, daypart, business_date, lead_days, load_id DESC
             ), came AS (
                 SELECT store_id, '{DAY}' AS daypart, {step} AS day, sum({value}) AS actual FROM {path}
                 WHERE {date} BETWEEN '{first}' AND '{last_day}' GROUP BY 1, 3{part}
             )
             SELECT last.store_id, last.daypart, last.business_date, last.lead_days,
                    ARRAY[mean, median, lower_80, upper_80, lower_95, upper_95, actual]::double precision[] AS values
             FROM last JOIN came ON came.store_id = last.store_id AND came.daypart = last.daypart
                                AND came.day = last.business_date
             WHERE actual IS NOT NULL
             ORDER BY last.store_id, last.business_date, last.daypart, last.lead_days",
            current = forecast.path(),
            past = forecast.history(),
            step = self.step(),
            date = self.date(),
            value = Ident::known(&self.of.value),
            path = self.path(),
        );
        let rows = rows_if_there(self.warehouse, "hold earlier forecasts against what came", sql).await?;
        let one = |row: &PgRow| Realised {
            store_id: row.get("store_id"),
            daypart: row.get("daypart"),
            date: row.get("business_date"),
            lead_days: row.get("lead_days"),
            values: row.get("values"),
        };
        Ok(rows.iter().map(one).collect())
    }
}

/// What an earlier run left of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Earlier {
    pub(super) champion: Option<Champion>,
    pub(super) scores: Scores,
}

/// A forecast whose day has come.
#[derive(Debug, Clone)]
pub(super) struct Realised {
    pub(super) store_id: String,
    pub(super) daypart: String,
    pub(super) date: NaiveDate,
    pub(super) lead_days: i64,
    /// Mean, median, bounds of 80 and of 95 percent, and what came.
    pub(super) values: Vec<f64>,
}
