//! The daemon's own HTTP face: is it alive, is it ready, how do the runs go.
//!
//! Nothing here changes anything, and nothing shown is a secret or a row.

mod metrics;
mod server;
mod tables;

pub use server::{Error, State, serve};
pub use tables::RunFigures;
