//! Many rows in one call, and many calls in one: `UpsertMultiple` and `$batch`.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::organisation::{Organisation, TABLE};

const TYPE: &str = "Microsoft.Dynamics.CRM.sk_day";

fn target(key: &str, orders: Value) -> Value {
    json!({"@odata.type": TYPE, "@odata.id": format!("sk_days(sk_businesskey='{key}')"), "sk_orders": orders})
}

impl Organisation {
    fn multiple(&self, message: &str, targets: &[Value]) -> RequestBuilder {
        let url = self.url(&format!("sk_days/Microsoft.Dynamics.CRM.{message}"));
        let body = json!({"Targets": targets}).to_string();
        self.request(Method::POST, &url).header("Content-Type", "application/json").body(body)
    }

    fn batch(&self, prefer: &str, body: String) -> RequestBuilder {
        self.request(Method::POST, &self.url("$batch"))
            .header("Content-Type", "multipart/mixed; boundary=\"b\"")
            .header("Prefer", prefer)
            .body(body)
    }

    fn keys(&self) -> Vec<String> {
        let rows = self.dataverse.rows(TABLE);
        let mut keys: Vec<String> =
            rows.iter().filter_map(|row| row["sk_businesskey"].as_str().map(str::to_owned)).collect();
        keys.sort();
        keys
    }
}

fn part(line: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json; type=entry\r\n" };
    format!(
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{line} HTTP/1.1\r\n{kind}\r\n{body}\r\n"
    )
}

fn patch(key: &str, body: &str) -> String {
    part(&format!("PATCH /api/data/v9.2/sk_days(sk_businesskey='{key}')"), body)
}

fn mixed(parts: &[String]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\r\n{part}")).collect();
    format!("{parts}--b--\r\n")
}

