//! How wrong a forecast was: every measure, and its borders, defined once.
//!
//! Steps that were not observed, and those a caller leaves out (closed days), are not scored.
//!
//! | measure | definition | when it is undefined |
//! |---|---|---|
//! | MASE | mean of the absolute error / mean of the absolute difference one season apart in the history | nothing scored, or a history without differences (see [`Scales`]) |
//! | RMSSE | root mean square error / root mean square difference of neighbours in the history | the same |
//! | WAPE | sum of absolute errors / sum of absolute actuals | actuals are all zero |
//! | bias | sum of (forecast - actual) / sum of absolute actuals; above zero is too high | actuals are all zero |
//! | sMAPE | mean of 200 abs(error) / (abs(actual) + abs(forecast)); both zero counts as no error | nothing scored |
//! | coverage | share of actuals within the interval, bounds included | nothing scored |
//! | MSIS | mean interval score (width + 2/alpha times the miss) / the scale of MASE | as MASE |
//!
//! What is undefined is `None`, never zero and never infinite, and is left out of means over series.
//!
//! Sources: Hyndman and Koehler, Int. J. Forecasting 22 (2006) (MASE); Makridakis et al., M4 and
//! M5, Int. J. Forecasting 36 (2020) and 38 (2022) (MSIS, RMSSE); Gneiting and Raftery, JASA 102 (2007).

/// What errors are measured against, from the history a forecast was made of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scales {
    /// Mean absolute difference of observations one season apart. Where those are all zero
    /// or none, of neighbours; where those are too, there is no scale.
    pub absolute: Option<f64>,
    /// Root mean square difference of neighbours; no scale where that is zero.
    pub square: Option<f64>,
}

impl Scales {
    /// Measures `history` (oldest first, `None` where not observed) with `season` steps.
    pub fn of(history: &[Option<f64>], season: usize) -> Self {
        let differences = |lag: usize| -> Vec<f64> {
            let pairs = history.iter().skip(lag).zip(history);
            pairs.filter_map(|(now, then)| Some((now.as_ref()? - then.as_ref()?).abs())).collect()
        };
        let positive = |value: f64| (value.is_finite() && value > 0.0).then_some(value);
        let mean = |values: &[f64]| positive(values.iter().sum::<f64>() / values.len() as f64);
        let neighbours = differences(1);
        let squares: f64 = neighbours.iter().map(|value| value * value).sum();
        Self {
            absolute: mean(&differences(season.max(1))).or_else(|| mean(&neighbours)),
            square: positive((squares / neighbours.len() as f64).sqrt()),
        }
    }
}

/// A forecast and what came of it, in the unit of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// What was observed.
    pub actual: f64,
    /// What was forecast.
    pub forecast: f64,
    /// Bounds of the central 80 percent.
    pub interval_80: (f64, f64),
    /// Bounds of the central 95 percent.
    pub interval_95: (f64, f64),
}

/// The measures of one series over some steps. Shares are fractions of one, sMAPE is a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accuracy {
    /// Steps scored.
    pub steps: usize,
    /// Mean absolute error, in the unit of the series.
    pub mae: Option<f64>,
    /// Root mean square error, in the unit of the series.
    pub rmse: Option<f64>,
    /// Mean absolute scaled error.
    pub mase: Option<f64>,
    /// Root mean squared scaled error.
    pub rmsse: Option<f64>,
    /// Weighted absolute percentage error, as a fraction.
    pub wape: Option<f64>,
    /// Signed error as a fraction of the actuals; above zero is too high.
    pub bias: Option<f64>,
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: Option<f64>,
    /// Share of actuals within the 80 percent interval.
    pub coverage_80: Option<f64>,
    /// Share of actuals within the 95 percent interval.
    pub coverage_95: Option<f64>,
    /// Mean scaled interval score of the 95 percent interval.
    pub msis: Option<f64>,
}

