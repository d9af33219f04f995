//! The Kalman filter of the undifferenced series, where any step may be missing.
//!
//! The state is that of the stationary process, and behind it every past value that the
//! differencing refers to and nobody knows: those before the series began, with the variance
//! [`UNKNOWN`], and those missing since. A value that was observed is no part of the state, so
//! that a series without gaps soon costs no more than its stationary part.

use super::covariance::Process;

/// Variance of a value before the series began, in units of sigma2.
const UNKNOWN: f64 = 1e6;
/// A step with this variance or more says nothing of the coefficients.
const UNCOUNTED: f64 = 1e4;

/// What one step brought: one number per series, all with one variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    /// In units of sigma2.
    pub(super) variance: f64,
    /// Whether the step was observed and counts.
    pub(super) counted: bool,
}

/// Where the filter stands after the last step it was given.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    process: Process,
    /// Lags with a coefficient of the differencing, and the coefficient.
    lags: Vec<(usize, f64)>,
    longest: usize,
    time: usize,
    /// When the unknown values behind the process are from, offset by `longest`.
    unknown: Vec<usize>,
    /// `width` by `width`, of which the first rows and columns are in use.
    covariance: Vec<f64>,
    width: usize,
    /// One state a series.
    states: Vec<Vec<f64>>,
    /// The last `longest` values of each series in a ring; not a number where unknown.
    past: Vec<Vec<f64>>,
    gain: Vec<f64>,
    front: Vec<f64>,
    /// Predicted value of each series at the last step.
    pub(super) predicted: Vec<f64>,
}

impl Filter {
    /// A filter before its first step, for `series` series alike.
    pub(super) fn new(process: Process, differencing: &[f64], series: usize) -> Self {
        let (size, longest) = (process.size(), differencing.len());
        let width = size + longest + 1;
        let mut covariance = vec![0.0; width * width];
        let stationary = process.covariance();
        for row in 0..size {
            covariance[row * width..row * width + size].copy_from_slice(&stationary[row * size..(row + 1) * size]);
        }
        for index in size..size + longest {
            covariance[index * width + index] = UNKNOWN;
        }
        let lags = differencing.iter().enumerate().filter(|(_, value)| **value != 0.0);
        Self {
            lags: lags.map(|(index, value)| (index + 1, *value)).collect(),
            longest,
            time: longest,
            unknown: (0..longest).collect(),
            covariance,
            width,
            states: vec![vec![0.0; width]; series],
            past: vec![vec![f64::NAN; longest]; series],
            gain: vec![0.0; width],
            front: vec![0.0; width + 1],
            predicted: vec![0.0; series],
            process,
        }
    }

    fn forget_oldest(&mut self) {
        let (size, width) = (self.process.size(), self.width);
        let used = size + self.unknown.len();
        for row in 0..used {
            let start = row * width;
            self.covariance.copy_within(start + size + 1..start + used, start + size);
        }
        for row in size + 1..used {
            self.covariance.copy_within(row * width..row * width + used, (row - 1) * width);
        }
        for state in &mut self.states {
            state.copy_within(size + 1..used, size);
        }
        self.unknown.remove(0);
    }

    /// Predicts the next step of every series, then takes in what was observed, if anything.
    ///
    /// The predictions are left in `predicted`.
    pub(super) fn step(&mut self, observed: Option<&[f64]>) -> Prediction {
        let (size, width, longest) = (self.process.size(), self.width, self.longest);
        while self.unknown.first().is_some_and(|from| self.time - from > longest) {
            self.forget_oldest();
        }
        let used = size + self.unknown.len();
        // Covariance of the state with the observation.
        self.gain[..used].copy_from_slice(&self.covariance[..used]);
        let mut factors: Vec<(usize, f64)> = Vec::new();
        for &(lag, coefficient) in &self.lags {
            if let Ok(position) = self.unknown.binary_search(&(self.time - lag)) {
                let row = (size + position) * width;
                for index in 0..used {
                    self.gain[index] += coefficient * self.covariance[row + index];
                }
                factors.push((size + position, coefficient));
            }
        }
        let mut variance = self.gain[0];
        for &(position, coefficient) in &factors {
            variance += coefficient * self.gain[position];
        }
        let slot = |time: usize| time % longest.max(1);
        for (series, predicted) in self.predicted.iter_mut().enumerate() {
            let state = &self.states[series];
            let mut sum = state[0];
            for &(position, coefficient) in &factors {
                sum += coefficient * state[position];
            }
            for &(lag, coefficient) in &self.lags {
                let value = self.past[series][slot(self.time - lag)];
                if !value.is_nan() {
                    sum += coefficient * value;
                }
            }
            *predicted = sum;
        }
        let shrink = if observed.is_some() { 1.0 / variance } else { 0.0 };
        for series in 0..self.states.len() {
            let predicted = self.predicted[series];
            if let Some(values) = observed {
                let weight = (values[series] - predicted) * shrink;
                for (value, gain) in self.states[series][..used].iter_mut().zip(&self.gain) {
                    *value += gain * weight;
                }
            } else if longest > 0 {
                self.states[series][used] = predicted;
            }
            if longest > 0 {
                self.past[series][slot(self.time)] = observed.map_or(f64::NAN, |values| values[series]);
            }
        }
        let mut used = used;
        if observed.is_none() && longest > 0 {
            for index in 0..used {
                self.covariance[used * width + index] = self.gain[index];
                self.covariance[index * width + used] = self.gain[index];
            }
            self.covariance[used * width + used] = variance;
            self.gain[used] = 0.0;
            self.unknown.push(self.time);
            used += 1;
        }
        self.advance(used, shrink);
        self.time += 1;
        Prediction { variance, counted: observed.is_some() && variance < UNCOUNTED }
    }

