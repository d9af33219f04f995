//! Who worked when, and what it cost.
//!
//! A shift belongs to the business date it started on. Its length is real time,
//! so a shift through the night the clocks change is paid for what was worked.
//! Hours are kept in hundredths and pay in cents, so that sums are exact.

use chrono::{DateTime, Duration, NaiveDate, Utc};

use super::brand::{Brand, Store};
use super::calendar::{after, days, monday};
use super::money::whole;
use super::names::{Name, draw};
use super::random::Stream;
use super::sales::{Ledger, total};
use super::zones::{to_utc, wall_clock};

/// One person of a store's crew.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) name: Name,
    pub(super) user_id: String,
    rate_cents: i64,
    /// Minutes this person is asked for before others.
    eagerness: f64,
}

/// One person's work on one day.
#[derive(Debug, Clone)]
pub(super) struct Shift {
    pub(super) date: NaiveDate,
    pub(super) worker: usize,
    pub(super) clock_in: DateTime<Utc>,
    /// None when the person forgot to clock out.
    pub(super) clock_out: Option<DateTime<Utc>>,
    /// The till closed the shift at the cut-off hour.
    pub(super) automatic: bool,
    pub(super) regular_hundredths: i64,
    pub(super) overtime_hundredths: i64,
    pub(super) regular_cents: i64,
    pub(super) overtime_cents: i64,
}

/// A store's crew and their shifts, by date.
#[derive(Debug, Clone)]
pub(super) struct Roster {
    pub(super) workers: Vec<Worker>,
    pub(super) shifts: Vec<Shift>,
}

const CREW: usize = 26;
const WEEKLY_REGULAR_MINUTES: i64 = 40 * 60;

impl Roster {
    /// Fills the shifts of every day from the first up to, not including, the
    /// last. Whole weeks are planned, so overtime does not depend on the span.
    pub(super) fn fill(
        seed: u64,
        brand: &Brand,
        index: usize,
        ledger: &Ledger,
        first: NaiveDate,
        until: NaiveDate,
    ) -> Self {
        let store = &brand.stores[index];
        let key = brand.store_key(store);
        let workers = crew(seed, &key);
        let mut shifts = Vec::new();
        let mut start = monday(first);
        while start < until {
            let mut minutes = vec![0_i64; workers.len()];
            for date in days(start, after(start, 7).min(until)) {
                let sold = total(&ledger.day(index, date)).net_cents;
                if sold == 0 {
                    continue;
                }
                let mut stream = Stream::on(seed, &["shifts", &key], date);
                let day = plan_day(&mut stream, store, &workers, &mut minutes, date, sold);
                if date >= first {
                    shifts.extend(day);
                }
            }
            start = after(start, 7);
        }
        Self { workers, shifts }
    }
}

impl Shift {
    /// Hours paid, in hundredths.
    pub(super) fn total_hundredths(&self) -> i64 {
        self.regular_hundredths + self.overtime_hundredths
    }

    /// Pay in cents.
    pub(super) fn total_cents(&self) -> i64 {
        self.regular_cents + self.overtime_cents
    }
}

fn crew(seed: u64, key: &str) -> Vec<Worker> {
    let mut stream = Stream::new(seed, &["crew", key]);
    let first_id = 10_000 + stream.below(80_000);
    draw(&mut stream, CREW)
        .into_iter()
        .enumerate()
        .map(|(index, name)| Worker {
            name,
            user_id: format!("U{:05}", first_id + 7 * index as u32),
            rate_cents: 1250 + 25 * i64::from(stream.below(30)),
            eagerness: match index {
                0..=2 => 2600.0,
                3..=8 => 600.0,
                _ => 0.0,
            },
        })
        .collect()
}

fn plan_day(
    stream: &mut Stream,
    store: &Store,
    workers: &[Worker],
    minutes: &mut [i64],
    date: NaiveDate,
    sold_cents: i64,
) -> Vec<Shift> {
    let hours = store.hours_on(chrono::Datelike::weekday(&date));
    let budget = sold_cents as f64 * store.profile.labor_share * stream.between(0.93, 1.07);
    let heads = whole(budget / (1650.0 * 6.1)).clamp(3, CREW as i64 - 4) as usize;
    let mut order: Vec<(f64, usize)> = workers
        .iter()
        .enumerate()
        .map(|(worker, who)| {
            let jitter = stream.between(0.0, 420.0);
            (minutes[worker] as f64 - who.eagerness + jitter, worker)
        })
        .collect();
    order.sort_by(|left, right| left.0.total_cmp(&right.0));
    let closers = 2 + usize::from(heads > 12);
    (0..heads)
        .map(|slot| {
            let worker = order[slot].1;
            let length = 240 + 15 * i64::from(stream.below(19));
            let jitter = i64::from(stream.below(14)) - 7;
            let open = i64::from(hours.open_minute) - 30;
            let close = i64::from(hours.close_minute) + 20;
            let closing = slot >= heads - closers;
            let from = if slot == 0 {
                open + jitter
            } else if closing {
                close - length + jitter
            } else {
                let peak = if slot % 2 == 0 { 640 } else { 970 };
                (peak + 30 * i64::from(stream.below(5)) + jitter).min(close - length).max(open)
            };
            let length = length + i64::from(stream.below(9)) - 3;
            let from = u32::try_from(from).unwrap_or(0);
            let fate = if closing { stream.below(250) } else { 249 };
            work(store, date, worker, &workers[worker], minutes, (from, length, fate))
        })
        .collect()
}

