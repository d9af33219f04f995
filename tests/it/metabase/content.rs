//! Dashboards: what they look like before anybody sees them, tabs, filters, links, and who reads which.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sandbox::metabase::Options;
use serde_json::{Value, json};
use storekeeper::access::{Credentials, Scope, role_name};
use storekeeper::metabase::{self, Action, Preview};
use storekeeper::warehouse::ask::Asking;

use super::{World, about, copy, told};
use crate::support::chain::{Chain, definitions};

impl World {
    async fn preview(&self, folder: &Path, scope: Option<&str>, dashboard: Option<&str>) -> Preview {
        let scope: Option<Scope> = scope.map(|scope| scope.parse().expect("a scope"));
        let drawn = metabase::preview(&self.context(), folder, scope.as_ref(), dashboard).await;
        drawn.unwrap_or_else(|error| panic!("preview: {}", told(&error)))
    }

    /// A dashboard of the stand-in, by its name and the name of its collection.
    pub(super) fn board(&self, name: &str, collection: &str) -> Value {
        let place = self.id("collections", "name", collection);
        let snapshot = self.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().expect("dashboards");
        let found = boards.values().find(|board| board["name"] == name && board["collection_id"] == place);
        found.unwrap_or_else(|| panic!("no {name} in {collection}")).clone()
    }

