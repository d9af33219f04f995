//! Reshapes checked rows with SQL, on an in-process DataFusion.
//!
//! A transform is one `SELECT` over the table `input`: the contract's columns
//! and [`ROW`](crate::ids::ROW). It knows no machine and no file, so that the
//! same text could run on a cluster. Rows stream through it.

mod feeds;
mod run;

pub use feeds::{Feed, feeds};
pub use run::{Error, INPUT, Transform, output_schema};
