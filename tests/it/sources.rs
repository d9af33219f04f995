//! Sources against the stand-ins of Microsoft's services, faults included.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sandbox::clock::Clock;
use sandbox::faults::{Faults, Outcome, Scenario, When};
use sandbox::graph::{Graph, GraphOptions, Lock, Paging, PagingQuirk};
use sandbox::token::{TokenOptions, TokenService};
use serde_json::json;
use storekeeper::http::{Client, TokenError, Tokens};
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
        let place = settings::Drive {
            site: Some(format!("example.sharepoint.com:/{SITE}")),
            id: None,
            user: None,
        };
        let drive = Drive::new(&client.for_service(), &tokens, &microsoft, &place).unwrap();
        Self {
            clock,
            token,
            graph: Arc::new(graph),
            client,
            tokens,
            drive,
            into: tempfile::tempdir().unwrap(),
        }
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
    DateTime::parse_from_rfc3339("2025-11-29T12:00:00Z")
        .unwrap()
        .to_utc()
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
        client_secret: secret.to_owned().into(),
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
    (0..count)
        .flat_map(|row| format!("{row:06},{}\r\n", row * 31 % 997).into_bytes())
        .collect()
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

#[tokio::test]
async fn a_listing_comes_whole_over_odd_pages() {
    let world = World::start();
    for name in ["d.xlsx", "b.XLSX", "a.xlsx", "c.xlsx", "e.csv", "~$a.xlsx"] {
        world.put(name, b"x");
    }
    world.put("empty.xlsx", b"");
    world.graph.put_folder(SITE, "BI Import/Archive.xlsx");
    let notebook = json!({"package": {"type": "oneNote"}}).as_object().cloned();
    world
        .graph
        .put_other(SITE, FOLDER, "notes.xlsx", notebook.unwrap());
    let quirk = Some(PagingQuirk::EmptyPages);
    world.graph.set_paging(Paging { size: 2, quirk });

    let listing = world.drive.list("/BI Import/", "*.xlsx").await.unwrap();
    let names: Vec<_> = listing
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["a.xlsx", "b.XLSX", "c.xlsx", "d.xlsx"]);
    assert_eq!(
        listing.notes,
        [
            "`Archive.xlsx`: a folder",
            "`empty.xlsx`: empty, or still being uploaded",
            "`notes.xlsx`: a notebook, not a file",
            "`~$a.xlsx`: somebody has the file open in Office",
        ]
    );
    assert!(world.asked(CHILDREN) > 4);
    assert_eq!(world.tokens_asked(), 1);
    let file = &listing.files[0];
    assert_eq!((file.size_bytes, file.modified_at), (1, Some(noon())));
    assert_eq!(file.modified_by.as_deref(), Some("Sam"));
    assert!(file.version.contains("c:") && file.quick_xor_hash.is_some());
}

#[tokio::test]
async fn a_token_never_follows_a_link_to_another_host() {
    let world = World::start();
    ["a", "b", "c"]
        .iter()
        .for_each(|name| world.put(name, b"x"));
    let quirk = Some(PagingQuirk::ForeignLink);
    world.graph.set_paging(Paging { size: 1, quirk });
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
    assert!(said(&error).contains("https://graph.example.net"));
    assert!(!error.is_passing());
}

