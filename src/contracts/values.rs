//! From text to values: the mess that spreadsheets and exports write.
//!
//! Every function answers with the reason in words when a text is no such value.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

use super::contract::DateOrder;
use crate::digits::{Digits, digits};

/// A float's exponent is smaller; a larger one would only cost time.
const EXPONENT_LIMIT: i32 = 400;

/// Texts that mean "no value".
#[inline]
pub(super) fn is_null(text: &str) -> bool {
    // Nearly every cell is told by its first letter.
    matches!(text.as_bytes().first(), None | Some(b'-' | b'N' | b'n' | b'(' | b'#')) && is_null_word(text)
}

fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "-" | "NULL" | "null" | "NA" | "N/A" | "(NA)" | "NONE" | "#N/A")
}

/// Text as it stands; what a broken formula leaves in a cell is no text.
pub(super) fn text(text: &str) -> Result<&str, String> {
    if !text.starts_with('#') {
        return Ok(text);
    }
    match text {
        "#REF!" | "#DIV/0!" | "#NAME?" | "#NULL!" | "#NUM!" | "#VALUE!" | "#DATA!" => {
            Err("is a broken formula".to_owned())
        }
        "#NOT CALCULATED" => Err("is a formula that was never calculated: save the workbook in Excel".to_owned()),
        text => Ok(text),
    }
}

/// A store's number: `125`, `000125`, `719.0` and `1.25E2` become six digits.
pub(super) fn store_id(text: &str) -> Result<Cow<'_, str>, String> {
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Borrowed(text));
    }
    let digits = text.strip_suffix(".0").unwrap_or(text);
    if !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Owned(format!("{digits:0>6}")));
    }
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && (0.0..1e12).contains(&number) => {
            Ok(Cow::Owned(format!("{:0>6}", number as u64)))
        }
        _ => Err("is no store number".to_owned()),
    }
}

/// A whole number; `12.0` and `1,234` are whole numbers too.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    if let Some(Digits { value, places: 0 }) = digits(text.as_bytes())
        && let Ok(value) = i64::try_from(value)
    {
        return Ok(value);
    }
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let scaled = decimal(text, 38, 6)?;
    if scaled % 1_000_000 == 0 {
        i64::try_from(scaled / 1_000_000).map_err(|_| "is too large for a whole number".to_owned())
    } else {
        Err("is no whole number".to_owned())
    }
}

/// An exact decimal, as the integer `value * 10^scale`.
///
/// Takes `$1,234.50`, `(123.45)`, `12,5 %`, `1.234,50`, `3.2019999999999996e1`.
/// Digits beyond the scale are rounded half away from zero, which is what turns
/// a float's binary noise back into the number that was meant.
#[inline]
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
    plain_decimal(text, precision, scale).map_or_else(|| long_decimal(text, precision, scale), Ok)
}

fn long_decimal(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
    let refuse = || "is no number".to_owned();
    let mut body: String =
        text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '$' | '€' | '£' | '\'')).collect();
    let mut negative = false;
    if let Some(inner) = body.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        (negative, body) = (true, inner.to_owned());
    }
    let mut shift = 0_i32;
    if let Some(rest) = body.strip_suffix('%') {
        (shift, body) = (-2, rest.to_owned());
    }
    if let Some(rest) = body.strip_prefix('-').or_else(|| body.strip_suffix('-')) {
        (negative, body) = (!negative, rest.to_owned());
    } else if let Some(rest) = body.strip_prefix('+') {
        body = rest.to_owned();
    }
    if let Some((mantissa, exponent)) = body.split_once(['e', 'E']) {
        let exponent: i32 = exponent.parse().map_err(|_| refuse())?;
        if !(-EXPONENT_LIMIT..=EXPONENT_LIMIT).contains(&exponent) {
            return Err(refuse());
        }
        shift += exponent;
        body = mantissa.to_owned();
    }
    let (whole, fraction) = split_number(&body).ok_or_else(refuse)?;
    if whole.is_empty() && fraction.is_empty() {
        return Err(refuse());
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    // Digits that stay: those before the point, moved by exponent and scale.
    let kept = whole.len() as i64 + i64::from(shift) + i64::from(scale);
    let mut value = 0_i128;
    for index in 0..kept.max(0) {
        let digit = usize::try_from(index).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0);
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit)))
            .ok_or_else(|| format!("has more than {precision} digits"))?;
    }
    if kept >= 0 && digits.get(kept as usize).is_some_and(|digit| *digit >= 5) {
        value += 1;
    }
    if value >= 10_i128.pow(u32::from(precision)) {
        return Err(format!("has more than {} digits before the point", i32::from(precision) - i32::from(scale)));
    }
    Ok(if negative { -value } else { value })
}

