//! The share of each daypart in a day of a store.
//!
//! A daypart is forecast as the day's forecast times its share: the weighted mean of its
//! shares on the same weekday of the last 26 weeks, a week counting 0.85 of the next
//! one. Stores with few such days lean on all stores: the own shares weigh n / (n + 8).

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, Weekday};

use crate::forecast::panel::Point;

/// Weeks that count.
pub(super) const WEEKS: u64 = 26;
const FADES: f64 = 0.85;
const LEANS: f64 = 8.0;

/// One daypart of a day of a store.
#[derive(Debug, Clone)]
pub(super) struct PartDay {
    pub(super) store_id: String,
    pub(super) daypart: String,
    pub(super) date: NaiveDate,
    pub(super) value: f64,
}

/// What is known of a share: its mean, and the variance of a single day's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Share {
    mean: f64,
    variance: f64,
}

/// Weighted sums of a daypart's shares.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    share: f64,
    squares: f64,
}

/// The shares of all stores.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By store and weekday: days seen, and the sums of each daypart.
    own: BTreeMap<(String, u32), (f64, BTreeMap<String, Sums>)>,
    all: BTreeMap<u32, BTreeMap<String, Sums>>,
}

/// A daypart's part of a forecast day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) daypart: String,
    pub(super) mean: f64,
    pub(super) median: f64,
    pub(super) interval_80: (f64, f64),
    pub(super) interval_95: (f64, f64),
}

impl Shares {
    /// Learns from days up to `last_day`; those without sales say nothing.
    pub(super) fn learn(days: &[PartDay], last_day: NaiveDate) -> Self {
        let mut totals: BTreeMap<(&str, NaiveDate), Vec<(&str, f64)>> = BTreeMap::new();
        for day in days {
            totals.entry((&day.store_id, day.date)).or_default().push((&day.daypart, day.value.max(0.0)));
        }
        let mut shares = Self::default();
        for ((store_id, date), parts) in totals {
            let total: f64 = parts.iter().map(|(_, value)| value).sum();
            if total <= 0.0 {
                continue;
            }
            let weight = FADES.powi((last_day - date).num_days() as i32 / 7);
            let weekday = weekday(date);
            let (seen, own) = shares.own.entry((store_id.to_owned(), weekday)).or_default();
            *seen += 1.0;
            let all = shares.all.entry(weekday).or_default();
            for (daypart, value) in parts {
                let share = value / total;
                for sums in [own.entry(daypart.to_owned()).or_default(), all.entry(daypart.to_owned()).or_default()] {
                    sums.weight += weight;
                    sums.share += weight * share;
                    sums.squares += weight * share * share;
                }
            }
        }
        shares
    }

    /// The shares of a store on a weekday; they add up to 1, or there are none.
    fn of(&self, store_id: &str, weekday: u32) -> Vec<(String, Share)> {
        let Some(all) = self.all.get(&weekday) else { return Vec::new() };
        let own = self.own.get(&(store_id.to_owned(), weekday));
        let trust = own.map_or(0.0, |(seen, _)| seen / (seen + LEANS));
        let mut shares: Vec<(String, Share)> = Vec::new();
        for (daypart, sums) in all {
            let pooled = sums.share();
            // What a store never had on such a day it is not forecast to have.
            let share = match own.map(|(_, own)| own.get(daypart)) {
                None => pooled,
                Some(None) => Share::default(),
                Some(Some(own)) => {
                    let own = own.share();
                    Share {
                        mean: trust * own.mean + (1.0 - trust) * pooled.mean,
                        variance: trust * own.variance + (1.0 - trust) * pooled.variance,
                    }
                }
            };
            if share.mean > 0.0 {
                shares.push((daypart.clone(), share));
            }
        }
        let total: f64 = shares.iter().map(|(_, share)| share.mean).sum();
        for (_, share) in &mut shares {
            share.mean /= total;
        }
        shares
    }

