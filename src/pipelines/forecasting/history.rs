//! What a forecast rests on: the days of each store, what the calendar knows, and what
//! earlier runs settled on.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike as _, Days, NaiveDate};
use sha2::{Digest as _, Sha256};

use super::definition::Grain;
use super::shares::PartDay;
use crate::warehouse::hexadecimal;
use forecast::calendar::Event;
use forecast::panel::{Champion, Forecast, Options, Series, forecast, learn};

/// The daypart of a day's total.
pub const DAY: &str = "Day";
/// Days after which the pattern repeats.
pub(in crate::pipelines) const WEEK: u32 = 7;

/// One day of one store, or one longer step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoreDay {
    pub(super) store_id: String,
    /// The day, or the first day of the step.
    pub(super) date: NaiveDate,
    /// The earliest and the latest day of the step that there is anything of.
    pub(super) told: (NaiveDate, NaiveDate),
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
    /// Steps ahead.
    pub(super) horizon: u32,
    /// Whether effects multiply; `None`: what the values say.
    pub(super) multiplies: Option<bool>,
}

/// The days of all stores, up to the last one that anybody reported; of longer steps, those that are whole.
pub(super) struct History {
    pub(super) last_day: NaiveDate,
    grain: Grain,
    by_store: BTreeMap<String, (NaiveDate, Vec<f64>)>,
}

impl History {
    /// Lays days out, each store's from its first one on; `None` where there are none.
    pub(super) fn of(mut days: Vec<StoreDay>, grain: Grain) -> Option<Self> {
        keep_whole(&mut days, grain);
        let step = grain.of_panel();
        let last_day = step.end_of(days.iter().map(|day| day.date).max()?);
        let mut by_store: BTreeMap<String, (NaiveDate, Vec<f64>)> = BTreeMap::new();
        for day in &days {
            let entry = by_store.entry(day.store_id.clone()).or_insert((day.date, Vec::new()));
            entry.0 = entry.0.min(day.date);
        }
        for (first, values) in by_store.values_mut() {
            *values = vec![f64::NAN; step.steps(*first, last_day) as usize + 1];
        }
        for day in days {
            if let Some((first, values)) = by_store.get_mut(&day.store_id) {
                values[step.steps(*first, day.date) as usize] = day.value;
            }
        }
        Some(Self { last_day, grain, by_store })
    }

    /// The first day of any store.
    pub(super) fn first_day(&self) -> NaiveDate {
        self.by_store.values().map(|(first, _)| *first).min().unwrap_or(self.last_day)
    }

