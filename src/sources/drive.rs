//! A OneDrive or a SharePoint library, through Microsoft Graph.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::error::Error;
use super::file::{Listing, RemoteFile, hex};
use super::item::{Item, Page, SELECT, Sifted};
use super::pattern::Pattern;
use super::service::{Problem, Service, encoded, encoded_path, read};
use crate::http::{Client, Request, Response, Tokens};
use crate::settings;

/// Lists, fetches and puts away files of one drive.
#[derive(Debug)]
pub struct Drive {
    pub(super) service: Service,
    place: Place,
    info: OnceCell<DriveInfo>,
}

/// How the settings name the drive.
#[derive(Debug)]
enum Place {
    Site { host: String, path: String },
    Id(String),
    User(String),
}

/// What Graph says of a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveInfo {
    /// Its id; it stays when the drive is renamed.
    pub id: String,
    /// Its name, which depends on the tenant's language.
    #[serde(default)]
    pub name: Option<String>,
    /// `documentLibrary`, `business` or `personal`.
    #[serde(default, rename(deserialize = "driveType"))]
    pub kind: Option<String>,
    /// Where people open it.
    #[serde(default, rename(deserialize = "webUrl"))]
    pub web_url: Option<String>,
}

impl Drive {
    /// Prepares; nothing is asked before it is needed. All drives that stem from
    /// one client wait together, for Graph throttles the application as a whole.
    ///
    /// # Errors
    /// When the settings name no drive, several, or nonsense.
    pub fn new(
        client: &Client,
        tokens: &Tokens,
        microsoft: &settings::Microsoft,
        drive: &settings::Drive,
    ) -> Result<Self, Error> {
        let place = match (&drive.site, &drive.id, &drive.user) {
            (Some(site), None, None) => site_of(site)?,
            (None, Some(id), None) => Place::Id(id.clone()),
            (None, None, Some(user)) => Place::User(user.clone()),
            _ => return Err(Error::DriveUnnamed),
        };
        let (name, what) = ("Microsoft Graph", "`microsoft.graph_url`");
        Ok(Self {
            service: Service::new(name, what, client, tokens, &microsoft.graph_url)?,
            place,
            info: OnceCell::new(),
        })
    }

    /// Finds the drive, once; then only its id is used.
    ///
    /// # Errors
    /// When it is not there, may not be seen, or Graph does not answer.
    pub async fn resolve(&self) -> Result<&DriveInfo, Error> {
        self.info.get_or_try_init(|| self.find()).await
    }

    async fn find(&self) -> Result<DriveInfo, Error> {
        let (operation, path) = match &self.place {
            Place::Site { host, path } => (
                format!("find the library of site `{host}:/{path}`"),
                format!("/sites/{}:/{}:/drive", encoded(host), encoded_segments(path)?),
            ),
            Place::Id(id) => (format!("find drive `{id}`"), format!("/drives/{}", encoded(id))),
            Place::User(user) => {
                ("find the OneDrive of the user".to_owned(), format!("/users/{}/drive", encoded(user)))
            }
        };
        let path = format!("{path}?$select=id,name,driveType,webUrl");
        let outcome = self.get(&operation, &path).await;
        let response = match (outcome, &self.place) {
            (Err(Error::TokenRefused { code, .. }), Place::User(_)) if code.eq_ignore_ascii_case("unauthenticated") => {
                return Err(Error::NotProvisioned);
            }
            (outcome, _) => outcome?,
        };
        let problem = Problem::of(&response);
        match (response.status.as_u16(), &self.place) {
            (200, _) => read(&operation, &response.body),
            (404, Place::User(_)) if problem.message.contains("mysite") => Err(Error::NotProvisioned),
            (404, _) => Err(Error::DriveNotFound { operation }),
            _ => Err(refusal(&operation, &response)),
        }
    }

