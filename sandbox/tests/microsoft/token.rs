//! The token endpoint.

use reqwest::Method;
use sandbox::faults::{Outcome, Scenario, When};
use sandbox::token::{TokenOptions, TokenService};

use crate::world::{CLIENT, SECRET, World};

const GRAPH: &str = "https://graph.microsoft.com/.default";

fn fields<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields =
        vec![("client_id", CLIENT), ("client_secret", SECRET), ("scope", GRAPH), ("grant_type", "client_credentials")];
    for (name, value) in changed {
        fields.retain(|(other, _)| other != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    fields
}

#[tokio::test]
async fn a_token_is_issued_for_one_known_resource() -> anyhow::Result<()> {
    let world = World::start()?;
    let _graph = world.graph()?;
    let (status, body) = world.ask(&fields(&[])).await?;
    assert_eq!(status, 200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3599);
    assert!(body["access_token"].as_str().is_some_and(|token| token.starts_with("opaque.")));
    Ok(())
}

#[tokio::test]
async fn every_mistake_has_its_own_code() -> anyhow::Result<()> {
    let world = World::start()?;
    let _graph = world.graph()?;
    for (changed, expected) in [
        (("client_secret", "wrong"), (401, "invalid_client", 7_000_215)),
        (("client_secret", ""), (400, "invalid_request", 7_000_218)),
        (("client_id", "nobody"), (400, "unauthorized_client", 700_016)),
        (("scope", "https://graph.microsoft.com/Mail.Send"), (400, "invalid_scope", 70011)),
        (("scope", "https://a/.default https://b/.default"), (400, "invalid_scope", 700_022)),
        (("scope", "https://typo.crm.dynamics.com/.default"), (400, "invalid_resource", 500_011)),
        (("grant_type", ""), (400, "invalid_request", 900_144)),
        (("grant_type", "password"), (400, "unsupported_grant_type", 70003)),
    ] {
        let (status, body) = world.ask(&fields(&[changed])).await?;
        let error = body["error"].as_str().unwrap_or_default().to_owned();
        let code = body["error_codes"][0].as_u64().unwrap_or_default();
        assert_eq!((status, error.as_str(), code), expected, "{changed:?}");
        let text = body["error_description"].as_str().unwrap_or_default();
        assert!(text.starts_with(&format!("AADSTS{code}: ")) && text.contains("\r\nTrace ID: "));
    }
    world.tokens.expire_secret(CLIENT);
    let (status, body) = world.ask(&fields(&[])).await?;
    assert_eq!((status, &body["error_codes"][0]), (401, &7_000_222.into()));
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_not_form_encoded_is_a_wrong_one() -> anyhow::Result<()> {
    let world = World::start()?;
    let _graph = world.graph()?;
    let url = format!("{}/{}/oauth2/v2.0/token", world.tokens.base_url, crate::world::TENANT);
    let body = format!("client_id={CLIENT}&client_secret={SECRET}&grant_type=client_credentials&scope={GRAPH}");
    let post = world.client.post(&url).header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(post.body(body).send().await?.status(), 401);

    let basic = world
        .client
        .post(&url)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .basic_auth(CLIENT, Some("a%2Bb%2Fc%3D~secret"))
        .body(format!("grant_type=client_credentials&scope={GRAPH}"));
    assert_eq!(basic.send().await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn other_tenants_routes_and_methods_are_refused() -> anyhow::Result<()> {
    let world = World::start()?;
    let base = &world.tokens.base_url;
    let status = async |method: Method, path: &str| -> anyhow::Result<u16> {
        let request = world.client.request(method, format!("{base}{path}"));
        Ok(request.send().await?.status().as_u16())
    };
    assert_eq!(status(Method::POST, "/other/oauth2/v2.0/token").await?, 400);
    assert_eq!(status(Method::POST, "/common/oauth2/v2.0/token").await?, 400);
    assert_eq!(status(Method::GET, "/other/oauth2/v2.0/token").await?, 501);
    assert_eq!(status(Method::POST, "/other/oauth2/token").await?, 501);
    Ok(())
}

#[tokio::test]
async fn a_scope_without_a_resource_is_one_of_graph() -> anyhow::Result<()> {
    let world = World::start()?;
    let graph = world.graph()?;
    let (status, body) = world.ask(&fields(&[("scope", ".default")])).await?;
    assert_eq!(status, 200);
    let token = body["access_token"].as_str().unwrap_or_default();
    let sites = world.client.get(format!("{}/v1.0/sites/root", graph.base_url)).bearer_auth(token);
    assert_eq!(sites.send().await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_client_finds_the_endpoint_by_its_public_name() -> anyhow::Result<()> {
    let name = "https://login.example.com";
    let options = TokenOptions { public_url: Some(name.to_owned()), ..TokenOptions::default() };
    let tenant = options.tenant_id.clone();
    let tokens = TokenService::start(options)?;
    let client = reqwest::Client::new();
    let asked = async |path: String| -> anyhow::Result<(u16, serde_json::Value)> {
        let answer = client.get(format!("{}{path}", tokens.listens_on)).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let (_, instance) = asked("/common/discovery/instance?api-version=1.1".to_owned()).await?;
    let document = format!("/{tenant}/v2.0/.well-known/openid-configuration");
    assert_eq!(instance["tenant_discovery_endpoint"], format!("{name}{document}"));
    let (_, endpoints) = asked(document).await?;
    assert_eq!(endpoints["token_endpoint"], format!("{name}/{tenant}/oauth2/v2.0/token"));
    assert_eq!(asked("/other/v2.0/.well-known/openid-configuration".to_owned()).await?.0, 400);
    Ok(())
}

#[tokio::test]
async fn a_script_of_faults_is_played_and_no_secret_is_logged() -> anyhow::Result<()> {
    let world = World::start()?;
    let _graph = world.graph()?;
    let faults = world.tokens.faults();
    faults.script("POST *", When::Nth(1), Scenario::TokenUnavailableHtml);
    faults.script("POST *", When::Nth(2), Scenario::TokenThrottled(Some("60")));
    let url = format!("{}/{}/oauth2/v2.0/token", world.tokens.base_url, crate::world::TENANT);
    let first = world.client.post(&url).body(SECRET).send().await?;
    assert_eq!((first.status().as_u16(), first.headers()["content-type"].to_str()?), (503, "text/html"));
    let second = world.client.post(&url).basic_auth(CLIENT, Some(SECRET)).send().await?;
    assert_eq!(second.headers()["retry-after"], "60");
    assert_eq!(world.ask(&fields(&[])).await?.0, 200);

    let log = faults.requests();
    assert_eq!(log.iter().map(|request| request.status).collect::<Vec<_>>(), [Some(503), Some(429), Some(200)]);
    assert_eq!(log[1].header("authorization"), Some("Basic <secret>"));
    assert!(!format!("{log:?}").contains(SECRET));
    Ok(())
}

#[tokio::test]
async fn an_answer_can_be_changed_on_its_way() -> anyhow::Result<()> {
    let world = World::start()?;
    let _graph = world.graph()?;
    let without_life = Outcome::rewrite(|_, response| {
        let text = String::from_utf8_lossy(&response.body).replace("\"expires_in\":3599,", "");
        response.body = text.into_bytes();
    });
    world.tokens.faults().script("POST *", When::Next(1), without_life);
    let (status, body) = world.ask(&fields(&[])).await?;
    assert_eq!((status, body.get("expires_in")), (200, None));
    assert!(body["access_token"].is_string());
    Ok(())
}
