//! The square root of a symmetric positive matrix, and what is solved with it.

/// `L` with `L Lᵀ = A`; row by row, the upper half unused.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Takes the root of `matrix` (its lower half is read); `None` when it is not
    /// positive, or not finite.
    pub(super) fn of(mut matrix: Vec<f64>, size: usize) -> Option<Self> {
        for column in 0..size {
            let (done, rest) = matrix.split_at_mut(column * size);
            let row = &mut rest[..size];
            for (earlier, before) in done.chunks_exact(size).enumerate() {
                let dot: f64 = row[..earlier].iter().zip(&before[..earlier]).map(|(a, b)| a * b).sum();
                row[earlier] = (row[earlier] - dot) / before[earlier];
            }
            let square: f64 = row[..column].iter().map(|value| value * value).sum();
            let pivot = row[column] - square;
            if !pivot.is_finite() || pivot <= 0.0 {
                return None;
            }
            row[column] = pivot.sqrt();
        }
        Some(Self { size, lower: matrix })
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Solves `L z = b` in place.
    pub(super) fn half_solve(&self, b: &mut [f64]) {
        for at in 0..self.size {
            let row = &self.lower[at * self.size..at * self.size + at + 1];
            let dot: f64 = row[..at].iter().zip(&b[..at]).map(|(a, b)| a * b).sum();
            b[at] = (b[at] - dot) / row[at];
        }
    }

    /// Solves `A x = b` in place.
    pub(super) fn solve(&self, b: &mut [f64]) {
        self.half_solve(b);
        for at in (0..self.size).rev() {
            let row = &self.lower[at * self.size..at * self.size + at + 1];
            b[at] /= row[at];
            let value = b[at];
            for (target, factor) in b[..at].iter_mut().zip(row) {
                *target -= factor * value;
            }
        }
    }

    /// The diagonal of `A⁻¹` for the first `count` indexes.
    pub(super) fn inverse_diagonal(&self, count: usize) -> Vec<f64> {
        let mut diagonal = Vec::with_capacity(count);
        let mut unit = vec![0.0; self.size];
        for at in 0..count.min(self.size) {
            unit.fill(0.0);
            unit[at] = 1.0;
            // The half solution is zero before `at`.
            for index in at..self.size {
                let row = &self.lower[index * self.size..index * self.size + index + 1];
                let dot: f64 = row[at..index].iter().zip(&unit[at..index]).map(|(a, b)| a * b).sum();
                unit[index] = (unit[index] - dot) / row[index];
            }
            diagonal.push(unit[at..].iter().map(|value| value * value).sum());
        }
        diagonal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_solves_what_it_was_made_of() {
        let matrix = vec![4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let root = Cholesky::of(matrix.clone(), 3).unwrap();
        let x = [1.0, -2.0, 0.5];
        let mut b: Vec<f64> = matrix.chunks(3).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect();
        root.solve(&mut b);
        for (found, wanted) in b.iter().zip(x) {
            assert!((found - wanted).abs() < 1e-12, "{b:?}");
        }
        for (at, value) in root.inverse_diagonal(3).into_iter().enumerate() {
            let mut unit = vec![0.0; 3];
            unit[at] = 1.0;
            root.solve(&mut unit);
            assert!((unit[at] - value).abs() < 1e-12);
        }
        assert!(Cholesky::of(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::of(vec![f64::NAN], 1).is_none());
    }
}
