//! The content files: collections, dashboards and questions, and their mistakes.
//!
//! One definition serves every scope of its level.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::access::ScopeKind;

/// One mistake a person must fix.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, below the definitions folder.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// All content files, read and checked against each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Content {
    /// `collections.toml`
    pub(super) collections: Collections,
    /// By file name without its end.
    pub(super) dashboards: BTreeMap<String, Dashboard>,
    /// By file name without its end.
    pub(super) questions: BTreeMap<String, Question>,
}

/// `metabase/collections.toml`
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collections {
    /// Currency of the format `money`.
    #[serde(default = "usd")]
    pub(super) currency: String,
    /// Tables and views that belong to no store and need no literal.
    #[serde(default)]
    pub(super) unscoped: Vec<String>,
    /// What a collection of each level is called.
    #[serde(default)]
    pub(super) levels: BTreeMap<ScopeKind, Naming>,
}

fn usd() -> String {
    "USD".to_owned()
}

/// Name and description of a level's collections; both are templates.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Naming {
    pub(super) title: String,
    pub(super) description: Option<String>,
}

/// `metabase/dashboards/<name>.toml`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dashboard {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) level: ScopeKind,
    #[serde(default)]
    pub(super) width: Width,
    pub(super) cards: Vec<Card>,
}

/// How wide the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Width {
    #[default]
    Fixed,
    Full,
}

/// One place on a dashboard: exactly one of the first three.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    pub(super) question: Option<String>,
    pub(super) text: Option<String>,
    pub(super) heading: Option<String>,
    #[serde(default)]
    pub(super) size: Size,
}

/// `third medium`: a share of the row, and a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Size {
    pub(super) columns: i64,
    pub(super) rows: i64,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: GRID, rows: 6 }
    }
}

/// Metabase's grid since v0.47.
pub(super) const GRID: i64 = 24;

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no size: write a width (full, two_thirds, half, third, quarter) and a height (line, small, medium, tall)"
            )
        };
        let mut words = text.split_whitespace();
        let columns = match words.next() {
            Some("full") => GRID,
            Some("two_thirds") => 16,
            Some("half") => 12,
            Some("third") => 8,
            Some("quarter") => 6,
            _ => return Err(expected()),
        };
        let rows = match words.next() {
            Some("line") => 1,
            Some("small") => 3,
            Some("medium") => 6,
            Some("tall") => 9,
            _ => return Err(expected()),
        };
        if words.next().is_some() { Err(expected()) } else { Ok(Self { columns, rows }) }
    }
}

/// `metabase/questions/<name>.sql`: front matter, then the query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) front: Front,
    /// A template.
    pub(super) sql: String,
    /// Where the query starts in its file.
    pub(super) line: usize,
}

/// The front matter of a question.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Front {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) display: String,
    /// Column of the x axis, and one to split by.
    #[serde(default)]
    pub(super) x: Vec<String>,
    /// Columns drawn.
    #[serde(default)]
    pub(super) y: Vec<String>,
    /// How a column is written: money, cents, count, decimal, percent, change, date, hours.
    #[serde(default)]
    pub(super) formats: BTreeMap<String, Format>,
    /// A line to reach.
    pub(super) goal: Option<Goal>,
    /// Columns a single number is compared with, by their titles.
    #[serde(default)]
    pub(super) compare: Vec<String>,
    /// `stacked` or `normalized`
    pub(super) stack: Option<String>,
    /// Further `visualization_settings`, as Metabase spells them.
    #[serde(default)]
    pub(super) settings: toml::Table,
}

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Whole units of the currency.
    Money,
    /// The currency with its cents.
    Cents,
    /// A whole number.
    Count,
    /// One digit behind the point.
    Decimal,
    /// A ratio, as percent.
    Percent,
    /// A ratio of change, as percent.
    Change,
    /// A date with its weekday.
    Date,
    /// Hours, one digit.
    Hours,
}

/// A line to reach.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Goal {
    pub(super) value: f64,
    pub(super) label: String,
}

