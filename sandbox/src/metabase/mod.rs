//! A stand-in of open-source Metabase, over real HTTP on a loopback port.
//!
//! It keeps users, groups, both permission graphs, collections, questions,
//! dashboards and connections as the recorded contract describes them, traps
//! included, and runs native SQL for real, on the PostgreSQL a connection names
//! and as the role it names. What a person may see here, they may see there.
//!
//! Invariant: nothing leaves that the real server would have held back, but for
//! the leaks the real server has.

mod access;
mod api_keys;
mod call;
mod cards;
mod cells;
mod collection_graph;
mod collection_tree;
mod collections;
mod dashboards;
mod dashcards;
mod data_graph;
mod databases;
mod declared;
mod faults;
mod fresh;
mod groups;
mod handles;
mod items;
mod mbql;
mod objects;
mod pages;
mod params;
mod profile;
mod public;
mod queries;
mod reply;
mod results;
mod routes;
mod runs;
mod scanner;
mod search;
mod server;
mod sessions;
mod settings;
mod state;
mod sync;
mod tables;
mod template;
mod throttle;
mod users;
mod warehouse;
mod xrays;

pub use faults::{Failure, Fault};
pub use server::{Metabase, Options, Recorded};
