//! A tenant with its services, and a plain HTTP client.

use anyhow::Context;
use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder, Response};
use sandbox::clock::Clock;
use sandbox::graph::{Graph, GraphOptions};
use sandbox::token::{TokenOptions, TokenService};
use serde_json::Value;

pub(crate) const TENANT: &str = "00000000-1111-2222-3333-444444444444";
pub(crate) const CLIENT: &str = "535fb089-9ff3-47b6-9bfb-4f1264799865";
pub(crate) const SECRET: &str = "a+b/c=~secret";

/// The moment every test starts at.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_764_414_000, 0).expect("the number is a time")
}

/// A tenant: the token endpoint, a clock, and a client that follows no redirect.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) tokens: TokenService,
    pub(crate) client: reqwest::Client,
}

impl World {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let clock = Clock::fixed(start());
        let tokens = TokenService::start(TokenOptions {
            tenant_id: TENANT.to_owned(),
            clients: vec![(CLIENT.to_owned(), SECRET.to_owned())],
            clock: clock.clone(),
            ..TokenOptions::default()
        })?;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { clock, tokens, client })
    }

    pub(crate) fn graph(&self) -> anyhow::Result<Graph> {
        Ok(Graph::start(GraphOptions {
            book: self.tokens.book(),
            sites: vec!["sites/harbor".to_owned()],
            clock: self.clock.clone(),
            ..GraphOptions::default()
        })?)
    }

    /// Asks for a token and answers status and body.
    pub(crate) async fn ask(&self, fields: &[(&str, &str)]) -> anyhow::Result<(u16, Value)> {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", sandbox::wire::encode_percent(value, ""))).collect();
        let url = format!("{}/{TENANT}/oauth2/v2.0/token", self.tokens.base_url);
        let response = self
            .client
            .post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.join("&"))
            .send()
            .await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    pub(crate) async fn token(&self, resource: &str) -> anyhow::Result<String> {
        let scope = format!("{resource}/.default");
        let (_, body) = self
            .ask(&[
                ("client_id", CLIENT),
                ("client_secret", SECRET),
                ("scope", &scope),
                ("grant_type", "client_credentials"),
            ])
            .await?;
        let token = body["access_token"].as_str().context("a token was expected")?;
        Ok(token.to_owned())
    }

    pub(crate) fn request(&self, method: Method, url: &str, token: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(token)
    }

    pub(crate) async fn get(&self, url: &str, token: &str) -> anyhow::Result<Response> {
        Ok(self.request(Method::GET, url, token).send().await?)
    }

    pub(crate) async fn get_json(&self, url: &str, token: &str) -> anyhow::Result<Value> {
        Ok(self.get(url, token).await?.json().await?)
    }
}
