//! Arrow batches as PostgreSQL's binary COPY.
//!
//! Source of the format: PostgreSQL manual, "COPY", binary format; the layout of
//! each type is what its `*_recv` function takes.

use arrow::array::{Array, AsArray as _, BooleanArray, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};

/// Days from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400 * 1_000_000;

/// What stands before the first row.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands after the last.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Groups of four digits that a decimal can have: the largest integer has ten, and
/// those of its last digits may begin elsewhere.
const GROUPS: usize = 11;

/// Appends a batch's rows; `constants` are bigint columns behind them.
///
/// # Panics
/// On a type that [`super::table::columns_of`] refuses.
pub(super) fn encode(batch: &RecordBatch, columns: &[usize], constants: &[i64], out: &mut Vec<u8>) {
    let fields = i16::try_from(columns.len() + constants.len()).expect("a table has fewer than 1600 columns");
    let columns: Vec<Column<'_>> = columns.iter().map(|index| Column::of(batch.column(*index).as_ref())).collect();
    for at in 0..batch.num_rows() {
        out.extend_from_slice(&fields.to_be_bytes());
        for column in &columns {
            if column.nulls.is_some_and(|nulls| nulls.is_null(at)) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
            } else {
                column.values.append(at, out);
            }
        }
        for constant in constants {
            field(out, &constant.to_be_bytes());
        }
    }
}

struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

impl<'a> Column<'a> {
    fn of(array: &'a dyn Array) -> Self {
        Self { nulls: array.nulls(), values: Values::of(array) }
    }
}

/// A column whose type is known, so that no value asks for it again.
enum Values<'a> {
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Boolean(&'a BooleanArray),
    Integer(&'a [i32]),
    Date(&'a [i32]),
    BigInteger(&'a [i64]),
    Timestamp(&'a [i64]),
    Duration(&'a [i64]),
    Float(&'a [f64]),
    Decimal(&'a [i128], u32),
}

impl<'a> Values<'a> {
    fn of(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string()),
            DataType::Utf8View => Self::TextView(array.as_string_view()),
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int32 => Self::Integer(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().values()),
            DataType::Int64 => Self::BigInteger(array.as_primitive::<Int64Type>().values()),
            DataType::Time64(_) => Self::BigInteger(array.as_primitive::<Time64MicrosecondType>().values()),
            DataType::Timestamp(_, _) => Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values()),
            DataType::Duration(_) => Self::Duration(array.as_primitive::<DurationMicrosecondType>().values()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) => {
                Self::Decimal(array.as_primitive::<Decimal128Type>().values(), u32::from(scale.unsigned_abs()))
            }
            other => unreachable!("columns_of refuses {other}"),
        }
    }

    /// Appends a value that is there.
    fn append(&self, at: usize, out: &mut Vec<u8>) {
        match self {
            Self::Text(array) => text(out, array.value(at)),
            Self::LargeText(array) => text(out, array.value(at)),
            Self::TextView(array) => text(out, array.value(at)),
            Self::Boolean(array) => field(out, &[u8::from(array.value(at))]),
            Self::Integer(values) => field(out, &values[at].to_be_bytes()),
            Self::Date(values) => field(out, &(values[at] - EPOCH_DAYS).to_be_bytes()),
            Self::BigInteger(values) => field(out, &values[at].to_be_bytes()),
            Self::Timestamp(values) => field(out, &(values[at] - EPOCH_MICROS).to_be_bytes()),
            // Microseconds, days, months: a length of time is neither of the last two.
            Self::Duration(values) => field(out, &(i128::from(values[at]) << 64).to_be_bytes()),
            Self::Float(values) => field(out, &values[at].to_be_bytes()),
            Self::Decimal(values, scale) => numeric(values[at], *scale, out),
        }
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("a value is smaller than two gigabytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// PostgreSQL's text cannot hold a zero byte.
fn text(out: &mut Vec<u8>, text: &str) {
    if text.contains('\0') {
        field(out, text.replace('\0', "\u{fffd}").as_bytes());
    } else {
        field(out, text.as_bytes());
    }
}

/// A numeric: digits in base 10,000 around the point, weight, sign, scale.
fn numeric(value: i128, scale: u32, out: &mut Vec<u8>) {
    let mut rest = value.unsigned_abs();
    // From the lowest group up: ten of whole digits, as many of the fraction, and one that they share.
    let mut groups = [0_i16; GROUPS];
    let mut count = 0;
    // The lowest group holds the fraction's last digits, shifted to its top.
    let odd = scale % 4;
    if odd > 0 {
        let unit = 10_u16.pow(odd);
        groups[0] = split_off(&mut rest, unit) * 10_i16.pow(4 - odd);
        count = 1;
    }
    while rest > 0 {
        groups[count] = split_off(&mut rest, 10_000);
        count += 1;
    }
    let weight = count as i16 - scale.div_ceil(4) as i16 - 1;
    // Groups of zeros at either end are not written.
    let lowest = groups[..count].iter().position(|group| *group != 0).unwrap_or(count);
    let highest = groups[..count].iter().rposition(|group| *group != 0).map_or(count, |at| at + 1);
    let written = &groups[lowest.min(highest)..highest];
    let weight = if written.is_empty() { 0 } else { weight - (count - highest) as i16 };
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&(8 + 2 * written.len() as i32).to_be_bytes());
    out.extend_from_slice(&(written.len() as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    for group in written.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// Takes the lowest digits off. Most numbers fit a machine word, which divides many
/// times faster than two.
fn split_off(rest: &mut u128, unit: u16) -> i16 {
    match u64::try_from(*rest) {
        Ok(word) => {
            *rest = u128::from(word / u64::from(unit));
            (word % u64::from(unit)) as i16
        }
        Err(_) => {
            let low = *rest % u128::from(unit);
            *rest /= u128::from(unit);
            low as i16
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: i128, scale: u32) -> (i16, Vec<i16>) {
        let mut out = Vec::new();
        numeric(value, scale, &mut out);
        let number = |at: usize| i16::from_be_bytes([out[at], out[at + 1]]);
        (number(6), (0..number(4)).map(|index| number(12 + 2 * index as usize)).collect())
    }

    #[test]
    fn numerics_are_grouped_around_the_point() {
        assert_eq!(shown(0, 2), (0, vec![]));
        assert_eq!(shown(123_450, 2), (0, vec![1234, 5000]));
        assert_eq!(shown(-5, 2), (-1, vec![500]));
        assert_eq!(shown(1_000_000, 2), (1, vec![1]));
        assert_eq!(shown(123_456_789, 4), (1, vec![1, 2345, 6789]));
        assert_eq!(shown(7, 0), (0, vec![7]));
        assert_eq!(shown(500_000, 8), (-1, vec![50]));
        assert_eq!(shown(5, 9), (-3, vec![5000]));
    }

    #[test]
    fn the_largest_numerics_are_written_as_the_digits_they_have() {
        for (value, scale) in [(i128::MAX, 0), (i128::MAX, 3), (i128::MIN, 10), (u64::MAX.into(), 2), (1 << 64, 2)] {
            let (weight, groups) = shown(value, scale);
            // Back to the number, from the highest group down.
            let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
            let places = i32::from(groups.len() as i16 - weight - 1) * 4;
            let extra = usize::try_from(places - scale as i32).unwrap();
            assert_eq!(digits[..digits.len() - extra].trim_start_matches('0'), value.unsigned_abs().to_string());
            assert!(digits[digits.len() - extra..].bytes().all(|digit| digit == b'0'), "{digits}");
        }
    }
}
