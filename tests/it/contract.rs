//! `contract draft` and `contract test`: what is drafted loads its file as it is,
//! to the last cell.

use std::path::{Path, PathBuf};

use calamine::{Data, Reader as _, Xlsx, open_workbook};
use sandbox::generator::messy::{self, Messy};
use serde_json::Value;

use crate::support::place::{Place, SCHEMA};

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn real_input() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/real-input").canonicalize().ok();
    if folder.is_none() {
        eprintln!("skipped: ../shared/real-input is not there");
    }
    folder
}

type Cells = Vec<Vec<String>>;

impl Place {
    /// Drafts a pipeline, and loads the very file with it, nothing touched in between.
    fn draft_and_load(&self, name: &str, file: &Path, more: &[&str]) -> (Value, Value) {
        let mut words = vec!["contract", "draft", file.to_str().unwrap(), "--name", name, "--out", "pipelines/drafts"];
        words.extend(more);
        let drafted = self.storekeeper(&words);
        assert_eq!(drafted.code, Some(0), "{} {}", drafted.json, drafted.log);
        let check = self.storekeeper(&["check"]);
        assert_eq!(check.code, Some(0), "{}", check.json);
        let tested = self.storekeeper(&["contract", "test", name]);
        assert_eq!(
            (tested.code, &tested.json["examples"][0]["outcome"]),
            (Some(0), &"passed".into()),
            "{}",
            tested.json
        );
        let run = self.run(name, file);
        assert_eq!((&run["status"], &run["rows_quarantined"]), (&"succeeded".into(), &0.into()), "{run:#}");
        assert_eq!(run["rows_inserted"], run["rows_read"], "{run:#}");
        (drafted.json, run)
    }

    /// Compares every cell of the table with what the file holds.
    async fn assert_same_cells(&self, name: &str, drafted: &Value, wanted: &Cells) {
        let columns = drafted["columns"].as_array().unwrap();
        let names: Vec<String> =
            columns.iter().map(|column| format!("\"{}\"", column["name"].as_str().unwrap())).collect();
        let sql = format!("SELECT {} FROM {SCHEMA}.{name} ORDER BY source_row", names.join(", "));
        let rows = self.rows(&sql).await;
        assert_eq!(rows.len(), wanted.len(), "{name}");
        for (at, (row, wanted)) in rows.iter().zip(wanted).enumerate() {
            assert_eq!(row.len(), wanted.len(), "{name} row {at}");
            for ((cell, wanted), column) in row.iter().zip(wanted).zip(columns) {
                let cell = cell.clone().unwrap_or_default();
                let numbers = cell.parse::<f64>().ok().zip(wanted.parse::<f64>().ok());
                let same = cell == *wanted
                    || numbers.is_some_and(|(cell, wanted)| (cell - wanted).abs() <= 1e-9 * wanted.abs().max(1.0));
                assert!(same, "{name} row {at} {}: `{cell}` for `{wanted}`", column["name"]);
            }
        }
    }

    fn definition(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("pipelines/drafts/{name}/pipeline.toml"))).unwrap()
    }
}

