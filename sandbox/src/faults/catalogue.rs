//! The faults of the contract's check list, by their ids.

use serde_json::{Value, json};

use super::scenarios::Scenario;
use super::script::{Faults, Outcome, RuleId, When};
use crate::wire::{Request, Response};

/// One entry of the check list.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Such as `G5`.
    pub id: &'static str,
    /// What goes wrong, in a few words.
    pub what: &'static str,
    /// The forms it takes; [`Faults::play`] plays the first, [`Faults::play_form`] any.
    forms: &'static [Form],
}

/// The requests that go wrong in one form of a fault.
type Form = &'static [Step];

#[derive(Debug, Clone, Copy)]
struct Step {
    route: &'static str,
    act: Act,
}

/// What happens to a request; wire-level, so that any of them can be the n-th or fall to chance.
#[derive(Debug, Clone, Copy)]
enum Act {
    Named(Scenario),
    Edit(fn(&Request, &mut Response)),
    Answer(fn() -> Response),
    Truncate(usize),
    Lose,
    Close,
    /// Nothing is played: the stand-in is so by nature, and its log is the proof.
    Nature,
}

const TOKEN: &str = "POST */oauth2/v2.0/token";
const ANY_GRAPH: &str = "GET /v1.0/*";
const CHILDREN: &str = "GET /v1.0/drives/*/children*";
const DELTA: &str = "GET /v1.0/drives/*/delta*";
const CONTENT: &str = "GET /v1.0/drives/*/content";
const DOWNLOAD: &str = "GET *download.aspx*";
const SITE: &str = "GET /v1.0/sites/*";
const ITEM: &str = "PATCH /v1.0/drives/*/items/*";
const BATCH: &str = "POST /v1.0/$batch";
const MAIL: &str = "POST /v1.0/users/*/sendMail";
const SUBSCRIPTIONS: &str = "* /v1.0/subscriptions*";
const ROWS: &str = "GET /api/data/v9.2/*";
const NEXT_ROWS: &str = "GET /api/data/v9.2/*skiptoken*";
const CHANGES: &str = "GET /api/data/v9.2/*deltatoken*";
const WRITES: &str = "PATCH /api/data/v9.2/*";
const BULK: &str = "POST /api/data/v9.2/*UpsertMultiple";
const DEFINITIONS: &str = "GET /api/data/v9.2/EntityDefinitions*";
const DATAVERSE_BATCH: &str = "POST /api/data/v9.2/$batch";

const fn step(route: &'static str, act: Act) -> Step {
    Step { route, act }
}

const fn named(route: &'static str, scenario: Scenario) -> Step {
    step(route, Act::Named(scenario))
}

macro_rules! entries {
    ($($id:literal $what:literal [$([$($step:expr),* $(,)?]),* $(,)?]),* $(,)?) => {
        &[$(Entry { id: $id, what: $what, forms: &[$(&[$($step),*]),*] }),*]
    };
}

