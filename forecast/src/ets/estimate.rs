//! Finds smoothing coefficients and initial states of highest likelihood.

use super::super::linear::Cholesky;
use super::super::stationarity::interpolated;
use super::Error;
use super::fitted::{Fitted, States};
use super::recursion::{self, Mapped, map, pass, slopes};
use super::shape::{Season, Shape};

/// Iterations of a first look, and at most.
const LOOK: usize = 4;
const MOST: usize = 120;
/// What an iteration must gain in the likelihood of a step to be followed by another.
const GAIN: f64 = 2e-8;
/// Where a first look begins: alpha, beta, gamma.
const STARTS: [(f64, f64, f64); 4] = [(0.1, 0.01, 0.02), (0.5, 0.05, 0.1), (0.85, 0.1, 0.05), (0.3, 0.25, 0.4)];
/// The same with a trend that begins at nothing: a walk whose steps persist, and a level that hardly moves.
const FLAT: [(f64, f64, f64); 3] = [(0.98, 0.9, 0.01), (0.3, 0.01, 0.02), (0.05, 0.015, 0.001)];

/// The states that a row of unknowns stands for; `scale` is the size of the series.
fn states(shape: &Shape, unknowns: &[f64], scale: f64) -> States {
    let mut rest = &unknowns[shape.smoothing()..];
    let mut take = || {
        let (first, tail) = rest.split_first().map_or((0.0, rest), |(first, tail)| (*first, tail));
        rest = tail;
        first
    };
    let level = scale * take();
    let trend = if shape.has_trend() == 1 { scale * take() } else { 0.0 };
    let mut season: Vec<f64> = Vec::new();
    if shape.season != Season::None {
        season.extend((1..shape.period).map(|_| take()));
        let sum: f64 = season.iter().sum();
        season.push(if shape.season == Season::Multiplicative { shape.period as f64 - sum } else { -sum });
        if shape.season == Season::Additive {
            season.iter_mut().for_each(|value| *value *= scale);
        }
    }
    States { level, trend, season, place: 0 }
}

/// How far each unknown of a row moves the state it stands for.
fn unit(shape: &Shape, index: usize, scale: f64) -> f64 {
    let first = shape.smoothing();
    let additive = index < first + 1 + shape.has_trend() || shape.season == Season::Additive;
    if index >= first && additive { scale } else { 1.0 }
}

/// Level, slope and profile of the first seasons: where the search for the states begins.
fn first_states(shape: &Shape, values: &[Option<f64>], scale: f64) -> Vec<f64> {
    let filled = interpolated(values);
    let period = if shape.season == Season::None { 1 } else { shape.period };
    let head = filled.len().min((4 * period).max(10));
    let head = head - if head >= 2 * period { head % period } else { 0 };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let level = mean(&filled[..head]);
    let slope = if head >= 2 * period {
        let half = head / 2;
        (mean(&filled[half..head]) - mean(&filled[..half])) / half as f64
    } else {
        0.0
    };
    let mut row = Vec::new();
    let start = level - slope * (head as f64 + 1.0) / 2.0;
    row.push(if shape.has_trend() == 1 { start / scale } else { mean(&filled[..period.min(head)]) / scale });
    if shape.has_trend() == 1 {
        row.push(slope / scale);
    }
    if shape.season != Season::None {
        let around = |step: usize| level + slope * (step as f64 - (head as f64 - 1.0) / 2.0);
        let profile: Vec<f64> = (0..period)
            .map(|place| {
                let own: Vec<f64> = (place..head)
                    .step_by(period)
                    .map(|step| {
                        if shape.season == Season::Multiplicative {
                            filled[step] / around(step)
                        } else {
                            (filled[step] - around(step)) / scale
                        }
                    })
                    .collect();
                mean(&own)
            })
            .collect();
        let whole = mean(&profile);
        for value in &profile[..period - 1] {
            row.push(if shape.season == Season::Multiplicative { (value / whole).max(0.05) } else { value - whole });
        }
    }
    row
}

