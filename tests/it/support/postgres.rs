//! One PostgreSQL cluster for this test binary, a migrated database for each test; and
//! clusters of their own for tests that are rough with the server.
//!
//! A shell starts the cluster and then reads its standard input, a pipe that
//! only this process holds. However the process ends, the pipe ends with it:
//! the shell stops the server and removes its folder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use storekeeper::settings;
use storekeeper::warehouse::{Warehouse, migrate};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
bin=$1 port=$2
dir=$(mktemp -d /tmp/storekeeper-test-XXXXXX) || exit 1
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
else
    as() { "$@"; }
fi
cd "$dir" || exit 1
as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/init.log" 2>&1 </dev/null &&
printf 'host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n' >"$dir/data/pg_hba.conf" &&
as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -o \
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=300" \
    start >>"$dir/init.log" 2>&1 </dev/null &&
echo ready || { cat "$dir/init.log" "$dir/data/server.log" >&2; rm -rf "$dir"; exit 1; }
while read -r word; do
    # Its options are those it was started with.
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -m immediate -w restart >>"$dir/init.log" 2>&1 </dev/null &&
    echo restarted || { cat "$dir/data/server.log" >&2; exit 1; }
done
as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1
cd / && rm -rf "$dir"
"#;

/// A server.
pub(crate) struct Cluster {
    port: u16,
    /// Held for its standard input: see above.
    shell: Child,
    said: BufReader<ChildStdout>,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

impl Cluster {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let binaries = binaries();
        // A free port may be taken before the server binds it; then another one is tried.
        for _ in 0..4 {
            let port = free_port();
            let mut shell = Command::new("sh")
                .args(["-c", SCRIPT, "sh"])
                .arg(&binaries)
                .arg(port.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()
                .expect("a shell");
            let mut said = BufReader::new(shell.stdout.take().expect("its output is a pipe"));
            let mut line = String::new();
            said.read_line(&mut line).expect("its output is text");
            if line.trim() == "ready" {
                return Self { port, shell, said };
            }
            shell.wait().expect("it has ended");
        }
        panic!("PostgreSQL did not start; what it said is above");
    }

    /// Stops it as a power cut would, and starts it again.
    pub(crate) fn restart(&mut self) {
        writeln!(self.shell.stdin.as_mut().expect("its input is a pipe"), "restart").expect("the shell listens");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("its output is text");
        assert_eq!(line.trim(), "restarted");
    }
}

fn binaries() -> PathBuf {
    let mut folders: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("the PostgreSQL server is installed (Debian: apt-get install postgresql)")
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    folders.sort();
    folders.pop().expect("a version of the PostgreSQL server").1
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A database of one test's own.
pub(crate) struct Database {
    url: String,
    /// Roles belong to the whole cluster: this prefix keeps tests apart.
    pub(crate) name: String,
}

impl Database {
    /// Makes a database and brings its schemas up to date.
    pub(crate) async fn migrated() -> Self {
        Self::on(cluster()).await
    }

    /// Makes one on a cluster of a test's own.
    pub(crate) async fn on(cluster: &Cluster) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = format!("postgres://postgres@127.0.0.1:{}", cluster.port);
        let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.expect("the cluster answers");
        let statement = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        connection.execute(statement).await.expect("a new database");
        let database = Self { url: format!("{server}/{name}"), name };
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR"));
        migrate(&database.warehouse().await, definitions).await.expect("the migrations fit");
        database
    }

    /// Makes an empty database of somebody else, and a user as managed PostgreSQL gives
    /// one: no superuser, not the database's owner, but with CREATEROLE and CREATE.
    pub(crate) async fn of_a_plain_user() -> (Self, String) {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("plain_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let user = format!("{name}_user");
        let server = format!("127.0.0.1:{}", cluster().port);
        let mut connection =
            PgConnection::connect(&format!("postgres://postgres@{server}/postgres")).await.expect("the cluster");
        for statement in [
            format!("CREATE ROLE {user} LOGIN CREATEROLE PASSWORD 'x'"),
            format!("CREATE DATABASE {name} TEMPLATE template0"),
            format!("GRANT CREATE ON DATABASE {name} TO {user}"),
        ] {
            connection.execute(AssertSqlSafe(statement)).await.expect("the statement");
        }
        let database = Self { url: format!("postgres://{user}:x@{server}/{name}"), name };
        // Since PostgreSQL 15 only a database's owner may create in `public`: sqlx keeps its list there.
        let mut owner =
            PgConnection::connect(&format!("postgres://postgres@{server}/{}", database.name)).await.expect("it");
        owner.execute(AssertSqlSafe(format!("GRANT CREATE ON SCHEMA public TO {user}"))).await.expect("the grant");
        (database, user)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its name, which no other test has.
    pub(crate) fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Connects as a process of its own would.
    pub(crate) async fn warehouse(&self) -> Warehouse {
        self.warehouse_of("test", 5).await
    }

    /// Connects as an installation of a name.
    pub(crate) async fn warehouse_of(&self, installation: &str, max_connections: u32) -> Warehouse {
        let database = settings::Database { url: Some(self.url.clone().into()), max_connections };
        let installation =
            settings::Installation { name: installation.to_owned(), data_dir: PathBuf::from("/nonexistent") };
        Warehouse::connect(&database, &installation, Path::new("/nonexistent")).await.expect("the database answers")
    }
}
