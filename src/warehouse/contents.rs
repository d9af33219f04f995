//! What loaded files held, byte for byte: kept in the load's own transaction.
//!
//! A content is known by its hash and kept once, in pieces, so that memory does not
//! grow with the file. It is there exactly as long as the rows are: a load that dies
//! leaves no byte, and one that finds the content there already keeps it from being
//! pruned until it has ended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Days, Utc};
use futures::TryStreamExt as _;
use sqlx::Row as _;
use tokio::sync::mpsc;
use tracing::debug;

use super::Warehouse;
use super::load::Load;

/// What a piece holds before it is compressed.
const PIECE_BYTES: u64 = 4 << 20;
/// Pieces that wait between the reader and the database.
const PIECES_AHEAD: usize = 2;
/// Compression at this level costs little time, and takes most that there is to take.
const LEVEL: i32 = 1;
/// How an archive begins, XLSX among them: it is compressed already.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// Why contents could not be kept, read or pruned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL refused.
    #[error("failed to {action}")]
    Query {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// The file, or its copy, could not be read or written on this machine.
    #[error("failed to {action} `{path}`")]
    Local {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The worker that compresses ended in a way that should not happen.
    #[error("the worker that compressed `{path}` ended early")]
    Worker {
        /// The file.
        path: PathBuf,
        /// How.
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Query { source: sqlx::Error::Database(error), .. } if error.code().as_deref() == Some("53100") => {
                Some(
                    "the database's disk is full: make room, or keep files for fewer days by `warehouse.keep_files_days`",
                )
            }
            Self::Query { .. } => Some("check that PostgreSQL runs and that `storekeeper db migrate` was run"),
            Self::Local { .. } => Some("check the disk and the rights"),
            Self::Worker { .. } => Some("this is a defect of ours: please report it"),
        }
    }

    fn query(action: &'static str) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |source| Self::Query { action, source }
    }
}

/// What became of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// They are here.
    Here {
        /// By what they are found.
        content_id: i64,
    },
    /// They were, until then.
    Pruned(DateTime<Utc>),
    /// They never were.
    Never,
}

impl Load {
    /// Keeps a loaded file's bytes with the load, unless they are kept already.
    ///
    /// # Errors
    /// When PostgreSQL refuses, or the file can no longer be read.
    pub async fn keep_contents(&mut self, path: &Path, content_hash: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let query = Error::query("keep a file's bytes");
        // Held until the load ends, so that nobody prunes what the load relies on.
        let there = sqlx::query(
            "SELECT content_id FROM ops.file_contents WHERE content_hash = $1 AND pruned_at IS NULL
             LIMIT 1 FOR KEY SHARE",
        )
        .bind(content_hash)
        .fetch_optional(self.connection())
        .await
        .map_err(query)?;
        if there.is_some() {
            return Ok(());
        }
        let local = |action| {
            let path = path.to_owned();
            move |source| Error::Local { action, path, source }
        };
        let mut file = File::open(path).map_err(local("open"))?;
        let mut start = [0; ARCHIVE.len()];
        let compressed = !matches!(file.read_exact(&mut start), Ok(()) if start == ARCHIVE);
        file.seek(SeekFrom::Start(0)).map_err(local("read"))?;
        let content_id: i64 = sqlx::query_scalar(
            "INSERT INTO ops.file_contents (content_hash, encoding, size_bytes, stored_bytes, kept_at)
             VALUES ($1, $2, 0, 0, $3) RETURNING content_id",
        )
        .bind(content_hash)
        .bind(if compressed { "zstd" } else { "none" })
        .bind(now)
        .fetch_one(self.connection())
        .await
        .map_err(query)?;
        let started = Instant::now();
        let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
        let reader = tokio::task::spawn_blocking(move || cut(file, compressed, &sender));
        let mut stored = 0;
        let mut number = 0;
        while let Some(piece) = pieces.recv().await {
            let piece: Vec<u8> = piece;
            stored += piece.len();
            sqlx::query("INSERT INTO ops.file_pieces (content_id, piece, bytes) VALUES ($1, $2, $3)")
                .bind(content_id)
                .bind(number)
                .bind(piece)
                .execute(self.connection())
                .await
                .map_err(query)?;
            number += 1;
        }
        let read = reader.await.map_err(|source| Error::Worker { path: path.to_owned(), source })?;
        let size = read.map_err(local("read"))?;
        sqlx::query("UPDATE ops.file_contents SET size_bytes = $2, stored_bytes = $3 WHERE content_id = $1")
            .bind(content_id)
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(i64::try_from(stored).unwrap_or(i64::MAX))
            .execute(self.connection())
            .await
            .map_err(query)?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        debug!(size_bytes = size, stored_bytes = stored, duration_ms, "kept the bytes of a file");
        Ok(())
    }
}

