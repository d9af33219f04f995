//! The one way out over HTTP.
//!
//! [`Client`] sends a request, waits as the other side asks, repeats what may
//! be repeated, and hands back whatever final answer came: what a status means
//! is the caller's knowledge. [`Tokens`] gets and keeps the sign-in tokens that
//! some services want.
//!
//! Invariants: redirects are never followed by themselves and no cookie is
//! kept; a link that was received is sent as it was received; no header, body
//! or query ever reaches an error or a log; nothing is sent to a service inside
//! the time it asked to be left alone.

mod client;
mod oauth2;
mod pace;
mod request;

pub use client::{Answer, Client, Error};
pub use oauth2::{Credentials, Error as TokenError, Token, Tokens};
pub use request::{Request, Response, shown};
