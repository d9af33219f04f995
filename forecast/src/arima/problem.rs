//! A series and its regressors, reduced to what the likelihood needs.

use super::super::linear::Cholesky;
use super::super::optimize::Limits;
use super::covariance::Process;
use super::descent::Ready;
use super::fitted::dot;
use super::kalman::Filter;
use super::polynomial::Factors;
use super::{Error, Likelihood, Order, Regressors};

/// A dependent regressor shows by this share of its own size being left.
const DEPENDENT: f64 = 1e-10;

/// The series and its columns (constant first), the series freed of a first regression.
pub(super) struct Problem {
    pub(super) order: Order,
    pub(super) differencing: Vec<f64>,
    pub(super) values: Vec<Option<f64>>,
    pub(super) columns: Vec<Vec<f64>>,
    /// Which of constant and regressors the columns are: what differencing leaves nothing of, or
    /// what depends on others, is no column.
    pub(super) kept: Vec<usize>,
    /// Constant and regressors that were given.
    pub(super) given: usize,
    pub(super) removed: Vec<f64>,
    pub(super) observed: usize,
}

/// Innovations reduced to what the likelihood needs.
pub(super) struct Reduced {
    pub(super) counted: usize,
    pub(super) log_variances: f64,
    pub(super) square: f64,
    pub(super) coefficients: Vec<f64>,
    pub(super) factor: Option<Cholesky>,
}

impl Reduced {
    /// Least squares of the first column on the others; `rows` are whitened.
    pub(super) fn new(rows: &[f64], width: usize, log_variances: f64) -> Self {
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
    pub(super) fn objective(&self) -> f64 {
        let counted = self.counted as f64;
        0.5 * ((self.square / counted).max(1e-300).ln() + self.log_variances / counted)
    }

    pub(super) fn likelihood(&self) -> Likelihood {
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
    pub(super) fn ready(&self, filled: &[f64]) -> Vec<Vec<f64>> {
        let mut ready = vec![self.differenced(|step| Some(filled[step])).into_iter().flatten().collect()];
        for column in &self.columns {
            ready.push(self.differenced(|step| Some(column[step])).into_iter().flatten().collect());
        }
        ready
    }

    pub(super) fn process(&self, factors: &Factors) -> Option<Process> {
        let (phi, theta) = factors.expanded(self.order.season);
        Process::new(&phi, &theta)
    }

    /// The exact likelihood of the series as it is, gaps and all.
    pub(super) fn reduce(&self, process: Process) -> Reduced {
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
    pub(super) fn filled(&self, process: &Process) -> Vec<f64> {
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

    /// The series with its gaps filled by a model that fits most series a little: one step's memory, and
    /// a level and profile that wander.
    pub(super) fn expected(&self) -> Option<Vec<f64>> {
        let seasonal = usize::from(self.order.season > 1);
        let order = Order { p: 1, q: 1, seasonal_p: 0, seasonal_q: seasonal, ..self.order };
        let mut at = vec![0.6, -0.2, -1.0];
        at.truncate(order.coefficients());
        for _ in 0..2 {
            let filled = self.filled(&self.process_of(&order, &at)?);
            let limits = Limits { step: 1e-3, gain: 1e-5, iterations: 30 };
            at = Ready::new(self, &filled).search(&order, &[at], 1, limits)?;
        }
        Some(self.filled(&self.process_of(&order, &at)?))
    }

    fn process_of(&self, order: &Order, at: &[f64]) -> Option<Process> {
        self.process(&Factors::from_search(order, at))
    }
}
