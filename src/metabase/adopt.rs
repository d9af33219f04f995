//! Turns what was made in the browser into files of ours.
//!
//! The way back from a query of one scope to a template of all: the scope's own
//! literal becomes `in_scope()`, its schema `{{ schema }}`. What is written is
//! read again and filled for the same scope, and must say the same.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::actual::{Query, query_of, read_whole};
use super::content::{Content, Question};
use super::context::{Context, Error, Gathered};
use super::desired::{Desired, Shows, links_text};
use super::fence::Fence;
use super::front::{front_matter, same, size_name};
use super::index::Index;
use super::reading;
use super::render::Renderer;
use super::tables::Kind;
use crate::access::{Scope, ScopeKind};
use crate::words::counted;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    /// A question.
    Question,
    /// A dashboard with the questions on it.
    Dashboard,
}

/// A file of ours, not yet written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Below the definitions folder.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Files, and what a person must know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// The files.
    pub files: Vec<File>,
    /// What could not be taken over.
    pub notes: Vec<String>,
}

impl Files {
    /// Writes them below a folder of definitions, in place of what is there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, definitions: &Path) -> Result<(), Error> {
        for file in &self.files {
            let path = definitions.join(&file.path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Error::draw(folder))?;
            }
            // Whole or not at all: the daemon may read it at any moment.
            let partial = path.with_extension("partial");
            std::fs::write(&partial, &file.text).map_err(Error::draw(&partial))?;
            std::fs::rename(&partial, &path).map_err(Error::draw(&path))?;
        }
        Ok(())
    }

    /// The names of the files, a line each, then the notes.
    pub fn names(&self) -> String {
        let files = self.files.iter().map(|file| file.path.clone());
        files.chain(self.notes.iter().map(|note| format!("! {note}"))).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "==> {} <==\n{}", file.path, file.text)?;
        }
        for note in &self.notes {
            writeln!(f, "! {note}")?;
        }
        Ok(())
    }
}

/// What an adoption did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Adopted {
    /// Files written, below the definitions folder.
    pub written: Vec<String>,
    /// What stays as it is, and why.
    pub refused: Vec<String>,
}

impl fmt::Display for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in &self.written {
            writeln!(f, "wrote {path}")?;
        }
        for why in &self.refused {
            writeln!(f, "! {why}")?;
        }
        write!(
            f,
            "{} written, {} not taken over",
            counted(self.written.len(), "file", "files"),
            counted(self.refused.len(), "edit", "edits")
        )
    }
}

/// Writes a question or dashboard of any of our collections as files.
///
/// # Errors
/// When it is not there, is in no collection of ours, or cannot be a file of ours.
pub async fn export(context: &Context<'_>, kind: Exported, id: i64, name: &str) -> Result<Files, Error> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Err(Error::Adopt("a file's name is made of small letters, digits and `_`".to_owned()));
    }
    let exporting = Exporting::new(context).await?;
    let mut files = Files::default();
    match kind {
        Exported::Question => {
            exporting.question(id, name, &mut files).await?;
        }
        Exported::Dashboard => exporting.dashboard(id, name, &mut files).await?,
    }
    Ok(files)
}

/// Writes what was edited by hand of ours into our files. An edit of one scope
/// becomes the definition of all scopes of its level; two scopes that were edited
/// differently are told, and neither is taken.
///
/// # Errors
/// When the instance or the files cannot be read, or a file cannot be written.
pub async fn adopt(context: &Context<'_>, definitions: &Path) -> Result<Adopted, Error> {
    let exporting = Exporting::new(context).await?;
    let plan = context.plan_without_guards(&exporting.gathered);
    let mut adopted = Adopted::default();
    let mut texts: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (kind, key) in plan.steps.iter().filter_map(super::step::Step::updated) {
        let by_hand = exporting
            .gathered
            .actual
            .details
            .keys()
            .any(|(of, id)| *of == kind && exporting.index.get(kind, &key) == Some(*id));
        let (Some(id), true) = (exporting.index.get(kind, &key), by_hand) else { continue };
        let name = key.split('@').next().unwrap_or_default();
        let mut files = Files::default();
        let outcome = match kind {
            Kind::Card => exporting.question(id, name, &mut files).await.map(drop),
            _ => exporting.dashboard(id, name, &mut files).await,
        };
        match outcome {
            Ok(()) => {
                adopted.refused.extend(files.notes);
                // Of a dashboard its own file: questions that are ours are adopted by themselves.
                let own = if kind == Kind::Card { "questions/" } else { "" };
                for file in files.files.into_iter().filter(|file| file.path.contains(own)) {
                    texts.entry(file.path).or_default().push((key.clone(), file.text));
                }
            }
            Err(Error::Adopt(why)) => adopted.refused.push(format!("{} `{key}`: {why}", kind.text())),
            Err(error) => return Err(error),
        }
    }
    for (path, versions) in texts {
        let first = &versions[0].1;
        if versions.iter().any(|(_, text)| text != first) {
            let keys: Vec<&str> = versions.iter().map(|(key, _)| key.as_str()).collect();
            adopted.refused.push(format!("{path}: {} were edited in different ways", keys.join(", ")));
            continue;
        }
        let before = std::fs::read_to_string(definitions.join(&path)).unwrap_or_default();
        if before != *first {
            Files { files: vec![File { path: path.clone(), text: first.clone() }], notes: Vec::new() }
                .write(definitions)?;
            adopted.written.push(path);
        }
    }
    Ok(adopted)
}

