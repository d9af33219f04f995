//! PostgreSQL's binary values as Metabase prints them.
//!
//! Numbers go out digit for digit as the database holds them; a decimal that
//! passed through a float would no longer be the store's money.

use chrono::{Days, NaiveDate, NaiveDateTime, TimeDelta};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::{PgTypeInfo, PgTypeKind, PgValueRef};
use sqlx::{TypeInfo as _, ValueRef as _};

/// One value of a result.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    /// A number, as its digits.
    Number(String),
    Text(String),
    Date(NaiveDate),
    DateTime(NaiveDateTime),
    Json(Value),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(digits) => {
                RawValue::from_string(digits.clone()).map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::Date(day) => serializer.serialize_str(&format!("{day}T00:00:00Z")),
            Self::DateTime(at) => serializer.serialize_str(&format!("{}Z", time(*at))),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

impl Cell {
    /// The value as a downloaded file shows it.
    pub(super) fn exported(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::Date(day) => day.to_string(),
            Self::DateTime(at) => time(*at),
            Self::Json(value) => value.to_string(),
        }
    }

    /// The value as a downloaded JSON file holds it.
    pub(super) fn exported_json(&self) -> Cell {
        match self {
            Self::Date(_) | Self::DateTime(_) => Self::Text(self.exported()),
            other => other.clone(),
        }
    }
}

fn time(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.f").to_string()
}

/// Reads one value of a row.
pub(super) fn read(value: &PgValueRef<'_>) -> Cell {
    if value.is_null() {
        return Cell::Null;
    }
    match value.as_bytes() {
        Ok(bytes) => decode(&value.type_info(), bytes),
        Err(_) => Cell::Null,
    }
}

fn decode(kind: &PgTypeInfo, bytes: &[u8]) -> Cell {
    match kind.kind() {
        PgTypeKind::Array(element) => return array(element, bytes),
        PgTypeKind::Domain(base) => return decode(base, bytes),
        _ => {}
    }
    scalar(kind.name(), bytes).unwrap_or_else(|| match std::str::from_utf8(bytes) {
        Ok(text) => Cell::Text(text.to_owned()),
        Err(_) => Cell::Text(hex(bytes)),
    })
}

