//! A pipeline's folder: `pipeline.toml`, `transform.sql`, `example/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::export::{self, ExportTo};
use super::forecasting::{self, ForecastOf};
use super::staffing::StaffingOf;
use crate::contracts::{Contract, RuleKind, is_plain};
use crate::formats::{Format, Wanted};
use crate::ids::{BrandId, PipelineName};
use crate::transforms;
use crate::warehouse::{Table, WriteDisposition, columns_of};

/// One mistake in a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// File, relative to the definitions folder.
    pub file: String,
    /// Line from 1, where one can be told.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// What `pipeline.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What people call it.
    pub title: String,
    /// Who hears of failures, besides the installation's list.
    pub owner: Option<String>,
    /// Brands it runs for. Default: all.
    pub brands: Option<Vec<BrandId>>,
    /// Where rows come from.
    pub source: Source,
    /// What they must be.
    pub contract: Contract,
    /// Where they land.
    pub destination: Destination,
    /// When it runs. Without one it runs by hand only.
    pub schedule: Option<Schedule>,
    /// What is forecast from its table.
    #[serde(default, rename = "forecast", deserialize_with = "forecasting::one_or_more")]
    pub forecasts: Vec<ForecastOf>,
    /// The hours of work that expected demand asks for.
    pub staffing: Option<StaffingOf>,
    /// What is written back to Dataverse.
    pub export: Option<ExportTo>,
}

/// `[source]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The kind of place.
    pub kind: SourceKind,
    /// `drive`, `folder`: the folder, below the library or the brand's folder.
    pub folder: Option<String>,
    /// `drive`, `folder`: which names, `*` and `?` standing for any.
    pub pattern: Option<String>,
    /// `drive`: how new files are noticed. Default: `listing`.
    #[serde(default)]
    pub mode: DriveMode,
    /// `drive`: what happens to a file once its rows are in.
    #[serde(default)]
    pub after: After,
    /// How files are encoded. Not for `dataverse`.
    pub format: Option<Format>,
    /// `dataverse`: the entity set, e.g. `sk_dailystoremetrics`.
    pub entity_set: Option<String>,
    /// `dataverse`: an OData filter.
    pub filter: Option<String>,
    /// `dataverse`: a column that orders the rows the same way each time, such as the business key.
    pub order_by: Option<String>,
    /// `dataverse`: how changed and deleted rows are found. Default: `compare`.
    #[serde(default)]
    pub changes: Changes,
    /// `dataverse` with `changes = "track"`: share of the known rows that may be
    /// gone when the table is read whole. Default: 0.5.
    pub shrink_threshold: Option<f64>,
}

/// How changed and deleted rows of a table are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changes {
    /// The table is read whole, and loaded if it is not what it was.
    #[default]
    Compare,
    /// Dataverse is asked what changed; rows deleted there are deleted here.
    Track,
}

/// Kinds of places that rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// OneDrive or SharePoint, through Microsoft Graph.
    Drive,
    /// A table of Microsoft Dataverse.
    Dataverse,
    /// A folder of this machine.
    Folder,
    /// Only files handed over with `run --file`.
    Upload,
}

/// How new files of a drive are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveMode {
    /// The folder is listed each time: simple, and it heals itself.
    #[default]
    Listing,
    /// The drive is asked what changed since the last load: for large libraries.
    Delta,
}

/// What happens to a file of a drive once its rows are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It stays.
    #[default]
    Keep,
    /// It moves to the folder `Archive` beside it: a courtesy to people, never
    /// our memory of what was read.
    Archive,
}

/// `[destination]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The table in each brand's schema.
    pub table: String,
    /// How a load meets the rows that are there.
    pub write_disposition: WriteDisposition,
    /// A date column of the key; the table is partitioned by its month.
    pub partition_by: Option<String>,
    /// `replace_window`: the columns that make a window, e.g. store and date.
    #[serde(default)]
    pub window: Vec<String>,
    /// Names of checks in `sql/checks`.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Columns of each index besides the key's: what dashboards ask by.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
    /// Months after which a partition goes to a file. Default: as `[warehouse]` says;
    /// 0: never.
    pub archive_after_months: Option<u32>,
}

/// `[schedule]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Five fields: minute, hour, day, month, weekday.
    pub cron: String,
    /// In which zone. Default: the brand's.
    pub time_zone: Option<Tz>,
    /// What happens when the last run is still going. Default: `skip`.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens with occurrences that were missed. Default: `latest`.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// What happens when a run is due while the last one is still going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new one is left out.
    #[default]
    Skip,
    /// One waits, more are left out.
    BufferOne,
}

