//! The private PostgreSQL: the default when no `database.url` is set.
//!
//! Every process that uses it holds a shared lock on `in-use.lock`. A supervisor
//! process starts the server, then asks for that lock alone: it gets it when the
//! last user is gone, however that one ended, and stops the server. So nothing
//! is left behind after a crash, and two users share one server.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};

use super::endpoint::Endpoint;

const SUPERUSER: &str = "storekeeper";
const DATABASE: &str = "storekeeper";

/// Why the private server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server binaries on this machine.
    #[error(
        "no PostgreSQL server is installed: looked for `initdb` in PATH, /usr/lib/postgresql/*/bin and /usr/pgsql-*/bin"
    )]
    NotInstalled,
    /// A file or folder of the server's could not be made.
    #[error("failed to prepare `{path}`")]
    Prepare {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of PostgreSQL's programs failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// Which one.
        program: &'static str,
        /// What it said last.
        output: String,
    },
    /// It was started and did not answer in time.
    #[error("the private PostgreSQL did not answer on port {port}; its log is `{log}`")]
    Silent {
        /// Port tried.
        port: u16,
        /// Its log.
        log: PathBuf,
        /// The last refusal.
        source: sqlx::Error,
    },
    /// The supervisor ended before the server was ready.
    #[error("the supervisor of the private PostgreSQL ended early: {output}")]
    Supervisor {
        /// What it said.
        output: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotInstalled => Some(
                "install it (Debian: apt-get install postgresql), or set STOREKEEPER__DATABASE__URL to a server of yours",
            ),
            Self::Prepare { .. } => Some("check the disk and the rights on `installation.data_dir`"),
            Self::Program { .. } | Self::Silent { .. } | Self::Supervisor { .. } => {
                Some("read the server's log; a full disk and a folder that its user cannot enter are the usual causes")
            }
        }
    }
}

/// A claim on the private server: it runs for as long as one of these lives.
#[derive(Debug)]
pub struct Embedded {
    port: u16,
    password: String,
    _in_use: File,
}

impl Embedded {
    /// Joins the private server of a data folder; starts it where it does not run.
    ///
    /// # Errors
    /// When none is installed or it does not come up.
    pub async fn join(data_dir: &Path, supervisor: &Path) -> Result<Self, Error> {
        let layout = Layout::of(data_dir)?;
        let in_use = layout.lock_file("in-use.lock")?;
        // Waits while a supervisor that holds it alone is stopping the server.
        in_use.lock_shared().map_err(layout.failed("in-use.lock"))?;
        let report = layout.home.join("supervisor.log");
        let spawn = || {
            find_binaries()?;
            let output = File::create(&report).map_err(layout.failed("supervisor.log"))?;
            Command::new(supervisor)
                .args([OsStr::new("db"), OsStr::new("supervise"), OsStr::new("--data-dir"), data_dir.as_os_str()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(output)
                .process_group(0)
                .spawn()
                .map_err(|source| Error::Prepare { path: supervisor.to_owned(), source })
        };
        let mut child: Option<Child> = None;
        // A first start makes the cluster, which takes seconds on a slow disk.
        for _ in 0..1200 {
            // The last supervisor may still be ending, and what it left says nothing.
            if layout.nobody_supervises()? {
                match child.as_mut().map(|process| process.try_wait()) {
                    None => child = Some(spawn()?),
                    // It stepped aside for another one, which is gone by now.
                    Some(Ok(Some(status))) if status.success() => child = Some(spawn()?),
                    Some(Ok(Some(status))) => return Err(Error::Supervisor { output: last_words(&report, status) }),
                    Some(_) => {}
                }
            } else if let Some((port, password)) = layout.ready()? {
                let server = Self { port, password, _in_use: in_use };
                return server.answers(&layout).await.map(|()| server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Error::Supervisor { output: "not ready after a minute".to_owned() })
    }

    /// How to connect as the owner of everything.
    pub fn options(&self) -> PgConnectOptions {
        options(self.port, &self.password, DATABASE)
    }

    /// The same, with what PostgreSQL's own programs need.
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.options(), &self.password)
    }

    async fn answers(&self, layout: &Layout) -> Result<(), Error> {
        let mut last = None;
        for _ in 0..200 {
            match PgConnection::connect_with(&self.options()).await {
                Ok(connection) => return connection.close().await.or(Ok(())),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let source = last.unwrap_or(sqlx::Error::PoolTimedOut);
        Err(Error::Silent { port: self.port, log: layout.log(), source })
    }
}

/// Starts the server, waits until its last user is gone, stops it. The body of
/// `storekeeper db supervise`, which nobody types.
///
/// # Errors
/// When the server cannot be started or stopped.
pub fn supervise(data_dir: &Path) -> Result<(), Error> {
    let layout = Layout::of(data_dir)?;
    let alone = layout.lock_file("supervisor.lock")?;
    match alone.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(source)) => return Err(layout.failed("supervisor.lock")(source)),
    }
    let binaries = find_binaries()?;
    let password = layout.password()?;
    layout.forget_ready()?;
    if !layout.cluster.join("PG_VERSION").exists() {
        layout.make_cluster(&binaries, &password)?;
    }
    let port = layout.start(&binaries)?;
    create_database(port, &password, &layout)?;
    layout.write("ready", &port.to_string())?;
    // Returns when the last user has let go.
    let in_use = layout.lock_file("in-use.lock")?;
    in_use.lock().map_err(layout.failed("in-use.lock"))?;
    layout.forget_ready()?;
    let stopped = layout.run(&binaries, "pg_ctl", &["stop", "-m", "fast", "-w"]);
    // Whoever comes next waits for both locks until the server is gone.
    drop((in_use, alone));
    stopped
}

fn create_database(port: u16, password: &str, layout: &Layout) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(layout.failed("runtime"))?;
    let silent = |source| Error::Silent { port, log: layout.log(), source };
    runtime.block_on(async {
        let mut connection = PgConnection::connect_with(&options(port, password, "postgres")).await.map_err(silent)?;
        let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(DATABASE)
            .fetch_optional(&mut connection)
            .await
            .map_err(silent)?;
        if found.is_none() {
            connection.execute("CREATE DATABASE storekeeper").await.map_err(silent)?;
        }
        connection.close().await.map_err(silent)
    })
}

fn options(port: u16, password: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(SUPERUSER)
        .password(password)
        .database(database)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
}

/// Finds the folder of the newest installed server.
fn find_binaries() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, suffix) in [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix(prefix).and_then(|text| text.parse().ok()) {
                versions.push((version, entry.path().join(suffix)));
            }
        }
    }
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev().map(|(_, folder)| folder))
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
        .ok_or(Error::NotInstalled)
}

