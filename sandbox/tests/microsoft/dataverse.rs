//! Reading a Dataverse table: values, filters, pages and changes.

use anyhow::Context;
use reqwest::Method;
use sandbox::dataverse::schema::{Column, ColumnKind};
use serde_json::{Value, json};

use crate::organisation::{Organisation, TABLE, delta, next, row};

#[tokio::test]
async fn values_are_printed_as_the_service_prints_them() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let text = organisation
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
    let organisation = Organisation::new().await?;
    let select = "sk_days?$select=sk_orders";
    for (query, expected) in [
        ("$filter=sk_netsales%20ge%203000.50", vec![3, 4, 5]),
        ("$filter=sk_storenumber%20eq%20%27000102%27%20or%20sk_orders%20lt%202", vec![1, 4, 5]),
        ("$filter=contains(sk_businesskey,'_20251122')", vec![2]),
        ("$filter=sk_businessdate%20gt%202025-11-23&$orderby=sk_orders%20desc", vec![5, 4]),
        ("$filter=modifiedon%20ge%202025-11-29T11:00:00Z%20and%20sk_open%20eq%20false", vec![]),
        ("$orderby=sk_storenumber%20desc,sk_netsales%20asc&$top=3", vec![4, 5, 1]),
    ] {
        assert_eq!(organisation.orders(&format!("{select}&{query}")).await?, expected, "{query}");
    }
    let counted = organisation.follow(&organisation.url("sk_days?$select=sk_orders&$count=true&$top=1"), "").await?;
    assert_eq!(counted["@odata.count"], 5);
    Ok(())
}

#[tokio::test]
async fn what_the_service_refuses_is_refused() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let get = |path: &str| organisation.request(Method::GET, &organisation.url(path));
    let (status, code, text) = organisation.refusal(get("sk_days?$select=sk_orders,sk_nome")).await?;
    assert_eq!((status, code.as_str()), (400, "0x80060888"));
    assert_eq!(text, "Could not find a property named 'sk_nome' on type 'Microsoft.Dynamics.CRM.sk_day'.");
    for (path, expected) in [
        ("sk_dayz", 404),
        ("sk_days?$skip=5", 400),
        ("sk_days?$expand=owner", 400),
        ("sk_days?$apply=aggregate(sk_orders%20with%20sum%20as%20all)", 400),
        ("sk_days?sql=SELECT%20sk_orders%20FROM%20sk_day", 400),
        ("sk_days?$filter=year(sk_businessdate)%20eq%202025", 400),
        ("EntityDefinitions?$top=3", 400),
        ("sk_days?$filter=sk_orders%20eq%20'x'", 400),
        ("sk_days(sk_orders=1)", 400),
        ("sk_days(sk_storenumber='000101',sk_businessdate=2025-11-21)", 400),
        ("sk_days(sk_businesskey='gone')", 404),
        ("$batch", 501),
        ("sk_days/Microsoft.Dynamics.CRM.UpsertMultiple", 501),
        ("", 501),
    ] {
        assert_eq!(organisation.refusal(get(path)).await?.0, expected, "{path}");
    }
    let url = organisation.url("WhoAmI");
    for (name, value) in [("OData-Version", "3.0"), ("OData-MaxVersion", "x"), ("Accept", "text/xml")] {
        let request = organisation.world.request(Method::GET, &url, &organisation.token).header(name, value);
        assert_eq!(organisation.refusal(request).await?.0, 400, "{name}");
    }
    let blocked = get("sk_days(sk_businesskey='A%26B')").send().await?;
    assert_eq!((blocked.status().as_u16(), blocked.text().await?.contains("Invalid URL")), (400, true));
    Ok(())
}

