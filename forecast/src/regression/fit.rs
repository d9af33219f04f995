//! The fit itself.

use super::cholesky::Cholesky;
use super::design::Design;
use super::effect::{Effect, Part};

/// Days between knots of the level.
const KNOT_DAYS: usize = 28;
/// How far the level walks from knot to knot (standard deviation, log scale).
const KNOT_SD: f64 = 0.06;
/// A level shift may be this large before anything was seen.
const SHIFT_SD: f64 = 0.5;
/// Residuals beyond so many standard deviations are pulled back to that.
const CLIP: f64 = 4.0;
const ROUNDS: usize = 4;
const MOST_SHIFTS: usize = 4;
/// Columns of days all must come before this many; the matrix is dense.
const MOST_COLUMNS: usize = 700;

/// What is believed of an effect before the series is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Expected value.
    pub mean: f64,
    /// Standard deviation around it.
    pub sd: f64,
}

/// A regression that was fitted.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Value of each effect, in the order of [`Design::effects`].
    pub values: Vec<f64>,
    /// Its variance.
    pub variances: Vec<f64>,
    /// The level by day, over history and horizon, as seen from the end: shifts are out.
    pub level: Vec<f64>,
    /// What a level shift still ahead of a day of history adds to it (0 after the last).
    pub shifted: Vec<f64>,
    /// Days at which the level shifted, with the size.
    pub shifts: Vec<(usize, f64)>,
    /// Observed less fitted by day of history; `NaN` where nothing was observed.
    pub residuals: Vec<f64>,
    /// Robust standard deviation of the residuals.
    pub sigma: f64,
    /// Correlation of residuals one day apart.
    pub correlation: f64,
    root: Cholesky,
}

struct Workspace<'a> {
    y: &'a [f64],
    design: &'a Design,
    prior: &'a [Prior],
    base: f64,
    first_knot: usize,
    knots: usize,
    shifts: Vec<usize>,
}

impl Workspace<'_> {
    fn effects(&self) -> usize {
        self.design.effects().len()
    }

    fn size(&self) -> usize {
        self.effects() + self.knots + self.shifts.len()
    }

    /// Adds the cells of a day: effects, two knots, shifts still ahead.
    fn row(&self, day: usize, factor: f64, row: &mut Vec<(usize, f64)>) {
        row.extend(self.design.row(day).iter().map(|(column, value)| (*column as usize, value * factor)));
        let effects = self.effects();
        let last = self.y.len() - 1;
        if day >= last {
            row.push((effects + self.knots - 1, factor));
        } else if day < self.first_knot {
            row.push((effects, factor));
        } else {
            let (knot, within) = ((day - self.first_knot) / KNOT_DAYS, (day - self.first_knot) % KNOT_DAYS);
            let share = within as f64 / KNOT_DAYS as f64;
            row.push((effects + knot, factor * (1.0 - share)));
            if within > 0 {
                row.push((effects + knot + 1, factor * share));
            }
        }
        for (at, shift) in self.shifts.iter().enumerate() {
            if day < *shift {
                row.push((effects + self.knots + at, -factor));
            }
        }
    }

    fn fitted(&self, day: usize, solution: &[f64], row: &mut Vec<(usize, f64)>) -> f64 {
        row.clear();
        self.row(day, 1.0, row);
        self.base + row.iter().map(|(column, value)| solution[*column] * value).sum::<f64>()
    }

    /// Solves for `target`, whose noise has standard deviation `sigma` and lag-one correlation `correlation`.
    fn solve(&self, target: &[f64], sigma: f64, correlation: f64) -> Option<(Vec<f64>, Cholesky)> {
        let size = self.size();
        let (effects, knots) = (self.effects(), self.knots);
        let mut matrix = vec![0.0; size * size];
        let mut right = vec![0.0; size];
        for (at, prior) in self.prior.iter().enumerate() {
            let precision = prior.sd.powi(-2);
            matrix[at * size + at] += precision;
            right[at] += precision * prior.mean;
        }
        matrix[effects * size + effects] += 5.0_f64.powi(-2);
        let walk = KNOT_SD.powi(-2);
        for knot in effects + 1..effects + knots {
            matrix[knot * size + knot] += walk;
            matrix[(knot - 1) * size + knot - 1] += walk;
            matrix[knot * size + knot - 1] -= walk;
        }
        for shift in effects + knots..size {
            matrix[shift * size + shift] += SHIFT_SD.powi(-2);
        }
        let mut row: Vec<(usize, f64)> = Vec::with_capacity(64);
        let mut before: Option<usize> = None;
        // Innovations have the variance (1 - correlation²) of the noise's.
        let marginal = sigma.powi(-2);
        for (day, value) in target.iter().enumerate() {
            if value.is_nan() {
                continue;
            }
            row.clear();
            self.row(day, 1.0, &mut row);
            let mut left = value - self.base;
            let mut weight = marginal;
            if let Some(earlier) = before.filter(|earlier| day - earlier <= 7 && correlation != 0.0) {
                let factor = correlation.powi((day - earlier) as i32);
                self.row(earlier, -factor, &mut row);
                left -= factor * (target[earlier] - self.base);
                weight = marginal / (1.0 - factor * factor);
            }
            before = Some(day);
            for (column, cell) in &row {
                let scaled = cell * weight;
                right[*column] += scaled * left;
                let line = &mut matrix[column * size..column * size + column + 1];
                for (other, value) in &row {
                    if other <= column {
                        line[*other] += scaled * value;
                    }
                }
            }
        }
        let root = Cholesky::of(matrix, size)?;
        root.solve(&mut right);
        right.iter().all(|value| value.is_finite()).then_some((right, root))
    }

    fn residuals(&self, solution: &[f64]) -> Vec<f64> {
        let mut row = Vec::with_capacity(64);
        let residual = |(day, value): (usize, &f64)| value - self.fitted(day, solution, &mut row);
        self.y.iter().enumerate().map(residual).collect()
    }
}

