//! Values by the kind of their column: read, compared and printed exactly.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::schema::ColumnKind;

/// Digits after the point that are kept of every exact number.
const SCALE: u32 = 10;
/// Digits after the point that money is printed with.
const MONEY_SCALE: u32 = 4;
/// Characters a text may have.
const TEXT_LIMIT: usize = 4000;

/// One value of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Integer(i64),
    /// In units of 10⁻¹⁰: more digits than any column holds.
    Exact(i128),
    Double(f64),
    Boolean(bool),
    Date(NaiveDate),
    /// An instant or a wall-clock time; only the column knows which.
    Moment(DateTime<Utc>),
    /// A GUID, lower case.
    Guid(String),
    /// Numbers of a list, ascending.
    Numbers(Vec<i32>),
    /// A row of another table: its GUID, that table and its name for people.
    Reference {
        id: String,
        table: String,
        name: String,
    },
}

/// Why a value does not fit its column.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is no literal of the column's type.
    Type(&'static str),
    /// It is too long.
    Length,
}

impl Cell {
    /// Reads a JSON value as a value of the column. Exact numbers may be in quotes.
    pub(super) fn from_value(kind: &ColumnKind, value: &Value) -> Result<Self, Misfit> {
        match (kind, value) {
            (ColumnKind::Decimal { .. } | ColumnKind::Money, Value::String(text)) => Self::from_literal(kind, text),
            (ColumnKind::Lookup(targets), Value::Object(members)) => reference(targets, members),
            (_, value) => Self::from_json(kind, &value.to_string()),
        }
    }

    /// Reads the text of a JSON value, so that no digit is lost on the way.
    pub(super) fn from_json(kind: &ColumnKind, json: &str) -> Result<Self, Misfit> {
        let json = json.trim();
        if json == "null" {
            return Ok(Self::Null);
        }
        let quoted = json.starts_with('"');
        let wants_quotes = matches!(
            kind,
            ColumnKind::Text
                | ColumnKind::DateOnly
                | ColumnKind::DateTimeUtc
                | ColumnKind::DateTimeWall
                | ColumnKind::MultiChoice(_)
                | ColumnKind::Guid
        );
        // A reference is written through its navigation property.
        if matches!(kind, ColumnKind::Lookup(_)) || quoted != wants_quotes {
            return Err(Misfit::Type(edm_type(kind)));
        }
        if quoted {
            let text: String = serde_json::from_str(json).map_err(|_| Misfit::Type(edm_type(kind)))?;
            Self::from_literal(kind, &text)
        } else {
            Self::from_literal(kind, json)
        }
    }

