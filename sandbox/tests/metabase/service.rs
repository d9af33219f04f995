//! Start, sign-in, keys, errors, faults.

use std::time::Duration;

use reqwest::Method;
use sandbox::clock::Clock;
use sandbox::metabase::{Failure, Fault, Metabase, Options};
use serde_json::{Value, json};

use crate::client::{ADMIN, Client, PASSWORD, set_up, setup_body};

#[tokio::test]
async fn a_fresh_server_shows_its_setup_token_until_it_is_used() {
    let metabase = Metabase::start(Options::default()).await.unwrap();
    let anonymous = Client::anonymous(&metabase);
    assert_eq!(anonymous.get("/api/health").await.good(), json!({ "status": "ok" }));
    let properties = anonymous.get("/api/session/properties").await.good();
    let token = properties["setup-token"].as_str().unwrap().to_owned();
    assert_eq!(properties["has-user-setup"], false);
    assert_eq!(properties["version"]["tag"], "v0.61.2");
    assert_eq!(properties["token-features"]["sandboxes"], false);

    let wrong = anonymous.post("/api/setup", setup_body("wrong")).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json["errors"]["token"], "Token does not match the setup token.");
    anonymous.post("/api/setup", setup_body(&token)).await.good();
    let again = anonymous.post("/api/setup", setup_body(&token)).await;
    assert_eq!(again.status, 403);
    let properties = anonymous.get("/api/session/properties").await.good();
    assert_eq!(properties["setup-token"], Value::Null);
    assert_eq!(properties["has-user-setup"], true);
}

#[tokio::test]
async fn a_fresh_server_stands_open() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let databases = admin.get("/api/database").await.good();
    assert_eq!(databases["data"][0]["is_sample"], true);
    let graph = admin.get("/api/collection/graph").await.good();
    assert_eq!(graph["groups"]["1"]["root"], "write");
    let sharing = admin.get("/api/setting/enable-public-sharing").await;
    assert_eq!(sharing.good(), true);
    let collections = admin.get("/api/collection").await.good();
    let names: Vec<Value> =
        collections.as_array().unwrap().iter().map(|collection| collection["name"].clone()).collect();
    assert!(names.contains(&json!("Examples")), "{names:?}");
}

#[tokio::test]
async fn errors_are_text_or_json_as_the_release_has_it() {
    let (old, old_admin) = set_up("v0.58.1").await;
    let missing = old_admin.get("/api/card/999").await;
    assert_eq!((missing.status, missing.text.as_str()), (404, "Not found."));
    let (_new, new_admin) = set_up("v0.61.2").await;
    let missing = new_admin.get("/api/card/999").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json, json!({ "message": "Not found." }));

    let anonymous = Client::anonymous(&old);
    let refused = anonymous.get("/api/user").await;
    assert_eq!((refused.status, refused.text.as_str()), (401, "Unauthenticated"));
    let nowhere = anonymous.get("/api/nonsense").await;
    assert_eq!((nowhere.status, nowhere.text.as_str()), (404, "API endpoint does not exist."));
    let paid = new_admin.get("/api/ee/tenant").await;
    assert_eq!(paid.text, "API endpoint does not exist.");
}

#[tokio::test]
async fn an_undeclared_key_is_refused_when_strict_and_ignored_when_not() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let body = json!({ "name": "North", "colour": "red" });
    let refused = admin.post("/api/permissions/group", body.clone()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json["errors"]["colour"], "disallowed key");

    let lax = Metabase::start(Options { strict: false, setup_token: Some("token".into()), ..Options::default() })
        .await
        .unwrap();
    let anonymous = Client::anonymous(&lax);
    let session = anonymous.post("/api/setup", setup_body("token")).await;
    let admin = anonymous.session(session.good()["id"].as_str().unwrap());
    admin.post("/api/permissions/group", body).await.good();
}

#[tokio::test]
async fn a_session_ends_with_its_logout() {
    let (metabase, _) = set_up("v0.61.2").await;
    let anonymous = Client::anonymous(&metabase);
    let session = anonymous.login(ADMIN, PASSWORD).await.good();
    let signed_in = anonymous.session(session["id"].as_str().unwrap());
    let me = signed_in.get("/api/user/current").await.good();
    assert_eq!(me["is_superuser"], true);
    assert_eq!(me["permissions"]["can_create_native_queries"], true);
    let cookie = format!("a=b; metabase.SESSION={}", session["id"].as_str().unwrap());
    anonymous.with("cookie", &cookie).get("/api/user/current").await.good();
    assert_eq!(signed_in.delete("/api/session").await.status, 204);
    assert_eq!(signed_in.get("/api/user/current").await.status, 401);
    assert_eq!(signed_in.delete("/api/session").await.status, 404);
}

