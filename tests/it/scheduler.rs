//! Schedules against the ledger in PostgreSQL. Time is an argument throughout.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use storekeeper::clock::Clock;
use storekeeper::ids::{BrandId, PipelineName, RunId};
use storekeeper::pipelines::{RunReport, Status, Trigger};
use storekeeper::scheduler::{self, CatchUp, Overlap, Scheduled, Worker};
use storekeeper::warehouse::Warehouse;
use tokio::sync::{Semaphore, watch};

use crate::support::postgres::Database;

/// A moment of the second of March 2026.
fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-02T{time}Z").parse().expect("a moment")
}

fn hourly(overlap: Overlap, catch_up: CatchUp) -> Vec<Scheduled> {
    vec![Scheduled {
        pipeline: "sales".into(),
        brand: "harbor".into(),
        cron: "0 * * * *".into(),
        time_zone: chrono_tz::UTC,
        overlap,
        catch_up,
    }]
}

fn report(pipeline: PipelineName, brand: BrandId, trigger: Trigger) -> RunReport {
    RunReport {
        run_id: RunId(7),
        load_id: None,
        pipeline,
        brand,
        trigger,
        status: Status::Succeeded,
        files: Vec::new(),
        rows_read: 0,
        rows_loaded: 0,
        rows_inserted: 0,
        rows_updated: 0,
        rows_unchanged: 0,
        rows_quarantined: 0,
        quarantine: Vec::new(),
        over_threshold: false,
        notes: Vec::new(),
        started_at: at("00:00:00"),
        duration_ms: 1,
        error: None,
        hint: None,
    }
}

/// Runs that end when they are let, and a list of what started.
#[derive(Clone)]
struct Runs {
    started: Arc<Mutex<Vec<Trigger>>>,
    gate: Arc<Semaphore>,
}

impl Runs {
    fn new() -> Self {
        Self { started: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    fn started(&self) -> Vec<Trigger> {
        self.started.lock().expect("no panic inside").clone()
    }

    fn starter(
        &self,
    ) -> impl Fn(PipelineName, BrandId, Trigger) -> std::pin::Pin<Box<dyn Future<Output = RunReport> + Send>>
    + Send
    + Sync
    + 'static {
        let runs = self.clone();
        move |pipeline, brand, trigger| {
            runs.started.lock().expect("no panic inside").push(trigger);
            let gate = Arc::clone(&runs.gate);
            Box::pin(async move {
                gate.acquire().await.expect("the gate stays").forget();
                report(pipeline, brand, trigger)
            })
        }
    }
}

/// What the ledger says of every occurrence, in order.
async fn ledger(warehouse: &Warehouse) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat_ws(' ', to_char(due_at AT TIME ZONE 'UTC', 'HH24:MI'), trigger, decision,
                          status, reason, CASE WHEN attempts > 1 THEN attempts || ' attempts' END)
         FROM ops.schedule_occurrences ORDER BY due_at",
    )
    .fetch_all(warehouse.pool())
    .await
    .expect("the ledger is read")
}

macro_rules! worker {
    ($database:expr, $schedules:expr, $runs:expr, $now:expr) => {
        Worker::new($database.warehouse().await, $schedules, $runs.starter(), at($now)).await.unwrap()
    };
}

#[tokio::test]
async fn a_schedule_starts_when_due_and_is_written_down() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let mut worker = worker!(database, hourly(Overlap::Skip, CatchUp::Latest), runs, "06:30:00");
    assert_eq!(worker.tick(at("06:30:00")).await.unwrap(), 0, "06:00 was before anybody knew it");
    assert_eq!(worker.tick(at("07:00:05")).await.unwrap(), 1);
    assert_eq!(worker.tick(at("07:00:15")).await.unwrap(), 0);
    runs.gate.add_permits(1);
    worker.ended().await;
    worker.tick(at("07:00:25")).await.unwrap();
    let warehouse = database.warehouse().await;
    assert_eq!(ledger(&warehouse).await, ["07:00 schedule started succeeded"]);
    let run_id: i64 =
        sqlx::query_scalar("SELECT run_id FROM ops.schedule_occurrences").fetch_one(warehouse.pool()).await.unwrap();
    assert_eq!(run_id, 7);
}

