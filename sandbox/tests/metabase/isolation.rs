//! The table of section 12 of the contract: what a locked-down viewer can do.

use sandbox::metabase::Metabase;
use serde_json::{Value, json};

use crate::client::{Client, collection, group, person, question, set_up};
use crate::cluster::Cluster;

struct Chain {
    metabase: Metabase,
    admin: Client,
    viewer: Client,
    north: i64,
    database: i64,
    home: i64,
    own: i64,
    other: i64,
    _cluster: Cluster,
}

/// A chain locked down in the contract's order, with one viewer.
async fn chain() -> Chain {
    let cluster = Cluster::start().await;
    let (metabase, admin) = set_up("v0.61.2").await;
    let off = json!({ "enable-public-sharing": false });
    admin.put("/api/setting", off).await;
    admin.delete("/api/database/1").await;
    let locked = json!({ "groups": { "1": { "root": "none", "2": "none" } } });
    admin.put("/api/collection/graph?force=true", locked).await.good();
    let body = json!({ "name": "D", "engine": "postgres", "details": cluster.details("store") });
    let database = admin.post("/api/database", body).await.id();
    let closed = json!({ "groups": { "1": { database.to_string():
        { "view-data": "unrestricted", "create-queries": "no" } } } });
    admin.put("/api/permissions/graph?force=true", closed).await.good();
    let north = group(&admin, "North").await;
    let home = collection(&admin, "North", None).await;
    let other_home = collection(&admin, "South", None).await;
    let grant = json!({ "groups": { north.to_string(): { home.to_string(): "read" } } });
    admin.put("/api/collection/graph?force=true", grant).await.good();
    let sql = "SELECT DISTINCT store_id FROM mart.sales";
    let own = question(&admin, database, Some(home), sql).await;
    let other = question(&admin, database, Some(other_home), sql).await;
    let (_, viewer) = person(&metabase, &admin, "viewer@example.com", &[north]).await;
    Chain { metabase, admin, viewer, north, database, home, own, other, _cluster: cluster }
}

fn native(database: i64) -> Value {
    json!({ "type": "native", "database": database, "native": { "query": "SELECT 1" } })
}

#[tokio::test]
async fn a_viewer_runs_their_own_cards_and_no_others() {
    let chain = chain().await;
    let path = |card: i64| format!("/api/card/{card}/query");
    let own = chain.viewer.post(&path(chain.own), json!({})).await;
    assert_eq!(own.status, 202);
    // PostgreSQL's policy of the stored role is the wall behind the card.
    assert_eq!(own.json["data"]["rows"], json!([["000101"]]));
    let csv = chain.viewer.post(&format!("{}/csv", path(chain.own)), json!({})).await;
    assert_eq!(csv.text, "store_id\n000101\n");
    let other = chain.viewer.post(&path(chain.other), json!({})).await;
    assert_eq!((other.status, other.text.as_str()), (403, "You don't have permissions to do that."));
    let path = format!("/api/card/{}", chain.other);
    assert_eq!(chain.viewer.get(&path).await.status, 403);
    // What a card asks is no secret to its readers.
    let path = format!("/api/card/{}", chain.own);
    let card = chain.viewer.get(&path).await.good();
    assert!(card["legacy_query"].as_str().unwrap().contains("mart.sales"));
    let change = json!({ "name": "Mine" });
    assert_eq!(chain.viewer.put(&path, change).await.status, 403);
}

#[tokio::test]
async fn a_planted_grant_leaks_and_is_seen_in_the_graph() {
    let chain = chain().await;
    let path = format!("/api/card/{}/query", chain.other);
    let south = chain.admin.get(&format!("/api/card/{}", chain.other)).await;
    let south = south.good()["collection_id"].as_i64().unwrap();
    let revision = |graph: Value| graph["revision"].as_i64().unwrap();
    let before = revision(chain.admin.get("/api/collection/graph").await.good());
    chain.metabase.grant_collection(chain.north, south, "read");
    assert_eq!(chain.viewer.post(&path, json!({})).await.status, 202);
    let graph = chain.admin.get("/api/collection/graph").await.good();
    assert_eq!(graph["groups"][chain.north.to_string()][south.to_string()], "read");
    assert_eq!(revision(graph), before + 1);
}

