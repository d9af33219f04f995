//! The routes of the API.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::address::{Action, Address, DriveKey, ItemKey, Unknown, is_valid_name, parse};
use super::batch;
use super::download;
use super::drive::{Kind, Place, ROOT};
use super::listing::{self, Options};
use super::mail;
use super::options::{GraphOptions, Lock};
use super::quota;
use super::render::{self, Context, Selection};
use super::state::{Problem, State};
use crate::clock::Clock;
use crate::faults::{Faults, Meter};
use crate::token::{Refusal, TokenBook};
use crate::wire::{Reply, Request, Response, locked, numbered_guid};

/// The name a Graph token is issued for, whatever the stand-in's address.
const RESOURCE: &str = "https://graph.microsoft.com";

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
pub(super) struct Api {
    pub(super) bases: Bases,
    pub(super) faults: Faults,
    pub(super) state: Mutex<State>,
    book: TokenBook,
    clock: Clock,
    pub(super) meter: Meter,
    resources: [String; 2],
}

impl Api {
    pub(super) fn new(options: GraphOptions, bases: Bases) -> Self {
        let resources = [RESOURCE.to_owned(), bases.api.clone()];
        for resource in &resources {
            options.book.enter_resource(resource);
        }
        Self {
            bases,
            faults: options.faults.clone(),
            book: options.book.clone(),
            clock: options.clock.clone(),
            meter: Meter::default(),
            resources,
            state: Mutex::new(State::new(options)),
        }
    }

    /// Logs a request to one of the origins and lets it be handled, or go wrong.
    pub(super) fn pass(
        &self,
        origin: &str,
        request: &Request,
        handle: impl FnOnce(&Self, &Request) -> Response,
    ) -> Reply {
        let label = request.bearer().map(|token| self.book.label(token));
        self.faults.pass(origin, self.clock.now(), label.as_deref(), request, |request| {
            handle(self, request).with("Date", self.clock.http_date())
        })
    }

    /// Answers the API's routes.
    pub(super) fn answer(&self, request: &Request) -> Response {
        let mut state = locked(&self.state);
        state.answers += 1;
        let request_id = numbered_guid("graph request", state.answers);
        let client_id = request.header("client-request-id").unwrap_or(&request_id).to_owned();
        let now = state.now();
        state.caller = self.book.client_of(request.bearer().unwrap_or_default());
        let response = match self.check_token(request).and_then(|()| self.route(&mut state, request)) {
            Ok(response) => response,
            Err(problem) => problem.into_response(now, &request_id, &client_id),
        };
        quota::noted(response, state.spent.take())
            .with("request-id", &request_id)
            .with("client-request-id", client_id)
            .with(
                "x-ms-ags-diagnostic",
                "{\"ServerInfo\":{\"DataCenter\":\"North Europe\",\"Slice\":\"E\",\"Ring\":\"2\",\
                 \"ScaleUnit\":\"000\",\"RoleInstance\":\"AGSFE_IN_33\"}}",
            )
    }

