//! A folder on this machine, for files that arrive by other ways.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::libc::O_NOFOLLOW;

use super::error::Error;
use super::file::{Fetched, Intake, Listing, RemoteFile};
use crate::pattern::Pattern;

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 18;

/// Lists and fetches files below one folder, and never leaves it: links are
/// not followed.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Prepares; the folder need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Lists the files of a subfolder (`""` for the folder itself) that fit a
    /// pattern such as `Sales*.xlsx`.
    ///
    /// # Errors
    /// When the subfolder is not there or leads out.
    pub async fn list(&self, folder: &str, pattern: &str) -> Result<Listing, Error> {
        let (this, folder) = (self.clone(), folder.to_owned());
        let pattern = Pattern::new(pattern);
        blocking(move || this.listed(&folder, &pattern)).await
    }

    /// Copies a listed file into a folder, as it is now.
    ///
    /// # Errors
    /// When it is too large, gone, or leads out.
    pub async fn fetch(&self, file: &RemoteFile, limit_bytes: u64, into: &Path) -> Result<Fetched, Error> {
        if file.size_bytes > limit_bytes {
            let name = file.name.clone();
            return Err(Error::TooLarge { name, limit_bytes });
        }
        let (this, item) = (self.clone(), PathBuf::from(&file.item_id));
        let (mut source, path) = blocking(move || this.opened(&item)).await?;
        let mut intake = Intake::new(&file.name, limit_bytes, into).await?;
        loop {
            let (back, outcome) = blocking(move || {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let outcome = source.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
                Ok((source, outcome.map(|_| piece)))
            })
            .await?;
            source = back;
            let piece = outcome.map_err(|source| Error::Read { path: path.clone(), source })?;
            if piece.is_empty() {
                break;
            }
            intake.write(&piece).await?;
        }
        let metadata = source.metadata().map_err(|source| Error::Read { path: path.clone(), source })?;
        let now = self.described(file.item_id.clone(), file.name.clone(), &metadata);
        if now.size_bytes != intake.size_bytes() {
            let name = file.name.clone();
            return Err(Error::KeepsChanging { name });
        }
        Ok(Fetched { remote: Some(now), ..intake.finish().await? })
    }

    /// Moves a read file into a folder beside it, under a name of its own; what
    /// could not be done comes back as a note.
    pub async fn archive(&self, file: &RemoteFile, folder_name: &str, now: DateTime<Utc>) -> Option<String> {
        let (this, moved, folder) = (self.clone(), file.clone(), folder_name.to_owned());
        let outcome = blocking(move || this.moved(&moved, &folder, now)).await;
        outcome.err().map(|error| {
            let reason = crate::telemetry::chain(&error);
            format!("`{}` was not moved to `{folder_name}`: {reason}", file.name)
        })
    }

    fn listed(&self, folder: &str, pattern: &Pattern) -> Result<Listing, Error> {
        let relative = Path::new(folder.trim_matches('/'));
        let place = self.inside(relative)?;
        let failed = |source| Error::Read { path: place.clone(), source };
        if !place.is_dir() {
            let folder = folder.to_owned();
            return Err(Error::FolderNotFound { folder });
        }
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                let name = entry.file_name();
                let note = format!("`{}`: its name is no Unicode", name.display());
                listing.notes.push(note);
                continue;
            };
            let open_elsewhere = name.strip_prefix("~$").is_some_and(|rest| pattern.matches(rest));
            if open_elsewhere || !pattern.matches(&name) || name.starts_with('.') {
                continue;
            }
            // Does not follow a link.
            let metadata = entry.metadata().map_err(failed)?;
            let reason = match () {
                () if metadata.is_symlink() => "a link, which is not followed",
                () if !metadata.is_file() => "not a file",
                () if metadata.len() == 0 => "empty, or still being written",
                () => {
                    let item_id = relative.join(&name);
                    let item_id = item_id.to_string_lossy().into_owned();
                    listing.files.push(self.described(item_id, name, &metadata));
                    continue;
                }
            };
            listing.notes.push(format!("`{name}`: {reason}"));
        }
        listing.files.sort_by(|a, b| a.name.cmp(&b.name));
        listing.notes.sort();
        Ok(listing)
    }

    fn moved(&self, file: &RemoteFile, folder: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let item = Path::new(&file.item_id);
        let from = self.inside(item)?;
        let beside = item.parent().unwrap_or(Path::new("")).join(folder);
        let target = plain_join(&self.root, &beside)?;
        let failed = |source| Error::Write { path: target.clone(), source };
        std::fs::create_dir_all(&target).map_err(failed)?;
        let target = self.inside(&beside)?;
        let name = super::archive::archived_name(file, now);
        std::fs::rename(from, target.join(name)).map_err(failed)
    }

    fn opened(&self, item: &Path) -> Result<(File, PathBuf), Error> {
        let path = self.inside(item)?;
        let mut options = File::options();
        // The last step is no link either, should one have come up meanwhile.
        let outcome = options.read(true).custom_flags(O_NOFOLLOW).open(&path);
        match outcome {
            Ok(file) => Ok((file, path)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                let name = item.display().to_string();
                Err(Error::FileVanished { name })
            }
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// The real path of something below the root; links that lead out are refused.
    fn inside(&self, relative: &Path) -> Result<PathBuf, Error> {
        let path = plain_join(&self.root, relative)?;
        let failed = |path: &Path, source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::FolderNotFound { folder: path.display().to_string() },
            _ => Error::Read { path: path.to_owned(), source },
        };
        let root = self.root.canonicalize();
        let root = root.map_err(|source| failed(&self.root, source))?;
        let real = match path.canonicalize() {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                // What is not there leads where the folder above it does.
                if let Some(above) = relative.parent() {
                    self.inside(above)?;
                }
                return Ok(path);
            }
            outcome => outcome.map_err(|source| failed(&path, source))?,
        };
        if !real.starts_with(root) {
            return Err(Error::Outside { path });
        }
        Ok(real)
    }

    fn described(&self, item_id: String, name: String, metadata: &Metadata) -> RemoteFile {
        let modified_at = metadata.modified().ok().map(DateTime::<Utc>::from);
        let moment = modified_at.map(|at| at.to_rfc3339()).unwrap_or_default();
        RemoteFile {
            drive_id: self.root.display().to_string(),
            item_id,
            folder_id: None,
            name,
            version: format!("{moment} {}", metadata.len()),
            size_bytes: metadata.len(),
            modified_at,
            modified_by: None,
            quick_xor_hash: None,
        }
    }
}

