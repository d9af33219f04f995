//! The tables of a brand's forecasts, and their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use chrono::NaiveDate;

use super::history::DAY;
use super::shares::Shares;
use super::tables::{Earlier, Realised};
use crate::ids::BrandId;
use crate::pipelines::made::{Batch, Shape, amounts, dates, days, field, maybe, money, numbers, texts};
use crate::pipelines::tables::word;
use crate::warehouse::Table;
use forecast::dayparts::PartPoint;
use forecast::panel::{Forecast, Point, Scores};

/// The table of forecasts in each brand's schema.
pub const TABLE: &str = "forecast";
pub(super) const MODELS: &str = "forecast_models";
pub(super) const EFFECTS: &str = "forecast_effects";
pub(super) const REASONS: &str = "forecast_reasons";
pub(super) const ACCURACY: &str = "forecast_accuracy";

fn values() -> Vec<Field> {
    ["mean", "median", "lower_80", "upper_80", "lower_95", "upper_95"].map(money).to_vec()
}

fn shapes() -> [Shape; 5] {
    use DataType::{Boolean, Date32, Float64, Int64, Utf8};
    let of_series = || vec![field("store_id", Utf8), field("series", Utf8)];
    let of_day = || {
        [of_series(), vec![field("business_date", Date32), field("daypart", Utf8), field("lead_days", Int64)]].concat()
    };
    [
        Shape {
            name: TABLE,
            fields: [of_day(), values(), vec![field("model", Utf8), field("made_on", Date32)]].concat(),
            key: &["store_id", "series", "business_date", "daypart"],
            partition_by: Some("business_date"),
            indexes: &[&["business_date", "store_id"]],
        },
        Shape {
            name: MODELS,
            fields: [
                of_series(),
                vec![
                    field("status", Utf8),
                    maybe("model", Utf8),
                    field("reason", Utf8),
                    maybe("fallback_reason", Utf8),
                    field("flags", Utf8),
                    field("observed_days", Int64),
                    field("missing_days", Int64),
                    field("tested_days", Int64),
                    maybe("mase", Float64),
                    maybe("wape", Float64),
                    maybe("bias", Float64),
                    maybe("coverage_80", Float64),
                    maybe("coverage_95", Float64),
                    maybe("champion", Utf8),
                    maybe("chosen_on", Date32),
                    field("made_on", Date32),
                    maybe("correlation", Float64),
                ],
            ]
            .concat(),
            key: &["store_id", "series"],
            partition_by: None,
            indexes: &[],
        },
        Shape {
            name: EFFECTS,
            fields: [
                of_series(),
                vec![
                    field("effect", Utf8),
                    field("estimate", Float64),
                    field("deviation", Float64),
                    maybe("pooled", Float64),
                    field("seen_days", Int64),
                ],
            ]
            .concat(),
            key: &["store_id", "series", "effect"],
            partition_by: None,
            indexes: &[],
        },
        Shape {
            name: REASONS,
            fields: [
                of_series(),
                vec![
                    field("business_date", Date32),
                    field("part", Utf8),
                    field("amount", Float64),
                    field("multiplies", Boolean),
                    field("clipped", Boolean),
                    field("closed", Boolean),
                ],
            ]
            .concat(),
            key: &["store_id", "series", "business_date", "part"],
            partition_by: None,
            indexes: &[],
        },
        Shape {
            name: ACCURACY,
            fields: [of_day(), values(), vec![money("actual")]].concat(),
            key: &["store_id", "series", "business_date", "daypart", "lead_days"],
            partition_by: Some("business_date"),
            indexes: &[&["business_date", "store_id"]],
        },
    ]
}

/// The tables of a brand's forecasts; the forecast itself comes first.
pub fn forecast_tables(brand: &BrandId) -> [Table; 5] {
    shapes().map(|shape| shape.table(brand))
}

/// Whether a table is one of those: runs of the forecast make its rows, of no file.
pub(in crate::pipelines) fn is_of_forecasts(table: &str) -> bool {
    [TABLE, MODELS, EFFECTS, REASONS, ACCURACY].contains(&table)
}

/// What a run has to say of a series.
pub(super) struct Said<'a> {
    pub(super) made: &'a [Forecast],
    /// The mean correlation of two stores' errors on one day.
    pub(super) correlation: Option<f64>,
    pub(super) shares: Option<&'a Shares>,
    pub(super) earlier: &'a BTreeMap<String, Earlier>,
    pub(super) realised: &'a [Realised],
}

/// What a run made of a series, laid out for the tables. The forecast comes last.
pub(super) fn batches(brand: &BrandId, series: &str, said: &Said<'_>, made_on: NaiveDate) -> Vec<Batch> {
    let [forecast, models, effects, reasons, accuracy] = shapes();
    let rows = [
        (&accuracy, accuracy_rows(series, said.realised)),
        (&models, model_rows(series, said, made_on)),
        (&effects, effect_rows(series, said.made)),
        (&reasons, reason_rows(series, said.made)),
        (&forecast, forecast_rows(series, said.made, said.shares, made_on)),
    ];
    rows.into_iter().map(|(shape, columns)| shape.batch(brand, columns)).collect()
}

