//! The steps at which a test may let a run die.

pub(super) use crate::crash::point;