/// What happens with occurrences that were missed while nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are left out.
    None,
    /// The latest is made up for.
    #[default]
    Latest,
    /// Each is made up for, in order.
    All,
}

/// A definition with what stands beside it, checked.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The folder's name.
    pub name: PipelineName,
    /// Its folder.
    pub folder: PathBuf,
    /// What `pipeline.toml` says.
    pub definition: Definition,
    /// The text of `transform.sql`, where there is one.
    pub transform: Option<String>,
    /// Names and texts of the checks.
    pub checks: Vec<(String, String)>,
    /// The text of `export.sql`, for a pipeline with `[export]`.
    pub export_sql: Option<String>,
    /// Name and type of the destination's columns.
    pub columns: Vec<(String, String)>,
}

impl Pipeline {
    /// The destination in a brand's schema.
    pub fn table(&self, brand: &BrandId) -> Table {
        let destination = &self.definition.destination;
        Table {
            schema: brand.schema(),
            name: destination.table.clone(),
            columns: self.columns.clone(),
            key: self.definition.contract.key.clone(),
            partition_by: destination.partition_by.clone(),
            window: destination.window.clone(),
            disposition: destination.write_disposition,
            indexes: destination.indexes.clone(),
        }
    }

    /// Whether it runs for a brand.
    pub fn serves(&self, brand: &BrandId) -> bool {
        self.definition.brands.as_ref().is_none_or(|brands| brands.contains(brand))
    }

    /// The columns to look for in a file.
    pub fn wanted(&self) -> Wanted {
        let contract = &self.definition.contract;
        let columns = contract.columns.iter().map(|column| {
            let names = column.names().into_iter().map(str::to_owned).collect();
            (column.name.clone(), names, column.optional)
        });
        let freeze = contract.new_columns == crate::contracts::NewColumns::Freeze;
        Wanted { columns: columns.collect(), freeze, grid: false }
    }

    /// Tables of the same brand that its rules look values up in.
    pub fn lookups(&self) -> BTreeSet<(String, String)> {
        let rules = self.definition.contract.columns.iter().flat_map(|column| &column.rules);
        rules.filter_map(|rule| rule.looks_up()).map(|(table, column)| (table.to_owned(), column.to_owned())).collect()
    }
}

/// Reads every pipeline below a definitions folder, in the order in which they
/// must run: a table that rules look values up in is loaded first.
///
/// # Errors
/// All mistakes of all definitions at once.
pub async fn read_all(definitions: &Path) -> Result<Vec<Pipeline>, Vec<Problem>> {
    let mut pipelines = Vec::new();
    let mut problems = Vec::new();
    let folder = definitions.join("pipelines");
    if !folder.is_dir() {
        let message = format!(
            "there is no such folder in `{}`: `--definitions` names the folder that holds `pipelines`, `sql` and `metabase`",
            definitions.display()
        );
        return Err(vec![Problem { file: "pipelines".to_owned(), line: None, message }]);
    }
    for file in find(&folder) {
        match read_one(definitions, &file).await {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(more) => problems.extend(more),
        }
    }
    let mut by_name: BTreeMap<PipelineName, PathBuf> = BTreeMap::new();
    for pipeline in &pipelines {
        if let Some(other) = by_name.insert(pipeline.name.clone(), pipeline.folder.clone()) {
            problems.push(Problem {
                file: shown(definitions, &pipeline.folder),
                line: None,
                message: format!("a pipeline of this name is in `{}` already", shown(definitions, &other)),
            });
        }
    }
    let tables: BTreeSet<&str> = pipelines.iter().map(|one| one.definition.destination.table.as_str()).collect();
    for pipeline in &pipelines {
        let mut refuse = |message: String| {
            let file = shown(definitions, &pipeline.folder.join("pipeline.toml"));
            problems.push(Problem { file, line: None, message });
        };
        let events = pipeline.definition.forecasts.iter().filter_map(|forecast| forecast.events.as_deref());
        for table in events.filter(|table| !tables.contains(table)) {
            refuse(format!("`[forecast]` reads events from `{table}`, which no pipeline loads"));
        }
        if let Some(staffing) = &pipeline.definition.staffing {
            staffing.problems_among(&pipelines).into_iter().for_each(refuse);
        }
    }
    for (series, files) in makers(&pipelines) {
        if let [first, second, ..] = &files[..] {
            let message = format!("`{series}` is made in `{}` already", shown(definitions, first));
            problems.push(Problem { file: shown(definitions, &second.join("pipeline.toml")), line: None, message });
        }
    }
    if problems.is_empty() {
        return in_order(pipelines, definitions);
    }
    problems.sort();
    Err(problems)
}