fn scalar(name: &str, bytes: &[u8]) -> Option<Cell> {
    let cell = match name {
        "BOOL" => Cell::Bool(bytes.first() == Some(&1)),
        "INT2" => Cell::Number(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "INT4" => Cell::Number(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "INT8" => Cell::Number(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "OID" => Cell::Number(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        "FLOAT4" => float(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        "FLOAT8" => float(f64::from_be_bytes(bytes.try_into().ok()?)),
        "NUMERIC" => numeric(bytes)?,
        "DATE" => Cell::Date(day(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))?),
        "TIMESTAMP" | "TIMESTAMPTZ" => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            let at = day(0)?.and_hms_opt(0, 0, 0)? + TimeDelta::microseconds(micros);
            Cell::DateTime(at)
        }
        "TIME" => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            let at = day(0)?.and_hms_opt(0, 0, 0)? + TimeDelta::microseconds(micros);
            Cell::Text(at.format("%H:%M:%S%.f").to_string())
        }
        "UUID" => Cell::Text(uuid::Uuid::from_slice(bytes).ok()?.to_string()),
        "JSON" => Cell::Json(serde_json::from_slice(bytes).ok()?),
        // The first byte is the version of the format.
        "JSONB" => Cell::Json(serde_json::from_slice(bytes.get(1..)?).ok()?),
        "BYTEA" => Cell::Text(hex(bytes)),
        "VOID" => Cell::Null,
        _ => return None,
    };
    Some(cell)
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

fn float(value: f64) -> Cell {
    if value.is_finite() { Cell::Number(Value::from(value).to_string()) } else { Cell::Null }
}

/// Days count from the first of January 2000.
fn day(days: i64) -> Option<NaiveDate> {
    let start = NaiveDate::from_ymd_opt(2000, 1, 1)?;
    match u64::try_from(days) {
        Ok(days) => start.checked_add_days(Days::new(days)),
        Err(_) => start.checked_sub_days(Days::new(days.unsigned_abs())),
    }
}

/// Digits to the base of ten thousand, a weight, a sign and a scale.
fn numeric(bytes: &[u8]) -> Option<Cell> {
    let word = |index: usize| -> Option<i16> {
        let at = index * 2;
        Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
    };
    let count = usize::try_from(word(0)?).ok()?;
    let weight = i64::from(word(1)?);
    let sign = word(2)? as u16;
    let scale = usize::try_from(word(3)?).ok()?;
    if sign != 0 && sign != 0x4000 {
        // Not a number, or an infinity: JSON knows neither.
        return Some(Cell::Null);
    }
    let mut text = String::new();
    if sign == 0x4000 {
        text.push('-');
    }
    let digit = |position: i64| -> Option<i16> {
        match usize::try_from(weight - position) {
            Ok(index) if index < count => word(4 + index),
            _ => Some(0),
        }
    };
    if weight < 0 {
        text.push('0');
    } else {
        for position in (0..=weight).rev() {
            let part = digit(position)?;
            if position == weight {
                text.push_str(&part.to_string());
            } else {
                text.push_str(&format!("{part:04}"));
            }
        }
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut position = -1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", digit(position)?));
            position -= 1;
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(Cell::Number(text))
}

fn array(element: &PgTypeInfo, bytes: &[u8]) -> Cell {
    let number = |at: usize| -> Option<i32> { Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
    let read = || -> Option<Vec<Value>> {
        let dimensions = number(0)?;
        if dimensions == 0 {
            return Some(Vec::new());
        }
        if dimensions != 1 {
            return None;
        }
        let length = usize::try_from(number(12)?).ok()?;
        let mut at = 20;
        let mut items = Vec::with_capacity(length.min(10_000));
        for _ in 0..length {
            let size = number(at)?;
            at += 4;
            let Ok(size) = usize::try_from(size) else {
                items.push(Value::Null);
                continue;
            };
            let cell = decode(element, bytes.get(at..at + size)?);
            items.push(serde_json::to_value(cell.exported_json()).ok()?);
            at += size;
        }
        Some(items)
    };
    read().map_or(Cell::Null, |items| Cell::Json(Value::Array(items)))
}

/// Metabase's name of a database type.
pub(super) fn base_type(database_type: &str) -> &'static str {
    match database_type {
        "bool" => "type/Boolean",
        "int2" | "int4" => "type/Integer",
        "int8" => "type/BigInteger",
        "numeric" | "money" => "type/Decimal",
        "float4" | "float8" => "type/Float",
        "text" | "varchar" | "bpchar" | "char" | "name" | "citext" => "type/Text",
        "date" => "type/Date",
        "time" => "type/Time",
        "timestamp" => "type/DateTime",
        "timestamptz" => "type/DateTimeWithLocalTZ",
        "uuid" => "type/UUID",
        "json" | "jsonb" => "type/JSON",
        _ => "type/*",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(count: i16, weight: i16, sign: u16, scale: i16, digits: &[i16]) -> String {
        let mut bytes = Vec::new();
        for word in [count, weight, sign as i16, scale] {
            bytes.extend(word.to_be_bytes());
        }
        for digit in digits {
            bytes.extend(digit.to_be_bytes());
        }
        match numeric(&bytes).unwrap() {
            Cell::Number(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_decimal_keeps_its_digits() {
        assert_eq!(decimal(2, 0, 0, 2, &[12, 5000]), "12.50");
        assert_eq!(decimal(1, 1, 0, 0, &[3]), "30000");
        assert_eq!(decimal(1, -2, 0x4000, 8, &[42]), "-0.00000042");
        assert_eq!(decimal(0, 0, 0, 2, &[]), "0.00");
        assert_eq!(decimal(3, 1, 0, 3, &[123, 4567, 8900]), "1234567.890");
    }

    #[test]
    fn a_date_is_midnight_in_answers_and_a_day_in_files() {
        let cell = scalar("DATE", &9463_i32.to_be_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&cell).unwrap(), "\"2025-11-28T00:00:00Z\"");
        assert_eq!(cell.exported(), "2025-11-28");
    }
}