/// A plain number, which nearly every cell holds; all else goes the long way.
#[inline]
fn plain_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, text) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        text => (false, text),
    };
    let Digits { value, places } = digits(text)?;
    let (scale, places) = (usize::try_from(scale).ok()?, places as usize);
    let value = if places <= scale {
        value.checked_mul(*POWERS.get(scale - places)?)?
    } else {
        // Digits beyond the scale, of which the first one rounds.
        let unit = POWERS.get(places - scale)?;
        value / unit + u64::from(value % unit >= unit / 2)
    };
    let fits = POWERS.get(usize::from(precision)).is_none_or(|limit| value < *limit);
    let value = i128::from(value);
    fits.then_some(if negative { -value } else { value })
}

/// The powers of ten that a machine word holds.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Tells the decimal sign from the grouping sign: the last of two kinds is the
/// decimal sign; a lone comma groups when exactly three digits follow it.
fn split_number(text: &str) -> Option<(String, String)> {
    let digits =
        |part: &str| -> Option<String> { part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.to_owned()) };
    let grouped = |part: &str, sign: char| -> Option<String> {
        let mut groups = part.split(sign);
        let first = groups.next()?;
        let well_formed = !first.is_empty() && first.len() <= 3 && groups.all(|group| group.len() == 3);
        if well_formed || !part.contains(sign) { digits(&part.replace(sign, "")) } else { None }
    };
    match (text.rfind('.'), text.rfind(',')) {
        (None, None) => Some((digits(text)?, String::new())),
        (Some(point), None) if text.matches('.').count() == 1 => {
            Some((digits(&text[..point])?, digits(&text[point + 1..])?))
        }
        (Some(_), None) => Some((grouped(text, '.')?, String::new())),
        (None, Some(comma)) => match grouped(text, ',') {
            Some(whole) => Some((whole, String::new())),
            None if text.matches(',').count() == 1 => Some((digits(&text[..comma])?, digits(&text[comma + 1..])?)),
            None => None,
        },
        (Some(point), Some(comma)) => {
            let (at, group) = if point > comma { (point, ',') } else { (comma, '.') };
            Some((grouped(&text[..at], group)?, digits(&text[at + 1..])?))
        }
    }
}

/// A date: year-month-day, with or without a time behind it, or in the order given.
pub(super) fn date(text: &str, order: Option<DateOrder>) -> Result<NaiveDate, String> {
    if let Some(date) = plain_date(text) {
        return Ok(date);
    }
    let head = text.split(['T', ' ']).next().unwrap_or(text);
    let mut split = head.split(['/', '-', '.']);
    let (Some(first), Some(second), Some(third), None) = (split.next(), split.next(), split.next(), split.next())
    else {
        return Err("is no date".to_owned());
    };
    let parts = [first, second, third];
    let (Some(first), Some(second), Some(third)) = (whole(first), whole(second), whole(third)) else {
        return Err("is no date".to_owned());
    };
    let order = if parts[0].len() == 4 {
        DateOrder::Ymd
    } else {
        order.ok_or_else(|| "is no year-month-day date; set the column's `date_order` to mdy or dmy".to_owned())?
    };
    let (year, month, day, year_text) = match order {
        DateOrder::Ymd => (first, second, third, parts[0]),
        DateOrder::Mdy => (third, first, second, parts[2]),
        DateOrder::Dmy => (third, second, first, parts[2]),
    };
    // Two digits mean 1970 to 2069, as spreadsheets and POSIX agree near today.
    let year = match year_text.len() {
        2 if year >= 70 => 1900 + year,
        2 => 2000 + year,
        4 => year,
        _ => return Err("is no date: a year has two or four digits".to_owned()),
    };
    NaiveDate::from_ymd_opt(year as i32, month, day).ok_or_else(|| "is a date that does not exist".to_owned())
}