/// Every fault that can be switched on, in the order of the check list.
pub const CATALOGUE: &[Entry] = entries![
    "T1" "wrong or expired secret" [
        [step(TOKEN, Act::Answer(|| refused_secret(7_000_215, "Invalid client secret provided.")))],
        [step(TOKEN, Act::Answer(|| refused_secret(7_000_222, "The provided client secret keys are expired.")))],
    ],
    "T2" "token endpoint 503 with a page, or 429" [
        [named(TOKEN, Scenario::TokenUnavailableHtml)],
        [named(TOKEN, Scenario::TokenThrottled(Some("0.2")))],
        [named(TOKEN, Scenario::TokenUnavailable)],
    ],
    "T3" "a token that dies while pages are read" [
        [step(TOKEN, Act::Edit(|_, response| set(response, "expires_in", json!(1)))), named(ANY_GRAPH, Scenario::GraphTokenExpired)],
    ],
    "T4" "401 for every token" [[named(ANY_GRAPH, Scenario::GraphTokenExpired)]],
    "T5" "claims challenge" [[named(ANY_GRAPH, Scenario::GraphClaimsChallenge)]],
    "T6" "401 of the OneDrive side that the same token overcomes" [[named(ANY_GRAPH, Scenario::GraphRps)]],
    "T7" "life of a token as text, nothing, or missing" [
        [step(TOKEN, Act::Edit(|_, response| set(response, "expires_in", json!("3599"))))],
        [step(TOKEN, Act::Edit(|_, response| set(response, "expires_in", json!(0))))],
        [step(TOKEN, Act::Edit(|_, response| set(response, "expires_in", Value::Null)))],
    ],
    "T8" "a token of one service is refused by the other" [
        [step(ROWS, Act::Nature)],
        [named(ROWS, Scenario::DataverseUnauthorized)],
    ],
    "G1" "empty page with a next link; a link to another host" [
        [step(CHILDREN, Act::Edit(empty_page))],
        [step(CHILDREN, Act::Edit(foreign_link))],
    ],
    "G2" "empty delta page" [[step(DELTA, Act::Edit(empty_page))]],
    "G3" "next link that repeats" [[step(DELTA, Act::Edit(repeating_link))], [step(CHILDREN, Act::Edit(repeating_link))]],
    "G4" "one item several times, a deletion without a name" [[step(DELTA, Act::Edit(several_times))]],
    "G5" "410 in three forms" [
        [step(DELTA, Act::Edit(|request, response| gone(request, response, Some("resyncChangesApplyDifferences"))))],
        [step(DELTA, Act::Edit(|request, response| gone(request, response, None)))],
        [
            step(DELTA, Act::Edit(|request, response| gone(request, response, Some("resyncChangesUploadDifferences")))),
            named("GET /v1.0/drives/*/delta?resync=*", Scenario::GraphGeneralException),
        ],
    ],
    "G6" "connection gone between two pages" [[step(DELTA, Act::Close)], [step(CHILDREN, Act::Close)]],
    "G7" "500 in delta, 200 without value" [
        [named(DELTA, Scenario::GraphDeltaFault)],
        [named(DELTA, Scenario::GraphWithoutValue)],
        [named(CHILDREN, Scenario::GraphDeltaFault)],
        [named(CHILDREN, Scenario::GraphWithoutValue)],
    ],
    "G8" "download host that rejects a token" [[step(DOWNLOAD, Act::Nature)]],
    "G9" "signature over the raw link" [[step(DOWNLOAD, Act::Nature)]],
    "G10" "download link that is dead, or silent" [
        [named(DOWNLOAD, Scenario::DownloadUnauthorized)],
        [step(DOWNLOAD, Act::Close)],
    ],
    "G11" "download cut, and range ignored" [
        [step(DOWNLOAD, Act::Truncate(20))],
        [step(DOWNLOAD, Act::Edit(|_, response| if response.status == 206 { response.status = 416; response.body.clear(); }))],
    ],
    "G12" "virus scanner, and a page instead of a file" [
        [named(DOWNLOAD, Scenario::DownloadMalware)],
        [named(DOWNLOAD, Scenario::DownloadUnavailableHtml)],
    ],
    "G13" "bytes that are not those of the listing" [[step(DOWNLOAD, Act::Edit(other_bytes))]],
    "G14" "file replaced between listing and download" [[named(CONTENT, Scenario::GraphItemNotFound)]],
    "G15" "429 with every kind of Retry-After" [
        [named(ANY_GRAPH, Scenario::GraphThrottled(Some("0.15")))],
        [named(ANY_GRAPH, Scenario::GraphThrottled(Some("1")))],
        [named(ANY_GRAPH, Scenario::GraphTooManyRequests(None))],
        [named(ANY_GRAPH, Scenario::GraphThrottled(Some("Sat, 29 Nov 2025 11:00:00 GMT")))],
        [named(ANY_GRAPH, Scenario::GraphThrottled(Some("315")))],
    ],
    "G16" "503 with and without Retry-After" [
        [named(ANY_GRAPH, Scenario::GraphUnavailable(Some("0.1")))],
        [named(ANY_GRAPH, Scenario::GraphUnavailable(None))],
    ],
    "G17" "batch answers out of order" [[step(BATCH, Act::Edit(reversed))]],
    "G18" "move: name exists, locked, tag moved, gone, answer lost" [
        [step(ITEM, Act::Answer(|| problem(409, "nameAlreadyExists", "An item with the same name already exists.")))],
        [step(ITEM, Act::Answer(|| problem(423, "resourceLocked", "The resource is locked.")))],
        [step(ITEM, Act::Answer(|| problem(412, "resourceModified", "ETag does not match current item's value.")))],
        [named(ITEM, Scenario::GraphItemNotFound)],
        [step(ITEM, Act::Lose)],
    ],
    "G19" "owner files, placeholders, notebooks, shortcuts" [[step(CHILDREN, Act::Nature)]],
    "G20" "names with signs that addresses give a meaning" [[step(CONTENT, Act::Nature)]],
    "G21" "404 for an item, 403 for the site, 404 for the drive" [
        [named(CONTENT, Scenario::GraphItemNotFound)],
        [named(SITE, Scenario::GraphAccessDenied)],
        [named(SITE, Scenario::GraphItemNotFound)],
    ],
    "N1" "handshake of a subscription" [[step(SUBSCRIPTIONS, Act::Nature)]],
    "N2" "notifications that lie or repeat" [[step(SUBSCRIPTIONS, Act::Nature)]],
    "N3" "no notification ever comes" [[step(SUBSCRIPTIONS, Act::Answer(|| problem(404, "itemNotFound", "Subscription not found")))]],
    "S1" "mail throttled, refused, too large, answer lost" [
        [named(MAIL, Scenario::MailThrottled(Some("0.1")))],
        [named(MAIL, Scenario::MailAccessDenied)],
        [named(MAIL, Scenario::MailTooLarge)],
        [step(MAIL, Act::Lose)],
    ],
    "D1" "paging cookie compared byte for byte" [[step(ROWS, Act::Nature)]],
    "D2" "a row comes again on the next page" [[step(NEXT_ROWS, Act::Edit(twice))]],
    "D3" "change token expired" [[named(CHANGES, Scenario::DataverseChangesExpired)]],
    "D4" "deletion of a row never seen" [[step(CHANGES, Act::Edit(unknown_deletion))]],
    "D5" "digits, wall clock times, multi-selects, empty texts" [[step(ROWS, Act::Nature)]],
    "D6" "three kinds of 429" [
        [named(ROWS, Scenario::DataverseRequestLimit(Some("0.2")))],
        [named(ROWS, Scenario::DataverseTimeLimit(Some("0.2")))],
        [named(ROWS, Scenario::DataverseConcurrencyLimit(Some("0.2")))],
        [named(BULK, Scenario::DataverseRequestLimit(Some("0.2")))],
        [named(BULK, Scenario::DataverseTimeLimit(Some("0.2")))],
        [named(BULK, Scenario::DataverseConcurrencyLimit(Some("0.2")))],
    ],
    "D7" "batch whose second part fails" [
        [step(DATAVERSE_BATCH, Act::Edit(stopped))],
        [step(DATAVERSE_BATCH, Act::Answer(|| problem(400, "0x0", "The batch was stopped at its first failure.")))],
    ],
    "D8" "bulk write with a bad row, a deadlock, a timeout" [
        [named(BULK, Scenario::DataverseDeadlock)],
        [named(BULK, Scenario::DataverseSqlTimeout)],
        [named(ROWS, Scenario::DataverseSqlTimeout)],
        [step(BULK, Act::Answer(|| problem(400, "0x80040203", "Required field is missing.")))],
    ],
    "D9" "answer lost after the write" [[step(WRITES, Act::Lose)], [step(BULK, Act::Lose)], [step(ROWS, Act::Lose)], [step(DATAVERSE_BATCH, Act::Lose)]],
    "D10" "key that is not active" [
        [step(WRITES, Act::Answer(|| problem(400, "0x80060888", "The specified key attributes are not a defined key.")))],
        [step(DEFINITIONS, Act::Edit(pending_keys))],
    ],
    "D11" "412 for three reasons" [
        [step(WRITES, Act::Answer(|| problem(412, "0x80060882", "The version of the existing record doesn't match.")))],
        [step(WRITES, Act::Answer(|| problem(412, "0x80040237", "A record with matching key values already exists.")))],
    ],
    "D12" "401 without a body, not a member, privilege missing" [
        [named(ROWS, Scenario::DataverseUnauthorized)],
        [named(ROWS, Scenario::DataverseNotAMember)],
        [named(ROWS, Scenario::DataverseMissingPrivilege("sk_metric"))],
    ],
    "D13" "expanded collection with a link inside" [[step("GET /api/data/v9.2/sk_*expand*", Act::Nature)]],
];

