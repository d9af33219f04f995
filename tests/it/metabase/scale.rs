//! How calls and seconds grow with a chain. Run by `make bench-metabase`; prints what it measured.

use std::time::Instant;

use sandbox::metabase::Recorded;
use storekeeper::metabase::{
    Certificate, Extent, Instance, Verifier, audit_with, keep_certificate, verify_certificate,
};

use super::*;

/// A chain of so many stores, 25 to a region and three quarters of them of one brand, with
/// a person for each store, each region, each brand and the chain.
struct Sized {
    stores: usize,
    wall: Wall,
    first: &'static str,
}

impl Sized {
    async fn world(&self) -> (World, usize) {
        let list = |from: usize, to: usize, brand: &str| -> Vec<(String, String)> {
            (from..to).map(|store| (format!("{:06}", store + 101), format!("{brand} {:02}", store / 25))).collect()
        };
        let cut = self.stores * 3 / 4;
        let (harbor, mesa) = (list(0, cut, "Harbor"), list(cut, self.stores, "Mesa"));
        let leaked = |stores: &[(String, String)]| -> Vec<(&'static str, &'static str)> {
            let text = |text: &String| -> &'static str { String::leak(text.clone()) };
            stores.iter().map(|(store, region)| (text(store), text(region))).collect()
        };
        let chain = Chain::sized(&leaked(&harbor), &leaked(&mesa), self.first).await;
        let mut people = Vec::new();
        for (brand, stores) in [("harbor", &harbor), ("mesa", &mesa)] {
            people.extend(stores.iter().map(|(store, _)| format!("store:{brand}/{store}")));
            let mut regions: Vec<String> =
                stores.iter().map(|(_, region)| format!("region:{brand}/{region}")).collect();
            regions.dedup();
            people.extend(regions);
            people.push(format!("brand:{brand}"));
        }
        people.push("chain".to_owned());
        let mut lines: Vec<String> = people
            .iter()
            .enumerate()
            .map(|(at, scope)| format!("p{at}@example.com,P,{at},en,{scope},viewer"))
            .collect();
        // Somebody who has two stores of different brands.
        lines.push(format!("p0@example.com,P,0,en,store:mesa/{},viewer", mesa[0].0));
        let people = people.len();
        let world =
            World::of(chain, Options::default(), self.wall, &lines.iter().map(String::as_str).collect::<Vec<_>>())
                .await;
        (world, people)
    }
}

/// What one part took.
fn told(world: &World, part: &str, started: Instant) -> usize {
    let calls: Vec<Recorded> = world.metabase.requests();
    world.metabase.clear_requests();
    println!("  {part:<28} {:>8} calls  {:>8.1} s", calls.len(), started.elapsed().as_secs_f64());
    calls.len()
}

