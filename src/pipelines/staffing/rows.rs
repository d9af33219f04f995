//! The tables of a brand's hours, and their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::DataType;
use chrono::NaiveDate;

use super::curves::StoreCurve;
use super::plan::Planned;
use crate::ids::BrandId;
use crate::pipelines::forecasting::DAY;
use crate::pipelines::made::{Batch, Shape, amounts, dates, field, money, numbers, texts};
use crate::pipelines::tables::word;
use crate::warehouse::Table;

/// The table of hours in each brand's schema.
pub(super) const HOURS: &str = "staffing";
const CURVES: &str = "staffing_curves";

fn shapes() -> [Shape; 2] {
    use DataType::{Date32, Float64, Int64, Utf8};
    let hours = [
        "demand",
        "staffed_demand",
        "open_hours",
        "fixed_hours",
        "required_hours",
        "lower_hours",
        "upper_hours",
        "crew_hours",
    ];
    let of_day = ["store_id", "series"].map(|name| field(name, Utf8)).into_iter().chain([
        field("business_date", Date32),
        field("daypart", Utf8),
        field("lead_days", Int64),
    ]);
    [
        Shape {
            name: HOURS,
            fields: of_day.chain(hours.map(money)).chain([field("heads", Int64), field("made_on", Date32)]).collect(),
            key: &["store_id", "series", "business_date", "daypart"],
            partition_by: Some("business_date"),
            indexes: &[&["business_date", "store_id"]],
        },
        Shape {
            name: CURVES,
            fields: vec![
                field("store_id", Utf8),
                field("series", Utf8),
                field("knot", Int64),
                field("demand_per_hour", Float64),
                field("per_labor_hour", Float64),
                field("origin", Utf8),
                field("own_dayparts", Int64),
                field("pool_dayparts", Int64),
                field("made_on", Date32),
            ],
            key: &["store_id", "series", "knot"],
            partition_by: None,
            indexes: &[],
        },
    ]
}

/// The tables of a brand's hours; the hours themselves come first.
pub fn staffing_tables(brand: &BrandId) -> [Table; 2] {
    shapes().map(|shape| shape.table(brand))
}

/// Whether a table is one of those: runs make its rows, of no file.
pub(in crate::pipelines) fn is_of_staffing(table: &str) -> bool {
    [HOURS, CURVES].contains(&table)
}

/// What a run made, laid out for the tables. The hours come last. Each day has a row for the whole day.
pub(super) fn batches(
    brand: &BrandId,
    series: &str,
    planned: &[Vec<Planned>],
    curves: &BTreeMap<String, StoreCurve>,
    made_on: NaiveDate,
) -> Vec<Batch> {
    let [hours, of_curves] = shapes();
    let rows: Vec<Planned> = planned.iter().flat_map(|day| whole(day).into_iter().chain(day.iter().cloned())).collect();
    vec![
        of_curves.batch(brand, curve_rows(series, curves, made_on)),
        hours.batch(brand, hour_rows(series, &rows, made_on)),
    ]
}

/// A day, all its parts together. The bounds are sums: the parts of a day rise and fall together.
fn whole(day: &[Planned]) -> Option<Planned> {
    let first = day.first()?;
    let sum = |value: fn(&Planned) -> f64| day.iter().map(value).sum::<f64>();
    Some(Planned {
        store_id: first.store_id.clone(),
        date: first.date,
        daypart: DAY.to_owned(),
        demand: sum(|part| part.demand),
        staffed_demand: sum(|part| part.staffed_demand),
        open_hours: sum(|part| part.open_hours),
        fixed_hours: sum(|part| part.fixed_hours),
        required_hours: sum(|part| part.required_hours),
        lower_hours: sum(|part| part.lower_hours),
        upper_hours: sum(|part| part.upper_hours),
        crew_hours: sum(|part| part.crew_hours),
        heads: day.iter().map(|part| part.heads).max().unwrap_or_default(),
    })
}

fn hour_rows(series: &str, rows: &[Planned], made_on: NaiveDate) -> Vec<ArrayRef> {
    let lead = |row: &Planned| usize::try_from((row.date - made_on).num_days()).unwrap_or_default();
    let values: [fn(&Planned) -> f64; 8] = [
        |row| row.demand,
        |row| row.staffed_demand,
        |row| row.open_hours,
        |row| row.fixed_hours,
        |row| row.required_hours,
        |row| row.lower_hours,
        |row| row.upper_hours,
        |row| row.crew_hours,
    ];
    let mut columns = vec![
        texts(rows.iter().map(|row| row.store_id.as_str())),
        texts(rows.iter().map(|_| series)),
        dates(rows.iter().map(|row| row.date)),
        texts(rows.iter().map(|row| row.daypart.as_str())),
        numbers(rows.iter().map(lead)),
    ];
    columns.extend(values.map(|value| amounts(rows.iter().map(value))));
    columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.heads))));
    columns.push(dates(rows.iter().map(|_| made_on)));
    columns
}

fn curve_rows(series: &str, curves: &BTreeMap<String, StoreCurve>, made_on: NaiveDate) -> Vec<ArrayRef> {
    let rows: Vec<(&String, &StoreCurve, usize, (f64, f64))> = curves
        .iter()
        .flat_map(|(store, of)| of.curve.knots().iter().enumerate().map(move |(at, knot)| (store, of, at + 1, *knot)))
        .collect();
    let origins: Vec<String> = rows.iter().map(|(_, of, ..)| word(of.origin)).collect();
    vec![
        texts(rows.iter().map(|(store, ..)| store.as_str())),
        texts(rows.iter().map(|_| series)),
        numbers(rows.iter().map(|(_, _, at, _)| *at)),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., knot)| knot.0))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., knot)| knot.1))),
        texts(origins.iter().map(String::as_str)),
        numbers(rows.iter().map(|(_, of, ..)| of.own_dayparts)),
        numbers(rows.iter().map(|(_, of, ..)| of.pool_dayparts)),
        dates(rows.iter().map(|_| made_on)),
    ]
}
