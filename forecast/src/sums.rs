//! Sums of forecasts: stores to a region, regions to a brand, days to a week.
//!
//! Means add up, so sums of sums are the sum of all. Spreads do not: stores share their
//! weather, so their errors are correlated, and the mean correlation is estimated from what
//! a backtest left over ([`Residuals`]). The sum is taken for log-normal with the mean and
//! variance that follow (Fenton 1960, with correlation).
//!
//! Invariant: a sum's mean is the sum of the means, at every level.

use std::collections::BTreeMap;

const Z_80: f64 = 1.281_551_565_544_600_4;
const Z_95: f64 = 1.959_963_984_540_054;

/// One thing that is added up, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summand {
    /// Expected value.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
}

impl Summand {
    /// From a mean and the bounds of a calibrated central 80 percent.
    pub fn from_interval(mean: f64, (low, high): (f64, f64)) -> Self {
        Self { mean, deviation: (high - low).max(0.0) / (2.0 * Z_80) }
    }
}

/// A sum with its intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// The sum of the means.
    pub mean: f64,
    /// As likely to be over as under.
    pub median: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Bounds of the central 80 percent.
    pub interval_80: (f64, f64),
    /// Bounds of the central 95 percent.
    pub interval_95: (f64, f64),
}

impl Sum {
    /// Adds up; `correlation` is that of any two on average, 0 to 1.
    pub fn of(summands: impl IntoIterator<Item = Summand>, correlation: f64) -> Self {
        let (mut mean, mut squares, mut linear) = (0.0, 0.0, 0.0);
        for one in summands {
            mean += one.mean;
            squares += one.deviation * one.deviation;
            linear += one.deviation;
        }
        let correlation = correlation.clamp(0.0, 1.0);
        let variance: f64 = (1.0 - correlation) * squares + correlation * linear * linear;
        let deviation = variance.sqrt();
        if mean <= 0.0 {
            let bounds = |z: f64| (mean - z * deviation, mean + z * deviation);
            return Self { mean, median: mean, deviation, interval_80: bounds(Z_80), interval_95: bounds(Z_95) };
        }
        let spread = (variance / (mean * mean)).ln_1p();
        let middle = mean * (-spread / 2.0).exp();
        let bounds = |z: f64| (middle * (-z * spread.sqrt()).exp(), middle * (z * spread.sqrt()).exp());
        Self { mean, median: middle, deviation, interval_80: bounds(Z_80), interval_95: bounds(Z_95) }
    }
}

/// Gathers what a backtest left over, to find how errors go together. Holds two sums a day, not
/// the residuals.
#[derive(Debug, Clone, Default)]
pub struct Residuals {
    by_day: BTreeMap<i64, (f64, f64, usize)>,
}

impl Residuals {
    /// Adds a residual of a day, divided by its standard deviation; one that is far out
    /// counts as 4, so that no single store decides for all.
    pub fn add(&mut self, day: i64, standardized: f64) {
        if standardized.is_finite() {
            let value = standardized.clamp(-4.0, 4.0);
            let sums = self.by_day.entry(day).or_default();
            *sums = (sums.0 + value, sums.1 + value * value, sums.2 + 1);
        }
    }

    /// Takes in what others gathered.
    pub fn merge(&mut self, other: &Residuals) {
        for (day, (sum, square, seen)) in &other.by_day {
            let sums = self.by_day.entry(*day).or_default();
            *sums = (sums.0 + sum, sums.1 + square, sums.2 + seen);
        }
    }

    /// The mean correlation of two series' errors on one day, 0 to 1; `None` with fewer than 14
    /// days on which two were seen.
    pub fn correlation(&self) -> Option<f64> {
        // On a day, the square of the sum less the sum of squares is that of all pairs' products.
        let (mut products, mut pairs, mut squares, mut count, mut days) = (0.0, 0.0, 0.0, 0.0, 0);
        for (sum, square, seen) in self.by_day.values().filter(|(.., seen)| *seen >= 2) {
            let seen = *seen as f64;
            products += sum * sum - square;
            pairs += seen * (seen - 1.0);
            squares += square;
            count += seen;
            days += 1;
        }
        (days >= 14 && squares > 0.0).then(|| ((products / pairs) / (squares / count)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Random;

    #[test]
    fn the_correlation_that_was_put_in_is_found_and_sums_cover_what_they_promise() {
        let mut random = Random::new(5);
        let mut residuals = Residuals::default();
        let (stores, days, shared) = (12, 400, 0.3_f64);
        let mut totals = Vec::new();
        for day in 0..days {
            let weather = random.normal();
            let mut total = 0.0;
            for _ in 0..stores {
                let z = shared.sqrt() * weather + (1.0 - shared).sqrt() * random.normal();
                residuals.add(day, z);
                total += 1000.0 + 100.0 * z;
            }
            totals.push(total);
        }
        let correlation = residuals.correlation().unwrap();
        assert!((correlation - shared).abs() < 0.06, "{correlation}");
        let summands = || (0..stores).map(|_| Summand { mean: 1000.0, deviation: 100.0 });
        let share = |sum: Sum| {
            let within = |total: &&f64| (sum.interval_80.0..=sum.interval_80.1).contains(*total);
            totals.iter().filter(within).count() as f64 / totals.len() as f64
        };
        assert!((share(Sum::of(summands(), correlation)) - 0.8).abs() < 0.06);
        assert!(share(Sum::of(summands(), 0.0)) < 0.6, "independence would promise far too much");
    }

    #[test]
    fn sums_of_sums_are_the_sum_of_all() {
        let stores = [3.0, 5.5, 8.25, 1.0].map(|mean| Summand { mean, deviation: 1.0 });
        let all = Sum::of(stores, 0.4);
        let regions = [Sum::of(stores[..2].to_vec(), 0.4), Sum::of(stores[2..].to_vec(), 0.4)];
        assert_eq!(regions[0].mean + regions[1].mean, all.mean);
        assert!(all.interval_95.0 < all.interval_80.0 && all.interval_80.0 < all.median && all.median < all.mean);
        assert_eq!(Sum::of([], 0.5).mean, 0.0);
        assert_eq!(Residuals::default().correlation(), None);
    }
}