#[tokio::test]
async fn a_listing_that_goes_round_in_circles_fails() {
    let world = World::start();
    ["a", "b", "c"]
        .iter()
        .for_each(|name| world.put(name, b"x"));
    let quirk = Some(PagingQuirk::RepeatingLink);
    world.graph.set_paging(Paging { size: 1, quirk });
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::RepeatingLink { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_listing_is_not_an_empty_one() {
    let world = World::start();
    world.put("a", b"x");
    world.listed("*").await.unwrap();
    for fault in [Scenario::GraphWithoutValue, Scenario::GraphGatewayTimeout] {
        let rule = world.graph.faults().script(CHILDREN, When::Every, fault);
        let error = world.listed("*").await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        world.graph.faults().remove(rule);
    }
    let error = world.drive.list("Nowhere", "*").await.unwrap_err();
    assert_eq!(said(&error), "folder `Nowhere` was not found");
}

#[tokio::test]
async fn a_download_carries_no_token_and_keeps_its_link() {
    let world = World::start();
    // The download host refuses a token, and any link that was rebuilt.
    world.put("50% #1+it's, ü.csv", &rows(3000));
    let file = world.only("50%*").await;
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(3000));
    assert_eq!(fetched.name, "50% #1+it's, ü.csv");
    assert_eq!(fetched.size_bytes, file.size_bytes);
    assert_eq!(fetched.content_hash.len(), 64);
    assert_eq!(fetched.remote.as_ref(), Some(&file));
    assert!(fetched.notes.is_empty());
    let download = &world.graph.faults().requests_to(DOWNLOAD)[0];
    assert_eq!(download.header("authorization"), None);
    assert_eq!(download.header("accept-encoding"), Some("identity"));

    world.put("copy.csv", &rows(3000));
    let copy = world.fetch(&world.only("copy.csv").await).await.unwrap();
    assert_eq!(copy.content_hash, fetched.content_hash);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let world = World::start();
    world.put("a.csv", &rows(9000));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(2), Scenario::DownloadTruncated(30_000));
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(9000));
    let ranges: Vec<_> = faults
        .requests_to(DOWNLOAD)
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    let range = |from: &str| Some(format!("bytes={from}-"));
    assert_eq!(ranges, [None, range("30000"), range("60000")]);
    // Each time a fresh link.
    assert_eq!(world.asked(CONTENT), 3);

    world.graph.ignore_ranges(true);
    faults.script(DOWNLOAD, When::Next(1), Scenario::DownloadTruncated(30_000));
    let again = world.fetch(&file).await.unwrap();
    assert_eq!(again.content_hash, fetched.content_hash);

    faults.script(DOWNLOAD, When::Every, Outcome::Truncate(0));
    let error = world.fetch(&file).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    let left = std::fs::read_dir(world.into.path()).unwrap().count();
    assert_eq!(left, 1, "only what came whole is kept");
}

#[tokio::test]
async fn a_file_replaced_meanwhile_is_read_in_its_new_version_only() {
    let world = World::start();
    world.put("a.csv", &rows(5000));
    let file = world.only("a.csv").await;
    let (faults, graph) = (world.graph.faults(), Arc::clone(&world.graph));
    faults.script(DOWNLOAD, When::Nth(1), Scenario::DownloadTruncated(30_000));
    // Replaced between the break and the look that comes after it.
    let replacing = Outcome::rewrite(move |_, _| {
        graph.put_file(
            SITE,
            FOLDER,
            "a.csv",
            rows(6000),
            noon() + TimeDelta::hours(1),
        );
    });
    faults.script(CONTENT, When::Nth(1), replacing);
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(6000));
    assert_ne!(fetched.remote.unwrap().version, file.version);
    assert!(fetched.notes[0].contains("replaced after it was listed"));
}

