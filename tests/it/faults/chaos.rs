//! Several faults at once, by chance: the rows must be those of a calm run.

use futures::StreamExt as _;
use storekeeper::warehouse::Warehouse;

use super::plans::Plans;
use super::town::{Town, inside_a_wait, refusals};
use crate::support::postgres::Database;

/// Seeds that an ordinary test run takes.
const FEW: u64 = 12;
/// Seeds that `make chaos` takes.
const MANY: u64 = 200;
/// Faults that one storm is made of at most.
const MOST: usize = 12;
/// Turns after which the rows must be there: what strikes by chance ends.
const TURNS: usize = 8;

struct Outcome {
    seed: u64,
    played: Vec<String>,
    struck: usize,
    calls: usize,
    turns: usize,
    refusals: usize,
    right: bool,
    inside: Vec<String>,
    last: Vec<String>,
}

async fn calm(plans: &Plans, warehouse: &Warehouse) -> Vec<String> {
    let town = Town::found(plans, warehouse, "calm").await;
    assert_eq!(refusals(&town.turn().await), Vec::<String>::new());
    town.change();
    assert_eq!(refusals(&town.turn().await), Vec::<String>::new());
    town.rows().await
}

async fn storm(plans: &Plans, warehouse: &Warehouse, wanted: &[String], seed: u64) -> Outcome {
    let town = Town::found(plans, warehouse, &format!("seed_{seed}")).await;
    let played = town.faults.play_chaos(seed, MOST);
    let (mut turns, mut count, mut last) = (0, 0, Vec::new());
    // One turn sees the world as it was, all later ones as it is.
    count += refusals(&town.turn().await).len();
    town.change();
    let mut right = false;
    while !right && turns < TURNS {
        last = refusals(&town.turn().await);
        (turns, count) = (turns + 1, count + last.len());
        right = last.is_empty() && town.rows().await == wanted;
    }
    let log = town.faults.requests();
    let struck = log.iter().filter(|request| request.faulted).count();
    let inside = inside_a_wait(&log);
    Outcome { seed, played, struck, calls: log.len(), turns, refusals: count, right, inside, last }
}

async fn weather(seeds: std::ops::Range<u64>) {
    let (plans, database) = (Plans::write(), Database::migrated().await);
    let warehouse = database.warehouse_of("chaos", 16).await;
    let wanted = calm(&plans, &warehouse).await;
    assert!(wanted.iter().all(|table| !table.ends_with("none")), "{wanted:?}");
    let storms = seeds.map(|seed| storm(&plans, &warehouse, &wanted, seed));
    let outcomes: Vec<Outcome> = futures::stream::iter(storms).buffer_unordered(4).collect().await;
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let summary = format!(
        "{} storms: {} calls, {} of them struck, {} runs refused on the way, at most {} turns to the right rows",
        outcomes.len(),
        sum(|storm| storm.calls),
        sum(|storm| storm.struck),
        sum(|storm| storm.refusals),
        outcomes.iter().map(|storm| storm.turns).max().unwrap_or_default(),
    );
    println!("{summary}");
    assert!(sum(|storm| storm.struck) > outcomes.len(), "hardly anything went wrong: {summary}");
    let wrong: Vec<String> = outcomes
        .iter()
        .filter(|storm| !storm.right || !storm.inside.is_empty())
        .map(|storm| {
            format!("seed {}: {:?}; last refusals {:?}; {:?}", storm.seed, storm.played, storm.last, storm.inside)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {summary}\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strikes_by_chance_changes_no_row() {
    // A seed that failed is run alone: STOREKEEPER_CHAOS_SEED=17.
    match std::env::var("STOREKEEPER_CHAOS_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => weather(seed..seed + 1).await,
        None => weather(0..FEW).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make chaos`"]
async fn two_hundred_storms_change_no_row() {
    weather(0..MANY).await;
}
