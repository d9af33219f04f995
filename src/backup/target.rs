//! Where backups lie: a folder, or an object store.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutMode, PutOptions, PutPayload, WriteMultipart,
};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::error::Error;
use super::manifest::{FORMAT, Listed, Manifest, State, What, moment_of};
use crate::http::ObjectsConnector;
use crate::settings;
use crate::warehouse::hexadecimal;

/// A part of a multipart upload: ten thousand of them are allowed.
const PART_BYTES: usize = 16 << 20;
/// Parts under way at once: they are what is held in memory.
const PARTS_AT_ONCE: usize = 2;
/// What was broken off is removed after so long: nobody makes a backup for two days.
const BROKEN_OFF_AFTER: TimeDelta = TimeDelta::days(2);

/// The place, opened. Clones share it.
#[derive(Debug, Clone)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: String,
    /// Where it is a folder.
    folder: Option<PathBuf>,
}

impl Target {
    /// Opens what the settings name; makes the folder where it is one.
    ///
    /// # Errors
    /// When it is not set or makes no sense.
    pub fn open(settings: &settings::Backup, connector: &ObjectsConnector) -> Result<Self, Error> {
        let shown = settings.target.clone().filter(|text| !text.is_empty()).ok_or(Error::NoTarget)?;
        let setting = |problem: String| Error::Setting { key: "backup.target", problem };
        if !shown.contains("://") {
            return Self::folder(shown);
        }
        let url = Url::parse(&shown).map_err(|error| setting(error.to_string()))?;
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| setting(error.to_string()))?;
        let refused = |error: object_store::Error| setting(error.to_string());
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                let folder = url.to_file_path().map_err(|()| setting("it is no path of this machine".to_owned()))?;
                return Self::folder(folder.display().to_string());
            }
            ObjectStoreScheme::AmazonS3 => {
                let s3 = &settings.s3;
                let mut builder = AmazonS3Builder::new()
                    .with_url(url.as_str())
                    .with_region(&s3.region)
                    .with_allow_http(s3.allow_http)
                    .with_http_connector(connector.clone());
                if let Some(endpoint) = &s3.endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
                    builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
                }
                Arc::new(builder.build().map_err(refused)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let azure = &settings.azure;
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_url(url.as_str())
                    .with_allow_http(azure.allow_http)
                    .with_http_connector(connector.clone());
                if let Some(endpoint) = &azure.endpoint {
                    builder = builder.with_endpoint(endpoint.clone());
                }
                if let Some(account) = &azure.account {
                    builder = builder.with_account(account);
                }
                if let Some(key) = &azure.access_key {
                    builder = builder.with_access_key(key.expose_secret());
                }
                Arc::new(builder.build().map_err(refused)?)
            }
            _ => return Err(setting(format!("`{}://` is not known", url.scheme()))),
        };
        Ok(Self { store, prefix, shown, folder: None })
    }

    fn folder(shown: String) -> Result<Self, Error> {
        let folder = PathBuf::from(&shown);
        let prepare = |source| Error::Prepare { target: shown.clone(), source };
        for what in What::ALL {
            // A dump is everything: nobody else reads it.
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder.join(what.name())).map_err(prepare)?;
        }
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| Error::Setting { key: "backup.target", problem: error.to_string() })?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), shown, folder: Some(folder) })
    }

    /// Folder or URL, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> Error + use<> {
        let (name, target) = (name.to_owned(), self.shown.clone());
        move |source| Error::Target { action, name, target, source }
    }

    /// Lists the backups of a database, the oldest first.
    ///
    /// # Errors
    /// When the target cannot be read.
    pub async fn list(&self, what: What) -> Result<Vec<Listed>, Error> {
        let folder = self.path(what.name());
        let found: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(self.failed("list", what.name()))?;
        let mut objects: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for object in found {
            let Some(name) = object.location.filename() else { continue };
            let id = name.split('.').next().unwrap_or_default().to_owned();
            if moment_of(&id).is_some() {
                objects.entry(id).or_default().insert(name.to_owned(), object.size);
            }
        }
        let mut listed = Vec::with_capacity(objects.len());
        for (id, parts) in objects {
            let mut one = Listed {
                what,
                state: State::Incomplete,
                made_at: moment_of(&id),
                bytes: parts.values().sum(),
                manifest: None,
                id,
            };
            if parts.contains_key(&format!("{}.json", one.id)) {
                match self.manifest(what, &one.id).await {
                    Ok(manifest) => {
                        let name = manifest.object.rsplit('/').next().unwrap_or_default();
                        let whole = parts.get(name) == Some(&manifest.bytes);
                        one.state = if whole { State::Complete } else { State::Damaged };
                        one.manifest = Some(manifest);
                    }
                    Err(Error::Manifest { .. }) => one.state = State::Unreadable,
                    Err(error) => return Err(error),
                }
            }
            listed.push(one);
        }
        Ok(listed)
    }

    /// Finds a backup by its name, or the newest complete one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find(&self, what: What, id: Option<&str>) -> Result<Manifest, Error> {
        let listed = self.list(what).await?;
        let newest = listed.into_iter().rev().find(|one| match id {
            Some(id) => one.id == id,
            None => one.state == State::Complete,
        });
        let wanted = || id.map_or_else(|| format!("of the {what}"), |id| format!("`{id}` of the {what}"));
        match newest {
            Some(Listed { state: State::Damaged, manifest: Some(manifest), bytes, id, .. }) => {
                let problem = format!("the target holds {bytes} bytes of it, {} were stored", manifest.bytes);
                Err(Error::Damaged { id, problem })
            }
            Some(Listed { manifest: Some(manifest), .. }) => Ok(manifest),
            // Says what is wrong with it.
            Some(Listed { state: State::Unreadable, id, .. }) => self.manifest(what, &id).await,
            _ => Err(Error::NotFound { wanted: wanted(), target: self.shown.clone() }),
        }
    }

    async fn manifest(&self, what: What, id: &str) -> Result<Manifest, Error> {
        let name = format!("{what}/{id}.json");
        let object = self.store.get(&self.path(&name)).await.map_err(self.failed("read", &name))?;
        let bytes = object.bytes().await.map_err(self.failed("read", &name))?;
        let read = serde_json::from_slice::<Manifest>(&bytes);
        let unknown = |format: u32| serde::de::Error::custom(format!("format {format} is not known"));
        match read {
            Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
            Ok(manifest) => Err(Error::Manifest { name, source: unknown(manifest.format) }),
            Err(source) => Err(Error::Manifest { name, source }),
        }
    }

    /// Writes a manifest, the last act of a backup.
    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let name = format!("{}/{}.json", manifest.what, manifest.id);
        let text =
            serde_json::to_vec_pretty(manifest).map_err(|source| Error::Manifest { name: name.clone(), source })?;
        // Not every store knows how to refuse an object that is there; names are unique anyway.
        let options = PutOptions { mode: PutMode::Overwrite, ..PutOptions::default() };
        let put = self.store.put_opts(&self.path(&name), PutPayload::from(text), options).await;
        put.map(drop).map_err(self.failed("write", &name))
    }

    /// Starts writing an object; it is there when it is finished, and not before.
    pub(super) async fn write(&self, name: &str) -> Result<Upload, Error> {
        let upload = self.store.put_multipart(&self.path(name)).await.map_err(self.failed("write", name))?;
        let writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(Upload { target: self.clone(), name: name.to_owned(), writer, bytes: 0, hash: Sha256::new() })
    }

    /// Reads an object piece by piece.
    pub(super) async fn read(&self, name: &str) -> Result<BoxStream<'static, Result<bytes::Bytes, Error>>, Error> {
        let object = self.store.get(&self.path(name)).await.map_err(self.failed("read", name))?;
        let (target, name) = (self.clone(), name.to_owned());
        let pieces = object.into_stream();
        Ok(pieces.map(move |piece| piece.map_err(|source| target.failed("read", &name)(source))).boxed())
    }

    /// Removes a backup: what makes it count first.
    pub(super) async fn remove(&self, what: What, id: &str) -> Result<(), Error> {
        let folder = self.path(what.name());
        let found: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(self.failed("list", what.name()))?;
        let mut names: Vec<String> = found
            .iter()
            .filter_map(|object| object.location.filename())
            .filter(|name| name.split('.').next() == Some(id))
            .map(|name| format!("{what}/{name}"))
            .collect();
        names.sort_by_key(|name| !name.ends_with(".json"));
        for name in names {
            self.store.delete(&self.path(&name)).await.map_err(self.failed("remove", &name))?;
        }
        Ok(())
    }

    /// Removes what killed processes left long ago; says how many.
    pub(super) async fn sweep(&self, what: What, now: DateTime<Utc>) -> Result<usize, Error> {
        let old = |moment: Option<DateTime<Utc>>| moment.is_some_and(|moment| now - moment > BROKEN_OFF_AFTER);
        let mut removed = 0;
        for one in self.list(what).await? {
            if one.state == State::Incomplete && old(one.made_at) {
                self.remove(what, &one.id).await?;
                removed += 1;
            }
        }
        // Half-written files have a number behind their names, and are in no list.
        let Some(folder) = &self.folder else { return Ok(removed) };
        let prepare = |source| Error::Prepare { target: self.shown.clone(), source };
        for entry in std::fs::read_dir(folder.join(what.name())).map_err(prepare)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.split('.').next().unwrap_or_default();
            if name.contains('#') && old(moment_of(id)) {
                std::fs::remove_file(entry.path()).map_err(prepare)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// An object on its way.
#[derive(Debug)]
pub(super) struct Upload {
    target: Target,
    name: String,
    writer: WriteMultipart,
    bytes: u64,
    hash: Sha256,
}

impl Upload {
    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write(bytes);
        self.writer.wait_for_capacity(PARTS_AT_ONCE).await.map_err(self.target.failed("write", &self.name))
    }

    /// Makes the object appear; gives its size and SHA-256.
    pub(super) async fn finish(self) -> Result<(u64, String), Error> {
        let failed = self.target.failed("write", &self.name);
        self.writer.finish().await.map_err(failed)?;
        Ok((self.bytes, hexadecimal(&self.hash.finalize())))
    }

    /// Takes back what was written.
    pub(super) async fn abort(self) -> Result<(), Error> {
        let failed = self.target.failed("take back", &self.name);
        self.writer.abort().await.map_err(failed)
    }
}
