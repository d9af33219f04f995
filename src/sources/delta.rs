//! What changed in a drive since it was asked last.

use std::collections::{BTreeMap, HashSet};

use reqwest::Method;

use super::drive::{Drive, prepared, refusal};
use super::error::Error;
use super::file::{Changes, RemoteFile};
use super::item::{Item, SELECT, Sifted};
use super::service::{Problem, encoded, read};
use crate::http::{Request, Response};
use crate::pattern::Pattern;

/// How often one pass starts over because the service forgot where we were.
const RESTARTS: u32 = 2;

/// From so many files without a content tag on, one listing is cheaper than asking for each.
const LOOKS: usize = 10;

/// What a whole pass through the feed gave.
#[derive(Default)]
struct Pass {
    /// Items by id. An item may come several times: the last one counts.
    items: BTreeMap<String, Item>,
    whole: bool,
    link: String,
    notes: Vec<String>,
}

impl Drive {
    /// Finds a folder by its path from the drive's root; answers with its id.
    ///
    /// # Errors
    /// When it is not there, or is no folder.
    pub async fn folder_id(&self, folder: &str) -> Result<String, Error> {
        let drive = encoded(&self.resolve().await?.id);
        let operation = format!("find folder `{folder}`");
        let path = match super::drive::encoded_segments(folder)?.as_str() {
            "" => format!("/drives/{drive}/root?$select=id,folder"),
            path => format!("/drives/{drive}/root:/{path}:?$select=id,folder"),
        };
        let missing = || Error::FolderNotFound { folder: folder.to_owned() };
        let response = self.get(&operation, &path).await?;
        match response.status.as_u16() {
            200 => {}
            404 => return Err(missing()),
            _ => return Err(refusal(&operation, &response)),
        }
        let item: Item = read(&operation, &response.body)?;
        let is_folder = item.folder.is_some();
        item.id.filter(|_| is_folder).ok_or_else(missing)
    }

    /// Whether an item, known by its id, is a folder still.
    ///
    /// # Errors
    /// When Graph does not answer.
    pub async fn has_folder(&self, folder_id: &str) -> Result<bool, Error> {
        let operation = "find the folder again";
        let response = self.get(operation, &self.item_path(folder_id, "id,folder,deleted").await?).await?;
        match response.status.as_u16() {
            200 => Ok(read::<Item>(operation, &response.body)?.folder.is_some()),
            404 => Ok(false),
            _ => Err(refusal(operation, &response)),
        }
    }

    /// Reads the feed of changes up to its end and says what it means for one
    /// folder. `link` is what the last pass ended with, as it came; without one,
    /// or when the service has forgotten it, everything there is comes. The items
    /// of `again` are looked at whether or not they changed.
    ///
    /// # Errors
    /// When the feed did not come whole: then nothing of it counts.
    pub async fn changes(
        &self,
        folder_id: &str,
        pattern: &str,
        link: Option<&str>,
        again: &[String],
    ) -> Result<Changes, Error> {
        let mut pass = self.pass(link).await?;
        for id in again {
            if !pass.items.contains_key(id) {
                pass.items.insert(id.clone(), self.item(id).await?);
            }
        }
        let pattern = Pattern::new(pattern);
        let mut changes = Changes { whole: pass.whole, link: pass.link, notes: pass.notes, ..Changes::default() };
        let mut untagged = Vec::new();
        for (id, item) in pass.items {
            if item.is_deleted() || item.parent_id() != Some(folder_id) {
                changes.away.insert(id);
                continue;
            }
            changes.present.insert(id.clone(), item.name().unwrap_or_default().to_owned());
            let tagged = item.has_content_tag();
            match item.sift(&pattern) {
                Sifted::Taken(file) if tagged => changes.files.push(file),
                Sifted::Taken(file) => untagged.push(file),
                Sifted::Left(note) => {
                    changes.notes.push(note);
                    changes.left.push(id);
                }
                Sifted::Other => {}
            }
        }
        self.tag(folder_id, untagged, &mut changes).await?;
        let drive_id = &self.resolve().await?.id;
        for file in &mut changes.files {
            file.drive_id.clone_from(drive_id);
        }
        changes.files.sort_by(|a, b| (&a.name, &a.item_id).cmp(&(&b.name, &b.item_id)));
        Ok(changes)
    }

