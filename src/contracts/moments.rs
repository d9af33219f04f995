//! Dates and moments that a definition describes itself: by a format, or by the
//! zone whose clocks wrote them.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike as _};
use chrono_tz::Tz;

use super::contract::{Ambiguous, Column};
use super::values;

/// A date written by a format of the definition's. Real dates of a workbook come
/// year first, whatever the format says of texts.
pub(super) fn date(text: &str, format: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, format)
        .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|moment| moment.date()))
        .or_else(|_| if year_first(text) { values::date(text, None) } else { Err(mismatch("date", format)) })
}

/// A time of day, in microseconds since midnight.
pub(super) fn time(text: &str, format: &str) -> Result<i64, String> {
    match NaiveTime::parse_from_str(text, format) {
        Ok(time) => Ok(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000)),
        Err(_) if text.starts_with('T') => values::time(text),
        Err(_) => Err(mismatch("time of day", format)),
    }
}

/// A moment in microseconds since 1970, UTC, of a column with a format or a zone.
pub(super) fn timestamp(text: &str, column: &Column) -> Result<i64, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.timestamp_micros());
    }
    let wall = match &column.format {
        None => utc(values::timestamp(text, column.date_order)?)?,
        Some(format) => {
            if let Ok(moment) = DateTime::parse_from_str(text, format) {
                return Ok(moment.timestamp_micros());
            }
            match NaiveDateTime::parse_from_str(text, format) {
                Ok(wall) => wall,
                Err(_) if year_first(text) => utc(values::timestamp(text, None)?)?,
                Err(_) => return Err(mismatch("moment", format)),
            }
        }
    };
    match column.time_zone {
        // A `Z` says UTC itself, whatever clock the others are from.
        Some(zone) if !text.ends_with('Z') => on_the_clocks_of(zone, wall, column.ambiguous),
        _ => Ok(wall.and_utc().timestamp_micros()),
    }
}

/// The moment at which a zone's clocks showed this.
fn on_the_clocks_of(zone: Tz, wall: NaiveDateTime, ambiguous: Option<Ambiguous>) -> Result<i64, String> {
    match (zone.from_local_datetime(&wall), ambiguous) {
        (LocalResult::Single(moment), _) => Ok(moment.timestamp_micros()),
        (LocalResult::Ambiguous(earlier, _), Some(Ambiguous::Earlier)) => Ok(earlier.timestamp_micros()),
        (LocalResult::Ambiguous(_, later), Some(Ambiguous::Later)) => Ok(later.timestamp_micros()),
        (LocalResult::Ambiguous(..), None) => {
            Err(format!("was shown twice by the clocks of {zone}; set the column's `ambiguous` to earlier or later"))
        }
        (LocalResult::None, _) => Err(format!("was never shown by the clocks of {zone}: they jumped over it")),
    }
}

fn utc(micros: i64) -> Result<NaiveDateTime, String> {
    DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc()).ok_or_else(|| "is no moment".to_owned())
}

fn year_first(text: &str) -> bool {
    text.len() >= 8 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-'
}

fn mismatch(what: &str, format: &str) -> String {
    format!("is no {what} of the format `{format}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::Contract;

    fn column(options: &str) -> Column {
        let text = format!("columns = [{{ name = \"at\", type = \"timestamp\", {options} }}]");
        let contract: Contract = toml::from_str(&text).unwrap();
        assert_eq!(contract.problems(), Vec::<String>::new());
        contract.columns[0].clone()
    }

    fn read(text: &str, column: &Column) -> Result<String, String> {
        timestamp(text, column).map(|micros| DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339())
    }

    #[test]
    fn a_wall_clock_is_read_in_its_zone_in_summer_and_in_winter() {
        let chicago = column(r#"time_zone = "America/Chicago""#);
        assert_eq!(read("2025-07-01 08:00", &chicago).as_deref(), Ok("2025-07-01T13:00:00+00:00"));
        assert_eq!(read("2025-12-01 08:00", &chicago).as_deref(), Ok("2025-12-01T14:00:00+00:00"));
        // What names its own offset keeps it.
        assert_eq!(read("2025-12-01T08:00:00Z", &chicago).as_deref(), Ok("2025-12-01T08:00:00+00:00"));
        assert_eq!(read("2025-12-01T08:00:00+01:00", &chicago).as_deref(), Ok("2025-12-01T07:00:00+00:00"));
    }

    #[test]
    fn a_time_that_the_clocks_jumped_over_or_showed_twice_is_not_guessed() {
        let chicago = column(r#"time_zone = "America/Chicago""#);
        assert!(read("2025-03-09 02:30", &chicago).unwrap_err().contains("never shown"));
        assert!(read("2025-11-02 01:30", &chicago).unwrap_err().contains("shown twice"));
        let earlier = column(r#"time_zone = "America/Chicago", ambiguous = "earlier""#);
        assert_eq!(read("2025-11-02 01:30", &earlier).as_deref(), Ok("2025-11-02T06:30:00+00:00"));
        let later = column(r#"time_zone = "America/Chicago", ambiguous = "later""#);
        assert_eq!(read("2025-11-02 01:30", &later).as_deref(), Ok("2025-11-02T07:30:00+00:00"));
        assert!(read("2025-03-09 02:30", &later).is_err(), "a gap has no moment to choose");
    }

    #[test]
    fn a_format_reads_what_it_describes_and_real_dates_only() {
        let day = NaiveDate::from_ymd_opt(2025, 11, 8).unwrap();
        assert_eq!(date("8 Nov 2025", "%d %b %Y"), Ok(day));
        assert_eq!(date("2025-11-08", "%d %b %Y"), Ok(day));
        assert!(date("11/8/2025", "%d %b %Y").unwrap_err().contains("%d %b %Y"));
        assert_eq!(time("8h05", "%Hh%M"), Ok((8 * 60 + 5) * 60_000_000));
        assert!(time("8:05", "%Hh%M").is_err());
        let at = column(r#"format = "%d.%m.%Y um %H:%M", time_zone = "Europe/Berlin""#);
        assert_eq!(read("08.11.2025 um 06:15", &at).as_deref(), Ok("2025-11-08T05:15:00+00:00"));
        assert!(read("08.11.2025 06:15", &at).is_err());
    }
}
