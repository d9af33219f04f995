//! A cluster of its own for a while: a private server in a folder that goes with it.
//!
//! Its supervisor stops it however we end. The folder of a process that was
//! killed is removed by the next one that makes a scratch cluster.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::embedded::{Embedded, Error};
use super::endpoint::Endpoint;

const PREFIX: &str = "scratch-";

/// The cluster.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    server: Embedded,
}

impl Scratch {
    /// Makes a cluster below a folder and starts its server.
    ///
    /// # Errors
    /// When no server is installed or it does not come up.
    pub async fn start(parent: &Path, supervisor: &Path, mark: &str) -> Result<Self, Error> {
        let prepare = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Prepare { path, source }
        };
        std::fs::create_dir_all(parent).map_err(prepare(parent))?;
        for entry in std::fs::read_dir(parent).map_err(prepare(parent))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) && abandoned(&entry.path()) {
                remove(&entry.path())?;
            }
        }
        let folder = parent.join(format!("{PREFIX}{mark}"));
        std::fs::create_dir(&folder).map_err(prepare(&folder))?;
        match Embedded::join(&folder, supervisor).await {
            Ok(server) => Ok(Self { folder, server }),
            Err(error) => {
                remove(&folder)?;
                Err(error)
            }
        }
    }

    /// The server's database, as its superuser.
    pub fn endpoint(&self) -> Endpoint {
        self.server.endpoint()
    }

    /// Stops the server and removes everything.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn remove(self) -> Result<(), Error> {
        let Self { folder, server } = self;
        drop(server);
        let lock = folder.join("postgres/supervisor.lock");
        let path = lock.clone();
        // The supervisor lets go of its lock last of all.
        let waited = tokio::task::spawn_blocking(move || File::open(&lock).and_then(|file| file.lock())).await;
        match waited {
            Ok(Ok(())) => remove(&folder),
            Ok(Err(source)) => Err(Error::Prepare { path, source }),
            Err(fallen) => Err(Error::Prepare { path, source: std::io::Error::other(fallen) }),
        }
    }
}

/// Whether nobody uses it any more and its server has stopped.
fn abandoned(folder: &Path) -> bool {
    ["in-use.lock", "supervisor.lock"].iter().all(|name| {
        // A folder without its locks is one that somebody is just making, or nothing at all.
        File::open(folder.join("postgres").join(name)).is_ok_and(|file| file.try_lock().is_ok())
    })
}

fn remove(folder: &Path) -> Result<(), Error> {
    // The cluster may stand elsewhere, where its own user can enter.
    let cluster = folder.join("postgres/cluster");
    if cluster.is_symlink() {
        let elsewhere = std::fs::read_link(&cluster).map_err(|source| Error::Prepare { path: cluster, source })?;
        std::fs::remove_dir_all(&elsewhere).map_err(|source| Error::Prepare { path: elsewhere, source })?;
    }
    std::fs::remove_dir_all(folder).map_err(|source| Error::Prepare { path: folder.to_owned(), source })
}
