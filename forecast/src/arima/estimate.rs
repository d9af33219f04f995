//! Finds the coefficients of highest likelihood.

use super::super::optimize::Limits;
use super::descent::{Ready, descend, starts};
use super::fitted::dot;
use super::kalman::Filter;
use super::polynomial::Factors;
use super::problem::Problem;
use super::{Error, Fitted, Likelihood, Order, Regressors};

/// How hard a fit tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Several starts, run to the end; gaps are exact.
    #[default]
    Full,
    /// From the given start to the end; gaps are exact. For a start that is close.
    Polish,
    /// The best start only, to within about 0.01 of the log-likelihood; gaps are filled with
    /// their expectation first, so that the likelihood is searched without them.
    Search,
}

/// Fits a model by exact maximum likelihood.
///
/// `values` are even steps, oldest first, `None` where nothing was observed. `regressors` have a
/// row for each of them, or no columns. `start` is a row of coefficients as in
/// [`Fitted::coefficients`] to look at first, such as those of yesterday's fit.
///
/// # Errors
/// When the series is too short for the model, something is not finite, or no likelihood is.
pub fn fit(
    values: &[Option<f64>],
    order: Order,
    regressors: &Regressors,
    start: Option<&[f64]>,
) -> Result<Fitted, Error> {
    fit_with(values, order, regressors, start, Precision::Full)
}

/// As [`fit`], with a choice of how hard to try.
///
/// # Errors
/// As [`fit`].
pub fn fit_with(
    values: &[Option<f64>],
    order: Order,
    regressors: &Regressors,
    start: Option<&[f64]>,
    precision: Precision,
) -> Result<Fitted, Error> {
    let problem = Problem::new(values, order, regressors)?;
    let given: Vec<Vec<f64>> = start
        .filter(|row| row.len() == order.coefficients())
        .map(|row| Factors::cut(&order, row).to_search())
        .into_iter()
        .collect();
    let mut starts = match (precision, given.is_empty()) {
        (Precision::Polish, false) => given.clone(),
        _ => starts(&order, &given),
    };
    let not_found = || Error::NotFound { model: order.to_string() };
    let (tries, limits) = match precision {
        Precision::Full => (3, Limits { step: 1e-3, gain: 1e-10, iterations: 200 }),
        Precision::Polish => (1, Limits { step: 1e-3, gain: 1e-9, iterations: 100 }),
        Precision::Search => (1, Limits { step: 1e-3, gain: 2e-6, iterations: 60 }),
    };
    let gaps = problem.values.iter().any(Option::is_none);
    let mut at = vec![0.0; order.coefficients()];
    if gaps {
        // A first idea of the gaps from a first idea of the coefficients, then both again.
        at.clone_from(given.first().unwrap_or(&starts[starts.len() / 2]));
        for round in 0..2 {
            let process = problem.process(&Factors::from_search(&order, &at)).ok_or_else(not_found)?;
            let filled = problem.filled(&process);
            starts.insert(0, at.clone());
            let tries = if round == 0 { tries } else { 1 };
            at = Ready::new(&problem, &filled).search(&order, &starts, tries, limits).ok_or_else(not_found)?;
        }
        if precision != Precision::Search {
            let mut objective = |at: &[f64]| -> f64 {
                let process = problem.process(&Factors::from_search(&order, at));
                process.map_or(f64::INFINITY, |process| problem.reduce(process).objective())
            };
            at = descend(&mut objective, &[at], 1, Limits { step: 1e-3, gain: 1e-8, iterations: 100 })
                .ok_or_else(not_found)?;
        }
    } else if order.coefficients() > 0 {
        let filled: Vec<f64> = problem.values.iter().flatten().copied().collect();
        at = Ready::new(&problem, &filled).search(&order, &starts, tries, limits).ok_or_else(not_found)?;
    }
    finish(&problem, &Factors::from_search(&order, &at)).ok_or_else(not_found)
}

/// The last pass: likelihood, coefficients, residuals, and a filter at the end of the series.
fn finish(problem: &Problem, factors: &Factors) -> Option<Fitted> {
    let order = problem.order;
    let process = problem.process(factors)?;
    let reduced = problem.reduce(process.clone());
    let likelihood = reduced.likelihood();
    if !likelihood.loglik.is_finite() {
        return None;
    }
    let size = problem.columns.len();
    let parameters = order.coefficients() + size;
    let observations = problem.observed - order.lost();
    let sigma2 = reduced.square / (observations.saturating_sub(parameters).max(1)) as f64;
    let given = problem.given;
    let mut covariance = vec![0.0; given * given];
    if let Some(factor) = &reduced.factor {
        for column in 0..size {
            let mut unit = vec![0.0; size];
            unit[column] = f64::from(factor.used(column));
            for (row, value) in factor.solve(&unit).iter().enumerate() {
                covariance[problem.kept[row] * given + problem.kept[column]] = sigma2 * value;
            }
        }
    }
    let count = (parameters + 1) as f64;
    let aic = 2.0 * count - 2.0 * likelihood.loglik;
    let spare = observations as f64 - count - 1.0;
    let mut fitted = Fitted {
        order,
        coefficients: factors.row(),
        constant: None,
        regression: Vec::new(),
        regression_covariance: covariance,
        sigma2,
        loglik: likelihood.loglik,
        aic,
        aicc: if spare > 0.0 { aic + 2.0 * count * (count + 1.0) / spare } else { f64::INFINITY },
        bic: aic + count * ((observations as f64).ln() - 2.0),
        observations,
        residuals: Vec::with_capacity(problem.values.len()),
        steps: 0,
        kept: problem.kept.clone(),
        given,
        removed: problem.removed.clone(),
        correction: reduced.coefficients,
        filter: Filter::new(process, &problem.differencing, size + 1),
    };
    for (step, value) in problem.values.iter().enumerate() {
        let row: Vec<f64> = problem.columns.iter().map(|column| column[step]).collect();
        let whole = value.map(|value| value + dot(&row, &problem.removed));
        let residual = fitted.take(whole, &row);
        fitted.residuals.push(residual);
    }
    let mut linear = fitted.linear();
    if order.constant {
        fitted.constant = Some(linear.remove(0));
    }
    fitted.regression = linear;
    Some(fitted)
}

/// The exact likelihood at given coefficients: `coefficients` as in [`Fitted::coefficients`],
/// `linear` the constant (if any) and one number per regressor. Nothing is estimated.
///
/// # Errors
/// When the series is too short, something is not finite, or the autoregression is not stationary.
pub fn likelihood_at(
    values: &[Option<f64>],
    order: Order,
    regressors: &Regressors,
    coefficients: &[f64],
    linear: &[f64],
) -> Result<Likelihood, Error> {
    let refused = |reason: &str| Error::Refused { model: order.to_string(), reason: reason.to_owned() };
    let mut problem = Problem::new(values, order, regressors)?;
    if coefficients.len() != order.coefficients() || linear.len() != problem.given {
        return Err(refused("another number of coefficients than the model has"));
    }
    for (step, value) in problem.values.iter_mut().enumerate() {
        if let Some(value) = value {
            let row = Fitted::row(&order, regressors, step, step);
            *value = values[step].unwrap_or(*value) - dot(&row, linear);
        }
    }
    problem.columns.clear();
    let process = problem
        .process(&Factors::cut(&order, coefficients))
        .ok_or_else(|| refused("the autoregression is not stationary"))?;
    Ok(problem.reduce(process).likelihood())
}
