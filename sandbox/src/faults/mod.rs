//! Faults on request, and the log of what was asked.
//!
//! Every stand-in passes each request through a [`Faults`]: a test scripts what
//! goes wrong (`route`, which of the calls, what happens) and afterwards reads
//! what came in. Recorded faults of the real services have a name in
//! [`Scenario`]; the check list of the contract is [`CATALOGUE`], played by id.
//!
//! Invariant: no secret is kept. Of an `Authorization` header the log has the
//! scheme and the label of the token, never its value.

mod allowance;
mod catalogue;
mod chaos;
mod log;
mod scenarios;
mod script;

pub use allowance::Allowance;
pub(crate) use allowance::{Meter, Spent};
pub use catalogue::{CATALOGUE, Entry, Unknown};
pub use log::Recorded;
pub use scenarios::Scenario;
pub use script::{Edit, Faults, Outcome, RuleId, When};
