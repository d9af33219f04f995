//! The program, its server's processes and the server itself are killed, at named
//! steps of a load and at random: readers see the old table or the new one, and the
//! end is that of a calm run.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{Connection as _, PgConnection};

use crate::support::place::{Place, SCHEMA, Said, said};
use crate::support::postgres::{Cluster, Database};

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store", "day"]
[[contract.columns]]
name = "store"
type = "text"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "sales"
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "replace_window"
window = ["day"]
partition_by = "day"
"#;

const STEPS: [&str; 7] =
    ["run_opened", "files_fetched", "load_begun", "file_copied", "before_merge", "before_commit", "after_commit"];

const DIGEST: &str =
    "SELECT count(*) || ' ' || md5(string_agg(concat_ws(',', store, day, sales), ';' ORDER BY store, day))
                      FROM mart_harbor.sales";

/// A place whose table holds the first of two versions of a file, and their digests.
struct Stage {
    place: Place,
    versions: [String; 2],
}

impl Stage {
    async fn on(database: Database) -> Self {
        let place = Place::on(database).await;
        place.write("pipelines/sales/pipeline.toml", SALES);
        for (name, store, factor) in [("0.csv", 100, 1), ("1.csv", 105, 3)] {
            let rows = (0..600).map(|n| format!("{},2025-11-{:02},{}.50\n", store + n / 20, n % 20 + 1, n * factor));
            place.write(name, format!("store,day,sales\n{}", rows.collect::<String>()));
        }
        let mut versions = Vec::new();
        for name in ["1.csv", "0.csv"] {
            assert_eq!(place.run("sales", &place.path(name))["status"], "succeeded");
            versions.insert(0, place.text(DIGEST).await);
        }
        assert_ne!(versions[0], versions[1]);
        Self { place, versions: versions.try_into().unwrap() }
    }

    /// The command that loads a version again.
    fn load(&self, version: usize) -> Command {
        let file = self.place.path(&format!("{version}.csv"));
        self.place.command(&["run", "sales", "--full", "--file", file.to_str().unwrap()])
    }

    /// Loads a version; in the middle, held at a step, something happens.
    fn load_while(&self, version: usize, step: &str, happens: impl FnOnce()) -> Said {
        let mut child = held(self.load(version), step);
        happens();
        // A program that has ended meanwhile hears nothing.
        let _gone = child.stdin.take().unwrap().write_all(b"\n");
        said(&child.wait_with_output().unwrap())
    }

    /// Which version the table holds.
    async fn version(&self) -> usize {
        let digest = self.place.text(DIGEST).await;
        self.versions.iter().position(|version| *version == digest).unwrap_or_else(|| panic!("neither: {digest}"))
    }
}

/// Starts a command that waits at a step, and waits until it is there.
fn held(mut command: Command, step: &str) -> Child {
    let mut child = command
        .env("STOREKEEPER_HOLD_AT", step)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("held until") {
        assert!(log.read_line(&mut text).unwrap() > 0, "never at `{step}`: {text}");
    }
    // What it says from here on is read, so that it never waits for that.
    std::thread::spawn(move || log.lines().map_while(Result::ok).count());
    child
}

/// A server's processes that work for others in this database, those in the middle of
/// a transaction first.
async fn backends(url: &str) -> Vec<i32> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
         ORDER BY xact_start NULLS LAST, pid",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

