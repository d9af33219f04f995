//! A forecast as it stands, for who looks at it.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::definition::{ForecastOf, Grain};
use super::history::DAY;
use super::rows::{EFFECTS, MODELS, REASONS, TABLE};
use super::tables::Source;
use crate::ids::BrandId;
use crate::pipelines::definition::Pipeline;
use crate::pipelines::error::Error;
use crate::pipelines::tables::{failed, is_not_there};
use crate::warehouse::{Ident, Statement, Warehouse};

/// The forecast of a store in a series of a pipeline's table, with what the
/// calendar does to it; `days` days, or longer steps, of the history before it.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn standing(
    warehouse: &Warehouse,
    (pipeline, of): (&Pipeline, &ForecastOf),
    brand: &BrandId,
    store_id: &str,
    days: u32,
) -> Result<Option<(Shown, Vec<EffectShown>)>, Error> {
    let source = Source { warehouse, brand, table: &pipeline.definition.destination.table, of };
    let Some(standing) = source.standing(store_id, days).await? else { return Ok(None) };
    Ok(Some((standing, source.effects(store_id).await?)))
}

/// The forecast of a store's series as it stands, with what led to it.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The brand.
    pub brand: BrandId,
    /// The store.
    pub store_id: String,
    /// The series.
    pub series: String,
    /// What became of it: `forecast`, `fallback`, `dead`, `withheld`.
    pub status: String,
    /// The model, unless it was withheld.
    pub model: Option<String>,
    /// Why this one.
    pub reason: String,
    /// Why a simpler one had to do, or none.
    pub fallback_reason: Option<String>,
    /// What a reader should know, e.g. `level_shift`.
    pub flags: Vec<String>,
    /// How long a step is.
    pub grain: Grain,
    /// The last day it knew of.
    pub made_on: NaiveDate,
    /// How wrong it would have been on earlier cut-offs: days tested.
    pub tested_days: i64,
    /// Absolute errors over sales.
    pub wape: Option<f64>,
    /// Mean absolute scaled error.
    pub mase: Option<f64>,
    /// Errors over sales; above zero is too much.
    pub bias: Option<f64>,
    /// Share of days within the 80 percent interval.
    pub coverage_80: Option<f64>,
    /// Share of days within the 95 percent interval.
    pub coverage_95: Option<f64>,
    /// What is to come, by day.
    pub ahead: Vec<Ahead>,
    /// What was, by day, oldest first.
    pub history: Vec<Past>,
}

impl Shown {
    /// The forecast of the day, or of the longer step that the day is in.
    pub fn on(&self, date: NaiveDate) -> Option<&Ahead> {
        let start = self.grain.of_panel().start_of(date);
        self.ahead.iter().find(|step| step.date == start)
    }
}

/// One day to come.
#[derive(Debug, Clone, Serialize)]
pub struct Ahead {
    /// The day.
    pub date: NaiveDate,
    /// The expected value.
    pub mean: f64,
    /// As likely to be over as under.
    pub median: f64,
    /// Bounds of 80 percent.
    pub lower_80: f64,
    /// Bounds of 80 percent.
    pub upper_80: f64,
    /// Bounds of 95 percent.
    pub lower_95: f64,
    /// Bounds of 95 percent.
    pub upper_95: f64,
    /// Why: `level` and what each reason adds to it.
    pub because: Vec<Reason>,
    /// Dayparts, with their expected values.
    pub dayparts: Vec<(String, f64)>,
}

/// A reason of a number.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// `level`, `weekday`, `season`, `holiday`, `promotion` …
    pub part: String,
    /// What it adds; on the log scale where it multiplies.
    pub amount: f64,
    /// Whether the reasons multiply.
    pub multiplies: bool,
    /// Whether a guard rail pulled the number back.
    pub clipped: bool,
    /// Whether the store is closed on that day.
    pub closed: bool,
}

/// One day that was.
#[derive(Debug, Clone, Serialize)]
pub struct Past {
    /// The day.
    pub date: NaiveDate,
    /// Its value.
    pub value: f64,
}

