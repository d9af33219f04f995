//! To come.

/// To come.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// To come.
#[derive(Debug, Clone)]
pub struct Tokens;