    fn check_token(&self, request: &Request) -> Result<(), Problem> {
        let checked = self.book.check(request.bearer(), &self.resources, self.clock.now());
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

    pub(super) fn route(&self, state: &mut State, request: &Request) -> Result<Response, Problem> {
        let outside = || {
            let what = format!("the stand-in does not know {} {}", request.method, request.path());
            Problem::new(501, "outsideContract", what)
        };
        let path = request.path().strip_prefix("/v1.0/").ok_or_else(outside)?;
        if (request.method.as_str(), path) == ("POST", "$batch") {
            return batch::answer(self, state, request);
        }
        let spent = self.meter.spend(&state.caller, quota::cost(request), state.now());
        state.spent = spent;
        if let Some(problem) = spent.and_then(quota::refusal) {
            return Err(problem);
        }
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
            ("GET", Address::Item(drive, item, action)) => self.get_item(state, request, &drive, &item, action),
            ("PATCH", Address::Item(drive, item, Action::Itself)) => self.patch_item(state, request, &drive, &item),
            ("POST", Address::Item(drive, item, Action::Children)) => self.make_folder(state, request, &drive, &item),
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
                listing::children(state, &self.bases, request, drive, place).map(|page| odata(&page))
            }
            Action::Children => Ok(odata(&json!({"value": []}))),
            Action::Delta if place == ROOT => {
                listing::changes(state, &self.bases, request, drive).map(|page| odata(&page))
            }
            Action::Delta => {
                let message = "Changes can only be viewed from the root of a drive.";
                Err(Problem::new(400, "invalidRequest", message))
            }
            Action::Content => self.redirect(state, request, drive, place),
        }
    }

    fn item(&self, state: &State, drive: usize, place: Place, selection: &Selection) -> Response {
        let url = self.bases.download_url(state, drive, place);
        let found = &state.drives[drive];
        let mut item = render::item(found, place, Context::Single, selection, url);
        let encoded = crate::wire::encode_percent(&found.id, "");
        let context = format!("{}/v1.0/$metadata#drives('{encoded}')/items/$entity", self.bases.api);
        if let Some(members) = item.as_object_mut() {
            members.shift_insert(0, "@odata.context".to_owned(), json!(context));
        }
        odata(&item)
    }

    fn redirect(&self, state: &State, request: &Request, drive: usize, place: Place) -> Result<Response, Problem> {
        let item = state.drives[drive].item(place);
        let known = request.header_parts("if-none-match");
        if known.iter().any(|tag| *tag == item.e_tag() || *tag == item.c_tag()) {
            return Ok(Response::empty(304));
        }
        let url = self
            .bases
            .download_url(state, drive, place)
            .ok_or_else(|| Problem::new(400, "invalidRequest", "You cannot get content for a folder"))?;
        Ok(Response::empty(302).with("Location", url))
    }

    /// Makes a folder below another. Only what the client asks for on a conflict is
    /// told apart: `fail`, which is the default.
    fn make_folder(
        &self,
        state: &mut State,
        request: &Request,
        drive: &DriveKey,
        item: &ItemKey,
    ) -> Result<Response, Problem> {
        let drive = state.drive(drive)?;
        let place = state.place(drive, item)?;
        let invalid = |message: &str| Problem::new(400, "invalidRequest", message);
        let body = json_body(request)?;
        let name = body["name"].as_str().filter(|name| is_valid_name(name));
        let (Some(name), true) = (name, body["folder"].is_object()) else {
            return Err(invalid("A new item needs a name and the folder facet."));
        };
        if !matches!(body["@microsoft.graph.conflictBehavior"].as_str(), None | Some("fail")) {
            return Err(Problem::new(501, "outsideContract", "the stand-in only fails on a conflict"));
        }
        let now = state.now();
        let found = &mut state.drives[drive];
        if found.child(place, name).is_some() {
            return Err(Problem::new(409, "nameAlreadyExists", "Name already exists"));
        }
        let made = found.add(place, name, Kind::Folder, now);
        Ok(Response { status: 201, ..self.item(state, drive, made, &Selection::default()) })
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
        let body = json_body(request)?;
        let now = state.now();
        let found = &mut state.drives[drive];
        if let Some(lock) = found.item(place).lock {
            return Err(locked_item(lock));
        }
        if request.header("if-match").is_some_and(|tag| tag != "*" && tag != found.item(place).e_tag()) {
            let message = "ETag does not match current item's value";
            return Err(Problem::new(412, "resourceModified", message).inner("entityTagDoesNotMatch"));
        }
        let (parent, name) = target(found, place, &body)?;
        if found.child(parent, &name).is_some_and(|other| other != place) {
            // `conflictBehavior` is ignored on a move, as it was seen to be.
            return Err(Problem::new(409, "nameAlreadyExists", "Name already exists"));
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

fn json_body(request: &Request) -> Result<Value, Problem> {
    serde_json::from_slice(&request.body)
        .map_err(|_| Problem::new(400, "invalidRequest", "Unable to read JSON request payload."))
}

fn odata(body: &Value) -> Response {
    let content_type =
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
    Response::text(200, content_type, body.to_string()).with("OData-Version", "4.0")
}

/// Reads where a `PATCH` wants the item: folder and name, each as it is unless given.
fn target(drive: &super::drive::Drive, place: Place, body: &Value) -> Result<(Place, String), Problem> {
    let invalid = |message: &str| Problem::new(400, "invalidRequest", message);
    if place == ROOT {
        return Err(invalid("The root folder cannot be moved or renamed."));
    }
    let reference = &body["parentReference"];
    if reference["driveId"].as_str().is_some_and(|id| id != drive.id) {
        return Err(invalid("Cannot move an item to another drive."));
    }
    let parent = match reference["id"].as_str() {
        None => drive.item(place).parent,
        Some(id) => drive.by_id(id).ok_or_else(Problem::not_found)?,
    };
    if !drive.item(parent).is_folder() || drive.is_within(parent, place) {
        return Err(invalid("The new parent has to be a folder outside the item."));
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
        Lock::AccessDenied => Problem::new(423, "accessDenied", "Lock token does not match existing lock"),
        Lock::ResourceLocked => Problem::new(423, "resourceLocked", message),
    }
}

fn send_mail(state: &mut State, request: &Request, user: &str) -> Result<Response, Problem> {
    let mailboxes = &state.options.mailboxes;
    if !mailboxes.is_empty() && !mailboxes.iter().any(|known| known.eq_ignore_ascii_case(user)) {
        let message = format!("The requested user '{user}' is invalid.");
        return Err(Problem::new(404, "ErrorInvalidUser", message));
    }
    let mail = mail::read(user, request)?;
    state.mails.push(mail);
    Ok(Response::empty(202))
}
