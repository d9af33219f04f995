//! Where the token has paid permissions: groups are shut out of the data of others' connections.

use sandbox::metabase::Options;
use serde_json::{Value, json};
use storekeeper::metabase::{self, Action};
use storekeeper::settings::Isolation;

use super::{World, about, told};
use crate::support::chain::Chain;

fn paid(version: &str) -> Options {
    let features = ["advanced_permissions".to_owned()].into();
    Options { version: version.to_owned(), features, ..Options::default() }
}

/// What the group of store 000101 gets from a question.
async fn run(world: &World, card: i64) -> Value {
    let (status, answer) =
        world.as_group("store:harbor/000101", "POST", &format!("card/{card}/query"), json!({})).await;
    assert_eq!(status, 202, "{answer}");
    answer["status"].clone()
}

#[tokio::test]
async fn a_question_in_the_wrong_collection_runs_only_where_nobody_is_shut_out() {
    for version in ["v1.54.2", "v1.61.2"] {
        for isolation in [Isolation::Collections, Isolation::Blocked] {
            let mut world = World::with(Chain::small().await, paid(version)).await;
            world.settings.isolation = isolation;
            world.settle().await;
            let audit = world.audit().await;
            assert!(audit.leaks.is_empty() && audit.failures.is_empty(), "{version}: {audit}");
            // Somebody moves a question of one store to another's collection.
            world.metabase.advance_clock(60);
            let own = world.card("000101", "Week so far");
            let moved = world.card("000102", "Week so far");
            world.metabase.set_card_collection(moved, world.collection("000101"));
            let shut = isolation == Isolation::Blocked;
            assert_eq!(run(&world, own).await, "completed", "{version}");
            assert_eq!(run(&world, moved).await, if shut { "failed" } else { "completed" }, "{version}");
            world.settle().await;
        }
    }
}

#[tokio::test]
async fn who_is_let_in_by_hand_is_shut_out_again_and_the_other_way_round() {
    let mut world = World::with(Chain::small().await, paid("v1.61.2")).await;
    world.settings.isolation = Isolation::Blocked;
    world.settle().await;
    let connection = world.id("databases", "name", "store:harbor/000102");
    let own = world.id("databases", "name", "store:harbor/000101");
    let group = world.id("groups", "name", "store:harbor/000101");
    world.metabase.grant_data(group, connection, "no");
    world.metabase.grant_data(1, connection, "no");
    let revision = world.click("GET", "permissions/graph/group/1", Value::Null).await["revision"].clone();
    let blocked = json!({"view-data": "blocked", "create-queries": "no"});
    let edit = json!({"revision": revision, "groups": {group.to_string(): {own.to_string(): blocked}}});
    world.click("PUT", "permissions/graph", edit).await;
    let plan = world.plan().await;
    insta::assert_snapshot!(plan, @r"
    - revoke data permission store:harbor/000101
          view data: unrestricted -> blocked
          connections: store:harbor/000102 -> store:harbor/000102
    - revoke data permission All Users
          view data: unrestricted -> blocked
          connections: store:harbor/000102 -> store:harbor/000102
    + grant data permission store:harbor/000101
          view data: blocked -> unrestricted
          connections: store:harbor/000101 -> store:harbor/000101
    3 steps
    ");
    world.settle().await;
    // A new group is shut out of all but its own within the same apply.
    world
        .chain
        .import(&[super::PEOPLE, &["gil@example.com,Gil,Hart,en,store:mesa/000201,analyst"]].concat())
        .await
        .unwrap();
    world.settle().await;
    // The wall taken down again: who needs a connection still has it.
    world.settings.isolation = Isolation::Collections;
    assert!(world.plan().await.is_empty());
}

#[tokio::test]
async fn without_the_feature_it_is_refused_and_nothing_is_sent() {
    let mut world = World::start().await;
    world.settle().await;
    world.settings.isolation = Isolation::Blocked;
    world.metabase.clear_requests();
    let error = metabase::plan(&world.context()).await.unwrap_err();
    insta::assert_snapshot!(format!("{}\nhint: {}", told(&error), error.hint().unwrap()), @r#"
    the plan is refused: `metabase.isolation = "blocked"` needs the feature `advanced_permissions`, which this Metabase's token does not have
    hint: write `isolation = "collections"`, which every edition has: PostgreSQL keeps the rows apart either way
    "#);
    assert!(world.metabase.requests().iter().all(|call| call.method == "GET"));
    world.settings.isolation = Isolation::Collections;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Revoke, "data permission"), [""; 0], "{plan}");
}

/// A database of others, which everybody may ask and nobody sees: both are theirs but the first.
#[tokio::test]
async fn who_may_no_longer_ask_sees_no_more_than_before() {
    let world = World::with(Chain::small().await, paid("v1.61.2")).await;
    world.settle().await;
    let ours = world.find("databases", "name", "store:harbor/000102");
    let details = ours["details"].clone();
    let theirs = json!({"name": "Theirs", "engine": "postgres", "details": details});
    let theirs = world.click("POST", "database", theirs).await["id"].clone();
    for (database, queries) in [(&theirs, "query-builder"), (&ours["id"], "query-builder")] {
        let revision = world.click("GET", "permissions/graph/group/1", Value::Null).await["revision"].clone();
        let rights = json!({"view-data": "blocked", "create-queries": queries});
        let edit = json!({"revision": revision, "groups": {"1": {database.to_string(): rights}}});
        world.click("PUT", "permissions/graph", edit).await;
    }
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Revoke, "data permission"), ["All Users"; 2], "{plan}");
    world.settle().await;
    for database in [&theirs, &ours["id"]] {
        let rights = &world.metabase.snapshot()["data_permissions"]["1"][database.to_string()];
        assert_eq!((&rights["view_data"], &rights["create_queries"]), (&json!("blocked"), &json!("no")));
    }
}