    /// What tells this history from any other: the text of its content hash.
    pub(super) fn content_hash(&self, kind: &Kind, known: &Known, parts: &[PartDay]) -> String {
        let mut hash = Sha256::new();
        // The number goes up when the engine makes other forecasts of the same history.
        hash.update(format!("panel 2 {} {} {}\n", kind.name, kind.horizon, self.last_day));
        if self.grain != Grain::Day {
            hash.update(format!("grain {}\n", self.grain.of_panel()));
        }
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
        for part in parts {
            hash.update(format!("{} {} {} ", part.store_id, part.date, part.daypart));
            hash.update(part.value.to_le_bytes());
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

    /// Whether a store's models compete again: on its day of the week, or when that was missed, as where
    /// files come once a week.
    fn is_due(&self, series: &Series) -> bool {
        let today = self.last_day.num_days_from_ce() as u32 % WEEK;
        let rested = |champion: &Champion| (self.last_day - champion.chosen_on).num_days() >= i64::from(WEEK);
        series.previous.as_ref().is_none_or(rested) || turn(&series.id) == today
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
        let grain = self.grain.of_panel();
        let options = Options { grain, horizon: kind.horizon as usize, threads, ..Options::at(self.last_day) };
        let series = self.series(kind, known, previous);
        let knowledge = learn(series.iter().cloned(), &options, 1);
        let (due, kept): (Vec<Series>, Vec<Series>) = series.into_iter().partition(|series| self.is_due(series));
        let mut made = Vec::new();
        for (series, reselect) in [(due, true), (kept, false)] {
            let options = Options { reselect, ..options.clone() };
            forecast(series.into_iter(), &knowledge, &options, |one| made.push(one));
        }
        made.sort_by(|a, b| a.id.cmp(&b.id));
        (made, knowledge.correlation(&kind.name))
    }
}

/// Leaves out steps that have only begun: the last one, unless it was told as far as others were, and
/// each store's first one, unless it began as early. So rows of days and rows of weeks are whole alike.
fn keep_whole(days: &mut Vec<StoreDay>, grain: Grain) {
    if grain == Grain::Day {
        return;
    }
    let step = grain.of_panel();
    let mut last_told: BTreeMap<NaiveDate, NaiveDate> = BTreeMap::new();
    for day in days.iter() {
        let told = last_told.entry(day.date).or_insert(day.told.1);
        *told = (*told).max(day.told.1);
    }
    let untold = |(date, told): (&NaiveDate, &NaiveDate)| (step.end_of(*date) - *told).num_days();
    let begun = last_told.last_key_value().filter(|last| {
        let usual = last_told.iter().rev().skip(1).take(6).map(untold).max();
        untold(*last) > usual.unwrap_or(0)
    });
    if let Some((begun, _)) = begun {
        let begun = *begun;
        days.retain(|day| day.date != begun);
    }
    let late = |day: &StoreDay| (day.told.0 - day.date).num_days();
    let mut by_store: BTreeMap<String, (NaiveDate, i64, i64)> = BTreeMap::new();
    for day in days.iter() {
        let (first, first_late, usual) = by_store.entry(day.store_id.clone()).or_insert((day.date, late(day), 0));
        if day.date < *first {
            (*first, *first_late, *usual) = (day.date, late(day), (*usual).max(*first_late));
        } else if day.date > *first {
            *usual = (*usual).max(late(day));
        }
    }
    days.retain(|day| {
        by_store.get(&day.store_id).is_none_or(|(first, late, usual)| day.date != *first || late <= usual)
    });
}

/// The first day that counts, given the last.
pub(in crate::pipelines) fn first_of(last_day: NaiveDate, grain: Grain) -> NaiveDate {
    let first = last_day.checked_sub_days(Days::new(grain.history_days() - 1)).unwrap_or(last_day);
    grain.of_panel().start_of(first)
}

/// On which day of the week a store's models compete.
fn turn(id: &str) -> u32 {
    u32::from(Sha256::digest(id.as_bytes())[0]) % WEEK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(store_id: &str, date: &str, value: f64) -> StoreDay {
        let date = date.parse().unwrap();
        StoreDay { store_id: store_id.to_owned(), date, told: (date, date), value }
    }

    #[test]
    fn a_week_counts_when_it_is_whole() {
        let week = |store_id: &str, date: &str, told: (u64, u64), value| {
            let one = day(store_id, date, value);
            StoreDay { told: (one.date + Days::new(told.0), one.date + Days::new(told.1)), ..one }
        };
        let daily = vec![
            week("1", "2025-11-03", (2, 6), 3.0),
            week("1", "2025-11-10", (0, 6), 7.0),
            week("1", "2025-11-17", (0, 6), 8.0),
            week("1", "2025-11-24", (0, 3), 4.0),
            week("2", "2025-11-10", (0, 6), 9.0),
        ];
        let history = History::of(daily, Grain::Week).unwrap();
        assert_eq!(history.last_day.to_string(), "2025-11-23", "the week that has begun is left out");
        assert_eq!(history.by_store["1"].1, [7.0, 8.0], "so is the one in which the store opened");
        assert_eq!(history.by_store["2"].1.len(), 2);
        // One row a week, on its Mondays: the latest is as whole as any.
        let weekly = ["2025-11-03", "2025-11-10", "2025-11-17"].map(|date| day("1", date, 5.0)).to_vec();
        assert_eq!(History::of(weekly, Grain::Week).unwrap().by_store["1"].1, [5.0, 5.0, 5.0]);
        assert!(History::of(vec![day("1", "2025-11-03", 1.0)], Grain::Month).is_none());
    }

    #[test]
    fn days_are_laid_out_up_to_the_last_one_of_all() {
        let history = History::of(
            vec![day("1", "2025-11-01", 1.0), day("1", "2025-11-03", 3.0), day("2", "2025-11-02", 2.0)],
            Grain::Day,
        )
        .unwrap();
        let (first, values) = &history.by_store["1"];
        assert_eq!((first.to_string(), values.len(), values[0], values[2]), ("2025-11-01".to_owned(), 3, 1.0, 3.0));
        assert!(values[1].is_nan() && history.by_store["2"].1[1].is_nan());
        assert!(History::of(Vec::new(), Grain::Day).is_none());
    }

    #[test]
    fn another_number_or_another_calendar_is_another_content() {
        let history = |value| History::of(vec![day("1", "2025-11-01", value)], Grain::Day).unwrap();
        let nothing = Known::default();
        let kind = Kind { name: "net_sales".to_owned(), horizon: 35, multiplies: None };
        let hash = history(1.0).content_hash(&kind, &nothing, &[]);
        assert_eq!(hash, history(1.0).content_hash(&kind, &nothing, &[]));
        assert_ne!(hash, history(2.0).content_hash(&kind, &nothing, &[]));
        assert_ne!(hash, history(1.0).content_hash(&Kind { horizon: 34, ..kind.clone() }, &nothing, &[]));
        assert_ne!(hash, history(1.0).content_hash(&Kind { multiplies: Some(false), ..kind.clone() }, &nothing, &[]));
        let lunch = |value| PartDay {
            store_id: "1".to_owned(),
            daypart: "Lunch".to_owned(),
            date: "2025-11-01".parse().unwrap(),
            value,
        };
        // What moves from one part of a day to another leaves the day as it was.
        assert_ne!(
            history(1.0).content_hash(&kind, &nothing, &[lunch(0.5)]),
            history(1.0).content_hash(&kind, &nothing, &[lunch(0.4)])
        );
        let christmas = Event::on(forecast::calendar::Kind::Holiday, "christmas", "2025-12-25".parse().unwrap());
        let of_all = Known { calendar: Arc::from([christmas.clone()]), ..Known::default() };
        let of_one = Known { by_store: [("1".to_owned(), vec![christmas])].into(), ..Known::default() };
        assert_ne!(hash, history(1.0).content_hash(&kind, &of_all, &[]));
        assert_ne!(hash, history(1.0).content_hash(&kind, &of_one, &[]));
    }
}
