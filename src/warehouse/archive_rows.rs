//! Rows on their way between PostgreSQL's binary COPY and Arrow, and the digest that
//! tells whether they are the same ones.
//!
//! The digest is taken of the bytes of each row as PostgreSQL sends them, and of those
//! that we would send it: what went through a file and back has to come out byte by
//! byte. The rows' digests are added up, so that their order does not matter.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use sha2::{Digest as _, Sha256};

use super::copy;
use super::part::with_json_versions;

/// Days from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400 * 1_000_000;

/// Where a field says what PostgreSQL calls its type.
pub(super) const KIND: &str = "postgresql_type";

/// A digest of rows, whatever their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowDigest {
    pub(super) rows: i64,
    sums: [u64; 4],
}

impl RowDigest {
    /// Adds a row's bytes.
    fn add(&mut self, row: &[u8]) {
        self.rows += 1;
        let digest = Sha256::digest(row);
        for (sum, bytes) in self.sums.iter_mut().zip(digest.chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_be_bytes(bytes.try_into().expect("chunks are of eight bytes")));
        }
    }

    /// As the ledger keeps it.
    pub(super) fn text(&self) -> String {
        self.sums.iter().map(|sum| format!("{sum:016x}")).collect()
    }
}

/// The columns of a file: those of the table, by name and PostgreSQL type.
///
/// # Errors
/// The column whose type no file of ours can hold.
pub(super) fn schema_of(columns: &[(String, String)]) -> Result<Schema, (String, String)> {
    let mut fields = Vec::new();
    for (name, kind) in columns {
        let data_type = data_type(kind).ok_or_else(|| (name.clone(), kind.clone()))?;
        fields.push(Field::new(name, data_type, true).with_metadata([(KIND.to_owned(), kind.clone())].into()));
    }
    Ok(Schema::new(fields))
}

fn data_type(kind: &str) -> Option<DataType> {
    Some(match kind {
        "text" | "jsonb" => DataType::Utf8,
        "bigint" => DataType::Int64,
        "integer" => DataType::Int32,
        "double precision" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "time without time zone" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp with time zone" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp without time zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "interval" => DataType::Duration(TimeUnit::Microsecond),
        _ => {
            let (precision, scale) = kind.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale): (u8, i8) = (precision.parse().ok()?, scale.parse().ok()?);
            // More digits than Arrow's 128 bits hold, or none behind the point.
            if precision > 38 || scale < 0 {
                return None;
            }
            DataType::Decimal128(precision, scale)
        }
    })
}

fn is_json(field: &Field) -> bool {
    field.metadata().get(KIND).is_some_and(|kind| kind == "jsonb")
}

/// A batch's rows as binary COPY takes them, without what stands before and behind.
pub(super) fn encode(batch: &RecordBatch) -> Vec<u8> {
    let schema = batch.schema();
    let json: Vec<usize> =
        schema.fields().iter().enumerate().filter(|(_, field)| is_json(field)).map(|(index, _)| index).collect();
    let batch = with_json_versions(batch.clone(), &json);
    let indexes: Vec<usize> = (0..batch.num_columns()).collect();
    let mut out = Vec::new();
    copy::encode(&batch, &indexes, &[], &mut out);
    out
}

/// Adds a batch's rows to the digest of those that are in the table, or of earlier
/// versions: these say in the last column what superseded them.
pub(super) fn digest(batch: &RecordBatch, rows: &mut RowDigest, versions: &mut RowDigest) {
    let encoded = encode(batch);
    let superseded = batch.column(batch.num_columns() - 1);
    let mut rest = encoded.as_slice();
    for at in 0..batch.num_rows() {
        let length = row_length(rest).expect("what we encoded has as many rows as went in");
        let digest = if superseded.is_null(at) { &mut *rows } else { &mut *versions };
        digest.add(&rest[..length]);
        rest = &rest[length..];
    }
}