async fn measure(stores: usize, wall: Wall, first: &'static str) -> usize {
    let sized = Sized { stores, wall, first };
    let (world, people) = sized.world().await;
    println!(
        "{stores} stores, {people} people, wall `{wall:?}`, {}",
        if cfg!(debug_assertions) { "dev build" } else { "release build" }
    );
    let started = Instant::now();
    let plan = world.plan().await;
    told(&world, &format!("plan of {} steps", plan.steps.len()), started);
    let started = Instant::now();
    let applied = metabase::apply(&world.context(), &plan).await;
    applied.unwrap_or_else(|error| panic!("{}", super::told(&error)));
    told(&world, "apply", started);
    let started = Instant::now();
    assert!(world.plan().await.is_empty());
    told(&world, "first plan afterwards", started);
    let started = Instant::now();
    assert!(world.plan().await.is_empty());
    let calls = told(&world, "plan without a change", started);
    // One thing that somebody did, and what it takes to see and mend it.
    let store = world.id("groups", "name", "store:harbor/000101");
    let other = world.collection("000102");
    world.metabase.grant_collection(store, other, "read");
    let connection =
        world.metabase.snapshot()["databases"].as_object().unwrap().keys().next_back().unwrap().parse().unwrap();
    world.metabase.grant_data(store, connection, "query-builder");
    let started = Instant::now();
    let plan = world.plan().await;
    assert_eq!(plan.steps.len(), 2, "{plan}");
    told(&world, "plan of two revocations", started);
    let started = Instant::now();
    metabase::apply(&world.context(), &plan).await.unwrap();
    told(&world, "apply of them", started);
    calls
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; prints calls and seconds"]
async fn bench_plan_and_apply_at_45_400_and_2000_stores() {
    for (stores, wall, first) in
        [(45, Wall::Store, "2025-11-01"), (400, Wall::Store, "2025-11-15"), (2_000, Wall::Region, "2025-11-25")]
    {
        let calls = measure(stores, wall, first).await;
        assert!(calls <= 200, "{calls} calls for a plan without a change at {stores} stores");
    }
}

/// A role and a connection for each store, in the largest chain: STORES for another size.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; prints calls and seconds"]
async fn bench_plan_and_apply_with_a_role_and_a_connection_for_each_of_2000_stores() {
    let stores = std::env::var("STORES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let calls = measure(stores, Wall::Store, "2025-11-25").await;
    assert!(calls <= 200, "{calls} calls for a plan without a change at {stores} stores");
}

/// The shipped content, and as many questions again as make thirty for each store.
fn thirty_questions(folder: &Path) {
    copy(&definitions().join("metabase"), &folder.join("metabase"));
    let board = folder.join("metabase/dashboards/store_morning.toml");
    let mut text = std::fs::read_to_string(&board).unwrap();
    let named = |line: &str| Some(line.strip_prefix("question = \"")?.strip_suffix('"')?.to_owned());
    let ours: Vec<String> = text.lines().filter_map(named).collect();
    for number in ours.len()..30 {
        let of = &ours[number % ours.len()];
        let name = format!("{of}_{number}");
        let question = std::fs::read_to_string(folder.join(format!("metabase/questions/{of}.sql"))).unwrap();
        let question = question.replacen("title = \"", &format!("title = \"{number} "), 1);
        std::fs::write(folder.join(format!("metabase/questions/{name}.sql")), question).unwrap();
        text.push_str(&format!("\n[[cards]]\nquestion = \"{name}\"\nsize = \"half medium\"\n"));
    }
    std::fs::write(board, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; prints calls and seconds"]
async fn bench_certificate_of_400_stores_420_people_and_30_cards() {
    let folder = tempfile::tempdir().unwrap();
    thirty_questions(folder.path());
    let stores = std::env::var("STORES").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let sized = Sized { stores, wall: Wall::Store, first: "2025-11-15" };
    let (mut world, people) = sized.world().await;
    world.definitions = folder.path().to_owned();
    println!(
        "{stores} stores, {people} people, 30 cards a store, {}",
        if cfg!(debug_assertions) { "dev build" } else { "release build" }
    );
    let started = Instant::now();
    world.settle().await;
    told(&world, "plan, apply, plan", started);
    let started = Instant::now();
    let extent = Extent::of_day(now());
    let audit = audit_with(&world.context(), &extent).await.unwrap_or_else(|error| panic!("{}", super::told(&error)));
    told(&world, "certificate", started);
    assert!(audit.is_clean(), "{audit}");
    println!("  {audit}\n  {:?}", audit.evidence.tried);
    let seen: usize = audit.evidence.groups.iter().map(|group| group.seen.len()).sum();
    assert!(seen >= stores * 30, "{seen}");
    let instance =
        Instance { name: "Test".into(), url: "https://bi.example.com".into(), release: audit.metabase.clone() };
    let certificate = Certificate::of(audit, &world.chain.installation.name, instance, "store", now());
    let credentials = storekeeper::access::Credentials::open(&world.chain.installation.data_dir).unwrap();
    let place = folder.path().join("certificates");
    let kept = keep_certificate(&certificate, &credentials, folder.path(), &place, 9).unwrap();
    verify_certificate(&kept.json, &Verifier::own(&credentials).unwrap()).unwrap();
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() / 1024;
    println!("  document {} KB, page {} KB, {seen} answers compared", size(&kept.json), size(&kept.html));
}
