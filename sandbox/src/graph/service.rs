//! The handle: starts both listeners, and lets a program act inside the tenant.

use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::api::{Api, Bases};
use super::download;
use super::drive::{Kind, Place};
use super::mail::Mail;
use super::options::{GraphOptions, Lock, Paging, Resync};
use super::state::State;
use crate::faults::{Allowance, Faults};
use crate::wire::{Listener, Server, locked};

/// Graph at work; dropping it closes both ports.
#[derive(Debug)]
pub struct Graph {
    /// What clients reach the API by, without `/v1.0` and without a trailing slash.
    pub base_url: String,
    /// What clients reach the download host by.
    pub download_url: String,
    /// Where the API and the download host listen.
    pub listens_on: [String; 2],
    api: Arc<Api>,
    _servers: [Server; 2],
}

impl Graph {
    /// Starts the API and the download host on free ports.
    ///
    /// Tokens are accepted for `https://graph.microsoft.com` and for the API's own origin.
    pub fn start(options: GraphOptions) -> io::Result<Self> {
        let (front, back) = (Listener::bind()?, Listener::bind()?);
        let listens_on = [front.origin(), back.origin()];
        let [api, download] = listens_on.clone();
        let bases = Bases {
            api: options.public_url.clone().unwrap_or(api),
            download: options.public_download_url.clone().unwrap_or(download),
        };
        let api = Arc::new(Api::new(options, bases));
        let (for_front, for_back) = (Arc::clone(&api), Arc::clone(&api));
        let front = front.serve(move |request| for_front.pass("graph", &request, Api::answer))?;
        let back = back.serve(move |request| {
            for_back.pass("download", &request, |api, request| download::answer(&locked(&api.state), request))
        })?;
        Ok(Self {
            base_url: api.bases.api.clone(),
            download_url: api.bases.download.clone(),
            listens_on,
            api,
            _servers: [front, back],
        })
    }

    /// The fault script and request log of both origins (`graph` and `download`).
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// Writes a file, making the site and folders on the way; answers the item's id.
    ///
    /// `site` is a path such as `sites/harbor`, or `users/{address}` for a person's drive.
    pub fn put_file(
        &self,
        site: &str,
        folder: &str,
        name: &str,
        bytes: impl Into<Vec<u8>>,
        modified_at: DateTime<Utc>,
    ) -> String {
        let mut state = locked(&self.api.state);
        let drive = state.drive_of(site);
        let drive = &mut state.drives[drive];
        let folder = drive.make_folders(folder, modified_at);
        let place = drive.put(folder, name, bytes.into(), modified_at);
        drive.item(place).id.clone()
    }

    /// Makes a folder and those above it; answers the item's id.
    pub fn put_folder(&self, site: &str, folder: &str) -> String {
        let mut state = locked(&self.api.state);
        let now = state.now();
        let drive = state.drive_of(site);
        let drive = &mut state.drives[drive];
        let place = drive.make_folders(folder, now);
        drive.item(place).id.clone()
    }

    /// Puts an item that is neither file nor folder, such as `{"package": {"type": "oneNote"}}`.
    pub fn put_other(&self, site: &str, folder: &str, name: &str, facets: Map<String, Value>) -> String {
        let mut state = locked(&self.api.state);
        let now = state.now();
        let drive = state.drive_of(site);
        let drive = &mut state.drives[drive];
        let folder = drive.make_folders(folder, now);
        let place = drive.add(folder, name, Kind::Other(facets), now);
        drive.item(place).id.clone()
    }

    /// Deletes a file or folder; false if there is none.
    pub fn remove_file(&self, site: &str, folder: &str, name: &str) -> bool {
        self.change(site, folder, name, |state, drive, place| state.drives[drive].remove(place))
    }

    /// Renames a file or folder; false if there is none.
    pub fn rename_file(&self, site: &str, folder: &str, name: &str, new_name: &str) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            let now = state.now();
            state.drives[drive].touch(place, now);
            state.drives[drive].items[place].name = new_name.to_owned();
        })
    }

    /// Changes a file's metadata only: its eTag moves, its cTag stays.
    pub fn touch_file(&self, site: &str, folder: &str, name: &str) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            let now = state.now();
            state.drives[drive].touch(place, now);
        })
    }

    /// Lets a file be open elsewhere (or no longer): it can be read, but not moved.
    pub fn lock_file(&self, site: &str, folder: &str, name: &str, lock: Option<Lock>) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            state.drives[drive].items[place].lock = lock;
        })
    }

    /// Lets somebody check a file out, or in again.
    pub fn check_out(&self, site: &str, folder: &str, name: &str, checked_out: bool) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            let now = state.now();
            state.drives[drive].touch(place, now);
            state.drives[drive].items[place].checked_out = checked_out;
        })
    }

    /// Lets the virus scanner object to a file; new content clears it.
    pub fn flag_malware(&self, site: &str, folder: &str, name: &str, malware: &str) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            let now = state.now();
            state.drives[drive].touch(place, now);
            state.drives[drive].items[place].malware = Some(malware.to_owned());
        })
    }

    /// Sends other bytes than size and hash are of, as SharePoint does with Office files.
    pub fn send_instead(&self, site: &str, folder: &str, name: &str, bytes: impl Into<Vec<u8>>) -> bool {
        let bytes = Arc::new(bytes.into());
        self.change(site, folder, name, |state, drive, place| {
            if let Kind::File(content) = &mut state.drives[drive].items[place].kind {
                content.served = Some(bytes);
            }
        })
    }

    /// Lists the paths of a site's files, sorted.
    pub fn files(&self, site: &str) -> Vec<String> {
        let state = locked(&self.api.state);
        let Some(drive) = state.find_drive(site).map(|index| &state.drives[index]) else {
            return Vec::new();
        };
        let mut paths: Vec<String> = (0..drive.items.len())
            .filter(|place| {
                let item = drive.item(*place);
                !item.deleted && matches!(item.kind, Kind::File(_))
            })
            .map(|place| drive.path(place).join("/"))
            .collect();
        paths.sort();
        paths
    }

    /// Reads a file's stored bytes.
    pub fn file(&self, site: &str, folder: &str, name: &str) -> Option<Vec<u8>> {
        let state = locked(&self.api.state);
        let (drive, place) = state.find(site, folder, name)?;
        match &state.drives[drive].item(place).kind {
            Kind::File(content) => Some(content.stored.to_vec()),
            Kind::Folder | Kind::Other(_) => None,
        }
    }

    /// Lists the mails accepted so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        locked(&self.api.state).mails.clone()
    }

    /// Changes how listings are cut into pages.
    pub fn set_paging(&self, paging: Paging) {
        locked(&self.api.state).paging = paging;
    }

    /// Lets each application use so many resource units in a while, or again as many as it likes.
    pub fn limit(&self, allowance: Option<Allowance>) {
        self.api.meter.set(allowance);
    }

    /// Lets the download host answer a range with the whole file (or no longer).
    pub fn ignore_ranges(&self, ignored: bool) {
        locked(&self.api.state).ranges_ignored = ignored;
    }

    /// Lets every change link handed out so far expire.
    pub fn expire_changes(&self, how: Resync) {
        let mut state = locked(&self.api.state);
        state.links.expired = Some((state.links.made, how));
    }

    fn change(&self, site: &str, folder: &str, name: &str, change: impl FnOnce(&mut State, usize, Place)) -> bool {
        let mut state = locked(&self.api.state);
        match state.find(site, folder, name) {
            None => false,
            Some((drive, place)) => {
                change(&mut state, drive, place);
                true
            }
        }
    }
}
