//! Writes a pipeline for a file that nobody described.
//!
//! The file is read as a run reads it: once to see what its columns hold, and
//! again under the contract that came of it. What is written was therefore tried
//! on every row: a type that refuses a value, or a key that stands twice, is not
//! proposed.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use serde::Serialize;

use super::definition::{self, Definition};
use super::draft_text::{self, Example, Layout};
use super::examples;
use crate::contracts::{self, ColumnType, Contract, DraftColumn, Observed, Reference, is_plain};
use crate::formats::{self, Facts, Format, Kind, Survey, Wanted};

/// Rows of the file that become the example.
const EXAMPLE_ROWS: usize = 10;
/// Hashes held at once while keys are tried: about 100 MB.
const HELD_HASHES: usize = 4_000_000;
/// Keys that are tried in one reading, and how many such readings.
const KEYS_AT_ONCE: usize = 8;
const KEY_ROUNDS: usize = 4;

/// What is to be drafted.
#[derive(Debug, Clone)]
pub struct DraftOrder {
    /// The file.
    pub file: PathBuf,
    /// What the file cannot say: sheets, range, hidden rows. Its kind does not count.
    pub format: Format,
    /// The pipeline's name, and its table's.
    pub name: String,
    /// The folder in which the pipeline's folder is made.
    pub out: PathBuf,
    /// The most bytes that a workbook may hold uncompressed.
    pub worksheet_limit_bytes: u64,
}

/// What was decided.
#[derive(Debug, Clone, Serialize)]
pub struct Drafted {
    /// The folder that was written.
    pub folder: PathBuf,
    /// Rows below the header.
    pub rows: u64,
    /// Rows that a run will refuse, because a broken formula stands in them.
    pub rows_refused: u64,
    /// Rows left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Columns of the key; empty where none was found.
    pub key: Vec<String>,
    /// Further keys that no two rows share.
    pub other_keys: Vec<Vec<String>>,
    /// The columns.
    pub columns: Vec<DraftedColumn>,
    /// Columns of the file that cannot be asked for, with the reason.
    pub unreachable: Vec<String>,
}

/// What was decided about a column. Holds no value of a personal column.
#[derive(Debug, Clone, Serialize)]
pub struct DraftedColumn {
    /// Its name from here on.
    pub name: String,
    /// What the file calls it.
    pub from: String,
    /// Its type, as definitions spell it.
    pub r#type: String,
    /// Why it may be personal.
    pub personal: Option<String>,
    /// Why this type.
    pub why: String,
    /// What somebody should look at.
    pub remarks: Vec<String>,
}

/// Why nothing was drafted. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The name names no pipeline.
    #[error("`{name}` cannot name a pipeline")]
    Name {
        /// As given.
        name: String,
    },
    /// There is such a folder.
    #[error("`{folder}` is there already", folder = folder.display())]
    Exists {
        /// Which.
        folder: PathBuf,
    },
    /// The file could not be read.
    #[error("failed to read `{file}`")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        source: formats::Error,
    },
    /// The folder could not be written.
    #[error("failed to write `{path}`", path = path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was drafted is no definition: our mistake.
    #[error("the draft is no right definition: {problems}")]
    Draft {
        /// What `check` says.
        problems: String,
    },
    /// The example could not be made.
    #[error("failed to make the example")]
    Example(#[source] super::Error),
    /// The reading ended in a way that should not happen.
    #[error("the worker that read the file ended early")]
    Worker(#[source] tokio::task::JoinError),
}

impl DraftError {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name { .. } => Some("use lower-case letters, digits and `_`, a letter first, at most 63"),
            Self::Exists { .. } => Some("take another `--name` or `--out`; a draft never writes over a definition"),
            Self::Read { source, .. } => source.hint(),
            Self::Write { .. } => Some("check the path, the disk and the rights"),
            Self::Draft { .. } | Self::Worker(_) => {
                Some("this is a defect of ours: please report it with the file's layout")
            }
            Self::Example(error) => error.hint(),
        }
    }
}

