//! Downloads in each format, read back into rows.

use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};
use serde_json::{Value, json};

use super::acting::{Acting, Tried};
use super::answers::Rows;
use super::findings::Findings;
use crate::metabase::client;

impl Acting<'_> {
    /// Downloads the answer of a question; a file that cannot be read was given all the same.
    pub(super) async fn download(
        &self,
        findings: &mut Findings,
        path: &str,
        format: &str,
    ) -> Result<Tried<Option<Rows>>, client::Error> {
        let (path, body) = (format!("{path}/{format}"), body());
        Ok(self.attempt(findings, self.client.download(&path, &body)).await?.map(|bytes| match failed(&bytes) {
            true => Tried::Refused,
            false => Tried::Given(read(format, &bytes)),
        }))
    }
}

/// What asks for a file.
pub(super) fn body() -> Value {
    json!({"format_rows": false})
}

/// Says whether an answer only says why there is no file.
fn failed(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|answer| answer["status"] == "failed")
}

/// Reads a downloaded file.
pub(super) fn read(format: &str, bytes: &[u8]) -> Option<Rows> {
    match format {
        _ if failed(bytes) => None,
        "csv" => csv(bytes),
        "xlsx" => workbook(bytes),
        _ => objects(bytes),
    }
}

fn csv(bytes: &[u8]) -> Option<Rows> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let columns = reader.headers().ok()?.iter().map(str::to_owned).collect();
    // One row that cannot be read may be the one that should not be there.
    let rows = reader.records().map(|record| record.map(|record| record.iter().map(|text| json!(text)).collect()));
    Some(Rows { columns, rows: rows.collect::<Result<_, _>>().ok()?, cut: false })
}

fn workbook(bytes: &[u8]) -> Option<Rows> {
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).ok()?;
    let range = book.worksheet_range_at(0)?.ok()?;
    let mut lines = range.rows();
    let columns = lines.next()?.iter().map(ToString::to_string).collect();
    let value = |cell: &Data| match cell {
        Data::Float(number) => json!(number),
        Data::Int(number) => json!(number),
        Data::Bool(flag) => json!(flag),
        Data::Empty => Value::Null,
        other => json!(other.to_string()),
    };
    let rows = lines.map(|line| line.iter().map(value).collect()).collect();
    Some(Rows { columns, rows, cut: false })
}

fn objects(bytes: &[u8]) -> Option<Rows> {
    let Value::Array(lines) = serde_json::from_slice(bytes).ok()? else { return None };
    let columns = lines.first().and_then(Value::as_object).map(|first| first.keys().cloned().collect());
    let values = |line: Value| match line {
        Value::Object(fields) => Some(fields.into_iter().map(|(_, value)| value).collect()),
        _ => None,
    };
    let rows: Option<_> = lines.into_iter().map(values).collect();
    Some(Rows { columns: columns.unwrap_or_default(), rows: rows?, cut: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_each_format_and_a_refusal_is_none() {
        let text = read("csv", b"store_id,sum\n000101,\"1,5\"\n").unwrap();
        assert_eq!(
            (text.columns, text.rows),
            (vec!["store_id".into(), "sum".into()], vec![vec![json!("000101"), json!("1,5")]])
        );
        let lines = read("json", br#"[{"store_id":"000101","sum":2}]"#).unwrap();
        assert_eq!(lines.rows, [[json!("000101"), json!(2)]]);
        assert!(read("csv", br#"{"status":"failed"}"#).is_none());
        for (format, broken) in [
            ("xlsx", &b"no workbook"[..]),
            ("csv", b"store_id,sum\n000101,1\n000102\n"),
            ("csv", b"store_id\n\xff\n"),
            ("json", br#"[{"store_id":"000101"}, 2]"#),
            ("json", br#"[{"store_id":"000101"}"#),
        ] {
            assert!(read(format, broken).is_none(), "{format}");
        }
    }
}