/// Fits `y`, one number a day of history, `NaN` where a day shall not be used.
/// `design` covers history and horizon, `prior` has one entry an effect.
/// `None` when fewer than 14 days can be used, or the numbers allow no solution.
pub fn fit(y: &[f64], design: &Design, prior: &[Prior]) -> Option<Fit> {
    let used: Vec<f64> = y.iter().copied().filter(|value| !value.is_nan()).collect();
    if used.len() < 14 || y.len() > design.days() || prior.len() != design.effects().len() {
        return None;
    }
    let last = y.len() - 1;
    let knots = last / KNOT_DAYS + 1;
    let mut work = Workspace {
        y,
        design,
        prior,
        base: median(&mut used.clone()),
        first_knot: last - (knots - 1) * KNOT_DAYS,
        knots,
        shifts: Vec::new(),
    };
    if work.size() > MOST_COLUMNS {
        return None;
    }
    let (mut sigma, mut correlation) = (0.1, 0.0);
    let (mut solution, mut root) = work.solve(y, sigma, correlation)?;
    for round in 1..ROUNDS {
        let residuals = work.residuals(&solution);
        sigma = spread(&residuals).max(1e-4);
        if round == 1 {
            work.shifts = find_shifts(&work, &solution, sigma);
        }
        let target = clipped(y, &residuals, sigma);
        correlation = lag_one(&residuals, sigma);
        (solution, root) = work.solve(&target, sigma, correlation)?;
    }
    let residuals = work.residuals(&solution);
    sigma = spread(&residuals).max(1e-4);
    Some(finish(&work, solution, root, residuals, sigma, correlation))
}

fn finish(
    work: &Workspace<'_>,
    mut solution: Vec<f64>,
    root: Cholesky,
    residuals: Vec<f64>,
    sigma: f64,
    correlation: f64,
) -> Fit {
    let effects = work.effects();
    let mut row = Vec::new();
    let mut level = Vec::with_capacity(work.design.days());
    for day in 0..work.design.days() {
        row.clear();
        work.row(day, 1.0, &mut row);
        let knots = row.iter().filter(|(column, _)| (effects..effects + work.knots).contains(column));
        level.push(work.base + knots.map(|(column, value)| solution[*column] * value).sum::<f64>());
    }
    let mut shifted = vec![0.0; work.y.len()];
    let mut shifts = Vec::new();
    for (at, day) in work.shifts.iter().enumerate() {
        let size = solution[effects + work.knots + at];
        shifted[..*day].iter_mut().for_each(|value| *value -= size);
        shifts.push((*day, size));
    }
    let variances = root.inverse_diagonal(effects);
    solution.truncate(effects);
    Fit { values: solution, variances, level, shifted, shifts, residuals, sigma, correlation, root }
}

impl Fit {
    /// What a day's effects add, without its weekday.
    pub fn effect(&self, design: &Design, day: usize) -> f64 {
        let cells = design.row(day).iter().filter(|(column, _)| !is_weekday(design, *column));
        cells.map(|(column, value)| self.values[*column as usize] * value).sum()
    }

    /// What a day's weekday adds.
    pub fn weekday(&self, design: &Design, day: usize) -> f64 {
        let cells = design.row(day).iter().filter(|(column, _)| is_weekday(design, *column));
        cells.map(|(column, value)| self.values[*column as usize] * value).sum()
    }

