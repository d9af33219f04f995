//! Columns that files bring along: how they changed, and which a table takes over.

use std::collections::BTreeSet;

use arrow::array::{AsArray as _, RecordBatch};

use super::definition::{Pipeline, destination_columns};
use super::error::Error;
use super::reading::format_of;
use super::runner::Engine;
use super::tables;
use crate::contracts::{Column, Contract, Drift, NewColumns, SeenColumn, looks_like, plain_name};
use crate::formats::{self, Facts, Kind, Wanted};
use crate::ids::BrandId;
use crate::sources::Fetched;
use crate::warehouse::{Load, Warehouse};

/// Names that every table has for itself, and those that views put in front.
const RESERVED: [&str; 7] = ["load_id", "file_id", "source_row", "restored_by", "superseded_by", "seq", "brand"];

/// A column that `evolve` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Learned {
    /// Its name in the table.
    pub(super) name: String,
    /// As files spell it.
    pub(super) source_name: String,
}

impl Learned {
    /// What became of it, for people.
    pub(super) fn line(&self, pipeline: &Pipeline) -> String {
        let Self { name, source_name } = self;
        if pipeline.columns.iter().any(|(column, _)| column == name) {
            let table = &pipeline.definition.destination.table;
            format!("column `{source_name}` is new, and is `{name}` of `{table}` from now on")
        } else {
            format!("column `{source_name}` is new; transform.sql can carry it on as `{name}`")
        }
    }
}

/// Gives a pipeline the columns that earlier files brought along.
pub(super) async fn recall(warehouse: &Warehouse, pipeline: &Pipeline, brand: &BrandId) -> Result<Pipeline, Error> {
    let mut pipeline = pipeline.clone();
    if pipeline.definition.contract.new_columns != NewColumns::Evolve {
        return Ok(pipeline);
    }
    let mut learned = tables::evolved_columns(warehouse, &pipeline.name, brand).await?;
    // A definition that names the column by now has the last word.
    let contract = &pipeline.definition.contract;
    learned.retain(|column| {
        !contract.columns.iter().any(|declared| {
            declared.name == column.name || declared.names().iter().any(|name| same(name, &column.source_name))
        })
    });
    if !learned.is_empty() {
        extend(&mut pipeline.definition.contract, &learned);
        pipeline.columns = columns_of(&pipeline).await?;
    }
    Ok(pipeline)
}

/// Gives a pipeline columns that a file has and nobody named.
pub(super) async fn learn(pipeline: &mut Pipeline, unknown: &[String]) -> Result<Vec<Learned>, Error> {
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let contract = &mut pipeline.definition.contract;
    let mut taken: BTreeSet<String> = RESERVED.map(str::to_owned).into();
    taken.extend(contract.columns.iter().map(|column| column.name.clone()));
    taken.extend(pipeline.columns.iter().map(|(name, _)| name.clone()));
    let mut learned: Vec<Learned> = Vec::new();
    for (at, header) in unknown.iter().enumerate() {
        if learned.iter().any(|column| same(&column.source_name, header)) {
            continue;
        }
        let name = plain_name(header, at + 1, &taken);
        taken.insert(name.clone());
        learned.push(Learned { name, source_name: header.clone() });
    }
    extend(contract, &learned);
    pipeline.columns = columns_of(pipeline).await?;
    Ok(learned)
}

/// Lets a pipeline keep what a reading of it learned.
pub(super) fn take_over(pipeline: &mut Pipeline, reading: &Pipeline, learned: &[Learned]) {
    extend(&mut pipeline.definition.contract, learned);
    pipeline.columns.clone_from(&reading.columns);
}

fn extend(contract: &mut Contract, learned: &[Learned]) {
    contract.columns.extend(learned.iter().map(|column| Column::learn(&column.name, &column.source_name)));
}

async fn columns_of(pipeline: &Pipeline) -> Result<Vec<(String, String)>, Error> {
    let name = "transform.sql".to_owned();
    let columns = destination_columns(&pipeline.definition.contract, pipeline.transform.as_deref()).await;
    let columns = columns.map_err(|source| Error::Transform { name, source })?;
    // Unknown types were found when the definition was read; a learned column is text.
    Ok(columns.unwrap_or_else(|_| pipeline.columns.clone()))
}

/// Names are compared as headers are read.
pub(super) fn same(left: &str, right: &str) -> bool {
    let folded = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    folded(left) == folded(right)
}

