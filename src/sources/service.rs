//! Requests that carry a token: to the one origin it was made for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use tracing::debug;
use url::{Origin, Url};

use super::error::Error;
use crate::http::{self, Answer, Client, Request, Response, Token, Tokens};

/// An API behind Entra sign-in.
#[derive(Debug, Clone)]
pub(super) struct Service {
    name: &'static str,
    client: Client,
    tokens: Tokens,
    /// What its tokens are for; also the start of its addresses.
    base: String,
    origin: Origin,
}

/// What one request has been through.
#[derive(Default)]
struct Replays {
    renewed: bool,
    spurious: u32,
}

impl Service {
    pub(super) fn new(
        name: &'static str,
        what: &'static str,
        client: &Client,
        tokens: &Tokens,
        base: &str,
    ) -> Result<Self, Error> {
        let base = base.trim_end_matches('/').to_owned();
        let url = Url::parse(&base).ok();
        let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            return Err(Error::Address { what, value: base });
        };
        Ok(Self {
            name,
            client: client.for_origin(&url.origin().ascii_serialization()),
            tokens: tokens.clone(),
            base,
            origin: url.origin(),
        })
    }

    /// The start of its addresses.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Client behind whose gate all of this service's requests wait.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether tokens and links travel protected here.
    pub(super) fn is_protected(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Starts a request to a path of ours, its segments encoded already.
    pub(super) fn request(&self, operation: &str, method: Method, path: &str) -> Result<Request, Error> {
        let url = Url::parse(&format!("{}{path}", self.base));
        let url = url.map_err(|_| Error::Address { what: "the service's address", value: operation.to_owned() })?;
        Ok(Request::new(method, url))
    }

    /// Starts a GET of a link that the service gave us.
    pub(super) fn follow(&self, operation: &str, link: &str) -> Result<Request, Error> {
        let request = Request::follow(link)
            .map_err(|_| Error::ForeignLink { operation: operation.to_owned(), host: "no address".to_owned() })?;
        self.at_home(operation, &request)?;
        Ok(request)
    }

    /// Sends a request with a token and reads the whole answer.
    pub(super) async fn send(&self, operation: &str, request: Request) -> Result<Response, Error> {
        self.at_home(operation, &request)?;
        let mut replays = Replays::default();
        loop {
            let token = self.token().await?;
            let request = request.clone().bearer(&token);
            let outcome = self.client.send(&request).await;
            let response = outcome.map_err(|source| unsent(operation, source))?;
            log(self.name, &request, &response.headers);
            if response.status.as_u16() != 401 {
                return Ok(response);
            }
            self.unauthorized(operation, &response, &token, &mut replays).await?;
        }
    }

    /// Sends a request with a token and hands over the answer with its body
    /// still on its way.
    pub(super) async fn open(&self, operation: &str, request: Request) -> Result<Answer, Error> {
        self.at_home(operation, &request)?;
        let mut replays = Replays::default();
        loop {
            let token = self.token().await?;
            let request = request.clone().bearer(&token);
            let outcome = self.client.open(&request).await;
            let answer = outcome.map_err(|source| unsent(operation, source))?;
            log(self.name, &request, &answer.headers);
            if answer.status.as_u16() != 401 {
                return Ok(answer);
            }
            let outcome = answer.whole().await;
            let response = outcome.map_err(|source| unsent(operation, source))?;
            self.unauthorized(operation, &response, &token, &mut replays).await?;
        }
    }

    async fn token(&self) -> Result<Token, Error> {
        let outcome = self.tokens.bearer(&self.base).await;
        outcome.map_err(|source| Error::SignIn { service: self.name, source })
    }

    /// Refuses to send a token elsewhere.
    fn at_home(&self, operation: &str, request: &Request) -> Result<(), Error> {
        let url = request.url();
        if url.origin() == self.origin {
            return Ok(());
        }
        Err(Error::ForeignLink { operation: operation.to_owned(), host: url.origin().ascii_serialization() })
    }

    /// Prepares the one replay with a fresh token, or says why there is none.
    async fn unauthorized(
        &self,
        operation: &str,
        response: &Response,
        token: &Token,
        replays: &mut Replays,
    ) -> Result<(), Error> {
        let problem = Problem::of(response);
        let operation = operation.to_owned();
        // OneDrive's side says so at random; the same token works a moment later.
        if problem.message.contains("Unable to initialize RPS") && replays.spurious + 1 < self.client.attempts() {
            replays.spurious += 1;
            self.client.back_off(replays.spurious).await;
            return Ok(());
        }
        if problem.is("NoPermissionsInAccessToken") {
            return Err(Error::NoPermission { operation });
        }
        if replays.renewed {
            let code = match problem.code() {
                "" => "no reason given",
                code => code,
            };
            return Err(Error::TokenRefused { operation, code: code.to_owned() });
        }
        replays.renewed = true;
        let claims = claims_of(response);
        self.tokens.challenged(&self.base, token, claims).await;
        Ok(())
    }
}

