//! Who joins, moves and leaves, and how the tool itself signs in.

use super::*;

#[tokio::test]
async fn people_come_move_leave_and_return() {
    let world = World::start().await;
    world.settle().await;
    let moved = [
        "ana@example.com,Ana,Lima,pt-BR,store:harbor/000102,viewer",
        "cy@example.com,Cyra,Dee,de,region:harbor/North,viewer",
        "dora@example.com,Dora,Eck,,brand:harbor,viewer",
        "eve@example.com,Eve,Fox,en,chain,viewer",
        "finn@example.com,Finn,Gray,en,store:harbor/000126,analyst",
        "gus@example.com,Gus,Hill,en,store:mesa/000201,viewer",
    ];
    world.chain.import(&moved).await.unwrap();
    // Whoever leaves takes no administrator's rights along.
    let bo = world.find("users", "email", "bo@example.com");
    world.click("PUT", &format!("user/{}", bo["id"]), json!({"is_superuser": true})).await;
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Revoke, "administrator"), ["bo@example.com"], "{plan}");
    assert_eq!(about(&plan, Action::Deactivate, "person"), ["bo@example.com"], "{plan}");
    assert_eq!(about(&plan, Action::Create, "person"), ["gus@example.com"], "{plan}");
    assert_eq!(about(&plan, Action::Update, "person"), ["cy@example.com"], "{plan}");
    let revoked = about(&plan, Action::Revoke, "membership");
    assert!(revoked.contains(&"ana@example.com") && revoked.contains(&"bo@example.com"), "{plan}");
    world.settle().await;
    assert_eq!(world.audit().await.leaks, []);
    let bo = world.find("users", "email", "bo@example.com");
    assert_eq!(bo["active"], false);
    let memberships = world.metabase.snapshot()["memberships"].clone();
    let member = |one: &&Value| one["user_id"] == bo["id"] && one["group_id"] == 2;
    assert_eq!(memberships.as_object().unwrap().values().find(member), None);
    // Back again: the same account.
    let back: Vec<&str> = moved.iter().copied().chain(["bo@example.com,Bo,Berg,en,store:mesa/000125,viewer"]).collect();
    world.chain.import(&back).await.unwrap();
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Reactivate, "person"), ["bo@example.com"], "{plan}");
    world.settle().await;
    assert_eq!(world.find("users", "email", "bo@example.com")["id"], bo["id"]);
    assert_eq!(world.audit().await.leaks, []);
}

#[tokio::test]
async fn a_plan_that_shuts_too_many_accounts_is_refused() {
    let world = World::start().await;
    world.settle().await;
    world.chain.import(&PEOPLE[..1]).await.unwrap();
    let error = metabase::plan(&world.context()).await.unwrap_err();
    insta::assert_snapshot!(told(&error), @"the plan is refused: 5 of 6 active people would be deactivated; `metabase.deactivation_limit` allows 3");
    // They still have their groups, and the audit says so.
    assert!(!world.audit().await.leaks.is_empty());
}

#[tokio::test]
async fn no_account_is_made_while_metabase_would_mail_it() {
    let world = World::start().await;
    world.plan().await;
    world.click("PUT", "setting/email-smtp-host", json!({"value": "mail.example.com"})).await;
    let error = metabase::plan(&world.context()).await.unwrap_err();
    assert!(told(&error).contains("mail server set"), "{}", told(&error));
}

#[tokio::test]
async fn a_refused_sign_in_is_tried_once_an_hour() {
    let mut world = World::start().await;
    world.plan().await;
    std::fs::remove_dir_all(world.chain.installation.data_dir.join("secrets")).unwrap();
    world.chain.reconcile().await;
    // A server that is ill says nothing of the password: nobody waits for that.
    for status in [500, 503] {
        world
            .metabase
            .fail_next(Fault::new("POST", "/api/session", Failure::Status(status, "ill".to_owned())).times(3));
        let error = metabase::plan(&world.context()).await.unwrap_err();
        assert!(!told(&error).contains("refused the sign-in"), "{}", told(&error));
        world.metabase.clear_failures();
        world.plan().await;
        std::fs::remove_dir_all(world.chain.installation.data_dir.join("secrets")).unwrap();
        world.chain.reconcile().await;
    }
    world.settings.admin_password = SecretString::from("wrong-horse-9");
    world.metabase.clear_requests();
    for _ in 0..3 {
        assert!(metabase::plan(&world.context()).await.is_err());
    }
    let logins = world.metabase.requests().iter().filter(|call| call.path == "/api/session").count();
    assert_eq!(logins, 1);
    world.settings.admin_password = SecretString::from("correct-horse-9");
    world.plan().await;
}
