//! What the stores sold: by store, day and daypart, in whole cents.
//!
//! Every file and table is derived from this ledger, so that their sums agree.
//! A day's sales depend on the seed, the store and the date only.

use chrono::{Datelike, NaiveDate};

use super::brand::{Brand, Store, open_shares};
use super::calendar::{Feast, before, day, days, feast, fiscal_day, monday};
use super::money::whole;
use super::random::Stream;

/// What was sold in one part of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sold {
    pub(super) net_cents: i64,
    pub(super) orders: u32,
    pub(super) discount_cents: i64,
}

impl Sold {
    /// Adds up two of them.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            net_cents: self.net_cents + other.net_cents,
            orders: self.orders + other.orders,
            discount_cents: self.discount_cents + other.discount_cents,
        }
    }
}

/// The six dayparts of a day.
pub(super) type Day = [Sold; 6];

/// The sales of a brand's stores over a span of days.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    first: NaiveDate,
    stores: Vec<Vec<Day>>,
}

impl Ledger {
    /// Writes the ledger from the first day up to, not including, the last.
    pub(super) fn write(seed: u64, brand: &Brand, first: NaiveDate, until: NaiveDate) -> Self {
        let chain: Vec<f64> = days(first, until).map(|date| promotion(seed, brand, date)).collect();
        let stores = brand.stores.iter().map(|store| sell(seed, brand, store, first, &chain)).collect();
        Self { first, stores }
    }

    /// Looks a store's day up; a day that was not recorded sold nothing.
    pub(super) fn day(&self, store: usize, date: NaiveDate) -> Day {
        usize::try_from((date - self.first).num_days())
            .ok()
            .and_then(|index| self.stores[store].get(index))
            .copied()
            .unwrap_or_default()
    }
}

/// Adds up the parts of a day.
pub(super) fn total(day: &Day) -> Sold {
    day.iter().copied().fold(Sold::default(), Sold::plus)
}

/// Whether a store of the brand is shut that day.
pub(super) fn shut(brand: &Brand, date: NaiveDate) -> bool {
    match feast(date) {
        Some(Feast::Christmas) => true,
        Some(Feast::Thanksgiving) => !brand.trade.opens_on_thanksgiving,
        _ => false,
    }
}

/// How much more a promotion sells in this week: 0 without one.
pub(super) fn promotion(seed: u64, brand: &Brand, date: NaiveDate) -> f64 {
    let mut stream = Stream::on(seed, &["promotion", &brand.id], monday(date));
    let uplift = stream.between(0.05, 0.16);
    if stream.chance(0.22) { uplift } else { 0.0 }
}

fn sell(seed: u64, brand: &Brand, store: &Store, first: NaiveDate, chain: &[f64]) -> Vec<Day> {
    let key = brand.store_key(store);
    let mut week = (NaiveDate::MIN, 0.0);
    let mut sold = Vec::with_capacity(chain.len());
    for (date, promotion) in days(first, NaiveDate::MAX).zip(chain) {
        if !store.trades_on(date) || shut(brand, date) {
            sold.push(Day::default());
            continue;
        }
        let start = monday(date);
        if week.0 != start {
            week = (start, week_noise(seed, &key, start));
        }
        let mut stream = Stream::on(seed, &["sales", &key], date);
        let level = level_cents(brand, store, date)
            * (1.0 + promotion)
            * (1.0 + week.1)
            * (1.0 + 0.05 * stream.bell())
            * local_event(&mut stream);
        sold.push(sell_day(&mut stream, store, date, level, *promotion));
    }
    sold
}

/// The mood of a week: half its own, half shared with the week before.
fn week_noise(seed: u64, key: &str, start: NaiveDate) -> f64 {
    let of = |start| 0.04 * Stream::on(seed, &["week", key], start).bell();
    0.7 * of(start) + 0.5 * of(before(start, 7))
}

/// A match, a fair, a storm or a power cut in the neighbourhood.
fn local_event(stream: &mut Stream) -> f64 {
    match stream.below(200) {
        0 | 1 => stream.between(1.2, 1.5),
        2 | 3 => stream.between(0.45, 0.8),
        _ => 1.0,
    }
}

/// What a store would take on a day without noise.
fn level_cents(brand: &Brand, store: &Store, date: NaiveDate) -> f64 {
    let profile = &store.profile;
    let weekday = date.weekday().num_days_from_monday() as usize;
    let years = (date - day(2024, 1, 1)).num_days() as f64 / 365.25;
    profile.level_cents
        * (1.0 + profile.growth * years)
        * season(&profile.months, date)
        * profile.weekdays[weekday]
        * opening_rush(store, date)
        * feast(date).map_or(1.0, |feast| feast_factor(brand, feast))
}

/// Goes smoothly from the middle of one month to the middle of the next.
fn season(months: &[f64; 12], date: NaiveDate) -> f64 {
    let month = date.month0() as usize;
    let distance = (f64::from(date.day()) - 15.5) / 30.5;
    let other = if distance < 0.0 { (month + 11) % 12 } else { (month + 1) % 12 };
    let weight = distance.abs().min(0.5);
    months[month] * (1.0 - weight) + months[other] * weight
}

