//! Clicks: where a row leads, who may follow, what is drawn of it, and mistakes in them.

use sandbox::metabase::Options;
use serde_json::{Value, json};
use storekeeper::metabase::{self, Action};

use super::{World, about, copy};
use crate::support::chain::{Chain, definitions};

/// The click on a question of a dashboard, as Metabase keeps it.
fn click(world: &World, board: &Value, question: &str) -> Value {
    let snapshot = world.metabase.snapshot();
    let cards = snapshot["cards"].as_object().expect("questions");
    let places = board["dashcards"].as_array().expect("places");
    let shows = |place: &&Value| cards.get(&place["card_id"].to_string()).is_some_and(|card| card["name"] == question);
    places.iter().find(shows).expect("the question")["visualization_settings"].clone()
}

#[tokio::test]
async fn a_row_opens_a_page_of_the_same_readers_with_its_filter_filled() {
    for version in ["v0.54.2", "v0.61.2"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let world = World::with(Chain::small().await, options).await;
        world.settle().await;
        let target = world.board("One store", "North")["id"].as_i64().unwrap();
        let kept = click(&world, &world.board("Region", "North"), "Stores by change on last year");
        insta::allow_duplicates! {
            insta::assert_snapshot!(kept.to_string().replace(&format!("\"targetId\":{target}"), "\"targetId\":TARGET"), @r#"{"column_settings":{"[\"name\",\"store_id\"]":{"click_behavior":{"type":"link","linkType":"dashboard","targetId":TARGET,"parameterMapping":{"store":{"id":"store","source":{"type":"column","id":"store_id","name":"store_id"},"target":{"type":"parameter","id":"store"}}}}}}}"#);
        }
        // Who reads the one reads the other; the filter shows a store of the region, and none of another.
        let board = world.board("One store", "North");
        let places = board["dashcards"].as_array().unwrap();
        let card = {
            let snapshot = world.metabase.snapshot();
            let place = world.id("collections", "name", "North");
            let cards = snapshot["cards"].as_object().unwrap();
            let labor = |card: &&Value| card["name"] == "Labor %, last 14 days" && card["collection_id"] == place;
            cards.values().find(labor).unwrap()["id"].as_i64().unwrap()
        };
        let place = places.iter().find(|place| place["card_id"] == card).unwrap();
        let path = format!("dashboard/{target}/dashcard/{}/card/{card}/query", place["id"]);
        let mut shown = Vec::new();
        for chosen in
            [json!([]), json!([{"id": "store", "value": ["000102"]}]), json!([{"id": "store", "value": ["000126"]}])]
        {
            let (status, answer) =
                world.as_group("region:harbor/North", "POST", &path, json!({"parameters": chosen})).await;
            assert_eq!((status, &answer["status"]), (202, &json!("completed")), "{answer}");
            let rows = answer["data"]["rows"].as_array().unwrap();
            shown.push(rows.first().map_or_else(String::new, |row| row[2].as_str().unwrap_or_default().to_owned()));
        }
        assert!(shown[0].contains("000101") && shown[0].contains("000102"), "{shown:?}");
        assert_eq!(shown[1..], ["000102", ""]);
        assert_eq!(world.as_group("store:harbor/000101", "POST", &path, json!({})).await.0, 403);
        // On its own page, a click fills the filter there.
        let kept = click(&world, &world.board("Head office", "Harbor Pizza"), "Area by area");
        assert_eq!(kept["column_settings"]["[\"name\",\"Area\"]"]["click_behavior"]["type"], "crossfilter", "{kept}");
        // Led elsewhere by hand: drift. Its page made anew: it follows.
        world.metabase.advance_clock(60);
        let region = world.board("Region", "North");
        let moved: Vec<Value> = region["dashcards"]
            .as_array()
            .unwrap()
            .iter()
            .map(|place| {
                let mut place = place.clone();
                let fields = place.as_object_mut().unwrap();
                fields.retain(|key, _| {
                    ["id", "card_id", "row", "col", "size_x", "size_y", "visualization_settings"]
                        .contains(&key.as_str())
                });
                let text = fields["visualization_settings"].to_string();
                let elsewhere = text.replace(&format!("\"targetId\":{target}"), "\"targetId\":1");
                fields.insert("visualization_settings".to_owned(), serde_json::from_str(&elsewhere).unwrap());
                place
            })
            .collect();
        let id = region["id"].as_i64().unwrap();
        world.click("PUT", &format!("dashboard/{id}"), json!({"dashcards": moved, "tabs": []})).await;
        let plan = world.plan().await;
        assert_eq!(about(&plan, Action::Update, "dashboard"), ["Region"], "{plan}");
        world.settle().await;
        world.click("DELETE", &format!("dashboard/{target}"), json!({})).await;
        let plan = world.plan().await;
        assert_eq!(about(&plan, Action::Create, "dashboard"), ["One store"], "{plan}");
        assert_eq!(about(&plan, Action::Update, "dashboard"), ["Region"], "{plan}");
        world.settle().await;
        let again = world.board("One store", "North")["id"].clone();
        let kept = click(&world, &world.board("Region", "North"), "Out of the ordinary yesterday").to_string();
        assert!(again != target && kept.contains(&format!("\"targetId\":{again}")), "{kept}");
    }
}

#[tokio::test]
async fn a_click_is_drawn_as_a_link_and_one_on_nothing_is_told() {
    let mut world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let scope = "region:harbor/North".parse().unwrap();
    let drawn = metabase::preview(&world.context(), folder.path(), Some(&scope), None).await.unwrap();
    assert!(!drawn.failed(), "{drawn}");
    let page = |folder: &tempfile::TempDir, name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let region = page(&folder, "region-region-harbor-North.html");
    assert!(region.contains("<a href=\"one_store-region-harbor-North.html\">000102</a>"), "{region}");
    // A query that only PostgreSQL understands may lack the column: the page says so.
    let content = tempfile::tempdir().unwrap();
    copy(&definitions().join("metabase"), &content.path().join("metabase"));
    let file = content.path().join("metabase/questions/store_ranking.sql");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("    d.store_id,\n    d.store_name", "    d.*,\n    d.store_name")
            .replace("ORDER BY 1, d.store_id", "ORDER BY 1"),
    )
    .unwrap();
    let board = content.path().join("metabase/dashboards/region.toml");
    let text = std::fs::read_to_string(&board).unwrap();
    std::fs::write(&board, text.replacen("fill = { store = \"store_id\" }", "fill = { store = \"storeid\" }", 1))
        .unwrap();
    world.definitions = content.path().to_owned();
    let drawn = metabase::preview(&world.context(), folder.path(), Some(&scope), Some("region")).await.unwrap();
    assert_eq!(drawn.pages[0].failed, ["store_ranking"], "{drawn}");
    let region = page(&folder, "region-region-harbor-North.html");
    assert!(region.contains("the click names columns that the query does not have: storeid"), "{region}");
}

