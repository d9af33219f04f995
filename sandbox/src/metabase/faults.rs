//! Failures on request: what a network or a busy server does to a client.

use std::time::Duration;

/// One planned failure.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The method it waits for; `None` is any.
    pub method: Option<String>,
    /// How the path has to begin, as in `/api/card`.
    pub path: String,
    /// What happens then.
    pub failure: Failure,
    /// How many matching calls it spoils.
    pub times: u32,
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The call is not carried out; this status and text come back.
    Status(u16, String),
    /// The same, with a `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// The call is carried out, but late.
    Slow(Duration),
    /// The connection breaks before anything is carried out.
    Drop,
    /// The call is carried out, and the connection breaks before the answer.
    LoseAnswer,
}

impl Fault {
    /// Spoils the next call of a method on a path.
    pub fn new(method: &str, path: &str, failure: Failure) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), failure, times: 1 }
    }

    /// Spoils as many calls as said.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        self.times > 0 && self.method.as_deref().is_none_or(|wanted| wanted == method) && path.starts_with(&self.path)
    }
}

/// Takes the failure planned for a call, if there is one.
pub(super) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Failure> {
    let at = faults.iter().position(|fault| fault.fits(method, path))?;
    faults[at].times -= 1;
    let failure = faults[at].failure.clone();
    faults.retain(|fault| fault.times > 0);
    Some(failure)
}
