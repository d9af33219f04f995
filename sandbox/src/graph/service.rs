//! The two listeners, and the routes of the API.

use std::io;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::address::{Action, Address, DriveKey, ItemKey, Unknown, is_valid_name, parse};
use super::download;
use super::drive::{Kind, Place, ROOT};
use super::listing::{self, Options};
use super::mail::{self, Mail};
use super::options::{GraphOptions, Lock, Paging, Resync};
use super::render::{self, Context, Selection};
use super::state::{Problem, State};
use crate::clock::Clock;
use crate::faults::Faults;
use crate::token::{Refusal, TokenBook};
use crate::wire::{Listener, Request, Response, Server, locked, numbered_guid};

/// The name a Graph token is issued for, whatever the stand-in's address.
const RESOURCE: &str = "https://graph.microsoft.com";

/// Graph at work; dropping it closes both ports.
#[derive(Debug)]
pub struct Graph {
    /// Where the API listens, without `/v1.0` and without a trailing slash.
    pub base_url: String,
    /// Where the download host listens.
    pub download_url: String,
    api: Arc<Api>,
    _servers: [Server; 2],
}

/// The origins the stand-in prints in links.
#[derive(Debug)]
pub(super) struct Bases {
    pub(super) api: String,
    pub(super) download: String,
}

impl Bases {
    /// Signs a URL for a file; `None` for what is no file.
    pub(super) fn download_url(&self, state: &State, drive: usize, place: Place) -> Option<String> {
        let drive = &state.drives[drive];
        let item = drive.item(place);
        matches!(item.kind, Kind::File(_)).then(|| {
            let lifetime = i64::from(state.options.download_lifetime_seconds);
            let target = download::signed_target(drive, item, state.now().timestamp() + lifetime);
            format!("{}{target}", self.download)
        })
    }
}

#[derive(Debug)]
struct Api {
    bases: Bases,
    book: TokenBook,
    clock: Clock,
    faults: Faults,
    resources: [String; 2],
    state: Mutex<State>,
}

