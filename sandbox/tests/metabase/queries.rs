//! Connections and the SQL that runs over them.

use serde_json::{Value, json};

use crate::client::{Client, question, set_up};
use crate::cluster::Cluster;

async fn database(admin: &Client, cluster: &Cluster, user: &str) -> i64 {
    let body = json!({ "name": user, "engine": "postgres", "details": cluster.details(user) });
    admin.post("/api/database", body).await.id()
}

async fn run(client: &Client, card: i64, body: Value) -> Value {
    let answer = client.post(&format!("/api/card/{card}/query"), body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json
}

#[tokio::test]
async fn a_result_has_the_rows_and_columns_of_the_real_server() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let sql = "SELECT store_id, sold_on, amount, orders, loaded_at, true AS yes, \
               ARRAY['a', NULL] AS list, '{\"a\":1}'::jsonb AS thing, 1.5::float8 AS f, \
               'x' AS orders FROM mart.sales ORDER BY store_id, sold_on;";
    let card = question(&admin, chain, None, sql).await;
    let answer = admin.post(&format!("/api/card/{card}/query"), json!({})).await;
    // The digits of a decimal are those of the database.
    assert!(answer.text.contains("1200.50"), "{}", answer.text);
    let result = answer.good();
    assert_eq!(result["status"], "completed");
    assert_eq!(result["row_count"], 3);
    assert_eq!(
        result["data"]["rows"][0],
        json!([
            "000101", "2025-11-27T00:00:00Z", 1200.5, 80, "2025-11-28T06:00:00.250Z", true,
            ["a", null], { "a": 1 }, 1.5, "x",
        ])
    );
    let column = &result["data"]["cols"][2];
    assert_eq!(column["name"], "amount");
    assert_eq!(column["base_type"], "type/Decimal");
    assert_eq!(column["source"], "native");
    assert_eq!(result["data"]["cols"][9]["name"], "orders_2");
    let card = admin.get(&format!("/api/card/{card}")).await.good();
    assert_eq!(card["result_metadata"][0]["name"], "store_id");
}

#[tokio::test]
async fn columns_are_there_without_rows_and_long_results_are_cut() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let none = question(&admin, chain, None, "SELECT 1 AS one WHERE false").await;
    let result = run(&admin, none, json!({})).await;
    assert_eq!(result["data"]["rows"], json!([]));
    assert_eq!(result["data"]["cols"][0]["name"], "one");
    let many = question(&admin, chain, None, "SELECT generate_series(1, 5000) AS n").await;
    let result = run(&admin, many, json!({})).await;
    assert_eq!(result["row_count"], 2000);
    assert_eq!(result["data"]["rows_truncated"], 2000);
    let path = format!("/api/card/{many}/query/json");
    let file = admin.post(&path, json!({})).await.good();
    assert_eq!(file.as_array().unwrap().len(), 5000);
}

#[tokio::test]
async fn files_are_plain_csv_and_json() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let sql = "SELECT store_id, sold_on, amount, 'a,\"b' AS note FROM mart.sales LIMIT 1";
    let card = question(&admin, chain, None, sql).await;
    let csv = admin.post(&format!("/api/card/{card}/query/csv"), json!({})).await;
    assert_eq!(csv.text, "store_id,sold_on,amount,note\n000101,2025-11-27,1200.50,\"a,\"\"b\"\n");
    let path = format!("/api/card/{card}/query/json");
    let file = admin.post(&path, json!({ "format_rows": false })).await;
    assert_eq!(file.text, r#"[{"store_id":"000101","sold_on":"2025-11-27","amount":1200.50,"note":"a,\"b"}]"#);
}

#[tokio::test]
async fn parameters_go_in_as_values_and_only_where_a_tag_is() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let tag = |name: &str, kind: &str| json!({ "id": format!("id-{name}"), "name": name, "display-name": name, "type": kind });
    let body = json!({
        "name": "Q", "display": "table", "visualization_settings": {},
        "dataset_query": { "type": "native", "database": chain, "native": {
            "query": "SELECT count(*) FROM mart.sales WHERE true \
                      [[AND store_id = {{store}}]] [[AND sold_on >= {{since}}]] \
                      [[AND orders > {{least}}]] -- {{note}}",
            "template-tags": { "store": tag("store", "text"), "since": tag("since", "date"),
                "least": tag("least", "number") },
        } },
    });
    let card = admin.post("/api/card", body).await.id();
    let count = async |parameters: Value| {
        let result = run(&admin, card, json!({ "parameters": parameters })).await;
        match result["status"].as_str() {
            Some("completed") => result["data"]["rows"][0][0].clone(),
            _ => result["error_type"].clone(),
        }
    };
    let by = |name: &str, kind: &str, value: Value| json!({ "type": kind, "value": value, "target": ["variable", ["template-tag", name]] });
    assert_eq!(count(json!([])).await, 3);
    assert_eq!(count(json!([by("store", "category", json!("000101"))])).await, 2);
    let injection = by("store", "category", json!("x' OR '1'='1"));
    assert_eq!(count(json!([injection])).await, 0);
    let since = by("since", "date/single", json!("2025-11-28"));
    assert_eq!(count(json!([since])).await, 2);
    let least = by("least", "number/=", json!(60));
    assert_eq!(count(json!([least])).await, 2);
    let by_id = json!({ "id": "id-store", "type": "category", "value": "000102" });
    assert_eq!(count(json!([by_id])).await, 1);
    let unknown = by("nope", "category", json!("1"));
    assert_eq!(count(json!([unknown])).await, "invalid-parameter");
    let wrong_kind = by("store", "number/=", json!(1));
    assert_eq!(count(json!([wrong_kind])).await, "invalid-parameter");
    let no_date = by("since", "date/single", json!("soon"));
    assert_eq!(count(json!([no_date])).await, "invalid-parameter");
}

