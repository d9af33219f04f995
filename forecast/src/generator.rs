//! A chain that does not exist, by the day: for tests, and for the benches, which
//! compile this file as well. Every effect can be switched off, and the truth of a
//! seed never changes.
//!
//! It is written differently from what the models assume where real stores are: the
//! year has bumps and no waves, weekdays drift, weather is shared by a region, holidays
//! differ from year to year, promotions fade, and some days are plain wrong.

#![allow(unreachable_pub, dead_code, reason = "the benches use all of it, the tests a part")]

use chrono::{Datelike as _, Days, NaiveDate, Weekday};

/// What is generated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Same seed, same panel.
    pub seed: u64,
    /// Stores; each has sales, guests, labor and catering.
    pub stores: usize,
    /// Days of history of a grown store.
    pub days: usize,
    /// The last day.
    pub end: NaiveDate,
    /// Names of effects that are switched off: `promotions`, `holidays`, `closures`, `gaps`,
    /// `shifts`, `school`, `outliers`, `young`, `season`, `weather`, `renovations`.
    pub without: Vec<String>,
    /// Which kinds; empty for all four.
    pub kinds: Vec<String>,
    /// Behind this day no chance is at work: what comes is what somebody who knew every effect
    /// and every state on that evening would forecast, and no forecast can be better for long.
    pub known_to: Option<NaiveDate>,
}

/// One day of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The day.
    pub date: NaiveDate,
    /// `None` where no file came.
    pub value: Option<f64>,
    /// The holiday's name, or empty.
    pub holiday: &'static str,
    /// A promotion is on.
    pub promotion: bool,
    /// Schools are closed.
    pub school: bool,
    /// The calendar knows the store closed.
    pub closed: bool,
    /// Where that was known late only.
    pub known_on: Option<NaiveDate>,
}

/// A generated series.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `S0001_sales`.
    pub id: String,
    /// `sales`, `guests`, `labor` or `catering`.
    pub kind: &'static str,
    /// Its days.
    pub rows: Vec<Row>,
}

/// A small generator of its own, so that no library's change changes a panel: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Name, effect on sales of the day, of the day before and of the day after, and whether stores close.
const HOLIDAYS: [(&str, f64, f64, f64, bool); 12] = [
    ("new year", -0.35, 0.10, -0.05, false),
    ("valentines", 0.35, 0.06, -0.03, false),
    ("easter", -0.45, 0.12, -0.08, false),
    ("mothers day", 0.30, 0.04, -0.04, false),
    ("memorial day", -0.15, 0.05, 0.02, false),
    ("independence day", -0.30, 0.12, 0.04, false),
    ("labor day", -0.12, 0.05, 0.02, false),
    ("halloween", 0.25, 0.03, -0.06, false),
    ("thanksgiving", -0.70, 0.28, 0.22, true),
    ("christmas eve", -0.30, 0.15, 0.0, false),
    ("christmas", -0.90, 0.0, -0.15, true),
    ("new years eve", 0.40, 0.05, 0.0, false),
];

fn nth(year: i32, month: u32, weekday: Weekday, n: u8) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, n).expect("each month has four of each weekday")
}

fn day_of(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("these dates are in every year")
}

fn holiday_on(date: NaiveDate) -> Option<usize> {
    let year = date.year();
    // Easter of the years that are generated.
    let easter = match year {
        2021 => (4, 4),
        2022 => (4, 17),
        2023 => (4, 9),
        2024 => (3, 31),
        2025 => (4, 20),
        2026 => (4, 5),
        _ => (3, 28),
    };
    let may = (4..=5).rev().find_map(|n| NaiveDate::from_weekday_of_month_opt(year, 5, Weekday::Mon, n));
    let days = [
        day_of(year, 1, 1),
        day_of(year, 2, 14),
        day_of(year, easter.0, easter.1),
        nth(year, 5, Weekday::Sun, 2),
        may.unwrap_or(date),
        day_of(year, 7, 4),
        nth(year, 9, Weekday::Mon, 1),
        day_of(year, 10, 31),
        nth(year, 11, Weekday::Thu, 4),
        day_of(year, 12, 24),
        day_of(year, 12, 25),
        day_of(year, 12, 31),
    ];
    days.iter().position(|day| *day == date)
}

/// What the whole chain shares.
struct Chain {
    first: NaiveDate,
    promoted: Vec<u8>,
    /// By region and day.
    weather: Vec<Vec<f64>>,
    school: Vec<Vec<bool>>,
    /// By holiday and year.
    occasion: Vec<Vec<f64>>,
}

impl Plan {
    /// The panel that goals are measured on: three years, ending behind the big holidays.
    pub fn standard(seed: u64, stores: usize) -> Self {
        let end = day_of(2026, 1, 11);
        Self { seed, stores, days: 1095, end, without: Vec::new(), kinds: Vec::new(), known_to: None }
    }

    fn has(&self, effect: &str) -> bool {
        !self.without.iter().any(|off| off == effect)
    }

