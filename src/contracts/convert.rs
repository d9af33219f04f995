//! From a column of text to a column of its type.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, DurationMicrosecondBuilder, Int64Builder,
    StringArray, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};

use super::contract::{Column, ColumnType};
use super::duration::duration;
use super::rules::Severity;
use super::{moments, values};

/// Types a column of text; a text that is no such value is null, and said to be broken.
pub(super) fn convert(column: &Column, texts: &StringArray) -> (ArrayRef, Vec<Broken>) {
    let mut broken = Vec::new();
    macro_rules! each {
        ($builder:expr, $parse:expr) => {{
            let mut builder = $builder;
            for at in 0..texts.len() {
                let text = if texts.is_valid(at) { trimmed(texts.value(at)) } else { "" };
                if values::is_null(text) {
                    builder.append_null();
                    continue;
                }
                match $parse(text) {
                    Ok(value) => builder.append_value(value),
                    Err(reason) => {
                        builder.append_null();
                        broken.push(of_type(at, reason));
                    }
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let rows = texts.len();
    let array = match (column.column_type, column.format.as_deref()) {
        // What needs no change is kept as it stands: no byte is copied.
        (ColumnType::Text, _) if as_they_stand(texts) => Arc::new(texts.clone()),
        (ColumnType::Text, _) => each!(StringBuilder::with_capacity(rows, rows * 16), values::text),
        (ColumnType::StoreId, _) => each!(StringBuilder::with_capacity(rows, rows * 6), values::store_id),
        (ColumnType::Json, _) => each!(StringBuilder::with_capacity(rows, texts.value_data().len()), json),
        (ColumnType::Integer, _) => each!(Int64Builder::with_capacity(rows), values::integer),
        (ColumnType::Decimal { precision, scale }, _) => {
            each!(Decimal128Builder::with_capacity(rows).with_data_type(column.column_type.data_type()), |text| {
                values::decimal(text, precision, scale)
            })
        }
        (ColumnType::Date, Some(format)) => each!(Date32Builder::with_capacity(rows), |text| {
            moments::date(text, format).map(|date| date.to_epoch_days())
        }),
        (ColumnType::Date, None) => each!(Date32Builder::with_capacity(rows), |text| {
            values::date(text, column.date_order).map(|date| date.to_epoch_days())
        }),
        (ColumnType::Time, Some(format)) => {
            each!(Time64MicrosecondBuilder::with_capacity(rows), |text| moments::time(text, format))
        }
        (ColumnType::Time, None) => each!(Time64MicrosecondBuilder::with_capacity(rows), values::time),
        (ColumnType::Timestamp, format) => {
            let builder = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
            if format.is_some() || column.time_zone.is_some() {
                each!(builder, |text| moments::timestamp(text, column))
            } else {
                each!(builder, |text| values::timestamp(text, column.date_order))
            }
        }
        (ColumnType::Duration, _) => each!(DurationMicrosecondBuilder::with_capacity(rows), duration),
        (ColumnType::Boolean, _) => each!(BooleanBuilder::with_capacity(rows), values::boolean),
    };
    (array, broken)
}

/// Whether typing as text would change nothing.
fn as_they_stand(texts: &StringArray) -> bool {
    texts.iter().flatten().all(|text| is_trimmed(text) && !values::is_null(text) && values::text(text).is_ok())
}

/// Whether a text has no white space around it, as far as its first and last byte tell.
#[inline]
fn is_trimmed(text: &str) -> bool {
    let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    plain(text.as_bytes().first()) && plain(text.as_bytes().last())
}

#[inline]
fn trimmed(text: &str) -> &str {
    if is_trimmed(text) { text } else { text.trim() }
}

/// One value that breaks one rule.
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) rule: &'static str,
    pub(super) reason: String,
    pub(super) severity: Severity,
}

/// A value that is none of its column's type.
pub(super) fn of_type(at: usize, reason: String) -> Broken {
    Broken { at, rule: "type", reason, severity: Severity::Quarantine }
}

/// A JSON document as it stands, if PostgreSQL will take it.
fn json(text: &str) -> Result<&str, String> {
    // A `\u0000` is JSON, but no text that PostgreSQL can hold.
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) if !text.contains("\\u0000") => Ok(text),
        _ => Err("is no JSON document".to_owned()),
    }
}
