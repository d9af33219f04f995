//! What holds for the hours of a store, a daypart and a day.

use chrono::{Datelike as _, NaiveDate};
use forecast::labor::{Crew, Curve, Learning, critical_share};
use serde::Deserialize;

use crate::ids::BrandId;

/// One of `[[staffing.rules]]`: where and when it holds, and what. What it does not say stays as it was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The first day, as "2025-12-01"; default: always.
    pub valid_from: Option<NaiveDate>,
    /// The last day; default: for ever.
    pub valid_until: Option<NaiveDate>,
    /// Only these brands.
    pub brands: Option<Vec<BrandId>>,
    /// Only these stores.
    pub stores: Option<Vec<String>>,
    /// Only these dayparts.
    pub dayparts: Option<Vec<String>>,
    /// Only these days of the week, 1 is Monday.
    pub weekdays: Option<Vec<u32>>,
    /// Hours that are worked whatever comes: opening, preparing, cleaning. Default: 0.
    pub fixed_hours: Option<f64>,
    /// Fewest people while open. Default: 2.
    pub minimum_heads: Option<u32>,
    /// What an hour too few costs, against `hour_too_many`: 30 and 20 staff for what suffices on 60 of 100 days.
    pub hour_too_few: Option<f64>,
    /// What an hour too many costs.
    pub hour_too_many: Option<f64>,
    /// Which of the dayparts with as much demand sets the standard: 0.65 serves better than 65 of 100. Default: 0.65.
    pub standard_quantile: Option<f64>,
    /// Dayparts of its own from which a store has a curve. Default: 28.
    pub least_dayparts: Option<usize>,
    /// How many dayparts of a store's own all stores together count for. Default: 60.
    pub pool_dayparts: Option<f64>,
    /// A standard by hand in place of what is learned: demand an hour of opening, and how much of it an hour of
    /// work serves, rising.
    pub standard: Option<Vec<(f64, f64)>>,
    /// Required hours are rounded to multiples of this. Default: 0.25.
    pub round_to_hours: Option<f64>,
    /// What may be missing before another person comes. Default: 0.15.
    pub slack_heads: Option<f64>,
    /// Most people who come or go from one quarter hour to the next. Default: 2.
    pub change_heads: Option<u32>,
    /// Fewest hours that a person stays. Default: 3.
    pub shift_hours: Option<f64>,
}

/// What holds, all rules together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holding {
    pub(super) fixed_hours: f64,
    pub(super) minimum_heads: u32,
    pub(super) hour_too_few: f64,
    pub(super) hour_too_many: f64,
    pub(super) learning: Learning,
    pub(super) pool_dayparts: f64,
    pub(super) standard: Option<Vec<(f64, f64)>>,
    pub(super) round_to_hours: f64,
    pub(super) slack_heads: f64,
    pub(super) change_heads: u32,
    pub(super) shift_hours: f64,
}

/// Quarter hours in an hour.
pub(super) const SLOTS: f64 = 4.0;

impl Default for Holding {
    fn default() -> Self {
        let crew = Crew::default();
        Self {
            fixed_hours: 0.0,
            minimum_heads: crew.least,
            hour_too_few: 30.0,
            hour_too_many: 20.0,
            learning: Learning::default(),
            pool_dayparts: 60.0,
            standard: None,
            round_to_hours: 0.25,
            slack_heads: crew.slack,
            change_heads: crew.change,
            shift_hours: crew.shift as f64 / SLOTS,
        }
    }
}

impl Holding {
    /// The share of days on which the hours should suffice.
    pub(super) fn share(&self) -> f64 {
        // Each rule was checked when it was read; two that together say that nothing costs anything say nothing.
        critical_share(self.hour_too_few, self.hour_too_many).unwrap_or(0.6).clamp(0.01, 0.99)
    }

    pub(super) fn crew(&self) -> Crew {
        let shift = (self.shift_hours * SLOTS).round().max(1.0);
        Crew { least: self.minimum_heads, slack: self.slack_heads, change: self.change_heads, shift: shift as usize }
    }
}

impl Rule {
    fn holds(&self, brand: &BrandId, store_id: &str, date: NaiveDate, daypart: &str) -> bool {
        self.valid_from.is_none_or(|first| first <= date)
            && self.valid_until.is_none_or(|last| date <= last)
            && self.brands.as_ref().is_none_or(|brands| brands.contains(brand))
            && self.stores.as_ref().is_none_or(|stores| stores.iter().any(|store| store == store_id))
            && self.dayparts.as_ref().is_none_or(|parts| parts.iter().any(|part| part == daypart))
            && self.weekdays.as_ref().is_none_or(|days| days.contains(&date.weekday().number_from_monday()))
    }

