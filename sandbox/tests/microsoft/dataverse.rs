//! One Dataverse organisation.

use anyhow::Context;
use reqwest::{Method, RequestBuilder};
use sandbox::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse, DataverseOptions};
use sandbox::faults::{Scenario, When};
use serde_json::{Map, Value, json};

use crate::world::World;

const TABLE: &str = "sk_day";

/// An organisation with one table of five rows, and a token for it.
struct Setting {
    world: World,
    dataverse: Dataverse,
    token: String,
}

fn row(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn table() -> Table {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
    };
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

impl Setting {
    async fn new() -> anyhow::Result<Self> {
        let world = World::start()?;
        let dataverse = Dataverse::start(DataverseOptions {
            book: world.tokens.book(),
            tables: vec![table()],
            clock: world.clock.clone(),
            ..DataverseOptions::default()
        })?;
        let token = world.token(&dataverse.base_url).await?;
        Ok(Self {
            world,
            dataverse,
            token,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/data/v9.2/{path}", self.dataverse.base_url)
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.world
            .request(method, url, &self.token)
            .header("Accept", "application/json")
            .header("OData-Version", "4.0")
            .header("OData-MaxVersion", "4.0")
            .header("If-None-Match", "null")
    }

    async fn text(&self, path: &str, prefer: &str) -> anyhow::Result<String> {
        Ok(self
            .request(Method::GET, &self.url(path))
            .header("Prefer", prefer)
            .send()
            .await?
            .text()
            .await?)
    }

    async fn follow(&self, url: &str, prefer: &str) -> anyhow::Result<Value> {
        Ok(self
            .request(Method::GET, url)
            .header("Prefer", prefer)
            .send()
            .await?
            .json()
            .await?)
    }

    /// The status, code and message of a request that is refused.
    async fn refusal(&self, request: RequestBuilder) -> anyhow::Result<(u16, String, String)> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body: Value = response.json().await?;
        let part = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        Ok((status, part("code"), part("message")))
    }

    async fn orders(&self, path: &str) -> anyhow::Result<Vec<u64>> {
        let page = self.follow(&self.url(path), "").await?;
        let rows = page["value"].as_array().with_context(|| page.to_string())?;
        Ok(rows
            .iter()
            .filter_map(|row| row["sk_orders"].as_u64())
            .collect())
    }

    async fn change_link(&self) -> anyhow::Result<String> {
        let url = self.url("sk_days?$select=sk_orders");
        delta(&self.follow(&url, "odata.track-changes").await?)
    }

    async fn code_of(&self, link: &str) -> anyhow::Result<(u16, String)> {
        let (status, code, _) = self.refusal(self.request(Method::GET, link)).await?;
        Ok((status, code))
    }

    fn patch(&self, path: &str, body: &str) -> RequestBuilder {
        self.request(Method::PATCH, &self.url(path))
            .header("Content-Type", "application/json")
            .body(body.to_owned())
    }
}

fn next(page: &Value) -> anyhow::Result<String> {
    Ok(page["@odata.nextLink"]
        .as_str()
        .with_context(|| page.to_string())?
        .to_owned())
}

fn delta(page: &Value) -> anyhow::Result<String> {
    Ok(page["@odata.deltaLink"]
        .as_str()
        .with_context(|| page.to_string())?
        .to_owned())
}

#[tokio::test]
async fn values_are_printed_as_the_service_prints_them() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let text = setting
        .text(
            "sk_days?$select=sk_netsales,sk_hours,sk_businessdate,sk_clockin,sk_wall,statecode&$top=1",
            "odata.include-annotations=\"OData.Community.Display.V1.FormattedValue\"",
        )
        .await?;
    let formatted = "@OData.Community.Display.V1.FormattedValue\":";
    for part in [
        format!("\"sk_netsales{formatted}\"$1,000.50\",\"sk_netsales\":1000.5000,"),
        "\"sk_hours\":1.2500000000,".to_owned(),
        "\"sk_businessdate\":\"2025-11-21\"".to_owned(),
        "\"sk_clockin\":\"2025-11-21T14:00:00Z\"".to_owned(),
        "\"sk_wall\":\"2025-11-21T09:00:00Z\"".to_owned(),
        format!("\"statecode{formatted}\"Active\",\"statecode\":0"),
        "\"_transactioncurrencyid_value\":\"".to_owned(),
        "\"sk_dayid\":\"00000000-0000-0000-0000-000000000001\"}]".to_owned(),
        "$metadata#sk_days(sk_netsales,sk_hours,".to_owned(),
        "{\"@odata.etag\":\"W/\\\"".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_are_filtered_and_ordered() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let select = "sk_days?$select=sk_orders";
    for (query, expected) in [
        ("$filter=sk_netsales%20ge%203000.50", vec![3, 4, 5]),
        (
            "$filter=sk_storenumber%20eq%20%27000102%27%20or%20sk_orders%20lt%202",
            vec![1, 4, 5],
        ),
        ("$filter=contains(sk_businesskey,'_20251122')", vec![2]),
        (
            "$filter=sk_businessdate%20gt%202025-11-23&$orderby=sk_orders%20desc",
            vec![5, 4],
        ),
        (
            "$filter=modifiedon%20ge%202025-11-29T11:00:00Z%20and%20sk_open%20eq%20false",
            vec![],
        ),
        (
            "$orderby=sk_storenumber%20desc,sk_netsales%20asc&$top=3",
            vec![4, 5, 1],
        ),
    ] {
        assert_eq!(
            setting.orders(&format!("{select}&{query}")).await?,
            expected,
            "{query}"
        );
    }
    let counted = setting
        .follow(
            &setting.url("sk_days?$select=sk_orders&$count=true&$top=1"),
            "",
        )
        .await?;
    assert_eq!(counted["@odata.count"], 5);
    Ok(())
}

#[tokio::test]
async fn what_the_service_refuses_is_refused() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let get = |path: &str| setting.request(Method::GET, &setting.url(path));
    let (status, code, text) = setting
        .refusal(get("sk_days?$select=sk_orders,sk_nome"))
        .await?;
    assert_eq!((status, code.as_str()), (400, "0x80060888"));
    assert_eq!(
        text,
        "Could not find a property named 'sk_nome' on type 'Microsoft.Dynamics.CRM.sk_day'."
    );
    for (path, expected) in [
        ("sk_dayz", 404),
        ("sk_days?$skip=5", 400),
        ("sk_days?$expand=owner", 501),
        ("sk_days?$filter=sk_orders%20eq%20'x'", 400),
        ("sk_days(sk_orders=1)", 400),
        (
            "sk_days(sk_storenumber='000101',sk_businessdate=2025-11-21)",
            400,
        ),
        ("sk_days(sk_businesskey='gone')", 404),
        ("$batch", 501),
        ("sk_days/Microsoft.Dynamics.CRM.UpsertMultiple", 501),
        ("", 501),
    ] {
        assert_eq!(setting.refusal(get(path)).await?.0, expected, "{path}");
    }
    let url = setting.url("WhoAmI");
    for (name, value) in [
        ("OData-Version", "3.0"),
        ("OData-MaxVersion", "x"),
        ("Accept", "text/xml"),
    ] {
        let request = setting
            .world
            .request(Method::GET, &url, &setting.token)
            .header(name, value);
        assert_eq!(setting.refusal(request).await?.0, 400, "{name}");
    }
    let blocked = get("sk_days(sk_businesskey='A%26B')").send().await?;
    assert_eq!(
        (
            blocked.status().as_u16(),
            blocked.text().await?.contains("Invalid URL")
        ),
        (400, true)
    );
    Ok(())
}

#[tokio::test]
async fn pages_follow_the_cookie_as_it_is() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let prefer = "odata.maxpagesize=2";
    let first = setting
        .follow(&setting.url("sk_days?$select=sk_orders&$top=1"), prefer)
        .await?;
    let link = next(&first)?;
    assert!(link.contains("&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%2520page%253d%25221%2522%253e"), "{link}");
    setting
        .dataverse
        .delete(TABLE, "00000000-0000-0000-0000-000000000003");
    let second = setting.follow(&link, prefer).await?;
    let third = setting
        .follow(&next(&first)?, "odata.maxpagesize=5000")
        .await?;
    let orders = |page: &Value| {
        page["value"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| row["sk_orders"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (orders(&first), orders(&second)),
        (vec![json!(1), json!(2)], vec![json!(4), json!(5)])
    );
    assert_eq!(orders(&third), [json!(4), json!(5)]);
    assert!(second.get("@odata.nextLink").is_none());

    let again = link.replace("%253c", "%25253c");
    let (status, code, text) = setting
        .refusal(setting.request(Method::GET, &again))
        .await?;
    assert_eq!(
        (status, code.as_str(), text.as_str()),
        (400, "0x80060888", "Malformed XML in the Paging Cookie")
    );
    let log = setting.dataverse.faults().requests();
    assert_eq!(
        format!("{}{}", setting.dataverse.base_url, log[1].target),
        link
    );
    Ok(())
}

#[tokio::test]
async fn a_change_link_tells_writes_and_then_deletes() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let prefer = "odata.track-changes,odata.maxpagesize=3";
    let path = "sk_days?$select=sk_orders,sk_netsales";
    let first = setting.follow(&setting.url(path), prefer).await?;
    // Written between the pages: told again, not lost.
    setting.dataverse.upsert(
        TABLE,
        &row(json!({"sk_businesskey": "000101_20251121", "sk_orders": 11})),
    );
    let last = setting.follow(&next(&first)?, prefer).await?;
    let link = delta(&last)?;
    assert!(
        link.contains("$select=sk_orders,sk_netsales&$deltatoken=")
            && link.contains("%2111%2f29%2f2025%2011%3a00%3a00"),
        "{link}"
    );

    let new = setting
        .dataverse
        .upsert(TABLE, &row(json!({"sk_businesskey": "new"})))
        .context("an id was expected")?;
    setting
        .dataverse
        .delete(TABLE, "00000000-0000-0000-0000-000000000005");
    setting.dataverse.delete(TABLE, &new);
    let page = setting.follow(&link, "").await?;
    let rows = page["value"].as_array().context("rows were expected")?;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["sk_orders"], 11);
    assert_eq!(rows[1]["id"], "00000000-0000-0000-0000-000000000005");
    assert_eq!(rows[1]["reason"], "deleted");
    assert!(
        rows[1]["@odata.context"]
            .as_str()
            .is_some_and(|text| text.ends_with("#sk_days/$deletedEntity"))
    );
    assert_eq!(rows[2]["id"], json!(new));
    assert!(
        page["@odata.context"]
            .as_str()
            .is_some_and(|text| text.ends_with("(sk_orders,sk_netsales)/$delta"))
    );

    let quiet = setting.follow(&delta(&page)?, "").await?;
    assert_eq!(quiet["value"], json!([]));
    let again = setting.follow(&link, "odata.maxpagesize=2").await?;
    let rest = setting
        .follow(&next(&again)?, "odata.maxpagesize=2")
        .await?;
    assert_eq!(
        (
            again["value"].as_array().map(Vec::len),
            rest["value"].as_array().map(Vec::len)
        ),
        (Some(2), Some(1))
    );
    delta(&rest)?;
    Ok(())
}

