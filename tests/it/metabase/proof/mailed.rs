//! What is mailed and kept besides what is ours: pages of an analyst's own, and folders of
//! one's own.

use super::*;

impl World {
    /// A page with one question, where nobody of ours reads; its number.
    async fn page(&self, collection: i64, card: i64, parameters: Value, mappings: Value) -> i64 {
        let body = json!({"name": "All stores", "collection_id": collection, "parameters": parameters});
        let id = self.click("POST", "dashboard", body).await["id"].as_i64().expect("a dashboard");
        let place = json!({
            "id": -1, "card_id": card, "row": 0, "col": 0, "size_x": 12, "size_y": 6, "parameter_mappings": mappings,
        });
        self.click("PUT", &format!("dashboard/{id}"), json!({"dashcards": [place], "tabs": []})).await;
        id
    }

    async fn alert(&self, card: i64, user: i64) -> i64 {
        let recipient = json!({"type": "notification-recipient/user", "user_id": user});
        let body = json!({
            "payload_type": "notification/card", "payload": {"card_id": card, "send_condition": "has_result"},
            "subscriptions": [{"type": "notification-subscription/cron", "cron_schedule": "0 0 8 * * ? *"}],
            "handlers": [{"channel_type": "channel/email", "recipients": [recipient]}],
        });
        self.click("POST", "notification", body).await["id"].as_i64().expect("an alert")
    }

    async fn personal(&self, user: i64) -> i64 {
        // Listing accounts makes their personal collections.
        self.click("GET", "user", json!({})).await;
        let snapshot = self.metabase.snapshot();
        let mut all = snapshot["collections"].as_object().expect("collections").values();
        all.find(|place| place["owner_id"] == user).expect("hers")["id"].as_i64().expect("an id")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_ours_is_mailed_to_whom_it_may_show_its_stores_and_to_nobody_else() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    let (ana, eve) = (json!({"id": at.ana}), json!({"id": world.id("users", "email", "eve@example.com")}));
    let stranger = json!({"email": "stranger@elsewhere.example"});
    let place = world.click("POST", "collection", json!({"name": "Analysis"})).await["id"].as_i64().unwrap();
    let chain = world.id("databases", "name", "chain");
    let own = world.id("databases", "name", "store:harbor/000101");
    let rows = "SELECT brand, store_id, net_sales FROM mart_all.sales_by_day";
    let rows = world.question("Rows", place, native(chain, rows, json!({})), json!({})).await;
    let sum = "SELECT sum(net_sales) AS total FROM mart_harbor.sales_by_day";
    let wide = world.question("Sum", place, native(at.north, sum, json!({})), json!({})).await;
    let narrow = world.question("Own sum", place, native(own, sum, json!({})), json!({})).await;
    let none = || (json!([]), json!([]));
    let mut pages = Vec::new();
    for card in [rows, wide, narrow] {
        let (parameters, mappings) = none();
        pages.push(world.page(place, card, parameters, mappings).await);
    }
    // By the number that `access show` has, not by Metabase's.
    let number: i64 = sqlx::query_scalar("SELECT person_id FROM access.people WHERE email = 'ana@example.com'")
        .fetch_one(world.chain.warehouse.pool())
        .await
        .unwrap();
    let person = format!("person {number}");
    // Who gets which page, and what of it is a leak to whom.
    let cases = [
        (pages[0], &ana, Some((person.as_str(), "store "))),
        (pages[1], &ana, Some((person.as_str(), "over the connection `region:harbor/North`"))),
        (pages[2], &ana, None),
        (pages[0], &eve, None),
        (pages[1], &eve, None),
        (pages[0], &stranger, Some(("an address that is nobody's", "question `Rows`"))),
        (pages[2], &stranger, Some(("an address that is nobody's", "question `Own sum`"))),
    ];
    for (page, to, leak) in cases {
        let id = world.subscription(page, to.clone()).await;
        let audit = world.audit().await;
        assert!(audit.failures.is_empty(), "{audit}");
        assert!(!audit.to_string().contains("stranger@"), "{audit}");
        let found: Vec<_> = audit.leaks.iter().map(|leak| (leak.who.as_str(), leak.what.as_str())).collect();
        match leak {
            None => assert_eq!(found, [], "page {page} to {to}"),
            Some((who, what)) => {
                assert_eq!(found.len(), 1, "page {page} to {to}: {audit}");
                assert_eq!(found[0].0, who);
                assert!(found[0].1.starts_with("subscription `Morning`: ") && found[0].1.contains(what), "{audit}");
            }
        }
        world.click("PUT", &format!("pulse/{id}"), json!({"archived": true})).await;
    }
    let alert = world.alert(rows, at.ana).await;
    let audit = world.audit().await;
    assert_eq!(audit.leaks.len(), 1, "{audit}");
    assert!(audit.leaks[0].who == person && audit.leaks[0].what.starts_with("alert: "), "{audit}");
    world.click("PUT", &format!("notification/{alert}"), json!({"active": false})).await;
    let alert = world.alert(narrow, at.ana).await;
    assert!(world.audit().await.is_clean());
    world.click("PUT", &format!("notification/{alert}"), json!({"active": false})).await;
}

#[tokio::test]
async fn a_subscription_shows_what_its_maker_chose_of_the_filters() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    let place = world.click("POST", "collection", json!({"name": "Analysis"})).await["id"].as_i64().unwrap();
    let sql = "SELECT store_id, net_sales FROM mart_harbor.sales_by_day WHERE store_id = {{store}}";
    let tag =
        json!({"store": {"id": "t", "name": "store", "display-name": "Store", "type": "text", "default": "000101"}});
    let card = world.question("One", place, native(at.north, sql, tag), json!({})).await;
    let parameter = json!({"id": "p", "type": "string/=", "name": "Store", "slug": "store", "default": "000101"});
    let mapping = json!([{"parameter_id": "p", "card_id": card, "target": ["variable", ["template-tag", "store"]]}]);
    let page = world.page(place, card, json!([parameter]), mapping).await;
    let id = world.subscription(page, json!({"id": at.ana})).await;
    let audit = world.audit().await;
    assert!(audit.is_clean(), "{audit}");
    let chosen = json!({"parameters": [{"id": "p", "type": "string/=", "value": "000102"}]});
    world.click("PUT", &format!("pulse/{id}"), chosen).await;
    let audit = world.audit().await;
    assert_eq!(audit.leaks.len(), 1, "{audit}");
    assert!(audit.leaks[0].what.contains("store harbor/000102 in question `One`"), "{audit}");
}

