//! Finds the coefficients of highest likelihood.

use super::super::linear::Cholesky;
use super::super::optimize::{Limits, bfgs, nelder_mead};
use super::chandrasekhar::{Whitened, whiten};
use super::covariance::Process;
use super::fitted::dot;
use super::kalman::Filter;
use super::polynomial::Factors;
use super::{Error, Fitted, Likelihood, Order, Regressors};

/// How hard a fit tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Several starts, run to the end; gaps are exact.
    #[default]
    Full,
    /// The best start only, to within about 0.01 of the log-likelihood; gaps are filled with
    /// their expectation first, so that the likelihood is searched without them.
    Search,
}

/// A dependent regressor shows by this share of its own size being left.
const DEPENDENT: f64 = 1e-10;

/// The series and its columns (constant first), the series freed of a first regression.
pub(super) struct Problem {
    order: Order,
    differencing: Vec<f64>,
    values: Vec<Option<f64>>,
    columns: Vec<Vec<f64>>,
    /// Which of constant and regressors the columns are: what differencing leaves nothing of, or
    /// what depends on others, is no column.
    kept: Vec<usize>,
    /// Constant and regressors that were given.
    given: usize,
    removed: Vec<f64>,
    observed: usize,
}

/// Innovations reduced to what the likelihood needs.
struct Reduced {
    counted: usize,
    log_variances: f64,
    square: f64,
    coefficients: Vec<f64>,
    factor: Option<Cholesky>,
}

impl Reduced {
    /// Least squares of the first column on the others; `rows` are whitened.
    fn new(rows: &[f64], width: usize, log_variances: f64) -> Self {
        let counted = rows.len() / width;
        if width == 1 {
            let square = rows.iter().map(|value| value * value).sum();
            return Self { counted, log_variances, square, coefficients: Vec::new(), factor: None };
        }
        let size = width - 1;
        let mut normal = vec![0.0; size * size];
        let mut right = vec![0.0; size];
        let mut square = 0.0;
        for row in rows.chunks_exact(width) {
            square += row[0] * row[0];
            for (index, value) in row[1..].iter().enumerate() {
                if *value == 0.0 {
                    continue;
                }
                right[index] += value * row[0];
                for (cell, other) in normal[index * size..=index * size + index].iter_mut().zip(&row[1..]) {
                    *cell += value * other;
                }
            }
        }
        let factor = Cholesky::new(&normal, size, DEPENDENT);
        let explained: f64 = factor.forward(&right).iter().map(|value| value * value).sum();
        let coefficients = factor.solve(&right);
        Self { counted, log_variances, square: (square - explained).max(0.0), coefficients, factor: Some(factor) }
    }

    /// Minus the log-likelihood per counted step, less its constant.
    fn objective(&self) -> f64 {
        let counted = self.counted as f64;
        0.5 * ((self.square / counted).max(1e-300).ln() + self.log_variances / counted)
    }

    fn likelihood(&self) -> Likelihood {
        let counted = self.counted as f64;
        let sigma2 = self.square / counted;
        let loglik = -0.5 * counted * ((2.0 * std::f64::consts::PI * sigma2).ln() + 1.0) - 0.5 * self.log_variances;
        Likelihood { loglik, sigma2, counted: self.counted }
    }
}

impl Problem {
    pub(super) fn new(values: &[Option<f64>], order: Order, regressors: &Regressors) -> Result<Self, Error> {
        order.check()?;
        let refused = |reason: &str| Error::Refused { model: order.to_string(), reason: reason.to_owned() };
        if values.iter().flatten().any(|value| !value.is_finite()) {
            return Err(refused("a value is not finite"));
        }
        regressors.check(values.len(), regressors.columns().len())?;
        let observed = values.iter().flatten().count();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        if order.constant {
            let mean = order.lost() == 0;
            columns.push((0..values.len()).map(|step| if mean { 1.0 } else { (step + 1) as f64 }).collect());
        }
        columns.extend(regressors.columns().iter().cloned());
        let needed = order.lost() + order.coefficients() + columns.len() + 2;
        if observed < needed {
            return Err(Error::TooShort { model: order.to_string(), observed, needed });
        }
        let differencing = order.differencing();
        let mut problem = Self {
            removed: Vec::new(),
            kept: Vec::new(),
            given: columns.len(),
            order,
            differencing,
            values: values.to_vec(),
            columns,
            observed,
        };
        problem.keep_independent();
        problem.remove_first_regression();
        Ok(problem)
    }

