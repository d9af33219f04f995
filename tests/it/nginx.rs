//! The TLS front, with the real nginx on the shipped template.

mod front;
mod upstream;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use sandbox::metabase::{self, Metabase};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::version;

use front::{Front, NAME, project, send_plain};
use upstream::Arrived;

/// What is asked of the plain port, by host.
fn plain_get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("not an HTTP answer: {answer:?}"))
}

fn header<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default()
}

#[tokio::test]
async fn plain_http_leads_to_https_with_path_and_query() {
    let front = Front::start(&[]).await;
    let answer = send_plain(front.http, &plain_get(NAME, "/dashboard/7?tab=1%2F2")).await;
    assert_eq!(status(&answer), 308);
    assert_eq!(header(&answer, "Location"), [front.url("/dashboard/7?tab=1%2F2")]);
    assert!(front.upstream.targets().is_empty());
}

#[tokio::test]
async fn a_certificate_challenge_is_answered_without_tls() {
    let front = Front::start(&[]).await;
    front.put_challenge("token-1", "the answer");
    let path = "/.well-known/acme-challenge/";
    let found = send_plain(front.http, &plain_get(NAME, &format!("{path}token-1"))).await;
    assert_eq!((status(&found), body(&found)), (200, "the answer"));
    let missing = send_plain(front.http, &plain_get(NAME, &format!("{path}token-2"))).await;
    assert_eq!(status(&missing), 404);
    let beside = send_plain(front.http, &plain_get(NAME, &format!("{path}../../../privkey.pem"))).await;
    assert_ne!(status(&beside), 200);
}