#[tokio::test]
async fn a_session_dies_of_age() {
    let (metabase, admin) = set_up("v0.61.2").await;
    metabase.advance_clock(14 * 24 * 3600 - 60);
    admin.get("/api/user/current").await.good();
    metabase.advance_clock(120);
    assert_eq!(admin.get("/api/user/current").await.status, 401);
}

#[tokio::test]
async fn the_login_throttle_outlasts_the_wait_it_names() {
    let (metabase, _) = set_up("v0.61.2").await;
    metabase.use_clock(Clock::fixed("2025-11-29T11:00:00Z".parse().unwrap()));
    let anonymous = Client::anonymous(&metabase);
    for _ in 0..10 {
        let refused = anonymous.login(ADMIN, "wrong").await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.json["errors"]["password"], "did not match stored password");
    }
    let blocked = anonymous.login(ADMIN, PASSWORD).await;
    assert_eq!(blocked.status, 401);
    assert_eq!(blocked.json["errors"]["username"], "Too many attempts! You must wait 15 seconds before trying again.");
    metabase.advance_clock(60);
    let blocked = anonymous.login(ADMIN, PASSWORD).await;
    assert_eq!(blocked.json["errors"]["username"], "Too many attempts! Please try again later.");
    metabase.advance_clock(3600);
    anonymous.login(ADMIN, PASSWORD).await.good();
}

#[tokio::test]
async fn a_key_acts_with_the_rights_of_its_group() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let anonymous = Client::anonymous(&metabase);
    let body = json!({ "name": "provisioner", "group_id": 2 });
    let key = admin.post("/api/api-key", body.clone()).await.good();
    let secret = key["unmasked_key"].as_str().unwrap();
    assert!(secret.starts_with("mb_"));
    assert_ne!(key["masked_key"], key["unmasked_key"]);
    let provisioner = anonymous.key(secret);
    let me = provisioner.get("/api/user/current").await.good();
    assert_eq!(me["is_superuser"], true);
    assert_eq!(me["personal_collection_id"], Value::Null);
    // The hidden user is in no list, but in the map of memberships.
    let users = provisioner.get("/api/user?status=all").await.good();
    assert_eq!(users["total"], 1);
    let map = provisioner.get("/api/permissions/membership").await.good();
    assert_eq!(map[me["id"].to_string()].as_array().unwrap().len(), 2);
    let listed = admin.get("/api/api-key").await.good();
    assert_eq!(listed[0].get("unmasked_key"), None);
    assert_eq!(admin.post("/api/api-key", body).await.status, 400);

    let id = key["id"].as_i64().unwrap();
    let renewed = admin.put(&format!("/api/api-key/{id}/regenerate"), json!({})).await.good();
    assert_eq!(provisioner.get("/api/user/current").await.status, 401);
    let renewed = anonymous.key(renewed["unmasked_key"].as_str().unwrap());
    renewed.get("/api/user/current").await.good();
    let path = format!("/api/api-key/{id}");
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(renewed.get("/api/user/current").await.status, 401);
    assert_eq!(admin.get("/api/api-key/count").await.good(), 0);
}

#[tokio::test]
async fn settings_are_kept_reset_and_guarded() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let path = "/api/setting/enable-public-sharing";
    let status = admin.put(path, json!({ "value": false })).await.status;
    assert_eq!(status, 204);
    assert_eq!(admin.get(path).await.good(), false);
    let both = json!({ "anon-tracking-enabled": false, "enable-xrays": false });
    assert_eq!(admin.put("/api/setting", both).await.status, 204);
    assert_eq!(admin.get("/api/setting/enable-xrays").await.good(), false);
    admin.put(path, json!({ "value": null })).await;
    assert_eq!(admin.get(path).await.good(), true);
    assert_eq!(admin.get("/api/setting/site-url").await.status, 204);
    let unknown = admin.put("/api/setting/no-such", json!({ "value": 1 })).await;
    assert_eq!(unknown.status, 500);
    let paid = json!({ "value": "none" });
    assert_eq!(admin.put("/api/setting/user-visibility", paid).await.status, 402);
}

