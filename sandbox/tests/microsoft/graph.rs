//! The Graph API and its download host.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use sandbox::faults::{Outcome, Scenario, When};
use sandbox::graph::{Graph, Lock, Paging, PagingQuirk, QuickXorHash, Resync, quick_xor_hash};
use serde_json::{Value, json};

use crate::world::{World, start};

const SITE: &str = "sites/harbor";
const FOLDER: &str = "BI Import";

/// A drive with three files, a token for it, and its address.
struct Setting {
    world: World,
    graph: Graph,
    token: String,
    drive: String,
}

impl Setting {
    async fn new() -> anyhow::Result<Self> {
        let world = World::start()?;
        let graph = world.graph()?;
        for (name, bytes) in [
            ("a.csv", "one"),
            ("b.xlsx", "second"),
            ("c #1 50%+'x'.csv", "3"),
        ] {
            graph.put_file(SITE, FOLDER, name, bytes, start());
        }
        let token = world.token("https://graph.microsoft.com").await?;
        let site = format!(
            "{}/v1.0/sites/example.sharepoint.com:/{SITE}:/drive",
            graph.base_url
        );
        let drive = world.get_json(&site, &token).await?;
        let id = drive["id"].as_str().context("a drive was expected")?;
        let drive = format!("{}/v1.0/drives/{id}", graph.base_url);
        Ok(Self {
            world,
            graph,
            token,
            drive,
        })
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        self.world
            .get_json(&format!("{}{path}", self.drive), &self.token)
            .await
    }

    async fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self
            .world
            .get(&format!("{}{path}", self.drive), &self.token)
            .await?
            .status()
            .as_u16())
    }

    /// Follows next links from a listing; answers the names of each page and the last page.
    async fn pages(&self, path: &str) -> anyhow::Result<(Vec<Vec<String>>, Value)> {
        let mut page = self.json(path).await?;
        let mut pages = Vec::new();
        loop {
            let items = page["value"].as_array().context("a page was expected")?;
            pages.push(
                items
                    .iter()
                    .map(|item| item["name"].as_str().unwrap_or("-").to_owned())
                    .collect(),
            );
            anyhow::ensure!(pages.len() < 20, "the pages do not end");
            match page["@odata.nextLink"].as_str() {
                Some(link) => page = self.world.get_json(link, &self.token).await?,
                None => return Ok((pages, page)),
            }
        }
    }

    async fn patch(
        &self,
        id: &str,
        body: Value,
        tag: Option<&str>,
    ) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/items/{id}", self.drive);
        let mut request = self
            .world
            .request(Method::PATCH, &url, &self.token)
            .json(&body);
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn location(&self, path: &str) -> anyhow::Result<String> {
        let response = self
            .world
            .get(&format!("{}{path}", self.drive), &self.token)
            .await?;
        anyhow::ensure!(response.status() == 302, "{}", response.status());
        Ok(response.headers()["location"].to_str()?.to_owned())
    }

    async fn download(&self, url: &str, range: Option<&str>) -> anyhow::Result<reqwest::Response> {
        let mut request = self.world.client.get(url);
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        Ok(request.send().await?)
    }
}

fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_item_is_found_by_path_and_by_id() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let by_path = setting
        .json("/root:/BI%20Import/c%20%231%2050%25+'x'.csv")
        .await?;
    let by_id = setting.json(&format!("/items/{}", id(&by_path))).await?;
    assert_eq!(by_path["name"], "c #1 50%+'x'.csv");
    assert_eq!(by_path["eTag"], by_id["eTag"]);
    assert_eq!(
        by_id["file"]["hashes"]["quickXorHash"],
        json!(quick_xor_hash(b"3"))
    );
    assert_eq!(setting.status("/root:/BI%20Import/gone.csv").await?, 404);
    assert_eq!(setting.status("/root:/BI%20Import/a%3Ab.csv").await?, 400);
    assert_eq!(setting.status("/items/01A/versions").await?, 501);

    let base = &setting.graph.base_url;
    let site = format!("{base}/v1.0/sites/example.sharepoint.com:/{SITE}");
    let site = setting.world.get_json(&site, &setting.token).await?;
    let drives = format!("{base}/v1.0/sites/{}/drives", id(&site));
    let drives = setting.world.get_json(&drives, &setting.token).await?;
    assert!(setting.drive.ends_with(id(&drives["value"][0])));
    let me = setting
        .world
        .get(&format!("{base}/v1.0/me/drive"), &setting.token)
        .await?;
    assert_eq!(me.status(), 400);
    Ok(())
}

