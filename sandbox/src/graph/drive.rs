//! One drive: its tree, its tags and its order of changes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::options::Lock;
use super::quick_xor_hash::quick_xor_hash;
use crate::wire::numbered_guid;

/// Place of an item in its drive; the root is 0, and a deleted item keeps its place.
pub(super) type Place = usize;

pub(super) const ROOT: Place = 0;

#[derive(Debug)]
pub(super) struct Drive {
    pub(super) id: String,
    pub(super) name: String,
    /// The site or user it belongs to, as in a URL: `sites/harbor`, `users/x@example.com`.
    pub(super) owner: String,
    pub(super) items: Vec<Item>,
    /// Number of the latest change.
    pub(super) changes: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) id: String,
    /// In tags and download URLs.
    pub(super) guid: String,
    pub(super) parent: Place,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) version: u32,
    pub(super) content_version: u32,
    pub(super) created_at: DateTime<Utc>,
    pub(super) modified_at: DateTime<Utc>,
    pub(super) deleted: bool,
    /// Number of the change that touched it last.
    pub(super) changed: u64,
    pub(super) lock: Option<Lock>,
    pub(super) malware: Option<String>,
    /// Somebody works on a version that others do not see yet.
    pub(super) checked_out: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Folder,
    File(Content),
    /// A notebook, a shortcut: whatever facets it was given.
    Other(Map<String, Value>),
}

#[derive(Debug, Clone)]
pub(super) struct Content {
    /// What size and hash are of.
    pub(super) stored: Arc<Vec<u8>>,
    /// What is really sent, if it differs.
    pub(super) served: Option<Arc<Vec<u8>>>,
    pub(super) hash: String,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { hash: quick_xor_hash(&bytes), stored: Arc::new(bytes), served: None }
    }

    pub(super) fn sent(&self) -> Arc<Vec<u8>> {
        Arc::clone(self.served.as_ref().unwrap_or(&self.stored))
    }
}

impl Item {
    pub(super) fn e_tag(&self) -> String {
        format!("\"{{{}}},{}\"", self.guid.to_uppercase(), self.version)
    }

    pub(super) fn c_tag(&self) -> String {
        format!("\"c:{{{}}},{}\"", self.guid.to_uppercase(), self.content_version)
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder)
    }

    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::File(content) => content.stored.len(),
            Kind::Folder | Kind::Other(_) => 0,
        }
    }
}

impl Drive {
    pub(super) fn new(owner: &str, name: &str, created_at: DateTime<Utc>) -> Self {
        let mut drive = Self {
            id: format!("b!{}", letters(&format!("drive {owner} {name}"), 64, true)),
            name: name.to_owned(),
            owner: owner.to_owned(),
            items: Vec::new(),
            changes: 0,
        };
        drive.add(ROOT, "root", Kind::Folder, created_at);
        drive
    }

    pub(super) fn item(&self, place: Place) -> &Item {
        &self.items[place]
    }

    pub(super) fn by_id(&self, id: &str) -> Option<Place> {
        self.items.iter().position(|item| item.id == id && !item.deleted)
    }

    pub(super) fn by_guid(&self, guid: &str) -> Option<Place> {
        self.items.iter().position(|item| item.guid == guid && !item.deleted)
    }

    /// Follows names down from a folder; case does not matter.
    pub(super) fn walk<S: AsRef<str>>(&self, from: Place, names: &[S]) -> Option<Place> {
        names.iter().try_fold(from, |folder, name| self.child(folder, name.as_ref()))
    }

    pub(super) fn child(&self, folder: Place, name: &str) -> Option<Place> {
        let wanted = name.to_lowercase();
        self.children(folder).find(|place| self.items[*place].name.to_lowercase() == wanted)
    }

    pub(super) fn children(&self, folder: Place) -> impl Iterator<Item = Place> {
        self.items
            .iter()
            .enumerate()
            .filter(move |(place, item)| *place != ROOT && item.parent == folder && !item.deleted)
            .map(|(place, _)| place)
    }