/// Cuts a file into pieces; answers with how many bytes it had.
fn cut(mut file: File, compressed: bool, pieces: &mpsc::Sender<Vec<u8>>) -> io::Result<u64> {
    let mut size = 0;
    loop {
        let mut piece = Vec::new();
        let read = (&mut file).take(PIECE_BYTES).read_to_end(&mut piece)?;
        if read == 0 {
            return Ok(size);
        }
        size += read as u64;
        if compressed {
            piece = zstd::bulk::compress(&piece, LEVEL)?;
        }
        if pieces.blocking_send(piece).is_err() {
            // The database refused, and says why on its own.
            return Ok(size);
        }
    }
}

/// Says what became of a content.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn find(warehouse: &Warehouse, content_hash: &str) -> Result<Kept, Error> {
    let row = sqlx::query(
        "SELECT content_id, pruned_at FROM ops.file_contents WHERE content_hash = $1
         ORDER BY pruned_at DESC NULLS FIRST, content_id LIMIT 1",
    )
    .bind(content_hash)
    .fetch_optional(warehouse.pool())
    .await
    .map_err(Error::query("look for a file's bytes"))?;
    Ok(match row {
        None => Kept::Never,
        Some(row) => match row.get::<Option<DateTime<Utc>>, _>("pruned_at") {
            Some(at) => Kept::Pruned(at),
            None => Kept::Here { content_id: row.get("content_id") },
        },
    })
}

/// Writes a kept content into a scratch file, which vanishes with the answer; `None`
/// where it was pruned meanwhile.
///
/// # Errors
/// When PostgreSQL refuses, or the disk does.
pub async fn read_back(warehouse: &Warehouse, content_id: i64) -> Result<Option<File>, Error> {
    let query = Error::query("read a file's bytes");
    let local = |action| {
        let path = std::env::temp_dir();
        move |source| Error::Local { action, path, source }
    };
    let mut file = tempfile::tempfile().map_err(local("make a scratch file in"))?;
    let mut rows = sqlx::query(
        "SELECT p.bytes, c.encoding FROM ops.file_pieces p JOIN ops.file_contents c USING (content_id)
         WHERE p.content_id = $1 ORDER BY p.piece",
    )
    .bind(content_id)
    .fetch(warehouse.pool());
    let mut pieces = 0;
    while let Some(row) = rows.try_next().await.map_err(query)? {
        let bytes: &[u8] = row.get("bytes");
        if row.get::<&str, _>("encoding") == "zstd" {
            let piece_bytes = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
            let piece = zstd::bulk::decompress(bytes, piece_bytes).map_err(local("unpack a kept file into"))?;
            file.write_all(&piece).map_err(local("write a scratch file in"))?;
        } else {
            file.write_all(bytes).map_err(local("write a scratch file in"))?;
        }
        pieces += 1;
    }
    file.seek(SeekFrom::Start(0)).map_err(local("read a scratch file in"))?;
    Ok((pieces > 0).then_some(file))
}

/// What pruning took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Contents.
    pub files: u64,
    /// Their bytes, as they were stored.
    pub bytes: u64,
}

/// Removes the bytes of files that no load brought within `keep_days`; with 0, of all.
/// What loads rely on at this moment stays. Running it twice changes nothing the
/// second time, and costs one look into an index.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn prune(warehouse: &Warehouse, keep_days: u32, now: DateTime<Utc>) -> Result<Pruned, Error> {
    let query = Error::query("prune the bytes of old files");
    let before = if keep_days == 0 { now } else { now.checked_sub_days(Days::new(keep_days.into())).unwrap_or(now) };
    let all = keep_days == 0;
    let mut transaction = warehouse.pool().begin().await.map_err(query)?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT c.content_id FROM ops.file_contents c WHERE c.pruned_at IS NULL AND ($2 OR c.kept_at < $1)
         ORDER BY c.content_id FOR UPDATE SKIP LOCKED",
    )
    .bind(before)
    .bind(all)
    .fetch_all(&mut *transaction)
    .await
    .map_err(query)?;
    if ids.is_empty() {
        return Ok(Pruned::default());
    }
    // A content may be older than the last load that brought it. Asked only now that no
    // load can begin to rely on one.
    let due: Vec<(i64, i64)> = sqlx::query_as(
        "UPDATE ops.file_contents c SET pruned_at = $3
         WHERE c.content_id = ANY($4)
           AND ($2 OR NOT EXISTS (SELECT FROM ops.files f JOIN ops.loads l USING (load_id)
                                  WHERE f.content_hash = c.content_hash AND l.committed_at >= $1))
         RETURNING c.content_id, c.stored_bytes",
    )
    .bind(before)
    .bind(all)
    .bind(now)
    .bind(&ids)
    .fetch_all(&mut *transaction)
    .await
    .map_err(query)?;
    let gone: Vec<i64> = due.iter().map(|(id, _)| *id).collect();
    sqlx::query("DELETE FROM ops.file_pieces WHERE content_id = ANY($1)")
        .bind(&gone)
        .execute(&mut *transaction)
        .await
        .map_err(query)?;
    transaction.commit().await.map_err(query)?;
    let bytes = due.iter().map(|(_, stored)| stored.unsigned_abs()).sum();
    Ok(Pruned { files: due.len() as u64, bytes })
}
