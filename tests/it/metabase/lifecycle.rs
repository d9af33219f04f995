//! An instance over time: whose it is, a part of a plan, keys, edits taken over, invitations, the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use sandbox::metabase::{Failure, Fault, Options};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use storekeeper::access;
use storekeeper::metabase::{self, Action, Error, Exported, Part, Plan, Selection};
use tokio::sync::Notify;

use super::{World, about, copy, told};
use crate::support::chain::{Chain, definitions, now};

impl World {
    async fn part(&self, scope: Option<&str>, only: Option<Part>) -> Plan {
        let selection = Selection { scope: scope.map(|scope| scope.parse().expect("a scope")), only };
        let plan = metabase::plan_part(&self.context(), &selection).await;
        plan.unwrap_or_else(|error| panic!("plan: {}", told(&error)))
    }

    fn key_file(&self) -> String {
        let folder = self.chain.installation.data_dir.join("secrets");
        let files = std::fs::read_dir(folder).expect("the secrets").flatten().map(|file| file.path());
        let key = files
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "key") && !path.ends_with("master.key"));
        std::fs::read_to_string(key.expect("the kept key")).expect("the kept key")
    }
}

fn kinds(plan: &Plan) -> BTreeSet<&'static str> {
    plan.steps.iter().map(|step| step.kind).collect()
}

#[tokio::test]
async fn an_instance_in_use_is_changed_only_when_somebody_said_so() {
    let world = World::start().await;
    // Set up and used by others.
    let token = reqwest::get(format!("{}/api/session/properties", world.metabase.base_url)).await.unwrap();
    let token: Value = token.json().await.unwrap();
    let setup = json!({
        "token": token["setup-token"],
        "user": {"email": "keeper@example.com", "password": "correct-horse-9", "first_name": "Kim", "last_name": "Lee"},
        "prefs": {"site_name": "Theirs", "site_locale": "en"},
    });
    let answer =
        reqwest::Client::new().post(format!("{}/api/setup", world.metabase.base_url)).json(&setup).send().await;
    assert!(answer.unwrap().status().is_success());
    let plan = world.plan().await;
    assert!(plan.to_string().contains("apply --own"), "{plan}");
    world.metabase.clear_requests();
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    insta::assert_snapshot!(told(&error), @"the plan is refused: this Metabase is in use and was not ours so far");
    assert!(world.metabase.requests().iter().all(|call| call.method == "GET"), "nothing was written");
    metabase::own(&world.context()).await.unwrap();
    world.settle().await;
}

#[tokio::test]
async fn a_part_of_a_plan_is_applied_and_the_rest_is_still_there() {
    let world = World::start().await;
    let whole = world.plan().await.steps.len();
    // On an empty instance people wait for their groups, and rights for their collections. What
    // shuts the instance is part of everything: new collections copy the rights on the top.
    let lock = ["collection permission", "data permission", "setting"];
    let people = world.part(None, Some(Part::People)).await;
    assert_eq!(kinds(&people).into_iter().collect::<Vec<_>>(), lock, "{people}");
    assert!(people.to_string().contains("wait for others"), "{people}");
    let brand = world.part(Some("brand:mesa"), None).await;
    assert!(about(&brand, Action::Revoke, "collection permission").contains(&"All Users"), "{brand}");
    for (only, expected) in [
        (Part::Content, &["collection", lock[0], lock[1], lock[2]][..]),
        (
            Part::Access,
            &[
                "collection permission",
                "connection",
                "data permission",
                "group",
                "sample collection",
                "sample database",
                "setting",
            ],
        ),
        (Part::Content, &["dashboard", "pin", "question"]),
        (Part::People, &["person"]),
    ] {
        let plan = world.part(None, Some(only)).await;
        assert_eq!(kinds(&plan).into_iter().collect::<Vec<_>>(), expected, "{plan}");
        metabase::apply(&world.context(), &plan).await.unwrap_or_else(|error| panic!("{only:?}: {}", told(&error)));
    }
    assert!(world.plan().await.is_empty());
    assert!(whole > 50, "{whole}");
    let audit = world.audit().await;
    assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
    // Two stores are edited; one is put back, the other is drift as before.
    world.metabase.advance_clock(60);
    for store in ["000101", "000126"] {
        let card = world.card(store, "Week so far");
        world.click("PUT", &format!("card/{card}"), json!({"name": format!("Mine {store}")})).await;
    }
    let plan = world.part(Some("region:harbor/North"), None).await;
    assert_eq!(about(&plan, Action::Update, "question"), ["Week so far"], "{plan}");
    metabase::apply(&world.context(), &plan).await.unwrap();
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "question"), ["Week so far"], "{plan}");
    assert_eq!(plan.steps[0].scope, "store:harbor/000126");
    assert!(
        plan.to_string().contains("edited by hand: ") && plan.to_string().contains("by keeper@example.com"),
        "{plan}"
    );
}

