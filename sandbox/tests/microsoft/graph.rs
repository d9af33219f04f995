//! The Graph API: items, listings, changes, moves and mail.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use sandbox::faults::{Outcome, Scenario, When};
use sandbox::graph::{Lock, Paging, PagingQuirk, Resync, quick_xor_hash};
use serde_json::{Value, json};

use crate::library::{FOLDER, Library, SITE, id};
use crate::world::start;

#[tokio::test]
async fn an_item_is_found_by_path_and_by_id() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let by_path = library.json("/root:/BI%20Import/c%20%231%2050%25+'x'.csv").await?;
    let by_id = library.json(&format!("/items/{}", id(&by_path))).await?;
    assert_eq!(by_path["name"], "c #1 50%+'x'.csv");
    assert_eq!(by_path["eTag"], by_id["eTag"]);
    assert_eq!(by_id["file"]["hashes"]["quickXorHash"], json!(quick_xor_hash(b"3")));
    assert_eq!(library.status("/root:/BI%20Import/gone.csv").await?, 404);
    assert_eq!(library.status("/root:/BI%20Import/a%3Ab.csv").await?, 400);
    assert_eq!(library.status("/items/01A/versions").await?, 501);

    let base = &library.graph.base_url;
    let site = format!("{base}/v1.0/sites/example.sharepoint.com:/{SITE}");
    let site = library.world.get_json(&site, &library.token).await?;
    let drives = format!("{base}/v1.0/sites/{}/drives", id(&site));
    let drives = library.world.get_json(&drives, &library.token).await?;
    assert!(library.drive.ends_with(id(&drives["value"][0])));
    let me = library.world.get(&format!("{base}/v1.0/me/drive"), &library.token).await?;
    assert_eq!(me.status(), 400);
    Ok(())
}

#[tokio::test]
async fn children_come_in_pages_and_the_links_must_come_back_unchanged() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let path = "/root:/BI%20Import:/children?$top=2&$select=id,name,size";
    let (pages, _) = library.pages(path).await?;
    assert_eq!(pages, [vec!["a.csv", "b.xlsx"], vec!["c #1 50%+'x'.csv"]]);

    let link = library.json(path).await?["@odata.nextLink"].as_str().unwrap_or_default().to_owned();
    assert!(link.contains("$select=id%2cname%2csize&$skiptoken="), "{link}");
    for changed in [link.replace("%2c", ","), link.replace("$top", "%24top"), format!("{link}x")] {
        assert_eq!(library.world.get(&changed, &library.token).await?.status(), 400, "{changed}");
    }
    let item = library.json("/root:/BI%20Import:/children?$select=name").await?["value"][0].clone();
    assert_eq!(
        item.as_object().map(|item| item.keys().cloned().collect()),
        Some(vec!["id".to_owned(), "name".to_owned()])
    );
    assert_eq!(library.status("/root/children?$select=nome").await?, 400);
    for (path, status) in [
        ("/root/children?$skip=2", 400),
        ("/root/children?$apply=x", 400),
        ("/root?$expand=children", 400),
        ("/root/children?source=mine", 200),
        ("/root:/BI%20Import:/delta", 400),
        ("/items/root/delta()", 200),
    ] {
        assert_eq!(library.status(path).await?, status, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn odd_pages_are_as_odd_as_the_real_ones() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let path = "/root:/BI%20Import:/children";
    let quirk = |quirk| library.graph.set_paging(Paging { size: 2, quirk: Some(quirk) });

    quirk(PagingQuirk::EmptyPages);
    let (pages, _) = library.pages(path).await?;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1]);
    let (pages, _) = library.pages("/root/delta").await?;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2, 0, 1]);

    library.graph.set_paging(Paging { size: 1, quirk: Some(PagingQuirk::RepeatingLink) });
    for path in [path, "/root/delta"] {
        let first = library.json(path).await?;
        let link = first["@odata.nextLink"].as_str().context("a link was expected")?;
        let second = library.world.get_json(link, &library.token).await?;
        assert_eq!(second["@odata.nextLink"], json!(link));
    }

    quirk(PagingQuirk::ForeignLink);
    let link = library.json(path).await?["@odata.nextLink"].clone();
    assert!(link.as_str().is_some_and(|link| link.starts_with("https://graph.example.net/")));
    Ok(())
}