#[tokio::test]
async fn an_office_file_may_differ_and_a_text_may_not() {
    let world = World::start();
    for name in ["a.xlsx", "a.csv"] {
        world.put(name, &rows(100));
        world.graph.send_instead(SITE, FOLDER, name, rows(101));
    }
    let fetched = world.fetch(&world.only("a.xlsx").await).await.unwrap();
    assert_eq!(content(&fetched), rows(101));
    assert!(fetched.notes[0].contains("SharePoint"));

    let before = world.asked(DOWNLOAD);
    let error = world.fetch(&world.only("a.csv").await).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert_eq!(world.asked(DOWNLOAD) - before, 2);
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_fetched() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let fetch = |limit| world.drive.fetch(&file, limit, world.into.path());
    let error = fetch(file.size_bytes - 1).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!(world.asked(CONTENT), 0);
    fetch(file.size_bytes).await.unwrap();
    // What is listed is not what comes.
    world.put("b.xlsx", &rows(100));
    world.graph.send_instead(SITE, FOLDER, "b.xlsx", rows(101));
    let file = world.only("b.xlsx").await;
    let outcome = world
        .drive
        .fetch(&file, file.size_bytes, world.into.path())
        .await;
    assert!(matches!(outcome, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn an_old_link_gets_a_fresh_one_and_no_fresh_token() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(1), Scenario::DownloadUnauthorized);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));
    assert_eq!(world.asked(CONTENT), 2);

    faults.script(DOWNLOAD, When::Every, Scenario::DownloadUnauthorized);
    let before = world.asked(DOWNLOAD);
    let error = world.fetch(&file).await.unwrap_err();
    assert!(
        matches!(error, Error::DownloadRefused { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(world.asked(DOWNLOAD) - before, 2);
    assert_eq!(world.tokens_asked(), 1);
}

#[tokio::test]
async fn passing_faults_of_the_download_host_are_outlived() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(2), Scenario::DownloadUnavailableHtml);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));
    faults.script(DOWNLOAD, When::Next(1), Outcome::Hang);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));

    world.graph.flag_malware(SITE, FOLDER, "a.csv", "EICAR");
    let error = world.fetch(&file).await.unwrap_err();
    assert!(matches!(error, Error::Infected { .. }), "{error:?}");
    let listing = world.drive.list(FOLDER, "a.csv").await.unwrap();
    assert!(listing.files.is_empty() && listing.notes[0].contains("virus"));

    world.graph.remove_file(SITE, FOLDER, "a.csv");
    let error = world.fetch(&file).await.unwrap_err();
    assert_eq!(said(&error), "file `a.csv` has vanished");
}

#[tokio::test]
async fn everybody_waits_as_long_as_the_service_asks() {
    let world = World::start();
    world.put("a.csv", b"x");
    world.listed("*").await.unwrap();
    let faults = world.graph.faults();
    let throttled = Scenario::GraphThrottled(Some("0.25"));
    let rule = faults.script(CHILDREN, When::Next(1), throttled);
    let before = world.asked(CHILDREN);
    let started = std::time::Instant::now();
    let lists = (0..6).map(|_| world.listed("*"));
    for outcome in futures::future::join_all(lists).await {
        assert_eq!(outcome.unwrap().len(), 1);
    }
    assert!(started.elapsed().as_millis() >= 250);
    assert_eq!(faults.fired(rule), 1);
    assert_eq!(world.asked(CHILDREN) - before, 7);

    faults.script(
        CHILDREN,
        When::Next(1),
        Scenario::GraphUnavailable(Some("41")),
    );
    let before = world.asked("GET *");
    for _ in 0..2 {
        let error = world.listed("*").await.unwrap_err();
        assert!(said(&error).contains("asked to wait 4"), "{error:?}");
        assert!(error.is_passing());
    }
    assert_eq!(
        world.asked("GET *") - before,
        1,
        "nothing is sent inside the wait"
    );
}

#[tokio::test]
async fn a_token_that_dies_in_the_middle_is_replaced_once() {
    let world = World::start();
    ["a", "b", "c", "d"]
        .iter()
        .for_each(|name| world.put(name, b"x"));
    world.graph.set_paging(Paging {
        size: 1,
        quirk: None,
    });
    world.listed("*").await.unwrap();
    // Our own clock knows nothing of this.
    world.clock.advance_seconds(3600);
    assert_eq!(world.listed("*").await.unwrap().len(), 4);
    assert_eq!(world.tokens_asked(), 2);

    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Every, Scenario::GraphTokenExpired);
    let before = world.asked(CHILDREN);
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::TokenRefused { .. }), "{error:?}");
    assert_eq!(world.asked(CHILDREN) - before, 2, "exactly one replay");
    assert_eq!(world.tokens_asked(), 3);
}

