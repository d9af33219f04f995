//! Both permission graphs.

use serde_json::{Value, json};

use crate::client::{collection, group, set_up};
use crate::cluster::Cluster;

const GRAPH: &str = "/api/permissions/graph";
const COLLECTIONS: &str = "/api/collection/graph";

fn queries(group: i64, database: i64, level: &str) -> Value {
    json!({ group.to_string(): { database.to_string(): { "create-queries": level } } })
}

#[tokio::test]
async fn least_permissive_values_are_left_out() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let path = format!("{GRAPH}/group/{north}");
    let graph = admin.get(&path).await.good();
    assert_eq!(
        graph["groups"][north.to_string()]["1"],
        json!({
            "view-data": "unrestricted",
            "create-queries": "query-builder-and-native",
            "download": { "schemas": "full" },
        })
    );
    let body = json!({
        "revision": graph["revision"],
        "groups": { north.to_string(): { "1": {
            "create-queries": "no", "download": { "schemas": "none" },
        } } },
    });
    let answer = admin.put(GRAPH, body).await.good();
    assert_eq!(answer["groups"], json!({ north.to_string(): { "1": { "view-data": "unrestricted" } } }));
    // Every write counts, even one that changes nothing.
    let body = json!({ "revision": answer["revision"], "groups": queries(north, 1, "no") });
    let next = admin.put(&format!("{GRAPH}?skip-graph=true"), body).await;
    let revision = answer["revision"].as_i64().unwrap();
    assert_eq!(next.good(), json!({ "revision": revision + 1 }));
}

#[tokio::test]
async fn a_stale_revision_is_refused_unless_forced() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let groups = queries(1, 1, "no");
    for body in [json!({ "revision": 0, "groups": groups }), json!({ "groups": groups })] {
        let stale = admin.put(GRAPH, body.clone()).await;
        assert_eq!(stale.status, 409);
        assert!(stale.text.starts_with("Looks like someone else edited"));
        admin.put(&format!("{GRAPH}?force=true"), body).await.good();
    }
}

#[tokio::test]
async fn paid_permissions_are_refused() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let revision = admin.get(GRAPH).await.good()["revision"].clone();
    let view = |level: &str| json!({ "revision": revision, "groups": { "1": { "1": { "view-data": level } } } });
    let blocked = admin.put(GRAPH, view("blocked")).await;
    assert_eq!(blocked.status, 402);
    assert!(blocked.text.contains("advanced-permissions"));
    assert_eq!(admin.put(GRAPH, view("impersonated")).await.status, 402);
    assert_eq!(admin.put(GRAPH, view("some")).await.status, 400);
    let sandboxes = json!({ "revision": revision, "groups": {},
        "sandboxes": [{ "group_id": 1, "table_id": 1 }] });
    assert_eq!(admin.put(GRAPH, sandboxes).await.status, 402);
    let both = json!({ "revision": revision, "groups": { "1": { "1": {
        "view-data": "blocked", "create-queries": "query-builder-and-native" } } } });
    assert_eq!(admin.put(GRAPH, both).await.status, 400);
    assert_eq!(admin.get(GRAPH).await.good()["revision"], revision);
}

#[tokio::test]
async fn tables_that_agree_become_one_word() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let write = async |value: Value| {
        let body = json!({ "groups": { "1": { "1": { "create-queries": value } } } });
        let answer = admin.put(&format!("{GRAPH}?force=true"), body).await.good();
        answer["groups"]["1"]["1"]["create-queries"].clone()
    };
    write(json!("no")).await;
    let one = write(json!({ "PUBLIC": { "1": "query-builder" } })).await;
    assert_eq!(one, json!({ "PUBLIC": { "1": "query-builder" } }));
    let both = write(json!({ "PUBLIC": { "2": "query-builder" } })).await;
    assert_eq!(both, "query-builder");
    let none = write(json!({ "PUBLIC": "no" })).await;
    assert_eq!(none, Value::Null);
}

