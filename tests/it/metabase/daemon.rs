//! What the daemon does in Metabase by itself: events after its runs, audits by their schedule.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use sandbox::smtp::SmtpSink;

use super::*;

const TAKINGS: &str = r#"
title = "Takings"
brands = ["harbor"]
[source]
kind = "folder"
folder = "takings"
pattern = "*.csv"
format = { kind = "csv" }
[contract]
key = ["store_id", "business_date"]
[[contract.columns]]
name = "store_id"
from = "Store"
type = "store_id"
[[contract.columns]]
name = "business_date"
from = "Day"
type = "date"
[[contract.columns]]
name = "amount"
from = "Amount"
type = "decimal(12,2)"
[destination]
table = "takings"
write_disposition = "merge"
[schedule]
cron = "0 10 * * *"
"#;

/// The program with its settings and definitions, beside a world's chain and Metabase.
struct Installation {
    world: World,
    smtp: SmtpSink,
    folder: tempfile::TempDir,
}

impl Installation {
    async fn start() -> Self {
        let world = World::start().await;
        let smtp = SmtpSink::start(None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for shipped in ["sql", "metabase"] {
            std::os::unix::fs::symlink(definitions().join(shipped), folder.path().join(shipped)).unwrap();
        }
        let inbox = folder.path().join("inbox");
        for made in [folder.path().join("pipelines/takings"), inbox.join("takings")] {
            std::fs::create_dir_all(made).unwrap();
        }
        std::fs::write(folder.path().join("pipelines/takings/pipeline.toml"), TAKINGS).unwrap();
        let config = format!(
            "[installation]\nname = {:?}\ndata_dir = {:?}\n\n[http]\nbackoff_milliseconds = 1\n\n\
             [metabase]\nurl = {:?}\nsite_url = \"https://bi.example.com\"\nsite_name = \"Test\"\n\
             admin_email = \"keeper@example.com\"\n\n\
             [mail]\ntransport = \"smtp\"\nfrom = \"storekeeper@example.com\"\nto = [\"admins@example.com\"]\n\n\
             [mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n\n\
             [audit]\nmail_to = [\"privacy@example.com\"]\n\n[ops]\nlisten = \"127.0.0.1:0\"\n\n\
             [brands.harbor]\ntitle = \"Harbor Pizza\"\ntime_zone = \"UTC\"\nfolder = {inbox:?}\n\n\
             [brands.mesa]\ntitle = \"Mesa Grill\"\ntime_zone = \"UTC\"\n",
            world.chain.installation.name,
            world.chain.installation.data_dir,
            world.metabase.base_url,
            smtp.address.port(),
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { world, smtp, folder }
    }

    fn command(&self, now: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storekeeper"));
        command
            .args(["--config", "config.toml", "--definitions", ".", "--now", now])
            .args(words)
            .current_dir(self.folder.path())
            .env("STOREKEEPER__DATABASE__URL", self.world.chain.database.url())
            .env("STOREKEEPER__METABASE__ADMIN_PASSWORD", "correct-horse-9")
            .stdin(Stdio::null());
        command
    }

    fn storekeeper(&self, now: &str, format: &str, words: &[&str]) -> Output {
        self.command(now, words).args(["--format", format]).output().unwrap()
    }

    /// Runs a command that must end well; gives its answer.
    fn done(&self, now: &str, words: &[&str]) -> Value {
        let output = self.storekeeper(now, "json", words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn serve(&self, now: &str, schedules: bool) -> Daemon {
        let mut command = self.command(now, &["serve"]);
        command.env("STOREKEEPER__SCHEDULER__ENABLED", schedules.to_string());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Daemon { child, log, seen: Vec::new() }
    }

    fn arrives(&self, name: &str, rows: &str) {
        let file = self.folder.path().join("inbox/takings").join(name);
        std::fs::write(file, format!("Store,Day,Amount\n{rows}")).unwrap();
    }

    async fn text(&self, sql: &str) -> String {
        let text = sqlx::AssertSqlSafe(format!("SELECT coalesce(({sql})::text, '')"));
        sqlx::query_scalar(text).fetch_one(self.world.chain.warehouse.pool()).await.unwrap()
    }

    /// To whom each mail went, and what it is about.
    fn mails(&self) -> Vec<String> {
        let line = |mail: &sandbox::smtp::Message| {
            let text = String::from_utf8_lossy(&mail.raw).into_owned();
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
            // Behind the comma it counts the checks.
            format!("{}: {}", mail.to.join(", "), subject.split(", ").next().unwrap_or_default())
        };
        self.smtp.messages().iter().map(line).collect()
    }
}

/// A daemon and its log; killed when it is dropped.
struct Daemon {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Daemon {
    fn line(&mut self) -> Value {
        let line = self.log.next().unwrap_or_else(|| panic!("the daemon ended: {:#?}", self.seen)).unwrap();
        let json = serde_json::from_str(&line).unwrap_or_default();
        self.seen.push(line);
        json
    }

    /// Reads its log up to a message.
    fn until(&mut self, message: &str) -> Value {
        loop {
            let line = self.line();
            if line["message"] == message {
                return line;
            }
            assert_ne!(line["level"], "ERROR", "before `{message}`: {:#?}", self.seen);
        }
    }

    /// Reads its log up to the first error.
    fn until_error(&mut self) -> Value {
        loop {
            let line = self.line();
            if line["level"] == "ERROR" {
                return line;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

const CHARTS: &str = "put events of loads onto the charts";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tells_the_charts_what_was_loaded_told_anew_and_taken_back() {
    let place = Installation::start().await;
    place.world.settle().await;
    place.done("2025-11-28T09:00:00Z", &["db", "migrate"]);
    place.arrives("one.csv", "000101,2025-11-26,100\n000101,2025-11-27,100\n");
    place.done("2025-11-28T09:00:00Z", &["run", "takings"]);
    // By hand, while no daemon was there; and one file that its schedule loads.
    place.arrives("two.csv", "000101,2025-11-27,90\n000101,2025-11-28,50\n");
    let known = "INSERT INTO ops.schedules (pipeline, brand, cron, time_zone, since_at)
                 VALUES ('takings', 'harbor', '0 10 * * *', 'UTC', '2025-11-28T10:00:00Z')";
    place.world.chain.sql(known).await;
    let mut daemon = place.serve("2025-11-29T10:00:30Z", true);
    let mut told = vec!["cloud Takings: 2 rows new"];
    assert_eq!(daemon.until(CHARTS)["made"], 1);
    assert_eq!(place.world.told(), told);
    // The load and what it told anew, and the latter for the region and the store, too.
    assert_eq!(daemon.until(CHARTS)["made"], 4);
    told.push("cloud Takings: 1 row new, 1 row changed");
    told.push("warning Takings: figures changed on 2025-11-29");
    assert_eq!(place.world.told(), told);
    drop(daemon);
    let run = place.text("SELECT max(run_id) FROM ops.loads").await;
    place.done("2025-11-30T09:00:00Z", &["undo", &run]);
    // Metabase is not there: the daemon says so and goes on.
    place.world.metabase.set_starting(true);
    let mut daemon = place.serve("2025-11-30T09:30:00Z", true);
    let warning = daemon.until("events of loads did not reach the charts");
    assert_eq!(warning["level"], "WARN");
    assert!(warning["error"].as_str().unwrap().contains("503"), "{warning}");
    drop(daemon);
    assert_eq!(place.world.told(), told);
    place.world.metabase.set_starting(false);
    let mut daemon = place.serve("2025-11-30T09:31:00Z", true);
    daemon.until(CHARTS);
    told.push("warning Takings: the load of 2025-11-29 was taken back");
    told.push("warning Takings: figures went back on 2025-11-30");
    assert_eq!(place.world.told(), told);
    // Her own charts tell what changed of her store, and those of its region; no other store's do.
    let anew: Vec<&str> = told.into_iter().filter(|event| event.contains("figures")).collect();
    let north = place.world.id("collections", "name", "North");
    assert_eq!(place.world.told_in(place.world.collection("000101")), anew);
    assert_eq!(place.world.told_in(north), anew);
    assert!(place.world.told_in(place.world.collection("000102")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_stands_when_metabase_cannot_be_reached() {
    let place = Installation::start().await;
    place.world.settle().await;
    place.done("2025-11-28T09:00:00Z", &["db", "migrate"]);
    place.arrives("one.csv", "000101,2025-11-26,100\n");
    place.world.metabase.set_starting(true);
    let known = "INSERT INTO ops.schedules (pipeline, brand, cron, time_zone, since_at)
                 VALUES ('takings', 'harbor', '0 10 * * *', 'UTC', '2025-11-28T10:00:00Z')";
    place.world.chain.sql(known).await;
    let mut daemon = place.serve("2025-11-29T10:00:30Z", true);
    daemon.until("events of loads did not reach the charts");
    assert_eq!(place.text("SELECT count(*) FROM mart_harbor.takings").await, "1");
    assert_eq!(
        place.text("SELECT string_agg(status, ' ') FROM ops.runs WHERE pipeline = 'takings'").await,
        "succeeded"
    );
}

const MADE: &str = "made the scheduled certificate";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_audits_by_its_schedule_and_mails_a_leak_and_nothing_else() {
    let place = Installation::start().await;
    let applied = place.done("2025-11-29T11:00:00Z", &["apply", "--yes"]);
    assert_eq!((&applied["remaining"], &applied["audit"]["leaks"]), (&json!(0), &json!([])), "{applied}");
    let mut mails = vec!["privacy@example.com: storekeeper: isolation proven for 6 people".to_owned()];
    assert_eq!(place.mails(), mails);
    let rows = async || {
        let outcomes =
            "SELECT string_agg(occasion || ' ' || outcome, ', ' ORDER BY certificate_id) FROM ops.certificates";
        place.text(outcomes).await
    };
    assert_eq!(rows().await, "apply clean");
    // Nothing is due before the half hour after six; then a clean one mails nobody.
    let mut daemon = place.serve("2025-11-30T06:29:00Z", false);
    daemon.until("serving HTTP");
    drop(daemon);
    assert_eq!(rows().await, "apply clean");
    let made = place.serve("2025-11-30T07:00:00Z", false).until(MADE);
    assert_eq!(made["leaks"], 0, "{made}");
    assert_eq!((rows().await.as_str(), place.mails()), ("apply clean, schedule clean", mails.clone()));
    // Somebody opens a store's collection to everybody.
    place.world.metabase.grant_collection(1, place.world.collection("000101"), "read");
    let made = place.serve("2025-12-01T07:00:00Z", false).until(MADE);
    let leaks = made["leaks"].as_u64().unwrap();
    assert!(leaks > 0, "{made}");
    mails.push(format!("privacy@example.com: storekeeper: {leaks} isolation leaks need you"));
    assert_eq!(place.mails(), mails);
    assert_eq!(rows().await, "apply clean, schedule clean, schedule leaks");
    place.serve("2025-12-02T07:00:00Z", false).until(MADE);
    assert_eq!(place.mails(), mails, "the same leak is mailed once");
    // One that cannot be made is told, and no certificate says that all is well.
    place.world.metabase.set_starting(true);
    let mut daemon = place.serve("2025-12-03T07:00:00Z", false);
    let failed = daemon.until_error();
    assert_eq!(failed["message"], "scheduled audit failed");
    mails.push("privacy@example.com: storekeeper: the isolation audit needs you".to_owned());
    while place.mails().len() < mails.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.mails(), mails);
    assert_eq!(rows().await, "apply clean, schedule clean, schedule leaks, schedule leaks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_whose_audit_could_not_be_made_says_why_and_ends_with_5() {
    let place = Installation::start().await;
    place.done("2025-11-29T11:00:00Z", &["apply", "--yes", "--no-audit"]);
    // Keys are made by audits only.
    let broken = || {
        let refused = Failure::Status(500, "no keys today".to_owned());
        place.world.metabase.fail_next(Fault::new("POST", "/api/api-key", refused).times(8));
    };
    broken();
    let output = place.storekeeper("2025-11-29T12:00:00Z", "json", &["apply", "--yes"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["remaining"], 0);
    let (error, hint) = (answer["audit"]["error"].as_str().unwrap(), answer["audit"]["hint"].as_str().unwrap());
    assert!(error.starts_with("failed to audit after the apply: ") && error.contains("no keys today"), "{error}");
    assert!(hint.contains("run `storekeeper audit`"), "{hint}");
    broken();
    let output = place.storekeeper("2025-11-29T12:00:00Z", "text", &["apply", "--yes"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("nothing is left to do\nUNPROVEN  failed to audit after the apply: "), "{text}");
    assert_eq!(place.text("SELECT count(*) FROM ops.certificates").await, "0");
}
