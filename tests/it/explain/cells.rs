//! A thousand values of the generated world, each held against the cell that the generator
//! wrote: files are read by calamine and csv alone, tables are the generator's own rows.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Data, Reader as _};
use sandbox::generator;
use serde_json::{Map, Value, json};

use crate::support::world::World;

const BRANDS: [&str; 2] = ["harbor", "mesa"];

/// Rows of a sheet by their number from 1; a text file has the sheet ``.
type Sheet = BTreeMap<u64, Vec<Data>>;

fn sheets(name: &str, bytes: &[u8]) -> BTreeMap<String, Sheet> {
    if name.ends_with(".csv") {
        // An older export is not UTF-8.
        let text = std::str::from_utf8(bytes).map_or_else(|_| encoding_rs::WINDOWS_1252.decode(bytes).0, Into::into);
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut sheet = Sheet::new();
        // No cell of these files holds a line break, and no line is empty.
        for (at, record) in reader.records().enumerate() {
            let record = record.unwrap();
            let cells = record.iter().map(|cell| Data::String(cell.to_owned())).collect();
            sheet.insert(at as u64 + 1, cells);
        }
        return [(String::new(), sheet)].into();
    }
    let mut book = calamine::open_workbook_auto_from_rs(Cursor::new(bytes)).unwrap();
    let mut sheets = BTreeMap::new();
    for name in book.sheet_names() {
        let range = book.worksheet_range(&name).unwrap();
        let (top, left) = range.start().unwrap_or_default();
        let row = |(at, cells): (usize, &[Data])| {
            let mut row = vec![Data::Empty; left as usize];
            row.extend_from_slice(cells);
            (u64::from(top) + at as u64 + 1, row)
        };
        sheets.insert(name, range.rows().enumerate().map(row).collect());
    }
    sheets
}

/// Whether a text is what stands in a cell.
fn is_written(cell: &Data, text: Option<&str>) -> bool {
    match (cell, text) {
        (Data::Empty, None) => true,
        (Data::String(cell), text) => {
            let cell = cell.trim();
            if cell.is_empty() { text.is_none() } else { text == Some(cell) }
        }
        (Data::Float(number), Some(text)) => text.parse() == Ok(*number),
        (Data::Int(number), Some(text)) => text.parse() == Ok(*number),
        (Data::Bool(flag), Some(text)) => text.eq_ignore_ascii_case(&flag.to_string()),
        (Data::DateTime(moment), Some(text)) => {
            let moment = moment.as_datetime().unwrap();
            let ways = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "T%H:%M:%S"];
            ways.iter().any(|way| text == moment.format(way).to_string())
        }
        _ => false,
    }
}

/// Whether a loaded value means what a cell says: numbers by value, dates by day.
fn means(value: Option<&str>, text: Option<&str>, column: &str) -> bool {
    let (Some(value), Some(text)) = (value, text) else { return value.is_none() };
    let number = |text: &str| {
        let (text, share) = text.strip_suffix('%').map_or((text, 1.0), |text| (text, 100.0));
        text.replace(['$', ','], "").parse::<f64>().ok().map(|number| number / share)
    };
    if column == "store_id" {
        return value == format!("{text:0>6}");
    }
    if let Ok(day) = value.parse::<chrono::NaiveDate>() {
        let written = ["%m/%d/%y", "%m/%d/%Y", "%Y-%m-%d"];
        return written.iter().any(|format| chrono::NaiveDate::parse_from_str(text, format) == Ok(day));
    }
    if let (Some(value), Some(text)) = (number(value), number(text)) {
        return (value - text).abs() < 0.0051;
    }
    // Times and moments have many spellings; the cell itself was compared already.
    value == text || column.ends_with("_at")
}

