//! Stand-in of Microsoft Graph: sites, drives, items, downloads and sendMail.
//!
//! It has two origins, as the real service has: the API, which wants a token,
//! and the download host, which refuses one. Links the API hands out (next
//! pages, change links, download URLs) are compared with what comes back byte
//! for byte, so a client that rebuilds them is found out.
//!
//! Invariants: an item's id never changes; its eTag moves with every change,
//! its cTag only with content.

mod address;
mod api;
mod batch;
mod download;
mod drive;
mod listing;
mod mail;
mod options;
mod quick_xor_hash;
mod quota;
mod render;
mod service;
mod state;

pub use mail::Mail;
pub use options::{GraphOptions, Lock, Paging, PagingQuirk, Resync};
pub use quick_xor_hash::{QuickXorHash, quick_xor_hash};
pub use service::Graph;
