//! The built program on a drive: what it loads, remembers, notices and moves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::faults::{Faults, Outcome, Scenario, When};
use sandbox::graph::{Graph, Lock, Resync};
use serde_json::Value;
use sqlx::Executor as _;

use crate::support::world::World;

const SITE: &str = "sites/harbor";
const FOLDER: &str = "Drops";
const DOWNLOAD: &str = "GET *download.aspx*";

/// The program with one small pipeline of its own.
struct Drops {
    world: World,
    definitions: tempfile::TempDir,
}

impl Drops {
    async fn start(source: &str) -> Self {
        let definitions = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["sql", "metabase"] {
            std::os::unix::fs::symlink(root.join(name), definitions.path().join(name)).unwrap();
        }
        let folder = definitions.path().join("pipelines/tests/drops");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "title = \"Drops\"\nbrands = [\"harbor\"]\n\n\
             [source]\nkind = \"drive\"\nfolder = \"{FOLDER}\"\npattern = \"*.csv\"\nformat = {{ kind = \"csv\" }}\n{source}\n\n\
             [contract]\nkey = [\"code\"]\n\n[[contract.columns]]\nname = \"code\"\ntype = \"text\"\n\n\
             [[contract.columns]]\nname = \"amount\"\ntype = \"integer\"\n\n\
             [destination]\ntable = \"drops\"\nwrite_disposition = \"merge\"\n"
        );
        std::fs::write(folder.join("pipeline.toml"), text).unwrap();
        Self { world: World::start(3).await, definitions }
    }

    fn graph(&self) -> &Graph {
        &self.world.stand_ins.graph
    }

    fn faults(&self) -> &Faults {
        self.graph().faults()
    }

    fn put(&self, name: &str, text: &str) {
        self.put_at(name, text, "2025-11-29T10:30:00Z");
    }

    fn put_at(&self, name: &str, text: &str, at: &str) {
        self.graph().put_file(SITE, FOLDER, name, format!("code,amount\n{text}\n"), at.parse().unwrap());
    }

    fn command(&self, words: &[&str]) -> Command {
        let whole = self.world.command(words);
        let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(whole.get_program());
        for argument in whole.get_args() {
            let own = Path::new(argument) == shipped;
            command.arg(if own { self.definitions.path().as_os_str() } else { argument });
        }
        for (name, value) in whole.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.stdin(Stdio::null());
        command
    }

    fn run_with(&self, more: &[&str], variables: &[(&str, &str)]) -> Value {
        let words = [&["run", "drops"], more].concat();
        let output = self.command(&words).envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let answer: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        answer["runs"][0].clone()
    }

    fn run(&self) -> Value {
        self.run_with(&[], &[])
    }

    async fn rows(&self) -> String {
        self.world.text("SELECT string_agg(code || '=' || amount, ' ' ORDER BY code) FROM mart_harbor.drops").await
    }

    async fn states(&self) -> String {
        self.world
            .text("SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM ops.drive_items WHERE pipeline = 'drops'")
            .await
    }

    async fn link(&self) -> String {
        self.world.text("SELECT value FROM ops.cursors WHERE pipeline = 'drops' AND place LIKE 'delta %'").await
    }

    fn downloads(&self) -> usize {
        self.faults().requests_to(DOWNLOAD).len()
    }
}