#[tokio::test]
async fn a_viewer_asks_nothing_of_their_own() {
    let chain = chain().await;
    let refused = chain.viewer.post("/api/dataset", native(chain.database)).await;
    assert_eq!(refused.status, 202);
    assert_eq!(refused.json["status"], "failed");
    assert_eq!(refused.json["error"], "You do not have permissions to run this query.");
    assert_eq!(refused.json["data"]["rows"], json!([]));
    let databases = chain.viewer.get("/api/database").await.good();
    assert_eq!(databases, json!({ "total": 0, "data": [] }));
    for path in ["", "/metadata", "/schemas", "/healthcheck"] {
        let path = format!("/api/database/{}{path}", chain.database);
        assert_eq!(chain.viewer.get(&path).await.status, 403, "{path}");
    }
    let save = json!({ "name": "Q", "display": "table", "visualization_settings": {},
        "dataset_query": native(chain.database), "collection_id": chain.home });
    assert_eq!(chain.viewer.post("/api/card", save).await.status, 403);
    // Not even at home: saving needs the right to run.
    let me = chain.viewer.get("/api/user/current").await.good();
    let save = json!({ "name": "Q", "display": "table", "visualization_settings": {},
        "dataset_query": native(chain.database), "collection_id": me["personal_collection_id"] });
    let refused = chain.viewer.post("/api/card", save).await;
    assert_eq!(refused.status, 403);
    assert!(refused.json["message"].as_str().unwrap().starts_with("You cannot save this Question"));

    let open = |level: &str| {
        json!({ "groups": { chain.north.to_string(): {
            chain.database.to_string(): { "create-queries": level } } } })
    };
    let graph = "/api/permissions/graph?force=true";
    chain.admin.put(graph, open("query-builder")).await.good();
    let refused = chain.viewer.post("/api/dataset", native(chain.database)).await;
    assert_eq!(refused.json["status"], "failed");
    let databases = chain.viewer.get("/api/database").await.good();
    assert_eq!(databases["total"], 1);
    assert_eq!(databases["data"][0].get("details"), None);
    chain.admin.put(graph, open("query-builder-and-native")).await.good();
    let ran = chain.viewer.post("/api/dataset", native(chain.database)).await;
    assert_eq!(ran.json["data"]["rows"], json!([[1]]));
}

#[tokio::test]
async fn a_viewer_writes_in_their_personal_collection_only() {
    let chain = chain().await;
    let board = |collection: Value| json!({ "name": "Mine", "collection_id": collection });
    for collection in [json!(null), json!(chain.home)] {
        let refused = chain.viewer.post("/api/dashboard", board(collection.clone())).await;
        assert_eq!(refused.status, 403, "{collection}");
        let body = json!({ "name": "Sub", "parent_id": collection });
        assert_eq!(chain.viewer.post("/api/collection", body).await.status, 403);
    }
    let me = chain.viewer.get("/api/user/current").await.good();
    let personal = me["personal_collection_id"].clone();
    let made = chain.viewer.post("/api/dashboard", board(personal.clone())).await.id();
    let place = |card: i64| {
        json!({ "tabs": [], "dashcards": [{ "id": -1, "card_id": card, "row": 0, "col": 0,
            "size_x": 6, "size_y": 3 }] })
    };
    let path = format!("/api/dashboard/{made}");
    assert_eq!(chain.viewer.put(&path, place(chain.own)).await.status, 200);
    assert_eq!(chain.viewer.put(&path, place(chain.other)).await.status, 403);
    let (_, ben) = person(&chain.metabase, &chain.admin, "ben@example.com", &[]).await;
    assert_eq!(ben.get(&path).await.status, 403);
    assert_eq!(chain.admin.get(&path).await.status, 200);
    let personal = format!("/api/collection/{personal}");
    assert_eq!(ben.get(&personal).await.status, 403);
    let graph = chain.admin.get("/api/collection/graph").await.good();
    let listed = graph["groups"]["2"].as_object().unwrap();
    let id = personal.rsplit('/').next().unwrap();
    assert!(!listed.contains_key(id));
}