/// Reads a file and writes a pipeline's folder for it, whole or not at all.
/// `progress` is told how many rows were read, now and then.
///
/// # Errors
/// When the file cannot be read, or the folder is there already.
pub async fn draft(order: &DraftOrder, progress: impl Fn(u64) + Send + 'static) -> Result<Drafted, DraftError> {
    if !is_plain(&order.name) {
        return Err(DraftError::Name { name: order.name.clone() });
    }
    let folder = order.out.join(&order.name);
    if folder.exists() {
        return Err(DraftError::Exists { folder });
    }
    let reading = order.clone();
    let read = tokio::task::spawn_blocking(move || Reader { order: reading, progress: Box::new(progress) }.study());
    let (layout, example, drafted) = read.await.map_err(DraftError::Worker)??;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DraftError::Write { path, source }
    };
    std::fs::create_dir_all(&order.out).map_err(failed(&order.out))?;
    // The folder appears with all that belongs into it.
    let scratch = tempfile::Builder::new().prefix(".draft").tempdir_in(&order.out).map_err(failed(&order.out))?;
    let made = scratch.path().join(&order.name);
    let write = |name: &str, content: &[u8]| {
        let path = made.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&made)).map_err(failed(&path))?;
        std::fs::write(&path, content).map_err(failed(&path))
    };
    write("pipeline.toml", layout.text().as_bytes())?;
    let input = if layout.kind == Kind::JsonLines { "example/in.jsonl" } else { "example/in.csv" };
    write(input, &draft_text::example_input(&layout, &example))?;
    let pipeline = definition::read_one(scratch.path(), &made.join("pipeline.toml")).await.map_err(|problems| {
        DraftError::Draft { problems: problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ") }
    })?;
    if let Some((path, format)) = examples::input(&pipeline) {
        let result = examples::make(&pipeline, path, format).await.map_err(DraftError::Example)?;
        write("example/out.csv", result.out.as_bytes())?;
        write("example/rejected.csv", result.rejected.as_bytes())?;
    }
    std::fs::rename(&made, &folder).map_err(failed(&folder))?;
    Ok(Drafted { folder, ..drafted })
}

/// Reads the file, as often as it takes.
struct Reader {
    order: DraftOrder,
    progress: Box<dyn Fn(u64) + Send>,
}

/// What came of the file under a contract.
struct Trial {
    /// Rows refused, by column.
    refused: BTreeMap<String, u64>,
    /// Whether each key that was tried is unique.
    unique: Vec<bool>,
}

impl Reader {
    fn failed(&self, source: formats::Error) -> DraftError {
        let file = self.order.file.file_name().map(|name| name.to_string_lossy().into_owned());
        DraftError::Read { file: file.unwrap_or_default(), source }
    }

    fn read(&self, survey: &Survey, sink: &mut dyn FnMut(RecordBatch)) -> Result<Facts, DraftError> {
        let columns = survey.names.iter().map(|name| (name.clone(), vec![name.clone()], false)).collect();
        let wanted = Wanted { columns, ..Wanted::default() };
        let mut rows = 0;
        let limit_bytes = self.order.worksheet_limit_bytes;
        let input = self.open()?;
        formats::read(&survey.format, &wanted, limit_bytes, input, &mut |batch| {
            rows += batch.num_rows() as u64;
            (self.progress)(rows);
            sink(batch);
            true
        })
        .map_err(|source| self.failed(source))
    }

    fn open(&self) -> Result<BufReader<File>, DraftError> {
        File::open(&self.order.file).map(BufReader::new).map_err(|source| self.failed(formats::Error::Read(source)))
    }

    fn study(&self) -> Result<(Layout, Example, Drafted), DraftError> {
        let survey = formats::survey(&self.order.format, self.order.worksheet_limit_bytes, self.open()?);
        let mut survey = survey.map_err(|source| self.failed(source))?;
        let (observed, example, facts) = match self.observe(&survey) {
            // The byte that is no UTF-8 stands further down than the dialect was looked for.
            Err(DraftError::Read { source: formats::Error::Encoding { .. }, .. }) => {
                survey.format.encoding = Some("windows-1252".to_owned());
                self.observe(&survey)?
            }
            outcome => outcome?,
        };
        let mut columns = contracts::propose(&observed);
        let mut layout = self.layout(&survey, &facts, &observed, columns.clone());
        let candidates = contracts::key_candidates(&observed, &columns);
        let mut rounds = candidates.chunks(KEYS_AT_ONCE).take(KEY_ROUNDS);
        let mut round: &[Vec<usize>] = rounds.next().unwrap_or_default();
        loop {
            let trial = self.trial(&survey, &layout, round, observed.rows)?;
            let wrong: Vec<usize> = (0..columns.len())
                .filter(|at| {
                    let refused = trial.refused.get(&columns[*at].name).copied().unwrap_or(0);
                    refused > columns[*at].refused && columns[*at].column_type != ColumnType::Text
                })
                .collect();
            for at in &wrong {
                columns[*at].column_type = ColumnType::Text;
                columns[*at].date_order = None;
                columns[*at].decimal_mark = None;
                columns[*at].why = "its type refused values when the file was read again".to_owned();
            }
            layout.columns.clone_from(&columns);
            if !wrong.is_empty() {
                continue;
            }
            layout.rows_refused = trial.refused.values().sum();
            let names = |key: &Vec<usize>| key.iter().map(|at| columns[*at].name.clone()).collect::<Vec<String>>();
            let unique = round.iter().zip(&trial.unique).filter(|(_, unique)| **unique).map(|(key, _)| key);
            let mut minimal: Vec<&Vec<usize>> = Vec::new();
            for key in unique {
                if !minimal.iter().any(|smaller| smaller.iter().all(|at| key.contains(at))) {
                    minimal.push(key);
                }
            }
            layout.keys = minimal.into_iter().map(names).collect();
            match rounds.next() {
                Some(next) if layout.keys.is_empty() => round = next,
                _ => break,
            }
        }
        let drafted = drafted(&layout, &facts, &survey);
        Ok((layout, example, drafted))
    }

