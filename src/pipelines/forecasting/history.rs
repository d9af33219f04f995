//! What a forecast rests on: the days of each store, what the calendar knows, and what
//! earlier runs settled on.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike as _, Days, NaiveDate};
use sha2::{Digest as _, Sha256};

use crate::warehouse::hexadecimal;
use forecast::calendar::Event;
use forecast::panel::{Champion, Forecast, Options, Series, forecast, learn};

/// The daypart of a day's total.
pub const DAY: &str = "Day";
/// Days after which the pattern repeats.
pub(in crate::pipelines) const WEEK: u32 = 7;
/// Three years and a month: each holiday is there three times, the latest just before the cut-off.
pub(super) const HISTORY_DAYS: u64 = 3 * 365 + 31;

/// One day of one store.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoreDay {
    pub(super) store_id: String,
    pub(super) date: NaiveDate,
    pub(super) value: f64,
}

/// What is known of coming and past days besides the numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Of every store: holidays, and what the whole chain does.
    pub(super) calendar: Arc<[Event]>,
    /// Of one store.
    pub(super) by_store: BTreeMap<String, Vec<Event>>,
}

/// What is forecast, and how.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) horizon_days: u32,
    /// Whether effects multiply; `None`: what the values say.
    pub(super) multiplies: Option<bool>,
}

/// The days of all stores, up to the last one that anybody reported.
pub(super) struct History {
    pub(super) last_day: NaiveDate,
    by_store: BTreeMap<String, (NaiveDate, Vec<f64>)>,
}

impl History {
    /// Lays days out, each store's from its first one on; `None` where there are none.
    pub(super) fn of(days: Vec<StoreDay>) -> Option<Self> {
        let last_day = days.iter().map(|day| day.date).max()?;
        let mut by_store: BTreeMap<String, (NaiveDate, Vec<f64>)> = BTreeMap::new();
        for day in &days {
            let entry = by_store.entry(day.store_id.clone()).or_insert((day.date, Vec::new()));
            entry.0 = entry.0.min(day.date);
        }
        for (first, values) in by_store.values_mut() {
            *values = vec![f64::NAN; (last_day - *first).num_days() as usize + 1];
        }
        for day in days {
            if let Some((first, values)) = by_store.get_mut(&day.store_id) {
                values[(day.date - *first).num_days() as usize] = day.value;
            }
        }
        Some(Self { last_day, by_store })
    }

    /// The first day of any store.
    pub(super) fn first_day(&self) -> NaiveDate {
        self.by_store.values().map(|(first, _)| *first).min().unwrap_or(self.last_day)
    }

    /// What tells this history from any other: the text of its content hash.
    pub(super) fn content_hash(&self, kind: &Kind, known: &Known) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("panel 1 {} {} {}\n", kind.name, kind.horizon_days, self.last_day));
        if let Some(multiplies) = kind.multiplies {
            hash.update(format!("multiplies {multiplies}\n"));
        }
        for event in known.calendar.iter() {
            hash.update(format!("{event:?}\n"));
        }
        for (store_id, events) in &known.by_store {
            hash.update(format!("{store_id} {events:?}\n"));
        }
        for (store_id, (first, values)) in &self.by_store {
            hash.update(format!("{store_id} {first}\n"));
            for value in values {
                hash.update(value.to_le_bytes());
            }
        }
        hexadecimal(&hash.finalize())
    }

    fn series(&self, kind: &Kind, known: &Known, previous: &BTreeMap<String, Champion>) -> Vec<Series> {
        let one = |(store_id, (first, values)): (&String, &(NaiveDate, Vec<f64>))| Series {
            calendar: known.calendar.clone(),
            events: known.by_store.get(store_id).cloned().unwrap_or_default(),
            previous: previous.get(store_id).cloned(),
            multiplies: kind.multiplies,
            ..Series::new(store_id, &kind.name, *first, values.clone())
        };
        self.by_store.iter().map(one).collect()
    }

    /// Forecasts each store. Models compete again once a week, a seventh of the stores
    /// each day; the others keep theirs and only fit it anew. The second answer says how the stores' errors go together.
    pub(super) fn forecast(
        &self,
        kind: &Kind,
        known: &Known,
        previous: &BTreeMap<String, Champion>,
    ) -> (Vec<Forecast>, Option<f64>) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options { horizon: kind.horizon_days as usize, threads, ..Options::at(self.last_day) };
        let series = self.series(kind, known, previous);
        let knowledge = learn(series.iter().cloned(), &options, 1);
        let today = self.last_day.num_days_from_ce() as u32 % WEEK;
        let (due, kept): (Vec<Series>, Vec<Series>) =
            series.into_iter().partition(|series| series.previous.is_none() || turn(&series.id) == today);
        let mut made = Vec::new();
        for (series, reselect) in [(due, true), (kept, false)] {
            let options = Options { reselect, ..options.clone() };
            forecast(series.into_iter(), &knowledge, &options, |one| made.push(one));
        }
        made.sort_by(|a, b| a.id.cmp(&b.id));
        (made, knowledge.correlation(&kind.name))
    }
}

/// The first day that counts, given the last.
pub(in crate::pipelines) fn first_of(last_day: NaiveDate) -> NaiveDate {
    last_day.checked_sub_days(Days::new(HISTORY_DAYS - 1)).unwrap_or(last_day)
}

/// On which day of the week a store's models compete.
fn turn(id: &str) -> u32 {
    u32::from(Sha256::digest(id.as_bytes())[0]) % WEEK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(store_id: &str, date: &str, value: f64) -> StoreDay {
        StoreDay { store_id: store_id.to_owned(), date: date.parse().unwrap(), value }
    }

    #[test]
    fn days_are_laid_out_up_to_the_last_one_of_all() {
        let history =
            History::of(vec![day("1", "2025-11-01", 1.0), day("1", "2025-11-03", 3.0), day("2", "2025-11-02", 2.0)])
                .unwrap();
        let (first, values) = &history.by_store["1"];
        assert_eq!((first.to_string(), values.len(), values[0], values[2]), ("2025-11-01".to_owned(), 3, 1.0, 3.0));
        assert!(values[1].is_nan() && history.by_store["2"].1[1].is_nan());
        assert!(History::of(Vec::new()).is_none());
    }

    #[test]
    fn another_number_or_another_calendar_is_another_content() {
        let history = |value| History::of(vec![day("1", "2025-11-01", value)]).unwrap();
        let nothing = Known::default();
        let kind = Kind { name: "net_sales".to_owned(), horizon_days: 35, multiplies: None };
        let hash = history(1.0).content_hash(&kind, &nothing);
        assert_eq!(hash, history(1.0).content_hash(&kind, &nothing));
        assert_ne!(hash, history(2.0).content_hash(&kind, &nothing));
        assert_ne!(hash, history(1.0).content_hash(&Kind { horizon_days: 34, ..kind.clone() }, &nothing));
        assert_ne!(hash, history(1.0).content_hash(&Kind { multiplies: Some(false), ..kind.clone() }, &nothing));
        let christmas = Event::on(forecast::calendar::Kind::Holiday, "christmas", "2025-12-25".parse().unwrap());
        let of_all = Known { calendar: Arc::from([christmas.clone()]), ..Known::default() };
        let of_one = Known { by_store: [("1".to_owned(), vec![christmas])].into(), ..Known::default() };
        assert_ne!(hash, history(1.0).content_hash(&kind, &of_all));
        assert_ne!(hash, history(1.0).content_hash(&kind, &of_one));
    }
}
