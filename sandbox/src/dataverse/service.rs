//! The listener and the routes of the Web API.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::batch;
use super::bulk;
use super::changes;
use super::key::{self, Key};
use super::metadata;
use super::query::Query;
use super::render::e_tag;
use super::schema::{Column, Table};
use super::store::Store;
use super::write::{self, Written};
use crate::clock::Clock;
use crate::faults::{Allowance, Faults, Meter, Spent};
use crate::token::TokenBook;
use crate::wire::{Listener, Request, Response, Server, locked, numbered_guid};

const ROOT: &str = "/api/data/v9.2";

/// What an organisation is started with.
#[derive(Debug, Clone, Default)]
pub struct DataverseOptions {
    /// Where tokens are checked; the stand-in enters its origin there.
    pub book: TokenBook,
    /// The tables with their rows.
    pub tables: Vec<Table>,
    /// The origin that clients know it by, where a TLS front stands before it; its own otherwise.
    pub public_url: Option<String>,
    /// The time rows are stamped and change links expire by.
    pub clock: Clock,
    /// The fault script and request log.
    pub faults: Faults,
}

/// One organisation at work; dropping it closes its port.
#[derive(Debug)]
pub struct Dataverse {
    /// Its origin, without `/api/data/v9.2` and without a trailing slash: the resource of its tokens.
    pub base_url: String,
    /// Where it listens.
    pub listens_on: String,
    api: Arc<Api>,
    _server: Server,
}

#[derive(Debug)]
struct Api {
    origin: String,
    book: TokenBook,
    clock: Clock,
    faults: Faults,
    meter: Meter,
    store: Mutex<Store>,
}

/// An error answer, before the headers every answer has.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "0x80060888", message)
    }

    pub(super) fn outside_contract(what: impl AsRef<str>) -> Self {
        Self::new(501, "outsideContract", format!("the stand-in does not know {}", what.as_ref()))
    }
}

impl Dataverse {
    /// Starts an organisation on a free port.
    pub fn start(options: DataverseOptions) -> io::Result<Self> {
        let listener = Listener::bind()?;
        let listens_on = listener.origin();
        let origin = options.public_url.clone().unwrap_or_else(|| listens_on.clone());
        options.book.enter_resource(&origin);
        let store = Store::new(options.tables, options.clock.now());
        let api = Arc::new(Api {
            origin: origin.clone(),
            book: options.book,
            clock: options.clock,
            faults: options.faults,
            meter: Meter::default(),
            store: Mutex::new(store),
        });
        let served = Arc::clone(&api);
        let server = listener.serve(move |request| {
            let label = request.bearer().map(|token| served.book.label(token));
            served.faults.pass("dataverse", served.clock.now(), label.as_deref(), &request, |request| {
                served.answer(request).with("Date", served.clock.http_date())
            })
        })?;
        Ok(Self { base_url: origin, listens_on, api, _server: server })
    }

    /// The fault script and request log.
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// Writes a row from inside the organisation, found by its id or by an alternate key.
    ///
    /// Answers the row's id; `None` if there is no such table.
    pub fn upsert(&self, table: &str, row: &Map<String, Value>) -> Option<String> {
        let mut store = locked(&self.api.store);
        let (table, version) = store.table(table)?;
        Some(table.merge(row, version, self.api.clock.now()))
    }

    /// Deletes a row from inside the organisation; false if there is none.
    pub fn delete(&self, table: &str, id: &str) -> bool {
        let mut store = locked(&self.api.store);
        store.table(table).is_some_and(|(table, version)| table.delete(id, version))
    }

    /// Lists a table's rows by id, exact numbers as text.
    pub fn rows(&self, table: &str) -> Vec<Map<String, Value>> {
        let mut store = locked(&self.api.store);
        let Some((table, _)) = store.table(table) else {
            return Vec::new();
        };
        let columns = &table.columns;
        table
            .rows
            .values()
            .map(|row| {
                let cells = columns.iter().zip(&row.cells);
                cells.map(|(column, cell)| (column.name.clone(), cell.to_value(&column.kind))).collect()
            })
            .collect()
    }