struct Exporting {
    gathered: Gathered,
    index: Index,
    content: Content,
}

impl Exporting {
    async fn new(context: &Context<'_>) -> Result<Self, Error> {
        let content = reading::read(context.definitions).map_err(Error::Content)?;
        let gathered = context.gather().await?;
        let index = Index::resolve(&gathered.desired, &gathered.actual, &gathered.objects);
        Ok(Self { gathered, index, content })
    }

    fn desired(&self) -> &Desired {
        &self.gathered.desired
    }

    /// The scope of the collection that something stands in.
    fn scope_of(&self, whole: &Value) -> Result<Scope, Error> {
        let collection = whole["collection_id"].as_i64();
        let key = collection.and_then(|id| self.index.key(Kind::Collection, id));
        let found = key.and_then(|key| self.desired().collections.iter().find(|collection| collection.key == key));
        found.map(|found| found.scope.clone()).ok_or_else(|| {
            Error::Adopt("it is in no collection of ours, so that its scope is unknown: move it into one".to_owned())
        })
    }

    async fn whole(&self, kind: Kind, id: i64) -> Result<Value, Error> {
        let found = read_whole(&self.gathered.client, kind, id).await.map_err(Error::Metabase)?;
        found.ok_or_else(|| Error::Adopt(format!("there is no {} {id}", kind.text())))
    }

    async fn question(&self, id: i64, name: &str, files: &mut Files) -> Result<Scope, Error> {
        let card = self.whole(Kind::Card, id).await?;
        let scope = self.scope_of(&card)?;
        let Some(Query { sql, .. }) = query_of(&card).filter(|query| !query.sql.trim().is_empty()) else {
            return Err(Error::Adopt(
                "it is made with the query builder: convert it to SQL in Metabase first".to_owned(),
            ));
        };
        let known = self.content.questions.get(name);
        let template = template_of(&sql, &scope, &self.content.collections.unscoped)?;
        let text = format!("{}{}\n", front_matter(&card, &self.content.collections.currency, known)?, template.trim());
        self.must_say_the_same(name, &text, &card, &scope, &sql)?;
        files.files.push(File { path: format!("metabase/questions/{name}.sql"), text });
        Ok(scope)
    }

