//! Moves read files aside, as a courtesy to people.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::drive::{Drive, encoded_segments, item_path, prepared, refusal};
use super::error::Error;
use super::file::{RemoteFile, hex};
use super::item::Item;
use super::service::{encoded, read};

/// What came of moving a file aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is there.
    Done,
    /// It is not, for this reason; it may be at the next try.
    NotNow(String),
    /// The application may read but not write: no file of this drive can be moved.
    Forbidden,
}

impl Drive {
    /// Moves a read file into a folder beside it, under a name of its own. That
    /// is a courtesy to people: what could not be done is an answer, no error.
    pub async fn archive(&self, file: &RemoteFile, folder_name: &str, now: DateTime<Utc>) -> Moved {
        match self.move_into(file, folder_name, now).await {
            Ok(moved) => moved,
            Err(error) => Moved::NotNow(crate::telemetry::chain(&error)),
        }
    }

    /// Whether a file bears the name that [`Self::archive`] gives, as after a move
    /// whose answer was lost.
    ///
    /// # Errors
    /// When Graph does not answer.
    pub async fn was_archived(&self, item_id: &str, version: &str) -> Result<bool, Error> {
        let operation = "look where a file went";
        let drive = encoded(&self.resolve().await?.id);
        let response =
            self.get(operation, &format!("/drives/{drive}/items/{}?$select=id,name", encoded(item_id))).await?;
        match response.status.as_u16() {
            200 => {
                let item: Item = read(operation, &response.body)?;
                Ok(item.name().is_some_and(|name| name.contains(&format!("Z.{}", mark(item_id, version)))))
            }
            404 => Ok(false),
            _ => Err(refusal(operation, &response)),
        }
    }

    async fn move_into(&self, file: &RemoteFile, folder_name: &str, now: DateTime<Utc>) -> Result<Moved, Error> {
        let not_now = |reason: &str| Ok(Moved::NotNow(reason.to_owned()));
        let fresh = self.look(file).await?;
        if fresh.version != file.version {
            return not_now("it has changed since it was read");
        }
        let Some(parent) = fresh.folder_id.as_deref() else {
            return not_now("its folder is not known");
        };
        if fresh.folder_id != file.folder_id && file.folder_id.is_some() {
            return not_now("somebody has moved it meanwhile");
        }
        let operation = format!("move file `{}`", file.name);
        let drive = encoded(&file.drive_id);
        let folder = match self.folder_in(&operation, &drive, parent, folder_name).await? {
            Ok(id) => id,
            Err(moved) => return Ok(moved),
        };
        let body = json!({
            "parentReference": {"id": folder},
            "name": archived_name(file, now),
        });
        let path = format!("/v1.0{}", item_path(file));
        let request = self.service.request(&operation, Method::PATCH, &path)?;
        // Moved twice to one place it lies there once.
        let request = prepared(request).json(&body).repeatable();
        let response = match self.service.send(&operation, request).await {
            Ok(response) => response,
            Err(error) => {
                // The answer is lost, the move may not be: the item itself knows.
                let there = self.look(file).await.is_ok_and(|now| now.folder_id.as_deref() == Some(folder.as_str()));
                return if there { Ok(Moved::Done) } else { Err(error) };
            }
        };
        match response.status.as_u16() {
            200 => Ok(Moved::Done),
            403 => Ok(Moved::Forbidden),
            404 => not_now("it has vanished"),
            409 => not_now("the name is taken there"),
            412 => not_now("it has changed since it was read"),
            423 => not_now("somebody has it open"),
            _ => Err(refusal(&operation, &response)),
        }
    }

    /// Finds the folder of that name beside a file, or makes it.
    async fn folder_in(
        &self,
        operation: &str,
        drive: &str,
        parent: &str,
        folder_name: &str,
    ) -> Result<Result<String, Moved>, Error> {
        let parent = format!("/drives/{drive}/items/{}", encoded(parent));
        let name = encoded_segments(folder_name)?;
        let found = format!("{parent}:/{name}:?$select=id,name,folder");
        let mut response = self.get(operation, &found).await?;
        if response.status.as_u16() == 404 {
            let body = json!({
                "name": folder_name,
                "folder": {},
                "@microsoft.graph.conflictBehavior": "fail",
            });
            let path = format!("/v1.0{parent}/children");
            let request = self.service.request(operation, Method::POST, &path)?;
            let request = prepared(request).json(&body);
            response = self.service.send(operation, request).await?;
            if response.status.as_u16() == 409 {
                response = self.get(operation, &found).await?;
            }
        }
        if response.status.as_u16() == 403 {
            return Ok(Err(Moved::Forbidden));
        }
        if !response.status.is_success() {
            return Ok(Err(Moved::NotNow(format!("folder `{folder_name}` is not there and could not be made"))));
        }
        let item: Item = read(operation, &response.body)?;
        let id = item.id.filter(|_| item.folder.is_some());
        Ok(id.ok_or_else(|| Moved::NotNow(format!("`{folder_name}` is no folder"))))
    }
}

/// A name that nothing in the archive has: file, moment and version make it.
pub(super) fn archived_name(file: &RemoteFile, now: DateTime<Utc>) -> String {
    let moment = now.format("%Y%m%dT%H%M%SZ");
    let short = mark(&file.item_id, &file.version);
    match file.name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem}.{moment}.{short}.{end}"),
        _ => format!("{}.{moment}.{short}", file.name),
    }
}

/// What tells an archived version of a file from every other.
fn mark(item_id: &str, version: &str) -> String {
    let digest = Sha256::digest(format!("{item_id} {version}"));
    hex(&digest[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archived_name_keeps_its_end_and_is_its_own() {
        let now = DateTime::parse_from_rfc3339("2026-02-01T06:01:05Z").unwrap();
        let file = |name: &str, version: &str| RemoteFile::sample("i", name, version);
        let name = |file| archived_name(&file, now.to_utc());
        let first = name(file("a.b.csv", "1"));
        assert!(first.starts_with("a.b.20260201T060105Z.") && first.ends_with(".csv"));
        assert_ne!(first, name(file("a.b.csv", "2")));
        assert!(name(file("plain", "1")).starts_with("plain.2026"));
    }
}
