//! Drive items as Graph writes them, and which of them are files to read.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::file::RemoteFile;
use crate::pattern::Pattern;

/// Members of an item that we read.
pub(super) const SELECT: &str = "id,name,size,eTag,cTag,file,folder,package,remoteItem,deleted,malware,\
     parentReference,lastModifiedDateTime,lastModifiedBy,publication";

/// One page of children. Without `value` it is none, and surely not an empty one.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) value: Vec<Item>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next_link: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    pub(super) delta_link: Option<String>,
}

/// A drive item: which facets are there says what it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) id: Option<String>,
    name: Option<String>,
    size: Option<u64>,
    #[serde(rename = "eTag")]
    e_tag: Option<String>,
    #[serde(rename = "cTag")]
    c_tag: Option<String>,
    file: Option<FileFacet>,
    pub(super) folder: Option<IgnoredAny>,
    package: Option<IgnoredAny>,
    remote_item: Option<IgnoredAny>,
    deleted: Option<IgnoredAny>,
    malware: Option<IgnoredAny>,
    parent_reference: Option<Parent>,
    last_modified_date_time: Option<DateTime<Utc>>,
    last_modified_by: Option<Identities>,
    publication: Option<Publication>,
}

#[derive(Debug, Deserialize)]
struct Publication {
    level: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FileFacet {
    hashes: Option<Hashes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hashes {
    quick_xor_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Identities {
    user: Option<Identity>,
    application: Option<Identity>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    display_name: Option<String>,
}

/// What a listing makes of an item.
#[derive(Debug)]
pub(super) enum Sifted {
    /// A file to read.
    Taken(RemoteFile),
    /// It fits the pattern, but is left out for this reason.
    Left(String),
    /// Nobody asked for it.
    Other,
}

impl Item {
    /// An item that is no longer there.
    pub(super) fn gone(id: &str) -> Self {
        Self { id: Some(id.to_owned()), deleted: Some(IgnoredAny), ..Self::default() }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    pub(super) fn has_content_tag(&self) -> bool {
        self.c_tag.is_some()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn parent_id(&self) -> Option<&str> {
        self.parent_reference.as_ref()?.id.as_deref()
    }

    /// Says what a listing for this pattern makes of it.
    pub(super) fn sift(self, pattern: &Pattern) -> Sifted {
        let (Some(item_id), Some(name)) = (self.id, self.name) else {
            return Sifted::Other;
        };
        if let Some(rest) = name.strip_prefix("~$") {
            return if pattern.matches(rest) {
                Sifted::Left(format!("`{name}`: somebody has the file open in Office"))
            } else {
                Sifted::Other
            };
        }
        if !pattern.matches(&name) {
            return Sifted::Other;
        }
        let left = |reason: &str| Sifted::Left(format!("`{name}`: {reason}"));
        if self.deleted.is_some() {
            return Sifted::Other;
        }
        if self.malware.is_some() {
            return left("held back by the virus scanner");
        }
        if self.package.is_some() {
            return left("a notebook, not a file");
        }
        if self.remote_item.is_some() {
            return left("a shortcut to another drive; name that drive in the settings");
        }
        if self.folder.is_some() {
            return left("a folder");
        }
        let Some(facet) = self.file else {
            return left("not a file");
        };
        let level = self.publication.as_ref().and_then(|publication| publication.level.as_deref());
        if level.is_some_and(|level| level.eq_ignore_ascii_case("checkout")) {
            return left("checked out; it is read once somebody checks it in");
        }
        let size_bytes = self.size.unwrap_or_default();
        if size_bytes == 0 {
            return left("empty, or still being uploaded");
        }
        let modified_by = self.last_modified_by.and_then(|by| {
            let identity = by.user.or(by.application)?;
            identity.display_name
        });
        // Without any tag the time is all there is to tell versions apart.
        let version = self.c_tag.or(self.e_tag).or_else(|| {
            let moment = self.last_modified_date_time?;
            Some(moment.to_rfc3339())
        });
        Sifted::Taken(RemoteFile {
            drive_id: String::new(),
            item_id,
            folder_id: self.parent_reference.and_then(|parent| parent.id),
            name,
            version: version.unwrap_or_default(),
            size_bytes,
            modified_at: self.last_modified_date_time,
            modified_by,
            quick_xor_hash: facet.hashes.and_then(|hashes| hashes.quick_xor_hash),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(item: &str) -> Sifted {
        let item: Item = serde_json::from_str(item).unwrap();
        item.sift(&Pattern::new("b*"))
    }

    #[test]
    fn only_real_and_settled_files_are_taken() {
        let left = |item: &str| match sifted(item) {
            Sifted::Left(note) => note,
            other => panic!("{other:?}"),
        };
        assert!(left(r#"{"id":"1","name":"b","folder":{}}"#).contains("folder"));
        assert!(left(r#"{"id":"1","name":"b","package":{"type":"oneNote"},"size":5}"#).contains("notebook"));
        assert!(left(r#"{"id":"1","name":"~$b.xlsx","size":165,"file":{}}"#).contains("open"));
        assert!(left(r#"{"id":"1","name":"b.csv","size":0,"file":{}}"#).contains("empty"));
        assert!(left(r#"{"id":"1","name":"b","remoteItem":{"id":"2"}}"#).contains("shortcut"));
        assert!(left(r#"{"id":"1","name":"b","size":1,"file":{},"malware":{}}"#).contains("virus"));
        let checked_out = r#"{"id":"1","name":"b","size":1,"file":{},"publication":{"level":"checkout"}}"#;
        assert!(left(checked_out).contains("checked out"));
        assert!(matches!(sifted(&checked_out.replace("checkout", "published")), Sifted::Taken(_)));
        for nothing in [
            r#"{"id":"1","name":"a.csv","size":1,"file":{}}"#,
            r#"{"id":"1","deleted":{}}"#,
            r#"{"name":"b.csv","size":1,"file":{}}"#,
        ] {
            assert!(matches!(sifted(nothing), Sifted::Other), "{nothing}");
        }
    }

    #[test]
    fn the_seeds_of_the_fuzzing_are_pages_that_hold_a_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/delta");
        for seed in std::fs::read_dir(folder).unwrap() {
            let page: Page = serde_json::from_slice(&std::fs::read(seed.unwrap().path()).unwrap()).unwrap();
            let sifted = page.value.into_iter().map(|item| item.sift(&Pattern::new("Sales*.?sv")));
            assert_eq!(sifted.filter(|sifted| matches!(sifted, Sifted::Taken(_))).count(), 1);
        }
    }

    #[test]
    fn a_file_without_a_content_tag_has_a_version_all_the_same() {
        let version = |item: &str| match sifted(item) {
            Sifted::Taken(file) => file.version,
            other => panic!("{other:?}"),
        };
        let tags = r#"{"id":"1","name":"b","size":1,"file":null,"eTag":"e","cTag":"c","file":{}}"#;
        assert_eq!(version(&tags.replace("\"file\":null,", "")), "c");
        let e_tag = r#"{"id":"1","name":"b","size":1,"file":{},"eTag":"e"}"#;
        assert_eq!(version(e_tag), "e");
        let bare = r#"{"id":"1","name":"b","size":1,"file":{},"lastModifiedDateTime":"2026-02-01T06:00:05Z"}"#;
        assert_eq!(version(bare), "2026-02-01T06:00:05+00:00");
    }
}
