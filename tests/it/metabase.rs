//! Plan, apply and audit against the stand-in of Metabase and a real PostgreSQL.

mod clicks;
mod content;
mod daemon;
mod drift;
mod events;
mod first_page;
mod instance;
mod lifecycle;
mod paid;
mod people;
mod proof;
mod random;
mod scale;

use std::path::{Path, PathBuf};

use sandbox::metabase::{Failure, Fault, Metabase, Options};
use secrecy::SecretString;
use serde_json::{Value, json};
use storekeeper::http;
use storekeeper::metabase::{self, Action, Audit, Context, Error, Plan};
use storekeeper::settings::{self, Wall};

use crate::support::chain::{Chain, definitions, now};

const PEOPLE: &[&str] = &[
    "ana@example.com,Ana,Lima,pt-BR,store:harbor/000101,viewer",
    "bo@example.com,Bo,Berg,en,store:harbor/000125,viewer",
    "bo@example.com,Bo,Berg,en,store:mesa/000125,viewer",
    "cy@example.com,Cy,Dee,es,region:harbor/North,viewer",
    "dora@example.com,Dora,Eck,,brand:harbor,owner",
    "eve@example.com,Eve,Fox,en,chain,viewer",
    "finn@example.com,Finn,Gray,en,store:harbor/000126,analyst",
];

/// An installation: a chain, a Metabase, and what it takes to plan.
struct World {
    chain: Chain,
    metabase: Metabase,
    settings: settings::Metabase,
    http: http::Client,
    definitions: PathBuf,
}

impl World {
    async fn start() -> Self {
        Self::with(Chain::small().await, Options::default()).await
    }

    async fn with(chain: Chain, options: Options) -> Self {
        Self::walled(chain, options, Wall::Store).await
    }

    async fn walled(chain: Chain, options: Options, wall: Wall) -> Self {
        Self::of(chain, options, wall, PEOPLE).await
    }

    async fn of(chain: Chain, options: Options, wall: Wall, people: &[&str]) -> Self {
        let metabase = Metabase::start(options).await.expect("the stand-in");
        chain.reconcile_to(wall).await;
        chain.import(people).await.expect("the people");
        let http = http::Client::new(&settings::Http {
            connect_timeout_seconds: 5,
            read_timeout_seconds: 20,
            throttled_pause_seconds: 1,
            attempts: 3,
            backoff_milliseconds: 1,
            retry_after_limit_seconds: 5,
        });
        let settings = settings::Metabase {
            url: metabase.base_url.clone(),
            site_url: Some("https://bi.example.com".to_owned()),
            site_name: "Test".to_owned(),
            locale: "en".to_owned(),
            admin_email: "keeper@example.com".to_owned(),
            administrators: Vec::new(),
            admin_password: SecretString::from("correct-horse-9"),
            database_host: None,
            database_port: None,
            database_ssl: false,
            wall,
            isolation: settings::Isolation::Collections,
            deactivation_limit: 0.5,
            deletion_limit: 0.5,
            report_time_zone: None,
            start_of_week: None,
            session_timeout_minutes: None,
            home_page: None,
            mail: None,
            cache: None,
        };
        Self { chain, metabase, settings, http: http.expect("a client"), definitions: definitions().to_owned() }
    }

