//! A drive: listings, downloads, the archive.

use std::sync::Arc;

use chrono::TimeDelta;
use sandbox::faults::{Outcome, Scenario, When};
use sandbox::graph::{Lock, Paging, PagingQuirk};
use serde_json::json;
use storekeeper::http::Request;
use storekeeper::settings;
use storekeeper::sources::{Drive, Error, Moved};

use super::*;

#[tokio::test]
async fn a_listing_comes_whole_over_odd_pages() {
    let world = World::start();
    for name in ["d.xlsx", "b.XLSX", "a.xlsx", "c.xlsx", "e.csv", "~$a.xlsx"] {
        world.put(name, b"x");
    }
    world.put("empty.xlsx", b"");
    world.graph.put_folder(SITE, "BI Import/Archive.xlsx");
    let notebook = json!({"package": {"type": "oneNote"}}).as_object().cloned();
    world.graph.put_other(SITE, FOLDER, "notes.xlsx", notebook.unwrap());
    let quirk = Some(PagingQuirk::EmptyPages);
    world.graph.set_paging(Paging { size: 2, quirk });

    let listing = world.drive.list("/BI Import/", "*.xlsx").await.unwrap();
    let names: Vec<_> = listing.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a.xlsx", "b.XLSX", "c.xlsx", "d.xlsx"]);
    assert_eq!(
        listing.notes,
        [
            "`Archive.xlsx`: a folder",
            "`empty.xlsx`: empty, or still being uploaded",
            "`notes.xlsx`: a notebook, not a file",
            "`~$a.xlsx`: somebody has the file open in Office",
        ]
    );
    assert!(world.asked(CHILDREN) > 4);
    assert_eq!(world.tokens_asked(), 1);
    let file = &listing.files[0];
    assert_eq!((file.size_bytes, file.modified_at), (1, Some(noon())));
    assert_eq!(file.modified_by.as_deref(), Some("Sam"));
    assert!(file.version.contains("c:") && file.quick_xor_hash.is_some());
}

#[tokio::test]
async fn a_token_never_follows_a_link_to_another_host() {
    let world = World::start();
    ["a", "b", "c"].iter().for_each(|name| world.put(name, b"x"));
    let quirk = Some(PagingQuirk::ForeignLink);
    world.graph.set_paging(Paging { size: 1, quirk });
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
    assert!(said(&error).contains("https://graph.example.net"));
    assert!(!error.is_passing());
}