/// Where the private server's files are.
struct Layout {
    /// Locks, port, password, logs.
    home: PathBuf,
    /// PostgreSQL's own folder.
    cluster: PathBuf,
    /// Whom it runs as, when we are root: PostgreSQL refuses to.
    owner: Option<(Uid, Gid)>,
}

impl Layout {
    fn of(data_dir: &Path) -> Result<Self, Error> {
        let home = data_dir.join("postgres");
        std::fs::create_dir_all(&home).map_err(|source| Error::Prepare { path: home.clone(), source })?;
        let home = home.canonicalize().map_err(|source| Error::Prepare { path: home.clone(), source })?;
        let mut owner = None;
        let mut cluster = home.join("cluster");
        if Uid::effective().is_root() {
            let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
            owner = user.map(|user| (user.uid, user.gid));
            let enterable = |folder: &Path| folder.metadata().is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
            if !home.ancestors().all(enterable) {
                // Another user cannot get into, say, /root: its files go where it can.
                let digest = Sha256::digest(home.as_os_str().as_encoded_bytes());
                let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                cluster = PathBuf::from("/var/lib/storekeeper").join(name);
            }
        }
        Ok(Self { home, cluster, owner })
    }

    fn log(&self) -> PathBuf {
        self.cluster.join("server.log")
    }