fn notes(run: &Value) -> String {
    let notes = run["notes"].as_array().into_iter().flatten();
    notes.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_brings_each_file_once_and_its_link_commits_with_the_load() {
    let drops = Drops::start("mode = \"delta\"").await;
    drops.put("a.csv", "a,1");
    drops.put("b.csv", "b,2");
    let first = drops.run();
    assert_eq!((&first["status"], drops.rows().await.as_str()), (&Value::from("succeeded"), "a=1 b=2"), "{first}");
    let link = drops.link().await;
    assert!(link.starts_with(&drops.graph().base_url) && link.contains("token="), "kept as it came: {link}");
    assert_eq!(drops.run()["status"], "nothing_new");
    assert_eq!(drops.downloads(), 2);

    // A crash before the commit loses neither the rows nor the link before them.
    let link = drops.link().await;
    drops.put("c.csv", "c,3");
    for point in ["files_fetched", "before_commit"] {
        let status = drops.command(&["run", "drops"]).env("STOREKEEPER_CRASH_AT", point).output().unwrap().status;
        assert_eq!(status.code(), None, "{point}");
        assert_eq!(drops.link().await, link, "{point}");
    }
    assert_eq!(drops.run()["status"], "succeeded");
    assert_eq!(drops.rows().await, "a=1 b=2 c=3");

    // A load that fails keeps the old link as well.
    let link = drops.link().await;
    drops.put("d.csv", "d,4");
    let rule = drops.faults().script(DOWNLOAD, When::Every, Outcome::Truncate(0));
    assert_eq!(drops.run_with(&[], &[("STOREKEEPER__HTTP__ATTEMPTS", "2")])["status"], "failed");
    drops.faults().remove(rule);
    assert_eq!(drops.link().await, link);
    assert_eq!(drops.run()["status"], "succeeded");
    assert_eq!(drops.rows().await, "a=1 b=2 c=3 d=4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_link_loads_nothing_twice_and_notices_what_is_gone() {
    let drops = Drops::start("mode = \"delta\"").await;
    ["a", "b", "c"].iter().for_each(|name| drops.put(&format!("{name}.csv"), &format!("{name},1")));
    assert_eq!(drops.run()["status"], "succeeded");
    for (how, gone, new) in
        [(Resync::WithLocation, "a", "x"), (Resync::WithoutLocation, "b", "y"), (Resync::LocationFails, "c", "z")]
    {
        drops.graph().remove_file(SITE, FOLDER, &format!("{gone}.csv"));
        drops.put(&format!("{new}.csv"), &format!("{new},1"));
        drops.graph().expire_changes(how);
        let before = drops.downloads();
        let run = drops.run();
        assert_eq!((&run["status"], &run["rows_read"]), (&Value::from("succeeded"), &Value::from(1)), "{how:?} {run}");
        assert_eq!(drops.downloads() - before, 1, "{how:?}");
        let said = format!("`{gone}.csv`, loaded on 2025-11-29, is no longer in the folder");
        assert!(notes(&run).contains(&said), "{how:?} {run}");
    }
    assert_eq!(drops.rows().await, "a=1 b=1 c=1 x=1 y=1 z=1", "rows stay");
    assert_eq!(drops.states().await, "a.csv gone, b.csv gone, c.csv gone, x.csv read, y.csv read, z.csv read");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_feed_mentions_once_and_cannot_be_read_yet_is_not_forgotten() {
    let drops = Drops::start("mode = \"delta\"").await;
    drops.put("a.csv", "a,1");
    drops.put("b.csv", "b,1");
    drops.graph().flag_malware(SITE, FOLDER, "a.csv", "EICAR");
    // The scanner finds it only when it is fetched.
    let rule = drops.faults().script(DOWNLOAD, When::Nth(1), Scenario::DownloadMalware);
    let run = drops.run();
    assert_eq!(run["status"], "nothing_new", "{run}");
    assert!(notes(&run).contains("`a.csv`: held back by the virus scanner"), "{run}");
    assert!(notes(&run).contains("file `b.csv` is held back by the virus scanner; it was left out"), "{run}");
    assert_eq!(drops.states().await, "a.csv pending, b.csv pending");
    drops.faults().remove(rule);
    let run = drops.run();
    assert_eq!((&run["status"], drops.rows().await.as_str()), (&Value::from("succeeded"), "b=1"), "{run}");
    assert_eq!(drops.states().await, "a.csv pending, b.csv read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_a_copied_and_a_deleted_file_are_told_apart() {
    let drops = Drops::start("").await;
    ["a", "b"].iter().for_each(|name| drops.put(&format!("{name}.csv"), &format!("{name},1")));
    assert_eq!(drops.run()["status"], "succeeded");

    drops.graph().rename_file(SITE, FOLDER, "a.csv", "renamed.csv");
    let run = drops.run();
    assert_eq!((&run["status"], drops.downloads()), (&Value::from("nothing_new"), 2), "{run}");
    assert!(notes(&run).contains("`a.csv` is now called `renamed.csv`"), "{run}");

    drops.put("copy.csv", "b,1");
    assert_eq!(drops.run()["status"], "nothing_new");
    assert_eq!(drops.downloads(), 3);
    drops.run();
    assert_eq!(drops.downloads(), 3, "a copy is fetched once");

    drops.graph().remove_file(SITE, FOLDER, "b.csv");
    assert!(!notes(&drops.run()).contains("no longer"), "one listing may leave a file out");
    assert!(notes(&drops.run()).contains("`b.csv`, loaded on 2025-11-29, is no longer in the folder"));
    assert!(!notes(&drops.run()).contains("no longer"), "it is said once");
    assert_eq!(drops.states().await, "b.csv gone, copy.csv read, renamed.csv read");
    assert_eq!(drops.rows().await, "a=1 b=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_move_is_tried_again_and_never_loads_again() {
    let drops = Drops::start("after = \"archive\"").await;
    drops.put("a.csv", "a,1");
    drops.graph().lock_file(SITE, FOLDER, "a.csv", Some(Lock::NotAllowed));
    let run = drops.run();
    assert_eq!(run["status"], "succeeded");
    assert!(notes(&run).contains("`a.csv` was not moved to `Archive`: somebody has it open"), "{run}");
    let kept = drops.world.text("SELECT report->>'notes' FROM ops.runs WHERE pipeline = 'drops'").await;
    assert!(kept.contains("was not moved"), "the ledger says so too: {kept}");

    drops.graph().lock_file(SITE, FOLDER, "a.csv", None);
    let run = drops.run();
    assert_eq!((&run["status"], drops.downloads()), (&Value::from("nothing_new"), 1), "{run}");
    let files = drops.graph().files(SITE);
    assert!(files.iter().any(|path| path.starts_with("Drops/Archive/a.2025")), "{files:?}");
    for _ in 0..2 {
        assert!(!notes(&drops.run()).contains("no longer"), "what we moved ourselves is not missed");
    }

    // Every answer is lost: the file itself says where it is.
    drops.put("b.csv", "b,1");
    let rule = drops.faults().script("PATCH *", When::Every, Outcome::LoseAnswer);
    assert_eq!(drops.run()["status"], "succeeded");
    drops.faults().remove(rule);
    // As after a crash between the move and its note.
    let forget = "UPDATE ops.drive_items SET archive = 'due' WHERE name = 'b.csv' AND archive = 'done'";
    assert_eq!(drops.world.pool.execute(forget).await.unwrap().rows_affected(), 1);
    for _ in 0..2 {
        let run = drops.run();
        assert_eq!((&run["status"], notes(&run).as_str()), (&Value::from("nothing_new"), ""), "{run}");
    }
    assert_eq!(drops.rows().await, "a=1 b=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_may_only_be_read_is_said_once_and_read_all_the_same() {
    let drops = Drops::start("after = \"archive\"").await;
    let rule = drops.faults().script("POST *children*", When::Every, Scenario::GraphAccessDenied);
    drops.put("a.csv", "a,1");
    let run = drops.run();
    assert_eq!(run["status"], "succeeded");
    assert!(notes(&run).contains("may read but not write"), "{run}");
    drops.put("b.csv", "b,1");
    let run = drops.run();
    assert_eq!((&run["status"], notes(&run).as_str()), (&Value::from("succeeded"), ""), "{run}");
    drops.faults().remove(rule);
    drops.run();
    let files: Vec<_> = drops.graph().files(SITE).into_iter().filter(|path| path.starts_with("Drops/")).collect();
    assert!(files.len() == 2 && files.iter().all(|path| path.starts_with("Drops/Archive/")), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_still_being_written_waits_for_the_next_run() {
    let drops = Drops::start("").await;
    drops.put_at("still.csv", "s,1", "2025-11-29T11:00:00Z");
    drops.put_at("grows.csv", "g,1", "2025-11-29T11:00:00Z");
    // The second look at the one finds another version than the listing had.
    let outcome = Outcome::rewrite(|_, response| {
        let text = String::from_utf8_lossy(&response.body).replace("\\\"c:{", "\\\"c:{0");
        response.body = text.into_bytes();
    });
    drops.faults().script("GET /v1.0/drives/*/items/*select*", When::Nth(1), outcome);
    let one_second = [("STOREKEEPER__SOURCES__SETTLE_SECONDS", "1")];
    let run = drops.run_with(&[], &one_second);
    assert_eq!((&run["status"], drops.rows().await.as_str()), (&Value::from("succeeded"), "s=1"), "{run}");
    assert!(notes(&run).contains("`grows.csv`: still being written"), "{run}");
    let run = drops.run_with(&[], &one_second);
    assert_eq!((&run["status"], drops.rows().await.as_str()), (&Value::from("succeeded"), "g=1 s=1"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_file_is_left_out_and_a_lost_permission_is_no_empty_folder() {
    let drops = Drops::start("").await;
    ["a", "b"].iter().for_each(|name| drops.put(&format!("{name}.csv"), &format!("{name},1")));
    let rule = drops.faults().script("GET */content", When::Nth(1), Scenario::GraphItemNotFound);
    let run = drops.run_with(&[], &[("STOREKEEPER__SOURCES__CONCURRENT_DOWNLOADS", "1")]);
    assert_eq!((&run["status"], drops.rows().await.as_str()), (&Value::from("succeeded"), "b=1"), "{run}");
    assert!(notes(&run).contains("file `a.csv` has vanished; it was left out"), "{run}");
    drops.faults().remove(rule);
    for fault in [Scenario::GraphAccessDenied, Scenario::GraphItemNotFound] {
        let rule = drops.faults().script("GET *children*", When::Every, fault);
        let run = drops.run();
        assert_eq!(run["status"], "failed", "{fault:?}");
        drops.faults().remove(rule);
    }
    assert_eq!(drops.run()["status"], "succeeded");
    assert_eq!((drops.rows().await.as_str(), drops.states().await.as_str()), ("a=1 b=1", "a.csv read, b.csv read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_the_service_asks_for_is_kept_by_all_and_stands_in_the_report() {
    let drops = Drops::start("").await;
    for number in 0..8 {
        drops.put(&format!("{number}.csv"), &format!("n{number},{number}"));
    }
    drops.faults().script("GET */content", When::Nth(3), Scenario::GraphThrottled(Some("1.25")));
    let run = drops.run();
    assert_eq!((&run["status"], &run["rows_read"]), (&Value::from("succeeded"), &Value::from(8)), "{run}");
    assert!(notes(&run).contains("Microsoft Graph asked for pauses of 1."), "{run}");
    assert!(run["duration_ms"].as_u64().unwrap() >= 1250, "{run}");
}
