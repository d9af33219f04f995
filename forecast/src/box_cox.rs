//! The power transformation that evens out a spread that grows with the level.
//!
//! Sources: Box and Cox, J. Royal Statistical Society B 26 (1964); Guerrero, J. Forecasting 12 (1993).

/// Transforms a value above zero: its logarithm for 0, (value^lambda - 1) / lambda otherwise.
pub fn transformed(value: f64, lambda: f64) -> f64 {
    if lambda.abs() < 1e-8 { value.ln() } else { (value.powf(lambda) - 1.0) / lambda }
}

/// Takes the transformation back; zero where it leaves what it can have come from.
pub fn restored(value: f64, lambda: f64) -> f64 {
    if lambda.abs() < 1e-8 { value.exp() } else { (lambda * value + 1.0).max(0.0).powf(1.0 / lambda) }
}

/// What is added to a criterion (minus twice a log-likelihood) of transformed values to compare
/// it with that of the values themselves.
pub fn jacobian(values: &[Option<f64>], lambda: f64) -> f64 {
    -2.0 * (lambda - 1.0) * values.iter().flatten().map(|value| value.ln()).sum::<f64>()
}

/// The lambda between -1 and 2 with which the spread within stretches of a season (at least two
/// steps) varies least in proportion to their level. Stretches are counted from the end.
///
/// `None` where a value is not above zero, or there are not two whole stretches.
pub fn guerrero(values: &[f64], period: usize) -> Option<f64> {
    let length = period.max(2);
    if values.iter().any(|value| value.is_nan() || *value <= 0.0) || values.len() < 2 * length {
        return None;
    }
    let stretches: Vec<(f64, f64)> = values[values.len() % length..]
        .chunks_exact(length)
        .map(|stretch| {
            let mean = stretch.iter().sum::<f64>() / length as f64;
            let square: f64 = stretch.iter().map(|value| (value - mean).powi(2)).sum();
            (mean, (square / (length - 1) as f64).sqrt())
        })
        .collect();
    let variation = |lambda: f64| -> f64 {
        let ratios: Vec<f64> = stretches.iter().map(|(mean, spread)| spread / mean.powf(1.0 - lambda)).collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let square: f64 = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
        if mean > 0.0 { (square / (ratios.len() - 1) as f64).sqrt() / mean } else { 0.0 }
    };
    // A grid, then halves of the interval around its lowest point.
    let at = |index: i32| -1.0 + 0.1 * f64::from(index);
    let lowest = (0..=30).min_by(|left, right| variation(at(*left)).total_cmp(&variation(at(*right))))?;
    let (mut low, mut high) = (at((lowest - 1).max(0)), at((lowest + 1).min(30)));
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if variation(left) < variation(right) {
            high = right;
        } else {
            low = left;
        }
    }
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_transformed_is_restored() {
        for lambda in [-0.5, 0.0, 0.3, 1.0] {
            assert!((restored(transformed(17.0, lambda), lambda) - 17.0).abs() < 1e-9);
        }
        assert_eq!(jacobian(&[Some(5.0), None], 1.0), 0.0);
        assert!((jacobian(&[Some(5.0), None], 0.0) - 2.0 * 5.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_spread_in_proportion_to_the_level_asks_for_the_logarithm() {
        let values: Vec<f64> = (0..84)
            .map(|step| (0.03 * f64::from(step / 7 * 7)).exp() * [0.8, 0.9, 1.0, 1.0, 1.1, 1.3, 0.9][step as usize % 7])
            .collect();
        assert!(guerrero(&values, 7).unwrap().abs() < 0.01, "{:?}", guerrero(&values, 7));
        assert_eq!(guerrero(&[1.0, 0.0, 2.0, 3.0], 2), None);
    }
}
