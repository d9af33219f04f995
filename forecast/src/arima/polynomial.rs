//! AR and MA factors: from partial autocorrelations and back, multiplied out, their roots.

use super::Order;

/// The coefficients of an autoregression with these partial autocorrelations.
fn from_partial(partial: &[f64]) -> Vec<f64> {
    let mut coefficients: Vec<f64> = Vec::with_capacity(partial.len());
    for &last in partial {
        let before = coefficients.clone();
        for (index, value) in coefficients.iter_mut().enumerate() {
            *value -= last * before[before.len() - 1 - index];
        }
        coefficients.push(last);
    }
    coefficients
}

/// The partial autocorrelations of an autoregression, or `None` when it is not stationary.
pub(super) fn partial(coefficients: &[f64]) -> Option<Vec<f64>> {
    let mut rest = coefficients.to_vec();
    let mut partial = vec![0.0; rest.len()];
    while let Some(last) = rest.pop() {
        if last.is_nan() || last.abs() >= 1.0 {
            return None;
        }
        partial[rest.len()] = last;
        let before = rest.clone();
        for (index, value) in rest.iter_mut().enumerate() {
            *value = (*value + last * before[before.len() - 1 - index]) / (1.0 - last * last);
        }
    }
    Some(partial)
}

/// The four factors of a model, their coefficients as written in the module's equation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factors {
    pub(super) ar: Vec<f64>,
    pub(super) ma: Vec<f64>,
    pub(super) seasonal_ar: Vec<f64>,
    pub(super) seasonal_ma: Vec<f64>,
}

impl Factors {
    /// Cuts a row of coefficients (ar, ma, seasonal ar, seasonal ma).
    pub(super) fn cut(order: &Order, row: &[f64]) -> Self {
        let (ar, rest) = row.split_at(order.p);
        let (ma, rest) = rest.split_at(order.q);
        let (seasonal_ar, seasonal_ma) = rest.split_at(order.seasonal_p);
        Self {
            ar: ar.to_vec(),
            ma: ma.to_vec(),
            seasonal_ar: seasonal_ar.to_vec(),
            seasonal_ma: seasonal_ma[..order.seasonal_q].to_vec(),
        }
    }

    /// The inverse of [`Factors::cut`].
    pub(super) fn row(&self) -> Vec<f64> {
        [&self.ar[..], &self.ma, &self.seasonal_ar, &self.seasonal_ma].concat()
    }

    /// From the space of the search: every factor the image of tanh, stationary and invertible.
    pub(super) fn from_search(order: &Order, at: &[f64]) -> Self {
        let tanh: Vec<f64> = at.iter().map(|value| value.tanh()).collect();
        let cut = Self::cut(order, &tanh);
        let negative = |partial: Vec<f64>| -> Vec<f64> {
            let turned: Vec<f64> = partial.iter().map(|value| -value).collect();
            from_partial(&turned).iter().map(|value| -value).collect()
        };
        Self {
            ar: from_partial(&cut.ar),
            ma: negative(cut.ma),
            seasonal_ar: from_partial(&cut.seasonal_ar),
            seasonal_ma: negative(cut.seasonal_ma),
        }
    }

    /// Into the space of the search; a factor outside it starts from nothing.
    pub(super) fn to_search(&self) -> Vec<f64> {
        let into = |coefficients: &[f64], sign: f64| -> Vec<f64> {
            let signed: Vec<f64> = coefficients.iter().map(|value| sign * value).collect();
            let partial = partial(&signed).unwrap_or_else(|| vec![0.0; signed.len()]);
            partial.iter().map(|value| (sign * value).clamp(-0.999_999, 0.999_999).atanh()).collect()
        };
        [into(&self.ar, 1.0), into(&self.ma, -1.0), into(&self.seasonal_ar, 1.0), into(&self.seasonal_ma, -1.0)]
            .concat()
    }

    /// phi_1.. and theta_1.. of the two products.
    pub(super) fn expanded(&self, season: usize) -> (Vec<f64>, Vec<f64>) {
        let spread = |plain: &[f64], seasonal: &[f64], sign: f64| -> Vec<f64> {
            let mut product = vec![0.0; plain.len() + seasonal.len() * season];
            product[..plain.len()].copy_from_slice(plain);
            for (index, outer) in seasonal.iter().enumerate() {
                let lag = (index + 1) * season;
                product[lag - 1] += outer;
                for (inner_index, inner) in plain.iter().enumerate() {
                    product[lag + inner_index] += sign * outer * inner;
                }
            }
            product
        };
        (spread(&self.ar, &self.seasonal_ar, -1.0), spread(&self.ma, &self.seasonal_ma, 1.0))
    }