#[tokio::test]
async fn two_daemons_start_one_occurrence_once() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let schedules = || {
        let mut all = Vec::new();
        for brand in ["harbor", "cedar"] {
            for pipeline in ["sales", "stores", "labor", "calendar"] {
                let [one] = <[Scheduled; 1]>::try_from(hourly(Overlap::Skip, CatchUp::All)).unwrap();
                all.push(Scheduled { pipeline: pipeline.into(), brand: brand.into(), ..one });
            }
        }
        all
    };
    let mut one = worker!(database, schedules(), runs, "06:30:00");
    let mut two = worker!(database, schedules(), runs, "06:30:00");
    // Their clocks differ by a little, as clocks do.
    let (first, second) = tokio::join!(one.tick(at("07:00:01")), two.tick(at("07:00:02")));
    assert_eq!(first.unwrap() + second.unwrap(), 8);
    assert_eq!(runs.started().len(), 8);
    let (first, second) = tokio::join!(one.tick(at("07:00:11")), two.tick(at("07:00:12")));
    assert_eq!(first.unwrap() + second.unwrap(), 0);
    assert_eq!(ledger(&database.warehouse().await).await.len(), 8);
}

#[tokio::test]
async fn a_run_of_another_daemon_is_an_overlap_too() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let schedules = || hourly(Overlap::Skip, CatchUp::Latest);
    let mut one = worker!(database, schedules(), runs, "06:30:00");
    let mut two = worker!(database, schedules(), runs, "06:30:00");
    assert_eq!(one.tick(at("07:00:00")).await.unwrap(), 1);
    one.beat(at("07:59:50")).await.unwrap();
    assert_eq!(two.tick(at("08:00:00")).await.unwrap(), 0);
    assert_eq!(
        ledger(&database.warehouse().await).await,
        ["07:00 schedule started", "08:00 schedule skipped a run was still going"]
    );
}

#[tokio::test]
async fn an_overlap_is_skipped() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let mut worker = worker!(database, hourly(Overlap::Skip, CatchUp::Latest), runs, "06:30:00");
    worker.tick(at("07:00:00")).await.unwrap();
    for minute in 1..60 {
        worker.tick(at(&format!("07:{minute:02}:00"))).await.unwrap();
    }
    assert_eq!(worker.tick(at("08:00:00")).await.unwrap(), 0);
    assert_eq!(
        ledger(&database.warehouse().await).await,
        ["07:00 schedule started", "08:00 schedule skipped a run was still going"]
    );
}

#[tokio::test]
async fn one_overlap_waits_and_starts_when_the_run_has_ended() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let mut worker = worker!(database, hourly(Overlap::BufferOne, CatchUp::Latest), runs, "06:30:00");
    worker.tick(at("07:00:00")).await.unwrap();
    for hour in ["07", "08"] {
        for minute in 1..60 {
            worker.beat(at(&format!("{hour}:{minute:02}:00"))).await.unwrap();
        }
        worker.tick(at(if hour == "07" { "08:00:00" } else { "09:00:00" })).await.unwrap();
    }
    assert_eq!(runs.started().len(), 1);
    runs.gate.add_permits(1);
    worker.ended().await;
    assert_eq!(worker.tick(at("09:10:00")).await.unwrap(), 1);
    assert_eq!(
        ledger(&database.warehouse().await).await,
        [
            "07:00 schedule started succeeded",
            "08:00 schedule started",
            "09:00 schedule skipped another occurrence waited already"
        ]
    );
}

#[tokio::test]
async fn a_restart_makes_up_for_what_was_missed_as_told() {
    let wanted: [(CatchUp, &[&str]); 3] = [
        (CatchUp::None, &["07:00 schedule skipped missed", "08:00 schedule skipped missed"]),
        (CatchUp::Latest, &["07:00 schedule skipped missed", "08:00 catch_up started succeeded"]),
        (CatchUp::All, &["07:00 catch_up started succeeded", "08:00 catch_up started succeeded"]),
    ];
    for (catch_up, wanted) in wanted {
        let (database, runs) = (Database::migrated().await, Runs::new());
        drop(worker!(database, hourly(Overlap::Skip, catch_up), runs, "06:30:00"));
        let mut worker = worker!(database, hourly(Overlap::Skip, catch_up), runs, "08:30:00");
        runs.gate.add_permits(5);
        worker.tick(at("08:30:00")).await.unwrap();
        while worker.busy() {
            worker.ended().await;
            worker.tick(at("08:31:00")).await.unwrap();
        }
        assert_eq!(ledger(&database.warehouse().await).await, wanted, "{catch_up:?}");
    }
}