    /// Updates the covariance and moves the stationary part one step on.
    fn advance(&mut self, used: usize, shrink: f64) {
        let (size, width) = (self.process.size(), self.width);
        let (phi, theta) = (&self.process.phi, &self.process.theta);
        for index in 0..used {
            self.front[index] = self.covariance[index] - self.gain[0] * self.gain[index] * shrink;
        }
        // What is shifted in behind the last element is zero, not the first unknown value.
        let corner = self.front[0];
        for row in 0..size {
            let own = phi[row];
            let below = if row + 1 < size { self.front[row + 1] } else { 0.0 };
            let (gain_below, has_below) = if row + 1 < size { (self.gain[row + 1] * shrink, 1.0) } else { (0.0, 0.0) };
            // Reads a row that is still the old one: rows are written from the first to the last.
            let (head, tail) = self.covariance.split_at_mut((row + 1) * width);
            let into = &mut head[row * width..];
            let from = &tail[..width.min(tail.len())];
            let inner = size - 1;
            if has_below > 0.0 {
                for column in row..inner {
                    into[column] = own * (phi[column] * corner + self.front[column + 1])
                        + phi[column] * below
                        + (from[column + 1] - gain_below * self.gain[column + 1])
                        + theta[row] * theta[column];
                }
            }
            into[inner] = own * phi[inner] * corner + phi[inner] * below + theta[row] * theta[inner];
            for column in size..used {
                let moved = if has_below > 0.0 { from[column] - gain_below * self.gain[column] } else { 0.0 };
                into[column] = own * self.front[column] + moved;
            }
        }
        for row in 0..size {
            for column in 0..row {
                self.covariance[row * width + column] = self.covariance[column * width + row];
            }
        }
        for row in size..used {
            for column in 0..size {
                self.covariance[row * width + column] = self.covariance[column * width + row];
            }
            let scaled = self.gain[row] * shrink;
            for column in size..used {
                self.covariance[row * width + column] -= scaled * self.gain[column];
            }
        }
        for state in &mut self.states {
            let front = state[0];
            for index in 0..size {
                let next = if index + 1 < size { state[index + 1] } else { 0.0 };
                state[index] = phi[index] * front + next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arima::chandrasekhar::{Whitened, whiten};

    #[test]
    fn a_stationary_series_is_whitened_alike_by_both_filters() {
        let process = Process::new(&[0.6, 0.0, 0.0, 0.5, -0.3], &[0.4, 0.0, 0.0, -0.7]).unwrap();
        let series: Vec<f64> = (0..60).map(|step| (f64::from(step) * 0.7).sin() + 0.1 * f64::from(step % 5)).collect();
        let mut fast = Whitened::default();
        whiten(&process, std::slice::from_ref(&series), &mut fast);
        let mut filter = Filter::new(process, &[], 1);
        let mut logs = 0.0;
        for (step, value) in series.iter().enumerate() {
            let prediction = filter.step(Some(&[*value]));
            logs += prediction.variance.ln();
            let innovation = (value - filter.predicted[0]) / prediction.variance.sqrt();
            assert!((innovation - fast.rows[step]).abs() < 1e-9, "step {step}");
        }
        assert!((logs - fast.log_variances).abs() < 1e-9);
    }

    #[test]
    fn an_unknown_step_in_between_is_predicted_from_before_it() {
        // A random walk: after two missing steps the variance is that of three innovations.
        let process = Process::new(&[], &[]).unwrap();
        let mut filter = Filter::new(process, &[1.0], 1);
        filter.step(Some(&[5.0]));
        let second = filter.step(Some(&[7.0]));
        assert!(second.counted && (second.variance - 1.0).abs() < 1e-9);
        filter.step(None);
        filter.step(None);
        let after = filter.step(Some(&[10.0]));
        assert!((after.variance - 3.0).abs() < 1e-9 && (filter.predicted[0] - 7.0).abs() < 1e-9);
        let next = filter.step(None);
        assert!((next.variance - 1.0).abs() < 1e-9 && (filter.predicted[0] - 10.0).abs() < 1e-9);
    }
}