    /// Whether every root of each AR factor, in its own power of B, has a modulus of `modulus` or more.
    pub(super) fn autoregression_within(&self, modulus: f64) -> bool {
        [&self.ar, &self.seasonal_ar].iter().all(|factor| {
            let mut power = 1.0;
            let scaled: Vec<f64> = factor
                .iter()
                .map(|value| {
                    power *= modulus;
                    value * power
                })
                .collect();
            partial(&scaled).is_some()
        })
    }

    /// Whether an AR and an MA root of the same kind lie within `distance` of each other, measured
    /// as in the unit disc: close to its edge a small difference is a large one.
    pub(super) fn nearly_cancels(&self, distance: f64) -> bool {
        let close = |ar: &[f64], ma: &[f64]| {
            let negative: Vec<f64> = ma.iter().map(|value| -value).collect();
            let (left, right) = (inverse_roots(ar), inverse_roots(&negative));
            left.iter().any(|a| right.iter().any(|b| apart(*a, *b) < distance))
        };
        close(&self.ar, &self.ma) || close(&self.seasonal_ar, &self.seasonal_ma)
    }
}

/// Pseudo-hyperbolic distance of two points of the unit disc: 0 is the same, 1 is as far as can be.
fn apart(a: (f64, f64), b: (f64, f64)) -> f64 {
    let turned = (1.0 - a.0 * b.0 - a.1 * b.1, a.0 * b.1 - a.1 * b.0);
    (a.0 - b.0).hypot(a.1 - b.1) / turned.0.hypot(turned.1).max(1e-12)
}

/// The inverse roots of 1 - c_1 z - c_2 z^2 - ..., by the iteration of Durand and Kerner.
fn inverse_roots(coefficients: &[f64]) -> Vec<(f64, f64)> {
    let degree = coefficients.len();
    let times = |a: (f64, f64), b: (f64, f64)| (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0);
    let mut roots: Vec<(f64, f64)> = Vec::with_capacity(degree);
    let mut power = (1.0, 0.0);
    for _ in 0..degree {
        roots.push(power);
        power = times(power, (0.4, 0.9));
    }
    for _ in 0..200 {
        let mut moved: f64 = 0.0;
        for index in 0..degree {
            let at = roots[index];
            let mut value = (1.0, 0.0);
            for coefficient in coefficients {
                value = times(value, at);
                value.0 -= coefficient;
            }
            let mut below = (1.0, 0.0);
            for (other, root) in roots.iter().enumerate() {
                if other != index {
                    below = times(below, (at.0 - root.0, at.1 - root.1));
                }
            }
            let square = (below.0 * below.0 + below.1 * below.1).max(1e-300);
            let step = times(value, (below.0 / square, -below.1 / square));
            roots[index] = (at.0 - step.0, at.1 - step.1);
            moved = moved.max(step.0.hypot(step.1));
        }
        if moved < 1e-12 {
            break;
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_autocorrelations_lead_back_to_the_coefficients() {
        let coefficients = [1.2, -0.5, 0.1];
        let there = partial(&coefficients).unwrap();
        for (left, right) in from_partial(&there).iter().zip(&coefficients) {
            assert!((left - right).abs() < 1e-12);
        }
        assert_eq!(partial(&[1.1]), None);
    }

    #[test]
    fn roots_are_judged_factor_by_factor() {
        let order = Order::plain(1, 0, 1).seasonal(1, 0, 1, 7);
        let factors = Factors::cut(&order, &[0.5, 0.3, 0.9985, -0.9986]);
        // The modulus is 1.0015 in B^7; multiplied out it would be 1.0002.
        assert!(factors.autoregression_within(1.001));
        assert!(!factors.autoregression_within(1.002));
        assert!(factors.nearly_cancels(0.05));
        assert!(!Factors::cut(&order, &[0.5, 0.3, 0.9, -0.7]).nearly_cancels(0.05));
        assert!(Factors::cut(&order, &[0.5, -0.52, 0.9, -0.7]).nearly_cancels(0.05));
        // As far apart as before, but near 1: a level that moves slowly.
        assert!(!Factors::cut(&order, &[0.98, -0.96, 0.9, -0.7]).nearly_cancels(0.05));
    }

    #[test]
    fn complex_roots_are_found() {
        // 1 - z + 0.5 z^2: inverse roots 0.5 ± 0.5i.
        let mut roots = inverse_roots(&[1.0, -0.5]);
        roots.sort_by(|left, right| left.1.total_cmp(&right.1));
        assert!((roots[1].0 - 0.5).abs() < 1e-9 && (roots[1].1 - 0.5).abs() < 1e-9, "{roots:?}");
    }

    #[test]
    fn the_products_are_multiplied_out() {
        let order = Order::plain(1, 0, 1).seasonal(1, 0, 1, 4);
        let (phi, theta) = Factors::cut(&order, &[0.5, 0.4, 0.2, -0.6]).expanded(4);
        assert_eq!(phi, [0.5, 0.0, 0.0, 0.2, -0.1]);
        assert_eq!(theta, [0.4, 0.0, 0.0, -0.6, -0.24]);
    }
}
