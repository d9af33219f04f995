//! Collections, questions, dashboards, and what hangs on them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, collection, group, person, question, set_up};

#[tokio::test]
async fn a_put_without_archived_takes_a_collection_out_of_the_trash() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let outer = collection(&admin, "Outer", None).await;
    let inner = collection(&admin, "Inner", Some(outer)).await;
    let card = question(&admin, 1, Some(inner), "SELECT 1").await;
    let path = format!("/api/collection/{outer}");
    let gone = admin.put(&path, json!({ "archived": true })).await.good();
    assert_eq!(gone["archived"], true);
    let trash = admin.get("/api/collection/trash").await.good();
    assert_eq!(gone["parent_id"], trash["id"]);
    let items = admin.get("/api/collection/trash/items").await.good();
    assert_eq!(items["data"][0]["name"], "Outer");
    let card_path = format!("/api/card/{card}");
    assert_eq!(admin.get(&card_path).await.good()["archived"], true);

    let back = admin.put(&path, json!({ "description": "x" })).await.good();
    assert_eq!(back["archived"], false);
    assert_eq!(back["location"], "/");
    assert_eq!(admin.get(&card_path).await.good()["archived"], false);
    let refused = admin.delete(&path).await;
    assert_eq!(refused.text, "Collection must be trashed before deletion.");
}

#[tokio::test]
async fn items_are_listed_by_page_and_kind() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let outer = collection(&admin, "Outer", None).await;
    collection(&admin, "Inner", Some(outer)).await;
    for _ in 0..3 {
        question(&admin, 1, Some(outer), "SELECT 1").await;
    }
    let body = json!({ "name": "Board", "collection_id": outer });
    let board = admin.post("/api/dashboard", body).await.id();
    let inside = json!({
        "name": "Inside", "display": "table", "visualization_settings": {},
        "dashboard_id": board,
        "dataset_query": { "type": "native", "database": 1, "native": { "query": "SELECT 1" } },
    });
    admin.post("/api/card", inside).await.good();
    let path = format!("/api/collection/{outer}/items");
    let all = admin.get(&path).await.good();
    assert_eq!(all["total"], 5);
    assert_eq!(all["data"][0]["model"], "collection");
    let page = admin.get(&format!("{path}?models=card&limit=2&offset=2")).await.good();
    assert_eq!(page["total"], 3);
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    let with = format!("{path}?models=card&show_dashboard_questions=true");
    assert_eq!(admin.get(&with).await.good()["total"], 4);
}

#[tokio::test]
async fn a_readable_child_of_a_hidden_parent_shows_at_the_top() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let north = group(&admin, "North").await;
    let outer = collection(&admin, "Outer", None).await;
    let inner = collection(&admin, "Inner", Some(outer)).await;
    for id in [None, Some(outer), Some(inner)] {
        metabase.grant_collection(1, id, "none");
    }
    metabase.grant_collection(north, inner, "read");
    let (_, ana) = person(&metabase, &admin, "ana@example.com", &[north]).await;
    let top = ana.get("/api/collection/root/items").await.good();
    let names: BTreeSet<&str> =
        top["data"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert!(names.contains("Inner") && !names.contains("Outer"), "{names:?}");
    assert_eq!(ana.get(&format!("/api/collection/{outer}")).await.status, 403);
    let inner = ana.get(&format!("/api/collection/{inner}")).await.good();
    assert_eq!(inner["effective_location"], "/");
    assert_eq!(inner["can_write"], false);
}

#[tokio::test]
async fn a_question_goes_in_as_legacy_and_comes_out_as_the_release_has_it() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let card = question(&admin, 1, None, "SELECT 1").await;
    let path = format!("/api/card/{card}");
    let answer = admin.get(&path).await.good();
    assert_eq!(answer["dataset_query"]["stages"][0]["native"], "SELECT 1");
    let legacy: Value = serde_json::from_str(answer["legacy_query"].as_str().unwrap()).unwrap();
    assert_eq!(legacy["native"]["query"], "SELECT 1");
    let asked = admin.get(&format!("{path}?legacy-mbql=true")).await.good();
    assert_eq!(asked["dataset_query"], legacy);
    // Sending the answer's query back changes nothing.
    let body = json!({ "dataset_query": {
        "lib/type": "mbql/query", "database": 1,
        "stages": [{ "lib/type": "mbql.stage/native", "native": "SELECT 1" }] } });
    let again = admin.put(&path, body).await.good();
    assert_eq!(again["legacy_query"], answer["legacy_query"]);

    let (_old, old_admin) = set_up("v0.56.0").await;
    let card = question(&old_admin, 1, None, "SELECT 1").await;
    let answer = old_admin.get(&format!("/api/card/{card}")).await.good();
    assert_eq!(answer["dataset_query"]["native"]["query"], "SELECT 1");
    assert_eq!(answer.get("legacy_query"), None);
}

