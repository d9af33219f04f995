//! The one way out over HTTP.
//!
//! [`Client`] sends a request, waits as the other side asks, repeats what may
//! be repeated, and hands back whatever final answer came: what a status means
//! is the caller's knowledge. [`Tokens`] gets and keeps the sign-in tokens that
//! some services want, [`key_vault`] the secrets that are kept there.
//!
//! Invariants: redirects are never followed by themselves and no cookie is
//! kept; a link that was received is sent as it was received; no header, body
//! or query ever reaches an error or a log; nothing is sent to a service inside
//! the time it asked to be left alone.

mod assertion;
mod client;
pub mod key_vault;
mod managed_identity;
mod oauth2;
mod objects;
mod pace;
mod patience;
mod request;
mod token_error;
mod tokens;
mod x509;

pub use assertion::Error as CertificateError;
pub use client::{Answer, Client, Error};
pub use managed_identity::Error as IdentityError;
pub use oauth2::Expiry;
pub use objects::ObjectsConnector;
pub use request::{Request, Response, shown};
pub use token_error::{ClockGap, Error as TokenError};
pub use tokens::{Token, Tokens};