    fn failed(&self, name: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.home.join(name);
        move |source| Error::Prepare { path, source }
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.home.join(name))
            .map_err(self.failed(name))
    }

    fn nobody_supervises(&self) -> Result<bool, Error> {
        match self.lock_file("supervisor.lock")?.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(self.failed("supervisor.lock")(source)),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let partial = self.home.join(format!("{name}.partial"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(self.failed(name))?;
        file.write_all(text.as_bytes()).map_err(self.failed(name))?;
        std::fs::rename(&partial, self.home.join(name)).map_err(self.failed(name))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        match std::fs::read_to_string(self.home.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(name)(error)),
        }
    }

    fn password(&self) -> Result<String, Error> {
        if let Some(password) = self.read("password")? {
            return Ok(password);
        }
        let password = uuid::Uuid::new_v4().simple().to_string();
        self.write("password", &password)?;
        Ok(password)
    }

    fn ready(&self) -> Result<Option<(u16, String)>, Error> {
        let port = self.read("ready")?.and_then(|text| text.parse().ok());
        Ok(port.zip(self.read("password")?))
    }

    fn forget_ready(&self) -> Result<(), Error> {
        match std::fs::remove_file(self.home.join("ready")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("ready")(error)),
            _ => Ok(()),
        }
    }

    fn make_cluster(&self, binaries: &Path, password: &str) -> Result<(), Error> {
        let prepare = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Prepare { path, source }
        };
        // A start that was killed in the middle leaves half a cluster.
        let partial = self.cluster.with_extension("partial");
        for folder in [&partial, &self.cluster] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).map_err(prepare(folder))?;
            }
        }
        std::fs::create_dir_all(&partial).map_err(prepare(&partial))?;
        std::fs::set_permissions(&partial, Permissions::from_mode(0o700)).map_err(prepare(&partial))?;
        let secret = partial.with_extension("secret");
        std::fs::write(&secret, password).map_err(prepare(&secret))?;
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).map_err(prepare(&secret))?;
        if let Some((uid, gid)) = self.owner {
            for path in [&partial, &secret] {
                chown(path, Some(uid.as_raw()), Some(gid.as_raw())).map_err(prepare(path))?;
            }
        }
        let made = self
            .command(binaries, "initdb")
            .arg("-D")
            .arg(&partial)
            .args(["-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", secret.display()))
            .output();
        std::fs::remove_file(&secret).map_err(prepare(&secret))?;
        finished("initdb", made)?;
        std::fs::rename(&partial, &self.cluster).map_err(prepare(&self.cluster))?;
        let link = self.home.join("cluster");
        if link != self.cluster && !link.is_symlink() {
            // So that whoever removes the data folder finds what stands elsewhere.
            symlink(&self.cluster, &link).map_err(prepare(&link))?;
        }
        Ok(())
    }

    /// Starts the server on its last port where that is free; joins one that a
    /// killed supervisor left running.
    fn start(&self, binaries: &Path) -> Result<u16, Error> {
        let last = self.read("port")?.and_then(|text| text.parse::<u16>().ok());
        let status = self.command(binaries, "pg_ctl").arg("status").arg("-D").arg(&self.cluster).output();
        if let (Some(port), Ok(output)) = (last, &status)
            && output.status.success()
        {
            return Ok(port);
        }
        let free =
            |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
        let port = match last.map(free) {
            Some(Ok(address)) => address.port(),
            _ => free(0).map_err(self.failed("port"))?.port(),
        };
        self.write("port", &port.to_string())?;
        let server_options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 \
             -c log_min_messages=warning -c max_wal_size=2GB"
        );
        let log = self.log().display().to_string();
        self.run(binaries, "pg_ctl", &["start", "-w", "-t", "60", "-l", &log, "-o", &server_options])?;
        Ok(port)
    }

    fn run(&self, binaries: &Path, program: &'static str, arguments: &[&str]) -> Result<(), Error> {
        // The server inherits these: a pipe would stay open for as long as it runs.
        let report = self.home.join("pg_ctl.log");
        let output = File::create(&report).map_err(self.failed("pg_ctl.log"))?;
        let status = self
            .command(binaries, program)
            .args(arguments)
            .arg("-D")
            .arg(&self.cluster)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(self.failed("pg_ctl.log"))?)
            .stderr(output)
            .status()
            .map_err(|source| Error::Prepare { path: binaries.join(program), source })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Program { program, output: last_words(&report, status) })
    }

    fn command(&self, binaries: &Path, program: &str) -> Command {
        let mut command = Command::new(binaries.join(program));
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }
}

/// What a program wrote before it ended; on a full disk it cannot write a word.
fn last_words(report: &Path, status: ExitStatus) -> String {
    match std::fs::read_to_string(report).unwrap_or_default().trim() {
        "" => format!("{status}, and not a word in `{}`, as where the disk is full", report.display()),
        words => words.to_owned(),
    }
}

fn finished(program: &'static str, outcome: io::Result<std::process::Output>) -> Result<(), Error> {
    match outcome {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(Error::Program { program, output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
        }
        Err(source) => Err(Error::Prepare { path: program.into(), source }),
    }
}
