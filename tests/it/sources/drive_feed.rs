//! A drive's feed of changes, and what else the service promises of a drive.

use sandbox::faults::{Outcome, Scenario, When};
use sandbox::graph::{Paging, PagingQuirk, Resync};
use serde_json::{Value, json};
use storekeeper::http::Request;
use storekeeper::sources::{Changes, Error};

use super::*;

const DELTA: &str = "GET /v1.0/drives/*/root/delta*";

async fn changes(world: &World, link: Option<&str>) -> Result<Changes, Error> {
    let folder = world.drive.folder_id(FOLDER).await?;
    sendable(world.drive.changes(&folder, "*.csv", link, &[])).await
}

fn names(changes: &Changes) -> Vec<&str> {
    changes.files.iter().map(|file| file.name.as_str()).collect()
}

#[tokio::test]
async fn a_feed_is_read_to_its_end_over_empty_pages() {
    let world = World::start();
    ["a.csv", "b.csv", "c.csv", "d.xlsx"].iter().for_each(|name| world.put(name, b"x"));
    world.graph.put_file(SITE, "Elsewhere", "e.csv", b"x".as_slice(), noon());
    world.graph.set_paging(Paging { size: 2, quirk: Some(PagingQuirk::EmptyPages) });
    let first = changes(&world, None).await.unwrap();
    assert_eq!(names(&first), ["a.csv", "b.csv", "c.csv"]);
    assert!(first.whole && first.files.iter().all(|file| file.version.contains("c:")), "{first:?}");
    // The same versions as a listing has: one mode can follow the other.
    let listed = world.listed("*.csv").await.unwrap();
    assert_eq!(first.files, listed);

    world.put("b.csv", b"changed");
    world.graph.remove_file(SITE, FOLDER, "c.csv");
    let second = changes(&world, Some(&first.link)).await.unwrap();
    assert_eq!((names(&second), second.whole), (vec!["b.csv"], false));
    assert!(second.away.contains(&listed[2].item_id));
    let third = changes(&world, Some(&second.link)).await.unwrap();
    assert!(third.files.is_empty() && third.away.is_empty() && !third.whole);
}

#[tokio::test]
async fn the_last_word_on_an_item_counts_even_without_a_name() {
    let world = World::start();
    ["a.csv", "b.csv"].iter().for_each(|name| world.put(name, b"x"));
    let files = world.listed("*").await.unwrap();
    let (id, folder) = (files[0].item_id.clone(), files[0].folder_id.clone());
    let told = [
        json!({"id": id, "name": "a.csv", "size": 1, "file": {}, "parentReference": {"id": folder}}),
        json!({"id": id, "name": "a2.csv", "size": 2, "file": {}, "parentReference": {"id": folder}}),
        json!({"id": id, "deleted": {}}),
    ];
    let outcome = Outcome::rewrite(move |_, response| {
        let mut page: Value = serde_json::from_slice(&response.body).unwrap();
        page["value"].as_array_mut().unwrap().extend(told.iter().cloned());
        response.body = page.to_string().into_bytes();
    });
    world.graph.faults().script(DELTA, When::Next(1), outcome);
    let changes = changes(&world, None).await.unwrap();
    assert_eq!(names(&changes), ["b.csv"]);
    assert!(changes.away.contains(&id));
}

#[tokio::test]
async fn a_forgotten_link_means_everything_anew_in_each_of_its_forms() {
    for how in [Resync::WithLocation, Resync::WithoutLocation, Resync::LocationFails] {
        let world = World::start();
        ["a.csv", "b.csv"].iter().for_each(|name| world.put(name, b"x"));
        let first = changes(&world, None).await.unwrap();
        world.graph.remove_file(SITE, FOLDER, "a.csv");
        world.graph.expire_changes(how);
        let second = changes(&world, Some(&first.link)).await.unwrap();
        assert!(second.whole, "{how:?}");
        assert_eq!(names(&second), ["b.csv"], "{how:?}");
        assert!(second.notes[0].contains("compared anew"), "{how:?}");
        let third = changes(&world, Some(&second.link)).await.unwrap();
        assert!(!third.whole && third.files.is_empty(), "{how:?}");
    }
}

