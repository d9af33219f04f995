//! Finds the order of a model.
//!
//! Stepwise as Hyndman and Khandakar (2008) propose, with three differences, each measured on
//! daily series: every candidate is fitted exactly, none by an approximation; a factor's
//! roots are judged in its own power of B, so that a weekly profile that hardly moves
//! (a seasonal moving average close to -1) is not refused; and the neighbours that are tried
//! change two of the four counts at once.

use std::collections::BTreeMap;

use super::super::optimize::Limits;
use super::super::stationarity::{differences, interpolated, seasonal_differences};
use super::chandrasekhar::Whitened;
use super::descent::{Ready, around, starts};
use super::estimate::{Precision, fit_with};
use super::polynomial::Factors;
use super::problem::Problem;
use super::{Error, Fitted, Order, Regressors};

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// Steps of a season; 1 is none.
    pub season: usize,
    /// Differences of neighbours; `None` is by the KPSS test.
    pub d: Option<usize>,
    /// Differences of a season; `None` is by the strength of the season.
    pub seasonal_d: Option<usize>,
    /// Most AR and most MA coefficients.
    pub most: usize,
    /// Most seasonal AR and most seasonal MA coefficients.
    pub most_seasonal: usize,
    /// Most coefficients of all four kinds.
    pub most_together: usize,
    /// Fits at most.
    pub fits: usize,
    /// Whether a mean or drift may be tried.
    pub constant: bool,
}

impl Space {
    /// Up to 5 and 2 coefficients, as is usual.
    pub fn new(season: usize) -> Self {
        Self {
            season: season.max(1),
            d: None,
            seasonal_d: None,
            most: 5,
            most_seasonal: 2,
            most_together: 6,
            fits: 120,
            constant: true,
        }
    }
}

/// Smallest modulus of the roots of an autoregressive factor.
const ROOTS: f64 = 1.001;
/// AR and MA roots closer than this say the same twice.
const CANCELLING: f64 = 0.05;

/// Series up to this length are searched widely.
const WIDE: usize = 500;

/// A candidate and what became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// What was tried.
    pub order: Order,
    /// Its criterion; `None` when it was refused or not found.
    pub aicc: Option<f64>,
}

/// The best model, and all that were tried in the order of trial.
#[derive(Debug, Clone)]
pub struct Search {
    /// Of the lowest criterion.
    pub best: Fitted,
    /// Every candidate.
    pub tried: Vec<Candidate>,
}

/// What is added to a criterion of a series of logarithms to compare it with one of the
/// series itself: twice the sum of the logarithms (the Jacobian of the transformation) of the
/// observations that count, which are those behind the first `lost` (see [`Order::lost`]).
pub fn log_jacobian(logarithms: &[Option<f64>], lost: usize) -> f64 {
    2.0 * logarithms.iter().flatten().skip(lost).sum::<f64>()
}

/// Searches the order with the lowest corrected criterion of Akaike.
///
/// `start` is an order to begin with, such as yesterday's.
///
/// # Errors
/// When not even the simplest candidate can be fitted.
pub fn search(
    values: &[Option<f64>],
    regressors: &Regressors,
    space: Space,
    start: Option<Order>,
) -> Result<Search, Error> {
    let season = if values.iter().flatten().count() > 2 * space.season { space.season } else { 1 };
    let adjusted = adjusted(values, regressors);
    let seasonal_d =
        if season > 1 { space.seasonal_d.unwrap_or_else(|| seasonal_differences(&adjusted, season)) } else { 0 };
    let d = space.d.unwrap_or_else(|| differences(&seasonally_differenced(&adjusted, season, seasonal_d)));
    let base = Order { d, seasonal_d, season, ..Order::default() };
    let constant = space.constant && d + seasonal_d <= 1;
    let mut walk = Walk::new(values, regressors, space, base);
    let with = |p, q, seasonal_p, seasonal_q| {
        let seasonal = season > 1;
        Order {
            p,
            q,
            seasonal_p: if seasonal { seasonal_p } else { 0 },
            seasonal_q: if seasonal { seasonal_q } else { 0 },
            ..base
        }
    };
    let mut best: Option<Best> = None;
    let firsts = start
        .filter(|order| order.d == d && order.seasonal_d == seasonal_d && order.season == season)
        .into_iter()
        .chain([with(1, 1, 0, 1), with(2, 2, 0, 1), with(1, 0, 1, 0), with(0, 1, 0, 1), with(0, 0, 0, 0)]);
    for order in firsts {
        walk.consider(order.with_constant(false), &mut best);
    }
    if constant && let Some(order) = best.as_ref().map(|best| best.order) {
        walk.consider(order.with_constant(true), &mut best);
    }
    if best.is_none() {
        walk.consider(with(0, 0, 0, 0).with_constant(constant), &mut best);
    }
    let mut wide = walk.observations <= WIDE;
    while let Some(order) = best.as_ref().map(|best| best.order) {
        for neighbour in neighbours(order, constant) {
            walk.consider(neighbour, &mut best);
        }
        if best.as_ref().is_some_and(|best| best.order != order) {
            continue;
        }
        if !wide {
            break;
        }
        // Short series are cheap, and their criterion has many hollows: all small models are looked at.
        wide = false;
        for (seasonal_p, seasonal_q) in [(order.seasonal_p, order.seasonal_q), (0, 1), (0, 0)] {
            for (p, q) in (0..=4).flat_map(|p| (0..=4 - p).map(move |q| (p, q))) {
                walk.consider(with(p, q, seasonal_p, seasonal_q).with_constant(order.constant), &mut best);
            }
        }
    }
    walk.finish()
}