    /// Adds a column, which is null in every row; change links of the table expire.
    pub fn add_column(&self, table: &str, column: Column) -> bool {
        let mut store = locked(&self.api.store);
        store.table(table).is_some_and(|(table, version)| {
            table.add_column(column, version);
            true
        })
    }

    /// Lets the index of an alternate key be ready, or still pending.
    pub fn set_key_active(&self, table: &str, key: &str, active: bool) -> bool {
        let mut store = locked(&self.api.store);
        store.table(table).is_some_and(|(table, _)| {
            let found = table.alternate_keys.iter_mut().find(|other| other.name == key);
            found.map(|key| key.active = active).is_some()
        })
    }

    /// Lets a table take the messages for many rows, or not; it does unless told otherwise.
    pub fn set_bulk(&self, table: &str, available: bool) {
        let mut store = locked(&self.api.store);
        if available {
            store.without_bulk.remove(table);
        } else {
            store.without_bulk.insert(table.to_owned());
        }
    }

    /// Lists the row versions of a table by its rows' ids.
    pub fn versions(&self, table: &str) -> Vec<(String, u64)> {
        let mut store = locked(&self.api.store);
        let Some((table, _)) = store.table(table) else {
            return Vec::new();
        };
        table.rows.iter().map(|(id, row)| (id.clone(), row.version)).collect()
    }

    /// Hides a column's values from the application, or shows them again.
    pub fn set_secured(&self, table: &str, column: &str, secured: bool) -> bool {
        let mut store = locked(&self.api.store);
        store.table(table).is_some_and(|(table, _)| {
            if secured {
                table.secured.insert(column.to_owned());
            } else {
                table.secured.remove(column);
            }
            table.column(column).is_some()
        })
    }

    /// Lets each user send so many requests in a while, or again as many as it likes.
    pub fn limit(&self, allowance: Option<Allowance>) {
        self.api.meter.set(allowance);
    }

    /// Lets every change link handed out so far expire.
    pub fn expire_changes(&self) {
        let mut store = locked(&self.api.store);
        store.change_links.values_mut().for_each(|link| link.expired = true);
    }
}

impl Api {
    fn answer(&self, request: &Request) -> Response {
        let resources = [self.origin.clone()];
        if self.book.check(request.bearer(), &resources, self.clock.now()).is_err() {
            // Missing, expired and wrong audience look the same here: no body at all.
            return Response::empty(401).with(
                "WWW-Authenticate",
                format!(
                    "Bearer authorization_uri=https://login.microsoftonline.com/\
                     00000000-1111-2222-3333-444444444444/oauth2/authorize, resource_id={}/",
                    self.origin
                ),
            );
        }
        let mut store = locked(&self.store);
        store.answers += 1;
        store.now = self.clock.now();
        let number = store.answers;
        let user = self.book.client_of(request.bearer().unwrap_or_default());
        let spent = self.meter.spend(&user, 1, store.now);
        let outcome = if let Some(throttled) = spent.and_then(throttled) {
            Ok(throttled)
        } else if request.method == "POST" && request.path() == format!("{ROOT}/$batch") {
            self.batch(&mut store, request, number)
        } else {
            self.route(&mut store, request)
        };
        let response = outcome.unwrap_or_else(refused);
        response
            .with("OData-Version", "4.0")
            .with("x-ms-service-request-id", numbered_guid("dataverse service request", number))
            .with("REQ_ID", numbered_guid("dataverse request", number))
            .with("x-ms-ratelimit-burst-remaining-xrm-requests", spent.map_or(5998, |spent| spent.left).to_string())
            .with("x-ms-ratelimit-time-remaining-xrm-requests", "1,199.50")
            .with("x-ms-dop-hint", "52")
    }

