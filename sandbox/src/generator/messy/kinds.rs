//! One workbook for each kind of mess, and one with all of it.

use super::package::{Cell, Package, Sheet};
use super::sales::{HEADER, Sale, columns, money, sales, sums, write};
use super::truth::{Messy, Row, Value};

/// Makes all of them.
pub fn all() -> Vec<Messy> {
    vec![
        titles(),
        two_row_header(),
        repeated_header(),
        totals_by_word(),
        totals_by_arithmetic(),
        footnotes(),
        merged_cells(),
        hidden_read(),
        hidden_skipped(),
        from_1904(),
        mixed_dates(),
        broken_cells(),
        number_shapes(),
        sheet_per_store(),
        several_sheets(),
        range(),
        named_range(),
        everything(),
    ]
}

const PLAIN: &str = r#"{ kind = "xlsx" }"#;

/// A workbook of one sheet, in the columns of [`HEADER`].
fn one(name: &'static str, sheet: Sheet, rows: Vec<Row>, left_out: &[u32]) -> Messy {
    let left_out = left_out.iter().map(|number| (sheet.name.clone(), *number)).collect();
    let package = Package { sheets: vec![sheet], ..Package::default() };
    let bytes = package.bytes();
    Messy { name, bytes, format: PLAIN, columns: columns(), rows, refused: Vec::new(), left_out }
}

fn titles() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&["My View"]);
    sheet.texts(&["Last 7 Days", "", "Net Sales"]);
    sheet.texts(&[]);
    sheet.texts(&HEADER);
    let rows = write(&mut sheet, &sales());
    one("titles", sheet, rows, &[])
}

/// `Net` and `Orders` stand under a merged `Sales`; the other names are merged downwards.
fn two_row_header() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&["Sales by channel"]);
    sheet.texts(&["Store Number", "Business Date", "Channel", "Sales", ""]);
    sheet.texts(&["", "", "", "Net", "Orders"]);
    sheet.merged = ["A2:A3", "B2:B3", "C2:C3", "D2:E2"].map(str::to_owned).to_vec();
    let rows = write(&mut sheet, &sales());
    let mut messy = one("two_row_header", sheet, rows, &[]);
    messy.columns[3].header = Some("Sales / Net");
    messy.columns[4].header = Some("Sales / Orders");
    messy
}

fn repeated_header() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let mut rows = write(&mut sheet, &sales()[..5]);
    let again = sheet.texts(&HEADER);
    rows.extend(write(&mut sheet, &sales()[5..]));
    one("repeated_header", sheet, rows, &[again])
}

fn totals_by_word() -> Messy {
    let (mut sheet, all) = (Sheet::new("Sales"), sales());
    sheet.texts(&HEADER);
    let mut rows = write(&mut sheet, &all[..6]);
    let first = sheet.line(sums(&all[..6], "Subtotal:", 0));
    rows.extend(write(&mut sheet, &all[6..]));
    let second = sheet.line(sums(&all[6..], "000719 Total", 0));
    let last = sheet.line(sums(&all, "Grand Total", 2));
    one("totals_by_word", sheet, rows, &[first, second, last])
}

/// The totals have no word, only sums; the last row is a sale without a store
/// whose numbers are no sums, which is for the contract to refuse.
fn totals_by_arithmetic() -> Messy {
    let (mut sheet, all) = (Sheet::new("Sales"), sales());
    sheet.texts(&HEADER);
    let mut rows = write(&mut sheet, &all[..6]);
    let first = sheet.line(sums(&all[..6], "", 0));
    rows.extend(write(&mut sheet, &all[6..]));
    let second = sheet.line(sums(&all[6..], "", 0));
    let third = sheet.line(sums(&all, "", 0));
    let orphan = sheet.line(vec![
        Cell::Blank,
        Cell::Date(all[0].on),
        Cell::from("App"),
        Cell::Number("12.5".to_owned()),
        Cell::Number("1".to_owned()),
    ]);
    let mut messy = one("totals_by_arithmetic", sheet, rows, &[first, second, third]);
    messy.refused = vec![("Sales".to_owned(), orphan, "store_id")];
    messy
}

