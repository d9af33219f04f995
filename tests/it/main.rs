//! The whole program against its surroundings, on this machine's loopback.

mod docker;
mod nginx;
