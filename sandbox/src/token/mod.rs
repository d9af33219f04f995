//! Stand-in of the token endpoint, and the book the other stand-ins check tokens in.
//!
//! A token is opaque and good for one resource: a token for Graph is refused by
//! Dataverse, and the other way round. Only resources that a stand-in has
//! entered in the [`TokenBook`] can be asked for. A [`Vault`] keeps secrets, and
//! signs in the machine that may read them.

mod assertion;
mod book;
mod discovery;
mod service;
mod vault;

pub use assertion::Registered;
pub use book::{Refusal, TokenBook};
pub use service::{TokenOptions, TokenService};
pub use vault::{VAULT_RESOURCE, Vault};