impl Graph {
    /// Starts the API and the download host on free ports.
    ///
    /// Tokens are accepted for `https://graph.microsoft.com` and for the API's own origin.
    pub fn start(options: GraphOptions) -> io::Result<Self> {
        let (front, back) = (Listener::bind()?, Listener::bind()?);
        let bases = Bases {
            api: front.origin(),
            download: back.origin(),
        };
        let resources = [RESOURCE.to_owned(), bases.api.clone()];
        for resource in &resources {
            options.book.enter_resource(resource);
        }
        let api = Arc::new(Api {
            bases,
            book: options.book.clone(),
            clock: options.clock.clone(),
            faults: options.faults.clone(),
            resources,
            state: Mutex::new(State::new(options)),
        });
        let (for_front, for_back) = (Arc::clone(&api), Arc::clone(&api));
        let front = front.serve(move |request| for_front.pass("graph", &request, Api::answer))?;
        let back = back.serve(move |request| {
            for_back.pass("download", &request, |api, request| {
                download::answer(&locked(&api.state), request)
            })
        })?;
        Ok(Self {
            base_url: api.bases.api.clone(),
            download_url: api.bases.download.clone(),
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
    pub fn put_other(
        &self,
        site: &str,
        folder: &str,
        name: &str,
        facets: Map<String, Value>,
    ) -> String {
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
        self.change(site, folder, name, |state, drive, place| {
            state.drives[drive].remove(place)
        })
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

    /// Lets the virus scanner object to a file; new content clears it.
    pub fn flag_malware(&self, site: &str, folder: &str, name: &str, malware: &str) -> bool {
        self.change(site, folder, name, |state, drive, place| {
            let now = state.now();
            state.drives[drive].touch(place, now);
            state.drives[drive].items[place].malware = Some(malware.to_owned());
        })
    }

    /// Sends other bytes than size and hash are of, as SharePoint does with Office files.
    pub fn send_instead(
        &self,
        site: &str,
        folder: &str,
        name: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> bool {
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

    /// Lets the download host answer a range with the whole file (or no longer).
    pub fn ignore_ranges(&self, ignored: bool) {
        locked(&self.api.state).ranges_ignored = ignored;
    }

    /// Lets every change link handed out so far expire.
    pub fn expire_changes(&self, how: Resync) {
        let mut state = locked(&self.api.state);
        state.links.expired = Some((state.links.made, how));
    }

    fn change(
        &self,
        site: &str,
        folder: &str,
        name: &str,
        change: impl FnOnce(&mut State, usize, Place),
    ) -> bool {
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

impl Api {
    fn pass(
        &self,
        origin: &str,
        request: &Request,
        handle: impl FnOnce(&Self, &Request) -> Response,
    ) -> crate::wire::Reply {
        let label = request.bearer().map(|token| self.book.label(token));
        self.faults.pass(
            origin,
            self.clock.now(),
            label.as_deref(),
            request,
            |request| handle(self, request).with("Date", self.clock.http_date()),
        )
    }

    fn answer(&self, request: &Request) -> Response {
        let mut state = locked(&self.state);
        state.answers += 1;
        let request_id = numbered_guid("graph request", state.answers);
        let client_id = request
            .header("client-request-id")
            .unwrap_or(&request_id)
            .to_owned();
        let now = state.now();
        let response = match self
            .check_token(request)
            .and_then(|()| self.route(&mut state, request))
        {
            Ok(response) => response,
            Err(problem) => problem.into_response(now, &request_id, &client_id),
        };
        response
            .with("request-id", &request_id)
            .with("client-request-id", client_id)
            .with(
                "x-ms-ags-diagnostic",
                "{\"ServerInfo\":{\"DataCenter\":\"North Europe\",\"Slice\":\"E\",\"Ring\":\"2\",\
                 \"ScaleUnit\":\"000\",\"RoleInstance\":\"AGSFE_IN_33\"}}",
            )
    }

    fn check_token(&self, request: &Request) -> Result<(), Problem> {
        let checked = self
            .book
            .check(request.bearer(), &self.resources, self.clock.now());
        checked.map_err(|refusal| {
            let message = match refusal {
                Refusal::Missing => "Access token is empty.",
                Refusal::Unknown => "CompactToken validation failed with reason code: 80049228.",
                Refusal::WrongAudience => "Access token validation failure. Invalid audience.",
                Refusal::Expired => "Access token has expired or is not yet valid.",
            };
            Problem::new(401, "InvalidAuthenticationToken", message).with(
                "www-authenticate",
                "Bearer realm=\"\", \
                 authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                 client_id=\"00000003-0000-0000-c000-000000000000\"",
            )
        })
    }

    fn route(&self, state: &mut State, request: &Request) -> Result<Response, Problem> {
        let outside = || {
            let what = format!(
                "the stand-in does not know {} {}",
                request.method,
                request.path()
            );
            Problem::new(501, "outsideContract", what)
        };
        let path = request.path().strip_prefix("/v1.0/").ok_or_else(outside)?;
        let address = parse(path).map_err(|unknown| match unknown {
            Unknown::OutsideContract => outside(),
            Unknown::InvalidPath => {
                let message = "The provided path contains invalid characters.";
                Problem::new(400, "invalidRequest", message).inner("invalidPath")
            }
        })?;
        match (request.method.as_str(), address) {
            (_, Address::Me) => {
                let message = "/me request is only valid with delegated authentication flow.";
                Err(Problem::new(400, "BadRequest", message))
            }
            ("GET", Address::Site(key)) => {
                let site = state.site(&key)?;
                Ok(self.odata("sites/$entity", state.site_json(site)))
            }
            ("GET", Address::SiteDrives(key)) => {
                let site = state.site(&key)?.to_owned();
                let drives = state.drives.iter().filter(|drive| drive.owner == site);
                let value: Vec<Value> = drives.map(render::drive).collect();
                Ok(self.odata("drives", json!({"value": value})))
            }
            ("GET", Address::Drive(key)) => {
                let drive = state.drive(&key)?;
                Ok(self.odata("drives/$entity", render::drive(&state.drives[drive])))
            }
            ("GET", Address::Item(drive, item, action)) => {
                self.get_item(state, request, &drive, &item, action)
            }
            ("PATCH", Address::Item(drive, item, Action::Itself)) => {
                self.patch_item(state, request, &drive, &item)
            }
            ("POST", Address::SendMail(user)) => send_mail(state, request, &user),
            _ => Err(outside()),
        }
    }

    fn get_item(
        &self,
        state: &mut State,
        request: &Request,
        drive: &DriveKey,
        item: &ItemKey,
        action: Action,
    ) -> Result<Response, Problem> {
        let drive = state.drive(drive)?;
        let place = state.place(drive, item)?;
        match action {
            Action::Itself => {
                let selection = Options::read(request, &["$select"])?.selection()?;
                Ok(self.item(state, drive, place, &selection))
            }
            Action::Children if state.drives[drive].item(place).is_folder() => {
                listing::children(state, &self.bases, request, drive, place)
                    .map(|page| odata(&page))
            }
            Action::Children => Ok(odata(&json!({"value": []}))),
            Action::Delta if place == ROOT => {
                listing::changes(state, &self.bases, request, drive).map(|page| odata(&page))
            }
            Action::Delta => {
                let message = "the stand-in has delta for the root of a drive only";
                Err(Problem::new(501, "outsideContract", message))
            }
            Action::Content => self.redirect(state, request, drive, place),
        }
    }

    fn item(&self, state: &State, drive: usize, place: Place, selection: &Selection) -> Response {
        let url = self.bases.download_url(state, drive, place);
        let found = &state.drives[drive];
        let mut item = render::item(found, place, Context::Single, selection, url);
        let encoded = crate::wire::encode_percent(&found.id, "");
        let context = format!(
            "{}/v1.0/$metadata#drives('{encoded}')/items/$entity",
            self.bases.api
        );
        if let Some(members) = item.as_object_mut() {
            members.shift_insert(0, "@odata.context".to_owned(), json!(context));
        }
        odata(&item)
    }

    fn redirect(
        &self,
        state: &State,
        request: &Request,
        drive: usize,
        place: Place,
    ) -> Result<Response, Problem> {
        let item = state.drives[drive].item(place);
        let known = request.header_parts("if-none-match");
        if known
            .iter()
            .any(|tag| *tag == item.e_tag() || *tag == item.c_tag())
        {
            return Ok(Response::empty(304));
        }
        let url = self
            .bases
            .download_url(state, drive, place)
            .ok_or_else(|| {
                Problem::new(400, "invalidRequest", "You cannot get content for a folder")
            })?;
        Ok(Response::empty(302).with("Location", url))
    }

    fn patch_item(
        &self,
        state: &mut State,
        request: &Request,
        drive: &DriveKey,
        item: &ItemKey,
    ) -> Result<Response, Problem> {
        let drive = state.drive(drive)?;
        let place = state.place(drive, item)?;
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| {
            Problem::new(
                400,
                "invalidRequest",
                "Unable to read JSON request payload.",
            )
        })?;
        let now = state.now();
        let found = &mut state.drives[drive];
        if let Some(lock) = found.item(place).lock {
            return Err(locked_item(lock));
        }
        if request
            .header("if-match")
            .is_some_and(|tag| tag != "*" && tag != found.item(place).e_tag())
        {
            let message = "ETag does not match current item's value";
            return Err(
                Problem::new(412, "resourceModified", message).inner("entityTagDoesNotMatch")
            );
        }
        let (parent, name) = target(found, place, &body)?;
        if found
            .child(parent, &name)
            .is_some_and(|other| other != place)
        {
            // `conflictBehavior` is ignored on a move, as it was seen to be.
            return Err(Problem::new(
                409,
                "nameAlreadyExists",
                "Name already exists",
            ));
        }
        found.touch(place, now);
        found.items[place].parent = parent;
        found.items[place].name = name;
        Ok(self.item(state, drive, place, &Selection::default()))
    }

    fn odata(&self, fragment: &str, mut body: Value) -> Response {
        let context = format!("{}/v1.0/$metadata#{fragment}", self.bases.api);
        if let Some(members) = body.as_object_mut() {
            members.shift_insert(0, "@odata.context".to_owned(), json!(context));
        }
        odata(&body)
    }
}

fn odata(body: &Value) -> Response {
    let content_type = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
    Response::text(200, content_type, body.to_string()).with("OData-Version", "4.0")
}

/// Reads where a `PATCH` wants the item: folder and name, each as it is unless given.
fn target(
    drive: &super::drive::Drive,
    place: Place,
    body: &Value,
) -> Result<(Place, String), Problem> {
    let invalid = |message: &str| Problem::new(400, "invalidRequest", message);
    if place == ROOT {
        return Err(invalid("The root folder cannot be moved or renamed."));
    }
    let reference = &body["parentReference"];
    if reference["driveId"]
        .as_str()
        .is_some_and(|id| id != drive.id)
    {
        return Err(invalid("Cannot move an item to another drive."));
    }
    let parent = match reference["id"].as_str() {
        None => drive.item(place).parent,
        Some(id) => drive.by_id(id).ok_or_else(Problem::not_found)?,
    };
    if !drive.item(parent).is_folder() || drive.is_within(parent, place) {
        return Err(invalid(
            "The new parent has to be a folder outside the item.",
        ));
    }
    let name = body["name"].as_str().unwrap_or(&drive.item(place).name);
    if !is_valid_name(name) {
        return Err(invalid("The provided name contains invalid characters.").inner("invalidPath"));
    }
    Ok((parent, name.to_owned()))
}

fn locked_item(lock: Lock) -> Problem {
    let message = "The resource you are attempting to access is locked";
    match lock {
        Lock::NotAllowed => Problem::new(423, "notAllowed", message).inner("resourceLocked"),
        Lock::AccessDenied => Problem::new(
            423,
            "accessDenied",
            "Lock token does not match existing lock",
        ),
        Lock::ResourceLocked => Problem::new(423, "resourceLocked", message),
    }
}

fn send_mail(state: &mut State, request: &Request, user: &str) -> Result<Response, Problem> {
    let mailboxes = &state.options.mailboxes;
    if !mailboxes.is_empty()
        && !mailboxes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(user))
    {
        let message = format!("The requested user '{user}' is invalid.");
        return Err(Problem::new(404, "ErrorInvalidUser", message));
    }
    let mail = mail::read(user, request)?;
    state.mails.push(mail);
    Ok(Response::empty(202))
}
