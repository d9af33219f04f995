//! The covariance of a stationary ARMA process and of its state.

use super::polynomial::partial;

/// phi and theta of an ARMA process, filled up to one length: the state of Harvey's form.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// phi_1..phi_r.
    pub(super) phi: Vec<f64>,
    /// 1, theta_1..theta_(r-1).
    pub(super) theta: Vec<f64>,
    /// Covariance of each element of the state with the observation, per unit of variance.
    pub(super) first: Vec<f64>,
}

/// Autocovariances 0..`lags` of an autoregression with innovations of variance 1.
///
/// The order is taken down one by one (Levinson's recursion backwards), then the
/// covariances are built up again: O(p^2) instead of a linear system's O(p^3).
fn autoregression(phi: &[f64], lags: usize) -> Option<Vec<f64>> {
    let order = phi.len();
    let reflection = partial(phi)?;
    let mut variance = 1.0;
    for value in &reflection {
        variance /= 1.0 - value * value;
    }
    let mut covariance = vec![0.0; lags.max(order) + 1];
    covariance[0] = variance;
    let mut error = variance;
    let mut predictor: Vec<f64> = Vec::with_capacity(order);
    for step in 1..=order {
        let last = reflection[step - 1];
        let known: f64 = predictor.iter().enumerate().map(|(index, value)| value * covariance[step - 1 - index]).sum();
        covariance[step] = last * error + known;
        let before = predictor.clone();
        for (index, value) in predictor.iter_mut().enumerate() {
            *value -= last * before[step - 2 - index];
        }
        predictor.push(last);
        error *= 1.0 - last * last;
    }
    for lag in order + 1..=lags {
        covariance[lag] = phi.iter().enumerate().map(|(index, value)| value * covariance[lag - 1 - index]).sum();
    }
    Some(covariance)
}

/// Covariance of each element of the state with the observation.
fn first_column(phi: &[f64], theta: &[f64], gamma: &[f64], psi: &[f64], size: usize) -> Vec<f64> {
    let mut first = vec![0.0; size];
    first[0] = gamma[0];
    for index in 1..size {
        let mut sum = 0.0;
        for lag in index..size {
            if lag < phi.len() {
                sum += phi[lag] * gamma[lag - index + 1];
            }
            if lag < theta.len() {
                sum += theta[lag] * psi[lag - index];
            }
        }
        first[index] = sum;
    }
    first
}

/// Solves a system with its right side as last column, rows exchanged for the largest pivot.
fn eliminate(system: &mut [Vec<f64>]) -> Vec<f64> {
    let size = system.len();
    for column in 0..size {
        let pivot = (column..size)
            .max_by(|left, right| system[*left][column].abs().total_cmp(&system[*right][column].abs()))
            .unwrap_or(column);
        system.swap(column, pivot);
        let (head, tail) = system.split_at_mut(column + 1);
        let top = &head[column];
        for row in tail {
            let factor = row[column] / top[column];
            if factor != 0.0 {
                for index in column..=size {
                    row[index] -= factor * top[index];
                }
            }
        }
    }
    let mut solved = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| system[row][column] * solved[column]).sum();
        solved[row] = (system[row][size] - known) / system[row][row];
    }
    solved
}

impl Process {
    /// Builds the process; `None` when the autoregression is not stationary.
    pub(super) fn new(phi: &[f64], theta: &[f64]) -> Option<Self> {
        let (p, q) = (phi.len(), theta.len());
        let size = p.max(q + 1);
        let mut full_phi = phi.to_vec();
        full_phi.resize(size, 0.0);
        let mut full_theta = vec![1.0];
        full_theta.extend_from_slice(theta);
        full_theta.resize(size, 0.0);
        // Impulse responses 0..q.
        let mut psi = vec![0.0; q + 1];
        for lag in 0..=q {
            let mut sum = full_theta[lag];
            for index in 0..p.min(lag) {
                sum += phi[index] * psi[lag - 1 - index];
            }
            psi[lag] = sum;
        }
        // The moving average of the autoregression: gamma(k) = sum over l of c(|l|) g(k-l).
        let plain = autoregression(phi, size + q)?;
        // Near a unit root the two factors cancel to many digits: there the linear system
        // of the covariances themselves is solved.
        if plain[0] > 1e4 {
            return Some(Self { first: Vec::new(), phi: full_phi, theta: full_theta }.near_unit_root(phi, &psi));
        }
        let overlap: Vec<f64> =
            (0..=q).map(|lag| (0..=q - lag).map(|index| full_theta[index] * full_theta[index + lag]).sum()).collect();
        let gamma: Vec<f64> = (0..=size)
            .map(|lag| {
                let mut sum = overlap[0] * plain[lag];
                for (shift, weight) in overlap.iter().enumerate().skip(1) {
                    sum += weight * (plain[lag + shift] + plain[lag.abs_diff(shift)]);
                }
                sum
            })
            .collect();
        let first = first_column(phi, &full_theta[..=q], &gamma, &psi, size);
        Some(Self { phi: full_phi, theta: full_theta, first })
    }

