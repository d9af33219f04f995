//! Lays a summary out as HTML and plain text. Pure.

use chrono::{DateTime, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::error::Error;
use super::summary::{Need, Summary, needs_someone};
use crate::pipelines::{RunReport, Status};
use crate::words::{counted, grouped};

/// How many groups of quarantined rows the mail shows for one run.
const GROUPS_SHOWN: usize = 8;
/// How many names of files stand in one line.
const FILES_SHOWN: usize = 3;

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// Subject line.
    pub subject: String,
    /// The mail as HTML, with nothing to fetch from elsewhere.
    pub html: String,
    /// The mail as plain text.
    pub text: String,
}

impl Summary {
    /// Renders the mail; `now` is the time it names.
    ///
    /// # Errors
    /// When a template of ours cannot be filled.
    pub fn render(&self, now: DateTime<Utc>) -> Result<Rendered, Error> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(
            |name| {
                if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
            },
        );
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(Error::Render)?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("code", code);
        environment.add_filter("breakable", breakable);
        for (name, source) in [
            ("summary.html", include_str!("templates/summary.html")),
            ("summary.txt", include_str!("templates/summary.txt")),
        ] {
            environment.add_template(name, source).map_err(Error::Render)?;
        }
        let view = Value::from(Serde(View::of(self, now)));
        let fill = |name: &str| environment.get_template(name)?.render(view.clone());
        Ok(Rendered {
            subject: self.subject(),
            html: fill("summary.html").map_err(Error::Render)?,
            text: fill("summary.txt").map_err(Error::Render)?,
        })
    }
}

/// What the templates see: words and numbers, already written out.
#[derive(Serialize)]
struct View {
    subject: String,
    headline: String,
    tone: &'static str,
    overview: String,
    needs: Vec<NeedView>,
    quarantine: Vec<QuarantineView>,
    runs: Vec<RunView>,
    facts: Vec<Fact>,
    made_at: String,
}

#[derive(Serialize)]
struct NeedView {
    title: String,
    place: String,
    files: String,
    happened: String,
    remedy: String,
}

#[derive(Serialize)]
struct QuarantineView {
    pipeline: String,
    brand: String,
    total: String,
    groups: Vec<Group>,
    left: String,
    run: i64,
}

/// Rows of one file that broke one rule in the same way.
#[derive(Serialize)]
struct Group {
    file: String,
    rows: String,
    column: String,
    rule: String,
    reason: String,
}