    fn layout(&self, survey: &Survey, facts: &Facts, observed: &Observed, columns: Vec<DraftColumn>) -> Layout {
        let mut format = survey.format.clone();
        // The column may have been given a better name than was asked for.
        if let Some(sheet_as) = &mut format.sheet_as
            && let Some(column) = columns.iter().find(|column| column.from == *sheet_as)
        {
            sheet_as.clone_from(&column.name);
        }
        Layout {
            pipeline: self.order.name.clone(),
            file: self.order.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            kind: survey.format.kind,
            format,
            rows: observed.rows,
            rows_refused: 0,
            left_out: facts.left_out.iter().map(|(reason, count)| format!("{count} as {reason}")).collect(),
            unreachable: survey.unreachable.clone(),
            columns,
            keys: Vec::new(),
        }
    }

    fn observe(&self, survey: &Survey) -> Result<(Observed, Example, Facts), DraftError> {
        let mut observed = Observed::new(&survey.names);
        let mut example: Example = Vec::new();
        let facts = self.read(survey, &mut |batch| {
            let columns: Vec<_> = (0..survey.names.len()).map(|at| batch.column(at).as_string::<i32>()).collect();
            for row in 0..batch.num_rows().min(EXAMPLE_ROWS - example.len()) {
                let cell = |at: usize| columns[at].is_valid(row).then(|| columns[at].value(row).to_owned());
                example.push((0..columns.len()).map(cell).collect());
            }
            observed.take(&batch);
        })?;
        Ok((observed, example, facts))
    }

    /// Reads the file under the drafted contract. Keys are tried exactly, but in
    /// several readings where there are too many rows to hold a hash of each.
    fn trial(&self, survey: &Survey, layout: &Layout, keys: &[Vec<usize>], rows: u64) -> Result<Trial, DraftError> {
        let contract = contract_of(layout)?;
        let hashes = usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(keys.len());
        let parts = hashes.div_ceil(HELD_HASHES).max(1) as u64;
        let mut trial = Trial { refused: BTreeMap::new(), unique: vec![true; keys.len()] };
        for part in 0..parts {
            let mut seen: Vec<HashSet<u64>> = vec![HashSet::new(); keys.len()];
            self.read(survey, &mut |raw| {
                let mut fields = contract.raw_schema().fields().to_vec();
                // Behind the contract's columns there may be one for rows of a wrong shape.
                fields.extend(raw.schema().fields().iter().skip(fields.len()).cloned());
                let raw = RecordBatch::try_new(Arc::new(Schema::new(fields)), raw.columns().to_vec())
                    .expect("the survey's columns are the contract's, in their order");
                let checked = contracts::check(&contract, &raw, &Reference::default());
                if part == 0 {
                    for rejection in checked.rejected {
                        *trial.refused.entry(rejection.column).or_insert(0) += 1;
                    }
                }
                let texts: Vec<_> = (0..contract.columns.len())
                    .map(|at| {
                        arrow::compute::cast(checked.accepted.column(at), &DataType::Utf8)
                            .expect("every type of column can be written as text")
                    })
                    .collect();
                for (which, key) in keys.iter().enumerate() {
                    if !trial.unique[which] {
                        continue;
                    }
                    let columns: Vec<_> = key.iter().map(|at| texts[*at].as_string::<i32>()).collect();
                    for row in 0..checked.accepted.num_rows() {
                        let mut hasher = DefaultHasher::new();
                        columns.iter().for_each(|column| column.value(row).hash(&mut hasher));
                        let hash = hasher.finish();
                        let empty = columns.iter().any(|column| column.is_null(row));
                        if empty || hash % parts == part && !seen[which].insert(hash) {
                            trial.unique[which] = false;
                            seen[which] = HashSet::new();
                            break;
                        }
                    }
                }
            })?;
        }
        Ok(trial)
    }
}

/// The contract that the text makes, and no other.
fn contract_of(layout: &Layout) -> Result<Contract, DraftError> {
    let definition: Definition =
        toml::from_str(&layout.text()).map_err(|error| DraftError::Draft { problems: error.message().to_owned() })?;
    let mut contract = definition.contract;
    contract.key.clear();
    Ok(contract)
}

fn drafted(layout: &Layout, facts: &Facts, survey: &Survey) -> Drafted {
    let column = |column: &DraftColumn| DraftedColumn {
        name: column.name.clone(),
        from: column.from.clone(),
        r#type: column.column_type.to_string(),
        personal: column.personal.clone(),
        why: column.why.clone(),
        remarks: column.remarks.clone(),
    };
    Drafted {
        folder: PathBuf::new(),
        rows: layout.rows,
        rows_refused: layout.rows_refused,
        left_out: facts.left_out.clone(),
        key: layout.keys.first().cloned().unwrap_or_default(),
        other_keys: layout.keys.iter().skip(1).cloned().collect(),
        columns: layout.columns.iter().map(column).collect(),
        unreachable: survey.unreachable.clone(),
    }
}
