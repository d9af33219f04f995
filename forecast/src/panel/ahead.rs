//! What comes after the calendar: time-series models on the adjusted series.

use super::model::Model;
use crate::arima::{self, Fitted, Order, Precision, Regressors};
use crate::ets::{self, ErrorKind, Season, Shape, Trend};
use crate::theta::{self, Method};

/// Days of the adjusted series that a model is fitted to.
const MEMORY_DAYS: usize = 800;
const WEEK: usize = 7;
/// Orders p, q, P, Q that are compared, all with one weekly difference: their criteria are comparable.
const ORDERS: [[usize; 4]; 5] = [[1, 1, 0, 1], [2, 1, 0, 1], [1, 1, 0, 2], [1, 1, 1, 2], [2, 2, 1, 1]];

/// Means and standard deviations ahead, on the scale of the adjusted series.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    pub(super) mean: Vec<f64>,
    pub(super) deviation: Vec<f64>,
    /// Where the next fit may begin.
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

/// Fits a model to the adjusted series, which has no gaps, and looks ahead. `start` is an
/// earlier fit's parameters.
pub(super) fn ahead(model: Model, adjusted: &[f64], horizon: usize, start: Option<&[f64]>) -> Result<Ahead, String> {
    let adjusted = &adjusted[adjusted.len().saturating_sub(MEMORY_DAYS)..];
    let made = match model {
        Model::CalendarSarima => {
            let fitted = sarima(adjusted, [1, 1, 0, 1], start)?;
            looked(&fitted, horizon, fitted.coefficients.clone())
        }
        Model::CalendarSarimaSearched => searched(adjusted, horizon, start),
        Model::CalendarEts => smoothed(adjusted, horizon),
        Model::CalendarTheta => bent(adjusted, horizon),
        Model::SeasonalNaive => Ok(same_weekdays(adjusted, horizon, 1)),
        Model::SameWeekdays => Ok(same_weekdays(adjusted, horizon, 4)),
        other => Err(format!("`{other}` does not look ahead by itself")),
    };
    made?.checked(horizon)
}

fn sarima(
    adjusted: &[f64],
    [p, q, seasonal_p, seasonal_q]: [usize; 4],
    start: Option<&[f64]>,
) -> Result<Fitted, String> {
    let values: Vec<Option<f64>> = adjusted.iter().copied().map(Some).collect();
    let order = Order::plain(p, 0, q).seasonal(seasonal_p, 1, seasonal_q, WEEK);
    let start = start.filter(|row| row.len() == order.coefficients());
    arima::fit_with(&values, order, &Regressors::none(), start, Precision::Search).map_err(|error| error.to_string())
}

fn looked(fitted: &Fitted, horizon: usize, parameters: Vec<f64>) -> Result<Ahead, String> {
    let steps = fitted.forecast(horizon, &Regressors::none()).map_err(|error| error.to_string())?;
    Ok(Ahead {
        mean: steps.iter().map(|step| step.mean).collect(),
        deviation: steps.iter().map(|step| step.standard_error.hypot(step.coefficient_error)).collect(),
        parameters,
    })
}

/// The best order of a short list by AICc; an order that was found before is only fitted anew.
fn searched(adjusted: &[f64], horizon: usize, start: Option<&[f64]>) -> Result<Ahead, String> {
    let known = start.filter(|row| row.len() > 4).map(|row| (std::array::from_fn(|at| row[at] as usize), &row[4..]));
    let (order, fitted) = match known {
        Some((order, coefficients)) => (order, sarima(adjusted, order, Some(coefficients))?),
        None => {
            let fits = ORDERS.iter().filter_map(|order| Some((*order, sarima(adjusted, *order, None).ok()?)));
            let best = fits.min_by(|(_, a), (_, b)| a.aicc.total_cmp(&b.aicc));
            best.ok_or_else(|| "no order could be fitted".to_owned())?
        }
    };
    let mut parameters: Vec<f64> = order.iter().map(|size| *size as f64).collect();
    parameters.extend(&fitted.coefficients);
    looked(&fitted, horizon, parameters)
}

/// Additive on the log scale is multiplicative in sales.
fn smoothed(adjusted: &[f64], horizon: usize) -> Result<Ahead, String> {
    let values: Vec<Option<f64>> = adjusted.iter().copied().map(Some).collect();
    let shape = Shape { error: ErrorKind::Additive, trend: Trend::None, season: Season::Additive, period: WEEK };
    let steps = ets::fit(&values, shape).map_err(|error| error.to_string())?.forecast(horizon);
    Ok(Ahead {
        mean: steps.iter().map(|step| step.mean).collect(),
        deviation: steps.iter().map(|step| step.standard_error).collect(),
        parameters: Vec::new(),
    })
}

/// Theta with the weekdays as differences: the last value becomes zero, so that none are factors.
fn bent(adjusted: &[f64], horizon: usize) -> Result<Ahead, String> {
    let last = adjusted.last().copied().unwrap_or(0.0);
    let values: Vec<Option<f64>> = adjusted.iter().map(|value| Some(value - last)).collect();
    let made = theta::theta(&values, WEEK, horizon, Method::DynamicOptimized).map_err(|error| error.to_string())?;
    Ok(Ahead {
        mean: made.steps.iter().map(|step| step.mean + last).collect(),
        deviation: made.steps.iter().map(|step| step.standard_error).collect(),
        parameters: Vec::new(),
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
