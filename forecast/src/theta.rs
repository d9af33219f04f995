//! The theta method, in its first form and with everything optimised.
//!
//! Sources: Assimakopoulos and Nikolopoulos, Int. J. Forecasting 16 (2000); Hyndman and Billah,
//! Int. J. Forecasting 19 (2003) (exponential smoothing with half the slope as drift);
//! Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler, Int. J. Forecasting 32 (2016) (dynamic).

use super::correlation::autocorrelation;
use super::ets::{self, ErrorKind, Season, Shape, Trend};
use super::optimize::nelder_mead;
use super::stationarity::interpolated;
use super::step::Step;
use super::{FitError, seasonal_index};

/// Which theta method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Simple exponential smoothing, and half the slope of a straight line.
    Standard,
    /// The line is fitted anew at each step, and its weight is found with the smoothing.
    DynamicOptimized,
}

/// What was fitted, and the forecasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Theta {
    /// Correction of the level by an error.
    pub alpha: f64,
    /// Weight of the bends: 2 in the standard method.
    pub theta: f64,
    /// Whether a season was taken out first and put back.
    pub seasonal: bool,
    /// One forecast a step.
    pub steps: Vec<Step>,
}

/// Forecasts `horizon` steps behind the last one.
///
/// A season of `period` steps is taken out where the autocorrelation at that lag is significant
/// at 10 percent: as factors, or as differences where a value is below zero or a whole season zero. Gaps are filled
/// in a straight line.
///
/// # Errors
/// With fewer than four observations, or when no smoothing was found.
pub fn theta(values: &[Option<f64>], period: usize, horizon: usize, method: Method) -> Result<Theta, FitError> {
    let observed = values.iter().flatten().count();
    if observed < 4 {
        return Err(FitError::TooShort { model: "theta".to_owned(), observed, needed: 4 });
    }
    if values.iter().flatten().any(|value| !value.is_finite()) {
        return Err(FitError::Refused { model: "theta".to_owned(), reason: "a value is not finite".to_owned() });
    }
    let filled = interpolated(values);
    let profile = significant(&filled, period).then(|| seasonal_index::classical(&filled, period));
    let adjusted = profile.as_ref().map_or_else(|| filled.clone(), |profile| profile.remove(&filled));
    let mut found = match method {
        Method::Standard => standard(&adjusted, horizon)?,
        Method::DynamicOptimized => dynamic(&adjusted, horizon),
    };
    if let Some(profile) = profile {
        found.seasonal = true;
        for (ahead, step) in found.steps.iter_mut().enumerate() {
            let place = (filled.len() + ahead) % period;
            step.mean = profile.apply(step.mean, place);
            if profile.multiplicative {
                step.standard_error *= profile.values[place].abs();
            }
        }
    }
    Ok(found)
}

fn significant(values: &[f64], period: usize) -> bool {
    if period < 2 || values.len() <= 2 * period {
        return false;
    }
    let some: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
    let correlation = autocorrelation(&some, period);
    let before: f64 = correlation[..period - 1].iter().map(|value| value * value).sum();
    correlation[period - 1].abs() > 1.645 * ((1.0 + 2.0 * before) / values.len() as f64).sqrt()
}

fn standard(values: &[f64], horizon: usize) -> Result<Theta, FitError> {
    let some: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
    let shape = Shape { error: ErrorKind::Additive, trend: Trend::None, season: Season::None, period: 1 };
    let smoothed = ets::fit(&some, shape)?;
    let count = values.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for (step, value) in values.iter().enumerate() {
        let offset = step as f64 - middle;
        both += offset * (value - mean);
        square += offset * offset;
    }
    let drift = both / square / 2.0;
    let alpha = smoothed.alpha;
    let begun = (1.0 - (1.0 - alpha).powf(count)) / alpha;
    let steps = smoothed
        .forecast(horizon)
        .into_iter()
        .enumerate()
        .map(|(ahead, step)| Step { mean: step.mean + drift * (ahead as f64 + begun), ..step })
        .collect();
    Ok(Theta { alpha, theta: 2.0, seasonal: false, steps })
}

/// The states of the dynamic model behind a step.
#[derive(Clone, Copy)]
struct Line {
    level: f64,
    mean: f64,
    slope: f64,
    seen: f64,
    /// (1 - alpha) to the power of the steps seen.
    left: f64,
}

impl Line {
    fn forecast(&self, alpha: f64, theta: f64) -> f64 {
        let intercept = self.mean - (self.seen + 1.0) / 2.0 * self.slope;
        let share = (1.0 - self.left * (1.0 - alpha)) / alpha;
        self.level + (1.0 - 1.0 / theta) * (self.left * intercept + share * self.slope)
    }

