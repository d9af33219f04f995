//! Fetches what a pipeline's source holds that was not loaded before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::definition::{Changes, Pipeline, Source, SourceKind};
use super::drive_files::Looked;
use super::error::Error;
use super::tables;
use super::tracking::Tracked;
use crate::http::{Client, Tokens};
use crate::ids::BrandId;
use crate::settings;
use crate::sources::{Dataverse, Drive, Fetched, Folder, TableQuery};
use crate::warehouse::Warehouse;

/// The doors to every brand's data.
#[derive(Debug, Clone)]
pub struct Doors {
    client: Client,
    microsoft: Option<(settings::Microsoft, Tokens)>,
    brands: BTreeMap<BrandId, settings::Brand>,
    limits: settings::Sources,
}

/// What there is to load, and what people should know about it.
pub(super) struct Acquired {
    pub(super) files: Vec<Fetched>,
    pub(super) notes: Vec<String>,
    /// How far the source was read, as (place, value). They are kept with the
    /// load, or where nothing is new, with the run: never before what lies before them.
    pub(super) cursors: Vec<(String, String)>,
    /// Which rows of the source were read and which are gone, where it tells.
    pub(super) tracked: Option<Tracked>,
    /// What is known of a drive's files now: kept like the cursors.
    pub(super) looked: Option<Looked>,
}

/// What a run wants of its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) warehouse: &'a Warehouse,
    pub(super) pipeline: &'a Pipeline,
    pub(super) brand: &'a BrandId,
    /// A file handed over instead of the source.
    pub(super) handed_over: Option<&'a Path>,
    /// Whether to read again what was loaded before.
    pub(super) full: bool,
    /// The folder that fetched files lie in.
    pub(super) into: &'a Path,
    pub(super) now: DateTime<Utc>,
}

impl Doors {
    /// Takes what is needed to open them; opens none.
    pub fn new(
        client: Client,
        microsoft: Option<(settings::Microsoft, Tokens)>,
        brands: BTreeMap<BrandId, settings::Brand>,
        limits: settings::Sources,
    ) -> Self {
        Self { client, microsoft, brands, limits }
    }

    /// The bounds on what is read.
    pub fn limits(&self) -> &settings::Sources {
        &self.limits
    }

    /// A brand's settings.
    pub fn brand(&self, brand: &BrandId) -> Option<&settings::Brand> {
        self.brands.get(brand)
    }

    fn settings_of(&self, brand: &BrandId) -> Result<&settings::Brand, Error> {
        self.brands.get(brand).ok_or_else(|| Error::NotConfigured { brand: brand.0.clone(), what: "block" })
    }

    fn microsoft(&self) -> Result<&(settings::Microsoft, Tokens), Error> {
        self.microsoft.as_ref().ok_or(Error::NoMicrosoft)
    }

    /// Opens a brand's drive.
    ///
    /// # Errors
    /// When none is configured.
    pub fn drive(&self, brand: &BrandId) -> Result<Drive, Error> {
        let missing = || Error::NotConfigured { brand: brand.0.clone(), what: "`drive`" };
        let (microsoft, tokens) = self.microsoft()?;
        let place = self.settings_of(brand)?.drive.as_ref().ok_or_else(missing)?;
        Drive::new(&self.patient(), tokens, microsoft, place).map_err(Error::Source)
    }

    /// Opens a brand's Dataverse.
    ///
    /// # Errors
    /// When none is configured.
    pub fn dataverse(&self, brand: &BrandId) -> Result<Dataverse, Error> {
        let missing = || Error::NotConfigured { brand: brand.0.clone(), what: "`dataverse_url`" };
        let (_, tokens) = self.microsoft()?;
        let url = self.settings_of(brand)?.dataverse_url.as_ref().ok_or_else(missing)?;
        Dataverse::new(&self.patient(), tokens, url, self.limits.dataverse_page_size).map_err(Error::Source)
    }

    /// A source is opened once a run, and its patience is the run's.
    fn patient(&self) -> Client {
        self.client.with_patience(Duration::from_secs(self.limits.throttled_limit_seconds))
    }

