//! The default for a series of which nothing is known but its values.
//!
//! The default is the mean of a seasonal ARIMA (of the values or of their logarithms, by their criteria
//! on one scale) and of exponential smoothing: two families that err differently. One of them,
//! or theta, takes its place where it was clearly better at several origins within the series; a few
//! origins of one series say too little to follow small leads. The season before is told beside
//! them as a yardstick, and forecasts where nothing else can.
//!
//! Sources: Makridakis, Spiliotis and Assimakopoulos, Int. J. Forecasting 36 (2020) (combinations in
//! M4); Tashman, Int. J. Forecasting 16 (2000) (rolling origins).

use super::arima::{self, Regressors, Space};
use super::stationarity::interpolated;
use super::step::Step;
use super::theta::{Method, theta};
use super::{FitError, ets, seasonal_naive};

/// Share of the default's error by which a single model must be better to take its place.
const LEAD: f64 = 0.10;
/// Origins at most.
const ORIGINS: usize = 3;
/// Steps left to learn from at the first origin, in seasons and in steps.
const LEAST: (usize, usize) = (3, 20);

/// What was tried, how wrong it was, and whether it has a part in the forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The model as it was fitted to the whole series.
    pub model: String,
    /// Mean absolute error over the origins; `None` where the series is too short for any.
    pub error: Option<f64>,
    /// Whether it has a part.
    pub chosen: bool,
}

/// A forecast and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Automatic {
    /// One forecast a step.
    pub steps: Vec<Step>,
    /// All that was tried.
    pub trials: Vec<Trial>,
}

#[derive(Clone, Copy)]
enum Candidate {
    Arima { order: arima::Order, logarithms: bool },
    Ets(ets::Shape),
    Theta,
    Naive,
}

/// A forecast of a logarithm as one of the value: the median, and a spread of the same share.
fn exponential(step: Step) -> Step {
    let mean = step.mean.exp();
    Step { mean, standard_error: mean * step.standard_error }
}

fn logarithms(values: &[Option<f64>]) -> Option<Vec<Option<f64>>> {
    let positive = values.iter().flatten().all(|value| *value > 0.0);
    positive.then(|| values.iter().map(|value| value.map(f64::ln)).collect())
}

/// The forecasts of a candidate from the first `cut` values, with its coefficients fitted to them.
fn forecast(
    candidate: Candidate,
    values: &[Option<f64>],
    season: usize,
    horizon: usize,
) -> Result<Vec<Step>, FitError> {
    let none = Regressors::none();
    match candidate {
        Candidate::Arima { order, logarithms: false } => {
            let fitted = arima::fit(values, order, &none, None)?;
            let steps = fitted.forecast(horizon, &none)?;
            Ok(steps.iter().map(|step| Step { mean: step.mean, standard_error: step.standard_error }).collect())
        }
        Candidate::Arima { order, logarithms: true } => {
            let logs = logarithms(values).unwrap_or_default();
            let steps = forecast(Candidate::Arima { order, logarithms: false }, &logs, season, horizon)?;
            Ok(steps.into_iter().map(exponential).collect())
        }
        Candidate::Ets(shape) => Ok(ets::fit(values, shape)?.forecast(horizon)),
        Candidate::Theta => Ok(theta(values, season, horizon, Method::Standard)?.steps),
        Candidate::Naive => {
            let filled: Vec<Option<f64>> = interpolated(values).into_iter().map(Some).collect();
            let points = seasonal_naive(&filled, season, horizon).map_err(|_| FitError::TooShort {
                model: "seasonal naive".to_owned(),
                observed: values.iter().flatten().count(),
                needed: 2 * season,
            })?;
            let width = |point: &seasonal_naive::Point| (point.interval_95.1 - point.mean) / 1.959_963_984_540_054;
            let steps = points.iter().flatten();
            Ok(steps.map(|point| Step { mean: point.mean, standard_error: width(point) }).collect())
        }
    }
}