#[tokio::test]
async fn mail_settings_are_tried_before_they_are_kept() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = json!({ "email-smtp-host": "127.0.0.1", "email-smtp-port": port,
        "email-smtp-password": "hunter22" });
    // Before SMTP is set, a new account is silent.
    let person = |email: &str| json!({ "email": email });
    admin.post("/api/user", person("a@example.com")).await.good();
    assert!(metabase.mails().is_empty());
    admin.put("/api/email", body.clone()).await.good();
    let shown = admin.get("/api/setting/email-smtp-password").await.good();
    assert_eq!(shown, "**********22");
    admin.post("/api/user", person("b@example.com")).await.good();
    assert_eq!(metabase.mails()[0]["kind"], "invite");
    assert_eq!(metabase.mails()[0]["to"], "b@example.com");
    drop(listener);
    let refused = admin.put("/api/email", body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json["errors"]["email-smtp-host"].is_string());
}

#[tokio::test]
async fn planned_faults_happen_once_and_lost_answers_are_carried_out() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let path = "/api/permissions/group";
    metabase.fail_next(Fault::new("POST", path, Failure::Status(503, "busy".into())));
    let body = json!({ "name": "North" });
    let busy = admin.post(path, body.clone()).await;
    assert_eq!((busy.status, busy.text.as_str()), (503, "busy"));

    metabase.fail_next(Fault::new("POST", path, Failure::Drop));
    let broken = admin.try_send(Method::POST, path, Some(body.clone())).await;
    assert!(broken.is_err());
    metabase.fail_next(Fault::new("POST", path, Failure::LoseAnswer));
    let broken = admin.try_send(Method::POST, path, Some(body.clone())).await;
    assert!(broken.is_err());
    let taken = admin.post(path, body).await;
    assert_eq!(taken.text, "A group with that name already exists.");

    metabase.fail_next(Fault::new("GET", path, Failure::Slow(Duration::from_millis(5))));
    admin.get(path).await.good();
    metabase.set_starting(true);
    assert_eq!(admin.get("/api/health").await.status, 503);
    let starting = admin.get(path).await;
    assert_eq!(starting.status, 503);
    assert!(starting.text.contains("still initializing"));
    metabase.set_starting(false);
    let statuses: Vec<u16> = metabase
        .requests()
        .iter()
        .filter(|call| call.method == "POST" && call.path == path)
        .map(|call| call.status)
        .collect();
    assert_eq!(statuses, [503, 0, 0, 400]);
}

#[tokio::test]
async fn a_second_start_finds_what_the_first_left() {
    let file = std::env::temp_dir().join(format!("metabase-{}.json", uuid::Uuid::new_v4()));
    let options = Options { state_file: Some(file.clone()), setup_token: Some("token".into()), ..Options::default() };
    let first = Metabase::start(options.clone()).await.unwrap();
    let anonymous = Client::anonymous(&first);
    let session = anonymous.post("/api/setup", setup_body("token")).await;
    let session = session.good()["id"].as_str().unwrap().to_owned();
    let admin = anonymous.session(&session);
    let body = json!({ "name": "provisioner", "group_id": 2 });
    let key = admin.post("/api/api-key", body).await.good();
    let collection = admin.post("/api/collection", json!({ "name": "Kept" })).await.good();
    let snapshot = first.snapshot();
    let port = first.base_url.rsplit(':').next().unwrap().parse().unwrap();
    drop((admin, anonymous));
    first.stop().await.unwrap();

    let second = Metabase::start(Options { port: Some(port), ..options }).await.unwrap();
    assert_eq!(second.snapshot(), snapshot);
    let anonymous = Client::anonymous(&second);
    let admin = anonymous.key(key["unmasked_key"].as_str().unwrap());
    let path = format!("/api/collection/{}", collection["id"]);
    assert_eq!(admin.get(&path).await.good()["name"], "Kept");
    second.stop().await.unwrap();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn the_pages_ask_for_a_login_and_show_what_one_may_see() {
    let (metabase, _) = set_up("v0.61.2").await;
    let anonymous = Client::anonymous(&metabase);
    assert_eq!(anonymous.get("/").await.status, 303);
    assert_eq!(anonymous.get("/auth/login").await.status, 200);
    let session = anonymous.login(ADMIN, PASSWORD).await.good();
    let cookie = format!("metabase.SESSION={}", session["id"].as_str().unwrap());
    let browser = anonymous.with("cookie", &cookie);
    assert!(browser.get("/").await.text.contains("E-commerce Insights"));
    let page = browser.get("/dashboard/1").await;
    assert!(page.text.contains("Orders by product category"));
}