#[tokio::test]
async fn an_edit_during_an_apply_is_drift_after_it() {
    let world = World::start().await;
    world.settle().await;
    world.metabase.advance_clock(60);
    let (ours, board) = (world.card("000101", "Week so far"), world.id("dashboards", "name", "Store morning"));
    world.click("PUT", &format!("card/{ours}"), json!({"name": "Mine"})).await;
    world.click("PUT", &format!("dashboard/{board}"), json!({"name": "Mine"})).await;
    let plan = world.plan().await;
    assert_eq!(plan.steps.len(), 2, "{plan}");
    world.metabase.advance_clock(60);
    // The question is put back first; the dashboard waits until somebody has edited another question.
    let late = Failure::Slow(std::time::Duration::from_secs(2));
    world.metabase.fail_next(Fault::new("PUT", "/api/dashboard", late));
    let changed = Arc::new(Notify::new());
    let tell = Arc::clone(&changed);
    world.metabase.watch(move |_| tell.notify_one());
    let context = world.context();
    let edit = async {
        changed.notified().await;
        let card = world.card("000126", "Week so far");
        world.click("PUT", &format!("card/{card}"), json!({"visualization_settings": {}})).await;
    };
    let (applied, ()) = tokio::join!(metabase::apply(&context, &plan), edit);
    applied.unwrap_or_else(|error| panic!("{}", told(&error)));
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "question"), ["Week so far"], "{plan}");
    assert_eq!((plan.steps.len(), plan.steps[0].scope.as_str()), (1, "store:harbor/000126"), "{plan}");
    world.settle().await;
}

#[tokio::test]
async fn a_variable_that_got_a_default_is_drift() {
    let world = World::start().await;
    world.settle().await;
    world.metabase.advance_clock(60);
    let snapshot = world.metabase.snapshot();
    let takes_a_store = |card: &&Value| card["query"].to_string().contains("{{store}}");
    let card = snapshot["cards"].as_object().unwrap().values().find(takes_a_store).expect("a question with a variable");
    let path = format!("card/{}", card["id"]);
    let whole = world.click("GET", &format!("{path}?legacy-mbql=true"), Value::Null).await;
    let mut query = whole["dataset_query"].clone();
    query["native"]["template-tags"]["store"]["default"] = "000102".into();
    world.click("PUT", &path, json!({"dataset_query": query})).await;
    let plan = world.plan().await;
    assert_eq!(plan.steps.len(), 1, "{plan}");
    let fields: Vec<&str> = plan.steps[0].changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["variables", "last edited"], "{plan}");
    world.settle().await;
}

