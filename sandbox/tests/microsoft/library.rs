//! A SharePoint library with a few files, and a client that may read it.

use anyhow::Context;
use reqwest::Method;
use sandbox::graph::Graph;
use serde_json::Value;

use crate::world::{World, start};

pub(crate) const SITE: &str = "sites/harbor";
pub(crate) const FOLDER: &str = "BI Import";

/// A drive with three files, a token for it, and its address.
pub(crate) struct Library {
    pub(crate) world: World,
    pub(crate) graph: Graph,
    pub(crate) token: String,
    pub(crate) drive: String,
}

impl Library {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let world = World::start()?;
        let graph = world.graph()?;
        for (name, bytes) in [("a.csv", "one"), ("b.xlsx", "second"), ("c #1 50%+'x'.csv", "3")] {
            graph.put_file(SITE, FOLDER, name, bytes, start());
        }
        let token = world.token("https://graph.microsoft.com").await?;
        let site = format!("{}/v1.0/sites/example.sharepoint.com:/{SITE}:/drive", graph.base_url);
        let drive = world.get_json(&site, &token).await?;
        let id = drive["id"].as_str().context("a drive was expected")?;
        let drive = format!("{}/v1.0/drives/{id}", graph.base_url);
        Ok(Self { world, graph, token, drive })
    }

    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        self.world.get_json(&format!("{}{path}", self.drive), &self.token).await
    }

    pub(crate) async fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.world.get(&format!("{}{path}", self.drive), &self.token).await?.status().as_u16())
    }

    /// Follows next links from a listing; answers the names of each page and the last page.
    pub(crate) async fn pages(&self, path: &str) -> anyhow::Result<(Vec<Vec<String>>, Value)> {
        let mut page = self.json(path).await?;
        let mut pages = Vec::new();
        loop {
            let items = page["value"].as_array().context("a page was expected")?;
            pages.push(items.iter().map(|item| item["name"].as_str().unwrap_or("-").to_owned()).collect());
            anyhow::ensure!(pages.len() < 20, "the pages do not end");
            match page["@odata.nextLink"].as_str() {
                Some(link) => page = self.world.get_json(link, &self.token).await?,
                None => return Ok((pages, page)),
            }
        }
    }

    pub(crate) async fn patch(&self, id: &str, body: Value, tag: Option<&str>) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/items/{id}", self.drive);
        let mut request = self.world.request(Method::PATCH, &url, &self.token).json(&body);
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    pub(crate) async fn location(&self, path: &str) -> anyhow::Result<String> {
        let response = self.world.get(&format!("{}{path}", self.drive), &self.token).await?;
        anyhow::ensure!(response.status() == 302, "{}", response.status());
        Ok(response.headers()["location"].to_str()?.to_owned())
    }

    pub(crate) async fn download(&self, url: &str, range: Option<&str>) -> anyhow::Result<reqwest::Response> {
        let mut request = self.world.client.get(url);
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        Ok(request.send().await?)
    }
}

pub(crate) fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap_or_default()
}