#[tokio::test]
async fn a_listing_that_goes_round_in_circles_fails() {
    let world = World::start();
    ["a", "b", "c"].iter().for_each(|name| world.put(name, b"x"));
    let quirk = Some(PagingQuirk::RepeatingLink);
    world.graph.set_paging(Paging { size: 1, quirk });
    let error = world.listed("*").await.unwrap_err();
    assert!(matches!(error, Error::RepeatingLink { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_listing_is_not_an_empty_one() {
    let world = World::start();
    world.put("a", b"x");
    world.listed("*").await.unwrap();
    for fault in [Scenario::GraphWithoutValue, Scenario::GraphGatewayTimeout] {
        let rule = world.graph.faults().script(CHILDREN, When::Every, fault);
        let error = world.listed("*").await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        world.graph.faults().remove(rule);
    }
    let error = world.drive.list("Nowhere", "*").await.unwrap_err();
    assert_eq!(said(&error), "folder `Nowhere` was not found");
}

#[tokio::test]
async fn a_download_carries_no_token_and_keeps_its_link() {
    let world = World::start();
    // The download host refuses a token, and any link that was rebuilt.
    world.put("50% #1+it's, ü.csv", &rows(3000));
    let file = world.only("50%*").await;
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(3000));
    assert_eq!(fetched.name, "50% #1+it's, ü.csv");
    assert_eq!(fetched.size_bytes, file.size_bytes);
    assert_eq!(fetched.content_hash.len(), 64);
    assert_eq!(fetched.remote.as_ref(), Some(&file));
    assert!(fetched.notes.is_empty());
    let download = &world.graph.faults().requests_to(DOWNLOAD)[0];
    assert_eq!(download.header("authorization"), None);
    assert_eq!(download.header("accept-encoding"), Some("identity"));

    world.put("copy.csv", &rows(3000));
    let copy = world.fetch(&world.only("copy.csv").await).await.unwrap();
    assert_eq!(copy.content_hash, fetched.content_hash);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let world = World::start();
    world.put("a.csv", &rows(9000));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(2), Scenario::DownloadTruncated(30_000));
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(9000));
    let ranges: Vec<_> =
        faults.requests_to(DOWNLOAD).iter().map(|request| request.header("range").map(str::to_owned)).collect();
    let range = |from: &str| Some(format!("bytes={from}-"));
    assert_eq!(ranges, [None, range("30000"), range("60000")]);
    // Each time a fresh link.
    assert_eq!(world.asked(CONTENT), 3);

    world.graph.ignore_ranges(true);
    faults.script(DOWNLOAD, When::Next(1), Scenario::DownloadTruncated(30_000));
    let again = world.fetch(&file).await.unwrap();
    assert_eq!(again.content_hash, fetched.content_hash);

    faults.script(DOWNLOAD, When::Every, Outcome::Truncate(0));
    let error = world.fetch(&file).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    let left = std::fs::read_dir(world.into.path()).unwrap().count();
    assert_eq!(left, 1, "only what came whole is kept");
}

#[tokio::test]
async fn a_file_replaced_meanwhile_is_read_in_its_new_version_only() {
    let world = World::start();
    world.put("a.csv", &rows(5000));
    let file = world.only("a.csv").await;
    let (faults, graph) = (world.graph.faults(), Arc::clone(&world.graph));
    faults.script(DOWNLOAD, When::Nth(1), Scenario::DownloadTruncated(30_000));
    // Replaced between the break and the look that comes after it.
    let replacing = Outcome::rewrite(move |_, _| {
        graph.put_file(SITE, FOLDER, "a.csv", rows(6000), noon() + TimeDelta::hours(1));
    });
    faults.script(CONTENT, When::Nth(1), replacing);
    let fetched = world.fetch(&file).await.unwrap();
    assert_eq!(content(&fetched), rows(6000));
    assert_ne!(fetched.remote.unwrap().version, file.version);
    assert!(fetched.notes[0].contains("replaced after it was listed"));
}

#[tokio::test]
async fn an_office_file_may_differ_and_a_text_may_not() {
    let world = World::start();
    for name in ["a.xlsx", "a.csv"] {
        world.put(name, &rows(100));
        world.graph.send_instead(SITE, FOLDER, name, rows(101));
    }
    let fetched = world.fetch(&world.only("a.xlsx").await).await.unwrap();
    assert_eq!(content(&fetched), rows(101));
    assert!(fetched.notes[0].contains("SharePoint"));

    let before = world.asked(DOWNLOAD);
    let error = world.fetch(&world.only("a.csv").await).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert_eq!(world.asked(DOWNLOAD) - before, 2);
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_fetched() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let fetch = |limit| world.drive.fetch(&file, limit, world.into.path());
    let error = fetch(file.size_bytes - 1).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!(world.asked(CONTENT), 0);
    fetch(file.size_bytes).await.unwrap();
    // What is listed is not what comes.
    world.put("b.xlsx", &rows(100));
    world.graph.send_instead(SITE, FOLDER, "b.xlsx", rows(101));
    let file = world.only("b.xlsx").await;
    let outcome = world.drive.fetch(&file, file.size_bytes, world.into.path()).await;
    assert!(matches!(outcome, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn an_old_link_gets_a_fresh_one_and_no_fresh_token() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(1), Scenario::DownloadUnauthorized);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));
    assert_eq!(world.asked(CONTENT), 2);

    faults.script(DOWNLOAD, When::Every, Scenario::DownloadUnauthorized);
    let before = world.asked(DOWNLOAD);
    let error = world.fetch(&file).await.unwrap_err();
    assert!(matches!(error, Error::DownloadRefused { status: 401, .. }), "{error:?}");
    assert_eq!(world.asked(DOWNLOAD) - before, 2);
    assert_eq!(world.tokens_asked(), 1);
}

#[tokio::test]
async fn passing_faults_of_the_download_host_are_outlived() {
    let world = World::start();
    world.put("a.csv", &rows(100));
    let file = world.only("a.csv").await;
    let faults = world.graph.faults();
    faults.script(DOWNLOAD, When::Next(2), Scenario::DownloadUnavailableHtml);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));
    faults.script(DOWNLOAD, When::Next(1), Outcome::Hang);
    assert_eq!(content(&world.fetch(&file).await.unwrap()), rows(100));

    world.graph.flag_malware(SITE, FOLDER, "a.csv", "EICAR");
    let error = world.fetch(&file).await.unwrap_err();
    assert!(matches!(error, Error::Infected { .. }), "{error:?}");
    let listing = world.drive.list(FOLDER, "a.csv").await.unwrap();
    assert!(listing.files.is_empty() && listing.notes[0].contains("virus"));

    world.graph.remove_file(SITE, FOLDER, "a.csv");
    let error = world.fetch(&file).await.unwrap_err();
    assert_eq!(said(&error), "file `a.csv` has vanished");
}