/// There is no fault of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "there is no fault `{}`; the first is T1, the last D13", self.0)
    }
}

impl std::error::Error for Unknown {}

impl Entry {
    /// How many forms it takes.
    pub fn forms(&self) -> usize {
        self.forms.len()
    }

    /// Whether it is there without being played.
    pub fn is_nature(&self, form: usize) -> bool {
        self.forms.get(form).is_some_and(|form| form.iter().all(|step| matches!(step.act, Act::Nature)))
    }

    /// The routes that a form is about.
    pub fn routes(&self, form: usize) -> Vec<&'static str> {
        self.forms.get(form).map(|form| form.iter().map(|step| step.route).collect()).unwrap_or_default()
    }
}

impl Faults {
    /// Plays a fault by its id, such as `G5`, in its first form.
    ///
    /// # Errors
    /// When there is no such fault.
    pub fn play(&self, id: &str, when: When) -> Result<Vec<RuleId>, Unknown> {
        self.play_form(id, 0, when)
    }

    /// Plays one form of a fault, counted from 0.
    ///
    /// # Errors
    /// When there is no such fault or form.
    pub fn play_form(&self, id: &str, form: usize, when: When) -> Result<Vec<RuleId>, Unknown> {
        let entry = CATALOGUE.iter().find(|entry| entry.id.eq_ignore_ascii_case(id));
        let steps = entry.and_then(|entry| entry.forms.get(form)).ok_or_else(|| Unknown(id.to_owned()))?;
        let scripted = steps.iter().filter_map(|step| Some(self.script(step.route, when, step.act.outcome()?)));
        Ok(scripted.collect())
    }
}