fn forecast_rows(series: &str, made: &[Forecast], shares: Option<&Shares>, made_on: NaiveDate) -> Vec<ArrayRef> {
    let mut rows: Vec<(&Forecast, &Point, String, PartPoint)> = Vec::new();
    for one in made {
        for point in &one.points {
            let day = PartPoint {
                mean: point.mean,
                median: point.median,
                interval_80: point.interval_80,
                interval_95: point.interval_95,
            };
            rows.push((one, point, DAY.to_owned(), day));
            let parts = shares.map_or_else(Vec::new, |shares| shares.split(&one.id, point));
            rows.extend(parts.into_iter().map(|(name, part)| (one, point, name, part)));
        }
    }
    let mut columns = vec![
        texts(rows.iter().map(|(one, ..)| one.id.as_str())),
        texts(rows.iter().map(|_| series)),
        dates(rows.iter().map(|(_, point, ..)| point.date)),
        texts(rows.iter().map(|(_, _, name, _)| name.as_str())),
        // By the day this is the point's lead.
        numbers(rows.iter().map(|(_, point, ..)| (point.date - made_on).num_days().unsigned_abs() as usize)),
    ];
    let part = |value: fn(&PartPoint) -> f64| amounts(rows.iter().map(move |(.., part)| value(part)));
    columns.extend([
        part(|part| part.mean),
        part(|part| part.median),
        part(|part| part.interval_80.0),
        part(|part| part.interval_80.1),
        part(|part| part.interval_95.0),
        part(|part| part.interval_95.1),
    ]);
    columns.push(texts(rows.iter().map(|(one, ..)| one.model.map_or("", |model| model.name()))));
    columns.push(dates(rows.iter().map(|_| made_on)));
    columns
}

fn model_rows(series: &str, said: &Said<'_>, made_on: NaiveDate) -> Vec<ArrayRef> {
    let (made, earlier) = (said.made, said.earlier);
    // Where no competition was held, the scores of the last one still stand.
    let scores: Vec<Scores> = made
        .iter()
        .map(|one| one.backtest.or_else(|| earlier.get(&one.id).map(|earlier| earlier.scores)).unwrap_or_default())
        .collect();
    let score =
        |value: fn(&Scores) -> Option<f64>| -> ArrayRef { Arc::new(Float64Array::from_iter(scores.iter().map(value))) };
    let flags: Vec<String> = made.iter().map(|one| one.flags.iter().map(word).collect::<Vec<_>>().join(" ")).collect();
    let champions: Vec<Option<String>> = made
        .iter()
        .map(|one| one.champion.as_ref().and_then(|champion| serde_json::to_string(champion).ok()))
        .collect();
    let chosen_on = made.iter().map(|one| one.champion.as_ref().map(|champion| days(champion.chosen_on)));
    vec![
        texts(made.iter().map(|one| one.id.as_str())),
        texts(made.iter().map(|_| series)),
        texts(made.iter().map(|one| word(one.status)).collect::<Vec<_>>().iter().map(String::as_str)),
        Arc::new(StringArray::from_iter(made.iter().map(|one| one.model.map(|model| model.name())))),
        texts(made.iter().map(|one| one.reason.as_str())),
        Arc::new(StringArray::from_iter(made.iter().map(|one| one.fallback_reason.as_deref()))),
        texts(flags.iter().map(String::as_str)),
        numbers(made.iter().map(|one| one.observed)),
        numbers(made.iter().map(|one| one.missing)),
        numbers(scores.iter().map(|scores| scores.days)),
        score(|scores| scores.mase),
        score(|scores| scores.wape),
        score(|scores| scores.bias),
        score(|scores| scores.coverage_80),
        score(|scores| scores.coverage_95),
        Arc::new(StringArray::from_iter(champions)),
        Arc::new(Date32Array::from_iter(chosen_on)),
        dates(made.iter().map(|_| made_on)),
        Arc::new(Float64Array::from_iter(made.iter().map(|_| said.correlation))),
    ]
}

fn effect_rows(series: &str, made: &[Forecast]) -> Vec<ArrayRef> {
    let rows: Vec<_> = made.iter().flat_map(|one| one.effects.iter().map(move |effect| (one, effect))).collect();
    vec![
        texts(rows.iter().map(|(one, _)| one.id.as_str())),
        texts(rows.iter().map(|_| series)),
        texts(rows.iter().map(|(_, effect)| effect.effect.as_str())),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, effect)| effect.estimate))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, effect)| effect.deviation))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|(_, effect)| effect.pooled))),
        numbers(rows.iter().map(|(_, effect)| effect.seen)),
    ]
}

fn reason_rows(series: &str, made: &[Forecast]) -> Vec<ArrayRef> {
    let mut rows: Vec<(&Forecast, &Point, String, f64)> = Vec::new();
    for one in made {
        for point in &one.points {
            rows.push((one, point, "level".to_owned(), point.because.level));
            rows.extend(point.because.parts.iter().map(|(part, amount)| (one, point, word(part), *amount)));
        }
    }
    let flag = |value: fn(&Point) -> bool| -> ArrayRef {
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(_, point, ..)| Some(value(point)))))
    };
    vec![
        texts(rows.iter().map(|(one, ..)| one.id.as_str())),
        texts(rows.iter().map(|_| series)),
        dates(rows.iter().map(|(_, point, ..)| point.date)),
        texts(rows.iter().map(|(_, _, part, _)| part.as_str())),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., amount)| *amount))),
        flag(|point| point.because.multiplies),
        flag(|point| point.clipped),
        flag(|point| point.closed),
    ]
}

fn accuracy_rows(series: &str, rows: &[Realised]) -> Vec<ArrayRef> {
    let mut columns = vec![
        texts(rows.iter().map(|row| row.store_id.as_str())),
        texts(rows.iter().map(|_| series)),
        dates(rows.iter().map(|row| row.date)),
        texts(rows.iter().map(|row| row.daypart.as_str())),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.lead_days))) as ArrayRef,
    ];
    columns.extend((0..7).map(|at| amounts(rows.iter().map(move |row| row.values[at]))));
    columns
}