    /// How much of chance is at work on a day: all, or nothing.
    fn chance(&self, date: NaiveDate) -> f64 {
        if self.known_to.is_none_or(|last| date <= last) { 1.0 } else { 0.0 }
    }

    fn chain(&self) -> Chain {
        let mut random = Random::new(self.seed);
        let first = self.end - Days::new(self.days as u64 - 1);
        let mut promoted = vec![0; self.days];
        let mut day = (random.uniform() * 20.0) as usize;
        while day < self.days {
            let length = 3 + (random.uniform() * 12.0) as usize;
            for (age, slot) in promoted.iter_mut().skip(day).take(length).enumerate() {
                *slot = age as u8 + 1;
            }
            day += length + 8 + (random.uniform() * 34.0) as usize;
        }
        let weather = (0..4)
            .map(|_| {
                let mut state = 0.0;
                let mut step = |at: usize| {
                    let chance = self.chance(first + Days::new(at as u64));
                    state = 0.6 * state + 0.028 * chance * random.normal();
                    state
                };
                (0..self.days).map(&mut step).collect()
            })
            .collect();
        let school = (0..4)
            .map(|region| {
                let off = |at: usize| {
                    let date = first + Days::new(at as u64);
                    let shift = region as u32 * 4;
                    let day = date.ordinal() as i64 - i64::from(shift);
                    (165..215).contains(&day)
                        || (95..104).contains(&day)
                        || !(8..=355).contains(&i64::from(date.ordinal()))
                };
                (0..self.days).map(off).collect()
            })
            .collect();
        let occasion = HOLIDAYS.iter().map(|_| (0..10).map(|_| 0.05 * random.normal()).collect()).collect();
        Chain { first, promoted, weather, school, occasion }
    }

    /// Makes the series, store by store.
    pub fn series(&self) -> Vec<Generated> {
        self.stream().flatten().collect()
    }