impl Act {
    fn outcome(self) -> Option<Outcome> {
        Some(match self {
            Self::Named(scenario) => scenario.into(),
            Self::Edit(edit) => Outcome::rewrite(edit),
            Self::Answer(answer) => Outcome::Answer(answer()),
            Self::Truncate(bytes) => Outcome::Truncate(bytes),
            Self::Lose => Outcome::LoseAnswer,
            Self::Close => Outcome::Close,
            Self::Nature => return None,
        })
    }
}

fn problem(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({"error": {"code": code, "message": message}}))
}

fn refused_secret(code: u32, message: &str) -> Response {
    let text =
        format!("AADSTS{code}: {message}\r\nTrace ID: 0\r\nCorrelation ID: 0\r\nTimestamp: 2026-01-09 02:02:12Z");
    Response::json(401, &json!({"error": "invalid_client", "error_description": text, "error_codes": [code]}))
}

fn edit(response: &mut Response, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice::<Value>(&response.body)
        && body.is_object()
        && response.status == 200
    {
        change(&mut body);
        response.body = body.to_string().into_bytes();
    }
}

fn set(response: &mut Response, member: &str, value: Value) {
    edit(response, |body| body[member] = value);
}

fn own_link(request: &Request) -> Option<String> {
    Some(format!("http://{}{}", request.header("host")?, request.target))
}

/// No items, and a link to the page that should have come.
fn empty_page(request: &Request, response: &mut Response) {
    let Some(link) = own_link(request) else { return };
    edit(response, |body| {
        body["value"] = json!([]);
        body["@odata.nextLink"] = json!(link);
        if let Some(body) = body.as_object_mut() {
            body.remove("@odata.deltaLink");
        }
    });
}

fn foreign_link(_: &Request, response: &mut Response) {
    edit(response, |body| body["@odata.nextLink"] = json!("http://127.0.0.2:9/v1.0/drives/x/root/children"));
}

fn repeating_link(request: &Request, response: &mut Response) {
    let Some(link) = own_link(request) else { return };
    edit(response, |body| {
        body["@odata.nextLink"] = json!(link);
        if let Some(body) = body.as_object_mut() {
            body.remove("@odata.deltaLink");
        }
    });
}

