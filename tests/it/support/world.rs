//! The built program, among stand-ins filled from a small generated world, on a
//! database of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chrono::{DateTime, Utc};
use sandbox::generator;
use sandbox::stand_ins::StandIns;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::postgres::Database;

const NOW: &str = "2025-11-29T11:00:00Z";

/// Everything that a whole run needs.
pub(crate) struct World {
    /// What the generator knows.
    pub(crate) truth: generator::World,
    /// What is outside.
    pub(crate) stand_ins: StandIns,
    /// The database.
    pub(crate) pool: PgPool,
    database: Database,
    folder: tempfile::TempDir,
}

/// What a command came to.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) log: String,
}

impl Answer {
    /// The runs, each as `pipeline brand: status`.
    pub(crate) fn runs(&self) -> Vec<String> {
        let text = |run: &Value, key: &str| run[key].as_str().unwrap_or_default().to_owned();
        let line = |run: &Value| format!("{} {}: {}", text(run, "pipeline"), text(run, "brand"), text(run, "status"));
        self.json["runs"].as_array().into_iter().flatten().map(line).collect()
    }

    /// One run's report.
    pub(crate) fn run(&self, pipeline: &str, brand: &str) -> &Value {
        let mut found = self.json["runs"].as_array().into_iter().flatten();
        found
            .rfind(|run| run["pipeline"] == pipeline && run["brand"] == brand)
            .unwrap_or_else(|| panic!("no run of {pipeline} for {brand} in {}\n{}", self.json, self.log))
    }
}

impl World {
    /// Two brands with `days` days of history.
    pub(crate) async fn start(days: u32) -> Self {
        let now: DateTime<Utc> = NOW.parse().unwrap();
        let options = generator::Options { days, today: now.date_naive(), ..generator::Options::demo() };
        let truth = generator::World::generate(&options);
        let folder = tempfile::tempdir().unwrap();
        let stand_ins = StandIns::start(&truth, now, None).await.unwrap();
        let database = Database::migrated().await;
        // Roles belong to the cluster, which tests share: the prefix is the database's name.
        let settings = stand_ins.settings(database.name(), &folder.path().join("data"), &folder.path().join("mail"));
        std::fs::write(folder.path().join("config.toml"), settings).unwrap();
        let pool = PgPool::connect(database.url()).await.unwrap();
        Self { truth, stand_ins, pool, database, folder }
    }

    /// A folder of this world's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where mails are kept.
    pub(crate) fn mail_dir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// Prepares a command.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_in(Path::new(env!("CARGO_MANIFEST_DIR")), words)
    }

    /// Prepares a command that reads other definitions.
    pub(crate) fn command_in(&self, definitions: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storekeeper"));
        command
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .arg("--definitions")
            .arg(definitions)
            .args(["--now", NOW, "--format", "json"])
            .args(words)
            .env("STOREKEEPER__DATABASE__URL", self.database.url())
            .envs(StandIns::variables())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn storekeeper(&self, words: &[&str]) -> Answer {
        answer(self.command(words).output().unwrap())
    }

    /// Runs a command with other definitions to its end.
    pub(crate) fn storekeeper_in(&self, definitions: &Path, words: &[&str]) -> Answer {
        answer(self.command_in(definitions, words).output().unwrap())
    }

    /// Runs a command that is to end before it answers.
    pub(crate) fn crash(&self, words: &[&str], point: &str) {
        let status = self.command(words).env("STOREKEEPER_CRASH_AT", point).output().unwrap().status;
        assert_eq!(status.code(), None, "the program should have died at `{point}`");
    }

    /// Starts a command, kills it when a line of its log says `word`.
    pub(crate) fn kill_at(&self, words: &[&str], word: &str) {
        let mut child = self.command(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let said = log.lines().map_while(Result::ok).any(|line| line.contains(word));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(said, "the log never said `{word}`");
    }

    /// One text of one row.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let wrapped = format!("SELECT coalesce((SELECT x::text FROM ({sql}) AS one(x)), '')");
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_one(&self.pool).await.unwrap()
    }

    /// A digest of every loaded row of every brand, whatever load brought it.
    pub(crate) async fn digest(&self) -> Vec<String> {
        let tables: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname LIKE 'mart\\_%' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1, 2",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let mut digests = Vec::new();
        for (schema, table) in tables {
            let sql = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(x, '' ORDER BY x)), '') FROM
                 (SELECT (to_jsonb(t) - 'load_id' - 'file_id' - 'restored_by')::text AS x FROM {schema}.{table} t) AS rows"
            );
            digests.push(format!("{schema}.{table} {}", self.text(&sql).await));
        }
        digests
    }
}

fn answer(output: Output) -> Answer {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}\n{log}"));
    Answer { code: output.status.code().unwrap_or(-1), json, log }
}