impl Accuracy {
    /// Scores `points` on `scales`.
    pub fn of(points: &[Scored], scales: Scales) -> Self {
        if points.is_empty() {
            return Self::default();
        }
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&Scored) -> f64| points.iter().map(of).sum::<f64>() / count;
        let error = |point: &Scored| point.forecast - point.actual;
        let mae = mean(&|point| error(point).abs());
        let rmse = mean(&|point| error(point).powi(2)).sqrt();
        let level = mean(&|point| point.actual.abs());
        let per_level = |value: f64| (level > 0.0).then(|| value / level);
        let within = |point: &Scored, (low, high): (f64, f64)| f64::from(low <= point.actual && point.actual <= high);
        let interval_score = mean(&|point| interval_score(point.actual, point.interval_95, 0.05));
        Self {
            steps: points.len(),
            mae: Some(mae),
            rmse: Some(rmse),
            mase: scales.absolute.map(|scale| mae / scale),
            rmsse: scales.square.map(|scale| rmse / scale),
            wape: per_level(mae),
            bias: per_level(mean(&error)),
            smape: Some(mean(&|point| {
                let size = point.actual.abs() + point.forecast.abs();
                if size > 0.0 { 200.0 * error(point).abs() / size } else { 0.0 }
            })),
            coverage_80: Some(mean(&|point| within(point, point.interval_80))),
            coverage_95: Some(mean(&|point| within(point, point.interval_95))),
            msis: scales.absolute.map(|scale| interval_score / scale),
        }
    }
}

/// Width of an interval that misses with probability `alpha`, and 2/alpha times how far it missed.
pub fn interval_score(actual: f64, (low, high): (f64, f64), alpha: f64) -> f64 {
    high - low + 2.0 / alpha * ((low - actual).max(0.0) + (actual - high).max(0.0))
}

/// The mean over series of what is defined, and how many that were.
pub fn mean_defined(values: impl IntoIterator<Item = Option<f64>>) -> (Option<f64>, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for value in values.into_iter().flatten() {
        sum += value;
        count += 1;
    }
    ((count > 0).then(|| sum / count as f64), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(actual: f64, forecast: f64) -> Scored {
        Scored {
            actual,
            forecast,
            interval_80: (forecast - 1.0, forecast + 1.0),
            interval_95: (forecast - 2.0, forecast + 2.0),
        }
    }

    #[test]
    fn each_measure_is_the_one_of_its_definition() {
        let history: Vec<Option<f64>> = [1.0, 4.0, 2.0, 6.0].map(Some).to_vec();
        let scales = Scales::of(&history, 2);
        assert_eq!(scales.absolute, Some(1.5));
        assert!((scales.square.unwrap() - (29.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let accuracy = Accuracy::of(&[scored(10.0, 12.0), scored(5.0, 2.0), scored(0.0, 0.0)], scales);
        assert!((accuracy.mase.unwrap() - 5.0 / 3.0 / 1.5).abs() < 1e-12);
        assert!((accuracy.wape.unwrap() - 5.0 / 15.0).abs() < 1e-12);
        assert!((accuracy.bias.unwrap() + 1.0 / 15.0).abs() < 1e-12);
        assert!((accuracy.smape.unwrap() - (400.0 / 22.0 + 600.0 / 7.0) / 3.0).abs() < 1e-12);
        assert!((accuracy.coverage_80.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!((accuracy.coverage_95.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        // One of three misses its interval of width 4 by one: 40 times that.
        assert!((accuracy.msis.unwrap() - (4.0 + 40.0 / 3.0) / 1.5).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_scale_is_undefined_and_left_out_of_means() {
        let constant = Scales::of(&[Some(3.0); 20], 7);
        assert_eq!(constant, Scales::default());
        assert_eq!(Accuracy::of(&[scored(3.0, 3.0)], constant).mase, None);
        assert_eq!(Accuracy::of(&[scored(0.0, 1.0)], constant).wape, None);
        assert_eq!(Accuracy::of(&[], constant).smape, None);
        // The same every week, but not every day: neighbours stand in.
        let weekly: Vec<Option<f64>> = (0..21).map(|day| Some(f64::from(day % 7))).collect();
        assert_eq!(Scales::of(&weekly, 7).absolute, Scales::of(&weekly, 1).absolute);
        assert_eq!(Scales::of(&[None, Some(1.0), None, Some(2.0)], 1), Scales::default());
        assert_eq!(mean_defined([Some(1.0), None, Some(2.0)]), (Some(1.5), 2));
        assert_eq!(mean_defined([None, None]), (None, 0));
    }
}