/// The length of the row at the start, if all of it is here.
fn row_length(bytes: &[u8]) -> Option<usize> {
    let fields = i16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let mut at = 2;
    for _ in 0..fields {
        let length = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

/// Makes batches of what PostgreSQL sends.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: Arc<Schema>,
    cells: Vec<Cells>,
    /// Bytes that wait for the rest of their row.
    pending: Vec<u8>,
    begun: bool,
    held: usize,
    pub(super) digest: RowDigest,
}

/// A column's values so far.
#[derive(Debug)]
enum Cells {
    Text(Vec<Option<String>>),
    Flag(Vec<Option<bool>>),
    Short(Vec<Option<i32>>),
    Long(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Wide(Vec<Option<i128>>),
}

impl Decoder {
    pub(super) fn new(schema: Arc<Schema>) -> Self {
        let cells = schema.fields().iter().map(|field| Cells::of(field.data_type())).collect();
        Self { schema, cells, pending: Vec::new(), begun: false, held: 0, digest: RowDigest::default() }
    }

    /// Rows that it holds.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes bytes as they come.
    ///
    /// # Errors
    /// The column, and what of it cannot be kept.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.begun {
            if self.pending.len() < copy::HEADER.len() {
                return Ok(());
            }
            if !self.pending.starts_with(copy::HEADER) {
                return Err("PostgreSQL sent rows in a form that is not known".to_owned());
            }
            at = copy::HEADER.len();
            self.begun = true;
        }
        let pending = std::mem::take(&mut self.pending);
        while !pending[at..].starts_with(copy::TRAILER) {
            let Some(length) = row_length(&pending[at..]) else { break };
            self.row(&pending[at..at + length])?;
            at += length;
        }
        self.pending = pending[at..].to_vec();
        Ok(())
    }

    fn row(&mut self, row: &[u8]) -> Result<(), String> {
        self.digest.add(row);
        self.held += 1;
        let mut at = 2;
        for (cells, field) in self.cells.iter_mut().zip(self.schema.fields()) {
            let length = i32::from_be_bytes(row[at..at + 4].try_into().expect("a length has four bytes"));
            at += 4;
            let value = usize::try_from(length).ok().map(|length| &row[at..at + length]);
            at += value.map_or(0, <[u8]>::len);
            cells
                .push(value, field)
                .ok_or_else(|| format!("column `{}` holds a value that a file cannot keep as it is", field.name()))?;
        }
        Ok(())
    }

    /// What it holds, as a batch.
    pub(super) fn batch(&mut self) -> RecordBatch {
        self.held = 0;
        let arrays: Vec<ArrayRef> =
            self.cells.iter_mut().zip(self.schema.fields()).map(|(cells, field)| cells.array(field)).collect();
        RecordBatch::try_new(self.schema.clone(), arrays).expect("each column has a value of each row")
    }
}

impl Cells {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Flag(Vec::new()),
            DataType::Int32 | DataType::Date32 => Self::Short(Vec::new()),
            DataType::Float64 => Self::Real(Vec::new()),
            DataType::Decimal128(..) => Self::Wide(Vec::new()),
            DataType::Utf8 => Self::Text(Vec::new()),
            _ => Self::Long(Vec::new()),
        }
    }

    /// Adds a value; `None` where it cannot be kept.
    fn push(&mut self, value: Option<&[u8]>, field: &Field) -> Option<()> {
        match self {
            Self::Text(cells) => cells.push(match value {
                None => None,
                Some(bytes) if is_json(field) => Some(String::from_utf8(bytes.strip_prefix(&[1])?.to_vec()).ok()?),
                Some(bytes) => Some(String::from_utf8(bytes.to_vec()).ok()?),
            }),
            Self::Flag(cells) => cells.push(value.map(|bytes| bytes == [1])),
            Self::Real(cells) => cells.push(match value {
                None => None,
                Some(bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
            }),
            Self::Short(cells) => cells.push(match value {
                None => None,
                Some(bytes) => {
                    let number = i32::from_be_bytes(bytes.try_into().ok()?);
                    let days = field.data_type() == &DataType::Date32;
                    Some(if days { number.checked_add(EPOCH_DAYS)? } else { number })
                }
            }),
            Self::Long(cells) => cells.push(match value {
                None => None,
                Some(bytes) if matches!(field.data_type(), DataType::Duration(_)) => {
                    // Days and months have no length of their own.
                    let micros = bytes.strip_suffix(&[0; 8])?;
                    Some(i64::from_be_bytes(micros.try_into().ok()?))
                }
                Some(bytes) => {
                    let number = i64::from_be_bytes(bytes.try_into().ok()?);
                    let moment = matches!(field.data_type(), DataType::Timestamp(..));
                    Some(if moment { number.checked_add(EPOCH_MICROS)? } else { number })
                }
            }),
            Self::Wide(cells) => cells.push(match (value, field.data_type()) {
                (Some(bytes), DataType::Decimal128(_, scale)) => Some(decimal(bytes, i32::from(*scale))?),
                _ => None,
            }),
        }
        Some(())
    }

    fn array(&mut self, field: &Field) -> ArrayRef {
        use std::mem::take;
        match (self, field.data_type()) {
            (Self::Text(cells), _) => Arc::new(StringArray::from(take(cells))),
            (Self::Flag(cells), _) => Arc::new(BooleanArray::from(take(cells))),
            (Self::Real(cells), _) => Arc::new(Float64Array::from(take(cells))),
            (Self::Short(cells), DataType::Date32) => Arc::new(Date32Array::from(take(cells))),
            (Self::Short(cells), _) => Arc::new(Int32Array::from(take(cells))),
            (Self::Wide(cells), other) => Arc::new(Decimal128Array::from(take(cells)).with_data_type(other.clone())),
            (Self::Long(cells), DataType::Time64(_)) => Arc::new(Time64MicrosecondArray::from(take(cells))),
            (Self::Long(cells), DataType::Duration(_)) => Arc::new(DurationMicrosecondArray::from(take(cells))),
            (Self::Long(cells), DataType::Timestamp(_, zone)) => {
                Arc::new(TimestampMicrosecondArray::from(take(cells)).with_timezone_opt(zone.clone()))
            }
            (Self::Long(cells), _) => Arc::new(Int64Array::from(take(cells))),
        }
    }
}