/// The initial states of a model of another shape, as unknowns of this one.
fn states_of(shape: &Shape, near: &Fitted, scale: f64) -> Vec<f64> {
    let initial = &near.initial;
    let mut row = vec![initial.level / scale];
    if shape.has_trend() == 1 {
        row.push(initial.trend / scale);
    }
    if shape.season != Season::None {
        let whole = if initial.level == 0.0 { scale } else { initial.level };
        for place in 0..shape.period - 1 {
            let own = initial.season.get(place).copied();
            row.push(match (near.shape.season, shape.season) {
                (Season::None, Season::Multiplicative) => 1.0,
                (Season::None, _) => 0.0,
                (Season::Additive, Season::Multiplicative) => (1.0 + own.unwrap_or(0.0) / whole).max(0.05),
                (Season::Multiplicative, Season::Additive) => (own.unwrap_or(1.0) - 1.0) * whole / scale,
                (Season::Multiplicative, _) => own.unwrap_or(1.0),
                (Season::Additive, _) => own.unwrap_or(0.0) / scale,
            });
        }
    }
    row
}

struct Descent<'a> {
    shape: Shape,
    values: &'a [Option<f64>],
    scale: f64,
    at: Vec<f64>,
    value: f64,
    damping: f64,
}

impl Descent<'_> {
    fn value_at(&self, unknowns: &[f64]) -> f64 {
        let mapped = map(&self.shape, unknowns);
        let mut states = states(&self.shape, unknowns, self.scale);
        pass(&self.shape, &mapped.smoothing, &mut states, self.values).map_or(f64::INFINITY, |sums| sums.objective())
    }

    /// Goes on for some iterations; returns whether it has come to rest.
    fn run(&mut self, iterations: usize, gain: f64) -> bool {
        let size = self.at.len();
        for _ in 0..iterations {
            let mapped: Mapped = map(&self.shape, &self.at);
            let start = states(&self.shape, &self.at, self.scale);
            let Some(normal) = slopes(&self.shape, &mapped, &start, self.values) else { return true };
            let units: Vec<f64> = (0..size).map(|index| unit(&self.shape, index, self.scale)).collect();
            let mut matrix = normal.matrix;
            for row in 0..size {
                for column in 0..=row {
                    matrix[row * size + column] *= units[row] * units[column];
                }
            }
            let mut right: Vec<f64> = normal.right.iter().zip(&units).map(|(value, unit)| -value * unit).collect();
            let largest = (0..size).map(|index| matrix[index * size + index]).fold(0.0, f64::max);
            if largest.is_nan() || largest <= 0.0 {
                return true;
            }
            // What lies at the edge of its range and would leave it takes no part.
            for index in 0..self.shape.smoothing() {
                let outward =
                    (self.at[index] <= 0.0 && right[index] < 0.0) || (self.at[index] >= 1.0 && right[index] > 0.0);
                if outward {
                    right[index] = 0.0;
                    for other in 0..size {
                        matrix[index.max(other) * size + index.min(other)] = if other == index { largest } else { 0.0 };
                    }
                }
            }
            let mut moved = false;
            for _ in 0..12 {
                let mut damped = matrix.clone();
                for index in 0..size {
                    let own = damped[index * size + index];
                    damped[index * size + index] = own * (1.0 + self.damping) + 1e-14 * largest;
                }
                let step = Cholesky::new(&damped, size, 1e-15).solve(&right);
                let mut trial: Vec<f64> = self.at.iter().zip(&step).map(|(at, step)| at + step).collect();
                for value in &mut trial[..self.shape.smoothing()] {
                    *value = value.clamp(0.0, 1.0);
                }
                let there = self.value_at(&trial);
                if there < self.value {
                    moved = self.value - there > gain;
                    self.value = there;
                    self.at = trial;
                    self.damping = (self.damping * 0.2).max(1e-9);
                    break;
                }
                self.damping = (self.damping * 6.0).max(1e-6);
                if self.damping > 1e8 {
                    break;
                }
            }
            if !moved {
                return true;
            }
        }
        false
    }
}

