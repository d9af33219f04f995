//! When a store is open, against the dayparts of a day.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, NaiveTime, Timelike as _};

const DAY: i64 = 24 * 60;

/// A part of the business day, in minutes from its midnight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) from: i64,
    pub(super) until: i64,
}

/// Opening hours of all stores.
#[derive(Debug, Clone, Default)]
pub(super) struct Opening {
    by_store: BTreeMap<String, BTreeMap<u32, Vec<(i64, i64)>>>,
}

impl Opening {
    /// Notes a row. A closing time that is not after the opening time is after midnight.
    pub(super) fn add(&mut self, store_id: &str, weekday: u32, opens: NaiveTime, closes: NaiveTime) {
        let minute = |time: NaiveTime| i64::from(time.num_seconds_from_midnight() / 60);
        let (opens, mut closes) = (minute(opens), minute(closes));
        if closes <= opens {
            closes += DAY;
        }
        let days = self.by_store.entry(store_id.to_owned()).or_default();
        days.entry(weekday).or_default().push((opens, closes));
    }

    /// Hours for which a store is open in a part of a day. A store without any opening hours is
    /// open in all parts; one that has some is closed on the weekdays it has none for.
    pub(super) fn hours(&self, store_id: &str, date: NaiveDate, part: &Part) -> f64 {
        let Some(days) = self.by_store.get(store_id) else { return (part.until - part.from) as f64 / 60.0 };
        let open = days.get(&date.weekday().number_from_monday()).map_or(&[][..], Vec::as_slice);
        let minutes: i64 =
            open.iter().map(|(opens, closes)| (part.until.min(*closes) - part.from.max(*opens)).max(0)).sum();
        minutes as f64 / 60.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_past_midnight_belong_to_the_evening_before() {
        let time = |text: &str| text.parse::<NaiveTime>().unwrap();
        let mut opening = Opening::default();
        opening.add("1", 5, time("10:30:00"), time("01:00:00"));
        let part = |name: &str, from, until| Part { name: name.to_owned(), from, until };
        let (friday, saturday) = ("2025-11-28".parse().unwrap(), "2025-11-29".parse().unwrap());
        assert_eq!(opening.hours("1", friday, &part("Lunch", 600, 840)), 3.5);
        assert_eq!(opening.hours("1", friday, &part("Late Night", 1440, 1920)), 1.0);
        assert_eq!(opening.hours("1", friday, &part("Morning", 480, 600)), 0.0);
        assert_eq!(opening.hours("1", saturday, &part("Lunch", 600, 840)), 0.0);
        assert_eq!(opening.hours("2", saturday, &part("Lunch", 600, 840)), 4.0);
    }
}
