//! What comes after the calendar: time-series models on the adjusted series.

use super::model::Model;
use crate::forecast::arima::{self, Order, Precision, Regressors};

/// Days of the adjusted series that a model is fitted to.
pub(super) const MEMORY_DAYS: usize = 800;
const WEEK: usize = 7;

/// Means and standard deviations ahead, on the scale of the adjusted series.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    pub(super) mean: Vec<f64>,
    pub(super) deviation: Vec<f64>,
    pub(super) parameters: Vec<f64>,
}

impl Ahead {
    fn checked(self, horizon: usize) -> Result<Self, String> {
        let fine = self.mean.len() == horizon
            && self.mean.iter().chain(&self.deviation).all(|value| value.is_finite())
            && self.deviation.iter().all(|value| *value >= 0.0);
        if fine { Ok(self) } else { Err("its forecast is not finite".to_owned()) }
    }
}

/// Fits a model to the adjusted series, which has no gaps, and looks ahead.
pub(super) fn ahead(model: Model, adjusted: &[f64], horizon: usize, start: Option<&[f64]>) -> Result<Ahead, String> {
    let adjusted = &adjusted[adjusted.len().saturating_sub(MEMORY_DAYS)..];
    let result = match model {
        Model::CalendarSarima => sarima(adjusted, Order::plain(1, 0, 1).seasonal(0, 1, 1, WEEK), horizon, start),
        Model::SeasonalNaive => Ok(same_weekdays(adjusted, horizon, 1)),
        Model::SameWeekdays => Ok(same_weekdays(adjusted, horizon, 4)),
        other => Err(format!("`{other}` does not look ahead by itself")),
    };
    result?.checked(horizon)
}

fn sarima(adjusted: &[f64], order: Order, horizon: usize, start: Option<&[f64]>) -> Result<Ahead, String> {
    let values: Vec<Option<f64>> = adjusted.iter().copied().map(Some).collect();
    let none = Regressors::none();
    let fitted = arima::fit_with(&values, order, &none, start, Precision::Search).map_err(|error| error.to_string())?;
    let steps = fitted.forecast(horizon, &none).map_err(|error| error.to_string())?;
    Ok(Ahead {
        mean: steps.iter().map(|step| step.mean).collect(),
        deviation: steps.iter().map(|step| step.standard_error.hypot(step.coefficient_error)).collect(),
        parameters: fitted.coefficients,
    })
}

/// The mean of the last `weeks` same weekdays; its spread is that of the same forecast in the past.
fn same_weekdays(adjusted: &[f64], horizon: usize, weeks: usize) -> Ahead {
    let mean_before = |end: usize, weekday_of: usize| -> Option<f64> {
        // The latest `weeks` days before `end` that are whole weeks away from `weekday_of`.
        let mut at = weekday_of;
        while at >= end {
            at = at.checked_sub(WEEK)?;
        }
        let days: Vec<f64> =
            (0..weeks).map_while(|week| at.checked_sub(week * WEEK)).map(|day| adjusted[day]).collect();
        Some(days.iter().sum::<f64>() / days.len() as f64)
    };
    let length = adjusted.len();
    let squares: Vec<f64> =
        (weeks * WEEK..length).filter_map(|day| Some((adjusted[day] - mean_before(day, day)?).powi(2))).collect();
    let spread = (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt();
    let mean: Vec<f64> = (0..horizon).map(|step| mean_before(length, length + step).unwrap_or(f64::NAN)).collect();
    let deviation = (0..horizon).map(|step| spread * (1.0 + 0.15 * (step / WEEK) as f64)).collect();
    Ahead { mean, deviation, parameters: Vec::new() }
}