fn csv_cells(bytes: &[u8], delimiter: u8) -> Cells {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    reader.records().map(|line| line.unwrap().iter().map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn types(drafted: &Value) -> Vec<String> {
    let columns = drafted["columns"].as_array().unwrap().iter();
    columns.map(|column| format!("{} {}", column["name"].as_str().unwrap(), column["type"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_restaurants_files_are_drafted_and_loaded_to_the_last_cell() {
    let Some(data) = real_input() else { return };
    let place = Place::start().await;
    for (name, rows, key) in [
        ("orders", 21_350, "order_id"),
        ("order_details", 48_620, "order_details_id"),
        ("pizzas", 96, "pizza_id"),
        ("pizza_types", 32, "pizza_type_id"),
    ] {
        let file = data.join(format!("{name}.csv"));
        let (drafted, run) = place.draft_and_load(name, &file, &[]);
        assert_eq!((&run["rows_loaded"], &drafted["key"]), (&rows.into(), &Value::from(vec![key])), "{drafted:#}");
        place.assert_same_cells(name, &drafted, &csv_cells(&std::fs::read(&file).unwrap(), b',')).await;
    }
    let sum = format!("SELECT sum(quantity) FROM {SCHEMA}.order_details");
    assert_eq!(place.text(&sum).await, "49574");
    let sales =
        format!("SELECT sum(quantity * price) FROM {SCHEMA}.order_details JOIN {SCHEMA}.pizzas USING (pizza_id)");
    assert_eq!(place.text(&sales).await, "817860.05");
    assert!(
        place.definition("pizza_types").contains("encoding = \"windows-1252\""),
        "{}",
        place.definition("pizza_types")
    );
}

/// A sheet's cells as the workbook holds them, its first `width` columns.
fn sheet_cells(workbook: &Path, sheet: &str) -> Cells {
    let mut workbook: Xlsx<_> = open_workbook(workbook).unwrap();
    let range = workbook.worksheet_range(sheet).unwrap();
    let mut rows = range.rows();
    let header = rows.next().unwrap();
    let width = header.iter().filter(|cell| !matches!(cell, Data::Empty)).count();
    let text = |cell: &Data| match cell {
        Data::DateTime(moment) => moment.as_datetime().unwrap().format("%Y-%m-%d").to_string(),
        other => other.to_string().trim().to_owned(),
    };
    rows.map(|row| row[..width].iter().map(text).collect::<Vec<_>>())
        .filter(|row| row.iter().any(|cell| !cell.is_empty()))
        .collect()
}

#[tokio::test]
async fn a_workbooks_three_sheets_are_drafted_and_loaded_to_the_last_cell() {
    let Some(data) = real_input() else { return };
    let place = Place::start().await;
    let workbook = data.join("coffee_chain.xlsx");
    for (name, sheet, rows) in
        [("facts", "FactTable", 4248), ("products", "Product", 13), ("locations", "Location", 156)]
    {
        let (drafted, run) = place.draft_and_load(name, &workbook, &["--sheet", sheet]);
        assert_eq!(run["rows_loaded"], rows, "{drafted:#}");
        assert_ne!(drafted["key"], Value::from(Vec::<Value>::new()), "{drafted:#}");
        let cells = sheet_cells(&workbook, sheet);
        place.assert_same_cells(name, &drafted, &cells).await;
    }
    let cells = sheet_cells(&workbook, "FactTable");
    let names = sheet_header(&workbook, "FactTable");
    let at = names.iter().position(|name| name == "Sales").unwrap();
    let sum: f64 = cells.iter().map(|row| row[at].parse::<f64>().unwrap()).sum();
    assert_eq!(
        place.text(&format!("SELECT sum(sales)::double precision FROM {SCHEMA}.facts")).await.parse::<f64>().unwrap(),
        sum
    );
}

fn sheet_header(workbook: &Path, sheet: &str) -> Vec<String> {
    let mut workbook: Xlsx<_> = open_workbook(workbook).unwrap();
    let range = workbook.worksheet_range(sheet).unwrap();
    range.rows().next().unwrap().iter().map(ToString::to_string).collect()
}

const MESSY: &str = "Export of the night;;;;;\n;;;;;\nStore #;Verkauft am;Mitarbeiter;Betrag €;Artikel-Nr.;Notiz\n\
    000101;28.11.2025;Ann Smith;1.234,50;007;=1+1\n000101;29.11.2025;Bob Miller;-12,5;012;\n\
    000102;28.11.2025;Ann Smith;3,25;007;\"zwei\nZeilen\"\n000101;30.11.2025;Ann Smith;0,5;007;\nTotal;;;1.225,25;;\n";

#[tokio::test]
async fn a_messy_export_is_drafted_with_its_dialect_and_nobodys_name() {
    let place = Place::start().await;
    let file = place.write("export.txt", MESSY);
    let (drafted, run) = place.draft_and_load("night", &file, &[]);
    assert_eq!((&run["rows_loaded"], &drafted["left_out"]["total"]), (&4.into(), &1.into()), "{drafted:#}");
    assert_eq!(
        types(&drafted),
        [
            "store_id store_id",
            "verkauft_am date",
            "mitarbeiter text",
            "betrag decimal(12,2)",
            "artikel_nr text",
            "notiz text"
        ]
    );
    assert_eq!(drafted["key"], Value::from(vec!["store_id", "verkauft_am"]));
    let definition = place.definition("night");
    for wanted in ["header = 3", "delimiter = \";\"", "date_order = \"dmy\"", "personal = true"] {
        assert!(definition.contains(wanted), "`{wanted}` is not in\n{definition}");
    }
    let folder = place.path("pipelines/drafts/night/example");
    for written in [definition, std::fs::read_to_string(folder.join("in.csv")).unwrap(), drafted.to_string()] {
        assert!(!written.contains("Smith") && !written.contains("Miller"), "{written}");
    }
    let rows = place
        .rows(&format!("SELECT store_id, verkauft_am, betrag, artikel_nr FROM {SCHEMA}.night ORDER BY source_row"))
        .await;
    let texts: Vec<String> =
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        texts,
        [
            "000101 2025-11-28 1234.50 007",
            "000101 2025-11-29 -12.50 012",
            "000102 2025-11-28 3.25 007",
            "000101 2025-11-30 0.50 007"
        ]
    );
}

#[tokio::test]
async fn json_lines_with_members_that_come_late_are_drafted() {
    let place = Place::start().await;
    let lines = "{\"id\": 1, \"at\": \"2025-11-28T10:00:00Z\"}\n{\"id\": 2, \"at\": \"2025-11-29T10:00:00Z\", \"open\": true}\n";
    let file = place.write("events.jsonl", lines);
    let (drafted, run) = place.draft_and_load("events", &file, &[]);
    assert_eq!(types(&drafted), ["id integer", "at timestamp", "open boolean"]);
    assert_eq!((&run["rows_loaded"], &drafted["key"]), (&2.into(), &Value::from(vec!["id"])));
}

#[tokio::test]
async fn a_draft_never_writes_over_a_definition_and_leaves_nothing_half() {
    let place = Place::start().await;
    let file = place.write("a.csv", "id,name\n1,x\n2,y\n");
    place.draft_and_load("a", &file, &[]);
    let before = place.definition("a");
    let file = file.to_str().unwrap();
    let again = place.storekeeper(&["contract", "draft", file, "--name", "a"]);
    assert_eq!((again.code, place.definition("a")), (Some(1), before));
    let named = place.storekeeper(&["contract", "draft", file, "--name", "No Name"]);
    assert_eq!(named.code, Some(1), "{}", named.json);
    let empty = place.write("empty.csv", "");
    let empty = place.storekeeper(&["contract", "draft", empty.to_str().unwrap(), "--name", "b"]);
    assert!(empty.json["error"].as_str().unwrap().contains("empty"), "{}", empty.json);
    let left: Vec<_> =
        std::fs::read_dir(place.path("pipelines/drafts")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a"]);
}

#[tokio::test]
async fn an_example_that_comes_out_otherwise_is_shown_line_by_line() {
    let place = Place::start().await;
    let file = place.write("a.csv", "id,name\n1,x\n2,y\n");
    place.draft_and_load("a", &file, &[]);
    place.write("pipelines/drafts/a/example/out.csv", "id,name\n1,x\n2,z\n");
    let said = place.storekeeper(&["contract", "test"]);
    assert_eq!((said.code, &said.json["failures"]), (Some(1), &1.into()));
    let difference = &said.json["examples"][0]["differences"][0];
    assert_eq!(
        (&difference["line"], &difference["wanted"], &difference["found"]),
        (&3.into(), &"2,z".into(), &"2,y".into())
    );
    let unknown = place.storekeeper(&["contract", "test", "nobody"]);
    assert_eq!(unknown.code, Some(2));
}

#[tokio::test]
async fn an_odd_quote_and_escape_are_frozen() {
    let place = Place::start().await;
    let lines = "id;name;note\n1;'x';'it\\'s; so'\n2;'y';'z'\n3;'w';'v'\n";
    let file = place.write("quoted.csv", lines);
    place.draft_and_load("quoted", &file, &[]);
    let definition = place.definition("quoted");
    assert!(definition.contains("quote = ") && definition.contains("escape = "), "{definition}");
    assert_eq!(place.text(&format!("SELECT note FROM {SCHEMA}.quoted WHERE id = 1")).await, "it's; so");
}

#[tokio::test]
async fn a_line_cut_short_is_counted_as_refused_and_spoils_no_draft() {
    let place = Place::start().await;
    let file = place.write("short.csv", "id,name,amount\n1,x,2\n2,y\n3,z,4\n");
    let drafted = place.storekeeper(&[
        "contract",
        "draft",
        file.to_str().unwrap(),
        "--name",
        "short",
        "--out",
        "pipelines/drafts",
    ]);
    assert_eq!((drafted.code, &drafted.json["rows_refused"]), (Some(0), &1.into()), "{}", drafted.json);
    let run = place.run("short", &file);
    assert_eq!((&run["rows_loaded"], &run["rows_quarantined"]), (&2.into(), &1.into()), "{run:#}");
}

/// What nobody can know from a workbook's cells and its author has to say.
fn asked(name: &str) -> &'static [&'static str] {
    match name {
        "hidden_skipped" => &["--skip-hidden"],
        "sheet_per_store" => &["--sheets", "*", "--sheet-as", "store_id"],
        "several_sheets" => &["--sheets", "North", "--sheets", "South"],
        "range" => &["--range", "C2:G14"],
        "named_range" => &["--range", "sales_table"],
        "everything" => &["--sheets", "*"],
        _ => &[],
    }
}

/// Columns that a draft leaves as text, because it guesses nothing.
const LEFT_AS_TEXT: [(&str, &str); 3] = [
    // Of `11/11/25` and `11/12/25` nobody can tell the month.
    ("mixed_dates", "Business Date"),
    // `$100.37` and `100,37` stand in one column: what `1,234` means there is for a person to say.
    ("number_shapes", "Net Sales"),
    // `11.11.2025` is the only date that is not year first: it tells no order.
    ("everything", "Business Date"),
];
/// Workbooks with a row that only their author knows to be wrong: a sale without a store.
const LOADED_AS_WELL: [&str; 1] = ["totals_by_arithmetic"];

/// A number without the zeros behind its last digit: a draft may leave more places.
fn exact(text: &str) -> String {
    if text.contains('.') && text.parse::<f64>().is_ok() {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

impl Place {
    /// Drafts and loads a messy workbook, and says how what was loaded differs from the truth.
    async fn differences(&self, messy: &Messy) -> Vec<String> {
        let name = messy.name;
        let file = self.path(&format!("{name}.xlsx"));
        std::fs::write(&file, &messy.bytes).unwrap();
        let path = file.to_str().unwrap().to_owned();
        let mut words = vec!["contract", "draft", &path, "--name", name, "--out", "pipelines/drafts"];
        words.extend(asked(name));
        let drafted = self.storekeeper(&words);
        if drafted.code != Some(0) {
            return vec![format!("{name}: no draft: {} {}", drafted.json, drafted.log)];
        }
        let check = self.storekeeper(&["check"]);
        assert_eq!(check.code, Some(0), "{name}: {}", check.json);
        let tested = self.storekeeper(&["contract", "test", name]);
        assert_eq!(tested.code, Some(0), "{name}: {}", tested.json);
        let run = self.run(name, &file);
        let mut differences = Vec::new();
        let refused = if LOADED_AS_WELL.contains(&name) { 0 } else { messy.refused.len() };
        if run["rows_quarantined"] != refused {
            differences.push(format!("{name}: {} refused for {refused}", run["rows_quarantined"]));
        }
        let left_out: u64 =
            drafted.json["left_out"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        if left_out != messy.left_out.len() as u64 {
            differences.push(format!("{name}: {left_out} left out for {}", messy.left_out.len()));
        }
        let (mut names, mut told) = (Vec::new(), Vec::new());
        for (at, column) in messy.columns.iter().enumerate() {
            let from = column.header.unwrap_or(column.name);
            let drafted = drafted.json["columns"].as_array().unwrap().iter().find(|drafted| drafted["from"] == from);
            let Some(drafted) = drafted else {
                differences.push(format!("{name}: no column `{from}`"));
                continue;
            };
            if LEFT_AS_TEXT.contains(&(name, from)) {
                assert_eq!(drafted["type"], "text", "{name}: `{from}` is no exception any more");
                continue;
            }
            names.push(format!("\"{}\"", drafted["name"].as_str().unwrap()));
            told.push(at);
        }
        let rows = self.rows(&format!("SELECT {} FROM {SCHEMA}.{name}", names.join(", "))).await;
        let as_well = if LOADED_AS_WELL.contains(&name) { messy.refused.len() } else { 0 };
        assert_eq!(rows.len(), messy.rows.len() + as_well, "{name}");
        let mut found: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|cell| exact(&cell.unwrap_or_default())).collect())
            .filter(|row: &Vec<String>| !(LOADED_AS_WELL.contains(&name) && row[0].is_empty()))
            .collect();
        let truth = messy.rows.iter().map(|row| told.iter().map(|at| exact(&row.values[*at].to_string())).collect());
        let mut truth: Vec<Vec<String>> = truth.collect();
        found.sort();
        truth.sort();
        if found != truth {
            differences.push(format!("{name}: {found:?} for {truth:?}"));
        }
        differences
    }
}

#[tokio::test]
async fn every_messy_workbook_is_drafted_and_loaded_to_the_last_cell() {
    let place = Place::start().await;
    let mut differences = Vec::new();
    for messy in messy::all() {
        differences.extend(place.differences(&messy).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