/// What a service wants a fresh token to claim: sent to those who never said
/// that they understand it only by mistake, but then nothing else helps.
fn claims_of(response: &Response) -> Option<String> {
    let headers = response.headers.get_all("www-authenticate");
    headers.iter().find_map(|header| {
        let rest = header.to_str().ok()?.split_once("claims=\"")?.1;
        let claims = STANDARD.decode(rest.split_once('"')?.0).ok()?;
        String::from_utf8(claims).ok()
    })
}

fn unsent(operation: &str, source: http::Error) -> Error {
    Error::Send { operation: operation.to_owned(), source }
}

/// Keeps the ids by which Microsoft finds a request again.
fn log(service: &str, request: &Request, headers: &reqwest::header::HeaderMap) {
    let id = ["request-id", "x-ms-service-request-id"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    debug!(service, ?request, request_id = id, "service answered");
}

/// An error body as Graph and Dataverse write it, to any depth.
#[derive(Debug, Default)]
pub(super) struct Problem {
    codes: Vec<String>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn of(response: &Response) -> Self {
        Self::parse(&response.body)
    }

    /// Reads a body; what is none has neither code nor message.
    pub(super) fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Value,
        }
        let Ok(Body { error }) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let message = error["message"].as_str().unwrap_or_default();
        let mut problem = Self { codes: Vec::new(), message: message.split_whitespace().collect::<Vec<_>>().join(" ") };
        let mut level = Some(&error);
        while let Some(inner) = level {
            if let Some(code) = inner["code"].as_str() {
                problem.codes.push(code.to_owned());
            }
            level = inner.get("innerError").or_else(|| inner.get("innererror"));
        }
        problem
    }

    /// Whether any level says so.
    pub(super) fn is(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known.eq_ignore_ascii_case(code))
    }

    /// The outermost code.
    pub(super) fn code(&self) -> &str {
        self.codes.first().map_or("", String::as_str)
    }

    /// A refusal that has no name of its own.
    pub(super) fn refused(&self, operation: &str, status: u16) -> Error {
        Error::Refused {
            operation: operation.to_owned(),
            status,
            code: self.code().to_owned(),
            message: self.message.chars().take(400).collect(),
        }
    }
}

/// Reads a page or an item.
pub(super) fn read<'a, T: Deserialize<'a>>(operation: &str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Unreadable { operation: operation.to_owned(), source })
}

/// Encodes a path segment or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$(),;:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Encodes a path segment by segment; `None` for one that leads elsewhere.
pub(super) fn encoded_path(path: &str) -> Option<String> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| (segment != "." && segment != "..").then(|| encoded(segment)))
        .collect::<Option<Vec<_>>>()
        .map(|segments| segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &'static str) -> Problem {
        Problem::of(&Response {
            status: reqwest::StatusCode::BAD_REQUEST,
            headers: reqwest::header::HeaderMap::new(),
            body: body.into(),
        })
    }

    #[test]
    fn a_problem_is_read_in_both_spellings_and_to_any_depth() {
        let deep = problem(
            r#"{"error":{"code":"a","message":"x\r\n y","innerError":{"code":"b","innererror":{"code":"c"}}}}"#,
        );
        assert!(deep.is("a") && deep.is("B") && deep.is("c") && !deep.is("d"));
        assert_eq!((deep.code(), deep.message.as_str()), ("a", "x y"));
        for none in ["", "<html>", "[]", r#"{"error":null}"#, r#"{"error":{"code":""}}"#] {
            assert_eq!(problem(none).code(), "");
        }
    }

    #[test]
    fn a_claims_challenge_is_found_in_any_of_the_headers() {
        let mut headers = reqwest::header::HeaderMap::new();
        let mut add = |value: &'static str| headers.append("www-authenticate", value.parse().unwrap());
        add("Basic realm=\"x\"");
        add("Bearer realm=\"\", claims=\"eyJhIjoxfQ==\", error=\"insufficient_claims\"");
        let mut response = Response { status: reqwest::StatusCode::UNAUTHORIZED, headers, body: "".into() };
        assert_eq!(claims_of(&response).as_deref(), Some(r#"{"a":1}"#));
        response.headers.clear();
        assert_eq!(claims_of(&response), None);
    }

    #[test]
    fn segments_are_encoded_one_by_one() {
        assert_eq!(
            encoded_path("/BI Import/50% #1/it's+ü/").as_deref(),
            Some("BI%20Import/50%25%20%231/it%27s%2B%C3%BC")
        );
        assert_eq!(encoded_path("").as_deref(), Some(""));
        assert_eq!(encoded_path("a/../b"), None);
    }
}