#[tokio::test]
async fn a_drive_is_found_by_site_user_and_id() {
    let world = World::start();
    world.put("a", b"x");
    let info = world.drive.resolve().await.unwrap().clone();
    assert_eq!(info.kind.as_deref(), Some("documentLibrary"));
    world.graph.put_file("users/etl@example.com", FOLDER, "b", "x", noon());
    let microsoft = microsoft(&world.token, &world.graph, SECRET);
    let open = |site: Option<&str>, id: Option<&str>, user: Option<&str>| {
        let place =
            settings::Drive { site: site.map(str::to_owned), id: id.map(str::to_owned), user: user.map(str::to_owned) };
        Drive::new(&world.client, &world.tokens, &microsoft, &place)
    };
    let by_id = open(None, Some(&info.id), None).unwrap();
    assert_eq!(by_id.resolve().await.unwrap(), &info);
    let by_user = open(None, None, Some("etl@example.com")).unwrap();
    assert_eq!(by_user.list(FOLDER, "*").await.unwrap().files[0].name, "b");
    let id = site_id(&world).await;
    let by_site_id = open(Some(&id), None, None).unwrap();
    assert_eq!(by_site_id.resolve().await.unwrap(), &info);
    let wrong = open(Some("example.sharepoint.com:/sites/typo"), None, None).unwrap();
    let error = wrong.resolve().await.unwrap_err();
    assert!(matches!(error, Error::DriveNotFound { .. }), "{error:?}");
    for none in [open(None, None, None), open(None, Some("a"), Some("b"))] {
        assert!(matches!(none, Err(Error::DriveUnnamed)));
    }
}

#[tokio::test]
async fn a_read_file_is_put_away_or_an_answer_says_why_not() {
    let world = World::start();
    world.put("a.csv", b"x");
    let file = world.only("a.csv").await;
    let archive = |file| world.drive.archive(file, "Archive", noon());
    let faults = world.graph.faults();
    let rule = faults.script("POST *", When::Next(1), Scenario::GraphAccessDenied);
    assert_eq!(archive(&file).await, Moved::Forbidden, "a folder that may not be made");
    faults.remove(rule);

    world.graph.lock_file(SITE, FOLDER, "a.csv", Some(Lock::AccessDenied));
    assert_eq!(archive(&file).await, Moved::NotNow("somebody has it open".to_owned()));
    world.graph.lock_file(SITE, FOLDER, "a.csv", None);

    world.put("a.csv", b"new");
    assert_eq!(archive(&file).await, Moved::NotNow("it has changed since it was read".to_owned()));

    let file = world.only("a.csv").await;
    // The answer is lost; asking again finds it done.
    faults.script("PATCH *", When::Next(1), Outcome::LoseAnswer);
    assert_eq!(archive(&file).await, Moved::Done);
    assert!(world.listed("*.csv").await.unwrap().is_empty());
    let paths = world.graph.files(SITE);
    assert!(paths[0].starts_with("BI Import/Archive/a.20251129T120000Z."), "{paths:?}");
    assert!(world.drive.was_archived(&file.item_id, &file.version).await.unwrap());
    assert!(!world.drive.was_archived(&file.item_id, "another").await.unwrap());
}

#[tokio::test]
async fn a_move_whose_every_answer_is_lost_is_seen_at_the_item_itself() {
    let world = World::start();
    world.put("a.csv", b"x");
    let file = world.only("a.csv").await;
    world.graph.faults().script("PATCH *", When::Every, Outcome::LoseAnswer);
    assert_eq!(world.drive.archive(&file, "Archive", noon()).await, Moved::Done);
    assert!(world.listed("*.csv").await.unwrap().is_empty());
}

/// The id of the site, as the service tells it.
async fn site_id(world: &World) -> String {
    let path = format!("{}/v1.0/sites/example.sharepoint.com:/{SITE}", world.graph.base_url);
    let token = world.tokens.bearer(&world.graph.base_url).await.unwrap();
    let request = Request::new(reqwest::Method::GET, path.parse().unwrap()).bearer(&token);
    let site: serde_json::Value = world.client.send(&request).await.unwrap().json().unwrap();
    site["id"].as_str().unwrap().to_owned()
}