fn footnotes() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let rows = write(&mut sheet, &sales());
    sheet.texts(&[]);
    let notes = [
        "Note: days close at 4 am.",
        "* net of discounts",
        "Source: back office",
        "Figures of the last day are provisional until it is closed.",
    ];
    let numbers: Vec<u32> = notes.iter().map(|note| sheet.texts(&[note])).collect();
    one("footnotes", sheet, rows, &numbers)
}

/// A store's number stands once for all of its rows.
fn merged_cells() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let mut rows = Vec::new();
    for (index, sale) in sales().iter().enumerate() {
        let mut cells = sale.cells();
        if index % 6 != 0 {
            cells[0] = Cell::Blank;
        }
        let number = sheet.line(cells);
        rows.push(sale.row("Sales", number));
    }
    sheet.merged = vec!["A2:A7".to_owned(), "A8:A13".to_owned()];
    let mut messy = one("merged_cells", sheet, rows, &[]);
    messy.format = r#"{ kind = "xlsx", fill_merged = true }"#;
    messy
}

/// A hidden sheet stands first, and a filter hides every third row.
fn hidden(name: &'static str, format: &'static str, skipped: bool) -> Messy {
    let mut lists = Sheet::new("Lists");
    lists.hidden = true;
    lists.texts(&HEADER);
    lists.texts(&["000001", "2020-01-01", "App", "1", "1"]);
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let all = write(&mut sheet, &sales());
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for (index, row) in all.into_iter().enumerate() {
        let hidden = index % 3 == 1;
        sheet.lines[row.number as usize - 1].hidden = hidden;
        if hidden && skipped {
            left_out.push((row.sheet, row.number));
        } else {
            rows.push(row);
        }
    }
    let package = Package { sheets: vec![lists, sheet], ..Package::default() };
    Messy { name, bytes: package.bytes(), format, columns: columns(), rows, refused: Vec::new(), left_out }
}

fn hidden_read() -> Messy {
    hidden("hidden_read", PLAIN, false)
}

fn hidden_skipped() -> Messy {
    hidden("hidden_skipped", r#"{ kind = "xlsx", hidden = "skip" }"#, true)
}

fn from_1904() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let rows = write(&mut sheet, &sales());
    let bytes = Package { sheets: vec![sheet.clone()], from_1904: true, ..Package::default() }.bytes();
    Messy { bytes, ..one("from_1904", sheet, rows, &[]) }
}

/// Real dates, text dates and year-month-day texts in one column.
fn mixed_dates() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let mut rows = Vec::new();
    for (index, sale) in sales().iter().enumerate() {
        let mut cells = sale.cells();
        match index % 3 {
            0 => cells[1] = Cell::Text(sale.on.format("%m/%d/%y").to_string()),
            1 => cells[1] = Cell::Text(sale.on.format("%Y-%m-%d").to_string()),
            _ => {}
        }
        let number = sheet.line(cells);
        rows.push(sale.row("Sales", number));
    }
    let mut messy = one("mixed_dates", sheet, rows, &[]);
    messy.columns[1].date_order = Some("mdy");
    messy
}

/// Errors where values should be, in columns of every type, and a formula that
/// nobody calculated.
fn broken_cells() -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&HEADER);
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for (index, sale) in sales().iter().enumerate() {
        let mut cells = sale.cells();
        let spoilt = match index {
            2 => Some((3, Cell::Error("#REF!"))),
            4 => Some((2, Cell::Error("#NAME?"))),
            6 => Some((0, Cell::Error("#VALUE!"))),
            7 => Some((1, Cell::Error("#NUM!"))),
            9 => Some((3, Cell::Formula("D2*2", None))),
            _ => None,
        };
        let calculated = (index == 10).then(|| Cell::Formula("100+1", Some(money(sale.cents))));
        if let Some(cell) = calculated {
            cells[3] = cell;
        }
        if let Some((column, cell)) = spoilt {
            cells[column] = cell;
            refused.push(("Sales".to_owned(), sheet.line(cells), columns()[column].name));
        } else {
            let number = sheet.line(cells);
            rows.push(sale.row("Sales", number));
        }
    }
    let bytes =
        Package { sheets: vec![sheet.clone()], calculation: "fullCalcOnLoad=\"1\"", ..Package::default() }.bytes();
    Messy { bytes, refused, ..one("broken_cells", sheet, rows, &[]) }
}

