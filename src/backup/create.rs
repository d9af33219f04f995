//! Makes a backup.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::{info, warn};
use uuid::Uuid;

use super::age::{AgeError, Encryptor, Recipient};
use super::error::Error;
use super::manifest::{FORMAT, Manifest, What, id_of};
use super::retention::{Keep, superseded};
use super::target::{Target, Upload};
use crate::settings;
use crate::telemetry::chain;
use crate::warehouse::Endpoint;
use crate::warehouse::programs::Program;
use crate::warehouse::snapshot::{Contents, Snapshot};

const PIECE_BYTES: usize = 256 * 1024;

/// What a backup came to.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// What was written.
    pub manifest: Manifest,
    /// Older backups that went.
    pub removed: Vec<String>,
}

/// Backs a database up, then removes the backups that need not be kept any more.
///
/// # Errors
/// When any part fails; then nothing that counts as a backup is left.
pub async fn create(
    target: &Target,
    settings: &settings::Backup,
    what: What,
    endpoint: &Endpoint,
    now: DateTime<Utc>,
) -> Result<Created, Error> {
    let recipients = recipients(settings)?;
    let started = Instant::now();
    let mut snapshot = Snapshot::open(endpoint).await?;
    let (name, server) = snapshot.export().await?;
    let program = Program::dump(settings.programs_dir.as_deref(), major(server)).await?;
    let mark = Uuid::new_v4().simple().to_string()[..6].to_owned();
    let id = id_of(now, &mark);
    let object = format!("{what}/{id}.dump{}", if recipients.is_empty() { "" } else { ".age" });
    let encryptor = if recipients.is_empty() {
        None
    } else {
        let keys: Vec<Recipient> = recipients.iter().map(|(_, key)| key.clone()).collect();
        Some(Encryptor::new(&keys).map_err(Error::Encrypt)?)
    };
    let mut upload = target.write(&object).await?;
    let dumped = dump(&program, endpoint, &name, &mut snapshot, encryptor, &mut upload).await;
    // The transaction lives to here: it keeps the snapshot, and the tables as they are.
    let closed = snapshot.close().await.map_err(Error::from);
    let contents = match dumped.and_then(|contents| closed.map(|()| contents)) {
        Ok(contents) => contents,
        Err(error) => {
            if let Err(error) = upload.abort().await {
                warn!(error = %chain(&error), "broken-off backup was not taken back");
            }
            return Err(error);
        }
    };
    let (bytes, sha256) = upload.finish().await?;
    let manifest = Manifest {
        format: FORMAT,
        id,
        what,
        made_at: now,
        seconds: started.elapsed().as_secs_f64(),
        storekeeper: env!("CARGO_PKG_VERSION").to_owned(),
        pg_dump: program.major,
        database: endpoint.database().to_owned(),
        object,
        bytes,
        sha256,
        recipients: recipients.into_iter().map(|(text, _)| text).collect(),
        contents,
    };
    target.put_manifest(&manifest).await?;
    info!(what = %what, backup.id = manifest.id, bytes, rows = manifest.rows(), "made backup");
    let removed = tidy(target, settings, what, now).await?;
    Ok(Created { manifest, removed })
}

pub(super) fn major(number: i32) -> u32 {
    u32::try_from(number / 10_000).unwrap_or_default()
}

fn recipients(settings: &settings::Backup) -> Result<Vec<(String, Recipient)>, Error> {
    let read = |text: &String| {
        let problem =
            |error: AgeError| Error::Setting { key: "backup.recipients", problem: format!("`{text}`: {error}") };
        // A secret key put here by mistake must not get into a message.
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            let problem = "it holds a secret key; the public one (age1…) belongs there".to_owned();
            return Err(Error::Setting { key: "backup.recipients", problem });
        }
        text.parse().map(|key| (text.clone(), key)).map_err(problem)
    };
    settings.recipients.iter().map(read).collect()
}

/// Dumps and counts at once, both in the same snapshot.
async fn dump(
    program: &Program,
    endpoint: &Endpoint,
    name: &str,
    snapshot: &mut Snapshot,
    encryptor: Option<(Encryptor, Vec<u8>)>,
    upload: &mut Upload,
) -> Result<Contents, Error> {
    let (running, output) = program.start_dump(endpoint, name)?;
    let pumped = async {
        pump(output, encryptor, upload).await?;
        // The end of its output is not yet a good end.
        running.finish().await.map_err(Error::from)
    };
    let counted = async { snapshot.contents().await.map_err(Error::from) };
    let ((), contents) = tokio::try_join!(pumped, counted)?;
    Ok(contents)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    encryptor: Option<(Encryptor, Vec<u8>)>,
    upload: &mut Upload,
) -> Result<(), Error> {
    let mut piece = vec![0_u8; PIECE_BYTES];
    let (mut encryptor, mut out) = match encryptor {
        Some((encryptor, header)) => (Some(encryptor), header),
        None => (None, Vec::new()),
    };
    loop {
        let bytes = from.read(&mut piece).await.map_err(Error::Read)?;
        if bytes == 0 {
            break;
        }
        match &mut encryptor {
            Some(encryptor) => encryptor.push(&piece[..bytes], &mut out).map_err(Error::Encrypt)?,
            None => out.extend_from_slice(&piece[..bytes]),
        }
        upload.push(&out).await?;
        out.clear();
    }
    if let Some(encryptor) = encryptor {
        encryptor.finish(&mut out).map_err(Error::Encrypt)?;
        upload.push(&out).await?;
    }
    Ok(())
}

/// Removes what need not be kept, and what killed processes left.
async fn tidy(
    target: &Target,
    settings: &settings::Backup,
    what: What,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Error> {
    let keep = Keep { last: settings.keep_last, daily: settings.keep_daily, weekly: settings.keep_weekly };
    let listed = target.list(what).await?;
    // Damaged ones neither count nor go: somebody should look at them.
    let complete: Vec<(String, DateTime<Utc>)> = listed
        .into_iter()
        .filter(|one| one.state == super::State::Complete)
        .filter_map(|one| one.manifest.map(|manifest| (manifest.id, manifest.made_at)))
        .collect();
    let gone = superseded(&complete, keep);
    for id in &gone {
        target.remove(what, id).await?;
    }
    let swept = target.sweep(what, now).await?;
    if !gone.is_empty() || swept > 0 {
        info!(what = %what, removed = gone.len(), broken_off = swept, "removed old backups");
    }
    Ok(gone)
}
