//! Series that no model of time fits: too short, dead, constant, or mostly zero.

use super::prepare::History;
use super::study::{SHORTEST, SILENT_DAYS};
use super::types::DayState;

/// Same weekdays that an intermittent series is drawn from.
const WEEKS: usize = 26;
/// How much less a day counts than the same weekday a week later.
const FADE: f64 = 0.97;
/// Days of the weekday itself count this much against all days' share.
const OWN: f64 = 6.0;

/// What a day may bring: amounts with their weights, smallest first.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    amounts: Vec<(f64, f64)>,
}

impl Sample {
    fn of(mut amounts: Vec<(f64, f64)>) -> Self {
        amounts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = amounts.iter().map(|(_, weight)| weight).sum();
        amounts.iter_mut().for_each(|(_, weight)| *weight /= all);
        Self { amounts }
    }

    pub(super) fn mean(&self) -> f64 {
        self.amounts.iter().map(|(amount, weight)| amount * weight).sum()
    }

    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut below = 0.0;
        for (amount, weight) in &self.amounts {
            below += weight;
            if below >= share {
                return *amount;
            }
        }
        self.amounts.last().map_or(0.0, |(amount, _)| *amount)
    }

    pub(super) fn deviation(&self) -> f64 {
        let mean = self.mean();
        self.amounts.iter().map(|(amount, weight)| weight * (amount - mean).powi(2)).sum::<f64>().sqrt()
    }
}

/// Open days at the end of a history of which nothing is known.
pub(super) fn silent_days(history: &History) -> usize {
    let silent = history.states.iter().rev().take_while(|state| !state.counts());
    silent.filter(|state| matches!(state, DayState::Missing | DayState::Partial)).count()
}

/// Why nothing can be said, if so.
pub(super) fn nothing(history: &History, silent: usize) -> Option<String> {
    if history.observed < SHORTEST {
        return Some(format!("too_short: {} observed days of {SHORTEST} needed", history.observed));
    }
    (silent > SILENT_DAYS).then(|| format!("stale: nothing was observed for {silent} open days"))
}

/// The value that comes again and again, with the reason, if one does.
pub(super) fn constant(history: &History) -> Option<(f64, String)> {
    // Zeros on open days are no observations of a series that has few of them.
    let open = |state: &DayState| matches!(state, DayState::Observed | DayState::Outlier | DayState::ClosedUnplanned);
    let days = history.values.iter().zip(&history.states).rev().filter(|(value, state)| open(state) && !value.is_nan());
    let latest: Vec<f64> = days.map(|(value, _)| *value).take(56).collect();
    if latest.len() >= 14 && latest.iter().take(14).all(|value| *value == 0.0) {
        // An intermittent series may be quiet for two weeks; eight weeks are enough for any.
        let quiet = latest.iter().take_while(|value| **value == 0.0).count();
        if !history.intermittent || quiet >= 56 {
            return Some((0.0, format!("dead: nothing on the last {quiet} open days")));
        }
    }
    let first = *latest.first()?;
    let same = latest.len() >= 28 && latest.iter().all(|value| *value == first);
    same.then(|| (first, format!("constant: {first} on the last {} days", latest.len())))
}

/// Draws each day ahead from its weekday's latest days, helped by those of all weekdays.
pub(super) fn samples(history: &History, horizon: usize) -> Vec<Sample> {
    let days = history.values.len();
    let mut by_weekday: [Option<Sample>; 7] = std::array::from_fn(|_| None);
    let faded = |amounts: Vec<f64>, share: f64| -> Vec<(f64, f64)> {
        let weights: Vec<f64> = (0..amounts.len()).map(|age| FADE.powi(age as i32)).collect();
        let all: f64 = weights.iter().sum();
        amounts.into_iter().zip(weights).map(|(amount, weight)| (amount, share * weight / all)).collect()
    };
    (0..horizon)
        .map(|ahead| {
            let weekday = history.weekday(days + ahead);
            let sample = by_weekday[weekday].get_or_insert_with(|| {
                let own = history.same_weekday(days, weekday, WEEKS);
                let all: Vec<f64> = (0..days).rev().filter_map(|day| history.value(day)).take(7 * WEEKS).collect();
                let share = own.len() as f64 / (own.len() as f64 + OWN);
                let mut amounts = faded(own, share);
                // All days fade by the day, not by the week.
                let each = (1.0 - share) / all.len().max(1) as f64;
                amounts.extend(all.into_iter().map(|amount| (amount, each)));
                Sample::of(amounts)
            });
            sample.clone()
        })
        .collect()
}