#[tokio::test]
async fn a_put_changes_only_what_it_names() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let card = question(&admin, 1, None, "SELECT 1").await;
    let path = format!("/api/card/{card}");
    let before = admin.get(&path).await.good();
    let after = admin.put(&path, json!({ "description": "Why" })).await.good();
    assert_eq!(after["description"], "Why");
    assert_eq!(after["legacy_query"], before["legacy_query"]);
    assert_eq!(after["name"], before["name"]);
    let after = admin.put(&path, json!({ "description": null, "archived": true })).await.good();
    assert_eq!(after["description"], Value::Null);
    assert_eq!(after["archived"], true);
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(admin.get(&path).await.status, 404);
}

#[tokio::test]
async fn questions_that_cannot_be_are_refused() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let body = |query: Value, kind: &str| {
        json!({ "name": "Q", "display": "table", "visualization_settings": {},
            "type": kind, "dataset_query": query })
    };
    let empty = admin.post("/api/card", body(json!({}), "question")).await;
    assert_eq!(empty.status, 500);
    assert!(empty.json["cause"].is_string());
    let asks = json!({ "type": "native", "database": 1, "native": {
        "query": "SELECT {{x}}",
        "template-tags": { "x": { "id": "a", "name": "x", "display-name": "X", "type": "text" } },
    } });
    let model = admin.post("/api/card", body(asks, "model")).await;
    assert_eq!(model.status, 400);
    let nameless = admin.post("/api/card", json!({ "display": "table" })).await;
    assert_eq!(nameless.status, 400);
    assert!(nameless.json["specific-errors"]["name"].is_array());
}

async fn board(admin: &Client, cards: Value, tabs: Value) -> (i64, Value) {
    let id = admin.post("/api/dashboard", json!({ "name": "Board" })).await.id();
    let body = json!({ "dashcards": cards, "tabs": tabs });
    let answer = admin.put(&format!("/api/dashboard/{id}"), body).await;
    (id, answer.good())
}

fn place(id: i64, card: i64, row: i64, tab: Option<i64>) -> Value {
    json!({ "id": id, "card_id": card, "row": row, "col": 0, "size_x": 12, "size_y": 4,
        "dashboard_tab_id": tab, "parameter_mappings": [], "series": [],
        "visualization_settings": {} })
}

#[tokio::test]
async fn a_dashboard_put_replaces_all_cards_and_tabs() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let card = question(&admin, 1, None, "SELECT 1").await;
    let (id, answer) = board(
        &admin,
        json!([place(-1, card, 0, Some(-1)), place(-2, card, 4, Some(-2)), place(-3, card, 8, Some(-2)),]),
        json!([{ "id": -1, "name": "Sales" }, { "id": -2, "name": "Forecast" }]),
    )
    .await;
    let path = format!("/api/dashboard/{id}");
    let tabs = answer["tabs"].as_array().unwrap();
    assert_eq!(tabs[1]["name"], "Forecast");
    let by_row = |answer: &Value, row: i64| {
        answer["dashcards"].as_array().unwrap().iter().find(|card| card["row"] == row).cloned().unwrap()
    };
    assert_eq!(by_row(&answer, 8)["dashboard_tab_id"], tabs[1]["id"]);
    assert!(by_row(&answer, 0)["id"].as_i64().unwrap() > 0);
    assert_eq!(by_row(&answer, 0)["card"]["id"], card);

    // The order of the cards is not to be relied on.
    let mut orders = BTreeSet::new();
    for _ in 0..4 {
        let answer = admin.get(&path).await.good();
        let rows: Vec<i64> =
            answer["dashcards"].as_array().unwrap().iter().map(|card| card["row"].as_i64().unwrap()).collect();
        orders.insert(rows);
    }
    assert!(orders.len() > 1);

    let lost = json!({ "dashcards": [place(-1, card, 0, None)],
        "tabs": [{ "id": tabs[0]["id"], "name": "A" }, { "id": -5, "name": "B" }] });
    let refused = admin.put(&path, lost).await;
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (400, "This dashboard has tab, makes sure every card has a tab")
    );

    // A name alone leaves the cards; cards without tabs wipe the tabs.
    let named = admin.put(&path, json!({ "name": "New" })).await.good();
    assert_eq!(named["dashcards"].as_array().unwrap().len(), 3);
    assert_eq!(named["tabs"].as_array().unwrap().len(), 2);
    let kept = by_row(&named, 4)["id"].as_i64().unwrap();
    let body = json!({ "dashcards": [place(kept, card, 4, None), place(-1, card, 20, None)] });
    let wiped = admin.put(&path, body).await.good();
    assert_eq!(wiped["tabs"], json!([]));
    assert_eq!(wiped["dashcards"].as_array().unwrap().len(), 2);
    assert_eq!(by_row(&wiped, 4)["id"], kept);
    let twice = json!({ "dashcards": [place(-1, card, 0, None), place(-1, card, 4, None)] });
    assert_eq!(admin.put(&path, twice).await.status, 400);
}