    fn context(&self) -> Context<'_> {
        Context {
            settings: &self.settings,
            installation: &self.chain.installation,
            brands: &self.chain.brands,
            http: &self.http,
            warehouse: &self.chain.warehouse,
            definitions: &self.definitions,
            now: now(),
        }
    }

    async fn plan(&self) -> Plan {
        metabase::plan(&self.context()).await.unwrap_or_else(|error| panic!("plan: {}", told(&error)))
    }

    /// Plans and applies until nothing is left, which must be at once.
    async fn settle(&self) -> usize {
        let plan = self.plan().await;
        let applied = metabase::apply(&self.context(), &plan).await;
        let applied = applied.unwrap_or_else(|error| panic!("apply: {}", told(&error)));
        let left = self.plan().await;
        assert!(left.is_empty(), "{left}");
        applied.steps_done
    }

    async fn audit(&self) -> Audit {
        metabase::audit(&self.context()).await.unwrap_or_else(|error| panic!("audit: {}", told(&error)))
    }

    /// Finds an object of the stand-in by a field's value.
    fn find(&self, kind: &str, field: &str, value: &str) -> Value {
        let snapshot = self.metabase.snapshot();
        let objects = snapshot[kind].as_object().expect("a kind of object");
        let found = objects.values().find(|object| object[field] == value);
        found.unwrap_or_else(|| panic!("no {kind} with {field} {value}")).clone()
    }

    fn id(&self, kind: &str, field: &str, value: &str) -> i64 {
        self.find(kind, field, value)["id"].as_i64().expect("an id")
    }

    /// The collection of a store, by its number; `000125` is the one of `harbor`.
    fn collection(&self, store: &str) -> i64 {
        self.id("collections", "name", &format!("{store} Store {store}"))
    }

    /// A question of a store's collection.
    fn card(&self, store: &str, name: &str) -> i64 {
        let collection = self.collection(store);
        let snapshot = self.metabase.snapshot();
        let cards = snapshot["cards"].as_object().expect("questions");
        let found = cards.values().find(|card| card["name"] == name && card["collection_id"] == collection);
        found.and_then(|card| card["id"].as_i64()).expect("the question")
    }

    /// Calls the API as the administrator would in a browser.
    async fn click(&self, method: &str, path: &str, body: Value) -> Value {
        let client = reqwest::Client::new();
        let url = |path: &str| format!("{}/api/{path}", self.metabase.base_url);
        let login = json!({"username": "keeper@example.com", "password": "correct-horse-9"});
        let session: Value =
            client.post(url("session")).json(&login).send().await.expect("an answer").json().await.expect("a session");
        let method = method.parse().expect("a method");
        let request =
            client.request(method, url(path)).header("x-metabase-session", session["id"].as_str().expect("an id"));
        let answer = request.json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or_default()
    }
}

fn told(error: &Error) -> String {
    storekeeper::telemetry::chain(error)
}

fn about<'a>(plan: &'a Plan, action: Action, kind: &str) -> Vec<&'a str> {
    let fits = plan.steps.iter().filter(|step| step.action == action && step.kind == kind);
    fits.map(|step| step.name.as_str()).collect()
}

#[tokio::test]
async fn a_fresh_instance_is_filled_and_proven() {
    let world = World::start().await;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Create, "group").len(), 1 + 2 + 3 + 6 + 2 + 1, "{plan}");
    assert_eq!(about(&plan, Action::Create, "connection").len(), 1 + 2 + 3 + 6, "{plan}");
    assert_eq!(about(&plan, Action::Create, "dashboard").len(), 2 * (1 + 2) + 3 * 3 + 3 * 6, "{plan}");
    assert_eq!(about(&plan, Action::Create, "person").len(), 6, "{plan}");
    world.settle().await;
    let audit = world.audit().await;
    assert_eq!((audit.people, audit.leaks.as_slice(), audit.failures.as_slice()), (6, &[][..], &[][..]), "{audit}");
    assert!(audit.checks > 300, "{audit}");
    assert_eq!(audit.exposures.len(), 1, "{audit}");
    assert!(world.metabase.mails().is_empty());
    let snapshot = world.metabase.snapshot();
    assert_eq!(snapshot["settings"]["enable-public-sharing"], false);
    assert_eq!(snapshot["api_keys"].as_object().unwrap().len(), 1, "the audit's keys are gone");
    assert_eq!(world.find("users", "email", "ana@example.com")["locale"], "pt_BR");
    let again = world.audit().await;
    assert_eq!(again.checks, audit.checks);
    assert!(world.plan().await.is_empty());
}

