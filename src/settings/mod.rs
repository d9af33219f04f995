//! Options: what can be set, where it comes from, and what is wrong with it.
//!
//! Values come from `config/default.toml`, then `config/<environment>.toml`,
//! then the variables `STOREKEEPER__SECTION__KEY`. Secrets come from variables
//! `*_file` paths or a key vault only. All mistakes are reported at once, each with its
//! file, line and the nearest known key.

mod keys;
mod metabase;
mod read;
mod types;

pub use metabase::*;
pub use read::{Error, Problem, read, read_with_secrets};
pub use types::*;
