//! Backups in a bucket: a stand-in that speaks as much of S3 as a backup needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{IDENTITY, Place, RECIPIENT, message};

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Bytes>,
    parts: BTreeMap<u32, Bytes>,
    /// The next so many requests fail as a busy service does.
    busy: u32,
    /// Whether it refuses every part.
    full: bool,
    aborted: u32,
    most_parts: usize,
}

type Shared = Arc<Mutex<Bucket>>;

async fn bucket() -> (Shared, String) {
    let shared = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(shared.clone());
    let router = router.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (shared, address)
}

fn refused(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>")).into_response()
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut bucket = shared.lock().unwrap();
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/") {
        return refused(StatusCode::FORBIDDEN, "AccessDenied");
    }
    if bucket.busy > 0 {
        bucket.busy -= 1;
        return refused(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    let key = uri.path().trim_start_matches("/backups").trim_start_matches('/').replace("%20", " ");
    let etag = [("etag", "\"e\""), ("last-modified", "Mon, 02 Mar 2026 06:00:00 GMT")];
    match (method, query.contains_key("uploadId"), query.contains_key("uploads")) {
        (Method::POST, _, true) => {
            bucket.parts.clear();
            let name = format!("<Bucket>backups</Bucket><Key>{key}</Key><UploadId>u1</UploadId>");
            format!("<InitiateMultipartUploadResult>{name}</InitiateMultipartUploadResult>").into_response()
        }
        (Method::PUT, true, _) if bucket.full => refused(StatusCode::FORBIDDEN, "QuotaExceeded"),
        (Method::PUT, true, _) => {
            bucket.parts.insert(query["partNumber"].parse().unwrap(), body);
            (etag, "").into_response()
        }
        (Method::POST, true, _) => {
            let parts = std::mem::take(&mut bucket.parts);
            bucket.most_parts = bucket.most_parts.max(parts.len());
            let whole: Vec<u8> = parts.values().flat_map(|part| part.to_vec()).collect();
            bucket.objects.insert(key, whole.into());
            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>".into_response()
        }
        (Method::DELETE, true, _) => {
            bucket.aborted += 1;
            StatusCode::NO_CONTENT.into_response()
        }
        (Method::POST, false, _) if query.contains_key("delete") => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let keys: Vec<&str> = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
            let mut said = String::new();
            for key in keys {
                bucket.objects.remove(key);
                said += &format!("<Deleted><Key>{key}</Key></Deleted>");
            }
            format!("<DeleteResult>{said}</DeleteResult>").into_response()
        }
        (Method::DELETE, ..) => {
            bucket.objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        (Method::PUT, ..) => {
            bucket.objects.insert(key, body);
            (etag, "").into_response()
        }
        (Method::GET, ..) if query.contains_key("list-type") => {
            let prefix = query.get("prefix").cloned().unwrap_or_default();
            let found = bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
            let one = |(key, bytes): (&String, &Bytes)| {
                let size = bytes.len();
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-03-02T06:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>{size}</Size></Contents>"
                )
            };
            let list: String = found.map(one).collect();
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{list}</ListBucketResult>").into_response()
        }
        (Method::GET, ..) => match bucket.objects.get(&key) {
            Some(bytes) => (etag, bytes.clone()).into_response(),
            None => refused(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        _ => refused(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    }
}

async fn place_with_bucket(address: &str) -> Place {
    let place = Place::with_rows(&format!(
        "recipients = [\"{RECIPIENT}\"]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\n[backup.s3]\nendpoint = \"{address}\"\nallow_http = true\naccess_key_id = \"AKIATEST\"\nsecret_access_key_file = \"s3\"\n"
    ))
    .await;
    let config = std::fs::read_to_string(place.path("config.toml")).unwrap();
    place.write("config.toml", config.replace("target = \"backups\"", "target = \"s3://backups/chain one\""));
    place.write("s3", "s3cr3t-of-the-bucket\n");
    place.write("identity.txt", IDENTITY);
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_takes_a_backup_gives_it_back_and_forgets_the_older_one() {
    let (shared, address) = bucket().await;
    let place = place_with_bucket(&address).await;
    // More than one part of 16 MiB, which gzip cannot make small.
    sqlx::query("CREATE TABLE mart_harbor.noise AS SELECT n, string_agg(sha512((n * 500 + k)::text::bytea)::text, '') AS noise FROM generate_series(1, 600) AS n, generate_series(1, 500) AS k GROUP BY n")
        .execute(&place.pool)
        .await
        .unwrap();
    shared.lock().unwrap().busy = 1;
    let first = place.created();
    assert!(shared.lock().unwrap().most_parts > 1);
    let second = place.created();
    assert_ne!(first, second);
    let keys: Vec<String> = shared.lock().unwrap().objects.keys().cloned().collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys[0].starts_with(&format!("chain one/warehouse/{second}.dump.age")), "{keys:?}");
    assert_eq!(place.listed_states(), ["complete"]);
    let identity = place.path("identity.txt");
    let said = place.backup(&["verify", "--identity", identity.to_str().unwrap()]);
    assert_eq!((said.code, &said.json["verified"]), (Some(0), &Value::Bool(true)), "{} {}", said.json, said.log);
    let target = place.sibling("_from_bucket");
    let said = place.backup(&["restore", "--into", &target, "--identity", identity.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_is_named_without_its_secret() {
    let (shared, address) = bucket().await;
    let place = place_with_bucket(&address).await;
    shared.lock().unwrap().full = true;
    let said = place.backup(&["create"]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("failed to write `warehouse/"), "{}", said.json);
    assert!(message(&said).contains("in `s3://backups/chain one`"), "{}", said.json);
    assert!(!format!("{}{}", said.json, said.log).contains("s3cr3t"));
    let bucket = shared.lock().unwrap();
    assert_eq!((bucket.objects.len(), bucket.aborted), (0, 1));
}
