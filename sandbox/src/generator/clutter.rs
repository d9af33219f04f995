//! Files that lie in the folder and are none of the program's business.

use chrono::{DateTime, NaiveDate, Utc};
use rust_xlsxwriter::XlsxError;

use super::brand::Brand;
use super::calendar::{before, days};
use super::money::{noisy, whole};
use super::random::Stream;
use super::workbook::{Cell, Sheet, write_sheets};

/// The lock file Excel leaves beside an open workbook: the name of who has it
/// open, in one-byte and in two-byte letters, padded to 165 bytes.
pub(super) fn owner_file(owner: &str) -> Vec<u8> {
    let mut content = Vec::with_capacity(165);
    content.push(owner.len() as u8);
    content.extend(owner.bytes());
    content.resize(55, b' ');
    content.extend((owner.encode_utf16().count() as u16).to_le_bytes());
    for unit in owner.encode_utf16() {
        content.extend(unit.to_le_bytes());
    }
    while content.len() < 165 {
        content.push(if content.len() % 2 == 1 { b' ' } else { 0 });
    }
    content
}

/// A small workbook of offers: store numbers are text without zeros here, and
/// many cells are empty.
pub(super) fn offers(
    seed: u64,
    brand: &Brand,
    today: NaiveDate,
    created_at: DateTime<Utc>,
) -> Result<Vec<u8>, XlsxError> {
    let header = [
        "Calendar Date",
        "Store Number",
        "Parent Offer Code",
        "Offer Code",
        "Offer POS Description",
        "Redeemed Count",
        "Discount USD",
        "Gross Margin USD",
        "Order Mix %",
        "Sales Mix %",
        "Net Sales USD",
        "Order Count",
        "Target Food Cost USD",
    ];
    let mut rows =
        vec![vec!["My View".into()], vec!["Last 7 Days".into()], Vec::new(), header.map(Cell::from).to_vec()];
    let mut stream = Stream::on(seed, &["offers", &brand.id], today);
    for date in days(before(today, 7), today) {
        for store in &brand.stores {
            let (parent, code, description) = *stream.pick(&OFFERS);
            let redeemed = 1 + stream.below(40);
            let net = i64::from(redeemed) * whole(stream.between(900.0, 2600.0));
            let money = |cents: f64| Cell::Number(noisy(whole(cents), rows.len()));
            let discount = if stream.chance(0.3) { Cell::Empty } else { money(net as f64 * 0.2) };
            let row = vec![
                Cell::Text(date.format("%m/%d/%y").to_string()),
                store.number.trim_start_matches('0').into(),
                parent.into(),
                code.into(),
                description.into(),
                redeemed.into(),
                discount,
                money(net as f64 * 0.61),
                Cell::Number(f64::from(redeemed) / 160.0),
                Cell::Number(net as f64 / 400_000.0),
                money(net as f64),
                redeemed.into(),
                money(net as f64 * 0.27),
            ];
            rows.push(row);
        }
    }
    let sheet = Sheet { name: "Offers", hidden: false, rows };
    write_sheets(&[sheet], created_at)
}

const OFFERS: [(&str, &str, &str); 5] = [
    ("VALUE", "V2FOR6", "2 for $6 each"),
    ("VALUE", "V1FOR8", "Carryout special 7.99"),
    ("LOYALTY", "LFREE", "Free item, 60 points"),
    ("LOCAL", "L50", "50% off \"grand re-opening\""),
    ("CREW", "C25", "Crew meal -25%"),
];
