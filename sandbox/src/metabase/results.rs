//! Query results in the shapes clients know: on the screen, as CSV, as JSON.

use rust_xlsxwriter::{Workbook, XlsxError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cells::Cell;
use super::reply::Reply;
use super::state::stamp;
use super::template::Refusal;
use super::warehouse::{Column, Outcome, SCREEN_ROWS};

/// What a result says about the query that made it.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) database_id: i64,
    pub(super) sql: String,
    pub(super) json_query: Value,
    pub(super) context: &'static str,
    pub(super) started_at: chrono::DateTime<chrono::Utc>,
}

/// A query that ran, or why it did not.
pub(super) type Ran = Result<Outcome, Refusal>;

#[derive(Serialize)]
struct Screen<'a> {
    data: Data<'a>,
    status: &'static str,
    row_count: usize,
    running_time: u64,
    database_id: i64,
    started_at: String,
    json_query: &'a Value,
    context: &'static str,
    average_execution_time: Option<u64>,
    cached: Option<bool>,
}

#[derive(Serialize)]
struct Data<'a> {
    rows: &'a [Vec<Cell>],
    cols: Vec<Value>,
    native_form: Value,
    results_timezone: &'static str,
    requested_timezone: &'static str,
    results_metadata: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_truncated: Option<usize>,
    insights: Option<bool>,
}

/// Answers a run on the screen: 202, failures included.
pub(super) fn screen(ran: &Ran, about: &About) -> Reply {
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(refusal) => return Reply::json(202, failed(refusal, about)),
    };
    let cols: Vec<Value> = outcome.columns.iter().map(describe).collect();
    let metadata: Vec<Value> = cols
        .iter()
        .map(|column| {
            let mut column = column.clone();
            if let Some(fields) = column.as_object_mut() {
                fields.remove("source");
            }
            column
        })
        .collect();
    Reply::json(
        202,
        Screen {
            data: Data {
                rows: &outcome.rows,
                cols,
                native_form: json!({ "query": about.sql, "params": null }),
                results_timezone: "UTC",
                requested_timezone: "UTC",
                results_metadata: json!({ "columns": metadata }),
                rows_truncated: outcome.truncated.then_some(SCREEN_ROWS),
                insights: None,
            },
            status: "completed",
            row_count: outcome.rows.len(),
            running_time: outcome.took_ms,
            database_id: about.database_id,
            started_at: stamp(about.started_at),
            json_query: &about.json_query,
            context: about.context,
            average_execution_time: None,
            cached: None,
        },
    )
}

/// Answers a run as a file.
pub(super) fn export(ran: &Ran, about: &About, format: &str) -> Reply {
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(refusal) => return Reply::json(202, failed(refusal, about)),
    };
    let name = format!("query_result.{format}");
    let reply = match format {
        "csv" => Reply::file("text/csv", &name, csv(outcome)),
        "xlsx" => match xlsx(outcome) {
            Ok(bytes) => Reply::file("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &name, bytes),
            Err(error) => return super::reply::exception(&error.to_string()),
        },
        _ => Reply::file("application/json;charset=utf-8", &name, rows_json(outcome)),
    };
    // Streamed answers are 202 too.
    Reply { status: 202, ..reply }
}

fn failed(refusal: &Refusal, about: &About) -> Value {
    json!({
        "status": "failed",
        "error": refusal.text,
        "error_type": refusal.kind,
        "class": "class clojure.lang.ExceptionInfo",
        "stacktrace": [],
        "via": [],
        "row_count": 0,
        "running_time": 0,
        "data": { "rows": [], "cols": [] },
        "database_id": about.database_id,
        "started_at": stamp(about.started_at),
        "json_query": about.json_query,
        "context": about.context,
    })
}

fn describe(column: &Column) -> Value {
    json!({
        "display_name": column.name,
        "source": "native",
        "field_ref": ["field", column.name, { "base-type": column.base_type }],
        "name": column.name,
        "base_type": column.base_type,
        "effective_type": column.base_type,
        "database_type": column.database_type,
        "semantic_type": null,
    })
}

fn csv(outcome: &Outcome) -> Vec<u8> {
    let line = |values: Vec<String>| {
        let quoted: Vec<String> = values.iter().map(|value| csv_field(value)).collect();
        format!("{}\n", quoted.join(","))
    };
    let mut text = line(outcome.columns.iter().map(|column| column.name.clone()).collect());
    for row in &outcome.rows {
        text.push_str(&line(row.iter().map(Cell::exported).collect()));
    }
    text.into_bytes()
}

/// A workbook of one sheet; numbers stay numbers, the rest is text.
fn xlsx(outcome: &Outcome) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet().set_name("Query result")?;
    for (at, column) in (0_u16..).zip(&outcome.columns) {
        sheet.write_string(0, at, &column.name)?;
    }
    for (line, row) in (1_u32..).zip(&outcome.rows) {
        for (at, cell) in (0_u16..).zip(row) {
            match cell {
                Cell::Null => {}
                Cell::Bool(flag) => {
                    sheet.write_boolean(line, at, *flag)?;
                }
                Cell::Number(digits) => match digits.parse::<f64>() {
                    Ok(number) => {
                        sheet.write_number(line, at, number)?;
                    }
                    Err(_) => {
                        sheet.write_string(line, at, digits)?;
                    }
                },
                other => {
                    sheet.write_string(line, at, other.exported())?;
                }
            }
        }
    }
    workbook.save_to_buffer()
}

fn csv_field(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

fn rows_json(outcome: &Outcome) -> Vec<u8> {
    let mut out = String::from("[");
    for (index, row) in outcome.rows.iter().enumerate() {
        out.push_str(if index == 0 { "{" } else { ",\n{" });
        for (at, (column, cell)) in outcome.columns.iter().zip(row).enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&as_json(&column.name));
            out.push(':');
            out.push_str(&as_json(&cell.exported_json()));
        }
        out.push('}');
    }
    out.push(']');
    out.into_bytes()
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("cells and names are plain JSON values")
}

/// The values of a result's first column.
pub(super) fn first_column(outcome: &Outcome) -> Vec<Value> {
    outcome
        .rows
        .iter()
        .filter_map(|row| row.first())
        .map(|cell| serde_json::to_value(cell.exported_json()).unwrap_or_default())
        .collect()
}

/// Columns as a question keeps them after its first run.
pub(super) fn metadata(outcome: &Outcome) -> Value {
    let columns: Vec<Value> = outcome
        .columns
        .iter()
        .map(|column| {
            let mut fields = Map::new();
            fields.insert("name".into(), json!(column.name));
            fields.insert("display_name".into(), json!(column.name));
            fields.insert("base_type".into(), json!(column.base_type));
            fields.insert("effective_type".into(), json!(column.base_type));
            fields.insert("semantic_type".into(), Value::Null);
            Value::Object(fields)
        })
        .collect();
    Value::Array(columns)
}