    /// Reads the file as any other and fills it for the same scope.
    fn must_say_the_same(&self, name: &str, text: &str, card: &Value, scope: &Scope, sql: &str) -> Result<(), Error> {
        let question: Question = reading::parse_question(name, text).map_err(|problems| {
            Error::Adopt(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let renderer = Renderer::new(&self.gathered.tree, &self.content);
        let filled = renderer.sql(&question, scope).map_err(Error::Adopt)?;
        if filled.trim() != sql.trim().trim_end_matches(';') {
            return Err(Error::Adopt("its SQL cannot be turned into a template that says the same".to_owned()));
        }
        let drawn = question.visualization(&self.content.collections.currency);
        if !same(&drawn, &card["visualization_settings"]) {
            return Err(Error::Adopt(
                "its display settings cannot be written as front matter that says the same".to_owned(),
            ));
        }
        Ok(())
    }

    async fn dashboard(&self, id: i64, name: &str, files: &mut Files) -> Result<(), Error> {
        let board = self.whole(Kind::Dashboard, id).await?;
        let scope = self.scope_of(&board)?;
        let known = self.content.dashboards.get(name);
        let title = |text: &str| self.as_template(text, &scope);
        let mut out = toml::Table::new();
        out.insert("title".to_owned(), title(board["name"].as_str().unwrap_or_default()).into());
        let described =
            board["description"].as_str().filter(|text| !text.trim().is_empty()).unwrap_or("Describe what it is for.");
        out.insert("description".to_owned(), title(described).into());
        match known.filter(|known| !known.levels.is_empty()) {
            Some(known) => {
                let levels: Vec<toml::Value> = known.levels.iter().map(|level| level.to_string().into()).collect();
                out.insert("levels".to_owned(), levels.into());
            }
            None => {
                out.insert("level".to_owned(), scope.kind().to_string().into());
            }
        }
        if known.is_some_and(|known| known.readers == super::content::Readers::Owners) {
            out.insert("readers".to_owned(), "owners".into());
        }
        if board["width"] == "full" {
            out.insert("width".to_owned(), "full".into());
        }
        if let Some(rank) = known.and_then(|known| known.pinned) {
            out.insert("pinned".to_owned(), i64::from(rank).into());
        }
        let tabs: Vec<&Value> = board["tabs"].as_array().into_iter().flatten().collect();
        if !tabs.is_empty() {
            let titles: Vec<toml::Value> = tabs.iter().filter_map(|tab| tab["name"].as_str()).map(Into::into).collect();
            out.insert("tabs".to_owned(), titles.into());
        }
        let parameters = board["parameters"].as_array().map_or(0, Vec::len);
        if let Some(known) = known.filter(|known| !known.parameters.is_empty()) {
            let kept = toml::Value::try_from(&known.parameters).map_err(|error| Error::Adopt(error.to_string()))?;
            out.insert("parameters".to_owned(), kept);
        } else if parameters > 0 {
            files.notes.push(format!(
                "{parameters} filters of dashboard {id} are not taken over: write them as [[parameters]]"
            ));
        }
        let mut places: Vec<&Value> = board["dashcards"].as_array().into_iter().flatten().collect();
        let tab_at = |place: &Value| tabs.iter().position(|tab| tab["id"] == place["dashboard_tab_id"]);
        places.sort_by_key(|place| (tab_at(place), place["row"].as_i64(), place["col"].as_i64()));
        let mut cards = Vec::new();
        for place in places {
            let mut card = toml::Table::new();
            if let Some(tab) = tab_at(place).and_then(|at| tabs[at]["name"].as_str()) {
                card.insert("tab".to_owned(), tab.into());
            }
            let (key, value) = self.shown(place, id, &scope, files).await?;
            // A click is known by names in the file, by numbers in Metabase.
            let same =
                known.into_iter().flat_map(|known| &known.cards).find(|card| card.question.as_ref() == Some(&value));
            if let (Some(click), "question") = (same.and_then(|card| card.click.as_ref()), key) {
                let click = toml::Value::try_from(click).map_err(|error| Error::Adopt(error.to_string()))?;
                card.insert("click".to_owned(), click);
            }
            card.insert(key.to_owned(), value.into());
            let (columns, rows) = (place["size_x"].as_i64().unwrap_or(24), place["size_y"].as_i64().unwrap_or(6));
            card.insert("size".to_owned(), size_name(columns, rows).into());
            cards.push(toml::Value::Table(card));
        }
        out.insert("cards".to_owned(), cards.into());
        let text = toml::to_string(&out).map_err(|error| Error::Adopt(error.to_string()))?;
        files.files.push(File { path: format!("metabase/dashboards/{name}.toml"), text });
        Ok(())
    }

    /// What one place of a dashboard shows, as a key and value of its card.
    async fn shown(
        &self,
        place: &Value,
        board: i64,
        scope: &Scope,
        files: &mut Files,
    ) -> Result<(&'static str, String), Error> {
        if let Some(id) = place["card_id"].as_i64() {
            let ours = self.index.key(Kind::Card, id).and_then(|key| key.split('@').next());
            let name = match ours {
                Some(name) => name.to_owned(),
                None => {
                    let name = file_name(place["card"]["name"].as_str().unwrap_or_default(), id);
                    Box::pin(self.question(id, &name, files)).await?;
                    name
                }
            };
            return Ok(("question", name));
        }
        let settings = &place["visualization_settings"];
        let text = settings["text"].as_str().unwrap_or_default();
        if settings["virtual_card"]["display"] == "heading" {
            return Ok(("heading", self.as_template(text, scope)));
        }
        // A list of links that we wrote is written as such again.
        let key = self.index.key(Kind::Dashboard, board).unwrap_or_default();
        let ours = self.desired().dashboards.get(key).into_iter().flat_map(|board| &board.places);
        for place in ours {
            if let Shows::Links(links) = &place.shows
                && links_text(self.desired().site_url(), links, |key| self.index.get(Kind::Dashboard, key)) == text
                && let Some((name, _)) = links.first().and_then(|(_, key)| key.split_once('@'))
            {
                return Ok(("links", name.to_owned()));
            }
        }
        Ok(("text", self.as_template(text, scope)))
    }

    /// Puts the scope's own name back to a placeholder.
    fn as_template(&self, text: &str, scope: &Scope) -> String {
        let title = self.gathered.tree.title(scope);
        let text = text.replace("{{", "{{ '{{' }}");
        if title.chars().count() > 3 && scope.kind() != ScopeKind::Chain {
            text.replace(&title, "{{ title }}")
        } else {
            text
        }
    }
}

/// Makes a file's name of a title.
fn file_name(title: &str, id: i64) -> String {
    let words: String = title.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let short = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    if short.is_empty() { format!("question_{id}") } else { short }
}

/// Puts placeholders where a query names its scope.
fn template_of(sql: &str, scope: &Scope, unscoped: &[String]) -> Result<String, Error> {
    if sql.contains("{%") || sql.contains("{#") {
        return Err(Error::Adopt("its SQL holds `{%` or `{#`, which mean something in our files".to_owned()));
    }
    let fence = Fence { scope, unscoped };
    // Tags first: what is put in later has braces of its own.
    let mut out = String::new();
    for (at, piece) in sql.split("{{").enumerate() {
        match piece.split_once("}}").filter(|_| at > 0) {
            Some((tag, rest)) => out.push_str(&format!("{{{{ parameter(\"{}\") }}}}{rest}", tag.trim())),
            None => out.push_str(piece),
        }
    }
    let plain = fence.condition(None);
    if plain != "TRUE" {
        let mut fenced = String::new();
        let mut rest = out.as_str();
        while let Some(at) = rest.find(&plain) {
            let before = &rest[..at];
            let alias = before.strip_suffix('.').map(|text| {
                let start = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
                &text[start..]
            });
            match alias.filter(|alias| !alias.is_empty()) {
                Some(alias) => {
                    fenced.push_str(&before[..before.len() - alias.len() - 1]);
                    fenced.push_str(&format!("{{{{ in_scope(\"{alias}\") }}}}"));
                }
                None => {
                    fenced.push_str(before);
                    fenced.push_str("{{ in_scope() }}");
                }
            }
            rest = &rest[at + plain.len()..];
        }
        fenced.push_str(rest);
        out = fenced;
    }
    Ok(out.replace(&format!("{}.", fence.schema()), "{{ schema }}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scopes_literal_becomes_a_placeholder_again() {
        let store: Scope = "store:harbor/000125".parse().unwrap();
        let sql = "SELECT a FROM mart_harbor.sales AS s JOIN mart_harbor.x ON true WHERE s.store_id = '000125' AND store_id = '000125' [[AND b = {{ b }}]]";
        insta::assert_snapshot!(template_of(sql, &store, &[]).unwrap(), @r#"SELECT a FROM {{ schema }}.sales AS s JOIN {{ schema }}.x ON true WHERE {{ in_scope("s") }} AND {{ in_scope() }} [[AND b = {{ parameter("b") }}]]"#);
        let region: Scope = "region:harbor/North".parse().unwrap();
        let sql = Fence { scope: &region, unscoped: &[] }.condition(Some("d"));
        assert_eq!(template_of(&format!("WHERE {sql}"), &region, &[]).unwrap(), "WHERE {{ in_scope(\"d\") }}");
        assert!(template_of("SELECT '{%'", &region, &[]).is_err());
    }

    #[test]
    fn a_title_becomes_a_files_name() {
        assert_eq!(file_name("Net sales: by hour!", 7), "net_sales_by_hour");
        assert_eq!(file_name("Ω", 7), "question_7");
    }
}
