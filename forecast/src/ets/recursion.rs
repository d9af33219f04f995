//! One pass over a series: errors, their slopes in every unknown, and the states at the end.

use super::fitted::States;
use super::shape::{ErrorKind, Season, Shape, Trend};

/// Lowest smoothing coefficient, and distance of alpha from one.
const LEAST: f64 = 1e-4;
const DAMPING: (f64, f64) = (0.8, 0.98);

/// The smoothing coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Smoothing {
    pub(super) alpha: f64,
    /// beta / alpha.
    pub(super) trend_share: f64,
    pub(super) gamma: f64,
    pub(super) phi: f64,
}

/// A coefficient and its slopes in the unknowns of the search: (unknown, slope).
type Slopes = [(usize, f64); 2];

/// Smoothing coefficients with their slopes.
pub(super) struct Mapped {
    pub(super) smoothing: Smoothing,
    alpha: Slopes,
    trend_share: Slopes,
    gamma: Slopes,
    phi: Slopes,
}

/// From the unknowns of the search (alpha, beta, gamma, phi where there are), each the share of its range: 0 to 1.
pub(super) fn map(shape: &Shape, unknowns: &[f64]) -> Mapped {
    let share = unknowns[0];
    let alpha = LEAST + (1.0 - 2.0 * LEAST) * share;
    let own = 1.0 - 2.0 * LEAST;
    let none = [(0, 0.0); 2];
    let mut mapped = Mapped {
        smoothing: Smoothing { alpha, trend_share: 0.0, gamma: 0.0, phi: 1.0 },
        alpha: [(0, own), (0, 0.0)],
        trend_share: none,
        gamma: none,
        phi: none,
    };
    let mut next = 1;
    if shape.trend != Trend::None {
        let share = unknowns[next];
        let beta = LEAST + (alpha - LEAST).max(0.0) * share;
        mapped.smoothing.trend_share = beta / alpha;
        let by_alpha = own * (share / alpha - beta / (alpha * alpha));
        mapped.trend_share = [(next, (alpha - LEAST).max(0.0) / alpha), (0, by_alpha)];
        next += 1;
    }
    if shape.season != Season::None {
        let share = unknowns[next];
        let room = (1.0 - alpha - LEAST).max(0.0);
        mapped.smoothing.gamma = LEAST + room * share;
        mapped.gamma = [(next, room), (0, -own * share)];
        next += 1;
    }
    if shape.trend == Trend::Damped {
        let share = unknowns[next];
        mapped.smoothing.phi = DAMPING.0 + (DAMPING.1 - DAMPING.0) * share;
        mapped.phi = [(next, DAMPING.1 - DAMPING.0), (0, 0.0)];
    } else if shape.trend == Trend::None {
        mapped.smoothing.phi = 0.0;
    }
    mapped
}

fn share_of(share: f64) -> f64 {
    share.clamp(0.0, 1.0)
}

/// The inverse of [`map`] for a start.
pub(super) fn unknowns(shape: &Shape, alpha: f64, beta: f64, gamma: f64, phi: f64) -> Vec<f64> {
    let mut found = vec![share_of((alpha - LEAST) / (1.0 - 2.0 * LEAST))];
    if shape.trend != Trend::None {
        found.push(share_of((beta - LEAST) / (alpha - LEAST).max(1e-9)));
    }
    if shape.season != Season::None {
        found.push(share_of((gamma - LEAST) / (1.0 - alpha - LEAST).max(1e-9)));
    }
    if shape.trend == Trend::Damped {
        found.push(share_of((phi - DAMPING.0) / (DAMPING.1 - DAMPING.0)));
    }
    found
}

/// What a pass found, without slopes.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// Sum of squared errors.
    pub(super) square: f64,
    /// Sum of the logs of the forecasts, with multiplicative errors.
    pub(super) logs: f64,
    /// Steps observed.
    pub(super) observed: usize,
}