#[tokio::test]
async fn a_manager_sees_her_store_and_gets_numbers() {
    let world = World::start().await;
    world.settle().await;
    let card = world.card("000101", "Net sales yesterday");
    let group = world.id("groups", "name", "store:harbor/000101");
    let key = world.click("POST", "api-key", json!({"name": "probe", "group_id": group})).await;
    let answer = reqwest::Client::new()
        .post(format!("{}/api/card/{card}/query", world.metabase.base_url))
        .header("x-api-key", key["unmasked_key"].as_str().unwrap())
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["status"], "completed", "{answer}");
    let names: Vec<&str> =
        answer["data"]["cols"].as_array().unwrap().iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names, ["Business date", "Net sales", "Forecast", "Last week", "Last year", "store_id"]);
    assert_eq!(answer["data"]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(answer["data"]["rows"][0][5], "000101");
    for value in 1..5 {
        assert!(!answer["data"]["rows"][0][value].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn every_release_ends_with_an_empty_plan() {
    for version in ["v0.54.2", "v0.57.4", "v0.61.2", "v0.99.0"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let world = World::with(Chain::small().await, options).await;
        world.settle().await;
        let audit = world.audit().await;
        assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{version}: {audit}");
    }
}

#[tokio::test]
async fn below_the_wall_a_literal_keeps_the_stores_apart() {
    for (wall, connections) in [(Wall::Region, 1 + 2 + 3), (Wall::Brand, 1 + 2)] {
        let world = World::walled(Chain::small().await, Options::default(), wall).await;
        let plan = world.plan().await;
        assert_eq!(about(&plan, Action::Create, "connection").len(), connections, "{plan}");
        assert!(plan.notes.iter().any(|note| note.contains("below the wall")), "{plan}");
        world.settle().await;
        let audit = world.audit().await;
        assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
        // Without its literal a question shows what the connection shows.
        let card = world.card("000101", "Week so far");
        world.metabase.advance_clock(60);
        let sql = "SELECT store_id FROM mart_harbor.stores WHERE region = 'North'";
        world.metabase.set_card_sql(card, sql);
        let audit = world.audit().await;
        assert!(audit.leaks.iter().any(|leak| leak.what.contains("store harbor/000102")), "{audit}");
        world.settle().await;
    }
}

/// A brand's superseded rows have walls like its tables, and are in no connection's list of tables.
#[tokio::test]
async fn history_is_in_no_connection() {
    let world = World::start().await;
    world.chain.sql("CREATE SCHEMA history_harbor; CREATE TABLE history_harbor.old AS TABLE mart_harbor.stores").await;
    world.chain.reconcile().await;
    world.settle().await;
    let snapshot = world.metabase.snapshot();
    let of = |key: &str| {
        let all = snapshot[key].as_object().expect("objects").values();
        all.map(|one| (one["details"].clone(), one["schema"].clone())).collect::<Vec<_>>()
    };
    let ours: Vec<_> = of("databases").into_iter().filter(|(details, _)| details["user"].is_string()).collect();
    assert!(ours.len() > 4, "{}", ours.len());
    for (details, _) in &ours {
        assert_eq!(details["schema-filters-type"], "inclusion");
        let schema = details["schema-filters-patterns"].as_str().unwrap();
        assert!(["mart_harbor", "mart_mesa", "mart_all"].contains(&schema), "{schema}");
    }
    let schemas: Vec<_> = of("tables").into_iter().map(|(_, schema)| schema).collect();
    assert!(schemas.iter().any(|schema| schema == "mart_harbor"));
    assert!(!schemas.iter().any(|schema| schema == "history_harbor"));
}

#[tokio::test]
async fn a_brand_that_falls_out_of_the_settings_takes_nothing_with_it_unasked() {
    let mut world = World::start().await;
    world.settle().await;
    // An analyst keeps a question of her own, in no collection of ours.
    let connection = world.id("databases", "name", "store:mesa/000201");
    let query = json!({"type": "native", "database": connection, "native": {"query": "SELECT 1"}});
    let own = json!({"name": "Mine", "display": "table", "dataset_query": query, "visualization_settings": {}});
    world.click("POST", "card", own).await;
    world.chain.brands.remove(&"mesa".into());
    world.settings.deletion_limit = 0.2;
    let error = metabase::plan(&world.context()).await.unwrap_err();
    insta::assert_snapshot!(format!("{}\nhint: {}", told(&error), error.hint().unwrap()), @r"
    the plan is refused: 4 of 12 scopes would lose their group or connection; `metabase.deletion_limit` allows 2
    hint: look at `[brands]`, `metabase.wall`, and the stores that were loaded last; if all is right, raise the limit for this apply
    ");
    world.settings.deletion_limit = 1.0;
    let plan = world.plan().await;
    let note = "the connection `store:mesa/000201` stays: 1 question that is not ours stands on it";
    assert!(plan.notes.iter().any(|found| found == note), "{plan}");
    assert_eq!(about(&plan, Action::Delete, "connection").len(), 3, "{plan}");
    world.settle().await;
    assert_eq!(world.find("cards", "name", "Mine")["archived"], false);
    // Without it, the connection goes.
    let mine = world.id("cards", "name", "Mine");
    world.click("DELETE", &format!("card/{mine}"), json!({})).await;
    assert_eq!(about(&world.plan().await, Action::Delete, "connection"), ["store:mesa/000201"]);
    world.settle().await;
}

#[tokio::test]
async fn the_tree_changes_and_the_content_follows() {
    let world = World::start().await;
    world.settle().await;
    world.chain.sql("UPDATE mart_harbor.stores SET region = 'Coast' WHERE store_id = '000102'").await;
    world.chain.sql("DELETE FROM mart_mesa.stores WHERE store_id = '000201'").await;
    world.chain.reconcile().await;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "collection"), ["000102 Store 000102"], "{plan}");
    assert_eq!(about(&plan, Action::Delete, "collection"), ["000201 Store 000201"], "{plan}");
    assert_eq!(about(&plan, Action::Delete, "connection"), ["store:mesa/000201"], "{plan}");
    assert!(about(&plan, Action::Revoke, "collection permission").contains(&"region:harbor/North"), "{plan}");
    world.settle().await;
    assert_eq!(world.audit().await.leaks, []);
}

#[tokio::test]
async fn a_stale_plan_is_refused_and_so_is_a_second_writer() {
    let mut world = World::start().await;
    let plan = world.plan().await;
    world.chain.import(&PEOPLE[1..]).await.unwrap();
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    assert!(matches!(error, Error::Stale), "{}", told(&error));
    // A plan is of what the files said: another text of a question is another plan.
    let files = tempfile::tempdir().unwrap();
    copy(&definitions().join("metabase"), &files.path().join("metabase"));
    world.definitions = files.path().to_owned();
    let plan = world.plan().await;
    let file = files.path().join("metabase/questions/overtime.sql");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("description = \"", "description = \"Now: ", 1)).unwrap();
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    assert!(matches!(error, Error::Stale), "{}", told(&error));
    let plan = world.plan().await;
    let context = world.context();
    let (first, second) = tokio::join!(metabase::apply(&context, &plan), metabase::apply(&context, &plan));
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
    assert!(world.plan().await.is_empty());
}

/// Breaks an apply at many places, by a refusal or by losing the answer of a
/// call that was carried out, and goes on from there.
#[tokio::test]
async fn a_broken_apply_is_taken_up_where_it_ended() {
    let paths = [
        ("POST", "/api/database"),
        ("POST", "/api/permissions/group"),
        ("POST", "/api/collection"),
        ("POST", "/api/card"),
        ("POST", "/api/dashboard"),
        ("PUT", "/api/dashboard"),
        ("PUT", "/api/collection/graph"),
        ("PUT", "/api/permissions/graph"),
        ("POST", "/api/user"),
        ("PUT", "/api/user"),
    ];
    let world = World::start().await;
    for (method, path) in paths {
        for failure in [Failure::Status(400, "no".to_owned()), Failure::LoseAnswer] {
            let plan = world.plan().await;
            world.metabase.fail_next(Fault::new(method, path, failure.clone()).times(40));
            let outcome = metabase::apply(&world.context(), &plan).await;
            // What is left of the failure must not spoil the next plan.
            let client = reqwest::Client::new();
            let url = format!("{}{path}", world.metabase.base_url);
            let spoiled = async || {
                let answer = client.request(method.parse().unwrap(), &url).send().await;
                !answer.is_ok_and(|answer| answer.status() == 401)
            };
            while spoiled().await {}
            assert!(outcome.is_err(), "{method} {path} {failure:?}");
            assert!(open_to_strangers(&world).is_empty(), "{method} {path}: {:?}", open_to_strangers(&world));
        }
    }
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
    let snapshot = world.metabase.snapshot();
    assert_eq!(
        snapshot["dashboards"].as_object().unwrap().values().filter(|board| board["archived"] == false).count(),
        33
    );
}

/// Databases of ours on which somebody may ask who was not granted it.
fn open_to_strangers(world: &World) -> Vec<String> {
    let snapshot = world.metabase.snapshot();
    let mut open = Vec::new();
    for (group, databases) in snapshot["data_permissions"].as_object().expect("rights") {
        let name = snapshot["groups"][group]["name"].as_str().unwrap_or_default();
        for (database, rights) in databases.as_object().expect("rights") {
            let of = snapshot["databases"][database]["name"].as_str().unwrap_or_default();
            let analyst = name.ends_with("(analysts)") && name.starts_with(of);
            if of.contains(':') && group != "2" && !analyst && rights["create_queries"] != "no" {
                open.push(format!("{name} on {of}"));
            }
        }
    }
    open
}

#[tokio::test]
async fn a_mistake_in_a_question_is_found_without_metabase() {
    let folder = tempfile::tempdir().unwrap();
    copy(&definitions().join("metabase"), &folder.path().join("metabase"));
    let file = folder.path().join("metabase/questions/overtime.sql");
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong = text.replace("WHERE {{ in_scope(\"h\") }}\n  AND", "WHERE").replace("WHERE {{ in_scope(\"x\") }}", "");
    std::fs::write(&file, wrong).unwrap();
    let board = folder.path().join("metabase/dashboards/region.toml");
    let text = std::fs::read_to_string(&board).unwrap();
    let content = metabase::read(folder.path()).unwrap();
    insta::assert_snapshot!(metabase::check(&content)[0].to_string(), @r#"metabase/questions/overtime.sql:21: `as_of` (`x`) is read without its scope: add WHERE {{ in_scope("x") }}; `clock_in_out` (`h`) is read without its scope: add WHERE {{ in_scope("h") }}"#);
    std::fs::write(&board, text.replace("\"outliers\"", "\"outlier\"").replace("full tall", "full huge")).unwrap();
    let problems = metabase::read(folder.path()).unwrap_err();
    insta::assert_snapshot!(problems[0].to_string(), @"metabase/dashboards/region.toml:18: `full huge` is no size: write a width (full, two_thirds, half, third, quarter) and a height (line, small, medium, tall)");
    std::fs::write(&board, text.replace("\"outliers\"", "\"outlier\"")).unwrap();
    let problems = metabase::read(folder.path()).unwrap_err();
    insta::assert_snapshot!(problems[0].to_string(), @"metabase/dashboards/region.toml:21: unknown question `outlier`; did you mean `outliers`?");
}

#[test]
fn the_shipped_content_has_no_mistakes() {
    let content = metabase::read(definitions()).unwrap();
    assert_eq!(metabase::check(&content), []);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Run by hand for its numbers: `cargo test --test it -- --ignored forty_five --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute; prints how long each part takes"]
async fn forty_five_stores_are_planned_applied_and_proven_in_time() {
    let world = World::with(Chain::large().await, Options::default()).await;
    let clock = std::time::Instant::now;
    let start = clock();
    let plan = world.plan().await;
    let planned = start.elapsed();
    let start = clock();
    let applied = metabase::apply(&world.context(), &plan).await.unwrap();
    let applied_in = start.elapsed();
    world.metabase.clear_requests();
    let start = clock();
    let left = world.plan().await;
    let again = start.elapsed();
    let calls = world.metabase.requests().len();
    assert!(left.is_empty(), "{left}");
    let start = clock();
    let audit = world.audit().await;
    println!(
        "plan {planned:.1?}, apply {} steps {applied_in:.1?}, plan again {again:.1?} in {calls} calls, audit {:.1?}\n{audit}",
        applied.steps_done,
        start.elapsed()
    );
    assert!(audit.leaks.is_empty() && audit.failures.is_empty());
}
