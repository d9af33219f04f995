//! The value of the same step one season ago: the mark that any other model must beat.
//!
//! Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice",
//! 3rd edition, §5.2 (the forecast) and §5.5 (its variance).

/// Quantiles of the standard normal distribution at 90 and 97.5 percent.
const Z_80: f64 = 1.281_551_565_544_600_4;
const Z_95: f64 = 1.959_963_984_540_054;

/// A forecast of one step, in the unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Expected value.
    pub mean: f64,
    /// As likely to be over as under.
    pub median: f64,
    /// Bounds of the central 80 percent.
    pub interval_80: (f64, f64),
    /// Bounds of the central 95 percent.
    pub interval_95: (f64, f64),
}

/// Why a series was not forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing to compare with itself one season ago.
    #[error("{observed} of {needed} observations that a season needs")]
    TooShort {
        /// Observations there are.
        observed: usize,
        /// Observations needed.
        needed: usize,
    },
    /// A season has at least one step.
    #[error("a season of no steps")]
    NoSeason,
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooShort { .. } => Some("a new series is forecast once it has two seasons"),
            Self::NoSeason => Some("set `season_days` to 1 or more"),
        }
    }
}

/// Forecasts `horizon` steps behind the end of `values`.
///
/// Where the step one season ago is missing, the one before that stands in; a step
/// that was never observed in any season, such as a weekday on which a shop is
/// always closed, has no forecast.
/// The spread is the root mean square of the differences one season apart,
/// growing with the root of the number of seasons ahead.
///
/// # Errors
/// When fewer than two seasons, or no two values one season apart, were observed.
pub fn seasonal_naive(values: &[Option<f64>], season: usize, horizon: usize) -> Result<Vec<Option<Point>>, Error> {
    if season == 0 {
        return Err(Error::NoSeason);
    }
    let observed = values.iter().flatten().count();
    let too_short = Error::TooShort { observed, needed: 2 * season };
    if values.len() < 2 * season {
        return Err(too_short);
    }
    let squares: Vec<f64> = values[season..]
        .iter()
        .zip(values)
        .filter_map(|(now, then)| Some((now.as_ref()? - then.as_ref()?).powi(2)))
        .collect();
    if squares.is_empty() {
        return Err(too_short);
    }
    let spread = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    let last_at = |step: usize| -> Option<f64> {
        (0..values.len() / season)
            .filter_map(|seasons_ago| (values.len() + step).checked_sub((seasons_ago + 1) * season))
            .find_map(|at| values[at])
    };
    let point = |ahead: usize| -> Option<Point> {
        let mean = last_at(ahead % season)?;
        let width = spread * ((ahead / season + 1) as f64).sqrt();
        Some(Point {
            mean,
            median: mean,
            interval_80: (mean - Z_80 * width, mean + Z_80 * width),
            interval_95: (mean - Z_95 * width, mean + Z_95 * width),
        })
    };
    Ok((0..horizon).map(point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_week_is_repeated_and_the_interval_grows_by_the_week() {
        let values: Vec<Option<f64>> =
            (0..21).map(|day| Some(f64::from(day % 7) * 10.0 + f64::from(day / 7))).collect();
        let points: Vec<Point> = seasonal_naive(&values, 7, 14).unwrap().into_iter().flatten().collect();
        assert_eq!(points.len(), 14);
        assert_eq!(points[0].mean, 2.0);
        assert_eq!(points[13].mean, 62.0);
        let width = |point: &Point| point.interval_95.1 - point.interval_95.0;
        assert!((width(&points[0]) - 2.0 * Z_95).abs() < 1e-12);
        assert!((width(&points[7]) / width(&points[0]) - 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_missing_day_is_not_taken_for_zero() {
        let mut values: Vec<Option<f64>> = (0..21).map(|day| Some(f64::from(day % 7) + 1.0)).collect();
        values[14] = None;
        assert_eq!(seasonal_naive(&values, 7, 1).unwrap()[0].map(|point| point.mean), Some(1.0));
        // A weekday that was never observed has no forecast; the others have.
        values[0] = None;
        values[7] = None;
        let points = seasonal_naive(&values, 7, 14).unwrap();
        assert_eq!(points.iter().filter(|point| point.is_none()).count(), 2);
        assert!(points[0].is_none() && points[7].is_none());
        assert_eq!(seasonal_naive(&values[..10], 7, 1), Err(Error::TooShort { observed: 8, needed: 14 }));
    }

    #[test]
    fn the_reference_values_are_reproduced() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/forecast-reference/reference.json");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: the reference values are not here");
            return;
        };
        let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
        let series = reference["series"].as_object().or_else(|| reference.as_object()).unwrap();
        let mut compared = 0;
        for (name, one) in series {
            let Some(expected) = one["snaive"]["forecast"].as_object().or_else(|| one["snaive"].as_object()) else {
                continue;
            };
            let numbers = |value: &serde_json::Value| -> Vec<Option<f64>> {
                value.as_array().unwrap().iter().map(serde_json::Value::as_f64).collect()
            };
            let history = if one["y_filled"].is_array() { &one["y_filled"] } else { &one["y"] };
            let season = one["frequency"].as_u64().unwrap() as usize;
            let mean = numbers(&expected["mean"]);
            let points = seasonal_naive(&numbers(history), season, mean.len()).unwrap();
            assert_eq!(points.iter().flatten().count(), mean.len(), "{name}");
            let high = numbers(&expected["hi95"]);
            for (index, point) in points.iter().flatten().enumerate() {
                for (ours, theirs) in [(point.mean, mean[index]), (point.interval_95.1, high[index])] {
                    let theirs = theirs.unwrap();
                    assert!(
                        (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0),
                        "{name} step {index}: {ours} {theirs}"
                    );
                }
            }
            compared += 1;
        }
        assert!(compared >= 10, "compared {compared} series");
    }
}