#[tokio::test]
async fn a_change_link_tells_what_happened_since() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let (pages, last) = library.pages("/root/delta").await?;
    assert_eq!(pages.concat(), ["root", "BI Import", "a.csv", "b.xlsx", "c #1 50%+'x'.csv"]);
    let link = last["@odata.deltaLink"].as_str().context("a change link was expected")?.to_owned();
    let quiet = library.world.get_json(&link, &library.token).await?;
    assert_eq!(quiet["value"], json!([]));

    library.graph.put_file(SITE, FOLDER, "a.csv", "changed", start());
    library.graph.put_file(SITE, FOLDER, "a.csv", "changed again", start());
    library.graph.remove_file(SITE, FOLDER, "b.xlsx");
    let page = library.world.get_json(&link, &library.token).await?;
    let items = page["value"].as_array().context("items were expected")?;
    let names: Vec<&str> = items.iter().map(|item| item["name"].as_str().unwrap_or("-")).collect();
    assert_eq!(names, ["root", "BI Import", "a.csv", "-"]);
    assert_eq!(items[2]["size"], 13);
    assert!(items[2].get("cTag").is_none() && items[2]["parentReference"].get("path").is_none());
    assert_eq!(items[3]["deleted"], json!({"state": "deleted"}));

    let latest = library.json("/root/delta?token=latest").await?;
    assert_eq!(latest["value"], json!([]));
    let again = latest["@odata.deltaLink"].as_str().context("a change link was expected")?;
    assert_eq!(library.world.get_json(again, &library.token).await?["value"], json!([]));
    assert_eq!(library.status("/root/delta?token=made-up").await?, 400);
    Ok(())
}

#[tokio::test]
async fn an_expired_change_link_answers_410_in_three_forms() -> anyhow::Result<()> {
    let library = Library::new().await?;
    for how in [Resync::WithLocation, Resync::WithoutLocation, Resync::LocationFails] {
        let link = library.json("/root/delta").await?["@odata.deltaLink"].clone();
        let link = link.as_str().context("a change link was expected")?;
        library.graph.expire_changes(how);
        let gone = library.world.get(link, &library.token).await?;
        assert_eq!(gone.status(), 410);
        let location = gone.headers().get("location").cloned();
        let body: Value = gone.json().await?;
        assert_eq!(body["error"]["code"], "resyncRequired");
        let followed = match location {
            None => None,
            Some(url) => Some(library.world.get(url.to_str()?, &library.token).await?),
        };
        match how {
            Resync::WithoutLocation => assert!(followed.is_none()),
            Resync::LocationFails => {
                assert_eq!(followed.context("a location was expected")?.status(), 500);
            }
            Resync::WithLocation => {
                let page: Value = followed.context("a location was expected")?.json().await?;
                assert_eq!(page["value"].as_array().map(Vec::len), Some(5));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_move_keeps_id_and_content_tag() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let archive = library.graph.put_folder(SITE, "BI Import/Archive");
    let before = library.json("/root:/BI%20Import/a.csv").await?;
    let body = json!({"parentReference": {"id": archive}, "name": "a.20251129.csv"});
    let (status, after) = library.patch(id(&before), body, before["eTag"].as_str()).await?;
    assert_eq!(status, 200);
    assert_eq!((&after["id"], &after["cTag"]), (&before["id"], &before["cTag"]));
    assert_ne!(after["eTag"], before["eTag"]);
    assert!(library.graph.files(SITE).contains(&"BI Import/Archive/a.20251129.csv".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_move_meets_conflicts_locks_and_changes() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let item = library.json("/root:/BI%20Import/a.csv").await?;
    let (status, body) = library.patch(id(&item), json!({"name": "B.XLSX"}), None).await?;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("nameAlreadyExists")));

    for (lock, code) in [
        (Lock::NotAllowed, "notAllowed"),
        (Lock::AccessDenied, "accessDenied"),
        (Lock::ResourceLocked, "resourceLocked"),
    ] {
        library.graph.lock_file(SITE, FOLDER, "a.csv", Some(lock));
        let (status, body) = library.patch(id(&item), json!({"name": "x.csv"}), None).await?;
        assert_eq!((status, &body["error"]["code"]), (423, &json!(code)));
    }
    library.graph.lock_file(SITE, FOLDER, "a.csv", None);

    library.graph.touch_file(SITE, FOLDER, "a.csv");
    let (status, body) = library.patch(id(&item), json!({"name": "x.csv"}), item["eTag"].as_str()).await?;
    assert_eq!((status, &body["error"]["code"]), (412, &json!("resourceModified")));
    let (status, _) = library.patch(id(&item), json!({"parentReference": {"id": "root"}}), None).await?;
    assert_eq!(status, 404);
    let (status, _) = library.patch(id(&item), json!({"name": "a:b"}), None).await?;
    assert_eq!(status, 400);

    let lost = library.graph.faults().script("PATCH *", When::Next(1), Outcome::LoseAnswer);
    assert!(library.patch(id(&item), json!({"name": "moved.csv"}), None).await.is_err());
    assert_eq!(library.graph.faults().fired(lost), 1);
    assert!(library.graph.file(SITE, FOLDER, "moved.csv").is_some());
    Ok(())
}

#[tokio::test]
async fn a_token_is_checked_for_audience_and_age() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = format!("{}/root", library.drive);
    let other = library.world.tokens.book().issue("app", "https://other.example", start() + chrono::TimeDelta::days(1));
    for token in [other.as_str(), "made-up"] {
        assert_eq!(library.world.get(&url, token).await?.status(), 401);
    }
    assert_eq!(library.world.client.get(&url).send().await?.status(), 401);
    library.world.clock.advance_seconds(3599);
    let expired = library.world.get(&url, &library.token).await?;
    assert_eq!(expired.status(), 401);
    assert!(expired.headers()["www-authenticate"].to_str()?.starts_with("Bearer realm=\"\""));
    let body: Value = expired.json().await?;
    assert_eq!(body["error"]["code"], "InvalidAuthenticationToken");

    let log = library.graph.faults().requests_to("GET */root");
    assert_eq!(log[0].header("authorization"), Some("Bearer <token 2 for https://other.example>"));
    assert_eq!(log[1].header("authorization"), Some("Bearer <unknown token>"));
    Ok(())
}

#[tokio::test]
async fn retry_after_comes_in_every_form_it_was_seen_in() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let date = "Sat, 29 Nov 2025 11:05:15 GMT";
    for value in [Some("41"), Some("2.128"), Some(date), None] {
        library.graph.faults().script("GET *", When::Next(1), Scenario::GraphThrottled(value));
        let response = library.world.get(&format!("{}/root", library.drive), &library.token).await?;
        let header = response.headers().get("retry-after").map(|value| value.to_str()).transpose()?;
        assert_eq!((response.status().as_u16(), header), (429, value));
        library.graph.faults().clear();
    }
    Ok(())
}

#[tokio::test]
async fn mail_is_accepted_in_both_forms_and_kept() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = format!("{}/v1.0/users/reports@example.com/sendMail", library.graph.base_url);
    let mime = "From: reports@example.com\r\nTo: ops@example.com\r\nSubject: Test\r\n\r\nhello\r\n";
    let as_mime = library
        .world
        .request(Method::POST, &url, &library.token)
        .header("Content-Type", "text/plain")
        .body(STANDARD.encode(mime));
    assert_eq!(as_mime.send().await?.status(), 202);
    let json = json!({"message": {
        "subject": "Load report",
        "body": {"contentType": "HTML", "content": "<p></p>"},
        "toRecipients": [{"emailAddress": {"address": "ops@example.com"}}],
    }, "saveToSentItems": false});
    let as_json = library.world.request(Method::POST, &url, &library.token).json(&json);
    assert_eq!(as_json.send().await?.status(), 202);

    let mails = library.graph.mails();
    assert_eq!(mails[0].mime.as_deref(), Some(mime.as_bytes()));
    let subjects: Vec<_> = mails.iter().filter_map(sandbox::graph::Mail::subject).collect();
    assert_eq!(subjects, ["Test", "Load report"]);
    Ok(())
}

