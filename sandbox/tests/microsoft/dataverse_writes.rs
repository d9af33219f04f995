//! Writing to Dataverse, its metadata, and its refusals.

use anyhow::Context;
use reqwest::Method;
use sandbox::faults::{Scenario, When};
use serde_json::{Value, json};

use crate::organisation::{Organisation, TABLE};

#[tokio::test]
async fn an_upsert_by_key_creates_and_then_updates() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let path = "sk_days(sk_businesskey='000125_20251128')";
    let created = organisation
        .patch(path, r#"{"sk_netsales":79228162514264337593543.9505,"sk_hours":1.005,"sk_storenumber":""}"#)
        .send()
        .await?;
    assert_eq!(created.status(), 204);
    assert!(
        created.headers()["odata-entityid"]
            .to_str()?
            .ends_with("/api/data/v9.2/sk_days(sk_businesskey='000125_20251128')")
    );
    let text =
        organisation.text(&format!("{path}?$select=sk_netsales,sk_hours,sk_storenumber,sk_businesskey"), "").await?;
    for part in [
        "\"sk_netsales\":79228162514264337593543.9505",
        "\"sk_hours\":1.0100000000",
        "\"sk_storenumber\":null",
        "\"sk_businesskey\":\"000125_20251128\"",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    let updated = organisation
        .patch(&format!("{path}?$select=sk_orders"), r#"{"sk_orders":7,"sk_businesskey":"ignored"}"#)
        .header("Prefer", "return=representation")
        .send()
        .await?;
    assert_eq!(updated.status(), 200);
    let tag = updated.headers()["etag"].to_str()?.to_owned();
    let body: Value = updated.json().await?;
    assert_eq!((&body["sk_orders"], &body["@odata.etag"]), (&json!(7), &json!(tag)));
    assert_eq!(organisation.dataverse.rows(TABLE).len(), 6);

    let unchanged = organisation
        .world
        .request(Method::GET, &organisation.url(path), &organisation.token)
        .header("If-None-Match", &tag);
    assert_eq!(unchanged.send().await?.status(), 304);
    assert_eq!(organisation.request(Method::DELETE, &organisation.url(path)).send().await?.status(), 204);
    assert_eq!(organisation.dataverse.rows(TABLE).len(), 5);
    Ok(())
}

#[tokio::test]
async fn conditions_and_conflicts_have_codes_of_their_own() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let known = "sk_days(sk_businesskey='000101_20251121')";
    let body = r#"{"sk_orders":1}"#;
    let update_only = organisation.patch("sk_days(00000000-0000-0000-0000-00000000abcd)", body).header("If-Match", "*");
    let (status, code, text) = organisation.refusal(update_only).await?;
    assert_eq!((status, code.as_str()), (404, "0x80040217"));
    assert_eq!(text, "sk_day With Id = 00000000-0000-0000-0000-00000000abcd Does Not Exist");
    let stale = organisation.patch(known, body).header("If-Match", "W/\"1\"");
    assert_eq!(organisation.refusal(stale).await?.1, "0x80060882");
    let create_only = organisation
        .world
        .request(Method::PATCH, &organisation.url(known), &organisation.token)
        .header("If-None-Match", "*")
        .header("Content-Type", "application/json")
        .body(body);
    assert_eq!(organisation.refusal(create_only).await?.1, "0x80040237");
    let taken =
        organisation.patch("sk_days(00000000-0000-0000-0000-00000000abcd)", r#"{"sk_businesskey":"000101_20251121"}"#);
    assert_eq!(organisation.refusal(taken).await?.1, "0x80060892");
    for (body, part) in [
        (r#"{"sk_nome":1}"#, "The property 'sk_nome' does not exist"),
        (r#"{"statecode":"Active"}"#, "Cannot convert the literal 'Active' to the expected type 'Edm.Int32'"),
        (r#"{"sk_netsales":"12"}"#, "expected type 'Edm.Decimal'"),
    ] {
        let (status, code, text) = organisation.refusal(organisation.patch(known, body)).await?;
        assert_eq!((status, code.as_str()), (400, "0x80048d19"));
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn metadata_describes_tables_columns_and_keys() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let path = "EntityDefinitions(LogicalName='sk_day')?$select=LogicalName,EntitySetName,PrimaryIdAttribute,ChangeTrackingEnabled\
                &$expand=Attributes($select=LogicalName,AttributeType,AttributeTypeName,IsValidForRead,AttributeOf),Keys($select=LogicalName,KeyAttributes,EntityKeyIndexStatus)";
    let table = organisation.follow(&organisation.url(path), "").await?;
    assert_eq!(table["EntitySetName"], "sk_days");
    let keys: Vec<_> =
        table["Keys"].as_array().into_iter().flatten().map(|key| key["EntityKeyIndexStatus"].clone()).collect();
    assert_eq!(keys, ["Active", "Pending"]);
    let attributes = table["Attributes"].as_array().context("attributes were expected")?;
    let find = |name: &str| attributes.iter().find(|attribute| attribute["LogicalName"] == name);
    assert_eq!(find("sk_netsales").map(|item| item["AttributeType"].clone()), Some(json!("Money")));
    assert_eq!(find("statecodename").map(|item| item["AttributeOf"].clone()), Some(json!("statecode")));
    assert!(find("sk_hours").is_some_and(|item| item.get("Precision").is_none()));

    let cast = |kind: &str, rest: &str| {
        organisation.url(&format!(
            "EntityDefinitions(LogicalName='sk_day')/Attributes/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?{rest}"
        ))
    };
    let decimals = organisation.follow(&cast("Decimal", "$select=LogicalName,Precision"), "").await?;
    assert_eq!(decimals["value"][0]["Precision"], 2);
    let dates = organisation.follow(&cast("DateTime", "$select=LogicalName,DateTimeBehavior"), "").await?;
    let behaviors: Vec<_> =
        dates["value"].as_array().into_iter().flatten().map(|date| date["DateTimeBehavior"]["Value"].clone()).collect();
    assert_eq!(behaviors, ["DateOnly", "UserLocal", "TimeZoneIndependent", "UserLocal"]);
    let states =
        organisation.follow(&cast("State", "$select=LogicalName&$expand=OptionSet($select=Options)"), "").await?;
    assert_eq!(states["value"][0]["OptionSet"]["Options"][1]["Label"]["UserLocalizedLabel"]["Label"], "Inactive");
    assert_eq!(organisation.refusal(organisation.request(Method::GET, &cast("Enum", ""))).await?.0, 400);
    let bare = organisation.url("EntityDefinitions(LogicalName='sk_day')/Attributes?$select=LogicalName,Precision");
    assert_eq!(organisation.refusal(organisation.request(Method::GET, &bare)).await?.0, 400);
    let found = organisation
        .follow(&organisation.url("EntityDefinitions?$select=LogicalName&$filter=EntitySetName%20eq%20'sk_days'"), "")
        .await?;
    assert_eq!(found["value"][0]["LogicalName"], TABLE);
    let all = organisation.follow(&organisation.url("EntityDefinitions?$select=LogicalName"), "").await?;
    let id = all["value"][0]["MetadataId"].as_str().context("an id was expected")?;
    let by_id = organisation.follow(&organisation.url(&format!("EntityDefinitions({id})")), "").await?;
    assert_eq!(by_id["LogicalName"], TABLE);
    assert_eq!(
        organisation
            .refusal(organisation.request(Method::GET, &organisation.url("EntityDefinitions(LogicalName='sk_gone')")))
            .await?
            .0,
        404
    );
    Ok(())
}

#[tokio::test]
async fn a_token_for_another_service_gets_an_empty_401() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let _graph = organisation.world.graph()?;
    let graph_token = organisation.world.token("https://graph.microsoft.com").await?;
    let refused = organisation.world.get(&organisation.url("WhoAmI"), &graph_token).await?;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers()["www-authenticate"].to_str()?.contains("resource_id="));
    assert_eq!(refused.text().await?, "");

    let who = organisation.follow(&organisation.url("WhoAmI"), "").await?;
    assert!(who["UserId"].is_string());
    organisation.dataverse.faults().script("GET *", When::Next(1), Scenario::DataverseTimeLimit(Some("37")));
    let limited = organisation.request(Method::GET, &organisation.url("WhoAmI")).send().await?;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str()?), (429, "37"));
    Ok(())
}
