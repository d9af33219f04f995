//! Forecasts what a pipeline's table holds, and loads it like anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::{Days, NaiveDate};
use sha2::{Digest as _, Sha256};

use super::definition::{ForecastOf, Pipeline};
use super::error::Error;
use super::report::{FileReport, RunReport, Status, Trigger};
use super::runner::Engine;
use super::tables::{self, History};
use super::turn_tables::Turn;
use crate::forecast::{self, Point, seasonal_naive};
use crate::ids::{BrandId, PipelineName};
use crate::warehouse::{FileEntry, LoadError, Table, WriteDisposition, columns_of};

/// The table of forecasts in each brand's schema.
pub const TABLE: &str = "forecast";
/// A series that ended so long before the others is not forecast: its store is closed.
const STALE_DAYS: i64 = 28;
/// Seasons of history that a forecast rests on.
pub(super) const SEASONS_KEPT: u32 = 26;
const MODEL: &str = "seasonal_naive";

/// What a forecast came to.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The run, like any other.
    pub report: RunReport,
    /// Series that were forecast.
    pub series: usize,
    /// Series that were not, with the reason.
    pub withheld: Vec<String>,
}

impl ForecastOf {
    /// The name under which its runs are noted.
    pub fn pipeline(&self) -> PipelineName {
        PipelineName(format!("forecast_{}", self.series))
    }
}

impl Engine {
    /// Lists what is to be made again, because loads that it was made of were taken back.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn stale(&self) -> Result<Vec<(PipelineName, BrandId)>, Error> {
        tables::stale(&self.warehouse).await
    }

    /// Forecasts each series of a pipeline's table, `horizon_days` behind its last
    /// day. The same history makes the same forecast, and then there is nothing new.
    ///
    /// # Errors
    /// When the run could not even be noted.
    pub async fn forecast(
        &self,
        pipeline: &Pipeline,
        of: &ForecastOf,
        brand: &BrandId,
        horizon_days: u32,
        trigger: Trigger,
    ) -> Result<Forecast, Error> {
        let name = of.pipeline();
        let turn = Turn::take(&self.warehouse, &name, brand).await?;
        let (report, started) = self.open(&name, brand, trigger).await?;
        let mut forecast = Forecast { report, series: 0, withheld: Vec::new() };
        let outcome = self.forecast_and_load(&turn, pipeline, of, brand, horizon_days, &mut forecast).await;
        forecast.report = self.settle(forecast.report, started, outcome);
        tables::close_run_alone(&self.warehouse, &forecast.report, self.clock.now()).await?;
        turn.give_back().await;
        Ok(forecast)
    }

    async fn forecast_and_load(
        &self,
        turn: &Turn,
        pipeline: &Pipeline,
        of: &ForecastOf,
        brand: &BrandId,
        horizon_days: u32,
        forecast: &mut Forecast,
    ) -> Result<(), Error> {
        let source = &pipeline.definition.destination.table;
        let history = tables::history(&self.warehouse, brand, source, &of.value, &of.date).await?;
        // After the history: a load that came in between counts as read, which costs one forecast more at worst.
        let input = tables::last_load(&self.warehouse, brand, source).await?;
        let Some(last_day) = history.iter().map(|day| day.date).max() else {
            forecast.withheld.push(format!("`{source}` holds no history"));
            return Ok(());
        };
        let made = make(&history, of, last_day, horizon_days)?;
        forecast.series = made.series;
        forecast.withheld.clone_from(&made.withheld);
        let entry = FileEntry {
            name: format!("forecast:{}", of.series),
            content_hash: made.content_hash.clone(),
            ..FileEntry::default()
        };
        let report = &mut forecast.report;
        if tables::same_content(&self.warehouse, &report.pipeline, brand, &entry.name, &entry.content_hash).await? {
            let mut connection = self.warehouse.pool().acquire().await.map_err(tables::failed("note the forecast"))?;
            return tables::no_longer_stale(&mut connection, &report.pipeline, brand).await;
        }
        let table = table(brand, &made.batch.schema());
        let failed = |source: LoadError| Error::Load { table: TABLE.to_owned(), source };
        let mut load = self.begin(turn, report, table).await?;
        let file_id = load.open_file(&entry).await.map_err(failed)?;
        let rows = made.batch.num_rows() as u64;
        let schema = made.batch.schema();
        load.copy(file_id, &schema, futures::stream::iter([Ok(made.batch)]), failed).await?;
        load.close_file(file_id, None, rows).await.map_err(failed)?;
        let counts = load.merge().await.map_err(failed)?;
        let (name, content_hash) = (entry.name, entry.content_hash);
        report.files.push(FileReport { name, content_hash, rows_read: rows, ..FileReport::default() });
        report.rows_read = rows;
        report.count(counts);
        if !made.withheld.is_empty() {
            report.notes.push(format!("{} series withheld, e.g. {}", made.withheld.len(), made.withheld[0]));
        }
        report.status = Status::Succeeded;
        tables::note_inputs(&mut load, &input.into_iter().collect::<Vec<_>>()).await?;
        tables::no_longer_stale(load.connection(), &report.pipeline, brand).await?;
        tables::close_run(load.connection(), report, self.clock.now()).await?;
        load.commit(self.clock.now()).await.map_err(failed)
    }
}

