//! Something known of a day, or of days in a row.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// What an event is to the days it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A named day with an effect of its own, and on the days around it.
    Holiday,
    /// A promotion; its `value` is 1, or its depth.
    Promotion,
    /// Schools are closed.
    School,
    /// The store is closed.
    Closure,
    /// A number by the day that the chain knows in advance.
    Regressor,
}

/// Something known of the days `first..=last`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// Effects are shared by events of one name. Empty for a promotion, school
    /// holiday or closure that needs none.
    pub name: String,
    /// First day.
    pub first: NaiveDate,
    /// Last day, included.
    pub last: NaiveDate,
    /// How strong: 1 unless it was measured.
    pub value: f64,
    /// The day on whose evening it was known. Absent: it always was.
    pub known_on: Option<NaiveDate>,
    /// Days before that feel it (holidays only).
    pub before: u8,
    /// Days after that feel it (holidays only).
    pub after: u8,
}

impl Event {
    /// An event of one day, of strength 1, always known; a holiday is felt two days
    /// before and after.
    pub fn on(kind: Kind, name: &str, day: NaiveDate) -> Self {
        let around = if kind == Kind::Holiday { 2 } else { 0 };
        Self {
            kind,
            name: name.to_owned(),
            first: day,
            last: day,
            value: 1.0,
            known_on: None,
            before: around,
            after: around,
        }
    }

    /// The same, up to and including `last`.
    #[must_use]
    pub fn until(self, last: NaiveDate) -> Self {
        Self { last, ..self }
    }

    /// The same, known since the evening of `day`.
    #[must_use]
    pub fn known_on(self, day: NaiveDate) -> Self {
        Self { known_on: Some(day), ..self }
    }

    /// Tells whether it was known on the evening of `day`.
    pub fn was_known(&self, day: NaiveDate) -> bool {
        self.known_on.is_none_or(|known_on| known_on <= day)
    }
}
