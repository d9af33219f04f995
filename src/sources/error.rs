//! Why something could not be listed or fetched, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::http::{self, TokenError};

/// Why a source gave nothing. `operation` is what was tried, as in "list folder `A`".
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what its fields are")]
pub enum Error {
    /// The settings name no drive, or more than one.
    #[error("a drive needs exactly one of `site`, `id` and `user`")]
    DriveUnnamed,
    /// An address in the settings makes no sense.
    #[error("{what} `{value}` makes no address")]
    Address { what: &'static str, value: String },
    /// A table query that could not be asked.
    #[error("query of table `{entity_set}`: {message}")]
    Query { entity_set: String, message: String },
    /// There is no token.
    #[error("failed to sign in to {service}")]
    SignIn { service: &'static str, source: TokenError },
    /// No answer came.
    #[error("failed to {operation}")]
    Send { operation: String, source: http::Error },
    /// A fresh token was refused as well.
    #[error("failed to {operation}: a fresh token was refused as well (`{code}`)")]
    TokenRefused { operation: String, code: String },
    /// The application was given no permission at all.
    #[error("failed to {operation}: the application has no permission for Microsoft Graph")]
    NoPermission { operation: String },
    /// A person never opened OneDrive, so that there is none.
    #[error("the user's OneDrive does not exist yet")]
    NotProvisioned,
    /// A right on the drive is missing.
    #[error(
        "not allowed to {operation}: the application lacks `Sites.Selected` with a grant on the site, or else `Files.Read.All`"
    )]
    DriveForbidden { operation: String },
    /// There is no application user in the Dataverse environment.
    #[error("not allowed to {operation}: the application is no user of this Dataverse environment")]
    NotAMember { operation: String },
    /// A privilege in Dataverse is missing.
    #[error("not allowed to {operation}: {message}")]
    TableForbidden { operation: String, message: String },
    /// The drive is not there, or the application may not see it.
    #[error("the drive was not found: {operation}")]
    DriveNotFound { operation: String },
    /// The folder is not there.
    #[error("folder `{folder}` was not found")]
    FolderNotFound { folder: String },
    /// The file went away between listing and fetching.
    #[error("file `{name}` has vanished")]
    FileVanished { name: String },
    /// The table is not there.
    #[error("table `{entity_set}` was not found")]
    TableNotFound { entity_set: String },
    /// A table cannot take the rows that are meant for it.
    #[error("rows cannot be written to table `{entity_set}`: {problems}")]
    Target { entity_set: String, problems: String },
    /// The answer of a batch is not what the service promises.
    #[error("failed to {operation}: the answer of the batch was not understood")]
    Batch { operation: String, source: super::dataverse_batch::BatchError },
    /// A column that takes a right of its own came empty in every row.
    #[error("column `{column}` of table `{entity_set}` is secured, and every row came without it")]
    ColumnSecured { entity_set: String, column: String },
    /// The service said no in another way.
    #[error("failed to {operation}: status {status}, `{code}`, {message}")]
    Refused { operation: String, status: u16, code: String, message: String },
    /// The answer is not what the service promises.
    #[error("failed to {operation}: the answer was not understood")]
    Unreadable { operation: String, source: serde_json::Error },
    /// A link leads away from the service.
    #[error("failed to {operation}: a link leads to `{host}`, which is not the service")]
    ForeignLink { operation: String, host: String },
    /// A listing goes round in circles.
    #[error("failed to {operation}: a page links to itself")]
    RepeatingLink { operation: String },
    /// A feed stops without saying where to go on.
    #[error("failed to {operation}: the last page leads nowhere")]
    Unended { operation: String },
    /// The virus scanner objects.
    #[error("file `{name}` is held back by the virus scanner")]
    Infected { name: String },
    /// The download host gave nothing, with a fresh link as well.
    #[error("download of `{name}` was refused with status {status}")]
    DownloadRefused { name: String, status: u16 },
    /// Fewer bytes came than were announced, again and again.
    #[error("download of `{name}` ended after {received_bytes} of {expected_bytes} bytes")]
    Truncated { name: String, expected_bytes: u64, received_bytes: u64 },
    /// What came is not what the drive says it holds.
    #[error("file `{name}` came with {received_bytes} bytes where {expected_bytes} are listed, or with another hash")]
    Mismatch { name: String, expected_bytes: u64, received_bytes: u64 },
    /// Somebody keeps writing to it.
    #[error("file `{name}` changed during every attempt to fetch it")]
    KeepsChanging { name: String },
    /// Too large.
    #[error("`{name}` is over the limit of {limit_bytes} bytes")]
    TooLarge { name: String, limit_bytes: u64 },
    /// It lies outside of the folder that may be read.
    #[error("`{}` leads out of the folder", path.display())]
    Outside { path: PathBuf },
    /// The disk did not give.
    #[error("failed to read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The disk did not take.
    #[error("failed to write to `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::SignIn { source, .. } => return source.hint(),
            Self::Send { source, .. } => return source.hint(),
            Self::DriveUnnamed => "set one of them in `[brands.<id>.drive]`",
            Self::Address { .. } => {
                "check the settings; a site is written `host:/sites/path`, or as its id `host,guid,guid`"
            }
            Self::Query { .. } => "correct the pipeline's `[source]`",
            Self::TokenRefused { .. } => {
                "check that the tenant is the one in which the data lies, and this machine's clock"
            }
            Self::NoPermission { .. } => {
                "give the application `Sites.Selected` (with a grant on the site) or `Files.Read.All`, and admin consent"
            }
            Self::NotProvisioned => "let that person open OneDrive once",
            Self::DriveForbidden { .. } => {
                "have an administrator grant the application the site (`Sites.Selected`), or consent to `Files.Read.All`"
            }
            Self::NotAMember { .. } => {
                "add the application as an application user of the environment, with a security role"
            }
            Self::TableForbidden { .. } => {
                "give the application user a security role with read access to the whole table"
            }
            Self::DriveNotFound { .. } => {
                "check `[brands.<id>.drive]`; a drive the application may not see counts as missing"
            }
            Self::FolderNotFound { .. } => "check the folder's name in the pipeline's `[source]`",
            Self::TableNotFound { .. } => "check the entity set name: it is not always the table's name with an `s`",
            Self::Target { .. } => "correct the pipeline's `[export]` and `export.sql`, or the table in Dataverse",
            Self::ColumnSecured { .. } => {
                "give the application user a column security profile that may read it, or mark the column `optional`"
            }
            Self::Infected { .. } => "have the file checked and replaced",
            Self::Mismatch { .. } => {
                "save the file again, or upload it anew; where a library always does this, set `sources.mismatched_text = \"accept\"`"
            }
            Self::TooLarge { .. } => "split the file, or raise `sources.file_limit_bytes`",
            Self::Outside { .. } => "put a copy in the folder instead of a link",
            Self::Refused { status: 507, .. } => "free some storage in the drive",
            Self::FileVanished { .. } | Self::KeepsChanging { .. } | Self::Truncated { .. } => {
                "the next run looks again"
            }
            Self::DownloadRefused { .. }
            | Self::ForeignLink { .. }
            | Self::RepeatingLink { .. }
            | Self::Unended { .. }
            | Self::Batch { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. }
            | Self::Read { .. }
            | Self::Write { .. } => return None,
        })
    }

    /// Says whether the same may succeed later without anybody's doing. The
    /// one place that decides it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::SignIn { source, .. } => source.is_passing(),
            Self::Send { source, .. } => {
                use http::Error::{Send, WaitTooLong, WaitedEnough};
                matches!(source, Send { .. } | WaitTooLong { .. } | WaitedEnough { .. })
            }
            Self::Refused { status, .. } | Self::DownloadRefused { status, .. } => {
                matches!(status, 408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 | 509)
            }
            Self::FileVanished { .. }
            | Self::KeepsChanging { .. }
            | Self::Truncated { .. }
            | Self::RepeatingLink { .. }
            | Self::Unended { .. }
            | Self::Batch { .. }
            | Self::Unreadable { .. } => true,
            _ => false,
        }
    }
}
