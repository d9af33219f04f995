//! The `example/` beside a definition: what comes in, what is loaded, what is refused.
//!
//! `in.csv` (or `in.jsonl`, `in.xlsx`) goes the way of a file in a run, as far as
//! no database is needed; `out.csv` and `rejected.csv` must be what comes of it.
//! A workbook may be stood in for by a CSV of the same cells. Tables that rules
//! look values up in hold nothing but the stores 000101 and 000102.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::definition::Pipeline;
use super::error::Error;
use crate::contracts::{self, Reference, Rejection, Survey};
use crate::formats::{self, Format, Kind};
use crate::ids::PipelineName;
use crate::telemetry::chain;
use crate::transforms::Transform;

/// An example is small; a workbook beyond this is none.
const LIMIT_BYTES: u64 = 16 << 20;
const STORES: [&str; 2] = ["000101", "000102"];

/// What came of an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleReport {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// How it ended.
    pub outcome: ExampleOutcome,
    /// Rows that reach the destination, and rows refused.
    pub rows_loaded: usize,
    /// Rows refused.
    pub rows_rejected: usize,
    /// Lines that differ.
    pub differences: Vec<Difference>,
    /// Why it could not be run.
    pub error: Option<String>,
}

/// How an example ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleOutcome {
    /// What came is what the folder says.
    Passed,
    /// It is something else.
    Differs,
    /// The input could not be read or reshaped.
    Failed,
    /// There is no input.
    Missing,
}

/// A line that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `out.csv` or `rejected.csv`.
    pub file: &'static str,
    /// Line from 1.
    pub line: usize,
    /// What the file says; nothing past its end.
    pub wanted: Option<String>,
    /// What came; nothing where less came.
    pub found: Option<String>,
}

/// The two files that an example's input makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) out: String,
    pub(super) rejected: String,
}

impl Made {
    fn rows(text: &str) -> usize {
        csv::Reader::from_reader(text.as_bytes()).records().count()
    }
}

/// Runs a pipeline's example and compares what comes with what the folder says.
pub async fn test_example(pipeline: &Pipeline) -> ExampleReport {
    let mut report = ExampleReport {
        pipeline: pipeline.name.clone(),
        outcome: ExampleOutcome::Missing,
        rows_loaded: 0,
        rows_rejected: 0,
        differences: Vec::new(),
        error: None,
    };
    let Some((path, format)) = input(pipeline) else { return report };
    let made = match make(pipeline, path.clone(), format).await {
        Ok(made) => made,
        Err(error) => {
            report.outcome = ExampleOutcome::Failed;
            report.error = Some(chain(&error));
            return report;
        }
    };
    report.rows_loaded = Made::rows(&made.out);
    report.rows_rejected = Made::rows(&made.rejected);
    for (file, found) in [("out.csv", &made.out), ("rejected.csv", &made.rejected)] {
        match std::fs::read_to_string(path.with_file_name(file)) {
            Ok(wanted) => report.differences.extend(differences(file, &wanted, found)),
            Err(error) => {
                report.outcome = ExampleOutcome::Failed;
                report.error = Some(format!("failed to read `{file}`: {error}"));
                return report;
            }
        }
    }
    let same = report.differences.is_empty();
    report.outcome = if same { ExampleOutcome::Passed } else { ExampleOutcome::Differs };
    report
}

/// The file that comes in, and how it is encoded.
pub(super) fn input(pipeline: &Pipeline) -> Option<(PathBuf, Format)> {
    let declared = pipeline.definition.source.format.clone();
    [("in.csv", Kind::Csv), ("in.jsonl", Kind::JsonLines), ("in.xlsx", Kind::Xlsx), ("in.xls", Kind::Xls)]
        .into_iter()
        .find_map(|(name, kind)| {
            let path = pipeline.folder.join("example").join(name);
            let blank = Format::new(kind);
            let format = match &declared {
                Some(format) if format.kind == kind => format.clone(),
                Some(format) => Format { header: format.header, ..blank },
                None => blank,
            };
            path.is_file().then_some((path, format))
        })
}

