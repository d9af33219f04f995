//! The proof of isolation: leaks that are planted are found, and nothing else is called one.

mod choices;
mod mailed;
mod refusals;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use storekeeper::metabase::{Extent, Leak, audit_with};

use super::*;

/// Where what a plant shows is looked for.
struct Plant {
    name: &'static str,
    /// Words that one leak must have in it.
    found_by: &'static [&'static str],
    /// Words of which every leak must have one: whatever else is called a leak is a false alarm.
    about: &'static [&'static str],
}

fn said(leak: &Leak) -> String {
    format!("{}: {} ({})", leak.who, leak.what, leak.how)
}

/// Numbers of what plants are made of.
struct Places {
    /// The group of store 000101, and what of it somebody could open.
    store: i64,
    own: i64,
    other: i64,
    /// Connections: of the store's region, and of the store next door.
    north: i64,
    next_door: i64,
    ana: i64,
    region: i64,
    /// The field `store_id` of the region's stores, and their table.
    field: i64,
    table: i64,
    dashboard_next_door: i64,
}

impl World {
    fn places(&self) -> Places {
        let snapshot = self.metabase.snapshot();
        let north = self.id("databases", "name", "region:harbor/North");
        let tables = snapshot["tables"].as_object().expect("tables");
        let table = tables.values().find(|table| table["database_id"] == north && table["name"] == "stores");
        let table = table.expect("the region's stores");
        let field = table["fields"].as_array().unwrap().iter().find(|field| field["name"] == "store_id").unwrap();
        let other = self.collection("000102");
        let boards = snapshot["dashboards"].as_object().expect("dashboards");
        let board =
            boards.values().find(|board| board["collection_id"] == other && board["archived"] == false).unwrap();
        Places {
            store: self.id("groups", "name", "store:harbor/000101"),
            own: self.collection("000101"),
            other,
            north,
            next_door: self.id("databases", "name", "store:harbor/000102"),
            ana: self.id("users", "email", "ana@example.com"),
            region: self.id("groups", "name", "region:harbor/North"),
            field: field["id"].as_i64().unwrap(),
            table: table["id"].as_i64().unwrap(),
            dashboard_next_door: board["id"].as_i64().unwrap(),
        }
    }

    async fn question(&self, name: &str, collection: i64, query: Value, more: Value) -> i64 {
        let mut body = json!({
            "name": name, "display": "table", "visualization_settings": {}, "collection_id": collection,
            "dataset_query": query,
        });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.click("POST", "card", body).await["id"].as_i64().expect("a question")
    }

    async fn subscription(&self, dashboard: i64, to: Value) -> i64 {
        let channel = json!({
            "channel_type": "email", "enabled": true, "schedule_type": "daily", "schedule_hour": 6, "recipients": [to],
        });
        let whole = self.click("GET", &format!("dashboard/{dashboard}"), Value::Null).await;
        let places = whole["dashcards"].as_array().expect("places").iter();
        let card = places.map(|place| &place["card_id"]).find(|card| card.is_i64()).expect("a question");
        let body = json!({
            "name": "Morning", "dashboard_id": dashboard, "cards": [{"id": card}], "channels": [channel],
            "skip_if_empty": false,
        });
        self.click("POST", "pulse", body).await["id"].as_i64().expect("a subscription")
    }
}

fn native(database: i64, sql: &str, tags: Value) -> Value {
    json!({"type": "native", "database": database, "native": {"query": sql, "template-tags": tags}})
}

/// What looks like a leak and is none: a question of one's own store, a filter with a list
/// that was typed in, a subscription to one's own dashboard.
async fn harmless(world: &World, at: &Places) {
    let own = world.id("databases", "name", "store:harbor/000101");
    let sql = "SELECT store_id, net_sales FROM mart_harbor.sales_by_day WHERE store_id = {{store}}";
    let tag =
        json!({"store": {"id": "t0", "name": "store", "display-name": "Store", "type": "text", "default": "000101"}});
    world.question("By hand", at.own, native(own, sql, tag), json!({})).await;
    let fenced = "SELECT sum(net_sales) AS total FROM mart_harbor.sales_by_day WHERE store_id = '000101'";
    world.question("Total", at.own, native(at.north, fenced, json!({})), json!({})).await;
    let list = json!([{
        "id": "p0", "type": "string/=", "name": "Channel", "slug": "channel",
        "values_source_type": "static-list", "values_source_config": {"values": ["Web", "Phone"]},
    }]);
    world.click("POST", "dashboard", json!({"name": "Mine", "collection_id": at.own, "parameters": list})).await;
    let mine = {
        let snapshot = world.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().unwrap().clone();
        let ours = |board: &&Value| board["collection_id"] == at.own && board["name"] != "Mine";
        boards.values().find(ours).unwrap()["id"].as_i64().unwrap()
    };
    world.subscription(mine, json!({"id": at.ana})).await;
}