#[tokio::test]
async fn a_claims_challenge_is_answered_with_the_claims() {
    let world = World::start();
    world.put("a", b"x");
    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Next(1), Scenario::GraphClaimsChallenge);
    let before = world.token.faults();
    before.script(
        "POST *",
        When::Nth(2),
        Outcome::rewrite(|request, response| {
            let body = String::from_utf8_lossy(&request.body);
            if !body.contains("claims=%7B%22access_token%22") {
                response.status = 500;
            }
        }),
    );
    assert_eq!(world.listed("*").await.unwrap().len(), 1);
    assert_eq!(world.tokens_asked(), 2);
}

#[tokio::test]
async fn a_refusal_that_no_token_cures_gets_no_token() {
    let world = World::start();
    world.put("a", b"x");
    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Next(2), Scenario::GraphRps);
    assert_eq!(world.listed("*").await.unwrap().len(), 1);
    let rule = faults.script(CHILDREN, When::Every, Scenario::GraphNoPermissions);
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::NoPermission { .. }), "{error:?}");
    faults.remove(rule);
    faults.script(CHILDREN, When::Every, Scenario::GraphAccessDenied);
    let error = world.listed("*").await.unwrap_err();
    let text = said(&error);
    assert!(
        text.find("Sites.Selected") < text.find("Files.Read.All"),
        "{text}"
    );
    assert!(text.contains("Sites.Selected") && error.hint().is_some());
    assert_eq!(world.tokens_asked(), 1);
}

#[tokio::test]
async fn a_drive_is_found_by_site_user_and_id() {
    let world = World::start();
    world.put("a", b"x");
    let info = world.drive.resolve().await.unwrap().clone();
    assert_eq!(info.kind.as_deref(), Some("documentLibrary"));
    world
        .graph
        .put_file("users/etl@example.com", FOLDER, "b", "x", noon());
    let microsoft = microsoft(&world.token, &world.graph, SECRET);
    let open = |site: Option<&str>, id: Option<&str>, user: Option<&str>| {
        let place = settings::Drive {
            site: site.map(str::to_owned),
            id: id.map(str::to_owned),
            user: user.map(str::to_owned),
        };
        Drive::new(&world.client, &world.tokens, &microsoft, &place)
    };
    let by_id = open(None, Some(&info.id), None).unwrap();
    assert_eq!(by_id.resolve().await.unwrap(), &info);
    let by_user = open(None, None, Some("etl@example.com")).unwrap();
    assert_eq!(by_user.list(FOLDER, "*").await.unwrap().files[0].name, "b");
    let wrong = open(Some("example.sharepoint.com:/sites/typo"), None, None).unwrap();
    let error = wrong.resolve().await.unwrap_err();
    assert!(matches!(error, Error::DriveNotFound { .. }), "{error:?}");
    for none in [open(None, None, None), open(None, Some("a"), Some("b"))] {
        assert!(matches!(none, Err(Error::DriveUnnamed)));
    }
}

#[tokio::test]
async fn a_read_file_is_put_away_or_a_note_says_why_not() {
    let world = World::start();
    world.put("a.csv", b"x");
    let file = world.only("a.csv").await;
    let archive = |file| world.drive.archive(file, "Archive", noon());
    let note = archive(&file).await.unwrap();
    assert!(note.contains("`Archive` is not there"), "{note}");

    world.graph.put_folder(SITE, "BI Import/Archive");
    world
        .graph
        .lock_file(SITE, FOLDER, "a.csv", Some(Lock::AccessDenied));
    let note = archive(&file).await.unwrap();
    assert!(note.contains("somebody has it open"), "{note}");
    world.graph.lock_file(SITE, FOLDER, "a.csv", None);

    world.put("a.csv", b"new");
    let note = archive(&file).await.unwrap();
    assert!(note.contains("changed since it was read"), "{note}");

    let file = world.only("a.csv").await;
    // The answer is lost; asking again finds it done.
    let faults = world.graph.faults();
    faults.script("PATCH *", When::Next(1), Outcome::LoseAnswer);
    assert_eq!(archive(&file).await, None);
    assert!(world.listed("*.csv").await.unwrap().is_empty());
    let paths = world.graph.files(SITE);
    assert!(
        paths[0].starts_with("BI Import/Archive/a.20251129T120000Z."),
        "{paths:?}"
    );
}

