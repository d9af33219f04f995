//! Children and changes, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::api::Bases;
use super::drive::{Drive, Place, ROOT};
use super::options::{PagingQuirk, Resync};
use super::render::{Context, Selection, item};
use super::state::{Links, Problem, State};
use crate::wire::{Request, encode_percent};

/// Where a link handed out goes on.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    /// Children whose name, in lower case, sorts after this one.
    Children { after: String, blank: bool },
    /// The rest of one enumeration of changes.
    Changes(Changes),
    /// Everything that changes after this point.
    Since { drive: usize, change: u64, selection: Selection },
    /// A fresh link that does not work, as it was seen once.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Changes {
    drive: usize,
    rest: Vec<Place>,
    /// The point up to which this enumeration tells everything.
    until: u64,
    page_size: usize,
    selection: Selection,
    blank: bool,
}

/// A foreign host that a client must not send its token to.
const FOREIGN: &str = "https://graph.example.net";

impl Links {
    fn add(&mut self, target: String, cursor: Cursor) {
        self.made += 1;
        self.known.insert(target, (self.made, cursor));
    }

    fn token(&self) -> String {
        let digest = Sha256::digest(format!("link {}", self.made + 1));
        URL_SAFE_NO_PAD.encode(&digest[..24])
    }

    /// Finds a change link by its raw text, or says how it has expired.
    fn find(&self, target: &str) -> Result<Cursor, Problem> {
        let Some((number, cursor)) = self.known.get(target) else {
            return Err(Problem::new(400, "invalidRequest", "Invalid API or resource"));
        };
        Ok(match (self.expired, cursor) {
            (Some((last, _)), Cursor::Since { .. } | Cursor::Changes(_)) if *number <= last => {
                return Err(expired());
            }
            _ => cursor.clone(),
        })
    }
}

fn expired() -> Problem {
    Problem::new(
        410,
        "resyncRequired",
        "Resync required. Replace any local items with the server's version (including deletes) if \
         you're sure that the service was up to date with your local changes when you last sync'd. \
         Upload any local changes that the server doesn't know about.",
    )
}

/// Lists one page of a folder.
pub(super) fn children(
    state: &mut State,
    bases: &Bases,
    request: &Request,
    drive: usize,
    folder: Place,
) -> Result<Value, Problem> {
    let options = Options::read(request, &["$top", "$select", "$skiptoken"])?;
    let (after, blank) = match options.get("$skiptoken") {
        None => (String::new(), false),
        Some(_) => match state.links.known.get(&request.target) {
            Some((_, Cursor::Children { after, blank })) => (after.clone(), *blank),
            _ => return Err(Problem::new(400, "invalidRequest", "Invalid skip token")),
        },
    };
    let size = options.top()?.unwrap_or(usize::MAX).min(state.paging.size).max(1);
    let selection = options.selection()?;

    let found = &state.drives[drive];
    let mut names: Vec<(String, Place)> = found
        .children(folder)
        .map(|place| (found.item(place).name.to_lowercase(), place))
        .filter(|(name, _)| *name > after)
        .collect();
    names.sort();
    let more = blank || names.len() > size;
    names.truncate(if blank { 0 } else { size });

    let value: Vec<Value> = names
        .iter()
        .map(|(_, place)| {
            let url = bases.download_url(state, drive, *place);
            item(&state.drives[drive], *place, Context::Children, &selection, url)
        })
        .collect();
    let next_link = more.then(|| {
        let after = names.last().map_or(after, |(name, _)| name.clone());
        let blank = !blank && state.paging.quirk == Some(PagingQuirk::EmptyPages);
        let repeating = state.paging.quirk == Some(PagingQuirk::RepeatingLink);
        if repeating && options.get("$skiptoken").is_some() {
            return format!("{}{}", bases.api, request.target);
        }
        let target = next_target(request, "$skiptoken", &state.links.token());
        state.links.add(target.clone(), Cursor::Children { after, blank });
        link(state, bases, &target)
    });
    let id = &state.drives[drive].id;
    let encoded = encode_percent(id, "");
    let context = format!("{}/v1.0/$metadata#drives('{encoded}')/root/children", bases.api);
    Ok(page(context, next_link, None, value))
}

/// Lists one page of what changed in a drive.
pub(super) fn changes(state: &mut State, bases: &Bases, request: &Request, drive: usize) -> Result<Value, Problem> {
    let options = Options::read(request, &["$top", "$select", "token"])?;
    let page_size = options.top()?.unwrap_or(usize::MAX).min(state.paging.size).max(1);
    let cursor = match options.get("token") {
        None => Cursor::Since { drive, change: 0, selection: options.selection()? },
        Some("latest") => {
            let change = state.drives[drive].changes;
            let selection = options.selection()?;
            let delta_link = change_link(state, bases, drive, change, selection);
            return Ok(page(context_of_changes(bases), None, Some(delta_link), Vec::new()));
        }
        Some(_) => match state.links.find(&request.target) {
            Err(problem) if problem.status == 410 => {
                return Err(resync(state, bases, drive, problem));
            }
            other => other?,
        },
    };
    let changes = match cursor {
        Cursor::Changes(changes) => changes,
        Cursor::Since { drive, change, selection } => {
            let parents = request.header("deltaExcludeParent").is_none_or(|value| value != "true");
            let found = &state.drives[drive];
            Changes {
                drive,
                rest: changed_since(found, change, parents),
                until: found.changes,
                page_size,
                selection,
                blank: false,
            }
        }
        Cursor::Broken | Cursor::Children { .. } => {
            return Err(Problem::new(500, "generalException", "An unspecified error has occurred."));
        }
    };
    Ok(page_of_changes(state, bases, request, changes))
}

