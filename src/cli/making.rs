//! What follows a load: forecasts of its table, hours of work for what they expect, and their exports.

use std::collections::BTreeSet;

use super::Failure;
use super::export::export_after;
use crate::app::App;
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::{Engine, Error, Follows, ForecastOf, Pipeline, RunReport, StaffingOf, Trigger};

/// Makes what rests on tables.
pub(super) struct Making<'a> {
    pub(super) app: &'a App,
    pub(super) engine: &'a Engine,
    pub(super) pipelines: &'a [Pipeline],
    pub(super) trigger: Trigger,
}

/// What came of it so far; it stands also where the next step fails.
#[derive(Default)]
pub(super) struct MadeSoFar {
    pub(super) runs: Vec<RunReport>,
    /// Series that were forecast.
    pub(super) series: usize,
    /// Stores with hours of work.
    pub(super) staffed: usize,
    /// What there is no forecast of, and no hours for.
    pub(super) withheld: Vec<String>,
}

impl Making<'_> {
    /// Forecasts each series of a pipeline that `wanted` picks, and exports them when all stand.
    pub(super) async fn forecasts(
        &self,
        pipeline: &Pipeline,
        brand: &BrandId,
        made: &mut MadeSoFar,
        wanted: impl Fn(&ForecastOf) -> bool,
    ) -> Result<(), Error> {
        let forecasts: Vec<&ForecastOf> = pipeline.definition.forecasts.iter().filter(|of| wanted(of)).collect();
        let mut fine = !forecasts.is_empty();
        for of in forecasts {
            fine &= self.forecast(pipeline, of, brand, made).await?;
        }
        if fine {
            made.runs.extend(export_after(self.engine, pipeline, brand, Follows::Forecast, self.trigger).await?);
        }
        Ok(())
    }

    async fn forecast(
        &self,
        pipeline: &Pipeline,
        of: &ForecastOf,
        brand: &BrandId,
        made: &mut MadeSoFar,
    ) -> Result<bool, Error> {
        let horizon_days = self.app.settings.forecast.horizon_days;
        let forecast = self.engine.forecast(pipeline, of, brand, horizon_days, self.trigger).await?;
        made.series += forecast.series;
        made.withheld.extend(forecast.withheld.iter().map(|reason| format!("{brand}: {}: {reason}", of.series)));
        let fine = forecast.report.status.is_fine();
        made.runs.push(forecast.report);
        Ok(fine)
    }

    /// Makes the hours of work of each pipeline that `wanted` picks, and exports them.
    pub(super) async fn hours(
        &self,
        brand: &BrandId,
        made: &mut MadeSoFar,
        wanted: impl Fn(&Pipeline, &StaffingOf) -> bool,
    ) -> Result<(), Error> {
        for pipeline in self.pipelines.iter().filter(|pipeline| pipeline.serves(brand)) {
            let Some(of) = pipeline.definition.staffing.as_ref().filter(|of| wanted(pipeline, of)) else { continue };
            let staffed = self.engine.staff(self.pipelines, (pipeline, of), brand, self.trigger).await?;
            made.staffed += staffed.stores;
            made.withheld.extend(staffed.withheld.iter().map(|reason| format!("{brand}: {}: {reason}", of.series)));
            let fine = staffed.report.status.is_fine();
            made.runs.push(staffed.report);
            if fine {
                made.runs.extend(export_after(self.engine, pipeline, brand, Follows::Staffing, self.trigger).await?);
            }
        }
        Ok(())
    }
}

/// Makes again what was made of loads that were taken back, and exports it.
pub(super) async fn make_stale_again(
    app: &App,
    engine: &Engine,
    pipelines: &[Pipeline],
) -> Result<Vec<RunReport>, Failure> {
    let stale = engine.stale().await?;
    let making = Making { app, engine, pipelines, trigger: Trigger::Undo };
    let mut made = MadeSoFar::default();
    let brands: BTreeSet<&BrandId> = stale.iter().map(|(_, brand)| brand).collect();
    for brand in brands {
        let is_stale = |name: PipelineName| stale.iter().any(|(one, of)| *one == name && of == brand);
        for pipeline in pipelines {
            making.forecasts(pipeline, brand, &mut made, |of| is_stale(of.pipeline())).await?;
        }
        making.hours(brand, &mut made, |_, of| is_stale(of.pipeline())).await?;
    }
    Ok(made.runs)
}