#[tokio::test]
async fn children_come_in_pages_and_the_links_must_come_back_unchanged() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let path = "/root:/BI%20Import:/children?$top=2&$select=id,name,size";
    let (pages, _) = setting.pages(path).await?;
    assert_eq!(pages, [vec!["a.csv", "b.xlsx"], vec!["c #1 50%+'x'.csv"]]);

    let link = setting.json(path).await?["@odata.nextLink"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        link.contains("$select=id%2cname%2csize&$skiptoken="),
        "{link}"
    );
    for changed in [
        link.replace("%2c", ","),
        link.replace("$top", "%24top"),
        format!("{link}x"),
    ] {
        assert_eq!(
            setting.world.get(&changed, &setting.token).await?.status(),
            400,
            "{changed}"
        );
    }
    let item = setting
        .json("/root:/BI%20Import:/children?$select=name")
        .await?["value"][0]
        .clone();
    assert_eq!(
        item.as_object().map(|item| item.keys().cloned().collect()),
        Some(vec!["id".to_owned(), "name".to_owned()])
    );
    assert_eq!(setting.status("/root/children?$select=nome").await?, 400);
    Ok(())
}

#[tokio::test]
async fn odd_pages_are_as_odd_as_the_real_ones() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let path = "/root:/BI%20Import:/children";
    let quirk = |quirk| {
        setting.graph.set_paging(Paging {
            size: 2,
            quirk: Some(quirk),
        })
    };

    quirk(PagingQuirk::EmptyPages);
    let (pages, _) = setting.pages(path).await?;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1]);
    let (pages, _) = setting.pages("/root/delta").await?;
    assert_eq!(
        pages.iter().map(Vec::len).collect::<Vec<_>>(),
        [2, 0, 2, 0, 1]
    );

    setting.graph.set_paging(Paging {
        size: 1,
        quirk: Some(PagingQuirk::RepeatingLink),
    });
    for path in [path, "/root/delta"] {
        let first = setting.json(path).await?;
        let link = first["@odata.nextLink"]
            .as_str()
            .context("a link was expected")?;
        let second = setting.world.get_json(link, &setting.token).await?;
        assert_eq!(second["@odata.nextLink"], json!(link));
    }

    quirk(PagingQuirk::ForeignLink);
    let link = setting.json(path).await?["@odata.nextLink"].clone();
    assert!(
        link.as_str()
            .is_some_and(|link| link.starts_with("https://graph.example.net/"))
    );
    Ok(())
}