    fn apply(&self, to: &mut Holding) {
        fn set<T: Clone>(place: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *place = value.clone();
            }
        }
        set(&mut to.fixed_hours, &self.fixed_hours);
        set(&mut to.minimum_heads, &self.minimum_heads);
        set(&mut to.hour_too_few, &self.hour_too_few);
        set(&mut to.hour_too_many, &self.hour_too_many);
        set(&mut to.learning.quantile, &self.standard_quantile);
        set(&mut to.learning.least, &self.least_dayparts);
        set(&mut to.pool_dayparts, &self.pool_dayparts);
        set(&mut to.round_to_hours, &self.round_to_hours);
        set(&mut to.slack_heads, &self.slack_heads);
        set(&mut to.change_heads, &self.change_heads);
        set(&mut to.shift_hours, &self.shift_hours);
        if self.standard.is_some() {
            to.standard.clone_from(&self.standard);
        }
    }

    /// Why it cannot be, if it cannot.
    pub(super) fn problem(&self) -> Option<String> {
        let negative = [
            ("fixed_hours", self.fixed_hours),
            ("slack_heads", self.slack_heads),
            ("pool_dayparts", self.pool_dayparts),
            ("shift_hours", self.shift_hours),
        ];
        if let Some((name, value)) =
            negative.iter().find_map(|(name, value)| Some((name, value.filter(|v| !(0.0..=1e6).contains(v))?)))
        {
            return Some(format!("`{name}` is {value}, which is not zero or more"));
        }
        if let Some(days) = &self.weekdays
            && let Some(day) = days.iter().find(|day| !(1..=7).contains(*day))
        {
            return Some(format!("`weekdays` has {day}: 1 is Monday and 7 Sunday"));
        }
        if let (Some(first), Some(last)) = (self.valid_from, self.valid_until)
            && last < first
        {
            return Some(format!("it ends on {last}, before it begins on {first}"));
        }
        if let Some(unit) = self.round_to_hours.filter(|unit| !(0.01..=24.0).contains(unit)) {
            return Some(format!("`round_to_hours` is {unit}, which is not 0.01 to 24"));
        }
        if let Some(share) = self.standard_quantile.filter(|share| !(0.0..=1.0).contains(share)) {
            return Some(format!("`standard_quantile` is {share}, which is not within 0 to 1"));
        }
        let defaults = Holding::default();
        let (few, many) =
            (self.hour_too_few.unwrap_or(defaults.hour_too_few), self.hour_too_many.unwrap_or(defaults.hour_too_many));
        if let Err(error) = critical_share(few, many) {
            return Some(error.to_string());
        }
        self.standard
            .clone()
            .and_then(|standard| Curve::new(standard).err())
            .map(|error| format!("`standard`: {error}"))
    }
}

/// What holds for a daypart of a store's day.
pub(super) fn holding(rules: &[Rule], brand: &BrandId, store_id: &str, date: NaiveDate, daypart: &str) -> Holding {
    let mut holding = Holding::default();
    for rule in rules.iter().filter(|rule| rule.holds(brand, store_id, date, daypart)) {
        rule.apply(&mut holding);
    }
    holding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn later_rules_win_where_and_while_they_hold() {
        let rules = [
            rule("fixed_hours = 1.0\nminimum_heads = 3"),
            rule("valid_from = \"2025-12-01\"\nstores = [\"000125\"]\ndayparts = [\"Morning\"]\nfixed_hours = 2.5"),
            rule("weekdays = [7]\nbrands = [\"mesa\"]\nminimum_heads = 1"),
        ];
        let of = |store: &str, date: &str, daypart: &str| {
            let holding = holding(&rules, &BrandId("harbor".to_owned()), store, date.parse().unwrap(), daypart);
            (holding.fixed_hours, holding.minimum_heads)
        };
        assert_eq!(of("000125", "2025-11-30", "Morning"), (1.0, 3));
        assert_eq!(of("000125", "2025-12-07", "Morning"), (2.5, 3));
        assert_eq!(of("000125", "2025-12-07", "Lunch"), (1.0, 3));
        assert_eq!(of("000126", "2025-12-07", "Morning"), (1.0, 3));
        let mesa = holding(&rules, &BrandId("mesa".to_owned()), "1", "2025-12-07".parse().unwrap(), "Lunch");
        assert_eq!(mesa.minimum_heads, 1);
    }

    #[test]
    fn a_rule_that_cannot_be_is_told() {
        for (text, expected) in [
            ("fixed_hours = -1", "`fixed_hours` is -1"),
            ("weekdays = [0]", "`weekdays` has 0"),
            ("valid_from = \"2025-12-02\"\nvalid_until = \"2025-12-01\"", "ends on 2025-12-01"),
            ("hour_too_few = 0\nhour_too_many = 0", "above zero where the other is zero"),
            ("standard = [[10, 4.0], [10, 5.0]]", "above the knot before"),
            ("round_to_hours = 0", "`round_to_hours` is 0"),
        ] {
            let problem = rule(text).problem().unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        assert_eq!(rule("standard = [[10, 4.0], [40, 8.0]]\nhour_too_few = 30").problem(), None);
        assert!(toml::from_str::<Rule>("fixed_hour = 1").is_err());
    }
}