/// Works out one shift. Of 250 closing shifts, two end without a clock-out, and
/// two are closed by the till.
fn work(
    store: &Store,
    date: NaiveDate,
    worker: usize,
    who: &Worker,
    minutes: &mut [i64],
    (from, length, fate): (u32, i64, u32),
) -> Shift {
    let clock_in = to_utc(&store.time_zone, wall_clock(date, from));
    let automatic = fate == 2 || fate == 3;
    let clock_out = match fate {
        0 | 1 => None,
        2 | 3 => {
            let cut_off = 1440 + 60 * store.cut_off_hour;
            Some(to_utc(&store.time_zone, wall_clock(date, cut_off)))
        }
        _ => Some(clock_in + Duration::minutes(length)),
    };
    let worked = clock_out.map_or(0, |clock_out| (clock_out - clock_in).num_minutes());
    let before = minutes[worker];
    minutes[worker] += worked;
    let regular = (WEEKLY_REGULAR_MINUTES - before).clamp(0, worked);
    let regular_hundredths = hundredths(regular);
    let overtime_hundredths = hundredths(worked) - regular_hundredths;
    Shift {
        date,
        worker,
        clock_in,
        clock_out,
        automatic,
        regular_hundredths,
        overtime_hundredths,
        regular_cents: pay(regular_hundredths, who.rate_cents * 2),
        overtime_cents: pay(overtime_hundredths, who.rate_cents * 3),
    }
}

/// Turns minutes into hundredths of an hour, rounded half up.
fn hundredths(minutes: i64) -> i64 {
    (minutes * 100 + 30) / 60
}

/// Pays hundredths of an hour at half of a doubled rate, rounded half up.
fn pay(hundredths: i64, doubled_rate_cents: i64) -> i64 {
    (hundredths * doubled_rate_cents + 100) / 200
}

#[cfg(test)]
mod tests {
    use super::super::brand::found;
    use super::super::calendar::day;
    use super::*;

    fn roster(first: NaiveDate, until: NaiveDate) -> Roster {
        let brand = &found(7, 1)[0];
        let ledger = Ledger::write(7, brand, day(2025, 9, 1), day(2025, 11, 29));
        Roster::fill(7, brand, 4, &ledger, first, until)
    }

    #[test]
    fn nobody_works_twice_a_day() {
        let roster = roster(day(2025, 10, 4), day(2025, 11, 29));
        let mut keys: Vec<_> = roster.shifts.iter().map(|s| (s.date, s.worker)).collect();
        let count = keys.len();
        assert!(count > 300, "{count} shifts");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn overtime_begins_after_forty_hours_of_a_week() {
        let roster = roster(day(2025, 10, 6), day(2025, 10, 13));
        let mut overtime = 0;
        for worker in 0..roster.workers.len() {
            let mine = roster.shifts.iter().filter(|shift| shift.worker == worker);
            let (regular, over) =
                mine.fold((0, 0), |sum, shift| (sum.0 + shift.regular_hundredths, sum.1 + shift.overtime_hundredths));
            assert!(regular <= 4001);
            assert!(over == 0 || regular >= 3999);
            overtime += over;
        }
        assert!(overtime > 0);
    }

    #[test]
    fn a_week_begun_in_the_middle_has_the_same_shifts() {
        let whole = roster(day(2025, 10, 6), day(2025, 10, 13));
        let part = roster(day(2025, 10, 9), day(2025, 10, 13));
        let tail = &whole.shifts[whole.shifts.len() - part.shifts.len()..];
        for (left, right) in tail.iter().zip(&part.shifts) {
            assert_eq!(left.clock_in, right.clock_in);
            assert_eq!(left.overtime_cents, right.overtime_cents);
        }
    }
}
