//! From a column of text to a column of its type.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Int64Builder, StringArray, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::Date32Type;

use super::contract::{Column, ColumnType};
use super::rules::Severity;
use super::values;

/// Types a column of text; a text that is no such value is null, and said to be broken.
pub(super) fn convert(column: &Column, texts: &StringArray) -> (ArrayRef, Vec<Broken>) {
    let mut broken = Vec::new();
    macro_rules! each {
        ($builder:expr, $parse:expr) => {{
            let mut builder = $builder;
            for at in 0..texts.len() {
                let text = if texts.is_valid(at) { texts.value(at).trim() } else { "" };
                if values::is_null(text) {
                    builder.append_null();
                    continue;
                }
                match $parse(text) {
                    Ok(value) => builder.append_value(value),
                    Err(reason) => {
                        builder.append_null();
                        broken.push(Broken { at, rule: "type", reason, severity: Severity::Quarantine });
                    }
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let rows = texts.len();
    let array =
        match column.column_type {
            ColumnType::Text => {
                each!(StringBuilder::with_capacity(rows, rows * 16), values::text)
            }
            ColumnType::StoreId => each!(StringBuilder::with_capacity(rows, rows * 6), values::store_id),
            ColumnType::Integer => each!(Int64Builder::with_capacity(rows), values::integer),
            ColumnType::Decimal { precision, scale } => {
                each!(Decimal128Builder::with_capacity(rows).with_data_type(column.column_type.data_type()), |text| {
                    values::decimal(text, precision, scale)
                })
            }
            ColumnType::Date => each!(Date32Builder::with_capacity(rows), |text| {
                values::date(text, column.date_order).map(Date32Type::from_naive_date)
            }),
            ColumnType::Time => each!(Time64MicrosecondBuilder::with_capacity(rows), values::time),
            ColumnType::Timestamp => each!(
                TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
                |text| values::timestamp(text, column.date_order)
            ),
            ColumnType::Boolean => each!(BooleanBuilder::with_capacity(rows), values::boolean),
            ColumnType::Duration | ColumnType::Json => unreachable!("`typed` converts these itself"),
        };
    (array, broken)
}

/// One value that breaks one rule.
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) rule: &'static str,
    pub(super) reason: String,
    pub(super) severity: Severity,
}