/// A new store is a sensation for twelve weeks.
fn opening_rush(store: &Store, date: NaiveDate) -> f64 {
    let age = (date - store.opened_on).num_days() as f64;
    1.0 + 0.4 * (1.0 - age / 84.0).max(0.0)
}

fn feast_factor(brand: &Brand, feast: Feast) -> f64 {
    let (pizza, grill) = match feast {
        Feast::NewYearsDay => (0.88, 0.90),
        Feast::BigGame => (1.48, 0.92),
        Feast::MothersDay => (0.96, 1.32),
        Feast::IndependenceDay => (0.78, 0.74),
        Feast::Halloween => (1.30, 0.95),
        Feast::ThanksgivingEve => (1.38, 1.05),
        Feast::Thanksgiving => (0.35, 0.0),
        Feast::ChristmasEve => (0.62, 0.55),
        Feast::Christmas => (0.0, 0.0),
        Feast::NewYearsEve => (1.18, 1.10),
    };
    if brand.id == "harbor" { pizza } else { grill }
}

/// Splits a day's level over its dayparts, and each into orders and cents.
fn sell_day(stream: &mut Stream, store: &Store, date: NaiveDate, level: f64, promotion: f64) -> Day {
    let profile = &store.profile;
    let open = open_shares(store.hours_on(date.weekday()));
    let weekend = date.weekday().num_days_from_monday() >= 4;
    let years = (date - day(2024, 1, 1)).num_days() as f64 / 365.25;
    let ticket = profile.ticket_cents * (1.0 + 0.03 * years);
    let mut sold = Day::default();
    for (part, sold) in sold.iter_mut().enumerate() {
        let shift = match (part, weekend) {
            (1, true) => 0.92,
            (4 | 5, true) => 1.3,
            (4 | 5, false) => 0.88,
            _ => 1.0,
        };
        let noise = 1.0 + 0.09 * stream.bell();
        let ticket = ticket * TICKETS[part];
        let expected = level * profile.dayparts[part] * open[part] * shift * noise / ticket;
        let taste = stream.bell();
        let discount = stream.between(0.7, 1.3);
        let orders = whole(expected + stream.between(-0.5, 0.5)).max(0);
        if orders == 0 {
            continue;
        }
        let spread = 0.28 * taste / (orders as f64).sqrt();
        let net_cents = whole(orders as f64 * ticket * (1.0 + spread)).max(orders * 450);
        let rate = (0.085 + 0.8 * promotion) * discount;
        *sold = Sold {
            net_cents,
            orders: u32::try_from(orders).unwrap_or(u32::MAX),
            discount_cents: whole(net_cents as f64 * rate),
        };
    }
    sold
}

/// How the ticket of each daypart compares with the day's.
const TICKETS: [f64; 6] = [0.62, 0.84, 0.93, 1.16, 1.04, 0.90];

/// Names the fiscal years of a span of days, oldest first.
pub(super) fn fiscal_years(first: NaiveDate, until: NaiveDate) -> std::ops::RangeInclusive<i32> {
    fiscal_day(first).year..=fiscal_day(before(until, 1)).year
}

#[cfg(test)]
mod tests {
    use super::super::brand::found;
    use super::super::calendar::after;
    use super::*;

    #[test]
    fn a_day_more_leaves_the_past_as_it_was() {
        let brand = &found(7, 1)[1];
        let first = day(2025, 10, 1);
        let until = day(2025, 11, 20);
        let short = Ledger::write(7, brand, first, until);
        let long = Ledger::write(7, brand, before(first, 30), after(until, 1));
        for date in days(first, until) {
            assert_eq!(short.day(3, date), long.day(3, date));
        }
    }

    #[test]
    fn nothing_is_sold_on_christmas_and_before_the_opening() {
        let brand = &found(7, 1)[0];
        let ledger = Ledger::write(7, brand, day(2024, 12, 1), day(2025, 7, 1));
        for store in 0..brand.stores.len() {
            assert_eq!(total(&ledger.day(store, day(2024, 12, 25))), Sold::default());
        }
        assert_eq!(total(&ledger.day(29, day(2025, 6, 15))), Sold::default());
        assert!(total(&ledger.day(29, day(2025, 6, 16))).net_cents > 0);
    }

    #[test]
    fn fridays_beat_mondays() {
        let brand = &found(7, 1)[0];
        let ledger = Ledger::write(7, brand, day(2025, 8, 4), day(2025, 10, 13));
        let sum = |offset: u64| -> i64 {
            (0..10)
                .map(|week| after(day(2025, 8, 4), week * 7 + offset))
                .map(|date| total(&ledger.day(0, date)).net_cents)
                .sum()
        };
        assert!(sum(4) > sum(0) * 12 / 10);
    }
}
