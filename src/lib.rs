//! storekeeper keeps the stores' data, and hands each manager the key to their
//! own store and no other.
//!
//! The modules stand in groups; a module imports modules of *earlier groups*
//! only, and members of one group don't know each other. `tests/it/layers.rs`
//! keeps it so. `ARCHITECTURE.md` says why.

// 1 leaves: names, options and logging that everything may use
pub mod clock;
pub mod crash;
pub mod digits;
pub mod ids;
pub mod pattern;
pub mod settings;
pub mod telemetry;
pub mod words;

// 2 pure: no network, disk or clock
pub mod contracts;
pub mod formats;
pub mod transforms;

// 3 outlet: the one way out over HTTP
pub mod http;

// 4 doors: where data comes from, and where it lives
pub mod sources;
pub mod warehouse;

// 5 work: who may see what, the one path of a row, and copies of it all
pub mod access;
pub mod backup;
pub mod pipelines;

// 6 outward: what the world gets from us
pub mod metabase;
pub mod notify;

// 7 time
pub mod scheduler;

// 8 face
pub mod ops;

// 9 assembly
pub mod app;

// 10 commands
pub mod cli;
