//! Backups in a container: a stand-in that speaks as much of Azure Blob as a backup needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

use super::Place;

#[derive(Default)]
struct Container {
    blobs: BTreeMap<String, Bytes>,
    blocks: BTreeMap<String, Bytes>,
}

async fn container() -> (Arc<Mutex<Container>>, String) {
    let shared = Arc::<Mutex<Container>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(shared.clone());
    let router = router.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (shared, address)
}

fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

async fn answer(
    State(shared): State<Arc<Mutex<Container>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    const ETAG: [(&str, &str); 2] = [("etag", "\"e\""), ("last-modified", "Mon, 02 Mar 2026 06:00:00 GMT")];
    let mut container = shared.lock().unwrap();
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signed.starts_with("SharedKey contosobackups:") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let key = uri.path().trim_start_matches("/backups").trim_start_matches('/').to_owned();
    let text = String::from_utf8_lossy(&body).into_owned();
    match (method, query.get("comp").map(String::as_str)) {
        (Method::PUT, Some("block")) => {
            container.blocks.insert(query["blockid"].clone(), body);
            StatusCode::CREATED.into_response()
        }
        (Method::PUT, Some("blocklist")) => {
            let blocks = std::mem::take(&mut container.blocks);
            let ids = between(&text, "<Uncommitted>", "</Uncommitted>");
            let whole: Vec<u8> = ids.flat_map(|id| blocks[id].to_vec()).collect();
            container.blobs.insert(key, whole.into());
            (StatusCode::CREATED, ETAG, "").into_response()
        }
        (Method::PUT, None) => {
            container.blobs.insert(key, body);
            (StatusCode::CREATED, ETAG, "").into_response()
        }
        (Method::GET, Some("list")) => {
            let prefix = query.get("prefix").cloned().unwrap_or_default();
            let found = container.blobs.iter().filter(|(key, _)| key.starts_with(&prefix));
            let list: String = found
                .map(|(key, bytes)| {
                    let properties = format!(
                        "<Last-Modified>Mon, 02 Mar 2026 06:00:00 GMT</Last-Modified><Etag>e</Etag><Content-Length>{}</Content-Length><Content-Type>x</Content-Type>",
                        bytes.len()
                    );
                    format!("<Blob><Name>{key}</Name><Properties>{properties}</Properties></Blob>")
                })
                .collect();
            format!("<EnumerationResults><Blobs>{list}</Blobs><NextMarker/></EnumerationResults>").into_response()
        }
        (Method::POST, Some("batch")) => {
            let mut said = String::new();
            for (number, path) in between(&text, "DELETE /backups/", " HTTP").enumerate() {
                assert!(container.blobs.remove(path.split('?').next().unwrap()).is_some(), "{path}");
                said += &format!(
                    "--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 202 Accepted\r\nx-ms-version: 1\r\n\r\n"
                );
            }
            let kind = [("content-type", "multipart/mixed; boundary=b")];
            (StatusCode::ACCEPTED, kind, format!("{said}--b--\r\n")).into_response()
        }
        (Method::GET, None) => match container.blobs.get(&key) {
            Some(bytes) => (ETAG, bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_takes_a_backup_gives_it_back_and_forgets_the_older_one() {
    let (shared, address) = container().await;
    let place = Place::with_rows(&format!(
        "keep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\n[backup.azure]\naccount = \"contosobackups\"\nendpoint = \"{address}\"\nallow_http = true\naccess_key_file = \"key\"\n"
    ))
    .await;
    let config = std::fs::read_to_string(place.path("config.toml")).unwrap();
    place.write("config.toml", config.replace("target = \"backups\"", "target = \"azure://backups/chain\""));
    place.write("key", "a2V5IG9mIHRoZSBjb250YWluZXI=\n");
    let first = place.created();
    let second = place.created();
    assert_ne!(first, second);
    let keys: Vec<String> = shared.lock().unwrap().blobs.keys().cloned().collect();
    assert_eq!(keys, [format!("chain/warehouse/{second}.dump"), format!("chain/warehouse/{second}.json")]);
    let said = place.backup(&["verify"]);
    assert_eq!((said.code, &said.json["verified"]), (Some(0), &Value::Bool(true)), "{} {}", said.json, said.log);
}