    fn batch(&self, store: &mut Store, request: &Request, number: u64) -> Result<Response, Refusal> {
        check_headers(request)?;
        batch::run(
            store,
            request,
            number,
            |store, request| self.route(store, request).unwrap_or_else(refused),
            |store| (store.tables.clone(), store.version),
            |store, before| (store.tables, store.version) = before,
        )
    }

    fn base(&self) -> String {
        format!("{}{ROOT}", self.origin)
    }

    fn route(&self, store: &mut Store, request: &Request) -> Result<Response, Refusal> {
        let outside = || Refusal::outside_contract(format!("{} {}", request.method, request.path()));
        let path = request.path().strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/'));
        let path = path.filter(|path| !path.is_empty()).ok_or_else(outside)?;
        check_headers(request)?;
        if path == "WhoAmI" || path == "WhoAmI()" {
            return if request.method == "GET" { Ok(self.who_am_i()) } else { Err(outside()) };
        }
        if path == "EntityDefinitions" || path.starts_with("EntityDefinitions(") {
            if request.method != "GET" {
                return Err(outside());
            }
            let described = metadata::answer(store, request, path, &self.base())?;
            return Ok(json_answer(200, described.to_string()));
        }
        if path.starts_with('$') {
            return Err(outside());
        }
        if path == "sdkmessagefilters" && request.method == "GET" {
            return bulk::available(store, request, &self.base());
        }
        if let Some((set, segment)) = path.split_once('/')
            && let Some(message) = bulk::Message::named(segment)
            && request.method == "POST"
            && let Some(at) = store.tables.iter().position(|table| table.entity_set == set)
        {
            return bulk::run(store, at, message, request, &self.base(), self.clock.now());
        }
        let (set, raw_key) = key::split(path);
        let Some(at) = store.tables.iter().position(|table| table.entity_set == set) else {
            if set.contains('/') {
                return Err(outside());
            }
            let text = format!("Resource not found for the segment '{set}'.");
            return Err(Refusal::new(404, "0x80060888", text));
        };
        let key = match raw_key.map(key::parse) {
            None => None,
            Some(Ok(key)) => Some(key),
            Some(Err(key::Refused::FrontDoor)) => {
                return Ok(Response::text(
                    400,
                    "text/html; charset=us-ascii",
                    "<!DOCTYPE HTML><html><head><title>Bad Request</title></head>\
                     <body><h2>Bad Request - Invalid URL</h2></body></html>",
                ));
            }
            Some(Err(key::Refused::Malformed)) => return Err(write::not_a_key(&store.tables[at])),
        };
        match (request.method.as_str(), key) {
            ("GET", None) => self.read_set(store, at, request),
            ("GET", Some(key)) => self.read_row(store, at, &key, request),
            ("PATCH", Some(key)) => {
                let written = write::upsert(store, at, &key, request, self.clock.now())?;
                self.written(store, at, request, &written, raw_key)
            }
            ("POST", None) => {
                let written = write::create(store, at, request, self.clock.now())?;
                self.written(store, at, request, &written, None)
            }
            ("DELETE", Some(key)) => {
                write::delete(store, at, &key, request)?;
                Ok(Response::empty(204))
            }
            _ => Err(outside()),
        }
    }

    fn read_set(&self, store: &mut Store, at: usize, request: &Request) -> Result<Response, Refusal> {
        let table = &store.tables[at];
        let query = Query::read(request, table)?;
        if query.track_changes && !table.change_tracking {
            let text = format!("Change tracking is not enabled for entity '{}'.", table.logical_name);
            return Err(Refusal::bad_request(text));
        }
        let is_delta = request.query().contains("$deltatoken=") || request.query().contains("%24deltatoken=");
        let body = if is_delta {
            changes::run(store, at, &query, request, &self.base())?
        } else {
            query.run(store, at, request, &self.base())?
        };
        let response = json_answer(200, body);
        let applied = query.applied();
        Ok(if applied.is_empty() { response } else { response.with("Preference-Applied", applied.join(",")) })
    }