const DISPLAYS: &[&str] = &[
    "line",
    "bar",
    "area",
    "combo",
    "row",
    "scatter",
    "waterfall",
    "table",
    "scalar",
    "smartscalar",
    "progress",
    "gauge",
    "pie",
    "funnel",
    "map",
    "sankey",
];

/// Reads everything below `metabase/`.
///
/// # Errors
/// Every mistake, by file and line.
pub fn read(definitions_dir: &Path) -> Result<Content, Vec<Problem>> {
    let mut reading = Reading { root: definitions_dir.join("metabase"), problems: Vec::new() };
    let mut content = Content::default();
    if let Some(text) = reading.text(&reading.root.join("collections.toml")) {
        content.collections = reading.toml("metabase/collections.toml", &text, 1).unwrap_or_default();
    }
    for (name, path) in reading.files("questions", "sql") {
        if let Some(question) = reading.question(&name, &path) {
            content.questions.insert(name, question);
        }
    }
    for (name, path) in reading.files("dashboards", "toml") {
        let file = format!("metabase/dashboards/{name}.toml");
        let Some(text) = reading.text(&path) else { continue };
        if let Some(dashboard) = reading.toml::<Dashboard>(&file, &text, 1) {
            reading.check_dashboard(&file, &text, &dashboard, &content.questions);
            content.dashboards.insert(name, dashboard);
        }
    }
    if reading.problems.is_empty() { Ok(content) } else { Err(reading.problems) }
}

struct Reading {
    root: PathBuf,
    problems: Vec<Problem>,
}

impl Reading {
    fn refuse(&mut self, file: &str, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), line, message: message.into() });
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => {
                let below = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
                self.refuse(&format!("metabase/{below}"), 0, format!("failed to read the file: {error}"));
                None
            }
        }
    }

    fn files(&mut self, folder: &str, extension: &str) -> Vec<(String, PathBuf)> {
        let mut files = Vec::new();
        match std::fs::read_dir(self.root.join(folder)) {
            Ok(entries) => {
                for path in entries.flatten().map(|entry| entry.path()) {
                    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                    if path.extension().is_some_and(|found| found == extension) {
                        files.push((name.to_owned(), path));
                    }
                }
            }
            Err(error) => {
                self.refuse(&format!("metabase/{folder}"), 0, format!("failed to read the folder: {error}"));
            }
        }
        files.sort();
        files
    }

    fn toml<T: serde::de::DeserializeOwned>(&mut self, file: &str, text: &str, first: usize) -> Option<T> {
        match toml::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start).min(text.len());
                let line = first + text[..offset].matches('\n').count();
                self.refuse(file, line, error.message());
                None
            }
        }
    }

    fn question(&mut self, name: &str, path: &Path) -> Option<Question> {
        let file = format!("metabase/questions/{name}.sql");
        let text = self.text(path)?;
        // Front matter may stand in SQL comments, so that editors take the file for SQL.
        let mut lines = text.lines().enumerate();
        let bare = |line: &str| {
            line.strip_prefix("-- ")
                .or_else(|| line.strip_prefix("--").filter(|rest| !rest.starts_with('-')))
                .unwrap_or(line)
                .to_owned()
        };
        if lines.next().map(|(_, line)| bare(line).trim_end().to_owned()).as_deref() != Some("---") {
            self.refuse(&file, 1, "the file must start with front matter between lines of `---`");
            return None;
        }
        let mut front = String::new();
        let mut end = None;
        for (at, line) in lines {
            let line = bare(line);
            if line.trim_end() == "---" {
                end = Some(at);
                break;
            }
            front.push_str(&line);
            front.push('\n');
        }
        let Some(end) = end else {
            self.refuse(&file, 1, "the front matter has no closing `---`");
            return None;
        };
        let front: Front = self.toml(&file, &front, 2)?;
        if !DISPLAYS.contains(&front.display.as_str()) {
            let near = DISPLAYS
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(known, &front.display))
                .copied()
                .unwrap_or_default();
            self.refuse(&file, 0, format!("unknown display `{}`; did you mean `{near}`?", front.display));
        }
        let sql: String = text.lines().skip(end + 1).collect::<Vec<_>>().join("\n");
        let line = end + 2 + sql.len().saturating_sub(sql.trim_start().len()).min(sql.matches('\n').count());
        let sql = sql.trim().trim_end_matches(';').to_owned();
        if sql.is_empty() {
            self.refuse(&file, 0, "there is no query below the front matter");
        }
        Some(Question { front, sql, line })
    }

    fn check_dashboard(
        &mut self,
        file: &str,
        text: &str,
        dashboard: &Dashboard,
        questions: &BTreeMap<String, Question>,
    ) {
        let line_of = |needle: &str| text.lines().position(|line| line.contains(needle)).map_or(0, |at| at + 1);
        for card in &dashboard.cards {
            let given = [&card.question, &card.text, &card.heading].into_iter().flatten().count();
            if given != 1 {
                self.refuse(file, 0, "a card has exactly one of `question`, `text` and `heading`");
            }
            let Some(question) = &card.question else { continue };
            if !questions.contains_key(question) {
                let near = questions
                    .keys()
                    .map(|known| (strsim::damerau_levenshtein(known, question), known))
                    .min()
                    .filter(|(distance, _)| *distance <= 6);
                let line = line_of(&format!("\"{question}\""));
                self.refuse(
                    file,
                    line,
                    match near {
                        Some((_, near)) => format!("unknown question `{question}`; did you mean `{near}`?"),
                        None => format!("unknown question `{question}`"),
                    },
                );
            }
        }
        if dashboard.description.trim().is_empty() {
            self.refuse(file, line_of("description"), "a dashboard says what it is for");
        }
    }
}