    async fn pass(&self, link: Option<&str>) -> Result<Pass, Error> {
        let operation = "read what changed in the drive";
        let drive = encoded(&self.resolve().await?.id);
        let start = || {
            self.service.request(operation, Method::GET, &format!("/v1.0/drives/{drive}/root/delta?$select={SELECT}"))
        };
        let mut pass = Pass { whole: link.is_none(), ..Pass::default() };
        // A link of a service that the settings no longer name leads nowhere.
        let stored = link.and_then(|link| self.service.follow(operation, link).ok());
        pass.whole |= stored.is_none();
        let mut request = match stored {
            Some(request) => request,
            None => start()?,
        };
        let mut restarts = 0;
        let mut from_location = false;
        let mut seen = HashSet::new();
        loop {
            let lean = request.clone().header("deltaexcludeparent", "true");
            let response = self.page_of(operation, &lean).await?;
            let status = response.status.as_u16();
            if status != 200 {
                // A link that the service gave us for the fresh start may itself fail.
                let forgotten = status == 410
                    || (status == 400 && !pass.whole && pass.items.is_empty())
                    || (status >= 500 && from_location);
                if !forgotten || restarts >= RESTARTS {
                    return Err(refusal(operation, &response));
                }
                restarts += 1;
                let location = response.header("location").filter(|_| status == 410 && !from_location);
                let fresh = location.and_then(|location| self.service.follow(operation, location).ok());
                from_location = fresh.is_some();
                tracing::warn!(status, code = Problem::of(&response).code(), "the drive's feed starts over");
                request = match fresh {
                    Some(request) => request,
                    None => start()?,
                };
                let notes =
                    vec!["the drive had forgotten how far it was read: everything was compared anew".to_owned()];
                pass = Pass { whole: true, notes, ..Pass::default() };
                seen.clear();
                continue;
            }
            let page: super::item::Page = read(operation, &response.body)?;
            from_location = false;
            for item in page.value {
                if let Some(id) = item.id.clone() {
                    pass.items.insert(id, item);
                }
            }
            // Only this link is the end: a page without items is not.
            if let Some(link) = page.delta_link {
                // One that cannot be followed would fail every run from now on.
                self.service.follow(operation, &link)?;
                pass.link = link;
                return Ok(pass);
            }
            let Some(link) = page.next_link else {
                return Err(Error::Unended { operation: operation.to_owned() });
            };
            request = self.service.follow(operation, &link)?;
            if !seen.insert(link) {
                return Err(Error::RepeatingLink { operation: operation.to_owned() });
            }
        }
    }

    /// Asks for a page, and again where the answer says 200 and holds none.
    pub(super) async fn page_of(&self, operation: &str, request: &Request) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let response = self.service.send(operation, prepared(request.clone())).await?;
            let whole = response.status.as_u16() != 200 || response.json::<super::item::Page>().is_ok();
            if whole || attempt >= self.service.client().attempts() {
                return Ok(response);
            }
            self.service.client().back_off(attempt).await;
            attempt += 1;
        }
    }

    /// Reads one item; one that is gone comes back as deleted.
    async fn item(&self, id: &str) -> Result<Item, Error> {
        let operation = "look at a file again";
        let response = self.get(operation, &self.item_path(id, SELECT).await?).await?;
        match response.status.as_u16() {
            200 => read(operation, &response.body),
            404 => Ok(Item::gone(id)),
            _ => Err(refusal(operation, &response)),
        }
    }

    async fn item_path(&self, id: &str, select: &str) -> Result<String, Error> {
        let drive = encoded(&self.resolve().await?.id);
        Ok(format!("/drives/{drive}/items/{}?$select={select}", encoded(id)))
    }

    /// Gives files their content tags, which the feed leaves out: without them a
    /// renamed file would look like a changed one.
    async fn tag(&self, folder_id: &str, files: Vec<RemoteFile>, changes: &mut Changes) -> Result<(), Error> {
        let mut listed = BTreeMap::new();
        if files.len() > LOOKS {
            let listing = self.list_by_id(folder_id, "*").await?;
            listed.extend(listing.files.into_iter().map(|file| (file.item_id.clone(), file)));
        }
        for file in files {
            if let Some(file) = listed.remove(&file.item_id) {
                changes.files.push(file);
                continue;
            }
            let item = self.item(&file.item_id).await?;
            if item.is_deleted() || item.parent_id() != Some(folder_id) {
                changes.present.remove(&file.item_id);
                changes.away.insert(file.item_id);
                continue;
            }
            match item.sift(&Pattern::new("*")) {
                Sifted::Taken(file) => changes.files.push(file),
                Sifted::Left(note) => {
                    changes.notes.push(note);
                    changes.left.push(file.item_id);
                }
                Sifted::Other => {}
            }
        }
        Ok(())
    }
}
