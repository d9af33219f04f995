//! Asks the questions and writes the pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::page::{Drawing, Outcome, Sheet, document};
use super::svg::escaped;
use crate::access::Scope;
use crate::metabase::context::{Context, Error, Wanted};
use crate::metabase::desired::{Card, Dashboard};
use crate::metabase::optional::bound;
use crate::warehouse::ask::Asking;
use crate::words::counted;

/// Rows that a page draws of a question at most: what Metabase shows of SQL.
const MOST_ROWS: usize = 2_000;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The dashboard's name for people.
    pub dashboard: String,
    /// Its file without the end.
    pub definition: String,
    /// The scope.
    pub scope: String,
    /// The page, below the folder that was asked for.
    pub file: String,
    /// Questions drawn.
    pub drawn: usize,
    /// Questions with nothing to show, by name.
    pub empty: Vec<String>,
    /// Questions that could not be asked or drawn, by name.
    pub failed: Vec<String>,
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The folder.
    pub folder: PathBuf,
    /// Its pages.
    pub pages: Vec<Page>,
}

impl Preview {
    /// Says whether some question could not be asked or drawn.
    pub fn failed(&self) -> bool {
        self.pages.iter().any(|page| !page.failed.is_empty())
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for page in self.pages.iter().filter(|page| !page.failed.is_empty()) {
            writeln!(f, "{} [{}]: {}", page.definition, page.scope, page.failed.join(", "))?;
        }
        let drawn: usize = self.pages.iter().map(|page| page.drawn).sum();
        let empty: usize = self.pages.iter().map(|page| page.empty.len()).sum();
        let failed: usize = self.pages.iter().map(|page| page.failed.len()).sum();
        write!(
            f,
            "{} in {}: {} drawn, {empty} without data, {failed} failed; start at index.html",
            counted(self.pages.len(), "page", "pages"),
            self.folder.display(),
            counted(drawn, "question", "questions")
        )
    }
}

/// Draws every dashboard of every scope into a folder, or those that are asked for.
/// The files are for the user who runs this alone: they hold the stores' numbers.
///
/// # Errors
/// When the files below `metabase/` are wrong, a role cannot sign in, or the
/// folder cannot be written. A question that fails is no error: its card says why.
pub async fn preview(
    context: &Context<'_>,
    folder: &Path,
    scope: Option<&Scope>,
    definition: Option<&str>,
) -> Result<Preview, Error> {
    let wanted = context.wanted().await?;
    let keep = |key: &str, dashboard: &Dashboard| {
        scope.is_none_or(|scope| dashboard.scope == *scope) && definition.is_none_or(|name| name_of(key) == name)
    };
    let chosen: BTreeMap<&String, &Dashboard> =
        wanted.desired.dashboards.iter().filter(|(key, dashboard)| keep(key, dashboard)).collect();
    if chosen.is_empty() {
        return Err(Error::NothingToDraw);
    }
    let files: BTreeMap<String, String> = chosen.keys().map(|key| ((*key).clone(), file_of(key))).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::draw(folder))?;
    let mut pages = Vec::new();
    let connections: BTreeSet<&str> = chosen
        .values()
        .flat_map(|dashboard| cards(&wanted, dashboard))
        .map(|(_, card)| card.connection.as_str())
        .collect();
    // One sign-in a role, one after the other: a preview is not worth a server's connections.
    for connection in connections {
        let role = &wanted.desired.connections[connection].role;
        let failed = |source| Error::Role { role: role.clone(), source };
        let password = wanted.credentials.password(role);
        let mut asking = Asking::sign_in(context.warehouse, role, &password).await.map_err(failed)?;
        for (key, dashboard) in &chosen {
            if cards(&wanted, dashboard).all(|(_, card)| card.connection != connection) {
                continue;
            }
            let page = draw(context, &wanted, &mut asking, key, dashboard, &files, folder).await?;
            pages.push(page);
        }
        asking.close().await;
    }
    pages.sort_by(|a, b| (&a.definition, &a.scope).cmp(&(&b.definition, &b.scope)));
    write(&folder.join("index.html"), &index(context, &pages))?;
    Ok(Preview { folder: folder.to_owned(), pages })
}

