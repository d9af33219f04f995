//! How long a step of a series is.

use std::fmt;

use chrono::{Datelike as _, Days, Months, NaiveDate, Weekday};

/// How long a step is, and where one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grain {
    /// A day.
    #[default]
    Day,
    /// Seven days from this weekday on.
    Week(Weekday),
    /// A month of the calendar.
    Month,
}

impl Grain {
    /// The first day of the step that a day is in.
    pub fn start_of(self, date: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => date,
            Self::Week(first) => date.week(first).first_day(),
            Self::Month => date.with_day(1).unwrap_or(date),
        }
    }

    /// The first day of the step `steps` behind the one that `date` is in.
    pub fn after(self, date: NaiveDate, steps: usize) -> NaiveDate {
        let start = self.start_of(date);
        match self {
            Self::Day => start + Days::new(steps as u64),
            Self::Week(_) => start + Days::new(7 * steps as u64),
            Self::Month => start + Months::new(steps as u32),
        }
    }

    /// The evening `steps` before that of `cutoff`, the last day of a step.
    pub fn back(self, cutoff: NaiveDate, steps: usize) -> NaiveDate {
        let next = self.start_of(cutoff + Days::new(1));
        let earlier = match self {
            Self::Day => next - Days::new(steps as u64),
            Self::Week(_) => next - Days::new(7 * steps as u64),
            Self::Month => next - Months::new(steps as u32),
        };
        earlier - Days::new(1)
    }

    /// The last day of the step that a day is in.
    pub fn end_of(self, date: NaiveDate) -> NaiveDate {
        self.after(date, 1) - Days::new(1)
    }

    /// How many steps a day's step is behind that of `first`; below zero where it is before.
    pub fn steps(self, first: NaiveDate, date: NaiveDate) -> i64 {
        match self {
            Self::Day => (date - first).num_days(),
            Self::Week(_) => (self.start_of(date) - self.start_of(first)).num_days() / 7,
            Self::Month => {
                let months = |date: NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month0());
                months(date) - months(first)
            }
        }
    }

    /// Steps after which the pattern repeats: the days of a week, the weeks or months of a year.
    pub fn season(self) -> usize {
        match self {
            Self::Day => 7,
            Self::Week(_) => 52,
            Self::Month => 12,
        }
    }

    /// The grain of rows at these days, in their order: rows a whole number of weeks apart are of
    /// weeks, rows of one a month are of months, where there are eight of them; any others of days.
    pub(super) fn of(rows: &[&[NaiveDate]]) -> Self {
        const ENOUGH: usize = 8;
        let gaps: Vec<i64> =
            rows.iter().flat_map(|dates| dates.windows(2).map(|pair| (pair[1] - pair[0]).num_days())).collect();
        let first = rows.iter().find_map(|dates| dates.first());
        let (Some(first), Some(least)) = (first, gaps.iter().min()) else { return Self::Day };
        if rows.iter().all(|dates| dates.len() < ENOUGH) {
            return Self::Day;
        }
        let same_weekday = rows.iter().all(|dates| dates.iter().all(|date| date.weekday() == first.weekday()));
        if *least == 7 && same_weekday {
            return Self::Week(first.weekday());
        }
        // The first, the last, or any other day of each month.
        let last_of_month = |date: &NaiveDate| Self::Month.end_of(*date) == *date;
        let all = || rows.iter().flat_map(|dates| dates.iter());
        let monthly = all().all(last_of_month) || all().all(|date| date.day() == first.day());
        if *least >= 28 && monthly { Self::Month } else { Self::Day }
    }

    /// What several steps are called.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Day => "days",
            Self::Week(_) => "weeks",
            Self::Month => "months",
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week(_) => "week",
            Self::Month => "month",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn steps_are_counted_from_their_starts() {
        let week = Grain::Week(Weekday::Mon);
        assert_eq!(week.start_of(day("2025-11-30")), day("2025-11-24"));
        assert_eq!(Grain::Week(Weekday::Sun).start_of(day("2025-11-30")), day("2025-11-30"));
        assert_eq!(week.end_of(day("2025-11-26")), day("2025-11-30"));
        assert_eq!(week.steps(day("2025-11-24"), day("2025-12-07")), 1);
        assert_eq!(Grain::Month.steps(day("2024-11-01"), day("2025-01-31")), 2);
        assert_eq!(Grain::Month.after(day("2025-01-31"), 1), day("2025-02-01"));
        assert_eq!(Grain::Month.back(day("2025-03-31"), 1), day("2025-02-28"));
        assert_eq!(week.back(day("2025-11-30"), 2), day("2025-11-16"));
        assert_eq!(Grain::Day.back(day("2025-03-01"), 1), day("2025-02-28"));
        for grain in [Grain::Day, week, Grain::Month] {
            let end = grain.end_of(day("2025-05-15"));
            assert_eq!(grain.back(grain.end_of(grain.after(end, 5)), 5), end, "{grain}");
        }
    }

    #[test]
    fn rows_say_what_they_are_of() {
        let grain = |first: &str, step: &dyn Fn(u32) -> NaiveDate| {
            let dates: Vec<NaiveDate> = [day(first)].into_iter().chain((1..9).map(step)).collect();
            Grain::of(&[&dates])
        };
        let weekly = grain("2025-01-05", &|at| day("2025-01-05") + Days::new(7 * u64::from(at)));
        assert_eq!(weekly, Grain::Week(Weekday::Sun));
        assert_eq!(grain("2025-01-15", &|at| day("2025-01-15") + Months::new(at)), Grain::Month);
        let ends =
            grain("2025-01-31", &|at| Grain::Month.end_of(day("2025-01-31").with_day(1).unwrap() + Months::new(at)));
        assert_eq!(ends, Grain::Month);
        assert_eq!(grain("2025-01-01", &|at| day("2025-01-01") + Days::new(2 * u64::from(at))), Grain::Day);
        assert_eq!(Grain::of(&[&[day("2025-01-01"), day("2025-01-08")]]), Grain::Day, "two rows say nothing");
        assert_eq!(Grain::of(&[]), Grain::Day);
    }
}
