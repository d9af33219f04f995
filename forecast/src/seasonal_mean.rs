//! The mean of the last few values at the same place of the season, such as the last four Mondays.
//!
//! The plainest model that is hard to beat on daily sales, and what stands in when others fail.

use super::step::Step;
use super::{FitError, seasonal_naive};

/// Forecasts `horizon` steps behind the end of `values` by the mean of the last `seasons` observed
/// values at the same place.
///
/// A place that was never observed has no forecast. The spread is that of the same forecast
/// one season ahead within the series; it does not grow, as nothing of it accumulates.
///
/// # Errors
/// When `season` or `seasons` is zero, or no value has one before it at the same place.
pub fn seasonal_mean(
    values: &[Option<f64>],
    season: usize,
    seasons: usize,
    horizon: usize,
) -> Result<Vec<Option<Step>>, FitError> {
    let model = || format!("mean of {seasons} seasons of {season}");
    if season == 0 || seasons == 0 {
        return Err(FitError::Refused { model: model(), reason: "needs one step and one season at least".to_owned() });
    }
    let mut history: Vec<Vec<f64>> = vec![Vec::new(); season];
    let mean_of_last = |own: &[f64]| {
        let last = &own[own.len().saturating_sub(seasons)..];
        (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
    };
    let (mut square, mut count) = (0.0, 0_usize);
    for (step, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let own = &mut history[step % season];
        if let Some(mean) = mean_of_last(own) {
            square += (value - mean).powi(2);
            count += 1;
        }
        own.push(*value);
    }
    if count == 0 {
        let observed = values.iter().flatten().count();
        return Err(FitError::TooShort { model: model(), observed, needed: season + 1 });
    }
    let standard_error = (square / count as f64).sqrt();
    Ok((0..horizon)
        .map(|ahead| mean_of_last(&history[(values.len() + ahead) % season]).map(|mean| Step { mean, standard_error }))
        .collect())
}

/// As [`seasonal_mean`] over four seasons; where that has nothing, the same step one season ago.
///
/// # Errors
/// When neither has anything.
pub fn floor(values: &[Option<f64>], season: usize, horizon: usize) -> Result<Vec<Option<Step>>, FitError> {
    seasonal_mean(values, season, 4, horizon).or_else(|error| {
        let naive = seasonal_naive(values, season, horizon).map_err(|_| error)?;
        let step = |point: seasonal_naive::Point| Step {
            mean: point.mean,
            standard_error: (point.interval_95.1 - point.mean) / 1.959_963_984_540_054,
        };
        Ok(naive.into_iter().map(|point| point.map(step)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_of_each_place_are_averaged_and_gaps_skipped() {
        let mut values: Vec<Option<f64>> = (0..42).map(|day| Some(f64::from(day / 7))).collect();
        values[35] = None;
        let steps = seasonal_mean(&values, 7, 4, 8).unwrap();
        assert_eq!(steps[0].unwrap().mean, 2.5);
        assert_eq!(steps[1].unwrap().mean, 3.5);
        assert_eq!(steps[7].unwrap().mean, 2.5);
        for week in 0..6 {
            values[week * 7 + 3] = None;
        }
        assert_eq!(seasonal_mean(&values, 7, 4, 7).unwrap()[3], None);
        assert!(matches!(seasonal_mean(&values[..7], 7, 4, 7), Err(FitError::TooShort { .. })));
        assert!(floor(&values[..7], 7, 7).is_err());
    }
}
