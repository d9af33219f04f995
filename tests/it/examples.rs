//! The `example/` beside a definition: what comes in, what is loaded, what is refused.
//!
//! `in.csv` (or `in.jsonl`, `in.xlsx`) goes the way of a file in a run, as far as
//! no database is needed; `out.csv` and `rejected.csv` must be what comes of it.
//! A workbook is stood in for by a CSV of the same cells. Tables that rules look
//! values up in hold nothing but the stores 000101 and 000102.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use storekeeper::contracts::{self, Reference, Rejection};
use storekeeper::formats::{self, Format, Kind};
use storekeeper::pipelines::{Pipeline, read_all};
use storekeeper::transforms::Transform;

const LIMIT_BYTES: u64 = 1 << 20;

/// The folders that hold `pipelines/`: the shipped one, and those for real input.
fn definitions() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root.join("examples"))
        .expect("examples/")
        .map(|entry| entry.expect("its entry").path())
        .filter(|folder| folder.join("pipelines").is_dir())
        .collect();
    folders.sort();
    folders.insert(0, root);
    folders
}

async fn pipelines(definitions: &Path) -> Vec<Pipeline> {
    match read_all(definitions).await {
        Ok(pipelines) => pipelines,
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}: {}", definitions.display(), lines.join("\n"));
        }
    }
}

/// The file that comes in, and how it is encoded.
fn input(pipeline: &Pipeline) -> Option<(PathBuf, Format)> {
    let declared = pipeline.definition.source.format.clone();
    [("in.csv", Kind::Csv), ("in.jsonl", Kind::JsonLines), ("in.xlsx", Kind::Xlsx)].into_iter().find_map(
        |(name, kind)| {
            let path = pipeline.folder.join("example").join(name);
            let blank =
                Format { kind, sheet: None, header: None, delimiter: None, quote: None, escape: None, encoding: None };
            let format = match &declared {
                Some(format) if format.kind == kind => format.clone(),
                Some(format) => Format { header: format.header, ..blank },
                None => blank,
            };
            path.exists().then_some((path, format))
        },
    )
}

/// Reads, checks and reshapes; answers with the two files that this makes.
async fn run(pipeline: &Pipeline, path: &Path, format: &Format) -> Result<(String, String), String> {
    let contract = &pipeline.definition.contract;
    let mut reference = Reference::default();
    reference.insert("stores", "store_id", HashSet::from(["000101".to_owned(), "000102".to_owned()]));
    let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
    let file = File::open(path).map_err(|error| error.to_string())?;
    formats::read(format, &pipeline.wanted(), LIMIT_BYTES, file, &mut |raw| {
        let checked = contracts::check(contract, &raw, &reference);
        accepted.push(checked.accepted);
        rejected.extend(checked.rejected);
        true
    })
    .map_err(|error| error.to_string())?;
    if let Some(sql) = &pipeline.transform {
        let transform = Transform::new(sql, contract.schema(), futures::stream::iter(accepted));
        let batches = transform.await.map_err(|error| error.to_string())?.run().await;
        accepted = batches
            .map_err(|error| error.to_string())?
            .boxed()
            .try_collect()
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok((loaded(pipeline, &accepted), refused(&rejected)))
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
                let array = batch.column_by_name(name).expect("the destination's columns come out");
                ArrayFormatter::try_new(array.as_ref(), &options).expect("its type can be shown")
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

fn csv_of(lines: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).expect("memory takes each line");
    }
    String::from_utf8(writer.into_inner().expect("memory takes the rest")).expect("it was made of text")
}

/// What differs, line by line: `-` is in the file, `+` is what came.
fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let mut text = String::new();
    for at in 0..wanted.len().max(found.len()) {
        let (wanted, found) = (wanted.get(at), found.get(at));
        if wanted != found {
            for (sign, line) in [('-', wanted), ('+', found)] {
                if let Some(line) = line {
                    text.push_str(&format!("    {:>3} {sign} {line}\n", at + 1));
                }
            }
        }
    }
    text
}

#[tokio::test]
async fn every_example_comes_out_as_its_folder_says() {
    let mut failures = String::new();
    for definitions in definitions() {
        for pipeline in pipelines(&definitions).await {
            let Some((path, format)) = input(&pipeline) else { continue };
            let folder = path.parent().expect("a file is in a folder");
            let (out, rejected) = match run(&pipeline, &path, &format).await {
                Ok(files) => files,
                Err(error) => {
                    failures.push_str(&format!("{}: {error}\n", path.display()));
                    continue;
                }
            };
            for (name, found) in [("out.csv", out), ("rejected.csv", rejected)] {
                let wanted = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
                if wanted != found {
                    let difference = difference(&wanted, &found);
                    failures.push_str(&format!("{}:\n{difference}", folder.join(name).display()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "examples that do not come out (- the file, + what came):\n{failures}");
}

#[tokio::test]
async fn every_shipped_pipeline_has_an_example_of_good_and_bad_rows() {
    for pipeline in pipelines(Path::new(env!("CARGO_MANIFEST_DIR"))).await {
        let folder = pipeline.folder.join("example");
        assert!(input(&pipeline).is_some(), "{} has no in.csv, in.jsonl or in.xlsx", folder.display());
        for name in ["out.csv", "rejected.csv"] {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(text.lines().count() > 1, "{} has no rows", folder.join(name).display());
        }
    }
}