#[tokio::test]
async fn a_dashboard_passes_its_filters_and_their_defaults() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let body = json!({
        "name": "Q", "display": "scalar", "visualization_settings": {},
        "dataset_query": { "type": "native", "database": chain, "native": {
            "query": "SELECT count(*) FROM mart.sales WHERE true [[AND sold_on >= {{since}}]]",
            "template-tags": { "since":
                { "id": "s", "name": "since", "display-name": "Since", "type": "date" } },
        } },
    });
    let card = admin.post("/api/card", body).await.id();
    let board = admin.post("/api/dashboard", json!({ "name": "B" })).await.id();
    let body = json!({
        "parameters": [{ "id": "p", "type": "date/single", "name": "Since", "slug": "since",
            "default": "2025-11-28" }],
        "tabs": [],
        "dashcards": [{ "id": -1, "card_id": card, "row": 0, "col": 0, "size_x": 6, "size_y": 3,
            "parameter_mappings": [{ "parameter_id": "p", "card_id": card,
                "target": ["variable", ["template-tag", "since"]] }] }],
    });
    let answer = admin.put(&format!("/api/dashboard/{board}"), body).await;
    let place = answer.good()["dashcards"][0]["id"].clone();
    let path = format!("/api/dashboard/{board}/dashcard/{place}/card/{card}/query");
    let count = async |body: Value| {
        let result = admin.post(&path, body).await.good();
        result["data"]["rows"][0][0].clone()
    };
    assert_eq!(count(json!({})).await, 2);
    assert_eq!(count(json!({ "parameters": [{ "id": "p", "value": "2025-11-29" }] })).await, 0);
    assert_eq!(count(json!({ "parameters": [{ "id": "p", "value": null }] })).await, 3);
    let unknown = json!({ "parameters": [{ "id": "q", "value": 1 }] });
    assert_eq!(admin.post(&path, unknown).await.status, 400);
    let other = question(&admin, chain, None, "SELECT 1").await;
    let elsewhere = format!("/api/dashboard/{board}/dashcard/{place}/card/{other}/query");
    assert_eq!(admin.post(&elsewhere, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_failed_query_is_202_and_nothing_is_written() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let card = question(&admin, chain, None, "SELECT nope FROM mart.sales").await;
    let result = run(&admin, card, json!({})).await;
    assert_eq!(result["status"], "failed");
    assert!(result["error"].as_str().unwrap().contains("nope"));
    assert_eq!(result["data"], json!({ "rows": [], "cols": [] }));
    for sql in [
        "DELETE FROM mart.sales",
        "SELECT 1; DELETE FROM mart.sales",
        "COMMIT",
        "INSERT INTO mart.sales (store_id, sold_on) VALUES ('1', '2025-01-01') RETURNING *",
    ] {
        let card = question(&admin, chain, None, sql).await;
        run(&admin, card, json!({})).await;
    }
    let card = question(&admin, chain, None, "SELECT count(*) FROM mart.sales").await;
    assert_eq!(run(&admin, card, json!({})).await["data"]["rows"][0][0], 3);
}

#[tokio::test]
async fn a_connection_is_tried_and_its_password_masked() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let create = async |details: Value| {
        let body = json!({ "name": "D", "engine": "postgres", "details": details });
        admin.post("/api/database", body).await
    };
    let changed = |key: &str, value: Value| {
        let mut details = cluster.details("chain");
        details[key] = value;
        details
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    for (details, field) in [
        (changed("port", json!(port)), "host"),
        (changed("password", json!("wrong")), "password"),
        (changed("dbname", json!("nope")), "dbname"),
    ] {
        let refused = create(details).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json["errors"][field].is_string(), "{}", refused.text);
    }
    let made = create(cluster.details("chain")).await.good();
    assert_eq!(made["details"]["password"], "**MetabasePass**");
    let path = format!("/api/database/{}", made["id"]);
    let renamed = json!({ "name": "E", "details": made["details"] });
    admin.put(&path, renamed).await.good();
    let health = admin.get(&format!("{path}/healthcheck")).await.good();
    assert_eq!(health, json!({ "status": "ok" }));
    let card = question(&admin, made["id"].as_i64().unwrap(), None, "SELECT 1").await;
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(admin.get(&format!("/api/card/{card}")).await.status, 404);
}

#[tokio::test]
async fn the_tables_a_role_may_read_appear_by_themselves() {
    let cluster = Cluster::start().await;
    let (_metabase, admin) = set_up("v0.61.2").await;
    let chain = database(&admin, &cluster, "chain").await;
    let path = format!("/api/database/{chain}");
    let ready = async || {
        for _ in 0..2000 {
            let database = admin.get(&path).await.good();
            if database["initial_sync_status"] == "complete" {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the sync did not end");
    };
    ready().await;
    let metadata = admin.get(&format!("{path}/metadata")).await.good();
    let tables = metadata["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 1, "{metadata}");
    assert_eq!(tables[0]["name"], "sales");
    assert_eq!(tables[0]["schema"], "mart");
    let amount = &tables[0]["fields"][2];
    assert_eq!(amount["base_type"], "type/Decimal");
    // A second reading keeps the ids.
    let synced = admin.post(&format!("{path}/sync_schema"), json!({})).await;
    assert_eq!(synced.good(), json!({ "status": "ok" }));
    let again = admin.get(&format!("{path}/metadata")).await.good();
    assert_eq!(again["tables"][0]["fields"][2]["id"], amount["id"]);
    assert_eq!(admin.get(&format!("{path}/schemas")).await.good(), json!(["mart"]));
}