#[tokio::test]
async fn a_copy_in_a_folder_or_on_a_dashboard_of_ones_own_collection_is_found() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    let personal = world.personal(at.ana).await;
    let folder = world.click("POST", "collection", json!({"name": "Mine", "parent_id": personal})).await;
    let below = world.click("POST", "collection", json!({"name": "Older", "parent_id": folder["id"]})).await;
    let board = world.click("POST", "dashboard", json!({"name": "Mine", "collection_id": folder["id"]})).await;
    let own = world.id("databases", "name", "store:harbor/000101");
    let sql = "SELECT store_id, net_sales FROM mart_harbor.sales_by_day";
    let deep = below["id"].as_i64().unwrap();
    world.question("Hers", deep, native(own, sql, json!({})), json!({})).await;
    let audit = world.audit().await;
    assert!(audit.is_clean(), "{audit}");
    let wide = native(at.north, sql, json!({}));
    let inside = json!({"dashboard_id": board["id"]});
    for (name, more) in [("Filed", json!({})), ("Inside", inside)] {
        let card = world.question(name, deep, wide.clone(), more).await;
        let audit = world.audit().await;
        let found = audit.leaks.iter().filter(|leak| leak.what.contains("store harbor/000102"));
        assert!(found.count() == 1 && audit.failures.is_empty(), "{name}: {audit}");
        assert!(audit.leaks.iter().all(|leak| leak.what.contains(&format!("`{name}`"))), "{name}: {audit}");
        world.click("PUT", &format!("card/{card}"), json!({"archived": true})).await;
    }
}

#[tokio::test]
async fn a_mail_server_without_a_list_of_domains_is_named_and_no_leak() {
    let world = World::start().await;
    world.settle().await;
    let named = |audit: &Audit| audit.exposures.iter().any(|text| text.contains("have it mailed to any address"));
    let audit = world.audit().await;
    assert!(audit.is_clean() && !named(&audit), "{audit}");
    world.click("PUT", "setting/email-smtp-host", json!({"value": "mail.example.com"})).await;
    let audit = world.audit().await;
    assert!(audit.is_clean() && named(&audit), "{audit}");
    let environment = [("subscription-allowed-domains".to_owned(), json!("example.com"))].into();
    let options = Options { environment, ..Options::default() };
    let world = World::with(Chain::small().await, options).await;
    world.settle().await;
    world.click("PUT", "setting/email-smtp-host", json!({"value": "mail.example.com"})).await;
    let audit = world.audit().await;
    assert!(audit.is_clean() && !named(&audit), "{audit}");
}