#[tokio::test]
async fn a_card_on_a_readable_dashboard_still_needs_its_own_grant() {
    let chain = chain().await;
    let body = json!({ "name": "B", "collection_id": chain.home });
    let board = chain.admin.post("/api/dashboard", body).await.id();
    let place = |id: i64, card: i64| json!({ "id": id, "card_id": card, "row": 0, "col": 0, "size_x": 6, "size_y": 3 });
    let body = json!({ "tabs": [], "dashcards": [place(-1, chain.own), place(-2, chain.other)] });
    let path = format!("/api/dashboard/{board}");
    chain.admin.put(&path, body).await.good();
    let shown = chain.viewer.get(&path).await.good();
    for dashcard in shown["dashcards"].as_array().unwrap() {
        let card = dashcard["card_id"].as_i64().unwrap();
        let run = format!("{path}/dashcard/{}/card/{card}/query", dashcard["id"]);
        let status = chain.viewer.post(&run, json!({})).await.status;
        assert_eq!(status, if card == chain.own { 202 } else { 403 });
        let named = dashcard["card"].get("name").is_some();
        assert_eq!(named, card == chain.own);
    }
    // A deep copy into the personal collection takes nothing hidden along.
    let me = chain.viewer.get("/api/user/current").await.good();
    let body = json!({ "is_deep_copy": true, "collection_id": me["personal_collection_id"] });
    let copied = chain.viewer.post(&format!("{path}/copy"), body).await.good();
    let cards = copied["dashcards"].as_array().unwrap();
    assert_eq!(cards.len(), 1);
    assert_ne!(cards[0]["card_id"], chain.own);
    let other = chain.admin.get(&format!("/api/card/{}", chain.other)).await.good();
    assert!(!copied.to_string().contains(other["entity_id"].as_str().unwrap()));
}

#[tokio::test]
async fn drop_down_values_show_the_whole_table() {
    let chain = chain().await;
    // A connection that sees all stores, and a card that asks for one.
    let port = chain._cluster.port;
    let mut details = chain._cluster.details("chain");
    details["port"] = json!(port);
    let body = json!({ "name": "All", "engine": "postgres", "details": details });
    let database = chain.admin.post("/api/database", body).await.id();
    let mut field = None;
    for _ in 0..2000 {
        let path = format!("/api/database/{database}/fields");
        let fields = chain.admin.get(&path).await.good();
        let store = fields.as_array().unwrap().iter().find(|field| field["name"] == "store_id").cloned();
        if let Some(store) = store {
            field = store["id"].as_i64();
            break;
        }
        tokio::task::yield_now().await;
    }
    let field = field.expect("the sync ends");
    let parameter = |extra: Value| {
        let mut parameter = json!({ "id": "tag", "type": "string/=", "name": "S", "slug": "s",
            "target": ["dimension", ["template-tag", "s"]] });
        let fields = parameter.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        parameter
    };
    let body = json!({
        "name": "Q", "display": "table", "visualization_settings": {},
        "collection_id": chain.home, "parameters": [parameter(json!({}))],
        "dataset_query": { "type": "native", "database": database, "native": {
            "query": "SELECT store_id FROM mart.sales WHERE store_id = '000101' AND {{s}}",
            "template-tags": { "s": { "id": "tag", "name": "s", "display-name": "S",
                "type": "dimension", "dimension": ["field", field, null],
                "widget-type": "string/=" } },
        } },
    });
    let card = chain.admin.post("/api/card", body).await.id();
    let path = format!("/api/card/{card}/params/tag/values");
    let leaked = chain.viewer.get(&path).await.good();
    assert_eq!(leaked["values"], json!([["000101"], ["000102"]]));
    // The ways round it.
    for (extra, values) in [
        (json!({ "values_query_type": "none" }), json!([])),
        (
            json!({ "values_source_type": "static-list",
                "values_source_config": { "values": ["000101"] } }),
            json!([["000101"]]),
        ),
        (
            json!({ "values_source_type": "card", "values_source_config":
                { "card_id": chain.own, "value_field": ["field", "store_id", null] } }),
            json!([["000101"]]),
        ),
    ] {
        let body = json!({ "parameters": [parameter(extra)] });
        chain.admin.put(&format!("/api/card/{card}"), body).await.good();
        assert_eq!(chain.viewer.get(&path).await.good()["values"], values);
    }
    let filtered = json!({ "parameters": [{ "type": "string/=", "value": ["000102"],
        "target": ["dimension", ["template-tag", "s"]] }] });
    let path = format!("/api/card/{card}/query");
    let result = chain.viewer.post(&path, filtered).await.good();
    assert_eq!(result["data"]["rows"], json!([]));
}