#[tokio::test]
async fn a_change_link_expires_by_age_by_switch_and_by_a_new_column() -> anyhow::Result<()> {
    let mut setting = Setting::new().await?;
    let expired = (400, "0x80044352".to_owned());

    let old = setting.change_link().await?;
    setting.world.clock.advance_seconds(8 * 24 * 3600);
    setting.token = setting.world.token(&setting.dataverse.base_url).await?;
    assert_eq!(setting.code_of(&old).await?, expired);

    let switched = setting.change_link().await?;
    setting.dataverse.expire_changes();
    assert_eq!(setting.code_of(&switched).await?, expired);

    let redefined = setting.change_link().await?;
    let column = Column {
        name: "sk_new".to_owned(),
        kind: ColumnKind::Text,
    };
    setting.dataverse.add_column(TABLE, column);
    assert_eq!(setting.code_of(&redefined).await?, expired);
    Ok(())
}

#[tokio::test]
async fn a_filter_and_change_tracking_exclude_each_other() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let url = setting.url("sk_days?$filter=sk_orders%20eq%201");
    let request = setting
        .request(Method::GET, &url)
        .header("Prefer", "odata.track-changes");
    let (status, _, text) = setting.refusal(request).await?;
    assert_eq!((status, text.contains("\"$filter\"")), (400, true));
    Ok(())
}