#[tokio::test]
async fn the_certificate_of_our_name_is_shown() {
    let front = Front::start(&[]).await;
    for protocol in [&version::TLS12, &version::TLS13] {
        let stream = front.tls(Some(NAME), protocol, &[]).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown.first(), Some(&front.certificate));
    }
    let answer = front.client().get(front.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn http_2_is_spoken_where_a_browser_offers_it() {
    let front = Front::start(&[]).await;
    let stream = front.tls(Some(NAME), &version::TLS13, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
}

#[tokio::test]
async fn metabase_learns_who_asked_and_how() {
    let front = Front::start(&[]).await;
    let arrived: Arrived = front
        .client()
        .post(front.url("/api/dataset?x=%20y"))
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "http")
        .header("X-Real-IP", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9")
        .body("hello")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("POST", "/api/dataset?x=%20y"));
    assert_eq!(arrived.body_bytes, 5);
    let header = |name: &str| arrived.headers.get(name).map(String::as_str);
    assert_eq!(header("host"), Some(NAME));
    assert_eq!(header("x-forwarded-proto"), Some("https"));
    assert_eq!(header("x-forwarded-host"), Some(NAME));
    // What the client claims of itself is replaced, not continued.
    assert_eq!(header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(header("forwarded"), None);
    assert_eq!(header("upgrade"), None);
}

#[tokio::test]
async fn a_websocket_carries_messages_both_ways() {
    let front = Front::start(&[]).await;
    let answer = front
        .client()
        .get(front.url("/websocket"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 101);
    // The answer that RFC 6455 gives to its own sample key.
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    let mut socket = answer.upgrade().await.unwrap();
    // A final text frame of five bytes, masked with zeros as a client must.
    socket.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    let mut echoed = [0; 7];
    socket.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x81\x05hello");
}

#[tokio::test]
async fn another_host_name_gets_no_certificate() {
    let front = Front::start(&[]).await;
    for name in [Some("other.example.test"), None] {
        for protocol in [&version::TLS12, &version::TLS13] {
            let refused = front.tls(name, protocol, &[]).await.unwrap_err();
            assert!(refused.to_string().contains("UnrecognisedName"), "{name:?}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_request_for_another_host_is_hung_up_on() {
    let front = Front::start(&[]).await;
    let request = plain_get("other.example.test", "/");
    assert_eq!(send_plain(front.http, &request).await, "");
    // By address, as those who scan do.
    let request = plain_get(&front.http.to_string(), "/.well-known/acme-challenge/x");
    assert_eq!(send_plain(front.http, &request).await, "");
    // Inside a connection that was made for our name.
    assert_eq!(front.send(&plain_get("other.example.test", "/")).await, "");
    assert!(front.upstream.targets().is_empty());
}

#[tokio::test]
async fn nobody_reads_the_list_of_everybody() {
    let front = Front::start(&[]).await;
    for path in [
        "/api/user/recipients",
        "/api/user/recipients/",
        "/api/user/recipients?limit=50",
        "/api/user/%72ecipients",
        "/api//user/./recipients",
        "/api/x/../user/recipients",
        "/API/user/Recipients",
    ] {
        let answer = front.get(path).await;
        assert_eq!(status(&answer), 200, "{path}");
        assert_eq!(header(&answer, "Content-Type"), ["application/json"]);
        let list: Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(list, json!({"data": [], "total": 0, "limit": null, "offset": null}), "{path}");
    }
    for path in ["/api/user/recipients;x", "/api/user;x=1/recipients", "/api/user%3b/recipients"] {
        assert_eq!(status(&front.get(path).await), 404, "{path}");
    }
    assert!(front.upstream.targets().is_empty());
}

#[tokio::test]
async fn set_up_public_links_and_embedding_are_closed() {
    let front = Front::start(&[]).await;
    for path in [
        "/setup",
        "/api/setup",
        "/api/setup/",
        "/api/setup/validate",
        "/api/setup?token=x",
        "/api/%73etup",
        "//api//setup",
        "/public/dashboard/0b7c",
        "/api/public/card/0b7c/query",
        "/api/public/../public/card/0b7c",
        "/embed/dashboard/eyJ",
        "/api/embed/card/eyJ/query",
        "/api/preview_embed/card/eyJ/query",
    ] {
        for method in ["GET", "POST"] {
            let answer = front
                .send(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                ))
                .await;
            assert_eq!(status(&answer), 404, "{method} {path}");
        }
    }
    assert!(front.upstream.targets().is_empty());
}

#[tokio::test]
async fn what_metabase_needs_stays_open() {
    let front = Front::start(&[]).await;
    let paths = [
        "/",
        "/api/health",
        "/api/session/properties",
        "/api/user/current",
        "/api/user/7",
        "/api/user/recipients-report",
        "/api/setting/public-uploads",
        "/app/dist/setup.js",
        "/app/fonts/Lato/lato.woff2",
        "/auth/login?redirect=%2Fdashboard%2F1",
        "/collection/4-public-numbers",
        "/dashboard/1-setup?store=a%3Bb&x=;",
        "/question/3-embed",
        "/api/card/3/query/xlsx",
        "/api/search?q=public/setup",
    ];
    for path in paths {
        assert_eq!(status(&front.get(path).await), 200, "{path}");
    }
    // Undecoded and unchanged.
    assert_eq!(front.upstream.targets(), paths);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let front = Front::start(&[]).await;
    for (size, expected) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
        let answer = front.client().post(front.url("/api/dataset")).body(vec![b'x'; size]).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{size} bytes");
    }
    assert_eq!(front.upstream.targets().len(), 1);
}

#[tokio::test]
async fn sign_in_attempts_are_slowed_down() {
    // One a minute: whatever the machine's speed, the third comes too early.
    let front = Front::start(&[("FRONT_LOGIN_RATE", "1r/m"), ("FRONT_LOGIN_BURST", "1")]).await;
    let client = front.client();
    let mut statuses = Vec::new();
    for path in ["/api/session", "/api/session/", "/api/session/forgot_password"] {
        let answer = client.post(front.url(path)).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        if answer.status() == 429 {
            assert_eq!(answer.headers()["retry-after"], "60");
            let told: Value = answer.json().await.unwrap();
            assert!(told["errors"]["username"].is_string(), "{told}");
        }
    }
    assert_eq!(statuses, [200, 200, 429]);

    // Signing out and the page's own questions are no attempts.
    for path in ["/api/session", "/api/session/properties", "/auth/login"] {
        let answer = client.delete(front.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers().get("retry-after"), None);
    }
}

#[tokio::test]
async fn security_headers_are_sent_once_and_metabases_policy_is_kept() {
    let front = Front::start(&[]).await;
    for path in ["/", "/api/user/recipients", "/api/setup"] {
        let answer = front.get(path).await;
        assert_eq!(header(&answer, "Strict-Transport-Security"), ["max-age=31536000"], "{path}");
        assert_eq!(header(&answer, "X-Content-Type-Options"), ["nosniff"]);
        assert_eq!(header(&answer, "X-Frame-Options"), ["SAMEORIGIN"]);
        assert_eq!(header(&answer, "Referrer-Policy"), ["strict-origin-when-cross-origin"]);
        assert_eq!(header(&answer, "Server"), ["nginx"]);
    }
    assert_eq!(header(&front.get("/").await, "Content-Security-Policy"), ["default-src 'none'"]);
}

#[tokio::test]
async fn an_empty_hsts_sends_no_header() {
    let front = Front::start(&[("FRONT_HSTS", "")]).await;
    let answer = front.get("/").await;
    assert_eq!(status(&answer), 200);
    assert!(header(&answer, "Strict-Transport-Security").is_empty());
}

#[tokio::test]
async fn storekeepers_health_is_closed_unless_asked_for() {
    let front = Front::start(&[]).await;
    assert_eq!(status(&front.get("/storekeeper/health").await), 404);
    assert!(front.upstream.targets().is_empty());

    // Another upstream of the same kind stands for storekeeper.
    let storekeeper = upstream::Upstream::start().await;
    let address: SocketAddr = storekeeper.address;
    let front = Front::start(&[("FRONT_STOREKEEPER", &address.to_string())]).await;
    assert_eq!(status(&front.get("/storekeeper/health?x=1").await), 200);
    assert_eq!(storekeeper.targets(), ["/health"]);
    // Nothing else of it can be reached: these go to Metabase, which has no such page.
    front.get("/storekeeper/runs").await;
    front.get("/storekeeper/health/../runs").await;
    assert_eq!(storekeeper.targets().len(), 1);
}

#[tokio::test]
async fn an_upstream_that_is_down_does_not_keep_the_front_from_starting() {
    // Nobody listens on the discard port of this machine, and nobody knows this name.
    for metabase in ["127.0.0.1:9", "metabase.example.test:3000"] {
        let front = Front::start(&[("FRONT_METABASE", metabase)]).await;
        let answer = front.get("/api/setup").await;
        assert_eq!(status(&answer), 404, "{metabase}");
    }
}

#[tokio::test]
async fn the_log_keeps_no_token() {
    let front = Front::start(&[]).await;
    front.get("/auth/reset_password/7_secret-in-path").await;
    front.get("/api/session/password_reset_token_valid?token=secret-in-query").await;
    let log = front.access_log();
    let paths: Vec<Value> =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].clone()).collect();
    assert_eq!(paths, ["/auth/reset_password/-", "/api/session/password_reset_token_valid"]);
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn nginx_ends_with_a_test_that_panics() {
    let front = Front::start(&[]).await;
    let (pid, http) = (front.pid(), front.http);
    let panicked = tokio::spawn(async move {
        let _front = front;
        panic!("a test fails");
    })
    .await;
    assert!(panicked.unwrap_err().is_panic());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(tokio::net::TcpStream::connect(http).await.is_err());
}

/// Every `FRONT_…` in a text that `start` and `end` enclose.
fn variables(text: &str, start: &str, end: char) -> BTreeSet<String> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split_once(end))
        .map(|(name, _)| format!("FRONT_{name}"))
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect()
}

#[test]
fn every_variable_of_the_template_has_a_default_and_the_other_way_round() {
    let template = std::fs::read_to_string(project().join("nginx/storekeeper.conf.template"));
    let defaults = std::fs::read_to_string(project().join("nginx/front.env"));
    assert_eq!(variables(&template.unwrap(), "${FRONT_", '}'), variables(&defaults.unwrap(), "\nFRONT_", '='),);
}

#[test]
fn a_file_is_overruled_by_the_environment_and_overrules_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.env");
    std::fs::write(&file, "FRONT_SERVER_NAME=\"file.example.test\"\nFRONT_HSTS=\"max-age=1; preload\"\n").unwrap();
    let rendered = Command::new(project().join("nginx/render.sh"))
        .arg(&file)
        .env("FRONT_SERVER_NAME", "environment.example.test")
        .output()
        .unwrap();
    assert!(rendered.status.success());
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    assert!(rendered.contains("server_name environment.example.test;"));
    assert!(rendered.contains("Strict-Transport-Security \"max-age=1; preload\" always"));
    assert!(rendered.contains("listen 443 ssl"));
    let code = |line: &&str| !line.trim_start().starts_with('#');
    assert!(!rendered.lines().filter(code).any(|line| line.contains("${")));
}

