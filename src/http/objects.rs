//! Lets the crate that speaks to object stores send over our own client.
//!
//! Its own way out would switch HTTP/2 on for every request of the program, and
//! would know neither our timeouts nor that redirects are not followed.

use std::time::Duration;

use async_trait::async_trait;
use axum::http;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::client::Error;
use crate::settings;

/// Connects object stores; clones share its connections.
#[derive(Debug, Clone)]
pub struct ObjectsConnector(reqwest::Client);

impl ObjectsConnector {
    /// Builds the client.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &settings::Http) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds))
            .read_timeout(Duration::from_secs(settings.read_timeout_seconds))
            .redirect(reqwest::redirect::Policy::none())
            // A hash is that of the bytes stored.
            .no_gzip()
            .build()
            .map_err(Error::Build)?;
        Ok(Self(client))
    }
}

impl HttpConnector for ObjectsConnector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for ObjectsConnector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts
            .uri
            .to_string()
            .parse()
            .map_err(|error| HttpError::new::<url::ParseError>(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let answer = self.0.execute(request).await.map_err(failed)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(failed))))
    }
}

/// Tells the store what may be tried again. The address may carry a signature: it is left out.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}
