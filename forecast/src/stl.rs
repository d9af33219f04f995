//! Splits a series into season, trend and rest by local regression (STL).
//!
//! Source: Cleveland, Cleveland, McRae and Terpenning, "STL: a seasonal-trend decomposition
//! procedure based on loess", Journal of Official Statistics 6 (1990).

use super::FitError;

/// How a series is split. Windows are odd numbers of steps; jumps say at which steps a local
/// regression is computed, with straight lines between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Steps of a season.
    pub season: usize,
    /// Seasons that the seasonal smoother looks at; `None` is all, a profile that never changes.
    pub seasonal_window: Option<usize>,
    /// Rounds in which outlying steps lose weight; 0 is the plain decomposition.
    pub robust_rounds: usize,
}

/// The three parts, one number a step each; they add up to the series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decomposition {
    /// The profile of the season, around zero.
    pub seasonal: Vec<f64>,
    /// The level.
    pub trend: Vec<f64>,
    /// What is left.
    pub remainder: Vec<f64>,
}

impl Decomposition {
    /// How much of what is not trend is season: 0 is nothing, 1 is all.
    ///
    /// Source: Wang, Smith and Hyndman, Data Mining and Knowledge Discovery 13 (2006).
    pub fn seasonal_strength(&self) -> f64 {
        let both: Vec<f64> = self.seasonal.iter().zip(&self.remainder).map(|(s, r)| s + r).collect();
        let (rest, whole) = (variance(&self.remainder), variance(&both));
        if whole > 0.0 { (1.0 - rest / whole).clamp(0.0, 1.0) } else { 0.0 }
    }
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

fn next_odd(value: f64) -> usize {
    let whole = value.ceil() as usize;
    if whole.is_multiple_of(2) { whole + 1 } else { whole }
}

/// A loess smoother: window, degree 0 or 1, and jump.
#[derive(Clone, Copy)]
struct Smoother {
    window: usize,
    linear: bool,
    jump: usize,
}

impl Smoother {
    fn new(window: usize, linear: bool) -> Self {
        Self { window, linear, jump: window.div_ceil(10) }
    }

    /// The local regression at `at` (1-based, may lie outside) on the steps `left..=right`.
    fn at(
        &self,
        values: &[f64],
        weights: Option<&[f64]>,
        at: f64,
        left: usize,
        right: usize,
        row: &mut [f64],
    ) -> Option<f64> {
        let count = values.len();
        let mut reach = (at - left as f64).max(right as f64 - at);
        if self.window > count {
            reach += ((self.window - count) / 2) as f64;
        }
        let (far, close) = (0.999 * reach, 0.001 * reach);
        let mut total = 0.0;
        for step in left..=right {
            let distance = (step as f64 - at).abs();
            row[step - 1] = 0.0;
            if distance <= far {
                let tricube = if distance <= close { 1.0 } else { (1.0 - (distance / reach).powi(3)).powi(3) };
                row[step - 1] = tricube * weights.map_or(1.0, |weights| weights[step - 1]);
                total += row[step - 1];
            }
        }
        if total <= 0.0 {
            return None;
        }
        row[left - 1..right].iter_mut().for_each(|weight| *weight /= total);
        if self.linear && reach > 0.0 {
            let centre: f64 = (left..=right).map(|step| row[step - 1] * step as f64).sum();
            let offset = at - centre;
            let spread: f64 = (left..=right).map(|step| row[step - 1] * (step as f64 - centre).powi(2)).sum();
            if spread.sqrt() > 0.001 * (count as f64 - 1.0) {
                let slope = offset / spread;
                for step in left..=right {
                    row[step - 1] *= slope * (step as f64 - centre) + 1.0;
                }
            }
        }
        Some((left..=right).map(|step| row[step - 1] * values[step - 1]).sum())
    }

