//! A key vault, and the identity service of the machine that opens it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::book::TokenBook;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::wire::{Listener, Request, Response, Server, locked};

/// What tokens for key vaults are for.
pub const VAULT_RESOURCE: &str = "https://vault.azure.net";

/// Both at work; dropping it closes their ports.
#[derive(Debug)]
pub struct Vault {
    /// The vault, without a trailing slash.
    pub base_url: String,
    /// The machine's identity service, without a trailing slash.
    pub identity_url: String,
    secrets: Arc<Mutex<BTreeMap<String, String>>>,
    faults: Faults,
    _servers: [Server; 2],
}

impl Vault {
    /// Starts both on free ports; `book` is the token endpoint's.
    pub fn start(book: &TokenBook, clock: &Clock) -> io::Result<Self> {
        book.enter_resource(VAULT_RESOURCE);
        let faults = Faults::new();
        let secrets: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let (vault, identity) = (Listener::bind()?, Listener::bind()?);
        let (base_url, identity_url) = (vault.origin(), identity.origin());
        let served = (book.clone(), clock.clone(), faults.clone(), Arc::clone(&secrets));
        let vault = vault.serve(move |request| {
            let (book, clock, faults, secrets) = &served;
            faults.pass("vault", clock.now(), None, &request, |request| {
                match book.check(request.bearer(), &[VAULT_RESOURCE.to_owned()], clock.now()) {
                    Ok(()) => secret(request, &locked(secrets)),
                    Err(_) => refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
                        .with("WWW-Authenticate", format!("Bearer resource=\"{VAULT_RESOURCE}\"")),
                }
            })
        })?;
        let served = (book.clone(), clock.clone(), faults.clone());
        let identity = identity.serve(move |request| {
            let (book, clock, faults) = &served;
            faults.pass("identity", clock.now(), None, &request, |request| granted(request, book, clock))
        })?;
        Ok(Self { base_url, identity_url, secrets, faults, _servers: [vault, identity] })
    }

    /// Puts a secret in.
    pub fn put(&self, name: &str, value: &str) {
        locked(&self.secrets).insert(name.to_owned(), value.to_owned());
    }

    /// The fault script and request log of both.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

fn secret(request: &Request, secrets: &BTreeMap<String, String>) -> Response {
    let name = request.path().strip_prefix("/secrets/").filter(|_| request.method == "GET");
    let (Some(name), "api-version=7.4") = (name, request.query()) else {
        return Response::outside_contract(&format!("{} {}", request.method, request.target));
    };
    match secrets.get(name.trim_end_matches('/')) {
        Some(value) => Response::json(
            200,
            &json!({"value": value, "id": format!("https://stand-in/secrets/{name}/1"), "attributes": {"enabled": true}}),
        ),
        None => refusal(404, "SecretNotFound", "A secret with this name was not found in this key vault."),
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({"error": {"code": code, "message": message}}))
}

fn granted(request: &Request, book: &TokenBook, clock: &Clock) -> Response {
    let parameters = request.parameters().unwrap_or_default();
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let refused = |text: &str| Response::json(400, &json!({"error": "invalid_request", "error_description": text}));
    if request.path() != "/metadata/identity/oauth2/token" || request.method != "GET" {
        return Response::outside_contract(&format!("{} {}", request.method, request.path()));
    }
    if request.header("metadata") != Some("true") {
        return refused("Required metadata header not specified");
    }
    let (Some("2018-02-01"), Some(resource)) = (get("api-version"), get("resource")) else {
        return refused("Required query variable 'api-version' or 'resource' is missing");
    };
    let token = book.issue("machine", resource, clock.now() + TimeDelta::seconds(86_399));
    let body: Value =
        json!({"access_token": token, "expires_in": "86399", "resource": resource, "token_type": "Bearer"});
    Response::json(200, &body)
}