const PLANTS: &[Plant] = &[
    Plant { name: "wrong group", found_by: &["membership that nobody granted"], about: &["membership"] },
    Plant {
        name: "native rights",
        found_by: &["store:harbor/000101: SQL on the connection `store:harbor/000102`", "POST /api/dataset"],
        about: &["store:harbor/000102"],
    },
    Plant { name: "public link", found_by: &["anybody", "public link"], about: &["public"] },
    Plant {
        name: "foreign parameter",
        found_by: &["store:harbor/000101", "store harbor/000102", "with a foreign value"],
        about: &["`Any store`"],
    },
    Plant {
        name: "drop-down values",
        found_by: &["store:harbor/000101", "store harbor/000102", "drop-down values"],
        about: &["drop-down values"],
    },
    Plant {
        name: "nested collection",
        found_by: &["store:harbor/000101", "collection `Archive`", "GET /api/collection"],
        about: &["Archive", "`Kept`"],
    },
    Plant {
        name: "admin's copy",
        found_by: &["person", "store harbor/000102", "personal collection"],
        about: &["personal collection"],
    },
    Plant {
        name: "subscription",
        found_by: &["subscription `Morning` of `store:harbor/000102`"],
        about: &["`Morning`"],
    },
    Plant {
        name: "model",
        found_by: &["store:harbor/000101", "store harbor/000102", "model `Stores`"],
        about: &["`Stores`"],
    },
    Plant {
        name: "x-ray",
        found_by: &["store:harbor/000101", "an x-ray of the connection `region:harbor/North`"],
        about: &["region:harbor/North", "setting"],
    },
    Plant {
        name: "download",
        found_by: &["store:harbor/000101", "store harbor/000102", "its download as csv"],
        about: &["`Long`"],
    },
    Plant {
        name: "administrator",
        found_by: &["person", "administrator that nobody granted"],
        about: &["administrator"],
    },
    Plant { name: "All Users", found_by: &["All Users", "that nobody granted"], about: &["000101"] },
];