impl Sums {
    /// Minus the likelihood per step.
    pub(super) fn objective(&self) -> f64 {
        let count = self.observed as f64;
        let value = 0.5 * self.square.max(1e-300).ln() + self.logs / count;
        if value.is_finite() { value } else { f64::INFINITY }
    }
}

/// Moves `states` over one step. Returns forecast and error, or `None` where the model has left its region.
#[inline]
pub(super) fn step(
    shape: &Shape,
    smoothing: &Smoothing,
    states: &mut States,
    value: Option<f64>,
) -> Option<(f64, f64)> {
    let multiplicative = shape.season == Season::Multiplicative;
    let place = states.place;
    let season = if shape.season == Season::None { 0.0 } else { states.season[place] };
    let pushed = smoothing.phi * states.trend;
    let expected = states.level + pushed;
    let forecast = if multiplicative { expected * season } else { expected + season };
    if shape.season != Season::None {
        states.place = if place + 1 == states.season.len() { 0 } else { place + 1 };
    }
    let Some(value) = value else {
        states.level = expected;
        states.trend = pushed;
        return Some((forecast, 0.0));
    };
    let relative = shape.error == ErrorKind::Multiplicative;
    if (relative && forecast <= 0.0) || (multiplicative && (season <= 0.0 || expected <= 0.0)) {
        return None;
    }
    let error = if relative { (value - forecast) / forecast } else { value - forecast };
    let freed = if multiplicative { value / season } else { value - season };
    let level = expected + smoothing.alpha * (freed - expected);
    states.trend = pushed + smoothing.trend_share * (level - states.level - pushed);
    states.level = level;
    if shape.season != Season::None {
        let own = if multiplicative { value / expected } else { value - expected };
        states.season[place] = season + smoothing.gamma * (own - season);
    }
    Some((forecast, error))
}

/// A pass for the sums alone; `states` end behind the last step.
pub(super) fn pass(shape: &Shape, smoothing: &Smoothing, states: &mut States, values: &[Option<f64>]) -> Option<Sums> {
    let relative = shape.error == ErrorKind::Multiplicative;
    let mut sums = Sums::default();
    // One logarithm for many forecasts.
    let mut product = 1.0_f64;
    for value in values {
        let (forecast, error) = step(shape, smoothing, states, *value)?;
        if value.is_some() {
            sums.observed += 1;
            sums.square += error * error;
            if relative {
                product *= forecast;
                if !(1e-100..1e100).contains(&product) {
                    sums.logs += product.ln();
                    product = 1.0;
                }
            }
        }
    }
    sums.logs += product.ln();
    Some(sums)
}

/// The normal equations of a pass: squares and slopes in the unknowns (smoothing, then states).
pub(super) struct Normal {
    /// Lower triangle, row by row.
    pub(super) matrix: Vec<f64>,
    pub(super) right: Vec<f64>,
}

/// Adds a coefficient's slopes times `by`.
#[inline]
fn add(slopes: &Slopes, by: f64, into: &mut [f64]) {
    for (unknown, slope) in slopes {
        into[*unknown] += slope * by;
    }
}

