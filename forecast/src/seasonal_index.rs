//! One number a place of the season, by classical decomposition.
//!
//! Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, §3.4.

/// The profile of a season.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    /// Factors around one, or differences around zero.
    pub(super) values: Vec<f64>,
    pub(super) multiplicative: bool,
}

impl Profile {
    pub(super) fn apply(&self, value: f64, place: usize) -> f64 {
        if self.multiplicative { value * self.values[place] } else { value + self.values[place] }
    }

    pub(super) fn remove(&self, values: &[f64]) -> Vec<f64> {
        let own = |step: usize| self.values[step % self.values.len()];
        values
            .iter()
            .enumerate()
            .map(|(step, value)| if self.multiplicative { value / own(step) } else { value - own(step) })
            .collect()
    }
}

/// The profile of `values` around a centred moving average: factors where no value is below zero
/// and every season has some above it, differences otherwise.
pub(super) fn classical(values: &[f64], period: usize) -> Profile {
    let half = period / 2;
    let mut sums = vec![(0.0, 0.0); period];
    let mut multiplicative = values.iter().all(|value| *value >= 0.0)
        && values.windows(period).all(|season| season.iter().any(|value| *value > 0.0));
    let profile = |multiplicative: bool, sums: &mut Vec<(f64, f64)>| -> Vec<f64> {
        sums.iter_mut().for_each(|sum| *sum = (0.0, 0.0));
        for step in half..values.len() - half {
            let window = &values[step - half..=step + half];
            let mut total: f64 = window.iter().sum();
            if period.is_multiple_of(2) {
                total -= 0.5 * (window[0] + window[period]);
            }
            let trend = total / period as f64;
            let own = if multiplicative { values[step] / trend } else { values[step] - trend };
            sums[step % period].0 += own;
            sums[step % period].1 += 1.0;
        }
        let means: Vec<f64> = sums.iter().map(|(sum, count)| sum / count).collect();
        let mean = means.iter().sum::<f64>() / period as f64;
        means.iter().map(|value| if multiplicative { value / mean } else { value - mean }).collect()
    };
    let mut found = profile(multiplicative, &mut sums);
    if multiplicative && found.iter().any(|value| *value < 1e-3) {
        multiplicative = false;
        found = profile(false, &mut sums);
    }
    Profile { values: found, multiplicative }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_differences_are_found() {
        let factors = [0.5, 1.0, 1.5, 1.0];
        let values: Vec<f64> = (0..40).map(|step| 10.0 * factors[step % 4]).collect();
        let profile = classical(&values, 4);
        assert!(profile.multiplicative);
        for (found, put) in profile.values.iter().zip(factors) {
            assert!((found - put).abs() < 1e-9, "{profile:?}");
        }
        assert!(profile.remove(&values).iter().all(|value| (value - 10.0).abs() < 1e-9));
        let shifted: Vec<f64> = values.iter().map(|value| value - 10.0).collect();
        assert!(!classical(&shifted, 4).multiplicative);
    }
}
