//! Lengths of time, as time clocks and spreadsheets write them.

const SECOND: i128 = 1_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// A length of time in microseconds: `7:30` (hours and minutes), `7:30:15`, `-0:15`,
/// `1.5 h`, `7h 30m`, `90 min`, `PT7H30M`, `P1DT2H`, and a bare number as hours.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let refuse = || "is no length of time, such as 7:30, 1.5 h or PT7H30M".to_owned();
    let (negative, body) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // A workbook's cell that is formatted as a length of time comes as `T07:30:00`.
    let micros = match body.strip_prefix(['P', 'p']) {
        Some(rest) => iso(rest),
        None => {
            let body = body.strip_prefix('T').unwrap_or(body);
            if body.contains(':') { clock(body) } else { units(body) }
        }
    };
    let micros = micros.ok_or_else(refuse)?;
    let micros = i64::try_from(micros).map_err(|_| "is too long a time".to_owned())?;
    Ok(if negative { -micros } else { micros })
}

/// `H:MM` or `H:MM:SS`, of any number of hours; seconds may have a fraction.
fn clock(text: &str) -> Option<i128> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    if minutes.len() != 2 || scaled(minutes, MINUTE)? >= HOUR || scaled(seconds, SECOND)? >= MINUTE {
        return None;
    }
    let whole = |part: &str| (!part.contains(['.', ','])).then_some(());
    whole(hours)?;
    whole(minutes)?;
    Some(scaled(hours, HOUR)? + scaled(minutes, MINUTE)? + scaled(seconds, SECOND)?)
}

/// ISO 8601 without the leading `P`. Years and months have no fixed length.
fn iso(text: &str) -> Option<i128> {
    let (days, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let date = parts(days, &[("W", 7 * DAY), ("D", DAY)])?;
    let time = parts(time, &[("H", HOUR), ("M", MINUTE), ("S", SECOND)])?;
    Some(date + time)
}

/// `1.5 h`, `7 h 30 min`, `90 minutes`, `2 days`; a bare number is hours.
fn units(text: &str) -> Option<i128> {
    if text.ends_with(|c: char| c.is_ascii_digit()) {
        return scaled(text.trim(), HOUR);
    }
    let known: &[(&str, i128)] = &[
        ("DAYS", DAY),
        ("DAY", DAY),
        ("D", DAY),
        ("HOURS", HOUR),
        ("HOUR", HOUR),
        ("HRS", HOUR),
        ("HR", HOUR),
        ("H", HOUR),
        ("MINUTES", MINUTE),
        ("MINUTE", MINUTE),
        ("MINS", MINUTE),
        ("MIN", MINUTE),
        ("M", MINUTE),
        ("SECONDS", SECOND),
        ("SECOND", SECOND),
        ("SECS", SECOND),
        ("SEC", SECOND),
        ("S", SECOND),
    ];
    if text.is_empty() { None } else { parts(text, known) }
}

/// Numbers with a unit each, added up. A unit stands once, the larger one first.
fn parts(text: &str, known: &[(&str, i128)]) -> Option<i128> {
    let mut rest = text.trim();
    let mut sum = 0_i128;
    let mut smaller_than = i128::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')?;
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let unit = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&behind[..letters]))?.1;
        if unit >= smaller_than {
            return None;
        }
        smaller_than = unit;
        sum = sum.checked_add(scaled(number, unit)?)?;
        rest = behind[letters..].trim_start();
    }
    Some(sum)
}

/// A number with at most one mark, times a unit, to the nearest microsecond.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) || whole.len() > 12 {
        return None;
    }
    let value = |part: &str| if part.is_empty() { Some(0) } else { part.parse::<i128>().ok() };
    // Twelve digits behind the point are beyond a microsecond of a day.
    let fraction = &fraction[..fraction.len().min(12)];
    let divisor = 10_i128.pow(fraction.len() as u32);
    Some(value(whole)? * unit + (value(fraction)? * unit + divisor / 2) / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_exact_however_they_are_written() {
        let minutes = |minutes: i128| Ok((minutes * MINUTE) as i64);
        for (text, wanted) in [
            ("7:30", minutes(450)),
            ("T07:30:00", minutes(450)),
            ("107:05", minutes(6425)),
            ("-0:15", minutes(-15)),
            ("1.5 h", minutes(90)),
            ("1,5h", minutes(90)),
            ("7h 30m", minutes(450)),
            ("90 min", minutes(90)),
            ("2 days 1 hour", minutes(2940)),
            ("PT7H30M", minutes(450)),
            ("P1DT2H", minutes(1560)),
            ("P2W", minutes(20160)),
            ("8", minutes(480)),
            ("8.25", minutes(495)),
            ("0:00:01.5", Ok(1_500_000)),
            ("PT0.1S", Ok(100_000)),
        ] {
            assert_eq!(duration(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in
            ["", "7:75", "7:3", "7:30:61", "P", "PT", "P1M", "P1Y", "1 h 2 h", "5 m 1 h", "abc", "7:30 PM", "1.2.3"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("999999999999 days"), Err("is too long a time".to_owned()));
    }
}