#[tokio::test]
async fn notebooks_shortcuts_and_empty_files_look_like_what_they_are() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let other = |name: &str, facets: Value| {
        let facets = facets.as_object().cloned().unwrap_or_default();
        library.graph.put_other(SITE, "Odd", name, facets)
    };
    other("Notebook", json!({"package": {"type": "oneNote"}}));
    other("Shortcut", json!({"remoteItem": {"id": "01REMOTE", "folder": {"childCount": 12}}}));
    library.graph.put_file(SITE, "Odd", "big.csv", "", start());
    library.graph.put_file(SITE, "Odd", "~$b.xlsx", "owner", start());

    let page = library.json("/root:/Odd:/children").await?;
    let items = page["value"].as_array().context("items were expected")?;
    let find = |name: &str| items.iter().find(|item| item["name"] == name).cloned().unwrap_or_default();
    assert_eq!(find("Notebook")["package"]["type"], "oneNote");
    assert_eq!(find("Shortcut")["remoteItem"]["id"], "01REMOTE");
    assert!(find("Shortcut").get("file").is_none() && find("Shortcut").get("folder").is_none());
    assert_eq!(find("big.csv")["file"], json!({"mimeType": "text/csv"}));
    assert_eq!(find("~$b.xlsx")["size"], 5);
    Ok(())
}

#[tokio::test]
async fn a_person_has_a_drive_once_something_is_in_it() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = format!("{}/v1.0/users/etl@example.com/drive", library.graph.base_url);
    let missing = library.world.get(&url, &library.token).await?;
    assert_eq!(missing.status(), 404);
    library.graph.put_file("users/etl@example.com", "Inbox", "a.csv", "1", start());
    let drive = library.world.get_json(&url, &library.token).await?;
    assert_eq!(drive["driveType"], "business");
    let item = library.world.get_json(&format!("{url}/root:/Inbox/a.csv"), &library.token).await?;
    assert_eq!(item["size"], 1);
    Ok(())
}