    /// One column differenced; a step counts when it and all it refers to were observed.
    fn differenced(&self, value: impl Fn(usize) -> Option<f64>) -> Vec<Option<f64>> {
        let lost = self.differencing.len();
        (lost..self.values.len())
            .map(|step| {
                let mut sum = value(step)?;
                for (index, coefficient) in self.differencing.iter().enumerate() {
                    if *coefficient != 0.0 {
                        sum -= coefficient * value(step - 1 - index)?;
                    }
                }
                Some(sum)
            })
            .collect()
    }

    /// Leaves out the columns that say nothing once they are differenced.
    fn keep_independent(&mut self) {
        let size = self.columns.len();
        let differenced: Vec<Vec<f64>> = self
            .columns
            .iter()
            .map(|column| {
                let rest: Vec<f64> = self.differenced(|step| Some(column[step])).into_iter().flatten().collect();
                let nothing = dot(&rest, &rest) <= 1e-20 * dot(column, column);
                if nothing { vec![0.0; rest.len()] } else { rest }
            })
            .collect();
        let mut normal = vec![0.0; size * size];
        for row in 0..size {
            for column in 0..=row {
                normal[row * size + column] = dot(&differenced[row], &differenced[column]);
            }
        }
        let factor = Cholesky::new(&normal, size, DEPENDENT);
        self.kept = (0..size).filter(|index| factor.used(*index)).collect();
        self.columns = self.kept.iter().map(|index| self.columns[*index].clone()).collect();
        self.removed = vec![0.0; self.columns.len()];
    }

    /// Frees the series of an ordinary regression, so that the exact one has small numbers left.
    fn remove_first_regression(&mut self) {
        if self.columns.is_empty() {
            return;
        }
        let own = self.differenced(|step| self.values[step]);
        let others: Vec<Vec<Option<f64>>> =
            self.columns.iter().map(|column| self.differenced(|step| Some(column[step]))).collect();
        let mut rows = Vec::with_capacity(own.len() * (others.len() + 1));
        for (step, value) in own.iter().enumerate() {
            if let Some(value) = value {
                rows.push(*value);
                rows.extend(others.iter().map(|column| column[step].unwrap_or(0.0)));
            }
        }
        if rows.is_empty() {
            return;
        }
        self.removed = Reduced::new(&rows, others.len() + 1, 0.0).coefficients;
        for (step, value) in self.values.iter_mut().enumerate() {
            if let Some(value) = value {
                for (column, coefficient) in self.columns.iter().zip(&self.removed) {
                    *value -= coefficient * column[step];
                }
            }
        }
    }

    /// The differenced columns of a series without gaps, ready for the fast filter.
    fn ready(&self, filled: &[f64]) -> Vec<Vec<f64>> {
        let mut ready = vec![self.differenced(|step| Some(filled[step])).into_iter().flatten().collect()];
        for column in &self.columns {
            ready.push(self.differenced(|step| Some(column[step])).into_iter().flatten().collect());
        }
        ready
    }

    fn process(&self, factors: &Factors) -> Option<Process> {
        let (phi, theta) = factors.expanded(self.order.season);
        Process::new(&phi, &theta)
    }

    /// The exact likelihood of the series as it is, gaps and all.
    fn reduce(&self, process: Process) -> Reduced {
        let width = self.columns.len() + 1;
        let mut filter = Filter::new(process, &self.differencing, width);
        let mut rows = Vec::with_capacity(self.values.len() * width);
        let mut logs = 0.0;
        let mut row = vec![0.0; width];
        for (step, value) in self.values.iter().enumerate() {
            let observed = value.map(|value| {
                row[0] = value;
                for (cell, column) in row[1..].iter_mut().zip(&self.columns) {
                    *cell = column[step];
                }
                &row[..]
            });
            let prediction = filter.step(observed);
            if prediction.counted {
                let root = prediction.variance.sqrt();
                logs += prediction.variance.ln();
                rows.extend(row.iter().zip(&filter.predicted).map(|(own, predicted)| (own - predicted) / root));
            }
        }
        Reduced::new(&rows, width, logs)
    }

    /// Fills gaps with what the model expects from both sides.
    fn filled(&self, process: &Process) -> Vec<f64> {
        let width = self.columns.len() + 1;
        let steps = self.values.len();
        let correction = self.reduce(process.clone()).coefficients;
        let mut sums = vec![(0.0, 0.0); steps];
        for backwards in [false, true] {
            let mut filter = Filter::new(process.clone(), &self.differencing, width);
            for index in 0..steps {
                let step = if backwards { steps - 1 - index } else { index };
                let mut row = vec![self.values[step].unwrap_or(0.0)];
                row.extend(self.columns.iter().map(|column| column[step]));
                let prediction = filter.step(self.values[step].is_some().then_some(&row[..]));
                if self.values[step].is_none() {
                    let mut value = filter.predicted[0];
                    for (which, coefficient) in correction.iter().enumerate() {
                        value += coefficient * (row[which + 1] - filter.predicted[which + 1]);
                    }
                    sums[step].0 += value / prediction.variance;
                    sums[step].1 += 1.0 / prediction.variance;
                }
            }
        }
        self.values.iter().zip(sums).map(|(value, (sum, weight))| value.unwrap_or(sum / weight)).collect()
    }

