//! Where to start looking for the highest likelihood, and how to get there.

use super::super::optimize::{Limits, bfgs, nelder_mead};
use super::Order;
use super::chandrasekhar::{Whitened, whiten};
use super::covariance::Process;
use super::polynomial::Factors;
use super::problem::{Problem, Reduced};

/// A series without gaps, differenced and ready for the fast filter.
pub(super) struct Ready {
    columns: Vec<Vec<f64>>,
    season: usize,
}

impl Ready {
    pub(super) fn new(problem: &Problem, filled: &[f64]) -> Self {
        Self { columns: problem.ready(filled), season: problem.order.season }
    }

    /// The innovations at one point of the search, if it is one.
    pub(super) fn reduce(&self, order: &Order, at: &[f64], whitened: &mut Whitened) -> Option<Reduced> {
        let (phi, theta) = Factors::from_search(order, at).expanded(self.season);
        let process = Process::new(&phi, &theta)?;
        whiten(&process, &self.columns, whitened);
        Some(Reduced::new(&whitened.rows, self.columns.len(), whitened.log_variances))
    }

    /// Runs the best of `starts` down with the fast filter; `tries` of them are run.
    pub(super) fn search(&self, order: &Order, starts: &[Vec<f64>], tries: usize, limits: Limits) -> Option<Vec<f64>> {
        let mut whitened = Whitened::default();
        let mut objective = |at: &[f64]| -> f64 {
            self.reduce(order, at, &mut whitened).map_or(f64::INFINITY, |reduced| reduced.objective())
        };
        descend(&mut objective, starts, tries, limits)
    }
}

/// Runs the best of `starts` down, and repairs what got stuck with a simplex.
pub(super) fn descend(
    objective: &mut impl FnMut(&[f64]) -> f64,
    starts: &[Vec<f64>],
    tries: usize,
    limits: Limits,
) -> Option<Vec<f64>> {
    let mut ranked: Vec<(f64, usize)> =
        starts.iter().enumerate().map(|(index, start)| (objective(start), index)).collect();
    ranked.retain(|(value, _)| value.is_finite());
    ranked.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    let mut best: Option<(f64, Vec<f64>)> = None;
    let mut tried: Vec<&Vec<f64>> = Vec::new();
    for (_, index) in ranked {
        if tried.len() == tries {
            break;
        }
        let start = &starts[index];
        let near = |other: &&Vec<f64>| other.iter().zip(start).all(|(a, b)| (a.tanh() - b.tanh()).abs() < 0.3);
        if tried.iter().any(near) {
            continue;
        }
        tried.push(start);
        let mut found = bfgs(objective, start, limits);
        if tries > 1 && best.is_none() && !start.is_empty() {
            let simplex = nelder_mead(objective, &found.at, 0.2, limits.gain, 40 * start.len());
            if simplex.value < found.value - limits.gain {
                found = bfgs(objective, &simplex.at, limits);
            }
        }
        if found.value.is_finite() && best.as_ref().is_none_or(|(value, _)| found.value < *value) {
            best = Some((found.value, found.at));
        }
    }
    best.map(|(_, at)| at)
}

/// The first unknown of each factor where the likelihood of sales, traffic and the like has its hills: AR,
/// MA, seasonal AR, seasonal MA. The others begin close to nothing.
const FIRST: [&[f64]; 4] = [&[0.1, 0.7, 1.8], &[-0.1, 0.5, -0.6, -1.6], &[0.1, -0.5, 0.8, 2.4], &[-0.1, -0.8, -1.8]];
const OTHERS: [f64; 4] = [0.05, -0.05, 0.05, -0.05];

fn counts(order: &Order) -> [usize; 4] {
    [order.p, order.q, order.seasonal_p, order.seasonal_q]
}

/// Points to look at first: every combination of the hills of each factor. They cost one
/// evaluation each.
pub(super) fn starts(order: &Order, given: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new()];
    for ((count, firsts), other) in counts(order).into_iter().zip(FIRST).zip(OTHERS) {
        if count > 0 {
            let extended = |row: &Vec<f64>| -> Vec<Vec<f64>> {
                let one = |first: &f64| {
                    let mut row = row.clone();
                    row.push(*first);
                    row.resize(row.len() + count - 1, other);
                    row
                };
                firsts.iter().map(one).collect()
            };
            all = all.iter().flat_map(extended).collect();
        }
    }
    given.iter().cloned().chain(all).collect()
}

/// A point, and the same with one factor at a time on another hill.
pub(super) fn around(order: &Order, point: &[f64]) -> Vec<Vec<f64>> {
    let mut all = vec![point.to_vec()];
    let mut from = 0;
    for ((count, firsts), other) in counts(order).into_iter().zip(FIRST).zip(OTHERS) {
        if count > 0 {
            for first in firsts {
                let mut row = point.to_vec();
                row[from..from + count].fill(other);
                row[from] = *first;
                all.push(row);
            }
        }
        from += count;
    }
    all
}
