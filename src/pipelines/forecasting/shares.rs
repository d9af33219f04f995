//! The share of each daypart in a day of a store.
//!
//! A weekday of a store has a profile of its own, drawn to that of all stores where few
//! such days were seen. What a store never had on such a day it is not forecast to have.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike as _, NaiveDate};

use forecast::dayparts::{PartPoint, Profile, whole};
use forecast::panel::Point;

/// Weeks that are looked at.
pub(super) const WEEKS: u64 = 26;
/// Between the bounds of 80 percent lie so many standard deviations.
const WIDTH_80: f64 = 2.0 * 1.281_551_565_544_600_4;

/// One daypart of a day of a store.
#[derive(Debug, Clone)]
pub(super) struct PartDay {
    pub(super) store_id: String,
    pub(super) daypart: String,
    pub(super) date: NaiveDate,
    pub(super) value: f64,
}

/// The profiles of a brand's stores.
#[derive(Debug, Default)]
pub(super) struct Shares {
    dayparts: Vec<String>,
    own: BTreeMap<(String, u32), Profile>,
    all: BTreeMap<u32, Profile>,
}

/// Amounts of the dayparts by date.
type Amounts = BTreeMap<NaiveDate, Vec<f64>>;

impl Shares {
    /// Learns from days, in any order.
    pub(super) fn learn(days: &[PartDay]) -> Self {
        let names: BTreeSet<&str> = days.iter().map(|day| day.daypart.as_str()).collect();
        let dayparts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let place: BTreeMap<&str, usize> = names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        // By store and weekday; `None` is all stores.
        let mut amounts: BTreeMap<(Option<&str>, u32), Amounts> = BTreeMap::new();
        for day in days {
            for store in [Some(day.store_id.as_str()), None] {
                let dates = amounts.entry((store, weekday(day.date))).or_default();
                let parts = dates.entry(day.date).or_insert_with(|| vec![0.0; dayparts.len()]);
                parts[place[day.daypart.as_str()]] += day.value.max(0.0);
            }
        }
        let mut shares = Self { dayparts, ..Self::default() };
        // `None` comes first: the profile of all is there when the stores' are learned.
        for ((store, weekday), dates) in amounts {
            let days: Vec<Vec<f64>> = dates.into_values().collect();
            match store {
                None => shares.all.extend(Profile::learn(&days, None).map(|profile| (weekday, profile))),
                Some(store) => {
                    let profile = Profile::learn(&days, shares.all.get(&weekday));
                    let profile = profile.map(|profile| without(profile, &days));
                    shares.own.extend(profile.map(|profile| ((store.to_owned(), weekday), profile)));
                }
            }
        }
        shares
    }

    /// Splits a day's forecast. Means add up to the day's to the cent.
    pub(super) fn split(&self, store_id: &str, point: &Point) -> Vec<(String, PartPoint)> {
        let weekday = weekday(point.date);
        let Some(profile) = self.own.get(&(store_id.to_owned(), weekday)).or_else(|| self.all.get(&weekday)) else {
            return Vec::new();
        };
        let (low, high) = point.interval_80;
        let deviation = if low > 0.0 { (high / low).ln() / WIDTH_80 } else { point.deviation };
        let parts = profile.split(point.mean, point.median, deviation, false);
        let cents = whole(&parts.iter().map(|part| part.mean).collect::<Vec<_>>(), 0.01);
        let named = self.dayparts.iter().zip(parts).zip(cents);
        named
            .zip(&profile.shares)
            .filter(|(_, share)| **share > 0.0)
            .map(|(((name, part), mean), _)| (name.clone(), PartPoint { mean, ..part }))
            .collect()
    }
}

/// Leaves out the parts that a store never had.
fn without(mut profile: Profile, days: &[Vec<f64>]) -> Profile {
    let never = |part: usize| days.iter().all(|day| day[part] <= 0.0);
    if (0..profile.shares.len()).all(never) {
        return profile;
    }
    for part in (0..profile.shares.len()).filter(|part| never(*part)) {
        profile.shares[part] = 0.0;
    }
    let sum: f64 = profile.shares.iter().sum();
    profile.shares.iter_mut().for_each(|share| *share /= sum);
    profile
}

fn weekday(date: NaiveDate) -> u32 {
    date.weekday().num_days_from_monday()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecast::panel::Because;

    fn point(mean: f64) -> Point {
        Point {
            date: "2025-11-10".parse().unwrap(),
            lead: 1,
            median: mean * 0.98,
            mean,
            interval_80: (mean * 0.8, mean * 1.2),
            interval_95: (mean * 0.7, mean * 1.4),
            closed: false,
            clipped: false,
            deviation: 0.1,
            because: Because::default(),
        }
    }

    fn days(store_id: &str, weeks: i64, lunch: f64) -> Vec<PartDay> {
        let monday: NaiveDate = "2025-11-03".parse().unwrap();
        let day = |week: i64, daypart: &str, value: f64| PartDay {
            store_id: store_id.to_owned(),
            daypart: daypart.to_owned(),
            date: monday - chrono::Duration::weeks(week),
            value,
        };
        (0..weeks).flat_map(|week| [day(week, "Lunch", lunch), day(week, "Dinner", 100.0 - lunch)]).collect()
    }

    #[test]
    fn dayparts_add_up_to_the_day_to_the_cent() {
        let mut all = days("1", 20, 30.0);
        all.extend(days("1", 20, 30.0).into_iter().map(|day| PartDay {
            daypart: "Late".to_owned(),
            value: 7.0,
            ..day
        }));
        let shares = Shares::learn(&all);
        for mean in [100.0, 99.99, 1234.57, 0.01, 0.0] {
            let parts = shares.split("1", &point(mean));
            let sum: f64 = parts.iter().map(|(_, part)| (part.mean * 100.0).round()).sum();
            assert_eq!(sum, (mean * 100.0).round(), "{parts:?}");
        }
    }

    #[test]
    fn a_young_store_leans_on_the_others() {
        let mut all = days("old", 26, 30.0);
        all.extend(days("young", 2, 60.0));
        let shares = Shares::learn(&all);
        let lunch =
            |store: &str| shares.split(store, &point(100.0)).iter().find(|(name, _)| name == "Lunch").unwrap().1.mean;
        assert!((29.0..32.0).contains(&lunch("old")), "{}", lunch("old"));
        assert!((33.0..45.0).contains(&lunch("young")), "{}", lunch("young"));
        assert!((30.0..40.0).contains(&lunch("unknown")), "{}", lunch("unknown"));
    }

    #[test]
    fn a_part_is_less_certain_than_the_day() {
        let mut all = days("1", 13, 20.0);
        all.extend(days("1", 26, 40.0).into_iter().skip(26));
        let shares = Shares::learn(&all);
        for (_, part) in shares.split("1", &point(100.0)) {
            let day = (1.2_f64 / 0.8).ln();
            let own = (part.interval_80.1 / part.interval_80.0).ln();
            assert!(own > day, "{part:?}");
            assert!(part.interval_95.0 <= part.interval_80.0 && part.interval_80.0 <= part.median, "{part:?}");
        }
    }
}