#[tokio::test]
async fn an_error_in_a_feed_is_no_empty_feed() {
    let world = World::start();
    ["a.csv", "b.csv", "c.csv"].iter().for_each(|name| world.put(name, b"x"));
    let faults = world.graph.faults();
    for fault in [Scenario::GraphDeltaFault, Scenario::GraphWithoutValue] {
        let rule = faults.script(DELTA, When::Next(1), fault);
        assert_eq!(names(&changes(&world, None).await.unwrap()).len(), 3, "{fault:?} passes");
        faults.remove(rule);
        let rule = faults.script(DELTA, When::Every, fault);
        let error = changes(&world, None).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        faults.remove(rule);
    }
    world.graph.set_paging(Paging { size: 1, quirk: Some(PagingQuirk::RepeatingLink) });
    let error = changes(&world, None).await.unwrap_err();
    assert!(matches!(error, Error::RepeatingLink { .. }), "{error:?}");
    world.graph.set_paging(Paging { size: 1, quirk: Some(PagingQuirk::ForeignLink) });
    let error = changes(&world, None).await.unwrap_err();
    assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
}

#[tokio::test]
async fn a_checked_out_file_is_left_out_until_it_is_checked_in() {
    let world = World::start();
    world.put("a.csv", b"x");
    world.graph.check_out(SITE, FOLDER, "a.csv", true);
    let listing = world.drive.list(FOLDER, "*").await.unwrap();
    assert!(listing.files.is_empty() && listing.notes[0].contains("checked out"), "{listing:?}");
    let feed = changes(&world, None).await.unwrap();
    assert_eq!((feed.files.len(), feed.left.len()), (0, 1));
    world.graph.check_out(SITE, FOLDER, "a.csv", false);
    assert_eq!(world.listed("*").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_text_that_never_matches_is_taken_only_where_the_settings_say_so() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    world.graph.send_instead(SITE, FOLDER, "a.csv", rows(101));
    let file = world.only("a.csv").await;
    assert!(matches!(world.fetch(&file).await, Err(Error::Mismatch { .. })));
    let place = settings::Drive { site: Some(format!("example.sharepoint.com:/{SITE}")), id: None, user: None };
    let microsoft = microsoft(&world.token, &world.graph, SECRET);
    let drive = Drive::new(&world.client, &world.tokens, &microsoft, &place).unwrap().accepting_mismatches(true);
    let fetched = drive.fetch(&file, LIMIT_BYTES, world.into.path()).await.unwrap();
    assert_eq!(content(&fetched), rows(101));
    assert!(fetched.notes[0].contains("sources.mismatched_text"), "{:?}", fetched.notes);
}

#[tokio::test]
async fn parts_of_a_batch_come_in_another_order_each_with_a_status_of_its_own() {
    let world = World::start();
    world.put("a.csv", b"x");
    let file = world.only("a.csv").await;
    let (drive, item) = (&file.drive_id, &file.item_id);
    let url = format!("{}/v1.0/$batch", world.graph.base_url).parse().unwrap();
    let token = world.tokens.bearer(&world.graph.base_url).await.unwrap();
    let body = json!({"requests": [
        {"id": "1", "method": "GET", "url": format!("/drives/{drive}/items/{item}/content")},
        {"id": "2", "method": "GET", "url": format!("/drives/{drive}/items/missing")},
        {"id": "3", "method": "PATCH", "url": format!("/drives/{drive}/items/{item}"), "body": {"name": "b.csv"}},
    ]});
    let request = Request::new(reqwest::Method::POST, url).bearer(&token).json(&body);
    let answer: Value = world.client.send(&request).await.unwrap().json().unwrap();
    let parts: Vec<_> = answer["responses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (part["id"].as_str(), part["status"].as_u64()))
        .collect();
    // Without a content type its body is refused.
    assert_eq!(parts, [(Some("3"), Some(400)), (Some("2"), Some(404)), (Some("1"), Some(302))]);
}

#[tokio::test]
async fn everybody_waits_while_the_service_asks_for_a_pause_and_the_wait_is_known() {
    let world = World::start();
    world.put("a.csv", b"x");
    let file = world.only("a.csv").await;
    let before = world.drive.waited();
    // A new connection carries the request that comes after a 503.
    world.graph.faults().script(CHILDREN, When::Next(1), Scenario::GraphUnavailable(Some("0.3")));
    let started = std::time::Instant::now();
    let (listed, fetched) = tokio::join!(world.listed("*"), async {
        while world.drive.waited() == before {
            tokio::task::yield_now().await;
        }
        world.fetch(&file).await
    });
    assert_eq!(listed.unwrap().len(), 1);
    fetched.unwrap();
    assert!(started.elapsed() >= std::time::Duration::from_millis(300), "{:?}", started.elapsed());
    let waited = world.drive.waited() - before;
    assert!((300..400).contains(&waited.as_millis()), "one pause, counted once: {waited:?}");
}