impl Source<'_> {
    /// The forecast of one store, and the days before it; `None` where there is none.
    pub(super) async fn standing(&self, store_id: &str, days: u32) -> Result<Option<Shown>, Error> {
        const ACTION: &str = "read the forecast of a store";
        let schema = Ident::known(&self.brand.schema()).to_string();
        let pool = self.warehouse.pool();
        let sql = Statement::new(format!("SELECT * FROM {schema}.{MODELS} WHERE store_id = $1 AND series = $2"));
        let found = sqlx::query(sql.safe()).bind(store_id).bind(&self.of.series).fetch_optional(pool).await;
        let row = match found {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(error) if is_not_there(&error) => return Ok(None),
            Err(source) => return Err(failed(ACTION)(source)),
        };
        let made_on: NaiveDate = row.get("made_on");
        let sql = Statement::new(format!(
            "SELECT business_date, daypart, ARRAY[mean, median, lower_80, upper_80, lower_95, upper_95]::float8[] AS v
             FROM {schema}.{TABLE} WHERE store_id = $1 AND series = $2 AND business_date > $3
             ORDER BY business_date, daypart"
        ));
        let points = sqlx::query(sql.safe()).bind(store_id).bind(&self.of.series).bind(made_on).fetch_all(pool).await;
        let points = points.map_err(failed(ACTION))?;
        let sql = Statement::new(format!(
            "SELECT * FROM {schema}.{REASONS} WHERE store_id = $1 AND series = $2 ORDER BY business_date, part <> 'level', part"
        ));
        let reasons = sqlx::query(sql.safe()).bind(store_id).bind(&self.of.series).fetch_all(pool).await;
        let reasons = reasons.map_err(failed(ACTION))?;
        let sql = Statement::new(format!(
            "SELECT {step} AS day, sum({value})::float8 AS value FROM {path}
             WHERE store_id = $1 AND {date} BETWEEN $2 AND $3 AND {value} IS NOT NULL GROUP BY 1 ORDER BY 1",
            step = self.step(),
            date = self.date(),
            value = Ident::known(&self.of.value),
            path = self.path(),
        ));
        let first = self.of.grain.of_panel().back(made_on, days.max(1) as usize) + Days::new(1);
        let past = sqlx::query(sql.safe()).bind(store_id).bind(first).bind(made_on).fetch_all(pool).await;
        let past = past.map_err(failed(ACTION))?;
        let mut ahead: BTreeMap<NaiveDate, Ahead> = BTreeMap::new();
        for point in points.iter().filter(|point| point.get::<String, _>("daypart") == DAY) {
            let v: Vec<f64> = point.get("v");
            let date = point.get("business_date");
            let one = Ahead {
                date,
                mean: v[0],
                median: v[1],
                lower_80: v[2],
                upper_80: v[3],
                lower_95: v[4],
                upper_95: v[5],
                because: Vec::new(),
                dayparts: Vec::new(),
            };
            ahead.insert(date, one);
        }
        for point in points.iter().filter(|point| point.get::<String, _>("daypart") != DAY) {
            let v: Vec<f64> = point.get("v");
            if let Some(day) = ahead.get_mut(&point.get::<NaiveDate, _>("business_date")) {
                day.dayparts.push((point.get("daypart"), v[0]));
            }
        }
        for reason in &reasons {
            if let Some(day) = ahead.get_mut(&reason.get::<NaiveDate, _>("business_date")) {
                day.because.push(Reason {
                    part: reason.get("part"),
                    amount: reason.get("amount"),
                    multiplies: reason.get("multiplies"),
                    clipped: reason.get("clipped"),
                    closed: reason.get("closed"),
                });
            }
        }
        let flags: String = row.get("flags");
        Ok(Some(Shown {
            brand: self.brand.clone(),
            store_id: store_id.to_owned(),
            series: self.of.series.clone(),
            status: row.get("status"),
            model: row.get("model"),
            reason: row.get("reason"),
            fallback_reason: row.get("fallback_reason"),
            grain: self.of.grain,
            flags: flags.split_whitespace().map(str::to_owned).collect(),
            made_on,
            tested_days: row.get("tested_days"),
            wape: row.get("wape"),
            mase: row.get("mase"),
            bias: row.get("bias"),
            coverage_80: row.get("coverage_80"),
            coverage_95: row.get("coverage_95"),
            ahead: ahead.into_values().collect(),
            history: past.iter().map(|row| Past { date: row.get("day"), value: row.get("value") }).collect(),
        }))
    }

    /// What holidays and the like do to a store, the largest first.
    pub(super) async fn effects(&self, store_id: &str) -> Result<Vec<EffectShown>, Error> {
        let sql = Statement::new(format!(
            "SELECT effect, estimate, deviation, pooled, seen_days FROM {}.{EFFECTS}
             WHERE store_id = $1 AND series = $2 ORDER BY abs(estimate) DESC, effect",
            Ident::known(&self.brand.schema())
        ));
        let rows = sqlx::query(sql.safe()).bind(store_id).bind(&self.of.series).fetch_all(self.warehouse.pool()).await;
        let one = |row: &PgRow| EffectShown {
            effect: row.get("effect"),
            estimate: row.get("estimate"),
            deviation: row.get("deviation"),
            pooled: row.get("pooled"),
            seen_days: row.get("seen_days"),
        };
        Ok(rows.map_err(failed("read what the calendar does to a store"))?.iter().map(one).collect())
    }
}

/// What a day of the calendar does to a store, on the log scale.
#[derive(Debug, Clone, Serialize)]
pub struct EffectShown {
    /// Its name, e.g. `holiday:thanksgiving`.
    pub effect: String,
    /// 0.1 is 10.5 percent more.
    pub estimate: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// What the other stores make of it.
    pub pooled: Option<f64>,
    /// Days of this store that have seen it.
    pub seen_days: i64,
}