/// The questions a dashboard shows.
fn cards<'a>(wanted: &'a Wanted, dashboard: &'a Dashboard) -> impl Iterator<Item = (&'a str, &'a Card)> {
    dashboard.shown().filter_map(|key| Some((key.as_str(), wanted.desired.cards.get(key)?)))
}

async fn draw(
    context: &Context<'_>,
    wanted: &Wanted,
    asking: &mut Asking,
    key: &str,
    dashboard: &Dashboard,
    files: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Page, Error> {
    let mut answers = BTreeMap::new();
    for (name, card) in cards(wanted, dashboard) {
        let value = |tag: &str| {
            let parameter = dashboard.parameters.iter().find(|parameter| parameter.fills == tag)?;
            parameter.default.clone()
        };
        let outcome = match asking.ask(&bound(&card.sql, value), MOST_ROWS).await {
            Ok(answer) => Outcome::Given(answer),
            // The page is for who wrote the query: it may say what the server said.
            Err(sqlx::Error::Database(error)) => Outcome::Failed(error.message().to_owned()),
            Err(source) => {
                let role = wanted.desired.connections[&card.connection].role.clone();
                return Err(Error::Role { role, source });
            }
        };
        answers.insert(name, (card, outcome));
    }
    let made_at = context.now.format("%Y-%m-%d %H:%M UTC").to_string();
    let place =
        wanted.tree.lineage(&dashboard.scope).iter().rev().map(|scope| wanted.tree.title(scope)).collect::<Vec<_>>();
    let sheet = Sheet { dashboard, place: &place.join(" › "), made_at: &made_at, cards: answers, pages: files };
    let (html, drawings) = sheet.html();
    let file = files[key].clone();
    write(&folder.join(&file), &html)?;
    let named = |wanted: Drawing| {
        let fits = drawings.iter().filter(move |(_, drawing)| *drawing == wanted);
        fits.map(|(key, _)| name_of(key).to_owned()).collect::<Vec<_>>()
    };
    Ok(Page {
        dashboard: dashboard.name.clone(),
        definition: name_of(key).to_owned(),
        scope: dashboard.scope.to_string(),
        file,
        drawn: named(Drawing::Full).len(),
        empty: named(Drawing::Empty),
        failed: named(Drawing::Failed),
    })
}

fn name_of(key: &str) -> &str {
    key.split('@').next().unwrap_or_default()
}

/// `store_morning@store:harbor/000101` is the page `store_morning-store-harbor-000101.html`.
fn file_of(key: &str) -> String {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let mut name: String = key.chars().map(safe).collect();
    if !key.is_ascii() {
        // What the name loses must not bring two pages together.
        let digest = crate::warehouse::hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(key)[..4]);
        let _ = write!(name, "-{digest}");
    }
    format!("{}.html", name.trim_end_matches('-'))
}

fn index(context: &Context<'_>, pages: &[Page]) -> String {
    let mut body = format!(
        "<header><h1>Dashboards</h1><p>Drawn {} for {}.</p></header><table class=\"index\"><thead><tr><th>Dashboard</th><th>Scope</th><th class=\"right\">Drawn</th><th class=\"right\">Without data</th><th>Failed</th></tr></thead><tbody>",
        context.now.format("%Y-%m-%d %H:%M UTC"),
        counted(pages.len(), "scope", "scopes")
    );
    for page in pages {
        let _ = write!(
            body,
            "<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td class=\"right\">{}</td><td class=\"right\">{}</td><td>{}</td></tr>",
            escaped(&page.file),
            escaped(&page.dashboard),
            escaped(&page.scope),
            page.drawn,
            page.empty.len(),
            escaped(&page.failed.join(", "))
        );
    }
    body.push_str("</tbody></table>");
    document("Dashboards", &body)
}

fn write(path: &Path, html: &str) -> Result<(), Error> {
    let opened = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(html.as_bytes())).map_err(Error::draw(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_a_file_of_its_own() {
        assert_eq!(file_of("region@region:harbor/New England"), "region-region-harbor-New-England.html");
        assert_ne!(file_of("region@region:harbor/Süd"), file_of("region@region:harbor/Sýd"));
        assert_eq!(file_of("data_health@brand:harbor (owners)"), "data_health-brand-harbor--owners.html");
    }
}