#[tokio::test]
async fn an_upsert_by_key_creates_and_then_updates() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let path = "sk_days(sk_businesskey='000125_20251128')";
    let created = setting
        .patch(
            path,
            r#"{"sk_netsales":79228162514264337593543.9505,"sk_hours":1.005,"sk_storenumber":""}"#,
        )
        .send()
        .await?;
    assert_eq!(created.status(), 204);
    assert!(
        created.headers()["odata-entityid"]
            .to_str()?
            .ends_with("/api/data/v9.2/sk_days(sk_businesskey='000125_20251128')")
    );
    let text = setting
        .text(
            &format!("{path}?$select=sk_netsales,sk_hours,sk_storenumber,sk_businesskey"),
            "",
        )
        .await?;
    for part in [
        "\"sk_netsales\":79228162514264337593543.9505",
        "\"sk_hours\":1.0100000000",
        "\"sk_storenumber\":null",
        "\"sk_businesskey\":\"000125_20251128\"",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    let updated = setting
        .patch(
            &format!("{path}?$select=sk_orders"),
            r#"{"sk_orders":7,"sk_businesskey":"ignored"}"#,
        )
        .header("Prefer", "return=representation")
        .send()
        .await?;
    assert_eq!(updated.status(), 200);
    let tag = updated.headers()["etag"].to_str()?.to_owned();
    let body: Value = updated.json().await?;
    assert_eq!(
        (&body["sk_orders"], &body["@odata.etag"]),
        (&json!(7), &json!(tag))
    );
    assert_eq!(setting.dataverse.rows(TABLE).len(), 6);

    let unchanged = setting
        .world
        .request(Method::GET, &setting.url(path), &setting.token)
        .header("If-None-Match", &tag);
    assert_eq!(unchanged.send().await?.status(), 304);
    assert_eq!(
        setting
            .request(Method::DELETE, &setting.url(path))
            .send()
            .await?
            .status(),
        204
    );
    assert_eq!(setting.dataverse.rows(TABLE).len(), 5);
    Ok(())
}

