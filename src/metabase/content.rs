//! What the content files say: collections, dashboards and questions.
//!
//! One definition serves every scope of its level.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// What the collection is called that only a scope's owners read.
    pub(super) owners: Option<Naming>,
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
    /// The level whose scopes have it.
    pub(super) level: Option<ScopeKind>,
    /// Several, in place of `level`.
    #[serde(default)]
    pub(super) levels: Vec<ScopeKind>,
    /// Who reads it of those who hold the scope.
    #[serde(default)]
    pub(super) readers: Readers,
    #[serde(default)]
    pub(super) width: Width,
    /// Its rank among what is pinned at the top of its collection, from 1.
    pub(super) pinned: Option<u32>,
    /// Titles of its tabs, in their order.
    #[serde(default)]
    pub(super) tabs: Vec<String>,
    /// What a reader can choose.
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    pub(super) cards: Vec<Card>,
}

/// Who of a scope's people reads a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Readers {
    /// Whoever holds the scope, or one above it.
    #[default]
    Everybody,
    /// Only who is `owner` of the scope, or of one above it.
    Owners,
}

/// A filter of a dashboard. Its list of values is written down or asked of a
/// question of the same scope; values that Metabase keeps of a column are those
/// of the whole table, and never used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    pub(super) title: String,
    /// The parameter of the questions that it fills.
    pub(super) fills: String,
    /// The values to choose from.
    #[serde(default)]
    pub(super) values: Vec<String>,
    /// The question whose first column lists them.
    pub(super) values_from: Option<String>,
    /// What is chosen at first.
    pub(super) default: Option<String>,
}

/// What kind of value fills a question's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValueKind {
    Text,
    Number,
    Date,
}

/// How wide the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Width {
    #[default]
    Fixed,
    Full,
}

/// One place on a dashboard: exactly one of the first four.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    pub(super) question: Option<String>,
    pub(super) text: Option<String>,
    pub(super) heading: Option<String>,
    /// A dashboard: lists the links to it of the scopes below.
    pub(super) links: Option<String>,
    /// What a click on its question does.
    pub(super) click: Option<Click>,
    /// The title of its tab.
    pub(super) tab: Option<String>,
    #[serde(default)]
    pub(super) size: Size,
}

/// What a click on a card does; by names, never by numbers of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Click {
    /// The column of a table that is clicked.
    pub(super) column: Option<String>,
    /// The dashboard of the same scope that opens; none: the page's own filters are filled.
    pub(super) dashboard: Option<String>,
    /// Filters of that dashboard, each with the column whose value fills it.
    #[serde(default)]
    pub(super) fill: BTreeMap<String, String>,
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
    /// What its query takes, by the name in `{{ parameter("…") }}`.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, ValueKind>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Dashboard {
    /// The levels whose scopes have it.
    pub(super) fn levels(&self) -> impl Iterator<Item = ScopeKind> + '_ {
        self.level.into_iter().chain(self.levels.iter().copied())
    }

    /// The questions it shows, and those that list values for its filters.
    pub(super) fn questions(&self) -> impl Iterator<Item = &String> {
        let lists = self.parameters.iter().filter_map(|parameter| parameter.values_from.as_ref());
        self.cards.iter().filter_map(|card| card.question.as_ref()).chain(lists)
    }
}

/// Ends a message about an unknown name with the known one that is spelled most alike, if one is.
pub(super) fn did_you_mean<'a>(known: impl Iterator<Item = &'a String>, name: &str) -> String {
    let near = known.map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let near = near.filter(|(distance, _)| *distance <= 6);
    near.map(|(_, near)| format!("; did you mean `{near}`?")).unwrap_or_default()
}
