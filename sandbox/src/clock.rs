//! The time the stand-ins go by.
//!
//! Tokens, download links and change tokens age by this clock only, so a test
//! can let an hour pass without waiting for it.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};

use crate::wire::locked;

/// A clock shared by the stand-ins it was given to; clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    start: Option<DateTime<Utc>>,
    passed: Arc<Mutex<TimeDelta>>,
}

impl Clock {
    /// Makes a clock that stands still at `start` until it is advanced.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self { start: Some(start), passed: Arc::default() }
    }

    /// Makes a clock that follows the machine's own.
    pub fn system() -> Self {
        Self::default()
    }

    /// Says what time it is.
    pub fn now(&self) -> DateTime<Utc> {
        self.start.unwrap_or_else(Utc::now) + *locked(&self.passed)
    }

    /// Lets `seconds` pass for every stand-in that shares this clock.
    pub fn advance_seconds(&self, seconds: i64) {
        *locked(&self.passed) += TimeDelta::seconds(seconds);
    }

    /// Prints the time as an HTTP `Date` header does.
    pub fn http_date(&self) -> String {
        self.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_it_is_advanced() {
        let start = DateTime::from_timestamp(1_764_414_000, 0).unwrap_or_default();
        let clock = Clock::fixed(start);
        let copy = clock.clone();
        clock.advance_seconds(90);
        assert_eq!(copy.now(), start + TimeDelta::seconds(90));
        assert_eq!(copy.http_date(), "Sat, 29 Nov 2025 11:01:30 GMT");
    }
}
