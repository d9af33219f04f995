//! What hands changed in an instance, and what there is not ours.

use super::*;

/// One thing that somebody does wrong, and what the audit must say of it.
#[tokio::test]
async fn a_planted_leak_is_found_and_mended() {
    let world = World::start().await;
    world.settle().await;
    let store = world.id("groups", "name", "store:harbor/000101");
    let other = world.collection("000102");
    let connection = world.id("databases", "name", "store:harbor/000102");
    let ana = world.id("users", "email", "ana@example.com");
    let north = world.id("groups", "name", "region:harbor/North");
    let own = world.collection("000101");
    let plant: &[(&str, &dyn Fn())] = &[
        ("another store's collection", &|| world.metabase.grant_collection(store, other, "read")),
        ("everybody in a collection", &|| world.metabase.grant_collection(1, own, "read")),
        ("everybody at the top", &|| world.metabase.grant_collection(1, None, "read")),
        ("write where read was granted", &|| world.metabase.grant_collection(store, own, "write")),
        ("SQL on another store's connection", &|| {
            world.metabase.grant_data(store, connection, "query-builder-and-native");
        }),
        ("SQL for everybody", &|| world.metabase.grant_data(1, connection, "query-builder")),
        ("a person in another group", &|| world.metabase.add_member(ana, north)),
    ];
    for (name, leak) in plant {
        leak();
        let audit = world.audit().await;
        assert!(!audit.leaks.is_empty(), "{name}: {audit}");
        let plan = world.plan().await;
        assert!(plan.steps.iter().all(|step| step.action == Action::Revoke), "{name}: {plan}");
        world.settle().await;
        assert_eq!(world.audit().await.leaks, [], "{name}");
    }
}

#[tokio::test]
async fn a_question_that_was_rewritten_or_moved_is_found_and_put_back() {
    let world = World::start().await;
    world.settle().await;
    let card = world.card("000101", "Week so far");
    world.metabase.advance_clock(60);
    world.metabase.set_card_sql(card, "SELECT store_id, 1 FROM mart_harbor.sales_by_day");
    let audit = world.audit().await;
    assert!(audit.leaks.iter().any(|leak| leak.how.contains("literal")), "{audit}");
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Update, "question"), ["Week so far"], "{plan}");
    assert!(plan.to_string().contains("edited by hand"), "{plan}");
    assert_eq!(world.settle().await, 1);
    world.metabase.set_card_collection(card, world.collection("000102"));
    let audit = world.audit().await;
    assert!(audit.leaks.iter().any(|leak| leak.who == "store:harbor/000102"), "{audit}");
    assert_eq!(world.settle().await, 1);
    assert_eq!(world.audit().await.leaks, []);
}

#[tokio::test]
async fn a_public_link_is_a_leak() {
    let world = World::start().await;
    world.settle().await;
    let card = world.card("000101", "Week so far");
    world.click("PUT", "setting/enable-public-sharing", json!({"value": true})).await;
    world.click("POST", &format!("card/{card}/public_link"), json!({})).await;
    let audit = world.audit().await;
    assert!(audit.leaks.iter().any(|leak| leak.who == "anybody"), "{audit}");
    assert_eq!(world.settle().await, 1);
}

#[tokio::test]
async fn what_is_not_ours_is_reported_and_left_alone() {
    let world = World::start().await;
    let strangers = {
        // There before us, with rights on the top, and with one of our people.
        world.plan().await;
        let group = world.click("POST", "permissions/group", json!({"name": "Board"})).await["id"].clone();
        let user = json!({"email": "zoe@example.com", "user_group_memberships": [{"id": 1}, {"id": group}]});
        world.click("POST", "user", user).await;
        world.click("POST", "user", json!({"email": "ana@example.com", "first_name": "Anna"})).await;
        world.metabase.grant_collection(group.as_i64().unwrap(), None, "write");
        world.click("POST", "collection", json!({"name": "Board only"})).await;
        group.as_i64().unwrap()
    };
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Adopt, "person"), ["ana@example.com"], "{plan}");
    world.settle().await;
    let audit = world.audit().await;
    assert_eq!(audit.leaks, [], "the board keeps the top and its own collection, and gets none of ours");
    let snapshot = world.metabase.snapshot();
    let board = snapshot["collection_permissions"][strangers.to_string()].as_object().unwrap();
    let theirs = world.id("collections", "name", "Board only").to_string();
    let mut kept: Vec<&String> = board.keys().collect();
    kept.sort();
    assert_eq!(kept, [&theirs, "root"], "{board:?}");
    assert_eq!(world.find("users", "email", "ana@example.com")["first_name"], "Ana");
    assert!(world.find("users", "email", "zoe@example.com")["active"].as_bool().unwrap());
    assert!(world.plan().await.notes.iter().any(|note| note.contains("1 active account is not ours")));
}

