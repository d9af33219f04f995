//! Brings a backup back: into an empty database, or beside one and then in its place.

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tracing::{info, warn};
use uuid::Uuid;

use super::age::{AgeError, Decryptor, Identity};
use super::compare::{Difference, differences};
use super::error::Error;
use super::manifest::Manifest;
use super::target::Target;
use crate::telemetry::chain;
use crate::warehouse::databases::{self, Beside, Place};
use crate::warehouse::programs::Program;
use crate::warehouse::{Endpoint, hexadecimal, snapshot};

/// What is to be restored, and how.
#[derive(Debug)]
pub struct Order {
    /// The backup.
    pub manifest: Manifest,
    /// What opens it, where it is encrypted.
    pub identities: Vec<Identity>,
    /// Folder of PostgreSQL's programs, if set.
    pub programs_dir: Option<std::path::PathBuf>,
}

/// What a restore came to.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// The backup.
    pub id: String,
    /// Host, port and database it is in now.
    pub database: String,
    /// Name of the database that was there before, which stays.
    pub kept: Option<String>,
    /// Roles that were made: they cannot sign in before they are reconciled.
    pub roles_created: Vec<String>,
    /// Tables and rows that came back, compared with the manifest.
    pub tables: usize,
    /// Rows of all of them.
    pub rows: i64,
}

/// Restores a backup. A database with something in it is replaced only if
/// `replace` says so: it then goes on existing under another name. Everything
/// is compared with the manifest first; a failure leaves what was there.
///
/// # Errors
/// When the backup cannot be read or opened, the database is not empty, or what
/// came back is not what was backed up.
pub async fn restore(
    target: &Target,
    order: &Order,
    endpoint: &Endpoint,
    replace: bool,
    now: DateTime<Utc>,
) -> Result<Restored, Error> {
    let manifest = &order.manifest;
    let place = databases::look(endpoint).await?;
    if let (Place::Occupied(found), false) = (&place, replace) {
        return Err(Error::Occupied { database: endpoint.place(), found: found.clone() });
    }
    let mark = Uuid::new_v4().simple().to_string()[..6].to_owned();
    let (roles_created, kept) = if place == Place::Empty {
        let roles_created = fill(target, order, endpoint, None).await?;
        databases::forget_passwords(endpoint).await?;
        (roles_created, None)
    } else {
        let mut beside = Beside::make(endpoint, &mark).await?;
        let swapped = async {
            let roles = fill(target, order, &beside.endpoint(), None).await?;
            if place != Place::Missing {
                databases::carry_roles(endpoint, &beside.endpoint()).await?;
            }
            databases::forget_passwords(&beside.endpoint()).await?;
            let kept = beside.swap(&now.format("%Y%m%dT%H%M%S").to_string()).await?;
            Ok::<_, Error>((roles, kept))
        };
        match swapped.await {
            Ok(done) => done,
            Err(error) => {
                if let Err(error) = beside.discard().await {
                    warn!(error = %chain(&error), "database of a failed restore was not dropped");
                }
                return Err(error);
            }
        }
    };
    info!(what = %manifest.what, backup.id = manifest.id, database = endpoint.place(), "restored backup");
    Ok(Restored {
        id: manifest.id.clone(),
        database: endpoint.place(),
        kept,
        roles_created,
        tables: manifest.contents.tables.len(),
        rows: manifest.rows(),
    })
}

/// Fills an empty database and compares; gives the roles that had to be made.
async fn fill(target: &Target, order: &Order, endpoint: &Endpoint, owner: Option<&str>) -> Result<Vec<String>, Error> {
    let roles = databases::make_roles(endpoint, &order.manifest.contents.roles).await?;
    let found = differences_after(target, order, endpoint, owner).await?;
    if !found.is_empty() {
        return Err(Error::Differs { id: order.manifest.id.clone(), found });
    }
    Ok(roles)
}

/// Streams the backup into an empty database that has the roles, and compares.
pub(super) async fn differences_after(
    target: &Target,
    order: &Order,
    endpoint: &Endpoint,
    owner: Option<&str>,
) -> Result<Vec<Difference>, Error> {
    let manifest = &order.manifest;
    let opener = match (manifest.recipients.is_empty(), order.identities.is_empty()) {
        (true, _) => None,
        (false, true) => return Err(Error::NoIdentity { id: manifest.id.clone() }),
        (false, false) => Some(Decryptor::new(order.identities.clone())),
    };
    let program = Program::restore(order.programs_dir.as_deref(), manifest.pg_dump).await?;
    let (running, input) = program.start_restore(endpoint, owner)?;
    let poured = pour(target, manifest, opener, input).await?;
    let ended = running.finish().await;
    // What is wrong with the bytes explains what the program says about them.
    match poured {
        Some(error) => return Err(error),
        None => ended?,
    }
    let contents = snapshot::contents_of_copy(endpoint).await?;
    Ok(differences(&manifest.contents, &contents))
}

/// Reads the whole object, opens it, writes it to the program. Goes on reading
/// after a failure: only the whole tells whether the object is what was stored.
async fn pour(
    target: &Target,
    manifest: &Manifest,
    mut opener: Option<Decryptor>,
    input: ChildStdin,
) -> Result<Option<Error>, Error> {
    let mut pieces = target.read(&manifest.object).await?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let mut input = Some(input);
    let mut opening: Option<AgeError> = None;
    let mut out = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        bytes += piece.len() as u64;
        if opening.is_some() {
            continue;
        }
        out.clear();
        match &mut opener {
            Some(opener) => opening = opener.push(&piece, &mut out).err(),
            None => out.extend_from_slice(&piece),
        }
        if opening.is_some() {
            // An end without a commit: nothing of it stays.
            input = None;
        }
        write(&mut input, &out).await;
    }
    if let (Some(opener), None) = (opener, &opening) {
        out.clear();
        opening = opener.finish(&mut out).err();
        if opening.is_none() {
            write(&mut input, &out).await;
        }
    }
    drop(input);
    let sha256 = hexadecimal(&hash.finalize());
    let id = || manifest.id.clone();
    if (bytes, &sha256) != (manifest.bytes, &manifest.sha256) {
        let problem = format!(
            "`{}` has {bytes} bytes with SHA-256 {sha256}; {} with {} were stored",
            manifest.object, manifest.bytes, manifest.sha256
        );
        return Ok(Some(Error::Damaged { id: id(), problem }));
    }
    Ok(opening.map(|source| Error::Open { id: id(), recipients: manifest.recipients.clone(), source }))
}

/// A program that has ended reads no more; why, it says itself.
async fn write(input: &mut Option<ChildStdin>, bytes: &[u8]) {
    if let Some(pipe) = input
        && pipe.write_all(bytes).await.is_err()
    {
        *input = None;
    }
}
