//! The one place that asks what time it is.
//!
//! Everything else takes the time as an argument. A fixed clock makes a demo or
//! a test say the same on every machine and every day.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

/// Tells the time: the system's, or one that was given.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A moment that was given with `--now`.
    Fixed(DateTime<Utc>),
}

impl Clock {
    /// Tells the current moment.
    pub fn now(self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Fixed(moment) => moment,
        }
    }

    /// Tells today's date in a zone.
    pub fn today(self, zone: Tz) -> NaiveDate {
        self.now().with_timezone(&zone).date_naive()
    }
}