impl Question {
    /// Writes the settings of its display, as Metabase spells them.
    pub(super) fn visualization(&self, currency: &str) -> Value {
        let front = &self.front;
        let mut settings = serde_json::Map::new();
        let mut set = |key: &str, value: Value| {
            settings.insert(key.to_owned(), value);
        };
        if !front.x.is_empty() {
            set("graph.dimensions", front.x.clone().into());
        }
        if !front.y.is_empty() {
            if front.display == "scalar" || front.display == "smartscalar" {
                set("scalar.field", front.y[0].clone().into());
            } else {
                set("graph.metrics", front.y.clone().into());
            }
        }
        if !front.compare.is_empty() {
            let comparisons: Vec<Value> = front
                .compare
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    serde_json::json!({"id": format!("{}", at + 1), "type": "anotherColumn", "column": column, "label": column})
                })
                .collect();
            set("scalar.comparisons", comparisons.into());
        }
        if let Some(goal) = &front.goal {
            set("graph.show_goal", true.into());
            set("graph.goal_value", goal.value.into());
            set("graph.goal_label", goal.label.clone().into());
        }
        if let Some(stack) = &front.stack {
            set("stackable.stack_type", stack.clone().into());
        }
        if !front.formats.is_empty() {
            let columns: serde_json::Map<String, Value> = front
                .formats
                .iter()
                .map(|(column, format)| (serde_json::json!(["name", column]).to_string(), format.settings(currency)))
                .collect();
            set("column_settings", columns.into());
        }
        for (key, value) in &front.settings {
            set(key, serde_json::to_value(value).unwrap_or_default());
        }
        Value::Object(settings)
    }
}

impl Format {
    fn settings(self, currency: &str) -> Value {
        match self {
            Self::Money => {
                serde_json::json!({"number_style": "currency", "currency": currency, "currency_in_header": false, "decimals": 0})
            }
            Self::Cents => {
                serde_json::json!({"number_style": "currency", "currency": currency, "currency_in_header": false, "decimals": 2})
            }
            Self::Count => serde_json::json!({"number_style": "decimal", "decimals": 0}),
            Self::Decimal => serde_json::json!({"number_style": "decimal", "decimals": 1}),
            Self::Percent | Self::Change => serde_json::json!({"number_style": "percent", "decimals": 1}),
            Self::Date => {
                serde_json::json!({"date_style": "dddd, MMMM D, YYYY", "date_abbreviate": true, "time_enabled": null})
            }
            Self::Hours => serde_json::json!({"number_style": "decimal", "decimals": 1, "suffix": " h"}),
        }
    }
}