/// Fits one model of the family.
///
/// `values` are even steps, oldest first, `None` where nothing was observed.
///
/// # Errors
/// When the series is too short, or not above zero for a model that divides.
pub fn fit(values: &[Option<f64>], shape: Shape) -> Result<Fitted, Error> {
    fit_near(values, shape, None)
}

/// As [`fit`], with a model of another shape to begin from.
pub(super) fn fit_near(values: &[Option<f64>], shape: Shape, near: Option<&Fitted>) -> Result<Fitted, Error> {
    let refused = |reason: &str| Err(Error::Refused { model: shape.to_string(), reason: reason.to_owned() });
    if values.iter().flatten().any(|value| !value.is_finite()) {
        return refused("a value is not finite");
    }
    if shape.season != Season::None && shape.period < 2 {
        return refused("a season has two steps or more");
    }
    let observed = values.iter().flatten().count();
    let needed = shape.smoothing() + shape.states() + 3;
    if observed < needed {
        return Err(Error::TooShort { model: shape.to_string(), observed, needed });
    }
    if shape.needs_positive() && values.iter().flatten().any(|value| *value <= 0.0) {
        return refused("it needs values above zero");
    }
    let mean = values.iter().flatten().map(|value| value.abs()).sum::<f64>() / observed as f64;
    let scale = if mean > 0.0 { mean } else { 1.0 };
    let first = first_states(&shape, values, scale);
    let begin = |(alpha, beta, gamma): (f64, f64, f64), phi: f64, states: &[f64]| {
        let mut at = recursion::unknowns(&shape, alpha, beta, gamma, phi);
        at.extend_from_slice(states);
        let mut descent = Descent { shape, values, scale, at, value: f64::INFINITY, damping: 1e-3 };
        descent.value = descent.value_at(&descent.at);
        descent
    };
    let mut flat = first.clone();
    if shape.has_trend() == 1 {
        let head = interpolated(&values[..values.len().min(2 * shape.period.max(5))]);
        flat[0] = head.iter().sum::<f64>() / head.len() as f64 / scale;
        flat[1] = 0.0;
    }
    let mut descents: Vec<Descent<'_>> = Vec::new();
    if let Some(near) = near {
        let states = states_of(&shape, near, scale);
        descents.push(begin((near.alpha, 0.01_f64.min(near.alpha / 2.0), near.gamma.unwrap_or(0.02)), 0.9, &states));
        descents.push(begin(STARTS[1], 0.95, &first));
    } else {
        descents.extend(STARTS.iter().map(|start| begin(*start, 0.95, &first)));
    }
    if shape.has_trend() == 1 {
        let skip = if near.is_some() { 2 } else { 0 };
        descents.extend(FLAT.iter().skip(skip).map(|start| begin(*start, 0.9, &flat)));
    }
    descents.retain(|descent| descent.value.is_finite());
    for descent in &mut descents {
        descent.run(LOOK, 1e-6);
    }
    descents.sort_by(|left, right| left.value.total_cmp(&right.value));
    // The second best may still overtake; one that ended in the same place would not.
    let lowest = descents.first().map_or(0.0, |best| best.value);
    descents.truncate(2);
    descents.retain(|descent| descent.value - lowest < 0.02);
    if let [best, second] = &descents[..]
        && second.value - best.value < 1e-6
    {
        descents.truncate(1);
    }
    for descent in &mut descents {
        descent.run(MOST, GAIN);
    }
    let best = descents.into_iter().min_by(|left, right| left.value.total_cmp(&right.value));
    let not_found = || Error::NotFound { model: shape.to_string() };
    let best = best.ok_or_else(not_found)?;
    let mapped = map(&shape, &best.at);
    Fitted::new(shape, mapped.smoothing, states(&shape, &best.at, scale), values).ok_or_else(not_found)
}
