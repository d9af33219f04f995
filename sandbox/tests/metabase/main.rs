//! The Metabase stand-in against its contract, over HTTP and a real PostgreSQL.

mod client;
mod cluster;
mod content;
mod graphs;
mod isolation;
mod people;
mod queries;
mod service;
