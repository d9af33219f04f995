//! `CreateMultiple`, `UpdateMultiple` and `UpsertMultiple`: all rows or none, and
//! the error does not say which row it was.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::key::{self, Key};
use super::metadata::NAMESPACE;
use super::query::unsupported;
use super::service::Refusal;
use super::store::Store;
use super::write::{self, Written};
use crate::wire::{Request, Response};

/// The messages for many rows, as the last segment of an address says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Create,
    Update,
    Upsert,
}

impl Message {
    /// Reads `Microsoft.Dynamics.CRM.UpsertMultiple` and its like.
    pub(super) fn named(segment: &str) -> Option<Self> {
        match segment.strip_prefix(NAMESPACE)? {
            "CreateMultiple" => Some(Self::Create),
            "UpdateMultiple" => Some(Self::Update),
            "UpsertMultiple" => Some(Self::Upsert),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow, rename = "Targets")]
    targets: Vec<&'a RawValue>,
}

/// Carries a message out; at the first bad row everything is as it was.
pub(super) fn run(
    store: &mut Store,
    at: usize,
    message: Message,
    request: &Request,
    base: &str,
    now: DateTime<Utc>,
) -> Result<Response, Refusal> {
    let table = &store.tables[at];
    if store.without_bulk.contains(&table.logical_name) {
        let segment = request.path().rsplit('/').next().unwrap_or_default();
        return Err(Refusal::new(404, "0x80060888", format!("Resource not found for the segment '{segment}'.")));
    }
    let body: Body<'_> = serde_json::from_slice(&request.body)
        .map_err(|_| write::payload(table, "The payload holds no Targets.".to_owned()))?;
    if body.targets.is_empty() {
        return Err(invalid_argument());
    }
    let before = (store.tables[at].clone(), store.version);
    match all(store, at, message, &body.targets, now) {
        Ok(ids) if message == Message::Create => {
            let context = format!("{base}/$metadata#{NAMESPACE}CreateMultipleResponse");
            let body = json!({"@odata.context": context, "Ids": ids});
            Ok(Response::text(200, "application/json; odata.metadata=minimal", body.to_string()))
        }
        Ok(_) => Ok(Response::empty(204)),
        Err(refusal) => {
            (store.tables[at], store.version) = before;
            Err(refusal)
        }
    }
}

fn all(
    store: &mut Store,
    at: usize,
    message: Message,
    targets: &[&RawValue],
    now: DateTime<Utc>,
) -> Result<Vec<String>, Refusal> {
    let mut ids = HashSet::new();
    let mut ordered = Vec::new();
    for target in targets {
        let written = one(store, at, message, target, now)?;
        if !ids.insert(written.id.clone()) {
            let text = "A record with matching key values already exists.";
            return Err(Refusal::new(412, "0x80040237", text));
        }
        ordered.push(written.id);
    }
    Ok(ordered)
}

fn one(
    store: &mut Store,
    at: usize,
    message: Message,
    target: &RawValue,
    now: DateTime<Utc>,
) -> Result<Written, Refusal> {
    let table = &store.tables[at];
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(target.get())
        .map_err(|_| write::payload(table, "A target is no JSON object.".to_owned()))?;
    let text = |name: &str| members.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    let wanted = format!("{NAMESPACE}{}", table.logical_name);
    let kind = text("@odata.type").unwrap_or_default();
    if kind.trim_start_matches('#') != wanted {
        let text = format!("A target has the type '{kind}' where '{wanted}' is expected.");
        return Err(write::payload(table, text));
    }
    let row = Request {
        method: "PATCH".to_owned(),
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: target.get().as_bytes().to_vec(),
        ..Request::default()
    };
    if message == Message::Create {
        return write::create(store, at, &row, now);
    }
    let primary = text(&table.primary_id).map(Key::Id);
    let key = match text("@odata.id") {
        Some(reference) => Some(referenced(&table.entity_set, &reference).ok_or_else(|| write::not_a_key(table))?),
        None => primary,
    };
    let Some(key) = key else {
        // Without any key an upsert creates; an update has nothing to go by.
        return if message == Message::Upsert { write::create(store, at, &row, now) } else { Err(invalid_argument()) };
    };
    let found = table.resolve(&key).map_err(|()| write::not_a_key(table))?;
    match (&found, message, &key) {
        (None, Message::Update, _) => return Err(write::does_not_exist(table, &key)),
        // Only while creating does it hurt that the key stands in the body as well.
        (None, _, Key::Columns(parts)) if parts.iter().any(|(name, _)| members.contains_key(name)) => {
            return Err(invalid_argument());
        }
        _ => {}
    }
    write::upsert(store, at, &key, &row, now)
}

/// Reads `set(key)` of a table, relative or absolute.
fn referenced(entity_set: &str, reference: &str) -> Option<Key> {
    let start = reference.rfind(&format!("{entity_set}("))?;
    let (set, raw) = key::split(&reference[start..]);
    (set == entity_set).then(|| key::parse(raw?).ok()).flatten()
}

fn invalid_argument() -> Refusal {
    Refusal::new(400, "0x80040203", "Invalid argument.")
}

/// Answers whether a table takes a message: the `sdkmessagefilters` query.
pub(super) fn available(store: &Store, request: &Request, base: &str) -> Result<Response, Refusal> {
    let pairs = request.parameters().ok_or_else(|| Refusal::bad_request("The query string is malformed."))?;
    let (mut message, mut table, mut filter) = (None, None, None);
    for (name, value) in pairs {
        let literal = || value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).map(str::to_owned);
        match name.as_str() {
            "$select" if value == "sdkmessagefilterid" => {}
            "$filter" => filter = Some(value),
            "@message" => message = literal(),
            "@table" => table = literal(),
            other => return Err(unsupported(other)),
        }
    }
    let wanted = "sdkmessageid/name eq @message and primaryobjecttypecode eq @table";
    let (Some(message), Some(table), true) = (message, table, filter.as_deref() == Some(wanted)) else {
        return Err(Refusal::outside_contract("this question for messages"));
    };
    let known = store.tables.iter().any(|other| other.logical_name == table) && !store.without_bulk.contains(&table);
    let multiple = matches!(message.as_str(), "CreateMultiple" | "UpdateMultiple" | "UpsertMultiple");
    let value = if known && multiple {
        let id = crate::wire::numbered_guid(&format!("{message} of {table}"), 0);
        vec![json!({"@odata.etag": "W/\"2009110\"", "sdkmessagefilterid": id})]
    } else {
        Vec::new()
    };
    let context = format!("{base}/$metadata#sdkmessagefilters(sdkmessagefilterid)");
    let body = json!({"@odata.context": context, "value": value});
    Ok(Response::text(200, "application/json; odata.metadata=minimal", body.to_string()))
}
