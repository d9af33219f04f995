//! Files: as they are listed, as they come in, and as they lie here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::error::Error;
use super::quick_xor_hash::QuickXorHash;

/// A file as a source lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemoteFile {
    /// The drive it is in; for a folder, the folder's path.
    pub drive_id: String,
    /// What names it within the drive, whatever it is called.
    pub item_id: String,
    /// The folder it is in, where the source tells.
    pub folder_id: Option<String>,
    /// What people call it.
    pub name: String,
    /// Changes with the content. Never compared across files.
    pub version: String,
    /// Size that the source lists; some get more bytes than that.
    pub size_bytes: u64,
    /// When it was last modified, as the source knows it.
    pub modified_at: Option<DateTime<Utc>>,
    /// Who modified it last.
    pub modified_by: Option<String>,
    /// By which the transfer is verified; no identity.
    pub quick_xor_hash: Option<String>,
}

#[cfg(test)]
impl RemoteFile {
    /// A file of one byte in drive `d`, for tests.
    pub(crate) fn sample(item_id: &str, name: &str, version: &str) -> Self {
        Self {
            drive_id: "d".to_owned(),
            item_id: item_id.to_owned(),
            folder_id: None,
            name: name.to_owned(),
            version: version.to_owned(),
            size_bytes: 1,
            modified_at: None,
            modified_by: None,
            quick_xor_hash: None,
        }
    }
}

/// What a folder holds that fits a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Files, by name. One that is missing may be there at the next look.
    pub files: Vec<RemoteFile>,
    /// What fits but was left out, and why: for people.
    pub notes: Vec<String>,
    /// Name by id of everything in the folder, whatever it is. Only for drives.
    pub present: BTreeMap<String, String>,
}

/// What a drive's feed of changes means for one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files of the folder that fit the pattern and were mentioned, by name.
    pub files: Vec<RemoteFile>,
    /// What fits but was left out, and why: for people.
    pub notes: Vec<String>,
    /// Ids of what was left out. The feed need not mention them again.
    pub left: Vec<String>,
    /// Name by id of everything mentioned that is in the folder.
    pub present: BTreeMap<String, String>,
    /// Ids of what was mentioned and is not in the folder, or nowhere at all.
    pub away: BTreeSet<String>,
    /// Whether all there is was mentioned, so that what was not is gone.
    pub whole: bool,
    /// Where the next pass goes on. To be kept as it is, with what came before it.
    pub link: String,
}

/// A file that lies here, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// What people call it.
    pub name: String,
    /// SHA-256 of its bytes, in hex: its identity.
    pub content_hash: String,
    /// Its size.
    pub size_bytes: u64,
    /// The listed file of which this is the content.
    pub remote: Option<RemoteFile>,
    /// What people should know about it.
    pub notes: Vec<String>,
}

/// A file on its way in: written, counted and hashed piece by piece. Dropped
/// before its end it leaves nothing behind.
pub(super) struct Intake {
    name: String,
    limit_bytes: u64,
    into: PathBuf,
    temporary: NamedTempFile,
    file: tokio::fs::File,
    digest: Sha256,
    quick_xor_hash: QuickXorHash,
    size_bytes: u64,
}

impl Intake {
    pub(super) async fn new(name: &str, limit_bytes: u64, into: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: into.to_owned(), source };
        tokio::fs::create_dir_all(into).await.map_err(failed)?;
        let temporary = NamedTempFile::with_prefix_in(".coming-", into).map_err(failed)?;
        let file = tokio::fs::File::from_std(temporary.reopen().map_err(failed)?);
        Ok(Self {
            name: name.to_owned(),
            limit_bytes,
            into: into.to_owned(),
            temporary,
            file,
            digest: Sha256::new(),
            quick_xor_hash: QuickXorHash::new(),
            size_bytes: 0,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn quick_xor_hash(&self) -> String {
        self.quick_xor_hash.finish()
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > self.limit_bytes {
            return Err(Error::TooLarge { name: self.name.clone(), limit_bytes: self.limit_bytes });
        }
        self.digest.update(bytes);
        self.quick_xor_hash.update(bytes);
        let outcome = self.file.write_all(bytes).await;
        outcome.map_err(|source| self.failed(source))
    }

    /// Forgets what came so far.
    pub(super) async fn restart(&mut self) -> Result<(), Error> {
        if self.size_bytes == 0 {
            return Ok(());
        }
        self.digest = Sha256::new();
        self.quick_xor_hash = QuickXorHash::new();
        self.size_bytes = 0;
        let outcome = async {
            self.file.flush().await?;
            self.file.set_len(0).await?;
            self.file.seek(SeekFrom::Start(0)).await
        };
        let outcome = outcome.await.map(|_| ());
        outcome.map_err(|source| self.failed(source))
    }

    /// Gives the file its place. Its name there starts with its hash, so that
    /// two files of one name live side by side.
    pub(super) async fn finish(mut self) -> Result<Fetched, Error> {
        let outcome = self.file.flush().await;
        outcome.map_err(|source| self.failed(source))?;
        let content_hash = hex(&self.digest.finalize());
        let path = self.into.join(format!("{}-{}", &content_hash[..16], plain(&self.name)));
        let outcome = self.temporary.persist(&path);
        outcome.map_err(|failure| Error::Write { path: path.clone(), source: failure.error })?;
        Ok(Fetched {
            path,
            name: self.name,
            content_hash,
            size_bytes: self.size_bytes,
            remote: None,
            notes: Vec::new(),
        })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Write { path: self.into.clone(), source }
    }
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name that any file system takes and that leads nowhere; its end, where the
/// kind of file stands, is kept.
fn plain(name: &str) -> String {
    let odd = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    let name: String = name.chars().map(|c| if odd(c) { '_' } else { c }).collect();
    let mut start = name.len().saturating_sub(120);
    while !name.is_char_boundary(start) {
        start += 1;
    }
    name[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_starts_again_is_that_of_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut intake = Intake::new("a/b.csv", 8, folder.path()).await.unwrap();
        intake.write(b"first").await.unwrap();
        intake.restart().await.unwrap();
        intake.write(b"ab").await.unwrap();
        intake.write(b"c").await.unwrap();
        assert_eq!(intake.quick_xor_hash(), "YRDDGAAAAAAAAAAAAwAAAAAAAAA=");
        let fetched = intake.finish().await.unwrap();
        assert_eq!(std::fs::read(&fetched.path).unwrap(), b"abc");
        assert!(fetched.content_hash.starts_with("ba7816bf8f01cfea"));
        assert!(fetched.path.ends_with("ba7816bf8f01cfea-a_b.csv"));
    }

    #[tokio::test]
    async fn a_file_over_the_limit_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut intake = Intake::new("a.csv", 3, folder.path()).await.unwrap();
        let outcome = intake.write(b"abcd").await;
        assert!(matches!(outcome, Err(Error::TooLarge { .. })));
        drop(intake);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_leads_nowhere_and_keeps_its_end() {
        assert_eq!(plain("../../etc/passwd"), ".._.._etc_passwd");
        let long = format!("{}é.xlsx", "x".repeat(300));
        assert!(plain(&long).ends_with("é.xlsx"));
        assert!(plain(&long).len() <= 120);
    }
}