#[tokio::test]
async fn an_archived_question_leaves_its_place_and_the_trap_without_card_id() {
    let (_metabase, admin) = set_up("v0.61.2").await;
    let card = question(&admin, 1, None, "SELECT 1").await;
    let (id, answer) = board(&admin, json!([place(-1, card, 0, None)]), json!([])).await;
    let place_id = answer["dashcards"][0]["id"].clone();
    let archived = json!({ "archived": true });
    admin.put(&format!("/api/card/{card}"), archived).await.good();
    let path = format!("/api/dashboard/{id}");
    let shown = admin.get(&path).await.good();
    assert_eq!(shown["dashcards"][0]["card"], Value::Null);
    assert_eq!(shown["dashcards"][0]["card_id"], card);
    let body = json!({ "tabs": [], "dashcards": [{ "id": place_id, "row": 0, "col": 0,
        "size_x": 12, "size_y": 4 }] });
    let trapped = admin.put(&path, body).await.good();
    assert_eq!(trapped["dashcards"][0]["card_id"], Value::Null);
    assert_ne!(trapped["dashcards"][0]["id"], place_id);
}

#[tokio::test]
async fn subscriptions_timelines_snippets_and_cache_are_kept() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let card = question(&admin, 1, None, "SELECT 1").await;
    let (id, _) = board(&admin, json!([place(-1, card, 0, None)]), json!([])).await;
    let (_, ana) = person(&metabase, &admin, "ana@example.com", &[]).await;
    let pulse = |enabled: Value| {
        json!({ "name": "Weekly", "dashboard_id": id, "cards": [{ "id": card }],
            "skip_if_empty": true, "channels": [{ "channel_type": "email", "enabled": enabled,
                "schedule_type": "daily", "schedule_hour": 8,
                "recipients": [{ "email": "anyone@elsewhere.example" }] }] })
    };
    // Any reader may mail a dashboard to any address.
    let made = ana.post("/api/pulse", pulse(json!(true))).await.good();
    assert_eq!(ana.post("/api/pulse", pulse(json!("yes"))).await.status, 500);
    let path = format!("/api/pulse?dashboard_id={id}");
    assert_eq!(admin.get(&path).await.good()[0]["id"], made["id"]);
    let path = format!("/api/pulse/{}", made["id"]);
    let ended = admin.put(&path, json!({ "archived": true })).await.good();
    assert_eq!(ended["archived"], true);

    let timeline = admin.post("/api/timeline", json!({ "name": "Runs" })).await.id();
    let event = json!({ "timeline_id": timeline, "name": "Run", "timezone": "UTC",
        "timestamp": "2025-11-29T00:00:00Z" });
    assert_eq!(admin.post("/api/timeline-event", event.clone()).await.status, 500);
    let mut event = event;
    event["time_matters"] = json!(true);
    admin.post("/api/timeline-event", event).await.good();
    let path = format!("/api/timeline/{timeline}?include=events");
    let events = admin.get(&path).await.good()["events"].clone();
    assert_eq!(events[0]["name"], "Run");

    let root = json!({ "model": "root", "model_id": 0, "strategy": { "type": "nocache" } });
    admin.put("/api/cache", root).await.good();
    let paid = json!({ "model": "database", "model_id": 1, "strategy": { "type": "nocache" } });
    assert_eq!(admin.put("/api/cache", paid).await.status, 402);
    let official = json!({ "name": "O", "authority_level": "official" });
    assert_eq!(admin.post("/api/collection", official).await.status, 402);
}

#[tokio::test]
async fn search_finds_what_the_caller_can_read() {
    let (metabase, admin) = set_up("v0.61.2").await;
    let hidden = collection(&admin, "Hidden", None).await;
    metabase.grant_collection(1, hidden, "none");
    question(&admin, 1, Some(hidden), "SELECT 1").await;
    let path = "/api/search?q=question&models=card";
    assert_eq!(admin.get(path).await.good()["total"], 1);
    let (_, ana) = person(&metabase, &admin, "ana@example.com", &[]).await;
    assert_eq!(ana.get(path).await.good()["total"], 0);
}
