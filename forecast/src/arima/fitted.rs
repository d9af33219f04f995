//! A model with its coefficients, and where its filter stands.

use super::kalman::Filter;
use super::{Error, Order, Regressors};

/// The likelihood of one set of coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Logarithm of the Gaussian likelihood, variance at its best.
    pub loglik: f64,
    /// Variance of an innovation by maximum likelihood, in the square of the series' unit.
    pub sigma2: f64,
    /// Steps that counted.
    pub counted: usize,
}

/// A forecast of one step, in the unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Expected value, and as likely to be over as under.
    pub mean: f64,
    /// Standard error if every coefficient were known.
    pub standard_error: f64,
    /// What not knowing the constant and the regression coefficients adds; independent of it.
    pub coefficient_error: f64,
}

/// A fitted model. Made by [`super::fit`].
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What was fitted.
    pub order: Order,
    /// AR, MA, seasonal AR, seasonal MA coefficients, in this order, each factor on its own.
    pub coefficients: Vec<f64>,
    /// The mean of the series, or its drift per step.
    pub constant: Option<f64>,
    /// One coefficient per regressor; zero where the regressor says nothing.
    pub regression: Vec<f64>,
    /// Covariance of constant (if any) and regression coefficients, row by row.
    pub regression_covariance: Vec<f64>,
    /// Variance of an innovation, divided by what is left after the coefficients.
    pub sigma2: f64,
    /// Logarithm of the likelihood (see the module for the convention).
    pub loglik: f64,
    /// Akaike's criterion; comparable at one differencing, one transformation and one series only.
    pub aic: f64,
    /// The same, corrected for short series.
    pub aicc: f64,
    /// Schwarz' criterion.
    pub bic: f64,
    /// Observations that count: those observed less those lost to differencing.
    pub observations: usize,
    /// Innovations of the one-step forecasts, scaled to the variance of an innovation. `None`
    /// where nothing was observed or nothing was known yet.
    pub residuals: Vec<Option<f64>>,
    pub(super) steps: usize,
    /// Which of constant and regressors the model has learned something of, and how many were given.
    pub(super) kept: Vec<usize>,
    pub(super) given: usize,
    /// Coefficients of those that the filtered series was freed of.
    pub(super) removed: Vec<f64>,
    /// What was found beyond that.
    pub(super) correction: Vec<f64>,
    pub(super) filter: Filter,
}

impl Fitted {
    /// Takes in a further step; returns its scaled innovation.
    pub(super) fn take(&mut self, value: Option<f64>, row: &[f64]) -> Option<f64> {
        let observed = value.map(|value| {
            let mut columns = Vec::with_capacity(row.len() + 1);
            columns.push(value - dot(row, &self.removed));
            columns.extend_from_slice(row);
            columns
        });
        let prediction = self.filter.step(observed.as_deref());
        self.steps += 1;
        let columns = observed.filter(|_| prediction.counted)?;
        let mut innovation = columns[0] - self.filter.predicted[0];
        for (index, coefficient) in self.correction.iter().enumerate() {
            innovation -= coefficient * (columns[index + 1] - self.filter.predicted[index + 1]);
        }
        Some(innovation / prediction.variance.sqrt())
    }

    /// The row of a step behind the last one: the constant's column, then the regressors.
    pub(super) fn row(order: &Order, regressors: &Regressors, step: usize, at: usize) -> Vec<f64> {
        let mut row = Vec::with_capacity(regressors.columns().len() + 1);
        if order.constant {
            row.push(if order.lost() == 0 { 1.0 } else { (step + 1) as f64 });
        }
        row.extend(regressors.columns().iter().map(|column| column[at]));
        row
    }

    /// Forecasts `horizon` steps behind the last one. `future` has a row for each of them.
    ///
    /// # Errors
    /// When `future` has not the rows or the columns.
    pub fn forecast(&self, horizon: usize, future: &Regressors) -> Result<Vec<Step>, Error> {
        future.check(horizon, self.regression.len())?;
        let mut filter = self.filter.clone();
        let mut steps = Vec::with_capacity(horizon);
        for ahead in 0..horizon {
            let prediction = filter.step(None);
            let row = self.kept_of(&Self::row(&self.order, future, self.steps + ahead, ahead));
            let surprise: Vec<f64> = row.iter().zip(&filter.predicted[1..]).map(|(own, known)| own - known).collect();
            let mut uncertainty = 0.0;
            for (left, one) in self.kept.iter().zip(&surprise) {
                for (right, other) in self.kept.iter().zip(&surprise) {
                    uncertainty += one * other * self.regression_covariance[left * self.given + right];
                }
            }
            steps.push(Step {
                mean: filter.predicted[0] + dot(&surprise, &self.correction) + dot(&row, &self.removed),
                standard_error: (self.sigma2 * prediction.variance).sqrt(),
                coefficient_error: uncertainty.max(0.0).sqrt(),
            });
        }
        Ok(steps)
    }

    /// The same coefficients with `values` behind the last step: the state moves on, nothing is
    /// estimated. `residuals` are continued; likelihood and criteria stay those of the fit.
    ///
    /// # Errors
    /// When `regressors` have not the rows or the columns, or a value is not finite.
    pub fn extended(&self, values: &[Option<f64>], regressors: &Regressors) -> Result<Self, Error> {
        regressors.check(values.len(), self.regression.len())?;
        if values.iter().flatten().any(|value| !value.is_finite()) {
            return Err(Error::Refused { model: self.order.to_string(), reason: "a value is not finite".to_owned() });
        }
        let mut moved = self.clone();
        for (at, value) in values.iter().enumerate() {
            let row = self.kept_of(&Self::row(&self.order, regressors, moved.steps, at));
            let residual = moved.take(*value, &row);
            moved.residuals.push(residual);
        }
        Ok(moved)
    }

    fn kept_of(&self, row: &[f64]) -> Vec<f64> {
        self.kept.iter().map(|index| row[*index]).collect()
    }

    /// Constant (if any), then regression coefficients; zero where nothing was learned.
    pub(super) fn linear(&self) -> Vec<f64> {
        let mut linear = vec![0.0; self.given];
        for (index, (base, more)) in self.kept.iter().zip(self.removed.iter().zip(&self.correction)) {
            linear[*index] = base + more;
        }
        linear
    }
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