    /// Calls the API with exactly the rights of a group.
    pub(super) async fn as_group(&self, group: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let group = self.id("groups", "name", group);
        let name = format!("probe {group} {}", self.metabase.requests().len());
        let key = self.click("POST", "api-key", json!({"name": name, "group_id": group})).await;
        let request = reqwest::Client::new()
            .request(method.parse().expect("a method"), format!("{}/api/{path}", self.metabase.base_url))
            .header("x-api-key", key["unmasked_key"].as_str().expect("a key"));
        let request = if method == "GET" { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        self.click("DELETE", &format!("api-key/{}", key["id"]), json!({})).await;
        (status, answer.json().await.unwrap_or_default())
    }
}

#[tokio::test]
async fn every_dashboard_is_drawn_from_its_own_stores_numbers() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let drawn = world.preview(folder.path(), None, None).await;
    assert_eq!(drawn.pages.len(), 2 * (1 + 2) + 3 * 3 + 3 * 6);
    assert!(!drawn.failed(), "{drawn}");
    let page = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    let morning = page("store_morning-store-harbor-000101.html");
    for part in [
        "Store morning",
        "sales up to ",
        "<svg",
        "How did yesterday go?",
        "Average ticket, last 14 days.",
        "vs. Last week",
    ] {
        assert!(morning.contains(part), "{part}");
    }
    assert!(!morning.contains("000102"), "a store's page shows that store only");
    // Drawn as the roles of the walls: without a request to Metabase.
    assert!(world.metabase.requests().is_empty());
    let region = page("region-region-harbor-North.html");
    assert!(region.contains("href=\"store_morning-store-harbor-000102.html\""), "{region}");
    assert!(!region.contains("000125"), "another region's store");
    for file in std::fs::read_dir(folder.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A page for each, and only those, that are asked for.
    let other = tempfile::tempdir().unwrap();
    let drawn = world.preview(other.path(), Some("brand:harbor"), Some("head_office")).await;
    assert_eq!(
        drawn.pages.iter().map(|page| page.file.as_str()).collect::<Vec<_>>(),
        ["head_office-brand-harbor.html"]
    );
    let nothing = metabase::preview(&world.context(), other.path(), None, Some("store_mornin")).await;
    assert!(nothing.is_err());
}

#[tokio::test]
async fn a_page_says_what_is_missing_and_what_is_wrong() {
    let mut world = World::start().await;
    let content = tempfile::tempdir().unwrap();
    copy(&definitions().join("metabase"), &content.path().join("metabase"));
    let question = |name: &str| content.path().join(format!("metabase/questions/{name}.sql"));
    let change = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(question(name)).unwrap();
        assert!(text.contains(from), "{name}");
        std::fs::write(question(name), text.replace(from, to)).unwrap();
    };
    change("week_so_far", "f.forecast AS \"Forecast\"", "f.forecasted AS \"Forecast\"");
    change("average_ticket", "d.average_ticket AS \"Average ticket\"", "d.average_ticket AS \"Ticket\"");
    world.definitions = content.path().to_owned();
    // Nothing was sold yet, by anybody.
    world.chain.sql("DELETE FROM mart_harbor.sales_channel").await;
    let folder = tempfile::tempdir().unwrap();
    let drawn = world.preview(folder.path(), Some("store:harbor/000101"), Some("store_morning")).await;
    assert!(drawn.failed());
    let page = &drawn.pages[0];
    assert_eq!(page.failed, ["week_so_far", "average_ticket"], "{page:?}");
    assert!(page.empty.contains(&"yesterday".to_owned()) && page.drawn >= 1, "{page:?}");
    let html = std::fs::read_to_string(folder.path().join(&page.file)).unwrap();
    for part in [
        "no sales loaded yet",
        "No results",
        "column f.forecasted does not exist",
        "the front matter names columns that the query does not have: Average ticket",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[tokio::test]
async fn tabs_filters_and_links_are_written_and_found_again() {
    for version in ["v0.54.2", "v0.61.2"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let world = World::with(Chain::small().await, options).await;
        world.settle().await;
        let board = world.board("Head office", "Harbor Pizza");
        let tabs: Vec<&str> = board["tabs"].as_array().unwrap().iter().filter_map(|tab| tab["name"].as_str()).collect();
        assert_eq!(tabs, ["Yesterday", "Weeks"]);
        let id = board["id"].as_i64().unwrap();
        // The filter offers the regions of this brand, by a question that is fenced like any other.
        let (status, values) =
            world.as_group("brand:harbor", "GET", &format!("dashboard/{id}/params/area/values"), Value::Null).await;
        assert_eq!((status, &values["values"]), (200, &json!([["Coast"], ["North"]])), "{values}");
        // Chosen, it narrows; a value of another brand finds nothing.
        let card = {
            let snapshot = world.metabase.snapshot();
            let place = world.id("collections", "name", "Harbor Pizza");
            let cards = snapshot["cards"].as_object().unwrap();
            let found = cards.values().find(|card| card["name"] == "Thirteen weeks" && card["collection_id"] == place);
            found.unwrap()["id"].as_i64().unwrap()
        };
        let dashcards = board["dashcards"].as_array().unwrap();
        let place = dashcards.iter().find(|place| place["card_id"] == card).unwrap();
        let path = format!("dashboard/{id}/dashcard/{}/card/{card}/query", place["id"]);
        let mut sums = Vec::new();
        for chosen in
            [json!([]), json!([{"id": "area", "value": ["North"]}]), json!([{"id": "area", "value": ["Desert"]}])]
        {
            let (_, answer) = world.as_group("brand:harbor", "POST", &path, json!({"parameters": chosen})).await;
            assert_eq!(answer["status"], "completed", "{answer}");
            let rows = answer["data"]["rows"].as_array().unwrap();
            sums.push(
                rows.iter().filter_map(|row| row[1].as_f64().or_else(|| row[1].as_str()?.parse().ok())).sum::<f64>(),
            );
        }
        assert!(sums[0] > sums[1] && sums[1] > 0.0 && sums[2] == 0.0, "{sums:?}");
        // A link for each store of the region, to a dashboard that is there.
        let region = world.board("Region", "North");
        let morning = |store: &str| world.board("Store morning", &format!("{store} Store {store}"))["id"].clone();
        let text = region["dashcards"].to_string();
        for store in ["000101", "000102"] {
            assert!(text.contains(&format!("(https://bi.example.com/dashboard/{})", morning(store))), "{text}");
        }
        assert!(!text.contains(&format!("/dashboard/{})", morning("000126"))), "a store of another region");
        // A tab that is renamed, a filter that is taken away, a link that is changed: drift, and put back.
        world.metabase.advance_clock(60);
        let mut places = dashcards.clone();
        for place in &mut places {
            let fields = place.as_object_mut().unwrap();
            let tab = fields["tab_id"].clone();
            let kept = ["id", "card_id", "row", "col", "size_x", "size_y", "visualization_settings"];
            fields.retain(|key, _| kept.contains(&key.as_str()));
            fields.insert("dashboard_tab_id".to_owned(), tab);
            fields.insert("parameter_mappings".to_owned(), json!([]));
        }
        let renamed: Vec<Value> = board["tabs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tab| json!({"id": tab["id"], "name": format!("{}!", tab["name"].as_str().unwrap())}))
            .collect();
        let edit = json!({"dashcards": places, "tabs": renamed, "parameters": []});
        world.click("PUT", &format!("dashboard/{id}"), edit).await;
        let plan = world.plan().await;
        assert_eq!(about(&plan, Action::Update, "dashboard"), ["Head office"], "{plan}");
        let text = plan.to_string();
        assert!(text.contains("tabs:") && text.contains("filters:") && text.contains("keeper@example.com"), "{text}");
        assert_eq!(world.settle().await, 1);
        assert_eq!(world.board("Head office", "Harbor Pizza")["parameters"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn only_owners_read_how_the_data_came_in() {
    let world = World::start().await;
    world.chain.import(&[super::PEOPLE, &["gil@example.com,Gil,Hart,en,brand:harbor,viewer"]].concat()).await.unwrap();
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
    let health = {
        let snapshot = world.metabase.snapshot();
        let parent = world.id("collections", "name", "Harbor Pizza");
        let collections = snapshot["collections"].as_object().unwrap();
        let below = |one: &&Value| {
            one["name"] == "Operations"
                && one["location"].as_str().is_some_and(|at| at.contains(&format!("/{parent}/")))
        };
        collections.values().find(below).unwrap()["id"].as_i64().unwrap()
    };
    let path = format!("collection/{health}/items");
    for (group, status) in [
        ("brand:harbor", 403),
        ("brand:harbor (analysts)", 403),
        ("region:harbor/North", 403),
        ("chain", 403),
        ("brand:harbor (owners)", 200),
    ] {
        assert_eq!(world.as_group(group, "GET", &path, Value::Null).await.0, status, "{group}");
    }
    // In PostgreSQL the views behind it are as narrow, whatever Metabase lets through.
    let credentials = Credentials::open(&world.chain.installation.data_dir).unwrap();
    let rows = async |scope: &str, schema: &str| {
        let role = role_name(&world.chain.installation.name, &scope.parse().unwrap());
        let mut asking = Asking::sign_in(&world.chain.warehouse, &role, &credentials.password(&role)).await.unwrap();
        asking.ask(&format!("SELECT * FROM {schema}.pipeline_health"), 10).await.unwrap().rows.len()
    };
    assert_eq!(rows("brand:harbor", "mart_harbor").await, 1);
    assert_eq!(rows("chain", "mart_all").await, 1);
    for scope in ["region:harbor/North", "store:harbor/000101"] {
        assert_eq!(rows(scope, "mart_harbor").await, 0, "{scope}");
    }
}

#[test]
fn a_mistake_in_tabs_filters_and_links_is_told_with_its_file() {
    let board = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        copy(&definitions().join("metabase"), &folder.path().join("metabase"));
        let file = folder.path().join("metabase/dashboards/head_office.toml");
        let whole = std::fs::read_to_string(&file).unwrap();
        let (from, to) = text.split_once(" => ").unwrap();
        assert!(whole.contains(from), "{from}");
        std::fs::write(&file, whole.replacen(from, to, 1)).unwrap();
        match metabase::read(folder.path()) {
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Ok(content) => metabase::check(&content).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    };
    insta::assert_snapshot!(board("tab = \"Weeks\" => tab = \"Week\""), @r#"metabase/dashboards/head_office.toml:63: unknown tab `Week`: add it to `tabs`"#);
    insta::assert_snapshot!(board("fills = \"area\" => fills = \"region\""), @r"
    metabase/dashboards/head_office.toml:11: no question of the dashboard takes the parameter `region`
    metabase/dashboards/head_office.toml: the click on `head_areas` fills `area`, which is no filter of `head_office`; it has region
    ");
    insta::assert_snapshot!(board("values_from = \"head_area_list\" => values = []"), @"metabase/dashboards/head_office.toml:11: the parameter `area` has either `values` or `values_from`");
    insta::assert_snapshot!(board("links = \"region\" => links = \"data_health\""), @"metabase/dashboards/head_office.toml: not everybody may read `data_health`: `links` cannot lead there");
    insta::assert_snapshot!(board("links = \"region\" => links = \"head_office\""), @"metabase/dashboards/head_office.toml: `links` lead to scopes below: `head_office` is not below");
    insta::assert_snapshot!(board("{{ title }} did => {{ titel }} did"), @"metabase/dashboards/head_office.toml: undefined value: `titel` is undefined (in <string>:1) in line 1 of the query");
}
