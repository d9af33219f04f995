//! What the days of a history are worth.

use chrono::Datelike as _;

use super::types::{DayState, Series};
use crate::regression::{Design, median};

/// Below this share of its weekday's usual number, a day was not really open.
const TINY: f64 = 0.1;
/// Days of history that say on which weekdays a store opens.
const RECENT_DAYS: usize = 182;
/// More zeros than this on open days make a series intermittent.
pub(super) const INTERMITTENT_SHARE: f64 = 0.15;

/// A history up to a cut-off, with its states.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) values: Vec<f64>,
    pub(super) states: Vec<DayState>,
    /// Weekdays (Monday first) on which the store never opens.
    pub(super) never: [bool; 7],
    /// The first day's weekday, Monday being 0.
    pub(super) first_weekday: usize,
    /// Zeros are common on open days.
    pub(super) intermittent: bool,
    pub(super) observed: usize,
    pub(super) missing: usize,
}

impl History {
    /// Judges the first `days` days of a series (fewer where it ends before).
    pub(super) fn of(series: &Series, design: &Design, days: usize) -> Self {
        let mut values: Vec<f64> = series.values.iter().copied().take(days).collect();
        values.resize(days, f64::NAN);
        values.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = f64::NAN);
        let first_weekday = series.first.weekday().num_days_from_monday() as usize;
        let mut states: Vec<DayState> = (0..days)
            .map(|day| match series.states.get(day) {
                Some(told) if *told != DayState::Observed => *told,
                _ if design.is_closed(day) && (values[day].is_nan() || values[day] == 0.0) => DayState::Closed,
                _ if values[day].is_nan() => DayState::Missing,
                _ => DayState::Observed,
            })
            .collect();
        let never = never_open(&values, &states, first_weekday);
        for (day, state) in states.iter_mut().enumerate() {
            let idle = values[day].is_nan() || values[day] == 0.0;
            if never[(first_weekday + day) % 7] && idle {
                *state = DayState::Closed;
            }
        }
        let intermittent = zero_share(&values, &states) > INTERMITTENT_SHARE;
        if !intermittent {
            find_unplanned(&values, &mut states, first_weekday);
        }
        let observed = states.iter().filter(|state| state.counts()).count();
        let missing = states.iter().filter(|state| **state == DayState::Missing).count();
        Self { values, states, never, first_weekday, intermittent, observed, missing }
    }

    /// Closes a series on the holidays on which it never sold anything: each one seen brought nothing, or, of
    /// two and more, no number came while those of the days around did. Those to come are closed then, too.
    pub(super) fn close_holidays(&mut self, design: &mut Design) {
        if self.intermittent {
            return;
        }
        for days in design.holidays().into_values() {
            let past: Vec<usize> = days.iter().copied().filter(|day| *day < self.values.len()).collect();
            let nothing = |day: &usize| match self.states[*day] {
                DayState::ClosedUnplanned => self.values[*day] == 0.0,
                DayState::Missing => past.len() > 1 && self.is_alone(*day),
                state => state == DayState::Closed,
            };
            // A weekday that is never open says nothing of the holiday that fell on it.
            let told = past.iter().any(|day| self.states[*day] != DayState::Closed);
            if !told || !past.iter().all(nothing) {
                continue;
            }
            for day in days {
                design.close(day);
                if let Some(state) = self.states.get_mut(day) {
                    *state = DayState::Closed;
                }
            }
        }
        self.missing = self.states.iter().filter(|state| **state == DayState::Missing).count();
    }

    /// Whether the days before and after one are known.
    fn is_alone(&self, day: usize) -> bool {
        let known =
            |near: Option<usize>| near.and_then(|near| self.states.get(near)).is_some_and(|state| state.counts());
        known(day.checked_sub(1)) && known(Some(day + 1))
    }

    pub(super) fn weekday(&self, day: usize) -> usize {
        (self.first_weekday + day) % 7
    }

    /// The value of a day that counts.
    pub(super) fn value(&self, day: usize) -> Option<f64> {
        self.states[day].counts().then(|| self.values[day])
    }

    /// The last `count` values of a weekday before `end`, latest first.
    pub(super) fn same_weekday(&self, end: usize, weekday: usize, count: usize) -> Vec<f64> {
        let days = (0..end.min(self.values.len())).rev().filter(|day| self.weekday(*day) == weekday);
        days.filter_map(|day| self.value(day)).take(count).collect()
    }
}

fn never_open(values: &[f64], states: &[DayState], first_weekday: usize) -> [bool; 7] {
    let start = values.len().saturating_sub(RECENT_DAYS);
    let (mut idle, mut all) = ([0_usize; 7], [0_usize; 7]);
    for day in start..values.len() {
        let weekday = (first_weekday + day) % 7;
        all[weekday] += 1;
        let closed = matches!(states[day], DayState::Closed | DayState::ClosedUnplanned);
        if closed || values[day].is_nan() || values[day] == 0.0 {
            idle[weekday] += 1;
        }
    }
    let open = (0..7).any(|weekday| idle[weekday] * 2 < all[weekday]);
    // A series that is mostly zeros or gaps has no weekday off; it is intermittent, or ended.
    std::array::from_fn(|weekday| open && all[weekday] >= 4 && idle[weekday] * 10 >= all[weekday] * 9)
}

fn zero_share(values: &[f64], states: &[DayState]) -> f64 {
    let recent = values.iter().zip(states).rev().filter(|(_, state)| state.counts()).take(365);
    let (mut zeros, mut all) = (0_usize, 0_usize);
    for (value, _) in recent {
        all += 1;
        zeros += usize::from(*value == 0.0);
    }
    zeros as f64 / all.max(1) as f64
}

/// Marks days on which next to nothing was sold, though the store usually opens.
fn find_unplanned(values: &[f64], states: &mut [DayState], first_weekday: usize) {
    let usual: [f64; 7] = std::array::from_fn(|weekday| {
        let days = (0..values.len()).rev().filter(|day| (first_weekday + day) % 7 == weekday);
        let mut latest: Vec<f64> = days.filter(|day| states[*day].counts()).take(52).map(|day| values[day]).collect();
        median(&mut latest)
    });
    for (day, state) in states.iter_mut().enumerate() {
        let usual = usual[(first_weekday + day) % 7];
        if *state == DayState::Observed
            && (values[day] == 0.0 || (usual > 0.0 && values[day] < TINY * usual && values[day] >= 0.0))
        {
            *state = DayState::ClosedUnplanned;
        }
    }
}