/// A date such as `2025-11-08`, which is how most are written.
fn plain_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    NaiveDate::from_ymd_opt(whole(text.get(..4)?)? as i32, whole(text.get(5..7)?)?, whole(text.get(8..)?)?)
}

/// A few digits and nothing else.
fn whole(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.bytes().try_fold(0, |sum: u32, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// A time of day in microseconds since midnight: `8:05`, `0805`, `805`, `24:00`, `25:30`, `1:30 PM`.
pub(super) fn time(text: &str) -> Result<i64, String> {
    let refuse = || "is no time of day".to_owned();
    if let [a @ b'0'..=b'2', b @ b'0'..=b'9', b':', c @ b'0'..=b'5', d @ b'0'..=b'9'] = text.as_bytes() {
        let two = |tens: &u8, ones: &u8| i64::from((tens - b'0') * 10 + (ones - b'0'));
        return Ok((two(a, b) % 24 * 3600 + two(c, d) * 60) * 1_000_000);
    }
    // A spreadsheet's time of day comes as a moment on some day.
    let text = text.split_once('T').map_or(text, |(_, time)| time);
    let upper = text.to_ascii_uppercase();
    let (body, half) = match (upper.strip_suffix("AM"), upper.strip_suffix("PM")) {
        (Some(body), _) => (body.trim_end(), Some(0)),
        (_, Some(body)) => (body.trim_end(), Some(12)),
        _ => (upper.as_str(), None),
    };
    let body = body.strip_suffix(".0").unwrap_or(body);
    let parts: Vec<u32> = if body.contains(':') {
        body.split(':').map(|part| part.parse().map_err(|_| refuse())).collect::<Result<_, _>>()?
    } else {
        let number: u32 = body.parse().map_err(|_| refuse())?;
        vec![number / 100, number % 100]
    };
    let (mut hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(refuse()),
    };
    if let Some(half) = half {
        if !(1..=12).contains(&hour) {
            return Err(refuse());
        }
        hour = hour % 12 + half;
    }
    if hour >= 48 || minute >= 60 || second >= 60 {
        return Err(refuse());
    }
    Ok(i64::from((hour % 24) * 3600 + minute * 60 + second) * 1_000_000)
}

/// A moment in microseconds since 1970, UTC.
pub(super) fn timestamp(text: &str, order: Option<DateOrder>) -> Result<i64, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.timestamp_micros());
    }
    let day = date(text, order)?;
    let rest = text.split_once(['T', ' ']).map_or("", |(_, rest)| rest.trim().trim_end_matches('Z'));
    let time = if rest.is_empty() {
        NaiveTime::MIN
    } else if let Ok(time) = rest.parse::<NaiveTime>() {
        time
    } else {
        let seconds = time(rest)? / 1_000_000;
        NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, 0).ok_or_else(|| "is no moment".to_owned())?
    };
    debug_assert!(time.nanosecond() < 2_000_000_000);
    Ok(NaiveDateTime::new(day, time).and_utc().timestamp_micros())
}

