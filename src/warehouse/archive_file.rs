//! The Parquet file of an archived month: written whole or not at all, and read back.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest as _, Sha256};

use super::archive::Error;
use super::archive_rows::{RowDigest, digest};
use super::digest::hexadecimal;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) sha256: String,
    pub(super) size_bytes: i64,
    pub(super) rows: RowDigest,
    pub(super) versions: RowDigest,
}

fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path: path.clone(), source }
}

fn parquet(action: &'static str, path: &Path) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Parquet { action, path: path.clone(), source: Box::new(source) }
}

/// A file under its temporary name.
pub(super) struct Part {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Part {
    /// Opens a file in a folder, which is made where it lacks. Nobody else may read it:
    /// rows may speak of people. What a crash left under the name is written over.
    pub(super) fn open(path: PathBuf, schema: Arc<Schema>, about: &[(&str, String)]) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("make the folder of", &path))?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(io("open", &path))?;
        let about = about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(about))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(parquet("begin", &path))?;
        Ok(Self { path, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(parquet("write", &self.path))
    }

    /// Closes the file and has the disk take it; answers with where it is.
    pub(super) fn finish(self) -> Result<PathBuf, Error> {
        let file = self.writer.into_inner().map_err(parquet("finish", &self.path))?;
        file.sync_all().map_err(io("have the disk take", &self.path))?;
        Ok(self.path)
    }
}

/// Gives a finished file its name for good.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(io("rename", from))?;
    let folder = to.parent().unwrap_or(to);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("have the disk take the folder of", to))
}

/// The SHA-256 of a file, and its size.
pub(super) fn sha256(path: &Path) -> Result<(String, i64), Error> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_i64, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut piece).map_err(io("read", path))?;
        if read == 0 {
            return Ok((hexadecimal(&hash.finalize()), size));
        }
        hash.update(&piece[..read]);
        size += read as i64;
    }
}

/// The rows of a file, in batches.
pub(super) fn batches(path: &Path) -> Result<ParquetRecordBatchReader, Error> {
    let file = File::open(path).map_err(io("open", path))?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.with_batch_size(8192).build());
    reader.map_err(parquet("read", path))
}

/// Reads a whole file, away from the async threads. What it holds is looked at only if
/// its SHA-256 is the right one: a damaged file may say anything.
pub(super) async fn contents(path: &Path, wanted: &str) -> Result<Contents, Error> {
    let (path, wanted) = (path.to_owned(), wanted.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let (sha256, size_bytes) = sha256(&path)?;
        if sha256 != wanted {
            let what = format!("the SHA-256 of `{}`", path.display());
            return Err(Error::Differs { what, wanted, found: sha256 });
        }
        let (mut rows, mut versions) = (RowDigest::default(), RowDigest::default());
        for batch in batches(&path)? {
            let batch = batch.map_err(|error| parquet("read", &path)(ParquetError::from(error)))?;
            digest(&batch, &mut rows, &mut versions);
        }
        Ok(Contents { sha256, size_bytes, rows, versions })
    });
    read.await.map_err(Error::Worker)?
}
