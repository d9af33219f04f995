//! The files, read back by another library, hold what the truth says.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Data, DataType, Range, Reader, SheetVisible, Xlsx};
use serde_json::Value;

use super::calendar::day;
use super::{DriveFile, FileTruth, Options, World};

const DAILY: &str = "Sales Channel - Daily.xlsx";

/// Seven weeks: the daily file, history in two fiscal years, and five plans.
fn world() -> World {
    World::generate(&Options { seed: 7, today: day(2025, 12, 6), days: 50, scale: 1 })
}

fn file(world: &World, brand: &str, name: &str) -> DriveFile {
    let files = world.drive_files(brand);
    let file = files.into_iter().find(|file| file.name == name && !file.folder.ends_with("Archive"));
    file.expect("the drive has the file")
}

fn open(file: &DriveFile) -> Xlsx<Cursor<Vec<u8>>> {
    Xlsx::new(Cursor::new(file.content.clone())).expect("a workbook")
}

fn read(file: &DriveFile, sheet: &str) -> Range<Data> {
    open(file).worksheet_range(sheet).expect("the sheet")
}

/// A cell as a spreadsheet counts: rows from 1, columns from 0.
fn cell(range: &Range<Data>, row: u32, column: u32) -> Data {
    range.get_value((row - 1, column)).cloned().unwrap_or_default()
}

fn column(range: &Range<Data>, header_row: u32, name: &str) -> u32 {
    (0..20).find(|column| cell(range, header_row, *column).as_string().as_deref() == Some(name)).expect("the column")
}

fn cents(number: f64) -> i64 {
    (number * 100.0).round() as i64
}

fn exact_cents(decimal: &str) -> i64 {
    decimal.replace('.', "").parse().expect("two digits")
}

/// Net sales of the good rows by store and date, and their number.
fn net_by_day(range: &Range<Data>, truth: &FileTruth) -> (BTreeMap<(String, String), i64>, usize) {
    let mut sums = BTreeMap::new();
    let last = truth.header_row + truth.rows as u32;
    for row in truth.header_row + 1..=last {
        let text = |column| cell(range, row, column).as_string().expect("a text");
        let (store, date) = (text(0), text(1));
        if store == "000999" || date == "13/45/25" {
            continue;
        }
        if let Some(net) = cell(range, row, 5).get_float() {
            *sums.entry((store, date)).or_default() += cents(net);
        }
    }
    (sums, truth.rows)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (first, second) = (world(), world());
    for brand in ["harbor", "mesa"] {
        assert_eq!(first.drive_files(brand), second.drive_files(brand));
        assert_eq!(first.dataverse_tables(brand), second.dataverse_tables(brand));
    }
    assert_eq!(first.people_csv(), second.people_csv());
    assert_eq!(first.truth(), second.truth());
}

#[test]
fn another_seed_gives_other_sales() {
    let other = World::generate(&Options { seed: 8, ..world().options().clone() });
    let sums = |world: &World| world.truth().brands[0].tables.clone();
    assert_ne!(sums(&world()), sums(&other));
}

#[test]
fn workbooks_and_dataverse_agree_to_the_cent() {
    let world = world();
    for brand in &world.truth().brands {
        let mut workbooks = BTreeMap::new();
        let sales = brand.files.iter().filter(|file| file.sheet == "Sales Channel");
        for truth in sales {
            let range = read(&file(&world, &brand.brand, &truth.name), &truth.sheet);
            let (sums, rows) = net_by_day(&range, truth);
            assert_eq!(rows, truth.rows);
            let total: i64 = sums.values().sum();
            assert_eq!(total, exact_cents(&truth.sums["TY Net Sales USD"]));
            for (key, sum) in sums {
                assert!(workbooks.insert(key, sum).is_none(), "a date in two files");
            }
        }
        let tables = world.dataverse_tables(&brand.brand);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let mut total = 0;
        for row in &tables[0].rows {
            let date = text(&row["sk_businessdate"]);
            let date = format!("{}/{}/{}", &date[5..7], &date[8..10], &date[2..4]);
            let net = exact_cents(&text(&row["sk_netsales"]));
            let workbook = workbooks.remove(&(text(&row["sk_storenumber"]), date));
            assert_eq!(workbook.unwrap_or(0), net);
            total += net;
        }
        assert!(workbooks.is_empty());
        let truth = brand.table("sk_dailystoremetric").expect("its truth");
        assert_eq!(truth.rows, tables[0].rows.len());
        assert_eq!(total, exact_cents(&truth.sums["sk_netsales"]));
    }
}

