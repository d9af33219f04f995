//! The wall clocks of the stores, by the rule of the United States.
//!
//! Written out, so that the truth of the sandbox does not come from the same
//! zone tables the program under test reads.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Utc, Weekday};

use super::calendar::nth_weekday;

/// Turns a store's wall clock time into an instant. The hour that comes twice
/// in November is taken as its first; the one that never comes in March, as if
/// the clocks had not been changed.
pub(super) fn to_utc(time_zone: &str, local: NaiveDateTime) -> DateTime<Utc> {
    let (hours, saves_daylight) = match time_zone {
        "America/New_York" => (-5, true),
        "America/Phoenix" => (-7, false),
        _ => (-7, true),
    };
    let hours = if saves_daylight && in_summer(local) { hours + 1 } else { hours };
    (local - Duration::hours(hours)).and_utc()
}

/// Gives the wall clock time that lies some minutes after a date's midnight.
pub(super) fn wall_clock(date: NaiveDate, minute: u32) -> NaiveDateTime {
    date.and_time(chrono::NaiveTime::MIN) + Duration::minutes(i64::from(minute))
}

fn in_summer(local: NaiveDateTime) -> bool {
    let year = local.year();
    let from = wall_clock(nth_weekday(year, 3, Weekday::Sun, 2), 120);
    let until = wall_clock(nth_weekday(year, 11, Weekday::Sun, 1), 120);
    from <= local && local < until
}

#[cfg(test)]
mod tests {
    use super::super::calendar::day;
    use super::*;

    fn at(zone: &str, date: NaiveDate, minute: u32) -> String {
        to_utc(zone, wall_clock(date, minute)).format("%F %R").to_string()
    }

    #[test]
    fn clocks_change_in_november_but_not_in_phoenix() {
        let eve = day(2025, 11, 1);
        assert_eq!(at("America/New_York", eve, 720), "2025-11-01 16:00");
        assert_eq!(at("America/New_York", eve, 720 + 1440), "2025-11-02 17:00");
        assert_eq!(at("America/Denver", eve, 720), "2025-11-01 18:00");
        assert_eq!(at("America/Phoenix", eve, 720), "2025-11-01 19:00");
        assert_eq!(at("America/Phoenix", eve, 720 + 1440), "2025-11-02 19:00");
    }

    #[test]
    fn minutes_past_midnight_fall_on_the_next_date() {
        let date = day(2025, 11, 28);
        assert_eq!(at("America/New_York", date, 1500), "2025-11-29 06:00");
    }
}
