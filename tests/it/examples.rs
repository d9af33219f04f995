//! The `example/` beside a definition: what comes in, what is loaded, what is refused.
//!
//! `in.csv` (or `in.jsonl`, `in.xlsx`) goes the way of a file in a run, as far as
//! no database is needed; `out.csv` and `rejected.csv` must be what comes of it.
//! A workbook is stood in for by a CSV of the same cells. Tables that rules look
//! values up in hold nothing but the stores 000101 and 000102.

use std::path::{Path, PathBuf};

use storekeeper::pipelines::{ExampleOutcome, Pipeline, read_all, test_example};

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

#[tokio::test]
async fn every_example_comes_out_as_its_folder_says() {
    let mut failures = Vec::new();
    for definitions in definitions() {
        for pipeline in pipelines(&definitions).await {
            let report = test_example(&pipeline).await;
            if matches!(report.outcome, ExampleOutcome::Differs | ExampleOutcome::Failed) {
                failures.push(report);
            }
        }
    }
    assert!(failures.is_empty(), "examples that do not come out: {failures:#?}");
}

#[tokio::test]
async fn every_shipped_pipeline_has_an_example_of_good_and_bad_rows() {
    for pipeline in pipelines(Path::new(env!("CARGO_MANIFEST_DIR"))).await {
        let report = test_example(&pipeline).await;
        assert_ne!(report.outcome, ExampleOutcome::Missing, "{} has no example", pipeline.name);
        assert!(report.rows_loaded > 0 && report.rows_rejected > 0, "{report:#?}");
    }
}
