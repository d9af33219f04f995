//! A day's hours, part by part.

use chrono::NaiveDate;
use forecast::labor::{Curve, Daypart, demand_at, heads, required_hours, rounded};

use super::rules::{Holding, SLOTS};

/// Between the bounds of 80 percent lie so many standard deviations.
const WIDTH_80: f64 = 2.0 * 1.281_551_565_544_600_4;

/// What is expected of a part of a day.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Demand {
    pub(super) mean: f64,
    pub(super) median: f64,
    pub(super) lower_80: f64,
    pub(super) upper_80: f64,
}

/// A part of a day before its hours are known.
pub(super) struct Asked<'a> {
    pub(super) daypart: &'a str,
    pub(super) demand: Demand,
    pub(super) open_hours: f64,
    pub(super) holding: Holding,
    pub(super) curve: &'a Curve,
}

/// A part of a store's day with its hours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) store_id: String,
    pub(super) date: NaiveDate,
    pub(super) daypart: String,
    /// Expected demand, and what is staffed for.
    pub(super) demand: f64,
    pub(super) staffed_demand: f64,
    pub(super) open_hours: f64,
    pub(super) fixed_hours: f64,
    /// What the standard asks for, rounded.
    pub(super) required_hours: f64,
    /// The same at the bounds of 80 percent of the demand.
    pub(super) lower_hours: f64,
    pub(super) upper_hours: f64,
    /// Hours of whole people who stay for a shift.
    pub(super) crew_hours: f64,
    /// Most people at once.
    pub(super) heads: i64,
}

impl Demand {
    /// What does not suffice on one day in so many: the demand at a share of its forecast.
    fn at(&self, share: f64) -> f64 {
        if self.lower_80 > 0.0 && self.median > 0.0 {
            let spread = (self.upper_80 / self.lower_80).ln() / WIDTH_80;
            return demand_at(self.median, spread, share).unwrap_or(self.median);
        }
        // With a lower bound of nothing there is no spread of the logarithm: between the median and the bound.
        let above = ((share - 0.5) / 0.4).clamp(0.0, 1.0);
        self.median.max(self.mean) + above * (self.upper_80 - self.median.max(self.mean)).max(0.0)
    }

    /// Nothing is expected for certain: the calendar has the store closed.
    fn is_none(&self) -> bool {
        self.mean <= 0.0 && self.upper_80 <= 0.0
    }
}

/// Plans a store's day. A day on which nothing can come asks for nothing, and so does one that opening times close.
pub(super) fn plan_day(store_id: &str, date: NaiveDate, parts: &[Asked<'_>]) -> Vec<Planned> {
    let closed = parts.iter().all(|part| part.demand.is_none()) || parts.iter().all(|part| part.open_hours <= 0.0);
    let open_hours = |part: &Asked<'_>| if closed { 0.0 } else { part.open_hours };
    let hours_for = |demand: fn(&Demand, f64) -> f64| -> Vec<f64> {
        let one = |part: &Asked<'_>| {
            let fixed_hours = if closed { 0.0 } else { part.holding.fixed_hours };
            let part_of_day = Daypart {
                guests: demand(&part.demand, part.holding.share()),
                open_hours: open_hours(part),
                fixed_hours,
                minimum_heads: f64::from(part.holding.minimum_heads),
            };
            required_hours(part.curve, &[part_of_day])[0]
        };
        parts.iter().map(one).collect()
    };
    let exact = hours_for(Demand::at);
    let (lower, upper) = (hours_for(|demand, _| demand.lower_80), hours_for(|demand, _| demand.upper_80));
    let least: Vec<f64> = parts.iter().map(|part| f64::from(part.holding.minimum_heads) * open_hours(part)).collect();
    let unit = parts.first().map_or(0.25, |part| part.holding.round_to_hours);
    // The unit was checked when the rules were read.
    let required = rounded(&exact, unit, &least).unwrap_or_else(|_| exact.clone());
    let crew = crews(parts, &exact, open_hours);
    parts
        .iter()
        .enumerate()
        .map(|(at, part)| Planned {
            store_id: store_id.to_owned(),
            date,
            daypart: part.daypart.to_owned(),
            demand: part.demand.mean,
            staffed_demand: if closed { 0.0 } else { part.demand.at(part.holding.share()) },
            open_hours: open_hours(part),
            fixed_hours: if closed { 0.0 } else { part.holding.fixed_hours },
            required_hours: required[at],
            lower_hours: lower[at].min(required[at]),
            upper_hours: upper[at].max(required[at]),
            crew_hours: crew[at].0,
            heads: crew[at].1,
        })
        .collect()
}