    /// Names from below the root down to the item.
    pub(super) fn path(&self, place: Place) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = place;
        while at != ROOT {
            names.push(self.items[at].name.as_str());
            at = self.items[at].parent;
        }
        names.reverse();
        names
    }

    pub(super) fn add(&mut self, parent: Place, name: &str, kind: Kind, at: DateTime<Utc>) -> Place {
        let place = self.items.len();
        self.changes += 1;
        self.items.push(Item {
            id: format!("01{}", letters(&format!("item {} {place}", self.id), 32, false)),
            guid: numbered_guid(&self.id, place as u64),
            parent,
            name: name.to_owned(),
            kind,
            version: 1,
            content_version: 1,
            created_at: at,
            modified_at: at,
            deleted: false,
            changed: self.changes,
            lock: None,
            malware: None,
            checked_out: false,
        });
        place
    }

    /// Finds a folder, making what is missing on the way.
    pub(super) fn make_folders(&mut self, path: &str, at: DateTime<Utc>) -> Place {
        path.split('/').filter(|name| !name.is_empty()).fold(ROOT, |folder, name| {
            self.child(folder, name).unwrap_or_else(|| self.add(folder, name, Kind::Folder, at))
        })
    }

    /// Writes a file: new, or new content of one that is there.
    pub(super) fn put(&mut self, folder: Place, name: &str, bytes: Vec<u8>, at: DateTime<Utc>) -> Place {
        let content = Content::new(bytes);
        match self.child(folder, name) {
            None => self.add(folder, name, Kind::File(content), at),
            Some(place) => {
                self.touch(place, at);
                let item = &mut self.items[place];
                item.kind = Kind::File(content);
                item.content_version += 1;
                item.malware = None;
                place
            }
        }
    }

    /// Moves the eTag and not the cTag.
    pub(super) fn touch(&mut self, place: Place, at: DateTime<Utc>) {
        self.changes += 1;
        let item = &mut self.items[place];
        item.version += 1;
        item.modified_at = at;
        item.changed = self.changes;
    }

    /// Deletes an item; what a folder held goes with it, unannounced, as in the real feed.
    pub(super) fn remove(&mut self, place: Place) {
        self.changes += 1;
        self.items[place].changed = self.changes;
        let mut gone = vec![place];
        while let Some(next) = gone.pop() {
            gone.extend(self.children(next));
            self.items[next].deleted = true;
        }
    }

    /// Says whether `place` is `folder` or lies below it.
    pub(super) fn is_within(&self, place: Place, folder: Place) -> bool {
        let mut at = place;
        loop {
            if at == folder {
                return true;
            }
            if at == ROOT {
                return false;
            }
            at = self.items[at].parent;
        }
    }
}

/// Makes an opaque id: always the same for the same subject.
fn letters(subject: &str, length: usize, mixed_case: bool) -> String {
    let alphabet: &[u8] = if mixed_case {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    } else {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    };
    let first = Sha256::digest(subject);
    let second = Sha256::digest(first);
    first
        .iter()
        .chain(second.iter())
        .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_move_by_the_rules_of_the_service() {
        let at = DateTime::default();
        let mut drive = Drive::new("sites/a", "Documents", at);
        let folder = drive.make_folders("In/Daily", at);
        let file = drive.put(folder, "a.csv", b"1".to_vec(), at);
        let before = (drive.item(file).e_tag(), drive.item(file).c_tag());

        drive.touch(file, at);
        assert_ne!(drive.item(file).e_tag(), before.0);
        assert_eq!(drive.item(file).c_tag(), before.1);

        assert_eq!(drive.put(folder, "A.CSV", b"2".to_vec(), at), file);
        assert_ne!(drive.item(file).c_tag(), before.1);
        assert_eq!(drive.path(file), ["In", "Daily", "a.csv"]);
    }

    #[test]
    fn what_a_deleted_folder_held_is_gone_without_a_change_of_its_own() {
        let at = DateTime::default();
        let mut drive = Drive::new("sites/a", "Documents", at);
        let folder = drive.make_folders("In", at);
        let file = drive.put(folder, "a.csv", b"1".to_vec(), at);
        let before = drive.item(file).changed;
        drive.remove(folder);
        assert!(drive.item(file).deleted);
        assert_eq!(drive.item(file).changed, before);
        assert_eq!(drive.walk(ROOT, &["In"]), None);
    }
}
