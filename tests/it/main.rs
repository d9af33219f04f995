//! The whole program against its surroundings, on this machine's loopback.

mod docker;
mod nginx;
mod notify;
mod ops;
mod scheduler;
mod sources;
mod support;
