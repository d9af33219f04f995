//! What several tests need to stand on.

pub(crate) mod chain;
pub(crate) mod place;
pub(crate) mod postgres;
pub(crate) mod world;
