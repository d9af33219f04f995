//! Sources against the stand-ins of Microsoft's services, faults included.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod certificates;
mod dataverse;
mod drive;
mod tokens;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sandbox::clock::Clock;
use sandbox::faults::Faults;
use sandbox::graph::{Graph, GraphOptions};
use sandbox::token::{TokenOptions, TokenService};
use storekeeper::http::{Client, Tokens};
use storekeeper::settings;
use storekeeper::sources::{Drive, Error, Fetched, RemoteFile};

const SITE: &str = "sites/harbor";
const FOLDER: &str = "BI Import";
const SECRET: &str = "s+e/c=r&et~1";
const LIMIT_BYTES: u64 = 1 << 20;

/// Stand-ins, and the sources that look at them.
struct World {
    clock: Clock,
    token: TokenService,
    graph: Arc<Graph>,
    client: Client,
    tokens: Tokens,
    drive: Drive,
    into: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        Self::with_secret(SECRET)
    }

    fn with_secret(secret: &str) -> Self {
        let clock = Clock::fixed(noon());
        let token = TokenService::start(TokenOptions {
            clients: vec![("app".to_owned(), SECRET.to_owned())],
            clock: clock.clone(),
            ..TokenOptions::default()
        })
        .unwrap();
        let graph = Graph::start(GraphOptions {
            book: token.book(),
            sites: vec![SITE.to_owned()],
            clock: clock.clone(),
            faults: Faults::new(),
            ..GraphOptions::default()
        })
        .unwrap();
        let client = Client::new(&patience()).unwrap();
        let microsoft = microsoft(&token, &graph, secret);
        let tokens = Tokens::new(&client, &microsoft).unwrap();
        let place = settings::Drive { site: Some(format!("example.sharepoint.com:/{SITE}")), id: None, user: None };
        let drive = Drive::new(&client, &tokens, &microsoft, &place).unwrap();
        Self { clock, token, graph: Arc::new(graph), client, tokens, drive, into: tempfile::tempdir().unwrap() }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.graph.put_file(SITE, FOLDER, name, bytes, noon());
    }

    async fn listed(&self, pattern: &str) -> Result<Vec<RemoteFile>, Error> {
        Ok(self.drive.list(FOLDER, pattern).await?.files)
    }

    async fn only(&self, pattern: &str) -> RemoteFile {
        let mut files = self.listed(pattern).await.unwrap();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    async fn fetch(&self, file: &RemoteFile) -> Result<Fetched, Error> {
        sendable(self.drive.fetch(file, LIMIT_BYTES, self.into.path())).await
    }

    /// How often a route of Graph was asked, the download host included.
    fn asked(&self, route: &str) -> usize {
        self.graph.faults().requests_to(route).len()
    }

    fn tokens_asked(&self) -> usize {
        self.token.faults().requests().len()
    }
}

fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2025-11-29T12:00:00Z").unwrap().to_utc()
}

/// Impatient enough for tests.
fn patience() -> settings::Http {
    settings::Http {
        connect_timeout_seconds: 5,
        read_timeout_seconds: 1,
        attempts: 4,
        backoff_milliseconds: 1,
        throttled_pause_seconds: 0,
        retry_after_limit_seconds: 2,
    }
}

fn microsoft(token: &TokenService, graph: &Graph, secret: &str) -> settings::Microsoft {
    settings::Microsoft {
        tenant_id: TokenOptions::default().tenant_id,
        client_id: "app".to_owned(),
        client_secret: Some(secret.to_owned().into()),
        client_secret_expires_on: None,
        certificate_file: None,
        private_key_file: None,
        cloud: settings::Cloud::Global,
        authority_url: token.base_url.clone(),
        graph_url: graph.base_url.clone(),
    }
}

/// Fetching must be possible on any thread.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

/// Bytes that tell their place.
fn rows(count: usize) -> Vec<u8> {
    (0..count).flat_map(|row| format!("{row:06},{}\r\n", row * 31 % 997).into_bytes()).collect()
}

fn content(fetched: &Fetched) -> Vec<u8> {
    std::fs::read(&fetched.path).unwrap()
}

fn said(error: &Error) -> String {
    storekeeper::telemetry::chain(error)
}

const CONTENT: &str = "GET /v1.0/drives/*/content";
const DOWNLOAD: &str = "GET *download.aspx*";
const CHILDREN: &str = "GET /v1.0/drives/*/children*";