/// The order of ARIMA, of the values or of their logarithms.
fn arima_candidate(values: &[Option<f64>], season: usize) -> Result<Candidate, FitError> {
    let none = Regressors::none();
    let plain = arima::search(values, &none, Space::new(season), None)?.best;
    let mut found = Candidate::Arima { order: plain.order, logarithms: false };
    if let Some(logs) = logarithms(values) {
        // At the same differences, so that the criteria are of the same observations.
        let space = Space { d: Some(plain.order.d), seasonal_d: Some(plain.order.seasonal_d), ..Space::new(season) };
        if let Ok(search) = arima::search(&logs, &none, space, None) {
            let best = search.best;
            if best.aicc + arima::log_jacobian(&logs, best.order.lost()) < plain.aicc {
                found = Candidate::Arima { order: best.order, logarithms: true };
            }
        }
    }
    Ok(found)
}

fn name(candidate: Candidate) -> String {
    match candidate {
        Candidate::Arima { order, logarithms } => format!("{order}{}", if logarithms { " of logarithms" } else { "" }),
        Candidate::Ets(shape) => shape.to_string(),
        Candidate::Theta => "theta".to_owned(),
        Candidate::Naive => "seasonal naive".to_owned(),
    }
}

/// The mean forecast of several models, step by step.
fn averaged(all: &[&Vec<Step>]) -> Vec<Step> {
    let count = all.len() as f64;
    let steps = all.iter().map(|steps| steps.len()).min().unwrap_or(0);
    (0..steps)
        .map(|ahead| Step {
            mean: all.iter().map(|steps| steps[ahead].mean).sum::<f64>() / count,
            // Errors of models of one series go together: their spreads are averaged, not shrunk.
            standard_error: all.iter().map(|steps| steps[ahead].standard_error).sum::<f64>() / count,
        })
        .collect()
}

/// Mean absolute error over the origins; `None` where an origin has no forecast.
fn error_of(forecasts: &[Option<Vec<Step>>], values: &[Option<f64>], origins: &[usize]) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for (steps, origin) in forecasts.iter().zip(origins) {
        for (step, value) in steps.as_ref()?.iter().zip(&values[*origin..]) {
            if let Some(value) = value {
                sum += (value - step.mean).abs();
                count += 1;
            }
        }
    }
    (count > 0 && f64::is_finite(sum)).then(|| sum / count as f64)
}

