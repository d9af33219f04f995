//! Stand-in of one Dataverse organisation: its Web API, over real HTTP.
//!
//! Rows are typed cells, so a decimal goes in and comes out digit for digit,
//! with the trailing zeros the service prints. Next links and change links are
//! compared with what comes back byte for byte.
//!
//! Invariants: every write gets the next row version of the organisation; a
//! change link tells each later write and delete once.

mod batch;
mod bind;
mod bulk;
mod cell;
mod changes;
mod definition;
mod expand;
mod filter;
mod key;
mod metadata;
mod query;
mod render;
pub mod schema;
mod service;
mod store;
mod write;

pub use service::{Dataverse, DataverseOptions};
