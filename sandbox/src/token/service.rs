//! `POST {tenant}/oauth2/v2.0/token`, client credentials.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::json;

use super::assertion::{self, Registered};
use super::book::TokenBook;
use super::discovery;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::wire::{Listener, Request, Response, Server, decode_form, decode_percent, locked, numbered_guid};

/// What a scope is of that names no resource.
const GRAPH: &str = "https://graph.microsoft.com";

/// Who may ask for tokens, and how long they live.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The directory's id; any other in the URL is not found.
    pub tenant_id: String,
    /// Client ids with their secrets.
    pub clients: Vec<(String, String)>,
    /// The certificates that clients may sign with.
    pub certificates: Vec<Registered>,
    /// How long a token lives. Default: 3599.
    pub lifetime_seconds: u32,
    /// The origin that clients know it by, where a TLS front stands before it; its own otherwise.
    pub public_url: Option<String>,
    /// The time tokens are issued and expire by.
    pub clock: Clock,
    /// The fault script and request log.
    pub faults: Faults,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            tenant_id: "00000000-1111-2222-3333-444444444444".to_owned(),
            clients: Vec::new(),
            certificates: Vec::new(),
            lifetime_seconds: 3599,
            public_url: None,
            clock: Clock::default(),
            faults: Faults::default(),
        }
    }
}

/// The token endpoint at work; dropping it closes its port.
#[derive(Debug)]
pub struct TokenService {
    /// What clients reach it by, without a trailing slash: their `authority`.
    pub base_url: String,
    /// Where it listens.
    pub listens_on: String,
    state: Arc<State>,
    _server: Server,
}

#[derive(Debug)]
struct State {
    base_url: String,
    options: TokenOptions,
    book: TokenBook,
    switches: Mutex<Switches>,
}

#[derive(Debug)]
struct Switches {
    lifetime_seconds: u32,
    expired_secrets: BTreeSet<String>,
    answers: u64,
}

impl TokenService {
    /// Starts the endpoint on a free port.
    pub fn start(options: TokenOptions) -> io::Result<Self> {
        let listener = Listener::bind()?;
        let listens_on = listener.origin();
        let base_url = options.public_url.clone().unwrap_or_else(|| listens_on.clone());
        let switches =
            Switches { lifetime_seconds: options.lifetime_seconds, expired_secrets: BTreeSet::new(), answers: 0 };
        let state = Arc::new(State {
            base_url: base_url.clone(),
            options,
            book: TokenBook::default(),
            switches: Mutex::new(switches),
        });
        let served = Arc::clone(&state);
        let server = listener.serve(move |request| {
            let now = served.options.clock.now();
            served.options.faults.pass("token", now, None, &request, |request| {
                served.answer(request).with("Date", served.options.clock.http_date())
            })
        })?;
        Ok(Self { base_url, listens_on, state, _server: server })
    }

    /// The book to start the other stand-ins with.
    pub fn book(&self) -> TokenBook {
        self.state.book.clone()
    }

    /// The fault script and request log.
    pub fn faults(&self) -> &Faults {
        &self.state.options.faults
    }

    /// Changes how long tokens live that are issued from now on.
    pub fn set_lifetime_seconds(&self, seconds: u32) {
        locked(&self.state.switches).lifetime_seconds = seconds;
    }

    /// Lets a client's secret expire.
    pub fn expire_secret(&self, client_id: &str) {
        locked(&self.state.switches).expired_secrets.insert(client_id.to_owned());
    }
}