    fn take(&mut self, value: f64, alpha: f64) {
        self.level += alpha * (value - self.level);
        let seen = self.seen + 1.0;
        // The slope of the straight line through all values so far, carried on.
        self.slope = ((seen - 2.0) * self.slope + 6.0 / seen * (value - self.mean)) / (seen + 1.0);
        self.mean += (value - self.mean) / seen;
        self.seen = seen;
        self.left *= 1.0 - alpha;
    }
}

fn dynamic(values: &[f64], horizon: usize) -> Theta {
    let mean = values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64;
    let scale = if mean > 0.0 { mean } else { 1.0 };
    let unpack = |at: &[f64]| {
        let alpha = 0.001 + 0.998 / (1.0 + (-at[0]).exp());
        (alpha, 1.0 + at[1].clamp(-20.0, 6.0).exp(), at[2] * scale)
    };
    let run = |at: &[f64]| -> (Line, f64) {
        let (alpha, theta, level) = unpack(at);
        let mut line = Line { level, mean: 0.0, slope: 0.0, seen: 0.0, left: 1.0 };
        let mut square = 0.0;
        for (step, value) in values.iter().enumerate() {
            // The first two have no line yet.
            if step >= 2 {
                square += (value - line.forecast(alpha, theta)).powi(2);
            }
            if step == 0 {
                line.mean = *value;
            }
            line.take(*value, alpha);
            if step == 0 {
                line.slope = 0.0;
            }
        }
        (line, square)
    };
    let mut objective = |at: &[f64]| run(at).1.max(1e-300).ln();
    let first = values[0] / scale;
    let mut best = nelder_mead(&mut objective, &[-1.0, 0.0, first], 0.7, 1e-7, 120);
    let other = nelder_mead(&mut objective, &[1.5, 0.5, first], 0.7, 1e-7, 120);
    if other.value < best.value {
        best = other;
    }
    let best = nelder_mead(&mut objective, &best.at, 0.2, 1e-9, 250);
    let (alpha, theta, _) = unpack(&best.at);
    let (mut line, square) = run(&best.at);
    let sigma2 = square / (values.len().saturating_sub(5).max(1)) as f64;
    let steps = (0..horizon)
        .map(|ahead| {
            let mean = line.forecast(alpha, theta);
            line.take(mean, alpha);
            Step { mean, standard_error: (sigma2 * (1.0 + alpha * alpha * ahead as f64)).sqrt() }
        })
        .collect();
    Theta { alpha, theta, seasonal: false, steps }
}

#[cfg(test)]
mod tests {
    use super::super::random::Generator;
    use super::*;

    fn series(steps: usize) -> Vec<Option<f64>> {
        let mut generator = Generator::new(21);
        let factors = [0.8, 0.9, 1.0, 1.0, 1.1, 1.3, 0.9];
        (0..steps)
            .map(|step| Some((200.0 + 0.2 * step as f64) * factors[step % 7] * (1.0 + 0.02 * generator.normal())))
            .collect()
    }

    #[test]
    fn both_methods_carry_the_season_and_the_rise_on() {
        for method in [Method::Standard, Method::DynamicOptimized] {
            let found = theta(&series(350), 7, 14, method).unwrap();
            assert!(found.seasonal);
            for (ahead, step) in found.steps.iter().enumerate() {
                let at = 350 + ahead;
                let expected = (200.0 + 0.2 * at as f64) * [0.8, 0.9, 1.0, 1.0, 1.1, 1.3, 0.9][at % 7];
                assert!((step.mean / expected - 1.0).abs() < 0.04, "{method:?} {ahead}: {} {expected}", step.mean);
            }
            assert!(found.steps[13].standard_error >= found.steps[6].standard_error);
        }
    }

    #[test]
    fn a_season_of_zeros_makes_it_additive_and_noise_has_none() {
        let mut values = series(100);
        values[3..12].fill(Some(0.0));
        assert!(theta(&values, 7, 7, Method::Standard).unwrap().steps.iter().all(|step| step.mean.is_finite()));
        let mut generator = Generator::new(22);
        let noise: Vec<Option<f64>> = (0..200).map(|_| Some(generator.normal())).collect();
        assert!(!theta(&noise, 7, 7, Method::Standard).unwrap().seasonal);
        assert!(matches!(theta(&noise[..3], 7, 7, Method::Standard), Err(FitError::TooShort { observed: 3, .. })));
        let constant = theta(&[Some(2.0); 40], 7, 3, Method::DynamicOptimized).unwrap();
        assert!(constant.steps.iter().all(|step| (step.mean - 2.0).abs() < 1e-6), "{constant:?}");
    }
}