    /// What each reason adds on a day.
    pub fn parts(&self, design: &Design, day: usize) -> Vec<(Part, f64)> {
        let mut parts: Vec<(Part, f64)> = Vec::new();
        for (column, value) in design.row(day) {
            let part = design.effects()[*column as usize].part();
            let amount = self.values[*column as usize] * value;
            match parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, sum)) => *sum += amount,
                None => parts.push((part, amount)),
            }
        }
        parts
    }

    /// How uncertain [`Fit::effect`] is: `x' Cov(b) x` over the effects but the weekday,
    /// which with the level is the time-series model's to be uncertain about.
    pub fn variance(&self, design: &Design, day: usize) -> f64 {
        let mut x = vec![0.0; self.values.len()];
        for (column, value) in design.row(day) {
            // A wave moves with the level, whose uncertainty the model has.
            let effect = &design.effects()[*column as usize];
            if !matches!(effect, Effect::Weekday(_) | Effect::Yearly(..)) {
                x[*column as usize] += value;
            }
        }
        if x.iter().all(|value| *value == 0.0) {
            return 0.0;
        }
        let mut whole = x;
        whole.resize(self.root.size(), 0.0);
        self.root.half_solve(&mut whole);
        whole.iter().map(|value| value * value).sum()
    }
}

fn is_weekday(design: &Design, column: u32) -> bool {
    matches!(design.effects()[column as usize], Effect::Weekday(_))
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (low, high, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let high = *high;
    if odd { high } else { f64::midpoint(low.iter().copied().fold(f64::MIN, f64::max), high) }
}

/// 1.4826 times the median absolute value: the standard deviation, were they Gaussian.
fn spread(residuals: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().filter(|value| !value.is_nan()).map(|value| value.abs()).collect();
    1.4826 * median(&mut sizes)
}

/// Observations with those far out pulled back, except at the end where most of a
/// week agrees: that is no outlier, it is news.
fn clipped(y: &[f64], residuals: &[f64], sigma: f64) -> Vec<f64> {
    let limit = CLIP * sigma;
    let recent: Vec<f64> = residuals.iter().rev().filter(|value| !value.is_nan()).take(7).copied().collect();
    let above = recent.iter().filter(|value| **value > sigma).count();
    let below = recent.iter().filter(|value| **value < -sigma).count();
    let mut news_left = if above >= 5 || below >= 5 { 7 } else { 0 };
    let mut target = y.to_vec();
    for (value, residual) in target.iter_mut().zip(residuals).rev() {
        if value.is_nan() {
            continue;
        }
        if news_left > 0 {
            news_left -= 1;
        } else if residual.abs() > limit {
            *value += limit.copysign(*residual) - residual;
        }
    }
    target
}

fn lag_one(residuals: &[f64], sigma: f64) -> f64 {
    let limit = CLIP * sigma;
    let (mut product, mut square) = (0.0, 0.0);
    for pair in residuals.windows(2) {
        if !pair[0].is_nan() && !pair[1].is_nan() {
            let (a, b) = (pair[0].clamp(-limit, limit), pair[1].clamp(-limit, limit));
            product += a * b;
            square += f64::midpoint(a * a, b * b);
        }
    }
    if square > 0.0 { (product / square).clamp(0.0, 0.9) } else { 0.0 }
}

/// Finds days at which the level jumped: the means of up to four weeks before and after
/// differ by far more than they wander, the largest jump first.
fn find_shifts(work: &Workspace<'_>, solution: &[f64], sigma: f64) -> Vec<usize> {
    const WINDOW: usize = 28;
    let effects = work.effects();
    let mut row = Vec::new();
    // What is left without effects: the level with its noise.
    let mut rest: Vec<f64> = Vec::with_capacity(work.y.len());
    for (day, value) in work.y.iter().enumerate() {
        row.clear();
        work.row(day, 1.0, &mut row);
        let known = row.iter().filter(|(column, _)| *column < effects);
        rest.push(value - known.map(|(column, value)| solution[*column] * value).sum::<f64>());
    }
    let mut shifts: Vec<usize> = Vec::new();
    while shifts.len() < MOST_SHIFTS {
        let mut best: Option<(f64, usize)> = None;
        for day in 14..rest.len().saturating_sub(5) {
            if shifts.iter().any(|shift| shift.abs_diff(day) < WINDOW) {
                continue;
            }
            let (before, before_count) = mean_of(rest[..day].iter().rev(), WINDOW);
            let (after, after_count) = mean_of(rest[day..].iter(), WINDOW);
            if before_count < 10 || after_count < 6 {
                continue;
            }
            // A jump shows within the week beside it too; a slope does not.
            let (close_before, _) = mean_of(rest[..day].iter().rev(), 7);
            let (close_after, _) = mean_of(rest[day..].iter(), 7);
            let jump = after - before;
            let close = close_after - close_before;
            let wander = sigma * 1.8 * (1.0 / before_count as f64 + 1.0 / after_count as f64).sqrt();
            if jump.abs() > (5.0 * wander).max(0.12) && close * jump.signum() > 0.7 * jump.abs() {
                let score = jump.abs() / wander;
                if best.is_none_or(|(known, _)| score > known) {
                    best = Some((score, day));
                }
            }
        }
        let Some((_, day)) = best else { break };
        shifts.push(day);
    }
    shifts.sort_unstable();
    shifts
}

fn mean_of<'a>(values: impl Iterator<Item = &'a f64>, most: usize) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for value in values.take(most).filter(|value| !value.is_nan()) {
        sum += value;
        count += 1;
    }
    (sum / count.max(1) as f64, count)
}