    /// Autocovariances from the equations of Yule and Walker with the moving average's terms.
    fn near_unit_root(mut self, phi: &[f64], psi: &[f64]) -> Self {
        let (p, q, size) = (phi.len(), psi.len() - 1, self.size());
        let right = |lag: usize| (lag..=q).map(|index| self.theta[index] * psi[index - lag]).sum::<f64>();
        let mut system: Vec<Vec<f64>> = (0..=p)
            .map(|lag| {
                let mut row = vec![0.0; p + 2];
                row[lag] += 1.0;
                for (index, value) in phi.iter().enumerate() {
                    row[lag.abs_diff(index + 1)] -= value;
                }
                row[p + 1] = right(lag);
                row
            })
            .collect();
        let mut gamma = eliminate(&mut system);
        for lag in p + 1..=size {
            let ahead: f64 = phi.iter().enumerate().map(|(index, value)| value * gamma[lag - 1 - index]).sum();
            gamma.push(ahead + right(lag));
        }
        self.first = first_column(phi, &self.theta[..=q], &gamma, psi, size);
        self
    }

    /// Elements of the state.
    pub(super) fn size(&self) -> usize {
        self.phi.len()
    }

    /// The whole covariance, row by row: the first row is known, and what is stationary
    /// is its own image one step on, which gives the others from the last to the second.
    pub(super) fn covariance(&self) -> Vec<f64> {
        let size = self.size();
        let (phi, theta, first) = (&self.phi, &self.theta, &self.first);
        let mut matrix = vec![0.0; size * size];
        matrix[..size].copy_from_slice(first);
        let next = |index: usize| if index + 1 < size { first[index + 1] } else { 0.0 };
        for row in (1..size).rev() {
            for column in (row..size).rev() {
                let below = if column + 1 < size { matrix[(row + 1) * size + column + 1] } else { 0.0 };
                let value = phi[row] * phi[column] * first[0]
                    + phi[row] * next(column)
                    + phi[column] * next(row)
                    + below
                    + theta[row] * theta[column];
                matrix[row * size + column] = value;
                matrix[column * size + row] = value;
            }
        }
        for row in 1..size {
            matrix[row * size] = first[row];
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covariance_of_arma_one_one_is_the_one_of_the_books() {
        let (phi, theta) = (0.7, 0.4);
        let process = Process::new(&[phi], &[theta]).unwrap();
        let expected = (1.0 + theta * theta + 2.0 * phi * theta) / (1.0 - phi * phi);
        assert!((process.first[0] - expected).abs() < 1e-12);
        let matrix = process.covariance();
        assert!((matrix[1] - theta).abs() < 1e-12 && (matrix[2] - theta).abs() < 1e-12);
        assert!((matrix[3] - theta * theta).abs() < 1e-12);
    }

    #[test]
    fn the_covariance_is_its_own_image_one_step_on() {
        let process = Process::new(&[0.5, -0.2, 0.1], &[0.3, 0.2, -0.1, 0.25]).unwrap();
        let (size, matrix) = (process.size(), process.covariance());
        let cell = |row: usize, column: usize| {
            if row < size && column < size { matrix[row * size + column] } else { 0.0 }
        };
        for row in 0..size {
            for column in 0..size {
                let image = process.phi[row] * process.phi[column] * cell(0, 0)
                    + process.phi[row] * cell(0, column + 1)
                    + process.phi[column] * cell(row + 1, 0)
                    + cell(row + 1, column + 1)
                    + process.theta[row] * process.theta[column];
                assert!((image - cell(row, column)).abs() < 1e-10, "{row} {column}");
            }
        }
    }
}