/// The first item comes once more at the end.
fn twice(_: &Request, response: &mut Response) {
    edit(response, |body| {
        if let Some(values) = body["value"].as_array_mut()
            && let Some(first) = values.first().cloned()
        {
            values.push(first);
        }
    });
}

/// The same once more, and the deletion of something else: an id, and nothing besides.
fn several_times(request: &Request, response: &mut Response) {
    twice(request, response);
    edit(response, |body| {
        if let Some(values) = body["value"].as_array_mut() {
            values.push(json!({"id": "01GONE", "deleted": {"state": "deleted"}}));
        }
    });
}

/// As if it had stopped at its second part, which failed: what follows has no answer.
fn stopped(_: &Request, response: &mut Response) {
    let kind = response.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return };
    let mark = format!("--{}", boundary.trim_matches('"'));
    let body = String::from_utf8_lossy(&response.body).into_owned();
    let Some(first) = body.split(&mark).nth(1) else { return };
    let problem = json!({"error": {"code": "0x80040203", "message": "Required field is missing."}});
    let text = format!(
        "{mark}{first}{mark}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{problem}\r\n{mark}--\r\n"
    );
    response.status = 400;
    response.body = text.into_bytes();
}

/// The index of every alternate key is still being made.
fn pending_keys(_: &Request, response: &mut Response) {
    let body = String::from_utf8_lossy(&response.body).replace("\"Active\"", "\"Pending\"");
    response.body = body.into_bytes();
}

/// A change link is past its life; one that asks for everything is not.
fn gone(request: &Request, response: &mut Response, code: Option<&str>) {
    if !request.query().contains("token=") {
        return;
    }
    let body = json!({"error": {"code": code.unwrap_or("resyncRequired"), "message": "Resync required"}});
    let mut answer = Response::json(410, &body);
    if code.is_some()
        && let Some(host) = request.header("host")
    {
        let fresh = if code == Some("resyncChangesUploadDifferences") { "?resync=1" } else { "" };
        answer = answer.with("Location", format!("http://{host}{}{fresh}", request.path()));
    }
    *response = answer;
}

fn other_bytes(_: &Request, response: &mut Response) {
    if response.status == 200 {
        response.body.extend_from_slice(b"\n");
        let length = response.body.len().to_string();
        if response.header("content-length").is_some() {
            *response = response.clone().with("Content-Length", length);
        }
    }
}

fn reversed(_: &Request, response: &mut Response) {
    edit(response, |body| {
        if let Some(parts) = body["responses"].as_array_mut() {
            parts.reverse();
        }
    });
}

fn unknown_deletion(_: &Request, response: &mut Response) {
    edit(response, |body| {
        if let Some(values) = body["value"].as_array_mut() {
            values.push(json!({"@odata.context": "#x/$deletedEntity", "id": "ffffffff-0000-0000-0000-000000000000", "reason": "deleted"}));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_list_is_complete_and_each_name_stands_once() {
        let groups = [("T", 8), ("G", 21), ("N", 3), ("S", 1), ("D", 13)];
        let wanted: Vec<String> = groups
            .iter()
            .flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}{number}")))
            .collect();
        let found: Vec<&str> = CATALOGUE.iter().map(|entry| entry.id).collect();
        assert_eq!(found, wanted);
        assert_eq!(found.len(), 46);
    }

    #[test]
    fn a_fault_is_played_by_name_and_an_unknown_one_is_refused() {
        let faults = Faults::new();
        let rules = faults.play("t2", When::Nth(1)).unwrap_or_default();
        let request =
            Request { method: "POST".to_owned(), target: "/t/oauth2/v2.0/token".to_owned(), ..Request::default() };
        let reply = |faults: &Faults| {
            faults.pass("token", chrono::DateTime::default(), None, &request, |_| Response::empty(200)).response.status
        };
        assert_eq!((reply(&faults), reply(&faults)), (503, 200));
        assert_eq!(faults.fired(rules[0]), 1);
        assert_eq!(faults.play("G22", When::Every), Err(Unknown("G22".to_owned())));
    }
}