/// What the contract of a pipeline calls its columns, and what files call them.
fn contract(pipeline: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let file = std::fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|folder| folder.path().join(pipeline).join("pipeline.toml"))
        .find(|file| file.exists())
        .unwrap();
    let text: toml::Value = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let columns = text["contract"]["columns"].as_array().unwrap();
    let name = |column: &toml::Value| {
        let from = &column["from"];
        let names = from.as_array().cloned().unwrap_or_else(|| vec![from.clone()]);
        let names = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        (column["name"].as_str().unwrap().to_owned(), names)
    };
    let key = text["contract"]["key"].as_array().unwrap();
    let key = key.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    (columns.iter().map(name).collect(), key)
}

/// Rows of each table that are asked for in each brand: a thousand in all, and a few more.
const ASKED: [(&str, usize); 7] = [
    ("sales_channel", 260),
    ("labor_plan", 90),
    ("clock_in_out", 70),
    ("daily_store_metrics", 60),
    ("calendar", 20),
    ("store_hours", 20),
    ("stores", 10),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_values_lead_back_to_the_cells_that_the_generator_wrote() {
    a_thousand_values_lead_back(40).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `make explain-demo`"]
async fn a_thousand_values_of_the_demo_lead_back_to_the_cells_that_the_generator_wrote() {
    a_thousand_values_lead_back(generator::Options::demo().days).await;
}

async fn a_thousand_values_lead_back(days: u32) {
    let world = World::start(days).await;
    let run = world.storekeeper(&["run", "--all"]);
    assert_eq!(run.code, 0, "{}", run.log);
    let mut files: BTreeMap<(&str, String), BTreeMap<String, Sheet>> = BTreeMap::new();
    let mut tables: BTreeMap<(&str, String), Vec<Map<String, Value>>> = BTreeMap::new();
    for brand in BRANDS {
        for file in world.truth.drive_files(brand) {
            if file.folder.starts_with("BI Import") && !file.folder.ends_with("Archive") && !file.name.starts_with('~')
            {
                let readable = file.name.ends_with(".csv") || file.name.ends_with(".xlsx");
                if readable {
                    files.insert((brand, file.name.clone()), sheets(&file.name, &file.content));
                }
            }
        }
        for table in world.truth.dataverse_tables(brand) {
            tables.insert((brand, table.entity_set.clone()), table.rows);
        }
    }
    let mut lines = String::new();
    let mut asked = Vec::new();
    for brand in BRANDS {
        for (table, rows) in ASKED {
            let (columns, key) = contract(table);
            // The order is that of a hash: chance, and the same each time.
            let sql =
                format!("SELECT to_jsonb(t) FROM mart_{brand}.{table} t ORDER BY md5(to_jsonb(t)::text) LIMIT {rows}");
            let found: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&world.pool).await.unwrap();
            for (at, row) in found.iter().enumerate() {
                let (column, _) = &columns[(at * 7 + row.to_string().len()) % columns.len()];
                let key: Map<String, Value> = key.iter().map(|name| (name.clone(), row[name].clone())).collect();
                let question = json!({"table": table, "brand": brand, "key": key, "columns": [column]});
                lines.push_str(&format!("{question}\n"));
                asked.push((brand, table, column.clone(), key));
            }
        }
    }
    assert!(asked.len() >= 1000, "{}", asked.len());
    let questions = world.folder().join("questions.jsonl");
    std::fs::write(&questions, lines).unwrap();
    let said = world.storekeeper(&["explain", "--with-personal", "--questions", questions.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.log);
    let answers = said.json["answers"].as_array().unwrap();
    assert_eq!(answers.len(), asked.len());
    let mut wrong = Vec::new();
    for (answer, (brand, table, column, key)) in answers.iter().zip(&asked) {
        let rows = answer["found"][0]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{answer:#}");
        let row = &rows[0];
        assert_eq!(row["no_cells"], Value::Null, "{row:#}");
        let (cell, value) = (&row["values"][0]["cells"][0], row["values"][0]["value"].as_str());
        assert_eq!(cell["read"], true, "{row:#}");
        let text = cell["text"].as_str();
        let name = row["file"]["name"].as_str().unwrap();
        let sheet = row["file"]["sheet"].as_str().unwrap_or_default();
        let number = row["source_row"].as_u64().unwrap();
        let (columns, _) = contract(table);
        let right = match files.get(&(*brand, name.to_owned())) {
            Some(sheets) => {
                let header_row = world.truth.truth().brand(brand).unwrap().file(name, sheet).unwrap().header_row;
                let header = &sheets[sheet][&u64::from(header_row)];
                is_in_sheet(header, &sheets[sheet][&number], &columns, column, key, cell)
            }
            None => is_in_table(&tables[&(*brand, table_of(table).to_owned())], &columns, column, key, text),
        };
        if !right || !means(value, text, column) {
            wrong.push(format!(
                "{brand} {table} {key:?} {column}: {value:?} from {cell} in {name} {sheet} row {number}"
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    println!("{} values of {days} days lead back to their cells", asked.len());
}

type Columns = [(String, Vec<String>)];

/// Whether a row of a sheet has the key that was asked for, and holds the text that was
/// shown in the column that was named.
fn is_in_sheet(
    header: &[Data],
    row: &[Data],
    columns: &Columns,
    column: &str,
    key: &Map<String, Value>,
    cell: &Value,
) -> bool {
    let place = |column: &str| {
        let names = &columns.iter().find(|(name, _)| name == column).unwrap().1;
        let found =
            header.iter().enumerate().find(|(_, cell)| names.iter().any(|name| cell.to_string().trim() == name));
        found.unwrap_or_else(|| panic!("{column} is not among {header:?}"))
    };
    let own = key.iter().all(|(name, wanted)| {
        let shown = match &row[place(name).0] {
            Data::DateTime(moment) => moment.as_datetime().unwrap().format("%Y-%m-%d").to_string(),
            cell => cell.to_string().trim().to_owned(),
        };
        let wanted = plain(wanted);
        means(wanted.as_deref(), Some(&shown), name)
    });
    let (at, header) = place(column);
    own && cell["source_column"].as_str() == Some(header.to_string().trim())
        && is_written(row.get(at).unwrap_or(&Data::Empty), cell["text"].as_str())
}

/// Whether the generator's row of that key holds the text that was shown.
fn is_in_table(
    rows: &[Map<String, Value>],
    columns: &Columns,
    column: &str,
    key: &Map<String, Value>,
    text: Option<&str>,
) -> bool {
    let of = |row: &Map<String, Value>, column: &str| {
        row.get(&columns.iter().find(|(name, _)| name == column).unwrap().1[0]).and_then(plain)
    };
    // Dataverse prints exact numbers with all the digits that a column has.
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<rust_decimal::Decimal>().ok());
    let same = |one: Option<&str>, other: Option<&str>| {
        one == other
            || moment(one).is_some_and(|at| Some(at) == moment(other))
            || number(one).is_some_and(|value| Some(value) == number(other))
    };
    let own = |row: &&Map<String, Value>| {
        key.iter().all(|(name, wanted)| {
            let (written, wanted) = (of(row, name), plain(wanted));
            let padded = written.as_ref().map(|text| format!("{text:0>6}"));
            same(written.as_deref(), wanted.as_deref()) || name == "store_id" && padded == wanted
        })
    };
    let row = rows.iter().find(own).unwrap_or_else(|| panic!("no row has {key:?}, e.g. {:?}", rows[0]));
    same(of(row, column).as_deref(), text)
}

fn table_of(table: &str) -> &'static str {
    match table {
        "clock_in_out" => "sk_clockinouts",
        _ => "sk_dailystoremetrics",
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn moment(text: Option<&str>) -> Option<chrono::DateTime<chrono::Utc>> {
    chrono::DateTime::parse_from_rfc3339(text?).ok().map(|moment| moment.to_utc())
}