/// An error by the endpoint's own words: status, `error`, number, text.
pub(super) type Refused = (u16, &'static str, u32, String);

impl State {
    fn answer(&self, request: &Request) -> Response {
        let number = {
            let mut switches = locked(&self.switches);
            switches.answers += 1;
            switches.answers
        };
        if let Some(described) = discovery::answer(&self.base_url, &self.options.tenant_id, request) {
            return described;
        }
        let path = request.path().strip_suffix("/oauth2/v2.0/token");
        let tenant = path.and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.contains('/'));
        let (Some(tenant), "POST") = (tenant, request.method.as_str()) else {
            return Response::outside_contract(&format!("{} {}", request.method, request.path()));
        };
        match self.issue(tenant, request) {
            Ok(response) => response,
            Err(refused) => self.refusal(refused, number),
        }
    }

    fn issue(&self, tenant: &str, request: &Request) -> Result<Response, Refused> {
        self.check_tenant(tenant)?;
        let form = Form::read(request)?;
        match form.required("grant_type")? {
            "client_credentials" => {}
            other => {
                let text = format!("The app requested an unsupported grant type '{other}'.");
                return Err((400, "unsupported_grant_type", 70003, text));
            }
        }
        let client_id = match form.get("client_assertion") {
            Some(text) => {
                if form.required("client_assertion_type")? != assertion::TYPE {
                    return Err((400, "invalid_request", 900_144, "'client_assertion_type' is not known.".to_owned()));
                }
                let audience = format!("{}{}", self.base_url, request.path());
                let now = self.options.clock.now();
                assertion::check(text, form.required("client_id")?, &audience, &self.options.certificates, now)?
            }
            None => self.check_client(&form, request)?,
        };
        let resource = self.check_scope(form.required("scope")?)?;
        let lifetime_seconds = locked(&self.switches).lifetime_seconds;
        let expires_at = self.options.clock.now() + TimeDelta::seconds(lifetime_seconds.into());
        let body = json!({
            "token_type": "Bearer",
            "expires_in": lifetime_seconds,
            "ext_expires_in": lifetime_seconds,
            "access_token": self.book.issue(&client_id, &resource, expires_at),
        });
        Ok(Response::json(200, &body)
            .with("Content-Type", "application/json; charset=utf-8")
            .with("Cache-Control", "no-store, no-cache"))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), Refused> {
        if matches!(tenant, "common" | "consumers" | "organizations") {
            let text = format!(
                "The grant type is not supported over the /common or /consumers endpoints. \
                 Please use the /organizations or tenant-specific endpoint instead of '/{tenant}'."
            );
            return Err((400, "invalid_request", 9_001_023, text));
        }
        if !tenant.eq_ignore_ascii_case(&self.options.tenant_id) {
            let text = format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID \
                 and are signing into the correct cloud."
            );
            return Err((400, "invalid_request", 90002, text));
        }
        Ok(())
    }

    fn check_client(&self, form: &Form, request: &Request) -> Result<String, Refused> {
        let basic = basic_credentials(request);
        let client_id = match (form.get("client_id"), &basic) {
            (Some(id), _) => id.to_owned(),
            (None, Some((id, _))) => id.clone(),
            (None, None) => return Err(missing("client_id")),
        };
        let Some((_, secret)) = self.options.clients.iter().find(|(id, _)| *id == client_id) else {
            let text = format!("Application with identifier '{client_id}' was not found in the directory 'Contoso'.");
            return Err((400, "unauthorized_client", 700_016, text));
        };
        let given = form.get("client_secret").or(basic.as_ref().map(|(_, secret)| secret.as_str()));
        let Some(given) = given else {
            let text = "The request body must contain the following parameter: \
                        'client_assertion' or 'client_secret'.";
            return Err((400, "invalid_request", 7_000_218, text.to_owned()));
        };
        if given != secret {
            let text = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the \
                 client secret value, not the client secret ID, for a secret added to app '{client_id}'."
            );
            return Err((401, "invalid_client", 7_000_215, text));
        }
        if locked(&self.switches).expired_secrets.contains(&client_id) {
            let text = format!(
                "The provided client secret keys for app '{client_id}' are expired. Visit the Azure \
                 portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider \
                 using certificate credentials for added security: https://aka.ms/certCreds."
            );
            return Err((401, "invalid_client", 7_000_222, text));
        }
        Ok(client_id)
    }

    fn check_scope(&self, scope: &str) -> Result<String, Refused> {
        let mut scopes = scope.split_whitespace();
        let (Some(first), None) = (scopes.next(), scopes.next()) else {
            let text = "The provided value for the input parameter 'scope' is not valid because it \
                        contains more than one resource.";
            return Err((400, "invalid_scope", 700_022, text.to_owned()));
        };
        // A scope that names no resource is one of Graph's: rclone asks so.
        let named = if first == ".default" { Some(GRAPH) } else { first.strip_suffix("/.default") };
        let Some(resource) = named.filter(|name| !name.is_empty()) else {
            let text = format!(
                "The provided value for the input parameter 'scope' is not valid. \
                 The scope {first} is not valid."
            );
            return Err((400, "invalid_scope", 70011, text));
        };
        if !self.book.knows_resource(resource) {
            let text = format!("The resource principal named {resource} was not found in the tenant named Contoso.");
            return Err((400, "invalid_resource", 500_011, text));
        }
        Ok(resource.to_owned())
    }

    fn refusal(&self, (status, error, code, text): Refused, number: u64) -> Response {
        let trace_id = numbered_guid("token trace", number);
        let correlation_id = numbered_guid("token correlation", number);
        let timestamp = self.options.clock.now().format("%Y-%m-%d %H:%M:%SZ").to_string();
        let description = format!(
            "AADSTS{code}: {text}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\n\
             Timestamp: {timestamp}"
        );
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        Response::json(status, &body).with("Content-Type", "application/json; charset=utf-8")
    }
}

/// The decoded request body.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(request: &Request) -> Result<Self, Refused> {
        let content_type = request.header("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            // The real endpoint finds nothing in a body of any other type.
            return Ok(Self(Vec::new()));
        }
        std::str::from_utf8(&request.body).ok().and_then(decode_form).map(Self).ok_or_else(|| {
            let text = "Unable to parse the request body. The request is malformed.";
            (400, "invalid_request", 9_002_313, text.to_owned())
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> Refused {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    (400, "invalid_request", 900_144, text)
}

/// Client id and secret from HTTP Basic, each form-encoded before the base64.
fn basic_credentials(request: &Request) -> Option<(String, String)> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((decode_percent(&id.replace('+', "%20"))?, decode_percent(&secret.replace('+', "%20"))?))
}