/// Hours of whole people in each part, and the most of them at once. Who the day's rules hold for is who
/// they hold for in its first part: people stay across parts.
fn crews(parts: &[Asked<'_>], exact: &[f64], open_hours: impl Fn(&Asked<'_>) -> f64) -> Vec<(f64, i64)> {
    let mut needed = Vec::new();
    let mut spans = Vec::new();
    for (part, hours) in parts.iter().zip(exact) {
        let open = open_hours(part);
        let slots = (open * SLOTS).round().max(0.0) as usize;
        let working = (hours - part.holding.fixed_hours).max(0.0);
        let at_once = if open > 0.0 { working / open } else { 0.0 };
        spans.push(needed.len()..needed.len() + slots);
        needed.extend(std::iter::repeat_n(at_once.max(f64::from(part.holding.minimum_heads)), slots));
    }
    let Some(first) = parts.first() else { return Vec::new() };
    let least = parts.iter().map(|part| part.holding.minimum_heads).min().unwrap_or_default();
    let plan = heads(&needed, forecast::labor::Crew { least, ..first.holding.crew() });
    let open = parts.iter().any(|part| open_hours(part) > 0.0);
    let one = |(part, span): (&Asked<'_>, std::ops::Range<usize>)| {
        let slots = &plan[span];
        let fixed = if open { part.holding.fixed_hours } else { 0.0 };
        let hours = slots.iter().map(|heads| f64::from(*heads)).sum::<f64>() / SLOTS + fixed;
        (hours, i64::from(slots.iter().copied().max().unwrap_or(0)))
    };
    parts.iter().zip(spans).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(curve: &'a Curve, daypart: &'a str, median: f64, open_hours: f64) -> Asked<'a> {
        let demand = Demand { mean: median * 1.01, median, lower_80: median * 0.8, upper_80: median * 1.25 };
        Asked { daypart, demand, open_hours, holding: Holding::default(), curve }
    }

    fn date() -> NaiveDate {
        "2025-12-05".parse().unwrap()
    }

    #[test]
    fn hours_follow_demand_and_never_fall_below_the_crew() {
        let curve = Curve::new(vec![(5.0, 4.0), (40.0, 8.0)]).unwrap();
        let day = plan_day("1", date(), &[asked(&curve, "Lunch", 120.0, 4.0), asked(&curve, "Night", 4.0, 4.0)]);
        let (lunch, night) = (&day[0], &day[1]);
        // 60 of 100 days: somewhat above the median.
        assert!(lunch.staffed_demand > 120.0 && lunch.staffed_demand < 126.0, "{lunch:?}");
        let expected = lunch.staffed_demand / curve.productivity(lunch.staffed_demand / 4.0);
        assert!((lunch.required_hours - expected).abs() <= 0.25, "{lunch:?} {expected}");
        assert!(lunch.lower_hours < lunch.required_hours && lunch.required_hours < lunch.upper_hours);
        // Who came for lunch goes by and by.
        assert_eq!(night.required_hours, 8.0);
        assert!(night.crew_hours >= 8.0 && night.heads >= 2, "{night:?}");
        assert!(lunch.crew_hours >= lunch.required_hours - 0.15 * 4.0 && lunch.heads >= 4, "{lunch:?}");
    }

    #[test]
    fn a_day_on_which_nothing_can_come_asks_for_nothing() {
        let curve = Curve::new(vec![(5.0, 4.0)]).unwrap();
        let none = Asked {
            demand: Demand::default(),
            holding: Holding { fixed_hours: 2.0, ..Holding::default() },
            ..asked(&curve, "Lunch", 1.0, 4.0)
        };
        let day = plan_day("1", date(), &[none]);
        assert_eq!((day[0].required_hours, day[0].crew_hours, day[0].heads), (0.0, 0.0, 0));
    }

    #[test]
    fn quarter_hours_are_parts_like_any_other() {
        let curve = Curve::new(vec![(10.0, 5.0)]).unwrap();
        let names: Vec<String> = (0..16).map(|at| format!("{:02}:{:02}", 11 + at / 4, at % 4 * 15)).collect();
        let parts: Vec<Asked<'_>> = names
            .iter()
            .enumerate()
            .map(|(at, name)| asked(&curve, name, if (6..10).contains(&at) { 8.0 } else { 2.0 }, 0.25))
            .collect();
        let day = plan_day("1", date(), &parts);
        let heads: Vec<i64> = day.iter().map(|part| part.heads).collect();
        assert!(
            heads[7] >= 6 && heads[0] < heads[7] && heads.windows(2).all(|two| (two[0] - two[1]).abs() <= 2),
            "{heads:?}"
        );
        let (sum, exact): (f64, f64) = (
            day.iter().map(|part| part.required_hours).sum(),
            parts.iter().map(|part| (part.demand.at(0.6) / 5.0).max(0.5)).sum(),
        );
        assert!((sum - exact).abs() <= 0.25, "{sum} {exact}");
    }
}
