//! Holds the stand-ins' words against the recorded wire files, where those are at hand.

use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sandbox::faults::{Outcome, Scenario};
use sandbox::graph::QuickXorHash;
use serde_json::{Value, json};

/// The folder of the recorded contract; without one the tests of this file have nothing to do.
fn contract() -> Option<PathBuf> {
    let folder = std::env::var_os("STOREKEEPER_MICROSOFT_CONTRACT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/microsoft-contract"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("skipped: no recorded contract at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// A recorded answer: status, headers in lower case, body.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Reads the `number`-th answer of a `.http` file, counted from 0.
fn recorded(text: &str, number: usize) -> anyhow::Result<Answer> {
    let answer = text.split("<<< response").nth(number + 1).context("no such answer")?;
    let answer = answer.split("\n>>> ").next().unwrap_or_default();
    let answer = answer.split("\n--- ").next().unwrap_or_default();
    let mut lines = answer.lines().skip(1);
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let headers = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let body = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    Ok(Answer { status: status.parse()?, headers, body })
}

/// What of a JSON error has to agree: all but times and ids.
fn essence(body: &str) -> Value {
    match serde_json::from_str::<Value>(body) {
        Ok(json) => {
            let error = &json["error"];
            json!([error["code"], error["message"], json["error_codes"], json["error_description"]])
        }
        Err(_) => json!(body),
    }
}

#[test]
fn every_scenario_answers_as_it_was_recorded() -> anyhow::Result<()> {
    let Some(contract) = contract() else {
        return Ok(());
    };
    for (file, number, scenario) in [
        ("token/10-throttled", 0, Scenario::TokenThrottled(Some("60"))),
        ("token/11-transient-server-error", 0, Scenario::TokenUnavailable),
        ("token/14-graph-401-expired-token", 0, Scenario::GraphTokenExpired),
        ("token/15-graph-401-claims-challenge", 0, Scenario::GraphClaimsChallenge),
        ("token/16-graph-401-rps", 0, Scenario::GraphRps),
        ("token/17-graph-no-permissions-in-token", 0, Scenario::GraphNoPermissions),
        ("graph-drive/09-delta-410-location-fails", 0, Scenario::GraphGeneralException),
        ("graph-drive/12-delta-500-next-link", 0, Scenario::GraphDeltaFault),
        ("graph-drive/13-delta-200-without-value", 0, Scenario::GraphWithoutValue),
        ("graph-drive/18-download-url-expired", 0, Scenario::DownloadUnauthorized),
        ("graph-drive/19-download-malware-403", 0, Scenario::DownloadMalware),
        ("graph-drive/20-download-503-html", 0, Scenario::DownloadUnavailableHtml),
        ("graph-drive/23-throttle-429", 0, Scenario::GraphThrottled(Some("41"))),
        ("graph-drive/24-throttle-429-fractional", 0, Scenario::GraphTooManyRequests(Some("2.128"))),
        ("graph-drive/25-throttle-429-no-header", 0, Scenario::GraphThrottled(None)),
        ("graph-drive/26-throttle-503", 0, Scenario::GraphUnavailable(Some("10"))),
        ("graph-drive/32-item-404", 0, Scenario::GraphItemNotFound),
        ("graph-drive/33-access-denied-403", 0, Scenario::GraphAccessDenied),
        ("graph-drive/39-bandwidth-509-and-507", 0, Scenario::GraphBandwidthExceeded),
        ("graph-drive/39-bandwidth-509-and-507", 1, Scenario::GraphStorageFull),
        ("graph-drive/39-bandwidth-509-and-507", 2, Scenario::GraphGatewayTimeout),
        ("sendmail/04-access-denied-403", 0, Scenario::MailAccessDenied),
        ("sendmail/06-too-large-413", 0, Scenario::MailTooLarge),
        ("sendmail/06-too-large-413", 1, Scenario::MailEmptyMessage),
        ("sendmail/07-throttled-429", 0, Scenario::MailThrottled(Some("16"))),
        ("dataverse/08-track-changes-expired", 0, Scenario::DataverseChangesExpired),
        ("dataverse/30-limit-requests-429", 0, Scenario::DataverseRequestLimit(Some("37"))),
        ("dataverse/31-limit-time-429", 0, Scenario::DataverseTimeLimit(Some("37"))),
        ("dataverse/32-limit-concurrency-429", 0, Scenario::DataverseConcurrencyLimit(Some("37"))),
        ("dataverse/33-privilege-403", 0, Scenario::DataverseMissingPrivilege("account")),
        ("dataverse/34-not-a-member-403", 0, Scenario::DataverseNotAMember),
        ("dataverse/35-unauthorized-401", 0, Scenario::DataverseUnauthorized),
        ("dataverse/38-sql-timeout-500", 0, Scenario::DataverseSqlTimeout),
        ("dataverse/38-sql-timeout-500", 1, Scenario::DataverseDeadlock),
        ("dataverse/45-payload-too-large-413", 0, Scenario::DataverseTooLarge),
        ("dataverse/46-gateway-html-502", 0, Scenario::DataverseBadGateway),
    ] {
        let text = std::fs::read_to_string(contract.join(format!("{file}.http")))?;
        let expected = recorded(&text, number)?;
        let Outcome::Answer(answer) = Outcome::from(scenario) else {
            anyhow::bail!("{file}: an answer was expected");
        };
        assert_eq!(answer.status, expected.status, "{file}");
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(essence(&body), essence(&expected.body), "{file}");
        for name in ["retry-after", "www-authenticate", "x-virus-infected"] {
            let recorded = expected.headers.iter().find(|(other, _)| other == name);
            assert_eq!(answer.header(name), recorded.map(|(_, value)| value.as_str()), "{file}: {name}");
        }
    }
    Ok(())
}

#[test]
fn quick_xor_hash_agrees_with_the_recorded_vectors() -> anyhow::Result<()> {
    let Some(contract) = contract() else {
        return Ok(());
    };
    let text = std::fs::read_to_string(contract.join("hashes/quickxorhash-vectors.json"))?;
    let file: Value = serde_json::from_str(&text)?;
    let vectors = file["vectors"].as_array().context("vectors were expected")?;
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
        assert_eq!(json!(hash.finish()), vector["quickXorHash"], "{}", vector["name"]);
    }
    Ok(())
}