#[tokio::test]
async fn edits_by_hand_are_drift_and_are_put_back() {
    let world = World::start().await;
    world.settle().await;
    world.metabase.advance_clock(60);
    let card = world.card("000101", "Overtime this week");
    let dashboard = {
        let collection = world.collection("000102");
        let snapshot = world.metabase.snapshot();
        let boards = snapshot["dashboards"].as_object().unwrap();
        boards.values().find(|board| board["collection_id"] == collection).unwrap()["id"].as_i64().unwrap()
    };
    world.click("PUT", &format!("card/{card}"), json!({"name": "Mine", "display": "bar"})).await;
    let text = json!({"virtual_card": {"name": null, "display": "text", "visualization_settings": {}, "dataset_query": {}, "archived": false}, "text": "hi"});
    let cards = json!([{"id": -1, "card_id": null, "row": 0, "col": 0, "size_x": 4, "size_y": 4, "visualization_settings": text}]);
    world.click("PUT", &format!("dashboard/{dashboard}"), json!({"dashcards": cards, "tabs": []})).await;
    let gone = world.card("000126", "Week so far");
    world.click("DELETE", &format!("card/{gone}"), json!({})).await;
    let archived = world.collection("000201");
    world.click("PUT", &format!("collection/{archived}"), json!({"archived": true})).await;
    let plan = world.plan().await;
    assert!(about(&plan, Action::Update, "question").contains(&"Overtime this week"), "{plan}");
    assert_eq!(about(&plan, Action::Create, "question"), ["Week so far"], "{plan}");
    assert!(about(&plan, Action::Update, "collection").contains(&"000201 Store 000201"), "{plan}");
    assert!(about(&plan, Action::Update, "dashboard").len() >= 2, "{plan}");
    world.settle().await;
    let audit = world.audit().await;
    assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{audit}");
}

/// Of the same name, and there before ours: whatever becomes of an apply, it stays theirs.
#[tokio::test]
async fn what_has_the_name_of_ours_is_not_ours() {
    let world = World::start().await;
    world.plan().await;
    let collection = world.click("POST", "collection", json!({"name": "Chain"})).await["id"].clone();
    let name = {
        let plan = world.plan().await;
        about(&plan, Action::Create, "collection")[0].to_owned()
    };
    world.click("PUT", &format!("collection/{collection}"), json!({"name": name, "archived": false})).await;
    world.metabase.grant_collection(1, collection.as_i64(), "read");
    // Ours is being made, and is not.
    let plan = world.plan().await;
    let note = format!("the collection `{name}` beside ours is not ours: it stays as it is");
    assert!(plan.notes.contains(&note), "{plan}");
    let refused = Failure::Status(400, "no".to_owned());
    world.metabase.fail_next(Fault::new("POST", "/api/collection", refused.clone()));
    metabase::apply(&world.context(), &plan).await.unwrap_err();
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Create, "collection")[0], name, "{plan}");
    world.settle().await;
    let theirs = &world.metabase.snapshot()["collections"][collection.to_string()];
    assert_eq!((&theirs["location"], &theirs["archived"]), (&json!("/"), &json!(false)), "{theirs}");
    // A group: Metabase takes no second of the name.
    world.chain.import(&[PEOPLE, &["gil@example.com,Gil,Hart,en,store:mesa/000201,analyst"]].concat()).await.unwrap();
    let group = world.click("POST", "permissions/group", json!({"name": "STORE:mesa/000201 (analysts)"})).await;
    let error = metabase::plan(&world.context()).await.unwrap_err();
    insta::assert_snapshot!(format!("{}\nhint: {}", told(&error), error.hint().unwrap()), @r"
    the plan is refused: Metabase has groups that are not ours under the names of ours: store:mesa/000201 (analysts)
    hint: names of groups are unique in Metabase: rename those groups there, or delete them where nobody needs them
    ");
    let group = format!("permissions/group/{}", group["id"]);
    world.click("PUT", &group, json!({"name": "Board"})).await;
    let plan = world.plan().await;
    world.metabase.fail_next(Fault::new("POST", "/api/permissions/group", refused));
    metabase::apply(&world.context(), &plan).await.unwrap_err();
    world.click("PUT", &group, json!({"name": "store:mesa/000201 (analysts)"})).await;
    assert!(metabase::plan(&world.context()).await.is_err(), "it was there before ours was being made");
    world.click("PUT", &group, json!({"name": "Board"})).await;
    world.settle().await;
}
