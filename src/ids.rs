//! Names of things, as types, so that one cannot be taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The column that carries a row's number in its file, from 1, through every step.
pub const ROW: &str = "_row";

/// Column of raw batches that says what is wrong with a row's cells as a whole, if
/// anything; a batch without such rows comes without it.
pub const SHAPE: &str = "_shape";

/// The key under which an Arrow field says what it is beyond its Arrow type: `json`.
pub const TYPE: &str = "storekeeper.type";

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

number_id!(
    /// One execution of a pipeline.
    RunId
);
number_id!(
    /// One atomic write of a run; every loaded row carries it.
    LoadId
);
text_id!(
    /// A brand's id as settings spell it, e.g. `harbor`: lower-case letters, digits, underscores.
    BrandId
);
text_id!(
    /// A pipeline's name: the name of its folder.
    PipelineName
);
text_id!(
    /// A store's number as text, zeros kept, e.g. `000125`. Unique within a brand only.
    StoreId
);

impl BrandId {
    /// Names the PostgreSQL schema that holds this brand's tables.
    pub fn schema(&self) -> String {
        format!("mart_{}", self.0)
    }

    /// Names the schema that keeps what rows of those tables were before.
    pub fn history_schema(&self) -> String {
        format!("history_{}", self.0)
    }
}