/// True or false, in the usual spellings.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "t" => Ok(true),
        "false" | "no" | "n" | "0" | "f" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_however_it_is_written() {
        for (text, cents) in [
            ("32.019999999999996", 3202),
            ("$1,234.50", 123_450),
            ("(123.45)", -12_345),
            ("(12.30)", -1230),
            ("1.234,50", 123_450),
            ("12,5 %", 13),
            ("1,234", 123_400),
            ("1,23", 123),
            ("-0.005", -1),
            ("3.2019999999999996e1", 3202),
            ("1E-05", 0),
            (".5", 50),
            ("1'234.50", 123_450),
        ] {
            assert_eq!(decimal(text, 12, 2), Ok(cents), "{text}");
        }
        for text in ["n/a?", "1,23,4", "1.2.3", "--1", "", "12a", "99999999999.00"] {
            assert!(decimal(text, 12, 2).is_err(), "{text}");
        }
    }

    #[test]
    fn the_short_way_and_the_long_way_agree() {
        let signs = ["", "-", "+", "$", "--", "."];
        let bodies = [
            "0",
            "7",
            "007",
            "12.5",
            "12.50",
            "12.505",
            "12.504999",
            "0.00499999999999999",
            "0.005",
            "9999999999.995",
            "32.019999999999996",
            "12.",
            ".",
            "",
            "1.2.3",
            "1e3",
            "9999999999",
            "99999999990.9",
        ];
        for (sign, body) in signs.iter().flat_map(|sign| bodies.map(|body| (sign, body))) {
            let text = format!("{sign}{body}");
            // White space sends a number the long way.
            assert_eq!(decimal(&text, 12, 2), decimal(&format!(" {text}"), 12, 2), "{text}");
        }
        for text in ["00:00", "08:05", "24:00", "29:59", "2:005", "08:60"] {
            assert_eq!(time(text), time(&format!("T{text}")), "{text}");
        }
    }

    #[test]
    fn an_absurd_exponent_costs_no_time() {
        for text in ["0e2147483647", "0e-2147483648%", "1e400000"] {
            assert_eq!(decimal(text, 12, 2), Err("is no number".to_owned()), "{text}");
        }
        assert_eq!(decimal("0e400%", 12, 2), Ok(0));
    }

    #[test]
    fn store_numbers_keep_their_zeros() {
        for text in ["000125", "125", "125.0", "1.25E2"] {
            assert_eq!(store_id(text).as_deref(), Ok("000125"), "{text}");
        }
        assert!(store_id("12A").is_err());
        assert!(store_id("12.5").is_err());
    }

    #[test]
    fn a_date_is_never_guessed() {
        let day = NaiveDate::from_ymd_opt(2025, 11, 8).unwrap();
        assert_eq!(date("11/8/25", Some(DateOrder::Mdy)), Ok(day));
        assert_eq!(date("8.11.2025", Some(DateOrder::Dmy)), Ok(day));
        assert_eq!(date("2025-11-08T00:00:00", None), Ok(day));
        assert!(date("11/8/25", None).unwrap_err().contains("date_order"));
        assert!(date("13/45/25", Some(DateOrder::Mdy)).unwrap_err().contains("does not exist"));
    }

    #[test]
    fn times_past_midnight_wrap() {
        let hours = |h: i64, m: i64| (h * 3600 + m * 60) * 1_000_000;
        for (text, micros) in [
            ("800", hours(8, 0)),
            ("0800", hours(8, 0)),
            ("2200", hours(22, 0)),
            ("24:00", 0),
            ("25:30", hours(1, 30)),
            ("1:30 PM", hours(13, 30)),
            ("12:00 AM", 0),
            ("100", hours(1, 0)),
            ("100.0", hours(1, 0)),
        ] {
            assert_eq!(time(text), Ok(micros), "{text}");
        }
        assert!(time("8:75").is_err());
    }

    #[test]
    fn moments_are_read_with_and_without_offset() {
        assert_eq!(timestamp("2025-11-28T10:00:00Z", None), timestamp("2025-11-28 10:00:00", None));
        assert_eq!(timestamp("2025-11-28T05:00:00-05:00", None), timestamp("2025-11-28T10:00:00Z", None));
    }
}
