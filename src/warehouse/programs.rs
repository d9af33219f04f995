//! PostgreSQL's own programs: `pg_dump` and `pg_restore`, found and started.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::endpoint::Endpoint;

/// What a program says is kept up to here.
const REPORT_LIMIT_BYTES: usize = 16 * 1024;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not installed.
    #[error("`{program}` is not installed: looked in {places}")]
    Missing {
        /// Which one.
        program: &'static str,
        /// Where.
        places: String,
    },
    /// All that are installed are older than what they would work on.
    #[error("`{program}` {found} is older than version {wanted}, which the {of} has")]
    TooOld {
        /// Which one.
        program: &'static str,
        /// The newest there is.
        found: u32,
        /// What it takes.
        wanted: u32,
        /// `server` or `backup`.
        of: &'static str,
    },
    /// It could not be started or talked to.
    #[error("failed to run `{program}`")]
    Run {
        /// Its path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`{program}` failed: {output}")]
    Failed {
        /// Which one.
        program: &'static str,
        /// What it said.
        output: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some(
                "install PostgreSQL's client programs (Debian: apt-get install postgresql-client), or set `backup.programs_dir`",
            ),
            Self::TooOld { .. } => Some(
                "install the client programs of that version (Debian: postgresql-client-<version> from apt.postgresql.org), or set `backup.programs_dir`",
            ),
            Self::Run { .. } | Self::Failed { .. } => None,
        }
    }
}

/// A program that was found, and its major version.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
    /// `15` of 15.8.
    pub major: u32,
}

impl Program {
    /// Finds `pg_dump` for a server of a version; `folder` alone is looked into, if given.
    ///
    /// # Errors
    /// When there is none, or all are older.
    pub async fn dump(folder: Option<&Path>, server_major: u32) -> Result<Self, Error> {
        find("pg_dump", folder, server_major, "server").await
    }

    /// Finds `pg_restore` for what a `pg_dump` of a version wrote.
    ///
    /// # Errors
    /// When there is none, or all are older.
    pub async fn restore(folder: Option<&Path>, dump_major: u32) -> Result<Self, Error> {
        find("pg_restore", folder, dump_major, "backup").await
    }

    /// Starts `pg_dump` in custom format on a snapshot; its output is the dump.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_dump(&self, endpoint: &Endpoint, snapshot: &str) -> Result<(Running, ChildStdout), Error> {
        let mut command = self.command(endpoint);
        // The walls bind the tables' owner too: without it pg_dump refuses. That the owner
        // sees every row is asked before.
        command.args(["--format=custom", "--no-password", "--enable-row-security", "--snapshot", snapshot]);
        let mut running = self.start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let output = running.child.stdout.take().expect("its output is a pipe");
        Ok((running, output))
    }

    /// Starts `pg_restore` into a database, in one transaction; its input is the dump.
    /// Everything belongs to who signs in, or to `owner`, if given.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_restore(&self, endpoint: &Endpoint, owner: Option<&str>) -> Result<(Running, ChildStdin), Error> {
        let mut command = self.command(endpoint);
        command.args(["--no-password", "--no-owner", "--exit-on-error", "--single-transaction", "--dbname"]);
        command.arg(endpoint.database());
        if let Some(owner) = owner {
            command.args(["--role", owner]);
        }
        let mut running = self.start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let input = running.child.stdin.take().expect("its input is a pipe");
        Ok((running, input))
    }

    fn command(&self, endpoint: &Endpoint) -> Command {
        let mut command = Command::new(&self.path);
        // Messages in English; nothing of the operator's own psql settings.
        command.env("LC_ALL", "C").env_remove("PGOPTIONS").env_remove("PGSERVICE").kill_on_drop(true);
        command.envs(endpoint.variables());
        command
    }

    fn start(&self, command: &mut Command) -> Result<Running, Error> {
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(run(&self.path))?;
        let report = child.stderr.take().expect("its report is a pipe");
        Ok(Running { name: self.name, path: self.path.clone(), child, report: tokio::spawn(read(report)) })
    }
}

fn run(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let program = path.display().to_string();
    move |source| Error::Run { program, source }
}

/// Reads to the end, so that the program never waits for a reader; keeps the beginning.
async fn read(mut from: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0_u8; 4096];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        let room = REPORT_LIMIT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..bytes.min(room)]);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// A program at work. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    path: PathBuf,
    child: Child,
    report: JoinHandle<String>,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it ended with an error; what it said is in the message.
    pub async fn finish(mut self) -> Result<(), Error> {
        let status = self.child.wait().await.map_err(run(&self.path))?;
        if status.success() {
            return Ok(());
        }
        let said = self.report.await.unwrap_or_default();
        let output = if said.is_empty() { status.to_string() } else { said };
        Err(Error::Failed { program: self.name, output })
    }
}

async fn find(name: &'static str, folder: Option<&Path>, wanted: u32, of: &'static str) -> Result<Program, Error> {
    let (folders, places) = match folder {
        Some(folder) => (vec![folder.to_owned()], format!("`{}`", folder.display())),
        None => (usual_folders(), "PATH, /usr/lib/postgresql/*/bin and /usr/pgsql-*/bin".to_owned()),
    };
    let mut found: Vec<Program> = Vec::new();
    for path in folders.into_iter().map(|folder| folder.join(name)).filter(|path| path.is_file()) {
        if let Some(major) = version(&path).await? {
            found.push(Program { name, path, major });
        }
    }
    // The nearest that can: a much newer one may say things an older server does not know.
    found.sort_by_key(|program| program.major);
    match (found.iter().position(|program| program.major >= wanted), found.last()) {
        (Some(at), _) => Ok(found.swap_remove(at)),
        (None, Some(newest)) => Err(Error::TooOld { program: name, found: newest.major, wanted, of }),
        (None, None) => Err(Error::Missing { program: name, places }),
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix(prefix).is_some_and(|version| version.parse::<u32>().is_ok()) {
                folders.insert(entry.path().join("bin"));
            }
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.into_iter().chain(std::env::split_paths(&path)).collect()
}

/// `15` of `pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`.
async fn version(path: &Path) -> Result<Option<u32>, Error> {
    let output = Command::new(path).arg("--version").env("LC_ALL", "C").output().await.map_err(run(path))?;
    Ok(major_in(&String::from_utf8_lossy(&output.stdout)))
}

fn major_in(text: &str) -> Option<u32> {
    let number = text.split(") ").nth(1)?;
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_write_them() {
        assert_eq!(major_in("pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("pg_restore (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_in("something else"), None);
    }
}