#[tokio::test]
async fn a_change_link_tells_what_happened_since() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let (pages, last) = setting.pages("/root/delta").await?;
    assert_eq!(
        pages.concat(),
        ["root", "BI Import", "a.csv", "b.xlsx", "c #1 50%+'x'.csv"]
    );
    let link = last["@odata.deltaLink"]
        .as_str()
        .context("a change link was expected")?
        .to_owned();
    let quiet = setting.world.get_json(&link, &setting.token).await?;
    assert_eq!(quiet["value"], json!([]));

    setting
        .graph
        .put_file(SITE, FOLDER, "a.csv", "changed", start());
    setting
        .graph
        .put_file(SITE, FOLDER, "a.csv", "changed again", start());
    setting.graph.remove_file(SITE, FOLDER, "b.xlsx");
    let page = setting.world.get_json(&link, &setting.token).await?;
    let items = page["value"].as_array().context("items were expected")?;
    let names: Vec<&str> = items
        .iter()
        .map(|item| item["name"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(names, ["root", "BI Import", "a.csv", "-"]);
    assert_eq!(items[2]["size"], 13);
    assert!(items[2].get("cTag").is_none() && items[2]["parentReference"].get("path").is_none());
    assert_eq!(items[3]["deleted"], json!({"state": "deleted"}));

    let latest = setting.json("/root/delta?token=latest").await?;
    assert_eq!(latest["value"], json!([]));
    let again = latest["@odata.deltaLink"]
        .as_str()
        .context("a change link was expected")?;
    assert_eq!(
        setting.world.get_json(again, &setting.token).await?["value"],
        json!([])
    );
    assert_eq!(setting.status("/root/delta?token=made-up").await?, 400);
    Ok(())
}

#[tokio::test]
async fn an_expired_change_link_answers_410_in_three_forms() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    for how in [
        Resync::WithLocation,
        Resync::WithoutLocation,
        Resync::LocationFails,
    ] {
        let link = setting.json("/root/delta").await?["@odata.deltaLink"].clone();
        let link = link.as_str().context("a change link was expected")?;
        setting.graph.expire_changes(how);
        let gone = setting.world.get(link, &setting.token).await?;
        assert_eq!(gone.status(), 410);
        let location = gone.headers().get("location").cloned();
        let body: Value = gone.json().await?;
        assert_eq!(body["error"]["code"], "resyncRequired");
        let followed = match location {
            None => None,
            Some(url) => Some(setting.world.get(url.to_str()?, &setting.token).await?),
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
async fn a_download_wants_the_url_as_it_is_and_no_token() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = setting
        .location("/root:/BI%20Import/b.xlsx:/content")
        .await?;
    assert!(
        url.starts_with(&setting.graph.download_url)
            && setting.graph.download_url != setting.graph.base_url
    );
    let whole = setting.download(&url, None).await?;
    assert_eq!(whole.headers()["content-length"], "6");
    assert_eq!(whole.text().await?, "second");

    assert_eq!(setting.world.get(&url, &setting.token).await?.status(), 401);
    let (path, query) = url.split_once('?').context("a query was expected")?;
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.reverse();
    let reordered = format!("{path}?{}", pairs.join("&"));
    for changed in [
        reordered,
        url.replace("v1.", "v1%2E"),
        url.replace("Translate=false", "Translate=true"),
    ] {
        assert_eq!(
            setting.download(&changed, None).await?.status(),
            401,
            "{changed}"
        );
    }

    setting.world.clock.advance_seconds(3600);
    assert_eq!(setting.download(&url, None).await?.status(), 401);
    Ok(())
}

#[tokio::test]
async fn a_url_dies_with_the_content_it_was_made_for() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = setting
        .location("/root:/BI%20Import/a.csv:/content")
        .await?;
    setting.graph.touch_file(SITE, FOLDER, "a.csv");
    assert_eq!(setting.download(&url, None).await?.status(), 200);
    setting
        .graph
        .put_file(SITE, FOLDER, "a.csv", "new", start());
    assert_eq!(setting.download(&url, None).await?.status(), 401);
    Ok(())
}

#[tokio::test]
async fn ranges_are_honoured_ignored_or_out_of_bounds() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = setting
        .location("/root:/BI%20Import/b.xlsx:/content")
        .await?;
    let part = setting.download(&url, Some("bytes=2-")).await?;
    assert_eq!(
        (
            part.status().as_u16(),
            part.headers()["content-range"].to_str()?
        ),
        (206, "bytes 2-5/6")
    );
    assert_eq!(part.text().await?, "cond");
    assert_eq!(
        setting.download(&url, Some("bytes=6-")).await?.status(),
        416
    );
    setting.graph.ignore_ranges(true);
    assert_eq!(
        setting
            .download(&url, Some("bytes=2-"))
            .await?
            .text()
            .await?,
        "second"
    );
    Ok(())
}

