//! On which day of a year a feast falls.

use std::str::FromStr;

use chrono::{Datelike as _, Days, Month, NaiveDate, Weekday};

/// A rule for one day of each year. Written as text:
///
/// | text | day |
/// |---|---|
/// | `12-25` | the same date each year |
/// | `easter-2`, `easter+49` | so many days from Easter Sunday |
/// | `4 thursday november`, `last monday may` | n-th or last weekday of a month |
/// | `4 thursday november +1` | so many days from that |
/// | `monday before 05-25` | the last such weekday before a date |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The same date each year.
    Date {
        /// 1 to 12.
        month: u32,
        /// 1 to 31.
        day: u32,
    },
    /// Days from Easter Sunday of the western churches.
    Easter(i64),
    /// The n-th weekday of a month, and days from there. `nth` 0 means the last.
    Nth {
        /// 1 to 5; 0 means the last.
        nth: u8,
        /// Which weekday.
        weekday: Weekday,
        /// 1 to 12.
        month: u32,
        /// Days from there.
        offset: i64,
    },
    /// The last such weekday before a date.
    Before {
        /// Which weekday.
        weekday: Weekday,
        /// 1 to 12.
        month: u32,
        /// 1 to 31.
        day: u32,
    },
}

impl Rule {
    /// The day in `year`, if that year has one.
    pub fn day(&self, year: i32) -> Option<NaiveDate> {
        match *self {
            Self::Date { month, day } => NaiveDate::from_ymd_opt(year, month, day),
            Self::Easter(offset) => shifted(easter(year)?, offset),
            Self::Nth { nth: 0, weekday, month, offset } => {
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let end = NaiveDate::from_ymd_opt(next_year, next_month, 1)?;
                shifted(last_before(end, weekday)?, offset)
            }
            Self::Nth { nth, weekday, month, offset } => {
                shifted(NaiveDate::from_weekday_of_month_opt(year, month, weekday, nth)?, offset)
            }
            Self::Before { weekday, month, day } => last_before(NaiveDate::from_ymd_opt(year, month, day)?, weekday),
        }
    }
}

fn shifted(day: NaiveDate, offset: i64) -> Option<NaiveDate> {
    day.checked_add_signed(chrono::Duration::days(offset))
}

fn last_before(day: NaiveDate, weekday: Weekday) -> Option<NaiveDate> {
    let back = (day.weekday().days_since(weekday) + 6) % 7 + 1;
    day.checked_sub_days(Days::new(u64::from(back)))
}

/// Easter Sunday of the western churches: the anonymous Gregorian algorithm
/// (Meeus, "Astronomical Algorithms", chapter 8).
pub fn easter(year: i32) -> Option<NaiveDate> {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e, f) = (b / 4, b % 4, (b + 8) / 25);
    let g = (b - f + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    NaiveDate::from_ymd_opt(year, (n / 31).unsigned_abs(), (n % 31 + 1).unsigned_abs())
}

fn date(text: &str) -> Option<(u32, u32)> {
    let (month, day) = text.split_once('-')?;
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    // A leap year, so that 02-29 is a date.
    NaiveDate::from_ymd_opt(2024, month, day).map(|_| (month, day))
}

impl FromStr for Rule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || -> Option<Self> {
            if let Some((month, day)) = date(text) {
                return Some(Self::Date { month, day });
            }
            if let Some(offset) = text.strip_prefix("easter") {
                return Some(Self::Easter(if offset.is_empty() { 0 } else { offset.parse().ok()? }));
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            match words.as_slice() {
                [weekday, "before", before] => {
                    let (month, day) = date(before)?;
                    Some(Self::Before { weekday: weekday.parse().ok()?, month, day })
                }
                [nth, weekday, month, rest @ ..] => {
                    let nth = if *nth == "last" { 0 } else { nth.parse().ok().filter(|nth| (1..=5).contains(nth))? };
                    let offset = match rest {
                        [] => 0,
                        [offset] => offset.parse().ok()?,
                        _ => return None,
                    };
                    let month = month.parse::<Month>().ok()?.number_from_month();
                    Some(Self::Nth { nth, weekday: weekday.parse().ok()?, month, offset })
                }
                _ => None,
            }
        };
        parse().ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_the_days_that_almanacs_name() {
        let on = |rule: &str, year| rule.parse::<Rule>().unwrap().day(year).unwrap().to_string();
        assert_eq!(on("easter", 2024), "2024-03-31");
        assert_eq!(on("easter", 2025), "2025-04-20");
        assert_eq!(on("easter", 2038), "2038-04-25");
        assert_eq!(on("easter-2", 2026), "2026-04-03");
        assert_eq!(on("easter+49", 2023), "2023-05-28");
        assert_eq!(on("4 thursday november", 2025), "2025-11-27");
        assert_eq!(on("4 thursday november +1", 2024), "2024-11-29");
        assert_eq!(on("last monday may", 2026), "2026-05-25");
        assert_eq!(on("last sunday december", 2023), "2023-12-31");
        // The Monday before 25 May is never the 25th itself.
        assert_eq!(on("monday before 05-25", 2026), "2026-05-18");
        assert_eq!(on("monday before 05-25", 2025), "2025-05-19");
        assert_eq!("02-29".parse::<Rule>().unwrap().day(2025), None);
        assert_eq!("5 monday february".parse::<Rule>().unwrap().day(2025), None);
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        for text in ["", "13-01", "easter?", "6 monday may", "4 thursday", "thursday before may", "1 monday may +1 +2"]
        {
            assert_eq!(text.parse::<Rule>(), Err(()), "{text}");
        }
    }
}