#[test]
fn labor_of_a_day_is_the_sum_of_its_punches() {
    let world = world();
    for brand in &world.truth().brands {
        let tables = world.dataverse_tables(&brand.brand);
        let sum = |table: usize, column: &str| -> i64 {
            let cells = tables[table].rows.iter().map(|row| &row[column]);
            cells.filter_map(Value::as_str).map(exact_cents).sum()
        };
        assert_eq!(sum(0, "sk_laborhours"), sum(1, "sk_totalhours"));
        assert_eq!(sum(0, "sk_laborcost"), sum(1, "sk_totalpay"));
        let truth = brand.table("sk_clockinout").expect("its truth");
        assert_eq!(truth.rows, tables[1].rows.len());
        assert_eq!(sum(1, "sk_totalpay"), exact_cents(&truth.sums["sk_totalpay"]));
        let open = tables[1].rows.iter().filter(|row| row["sk_clockout"].is_null());
        assert_eq!(open.count(), brand.missing_clock_outs);
        assert!(brand.missing_clock_outs > 0 && brand.automatic_clock_outs > 0);
    }
}

#[test]
fn business_keys_are_unique_and_columns_declared() {
    let world = world();
    for brand in ["harbor", "mesa"] {
        for table in world.dataverse_tables(brand) {
            let mut keys: Vec<String> = Vec::new();
            for row in &table.rows {
                keys.push(row["sk_businesskey"].to_string());
                assert!(row.keys().eq(table.columns.iter().map(|column| &column.name)));
            }
            let count = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count);
        }
    }
}

#[test]
fn bad_rows_are_where_the_truth_says() {
    let world = world();
    let harbor = world.truth().brand("harbor").expect("harbor");
    let values: Vec<&str> = harbor.bad_rows.iter().map(|bad| bad.value.as_str()).collect();
    assert_eq!(values, ["000999", "13/45/25", "n/a?"]);
    for bad in &harbor.bad_rows {
        let range = read(&file(&world, "harbor", &bad.file), &bad.sheet);
        let column = column(&range, 4, &bad.column);
        assert_eq!(cell(&range, bad.row, column), Data::String(bad.value.clone()));
    }
    assert!(world.truth().brand("mesa").expect("mesa").bad_rows.is_empty());
}

#[test]
fn a_sales_workbook_has_filters_on_top_and_a_total_below() {
    let world = world();
    for brand in ["harbor", "mesa"] {
        let range = read(&file(&world, brand, DAILY), "Sales Channel");
        let truth = world.truth().brand(brand).and_then(|brand| brand.file(DAILY, "Sales Channel"));
        let truth = truth.expect("its truth");
        assert_eq!(cell(&range, 1, 0), Data::String("My View".to_owned()));
        assert_eq!(cell(&range, 2, 0), Data::String("Last 7 Days".to_owned()));
        assert_eq!(cell(&range, 3, 0), Data::Empty);
        assert_eq!(column(&range, 4, "LY Orders"), 9);
        let total = truth.other_rows[0];
        assert_eq!(range.end(), Some((total - 1, 9)));
        assert_eq!(cell(&range, total, 0), Data::String("Total".to_owned()));
        // A total adds up every row of the export, the bad ones included.
        let listed: f64 = (5..total).filter_map(|row| cell(&range, row, 5).get_float()).sum();
        let printed = cell(&range, total, 5).get_float().expect("a sum");
        assert_eq!(cents(listed), cents(printed));
    }
}

#[test]
fn floats_have_binary_noise_and_zeros_have_none() {
    let range = read(&file(&world(), "mesa", DAILY), "Sales Channel");
    let floats: Vec<f64> = range.rows().filter_map(|row| row.get(5).and_then(DataType::get_float)).collect();
    let noisy = floats.iter().filter(|float| float.to_string().len() > 12).count();
    assert!(noisy * 4 > floats.len() && noisy * 4 < floats.len() * 3);
    assert!(floats.contains(&0.0));
}

#[test]
fn store_numbers_keep_their_zeros_where_they_are_text() {
    let world = world();
    let range = read(&file(&world, "harbor", "BI Dimensions.xlsx"), "Stores");
    assert_eq!(cell(&range, 2, 0), Data::String("000101".to_owned()));
    assert_eq!(cell(&range, 3, 0), Data::Float(102.0));
    let numbers = (2..32).filter(|row| cell(&range, *row, 0).is_float()).count();
    assert_eq!(numbers, 10);
    assert!(cell(&range, 14, 5).is_datetime(), "the closed store");
    assert_eq!(cell(&range, 2, 5), Data::Empty);
    let sales = read(&file(&world, "mesa", DAILY), "Sales Channel");
    assert_eq!(cell(&sales, 5, 0), Data::String("000125".to_owned()));
    assert!(cell(&sales, 5, 1).is_string(), "dates are text");
}

#[test]
fn dimension_sheets_have_the_rows_of_the_truth() {
    let world = world();
    let dimensions = file(&world, "harbor", "BI Dimensions.xlsx");
    let harbor = world.truth().brand("harbor").expect("harbor");
    let rows = |sheet: &str| {
        let range = read(&dimensions, sheet);
        range.rows().skip(1).filter(|row| row.iter().all(|cell| !cell.is_empty())).count()
    };
    for sheet in ["Calendar", "Store hours"] {
        let truth = harbor.file("BI Dimensions.xlsx", sheet).expect("its truth");
        assert_eq!(rows(sheet), truth.rows, "{sheet}");
    }
    assert_eq!(rows("Calendar"), 50 + 400);
    let workbook = open(&dimensions);
    let notes = workbook.sheets_metadata().iter().find(|sheet| sheet.name == "Notes");
    assert_eq!(notes.expect("notes").visible, SheetVisible::Hidden);
}