    /// Smooths at every step.
    fn smooth(&self, values: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let count = values.len();
        if count < 2 {
            return values.to_vec();
        }
        let mut row = vec![0.0; count];
        let mut smoothed = vec![0.0; count];
        let jump = self.jump.min(count - 1);
        let half = self.window.div_ceil(2);
        let range = |step: usize| -> (usize, usize) {
            if self.window >= count {
                (1, count)
            } else if step < half {
                (1, self.window)
            } else if step > count - half {
                (count - self.window + 1, count)
            } else {
                (step + 1 - half, self.window + step - half)
            }
        };
        let mut fill = |step: usize, smoothed: &mut Vec<f64>| {
            let (left, right) = range(step);
            let found = self.at(values, weights, step as f64, left, right, &mut row);
            smoothed[step - 1] = found.unwrap_or(values[step - 1]);
        };
        let mut last = 1;
        let mut step = 1;
        while step <= count {
            fill(step, &mut smoothed);
            last = step;
            step += jump;
        }
        if last != count {
            fill(count, &mut smoothed);
        }
        let mut between = |from: usize, to: usize| {
            let slope = (smoothed[to - 1] - smoothed[from - 1]) / (to - from) as f64;
            for step in from + 1..to {
                smoothed[step - 1] = smoothed[from - 1] + slope * (step - from) as f64;
            }
        };
        let mut from = 1;
        while jump > 1 && from + jump <= count {
            between(from, from + jump);
            from += jump;
        }
        if last != count {
            between(last, count);
        }
        smoothed
    }
}

fn moving_average(values: &[f64], width: usize) -> Vec<f64> {
    let mut sum: f64 = values[..width].iter().sum();
    let mut averages = vec![sum / width as f64];
    for step in width..values.len() {
        sum += values[step] - values[step - width];
        averages.push(sum / width as f64);
    }
    averages
}

/// Splits `values`, oldest first and without gaps.
///
/// # Errors
/// With fewer than two seasons, or a season of one step.
pub fn decompose(values: &[f64], options: Options) -> Result<Decomposition, FitError> {
    let season = options.season;
    let model = || format!("STL[{season}]");
    if season < 2 {
        return Err(FitError::Refused { model: model(), reason: "a season has two steps or more".to_owned() });
    }
    if values.len() < 2 * season + 1 {
        return Err(FitError::TooShort { model: model(), observed: values.len(), needed: 2 * season + 1 });
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(FitError::Refused { model: model(), reason: "a value is not finite".to_owned() });
    }
    let count = values.len();
    let window = options.seasonal_window.unwrap_or(10 * count + 1).max(3) | 1;
    let seasonal = Smoother::new(window, false);
    let trend = Smoother::new(next_odd(1.5 * season as f64 / (1.0 - 1.5 / window as f64)), true);
    let low = Smoother::new(next_odd(season as f64), true);
    let mut parts = Decomposition { seasonal: vec![0.0; count], trend: vec![0.0; count], remainder: Vec::new() };
    let mut weights: Option<Vec<f64>> = None;
    for round in 0..=options.robust_rounds {
        let inner = if options.robust_rounds > 0 { 1 } else { 2 };
        for _ in 0..inner {
            let detrended: Vec<f64> = values.iter().zip(&parts.trend).map(|(value, trend)| value - trend).collect();
            let cycles = cycle_subseries(&detrended, season, seasonal, weights.as_deref());
            let passed = moving_average(&moving_average(&moving_average(&cycles, season), season), 3);
            let passed = low.smooth(&passed, None);
            for step in 0..count {
                parts.seasonal[step] = cycles[season + step] - passed[step];
            }
            let adjusted: Vec<f64> = values.iter().zip(&parts.seasonal).map(|(value, part)| value - part).collect();
            parts.trend = trend.smooth(&adjusted, weights.as_deref());
        }
        if round < options.robust_rounds {
            weights = Some(robustness(values, &parts));
        }
    }
    if options.seasonal_window.is_none() {
        average_profile(&mut parts.seasonal, season);
    }
    parts.remainder = (0..count).map(|step| values[step] - parts.seasonal[step] - parts.trend[step]).collect();
    Ok(parts)
}

/// Smooths the steps of each place in the season on their own, one season further at both ends.
fn cycle_subseries(values: &[f64], season: usize, smoother: Smoother, weights: Option<&[f64]>) -> Vec<f64> {
    let mut cycles = vec![0.0; values.len() + 2 * season];
    for place in 0..season {
        let own: Vec<f64> = values[place..].iter().step_by(season).copied().collect();
        let own_weights: Option<Vec<f64>> =
            weights.map(|weights| weights[place..].iter().step_by(season).copied().collect());
        let own_weights = own_weights.as_deref();
        let count = own.len();
        let mut row = vec![0.0; count];
        let smoothed = smoother.smooth(&own, own_weights);
        let before = smoother.at(&own, own_weights, 0.0, 1, smoother.window.min(count), &mut row);
        let left = (count + 1).saturating_sub(smoother.window).max(1);
        let after = smoother.at(&own, own_weights, count as f64 + 1.0, left, count, &mut row);
        cycles[place] = before.unwrap_or(smoothed[0]);
        for (index, value) in smoothed.iter().enumerate() {
            cycles[place + (index + 1) * season] = *value;
        }
        cycles[place + (count + 1) * season] = after.unwrap_or(smoothed[count - 1]);
    }
    cycles
}

/// Bisquare weights of the remainders, six median absolute deviations wide.
fn robustness(values: &[f64], parts: &Decomposition) -> Vec<f64> {
    let size: Vec<f64> =
        (0..values.len()).map(|step| (values[step] - parts.seasonal[step] - parts.trend[step]).abs()).collect();
    let mut sorted = size.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let wide = 3.0 * (sorted[middle] + sorted[sorted.len() - 1 - middle]);
    let weight = |size: &f64| match *size {
        size if size <= 0.001 * wide => 1.0,
        size if size <= 0.999 * wide => (1.0 - (size / wide).powi(2)).powi(2),
        _ => 0.0,
    };
    size.iter().map(weight).collect()
}

fn average_profile(seasonal: &mut [f64], season: usize) {
    for place in 0..season {
        let own: Vec<f64> = seasonal[place..].iter().step_by(season).copied().collect();
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        seasonal[place..].iter_mut().step_by(season).for_each(|value| *value = mean);
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Generator;
    use super::*;

    fn series() -> Vec<f64> {
        let mut generator = Generator::new(11);
        (0..210_u32)
            .map(|step| {
                100.0
                    + 0.3 * f64::from(step)
                    + [5.0, -3.0, 0.0, 2.0, 8.0, -10.0, -2.0][step as usize % 7]
                    + generator.normal()
            })
            .collect()
    }

    #[test]
    fn the_parts_add_up_and_are_the_ones_that_were_put_in() {
        let values = series();
        for seasonal_window in [Some(7), None] {
            let parts = decompose(&values, Options { season: 7, seasonal_window, robust_rounds: 0 }).unwrap();
            for (step, value) in values.iter().enumerate() {
                let sum = parts.seasonal[step] + parts.trend[step] + parts.remainder[step];
                assert!((sum - value).abs() < 1e-9);
            }
            assert!((parts.trend[100] - 130.0).abs() < 1.5, "{}", parts.trend[100]);
            assert!((parts.seasonal[102] - 8.0).abs() < 1.5, "{}", parts.seasonal[102]);
            assert!(parts.seasonal_strength() > 0.9);
        }
    }

    #[test]
    fn robust_rounds_leave_a_spike_in_the_rest() {
        let mut values = series();
        values[100] += 60.0;
        let spike = |robust_rounds| {
            let parts = decompose(&values, Options { season: 7, seasonal_window: Some(7), robust_rounds }).unwrap();
            parts.remainder[100]
        };
        assert!(spike(8) > 55.0 && spike(0) < 50.0, "{} {}", spike(8), spike(0));
    }

    #[test]
    fn less_than_two_seasons_are_refused() {
        let options = Options { season: 7, seasonal_window: Some(7), robust_rounds: 0 };
        assert!(matches!(decompose(&[1.0; 14], options), Err(FitError::TooShort { observed: 14, needed: 15, .. })));
        assert!(matches!(decompose(&[1.0; 14], Options { season: 1, ..options }), Err(FitError::Refused { .. })));
    }
}