/// The folders in which each series of forecasts, or of hours, is made.
fn makers(pipelines: &[Pipeline]) -> BTreeMap<PipelineName, Vec<&Path>> {
    let mut makers: BTreeMap<PipelineName, Vec<&Path>> = BTreeMap::new();
    for pipeline in pipelines {
        let definition = &pipeline.definition;
        let series = definition.forecasts.iter().map(ForecastOf::pipeline);
        for name in series.chain(definition.staffing.iter().map(StaffingOf::pipeline)) {
            makers.entry(name).or_default().push(&pipeline.folder);
        }
    }
    makers
}

/// Finds `pipeline.toml` files, three levels down at most.
fn find(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let file = folder.join("pipeline.toml");
        if file.is_file() {
            found.push(file);
        } else if depth < 3 {
            let inner = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            pending.extend(inner.filter(|path| path.is_dir()).map(|path| (path, depth + 1)));
        }
    }
    found.sort();
    found
}

fn shown(definitions: &Path, path: &Path) -> String {
    path.strip_prefix(definitions).unwrap_or(path).display().to_string()
}

pub(super) async fn read_one(definitions: &Path, file: &Path) -> Result<Pipeline, Vec<Problem>> {
    let folder = file.parent().unwrap_or(definitions).to_owned();
    let at = shown(definitions, file);
    let fail = |line: Option<usize>, message: String| Problem { file: at.clone(), line, message };
    let text = std::fs::read_to_string(file).map_err(|error| vec![fail(None, error.to_string())])?;
    let definition: Definition = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| line_of(&text, span.start));
        vec![fail(line, error.message().to_owned())]
    })?;
    let mut problems: Vec<Problem> = Vec::new();
    let mut refuse = |needle: &str, message: String| {
        let line = text.find(needle).map(|offset| line_of(&text, offset));
        problems.push(fail(line, message));
    };
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_plain(&name) {
        refuse("title", format!("folder name `{name}`: use lower-case letters, digits and `_`, a letter first"));
    }
    for message in definition.contract.problems() {
        let quoted = message.split('`').nth(1).map(|name| format!("\"{name}\"")).unwrap_or_default();
        refuse(&quoted, message);
    }
    for message in source_problems(&definition.source) {
        refuse("[source]", message);
    }
    for message in super::tracking::problems(&definition) {
        refuse("changes", message);
    }
    let mut checks = Vec::new();
    for check in &definition.destination.checks {
        let path = definitions.join("sql/checks").join(format!("{check}.sql"));
        match std::fs::read_to_string(&path) {
            Ok(sql) => checks.push((check.clone(), sql)),
            Err(_) => refuse(&format!("\"{check}\""), format!("there is no check `sql/checks/{check}.sql`")),
        }
    }
    let transform = match std::fs::read_to_string(folder.join("transform.sql")) {
        Ok(sql) => Some(sql),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            refuse("title", format!("failed to read transform.sql: {error}"));
            None
        }
    };
    let mut export_sql = None;
    if let Some(block) = &definition.export {
        for message in export::problems(block, !definition.forecasts.is_empty(), definition.staffing.is_some()) {
            refuse("[export]", message);
        }
        match export::read_query(&folder) {
            Ok(sql) => export_sql = Some(sql),
            Err(message) => refuse("[export]", message),
        }
    }
    let columns = match destination_columns(&definition.contract, transform.as_deref()).await {
        Ok(Ok(columns)) => columns,
        Ok(Err(unknown)) => {
            refuse("title", format!("the transform makes columns that cannot be stored: {}", unknown.join(", ")));
            Vec::new()
        }
        Err(error) => {
            problems.push(Problem {
                file: shown(definitions, &folder.join("transform.sql")),
                line: None,
                message: crate::telemetry::chain(&error),
            });
            Vec::new()
        }
    };
    for message in destination_problems(&definition, &columns) {
        let line = text.find("[destination]").map(|offset| line_of(&text, offset));
        problems.push(fail(line, message));
    }
    if problems.is_empty() {
        Ok(Pipeline { name: PipelineName(name), folder, definition, transform, checks, export_sql, columns })
    } else {
        Err(problems)
    }
}

/// Name and type of the columns that reach the destination; or those without a type there.
pub(super) async fn destination_columns(
    contract: &Contract,
    transform: Option<&str>,
) -> Result<Result<Vec<(String, String)>, Vec<String>>, transforms::Error> {
    let schema = match transform {
        None => contract.schema(),
        Some(sql) => transforms::output_schema(sql, contract.schema()).await?,
    };
    Ok(columns_of(&schema))
}

