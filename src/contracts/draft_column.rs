//! Decides what a column is, and says why.

use std::collections::BTreeSet;

use super::contract::{ColumnType, DateOrder, DecimalMark};
use super::draft::{ORDERS, Observation, Observed};
use super::draft_name::{names_a_key, names_a_person, names_a_store, names_digits, plain};
use crate::words::counted;

/// Digits that a number may grow by.
const ROOM: usize = 4;
const LONGEST_NUMBER: usize = 38;

/// A column as it is proposed.
#[derive(Debug, Clone)]
pub struct DraftColumn {
    /// Its name from here on.
    pub name: String,
    /// What the file calls it.
    pub from: String,
    /// What its values are.
    pub column_type: ColumnType,
    /// How its dates are written, where that must be said.
    pub date_order: Option<DateOrder>,
    /// The sign before the fraction, where that must be said.
    pub decimal_mark: Option<DecimalMark>,
    /// Why it may hold personal data, where it may.
    pub personal: Option<String>,
    /// Why this type.
    pub why: String,
    /// What somebody should look at.
    pub remarks: Vec<String>,
    /// Whether each row has a value.
    pub complete: bool,
    /// Rows that the contract will refuse: broken formulas.
    pub refused: u64,
}

/// Proposes columns for what was observed. No remark shows a value of a column
/// that may be personal.
pub fn propose(observed: &Observed) -> Vec<DraftColumn> {
    let mut made = BTreeSet::new();
    let mut columns: Vec<DraftColumn> = Vec::new();
    for observation in &observed.columns {
        let name = plain(&observation.name, &made);
        made.insert(name.clone());
        columns.push(decide(observation, name));
    }
    // Row policies look for a column of this very name.
    let stores: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].column_type == ColumnType::StoreId).collect();
    if let [only] = stores[..]
        && !made.contains("store_id")
    {
        columns[only].name = "store_id".to_owned();
        columns[only]
            .remarks
            .push("called `store_id`, so that the walls between stores hold for this table".to_owned());
    }
    columns
}

/// The type, the order of dates, and why.
type Decision = (ColumnType, Option<DateOrder>, String);

fn decide(seen: &Observation, name: String) -> DraftColumn {
    let mut remarks = Vec::new();
    let personal = suspicion(seen, &name);
    let (column_type, date_order, why) = if seen.filled == seen.broken_formulas {
        (ColumnType::Text, None, "no row has a value: the type is a guess".to_owned())
    } else {
        number_like(seen, &name, &mut remarks)
            .or_else(|| moment_like(seen, &mut remarks))
            .unwrap_or_else(|| (ColumnType::Text, None, "not all values are of one other type".to_owned()))
    };
    let mut column = DraftColumn {
        name,
        from: seen.name.clone(),
        column_type,
        date_order,
        decimal_mark: None,
        personal,
        why,
        remarks,
        complete: seen.empty == 0 && seen.broken_formulas == 0,
        refused: seen.broken_formulas,
    };
    let numbers = &seen.numbers;
    if matches!(column.column_type, ColumnType::Integer | ColumnType::Decimal { .. })
        && numbers.decimal_commas + numbers.lone_commas + numbers.grouped > 0
    {
        column.decimal_mark = numbers.mark();
    }
    suspicious(seen, &mut column);
    column
}

fn suspicion(seen: &Observation, name: &str) -> Option<String> {
    let most = |count: u64| seen.filled > 0 && count * 10 >= seen.filled * 6;
    if let Some(reason) = names_a_person(name) {
        return Some(reason.to_owned());
    }
    // Alone it may say by whom, or from when.
    let times = [seen.fits.date, seen.fits.timestamp].concat();
    if name == "von" && !seen.fits.number && !seen.fits.time && !times.contains(&true) {
        return Some("its name says by whom".to_owned());
    }
    if most(seen.mails) {
        return Some("most values look like mail addresses".to_owned());
    }
    if most(seen.phones) {
        return Some("most values look like telephone numbers".to_owned());
    }
    let thing = ["product", "item", "store", "brand", "city", "state", "market", "region", "category", "menu"];
    let of_a_thing = name.split('_').any(|word| thing.contains(&word));
    let called_so = name.split('_').any(|word| word == "name");
    (called_so && !of_a_thing && most(seen.person_names)).then(|| "its values look like people's names".to_owned())
}

