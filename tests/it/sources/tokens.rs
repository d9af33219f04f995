//! Signing in, and being asked to wait.

use sandbox::faults::{Outcome, Scenario, When};
use sandbox::graph::Paging;
use serde_json::json;
use storekeeper::http::{TokenError, Tokens};
use storekeeper::settings;
use storekeeper::sources::{Drive, Error};

use super::*;

#[tokio::test]
async fn everybody_waits_as_long_as_the_service_asks() {
    let world = World::start();
    world.put("a.csv", b"x");
    world.listed("*").await.unwrap();
    let faults = world.graph.faults();
    let throttled = Scenario::GraphThrottled(Some("0.25"));
    let rule = faults.script(CHILDREN, When::Next(1), throttled);
    let before = world.asked(CHILDREN);
    let started = std::time::Instant::now();
    let lists = (0..6).map(|_| world.listed("*"));
    for outcome in futures::future::join_all(lists).await {
        assert_eq!(outcome.unwrap().len(), 1);
    }
    assert!(started.elapsed().as_millis() >= 250);
    assert_eq!(faults.fired(rule), 1);
    assert_eq!(world.asked(CHILDREN) - before, 7);

    faults.script(CHILDREN, When::Next(1), Scenario::GraphUnavailable(Some("41")));
    let before = world.asked("GET *");
    for _ in 0..2 {
        let error = world.listed("*").await.unwrap_err();
        assert!(said(&error).contains("asked to wait 4"), "{error:?}");
        assert!(error.is_passing());
    }
    // Nor by another door to the same service.
    let microsoft = microsoft(&world.token, &world.graph, SECRET);
    let place = settings::Drive { site: None, id: Some("any".to_owned()), user: None };
    let other = Drive::new(&world.client, &world.tokens, &microsoft, &place).unwrap();
    assert!(other.resolve().await.unwrap_err().is_passing());
    assert_eq!(world.asked("GET *") - before, 1, "nothing is sent inside the wait");
}

#[tokio::test]
async fn a_token_that_dies_in_the_middle_is_replaced_once() {
    let world = World::start();
    ["a", "b", "c", "d"].iter().for_each(|name| world.put(name, b"x"));
    world.graph.set_paging(Paging { size: 1, quirk: None });
    world.listed("*").await.unwrap();
    // Our own clock knows nothing of this.
    world.clock.advance_seconds(3600);
    assert_eq!(world.listed("*").await.unwrap().len(), 4);
    assert_eq!(world.tokens_asked(), 2);

    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Every, Scenario::GraphTokenExpired);
    let before = world.asked(CHILDREN);
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::TokenRefused { .. }), "{error:?}");
    assert_eq!(world.asked(CHILDREN) - before, 2, "exactly one replay");
    assert_eq!(world.tokens_asked(), 3);
}

#[tokio::test]
async fn a_claims_challenge_is_answered_with_the_claims() {
    let world = World::start();
    world.put("a", b"x");
    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Next(1), Scenario::GraphClaimsChallenge);
    let before = world.token.faults();
    before.script(
        "POST *",
        When::Nth(2),
        Outcome::rewrite(|request, response| {
            let body = String::from_utf8_lossy(&request.body);
            if !body.contains("claims=%7B%22access_token%22") {
                response.status = 500;
            }
        }),
    );
    assert_eq!(world.listed("*").await.unwrap().len(), 1);
    assert_eq!(world.tokens_asked(), 2);
}

#[tokio::test]
async fn a_refusal_that_no_token_cures_gets_no_token() {
    let world = World::start();
    world.put("a", b"x");
    let faults = world.graph.faults();
    faults.script(CHILDREN, When::Next(2), Scenario::GraphRps);
    assert_eq!(world.listed("*").await.unwrap().len(), 1);
    let rule = faults.script(CHILDREN, When::Every, Scenario::GraphNoPermissions);
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::NoPermission { .. }), "{error:?}");
    faults.remove(rule);
    faults.script(CHILDREN, When::Every, Scenario::GraphAccessDenied);
    let error = world.listed("*").await.unwrap_err();
    let text = said(&error);
    assert!(text.find("Sites.Selected") < text.find("Files.Read.All"), "{text}");
    assert!(text.contains("Sites.Selected") && error.hint().is_some());
    assert_eq!(world.tokens_asked(), 1);
}

