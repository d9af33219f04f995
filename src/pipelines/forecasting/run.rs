//! A run of the forecast.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::events;
use super::history::History;
use super::rows::{Batch, batches, forecast_tables};
use super::shares::Shares;
use super::tables::Source;
use super::watch;
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::definition::{ForecastOf, Pipeline};
use crate::pipelines::error::Error;
use crate::pipelines::report::{FileReport, RunReport, Status, Trigger};
use crate::pipelines::runner::Engine;
use crate::pipelines::tables;
use crate::pipelines::turn_tables::Turn;
use crate::warehouse::{FileEntry, LoadError};
use forecast::calendar::{Event, Holidays};
use forecast::panel::{self, Champion};

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

    /// Forecasts each store of a pipeline's table, `horizon_days` behind the last day that
    /// any of them reported. The same history makes the same forecast, and then there is
    /// nothing new.
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
        let table = &pipeline.definition.destination.table;
        let source = Source { warehouse: &self.warehouse, brand, table, of };
        let history = History::of(source.days().await?);
        // After the history: a load that came in between counts as read, which costs one forecast more at worst.
        let mut inputs = Vec::new();
        for table in [Some(table), of.events.as_ref()].into_iter().flatten() {
            inputs.extend(tables::last_load(&self.warehouse, brand, table).await?);
        }
        let Some(history) = history else {
            forecast.withheld.push(format!("`{table}` holds no history"));
            return Ok(());
        };
        let planned = match &of.events {
            Some(events) => source.events(events).await?,
            None => Vec::new(),
        };
        let (known, notes) = events::known(holidays(of, &history, horizon_days)?, planned);
        forecast.report.notes.extend(notes);
        let (name, content_hash) =
            (format!("forecast:{}", of.series), history.content_hash(&of.series, horizon_days, &known));
        let report = &mut forecast.report;
        if tables::same_content(&self.warehouse, &report.pipeline, brand, &name, &content_hash).await? {
            let mut connection = self.warehouse.pool().acquire().await.map_err(tables::failed("note the forecast"))?;
            return tables::no_longer_stale(&mut connection, &report.pipeline, brand).await;
        }
        let last_day = history.last_day;
        let shares = match &of.daypart {
            Some(_) => Some(Shares::learn(&source.dayparts(last_day).await?)),
            None => None,
        };
        let earlier = source.earlier().await?;
        let [forecasts, ..] = forecast_tables(brand);
        let realised = source.realised(last_day, &forecasts).await?;
        let previous: BTreeMap<String, Champion> = earlier
            .iter()
            .filter_map(|(store_id, earlier)| Some((store_id.clone(), earlier.champion.clone()?)))
            .collect();
        let group = of.series.clone();
        let made = tokio::task::spawn_blocking(move || history.forecast(&group, &known, &previous, horizon_days));
        let made = made.await.map_err(|_| Error::Forecast { series: of.series.clone() })?;
        for one in &made {
            if one.status == panel::Status::Withheld {
                let why = one.fallback_reason.as_deref().unwrap_or(&one.reason);
                forecast.withheld.push(format!("{}: {why}", one.id));
            } else {
                forecast.series += 1;
            }
        }
        forecast.report.notes.extend(watch::notes(&realised, &earlier));
        let mut batches = batches(brand, &of.series, &made, shares.as_ref(), &earlier, &realised, last_day);
        let Some(last) = batches.pop().filter(|last| last.rows.num_rows() > 0) else { return Ok(()) };
        // Without rows as well: a table that is there is one that a dashboard can ask.
        for batch in batches {
            let name = format!("{}:{}", batch.table.name, of.series);
            self.load_forecast(turn, forecast, batch, (&name, &content_hash), &inputs, false).await?;
        }
        self.load_forecast(turn, forecast, last, (&name, &content_hash), &inputs, true).await
    }

    /// Loads one of the tables, made of `inputs`, with which it is taken back; with the last, the run ends.
    async fn load_forecast(
        &self,
        turn: &Turn,
        forecast: &mut Forecast,
        batch: Batch,
        (name, content_hash): (&str, &str),
        inputs: &[i64],
        last: bool,
    ) -> Result<(), Error> {
        let report = &mut forecast.report;
        let into = batch.table.name.clone();
        let failed = |source: LoadError| Error::Load { table: into.clone(), source };
        let entry = FileEntry { name: name.to_owned(), content_hash: content_hash.to_owned(), ..FileEntry::default() };
        let mut load = self.begin(turn, report, batch.table).await?;
        let file_id = load.open_file(&entry).await.map_err(failed)?;
        let rows = batch.rows.num_rows() as u64;
        let schema = batch.rows.schema();
        load.copy(file_id, &schema, futures::stream::iter([Ok(batch.rows)]), failed).await?;
        load.close_file(file_id, None, rows).await.map_err(failed)?;
        let counts = load.merge().await.map_err(failed)?;
        tables::note_inputs(&mut load, inputs).await?;
        if last {
            let (name, content_hash) = (entry.name, entry.content_hash);
            report.files.push(FileReport { name, content_hash, rows_read: rows, ..FileReport::default() });
            report.rows_read = rows;
            report.count(counts);
            if let Some(first) = forecast.withheld.first() {
                report.notes.push(format!("{} series withheld, e.g. {first}", forecast.withheld.len()));
            }
            report.status = Status::Succeeded;
            tables::no_longer_stale(load.connection(), &report.pipeline, &report.brand).await?;
            tables::close_run(load.connection(), report, self.clock.now()).await?;
        }
        load.commit(self.clock.now()).await.map_err(failed)
    }
}

/// Holidays from the first day of the history to the end of the horizon.
fn holidays(of: &ForecastOf, history: &History, horizon_days: u32) -> Result<Vec<Event>, Error> {
    let Some(country) = &of.holidays else { return Ok(Vec::new()) };
    let holidays = Holidays::of_country(country).map_err(Error::Holidays)?;
    let last: NaiveDate = history.last_day + Days::new(u64::from(horizon_days) + 7);
    Ok(holidays.between(None, history.first_day(), last))
}
