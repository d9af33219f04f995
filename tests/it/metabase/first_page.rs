//! What a reader sees first: the dashboards on top of her collection, and one page for everybody.

use sandbox::metabase::Options;
use serde_json::{Value, json};
use storekeeper::metabase::Action;
use storekeeper::settings::Wall;

use super::{World, about};
use crate::support::chain::Chain;

impl World {
    /// What is pinned in a store's collection, from the top.
    fn pinned(&self, store: &str) -> Vec<String> {
        let collection = self.collection(store);
        let snapshot = self.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().expect("dashboards").values();
        let mut pinned: Vec<(i64, String)> = boards
            .filter(|board| board["collection_id"] == collection)
            .filter_map(|board| {
                Some((board["extra"]["collection_position"].as_i64()?, board["name"].as_str()?.to_owned()))
            })
            .collect();
        pinned.sort();
        pinned.into_iter().map(|(_, name)| name).collect()
    }

    fn in_store(&self, store: &str, name: &str) -> i64 {
        let collection = self.collection(store);
        let snapshot = self.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().expect("dashboards");
        let found = boards.values().find(|board| board["name"] == name && board["collection_id"] == collection);
        found.and_then(|board| board["id"].as_i64()).expect("the dashboard")
    }
}

#[tokio::test]
async fn a_managers_own_page_stands_first_in_her_collection() {
    for version in ["v0.54.2", "v0.61.2"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let world = World::with(Chain::small().await, options).await;
        world.settle().await;
        assert_eq!(world.pinned("000101"), ["Store morning", "Forecast"]);
        // Somebody puts a page of her own above: it moves ours and not their order.
        let collection = world.collection("000101");
        let theirs = json!({"name": "Mine", "collection_id": collection, "collection_position": 1});
        world.click("POST", "dashboard", theirs).await;
        assert_eq!(world.pinned("000101"), ["Mine", "Store morning", "Forecast"]);
        assert!(world.plan().await.is_empty());
        // Ours in another order, and one that is not pinned any more: drift.
        world.metabase.advance_clock(60);
        let forecast = world.in_store("000101", "Forecast");
        world.click("PUT", &format!("dashboard/{forecast}"), json!({"collection_position": 1})).await;
        let morning = world.in_store("000102", "Store morning");
        world.click("PUT", &format!("dashboard/{morning}"), json!({"collection_position": null})).await;
        let plan = world.plan().await;
        assert_eq!(plan.steps.len(), 4, "{plan}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(plan.steps[0], @r"
            ~ update pin Store morning  [store:harbor/000101]
                  position: 3 -> 1
            ");
        }
        world.settle().await;
        assert_eq!(world.pinned("000102"), ["Store morning", "Forecast"]);
        let ours: Vec<String> = world.pinned("000101").into_iter().filter(|name| name != "Mine").collect();
        assert_eq!(ours, ["Store morning", "Forecast"]);
    }
}

#[tokio::test]
async fn everybody_gets_a_page_only_while_everybody_may_read_it() {
    let chain = Chain::small().await;
    let office = &["eve@example.com,Eve,Fox,en,chain,viewer", "kit@example.com,Kit,Low,en,chain,owner"];
    let mut world = World::of(chain, Options::default(), Wall::Store, office).await;
    world.settings.home_page = Some("head_office@chain".to_owned());
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "home page"), ["head_office@chain"], "{plan}");
    world.settle().await;
    let set = |world: &World, key: &str| world.metabase.snapshot()["settings"][key].clone();
    let board = {
        let place = world.id("collections", "name", "All brands");
        let snapshot = world.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().unwrap();
        boards.values().find(|board| board["collection_id"] == place && board["name"] == "Head office").unwrap()["id"]
            .clone()
    };
    assert_eq!(
        (set(&world, "custom-homepage"), set(&world, "custom-homepage-dashboard")),
        (json!(true), board.clone())
    );
    // Another page by hand: drift.
    world.click("PUT", "setting/custom-homepage-dashboard", json!({"value": 1})).await;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "home page"), ["head_office@chain"], "{plan}");
    world.settle().await;
    assert_eq!(set(&world, "custom-homepage-dashboard"), board);
    // A manager joins who may not read it: nobody's first page is a closed door.
    world
        .chain
        .import(&[office, &["ana@example.com,Ana,Lima,en,store:harbor/000101,viewer"][..]].concat())
        .await
        .unwrap();
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "setting"), ["custom-homepage"], "{plan}");
    assert!(plan.notes.iter().any(|note| note == "there is no home page: 1 person may not read `head_office@chain`"));
    world.settle().await;
    assert_eq!(set(&world, "custom-homepage"), Value::Bool(false));
    // A page that is not there.
    world.settings.home_page = Some("head_office@brand:nowhere".to_owned());
    let plan = world.plan().await;
    assert!(plan.is_empty() && plan.to_string().contains("no dashboard is called"), "{plan}");
}
