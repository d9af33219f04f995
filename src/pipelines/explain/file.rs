//! A file: what it made, and what became of that.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::cells::Cells;
use super::explainer::{ExplainError, Explainer};
use super::tables;
use crate::warehouse::contents::{self, Kept};
use crate::warehouse::file_rows::{FileRows, made_of};
use crate::warehouse::lineage::Relation;
use crate::warehouse::origins::{self, FileFacts, LoadFacts};

/// Keys that are shown.
const SAMPLE: i64 = 10;

/// What one file, or one sheet of it, made in one load.
#[derive(Debug, Clone, Serialize)]
pub struct FileAnswer {
    /// The file.
    pub file: FileFacts,
    /// Its load.
    pub load: Option<LoadFacts>,
    /// Whether its bytes are kept.
    pub kept: bool,
    /// When they were removed.
    pub pruned_at: Option<DateTime<Utc>>,
    /// The table.
    pub table: Option<String>,
    /// What it made of the table.
    pub rows: FileRows,
    /// Rows that were refused, by what became of them.
    pub refused: BTreeMap<String, i64>,
    /// Rows that were read, and neither made a row nor were refused: they were there
    /// already, or gave way to a later row, or the transform left them out.
    pub without_effect: i64,
    /// Rows that are no data, by reason; nothing where the file could not be read again.
    pub left_out: Option<BTreeMap<String, u64>>,
    /// Why it could not.
    pub not_read: Option<String>,
    /// Some of its rows, by key.
    pub sample: Vec<Map<String, Value>>,
}

impl Explainer<'_> {
    /// Says what files of a name, or of a content's hash, made: a line for each load and
    /// each sheet, the latest first.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn explain_file(&self, wanted: &str) -> Result<Vec<FileAnswer>, ExplainError> {
        let files = origins::files_called(self.warehouse, &self.brands, wanted).await.map_err(ExplainError::Lineage)?;
        let mut answers = Vec::new();
        for file in files.into_iter().take(self.limit) {
            answers.push(self.one_file(file).await?);
        }
        Ok(answers)
    }

    async fn one_file(&self, file: FileFacts) -> Result<FileAnswer, ExplainError> {
        let load = origins::loads(self.warehouse, &[file.load_id]).await.map_err(ExplainError::Lineage)?.pop();
        let table = load.as_ref().map(|load| load.table.clone());
        let brand = file.brand.as_str().into();
        let relation = match &table {
            Some(table) => Relation::find(self.warehouse, &brand, table).await.map_err(ExplainError::Lineage)?,
            None => None,
        };
        let (mut rows, mut sample) = (FileRows::default(), Vec::new());
        if let Some(relation) = relation.filter(|relation| relation.loaded) {
            (rows, sample) =
                made_of(self.warehouse, &relation, file.file_id, SAMPLE).await.map_err(ExplainError::Lineage)?;
            let shown = self.shown(&brand, &relation).await?;
            for one in &mut sample {
                if let Some(Value::Object(key)) = one.get_mut("key") {
                    key.retain(|name, _| shown.has(name));
                }
            }
        }
        let refused = tables::refused_of_file(self.warehouse, file.file_id).await.map_err(ExplainError::Pipeline)?;
        let kept = contents::find(self.warehouse, &file.content_hash).await.map_err(ExplainError::Contents)?;
        let pipeline = self.pipeline_of(&brand, &file.pipeline).await?;
        let (left_out, not_read) = match self.cells(pipeline.as_ref(), &file, &BTreeSet::new()).await? {
            Cells::Read(read) => {
                let counts = read.facts.left_out.iter().map(|(reason, rows)| ((*reason).to_owned(), *rows));
                (Some(counts.collect()), None)
            }
            Cells::Not(why) => (None, Some(why)),
        };
        // A row that was refused and came in by a replay counts as made.
        let refused_still: i64 = refused.iter().filter(|(state, _)| *state != "replayed").map(|(_, rows)| rows).sum();
        let without_effect = (file.rows_read - rows.inserted - rows.updated - refused_still).max(0);
        Ok(FileAnswer {
            load,
            kept: matches!(kept, Kept::Here { .. }),
            pruned_at: match kept {
                Kept::Pruned(at) => Some(at),
                Kept::Here { .. } | Kept::Never => None,
            },
            table,
            rows,
            refused,
            without_effect,
            left_out,
            not_read,
            sample,
            file,
        })
    }
}
