//! Stand-in of the token endpoint, and the book the other stand-ins check tokens in.
//!
//! A token is opaque and good for one resource: a token for Graph is refused by
//! Dataverse, and the other way round. Only resources that a stand-in has
//! entered in the [`TokenBook`] can be asked for.

mod book;
mod service;

pub use book::{Refusal, TokenBook};
pub use service::{TokenOptions, TokenService};