/// Candidates close to an order, the most promising first.
fn neighbours(order: Order, constant: bool) -> Vec<Order> {
    const STEPS: [[i8; 4]; 20] = [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 0],
        [-1, 0, 0, 0],
        [0, -1, 0, 0],
        [0, 0, 0, -1],
        [0, 0, -1, 0],
        [1, 1, 0, 0],
        [-1, -1, 0, 0],
        [1, -1, 0, 0],
        [-1, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, -1, -1],
        [0, 0, 1, -1],
        [0, 0, -1, 1],
        [2, 0, 0, 0],
        [0, 2, 0, 0],
        [1, 2, 0, 0],
        [2, 1, 0, 0],
    ];
    let moved = |count: usize, by: i8| count.checked_add_signed(isize::from(by));
    let mut found: Vec<Order> = STEPS
        .iter()
        .filter_map(|step| {
            Some(Order {
                p: moved(order.p, step[0])?,
                q: moved(order.q, step[1])?,
                seasonal_p: moved(order.seasonal_p, step[2])?,
                seasonal_q: moved(order.seasonal_q, step[3])?,
                ..order
            })
        })
        .collect();
    if constant {
        found.push(order.with_constant(!order.constant));
    }
    found
}

/// The series without and with a constant, its gaps filled.
struct Walk<'a> {
    values: &'a [Option<f64>],
    regressors: &'a Regressors,
    space: Space,
    ready: [Option<Ready>; 2],
    observations: usize,
    others: usize,
    /// Where each candidate was found, for its neighbours and the last fits.
    memory: BTreeMap<Order, Vec<f64>>,
    tried: Vec<Candidate>,
    whitened: Whitened,
}

impl<'a> Walk<'a> {
    fn new(values: &'a [Option<f64>], regressors: &'a Regressors, space: Space, base: Order) -> Self {
        let observed = values.iter().flatten().count();
        let ready = [false, true].map(|constant| {
            let problem = Problem::new(values, base.with_constant(constant), regressors).ok()?;
            let filled = match values.iter().all(Option::is_some) {
                true => problem.values.iter().flatten().copied().collect(),
                false => problem.expected()?,
            };
            Some(Ready::new(&problem, &filled))
        });
        Self {
            values,
            regressors,
            space,
            ready,
            observations: observed.saturating_sub(base.lost()),
            others: regressors.columns().len(),
            memory: BTreeMap::new(),
            tried: Vec::new(),
            whitened: Whitened::default(),
        }
    }

    fn allowed(&self, order: &Order) -> bool {
        order.p.max(order.q) <= self.space.most
            && order.seasonal_p.max(order.seasonal_q) <= self.space.most_seasonal
            && order.coefficients() <= self.space.most_together
            // A product reaching into the next season says the same as a seasonal coefficient.
            && (order.season == 1 || order.p.max(order.q) < order.season)
            && self.observations > order.coefficients() + self.others + 4
    }

    fn consider(&mut self, order: Order, best: &mut Option<Best>) {
        if self.tried.len() >= self.space.fits
            || !self.allowed(&order)
            || self.tried.iter().any(|candidate| candidate.order == order)
        {
            return;
        }
        let aicc = self.fit(order, best.as_ref());
        self.tried.push(Candidate { order, aicc });
        if let Some(aicc) = aicc
            && best.as_ref().is_none_or(|best| aicc < best.aicc)
        {
            *best = Some(Best { order, aicc, at: self.memory[&order].clone() });
        }
    }