#[tokio::test]
async fn metabase_is_reached_through_it_and_tells_nobody_who_else_is_there() {
    let metabase = Metabase::start(metabase::Options::default()).await.expect("the stand-in");
    let address = metabase.base_url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let front = Front::start(&[("FRONT_METABASE", &address)]).await;
    let (inside, outside) = (reqwest::Client::new(), front.client());
    let health = outside.get(front.url("/api/health")).send().await.expect("an answer");
    assert_eq!(health.text().await.expect("a body"), r#"{"status":"ok"}"#);

    let (email, password) = ("admin@example.com", "keeps-the-Stores-1");
    let set_up = json!({
        "token": metabase.setup_token(),
        "user": { "email": email, "password": password, "first_name": "A", "last_name": "B" },
        "prefs": { "site_name": "x" },
    });
    let inner = |path: &str| format!("{}{path}", metabase.base_url.trim_end_matches('/'));
    let refused = outside.post(front.url("/api/setup")).json(&set_up).send().await.expect("an answer");
    assert!(!refused.status().is_success(), "set-up is closed from outside");
    let done = inside.post(inner("/api/setup")).json(&set_up).send().await.expect("an answer");
    assert!(done.status().is_success());

    let sign_in = json!({ "username": email, "password": password });
    let session: Value = outside
        .post(front.url("/api/session"))
        .json(&sign_in)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let session = session["id"].as_str().expect("a session").to_owned();
    let recipients = async |client: &reqwest::Client, url: String| {
        let request = client.get(url).header("x-metabase-session", &session);
        request.send().await.expect("an answer").text().await.expect("a body")
    };
    let leak = recipients(&inside, inner("/api/user/recipients")).await;
    assert!(leak.contains(email), "Metabase itself tells: {leak}");
    let closed = recipients(&outside, front.url("/api/user/recipients")).await;
    assert!(!closed.contains(email), "{closed}");
}