/// Reads, checks and reshapes.
pub(super) async fn make(pipeline: &Pipeline, path: PathBuf, format: Format) -> Result<Made, Error> {
    let name = path.display().to_string();
    let mut contract = pipeline.definition.contract.clone();
    let wanted = pipeline.wanted();
    let told = name.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let failed = |source| Error::File { name: told.clone(), source };
        let mut reference = Reference::default();
        reference.insert("stores", "store_id", HashSet::from(STORES.map(str::to_owned)));
        let mut batches = Vec::new();
        let file = File::open(&path).map_err(|source| failed(formats::Error::Read(source)))?;
        formats::read(&format, &wanted, LIMIT_BYTES, file, &mut |raw| {
            batches.push(raw);
            true
        })
        .map_err(failed)?;
        if batches.iter().any(|raw| contracts::undecided(&contract, raw)) {
            let mut survey = Survey::of(&contract);
            batches.iter().for_each(|raw| survey.take(raw));
            let decided = survey.decide(&contract);
            contract = decided.map_err(|columns| Error::Undecidable { name: told.clone(), columns })?.0;
        }
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for raw in &batches {
            let checked = contracts::check(&contract, raw, &reference);
            accepted.push(checked.accepted);
            rejected.extend(checked.rejected);
        }
        Ok((accepted, rejected))
    });
    let worked = reading.await.map_err(|source| Error::Worker { name: name.clone(), source })?;
    let (mut accepted, rejected) = worked?;
    if let Some(sql) = &pipeline.transform {
        let failed = |source| Error::Transform { name: name.clone(), source };
        let schema = pipeline.definition.contract.schema();
        let transform = Transform::new(sql, schema, futures::stream::iter(accepted)).await.map_err(failed)?;
        let batches = transform.run().await.map_err(failed)?;
        accepted = batches.boxed().try_collect().await.map_err(failed)?;
    }
    Ok(Made { out: loaded(pipeline, &accepted), rejected: refused(&rejected) })
}

/// The columns of the destination, as CSV.
fn loaded(pipeline: &Pipeline, batches: &[RecordBatch]) -> String {
    let names: Vec<&str> = pipeline.columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut lines = vec![names.iter().map(|name| (*name).to_owned()).collect()];
    let options = FormatOptions::default();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = names
            .iter()
            .map(|name| {
                let array = batch.column_by_name(name).expect("the destination's columns were read off this schema");
                ArrayFormatter::try_new(array.as_ref(), &options).expect("what can be stored can be shown")
            })
            .collect();
        lines.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()),
        );
    }
    csv_of(&lines)
}

fn refused(rejections: &[Rejection]) -> String {
    let mut lines = vec![["row", "column", "rule", "reason"].map(str::to_owned).to_vec()];
    lines.extend(rejections.iter().map(|rejection| {
        vec![rejection.row.to_string(), rejection.column.clone(), rejection.rule.to_owned(), rejection.reason.clone()]
    }));
    csv_of(&lines)
}

pub(super) fn csv_of(lines: &[Vec<String>]) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).expect("memory takes each line");
    }
    String::from_utf8(writer.into_inner().expect("memory takes the rest")).expect("it was made of text")
}

/// What differs, line by line.
fn differences(file: &'static str, wanted: &str, found: &str) -> Vec<Difference> {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let text = |line: Option<&&str>| line.map(|line| (*line).to_owned());
    (0..wanted.len().max(found.len()))
        .filter(|at| wanted.get(*at) != found.get(*at))
        .map(|at| Difference { file, line: at + 1, wanted: text(wanted.get(at)), found: text(found.get(at)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_differs_is_told_once() {
        let told = differences("out.csv", "a,b\n1,2\n3,4\n", "a,b\n1,5\n3,4\n6,7\n");
        let lines: Vec<String> =
            told.iter().map(|line| format!("{} {:?} {:?}", line.line, line.wanted, line.found)).collect();
        assert_eq!(lines, [r#"2 Some("1,2") Some("1,5")"#, r#"4 None Some("6,7")"#]);
        assert!(differences("out.csv", "a\n", "a\n").is_empty());
    }
}