/// Plants one leak; gives what takes it away again, besides an apply.
async fn plant(world: &World, at: &Places, name: &str) -> Vec<(&'static str, String, Value)> {
    let archive = |id: i64| ("PUT", format!("card/{id}"), json!({"archived": true}));
    match name {
        "wrong group" => world.metabase.add_member(at.ana, at.region),
        "administrator" => {
            world.click("PUT", &format!("user/{}", at.ana), json!({"is_superuser": true})).await;
        }
        "native rights" => world.metabase.grant_data(at.store, at.next_door, "query-builder-and-native"),
        "public link" => {
            let card = world.card("000101", "Week so far");
            world.click("PUT", "setting/enable-public-sharing", json!({"value": true})).await;
            world.click("POST", &format!("card/{card}/public_link"), json!({})).await;
        }
        "foreign parameter" => {
            let sql = "SELECT store_id, net_sales FROM mart_harbor.sales_by_day WHERE store_id = {{store}}";
            let tag = json!({"store": {"id": "t1", "name": "store", "display-name": "Store", "type": "text", "default": "000101"}});
            let card = world.question("Any store", at.own, native(at.north, sql, tag), json!({})).await;
            return vec![archive(card)];
        }
        "drop-down values" => {
            let sql = "SELECT store_id FROM mart_harbor.stores WHERE store_id = '000101' [[AND {{pick}}]]";
            let tag = json!({"pick": {
                "id": "t2", "name": "pick", "display-name": "Pick", "type": "dimension",
                "dimension": ["field", at.field, null], "widget-type": "string/=",
            }});
            let parameter = json!([{
                "id": "t2", "type": "string/=", "name": "Pick", "slug": "pick",
                "target": ["dimension", ["template-tag", "pick"]],
            }]);
            let card =
                world.question("Own", at.own, native(at.north, sql, tag), json!({"parameters": parameter})).await;
            return vec![archive(card)];
        }
        "nested collection" => {
            let nested = world.click("POST", "collection", json!({"name": "Archive", "parent_id": at.other})).await;
            let nested = nested["id"].as_i64().unwrap();
            world.question("Kept", nested, native(at.next_door, "SELECT 1 AS one", json!({})), json!({})).await;
            world.metabase.grant_collection(at.store, nested, "read");
            return vec![("PUT", format!("collection/{nested}"), json!({"archived": true}))];
        }
        "admin's copy" => {
            // Listing accounts makes their personal collections.
            world.click("GET", "user", json!({})).await;
            let snapshot = world.metabase.snapshot();
            let all = snapshot["collections"].as_object().unwrap().values();
            let personal = all.into_iter().find(|place| place["owner_id"] == at.ana).unwrap()["id"].as_i64().unwrap();
            let sql = "SELECT store_id, net_sales FROM mart_harbor.sales_by_day";
            let card = world.question("For Ana", personal, native(at.north, sql, json!({})), json!({})).await;
            return vec![archive(card)];
        }
        "subscription" => {
            let id = world.subscription(at.dashboard_next_door, json!({"id": at.ana})).await;
            return vec![("PUT", format!("pulse/{id}"), json!({"archived": true}))];
        }
        "model" => {
            let query = json!({"type": "query", "database": at.north, "query": {"source-table": at.table}});
            let card = world.question("Stores", at.own, query, json!({"type": "model"})).await;
            return vec![archive(card)];
        }
        "x-ray" => {
            world.click("PUT", "setting/enable-xrays", json!({"value": true})).await;
            let group = at.store.to_string();
            let level = json!({"view-data": "unrestricted", "create-queries": {"mart_harbor": "query-builder"}});
            let body = json!({"revision": 0, "groups": {group: {at.north.to_string(): level}}});
            world.click("PUT", "permissions/graph?force=true", body).await;
        }
        "download" => {
            let sql = "SELECT '000101' AS store_id, n FROM generate_series(1, 2000) AS n
                       UNION ALL SELECT store_id, 0 FROM mart_harbor.stores WHERE store_id <> '000101'";
            let card = world.question("Long", at.own, native(at.north, sql, json!({})), json!({})).await;
            return vec![archive(card)];
        }
        _ => world.metabase.grant_collection(1, at.own, "read"),
    }
    Vec::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_planted_leaks_are_found_and_nothing_else_is_called_one() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    harmless(&world, &at).await;
    let clean = world.audit().await;
    assert!(clean.is_clean(), "a false alarm before anything was planted: {clean}");
    let mut found = 0;
    for one in PLANTS {
        let undo = plant(&world, &at, one.name).await;
        let audit = world.audit().await;
        let said: Vec<String> = audit.leaks.iter().map(said).collect();
        let named = said.iter().any(|leak| one.found_by.iter().all(|word| leak.contains(word)));
        assert!(named, "{}: {audit}", one.name);
        let strange: Vec<_> = said.iter().filter(|leak| !one.about.iter().any(|word| leak.contains(word))).collect();
        assert!(strange.is_empty(), "{}: false alarms {strange:#?}", one.name);
        assert!(audit.failures.is_empty(), "{}: {audit}", one.name);
        found += 1;
        for (method, path, body) in undo {
            world.click(method, &path, body).await;
        }
        world.settle().await;
    }
    assert_eq!(found, 13);
    let after = world.audit().await;
    assert!(after.is_clean(), "a false alarm after everything was taken away: {after}");
}

#[tokio::test]
async fn figures_without_a_store_are_found_by_the_parameter_that_brings_them() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    // Over the store's own connection a foreign number brings nothing; over the region's it does.
    let sql = "SELECT sum(net_sales) AS total FROM mart_harbor.sales_by_day WHERE store_id = {{store}}";
    let tag =
        json!({"store": {"id": "t", "name": "store", "display-name": "Store", "type": "text", "default": "000101"}});
    let own = world.id("databases", "name", "store:harbor/000101");
    world.question("Mine", at.own, native(own, sql, tag.clone()), json!({})).await;
    assert!(world.audit().await.is_clean());
    world.question("Any", at.own, native(at.north, sql, tag), json!({})).await;
    let audit = world.audit().await;
    let of_next_door = "figures of store harbor/000102";
    assert!(audit.leaks.iter().any(|leak| leak.what.contains(of_next_door) && leak.what.contains("`Any`")), "{audit}");
    assert!(audit.leaks.iter().all(|leak| !leak.what.contains("`Mine`")), "{audit}");
}