#[tokio::test]
async fn public_links_are_made_by_administrators_and_open_to_the_world() {
    let chain = chain().await;
    let path = format!("/api/card/{}/public_link", chain.own);
    assert_eq!(chain.viewer.post(&path, json!({})).await.status, 403);
    assert_eq!(chain.admin.post(&path, json!({})).await.status, 400);
    let on = json!({ "value": true });
    chain.admin.put("/api/setting/enable-public-sharing", on).await;
    let uuid = chain.admin.post(&path, json!({})).await.good();
    let uuid = uuid["uuid"].as_str().unwrap();
    let anonymous = Client::anonymous(&chain.metabase);
    let public = format!("/api/public/card/{uuid}/query");
    let result = anonymous.get(&public).await.good();
    assert_eq!(result["data"]["rows"], json!([["000101"]]));
    let listed = chain.admin.get("/api/card/public").await.good();
    assert_eq!(listed[0]["public_uuid"], uuid);
    assert_eq!(chain.admin.delete(&path).await.status, 204);
    assert_eq!(anonymous.get(&public).await.status, 404);
}

#[tokio::test]
async fn a_dashboard_page_shows_what_its_reader_may_see() {
    let chain = chain().await;
    let sql = "SELECT sold_on, amount FROM mart.sales ORDER BY sold_on";
    let daily = question(&chain.admin, chain.database, Some(chain.home), sql).await;
    let bars = json!({ "name": "<Daily>", "display": "bar" });
    chain.admin.put(&format!("/api/card/{daily}"), bars).await.good();
    let body = json!({ "name": "Morning", "collection_id": chain.home });
    let board = chain.admin.post("/api/dashboard", body).await.id();
    let place =
        |id: i64, card: i64| json!({ "id": id, "card_id": card, "row": -id, "col": 0, "size_x": 12, "size_y": 4 });
    let cards = json!({ "tabs": [],
        "dashcards": [place(-1, chain.own), place(-2, chain.other), place(-3, daily)] });
    let path = format!("/api/dashboard/{board}");
    chain.admin.put(&path, cards).await.good();
    let path = format!("/dashboard/{board}");
    let page = chain.viewer.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<td>000101</td>"), "{}", page.text);
    assert!(page.text.contains("<title>2025-11-27: 1200.5</title>"), "{}", page.text);
    assert!(page.text.contains("&lt;Daily&gt;"));
    assert_eq!(page.text.matches("class=card").count(), 2);
    assert_eq!(chain.viewer.get("/dashboard/1").await.status, 403);
    assert_eq!(Client::anonymous(&chain.metabase).get(&path).await.status, 303);
}

#[tokio::test]
async fn the_query_builder_and_x_rays_are_for_those_who_may_build_on_a_table() {
    let chain = chain().await;
    let tables = loop {
        // The list comes with the sync, which answers before it is done.
        let listed = chain.admin.get(&format!("/api/database/{}/schema/mart", chain.database)).await;
        if listed.status == 200 && listed.json.as_array().is_some_and(|tables| !tables.is_empty()) {
            break listed.json;
        }
        tokio::task::yield_now().await;
    };
    let sales =
        tables.as_array().unwrap().iter().find(|table| table["name"] == "sales").unwrap()["id"].as_i64().unwrap();
    let built = json!({ "database": chain.database, "type": "query", "query": {
        "source-table": sales, "aggregation": [["count"]], "breakout": [["field", "store_id", null]] } });
    let on_a_question = json!({ "database": chain.database, "type": "query", "query": {
        "source-table": format!("card__{}", chain.own), "filter": ["=", ["field", "store_id", null], "000101"] } });
    let xray = format!("/api/automagic-dashboards/table/{sales}");
    for query in [&built, &on_a_question] {
        let refused = chain.viewer.post("/api/dataset", query.clone()).await;
        assert_eq!(refused.json["status"], "failed", "{}", refused.text);
    }
    assert_eq!(chain.viewer.get(&xray).await.status, 403);
    // Granted that one table, and no other right.
    let level =
        json!({ "view-data": "unrestricted", "create-queries": { "mart": { sales.to_string(): "query-builder" } } });
    let grant = json!({ "groups": { chain.north.to_string(): { chain.database.to_string(): level } } });
    chain.admin.put("/api/permissions/graph?force=true", grant).await.good();
    let answer = chain.viewer.post("/api/dataset", built).await.json;
    assert_eq!(answer["data"]["rows"][0][0], "000101", "{answer}");
    assert_eq!(answer["data"]["cols"][1]["name"], "count");
    assert_eq!(chain.viewer.get(&xray).await.status, 200);
    assert_eq!(chain.viewer.post("/api/dataset", native(chain.database)).await.json["status"], "failed");
    let off = json!({ "value": false });
    chain.admin.put("/api/setting/enable-xrays", off).await;
    assert_eq!(chain.viewer.get(&xray).await.status, 403);
}