    /// Fetches what was not loaded before, oldest first; with `full` everything
    /// there is.
    pub(super) async fn acquire(&self, wish: &Wish<'_>) -> Result<Acquired, Error> {
        let Wish { warehouse, pipeline, brand, handed_over, full, into, .. } = *wish;
        let source = &pipeline.definition.source;
        let mut acquired =
            Acquired { files: Vec::new(), notes: Vec::new(), cursors: Vec::new(), tracked: None, looked: None };
        if let Some(path) = handed_over {
            acquired.files.push(self.local_file(path, into).await?);
        } else {
            match source.kind {
                SourceKind::Upload => return Err(Error::NoFile),
                SourceKind::Drive => self.drive_files(wish, &mut acquired).await?,
                SourceKind::Folder => self.folder_files(source, brand, into, &mut acquired).await?,
                SourceKind::Dataverse if source.changes == Changes::Track => {
                    self.tracked_table(warehouse, pipeline, brand, full, into, &mut acquired).await?;
                }
                SourceKind::Dataverse => {
                    let query = table_query(pipeline);
                    let limit = self.limits.file_limit_bytes;
                    let fetched =
                        self.dataverse(brand)?.fetch_table(&query, into, limit).await.map_err(Error::Source)?;
                    acquired.files.push(fetched);
                }
            }
        }
        let mut new = Vec::new();
        let mut hashes = std::collections::BTreeSet::new();
        for file in acquired.files {
            // The same changes twice are two changes: the row may have gone in between.
            let known = !full
                && acquired.tracked.is_none()
                && tables::same_content(warehouse, &pipeline.name, brand, &file.name, &file.content_hash).await?;
            // Also what is not loaded need not be fetched again.
            if let Some(looked) = &mut acquired.looked {
                looked.read(&file);
            }
            if known || !hashes.insert(file.content_hash.clone()) {
                continue;
            }
            acquired.notes.extend(file.notes.iter().cloned());
            new.push(file);
        }
        // Of two files about the same days the one that was changed later is right.
        new.sort_by_key(|file| (file.remote.as_ref().and_then(|remote| remote.modified_at), file.name.clone()));
        acquired.files = new;
        Ok(acquired)
    }

    async fn folder_files(
        &self,
        source: &Source,
        brand: &BrandId,
        into: &Path,
        acquired: &mut Acquired,
    ) -> Result<(), Error> {
        let missing = || Error::NotConfigured { brand: brand.0.clone(), what: "`folder`" };
        let root = self.settings_of(brand)?.folder.as_ref().ok_or_else(missing)?;
        let door = Folder::new(root);
        let (folder, pattern) = place(source);
        let listing = door.list(folder, pattern).await.map_err(Error::Source)?;
        acquired.notes.extend(listing.notes);
        for remote in listing.files {
            let fetched = door.fetch(&remote, self.limits.file_limit_bytes, into).await.map_err(Error::Source)?;
            acquired.files.push(fetched);
        }
        Ok(())
    }

    /// A file that was handed over goes the way of a folder's file.
    async fn local_file(&self, path: &Path, into: &Path) -> Result<Fetched, Error> {
        let local = |source| Error::Local { action: format!("read `{}`", path.display()), source };
        let path = path.canonicalize().map_err(local)?;
        let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let door = Folder::new(folder);
        let listing = door.list("", &name).await.map_err(Error::Source)?;
        let Some(remote) = listing.files.iter().find(|file| file.name == name) else {
            // What is there and not listed holds nothing.
            return Err(Error::File { name, source: crate::formats::Error::Empty });
        };
        door.fetch(remote, self.limits.file_limit_bytes, into).await.map_err(Error::Source)
    }
}

pub(super) fn place(source: &Source) -> (&str, &str) {
    (source.folder.as_deref().unwrap_or_default(), source.pattern.as_deref().unwrap_or("*"))
}

/// What a pipeline asks of its Dataverse table: its columns by their first names,
/// with the further names a table may have for them.
pub fn table_query(pipeline: &Pipeline) -> TableQuery {
    let source = &pipeline.definition.source;
    let mut query = TableQuery {
        entity_set: source.entity_set.clone().unwrap_or_default(),
        filter: source.filter.clone(),
        order_by: source.order_by.clone(),
        ..TableQuery::default()
    };
    for column in &pipeline.definition.contract.columns {
        let mut names = column.names().into_iter().map(str::to_owned);
        let Some(first) = names.next() else { continue };
        if column.optional {
            query.optional.insert(first.clone());
        }
        let others: Vec<String> = names.collect();
        if !others.is_empty() {
            query.aliases.insert(first.clone(), others);
        }
        query.select.push(first);
    }
    query
}
