//! The three limits of Dataverse: each wants something else besides waiting.

use sandbox::faults::{Recorded, When};

use super::plans::Plans;
use super::town::{Town, refusals};
use crate::support::postgres::Database;

/// What was asked for after the first refusal: the smallest page, and the smallest call that writes.
async fn after_a_refusal(plans: &Plans, database: &Database, form: usize) -> (String, usize) {
    let warehouse = database.warehouse_of("limits", 4).await;
    let town = Town::found(plans, &warehouse, &format!("limit_{form}")).await;
    town.faults.play_form("D6", form, When::Nth(1)).unwrap();
    assert_eq!(refusals(&town.turn().await), Vec::<String>::new());
    let log = town.faults.requests();
    let at = log.iter().position(|request| request.faulted).unwrap();
    let asked = |request: &Recorded| Some(request.header("prefer")?.split("maxpagesize=").nth(1)?.to_owned());
    let pages = log[at + 1..].iter().filter_map(asked);
    let calls = log[at + 1..].iter().filter(|request| request.target.ends_with("UpsertMultiple"));
    (pages.min().unwrap_or_default(), calls.map(|request| request.body_bytes).min().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_limit_of_time_makes_pages_and_calls_smaller() {
    let (plans, database) = (Plans::write(), Database::migrated().await);
    let [requests, time, concurrency] = [0, 1, 2].map(|form| after_a_refusal(&plans, &database, form));
    let [requests, time, concurrency] = [requests.await.0, time.await.0, concurrency.await.0];
    assert_eq!([requests, time, concurrency].map(|page| page.chars().take(1).collect::<String>()), ["2", "1", "2"]);
    let [requests, time, concurrency] = [3, 4, 5].map(|form| after_a_refusal(&plans, &database, form));
    let [requests, time, concurrency] = [requests.await.1, time.await.1, concurrency.await.1];
    assert_eq!(requests, concurrency);
    assert!(time < requests * 2 / 3, "{time} bytes where {requests} were refused");
}
