//! What an application may ask for in a while.

use reqwest::{Method, Response};
use sandbox::faults::Allowance;

use crate::library::Library;
use crate::organisation::Organisation;

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
}

#[tokio::test]
async fn graph_counts_resource_units_and_tells_when_they_run_out() -> anyhow::Result<()> {
    let library = Library::new().await?;
    let asked = async |path: &str| library.world.get(&format!("{}{path}", library.drive), &library.token).await;
    library.graph.limit(Some(Allowance { units: 5, seconds: 60 }));
    let listed = asked("/root/children").await?;
    assert_eq!((listed.status().as_u16(), header(&listed, "ratelimit-remaining")), (200, "-".to_owned()));
    library.world.clock.advance_seconds(10);
    let listed = asked("/root/children").await?;
    let told = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| header(&listed, name));
    assert_eq!(told, ["5", "1", "60"]);
    assert_eq!(asked("/root").await?.status(), 200);
    let refused = asked("/root").await?;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "50".to_owned()));
    library.world.clock.advance_seconds(50);
    assert_eq!(asked("/root").await?.status(), 200);
    library.graph.limit(None);
    for _ in 0..10 {
        assert_eq!(asked("/root/children").await?.status(), 200);
    }
    Ok(())
}

#[tokio::test]
async fn each_part_of_a_batch_is_counted_and_refused_on_its_own() -> anyhow::Result<()> {
    let library = Library::new().await?;
    library.graph.limit(Some(Allowance { units: 2, seconds: 60 }));
    let requests: Vec<_> =
        (0..3).map(|id| serde_json::json!({"id": id.to_string(), "method": "GET", "url": "/sites/root"})).collect();
    let url = format!("{}/v1.0/$batch", library.graph.base_url);
    let request = library.world.request(Method::POST, &url, &library.token);
    let answer = request.json(&serde_json::json!({"requests": requests})).send().await?;
    assert_eq!(answer.status(), 200);
    let body: serde_json::Value = answer.json().await?;
    let statuses: Vec<_> = body["responses"].as_array().into_iter().flatten().map(|part| &part["status"]).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(body["responses"][2]["headers"]["Retry-After"], "60");
    Ok(())
}

#[tokio::test]
async fn dataverse_counts_the_requests_of_a_user() -> anyhow::Result<()> {
    let organisation = Organisation::new().await?;
    let asked = async || organisation.request(Method::GET, &organisation.url("WhoAmI")).send().await;
    organisation.dataverse.limit(Some(Allowance { units: 2, seconds: 300 }));
    let first = asked().await?;
    assert_eq!(header(&first, "x-ms-ratelimit-burst-remaining-xrm-requests"), "1");
    assert_eq!(asked().await?.status(), 200);
    let refused = asked().await?;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "300".to_owned()));
    assert!(refused.text().await?.contains("0x80072322"));
    organisation.world.clock.advance_seconds(300);
    assert_eq!(asked().await?.status(), 200);
    Ok(())
}
