//! The rows that the messy workbooks are about.

use chrono::{Days, NaiveDate};

use super::package::{Cell, Sheet};
use super::truth::{Column, Row, Value};

/// Sales of one store, day and channel.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    pub(super) store: u32,
    pub(super) on: NaiveDate,
    pub(super) channel: &'static str,
    pub(super) cents: i64,
    pub(super) orders: i64,
}

pub(super) const HEADER: [&str; 5] = ["Store Number", "Business Date", "Channel", "Net Sales", "Orders"];

/// Sales of two stores over three days and two channels. The days reach past
/// the twelfth, so that the order of a text date's parts can be told.
pub(super) fn sales() -> Vec<Sale> {
    let first = NaiveDate::from_ymd_opt(2025, 11, 11).expect("a date of the calendar");
    let mut sales = Vec::new();
    for store in [125, 719] {
        for day in 0..3_u32 {
            for (number, channel) in (1_u32..).zip(["App", "Phone"]) {
                let step = i64::from(store * 7 + day * 31 + number * 13);
                sales.push(Sale {
                    store,
                    on: first + Days::new(u64::from(day)),
                    channel,
                    cents: 10_000 + step * 37 % 9_973,
                    orders: 5 + step % 11,
                });
            }
        }
    }
    sales
}

impl Sale {
    /// The row as a tidy export writes it.
    pub(super) fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Text(format!("{:06}", self.store)),
            Cell::Date(self.on),
            Cell::from(self.channel),
            Cell::Number(money(self.cents)),
            Cell::Number(self.orders.to_string()),
        ]
    }

    /// The truth of it.
    pub(super) fn row(&self, sheet: &str, number: u32) -> Row {
        Row {
            sheet: sheet.to_owned(),
            number,
            values: vec![
                Value::Text(format!("{:06}", self.store)),
                Value::Date(self.on),
                Value::Text(self.channel.to_owned()),
                Value::Decimal(self.cents, 2),
                Value::Integer(self.orders),
            ],
        }
    }
}

/// The columns of [`HEADER`].
pub(super) fn columns() -> Vec<Column> {
    let column = |name, header, column_type| Column { name, header: Some(header), column_type, date_order: None };
    vec![
        column("store_id", HEADER[0], "store_id"),
        column("sold_on", HEADER[1], "date"),
        column("channel", HEADER[2], "text"),
        column("net_sales", HEADER[3], "decimal(12,2)"),
        column("orders", HEADER[4], "integer"),
    ]
}

/// Cents as a spreadsheet keeps them.
pub(super) fn money(cents: i64) -> String {
    (cents as f64 / 100.0).to_string()
}

/// The sums of sales, as cells below their columns; `label` stands at `at`.
pub(super) fn sums(sales: &[Sale], label: &str, at: usize) -> Vec<Cell> {
    let mut cells = vec![Cell::Blank, Cell::Blank, Cell::Blank];
    cells[at] = Cell::from(label);
    cells.push(Cell::Number(money(sales.iter().map(|sale| sale.cents).sum())));
    cells.push(Cell::Number(sales.iter().map(|sale| sale.orders).sum::<i64>().to_string()));
    cells
}

/// Writes sales below a header that stands already; answers with their truth.
pub(super) fn write(sheet: &mut Sheet, sales: &[Sale]) -> Vec<Row> {
    sales
        .iter()
        .map(|sale| {
            let number = sheet.line(sale.cells());
            sale.row(&sheet.name, number)
        })
        .collect()
}
