//! Reads the content files below `metabase/`, and tells every mistake in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::clicks;
use super::content::{Content, Dashboard, Front, Problem, Question, Readers, ValueKind, did_you_mean};

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
    reading.check_links(&content.dashboards);
    reading.problems.extend(clicks::check(&content.dashboards, &content.questions));
    if reading.problems.is_empty() { Ok(content) } else { Err(reading.problems) }
}

/// Reads one question out of the text of its file.
///
/// # Errors
/// Every mistake in it.
pub(super) fn parse_question(name: &str, text: &str) -> Result<Question, Vec<Problem>> {
    let mut reading = Reading { root: PathBuf::new(), problems: Vec::new() };
    match reading.parse(name, text) {
        Some(question) if reading.problems.is_empty() => Ok(question),
        _ => Err(reading.problems),
    }
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
        let text = self.text(path)?;
        self.parse(name, &text)
    }

    fn parse(&mut self, name: &str, text: &str) -> Option<Question> {
        let file = format!("metabase/questions/{name}.sql");
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
        if dashboard.level.is_some() != dashboard.levels.is_empty() {
            self.refuse(file, 0, "a dashboard has a `level`, or several `levels`");
        }
        for card in &dashboard.cards {
            let given = [&card.question, &card.text, &card.heading, &card.links].into_iter().flatten().count();
            if given != 1 {
                self.refuse(file, 0, "a card has exactly one of `question`, `text`, `heading` and `links`");
            }
            match &card.tab {
                Some(tab) if !dashboard.tabs.contains(tab) => {
                    self.refuse(file, line_of(&format!("\"{tab}\"")), format!("unknown tab `{tab}`: add it to `tabs`"));
                }
                None if !dashboard.tabs.is_empty() => {
                    self.refuse(file, 0, "a dashboard with `tabs` says of every card in which `tab` it is");
                }
                _ => {}
            }
        }
        self.check_parameters(file, text, dashboard, questions);
        for question in dashboard.questions() {
            if !questions.contains_key(question) {
                let near = did_you_mean(questions.keys(), question);
                let line = line_of(&format!("\"{question}\""));
                self.refuse(file, line, format!("unknown question `{question}`{near}"));
            }
        }
        if dashboard.description.trim().is_empty() {
            self.refuse(file, line_of("description"), "a dashboard says what it is for");
        }
    }

    fn check_parameters(
        &mut self,
        file: &str,
        text: &str,
        dashboard: &Dashboard,
        questions: &BTreeMap<String, Question>,
    ) {
        for parameter in &dashboard.parameters {
            let fills = &parameter.fills;
            let line = text.lines().position(|line| line.contains(&format!("\"{fills}\""))).map_or(0, |at| at + 1);
            if parameter.values.is_empty() == parameter.values_from.is_none() {
                self.refuse(file, line, format!("the parameter `{fills}` has either `values` or `values_from`"));
            }
            if let Some(default) = &parameter.default
                && !parameter.values.is_empty()
                && !parameter.values.contains(default)
            {
                self.refuse(file, line, format!("the default `{default}` of `{fills}` is not among its values"));
            }
            let kinds: Vec<ValueKind> = dashboard
                .questions()
                .filter_map(|name| questions.get(name)?.front.parameters.get(fills).copied())
                .collect();
            match kinds.split_first() {
                None => self.refuse(file, line, format!("no question of the dashboard takes the parameter `{fills}`")),
                Some((first, rest)) if rest.iter().any(|kind| kind != first) => {
                    self.refuse(file, line, format!("the questions take `{fills}` as values of several kinds"));
                }
                _ => {}
            }
        }
    }

    /// Dashboards that `links` name, once all are read.
    fn check_links(&mut self, dashboards: &BTreeMap<String, Dashboard>) {
        for (name, dashboard) in dashboards {
            for wanted in dashboard.cards.iter().filter_map(|card| card.links.as_ref()) {
                let file = format!("metabase/dashboards/{name}.toml");
                match dashboards.get(wanted) {
                    None => self.refuse(&file, 0, format!("unknown dashboard `{wanted}` in `links`")),
                    // Who reads a scope reads everything below it that is for everybody, and nothing else for sure.
                    Some(other) if other.readers != Readers::Everybody => {
                        self.refuse(&file, 0, format!("not everybody may read `{wanted}`: `links` cannot lead there"));
                    }
                    Some(other) if other.levels().min() <= dashboard.levels().max() => {
                        self.refuse(&file, 0, format!("`links` lead to scopes below: `{wanted}` is not below"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
