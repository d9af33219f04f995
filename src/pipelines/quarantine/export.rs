//! Refused rows as a CSV that somebody mends a file by.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::definition::Pipeline;
use super::super::error::Error;
use super::tables::{QuarantineFilter, Refused, each_refused, kept_columns};
use crate::warehouse::Warehouse;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Columns of the rows in it, as the contract names them.
    pub columns: Vec<String>,
    /// Columns left out, because they are personal or nobody can tell.
    pub left_out: Vec<String>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The quarantine could not be read.
    #[error(transparent)]
    Ledger(Error),
    /// The file could not be written.
    #[error("failed to write `{file}`", file = file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ExportError {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::Write { .. } => Some("check the path, the disk and the rights"),
        }
    }
}

/// Columns of ours, before those of the rows.
const OURS: [&str; 9] = ["id", "run", "pipeline", "brand", "file", "sheet", "row", "column", "reason"];

/// Writes refused rows with their reasons, the whole file or none of it. Only
/// its owner may read it. Personal columns are left out unless `with_personal`
/// says otherwise; so are columns that no definition knows any more, of which
/// nobody can tell.
///
/// Cells that a spreadsheet would take for a formula get an apostrophe in front.
///
/// # Errors
/// When PostgreSQL refuses, or the file cannot be written.
pub async fn export_quarantine(
    warehouse: &Warehouse,
    filter: &QuarantineFilter,
    pipelines: &[Pipeline],
    with_personal: bool,
    file: &Path,
) -> Result<Exported, ExportError> {
    let failed = |source: io::Error| ExportError::Write { file: file.to_owned(), source };
    let known = Known::of(pipelines, filter);
    let kept = kept_columns(warehouse, filter).await.map_err(ExportError::Ledger)?;
    // In the order of the contracts, then whatever else was kept.
    let mut columns: Vec<String> = known.order.iter().filter(|name| kept.contains(name)).cloned().collect();
    columns.extend(kept.iter().filter(|name| !known.order.contains(name)).cloned());
    let (columns, left_out): (Vec<String>, Vec<String>) =
        columns.into_iter().partition(|name| with_personal || known.is_open(name));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut scratch = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    // Without the mark Excel takes the text for the code page of its country.
    scratch.write_all("\u{feff}".as_bytes()).map_err(failed)?;
    let mut writer = csv::Writer::from_writer(scratch);
    let broken = |error: csv::Error| failed(io::Error::other(error));
    writer
        .write_record(OURS.into_iter().map(str::to_owned).chain(columns.iter().map(|name| guarded(name))))
        .map_err(broken)?;
    let mut rows = 0;
    each_refused(warehouse, filter, |refused| {
        rows += 1;
        // What is said of a row as a whole shows no value.
        let whole = refused.column.is_empty();
        let reason = if with_personal || whole || known.is_open_in(&refused.pipeline, &refused.column) {
            refused.reason.clone()
        } else {
            format!("breaks rule `{}`", refused.rule)
        };
        writer.write_record(record(&refused, &reason, &columns)).map_err(broken)
    })
    .await?;
    let scratch = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    scratch.as_file().sync_all().map_err(failed)?;
    scratch.persist(file).map_err(|error| failed(error.error))?;
    Ok(Exported { file: file.to_owned(), rows, columns, left_out })
}

fn record(refused: &Refused, reason: &str, columns: &[String]) -> Vec<String> {
    let mut cells = vec![
        refused.id.to_string(),
        refused.run_id.to_string(),
        refused.pipeline.clone(),
        refused.brand.clone(),
        guarded(&refused.file),
        guarded(refused.sheet.as_deref().unwrap_or_default()),
        refused.row.to_string(),
        refused.column.clone(),
        guarded(reason),
    ];
    cells.extend(columns.iter().map(|name| guarded(&refused.value(name).flatten().unwrap_or_default())));
    cells
}

/// What the definitions say about columns.
struct Known {
    order: Vec<String>,
    open: BTreeSet<(String, String)>,
    personal: BTreeSet<String>,
}

impl Known {
    fn of(pipelines: &[Pipeline], filter: &QuarantineFilter) -> Self {
        let mut known = Self { order: Vec::new(), open: BTreeSet::new(), personal: BTreeSet::new() };
        for pipeline in pipelines {
            if filter.pipeline.as_ref().is_some_and(|wanted| *wanted != pipeline.name) {
                continue;
            }
            let columns = &pipeline.definition.contract.columns;
            for column in columns {
                if !known.order.contains(&column.name) {
                    known.order.push(column.name.clone());
                }
                if column.personal {
                    known.personal.insert(column.name.clone());
                } else {
                    known.open.insert((pipeline.name.0.clone(), column.name.clone()));
                }
            }
            // A refused copy of a row names its whole key, and no value.
            known.open.insert((pipeline.name.0.clone(), pipeline.definition.contract.key.join(", ")));
        }
        known
    }

    /// A column is shown where some pipeline knows it, and none has it for personal.
    fn is_open(&self, name: &str) -> bool {
        !self.personal.contains(name) && self.open.iter().any(|(_, known)| known == name)
    }

    fn is_open_in(&self, pipeline: &str, column: &str) -> bool {
        self.open.contains(&(pipeline.to_owned(), column.to_owned()))
    }
}

/// Keeps a spreadsheet from taking a cell for a formula. A number stays one.
fn guarded(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let number = text.parse::<f64>().is_ok_and(f64::is_finite);
    if risky && !number { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay() {
        for text in ["=1+1", "@SUM(A1)", "+cmd", "-2+3", "\t=1", "－1+1", "-inf"] {
            assert!(guarded(text).starts_with('\''), "{text}");
        }
        for text in ["-12.30", "+5", "Ann", "", "a=b", "1-2"] {
            assert_eq!(guarded(text), text);
        }
    }
}