/// A pass with slopes. `start` are the states before the first step.
pub(super) fn slopes(shape: &Shape, mapped: &Mapped, start: &States, values: &[Option<f64>]) -> Option<Normal> {
    let size = shape.smoothing() + shape.states();
    let multiplicative = shape.season == Season::Multiplicative;
    let seasonal = shape.season != Season::None;
    let relative = shape.error == ErrorKind::Multiplicative;
    let Smoothing { alpha, trend_share, gamma, phi } = mapped.smoothing;
    let mut states = start.clone();
    let first = shape.smoothing();
    let mut level = vec![0.0; size];
    let mut trend = vec![0.0; size];
    let mut season = vec![vec![0.0; size]; states.season.len()];
    level[first] = 1.0;
    if shape.trend != Trend::None {
        trend[first + 1] = 1.0;
    }
    let offset = first + 1 + shape.has_trend();
    for place in 0..states.season.len() {
        if place + 1 < states.season.len() {
            season[place][offset + place] = 1.0;
        } else {
            season[place][offset..].iter_mut().for_each(|slope| *slope = -1.0);
        }
    }
    let (mut pushed, mut expected, mut error) = (vec![0.0; size], vec![0.0; size], vec![0.0; size]);
    let none = vec![0.0; size];
    let mut matrix = vec![0.0; size * size];
    let mut right = vec![0.0; size];
    let mut log_slopes = vec![0.0; size];
    let mut sums = Sums::default();
    for value in values {
        let place = states.place;
        let (own_level, own_trend) = (states.level, states.trend);
        let own_season = if seasonal { states.season[place] } else { 0.0 };
        let own_pushed = phi * own_trend;
        let own_expected = own_level + own_pushed;
        let (forecast, own_error) = step(shape, &mapped.smoothing, &mut states, *value)?;
        for index in 0..size {
            pushed[index] = phi * trend[index];
        }
        add(&mapped.phi, own_trend, &mut pushed);
        for index in 0..size {
            expected[index] = level[index] + pushed[index];
        }
        let Some(value) = *value else {
            level.copy_from_slice(&expected);
            trend.copy_from_slice(&pushed);
            continue;
        };
        let of_season: &[f64] = if seasonal { &season[place] } else { &none };
        let (by_expected, by_season) = if multiplicative { (own_season, own_expected) } else { (1.0, 1.0) };
        let scale = if relative { -value / (forecast * forecast) } else { -1.0 };
        for index in 0..size {
            error[index] = by_expected * expected[index] + by_season * of_season[index];
        }
        sums.observed += 1;
        sums.square += own_error * own_error;
        if relative {
            for index in 0..size {
                log_slopes[index] += error[index] / forecast;
            }
        }
        error.iter_mut().for_each(|slope| *slope *= scale);
        for row in 0..size {
            let factor = error[row];
            right[row] += factor * own_error;
            for (cell, other) in matrix[row * size..=row * size + row].iter_mut().zip(&error) {
                *cell += factor * other;
            }
        }
        // The states' slopes, in the order in which the states themselves were corrected.
        let (freed, freed_slope) = if multiplicative {
            (value / own_season, -value / (own_season * own_season))
        } else {
            (value - own_season, -1.0)
        };
        let next_level = own_expected + alpha * (freed - own_expected);
        for index in 0..size {
            let next = (1.0 - alpha) * expected[index] + alpha * freed_slope * of_season[index];
            trend[index] = pushed[index] + trend_share * (next - level[index] - pushed[index]);
            level[index] = next;
        }
        let by_alpha = freed - own_expected;
        add(&mapped.alpha, by_alpha, &mut level);
        if shape.trend != Trend::None {
            add(&mapped.alpha, trend_share * by_alpha, &mut trend);
            add(&mapped.trend_share, next_level - own_level - own_pushed, &mut trend);
        }
        if seasonal {
            let (own, own_slope) = if multiplicative {
                (value / own_expected, -value / (own_expected * own_expected))
            } else {
                (value - own_expected, -1.0)
            };
            let into = &mut season[place];
            for index in 0..size {
                into[index] = (1.0 - gamma) * into[index] + gamma * own_slope * expected[index];
            }
            add(&mapped.gamma, own - own_season, into);
        }
    }
    if relative {
        // Errors times the geometric mean of the forecasts; its own slope belongs to them.
        let mean: Vec<f64> = log_slopes.iter().map(|slope| slope / sums.observed as f64).collect();
        for row in 0..size {
            for column in 0..=row {
                matrix[row * size + column] +=
                    right[row] * mean[column] + mean[row] * right[column] + sums.square * mean[row] * mean[column];
            }
        }
        for index in 0..size {
            right[index] += sums.square * mean[index];
        }
    }
    Some(Normal { matrix, right })
}