    /// The criterion of a candidate, by the fast filter; `None` when it is unsound.
    fn fit(&mut self, order: Order, best: Option<&Best>) -> Option<f64> {
        let ready = self.ready[usize::from(order.constant)].as_ref()?;
        let points = best.map_or_else(|| starts(&order, &[]), |best| around(&order, &resized(best, &order)));
        let limits = Limits { step: 1e-3, gain: 2e-6, iterations: 40 };
        let at = ready.search(&order, &points, 1, limits)?;
        let reduced = ready.reduce(&order, &at, &mut self.whitened)?;
        // What was filled in adds nothing to the squares and is not counted.
        let count = self.observations as f64;
        let sigma2 = (reduced.square / count).max(1e-300);
        let loglik = -0.5 * count * ((std::f64::consts::TAU * sigma2).ln() + 1.0) - 0.5 * reduced.log_variances;
        let parameters = (order.coefficients() + usize::from(order.constant) + self.others + 1) as f64;
        let aicc = 2.0 * parameters - 2.0 * loglik
            + 2.0 * parameters * (parameters + 1.0) / (count - parameters - 1.0).max(1e-9);
        let sound = sound(&Factors::from_search(&order, &at));
        self.memory.insert(order, at);
        (sound && aicc.is_finite()).then_some(aicc)
    }

    /// Fits the best few to the end; what is unsound then makes way for the next.
    fn finish(mut self) -> Result<Search, Error> {
        let mut ranked: Vec<(f64, Order)> =
            self.tried.iter().filter_map(|candidate| Some((candidate.aicc?, candidate.order))).collect();
        ranked.sort_by(|left, right| left.0.total_cmp(&right.0));
        let mut best: Option<Fitted> = None;
        let lowest = ranked.first().map_or(0.0, |first| first.0);
        for (index, (aicc, order)) in ranked.iter().enumerate() {
            // The search stops within a fraction of a point: only what is as close is looked at again.
            if best.is_some() && (index >= 3 || aicc - lowest > 0.3) {
                break;
            }
            let start = self.memory.remove(order).map(|at| Factors::from_search(order, &at).row());
            let fitted = fit_with(self.values, *order, self.regressors, start.as_deref(), Precision::Polish).ok();
            if let Some(fitted) = fitted.filter(|fitted| sound(&Factors::cut(order, &fitted.coefficients)))
                && best.as_ref().is_none_or(|best| fitted.aicc < best.aicc)
            {
                best = Some(fitted);
            }
        }
        let best = best.ok_or_else(|| Error::NotFound { model: "a search of ARIMA orders".to_owned() })?;
        Ok(Search { best, tried: self.tried })
    }
}

/// The best candidate so far, and where it was found.
struct Best {
    order: Order,
    aicc: f64,
    at: Vec<f64>,
}

/// No autoregression at the edge of its region, and none that a moving average takes back.
fn sound(factors: &Factors) -> bool {
    factors.autoregression_within(ROOTS) && !factors.nearly_cancels(CANCELLING)
}

/// The point of a neighbour, cut or filled up with small numbers.
fn resized(from: &Best, order: &Order) -> Vec<f64> {
    let cut = Factors::cut(&from.order, &from.at);
    let fit = |factor: &[f64], count: usize| -> Vec<f64> {
        let mut row = factor.to_vec();
        row.resize(count, 0.01);
        row
    };
    [
        fit(&cut.ar, order.p),
        fit(&cut.ma, order.q),
        fit(&cut.seasonal_ar, order.seasonal_p),
        fit(&cut.seasonal_ma, order.seasonal_q),
    ]
    .concat()
}

/// The series less an ordinary regression on the regressors.
fn adjusted(values: &[Option<f64>], regressors: &Regressors) -> Vec<Option<f64>> {
    if regressors.columns().is_empty() {
        return values.to_vec();
    }
    let order = Order { season: 1, ..Order::default() }.with_constant(true);
    let Ok(plain) = fit_with(values, order, regressors, None, Precision::Search) else { return values.to_vec() };
    let effect = |step: usize| -> f64 {
        regressors.columns().iter().zip(&plain.regression).map(|(column, one)| column[step] * one).sum()
    };
    values.iter().enumerate().map(|(step, value)| value.map(|value| value - effect(step))).collect()
}

fn seasonally_differenced(values: &[Option<f64>], season: usize, times: usize) -> Vec<Option<f64>> {
    if times == 0 {
        return values.to_vec();
    }
    let filled = interpolated(values);
    filled.iter().skip(season).zip(&filled).map(|(now, then)| Some(now - then)).collect()
}
