//! The table of `tests/it/forecast_reference.rs`, with optimisation.

#![allow(clippy::unwrap_used, reason = "a test that panics has said what it had to say")]

extern crate storekeeper_benches as storekeeper;

#[path = "../../tests/it/forecast_reference.rs"]
mod forecast_reference;
