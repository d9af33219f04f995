//! A folder of definitions of a test's own, one brand, and a database.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::postgres::Database;

/// The brand's schema.
pub(crate) const SCHEMA: &str = "mart_harbor";

pub(crate) struct Place {
    folder: tempfile::TempDir,
    database: Database,
    pub(crate) pool: PgPool,
}

/// What a command came to.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
    pub(crate) log: String,
}

impl Place {
    pub(crate) async fn start() -> Self {
        Self::on(Database::migrated().await).await
    }

    /// On a database that may not be migrated yet.
    pub(crate) async fn on(database: Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pipelines", "sql/marts"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/migrations");
        std::os::unix::fs::symlink(migrations, folder.path().join("sql/migrations")).unwrap();
        let config = format!(
            "[installation]\nname = \"{}\"\ndata_dir = \"data\"\n[brands.harbor]\ntitle = \"Harbor\"\ntime_zone = \"UTC\"\n",
            database.name()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let pool = PgPool::connect(database.url()).await.unwrap();
        Self { folder, database, pool }
    }

    /// The database's address.
    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    /// A file's place.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, its folder too.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storekeeper"));
        command
            .args(["--config", "config.toml", "--definitions", ".", "--format", "json"])
            .args(words)
            .current_dir(self.folder.path())
            .env("STOREKEEPER__DATABASE__URL", self.database.url())
            .stdin(Stdio::null());
        command
    }

    /// The variables that settings come from.
    pub(crate) fn variables(&self) -> std::collections::BTreeMap<String, String> {
        [("STOREKEEPER__DATABASE__URL".to_owned(), self.database.url().to_owned())].into()
    }

    /// The installation's name.
    pub(crate) fn installation(&self) -> &str {
        self.database.name()
    }

    /// Signs in as a user of the database.
    pub(crate) async fn connect(&self, user: &str, password: &str) -> PgConnection {
        let options: PgConnectOptions = self.database.url().parse().unwrap();
        PgConnection::connect_with(&options.username(user).password(password)).await.unwrap()
    }

    /// The same command as another user of the database.
    pub(crate) fn storekeeper_as(&self, user: &str, password: &str, words: &[&str]) -> Said {
        let mut url: url::Url = self.database.url().parse().unwrap();
        url.set_username(user).unwrap();
        url.set_password(Some(password)).unwrap();
        said(&self.command(words).env("STOREKEEPER__DATABASE__URL", url.as_str()).output().unwrap())
    }

    pub(crate) fn storekeeper(&self, words: &[&str]) -> Said {
        said(&self.command(words).output().unwrap())
    }

    /// Loads a file; answers with the run's report.
    pub(crate) fn run(&self, pipeline: &str, file: &Path) -> Value {
        let said = self.storekeeper(&["run", pipeline, "--file", file.to_str().unwrap()]);
        assert!(said.json["runs"][0].is_object(), "{} {}", said.json, said.log);
        said.json["runs"][0].clone()
    }

    /// Loads what a file of this text says; answers with the run's number.
    pub(crate) fn load(&self, pipeline: &str, text: &str) -> i64 {
        let file = self.write(&format!("{pipeline}.csv"), text);
        let run = self.run(pipeline, &file);
        assert_eq!(run["status"], "succeeded", "{run}");
        run["run_id"].as_i64().unwrap()
    }

    /// Makes the forecasts, and the hours that rest on them.
    pub(crate) fn forecast(&self) -> Value {
        let said = self.storekeeper(&["forecast", "run"]);
        assert_eq!(said.code, Some(0), "{}\n{}", said.json, said.log);
        said.json
    }

    /// Rows of a query, each cell as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let wrapped = format!(
            "SELECT ARRAY(SELECT value FROM json_each_text(to_json(one)) WITH ORDINALITY ORDER BY ordinality)
             FROM ({sql}) AS one"
        );
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_all(&self.pool).await.unwrap()
    }

    /// The first cell of the first row.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.rows(sql).await.into_iter().flatten().next().flatten().unwrap_or_default()
    }
}

pub(crate) fn said(output: &Output) -> Said {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Said { code: output.status.code(), json, log }
}