#[test]
fn a_mistake_in_a_click_is_told_with_its_file() {
    const RANKING: &str =
        "click = { column = \"store_id\", dashboard = \"one_store\", fill = { store = \"store_id\" } }";
    let told = |click: &str| {
        let folder = tempfile::tempdir().unwrap();
        copy(&definitions().join("metabase"), &folder.path().join("metabase"));
        let file = folder.path().join("metabase/dashboards/region.toml");
        let whole = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, whole.replacen(RANKING, click, 1)).unwrap();
        match metabase::read(folder.path()) {
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Ok(content) => metabase::check(&content).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    };
    assert_eq!(told(RANKING), "");
    let all = [
        "click = { column = \"store_id\", dashboard = \"one_stor\" }",
        "click = { column = \"store_id\", dashboard = \"store_morning\", fill = { store = \"store_id\" } }",
        "click = { column = \"store_id\", dashboard = \"data_health\" }",
        "click = { column = \"store_id\", dashboard = \"region\" }",
        "click = { column = \"store_id\", dashboard = \"one_store\", fill = { stor = \"store_id\" } }",
        "click = { column = \"Store\", dashboard = \"one_store\", fill = { store = \"Number\" } }",
        "click = { dashboard = \"one_store\" }",
        "click = { column = \"store_id\" }",
        "click = { colum = \"store_id\" }",
    ]
    .map(told)
    .join("\n");
    insta::assert_snapshot!(all, @r"
    metabase/dashboards/region.toml: the click on `store_ranking` opens the unknown dashboard `one_stor`; did you mean `one_store`?
    metabase/dashboards/region.toml: the click on `store_ranking` opens `store_morning`, which no region has: a click stays within its scope, so that its readers may read both
    metabase/dashboards/region.toml: the click on `store_ranking` fills `store`, which is no filter of `store_morning`; it has none
    metabase/dashboards/region.toml: the click on `store_ranking` opens `data_health`, which no region has: a click stays within its scope, so that its readers may read both
    metabase/dashboards/region.toml: the click on `store_ranking` opens `data_health`, which only owners read
    metabase/dashboards/region.toml: the click on `store_ranking` opens its own page: leave `dashboard` out, and it fills the filters there
    metabase/dashboards/region.toml: the click on `store_ranking` fills `stor`, which is no filter of `one_store`; it has store
    metabase/dashboards/region.toml: the click on `store_ranking` names the column `Number`, which its query does not have
    metabase/dashboards/region.toml: the click on `store_ranking` names the column `Store`, which its query does not have
    metabase/dashboards/region.toml: the click on `store_ranking` names no `column`: of a table, one column is clicked
    metabase/dashboards/region.toml: the click on `store_ranking` does nothing: it fills filters (`fill`), opens a `dashboard`, or both
    metabase/dashboards/region.toml:17: unknown field `colum`, expected one of `column`, `dashboard`, `fill`
    metabase/dashboards/head_office.toml: unknown dashboard `region` in `links`
    ");
}