fn number_like(seen: &Observation, name: &str, remarks: &mut Vec<String>) -> Option<Decision> {
    let (fits, numbers) = (&seen.fits, &seen.numbers);
    let decision = |column_type, why: String| Some((column_type, None, why));
    if fits.boolean && !seen.only_digits_of_flags {
        return decision(ColumnType::Boolean, "every value says yes or no".to_owned());
    }
    if fits.store && names_a_store(name) {
        let zeros = if numbers.leading_zeros > 0 { ", with zeros in front" } else { "" };
        remarks.push("once `stores` is loaded: rules = [{ kind = \"known_store\" }]".to_owned());
        return decision(ColumnType::StoreId, format!("its name says store, its values are numbers{zeros}"));
    }
    if !fits.number {
        return None;
    }
    if numbers.leading_zeros > 0 {
        return decision(
            ColumnType::Text,
            format!("{} numbers have zeros in front, which a number would lose", numbers.leading_zeros),
        );
    }
    if numbers.plus > 0 || names_digits(name) {
        return decision(ColumnType::Text, "digits that are no quantity".to_owned());
    }
    if !numbers.unambiguous() {
        remarks.push(
            "its numbers use comma and point so that they contradict each other or leave it open: when you know, set \
             decimal and decimal_mark"
                .to_owned(),
        );
        return decision(ColumnType::Text, "its numbers can be read in two ways".to_owned());
    }
    if numbers.lone_commas > 0 && numbers.decimal_commas == 0 {
        remarks.push(format!(
            "{} written as `1,234` and read as thousands",
            counted(numbers.lone_commas, "value is", "values are")
        ));
    }
    if numbers.exponents > 0 && numbers.whole > 10 {
        remarks.push(
            "long numbers with an exponent: a spreadsheet may have spoiled them before they came here".to_owned(),
        );
    }
    if fits.integer && numbers.fractions == 0 {
        if numbers.whole > 15 {
            remarks.push("more than 15 digits: a spreadsheet cannot hold them exactly".to_owned());
        }
        return decision(ColumnType::Integer, "every value is a whole number".to_owned());
    }
    let behind = numbers.digits_behind();
    // Exports drop zeros at the end: what came as `99.1` may come as `99.15`, and must not be rounded then.
    let kept = behind.max(2);
    let scale = usize::from(kept.unsigned_abs());
    let precision = (numbers.whole.max(1) + scale + ROOM).max(12);
    if numbers.whole.max(1) + scale > LONGEST_NUMBER {
        return decision(ColumnType::Text, "its numbers have more digits than a decimal holds".to_owned());
    }
    if numbers.noisy > 0 {
        remarks.push(format!(
            "{} rounded back to what was meant",
            counted(numbers.noisy, "value carries a float's noise and is", "values carry a float's noise and are")
        ));
    }
    if numbers.lone_points > 0 && numbers.lone_points == numbers.fractions {
        remarks.push("each fraction has three digits: look whether the point groups thousands".to_owned());
    }
    let column_type = ColumnType::Decimal { precision: precision.min(LONGEST_NUMBER) as u8, scale: kept };
    let why = format!(
        "every value is a number, of at most {} digits before the point and {behind} behind",
        numbers.whole.max(1)
    );
    decision(column_type, why)
}

fn moment_like(seen: &Observation, remarks: &mut Vec<String>) -> Option<Decision> {
    let fits = &seen.fits;
    if fits.time {
        if seen.late_hours == 0 {
            return Some((ColumnType::Time, None, "every value is a time of day".to_owned()));
        }
        if fits.duration {
            let why =
                format!("{} no time of day: a length of time", counted(seen.late_hours, "value is", "values are"));
            return Some((ColumnType::Duration, None, why));
        }
        remarks.push("as `time`, hours from 24 on would wrap into the next day".to_owned());
        return Some((
            ColumnType::Text,
            None,
            format!("{} 24 hours or more", counted(seen.late_hours, "value has", "values have")),
        ));
    }
    for (column_type, fitting) in [(ColumnType::Date, fits.date), (ColumnType::Timestamp, fits.timestamp)] {
        let what = if column_type == ColumnType::Date { "a date" } else { "a moment" };
        match fitting {
            [true, ..] => {
                if column_type == ColumnType::Timestamp {
                    remarks.push("moments without an offset are read as UTC".to_owned());
                }
                return Some((column_type, None, format!("every value is {what}, year first")));
            }
            [_, true, true] => {
                remarks.push(format!(
                    "ambiguous: `mdy` and `dmy` both fit every value; when you know which, set type = \"{column_type}\" and date_order"
                ));
                return Some((ColumnType::Text, None, "dates are never guessed".to_owned()));
            }
            [_, month_first, day_first] if month_first || day_first => {
                let (order, other) = if month_first { (ORDERS[1], "dmy") } else { (ORDERS[2], "mdy") };
                let why = format!("every value is {what} in this order; as `{other}` some would not exist");
                return Some((column_type, order, why));
            }
            _ => {}
        }
    }
    None
}