#[tokio::test]
async fn conditions_and_conflicts_have_codes_of_their_own() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let known = "sk_days(sk_businesskey='000101_20251121')";
    let body = r#"{"sk_orders":1}"#;
    let update_only = setting
        .patch("sk_days(00000000-0000-0000-0000-00000000abcd)", body)
        .header("If-Match", "*");
    let (status, code, text) = setting.refusal(update_only).await?;
    assert_eq!((status, code.as_str()), (404, "0x80040217"));
    assert_eq!(
        text,
        "sk_day With Id = 00000000-0000-0000-0000-00000000abcd Does Not Exist"
    );
    let stale = setting.patch(known, body).header("If-Match", "W/\"1\"");
    assert_eq!(setting.refusal(stale).await?.1, "0x80060882");
    let create_only = setting
        .world
        .request(Method::PATCH, &setting.url(known), &setting.token)
        .header("If-None-Match", "*")
        .header("Content-Type", "application/json")
        .body(body);
    assert_eq!(setting.refusal(create_only).await?.1, "0x80040237");
    let taken = setting.patch(
        "sk_days(00000000-0000-0000-0000-00000000abcd)",
        r#"{"sk_businesskey":"000101_20251121"}"#,
    );
    assert_eq!(setting.refusal(taken).await?.1, "0x80060892");
    for (body, part) in [
        (r#"{"sk_nome":1}"#, "The property 'sk_nome' does not exist"),
        (
            r#"{"statecode":"Active"}"#,
            "Cannot convert the literal 'Active' to the expected type 'Edm.Int32'",
        ),
        (r#"{"sk_netsales":"12"}"#, "expected type 'Edm.Decimal'"),
    ] {
        let (status, code, text) = setting.refusal(setting.patch(known, body)).await?;
        assert_eq!((status, code.as_str()), (400, "0x80048d19"));
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn metadata_describes_tables_columns_and_keys() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let path = "EntityDefinitions(LogicalName='sk_day')?$select=LogicalName,EntitySetName,PrimaryIdAttribute,ChangeTrackingEnabled\
                &$expand=Attributes($select=LogicalName,AttributeType,AttributeTypeName,IsValidForRead,AttributeOf),Keys($select=LogicalName,KeyAttributes,EntityKeyIndexStatus)";
    let table = setting.follow(&setting.url(path), "").await?;
    assert_eq!(table["EntitySetName"], "sk_days");
    let keys: Vec<_> = table["Keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|key| key["EntityKeyIndexStatus"].clone())
        .collect();
    assert_eq!(keys, ["Active", "Pending"]);
    let attributes = table["Attributes"]
        .as_array()
        .context("attributes were expected")?;
    let find = |name: &str| {
        attributes
            .iter()
            .find(|attribute| attribute["LogicalName"] == name)
    };
    assert_eq!(
        find("sk_netsales").map(|item| item["AttributeType"].clone()),
        Some(json!("Money"))
    );
    assert_eq!(
        find("statecodename").map(|item| item["AttributeOf"].clone()),
        Some(json!("statecode"))
    );
    assert!(find("sk_hours").is_some_and(|item| item.get("Precision").is_none()));

    let cast = |kind: &str, rest: &str| {
        setting.url(&format!("EntityDefinitions(LogicalName='sk_day')/Attributes/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?{rest}"))
    };
    let decimals = setting
        .follow(&cast("Decimal", "$select=LogicalName,Precision"), "")
        .await?;
    assert_eq!(decimals["value"][0]["Precision"], 2);
    let dates = setting
        .follow(
            &cast("DateTime", "$select=LogicalName,DateTimeBehavior"),
            "",
        )
        .await?;
    let behaviors: Vec<_> = dates["value"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|date| date["DateTimeBehavior"]["Value"].clone())
        .collect();
    assert_eq!(
        behaviors,
        ["DateOnly", "UserLocal", "TimeZoneIndependent", "UserLocal"]
    );
    let states = setting
        .follow(
            &cast(
                "State",
                "$select=LogicalName&$expand=OptionSet($select=Options)",
            ),
            "",
        )
        .await?;
    assert_eq!(
        states["value"][0]["OptionSet"]["Options"][1]["Label"]["UserLocalizedLabel"]["Label"],
        "Inactive"
    );
    assert_eq!(
        setting
            .refusal(setting.request(Method::GET, &cast("Enum", "")))
            .await?
            .0,
        400
    );
    let bare = setting
        .url("EntityDefinitions(LogicalName='sk_day')/Attributes?$select=LogicalName,Precision");
    assert_eq!(
        setting
            .refusal(setting.request(Method::GET, &bare))
            .await?
            .0,
        400
    );
    let found = setting
        .follow(
            &setting.url(
                "EntityDefinitions?$select=LogicalName&$filter=EntitySetName%20eq%20'sk_days'",
            ),
            "",
        )
        .await?;
    assert_eq!(found["value"][0]["LogicalName"], TABLE);
    assert_eq!(
        setting
            .refusal(setting.request(
                Method::GET,
                &setting.url("EntityDefinitions(LogicalName='sk_gone')")
            ))
            .await?
            .0,
        404
    );
    Ok(())
}

#[tokio::test]
async fn a_token_for_another_service_gets_an_empty_401() -> anyhow::Result<()> {
    let setting = Setting::new().await?;
    let _graph = setting.world.graph()?;
    let graph_token = setting.world.token("https://graph.microsoft.com").await?;
    let refused = setting
        .world
        .get(&setting.url("WhoAmI"), &graph_token)
        .await?;
    assert_eq!(refused.status(), 401);
    assert!(
        refused.headers()["www-authenticate"]
            .to_str()?
            .contains("resource_id=")
    );
    assert_eq!(refused.text().await?, "");

    let who = setting.follow(&setting.url("WhoAmI"), "").await?;
    assert!(who["UserId"].is_string());
    setting.dataverse.faults().script(
        "GET *",
        When::Next(1),
        Scenario::DataverseTimeLimit(Some("37")),
    );
    let limited = setting
        .request(Method::GET, &setting.url("WhoAmI"))
        .send()
        .await?;
    assert_eq!(
        (
            limited.status().as_u16(),
            limited.headers()["retry-after"].to_str()?
        ),
        (429, "37")
    );
    Ok(())
}