fn page_of_changes(state: &mut State, bases: &Bases, request: &Request, mut changes: Changes) -> Value {
    let quirk = state.paging.quirk;
    let blank = changes.blank;
    let taken = if blank { 0 } else { changes.page_size.min(changes.rest.len()) };
    let places: Vec<Place> = changes.rest.drain(..taken).collect();
    let drive = changes.drive;
    let value = places
        .iter()
        .map(|place| item(&state.drives[drive], *place, Context::Delta, &changes.selection, None))
        .collect();
    if changes.rest.is_empty() && !blank {
        let link = change_link(state, bases, drive, changes.until, changes.selection);
        return page(context_of_changes(bases), None, Some(link), value);
    }
    let next_link = if quirk == Some(PagingQuirk::RepeatingLink) && request.query().contains("token=") {
        format!("{}{}", bases.api, request.target)
    } else {
        changes.blank = !blank && quirk == Some(PagingQuirk::EmptyPages);
        let target = change_target(state, drive);
        state.links.add(target.clone(), Cursor::Changes(changes));
        link(state, bases, &target)
    };
    page(context_of_changes(bases), Some(next_link), None, value)
}

/// Items in the order of their latest change, and with them the folders they are in.
fn changed_since(drive: &Drive, change: u64, parents: bool) -> Vec<Place> {
    let mut places: Vec<Place> = (0..drive.items.len())
        .filter(|place| {
            let item = drive.item(*place);
            // What never was is not announced as gone.
            item.changed > change && (change > 0 || !item.deleted)
        })
        .collect();
    places.sort_by_key(|place| drive.item(*place).changed);
    if !parents {
        return places;
    }
    let mut folders: Vec<Place> = Vec::new();
    for place in &places {
        let mut at = *place;
        while at != ROOT {
            at = drive.item(at).parent;
            if !folders.contains(&at) && !places.contains(&at) && !drive.item(at).deleted {
                folders.push(at);
            }
        }
    }
    folders.sort_unstable();
    folders.append(&mut places);
    folders
}

fn resync(state: &mut State, bases: &Bases, drive: usize, problem: Problem) -> Problem {
    let how = state.links.expired.map_or(Resync::WithoutLocation, |(_, how)| how);
    let cursor = match how {
        Resync::WithoutLocation => return problem,
        Resync::WithLocation => Cursor::Since { drive, change: 0, selection: Selection::default() },
        Resync::LocationFails => Cursor::Broken,
    };
    let target = change_target(state, drive);
    state.links.add(target.clone(), cursor);
    problem.inner("resyncChangesApplyDifferences").with("Location", format!("{}{target}", bases.api))
}

fn change_link(state: &mut State, bases: &Bases, drive: usize, change: u64, selection: Selection) -> String {
    let target = change_target(state, drive);
    state.links.add(target.clone(), Cursor::Since { drive, change, selection });
    link(state, bases, &target)
}

fn change_target(state: &State, drive: usize) -> String {
    let id = &state.drives[drive].id;
    format!("/v1.0/drives/{id}/root/delta?token={}", state.links.token())
}

/// The same path and query, with the token in place of any earlier one.
fn next_target(request: &Request, name: &str, token: &str) -> String {
    let mut query: Vec<String> = request
        .query()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with(name) && !pair.starts_with("%24skiptoken"))
        // The real service encodes the commas of `$select`, in lower case.
        .map(|pair| pair.replace(',', "%2c"))
        .collect();
    query.push(format!("{name}={token}"));
    format!("{}?{}", request.path(), query.join("&"))
}

fn link(state: &State, bases: &Bases, target: &str) -> String {
    let foreign = state.paging.quirk == Some(PagingQuirk::ForeignLink);
    format!("{}{target}", if foreign { FOREIGN } else { &bases.api })
}

fn context_of_changes(bases: &Bases) -> String {
    format!("{}/v1.0/$metadata#Collection(driveItem)", bases.api)
}

fn page(context: String, next: Option<String>, delta: Option<String>, value: Vec<Value>) -> Value {
    let mut page = Map::new();
    page.insert("@odata.context".to_owned(), json!(context));
    if let Some(link) = next {
        page.insert("@odata.nextLink".to_owned(), json!(link));
    }
    if let Some(link) = delta {
        page.insert("@odata.deltaLink".to_owned(), json!(link));
    }
    page.insert("value".to_owned(), Value::Array(value));
    Value::Object(page)
}

/// The query options of a request, all of them known ones.
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    pub(super) fn read(request: &Request, known: &[&str]) -> Result<Self, Problem> {
        let Some(pairs) = request.parameters() else {
            return Err(Problem::new(400, "BadRequest", "The query string is malformed."));
        };
        // Options of OData start with `$`; what else stands in a query is nobody's business.
        match pairs.iter().find(|(name, _)| name.starts_with('$') && !known.contains(&name.as_str())) {
            None => Ok(Self(pairs)),
            Some((name, _)) => {
                let message = format!("The query option '{name}' is not supported on this API.");
                Err(Problem::new(400, "invalidRequest", message))
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn top(&self) -> Result<Option<usize>, Problem> {
        self.get("$top")
            .map(|text| {
                text.parse().map_err(|_| {
                    let message = format!("Invalid value '{text}' for $top query option found.");
                    Problem::new(400, "BadRequest", message)
                })
            })
            .transpose()
    }

    pub(super) fn selection(&self) -> Result<Selection, Problem> {
        Selection::parse(self.get("$select")).map_err(|name| {
            let message = format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on \
                 type 'microsoft.graph.driveItem'."
            );
            Problem::new(400, "BadRequest", message)
        })
    }
}
