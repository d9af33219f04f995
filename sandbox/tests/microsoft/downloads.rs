//! The download host of Graph.

use anyhow::Context;
use sandbox::faults::{Outcome, Scenario, When};
use serde_json::json;

use crate::library::{FOLDER, Library, SITE};
use crate::world::start;

#[tokio::test]
async fn a_download_wants_the_url_as_it_is_and_no_token() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = library.location("/root:/BI%20Import/b.xlsx:/content").await?;
    assert!(url.starts_with(&library.graph.download_url) && library.graph.download_url != library.graph.base_url);
    let whole = library.download(&url, None).await?;
    assert_eq!(whole.headers()["content-length"], "6");
    assert_eq!(whole.text().await?, "second");

    assert_eq!(library.world.get(&url, &library.token).await?.status(), 401);
    let (path, query) = url.split_once('?').context("a query was expected")?;
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.reverse();
    let reordered = format!("{path}?{}", pairs.join("&"));
    for changed in [reordered, url.replace("v1.", "v1%2E"), url.replace("Translate=false", "Translate=true")] {
        assert_eq!(library.download(&changed, None).await?.status(), 401, "{changed}");
    }

    library.world.clock.advance_seconds(3600);
    assert_eq!(library.download(&url, None).await?.status(), 401);
    Ok(())
}

#[tokio::test]
async fn a_url_dies_with_the_content_it_was_made_for() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = library.location("/root:/BI%20Import/a.csv:/content").await?;
    library.graph.touch_file(SITE, FOLDER, "a.csv");
    assert_eq!(library.download(&url, None).await?.status(), 200);
    library.graph.put_file(SITE, FOLDER, "a.csv", "new", start());
    assert_eq!(library.download(&url, None).await?.status(), 401);
    Ok(())
}

#[tokio::test]
async fn ranges_are_honoured_ignored_or_out_of_bounds() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let url = library.location("/root:/BI%20Import/b.xlsx:/content").await?;
    let part = library.download(&url, Some("bytes=2-")).await?;
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str()?), (206, "bytes 2-5/6"));
    assert_eq!(part.text().await?, "cond");
    assert_eq!(library.download(&url, Some("bytes=6-")).await?.status(), 416);
    library.graph.ignore_ranges(true);
    assert_eq!(library.download(&url, Some("bytes=2-")).await?.text().await?, "second");
    Ok(())
}

#[tokio::test]
async fn downloads_go_wrong_as_they_were_seen_to() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let content = "/root:/BI%20Import/b.xlsx:/content";
    let route = "GET */download.aspx?*";

    library.graph.faults().script(route, When::Next(1), Scenario::DownloadTruncated(2));
    let url = library.location(content).await?;
    assert!(library.download(&url, None).await?.bytes().await.is_err());

    library.graph.send_instead(SITE, FOLDER, "b.xlsx", "second, and more");
    let size = library.json("/root:/BI%20Import/b.xlsx").await?["size"].clone();
    assert_eq!((size, library.download(&url, None).await?.text().await?.len()), (json!(6), 16));

    library.graph.flag_malware(SITE, FOLDER, "b.xlsx", "EICAR-Test-File");
    let infected = library.download(&url, None).await?;
    assert_eq!(
        (infected.status().as_u16(), infected.headers()["x-virus-infected"].to_str()?),
        (403, "EICAR-Test-File")
    );

    library.graph.faults().script(route, When::Next(1), Outcome::Close);
    assert!(library.download(&url, None).await.is_err());
    library.graph.faults().script(route, When::Next(1), Outcome::Hang);
    let silent = library.world.client.get(&url).timeout(std::time::Duration::from_millis(50));
    assert!(silent.send().await.is_err_and(|error| error.is_timeout()));
    Ok(())
}
