//! The whole program against its surroundings, on this machine's loopback.

mod access;
mod chain;
mod docker;
mod layers;
mod metabase;
mod nginx;
mod notify;
mod ops;
mod private_server;
mod scheduler;
mod sources;
mod support;
