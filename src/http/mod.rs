//! The one way out over HTTP.
//!
//! [`Client`] sends a request, waits as the other side asks, repeats what may
//! be repeated, and hands back whatever final answer came: what a status means
//! is the caller's knowledge. Redirects are never followed by themselves, no
//! cookie is kept, and no header, body or query ever reaches an error or a log.

mod client;
mod oauth2;

pub use client::{Client, Error, Request, Response, shown};
pub use oauth2::{Error as TokenError, Tokens};