/// Whether the process was there to be killed.
fn kill(pid: i32) -> bool {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

/// Waits until the server answers again.
async fn answers(place: &Place) {
    while sqlx::query("SELECT 1").execute(&place.pool).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Waits until a server one of whose processes was killed has noticed: it then ends all
/// others too, this witness among them. Before that it still answers, and for the last time.
async fn noticed(mut witness: PgConnection) {
    while sqlx::query("SELECT 1").execute(&mut witness).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_at_any_step_leaves_the_old_table_or_the_new_one() {
    let mut cluster = Cluster::start();
    let stage = Stage::on(Database::on(&cluster).await).await;
    let url = stage.place.variables()["STOREKEEPER__DATABASE__URL"].clone();
    let mut failed = 0;
    for (at, step) in STEPS.into_iter().enumerate() {
        for restart in [false, true] {
            let (old, new) = (at % 2, 1 - at % 2);
            assert_eq!(stage.version().await, old, "before {step}");
            let witness = PgConnection::connect(&url).await.unwrap();
            let pids = backends(&url).await;
            let answer = if restart {
                stage.load_while(new, step, || cluster.restart())
            } else {
                let known: BTreeSet<i32> = pids.into_iter().collect();
                let handle = tokio::runtime::Handle::current();
                let end = || {
                    let found = tokio::task::block_in_place(|| handle.block_on(backends(&url)));
                    let theirs = found.into_iter().find(|pid| !known.contains(pid));
                    assert!(kill(theirs.expect("the program is connected")), "{step}: the process is waiting");
                };
                stage.load_while(new, step, end)
            };
            noticed(witness).await;
            answers(&stage.place).await;
            let version = stage.version().await;
            failed += i32::from(answer.code != Some(0));
            // What comes after a load may fail too; the load is told all the same.
            let loaded = answer.json["runs"][0]["status"] == "succeeded";
            let told = if loaded { new } else { old };
            assert_eq!(version, told, "{step} restart {restart}: exit {:?}, {}", answer.code, answer.json);
            assert!(loaded || answer.code == Some(1), "{step} restart {restart}: {}", answer.json);
            for wanted in [new, old] {
                let calm = said(&stage.load(wanted).output().unwrap());
                assert_eq!(calm.code, Some(0), "{step} restart {restart}: {}", calm.json);
                assert_eq!(stage.version().await, wanted);
            }
            let open = stage.place.text("SELECT count(*) FROM ops.runs WHERE status = 'running'").await;
            assert_eq!(open, "0", "{step}");
        }
        // The next step starts from the other version.
        assert_eq!(said(&stage.load(1 - at % 2).output().unwrap()).code, Some(0));
    }
    assert!(failed >= 8, "{failed} of 14 loads failed");
}

/// The turn is lost while the program works on: another process takes it over, loads
/// the same file, and the first must not load it once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_turn_loads_nothing() {
    let place = Place::start().await;
    let append =
        SALES.replace("key = [\"store\", \"day\"]", "").replace("\"replace_window\"\nwindow = [\"day\"]", "\"append\"");
    place.write("pipelines/sales/pipeline.toml", append);
    let file = place.write("sales.csv", "store,day,sales\nA,2025-11-01,10\n");
    let words = ["run", "sales", "--file", file.to_str().unwrap()];
    let mut first = held(place.command(&words), "files_fetched");
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(place.text(lost).await, "true");
    let second = place.storekeeper(&words);
    assert_eq!(second.json["runs"][0]["status"], "succeeded", "{}", second.json);
    first.stdin.take().unwrap().write_all(b"\n").unwrap();
    let first = said(&first.wait_with_output().unwrap());
    assert_eq!(first.code, Some(1), "{}", first.json);
    assert!(first.json["runs"][0]["error"].as_str().unwrap().contains("was lost"), "{}", first.json);
    assert_eq!(place.text(&format!("SELECT count(*) FROM {SCHEMA}.sales")).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_processes_waits_says_so_and_loads_nothing() {
    let place = Place::start().await;
    place.write("pipelines/sales/pipeline.toml", SALES);
    let file = place.write("sales.csv", "store,day,sales\nA,2025-11-01,10\n");
    let words = ["run", "sales", "--file", file.to_str().unwrap()];
    let mut first = held(place.command(&words), "before_merge");
    let mut second = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(second.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("waiting: another process runs this pipeline") {
        assert!(log.read_line(&mut text).unwrap() > 0, "it never waited: {text}");
    }
    let rest = std::thread::spawn(move || log.lines().map_while(Result::ok).count());
    first.stdin.take().unwrap().write_all(b"\n").unwrap();
    let first = said(&first.wait_with_output().unwrap());
    assert_eq!(first.json["runs"][0]["status"], "succeeded", "{}", first.json);
    let second = said(&second.wait_with_output().unwrap());
    rest.join().unwrap();
    let run = &second.json["runs"][0];
    assert_eq!((second.code, &run["status"]), (Some(0), &"nothing_new".into()), "{run}");
    assert_eq!(run["notes"][0], "waited for another process that was running this pipeline");
    assert_eq!(place.text("SELECT count(*) FROM ops.loads").await, "1");
}

/// Twenty readers look all the while.
async fn random_kills(kills: u64) {
    let cluster = Cluster::start();
    let stage = Stage::on(Database::on(&cluster).await).await;
    let url = stage.place.variables()["STOREKEEPER__DATABASE__URL"].clone();
    let (stop, looks, torn) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let mut readers = Vec::new();
    for _ in 0..20 {
        let (stop, looks, torn) = (stop.clone(), looks.clone(), torn.clone());
        let (url, versions) = (url.clone(), stage.versions.clone());
        readers.push(tokio::spawn(async move {
            let mut connection = None;
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                if connection.is_none() {
                    connection = PgConnection::connect(&url).await.ok();
                }
                let Some(open) = &mut connection else { continue };
                match sqlx::query_scalar::<_, String>(DIGEST).fetch_one(open).await {
                    Ok(digest) if versions.contains(&digest) => drop(looks.fetch_add(1, Ordering::Relaxed)),
                    Ok(digest) => torn.lock().unwrap().push(digest),
                    // A backend that was killed takes all others with it.
                    Err(_) => connection = None,
                }
            }
        }));
    }
    let calm = Instant::now();
    assert_eq!(said(&stage.load(0).output().unwrap()).code, Some(0));
    // Somewhat longer than a load takes here and now, so that some come to their end.
    let longest = calm.elapsed() * 3 / 2;
    let mut random = StdRng::seed_from_u64(4);
    let (mut done, mut dead, mut servers) = (0, 0, 0);
    for seed in 0..kills {
        let mut child = stage.load(1 - seed as usize % 2).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(longest.mul_f64(random.random())).await;
        if seed % 5 == 4
            && let Ok(mut connection) = PgConnection::connect(&url).await
            && let Ok(Some(pid)) = sqlx::query_scalar::<_, i32>(
                "SELECT pid FROM pg_stat_activity WHERE xact_start IS NOT NULL AND datname = current_database()
                 AND pid <> pg_backend_pid() AND query NOT LIKE '%md5(string_agg%' ORDER BY xact_start LIMIT 1",
            )
            .fetch_optional(&mut connection)
            .await
        {
            // It may have ended since it was seen.
            servers += u64::from(kill(pid));
        } else {
            // One that has ended already needs no killing.
            let _ended = child.kill();
        }
        match child.wait().unwrap().code() {
            Some(0) => done += 1,
            _ => dead += 1,
        }
    }
    answers(&stage.place).await;
    for version in [0, 1] {
        assert_eq!(said(&stage.load(version).output().unwrap()).code, Some(0));
        assert_eq!(stage.version().await, version);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(*torn.lock().unwrap(), Vec::<String>::new(), "what readers saw besides the two versions");
    let looks = looks.load(Ordering::Relaxed);
    println!(
        "{kills} kills, {servers} of them of a server's process: {dead} loads died, {done} ended before; \
         20 readers looked {looks} times and saw the old table or the new one"
    );
    assert!(dead > 0 && done > 0 && looks > 20 * kills / 10, "{dead} died, {done} ended, {looks} looks");
    let left = stage.place.text("SELECT count(*) FROM pg_class WHERE relpersistence <> 'p'").await;
    assert_eq!(left, "0", "nothing temporary is left");
    let open = stage.place.text("SELECT count(*) FROM ops.runs WHERE status = 'running'").await;
    assert_eq!(open, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_end_as_a_calm_run_does() {
    random_kills(30).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make crashes`"]
async fn five_hundred_random_kills_end_as_a_calm_run_does() {
    random_kills(500).await;
}
