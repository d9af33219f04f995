//! All a Graph stand-in holds, and how it finds things in it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::address::{DriveKey, ItemKey, SiteKey};
use super::drive::{Drive, Place, ROOT};
use super::listing::Cursor;
use super::mail::Mail;
use super::options::{GraphOptions, Paging, Resync};
use crate::faults::Spent;
use crate::wire::{Response, numbered_guid};

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: GraphOptions,
    pub(super) sites: Vec<String>,
    pub(super) drives: Vec<Drive>,
    pub(super) mails: Vec<Mail>,
    pub(super) paging: Paging,
    pub(super) ranges_ignored: bool,
    pub(super) links: Links,
    pub(super) answers: u64,
    /// The application whose request is in hand, and what it has used.
    pub(super) caller: String,
    pub(super) spent: Option<Spent>,
}

/// The links handed out, by their raw path and query.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) known: HashMap<String, (u64, Cursor)>,
    pub(super) made: u64,
    /// Change links up to this number have expired, and how they say so.
    pub(super) expired: Option<(u64, Resync)>,
}

/// An error answer, before the members every error has.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) inner_code: Option<&'static str>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), inner_code: None, headers: Vec::new() }
    }

    pub(super) fn inner(mut self, code: &'static str) -> Self {
        self.inner_code = Some(code);
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "itemNotFound", "The resource could not be found.")
    }

    pub(super) fn into_response(self, now: DateTime<Utc>, request_id: &str, client_id: &str) -> Response {
        let mut inner = json!({
            "date": now.format("%Y-%m-%dT%H:%M:%S").to_string(),
            "request-id": request_id,
            "client-request-id": client_id,
        });
        if let Some(code) = self.inner_code {
            inner =
                json!({"code": code, "date": inner["date"], "request-id": request_id, "client-request-id": client_id});
        }
        let error = json!({"error": {"code": self.code, "message": self.message, "innerError": inner}});
        let response = Response::json(self.status, &error);
        self.headers.into_iter().fold(response, |response, (name, value)| response.with(name, value))
    }
}

impl State {
    pub(super) fn new(options: GraphOptions) -> Self {
        let mut state = Self {
            options,
            sites: Vec::new(),
            drives: Vec::new(),
            mails: Vec::new(),
            paging: Paging::default(),
            ranges_ignored: false,
            links: Links::default(),
            answers: 0,
            caller: String::new(),
            spent: None,
        };
        for site in state.options.sites.clone() {
            state.drive_of(&site);
        }
        state
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.options.clock.now()
    }

    /// Finds the drive of a site or user, making both if they are new.
    pub(super) fn drive_of(&mut self, owner: &str) -> usize {
        if let Some(index) = self.find_drive(owner) {
            return index;
        }
        if !owner.starts_with("users/") {
            self.sites.push(owner.to_owned());
        }
        self.drives.push(Drive::new(owner, "Documents", self.options.clock.now()));
        self.drives.len() - 1
    }

    pub(super) fn find_drive(&self, owner: &str) -> Option<usize> {
        self.drives.iter().position(|drive| drive.owner.eq_ignore_ascii_case(owner))
    }

    /// Finds an item by what its owner, folder and name are.
    pub(super) fn find(&self, owner: &str, folder: &str, name: &str) -> Option<(usize, Place)> {
        let drive = self.find_drive(owner)?;
        let names: Vec<&str> = folder.split('/').chain([name]).filter(|name| !name.is_empty()).collect();
        Some((drive, self.drives[drive].walk(ROOT, &names)?))
    }

    pub(super) fn site(&self, key: &SiteKey) -> Result<&str, Problem> {
        let found = match key {
            SiteKey::Root => self.sites.first(),
            SiteKey::Id(id) => self.sites.iter().find(|site| self.site_id(site) == *id),
            SiteKey::Path { hostname, path } => self
                .sites
                .iter()
                .find(|site| hostname.eq_ignore_ascii_case(&self.options.hostname) && site.eq_ignore_ascii_case(path)),
        };
        found.map(String::as_str).ok_or_else(Problem::not_found)
    }

    pub(super) fn drive(&self, key: &DriveKey) -> Result<usize, Problem> {
        match key {
            DriveKey::Id(id) => self.drives.iter().position(|drive| drive.id == *id).ok_or_else(Problem::not_found),
            DriveKey::OfSite(site) => {
                let owner = self.site(site)?;
                self.find_drive(owner).ok_or_else(Problem::not_found)
            }
            DriveKey::OfUser(user) => self
                .find_drive(&format!("users/{user}"))
                .ok_or_else(|| Problem::new(404, "ResourceNotFound", "User's mysite not found.")),
        }
    }

    pub(super) fn place(&self, drive: usize, key: &ItemKey) -> Result<Place, Problem> {
        let drive = &self.drives[drive];
        let found = match key {
            ItemKey::Root => Some(ROOT),
            ItemKey::Id(id) if id == "root" => Some(ROOT),
            ItemKey::Id(id) => drive.by_id(id),
            ItemKey::Path { below: None, names } => drive.walk(ROOT, names),
            ItemKey::Path { below: Some(id), names } if id == "root" => drive.walk(ROOT, names),
            ItemKey::Path { below: Some(id), names } => drive.by_id(id).and_then(|folder| drive.walk(folder, names)),
        };
        found.ok_or_else(Problem::not_found)
    }

    fn site_id(&self, path: &str) -> String {
        let collection = numbered_guid(&format!("site {path}"), 1);
        let web = numbered_guid(&format!("site {path}"), 2);
        format!("{},{collection},{web}", self.options.hostname)
    }

    pub(super) fn site_json(&self, path: &str) -> Value {
        let name = path.rsplit('/').next().unwrap_or(path);
        json!({
            "id": self.site_id(path),
            "name": name,
            "displayName": name,
            "webUrl": format!("https://{}/{path}", self.options.hostname),
            "siteCollection": {"hostname": self.options.hostname},
        })
    }
}