/// A numeric as a whole number of its last digit's units; `None` for one that is none.
fn decimal(bytes: &[u8], scale: i32) -> Option<i128> {
    let word = |at: usize| Some(i16::from_be_bytes(bytes.get(2 * at..2 * at + 2)?.try_into().ok()?));
    let (digits, weight, sign) = (word(0)?, i32::from(word(1)?), word(2)?);
    let mut value: i128 = 0;
    for index in 0..usize::try_from(digits).ok()? {
        let digit = i128::from(word(4 + index)?);
        let exponent = 4 * (weight - i32::try_from(index).ok()?) + scale;
        let unit = 10_i128.checked_pow(exponent.unsigned_abs())?;
        let part = if exponent >= 0 { digit.checked_mul(unit)? } else { digit / unit };
        value = value.checked_add(part)?;
    }
    match sign {
        0 => Some(value),
        0x4000 => Some(-value),
        // Not a number, or without end.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_byte_by_byte_and_in_any_order() {
        let columns = [
            ("a", "text"),
            ("b", "bigint"),
            ("c", "numeric(14,2)"),
            ("d", "date"),
            ("e", "timestamp with time zone"),
            ("f", "interval"),
            ("g", "jsonb"),
            ("h", "boolean"),
            ("i", "numeric(38,9)"),
            ("superseded_by", "bigint"),
        ];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let schema = Arc::new(schema_of(&columns).unwrap());
        let row = |number: i64, superseded: Option<i64>| {
            let cells: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(vec![Some(format!("öl {number}"))])),
                Arc::new(Int64Array::from(vec![Some(-number)])),
                Arc::new(
                    Decimal128Array::from(vec![Some(-1_234_500 + i128::from(number))])
                        .with_data_type(DataType::Decimal128(14, 2)),
                ),
                Arc::new(Date32Array::from(vec![None::<i32>])),
                Arc::new(TimestampMicrosecondArray::from(vec![Some(number * 1_000_003)]).with_timezone("UTC")),
                Arc::new(DurationMicrosecondArray::from(vec![Some(-number)])),
                Arc::new(StringArray::from(vec![Some(r#"{"a": 1}"#)])),
                Arc::new(BooleanArray::from(vec![Some(number % 2 == 0)])),
                Arc::new(
                    Decimal128Array::from(vec![Some(10_i128.pow(30) + i128::from(number))])
                        .with_data_type(DataType::Decimal128(38, 9)),
                ),
                Arc::new(Int64Array::from(vec![superseded])),
            ];
            RecordBatch::try_new(schema.clone(), cells).unwrap()
        };
        let sent = |rows: &[RecordBatch]| {
            let rows: Vec<u8> = rows.iter().flat_map(encode).collect();
            [copy::HEADER, &rows, copy::TRAILER].concat()
        };
        let (one, two, earlier) = (row(1, None), row(2, None), row(1, Some(7)));
        let mut decoder = Decoder::new(schema.clone());
        // In pieces that end in the middle of everything.
        for piece in sent(&[one.clone(), two.clone()]).chunks(7) {
            decoder.take(piece).unwrap();
        }
        let batch = decoder.batch();
        assert_eq!((batch.num_rows(), decoder.held()), (2, 0));
        assert_eq!(batch.slice(0, 1), one);
        let (mut rows, mut versions) = (RowDigest::default(), RowDigest::default());
        for batch in [&two, &earlier, &one] {
            digest(batch, &mut rows, &mut versions);
        }
        assert_eq!((rows, versions.rows), (decoder.digest.clone(), 1));
        let mut twice = Decoder::new(schema.clone());
        twice.take(&sent(&[one.clone(), one.clone()])).unwrap();
        assert_ne!(twice.digest.text(), decoder.digest.text());
        assert_eq!(schema_of(&[("x".to_owned(), "inet".to_owned())]), Err(("x".to_owned(), "inet".to_owned())));
        let not_a_number = [0, 0, 0, 0, 0xc0, 0, 0, 0];
        assert_eq!(decimal(&not_a_number, 2), None);
    }
}
