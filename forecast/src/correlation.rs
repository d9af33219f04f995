//! Autocorrelations of a series.
//!
//! Source: Box, Jenkins and Reinsel, "Time Series Analysis", 3rd edition, ch. 2 and 3.

/// Autocorrelations at lags 1..=`lags`; sums run over the pairs that were observed.
///
/// Zeros for a constant series.
pub fn autocorrelation(values: &[Option<f64>], lags: usize) -> Vec<f64> {
    let observed: Vec<f64> = values.iter().flatten().copied().collect();
    let mean = observed.iter().sum::<f64>() / observed.len().max(1) as f64;
    // As if divided by the pairs there are: without gaps both are the number of steps.
    let covariance = |lag: usize| -> f64 {
        let pairs = values.iter().skip(lag).zip(values);
        let (mut sum, mut count) = (0.0, 0_usize);
        for (now, then) in pairs {
            if let (Some(now), Some(then)) = (now, then) {
                sum += (now - mean) * (then - mean);
                count += 1;
            }
        }
        sum / (count + lag) as f64
    };
    let variance = covariance(0);
    (1..=lags).map(|lag| if variance > 0.0 && lag < values.len() { covariance(lag) / variance } else { 0.0 }).collect()
}

/// Partial autocorrelations at lags 1..=`lags`, by the recursion of Durbin and Levinson.
pub fn partial_autocorrelation(values: &[Option<f64>], lags: usize) -> Vec<f64> {
    let correlation = autocorrelation(values, lags);
    let mut predictor: Vec<f64> = Vec::with_capacity(lags);
    let mut partial = Vec::with_capacity(lags);
    for lag in 0..lags {
        let known: f64 = predictor.iter().enumerate().map(|(index, value)| value * correlation[lag - 1 - index]).sum();
        let left: f64 = 1.0 - predictor.iter().zip(&correlation).map(|(value, own)| value * own).sum::<f64>();
        let last = if left > 1e-12 { (correlation[lag] - known) / left } else { 0.0 };
        let before = predictor.clone();
        for (index, value) in predictor.iter_mut().enumerate() {
            *value -= last * before[lag - 1 - index];
        }
        predictor.push(last);
        partial.push(last);
    }
    partial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_series_by_hand() {
        let values = [1.0, 2.0, 3.0, 4.0].map(Some);
        let correlation = autocorrelation(&values, 2);
        assert!((correlation[0] - 0.25).abs() < 1e-12 && (correlation[1] + 0.3).abs() < 1e-12, "{correlation:?}");
        let partial = partial_autocorrelation(&values, 2);
        assert!((partial[1] - (-0.3 - 0.0625) / (1.0 - 0.0625)).abs() < 1e-12, "{partial:?}");
        assert_eq!(autocorrelation(&[Some(1.0); 9], 2), [0.0, 0.0]);
    }
}