#[tokio::test]
async fn downloads_go_wrong_as_they_were_seen_to() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let content = "/root:/BI%20Import/b.xlsx:/content";
    let route = "GET */download.aspx?*";

    setting
        .graph
        .faults()
        .script(route, When::Next(1), Scenario::DownloadTruncated(2));
    let url = setting.location(content).await?;
    assert!(setting.download(&url, None).await?.bytes().await.is_err());

    setting
        .graph
        .send_instead(SITE, FOLDER, "b.xlsx", "second, and more");
    let size = setting.json("/root:/BI%20Import/b.xlsx").await?["size"].clone();
    assert_eq!(
        (
            size,
            setting.download(&url, None).await?.text().await?.len()
        ),
        (json!(6), 16)
    );

    setting
        .graph
        .flag_malware(SITE, FOLDER, "b.xlsx", "EICAR-Test-File");
    let infected = setting.download(&url, None).await?;
    assert_eq!(
        (
            infected.status().as_u16(),
            infected.headers()["x-virus-infected"].to_str()?
        ),
        (403, "EICAR-Test-File")
    );

    setting
        .graph
        .faults()
        .script(route, When::Next(1), Outcome::Close);
    assert!(setting.download(&url, None).await.is_err());
    setting
        .graph
        .faults()
        .script(route, When::Next(1), Outcome::Hang);
    let silent = setting
        .world
        .client
        .get(&url)
        .timeout(std::time::Duration::from_millis(50));
    assert!(silent.send().await.is_err_and(|error| error.is_timeout()));
    Ok(())
}

#[tokio::test]
async fn a_move_keeps_id_and_content_tag() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let archive = setting.graph.put_folder(SITE, "BI Import/Archive");
    let before = setting.json("/root:/BI%20Import/a.csv").await?;
    let body = json!({"parentReference": {"id": archive}, "name": "a.20251129.csv"});
    let (status, after) = setting
        .patch(id(&before), body, before["eTag"].as_str())
        .await?;
    assert_eq!(status, 200);
    assert_eq!(
        (&after["id"], &after["cTag"]),
        (&before["id"], &before["cTag"])
    );
    assert_ne!(after["eTag"], before["eTag"]);
    assert!(
        setting
            .graph
            .files(SITE)
            .contains(&"BI Import/Archive/a.20251129.csv".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_move_meets_conflicts_locks_and_changes() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let item = setting.json("/root:/BI%20Import/a.csv").await?;
    let (status, body) = setting
        .patch(id(&item), json!({"name": "B.XLSX"}), None)
        .await?;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("nameAlreadyExists"))
    );

    for (lock, code) in [
        (Lock::NotAllowed, "notAllowed"),
        (Lock::AccessDenied, "accessDenied"),
        (Lock::ResourceLocked, "resourceLocked"),
    ] {
        setting.graph.lock_file(SITE, FOLDER, "a.csv", Some(lock));
        let (status, body) = setting
            .patch(id(&item), json!({"name": "x.csv"}), None)
            .await?;
        assert_eq!((status, &body["error"]["code"]), (423, &json!(code)));
    }
    setting.graph.lock_file(SITE, FOLDER, "a.csv", None);

    setting.graph.touch_file(SITE, FOLDER, "a.csv");
    let (status, body) = setting
        .patch(id(&item), json!({"name": "x.csv"}), item["eTag"].as_str())
        .await?;
    assert_eq!(
        (status, &body["error"]["code"]),
        (412, &json!("resourceModified"))
    );
    let (status, _) = setting
        .patch(id(&item), json!({"parentReference": {"id": "root"}}), None)
        .await?;
    assert_eq!(status, 404);
    let (status, _) = setting
        .patch(id(&item), json!({"name": "a:b"}), None)
        .await?;
    assert_eq!(status, 400);

    let lost = setting
        .graph
        .faults()
        .script("PATCH *", When::Next(1), Outcome::LoseAnswer);
    assert!(
        setting
            .patch(id(&item), json!({"name": "moved.csv"}), None)
            .await
            .is_err()
    );
    assert_eq!(setting.graph.faults().fired(lost), 1);
    assert!(setting.graph.file(SITE, FOLDER, "moved.csv").is_some());
    Ok(())
}

#[tokio::test]
async fn a_token_is_checked_for_audience_and_age() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = format!("{}/root", setting.drive);
    let other = setting.world.tokens.book().issue(
        "app",
        "https://other.example",
        start() + chrono::TimeDelta::days(1),
    );
    for token in [other.as_str(), "made-up"] {
        assert_eq!(setting.world.get(&url, token).await?.status(), 401);
    }
    assert_eq!(setting.world.client.get(&url).send().await?.status(), 401);
    setting.world.clock.advance_seconds(3599);
    let expired = setting.world.get(&url, &setting.token).await?;
    assert_eq!(expired.status(), 401);
    assert!(
        expired.headers()["www-authenticate"]
            .to_str()?
            .starts_with("Bearer realm=\"\"")
    );
    let body: Value = expired.json().await?;
    assert_eq!(body["error"]["code"], "InvalidAuthenticationToken");

    let log = setting.graph.faults().requests_to("GET */root");
    assert_eq!(
        log[0].header("authorization"),
        Some("Bearer <token 2 for https://other.example>")
    );
    assert_eq!(
        log[1].header("authorization"),
        Some("Bearer <unknown token>")
    );
    Ok(())
}

