//! Change tracking: what was written or deleted since a link was handed out.

use chrono::{DateTime, TimeDelta, Utc};

use super::query::{Query, bare_query};
use super::render::member;
use super::service::Refusal;
use super::store::Store;
use crate::wire::Request;

/// How long a change link is good for.
const LIFETIME_DAYS: i64 = 7;

/// What a change link stands for.
#[derive(Debug, Clone)]
pub(super) struct ChangeLink {
    /// Writes after this version are told.
    version: u64,
    issued_at: DateTime<Utc>,
    /// For a later page: what is left to tell, and up to which version.
    rest: Option<(Vec<Event>, u64)>,
    pub(super) expired: bool,
}

#[derive(Debug, Clone)]
enum Event {
    Written(String),
    Deleted(String),
}

/// Makes a change link; the time in its text is the version's only company.
pub(super) fn add_link(store: &mut Store, request: &Request, version: u64) -> String {
    let issued_at = store.now;
    let time = issued_at.format("%m%%2f%d%%2f%Y%%20%H%%3a%M%%3a%S");
    let query = bare_query(request);
    let and = if query.is_empty() { "" } else { "&" };
    let target = format!("{}?{query}{and}$deltatoken={version}%21{time}", request.path());
    let link = ChangeLink { version, issued_at, rest: None, expired: false };
    store.change_links.insert(target.clone(), link);
    target
}

/// Answers what changed since the link, as JSON text.
pub(super) fn run(
    store: &mut Store,
    at: usize,
    query: &Query,
    request: &Request,
    base: &str,
) -> Result<String, Refusal> {
    let Some(link) = store.change_links.get(&request.target).cloned() else {
        return Err(Refusal::bad_request("The delta token is malformed."));
    };
    let table = &store.tables[at];
    let too_old = store.now - link.issued_at > TimeDelta::days(LIFETIME_DAYS);
    if link.expired || too_old || link.version < table.tracked_from {
        return Err(Refusal::new(
            400,
            "0x80044352",
            "Version stamp associated with the client has expired. Please perform a full sync.",
        ));
    }
    let (mut events, until) = match link.rest {
        Some(rest) => rest,
        None => (events_since(store, at, link.version), store.version),
    };
    let page: Vec<Event> = events.drain(..query.page_size().min(events.len())).collect();
    let context = format!("{base}/$metadata#{}", table.entity_set);
    let printed: Vec<String> = page
        .iter()
        .map(|event| match event {
            Event::Written(id) => match table.rows.get(id) {
                Some(row) => query.shape.print(table, row, None),
                // Deleted while the pages were read.
                None => tombstone(&context, id),
            },
            Event::Deleted(id) => tombstone(&context, id),
        })
        .collect();
    let full_context = format!("{context}{}/$delta", query.shape.fragment(table));
    let origin = base.trim_end_matches("/api/data/v9.2");
    let link = if events.is_empty() {
        let target = add_link(store, request, until);
        member("@odata.deltaLink", &format!("{origin}{target}"))
    } else {
        let left = events.len();
        let rest = Some((events, until));
        let next = ChangeLink { version: link.version, issued_at: link.issued_at, rest, expired: false };
        let target = format!("{}&$skiptoken={left}", request.target.split("&$skiptoken").next().unwrap_or_default());
        store.change_links.insert(target.clone(), next);
        member("@odata.nextLink", &format!("{origin}{target}"))
    };
    Ok(format!("{{{},{link},\"value\":[{}]}}", member("@odata.context", &full_context), printed.join(",")))
}

/// Writes first, then deletes, each in the order they happened.
fn events_since(store: &Store, at: usize, version: u64) -> Vec<Event> {
    let table = &store.tables[at];
    let mut written: Vec<(u64, &String)> =
        table.rows.iter().map(|(id, row)| (row.version, id)).filter(|(at, _)| *at > version).collect();
    written.sort_unstable();
    let deleted = table.deletes.iter().filter(|(at, _)| *at > version);
    written
        .into_iter()
        .map(|(_, id)| Event::Written(id.clone()))
        .chain(deleted.map(|(_, id)| Event::Deleted(id.clone())))
        .collect()
}

fn tombstone(context: &str, id: &str) -> String {
    format!(
        "{{{},{},{}}}",
        member("@odata.context", &format!("{context}/$deletedEntity")),
        member("id", id),
        member("reason", "deleted")
    )
}