#[tokio::test]
async fn many_workers_wait_for_one_token_request() {
    let world = World::start();
    let faults = world.token.faults();
    faults.script("POST *", When::Nth(1), Scenario::TokenThrottled(Some("0.05")));
    faults.script("POST *", When::Nth(2), Scenario::TokenUnavailableHtml);
    let resource = world.graph.base_url.clone();
    let bearers = (0..8).map(|_| {
        let (tokens, resource) = (world.tokens.clone(), resource.clone());
        tokio::spawn(async move { tokens.bearer(&resource).await })
    });
    for outcome in futures::future::join_all(bearers).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(world.tokens_asked(), 3);

    // One that is down for good is asked for all of them, not by each.
    let other = "https://other.example.com";
    faults.script("POST *", When::Every, Scenario::TokenUnavailable);
    let bearers = (0..8).map(|_| world.tokens.bearer(other));
    for outcome in futures::future::join_all(bearers).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, TokenError::Unavailable { status: 503, .. }), "{error:?}");
    }
    assert_eq!(world.tokens_asked(), 3 + 4);
}

#[tokio::test]
async fn a_wrong_secret_is_said_once_and_never_shown() {
    let world = World::with_secret("wrong+secret");
    world.put("a", b"x");
    for _ in 0..3 {
        let error = world.listed("*").await.unwrap_err();
        let shown = format!("{} {error:?} {:?}", said(&error), error.hint());
        assert!(shown.contains("AADSTS7000215"), "{shown}");
        assert!(shown.contains("`microsoft.client_secret` is wrong"), "{shown}");
        assert!(!shown.contains("wrong+secret") && !shown.contains("Trace ID"), "{shown}");
        assert!(!error.is_passing());
    }
    assert_eq!(world.tokens_asked(), 1, "a broken secret does not hammer");
    assert_eq!(world.asked("GET *"), 0);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_are_told_apart() {
    let hint = async |change: fn(&mut settings::Microsoft), resource: Option<&str>| {
        let world = World::start();
        world.token.expire_secret("nobody");
        let mut microsoft = microsoft(&world.token, &world.graph, SECRET);
        change(&mut microsoft);
        let tokens = Tokens::new(&world.client, &microsoft).unwrap();
        let resource = resource.unwrap_or(&world.graph.base_url);
        let error = tokens.bearer(resource).await.unwrap_err();
        error.hint().unwrap_or_default()
    };
    let tenant = hint(|microsoft| microsoft.tenant_id = "nosuch.example".to_owned(), None).await;
    assert!(tenant.contains("tenant is not known"));
    let client = hint(|microsoft| microsoft.client_id = "other".to_owned(), None).await;
    assert!(client.contains("`microsoft.client_id`"));
    let resource = hint(|_| (), Some("https://typo.crm.dynamics.com")).await;
    assert!(resource.contains("`dataverse_url`"));
    let address = hint(|microsoft| microsoft.authority_url.push_str("/proxy"), None).await;
    assert!(address.contains("`microsoft.authority_url`"));

    let world = World::start();
    world.token.expire_secret("app");
    let error = world.tokens.bearer(&world.graph.base_url).await.unwrap_err();
    assert!(error.hint().unwrap_or_default().contains("expired"));
}

#[tokio::test]
async fn a_life_of_any_form_makes_a_token_that_works() {
    for life in [json!("3599"), json!(null), json!(-5), json!("soon")] {
        let world = World::start();
        world.put("a", b"x");
        let edit = Outcome::rewrite(move |_, response| {
            let mut body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            body["expires_in"] = life.clone();
            response.body = body.to_string().into_bytes();
        });
        world.token.faults().script("POST *", When::Every, edit);
        assert_eq!(world.listed("*").await.unwrap().len(), 1);
        assert_eq!(world.listed("*").await.unwrap().len(), 1);
        assert!(world.tokens_asked() <= 3);
    }
}