    /// Reads bare text, as in a key or a filter.
    pub(super) fn from_literal(kind: &ColumnKind, text: &str) -> Result<Self, Misfit> {
        let cell = match kind {
            // The service gives an empty text back as null.
            ColumnKind::Text if text.is_empty() => Some(Self::Null),
            ColumnKind::Text if text.chars().count() > TEXT_LIMIT => return Err(Misfit::Length),
            ColumnKind::Text => Some(Self::Text(text.to_owned())),
            ColumnKind::Integer | ColumnKind::Choice(_) => {
                text.parse::<i32>().ok().map(|number| Self::Integer(number.into()))
            }
            ColumnKind::Decimal { precision } => exact(text, *precision),
            ColumnKind::Money => exact(text, MONEY_SCALE),
            ColumnKind::Double => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Double),
            ColumnKind::Boolean => text.parse().ok().map(Self::Boolean),
            ColumnKind::DateOnly => text.parse().ok().map(Self::Date),
            ColumnKind::DateTimeUtc | ColumnKind::DateTimeWall => moment(text).map(Self::Moment),
            ColumnKind::MultiChoice(options) => numbers(options, text).map(Self::Numbers),
            ColumnKind::Guid | ColumnKind::Lookup(_) => guid(text).map(Self::Guid),
        };
        cell.ok_or(Misfit::Type(edm_type(kind)))
    }

    /// Prints the JSON text of the value.
    pub(super) fn to_json(&self, kind: &ColumnKind) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Numbers(numbers) => Value::from(joined(numbers.iter().map(i32::to_string), ",")).to_string(),
            Self::Text(text) | Self::Guid(text) | Self::Reference { id: text, .. } => {
                Value::from(text.as_str()).to_string()
            }
            Self::Integer(number) => number.to_string(),
            Self::Exact(number) => {
                let digits = if *kind == ColumnKind::Money { MONEY_SCALE } else { SCALE };
                print_exact(*number, digits)
            }
            Self::Double(number) => Value::from(*number).to_string(),
            Self::Boolean(flag) => flag.to_string(),
            Self::Date(date) => format!("\"{date}\""),
            Self::Moment(at) => format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }
    }

    /// Gives the value back as the generator writes it: exact numbers as text.
    pub(super) fn to_value(&self, kind: &ColumnKind) -> Value {
        match self {
            Self::Exact(_) => Value::String(self.to_json(kind)),
            _ => serde_json::from_str(&self.to_json(kind)).unwrap_or(Value::Null),
        }
    }

    /// Prints the value for people, if its kind has such a form.
    pub(super) fn formatted(&self, kind: &ColumnKind) -> Option<String> {
        match (kind, self) {
            (ColumnKind::Choice(options), Self::Integer(number)) => {
                let found = options.iter().find(|(value, _)| i64::from(*value) == *number);
                found.map(|(_, label)| label.clone())
            }
            (ColumnKind::MultiChoice(options), Self::Numbers(numbers)) => {
                let label =
                    |number: &i32| options.iter().find(|(value, _)| value == number).map(|(_, label)| label.clone());
                Some(joined(numbers.iter().filter_map(label), "; "))
            }
            (_, Self::Reference { name, .. }) => Some(name.clone()),
            (ColumnKind::Boolean, Self::Boolean(flag)) => Some(if *flag { "Yes" } else { "No" }.to_owned()),
            (ColumnKind::Money, Self::Exact(number)) => {
                let text = grouped(&print_exact(number.abs(), 2));
                Some(if *number < 0 { format!("(${text})") } else { format!("${text}") })
            }
            (ColumnKind::Decimal { precision }, Self::Exact(number)) => {
                Some(grouped(&print_exact(*number, *precision)))
            }
            (ColumnKind::Integer, Self::Integer(number)) => Some(grouped(&number.to_string())),
            (ColumnKind::DateOnly, Self::Date(date)) => Some(date.format("%-m/%-d/%Y").to_string()),
            (_, Self::Moment(at)) => Some(at.format("%-m/%-d/%Y %-I:%M %p").to_string()),
            _ => None,
        }
    }

    /// Orders two values of one column: null first, text without regard to case.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Text(one), Self::Text(two)) => order_text(one, two),
            (Self::Integer(one), Self::Integer(two)) => one.cmp(two),
            (Self::Exact(one), Self::Exact(two)) => one.cmp(two),
            (Self::Double(one), Self::Double(two)) => one.total_cmp(two),
            (Self::Boolean(one), Self::Boolean(two)) => one.cmp(two),
            (Self::Date(one), Self::Date(two)) => one.cmp(two),
            (Self::Moment(one), Self::Moment(two)) => one.cmp(two),
            (Self::Guid(one) | Self::Reference { id: one, .. }, Self::Guid(two) | Self::Reference { id: two, .. }) => {
                one.cmp(two)
            }
            (Self::Numbers(one), Self::Numbers(two)) => one.cmp(two),
            // A column has one kind, so two of its values never differ in it.
            _ => Ordering::Equal,
        }
    }
}

fn order_text(one: &str, two: &str) -> Ordering {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    if one == two { Ordering::Equal } else { lower(one).cmp(&lower(two)) }
}

/// The column's type in the words of OData.
pub(super) fn edm_type(kind: &ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "Edm.String",
        ColumnKind::Integer | ColumnKind::Choice(_) => "Edm.Int32",
        ColumnKind::Decimal { .. } | ColumnKind::Money => "Edm.Decimal",
        ColumnKind::Double => "Edm.Double",
        ColumnKind::Boolean => "Edm.Boolean",
        ColumnKind::DateOnly => "Edm.Date",
        ColumnKind::DateTimeUtc | ColumnKind::DateTimeWall => "Edm.DateTimeOffset",
        ColumnKind::MultiChoice(_) => "Edm.String",
        ColumnKind::Guid | ColumnKind::Lookup(_) => "Edm.Guid",
    }
}

/// Reads a decimal literal and rounds it, half away from zero, to the column's precision.
fn exact(text: &str, precision: u32) -> Option<Cell> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    // Where the point would be among all digits once the column's precision is taken in.
    let kept = i32::try_from(whole.len()).ok()? + exponent + i32::try_from(precision).ok()?;
    let digit = |index: i32| {
        usize::try_from(index).ok().and_then(|index| all.as_bytes().get(index)).map_or(0, |byte| byte - b'0')
    };
    let mut number: i128 = 0;
    for index in 0..kept.clamp(0, 60) {
        number = number.checked_mul(10)?.checked_add(digit(index).into())?;
    }
    if digit(kept) >= 5 {
        number += 1;
    }
    let number = number.checked_mul(10_i128.pow(SCALE - precision.min(SCALE)))?;
    Some(Cell::Exact(if negative { -number } else { number }))
}

/// Prints with so many digits after the point, rounding half away from zero.
fn print_exact(number: i128, digits: u32) -> String {
    let unit = 10_i128.pow(SCALE - digits.min(SCALE));
    let rounded = (number.abs() + unit / 2) / unit;
    let sign = if number < 0 && rounded != 0 { "-" } else { "" };
    let width = digits as usize;
    if width == 0 {
        return format!("{sign}{rounded}");
    }
    let power = 10_i128.pow(digits);
    format!("{sign}{}.{:0width$}", rounded / power, rounded % power)
}