/// Store numbers that became numbers, whole numbers kept as floats, binary
/// noise, money as text, and a percentage.
fn number_shapes() -> Messy {
    let mut sheet = Sheet::new("Sales");
    let mut header = HEADER.to_vec();
    header.push("Mix");
    sheet.texts(&header);
    let mut rows = Vec::new();
    for (index, sale) in sales().iter().enumerate() {
        let mut cells = sale.cells();
        cells[0] = match index % 3 {
            0 => Cell::Number(sale.store.to_string()),
            1 => Cell::Number(format!("{}.0", sale.store)),
            _ => Cell::Text(sale.store.to_string()),
        };
        cells[3] = match index % 3 {
            0 => Cell::Number(format!("{:.17e}", sale.cents as f64 / 100.0)),
            1 => Cell::Text(format!("${}.{:02}", sale.cents / 100, sale.cents % 100)),
            _ => Cell::Text(format!("{},{:02}", sale.cents / 100, sale.cents % 100)),
        };
        cells[4] = Cell::Number(format!("{}.0", sale.orders));
        cells.push(Cell::Percent(format!("0.{:03}", 125 + index)));
        let number = sheet.line(cells);
        let mut row = sale.row("Sales", number);
        row.values.push(Value::Decimal(1250 + 10 * index as i64, 4));
        rows.push(row);
    }
    let mut messy = one("number_shapes", sheet, rows, &[]);
    messy.columns.push(super::truth::Column {
        name: "mix",
        header: Some("Mix"),
        column_type: "decimal(7,4)",
        date_order: None,
    });
    messy
}

