//! Accounts, groups, memberships.

use serde_json::{Value, json};

use crate::client::{ADMIN, Client, PASSWORD, group, person, set_up};

#[tokio::test]
async fn an_account_is_made_changed_deactivated_and_brought_back() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let body = json!({
        "email": "Ana@Example.com", "first_name": "Ana", "last_name": "Lima",
        "user_group_memberships": [{ "id": 1 }, { "id": north }],
        "login_attributes": { "store_id": "000101" },
    });
    let ana = admin.post("/api/user", body.clone()).await.good();
    assert_eq!(ana["email"], "ana@example.com");
    assert_eq!(ana["common_name"], "Ana Lima");
    assert_eq!(ana["user_group_memberships"], json!([{ "id": 1 }, { "id": north }]));
    let path = format!("/api/user/{}", ana["id"]);
    let taken = admin.post("/api/user", body.clone()).await;
    assert_eq!(taken.json["errors"]["email"], "Email address already in use.");

    let changed = admin.put(&path, json!({ "locale": "pt-BR" })).await.good();
    assert_eq!(changed["locale"], "pt_BR");
    assert_eq!(changed["first_name"], "Ana");
    let unknown = admin.put(&path, json!({ "locale": "xx" })).await;
    assert_eq!(unknown.status, 400);
    let admin_too = json!({ "is_superuser": true });
    assert_eq!(admin.put(&path, admin_too).await.good()["is_superuser"], true);
    assert_eq!(admin.delete(&path).await.good(), json!({ "success": true }));
    assert_eq!(admin.get(&path).await.status, 404);
    assert_eq!(admin.put(&path, json!({})).await.status, 404);
    // Deactivated, the address is still taken.
    assert_eq!(admin.post("/api/user", body).await.status, 400);
    let all = admin.get("/api/user?status=deactivated").await.good();
    assert_eq!(all["data"][0]["email"], "ana@example.com");

    let back = format!("{path}/reactivate");
    let ana = admin.put(&back, json!({})).await.good();
    assert_eq!(ana["is_superuser"], false);
    assert_eq!(ana["user_group_memberships"], json!([{ "id": 1 }, { "id": north }]));
    assert_eq!(admin.put(&back, json!({})).await.json["message"], "Not able to reactivate an active user");
    drop(metabase);
}

#[tokio::test]
async fn memberships_without_all_users_are_refused() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let body = json!({ "email": "a@example.com", "user_group_memberships": [{ "id": north }] });
    let refused = admin.post("/api/user", body).await;
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (400, "You cannot add or remove users to/from the 'All Users' group.")
    );
    let body = json!({ "is_superuser": true, "user_group_memberships": [{ "id": 1 }] });
    let refused = admin.put("/api/user/1", body).await;
    assert!(refused.json["errors"]["is_superuser"].is_string());
    let body = json!({ "email": "b@example.com",
        "user_group_memberships": [{ "id": 1 }, { "id": north, "is_group_manager": true }] });
    assert_eq!(admin.post("/api/user", body).await.status, 402);
}

#[tokio::test]
async fn the_list_pages_and_makes_personal_collections() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    for name in ["carl", "Ana", "bea"] {
        let body = json!({ "email": format!("{name}@example.com"), "first_name": name });
        admin.post("/api/user", body).await.good();
    }
    let all = admin.get("/api/user").await.good();
    assert_eq!((&all["total"], &all["limit"]), (&json!(4), &Value::Null));
    let page = admin.get("/api/user?limit=2&offset=1").await.good();
    let names: Vec<&str> =
        page["data"].as_array().unwrap().iter().map(|user| user["first_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ana", "bea"]);
    assert_eq!(page["total"], 4);
    assert!(page["data"][0]["personal_collection_id"].is_i64());
    assert_eq!(page["data"][0]["group_ids"], json!([1]));
    let found = admin.get("/api/user?query=BEA").await.good();
    assert_eq!(found["total"], 1);
}

#[tokio::test]
async fn anybody_signed_in_reads_all_addresses_but_no_more() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let (_, ana) = person(&metabase, &admin, "ana@example.com", &[]).await;
    let leaked = ana.get("/api/user/recipients").await.good();
    assert_eq!(leaked["total"], 2);
    assert!(leaked.to_string().contains(ADMIN));
    for path in [
        "/api/user",
        "/api/user/1",
        "/api/permissions/group",
        "/api/permissions/membership",
        "/api/permissions/graph",
        "/api/collection/graph",
        "/api/setting",
        "/api/api-key",
    ] {
        let refused = ana.get(path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert_eq!(refused.text, "You don't have permissions to do that.");
    }
    let own = json!({ "password": "another-1", "old_password": "wrong" });
    let id = ana.get("/api/user/current").await.id();
    let path = format!("/api/user/{id}/password");
    let refused = ana.put(&path, own).await;
    assert_eq!(refused.json["errors"]["old_password"], "Invalid password");
    let own = json!({ "password": "another-1", "old_password": PASSWORD });
    assert_eq!(ana.put(&path, own).await.good()["success"], true);
    let anonymous = Client::anonymous(&metabase);
    assert_eq!(anonymous.login("ana@example.com", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    // The hidden user of a key does not count.
    admin.post("/api/api-key", json!({ "name": "key", "group_id": 2 })).await.good();
    let text = "You cannot remove the last member of the 'Admin' group!";
    let demoted = admin.put("/api/user/1", json!({ "is_superuser": false })).await;
    assert_eq!((demoted.status, demoted.text.as_str()), (400, text));
    assert_eq!(admin.delete("/api/user/1").await.text, text);
    let map = admin.get("/api/permissions/membership").await.good();
    let membership = map["1"].as_array().unwrap().iter().find(|membership| membership["group_id"] == 2).unwrap();
    let path = format!("/api/permissions/membership/{}", membership["membership_id"]);
    assert_eq!(admin.delete(&path).await.text, text);
}

#[tokio::test]
async fn groups_are_named_once_and_the_built_in_ones_stay() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let taken = admin.post("/api/permissions/group", json!({ "name": "NORTH" })).await;
    assert_eq!(taken.text, "A group with that name already exists.");
    let fixed = admin.delete("/api/permissions/group/1").await;
    assert_eq!(fixed.text, "You cannot edit or delete the 'All Users' permissions group!");
    let groups = admin.get("/api/permissions/group").await.good();
    let magic: Vec<&Value> = groups.as_array().unwrap().iter().map(|group| &group["magic_group_type"]).collect();
    assert_eq!(magic, [&json!("admin"), &json!("all-internal-users"), &json!("data-analyst"), &Value::Null]);
    let (_old, old_admin) = set_up("v0.54.2").await;
    let groups = old_admin.get("/api/permissions/group").await.good();
    assert_eq!(groups.as_array().unwrap().len(), 2);
    assert_eq!(groups[0].get("magic_group_type"), None);

    let body = json!({ "email": "ana@example.com" });
    let ana = admin.post("/api/user", body).await.id();
    let body = json!({ "group_id": north, "user_id": ana });
    let path = "/api/permissions/membership";
    let members = admin.post(path, body.clone()).await.good();
    assert_eq!(members[0]["user_id"], ana);
    assert_eq!(admin.post(path, body).await.status, 500);
    let path = format!("/api/permissions/group/{north}");
    let detail = admin.get(&path).await.good();
    assert_eq!(detail["member_count"], 1);
    let membership = detail["members"][0]["membership_id"].as_i64().unwrap();
    let gone = admin.delete(&format!("/api/permissions/membership/{membership}")).await;
    assert_eq!(gone.status, 204);
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(admin.get(&path).await.status, 404);
}
