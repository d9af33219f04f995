//! Writes values by the settings of their column, as Metabase would. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use super::data::number;

/// Writes a value in full, for tables, labels and single numbers.
pub(super) fn written(value: &Value, column: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(_) => number(value).map_or_else(String::new, |number| figure(number, column, false)),
        Value::String(text) => match moment(text) {
            Some(Moment::Day(day)) => date(day, column),
            Some(Moment::Time(at)) => at.format("%b %-d, %Y, %H:%M").to_string(),
            None => text.clone(),
        },
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// Writes a number short enough for an axis.
pub(super) fn short(number: f64, column: &Value) -> String {
    figure(number, column, true)
}

enum Moment {
    Day(NaiveDate),
    Time(NaiveDateTime),
}

/// Reads what PostgreSQL writes into JSON for dates and times.
fn moment(text: &str) -> Option<Moment> {
    if text.len() == 10 {
        return NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Moment::Day);
    }
    let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.naive_local());
    zoned.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")).ok().map(Moment::Time)
}

/// Reads a value as a day.
pub(super) fn day(value: &Value) -> Option<NaiveDate> {
    match moment(value.as_str()?)? {
        Moment::Day(day) => Some(day),
        Moment::Time(at) => Some(at.date()),
    }
}

fn date(day: NaiveDate, column: &Value) -> String {
    let weekday = column["date_style"].as_str().is_some_and(|style| style.starts_with("dddd"));
    let short = column["date_abbreviate"] == true;
    let pattern = match (weekday, short) {
        (true, true) => "%a, %b %-d, %Y",
        (true, false) => "%A, %B %-d, %Y",
        (false, true) => "%b %-d, %Y",
        (false, false) => "%B %-d, %Y",
    };
    day.format(pattern).to_string()
}

fn figure(number: f64, column: &Value, axis: bool) -> String {
    let scaled = number * column["scale"].as_f64().unwrap_or(1.0);
    let style = column["number_style"].as_str().unwrap_or("decimal");
    let decimals = column["decimals"].as_u64().map(|digits| digits.min(9) as usize);
    let (symbol, percent) = match style {
        "currency" => (currency(column["currency"].as_str().unwrap_or("USD")), ""),
        "percent" => (String::new(), "%"),
        _ => (String::new(), ""),
    };
    let value = if percent.is_empty() { scaled } else { scaled * 100.0 };
    let digits = if axis && percent.is_empty() {
        shortened(value, decimals.unwrap_or(2).min(2))
    } else if axis {
        trimmed(value, 1)
    } else {
        match decimals {
            Some(digits) => grouped(value, digits),
            None if value.fract().abs() < 1e-9 => grouped(value, 0),
            None => trimmed(value, 2),
        }
    };
    let prefix = column["prefix"].as_str().unwrap_or_default();
    let suffix = column["suffix"].as_str().unwrap_or_default();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) if rest.chars().any(|c| c.is_ascii_digit() && c != '0') => ("-", rest.to_owned()),
        Some(rest) => ("", rest.to_owned()),
        None => ("", digits),
    };
    format!("{sign}{prefix}{symbol}{digits}{percent}{suffix}")
}

fn currency(code: &str) -> String {
    match code {
        "USD" => "$".to_owned(),
        "EUR" => "€".to_owned(),
        "GBP" => "£".to_owned(),
        "JPY" => "¥".to_owned(),
        other => format!("{other} "),
    }
}

/// `12.5k`, `3.1M`.
fn shortened(value: f64, decimals: usize) -> String {
    let size = value.abs();
    if size >= 999_500.0 {
        format!("{}M", trimmed(value / 1e6, 1))
    } else if size >= 1_000.0 {
        format!("{}k", trimmed(value / 1e3, 1))
    } else {
        trimmed(value, decimals)
    }
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = grouped(value, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Writes a number with a comma at each third digit.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    match rest {
        Some(rest) => format!("{sign}{out}.{rest}"),
        None => format!("{sign}{out}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_written_by_its_columns_settings() {
        let money = json!({"number_style": "currency", "currency": "USD", "decimals": 0});
        let percent = json!({"number_style": "percent", "decimals": 1});
        let hours = json!({"number_style": "decimal", "decimals": 1, "suffix": " h"});
        for (value, column, full, axis) in [
            (json!(12345.6), &money, "$12,346", "$12.3k"),
            (json!(-12345.6), &money, "-$12,346", "-$12.3k"),
            (json!(-0.2), &money, "$0", "$0"),
            (json!(0.2346), &percent, "23.5%", "23.5%"),
            (json!(41.26), &hours, "41.3 h", "41.3 h"),
            (json!(1234567), &Value::Null, "1,234,567", "1.2M"),
            (json!(0.126), &Value::Null, "0.13", "0.13"),
        ] {
            assert_eq!(written(&value, column), full, "{value} {column}");
            assert_eq!(short(value.as_f64().unwrap(), column), axis, "{value} {column}");
        }
        assert_eq!(written(&Value::Null, &money), "");
    }

    #[test]
    fn a_date_is_written_with_its_weekday_where_asked() {
        let long = json!({"date_style": "dddd, MMMM D, YYYY", "date_abbreviate": true});
        assert_eq!(written(&json!("2025-11-28"), &long), "Fri, Nov 28, 2025");
        assert_eq!(written(&json!("2025-11-28"), &Value::Null), "November 28, 2025");
        assert_eq!(written(&json!("2025-11-28T06:15:00+00:00"), &Value::Null), "Nov 28, 2025, 06:15");
        assert_eq!(written(&json!("0001234567"), &Value::Null), "0001234567");
    }
}