/// Puts commas between thousands.
fn grouped(number: &str) -> String {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut text = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Reads a time; without offset it counts as UTC. An offset and a `Z` together are refused.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok().or_else(|| {
        let bare = text.parse::<NaiveDateTime>().ok();
        bare.or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)).map(|at| at.and_utc())
    })?;
    let earliest = NaiveDate::from_ymd_opt(1753, 1, 1)?;
    (at.date_naive() >= earliest).then_some(at)
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// Reads `2,3,8`; each must be on the list.
fn numbers(options: &[(i32, String)], text: &str) -> Option<Vec<i32>> {
    let numbers = text.split(',').map(|part| {
        let number = part.trim().parse().ok()?;
        options.iter().any(|(value, _)| *value == number).then_some(number)
    });
    let mut numbers: Vec<i32> = numbers.collect::<Option<_>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

fn reference(targets: &[String], members: &Map<String, Value>) -> Result<Cell, Misfit> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let table = text("table").filter(|table| targets.iter().any(|target| target == table));
    match (text("id").and_then(guid), table) {
        (Some(id), Some(table)) => {
            let name = text("name").unwrap_or_default().to_owned();
            Ok(Cell::Reference { id, table: table.to_owned(), name })
        }
        _ => Err(Misfit::Type("Edm.Guid")),
    }
}

/// Reads a GUID, with or without braces.
pub(super) fn guid(text: &str) -> Option<String> {
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    (bare.len() == 36).then(|| uuid::Uuid::try_parse(bare).ok())?.map(|id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(kind: &ColumnKind, json: &str) -> String {
        match Cell::from_json(kind, json) {
            Ok(cell) => cell.to_json(kind),
            Err(misfit) => format!("{misfit:?}"),
        }
    }

    #[test]
    fn exact_numbers_keep_every_digit_and_gain_trailing_zeros() {
        let decimal = ColumnKind::Decimal { precision: 2 };
        assert_eq!(round_trip(&decimal, "12.5"), "12.5000000000");
        assert_eq!(round_trip(&decimal, "-0.125"), "-0.1300000000");
        assert_eq!(round_trip(&decimal, "1.5e1"), "15.0000000000");
        assert_eq!(round_trip(&ColumnKind::Money, "20000"), "20000.0000");
        assert_eq!(round_trip(&ColumnKind::Money, "79228162514264337593543.9505"), "79228162514264337593543.9505");
        assert_eq!(round_trip(&ColumnKind::Money, "\"1\""), "Type(\"Edm.Decimal\")");
        assert_eq!(round_trip(&ColumnKind::Money, "-0.00004"), "0.0000");
        assert_eq!(Cell::from_value(&ColumnKind::Money, &Value::from("19.9500")), Ok(Cell::Exact(199_500_000_000)));
    }

    #[test]
    fn the_three_kinds_of_date_print_as_the_service_does() {
        assert_eq!(round_trip(&ColumnKind::DateOnly, "\"2025-11-28\""), "\"2025-11-28\"");
        assert_eq!(round_trip(&ColumnKind::DateTimeUtc, "\"2025-11-28T19:00:00-05:00\""), "\"2025-11-29T00:00:00Z\"");
        assert_eq!(round_trip(&ColumnKind::DateTimeWall, "\"2025-11-28T19:00:00\""), "\"2025-11-28T19:00:00Z\"");
        assert!(round_trip(&ColumnKind::DateTimeUtc, "\"2025-11-28T19:00:00+01:00Z\"").starts_with("Type"));
        assert!(round_trip(&ColumnKind::DateTimeUtc, "\"1752-12-31T00:00:00Z\"").starts_with("Type"));
    }

    #[test]
    fn an_empty_text_is_null_and_a_label_is_no_choice() {
        assert_eq!(round_trip(&ColumnKind::Text, "\"\""), "null");
        let choice = ColumnKind::Choice(vec![(0, "Active".to_owned())]);
        assert_eq!(round_trip(&choice, "\"Active\""), "Type(\"Edm.Int32\")");
        assert_eq!(Cell::Integer(0).formatted(&choice).as_deref(), Some("Active"));
    }

    #[test]
    fn formatted_values_are_for_people() {
        let money = |number| Cell::Exact(number).formatted(&ColumnKind::Money);
        assert_eq!(money(200_000_000_000_000).as_deref(), Some("$20,000.00"));
        assert_eq!(money(-12_500_000_000).as_deref(), Some("($1.25)"));
        assert_eq!(Cell::Integer(-1234).formatted(&ColumnKind::Integer).as_deref(), Some("-1,234"));
    }
}