    /// Makes them one store at a time, for chains too large to hold.
    pub fn stream(&self) -> impl Iterator<Item = Vec<Generated>> + use<'_> {
        let chain = self.chain();
        (0..self.stores).map(move |store| self.store(&chain, store))
    }

    fn store(&self, chain: &Chain, store: usize) -> Vec<Generated> {
        let mut random = Random::new(self.seed ^ ((store as u64 + 1) << 20));
        let mut base = self.sales_log(chain, store, &mut random);
        let young = self.has("young") && store % 10 == 9;
        let opened = if young { self.days - (170 + (random.uniform() * 150.0) as usize).min(self.days) } else { 0 };
        base.drain(..opened);
        let kinds = ["sales", "guests", "labor", "catering"];
        let wanted = kinds.into_iter().filter(|kind| self.kinds.is_empty() || self.kinds.iter().any(|one| one == kind));
        wanted
            .map(|kind| {
                let mut random =
                    Random::new(self.seed ^ ((store as u64 + 1) << 20) ^ kind.len() as u64 ^ kind.as_bytes()[0] as u64);
                let mut rows: Vec<Row> = base.iter().map(|day| day.row.clone()).collect();
                self.fill(kind, &base, &mut rows, &mut random);
                if self.has("gaps") {
                    let hole = (random.uniform() * rows.len() as f64) as usize;
                    for (at, row) in rows.iter_mut().enumerate() {
                        let lost = random.uniform() < 0.008 || (hole..hole + 5).contains(&at);
                        if lost && self.chance(row.date) > 0.0 {
                            row.value = None;
                        }
                    }
                }
                Generated { id: format!("S{:04}_{kind}", store + 1), kind, rows }
            })
            .collect()
    }

    fn sales_log(&self, chain: &Chain, store: usize, random: &mut Random) -> Vec<Base> {
        let region = store % 4;
        let size = 7.8 + 0.5 * random.normal();
        let mut weekday: [f64; 7] = [-0.16, -0.14, -0.08, -0.02, 0.22, 0.30, -0.12];
        weekday.iter_mut().for_each(|value| *value += 0.06 * random.normal());
        let sunday_off = self.has("closures") && store % 7 == 3;
        let bumps: [f64; 4] = [0.10, -0.12, 0.07, 0.14].map(|size: f64| size + 0.035 * random.normal());
        let own: Vec<f64> = HOLIDAYS.iter().map(|_| 0.08 * random.normal()).collect();
        let promotion = 0.19 + 0.05 * random.normal();
        let promotion_weekend = 0.05 + 0.03 * random.normal();
        let school = 0.05 + 0.04 * random.normal();
        let shift = (self.has("shifts") && store % 5 == 2).then(|| {
            let at = (0.25 + 0.7 * random.uniform()) * self.days as f64;
            let size = (0.12 + 0.15 * random.uniform()) * if random.uniform() < 0.6 { -1.0 } else { 1.0 };
            (at as usize, size)
        });
        let renovation = (self.has("renovations") && store % 9 == 4)
            .then(|| ((0.3 + 0.5 * random.uniform()) * self.days as f64) as usize);
        let slope = 0.00008 * random.normal();
        let (mut walk, mut noise) = (0.0, 0.0);
        (0..self.days)
            .map(|at| {
                let date = chain.first + Days::new(at as u64);
                let today = date.weekday().num_days_from_monday() as usize;
                let chance = self.chance(date);
                walk += slope + 0.0035 * chance * random.normal();
                weekday.iter_mut().for_each(|value| *value += 0.0012 * chance * random.normal());
                noise = 0.35 * noise + 0.05 * chance * random.normal();
                let mut value = size + weekday[today] + walk + noise + 0.045 * chance * random.normal();
                if self.has("season") {
                    let day = date.ordinal() as f64;
                    let bump = |centre: f64, width: f64| {
                        let apart = (day - centre).abs().min(365.0 - (day - centre).abs());
                        (-(apart / width).powi(2)).exp()
                    };
                    value += bumps[0] * bump(185.0, 45.0)
                        + bumps[1] * bump(30.0, 25.0)
                        + bumps[2] * bump(270.0, 20.0)
                        + bumps[3] * bump(348.0, 12.0);
                }
                if self.has("weather") {
                    value += chain.weather[region][at];
                }
                let mut row = Row {
                    date,
                    value: None,
                    holiday: "",
                    promotion: false,
                    school: self.has("school") && chain.school[region][at],
                    closed: false,
                    known_on: None,
                };
                if row.school {
                    value += school;
                }
                if self.has("promotions") && chain.promoted[at] > 0 {
                    row.promotion = true;
                    let age = f64::from(chain.promoted[at]) - 1.0;
                    value += promotion * (1.0 - 0.015 * age) + if age == 0.0 { 0.06 } else { 0.0 };
                    if today >= 4 {
                        value += promotion_weekend;
                    }
                } else if self.has("promotions") && at > 0 && chain.promoted[at - 1] > 0 {
                    value -= 0.06;
                }
                let mut shut = false;
                if self.has("holidays") {
                    for (offset, part) in [(-1_i64, 2), (0, 0), (1, 1)] {
                        let near = date + chrono::Duration::days(-offset);
                        let Some(holiday) = holiday_on(near) else { continue };
                        let (name, effect, before, after, closes) = HOLIDAYS[holiday];
                        let year = (near.year() - 2020).rem_euclid(10) as usize;
                        let strength = 1.0 + 1.2 * own[holiday];
                        value += match part {
                            0 => effect + own[holiday] + self.chance(near) * chain.occasion[holiday][year],
                            1 => after * strength,
                            _ => before * strength,
                        };
                        if part == 0 {
                            row.holiday = name;
                            shut = closes && self.has("closures") && !store.is_multiple_of(4);
                        }
                    }
                }
                if let Some((from, size)) = shift {
                    value += if at >= from { size } else { 0.0 };
                }
                if sunday_off && today == 6 {
                    shut = true;
                }
                if let Some(from) = renovation {
                    if (from..from + 18).contains(&at) {
                        shut = true;
                        row.known_on = Some(chain.first + Days::new(from.saturating_sub(10) as u64));
                    }
                    value += if at >= from + 18 { 0.10 } else { 0.0 };
                }
                row.closed = shut;
                Base { log: value, closed: shut, row }
            })
            .collect()
    }

    fn fill(&self, kind: &str, base: &[Base], rows: &mut [Row], random: &mut Random) {
        let ticket = (14.0 + 4.0 * random.uniform()).ln();
        let typical = base.iter().map(|day| day.log).sum::<f64>() / base.len().max(1) as f64;
        let mut drift = 0.0;
        let ordered = 0.25 + 0.3 * random.uniform();
        for (day, row) in base.iter().zip(rows) {
            if day.closed {
                row.value = Some(0.0);
                continue;
            }
            let chance = self.chance(row.date);
            drift += 0.0006 * chance * random.normal();
            let guests = day.log - ticket + drift + 0.03 * chance * random.normal();
            let mut value = match kind {
                "sales" => day.log.exp(),
                "guests" => guests.exp().round(),
                // Hours: a fixed crew, and more people where more guests come; shifts are planned, so smoother.
                "labor" => {
                    let expected = typical - ticket + 0.75 * (guests - typical + ticket);
                    (18.0 + 0.045 * expected.exp() + 1.6 * chance * random.normal()).max(6.0)
                }
                _ => {
                    let weekday = row.date.weekday().num_days_from_monday();
                    let likely = ordered * if weekday < 5 { 1.25 } else { 0.5 };
                    let mut drawn =
                        || if random.uniform() < likely { (4.6 + 0.7 * random.normal()).exp() } else { 0.0 };
                    if chance > 0.0 { drawn() } else { middle((0..999).map(|_| drawn()).collect()) }
                }
            };
            if self.has("outliers") && chance > 0.0 && random.uniform() < 0.004 {
                value *= if random.uniform() < 0.5 { 0.35 } else { 1.8 };
            }
            row.value = Some((value * 100.0).round() / 100.0);
        }
    }
}

struct Base {
    log: f64,
    closed: bool,
    row: Row,
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
