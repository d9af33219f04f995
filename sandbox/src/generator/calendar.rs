//! The chain's calendar: fiscal weeks, feast days, parts of the day.
//!
//! The fiscal year starts on the last Monday of the November before and has 13
//! periods of four weeks; a 53rd week, when there is one, belongs to the last
//! period. A comparable day is 364 days before: the same weekday.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// How far back the comparable day lies.
pub(super) const COMPARABLE_DAYS: u64 = 364;

/// A part of the business day, in minutes from its midnight.
#[derive(Debug)]
pub(super) struct Daypart {
    pub(super) name: &'static str,
    pub(super) from_minute: u32,
    pub(super) to_minute: u32,
}

/// The parts of a day. Late Night runs past midnight and belongs to the
/// business date before.
pub(super) const DAYPARTS: [Daypart; 6] = [
    daypart("Morning", 8, 10),
    daypart("Lunch", 10, 14),
    daypart("Afternoon", 14, 17),
    daypart("Dinner", 17, 21),
    daypart("Evening", 21, 24),
    daypart("Late Night", 24, 32),
];

const fn daypart(name: &'static str, from_hour: u32, to_hour: u32) -> Daypart {
    Daypart { name, from_minute: from_hour * 60, to_minute: to_hour * 60 }
}

/// A day's place in the fiscal calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FiscalDay {
    pub(super) year: i32,
    pub(super) period: u32,
    pub(super) week: u32,
}

/// Finds a day's place in the fiscal calendar.
pub(super) fn fiscal_day(date: NaiveDate) -> FiscalDay {
    let mut year = date.year();
    if date >= fiscal_year_start(year + 1) {
        year += 1;
    }
    let days = (date - fiscal_year_start(year)).num_days();
    let week = u32::try_from(days / 7).unwrap_or(0) + 1;
    FiscalDay { year, period: ((week - 1) / 4 + 1).min(13), week }
}

/// Finds the first day of a fiscal year.
pub(super) fn fiscal_year_start(year: i32) -> NaiveDate {
    let last = day(year - 1, 11, 30);
    before(last, u64::from(last.weekday().num_days_from_monday()))
}

/// Finds the Monday of a day's week.
pub(super) fn monday(date: NaiveDate) -> NaiveDate {
    before(date, u64::from(date.weekday().num_days_from_monday()))
}

/// Finds the comparable day of the year before.
pub(super) fn comparable(date: NaiveDate) -> NaiveDate {
    before(date, COMPARABLE_DAYS)
}

/// Goes back some days.
pub(super) fn before(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days)).expect("the generator's dates are of this century")
}

/// Goes forward some days.
pub(super) fn after(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_add_days(Days::new(days)).expect("the generator's dates are of this century")
}

/// Lists the days from the first up to, not including, the last.
pub(super) fn days(from: NaiveDate, until: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    from.iter_days().take_while(move |date| *date < until)
}

/// Makes a date that is known to exist.
pub(super) fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a day that every year has")
}

/// Finds the nth weekday of a month.
pub(super) fn nth_weekday(year: i32, month: u32, weekday: Weekday, nth: u8) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, nth)
        .expect("every month has the first four of each weekday")
}

/// A day on which people eat out more, or less, than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feast {
    NewYearsDay,
    BigGame,
    MothersDay,
    IndependenceDay,
    Halloween,
    ThanksgivingEve,
    Thanksgiving,
    ChristmasEve,
    Christmas,
    NewYearsEve,
}

/// Finds the feast of a day.
pub(super) fn feast(date: NaiveDate) -> Option<Feast> {
    let year = date.year();
    match (date.month(), date.day()) {
        (1, 1) => return Some(Feast::NewYearsDay),
        (7, 4) => return Some(Feast::IndependenceDay),
        (10, 31) => return Some(Feast::Halloween),
        (12, 24) => return Some(Feast::ChristmasEve),
        (12, 25) => return Some(Feast::Christmas),
        (12, 31) => return Some(Feast::NewYearsEve),
        _ => {}
    }
    let thanksgiving = nth_weekday(year, 11, Weekday::Thu, 4);
    if date == thanksgiving {
        Some(Feast::Thanksgiving)
    } else if date == before(thanksgiving, 1) {
        Some(Feast::ThanksgivingEve)
    } else if date == nth_weekday(year, 2, Weekday::Sun, 2) {
        Some(Feast::BigGame)
    } else if date == nth_weekday(year, 5, Weekday::Sun, 2) {
        Some(Feast::MothersDay)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fiscal_year_starts_on_a_monday_and_has_52_or_53_weeks() {
        for year in 2015..2040 {
            let start = fiscal_year_start(year);
            assert_eq!(start.weekday(), Weekday::Mon);
            let days = (fiscal_year_start(year + 1) - start).num_days();
            assert!(days == 364 || days == 371, "{year} has {days} days");
        }
    }

    #[test]
    fn the_53rd_week_belongs_to_the_last_period() {
        let place = fiscal_day(day(2026, 11, 29));
        assert_eq!((place.year, place.period, place.week), (2026, 13, 53));
        let place = fiscal_day(day(2026, 11, 30));
        assert_eq!((place.year, place.period, place.week), (2027, 1, 1));
    }

    #[test]
    fn comparable_days_share_fiscal_week_and_weekday() {
        for date in days(day(2024, 11, 25), day(2026, 11, 23)) {
            let past = comparable(date);
            assert_eq!(past.weekday(), date.weekday());
            assert_eq!(fiscal_day(past).week, fiscal_day(date).week);
            assert_eq!(fiscal_day(past).year, fiscal_day(date).year - 1);
        }
    }

    #[test]
    fn thanksgiving_is_the_fourth_thursday() {
        assert_eq!(feast(day(2025, 11, 27)), Some(Feast::Thanksgiving));
        assert_eq!(feast(day(2025, 11, 26)), Some(Feast::ThanksgivingEve));
        assert_eq!(feast(day(2025, 11, 28)), None);
    }
}