/// The statuses inside, in order.
async fn inside(response: Response) -> anyhow::Result<Vec<u16>> {
    let text = response.text().await?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    Ok(lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
}

#[tokio::test]
async fn many_rows_are_written_or_none_and_nobody_says_which_was_bad() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let good = [target("new_1", json!(1)), target("000101_20251121", json!(7))];
    let response = organisation.multiple("UpsertMultiple", &good).send().await?;
    assert_eq!((response.status().as_u16(), response.text().await?.as_str()), (204, ""));
    assert_eq!(organisation.dataverse.rows(TABLE).len(), 6);
    let versions = organisation.dataverse.versions(TABLE);
    for (bad, code) in [
        (target("new_3", json!("x")), "0x80048d19"),
        (target("new_2", json!(3)), "0x80040237"),
        (json!({"@odata.id": "sk_days(sk_businesskey='new_4')", "sk_orders": 1}), "0x80048d19"),
        (json!({"@odata.type": TYPE, "@odata.id": "sk_days(sk_orders=4)"}), "0x80060888"),
        (json!({"@odata.type": TYPE, "@odata.id": "sk_days(sk_businesskey='n')", "sk_businesskey": "n"}), "0x80040203"),
    ] {
        let refused = organisation.multiple("UpsertMultiple", &[target("new_2", json!(2)), bad.clone()]);
        assert_eq!(organisation.refusal(refused).await?.1, code, "{bad}");
        assert_eq!(organisation.dataverse.versions(TABLE), versions, "{bad}");
    }
    // On the way of an update the same does no harm, which is why it is found so late.
    let known = json!({"@odata.type": TYPE, "@odata.id": "sk_days(sk_businesskey='new_1')", "sk_businesskey": "new_1"});
    assert_eq!(organisation.multiple("UpsertMultiple", &[known]).send().await?.status(), 204);
    let missing = json!({"@odata.type": TYPE, "sk_dayid": "00000000-0000-0000-0000-00000000abcd"});
    assert_eq!(organisation.refusal(organisation.multiple("UpdateMultiple", &[missing])).await?.0, 404);
    let created: Value = organisation
        .multiple("CreateMultiple", &[json!({"@odata.type": TYPE}), json!({"@odata.type": TYPE})])
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(created["Ids"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_table_says_which_messages_it_takes() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let question = "sdkmessagefilters?$select=sdkmessagefilterid&$filter=sdkmessageid/name%20eq%20@message%20and%20\
                    primaryobjecttypecode%20eq%20@table&@message='UpsertMultiple'&@table='sk_day'";
    let answer = organisation.follow(&organisation.url(question), "").await?;
    assert_eq!(answer["value"].as_array().map(Vec::len), Some(1));
    organisation.dataverse.set_bulk(TABLE, false);
    let answer = organisation.follow(&organisation.url(question), "").await?;
    assert_eq!(answer["value"].as_array().map(Vec::len), Some(0));
    let refused = organisation.multiple("UpsertMultiple", &[target("a", json!(1))]);
    assert_eq!(organisation.refusal(refused).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn a_batch_stops_at_the_first_failure_unless_told_to_go_on() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let three = |name: &str| {
        let bad = patch(&format!("{name}_2"), r#"{"sk_orders":"x"}"#);
        let good = |number: u8| patch(&format!("{name}_{number}"), r#"{"sk_orders":1}"#);
        mixed(&[good(1), bad, good(3)])
    };
    let stopped = organisation.batch("", three("a")).send().await?;
    assert_eq!(stopped.status(), 400);
    assert!(stopped.headers()["content-type"].to_str()?.starts_with("multipart/mixed; boundary=batchresponse_"));
    assert_eq!(inside(stopped).await?, [204, 400]);
    let whole = organisation.batch("odata.continue-on-error", three("b")).send().await?;
    assert_eq!(whole.status(), 200);
    assert_eq!(inside(whole).await?, [204, 400, 204]);
    let keys = organisation.keys();
    let new: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !key.starts_with("000")).collect();
    assert_eq!(new, ["a_1", "b_1", "b_3"]);
    Ok(())
}

#[tokio::test]
async fn a_change_set_is_done_whole_or_not_at_all() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let set = |parts: &[(&str, String)]| {
        let parts: String = parts.iter().map(|(id, part)| format!("--c\r\nContent-ID: {id}\r\n{part}")).collect();
        mixed(&[format!("Content-Type: multipart/mixed; boundary=c\r\n\r\n{parts}--c--\r\n")])
    };
    let create = part("POST /api/data/v9.2/sk_days", r#"{"sk_businesskey":"c_1"}"#);
    let refer = part("PATCH $1", r#"{"sk_orders":5}"#);
    let done = organisation.batch("", set(&[("1", create.clone()), ("2", refer.clone())])).send().await?;
    assert_eq!(inside(done).await?, [204, 204]);
    assert_eq!(organisation.orders("sk_days?$select=sk_orders&$filter=sk_businesskey%20eq%20'c_1'").await?, [5]);
    let versions = organisation.dataverse.versions(TABLE);
    let bad = patch("c_3", r#"{"sk_orders":"x"}"#);
    let undone = organisation.batch("", set(&[("1", patch("c_2", r#"{"sk_orders":1}"#)), ("2", bad)])).send().await?;
    assert_eq!(undone.status(), 400);
    assert_eq!(inside(undone).await?, [400]);
    assert_eq!(organisation.dataverse.versions(TABLE), versions);
    let ahead = organisation.batch("", set(&[("2", refer), ("1", create)])).send().await?;
    assert_eq!(inside(ahead).await?, [400]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_as_a_whole_in_json() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let good = patch("d_1", r#"{"sk_orders":1}"#);
    let read_in_set = format!(
        "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-ID: 1\r\n{}--c--\r\n",
        part("GET /api/data/v9.2/sk_days", "")
    );
    let many: Vec<String> = (0..1001).map(|number| patch(&format!("m_{number}"), "{}")).collect();
    for body in [
        String::new(),
        mixed(std::slice::from_ref(&good)).replace("--b--", ""),
        mixed(std::slice::from_ref(&good)).replace("\r\n", "\n"),
        mixed(&[good.replace("Content-Transfer-Encoding: binary\r\n", "")]),
        mixed(&[read_in_set]),
        mixed(&many),
    ] {
        let (status, code, _) = organisation.refusal(organisation.batch("odata.continue-on-error", body)).await?;
        assert_eq!((status, code.as_str()), (400, "0x80048d19"));
    }
    let plain = organisation.request(Method::POST, &organisation.url("$batch")).header("Content-Type", "text/plain");
    let (_, code, text) = organisation.refusal(plain.body(mixed(&[good]))).await?;
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("0x80048d19", "The batch request must have Content-Type multipart/mixed.")
    );
    assert_eq!(organisation.dataverse.rows(TABLE).len(), 5);
    Ok(())
}
