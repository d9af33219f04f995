//! Options: what can be set, where it comes from, and what is wrong with it.
//!
//! Values come from `config/default.toml`, then `config/<environment>.toml`,
//! then the variables `STOREKEEPER__SECTION__KEY`. Secrets come from variables
//! or `*_file` paths only. All mistakes are reported at once, each with its
//! file, line and the nearest known key.

mod keys;
mod read;
mod types;

pub use read::{Error, Problem, read};
pub use types::*;