fn suspicious(seen: &Observation, column: &mut DraftColumn) {
    let remarks = &mut column.remarks;
    let rows = seen.filled + seen.empty;
    for (word, count) in seen.empty_words.iter().take(5) {
        remarks.push(format!("`{word}` stands {} and is read as empty", counted(*count, "time", "times")));
    }
    if seen.broken_formulas > 0 {
        remarks.push(format!(
            "{} to quarantine",
            counted(
                seen.broken_formulas,
                "value is a broken formula: its row goes",
                "values are broken formulas: their rows go"
            )
        ));
    }
    if seen.filled == 0 {
        remarks.push("all rows are empty here".to_owned());
        return;
    }
    let distinct = seen.distinct();
    match (distinct, &column.personal, &seen.first) {
        (Some(1), None, Some(value)) if rows > 1 && seen.longest <= 40 => {
            let value = value.replace(|c: char| c.is_control(), " ");
            remarks.push(format!("constant: each of {} values is `{value}`", seen.filled));
        }
        (Some(1), ..) if rows > 1 => remarks.push(format!("constant: all {} values are the same", seen.filled)),
        (Some(distinct), ..) if (distinct as u64) < seen.filled && distinct as u64 * 100 >= seen.filled * 98 => {
            remarks.push(format!("nearly unique: {distinct} distinct values in {} rows", seen.filled));
        }
        _ => {}
    }
    let (numbers, dates) = (seen.numbers.count, seen.dates);
    let mixed = |count: u64| count < seen.filled && count * 10 >= seen.filled;
    if column.column_type == ColumnType::Text && (mixed(numbers) || mixed(dates)) {
        let rows: Vec<String> = seen.odd_rows.iter().map(i64::to_string).collect();
        let rows = if rows.is_empty() { String::new() } else { format!("; neither: e.g. rows {}", rows.join(", ")) };
        remarks.push(format!("mixed: of {} values {numbers} are numbers and {dates} dates{rows}", seen.filled));
    } else if column.column_type == ColumnType::Text && numbers == seen.filled {
        remarks.push("numbers, kept as text".to_owned());
    }
    let speaks_of_days = column.name.split('_').any(|word| matches!(word, "date" | "day" | "datum" | "on"));
    if speaks_of_days && column.column_type == ColumnType::Integer && seen.numbers.whole == 5 {
        remarks.push(
            "may be dates without a date's format, as a spreadsheet counts days: format the column as a date"
                .to_owned(),
        );
    }
}

/// Whether a column may be part of a key, and how gladly: smaller is better.
pub(super) fn key_rank(seen: &Observation, column: &DraftColumn, at: usize) -> Option<usize> {
    if !column.complete || column.personal.is_some() || seen.distinct() == Some(1) && seen.filled > 1 {
        return None;
    }
    let named = names_a_key(&column.name);
    let long = seen.longest > 120 || seen.characters > seen.filled * 40;
    let base = match column.column_type {
        ColumnType::StoreId => 0,
        ColumnType::Integer if named || at == 0 => 0,
        ColumnType::Text if !long && (named || at == 0) => 0,
        ColumnType::Date => 1,
        ColumnType::Timestamp | ColumnType::Time => 3,
        ColumnType::Text if !long => 2,
        ColumnType::Integer
            if ["year", "month", "week", "day", "hour", "line"]
                .iter()
                .any(|word| column.name.split('_').any(|part| part == *word)) =>
        {
            2
        }
        _ => return None,
    };
    Some(base * 1000 + at)
}