    /// Searches with the fast filter from the best of `starts`; `tries` of them are run.
    fn search(&self, filled: &[f64], starts: &[Vec<f64>], tries: usize, limits: Limits) -> Option<Vec<f64>> {
        let ready = self.ready(filled);
        let width = ready.len();
        let mut whitened = Whitened::default();
        let mut objective = |at: &[f64]| -> f64 {
            let factors = Factors::from_search(&self.order, at);
            let Some(process) = self.process(&factors) else { return f64::INFINITY };
            whiten(&process, &ready, &mut whitened);
            Reduced::new(&whitened.rows, width, whitened.log_variances).objective()
        };
        descend(&mut objective, starts, tries, limits)
    }
}

/// Runs the best of `starts` down, and repairs what got stuck with a simplex.
fn descend(
    objective: &mut impl FnMut(&[f64]) -> f64,
    starts: &[Vec<f64>],
    tries: usize,
    limits: Limits,
) -> Option<Vec<f64>> {
    let mut ranked: Vec<(f64, usize)> =
        starts.iter().enumerate().map(|(index, start)| (objective(start), index)).collect();
    ranked.retain(|(value, _)| value.is_finite());
    ranked.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    let mut best: Option<(f64, Vec<f64>)> = None;
    let mut tried: Vec<&Vec<f64>> = Vec::new();
    for (_, index) in ranked {
        if tried.len() == tries {
            break;
        }
        let start = &starts[index];
        let near = |other: &&Vec<f64>| other.iter().zip(start).all(|(a, b)| (a.tanh() - b.tanh()).abs() < 0.3);
        if tried.iter().any(|other| near(other)) {
            continue;
        }
        tried.push(start);
        let mut found = bfgs(objective, start, limits);
        if tries > 1 && best.is_none() && !start.is_empty() {
            let simplex = nelder_mead(objective, &found.at, 0.2, limits.gain, 40 * start.len());
            if simplex.value < found.value - limits.gain {
                found = bfgs(objective, &simplex.at, limits);
            }
        }
        if found.value.is_finite() && best.as_ref().is_none_or(|(value, _)| found.value < *value) {
            best = Some((found.value, found.at));
        }
    }
    best.map(|(_, at)| at)
}

/// Points to look at first: the corners where the likelihood of sales, traffic and the like has
/// its hills. They cost one evaluation each.
fn starts(order: &Order, given: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let choices = |count: usize, firsts: &'static [f64], sign: f64| -> Vec<Vec<f64>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let one = |first: &f64| {
            let mut row = vec![0.05 * sign; count];
            row[0] = *first;
            row
        };
        firsts.iter().map(one).collect()
    };
    let ar = choices(order.p, &[0.1, 0.7, 1.8], 1.0);
    let ma = choices(order.q, &[-0.1, 0.5, -0.6, -1.6], -1.0);
    let seasonal_ar = choices(order.seasonal_p, &[0.1, -0.5, 0.8, 2.4], 1.0);
    let seasonal_ma = choices(order.seasonal_q, &[-0.1, -0.8, -1.8], -1.0);
    let mut all: Vec<Vec<f64>> = given.to_vec();
    for one in &ar {
        for two in &ma {
            for three in &seasonal_ar {
                for four in &seasonal_ma {
                    all.push([&one[..], two, three, four].concat());
                }
            }
        }
    }
    all
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
    let mut starts = starts(&order, &given);
    let not_found = || Error::NotFound { model: order.to_string() };
    let (tries, limits) = match precision {
        Precision::Full => (3, Limits { step: 1e-3, gain: 1e-10, iterations: 200 }),
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
            at = problem.search(&filled, &starts, tries, limits).ok_or_else(not_found)?;
        }
        if precision == Precision::Full {
            let mut objective = |at: &[f64]| -> f64 {
                let process = problem.process(&Factors::from_search(&order, at));
                process.map_or(f64::INFINITY, |process| problem.reduce(process).objective())
            };
            at = descend(&mut objective, &[at], 1, Limits { step: 1e-3, gain: 1e-8, iterations: 100 })
                .ok_or_else(not_found)?;
        }
    } else if order.coefficients() > 0 {
        let filled: Vec<f64> = problem.values.iter().flatten().copied().collect();
        at = problem.search(&filled, &starts, tries, limits).ok_or_else(not_found)?;
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