fn schema() -> SchemaRef {
    let money = DataType::Decimal128(14, 2);
    Arc::new(Schema::new(vec![
        Field::new("store_id", DataType::Utf8, false),
        Field::new("series", DataType::Utf8, false),
        Field::new("business_date", DataType::Date32, false),
        Field::new("daypart", DataType::Utf8, false),
        Field::new("lead_days", DataType::Int64, false),
        Field::new("mean", money.clone(), false),
        Field::new("median", money.clone(), false),
        Field::new("lower_80", money.clone(), false),
        Field::new("upper_80", money.clone(), false),
        Field::new("lower_95", money.clone(), false),
        Field::new("upper_95", money, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("made_on", DataType::Date32, false),
    ]))
}

/// The table of a brand's forecasts.
pub fn forecast_table(brand: &BrandId) -> Table {
    table(brand, &schema())
}

fn table(brand: &BrandId, schema: &Schema) -> Table {
    Table {
        schema: brand.schema(),
        name: TABLE.to_owned(),
        columns: columns_of(schema).expect("each of our columns can be stored"),
        key: ["store_id", "series", "business_date", "daypart"].map(str::to_owned).to_vec(),
        partition_by: Some("business_date".to_owned()),
        window: Vec::new(),
        disposition: WriteDisposition::Merge,
        indexes: vec![["business_date", "store_id"].map(str::to_owned).to_vec()],
    }
}

/// Rows ready to load.
struct Made {
    batch: RecordBatch,
    series: usize,
    withheld: Vec<String>,
    content_hash: String,
}

fn make(history: &[History], of: &ForecastOf, last_day: NaiveDate, horizon_days: u32) -> Result<Made, Error> {
    let failed = |source| Error::Forecast { series: of.series.clone(), source };
    if of.season_days == 0 {
        return Err(failed(forecast::Error::NoSeason));
    }
    let kept = u64::from(of.season_days * SEASONS_KEPT);
    let first_day = last_day.checked_sub_days(Days::new(kept.saturating_sub(1))).unwrap_or(last_day);
    let length = (last_day - first_day).num_days() as usize + 1;
    let mut by_series: BTreeMap<(&str, &str), Vec<Option<f64>>> = BTreeMap::new();
    let mut last_seen: BTreeMap<(&str, &str), NaiveDate> = BTreeMap::new();
    let mut hash = Sha256::new();
    hash.update(format!("{MODEL} {} {horizon_days} {last_day}", of.season_days));
    for day in history {
        let key = (day.store_id.as_str(), day.daypart.as_str());
        last_seen.insert(key, day.date);
        let Ok(at) = usize::try_from((day.date - first_day).num_days()) else { continue };
        by_series.entry(key).or_insert_with(|| vec![None; length])[at] = Some(day.value);
        hash.update(format!("{key:?} {} {}\n", day.date, day.value));
    }
    let mut rows = Rows::default();
    let mut withheld = Vec::new();
    let mut series = 0;
    for ((store_id, daypart), values) in &by_series {
        let quiet = (last_day - last_seen[&(*store_id, *daypart)]).num_days();
        if quiet > STALE_DAYS {
            withheld.push(format!("{store_id} {daypart}: nothing for {quiet} days"));
            continue;
        }
        match seasonal_naive(values, of.season_days as usize, horizon_days as usize) {
            Ok(points) => {
                series += 1;
                let never_negative = values.iter().flatten().all(|value| *value >= 0.0);
                for (ahead, point) in points.iter().enumerate() {
                    let Some(point) = point else { continue };
                    rows.push(store_id, daypart, last_day, ahead + 1, point, never_negative);
                }
            }
            Err(error) => withheld.push(format!("{store_id} {daypart}: {error}")),
        }
    }
    let content_hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Made { batch: rows.batch(&of.series, last_day), series, withheld, content_hash })
}

#[derive(Default)]
struct Rows {
    stores: Vec<String>,
    dayparts: Vec<String>,
    dates: Vec<i32>,
    leads: Vec<i64>,
    values: [Vec<i128>; 6],
}

impl Rows {
    fn push(
        &mut self,
        store_id: &str,
        daypart: &str,
        last_day: NaiveDate,
        lead: usize,
        point: &Point,
        never_negative: bool,
    ) {
        let date = last_day.checked_add_days(Days::new(lead as u64)).unwrap_or(last_day);
        self.stores.push(store_id.to_owned());
        self.dayparts.push(daypart.to_owned());
        self.dates.push(Date32Type::from_naive_date(date));
        self.leads.push(lead as i64);
        let values = [
            point.mean,
            point.median,
            point.interval_80.0,
            point.interval_80.1,
            point.interval_95.0,
            point.interval_95.1,
        ];
        for (column, value) in self.values.iter_mut().zip(values) {
            let value = if never_negative { value.max(0.0) } else { value };
            column.push((value * 100.0).round() as i128);
        }
    }

    fn batch(self, series: &str, last_day: NaiveDate) -> RecordBatch {
        let rows = self.stores.len();
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.stores)),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(series, rows))),
            Arc::new(Date32Array::from(self.dates)),
            Arc::new(StringArray::from(self.dayparts)),
            Arc::new(Int64Array::from(self.leads)),
        ];
        for values in self.values {
            let column =
                Decimal128Array::from(values).with_precision_and_scale(14, 2).expect("14 digits hold a day's value");
            arrays.push(Arc::new(column));
        }
        arrays.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(MODEL, rows))));
        let made_on = Date32Type::from_naive_date(last_day);
        arrays.push(Arc::new(Date32Array::from_iter_values(std::iter::repeat_n(made_on, rows))));
        RecordBatch::try_new(schema(), arrays).expect("each column got each row")
    }
}