#[tokio::test]
async fn retry_after_comes_in_every_form_it_was_seen_in() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let date = "Sat, 29 Nov 2025 11:05:15 GMT";
    for value in [Some("41"), Some("2.128"), Some(date), None] {
        setting
            .graph
            .faults()
            .script("GET *", When::Next(1), Scenario::GraphThrottled(value));
        let response = setting
            .world
            .get(&format!("{}/root", setting.drive), &setting.token)
            .await?;
        let header = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str())
            .transpose()?;
        assert_eq!((response.status().as_u16(), header), (429, value));
        setting.graph.faults().clear();
    }
    Ok(())
}

#[tokio::test]
async fn mail_is_accepted_in_both_forms_and_kept() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = format!(
        "{}/v1.0/users/reports@example.com/sendMail",
        setting.graph.base_url
    );
    let mime = "From: reports@example.com\r\nTo: ops@example.com\r\nSubject: Test\r\n\r\nhello\r\n";
    let as_mime = setting
        .world
        .request(Method::POST, &url, &setting.token)
        .header("Content-Type", "text/plain")
        .body(STANDARD.encode(mime));
    assert_eq!(as_mime.send().await?.status(), 202);
    let json = json!({"message": {
        "subject": "Load report",
        "body": {"contentType": "HTML", "content": "<p></p>"},
        "toRecipients": [{"emailAddress": {"address": "ops@example.com"}}],
    }, "saveToSentItems": false});
    let as_json = setting
        .world
        .request(Method::POST, &url, &setting.token)
        .json(&json);
    assert_eq!(as_json.send().await?.status(), 202);

    let mails = setting.graph.mails();
    assert_eq!(mails[0].mime.as_deref(), Some(mime.as_bytes()));
    let subjects: Vec<_> = mails
        .iter()
        .filter_map(sandbox::graph::Mail::subject)
        .collect();
    assert_eq!(subjects, ["Test", "Load report"]);
    Ok(())
}

#[test]
fn quick_xor_hash_agrees_with_the_recorded_vectors() -> anyhow::Result<()> {
    let folder = std::env::var("STOREKEEPER_MICROSOFT_CONTRACT").unwrap_or_else(|_| {
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/microsoft-contract"
        )
        .to_owned()
    });
    let path = std::path::Path::new(&folder).join("hashes/quickxorhash-vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no recorded vectors at {}", path.display());
        return Ok(());
    };
    let file: Value = serde_json::from_str(&text)?;
    let vectors = file["vectors"]
        .as_array()
        .context("vectors were expected")?;
    assert!(vectors.len() > 30);
    for vector in vectors {
        let input = &vector["input"];
        let length = vector["length"].as_u64().context("a length was expected")?;
        let text = input["value"].as_str().unwrap_or_default();
        let mut hash = QuickXorHash::default();
        match input["kind"].as_str().unwrap_or_default() {
            "utf8" => hash.update(text.as_bytes()),
            "base64" => hash.update(&STANDARD.decode(text)?),
            "bytes 0 to 255 in order" => hash.update(&(0..=255).collect::<Vec<u8>>()),
            "pattern" => {
                let byte = |i: u64| u8::try_from((i * 7 + 13) % 251).unwrap_or_default();
                hash.update(&(0..length).map(byte).collect::<Vec<u8>>());
            }
            "zeros" => hash.skip_zeros(length),
            other => anyhow::bail!("no such kind of input: {other}"),
        }
        assert_eq!(
            json!(hash.finish()),
            vector["quickXorHash"],
            "{}",
            vector["name"]
        );
    }
    Ok(())
}
