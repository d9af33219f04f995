//! A Dataverse organisation with one table, and a client that may use it.

use anyhow::Context;
use reqwest::{Method, RequestBuilder};
use sandbox::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse, DataverseOptions};
use serde_json::{Map, Value, json};

use crate::world::World;

pub(crate) const TABLE: &str = "sk_day";

/// An organisation with one table of five rows, and a token for it.
pub(crate) struct Organisation {
    pub(crate) world: World,
    pub(crate) dataverse: Dataverse,
    pub(crate) token: String,
}

pub(crate) fn row(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn table() -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let state = ColumnKind::Choice(vec![(0, "Active".to_owned()), (1, "Inactive".to_owned())]);
    let key = |name: &str, columns: &[&str], active| AlternateKey {
        name: name.to_owned(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        active,
    };
    let day = |number: u32| {
        row(json!({
            "sk_dayid": format!("00000000-0000-0000-0000-00000000000{number}"),
            "sk_businesskey": format!("000101_2025112{number}"),
            "sk_storenumber": if number < 4 { "000101" } else { "000102" },
            "sk_businessdate": format!("2025-11-2{number}"),
            "sk_netsales": format!("{number}000.50"),
            "sk_hours": format!("{number}.25"),
            "sk_orders": number,
            "sk_clockin": format!("2025-11-2{number}T14:00:00Z"),
            "sk_wall": format!("2025-11-2{number}T09:00:00"),
            "sk_share": 0.5,
            "sk_open": true,
        }))
    };
    Table {
        logical_name: TABLE.to_owned(),
        entity_set: "sk_days".to_owned(),
        primary_id: "sk_dayid".to_owned(),
        columns: vec![
            column("sk_dayid", ColumnKind::Guid),
            column("sk_businesskey", ColumnKind::Text),
            column("sk_storenumber", ColumnKind::Text),
            column("sk_businessdate", ColumnKind::DateOnly),
            column("sk_netsales", ColumnKind::Money),
            column("sk_hours", ColumnKind::Decimal { precision: 2 }),
            column("sk_orders", ColumnKind::Integer),
            column("sk_clockin", ColumnKind::DateTimeUtc),
            column("sk_wall", ColumnKind::DateTimeWall),
            column("sk_share", ColumnKind::Double),
            column("sk_open", ColumnKind::Boolean),
            column("statecode", state),
            column("modifiedon", ColumnKind::DateTimeUtc),
        ],
        alternate_keys: vec![
            key("sk_key", &["sk_businesskey"], true),
            key("sk_pending", &["sk_storenumber", "sk_businessdate"], false),
        ],
        change_tracking: true,
        rows: (1..=5).map(day).collect(),
    }
}

impl Organisation {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let world = World::start()?;
        let dataverse = Dataverse::start(DataverseOptions {
            book: world.tokens.book(),
            tables: vec![table()],
            clock: world.clock.clone(),
            ..DataverseOptions::default()
        })?;
        let token = world.token(&dataverse.base_url).await?;
        Ok(Self { world, dataverse, token })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/api/data/v9.2/{path}", self.dataverse.base_url)
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.world
            .request(method, url, &self.token)
            .header("Accept", "application/json")
            .header("OData-Version", "4.0")
            .header("OData-MaxVersion", "4.0")
            .header("If-None-Match", "null")
    }

    pub(crate) async fn text(&self, path: &str, prefer: &str) -> anyhow::Result<String> {
        Ok(self.request(Method::GET, &self.url(path)).header("Prefer", prefer).send().await?.text().await?)
    }

    pub(crate) async fn follow(&self, url: &str, prefer: &str) -> anyhow::Result<Value> {
        Ok(self.request(Method::GET, url).header("Prefer", prefer).send().await?.json().await?)
    }

    /// The status, code and message of a request that is refused.
    pub(crate) async fn refusal(&self, request: RequestBuilder) -> anyhow::Result<(u16, String, String)> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body: Value = response.json().await?;
        let part = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        Ok((status, part("code"), part("message")))
    }

    pub(crate) async fn orders(&self, path: &str) -> anyhow::Result<Vec<u64>> {
        let page = self.follow(&self.url(path), "").await?;
        let rows = page["value"].as_array().with_context(|| page.to_string())?;
        Ok(rows.iter().filter_map(|row| row["sk_orders"].as_u64()).collect())
    }

    pub(crate) async fn change_link(&self) -> anyhow::Result<String> {
        let url = self.url("sk_days?$select=sk_orders");
        delta(&self.follow(&url, "odata.track-changes").await?)
    }

    pub(crate) async fn code_of(&self, link: &str) -> anyhow::Result<(u16, String)> {
        let (status, code, _) = self.refusal(self.request(Method::GET, link)).await?;
        Ok((status, code))
    }

    pub(crate) fn patch(&self, path: &str, body: &str) -> RequestBuilder {
        self.request(Method::PATCH, &self.url(path)).header("Content-Type", "application/json").body(body.to_owned())
    }
}

pub(crate) fn next(page: &Value) -> anyhow::Result<String> {
    Ok(page["@odata.nextLink"].as_str().with_context(|| page.to_string())?.to_owned())
}

pub(crate) fn delta(page: &Value) -> anyhow::Result<String> {
    Ok(page["@odata.deltaLink"].as_str().with_context(|| page.to_string())?.to_owned())
}
