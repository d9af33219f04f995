//! A private PostgreSQL for one test, gone with it.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

const OWNER: &str = "owner";
const PASSWORD: &str = "owner-secret";

pub(crate) struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    account: Option<(u32, u32)>,
    pub(crate) port: u16,
}

impl Cluster {
    /// Starts a cluster with the sales of two stores, told apart by policy.
    pub(crate) async fn start() -> Self {
        let cluster = Self::empty();
        let mut connection = cluster.owner().await;
        for statement in SALES.split(";\n") {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("the seed is sound SQL");
        }
        cluster
    }

    fn empty() -> Self {
        let binaries = binaries();
        let folder = std::env::temp_dir().join(format!("metabase-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("the temporary folder is writable");
        // PostgreSQL refuses to run as root.
        let root = folder.metadata().expect("the folder was just made").uid() == 0;
        let account = root.then(postgres_account);
        if let Some((user, group)) = account {
            chown(&folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port is there");
        let port = free.local_addr().expect("a bound socket has an address").port();
        drop(free);
        let cluster = Self { folder, binaries, account, port };
        let password = cluster.folder.join("password");
        std::fs::write(&password, PASSWORD).expect("the folder is writable");
        cluster.run(
            "initdb",
            &[
                "--pgdata",
                &cluster.data(),
                "--username",
                OWNER,
                "--pwfile",
                password.to_str().expect("the path is plain text"),
                "--auth",
                "scram-sha-256",
                "--no-sync",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
            ],
        );
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c unix_socket_directories={}",
            cluster.folder.display()
        );
        let log = cluster.folder.join("log");
        cluster.run(
            "pg_ctl",
            &[
                "start",
                "--wait",
                "--pgdata",
                &cluster.data(),
                "--log",
                log.to_str().expect("the path is plain text"),
                "--options",
                &settings,
            ],
        );
        cluster
    }

    pub(crate) async fn owner(&self) -> PgConnection {
        let url = format!("postgres://{OWNER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port);
        PgConnection::connect(&url).await.expect("the cluster was just started")
    }

    /// The connection a database of Metabase gets, as one role.
    pub(crate) fn details(&self, user: &str) -> Value {
        json!({
            "host": "127.0.0.1",
            "port": self.port,
            "dbname": "postgres",
            "user": user,
            "password": format!("{user}-secret"),
            "ssl": false,
        })
    }

    fn data(&self) -> String {
        self.folder.join("data").to_str().expect("the path is plain text").to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        // Output to a file: a pipe would stay open as long as the server runs.
        let output = self.folder.join(format!("{program}.out"));
        let file = std::fs::File::create(&output).expect("the folder is writable");
        let status = self
            .command(program)
            .args(arguments)
            .stdout(file.try_clone().expect("a file can be opened twice"))
            .stderr(file)
            .status()
            .expect("the program is installed");
        let text = std::fs::read_to_string(&output).expect("the output was just written");
        assert!(status.success(), "{program}: {text}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self
            .command("pg_ctl")
            .args(["stop", "--mode", "immediate", "--pgdata", &self.data()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        drop(stopped);
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok();
    let found = installed
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .max();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())
    };
    found
        .or_else(on_path)
        .expect("no PostgreSQL server found: install one (Debian: `apt-get install postgresql`) to run this test")
}

fn postgres_account() -> (u32, u32) {
    let passwd = std::fs::read_to_string(Path::new("/etc/passwd")).expect("every Unix has /etc/passwd");
    let line = passwd
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("as root, the account `postgres` is needed to start PostgreSQL");
    let fields: Vec<&str> = line.split(':').collect();
    let number = |field: &str| field.parse().expect("an account has a number");
    (number(fields[2]), number(fields[3]))
}

const SALES: &str = "
CREATE SCHEMA mart;
CREATE TABLE mart.sales (
    store_id text NOT NULL,
    sold_on date NOT NULL,
    amount numeric(12, 2),
    orders bigint,
    loaded_at timestamptz
);
INSERT INTO mart.sales VALUES
    ('000101', '2025-11-27', 1200.50, 80, '2025-11-28 06:00:00.25+00'),
    ('000101', '2025-11-28', 900.00, 61, NULL),
    ('000102', '2025-11-28', 77.10, 5, NULL);
ALTER TABLE mart.sales ENABLE ROW LEVEL SECURITY;
CREATE ROLE chain LOGIN PASSWORD 'chain-secret' BYPASSRLS;
CREATE ROLE store LOGIN PASSWORD 'store-secret';
GRANT USAGE ON SCHEMA mart TO chain, store;
GRANT SELECT ON mart.sales TO chain, store;
GRANT INSERT, DELETE ON mart.sales TO chain;
CREATE POLICY own ON mart.sales TO store USING (store_id = '000101');
CREATE TABLE mart.secret (word text)";