#[tokio::test]
async fn pages_follow_the_cookie_as_it_is() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let prefer = "odata.maxpagesize=2";
    let first = organisation.follow(&organisation.url("sk_days?$select=sk_orders&$top=1"), prefer).await?;
    let link = next(&first)?;
    assert!(
        link.contains(
            "&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%2520page%253d%25221%2522%253e"
        ),
        "{link}"
    );
    organisation.dataverse.delete(TABLE, "00000000-0000-0000-0000-000000000003");
    let second = organisation.follow(&link, prefer).await?;
    let third = organisation.follow(&next(&first)?, "odata.maxpagesize=5000").await?;
    let orders = |page: &Value| {
        page["value"].as_array().into_iter().flatten().map(|row| row["sk_orders"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((orders(&first), orders(&second)), (vec![json!(1), json!(2)], vec![json!(4), json!(5)]));
    assert_eq!(orders(&third), [json!(4), json!(5)]);
    assert!(second.get("@odata.nextLink").is_none());

    let again = link.replace("%253c", "%25253c");
    let (status, code, text) = organisation.refusal(organisation.request(Method::GET, &again)).await?;
    assert_eq!((status, code.as_str(), text.as_str()), (400, "0x80060888", "Malformed XML in the Paging Cookie"));
    let log = organisation.dataverse.faults().requests();
    assert_eq!(format!("{}{}", organisation.dataverse.base_url, log[1].target), link);
    Ok(())
}

#[tokio::test]
async fn a_change_link_tells_writes_and_then_deletes() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let prefer = "odata.track-changes,odata.maxpagesize=3";
    let path = "sk_days?$select=sk_orders,sk_netsales";
    let first = organisation.follow(&organisation.url(path), prefer).await?;
    // Written between the pages: told again, not lost.
    organisation.dataverse.upsert(TABLE, &row(json!({"sk_businesskey": "000101_20251121", "sk_orders": 11})));
    let last = organisation.follow(&next(&first)?, prefer).await?;
    let link = delta(&last)?;
    assert!(
        link.contains("$select=sk_orders,sk_netsales&$deltatoken=")
            && link.contains("%2111%2f29%2f2025%2011%3a00%3a00"),
        "{link}"
    );

    let new =
        organisation.dataverse.upsert(TABLE, &row(json!({"sk_businesskey": "new"}))).context("an id was expected")?;
    organisation.dataverse.delete(TABLE, "00000000-0000-0000-0000-000000000005");
    organisation.dataverse.delete(TABLE, &new);
    let page = organisation.follow(&link, "").await?;
    let rows = page["value"].as_array().context("rows were expected")?;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["sk_orders"], 11);
    assert_eq!(rows[1]["id"], "00000000-0000-0000-0000-000000000005");
    assert_eq!(rows[1]["reason"], "deleted");
    assert!(rows[1]["@odata.context"].as_str().is_some_and(|text| text.ends_with("#sk_days/$deletedEntity")));
    assert_eq!(rows[2]["id"], json!(new));
    assert!(page["@odata.context"].as_str().is_some_and(|text| text.ends_with("(sk_orders,sk_netsales)/$delta")));

    let quiet = organisation.follow(&delta(&page)?, "").await?;
    assert_eq!(quiet["value"], json!([]));
    let again = organisation.follow(&link, "odata.maxpagesize=2").await?;
    let rest = organisation.follow(&next(&again)?, "odata.maxpagesize=2").await?;
    assert_eq!((again["value"].as_array().map(Vec::len), rest["value"].as_array().map(Vec::len)), (Some(2), Some(1)));
    delta(&rest)?;
    Ok(())
}

#[tokio::test]
async fn a_change_link_expires_by_age_by_switch_and_by_a_new_column() -> anyhow::Result<()> {
    let mut organisation = Organisation::new().await?;
    let expired = (400, "0x80044352".to_owned());

    let old = organisation.change_link().await?;
    organisation.world.clock.advance_seconds(8 * 24 * 3600);
    organisation.token = organisation.world.token(&organisation.dataverse.base_url).await?;
    assert_eq!(organisation.code_of(&old).await?, expired);

    let switched = organisation.change_link().await?;
    organisation.dataverse.expire_changes();
    assert_eq!(organisation.code_of(&switched).await?, expired);

    let redefined = organisation.change_link().await?;
    let column = Column { name: "sk_new".to_owned(), kind: ColumnKind::Text };
    organisation.dataverse.add_column(TABLE, column);
    assert_eq!(organisation.code_of(&redefined).await?, expired);

    // One that is handed out after it is good, though nothing was written since.
    let good = organisation.change_link().await?;
    assert_eq!(organisation.follow(&good, "odata.maxpagesize=2").await?["value"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_filter_and_change_tracking_exclude_each_other() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let url = organisation.url("sk_days?$filter=sk_orders%20eq%201");
    let request = organisation.request(Method::GET, &url).header("Prefer", "odata.track-changes");
    let (status, _, text) = organisation.refusal(request).await?;
    assert_eq!((status, text.contains("\"$filter\"")), (400, true));
    Ok(())
}
