//! A run of the forecast.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::definition::ForecastOf;
use super::events;
use super::history::{History, Kind};
use super::rows::{Said, batches, forecast_tables};
use super::shares::Shares;
use super::tables::Source;
use super::watch;
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::definition::Pipeline;
use crate::pipelines::error::Error;
use crate::pipelines::made::Made;
use crate::pipelines::report::{RunReport, Trigger};
use crate::pipelines::runner::Engine;
use crate::pipelines::tables;
use crate::pipelines::turn_tables::Turn;
use crate::warehouse::lineage::{self, Relation};
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

impl Engine {
    /// Lists what is to be made again, because loads that it was made of were taken back.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn stale(&self) -> Result<Vec<(PipelineName, BrandId)>, Error> {
        tables::stale(&self.warehouse).await
    }

    /// Whether a forecast of a pipeline's table, or hours of work for it, are still to be made since its last load:
    /// whoever should have made them died before.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn is_behind(&self, pipelines: &[Pipeline], pipeline: &Pipeline, brand: &BrandId) -> Result<bool, Error> {
        let forecasts = &pipeline.definition.forecasts;
        let staffed = pipelines.iter().filter(|one| one.serves(brand)).filter_map(|one| {
            let of = one.definition.staffing.as_ref()?;
            let rests = one.name == pipeline.name || forecasts.iter().any(|forecast| forecast.series == of.demand);
            rests.then(|| of.pipeline())
        });
        let makers: Vec<PipelineName> = forecasts.iter().map(ForecastOf::pipeline).chain(staffed).collect();
        tables::behind(&self.warehouse, &makers, brand, &pipeline.definition.destination.table).await
    }

    /// Forecasts each store of a pipeline's table, `horizon_days` (or what the definition says) behind the last day that
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
        let horizon_days = of.horizon_days.unwrap_or(horizon_days);
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
        let history = History::of(source.days().await?, of.grain);
        // After the history: a load that came in between counts as read, which costs one forecast more at worst.
        let mut inputs = Vec::new();
        for table in [Some(table), of.events.as_ref()].into_iter().flatten() {
            inputs.extend(tables::last_load(&self.warehouse, brand, table).await?);
        }
        if let Some(parts) = &of.dayparts_from {
            inputs.extend(self.loads_below(brand, parts).await?);
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
        let horizon = of.grain.steps(horizon_days);
        let kind = Kind { name: of.series.clone(), horizon, multiplies: of.scale.multiplies() };
        let last_day = history.last_day;
        let parts = source.dayparts(last_day).await?;
        let (name, content_hash) = (format!("forecast:{}", of.series), history.content_hash(&kind, &known, &parts));
        if self.made_before(&forecast.report, &name, &content_hash).await? {
            return Ok(());
        }
        let shares = of.daypart.as_ref().map(|_| Shares::learn(&parts));
        let earlier = source.earlier().await?;
        let [forecasts, ..] = forecast_tables(brand);
        let realised = source.realised(last_day, &forecasts).await?;
        let previous: BTreeMap<String, Champion> = earlier
            .iter()
            .filter_map(|(store_id, earlier)| Some((store_id.clone(), earlier.champion.clone()?)))
            .collect();
        let made = tokio::task::spawn_blocking(move || history.forecast(&kind, &known, &previous));
        let (made, correlation) = made.await.map_err(|_| Error::Forecast { series: of.series.clone() })?;
        for one in &made {
            if one.status == panel::Status::Withheld {
                let why = one.fallback_reason.as_deref().unwrap_or(&one.reason);
                forecast.withheld.push(format!("{}: {why}", one.id));
            } else {
                forecast.series += 1;
            }
        }
        forecast.report.notes.extend(watch::notes(of.grain, &realised, &earlier));
        if let Some(first) = forecast.withheld.first() {
            forecast.report.notes.push(format!("{} series withheld, e.g. {first}", forecast.withheld.len()));
        }
        if forecast.series == 0 {
            return Ok(());
        }
        // Tables without rows as well: one that is there is one that a dashboard can ask.
        let said = Said { made: &made, correlation, shares: shares.as_ref(), earlier: &earlier, realised: &realised };
        let batches = batches(brand, &of.series, &said, last_day);
        let made = Made { batches, content_hash, name, series: of.series.clone(), inputs };
        self.load_made(turn, &mut forecast.report, made).await
    }
}

impl Engine {
    /// The last loads of the tables that a table or view of a brand rests on.
    async fn loads_below(&self, brand: &BrandId, name: &str) -> Result<Vec<i64>, Error> {
        let Some(relation) = Relation::find(&self.warehouse, brand, name).await.map_err(Error::Basis)? else {
            return Ok(Vec::new());
        };
        let (bases, _) = lineage::bases(&self.warehouse, &relation).await.map_err(Error::Basis)?;
        let mut loads = Vec::new();
        for (_, table) in bases.iter().filter(|(schema, _)| *schema == brand.schema()) {
            loads.extend(tables::last_load(&self.warehouse, brand, table).await?);
        }
        Ok(loads)
    }
}

/// Holidays from the first day of the history to the end of the horizon.
fn holidays(of: &ForecastOf, history: &History, horizon_days: u32) -> Result<Vec<Event>, Error> {
    let Some(country) = &of.holidays else { return Ok(Vec::new()) };
    let holidays = Holidays::of_country(country).map_err(Error::Holidays)?;
    let last: NaiveDate = history.last_day + Days::new(u64::from(horizon_days) + 7);
    Ok(holidays.between(None, history.first_day(), last))
}
