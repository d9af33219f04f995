//! Prints drives and items as JSON, each with the members its context has.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::drive::{Drive, Item, Kind, Place, ROOT};

/// Where an item is printed: the members differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Single,
    Children,
    Delta,
}

/// Members that `$select` may name.
const SELECTABLE: &[&str] = &[
    "id",
    "name",
    "size",
    "eTag",
    "cTag",
    "createdDateTime",
    "lastModifiedDateTime",
    "webUrl",
    "createdBy",
    "lastModifiedBy",
    "parentReference",
    "file",
    "folder",
    "package",
    "remoteItem",
    "deleted",
    "root",
    "malware",
    "shared",
    "publication",
    "fileSystemInfo",
    "description",
    "@microsoft.graph.downloadUrl",
    "content.downloadUrl",
];

/// The members a request asked for; without `$select`, all.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection(Option<Vec<String>>);

impl Selection {
    /// Reads the value of `$select`; the error is the name no item has.
    pub(super) fn parse(value: Option<&str>) -> Result<Self, String> {
        let Some(value) = value else {
            return Ok(Self(None));
        };
        let names: Vec<String> =
            value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        match names.iter().find(|name| !SELECTABLE.contains(&name.as_str())) {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(Self(Some(names))),
        }
    }

    /// Whether a member was asked for by its name.
    fn names(&self, member: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|name| name == member))
    }

    fn keep(&self, mut item: Map<String, Value>) -> Map<String, Value> {
        if let Some(names) = &self.0 {
            item.retain(|name, _| {
                let bare = if name == "@microsoft.graph.downloadUrl" { "content.downloadUrl" } else { name };
                // Types, and the facet that says the item is gone, come unasked.
                matches!(name.as_str(), "id" | "deleted" | "@odata.type")
                    || names.iter().any(|wanted| wanted == name || wanted == bare)
            });
        }
        item
    }
}

pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Prints an item with the members its context has and the request asked for.
pub(super) fn item(
    drive: &Drive,
    place: Place,
    context: Context,
    selection: &Selection,
    download_url: Option<String>,
) -> Value {
    let found = drive.item(place);
    let mut printed = if found.deleted { tombstone(drive, found) } else { living(drive, place, context, download_url) };
    // Only who asks for it by name hears of it.
    if !found.deleted && !found.is_folder() && selection.names("publication") {
        let level = if found.checked_out { "checkout" } else { "published" };
        printed.insert("publication".to_owned(), json!({"level": level, "versionId": "1.0"}));
    }
    Value::Object(selection.keep(printed))
}

fn living(drive: &Drive, place: Place, context: Context, download_url: Option<String>) -> Map<String, Value> {
    let found = drive.item(place);
    let mut printed = Map::new();
    let mut add = |name: &str, value: Value| printed.insert(name.to_owned(), value);
    if context == Context::Delta {
        add("@odata.type", json!("#microsoft.graph.driveItem"));
    } else if let Some(url) = download_url {
        add("@microsoft.graph.downloadUrl", json!(url));
    }
    add("id", json!(found.id));
    add("name", json!(found.name));
    add("size", json!(size(drive, place)));
    add("eTag", json!(found.e_tag()));
    if context != Context::Delta && !found.is_folder() {
        add("cTag", json!(found.c_tag()));
    }
    add("createdDateTime", json!(moment(found.created_at)));
    add("lastModifiedDateTime", json!(moment(found.modified_at)));
    add("webUrl", json!(web_url(drive, place)));
    let person = json!({"user": {"id": "48d31887-5fad-4d73-a9f5-3c356e68a038", "displayName": "Sam"}});
    add("createdBy", person.clone());
    add("lastModifiedBy", person);
    add("parentReference", parent_reference(drive, place, context));
    match &found.kind {
        Kind::Folder => {
            add("folder", json!({"childCount": drive.children(place).count()}));
        }
        Kind::File(content) => {
            let mut file = json!({"mimeType": mime_type(&found.name)});
            // The real service may have no hash for an empty file.
            if !content.stored.is_empty() {
                file["hashes"] = json!({"quickXorHash": content.hash});
            }
            add("file", file);
        }
        Kind::Other(facets) => {
            for (name, value) in facets {
                add(name, value.clone());
            }
        }
    }
    if place == ROOT {
        add("root", json!({}));
    }
    if let Some(description) = &found.malware {
        add("malware", json!({"description": description}));
    }
    add(
        "fileSystemInfo",
        json!({
            "createdDateTime": moment(found.created_at),
            "lastModifiedDateTime": moment(found.modified_at),
        }),
    );
    printed
}

/// A deleted item of a business drive has neither name nor cTag.
fn tombstone(drive: &Drive, found: &Item) -> Map<String, Value> {
    let mut printed = Map::new();
    printed.insert("id".to_owned(), json!(found.id));
    printed.insert("deleted".to_owned(), json!({"state": "deleted"}));
    if found.is_folder() {
        printed.insert("folder".to_owned(), json!({}));
    } else {
        printed.insert("file".to_owned(), json!({}));
    }
    let parent = drive.item(found.parent);
    printed.insert("parentReference".to_owned(), json!({"driveId": drive.id, "id": parent.id}));
    printed.insert("size".to_owned(), json!(0));
    printed
}

fn parent_reference(drive: &Drive, place: Place, context: Context) -> Value {
    let mut reference = json!({"driveType": kind(drive), "driveId": drive.id});
    if place == ROOT {
        return reference;
    }
    let parent = drive.item(place).parent;
    reference["id"] = json!(drive.item(parent).id);
    // The feed never says where a folder lies.
    if context != Context::Delta {
        let path = drive.path(parent).join("/");
        let slash = if path.is_empty() { "" } else { "/" };
        reference["name"] = json!(drive.item(parent).name);
        reference["path"] = json!(format!("/drives/{}/root:{slash}{path}", drive.id));
    }
    reference
}

fn size(drive: &Drive, place: Place) -> usize {
    let found = drive.item(place);
    match &found.kind {
        Kind::Folder => drive
            .items
            .iter()
            .enumerate()
            .filter(|(other, item)| !item.deleted && !item.is_folder() && drive.is_within(*other, place))
            .map(|(_, item)| item.size())
            .sum(),
        Kind::File(_) | Kind::Other(_) => found.size(),
    }
}

pub(super) fn kind(drive: &Drive) -> &'static str {
    if drive.owner.starts_with("users/") { "business" } else { "documentLibrary" }
}

/// Prints a drive itself.
pub(super) fn drive(drive: &Drive) -> Value {
    json!({
        "id": drive.id,
        "name": drive.name,
        "driveType": kind(drive),
        "webUrl": web_url(drive, ROOT),
        "createdDateTime": moment(drive.item(ROOT).created_at),
        "owner": {"user": {"displayName": drive.owner}},
    })
}

fn web_url(drive: &Drive, place: Place) -> String {
    let path: String = std::iter::once("Shared Documents")
        .chain(drive.path(place))
        .map(|name| format!("/{}", crate::wire::encode_percent(name, "")))
        .collect();
    format!("https://example.sharepoint.com/{}{path}", drive.owner)
}

fn mime_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("xls") => "application/vnd.ms-excel",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}
