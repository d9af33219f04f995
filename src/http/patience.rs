//! How long a piece of work lets services keep it waiting. Pure: the client tells the time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is left of it; shared by all requests of the work.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    sum: Duration,
    /// The end of the waits counted so far.
    until: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, spent: Mutex::default() }
    }

    /// Counts a pause from now on; what several requests wait for at once is counted once.
    /// Answers with the limit where it is passed by that.
    pub(super) fn spend(&self, pause: Duration, now: Instant) -> Option<Duration> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        // A pause past the end of time is one of a year.
        let until = now + pause.min(Duration::from_secs(365 * 86_400));
        let from = spent.until.map_or(now, |known| known.max(now));
        spent.sum += until.saturating_duration_since(from);
        spent.until = Some(from.max(until));
        (spent.sum > self.limit).then_some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_added_up_and_those_at_once_are_one() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let patience = Patience::new(second * 10);
        assert_eq!(patience.spend(second * 6, start), None);
        assert_eq!(patience.spend(second * 5, start + second), None, "both end at the same moment");
        assert_eq!(patience.spend(second * 4, start + second * 60), None);
        assert_eq!(patience.spend(second, start + second * 62), None, "inside the one before");
        assert_eq!(patience.spend(second, start + second * 70), Some(second * 10));
    }
}