/// Forecasts `horizon` steps behind the end of `values`.
///
/// # Errors
/// When no model can be fitted at all.
pub fn automatic(values: &[Option<f64>], season: usize, horizon: usize) -> Result<Automatic, FitError> {
    let season = season.max(1);
    let observed = values.iter().flatten().count();
    if observed < 2 {
        return Err(FitError::TooShort { model: "any model".to_owned(), observed, needed: 2 });
    }
    let mut failed = None;
    let mut candidates: Vec<Candidate> = Vec::new();
    match arima_candidate(values, season) {
        Ok(candidate) => candidates.push(candidate),
        Err(error) => failed = Some(error),
    }
    match ets::search(values, season) {
        Ok(fitted) => candidates.push(Candidate::Ets(fitted.shape)),
        Err(error) => failed = Some(error),
    }
    let members = candidates.len();
    candidates.extend([Candidate::Theta, Candidate::Naive]);
    let origins = origins(values.len(), season, horizon);
    let sound =
        |steps: &Vec<Step>, count: usize| steps.len() == count && steps.iter().all(|step| step.mean.is_finite());
    let mut finals: Vec<Option<Vec<Step>>> = Vec::new();
    let mut backtests: Vec<Vec<Option<Vec<Step>>>> = Vec::new();
    for candidate in &candidates {
        match forecast(*candidate, values, season, horizon) {
            Ok(steps) => finals.push(Some(steps).filter(|steps| sound(steps, horizon))),
            Err(error) => {
                failed = Some(error);
                finals.push(None);
            }
        }
        let at = |origin: &usize| forecast(*candidate, &values[..*origin], season, horizon).ok();
        backtests.push(origins.iter().map(at).collect());
    }
    let mut names: Vec<String> = candidates.iter().map(|candidate| name(*candidate)).collect();
    // The combination first: what follows must beat it.
    let mean_of = |of: &dyn Fn(usize) -> Option<Vec<Step>>| -> Option<Vec<Step>> {
        let parts: Vec<Vec<Step>> = (0..members).filter_map(of).collect();
        (members > 1 && parts.len() == members).then(|| averaged(&parts.iter().collect::<Vec<_>>()))
    };
    finals.insert(0, mean_of(&|index| finals[index].clone()));
    backtests.insert(0, (0..origins.len()).map(|at| mean_of(&|index| backtests[index][at].clone())).collect());
    names.insert(0, "mean of ARIMA and ETS".to_owned());
    let errors: Vec<Option<f64>> = backtests.iter().map(|forecasts| error_of(forecasts, values, &origins)).collect();
    let mut best = (0..finals.len()).find(|index| finals[*index].is_some());
    if let Some(default) = best
        && let Some(own) = errors[default]
    {
        // The season before is the yardstick and the last resort: where it wins, it wins by luck.
        let rivals = (0..finals.len() - 1).filter(|index| finals[*index].is_some());
        let lowest = rivals.min_by(|left, right| {
            let of = |index: usize| errors[index].unwrap_or(f64::INFINITY);
            of(*left).total_cmp(&of(*right))
        });
        best = lowest.filter(|index| errors[*index].is_some_and(|error| error < own * (1.0 - LEAD))).or(best);
    }
    let best = best.ok_or_else(|| failed.unwrap_or_else(|| FitError::NotFound { model: "any model".to_owned() }))?;
    let steps = finals[best].clone().unwrap_or_default();
    let trials = names
        .into_iter()
        .zip(&errors)
        .enumerate()
        .map(|(index, (model, error))| Trial { model, error: *error, chosen: index == best })
        .collect();
    Ok(Automatic { steps, trials })
}

/// Origins half a horizon apart, as many as leave enough to learn from, the earliest first.
fn origins(steps: usize, season: usize, horizon: usize) -> Vec<usize> {
    let least = (LEAST.0 * season).max(LEAST.1);
    let apart = horizon.div_ceil(2).max(1);
    let mut origins: Vec<usize> = (0..ORIGINS)
        .filter_map(|back| steps.checked_sub(horizon + back * apart))
        .filter(|origin| *origin >= least)
        .collect();
    origins.reverse();
    origins
}

#[cfg(test)]
mod tests {
    use super::super::random::Generator;
    use super::*;

    #[test]
    fn a_week_is_carried_on_and_every_trial_is_told() {
        let mut generator = Generator::new(41);
        let profile = [0.8, 0.9, 1.0, 1.0, 1.1, 1.4, 1.2];
        let values: Vec<Option<f64>> =
            (0..119).map(|step| Some(100.0 * profile[step % 7] * (0.05 * generator.normal()).exp())).collect();
        let found = automatic(&values, 7, 14).unwrap();
        for (ahead, step) in found.steps.iter().enumerate() {
            let expected = 100.0 * profile[(119 + ahead) % 7];
            assert!((step.mean / expected - 1.0).abs() < 0.08, "{ahead}: {} {expected}", step.mean);
        }
        assert_eq!(found.trials.len(), 5);
        assert_eq!(found.trials.iter().filter(|trial| trial.chosen).count(), 1);
        assert!(found.trials.iter().all(|trial| trial.error.is_some()), "{:?}", found.trials);
    }

    #[test]
    fn a_short_series_has_a_forecast_without_a_trial() {
        let values: Vec<Option<f64>> = (0..18).map(|step| Some(f64::from(step % 7))).collect();
        let found = automatic(&values, 7, 7).unwrap();
        assert_eq!(found.steps.len(), 7);
        assert!(found.trials.iter().all(|trial| trial.error.is_none()));
        assert!(automatic(&[None; 30], 7, 7).is_err());
    }
}