/// A sheet for each store, named like it, and a hidden one that is none.
fn sheet_per_store() -> Messy {
    let (mut sheets, mut rows) = (Vec::new(), Vec::new());
    for store in [125, 719] {
        let mut sheet = Sheet::new(&format!("{store:06}"));
        sheet.texts(&HEADER[1..]);
        for sale in sales().iter().filter(|sale| sale.store == store) {
            let number = sheet.line(sale.cells()[1..].to_vec());
            rows.push(sale.row(&sheet.name, number));
        }
        sheets.push(sheet);
    }
    let mut lists = Sheet::new("Lists");
    lists.hidden = true;
    lists.texts(&["App", "Phone"]);
    sheets.push(lists);
    let mut columns = columns();
    columns[0].header = None;
    Messy {
        name: "sheet_per_store",
        bytes: Package { sheets, ..Package::default() }.bytes(),
        format: r#"{ kind = "xlsx", sheets = ["*"], sheet_as = "store_id" }"#,
        columns,
        rows,
        refused: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Two of three sheets are data, and the columns stand in another order in the second.
fn several_sheets() -> Messy {
    let all = sales();
    let mut north = Sheet::new("North");
    north.texts(&HEADER);
    let mut rows = write(&mut north, &all[..6]);
    let mut south = Sheet::new("South");
    let mut header = HEADER;
    header.reverse();
    south.texts(&header);
    for sale in &all[6..] {
        let mut cells = sale.cells();
        cells.reverse();
        let number = south.line(cells);
        rows.push(sale.row("South", number));
    }
    let mut about = Sheet::new("About");
    about.texts(&["Made by the back office."]);
    Messy {
        name: "several_sheets",
        bytes: Package { sheets: vec![about, north, south], ..Package::default() }.bytes(),
        format: r#"{ kind = "xlsx", sheets = ["North", "South"] }"#,
        columns: columns(),
        rows,
        refused: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Another table stands beside and below the one that is wanted.
fn beside(name: &'static str, format: &'static str) -> Messy {
    let mut sheet = Sheet::new("Sales");
    sheet.texts(&[]);
    let mut header = vec!["Orders", ""];
    header.extend(HEADER);
    sheet.texts(&header);
    let mut rows = Vec::new();
    for sale in &sales() {
        let mut cells = vec![Cell::Number("9999".to_owned()), Cell::Blank];
        cells.extend(sale.cells());
        let number = sheet.line(cells);
        rows.push(sale.row("Sales", number));
    }
    sheet.texts(&["", "", "Plan", "2025-11-11", "App", "1", "1"]);
    let names = vec![("sales_table", "'Sales'!$C$2:$G$14".to_owned())];
    let bytes = Package { sheets: vec![sheet], names, ..Package::default() }.bytes();
    Messy { name, bytes, format, columns: columns(), rows, refused: Vec::new(), left_out: Vec::new() }
}

fn range() -> Messy {
    beside("range", r#"{ kind = "xlsx", range = "C2:G14" }"#)
}

fn named_range() -> Messy {
    beside("named_range", r#"{ kind = "xlsx", range = "sales_table" }"#)
}

/// A sheet for each region with titles, a two-row header, merged stores, hidden
/// rows, text dates, errors, a repeated header, totals and footnotes, by 1904.
fn everything() -> Messy {
    let (mut sheets, mut rows, mut refused, mut left_out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, store) in [("North", 125), ("South", 719)] {
        let of_store: Vec<Sale> = sales().into_iter().filter(|sale| sale.store == store).collect();
        let mut sheet = Sheet::new(name);
        sheet.texts(&["", "My View"]);
        sheet.texts(&["", "Last 7 Days"]);
        sheet.texts(&[]);
        let upper = ["", "Store Number", "Business Date", "Channel", "Sales", ""];
        let lower = ["", "", "", "", "Net", "Orders"];
        sheet.texts(&upper);
        sheet.texts(&lower);
        sheet.merged = vec!["B4:B5".to_owned(), "C4:C5".to_owned(), "D4:D5".to_owned(), "E4:F4".to_owned()];
        for (index, sale) in of_store.iter().enumerate() {
            if index == 4 {
                left_out.push((name.to_owned(), sheet.texts(&upper)));
                left_out.push((name.to_owned(), sheet.texts(&lower)));
            }
            let mut cells = vec![Cell::Blank];
            cells.extend(sale.cells());
            cells[1] = if index % 2 == 0 { Cell::Number(format!("{store}.0")) } else { Cell::Blank };
            if index % 2 == 0 {
                let top = sheet.lines.len() + 1;
                sheet.merged.push(format!("B{top}:B{}", top + 1));
            }
            if index == 1 {
                cells[2] = Cell::Text(sale.on.format("%d.%m.%Y").to_string());
            }
            if index == 3 {
                cells[5] = Cell::Error("#DIV/0!");
                refused.push((name.to_owned(), sheet.line(cells), "orders"));
                continue;
            }
            let number = sheet.line(cells);
            sheet.lines[number as usize - 1].hidden = index == 5;
            rows.push(sale.row(name, number));
        }
        let mut total = vec![Cell::Blank];
        total.extend(sums(&of_store, "Total", 0));
        left_out.push((name.to_owned(), sheet.line(total)));
        sheet.texts(&[]);
        left_out.push((name.to_owned(), sheet.texts(&["", "Note: provisional."])));
        sheets.push(sheet);
    }
    let mut lists = Sheet::new("Lists");
    lists.hidden = true;
    lists.texts(&["App", "Phone"]);
    sheets.insert(0, lists);
    let mut columns = columns();
    columns[1].date_order = Some("dmy");
    columns[3].header = Some("Sales / Net");
    columns[4].header = Some("Sales / Orders");
    let package = Package { sheets, from_1904: true, calculation: "calcMode=\"manual\"", ..Package::default() };
    Messy {
        name: "everything",
        bytes: package.bytes(),
        format: r#"{ kind = "xlsx", sheets = ["*"], fill_merged = true }"#,
        columns,
        rows,
        refused,
        left_out,
    }
}
