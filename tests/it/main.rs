//! The whole program against its surroundings, on this machine's loopback.

mod access;
mod docker;
mod metabase;
mod nginx;
mod notify;
mod ops;
mod scheduler;
mod sources;
mod support;