/// Joins a path that only leads downwards.
fn plain_join(root: &Path, relative: &Path) -> Result<PathBuf, Error> {
    let downwards = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !downwards {
        let path = relative.to_owned();
        return Err(Error::Outside { path });
    }
    Ok(root.join(relative))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(source) => Err(Error::Read { path: PathBuf::new(), source: std::io::Error::other(source) }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("BI Import")).unwrap();
        std::fs::write(root.join("BI Import/b.csv"), "abc").unwrap();
        std::fs::write(root.join("BI Import/A.csv"), "x").unwrap();
        std::fs::write(root.join("BI Import/~$A.csv"), "x").unwrap();
        std::fs::write(root.join("BI Import/empty.csv"), "").unwrap();
        std::fs::write(place.path().join("secret.csv"), "secret").unwrap();
        let link = root.join("BI Import/link.csv");
        std::os::unix::fs::symlink(place.path().join("secret.csv"), link).unwrap();
        std::os::unix::fs::symlink(place.path(), root.join("out")).unwrap();
        (place, Folder::new(root))
    }

    #[tokio::test]
    async fn files_that_fit_are_listed_and_links_are_not() {
        let (_place, folder) = folder();
        let listing = folder.list("BI Import", "*.csv").await.unwrap();
        let names: Vec<_> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["A.csv", "b.csv"]);
        assert_eq!(listing.notes.len(), 2);
        let missing = folder.list("Nowhere", "*").await;
        assert!(matches!(missing, Err(Error::FolderNotFound { .. })));
    }

    #[tokio::test]
    async fn nothing_leads_out_of_the_folder() {
        let (_place, folder) = folder();
        for way in ["..", "BI Import/../..", "out", "/etc"] {
            let outcome = folder.list(way, "*").await;
            let out = matches!(outcome, Err(Error::Outside { .. } | Error::FolderNotFound { .. }));
            assert!(out, "{way}: {outcome:?}");
        }
        let into = tempfile::tempdir().unwrap();
        let mut file = folder.list("BI Import", "b.csv").await.unwrap().files.remove(0);
        for way in ["../secret.csv", "BI Import/link.csv", "out/secret.csv"] {
            file.item_id = way.to_owned();
            let outcome = folder.fetch(&file, 100, into.path()).await;
            assert!(matches!(outcome, Err(Error::Outside { .. })), "{way}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_file_is_copied_with_its_hash_and_put_away() {
        let (_place, folder) = folder();
        let into = tempfile::tempdir().unwrap();
        let file = folder.list("BI Import", "b.csv").await.unwrap().files.remove(0);
        let fetched = folder.fetch(&file, 3, into.path()).await.unwrap();
        assert!(fetched.content_hash.starts_with("ba7816bf"));
        assert_eq!(std::fs::read(&fetched.path).unwrap(), b"abc");
        assert_eq!(fetched.remote.as_ref(), Some(&file));
        let outcome = folder.fetch(&file, 2, into.path()).await;
        assert!(matches!(outcome, Err(Error::TooLarge { .. })));

        let now = DateTime::parse_from_rfc3339("2026-02-01T06:01:05Z").unwrap().to_utc();
        assert_eq!(folder.archive(&file, "Archive", now).await, None);
        assert!(folder.list("BI Import", "b.csv").await.unwrap().files.is_empty());
        assert_eq!(folder.list("BI Import/Archive", "*").await.unwrap().files.len(), 1);
        let note = folder.archive(&file, "Archive", now).await.unwrap();
        assert!(note.contains("was not moved"), "{note}");
    }
}
