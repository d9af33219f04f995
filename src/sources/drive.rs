//! A OneDrive or a SharePoint library, through Microsoft Graph.

use std::collections::{BTreeMap, HashSet};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::error::Error;
use super::file::{Listing, RemoteFile};
use super::item::{Item, Page, SELECT, Sifted};
use super::service::{Problem, Service, encoded, encoded_path, read};
use crate::http::{Client, Request, Response, Tokens};
use crate::pattern::Pattern;
use crate::settings;

/// Lists, fetches and puts away files of one drive.
#[derive(Debug)]
pub struct Drive {
    pub(super) service: Service,
    place: Place,
    info: OnceCell<DriveInfo>,
    /// Whether a text may differ from what is listed.
    pub(super) mismatch_accepted: bool,
}

/// How the settings name the drive.
#[derive(Debug)]
enum Place {
    Site { host: String, path: String },
    SiteId(String),
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
            mismatch_accepted: false,
        })
    }

    /// The same drive, taking texts as they come where size or hash differ from
    /// what is listed. They are noted.
    #[must_use]
    pub fn accepting_mismatches(self, accepted: bool) -> Self {
        Self { mismatch_accepted: accepted, ..self }
    }

    /// How long all that talk to this service have waited so far because it asked for it.
    pub fn waited(&self) -> std::time::Duration {
        self.service.client().waited()
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
            Place::SiteId(id) => (format!("find the library of site `{id}`"), format!("/sites/{}/drive", encoded(id))),
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
        let path = match encoded_segments(folder)?.as_str() {
            "" => format!("/drives/{drive}/root/children"),
            path => format!("/drives/{drive}/root:/{path}:/children"),
        };
        self.list_at(folder, &path, pattern).await
    }

    /// The same for a folder known by its id.
    pub(super) async fn list_by_id(&self, folder_id: &str, pattern: &str) -> Result<Listing, Error> {
        let drive = encoded(&self.resolve().await?.id);
        let path = format!("/drives/{drive}/items/{}/children", encoded(folder_id));
        self.list_at(folder_id, &path, pattern).await
    }

    async fn list_at(&self, folder: &str, path: &str, pattern: &str) -> Result<Listing, Error> {
        let operation = format!("list folder `{folder}`");
        let path = format!("/v1.0{path}?$top=200&$select={SELECT}");
        let pattern = Pattern::new(pattern);
        let mut request = self.service.request(&operation, Method::GET, &path)?;
        let mut seen = HashSet::new();
        // An item may come twice when somebody writes meanwhile: the last one counts.
        let mut taken = BTreeMap::new();
        let mut notes = BTreeMap::new();
        let mut present = BTreeMap::new();
        loop {
            let response = self.page_of(&operation, &request).await?;
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
                if !item.is_deleted() {
                    present.insert(id.clone(), item.name().unwrap_or_default().to_owned());
                }
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
        Ok(Listing { files, notes, present })
    }

    /// Reads a file's entry again.
    ///
    /// # Errors
    /// When it is gone, or is no file to read any more.
    pub async fn look(&self, file: &RemoteFile) -> Result<RemoteFile, Error> {
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

    pub(super) async fn get(&self, operation: &str, path: &str) -> Result<Response, Error> {
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
    // An id is the host and two GUIDs; a comma stands in no host and in no path of a site.
    if site.matches(',').count() == 2 && !site.contains([':', '/']) {
        return Ok(Place::SiteId(site.to_owned()));
    }
    let parts = site.split_once(":/").filter(|(host, path)| {
        !host.is_empty() && !path.trim_matches('/').is_empty() && !path.starts_with('/') && !host.contains('/')
    });
    let Some((host, path)) = parts else {
        return Err(Error::Address { what: "site", value: site.to_owned() });
    };
    Ok(Place::Site { host: host.to_owned(), path: path.trim_matches('/').to_owned() })
}

pub(super) fn encoded_segments(path: &str) -> Result<String, Error> {
    encoded_path(path).ok_or_else(|| Error::Address { what: "path", value: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_host_and_a_path() {
        assert!(matches!(site_of("a.sharepoint.com:/sites/x/"), Ok(Place::Site { path, .. }) if path == "sites/x"));
        for wrong in ["a.sharepoint.com", "https://a.sharepoint.com/sites/x", "a:/", ":/sites/x"] {
            assert!(site_of(wrong).is_err(), "{wrong}");
        }
    }
}