fn source_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    if source.mode != DriveMode::Listing && source.kind != SourceKind::Drive {
        problems.push("only a drive has a `mode`".to_owned());
    }
    let mut need = |present: bool, what: &str| {
        if !present {
            problems.push(format!("this kind of source needs `{what}`"));
        }
    };
    match source.kind {
        SourceKind::Drive | SourceKind::Folder => {
            need(source.folder.is_some(), "folder");
            need(source.pattern.is_some(), "pattern");
            need(source.format.is_some(), "format");
        }
        SourceKind::Upload => need(source.format.is_some(), "format"),
        SourceKind::Dataverse => {
            need(source.entity_set.is_some(), "entity_set");
            need(source.order_by.is_some() || source.changes == Changes::Track, "order_by");
            if source.format.is_some() {
                problems.push("a dataverse source has no `format`".to_owned());
            }
        }
    }
    problems.extend(source.format.iter().flat_map(Format::problems));
    problems
}

fn destination_problems(definition: &Definition, columns: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let destination = &definition.destination;
    let key = &definition.contract.key;
    if !is_plain(&destination.table) {
        problems.push(format!("table `{}`: use lower-case letters, digits and `_`, a letter first", destination.table));
    }
    if columns.is_empty() {
        return problems;
    }
    let there = |name: &String| columns.iter().any(|(column, _)| column == name);
    for (what, names) in [("key", key), ("window", &destination.window)] {
        for name in names.iter().filter(|name| !there(name)) {
            problems.push(format!("{what} column `{name}` does not reach the destination"));
        }
    }
    for (column, _) in definition.contract.rules_of(RuleKind::Unique).filter(|(column, _)| !there(&column.name)) {
        problems.push(format!("rule `unique` is on `{}`, which does not reach the destination", column.name));
    }
    if let Some(column) = &destination.partition_by {
        if !there(column) {
            problems.push(format!("`partition_by` names `{column}`, which does not reach the destination"));
        } else if !key.is_empty() && !key.contains(column) {
            problems.push(format!("`partition_by` names `{column}`, which must be part of the key"));
        }
    }
    for index in &destination.indexes {
        if index.is_empty() {
            problems.push("an index needs a column".to_owned());
        }
        for name in index.iter().filter(|name| !there(name)) {
            problems.push(format!("index column `{name}` does not reach the destination"));
        }
    }
    if destination.archive_after_months.is_some_and(|months| months > 0) {
        if destination.partition_by.is_none() {
            problems.push("`archive_after_months` needs `partition_by`: partitions are what is archived".to_owned());
        }
        if destination.write_disposition == WriteDisposition::Replace {
            problems.push("`archive_after_months` does not go with `replace`: each load is the whole table".to_owned());
        }
    }
    let needs_key = matches!(destination.write_disposition, WriteDisposition::Merge | WriteDisposition::ReplaceWindow);
    if needs_key && key.is_empty() {
        problems.push("this write disposition needs a `key` in the contract".to_owned());
    }
    if destination.write_disposition == WriteDisposition::ReplaceWindow && destination.window.is_empty() {
        problems.push("`replace_window` needs `window`, e.g. [\"store_id\", \"business_date\"]".to_owned());
    }
    problems.extend(definition.forecasts.iter().flat_map(|forecast| forecast.problems(columns)));
    problems
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

/// Puts pipelines after those whose tables they look values up in.
fn in_order(pipelines: Vec<Pipeline>, definitions: &Path) -> Result<Vec<Pipeline>, Vec<Problem>> {
    let tables: BTreeSet<String> =
        pipelines.iter().map(|pipeline| pipeline.definition.destination.table.clone()).collect();
    let mut waiting = pipelines;
    let mut loaded: BTreeSet<String> = BTreeSet::new();
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|pipeline| {
            let own = &pipeline.definition.destination.table;
            pipeline
                .lookups()
                .iter()
                .all(|(table, _)| table == own || loaded.contains(table) || !tables.contains(table))
        });
        if ready.is_empty() {
            let problem = |pipeline: &Pipeline| Problem {
                file: shown(definitions, &pipeline.folder.join("pipeline.toml")),
                line: None,
                message: "its rules look values up in a circle of tables".to_owned(),
            };
            return Err(rest.iter().map(problem).collect());
        }
        loaded.extend(ready.iter().map(|pipeline| pipeline.definition.destination.table.clone()));
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}