#[tokio::test]
async fn many_workers_wait_for_one_token_request() {
    let world = World::start();
    let faults = world.token.faults();
    faults.script(
        "POST *",
        When::Nth(1),
        Scenario::TokenThrottled(Some("0.05")),
    );
    faults.script("POST *", When::Nth(2), Scenario::TokenUnavailableHtml);
    let resource = world.graph.base_url.clone();
    let bearers = (0..8).map(|_| {
        let (tokens, resource) = (world.tokens.clone(), resource.clone());
        tokio::spawn(async move { tokens.bearer(&resource).await })
    });
    for outcome in futures::future::join_all(bearers).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(world.tokens_asked(), 3);

    // One that is down for good is asked for all of them, not by each.
    let other = "https://other.example.com";
    faults.script("POST *", When::Every, Scenario::TokenUnavailable);
    let bearers = (0..8).map(|_| world.tokens.bearer(other));
    for outcome in futures::future::join_all(bearers).await {
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, TokenError::Unavailable { status: 503, .. }),
            "{error:?}"
        );
    }
    assert_eq!(world.tokens_asked(), 3 + 4);
}

#[tokio::test]
async fn a_wrong_secret_is_said_once_and_never_shown() {
    let world = World::with_secret("wrong+secret");
    world.put("a", b"x");
    for _ in 0..3 {
        let error = world.listed("*").await.unwrap_err();
        let shown = format!("{} {error:?} {:?}", said(&error), error.hint());
        assert!(shown.contains("AADSTS7000215"), "{shown}");
        assert!(
            shown.contains("`microsoft.client_secret` is wrong"),
            "{shown}"
        );
        assert!(
            !shown.contains("wrong+secret") && !shown.contains("Trace ID"),
            "{shown}"
        );
        assert!(!error.is_passing());
    }
    assert_eq!(world.tokens_asked(), 1, "a broken secret does not hammer");
    assert_eq!(world.asked("GET *"), 0);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_are_told_apart() {
    let hint = async |change: fn(&mut settings::Microsoft), resource: Option<&str>| {
        let world = World::start();
        world.token.expire_secret("nobody");
        let mut microsoft = microsoft(&world.token, &world.graph, SECRET);
        change(&mut microsoft);
        let tokens = Tokens::new(&world.client, &microsoft).unwrap();
        let resource = resource.unwrap_or(&world.graph.base_url);
        let error = tokens.bearer(resource).await.unwrap_err();
        error.hint().unwrap_or_default()
    };
    let tenant = hint(
        |microsoft| microsoft.tenant_id = "nosuch.example".to_owned(),
        None,
    )
    .await;
    assert!(tenant.contains("tenant is not known"));
    let client = hint(|microsoft| microsoft.client_id = "other".to_owned(), None).await;
    assert!(client.contains("`microsoft.client_id`"));
    let resource = hint(|_| (), Some("https://typo.crm.dynamics.com")).await;
    assert!(resource.contains("`dataverse_url`"));
    let address = hint(|microsoft| microsoft.authority_url.push_str("/proxy"), None).await;
    assert!(address.contains("`microsoft.authority_url`"));

    let world = World::start();
    world.token.expire_secret("app");
    let error = world
        .tokens
        .bearer(&world.graph.base_url)
        .await
        .unwrap_err();
    assert!(error.hint().unwrap_or_default().contains("expired"));
}

#[tokio::test]
async fn a_life_of_any_form_makes_a_token_that_works() {
    for life in [json!("3599"), json!(null), json!(-5), json!("soon")] {
        let world = World::start();
        world.put("a", b"x");
        let edit = Outcome::rewrite(move |_, response| {
            let mut body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            body["expires_in"] = life.clone();
            response.body = body.to_string().into_bytes();
        });
        world.token.faults().script("POST *", When::Every, edit);
        assert_eq!(world.listed("*").await.unwrap().len(), 1);
        assert_eq!(world.listed("*").await.unwrap().len(), 1);
        assert!(world.tokens_asked() <= 3);
    }
}
