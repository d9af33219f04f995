//! Small dense systems: the sizes here are tens, so nothing cleverer pays.

/// The factor L of a symmetric, non-negative matrix (row by row, lower triangle), where
/// a column that depends on those before it is left out.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    size: usize,
    factor: Vec<f64>,
    used: Vec<bool>,
}

impl Cholesky {
    /// Factors `matrix` (`size` rows of `size`, the lower triangle is read).
    ///
    /// A pivot below `tolerance` times its own diagonal marks a dependent column; its
    /// unknown is then zero.
    pub(super) fn new(matrix: &[f64], size: usize, tolerance: f64) -> Self {
        let mut factor = vec![0.0; size * size];
        let mut used = vec![true; size];
        for column in 0..size {
            let original = matrix[column * size + column];
            let mut pivot = original;
            for k in 0..column {
                pivot -= factor[column * size + k] * factor[column * size + k];
            }
            if !(pivot > tolerance * original && pivot > 0.0) {
                used[column] = false;
                continue;
            }
            let root = pivot.sqrt();
            factor[column * size + column] = root;
            for row in column + 1..size {
                let mut sum = matrix[row * size + column];
                for k in 0..column {
                    sum -= factor[row * size + k] * factor[column * size + k];
                }
                factor[row * size + column] = sum / root;
            }
        }
        Self { size, factor, used }
    }

    /// Whether the unknown is determined by the matrix.
    pub(super) fn used(&self, index: usize) -> bool {
        self.used[index]
    }

    /// Solves L u = `right`; the length of u is the right side in the metric of the inverse.
    pub(super) fn forward(&self, right: &[f64]) -> Vec<f64> {
        let size = self.size;
        let mut solved = vec![0.0; size];
        for row in 0..size {
            if self.used[row] {
                let mut sum = right[row];
                for (k, known) in solved[..row].iter().enumerate() {
                    sum -= self.factor[row * size + k] * known;
                }
                solved[row] = sum / self.factor[row * size + row];
            }
        }
        solved
    }

    /// Solves the whole system.
    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let size = self.size;
        let mut solved = self.forward(right);
        for row in (0..size).rev() {
            if self.used[row] {
                let mut sum = solved[row];
                for (k, known) in solved.iter().enumerate().skip(row + 1) {
                    sum -= self.factor[k * size + row] * known;
                }
                solved[row] = sum / self.factor[row * size + row];
            }
        }
        solved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependent_column_is_left_out_and_the_rest_is_solved() {
        // The second column is twice the first.
        let matrix = [4.0, 8.0, 2.0, 8.0, 16.0, 4.0, 2.0, 4.0, 10.0];
        let factor = Cholesky::new(&matrix, 3, 1e-10);
        assert_eq!([factor.used(0), factor.used(1), factor.used(2)], [true, false, true]);
        let solved = factor.solve(&[6.0, 12.0, 12.0]);
        assert!((solved[0] - 1.0).abs() < 1e-12 && solved[1] == 0.0 && (solved[2] - 1.0).abs() < 1e-12, "{solved:?}");
    }
}