impl Engine {
    /// Says how a file's columns differ from those of the file before, and keeps them
    /// for the next. `None` where nothing changed.
    pub(super) async fn drift(
        &self,
        pipeline: &Pipeline,
        file: &Fetched,
        file_id: i64,
        facts: &Facts,
        before: &mut Option<Vec<SeenColumn>>,
        load: &mut Load,
    ) -> Result<Option<Drift>, Error> {
        let names = header_of(pipeline, facts);
        let unchanged = before.as_ref().is_some_and(|before| {
            before.len() == names.len() && before.iter().zip(&names).all(|(seen, name)| same(&seen.name, name))
        });
        if unchanged {
            return Ok(None);
        }
        let now = self.seen(pipeline, file, names).await?;
        tables::remember_header(load, file_id, &now).await?;
        let drift = between(pipeline, before.as_deref(), &now);
        *before = Some(now);
        Ok((!drift.is_empty()).then_some(drift))
    }

    /// The same for a file whose header was refused: what would have to be said of it.
    pub(super) async fn drift_of_refused(
        &self,
        pipeline: &Pipeline,
        file: &Fetched,
        error: &Error,
        before: Option<&[SeenColumn]>,
    ) -> Option<Drift> {
        let refused = matches!(
            error,
            Error::File {
                source: formats::Error::NoHeader { .. }
                    | formats::Error::HeaderElsewhere { .. }
                    | formats::Error::NewColumns { .. },
                ..
            }
        );
        if !refused {
            return None;
        }
        let (facts, ()) = self.look(pipeline, any_of(pipeline, &[]), file, (), |(), _| false).await.ok()?;
        let facts = facts.ok()?;
        let names = header_of(pipeline, &facts);
        let now = self.seen(pipeline, file, names).await.ok()?;
        let drift = between(pipeline, before, &now);
        (!drift.is_empty()).then_some(drift)
    }

    /// A header with the types of its columns: of known ones as the contract says, of
    /// others as their first values look.
    async fn seen(&self, pipeline: &Pipeline, file: &Fetched, names: Vec<String>) -> Result<Vec<SeenColumn>, Error> {
        let contract = &pipeline.definition.contract;
        let declared = |name: &str| {
            let declared = contract.columns.iter().filter(|column| !column.learned);
            declared.into_iter().find(|column| column.names().iter().any(|alias| same(alias, name)))
        };
        let unknown: Vec<String> = names.iter().filter(|name| declared(name).is_none()).cloned().collect();
        let offset = contract.columns.len();
        let mut looks: Vec<Option<&'static str>> = vec![None; unknown.len()];
        if !unknown.is_empty() {
            let take = move |looks: &mut Vec<Option<&'static str>>, raw: &RecordBatch| {
                for (at, look) in looks.iter_mut().enumerate() {
                    *look = looks_like(raw.column(offset + at).as_string::<i32>().iter().flatten());
                }
                false
            };
            // What cannot be read a second time has no looks; the load does not hang on them.
            (_, looks) = self.look(pipeline, any_of(pipeline, &unknown), file, looks, take).await?;
        }
        let looks_like = |name: &String| match declared(name) {
            Some(column) => Some(column.column_type.to_string()),
            None => unknown.iter().position(|other| other == name).and_then(|at| looks[at]).map(str::to_owned),
        };
        Ok(names.into_iter().map(|name| SeenColumn { looks_like: looks_like(&name), name }).collect())
    }
}

fn between(pipeline: &Pipeline, before: Option<&[SeenColumn]>, now: &[SeenColumn]) -> Drift {
    let nothing_known = before.is_none() && format_of(pipeline).kind == Kind::JsonLines;
    Drift::between(&pipeline.definition.contract, if nothing_known { Some(&[]) } else { before }, now)
}

/// The header as far as it tells something. Members of JSON objects have no order, and
/// those that the contract wants are looked for in each row.
fn header_of(pipeline: &Pipeline, facts: &Facts) -> Vec<String> {
    if format_of(pipeline).kind == Kind::JsonLines {
        let mut names = facts.ignored_columns.clone();
        names.sort();
        return names;
    }
    facts.header.clone()
}

/// The contract's columns, none of which must be there, and others besides.
pub(super) fn any_of(pipeline: &Pipeline, unknown: &[String]) -> Wanted {
    let mut wanted = Wanted { freeze: false, ..pipeline.wanted() };
    for (_, _, optional) in &mut wanted.columns {
        *optional = true;
    }
    wanted.columns.extend(unknown.iter().map(|name| (format!("unknown {name}"), vec![name.clone()], true)));
    wanted
}