#[tokio::test]
async fn a_run_that_ended_with_its_daemon_is_started_again_a_few_times() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let schedules = || hourly(Overlap::Skip, CatchUp::Latest);
    let mut dead = worker!(database, schedules(), runs, "06:30:00");
    dead.tick(at("07:00:00")).await.unwrap();
    let warehouse = database.warehouse().await;
    for (now, wanted) in [
        ("07:01:00", "07:00 schedule started"),
        ("07:05:00", "07:00 schedule started 2 attempts"),
        ("07:10:00", "07:00 schedule started 3 attempts"),
        ("07:15:00", "07:00 schedule started interrupted its daemon ended in the middle 3 attempts"),
    ] {
        drop(dead);
        dead = worker!(database, schedules(), runs, now);
        dead.tick(at(now)).await.unwrap();
        assert_eq!(ledger(&warehouse).await, [wanted], "{now}");
    }
    // The next occurrence is not held up by it.
    assert_eq!(dead.tick(at("08:00:00")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_run_that_falls_over_takes_nothing_with_it() {
    let database = Database::migrated().await;
    let falls = |_: PipelineName, _: BrandId, _: Trigger| async { panic!("as planned") };
    let schedules = hourly(Overlap::Skip, CatchUp::Latest);
    let mut worker = Worker::new(database.warehouse().await, schedules, falls, at("06:30:00")).await.unwrap();
    worker.tick(at("07:00:00")).await.unwrap();
    worker.ended().await;
    assert_eq!(worker.tick(at("08:00:00")).await.unwrap(), 1);
    assert_eq!(
        ledger(&database.warehouse().await).await,
        ["07:00 schedule started failed the run fell over", "08:00 schedule started"]
    );
}

#[tokio::test]
async fn a_changed_schedule_counts_from_the_change() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    drop(worker!(database, hourly(Overlap::Skip, CatchUp::All), runs, "06:30:00"));
    let every_minute = || {
        let mut schedules = hourly(Overlap::Skip, CatchUp::All);
        schedules[0].cron = "* * * * *".into();
        schedules
    };
    let mut worker = worker!(database, every_minute(), runs, "12:00:30");
    assert_eq!(worker.tick(at("12:00:40")).await.unwrap(), 0);
    assert_eq!(worker.tick(at("12:01:00")).await.unwrap(), 1);
    assert_eq!(ledger(&database.warehouse().await).await, ["12:01 schedule started"]);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_names_its_pipeline() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let mut schedules = hourly(Overlap::Skip, CatchUp::Latest);
    schedules[0].cron = "every day".into();
    let outcome = Worker::new(database.warehouse().await, schedules, runs.starter(), at("06:30:00")).await;
    let error = outcome.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the schedule of pipeline `sales`");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_clean_stop_waits_for_the_runs_that_are_going() {
    let (database, runs) = (Database::migrated().await, Runs::new());
    let schedules = hourly(Overlap::Skip, CatchUp::Latest);
    drop(worker!(database, schedules.clone(), runs, "06:30:00"));
    let (ticked, mut ticks) = watch::channel(None);
    let (stop, shutdown) = watch::channel(false);
    let clock = Clock::Fixed(at("07:00:10"));
    let warehouse = database.warehouse().await;
    let daemon = tokio::spawn(scheduler::run(warehouse, schedules, clock, runs.starter(), ticked, shutdown));
    ticks.wait_for(|tick| *tick == Some(at("07:00:10"))).await.unwrap();
    assert_eq!(runs.started(), [Trigger::Schedule]);
    stop.send(true).unwrap();
    tokio::task::yield_now().await;
    assert!(!daemon.is_finished());
    runs.gate.add_permits(1);
    daemon.await.unwrap().unwrap();
    assert_eq!(ledger(&database.warehouse().await).await, ["07:00 schedule started succeeded"]);
}
