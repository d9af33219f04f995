//! What days are: holidays by rule, and what else a chain knows of its days in advance.
//!
//! Holidays are data, in `config/holidays/<country>.toml`, compiled in; a chain's own
//! tables are read by the same [`Holidays::parse`]. An [`Event`] is what came out of a
//! rule or was noted by somebody: promotions, school holidays, closures, regressors.
//!
//! Invariant: an event counts from the day on which it was known, never before.

mod event;
mod holidays;
mod rule;

pub use event::{Event, Kind};
pub use holidays::{Error, Holidays};
pub use rule::{Rule, easter};
