//! A fitted model: its states, and the forecasts they make.

use super::super::step::Step;
use super::Error;
use super::recursion::{Smoothing, pass, step};
use super::shape::{ErrorKind, Season, Shape};

/// Level, trend and season between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// In the unit of the series.
    pub level: f64,
    /// In the unit of the series per step; zero without a trend.
    pub trend: f64,
    /// One number a place: added, or multiplied. Empty without a season.
    pub season: Vec<f64>,
    /// The place in `season` of the next step.
    pub place: usize,
}

/// A fitted model. Made by [`super::fit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What was fitted.
    pub shape: Shape,
    /// Correction of the level by an error.
    pub alpha: f64,
    /// Correction of the trend.
    pub beta: Option<f64>,
    /// Correction of the season.
    pub gamma: Option<f64>,
    /// What is left of the trend after a step.
    pub phi: Option<f64>,
    /// Before the first step.
    pub initial: States,
    /// Behind the last step.
    pub last: States,
    /// Variance of an error, divided by what is left after coefficients and states; of relative
    /// errors with multiplicative ones.
    pub sigma2: f64,
    /// Logarithm of the likelihood, without its constants.
    pub loglik: f64,
    /// Akaike's criterion; comparable within this family and one series only.
    pub aic: f64,
    /// The same, corrected for short series.
    pub aicc: f64,
    /// Schwarz' criterion.
    pub bic: f64,
    /// Errors of the one-step forecasts, relative ones with multiplicative errors.
    pub residuals: Vec<Option<f64>>,
    smoothing: Smoothing,
}

impl Fitted {
    pub(super) fn new(shape: Shape, smoothing: Smoothing, initial: States, values: &[Option<f64>]) -> Option<Self> {
        let mut last = initial.clone();
        let sums = pass(&shape, &smoothing, &mut last, values)?;
        let count = sums.observed as f64;
        let loglik = -count * sums.objective();
        let free = shape.smoothing() + shape.states();
        let parameters = (free + 1) as f64;
        let aic = 2.0 * parameters - 2.0 * loglik;
        let spare = count - parameters - 1.0;
        let mut states = initial.clone();
        let residuals = values
            .iter()
            .map(|value| {
                let stepped = step(&shape, &smoothing, &mut states, *value);
                stepped.filter(|_| value.is_some()).map(|(_, error)| error)
            })
            .collect();
        loglik.is_finite().then(|| Self {
            shape,
            alpha: smoothing.alpha,
            beta: (shape.has_trend() == 1).then_some(smoothing.trend_share * smoothing.alpha),
            gamma: (shape.has_season() == 1).then_some(smoothing.gamma),
            phi: (shape.trend == super::Trend::Damped).then_some(smoothing.phi),
            initial,
            last,
            sigma2: sums.square / (sums.observed.saturating_sub(free).max(1)) as f64,
            loglik,
            aic,
            aicc: if spare > 0.0 { aic + 2.0 * parameters * (parameters + 1.0) / spare } else { f64::INFINITY },
            bic: aic + parameters * (count.ln() - 2.0),
            residuals,
            smoothing,
        })
    }

    /// Forecasts `horizon` steps behind the last one.
    ///
    /// The variance is exact for additive models and multiplicative errors without multiplicative
    /// season, and within the error of a product otherwise (Hyndman et al. 2008, ch. 6).
    pub fn forecast(&self, horizon: usize) -> Vec<Step> {
        let Smoothing { alpha, trend_share, gamma, phi } = self.smoothing;
        let multiplicative = self.shape.season == Season::Multiplicative;
        let beta = trend_share * alpha;
        let period = self.last.season.len().max(1);
        // What an error of one adds to the level, trend (and additive season) j steps on.
        let mut damped = 0.0;
        let mut power = 1.0;
        let mut weights: Vec<f64> = Vec::with_capacity(horizon);
        let mut steps = Vec::with_capacity(horizon);
        let mut relative_squares: Vec<f64> = Vec::with_capacity(horizon);
        let mut seasons = Vec::with_capacity(horizon);
        for ahead in 1..=horizon {
            power *= phi;
            damped += power;
            let expected = self.last.level + damped * self.last.trend;
            let season = if self.last.season.is_empty() {
                f64::from(u8::from(multiplicative))
            } else {
                self.last.season[(self.last.place + ahead - 1) % period]
            };
            let mean = if multiplicative { expected * season } else { expected + season };
            seasons.push(season);
            let variance = if self.shape.error == ErrorKind::Additive {
                let spread: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(index, weight)| {
                        let ratio = if multiplicative { season / seasons[ahead - 2 - index] } else { 1.0 };
                        (weight * ratio).powi(2)
                    })
                    .sum();
                self.sigma2 * (1.0 + spread)
            } else {
                // Mean square of what the next relative error is multiplied with.
                let base = if multiplicative { expected } else { mean };
                let own: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(index, weight)| weight * weight * relative_squares[ahead - 2 - index])
                    .sum();
                let square = base * base + self.sigma2 * own;
                relative_squares.push(square);
                if multiplicative {
                    let rounds = ((ahead - 1) / period) as i32;
                    let factor = (1.0 + self.sigma2) * (1.0 + gamma * gamma * self.sigma2).powi(rounds);
                    season * season * (factor * square - base * base)
                } else {
                    (1.0 + self.sigma2) * square - base * base
                }
            };
            steps.push(Step { mean, standard_error: variance.max(0.0).sqrt() });
            let seasonal = !multiplicative && !self.last.season.is_empty() && ahead.is_multiple_of(period);
            weights.push(alpha + beta * damped + if seasonal { gamma } else { 0.0 });
        }
        steps
    }

    /// The same coefficients with `values` behind the last step: the states move on, nothing is
    /// estimated. `residuals` are continued; the criteria stay those of the fit.
    ///
    /// # Errors
    /// When a value is not finite or leads the model out of its region.
    pub fn extended(&self, values: &[Option<f64>]) -> Result<Self, Error> {
        let refused =
            || Error::Refused { model: self.shape.to_string(), reason: "a value it cannot take in".to_owned() };
        let mut moved = self.clone();
        for value in values {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err(refused());
            }
            let (_, error) = step(&self.shape, &self.smoothing, &mut moved.last, *value).ok_or_else(refused)?;
            moved.residuals.push(value.map(|_| error));
        }
        Ok(moved)
    }
}
