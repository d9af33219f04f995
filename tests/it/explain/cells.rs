//! A thousand values of the generated world, each held against the cell that the generator
//! wrote: files are read by calamine and csv alone, tables are the generator's own rows.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Data, Reader as _};
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
        for record in reader.records() {
            let record = record.unwrap();
            let cells = record.iter().map(|cell| Data::String(cell.to_owned())).collect();
            sheet.insert(record.position().unwrap().line(), cells);
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
fn contract(pipeline: &str) -> (Vec<(String, String)>, Vec<String>) {
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
        let first = from.as_array().map_or(from, |names| &names[0]);
        (column["name"].as_str().unwrap().to_owned(), first.as_str().unwrap().to_owned())
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
    let world = World::start(40).await;
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
                let (column, header) = &columns[(at * 7 + row.to_string().len()) % columns.len()];
                let key: Map<String, Value> = key.iter().map(|name| (name.clone(), row[name].clone())).collect();
                let question = json!({"table": table, "brand": brand, "key": key, "columns": [column]});
                lines.push_str(&format!("{question}\n"));
                asked.push((brand, table, column.clone(), header.clone(), key));
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
    for (answer, (brand, table, column, header, key)) in answers.iter().zip(&asked) {
        let rows = answer["found"][0]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{answer:#}");
        let row = &rows[0];
        assert_eq!(row["no_cells"], Value::Null, "{row:#}");
        let (cell, value) = (&row["values"][0]["cells"][0], row["values"][0]["value"].as_str());
        assert_eq!((&cell["read"], &cell["source_column"]), (&true.into(), &header.as_str().into()), "{row:#}");
        let text = cell["text"].as_str();
        let name = row["file"]["name"].as_str().unwrap();
        let number = row["source_row"].as_u64().unwrap();
        let right = match files.get(&(*brand, name.to_owned())) {
            Some(sheets) => {
                let sheet = &sheets[row["file"]["sheet"].as_str().unwrap_or_default()];
                let names = sheet.values().find(|cells| cells.contains(&Data::String(header.clone()))).unwrap();
                let at = |header: &str| names.iter().position(|name| *name == Data::String(header.to_owned())).unwrap();
                // It is the very row: its key is what was asked for.
                let (columns, _) = contract(table);
                let own = key.iter().all(|(name, wanted)| {
                    let header = &columns.iter().find(|(column, _)| column == name).unwrap().1;
                    let shown = match &sheet[&number][at(header)] {
                        Data::DateTime(moment) => moment.as_datetime().unwrap().format("%Y-%m-%d").to_string(),
                        cell => cell.to_string().trim().to_owned(),
                    };
                    let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
                    means(Some(&wanted), Some(&shown), name)
                });
                own && is_written(&sheet[&number][at(header)], text)
            }
            None => {
                let rows = &tables[&(*brand, table_of(table).to_owned())];
                let (columns, _) = contract(table);
                let own = |row: &&Map<String, Value>| {
                    key.iter().all(|(name, wanted)| {
                        let header = &columns.iter().find(|(column, _)| column == name).unwrap().1;
                        let (written, wanted) = (plain(&row[header]), plain(wanted));
                        written == wanted
                            || moment(written.as_deref()) == moment(wanted.as_deref())
                                && moment(wanted.as_deref()).is_some()
                            || name == "store_id" && written.map(|text| format!("{text:0>6}")) == wanted
                    })
                };
                let row = rows.iter().find(own).unwrap_or_else(|| panic!("{table} has no {key:?}, e.g. {:?}", rows[0]));
                let written = row.get(header.as_str()).and_then(plain);
                written.as_deref() == text || moment(written.as_deref()).is_some_and(|at| Some(at) == moment(text))
            }
        };
        if !right || !means(value, text, column) {
            wrong.push(format!("{brand} {table} {key:?} {column}: {value:?} from {text:?} in {name} row {number}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
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
