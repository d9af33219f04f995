//! The whole program against its surroundings, on this machine's loopback.

#![allow(clippy::unwrap_used, reason = "a test that panics has said what it had to say")]

mod access;
mod access_duties;
mod access_walls;
mod backup;
mod chain;
mod contract;
mod contracts;
mod crashes;
mod docker;
mod examples;
mod explain;
mod export;
mod faults;
mod forecasting;
mod fuzz_seeds;
mod layers;
mod metabase;
mod nginx;
mod notify;
mod ops;
mod private_server;
mod quarantine;
mod real_input;
mod scheduler;
mod sheets;
mod sources;
mod staffing;
mod support;
mod tracking;
mod undo;
mod upkeep;
mod worksheets;
