//! How far forecasts were off.

use serde::{Deserialize, Serialize};

use super::prepare::History;
use super::types::Point;
use crate::accuracy::{Accuracy, Scales, Scored};

/// Errors of a series' forecasts over one or more cut-offs. The absolute errors (MASE,
/// WAPE), coverage and MSIS are the median's and its intervals'; RMSSE and bias are the
/// mean's, which is what they are minimal for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Days scored.
    pub days: usize,
    /// Mean absolute scaled error.
    pub mase: Option<f64>,
    /// The same of the mean, for who compares it with models that publish means only.
    pub mase_of_mean: Option<f64>,
    /// Root mean squared scaled error.
    pub rmsse: Option<f64>,
    /// Absolute errors over what was observed.
    pub wape: Option<f64>,
    /// Errors over what was observed; above zero is too much.
    pub bias: Option<f64>,
    /// Share of days within the 80 percent interval.
    pub coverage_80: Option<f64>,
    /// Share of days within the 95 percent interval.
    pub coverage_95: Option<f64>,
    /// Mean scaled interval score at 95 percent.
    pub msis: Option<f64>,
}

/// A forecast day that was observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) median: Scored,
    pub(super) mean: Scored,
    pub(super) kind: DayKind,
}

/// What kind of day errors are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DayKind {
    Normal,
    Promotion,
    Holiday,
}

/// Pairs points with what was observed; days closed or unobserved are left out.
pub(super) fn judged(points: &[Point], kinds: &[DayKind], actual: impl Fn(usize) -> Option<f64>) -> Vec<Judged> {
    let pair = |(point, kind): (&Point, &DayKind)| {
        let actual = actual(point.lead)?;
        let median =
            Scored { actual, forecast: point.median, interval_80: point.interval_80, interval_95: point.interval_95 };
        (!point.closed).then_some(Judged { median, mean: Scored { forecast: point.mean, ..median }, kind: *kind })
    };
    points.iter().zip(kinds).filter_map(pair).collect()
}

impl Scores {
    pub(super) fn of(judged: &[Judged], scales: Scales) -> Self {
        let medians: Vec<Scored> = judged.iter().map(|one| one.median).collect();
        let means: Vec<Scored> = judged.iter().map(|one| one.mean).collect();
        let (median, mean) = (Accuracy::of(&medians, scales), Accuracy::of(&means, scales));
        Self {
            days: median.steps,
            mase: median.mase,
            mase_of_mean: mean.mase,
            rmsse: mean.rmsse,
            wape: median.wape,
            bias: mean.bias,
            coverage_80: median.coverage_80,
            coverage_95: median.coverage_95,
            msis: median.msis,
        }
    }
}

/// The scales of a history, from the days that count.
pub(super) fn scales(history: &History) -> Scales {
    let values: Vec<Option<f64>> = (0..history.values.len()).map(|day| history.value(day)).collect();
    Scales::of(&values, 7)
}