    /// Lists the files of a folder that fit a pattern such as `Sales*.xlsx`;
    /// `*` and `?` stand for text, case does not count. Subfolders are not entered.
    ///
    /// # Errors
    /// When the folder is not there or the listing did not come whole.
    pub async fn list(&self, folder: &str, pattern: &str) -> Result<Listing, Error> {
        let drive = encoded(&self.resolve().await?.id);
        let operation = format!("list folder `{folder}`");
        let path = match encoded_segments(folder)?.as_str() {
            "" => format!("/drives/{drive}/root/children"),
            path => format!("/drives/{drive}/root:/{path}:/children"),
        };
        let path = format!("/v1.0{path}?$top=200&$select={SELECT}");
        let pattern = Pattern::new(pattern);
        let mut request = self.service.request(&operation, Method::GET, &path)?;
        let mut seen = HashSet::new();
        // An item may come twice when somebody writes meanwhile: the last one counts.
        let mut taken = BTreeMap::new();
        let mut notes = BTreeMap::new();
        loop {
            let response = self.service.send(&operation, prepared(request)).await?;
            match response.status.as_u16() {
                200 => {}
                404 => {
                    let folder = folder.to_owned();
                    return Err(Error::FolderNotFound { folder });
                }
                _ => return Err(refusal(&operation, &response)),
            }
            let page: Page = read(&operation, &response.body)?;
            for item in page.value {
                let Some(id) = item.id.clone() else { continue };
                match item.sift(&pattern) {
                    Sifted::Taken(file) => {
                        notes.remove(&id);
                        taken.insert(id, file);
                    }
                    Sifted::Left(note) => {
                        taken.remove(&id);
                        notes.insert(id, note);
                    }
                    Sifted::Other => {}
                }
            }
            let Some(link) = page.next_link else { break };
            request = self.service.follow(&operation, &link)?;
            if !seen.insert(link) {
                return Err(Error::RepeatingLink { operation });
            }
        }
        let drive_id = &self.resolve().await?.id;
        let mut files: Vec<RemoteFile> = taken.into_values().collect();
        for file in &mut files {
            file.drive_id.clone_from(drive_id);
        }
        files.sort_by(|a, b| (&a.name, &a.item_id).cmp(&(&b.name, &b.item_id)));
        let mut notes: Vec<String> = notes.into_values().collect();
        notes.sort();
        Ok(Listing { files, notes })
    }

    /// Reads a file's entry again.
    pub(super) async fn look(&self, file: &RemoteFile) -> Result<RemoteFile, Error> {
        let name = &file.name;
        let operation = format!("look at file `{name}`");
        let path = format!("{}?$select={SELECT}", item_path(file));
        let response = self.get(&operation, &path).await?;
        let vanished = || Error::FileVanished { name: name.clone() };
        match response.status.as_u16() {
            200 => {}
            404 => return Err(vanished()),
            _ => return Err(refusal(&operation, &response)),
        }
        let item: Item = read(&operation, &response.body)?;
        match item.sift(&Pattern::new("*")) {
            Sifted::Taken(fresh) => Ok(RemoteFile { drive_id: file.drive_id.clone(), ..fresh }),
            Sifted::Left(_) | Sifted::Other => Err(vanished()),
        }
    }

    /// Moves a read file into a folder beside it, under a name of its own. That
    /// is a courtesy to people: what could not be done comes back as a note.
    pub async fn archive(&self, file: &RemoteFile, folder_name: &str, now: DateTime<Utc>) -> Option<String> {
        let outcome = self.move_into(file, folder_name, now).await;
        let reason = match outcome {
            Ok(None) => return None,
            Ok(Some(reason)) => reason,
            Err(error) => crate::telemetry::chain(&error),
        };
        Some(format!("`{}` was not moved to `{folder_name}`: {reason}", file.name))
    }