    fn read_row(&self, store: &Store, at: usize, key: &Key, request: &Request) -> Result<Response, Refusal> {
        let table = &store.tables[at];
        let query = Query::read(request, table)?;
        let found = table.resolve(key).map_err(|()| write::not_a_key(table))?;
        let row = found.and_then(|id| table.rows.get(&id)).ok_or_else(|| write::does_not_exist(table, key))?;
        if request.header("if-none-match").is_some_and(|tag| tag == e_tag(row.version)) {
            return Ok(Response::empty(304));
        }
        let fragment = query.shape.fragment(table);
        let context = format!("{}/$metadata#{}{fragment}/$entity", self.base(), table.entity_set);
        let body = query.shape.print(table, row, Some(&context));
        Ok(json_answer(200, body).with("ETag", e_tag(row.version)))
    }

    fn written(
        &self,
        store: &Store,
        at: usize,
        request: &Request,
        written: &Written,
        raw_key: Option<&str>,
    ) -> Result<Response, Refusal> {
        let table = &store.tables[at];
        let named = raw_key.unwrap_or(&written.id);
        let entity = format!("{}/{}({named})", self.base(), table.entity_set);
        if !request.header_parts("prefer").contains(&"return=representation") {
            return Ok(Response::empty(204).with("OData-EntityId", entity));
        }
        let query = Query::read(request, table)?;
        let row = table
            .rows
            .get(&written.id)
            .ok_or_else(|| Refusal::new(500, "0x80040216", "An unexpected error occurred."))?;
        let fragment = query.shape.fragment(table);
        let context = format!("{}/$metadata#{}{fragment}/$entity", self.base(), table.entity_set);
        let body = query.shape.print(table, row, Some(&context));
        Ok(json_answer(if written.created { 201 } else { 200 }, body)
            .with("ETag", e_tag(row.version))
            .with("Preference-Applied", "return=representation")
            .with("OData-EntityId", entity))
    }

    fn who_am_i(&self) -> Response {
        let body = json!({
            "@odata.context": format!("{}/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse", self.base()),
            "BusinessUnitId": "5e0e8a4e-0000-0000-0000-000000000001",
            "UserId": "d93e9712-5c0b-f011-bae2-7c1e526458ff",
            "OrganizationId": numbered_guid(&self.origin, 0),
        });
        json_answer(200, body.to_string())
    }
}

/// The refusal of a request past the allowance.
fn throttled(spent: Spent) -> Option<Response> {
    let Allowance { units, seconds } = spent.allowance;
    let text = format!("Number of requests exceeded the limit of {units} over time window of {seconds} seconds.");
    let response = refused(Refusal::new(429, "0x80072322", text));
    (spent.wait_seconds > 0).then(|| response.with("Retry-After", spent.wait_seconds.to_string()))
}

fn refused(Refusal { status, code, message }: Refusal) -> Response {
    Response::json(status, &json!({"error": {"code": code, "message": message}}))
        .with("Content-Type", "application/json; odata.metadata=minimal")
}

fn json_answer(status: u16, body: String) -> Response {
    Response::text(status, "application/json; odata.metadata=minimal", body)
}

/// Refuses a protocol version or media type the service does not speak; none given is fine.
fn check_headers(request: &Request) -> Result<(), Refusal> {
    for (name, accepted) in [("OData-Version", &["4.0"][..]), ("OData-MaxVersion", &["4.0", "4.01"][..])] {
        if let Some(version) = request.header(name)
            && !accepted.contains(&version)
        {
            return Err(Refusal::bad_request(format!(
                "The {name} HTTP header value '{version}' is invalid or not supported."
            )));
        }
    }
    let accepts = request.header_parts("accept");
    let json = |part: &&str| {
        let media_type = part.split(';').next().unwrap_or_default().trim();
        matches!(media_type, "application/json" | "application/*" | "*/*")
    };
    if !accepts.is_empty() && !accepts.iter().any(json) {
        let text = "A supported MIME type could not be found that matches the acceptable MIME types for \
                    the request.";
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}