#[test]
fn each_labor_plan_is_saved_in_its_own_way() {
    let world = world();
    let plan = |week: &str| file(&world, "harbor", &format!("Labor Plan {week}.csv")).content;
    let text = |week: &str| String::from_utf8(plan(week));
    let coming = text("2025-12-08").expect("UTF-8");
    assert!(coming.contains("\r\n000101,12/08/2025,1,Lunch,"));
    let newest = text("2025-12-01").expect("UTF-8");
    assert!(newest.contains("\r\n000101,12/01/2025,1,Lunch,"));
    assert!(plan("2025-11-17").starts_with(b"\xef\xbb\xbfStore Number,"));
    assert!(text("2025-11-17").expect("UTF-8").contains("\n101,"));
    assert!(text("2025-11-10").is_err());
    let bytes = plan("2025-11-10");
    assert!(bytes.windows(10).any(|part| part == b"Jos\xe9 N\xfa\xf1ez"));
    let harbor = world.truth().brand("harbor").expect("harbor");
    let truth = harbor.file("Labor Plan 2025-12-01.csv", "").expect("its truth");
    assert_eq!(newest.lines().count(), truth.rows + 1);
}

#[test]
fn clutter_lies_beside_the_files() {
    let world = world();
    let lock = file(&world, "mesa", "~$BI Dimensions.xlsx");
    assert_eq!(lock.content.len(), 165);
    let offers = read(&file(&world, "mesa", "Offers.xlsx"), "Offers");
    assert_eq!(cell(&offers, 5, 1), Data::String("125".to_owned()));
    let files = world.drive_files("mesa");
    assert!(files.iter().any(|file| file.folder == "BI Import/Archive"));
    let now = day(2025, 12, 6).and_hms_opt(11, 0, 0).expect("a time").and_utc();
    assert!(files.iter().all(|file| file.modified_at < now));
}

#[test]
fn everything_is_written_below_a_folder() {
    let world = World::generate(&Options { days: 8, ..world().options().clone() });
    let folder = std::env::temp_dir().join(format!("world-{}", uuid::Uuid::new_v4()));
    world.write_to(&folder).expect("written");
    let read = |path: &str| std::fs::read(folder.join(path)).expect(path);
    assert_eq!(read("people.csv"), world.people_csv().into_bytes());
    let daily = format!("harbor/drive/BI Import/{DAILY}");
    assert_eq!(read(&daily), file(&world, "harbor", DAILY).content);
    let lines = read("mesa/dataverse/sk_dailystoremetric.jsonl");
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 15 * 8);
    assert!(read("truth.json").starts_with(b"{"));
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Written down, so that two machines and two versions are seen to agree. A
/// change of the generator that is meant to change the world changes this too.
#[test]
fn the_world_of_the_demonstration_is_the_known_one() {
    let world = World::generate(&Options::demo());
    let mut seen = Vec::new();
    for brand in &world.truth().brands {
        for file in brand.files.iter().filter(|file| !file.sums.is_empty()) {
            let net = &file.sums["TY Net Sales USD"];
            seen.push(format!("{} {} {} {net}", brand.brand, file.name, file.rows));
        }
        for table in &brand.tables {
            seen.push(format!("{} {} {}", brand.brand, table.logical_name, table.rows));
        }
    }
    let known = [
        "harbor Sales Channel - Daily.xlsx 8405 802820.82",
        "harbor Sales Channel - FY2024.xlsx 48178 43256567.48",
        "harbor Sales Channel - FY2025.xlsx 48147 43245309.27",
        "harbor sk_dailystoremetric 21093",
        "harbor sk_clockinout 16686",
        "mesa Sales Channel - Daily.xlsx 4245 512872.03",
        "mesa Sales Channel - FY2024.xlsx 25176 25496162.65",
        "mesa Sales Channel - FY2025.xlsx 26621 27313998.84",
        "mesa sk_dailystoremetric 10673",
        "mesa sk_clockinout 10795",
    ];
    assert_eq!(seen, known);
}

#[test]
fn a_larger_world_has_more_stores_and_a_short_one_no_history() {
    let world = World::generate(&Options { scale: 3, days: 2, ..Options::demo() });
    for brand in &world.brands {
        let mut numbers: Vec<&str> = brand.stores.iter().map(|s| s.number.as_str()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), if brand.id == "harbor" { 90 } else { 45 });
        assert!(numbers.iter().all(|number| number.len() == 6));
        let files = world.drive_files(&brand.id);
        assert!(files.iter().all(|file| !file.name.contains("FY20")));
    }
    assert!(world.drive_files("nobody").is_empty());
}