#[tokio::test]
async fn a_new_group_copies_all_users() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let body = json!({ "groups": queries(1, 1, "query-builder") });
    admin.put(&format!("{GRAPH}?force=true"), body).await.good();
    let north = group(&admin, "North").await;
    let graph = admin.get(&format!("{GRAPH}/group/{north}")).await.good();
    assert_eq!(graph["groups"][north.to_string()]["1"]["create-queries"], "query-builder");
}

#[tokio::test]
async fn a_new_database_is_open_when_it_is_the_only_one() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let database = async |name: &str| {
        let body = json!({ "name": name, "engine": "postgres", "details": cluster.details("chain") });
        admin.post("/api/database", body).await.id()
    };
    let level = async |database: i64| {
        let graph = admin.get(&format!("{GRAPH}/db/{database}")).await.good();
        graph["groups"]["1"][database.to_string()]["create-queries"].clone()
    };
    assert_eq!(admin.delete("/api/database/1").await.status, 204);
    let first = database("first").await;
    assert_eq!(level(first).await, "query-builder-and-native");
    let body = json!({ "groups": queries(1, first, "no") });
    admin.put(&format!("{GRAPH}?force=true"), body).await.good();
    let second = database("second").await;
    assert_eq!(level(second).await, Value::Null);
}

#[tokio::test]
async fn a_new_collection_copies_its_parent_and_moves_the_revision() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let before = admin.get(COLLECTIONS).await.good();
    let open = collection(&admin, "Open", None).await;
    let graph = admin.get(COLLECTIONS).await.good();
    assert_eq!(graph["groups"]["1"][open.to_string()], "write");
    let revision = before["revision"].as_i64().unwrap();
    assert_eq!(graph["revision"], revision + 1);
    let stale = json!({ "revision": revision, "groups": { "1": { "root": "none" } } });
    assert_eq!(admin.put(COLLECTIONS, stale).await.status, 409);

    let body = json!({
        "revision": revision + 1,
        "groups": {
            "1": { "root": "none", open.to_string(): "none", "999": "read" },
            north.to_string(): { open.to_string(): "read" },
        },
    });
    let graph = admin.put(COLLECTIONS, body.clone()).await.good();
    assert_eq!(graph["groups"]["1"].get("root"), None);
    assert_eq!(graph["groups"]["1"].get("999"), None);
    assert_eq!(graph["groups"]["2"]["root"], "write");
    assert_eq!(graph["revision"], revision + 2);
    let inner = collection(&admin, "Inner", Some(open)).await;
    let graph = admin.get(COLLECTIONS).await.good();
    assert_eq!(graph["groups"][north.to_string()], json!({ open.to_string(): "read", inner.to_string(): "read" }));
    // A write that changes nothing leaves the revision.
    let path = format!("{COLLECTIONS}?force=true&skip-graph=true");
    let same = admin.put(&path, body).await.good();
    assert_eq!(same, json!({ "revision": graph["revision"] }));
}

#[tokio::test]
async fn old_releases_list_none_and_keep_the_revision() {
    let (_metabase, admin) = set_up("v0.54.2").await;
    let north = group(&admin, "North").await;
    let before = admin.get(COLLECTIONS).await.good();
    assert_eq!(before["groups"][north.to_string()]["root"], "none");
    collection(&admin, "Open", None).await;
    let after = admin.get(COLLECTIONS).await.good();
    assert_eq!(after["revision"], before["revision"]);
}

#[tokio::test]
async fn snippet_folders_have_a_graph_of_their_own() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let path = format!("{COLLECTIONS}?force=true");
    let body = json!({ "namespace": "snippets", "groups": { "1": { "root": "none" } } });
    admin.put(&path, body).await.good();
    let snippets = admin.get(&format!("{COLLECTIONS}?namespace=snippets")).await;
    assert_eq!(snippets.good()["groups"]["1"], json!({}));
    let normal = admin.get(COLLECTIONS).await.good();
    assert_eq!(normal["groups"]["1"]["root"], "write");
}
