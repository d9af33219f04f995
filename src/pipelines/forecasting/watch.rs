//! Whether forecasts are still what their tests promised, in words for who reads the run.

use std::collections::BTreeMap;

use super::definition::Grain;
use super::history::DAY;
use super::tables::{Earlier, Realised};

/// How far ahead the forecasts of days were that are watched: a week, by which people are planned.
const LEAD_DAYS: i64 = 7;
/// Of longer steps, those of the next one.
const LEAD_OF_NEXT: i64 = 1;
/// Fewer days, or longer steps, say nothing.
const ENOUGH_DAYS: usize = 14;
const ENOUGH_STEPS: usize = 6;
/// Stores that are named.
const NAMED: usize = 3;

/// Absolute errors of a store's days, and what came on them.
#[derive(Default, Clone, Copy)]
struct Sum {
    days: usize,
    errors: f64,
    came: f64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.days += other.days;
        self.errors += other.errors;
        self.came += other.came;
    }

    /// Absolute errors as a share of what came.
    fn off(self) -> Option<f64> {
        (self.came > 0.0).then(|| self.errors / self.came)
    }
}

/// Names the stores whose forecasts were the farthest off, and those that drift: off by half
/// as much again as in their tests, as the view `forecast_quality` says it.
pub(super) fn notes(grain: Grain, realised: &[Realised], earlier: &BTreeMap<String, Earlier>) -> Vec<String> {
    let (lead, enough, watched) = match grain {
        Grain::Day => (LEAD_DAYS, ENOUGH_DAYS, "a week ahead, forecasts of the last four weeks"),
        Grain::Week => (LEAD_OF_NEXT, ENOUGH_STEPS, "forecasts of the next week, over the last twelve,"),
        Grain::Month => (LEAD_OF_NEXT, ENOUGH_STEPS, "forecasts of the next month, over the last year,"),
    };
    let mut by_store: BTreeMap<&str, Sum> = BTreeMap::new();
    for row in realised.iter().filter(|row| row.daypart == DAY && row.lead_days == lead) {
        let (said, came) = (row.values[0], row.values[6]);
        by_store.entry(&row.store_id).or_default().add(Sum { days: 1, errors: (said - came).abs(), came });
    }
    by_store.retain(|_, sum| sum.days >= enough);
    let mut all = Sum::default();
    by_store.values().for_each(|sum| all.add(*sum));
    let Some(off) = all.off() else { return Vec::new() };
    let mut worst: Vec<(&str, f64)> =
        by_store.iter().filter_map(|(store_id, sum)| Some((*store_id, sum.off()?))).collect();
    worst.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let named: Vec<String> =
        worst.iter().take(NAMED).map(|(store_id, off)| format!("{store_id} ({})", percent(*off))).collect();
    let mut notes = vec![format!("{watched} were off by {}; the farthest: {}", percent(off), named.join(", "))];
    let drifting: Vec<String> = worst
        .iter()
        .filter_map(|(store_id, off)| {
            let tested = earlier.get(*store_id)?.scores.wape?;
            (*off > 1.5 * tested + 0.02)
                .then(|| format!("{store_id} ({} against {} in its tests)", percent(*off), percent(tested)))
        })
        .collect();
    if let Some(first) = drifting.first() {
        let store_id = first.split(' ').next().unwrap_or_default();
        notes.push(format!(
            "habits changed, ask what happened there: {}; look at `storekeeper forecast show {store_id}`",
            drifting.join(", ")
        ));
    }
    notes
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecast::panel::Scores;

    fn days(store_id: &str, count: u32, said: f64) -> impl Iterator<Item = Realised> {
        (1..=count).map(move |day| Realised {
            store_id: store_id.to_owned(),
            daypart: DAY.to_owned(),
            date: chrono::NaiveDate::from_ymd_opt(2025, 11, day).unwrap(),
            lead_days: LEAD_DAYS,
            values: vec![said, 0.0, 0.0, 0.0, 0.0, 0.0, 100.0],
        })
    }

    fn tested(wape: f64) -> Earlier {
        Earlier { champion: None, scores: Scores { wape: Some(wape), ..Scores::default() } }
    }

    #[test]
    fn the_worst_and_those_that_drift_are_named() {
        let realised: Vec<Realised> =
            days("000101", 20, 104.0).chain(days("000102", 20, 70.0)).chain(days("000103", 13, 10.0)).collect();
        let earlier = BTreeMap::from([("000101".to_owned(), tested(0.08)), ("000102".to_owned(), tested(0.09))]);
        let notes = notes(Grain::Day, &realised, &earlier);
        assert_eq!(
            notes[0],
            "a week ahead, forecasts of the last four weeks were off by 17.0 %; the farthest: 000102 (30.0 %), 000101 (4.0 %)"
        );
        assert_eq!(
            notes[1],
            "habits changed, ask what happened there: 000102 (30.0 % against 9.0 % in its tests); look at `storekeeper forecast show 000102`"
        );
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn few_days_say_nothing() {
        let realised: Vec<Realised> = days("000101", 13, 10.0).collect();
        assert!(notes(Grain::Day, &realised, &BTreeMap::new()).is_empty());
    }
}
