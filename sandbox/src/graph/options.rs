//! How a Graph stand-in is set up and switched.

use crate::clock::Clock;
use crate::faults::Faults;
use crate::token::TokenBook;

/// What a Graph stand-in is started with.
#[derive(Debug, Clone)]
pub struct GraphOptions {
    /// Where tokens are checked; the stand-in enters its resource there.
    pub book: TokenBook,
    /// The tenant's SharePoint host, as in `/sites/{host}:/{path}`. Default: `example.sharepoint.com`.
    pub hostname: String,
    /// Paths of the sites, such as `sites/harbor`; each gets a library `Documents`.
    pub sites: Vec<String>,
    /// Addresses of users with a mailbox; empty: every address has one.
    pub mailboxes: Vec<String>,
    /// How long a download URL works. Default: 3600.
    pub download_lifetime_seconds: u32,
    /// The origin that clients know the API by, where a TLS front stands before it; its own otherwise.
    pub public_url: Option<String>,
    /// The same of the download host.
    pub public_download_url: Option<String>,
    /// The time links expire by.
    pub clock: Clock,
    /// The fault script and request log of both origins.
    pub faults: Faults,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            book: TokenBook::default(),
            hostname: "example.sharepoint.com".to_owned(),
            sites: Vec::new(),
            mailboxes: Vec::new(),
            download_lifetime_seconds: 3600,
            public_url: None,
            public_download_url: None,
            clock: Clock::default(),
            faults: Faults::default(),
        }
    }
}

/// How listings are cut into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// The most items on a page; a larger `$top` is ignored. Default: 200.
    pub size: usize,
    /// What is odd about the pages.
    pub quirk: Option<PagingQuirk>,
}

impl Default for Paging {
    fn default() -> Self {
        Self { size: 200, quirk: None }
    }
}

/// Odd pages seen from the real service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagingQuirk {
    /// Between two pages comes one with no items.
    EmptyPages,
    /// From the second page on, the next link leads back to the same page.
    RepeatingLink,
    /// The next link points to another host.
    ForeignLink,
}

/// What a change link answers once it has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// 410 with a fresh link in `Location`.
    WithLocation,
    /// 410 without one.
    WithoutLocation,
    /// 410 with a link that answers 500.
    LocationFails,
}

/// The three bodies a locked item was seen to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// `notAllowed` with `resourceLocked` inside.
    NotAllowed,
    /// `accessDenied`, which here means a lock and no missing right.
    AccessDenied,
    /// `resourceLocked`.
    ResourceLocked,
}