#[tokio::test]
async fn the_key_is_renewed_and_only_the_new_one_works() {
    let world = World::start().await;
    world.settle().await;
    let old = world.key_file();
    let theirs = world.click("POST", "api-key", json!({"name": "theirs", "group_id": 2})).await;
    metabase::rotate_key(&world.context()).await.unwrap();
    let new = world.key_file();
    assert_ne!(old, new);
    let status = async |key: &str| {
        let request = reqwest::Client::new().get(format!("{}/api/user/current", world.metabase.base_url));
        request.header("x-api-key", key.trim()).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    assert_eq!(status(theirs["unmasked_key"].as_str().unwrap()).await, 200, "a key that is not ours stays");
    world.metabase.clear_requests();
    assert!(world.plan().await.is_empty());
    assert!(world.metabase.requests().iter().all(|call| call.path != "/api/session"), "no sign-in");
}

#[tokio::test]
async fn everything_of_ours_is_taken_out_and_nothing_else() {
    let world = World::start().await;
    world.plan().await;
    // There before us: a colleague of ours with an account, and a stranger.
    for email in ["ana@example.com", "zoe@example.com"] {
        world.click("POST", "user", json!({"email": email, "first_name": "X"})).await;
    }
    world.settle().await;
    let theirs = world.click("POST", "collection", json!({"name": "Board only"})).await["id"].clone();
    let inside = world.collection("000126");
    world.click("POST", "collection", json!({"name": "Theirs", "parent_id": inside})).await;
    let plan = metabase::destruction(&world.context()).await.unwrap();
    assert!(plan.steps.iter().all(|step| matches!(step.action, Action::Delete | Action::Deactivate)), "{plan}");
    assert!(plan.to_string().contains("holds 1 object that is not ours"), "{plan}");
    metabase::destroy(&world.context(), &plan).await.unwrap();
    let snapshot = world.metabase.snapshot();
    let alive = |kind: &str| {
        let all = snapshot[kind].as_object().unwrap().values();
        let kept = all.filter(|one| one["archived"] != true && one["personal_owner_id"].is_null());
        kept.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let ours = |name: &String| name.contains(':') || name == "chain";
    assert!(!alive("groups").iter().any(ours) && !alive("databases").iter().any(ours));
    assert!(alive("dashboards").is_empty() && alive("cards").is_empty(), "{:?}", alive("cards"));
    let left = alive("collections");
    assert!(left.contains("Board only") && left.contains("Theirs") && left.contains("000126 Store 000126"), "{left:?}");
    assert!(!left.contains("000101 Store 000101"), "{left:?}");
    assert!(theirs.is_i64());
    for (email, active) in [("ana@example.com", true), ("zoe@example.com", true), ("bo@example.com", false)] {
        assert_eq!(world.find("users", "email", email)["active"], active, "{email}");
    }
    assert_eq!(snapshot["api_keys"].as_object().unwrap().len(), 0);
    // Gone for us, too: from here on it is somebody else's instance.
    let plan = world.plan().await;
    assert!(metabase::apply(&world.context(), &plan).await.is_err());
}

#[tokio::test]
async fn what_was_made_in_the_browser_becomes_a_file_that_says_the_same() {
    for version in ["v0.54.2", "v0.61.2"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let mut world = World::with(Chain::small().await, options).await;
        let files = tempfile::tempdir().unwrap();
        copy(&definitions().join("metabase"), &files.path().join("metabase"));
        world.definitions = files.path().to_owned();
        world.settle().await;
        world.metabase.advance_clock(60);
        // A question that an administrator made for one store.
        let database = world.id("databases", "name", "store:harbor/000101");
        let sql = "SELECT s.business_date AS \"Day\", s.net_sales AS \"Sales\", s.store_id\nFROM mart_harbor.sales_by_day AS s\nWHERE s.store_id = '000101'\nORDER BY 1";
        let made = json!({
            "name": "Every day", "description": "All days.", "display": "line", "collection_id": world.collection("000101"),
            "dataset_query": {"type": "native", "database": database, "native": {"query": sql}},
            "visualization_settings": {
                "graph.dimensions": ["Day"], "graph.metrics": ["Sales"], "graph.show_values": true,
                "column_settings": {"[\"name\",\"Sales\"]": {"number_style": "currency", "currency": "USD", "currency_in_header": false, "decimals": 0}},
            },
        });
        let id = world.click("POST", "card", made).await["id"].as_i64().unwrap();
        let exported = metabase::export(&world.context(), Exported::Question, id, "every_day").await.unwrap();
        assert_eq!(exported.files.len(), 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(exported.files[0].text, @r#"
            -- ---
            -- description = "All days."
            -- display = "line"
            -- title = "Every day"
            -- x = ["Day"]
            -- y = ["Sales"]
            --
            -- [formats]
            -- Sales = "money"
            --
            -- [settings]
            -- "graph.show_values" = true
            -- ---
            SELECT s.business_date AS "Day", s.net_sales AS "Sales", s.store_id
            FROM {{ schema }}.sales_by_day AS s
            WHERE {{ in_scope("s") }}
            ORDER BY 1
            "#);
        }
        exported.write(files.path()).unwrap();
        assert_eq!(metabase::check(&metabase::read(files.path()).unwrap()), []);
        // One of ours, edited in the browser: taken over, for every store.
        let card = world.card("000102", "Average ticket, last 14 days");
        let whole = world.click("GET", &format!("card/{card}?legacy-mbql=true"), Value::Null).await;
        let mut query = whole["dataset_query"].clone();
        let text = query["native"]["query"].as_str().unwrap().replace("- 14", "- 21");
        query["native"]["query"] = text.into();
        let edit = json!({"dataset_query": query, "name": "Average ticket, three weeks"});
        world.click("PUT", &format!("card/{card}"), edit).await;
        let adopted = metabase::adopt(&world.context(), files.path()).await.unwrap();
        assert_eq!(
            (adopted.written.as_slice(), adopted.refused.as_slice()),
            (&["metabase/questions/average_ticket.sql".to_owned()][..], &[][..]),
            "{adopted}"
        );
        let plan = world.plan().await;
        // The edited one is what the file says now; the other five stores follow.
        assert_eq!(about(&plan, Action::Update, "question").len(), 5, "{plan}");
        world.settle().await;
        // Two stores that disagree: neither is taken.
        world.metabase.advance_clock(60);
        for store in ["000101", "000126"] {
            let card = world.card(store, "Overtime this week");
            world.click("PUT", &format!("card/{card}"), json!({"name": format!("Overtime {store}")})).await;
        }
        let adopted = metabase::adopt(&world.context(), files.path()).await.unwrap();
        assert!(adopted.written.is_empty() && adopted.refused.len() == 1, "{adopted}");
        // A dashboard made by hand, with a question of ours and one of theirs.
        let collection = world.collection("000101");
        let board =
            world.click("POST", "dashboard", json!({"name": "My page", "collection_id": collection})).await["id"]
                .as_i64()
                .unwrap();
        let own = world.card("000101", "Week so far");
        let places = json!([
            {"id": -1, "card_id": own, "row": 0, "col": 0, "size_x": 12, "size_y": 6},
            {"id": -2, "card_id": id, "row": 0, "col": 12, "size_x": 12, "size_y": 6},
        ]);
        world.click("PUT", &format!("dashboard/{board}"), json!({"dashcards": places, "tabs": []})).await;
        let exported = metabase::export(&world.context(), Exported::Dashboard, board, "my_page").await.unwrap();
        let names: Vec<&str> = exported.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["metabase/questions/every_day.sql", "metabase/dashboards/my_page.toml"]);
        exported.write(files.path()).unwrap();
        assert_eq!(metabase::check(&metabase::read(files.path()).unwrap()), []);
        let plan = world.part(None, Some(Part::Content)).await;
        assert_eq!(about(&plan, Action::Create, "dashboard"), ["My page"; 6], "{plan}");
        // The query of another scope cannot become a file: it would leak.
        let foreign = json!({"dataset_query": {"type": "native", "database": database, "native": {"query": "SELECT * FROM mart_harbor.stores"}}});
        world.click("PUT", &format!("card/{id}"), foreign).await;
        let error = metabase::export(&world.context(), Exported::Question, id, "every_day").await.unwrap_err();
        assert!(matches!(error, Error::Adopt(_)) && told(&error).contains("without its scope"), "{}", told(&error));
    }
}

#[tokio::test]
async fn people_are_invited_once_by_a_link_that_sets_their_password() {
    let world = World::start().await;
    world.settle().await;
    let context = world.context();
    let people = metabase::to_invite(&context, None).await.unwrap();
    assert_eq!(people.len(), 6);
    for person in &people {
        let link = metabase::invitation(&context, person).await.unwrap().expect("a link");
        assert!(link.expose_secret().starts_with("https://bi.example.com/auth/reset_password/"));
        let token = link.expose_secret().rsplit('/').next().unwrap().to_owned();
        let reset = json!({"token": token, "password": "fresh-horse-9"});
        let answer = reqwest::Client::new()
            .post(format!("{}/api/session/reset_password", world.metabase.base_url))
            .json(&reset)
            .send()
            .await;
        assert!(answer.unwrap().status().is_success());
    }
    assert!(world.metabase.mails().is_empty(), "Metabase itself mails nobody");
    assert!(metabase::to_invite(&context, None).await.unwrap().is_empty());
    // Asked for by name she gets another; what did not leave is asked for again.
    let again = metabase::to_invite(&context, Some("Ana@example.com")).await.unwrap();
    assert_eq!(again.len(), 1);
    metabase::uninvite(&context, &again[0]).await.unwrap();
    assert!(metabase::to_invite(&context, Some("zoe@example.com")).await.is_err());
}

#[tokio::test]
async fn an_older_release_without_a_mail_server_invites_nobody() {
    let options = Options { version: "v0.54.2".to_owned(), ..Options::default() };
    let world = World::with(Chain::small().await, options).await;
    world.settle().await;
    let context = world.context();
    let people = metabase::to_invite(&context, Some("ana@example.com")).await.unwrap();
    let error = metabase::invitation(&context, &people[0]).await.unwrap_err();
    assert!(matches!(error, Error::NoLink), "{}", told(&error));
    // It counts as not made: with a mail server it goes out.
    world.click("PUT", "setting/email-smtp-host", json!({"value": "mail.example.com"})).await;
    assert!(metabase::to_invite(&context, None).await.unwrap().iter().any(|person| person.email == "ana@example.com"));
    assert!(metabase::invitation(&context, &people[0]).await.unwrap().is_none());
    assert_eq!(world.metabase.mails().len(), 1);
}

#[tokio::test]
async fn a_new_address_keeps_the_account_and_an_owner_stays_in_her_scope() {
    let world = World::start().await;
    world.settle().await;
    let before = world.find("users", "email", "ana@example.com")["id"].clone();
    let warehouse = &world.chain.warehouse;
    access::change_address(warehouse, "ana@example.com", "Ana.Lima@example.com", now()).await.unwrap();
    assert!(access::change_address(warehouse, "bo@example.com", "ana.lima@example.com", now()).await.is_err());
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "person"), ["ana.lima@example.com"], "{plan}");
    assert_eq!(world.settle().await, 1);
    assert_eq!(world.find("users", "email", "ana.lima@example.com")["id"], before);
    // Dora owns the brand harbor.
    let tree = access::tree(warehouse, &world.chain.brands).await.unwrap();
    let give = async |who: &str, scope: &str| {
        access::grant_as(warehouse, &tree, who, "ida@example.com", scope, access::Level::Viewer, now()).await
    };
    assert!(give("dora@example.com", "store:harbor/000102").await.unwrap());
    let outside = give("dora@example.com", "store:mesa/000125").await.unwrap_err();
    insta::assert_snapshot!(outside, @"`store:mesa/000125` is outside of what this owner may give");
    assert!(give("dora@example.com", "chain").await.is_err());
    let none = give("finn@example.com", "store:harbor/000126").await.unwrap_err();
    insta::assert_snapshot!(none, @"the person in whose name this is done is owner of no scope");
    // Her list takes the place of what she gave, and of nothing else.
    let list = |lines: &[&str]| format!("email,first_name,last_name,language,scope,level\n{}\n", lines.join("\n"));
    let named = |text| access::List { text, name: "list.csv", may_be_empty: false };
    let wrong = list(&[
        "kai@example.com,Kai,,en,store:harbor/000101,viewer",
        "lu@example.com,Lu,,en,region:mesa/Desert,viewer",
    ]);
    assert!(access::import_as(warehouse, &tree, "dora@example.com", named(&wrong), now()).await.is_err());
    assert!(access::show(warehouse, "kai@example.com").await.is_err(), "nothing of a wrong list is taken");
    let right = list(&[
        "kai@example.com,Kai,,en,store:harbor/000101,viewer",
        "bo@example.com,Bob,Berg,de,region:harbor/North,viewer",
    ]);
    let imported = access::import_as(warehouse, &tree, "dora@example.com", named(&right), now()).await.unwrap();
    assert_eq!((imported.grants_added, imported.grants_removed, imported.people_left), (2, 1, 1), "{imported}");
    let bo = access::show(warehouse, "bo@example.com").await.unwrap();
    assert_eq!((bo.first_name.as_str(), bo.grants.len()), ("Bo", 3), "she keeps her name and her own grants");
    assert!(
        access::revoke_as(warehouse, &tree, "dora@example.com", "bo@example.com", "store:mesa/000125", now())
            .await
            .is_err()
    );
    access::revoke_as(warehouse, &tree, "dora@example.com", "bo@example.com", "region:harbor/North", now())
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(world.audit().await.leaks, []);
}

#[tokio::test]
async fn new_passwords_reach_the_connections() {
    let world = World::start().await;
    world.settle().await;
    let key = world.chain.installation.data_dir.join("secrets/master.key");
    std::fs::remove_file(key).unwrap();
    world.chain.reconcile().await;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "connection").len(), 1 + 2 + 3 + 6, "{plan}");
    assert_eq!(kinds(&plan).into_iter().collect::<Vec<_>>(), ["connection"], "{plan}");
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
}