#[tokio::test]
async fn a_subscription_to_an_address_that_is_nobodys_is_a_leak() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    world.subscription(at.dashboard_next_door, json!({"email": "stranger@elsewhere.example"})).await;
    let audit = world.audit().await;
    assert_eq!(audit.leaks.len(), 1, "{audit}");
    assert_eq!(audit.leaks[0].who, "an address that is nobody's");
    assert!(!audit.to_string().contains("stranger"), "{audit}");
}

/// At the wall `store`, Metabase's permissions are the first of two walls: taken down by
/// hand, PostgreSQL still shows a store its own rows.
#[tokio::test]
async fn without_metabases_permission_postgresql_still_returns_own_rows_only() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    // Everybody may ask the store's connection in SQL, and the question asks for everything.
    world.metabase.grant_data(1, world.id("databases", "name", "store:harbor/000101"), "query-builder-and-native");
    let card = world.card("000101", "Week so far");
    world.metabase.set_card_sql(card, "SELECT DISTINCT store_id FROM mart_harbor.sales_channel");
    let group = world.id("groups", "name", "store:harbor/000102");
    world.metabase.grant_collection(group, at.own, "read");
    let key = world.click("POST", "api-key", json!({"name": "stranger", "group_id": group})).await;
    let post = async |path: &str, body: Value| -> Value {
        let request = reqwest::Client::new().post(format!("{}/api/{path}", world.metabase.base_url));
        let request = request.header("x-api-key", key["unmasked_key"].as_str().unwrap()).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let own = world.id("databases", "name", "store:harbor/000101");
    let queries = [
        "SELECT DISTINCT store_id FROM mart_harbor.stores",
        "SELECT DISTINCT store_id FROM mart_harbor.sales_by_day",
        "SELECT DISTINCT store_id FROM mart_harbor.sales_channel",
    ];
    let mut seen = BTreeSet::new();
    let mut note = |answer: &Value| {
        assert_eq!(answer["status"], "completed", "{answer}");
        seen.extend(answer["data"]["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()));
    };
    note(&post(&format!("card/{card}/query"), json!({})).await);
    for sql in queries {
        note(&post("dataset", json!({"database": own, "type": "native", "native": {"query": sql}})).await);
    }
    assert_eq!(seen, BTreeSet::from(["000101".to_owned()]));
    let refused = "SELECT * FROM mart_mesa.stores";
    let refused = post("dataset", json!({"database": own, "type": "native", "native": {"query": refused}})).await;
    assert_eq!(refused["status"], "failed", "{refused}");
    assert!(!world.audit().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_killed_audit_are_removed_by_the_next() {
    let world = World::start().await;
    world.settle().await;
    let keys = || world.metabase.snapshot()["api_keys"].as_object().unwrap().len();
    assert_eq!(keys(), 1);
    let mut left_behind = 0;
    for calls in [1, 4, 40, 200] {
        let extent = Extent { seed: "s".to_owned(), full: true, sample: 4 };
        // The claim of the one killed before goes with its connection.
        let killed = loop {
            world.metabase.clear_requests();
            let context = world.context();
            let made = async {
                while world.metabase.requests().iter().filter(|call| call.path != "/api/api-key").count() < calls
                    || keys() == 1
                {
                    tokio::task::yield_now().await;
                }
            };
            // Dropped in the middle, as a killed process leaves it.
            tokio::select! {
                audit = audit_with(&context, &extent) => match audit {
                    Err(Error::Busy) => tokio::task::yield_now().await,
                    other => break other.map(|audit| audit.to_string()),
                },
                () = made => break Ok(String::new()),
            }
        };
        let ended = killed.unwrap_or_else(|error| panic!("{}", told(&error)));
        assert!(ended.is_empty(), "the audit ended before it was killed: {ended}");
        left_behind += keys() - 1;
    }
    assert!(left_behind > 0);
    // The claim of the killed one goes with its connection.
    let audit = loop {
        match storekeeper::metabase::audit(&world.context()).await {
            Ok(audit) => break audit,
            Err(Error::Busy) => tokio::task::yield_now().await,
            Err(error) => panic!("{}", told(&error)),
        }
    };
    assert!(audit.is_clean(), "{audit}");
    assert_eq!(keys(), 1);
    let users = world.metabase.snapshot()["users"].as_object().unwrap().clone();
    let hidden = users.values().filter(|user| user["api_key"] == true && user["active"] == true);
    assert_eq!(hidden.count(), 1, "no hidden user of an audit is left active");
}

#[tokio::test]
async fn people_with_several_groups_are_proven_by_a_probe_account() {
    let world = World::start().await;
    world.settle().await;
    let audit = world.audit().await;
    let several: Vec<_> = audit.evidence.people.iter().filter(|person| person.groups.len() > 1).collect();
    assert!(several.len() >= 2, "{several:#?}");
    assert!(several.iter().all(|person| person.proven_by == "probe account"), "{several:#?}");
    let both = several.iter().find(|person| person.groups == ["store:harbor/000125", "store:mesa/000125"]).unwrap();
    assert_eq!(both.stores, 2);
    assert!(world.metabase.mails().is_empty());
    let every: Vec<_> = audit.evidence.groups.iter().flat_map(|group| &group.seen).collect();
    assert!(every.len() > 50);
    assert!(every.iter().all(|one| one.truth == "the same as the tables"), "{every:#?}");
}

#[tokio::test]
async fn a_draw_tries_less_and_the_same_seed_the_same() {
    let world = World::start().await;
    world.settle().await;
    let draw = |seed: &str, full: bool| Extent { seed: seed.to_owned(), full, sample: 2 };
    let context = world.context();
    let whole = audit_with(&context, &draw("a", true)).await.unwrap();
    assert!(whole.full && whole.is_clean());
    assert_eq!(whole.evidence.foreign_tried, whole.evidence.foreign_places);
    let again = audit_with(&context, &draw("a", true)).await.unwrap();
    assert_eq!(whole.evidence, again.evidence, "the same seed and data give the same evidence");
}

/// Rows of a store that the list has lost are nobody's: no role sees them, no answer counts
/// them, and who is shown them all the same is shown too much.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_left_the_list_is_no_false_alarm_and_its_rows_are_nobodys() {
    let mut world = World::start().await;
    // A question that adds up without a look into the list, as the shipped ones do not.
    let files = tempfile::tempdir().unwrap();
    copy(&definitions().join("metabase"), &files.path().join("metabase"));
    let question =
        "-- ---\n-- title = \"Ever sold\"\n-- description = \"All of it.\"\n-- display = \"table\"\n-- ---\nSELECT sum(m.net_sales) AS \"Net sales\", count(*) AS \"Days\"
        FROM {{ schema }}.daily_store_metrics AS m WHERE {{ in_scope(\"m\") }}";
    std::fs::write(files.path().join("metabase/questions/ever_sold.sql"), question).unwrap();
    let board = files.path().join("metabase/dashboards/head_office.toml");
    let card = "\n[[cards]]\ntab = \"Weeks\"\nquestion = \"ever_sold\"\nsize = \"third small\"\n";
    std::fs::write(&board, std::fs::read_to_string(&board).unwrap() + card).unwrap();
    world.definitions = files.path().to_owned();
    world.settle().await;
    assert!(world.audit().await.evidence.unlisted.is_empty());
    world.chain.sql("DELETE FROM mart_harbor.stores WHERE store_id = '000102'").await;
    world.chain.reconcile().await;
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.is_clean(), "{audit}");
    assert_eq!(audit.evidence.unlisted, ["harbor/000102"]);
    assert!(audit.to_string().contains("note  nobody sees the rows of stores"), "{audit}");
    let compared: Vec<_> = audit.evidence.groups.iter().flat_map(|group| &group.seen).collect();
    assert!(compared.iter().all(|one| one.truth == "the same as the tables"), "{compared:#?}");
    // The brand's connection signs in as somebody who is held to no list.
    let connection = world.find("databases", "name", "brand:harbor");
    let mut details = connection["details"].clone();
    (details["user"], details["password"]) = (json!("postgres"), json!("x"));
    world.click("PUT", &format!("database/{}", connection["id"]), json!({"details": details})).await;
    let audit = world.audit().await;
    let words = "counts rows of stores that the list of stores does not hold";
    assert!(audit.leaks.iter().any(|leak| leak.who == "brand:harbor" && leak.what.contains(words)), "{audit}");
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.is_clean(), "{audit}");
}
