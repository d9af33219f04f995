//! Arrow batches as PostgreSQL's binary COPY.
//!
//! Source of the format: PostgreSQL manual, "COPY", binary format; the layout of
//! each type is what its `*_recv` function takes.

use arrow::array::{Array, AsArray as _, RecordBatch};
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

/// Appends a batch's rows; `constants` are bigint columns behind them.
///
/// # Panics
/// On a type that [`super::table::columns_of`] refuses.
pub(super) fn encode(batch: &RecordBatch, columns: &[usize], constants: &[i64], out: &mut Vec<u8>) {
    let fields = i16::try_from(columns.len() + constants.len()).expect("a table has fewer than 1600 columns");
    let arrays: Vec<&dyn Array> = columns.iter().map(|index| batch.column(*index).as_ref()).collect();
    for at in 0..batch.num_rows() {
        out.extend_from_slice(&fields.to_be_bytes());
        for array in &arrays {
            if array.is_null(at) {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
            } else {
                value(*array, at, out);
            }
        }
        for constant in constants {
            field(out, &constant.to_be_bytes());
        }
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("a value is smaller than two gigabytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn value(array: &dyn Array, at: usize, out: &mut Vec<u8>) {
    match array.data_type() {
        DataType::Utf8 => text(out, array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => text(out, array.as_string::<i64>().value(at)),
        DataType::Utf8View => text(out, array.as_string_view().value(at)),
        DataType::Int64 => field(out, &array.as_primitive::<Int64Type>().value(at).to_be_bytes()),
        DataType::Int32 => field(out, &array.as_primitive::<Int32Type>().value(at).to_be_bytes()),
        DataType::Float64 => field(out, &array.as_primitive::<Float64Type>().value(at).to_be_bytes()),
        DataType::Boolean => field(out, &[u8::from(array.as_boolean().value(at))]),
        DataType::Date32 => field(out, &(array.as_primitive::<Date32Type>().value(at) - EPOCH_DAYS).to_be_bytes()),
        DataType::Time64(_) => field(out, &array.as_primitive::<Time64MicrosecondType>().value(at).to_be_bytes()),
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(at) - EPOCH_MICROS;
            field(out, &micros.to_be_bytes());
        }
        DataType::Duration(_) => {
            // Microseconds, days, months: a length of time is neither of the last two.
            let micros = array.as_primitive::<DurationMicrosecondType>().value(at);
            field(out, &(i128::from(micros) << 64).to_be_bytes());
        }
        DataType::Decimal128(_, scale) => {
            numeric(array.as_primitive::<Decimal128Type>().value(at), u32::from(scale.unsigned_abs()), out);
        }
        other => unreachable!("columns_of refuses {other}"),
    }
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
    let mut digits: Vec<i16> = Vec::with_capacity(12);
    // The lowest group holds the fraction's last digits, shifted to its top.
    let odd = scale % 4;
    if odd > 0 {
        let unit = 10_u128.pow(odd);
        digits.push(((rest % unit) * 10_u128.pow(4 - odd)) as i16);
        rest /= unit;
    }
    while rest > 0 {
        digits.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    let fraction_groups = scale.div_ceil(4) as i16;
    let mut weight = digits.len() as i16 - fraction_groups - 1;
    digits.reverse();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    weight -= leading as i16;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let weight = if digits.is_empty() { 0 } else { weight };
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    let length = 8 + 2 * digits.len() as i32;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&(digits.len() as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
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
    }
}