#[derive(Serialize)]
struct RunView {
    pipeline: String,
    brand: String,
    outcome: &'static str,
    tone: &'static str,
    loaded: String,
    inserted: String,
    updated: String,
    unchanged: String,
    quarantined: String,
    held: bool,
    seconds: String,
    bar: Vec<Segment>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Segment {
    color: &'static str,
    percent: u64,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    text: String,
    tone: &'static str,
}

impl View {
    fn of(summary: &Summary, now: DateTime<Utc>) -> Self {
        let needs = summary.needs();
        let tone = match (needs.is_empty(), summary.rows_quarantined()) {
            (false, _) => "bad",
            (true, 0) => "good",
            (true, _) => "warn",
        };
        let mut runs: Vec<&RunReport> = summary.runs.iter().collect();
        runs.sort_by_key(|run| !needs_someone(run));
        Self {
            subject: summary.subject(),
            headline: sentence(&summary.headline()),
            tone,
            overview: overview(summary, &needs),
            needs: needs.into_iter().map(NeedView::of).collect(),
            quarantine: runs
                .iter()
                .filter(|run| !run.quarantine.is_empty())
                .map(|run| QuarantineView::of(run))
                .collect(),
            runs: runs.into_iter().map(RunView::of).collect(),
            facts: facts(summary),
            made_at: now.format("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }
}

impl NeedView {
    fn of(need: Need) -> Self {
        let mut place: Vec<String> = need.brand.into_iter().collect();
        place.extend(need.run.map(|run| format!("run {run}")));
        let mut files = need.files.iter().take(FILES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if need.files.len() > FILES_SHOWN {
            files.push_str(&format!(" and {} more", need.files.len() - FILES_SHOWN));
        }
        Self { title: need.subject, place: place.join(", "), files, happened: need.happened, remedy: need.remedy }
    }
}

impl QuarantineView {
    fn of(run: &RunReport) -> Self {
        let mut groups: Vec<(Group, Vec<u64>)> = Vec::new();
        for sample in &run.quarantine {
            let known = groups.iter_mut().find(|(group, _)| {
                group.file == sample.file
                    && group.column == sample.column
                    && group.rule == sample.rule
                    && group.reason == sample.reason
            });
            if let Some((_, rows)) = known {
                rows.push(sample.row);
                continue;
            }
            let group = Group {
                file: sample.file.clone(),
                rows: String::new(),
                column: sample.column.clone(),
                rule: sample.rule.clone(),
                reason: sample.reason.clone(),
            };
            groups.push((group, vec![sample.row]));
        }
        let shown: u64 = groups.iter().take(GROUPS_SHOWN).map(|(_, rows)| rows.len() as u64).sum();
        let left = run.rows_quarantined.saturating_sub(shown);
        Self {
            pipeline: run.pipeline.to_string(),
            brand: run.brand.to_string(),
            total: counted(run.rows_quarantined, "row", "rows"),
            groups: groups
                .into_iter()
                .take(GROUPS_SHOWN)
                .map(|(group, rows)| Group { rows: ranges(rows), ..group })
                .collect(),
            left: if left == 0 { String::new() } else { grouped(left) },
            run: run.run_id.0,
        }
    }
}

impl RunView {
    fn of(run: &RunReport) -> Self {
        let (outcome, tone) = match run.status {
            Status::Failed => ("failed", "bad"),
            Status::Interrupted => ("interrupted", "bad"),
            Status::Partial => ("partly loaded", "bad"),
            Status::Succeeded | Status::NothingNew if run.over_threshold => ("too much quarantined", "bad"),
            Status::NothingNew => ("nothing new", "quiet"),
            Status::Succeeded => ("loaded", "good"),
        };
        let zero_as_dash = |number: u64| {
            if number == 0 { "–".to_owned() } else { grouped(number) }
        };
        Self {
            pipeline: run.pipeline.to_string(),
            brand: run.brand.to_string(),
            outcome,
            tone,
            loaded: zero_as_dash(run.rows_loaded),
            inserted: grouped(run.rows_inserted),
            updated: grouped(run.rows_updated),
            unchanged: grouped(run.rows_unchanged),
            quarantined: zero_as_dash(run.rows_quarantined),
            held: run.rows_quarantined > 0,
            seconds: seconds(run.duration_ms),
            bar: bar(run),
            notes: run.notes.clone(),
        }
    }
}

/// Shares of a run's rows, in whole percent, at least 1 for what is there at all.
fn bar(run: &RunReport) -> Vec<Segment> {
    let parts = [
        ("#12805c", run.rows_inserted),
        ("#2f6fd6", run.rows_updated),
        ("#b8c2cc", run.rows_unchanged),
        ("#d97706", run.rows_quarantined),
    ];
    let total: u64 = parts.iter().map(|(_, rows)| rows).sum();
    let mut segments: Vec<Segment> = parts
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .map(|(color, rows)| Segment { color, percent: (rows * 100 / total).max(1) })
        .collect();
    let sum: u64 = segments.iter().map(|segment| segment.percent).sum();
    if let Some(largest) = segments.iter_mut().max_by_key(|segment| segment.percent) {
        largest.percent = (largest.percent + 100).saturating_sub(sum);
    }
    segments
}

fn overview(summary: &Summary, needs: &[Need]) -> String {
    let total = summary.runs.len() as u64;
    if total == 0 {
        return String::new();
    }
    let new = summary.runs.iter().filter(|run| run.status.has_loaded()).count() as u64;
    let took = seconds(summary.runs.iter().map(|run| run.duration_ms).sum());
    let brought = format!("{} of {} brought data", grouped(new), counted(total, "run", "runs"));
    if needs.is_empty() {
        return format!("Nothing to do. {brought}, in {took}.");
    }
    let (loaded, quarantined) = (summary.rows_loaded(), summary.rows_quarantined());
    let rows = counted(loaded, "row", "rows");
    format!("{brought}: {rows} loaded, {} quarantined, in {took}.", grouped(quarantined))
}

fn facts(summary: &Summary) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(forecast) = &summary.forecast {
        let (text, tone) = match &forecast.error {
            Some(error) => (error.clone(), "bad"),
            None => {
                let series = counted(forecast.series, "series", "series");
                (format!("{series}, {} ahead", counted(forecast.horizon_days, "day", "days")), "good")
            }
        };
        facts.push(Fact { name: "Forecast", text, tone });
    }
    if let Some(plan) = &summary.plan {
        let changes = counted(plan.applied, "change", "changes");
        let (text, tone) = match (&plan.error, plan.remaining) {
            (Some(error), _) => (error.clone(), "bad"),
            (None, 0) if plan.applied == 0 => ("as desired, nothing to change".to_owned(), "good"),
            (None, 0) => (format!("{changes} applied, none pending"), "good"),
            (None, left) => (format!("{changes} applied, {} pending", grouped(left)), "bad"),
        };
        facts.push(Fact { name: "Metabase", text, tone });
    }
    if let Some(audit) = &summary.audit {
        let checked =
            format!("{}, {}", counted(audit.people, "person", "people"), counted(audit.checks, "check", "checks"));
        let (text, tone) = match (&audit.error, audit.leaks) {
            (Some(error), _) => (error.clone(), "bad"),
            (None, 0) => (format!("{checked}: everybody sees the granted stores and no other"), "good"),
            (None, leaks) => (format!("{checked}: {}", counted(leaks, "leak", "leaks")), "bad"),
        };
        facts.push(Fact { name: "Isolation", text, tone });
    }
    facts
}

/// Turns `` `x` `` into code, with everything else escaped.
fn code(text: &str) -> Value {
    let style = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px;background-color:rgba(128,128,128,.16);border-radius:3px;padding:1px 4px";
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let escaped = escaped(part);
        if index % 2 == 1 {
            html.push_str(&format!("<span style=\"{style}\">{escaped}</span>"));
        } else {
            html.push_str(&escaped);
        }
    }
    Value::from_safe_string(html)
}

/// Lets a long name break behind its underscores, and nowhere else.
fn breakable(text: &str) -> Value {
    Value::from_safe_string(escaped(text).replace('_', "_<wbr>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// `all 3 runs fine` becomes `All 3 runs fine.`
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} min {:02} s", milliseconds / 60_000, milliseconds % 60_000 / 1000),
    }
}

/// Writes row numbers as ranges: `rows 4–6, 9`.
fn ranges(mut rows: Vec<u64>) -> String {
    rows.sort_unstable();
    rows.dedup();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for row in &rows {
        match spans.last_mut() {
            Some((_, end)) if *end + 1 == *row => *end = *row,
            _ => spans.push((*row, *row)),
        }
    }
    let texts: Vec<String> = spans
        .into_iter()
        .map(|(start, end)| if start == end { start.to_string() } else { format!("{start}–{end}") })
        .collect();
    format!("{} {}", if rows.len() == 1 { "row" } else { "rows" }, texts.join(", "))
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