    async fn move_into(
        &self,
        file: &RemoteFile,
        folder_name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Error> {
        let fresh = self.look(file).await?;
        if fresh.version != file.version {
            return Ok(Some("it has changed since it was read".to_owned()));
        }
        let Some(parent) = fresh.folder_id.as_deref() else {
            return Ok(Some("its folder is not known".to_owned()));
        };
        if fresh.folder_id != file.folder_id && file.folder_id.is_some() {
            return Ok(Some("somebody has moved it meanwhile".to_owned()));
        }
        let operation = format!("move file `{}`", file.name);
        let drive = encoded(&file.drive_id);
        let folder = match self.folder_in(&operation, &drive, parent, folder_name).await? {
            Ok(id) => id,
            Err(reason) => return Ok(Some(reason)),
        };
        let body = json!({
            "parentReference": {"id": folder},
            "name": archived_name(file, now),
        });
        let path = format!("/v1.0{}", item_path(file));
        let request = self.service.request(&operation, Method::PATCH, &path)?;
        // Moved twice to one place it lies there once.
        let request = prepared(request).json(&body).repeatable();
        let response = self.service.send(&operation, request).await?;
        Ok(match response.status.as_u16() {
            200 => None,
            403 => Some(
                "the application may read but not write: it lacks `Sites.Selected` with a write grant, or `Files.ReadWrite.All`"
                    .to_owned(),
            ),
            404 => Some("it has vanished".to_owned()),
            409 => Some("the name is taken there".to_owned()),
            412 => Some("it has changed since it was read".to_owned()),
            423 => Some("somebody has it open".to_owned()),
            _ => return Err(refusal(&operation, &response)),
        })
    }

    /// Finds the folder of that name beside a file, or makes it.
    async fn folder_in(
        &self,
        operation: &str,
        drive: &str,
        parent: &str,
        folder_name: &str,
    ) -> Result<Result<String, String>, Error> {
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
        if !response.status.is_success() {
            return Ok(Err(format!("folder `{folder_name}` is not there and could not be made")));
        }
        let item: Item = read(operation, &response.body)?;
        let id = item.id.filter(|_| item.folder.is_some());
        Ok(id.ok_or_else(|| format!("`{folder_name}` is no folder")))
    }

    async fn get(&self, operation: &str, path: &str) -> Result<Response, Error> {
        let path = format!("/v1.0{path}");
        let request = self.service.request(operation, Method::GET, &path)?;
        self.service.send(operation, prepared(request)).await
    }
}

/// A request with what Graph wants on each.
pub(super) fn prepared(request: Request) -> Request {
    request.header("accept", "application/json").header("client-request-id", &uuid::Uuid::new_v4().to_string())
}

/// Path of a file below the version of Graph.
pub(super) fn item_path(file: &RemoteFile) -> String {
    let (drive, item) = (encoded(&file.drive_id), encoded(&file.item_id));
    format!("/drives/{drive}/items/{item}")
}

/// What a status means that means the same everywhere.
pub(super) fn refusal(operation: &str, response: &Response) -> Error {
    let problem = Problem::of(response);
    match response.status.as_u16() {
        403 => Error::DriveForbidden { operation: operation.to_owned() },
        status => problem.refused(operation, status),
    }
}

fn site_of(site: &str) -> Result<Place, Error> {
    let parts = site.split_once(":/").filter(|(host, path)| {
        !host.is_empty() && !path.trim_matches('/').is_empty() && !path.starts_with('/') && !host.contains('/')
    });
    let Some((host, path)) = parts else {
        return Err(Error::Address { what: "site", value: site.to_owned() });
    };
    Ok(Place::Site { host: host.to_owned(), path: path.trim_matches('/').to_owned() })
}

fn encoded_segments(path: &str) -> Result<String, Error> {
    encoded_path(path).ok_or_else(|| Error::Address { what: "path", value: path.to_owned() })
}

/// A name that nothing in the archive has: file, moment and version make it.
pub(super) fn archived_name(file: &RemoteFile, now: DateTime<Utc>) -> String {
    let moment = now.format("%Y%m%dT%H%M%SZ");
    let digest = Sha256::digest(format!("{} {}", file.item_id, file.version));
    let short = hex(&digest[..4]);
    match file.name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem}.{moment}.{short}.{end}"),
        _ => format!("{}.{moment}.{short}", file.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archived_name_keeps_its_end_and_is_its_own() {
        let now = DateTime::parse_from_rfc3339("2026-02-01T06:01:05Z").unwrap();
        let file = |name: &str, version: &str| RemoteFile {
            drive_id: "d".to_owned(),
            item_id: "i".to_owned(),
            folder_id: None,
            name: name.to_owned(),
            version: version.to_owned(),
            size_bytes: 1,
            modified_at: None,
            modified_by: None,
            quick_xor_hash: None,
        };
        let name = |file| archived_name(&file, now.to_utc());
        let first = name(file("a.b.csv", "1"));
        assert!(first.starts_with("a.b.20260201T060105Z.") && first.ends_with(".csv"));
        assert_ne!(first, name(file("a.b.csv", "2")));
        assert!(name(file("plain", "1")).starts_with("plain.2026"));
    }

    #[test]
    fn a_site_is_a_host_and_a_path() {
        assert!(matches!(site_of("a.sharepoint.com:/sites/x/"), Ok(Place::Site { path, .. }) if path == "sites/x"));
        for wrong in ["a.sharepoint.com", "https://a.sharepoint.com/sites/x", "a:/", ":/sites/x"] {
            assert!(site_of(wrong).is_err(), "{wrong}");
        }
    }
}