    /// Splits a day's forecast. Means add up to the day's to the cent; an interval is the
    /// day's, wider by what the share itself varies.
    pub(super) fn split(&self, store_id: &str, point: &Point) -> Vec<Part> {
        let shares = self.of(store_id, weekday(point.date));
        let cents = in_cents(point.mean, &shares.iter().map(|(_, share)| share.mean).collect::<Vec<_>>());
        let part = |((daypart, share), cents): (&(String, Share), f64)| {
            let relative = share.variance / (share.mean * share.mean);
            let wider = if point.deviation > 0.0 {
                ((point.deviation.powi(2) + relative) / point.deviation.powi(2)).sqrt()
            } else {
                1.0
            };
            let median = point.median * share.mean;
            let spread = |(low, high): (f64, f64)| {
                (bound(median, low * share.mean, wider), bound(median, high * share.mean, wider))
            };
            Part {
                daypart: daypart.clone(),
                mean: cents,
                median,
                interval_80: spread(point.interval_80),
                interval_95: spread(point.interval_95),
            }
        };
        shares.iter().zip(cents).map(part).collect()
    }
}

impl Sums {
    fn share(&self) -> Share {
        let mean = self.share / self.weight;
        Share { mean, variance: (self.squares / self.weight - mean * mean).max(0.0) }
    }
}

/// A bound as many times as far from the median, by factors where both are positive.
fn bound(median: f64, bound: f64, wider: f64) -> f64 {
    if median > 0.0 && bound > 0.0 {
        median * (bound / median).powf(wider)
    } else {
        (median + (bound - median) * wider).max(0.0)
    }
}

/// Splits an amount in whole cents by the largest remainder: the parts are exactly the whole.
fn in_cents(amount: f64, shares: &[f64]) -> Vec<f64> {
    let whole = (amount * 100.0).round();
    let exact: Vec<f64> = shares.iter().map(|share| whole * share).collect();
    let mut cents: Vec<f64> = exact.iter().map(|part| part.floor()).collect();
    let mut left = whole - cents.iter().sum::<f64>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| (exact[*b] - cents[*b]).total_cmp(&(exact[*a] - cents[*a])).then(a.cmp(b)));
    for at in order {
        if left < 0.5 {
            break;
        }
        cents[at] += 1.0;
        left -= 1.0;
    }
    cents.into_iter().map(|cents| cents / 100.0).collect()
}

fn weekday(date: NaiveDate) -> u32 {
    let day: Weekday = date.weekday();
    day.num_days_from_monday()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::panel::Because;

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
        let shares = Shares::learn(&all, "2025-11-09".parse().unwrap());
        for mean in [100.0, 99.99, 1234.57, 0.01, 0.0] {
            let parts = shares.split("1", &point(mean));
            let sum: f64 = parts.iter().map(|part| (part.mean * 100.0).round()).sum();
            assert_eq!(sum, (mean * 100.0).round(), "{parts:?}");
        }
    }

    #[test]
    fn a_young_store_leans_on_the_others() {
        let mut all = days("old", 26, 30.0);
        all.extend(days("young", 2, 60.0));
        let shares = Shares::learn(&all, "2025-11-09".parse().unwrap());
        let lunch =
            |store: &str| shares.split(store, &point(100.0)).iter().find(|part| part.daypart == "Lunch").unwrap().mean;
        assert!((29.0..32.0).contains(&lunch("old")), "{}", lunch("old"));
        assert!((33.0..45.0).contains(&lunch("young")), "{}", lunch("young"));
        assert!((30.0..40.0).contains(&lunch("unknown")), "{}", lunch("unknown"));
    }

    #[test]
    fn a_part_is_less_certain_than_the_day() {
        let mut all = days("1", 13, 20.0);
        all.extend(days("1", 26, 40.0).into_iter().skip(26));
        let shares = Shares::learn(&all, "2025-11-09".parse().unwrap());
        for part in shares.split("1", &point(100.0)) {
            let day = (1.2_f64 / 0.8).ln();
            let own = (part.interval_80.1 / part.interval_80.0).ln();
            assert!(own > day, "{part:?}");
            assert!(part.interval_95.0 <= part.interval_80.0 && part.interval_80.0 <= part.median, "{part:?}");
        }
    }
}
