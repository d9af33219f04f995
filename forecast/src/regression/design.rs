//! Which effects are at work on which day.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::Arc;

use chrono::{Datelike as _, NaiveDate};

use super::effect::Effect;
use crate::calendar::{Event, Kind};

/// The columns of a series' regression, day by day: few effects touch a day, so rows
/// list only those.
#[derive(Debug, Clone)]
pub struct Design {
    effects: Vec<Effect>,
    starts: Vec<u32>,
    cells: Vec<(u32, f64)>,
    closed: Vec<bool>,
}

impl Design {
    /// Lays out `days` days from `first`, with what was known on the evening of
    /// `cutoff`. `waves` yearly waves; 0 leaves the time of year out.
    pub fn new<'a>(
        first: NaiveDate,
        days: usize,
        events: impl Iterator<Item = &'a Event>,
        cutoff: NaiveDate,
        waves: u8,
    ) -> Self {
        let mut promoted = vec![0.0_f64; days];
        let mut closed = vec![false; days];
        let mut found: Vec<(u32, Effect, f64)> = Vec::new();
        let mut names: BTreeMap<&str, Arc<str>> = BTreeMap::new();
        for event in events.filter(|event| event.was_known(cutoff)) {
            let from = (event.first - first).num_days();
            let to = (event.last - first).num_days();
            let within = |from: i64, to: i64| from.max(0)..=to.min(days as i64 - 1);
            let mut name = || Arc::clone(names.entry(&event.name).or_insert_with(|| Arc::from(event.name.as_str())));
            match event.kind {
                Kind::Holiday => {
                    let name = name();
                    for offset in -i64::from(event.before)..=i64::from(event.after) {
                        // A holiday of several days is felt on each, and around all of them.
                        let span = match offset {
                            0 => within(from, to),
                            offset if offset < 0 => within(from + offset, from + offset),
                            offset => within(to + offset, to + offset),
                        };
                        found.extend(
                            span.map(|at| (at as u32, Effect::Holiday(name.clone(), offset as i8), event.value)),
                        );
                    }
                }
                Kind::Promotion => {
                    for at in within(from, to) {
                        promoted[at as usize] = promoted[at as usize].max(event.value);
                    }
                    if !event.name.is_empty() {
                        let name = name();
                        found.extend(within(from, to).map(|at| (at as u32, Effect::Offer(name.clone()), event.value)));
                    }
                }
                Kind::School => found.extend(within(from, to).map(|at| (at as u32, Effect::School, event.value))),
                Kind::Closure => within(from, to).for_each(|at| closed[at as usize] = true),
                Kind::Regressor => {
                    let name = name();
                    found.extend(within(from, to).map(|at| (at as u32, Effect::Regressor(name.clone()), event.value)));
                }
            }
        }
        let first_weekday = first.weekday().num_days_from_monday() as usize;
        for at in 0..days {
            let weekday = ((first_weekday + at) % 7) as u8;
            let day = at as u32;
            if promoted[at] != 0.0 {
                found.push((day, Effect::Promotion, promoted[at]));
                found.push((day, Effect::PromotionOn(weekday), promoted[at]));
                // On the first day of the history nobody knows whether it began.
                if at > 0 && promoted[at - 1] == 0.0 {
                    found.push((day, Effect::PromotionFirst, promoted[at]));
                }
            } else if at > 0 && promoted[at - 1] != 0.0 {
                found.push((day, Effect::PromotionAfter, promoted[at - 1]));
            }
            if !closed[at] {
                if at > 0 && closed[at - 1] {
                    found.push((day, Effect::AfterClosure, 1.0));
                }
                if closed.get(at + 1) == Some(&true) {
                    found.push((day, Effect::BeforeClosure, 1.0));
                }
            }
        }
        Self::assemble(first, days, first_weekday, waves, found, closed)
    }

    fn assemble(
        first: NaiveDate,
        days: usize,
        first_weekday: usize,
        waves: u8,
        found: Vec<(u32, Effect, f64)>,
        closed: Vec<bool>,
    ) -> Self {
        let mut columns: BTreeMap<Effect, u32> = BTreeMap::new();
        columns.extend((0..7).map(|weekday| (Effect::Weekday(weekday), 0)));
        for turns in 1..=waves {
            columns.extend([(Effect::Yearly(turns, false), 0), (Effect::Yearly(turns, true), 0)]);
        }
        for (_, effect, _) in &found {
            if !columns.contains_key(effect) {
                columns.insert(effect.clone(), 0);
            }
        }
        for (at, column) in columns.values_mut().enumerate() {
            *column = at as u32;
        }
        let mut by_day: Vec<(u32, u32, f64)> =
            found.iter().map(|(day, effect, value)| (*day, columns[effect], *value)).collect();
        by_day.sort_by_key(|cell| (cell.0, cell.1));
        // Two tables may name one holiday: it counts once.
        by_day.dedup_by_key(|cell| (cell.0, cell.1));
        let (cosine, sine) = (columns.get(&Effect::Yearly(1, false)), columns.get(&Effect::Yearly(1, true)));
        let yearly = cosine.zip(sine).map(|(cosine, _)| *cosine);
        let mut starts = Vec::with_capacity(days + 1);
        let mut cells = Vec::with_capacity(by_day.len() + days * (1 + 2 * usize::from(waves)));
        let (mut next, mut date) = (0, first);
        for at in 0..days {
            starts.push(cells.len() as u32);
            // Weekdays sort first among effects, waves second.
            cells.push((((first_weekday + at) % 7) as u32, 1.0));
            if let Some(yearly) = yearly {
                let angle = TAU * f64::from(date.ordinal0()) / 365.25;
                for turns in 1..=u32::from(waves) {
                    let (sine, cosine) = (angle * f64::from(turns)).sin_cos();
                    cells.extend([(yearly + 2 * (turns - 1), cosine), (yearly + 2 * (turns - 1) + 1, sine)]);
                }
            }
            while let Some((day, column, value)) = by_day.get(next).filter(|cell| cell.0 as usize <= at) {
                debug_assert_eq!(*day as usize, at);
                cells.push((*column, *value));
                next += 1;
            }
            date = date.succ_opt().unwrap_or(date);
        }
        starts.push(cells.len() as u32);
        Self { effects: columns.into_keys().collect(), starts, cells, closed }
    }

    /// The columns' meanings, in their order.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Days laid out.
    pub fn days(&self) -> usize {
        self.closed.len()
    }

    /// The columns at work on a day, with their values.
    pub fn row(&self, day: usize) -> &[(u32, f64)] {
        &self.cells[self.starts[day] as usize..self.starts[day + 1] as usize]
    }

    /// The days of each holiday itself, not those beside it.
    pub fn holidays(&self) -> BTreeMap<Arc<str>, Vec<usize>> {
        let mut holidays: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for day in 0..self.days() {
            for (column, _) in self.row(day) {
                if let Effect::Holiday(name, 0) = &self.effects[*column as usize] {
                    holidays.entry(Arc::clone(name)).or_default().push(day);
                }
            }
        }
        holidays
    }

    /// Notes that the store is closed on a day, whatever the calendar says.
    pub fn close(&mut self, day: usize) {
        self.closed[day] = true;
    }

    /// Whether the calendar knew the store closed on a day.
    pub fn is_closed(&self, day: usize) -> bool {
        self.closed[day]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn effects_on(design: &Design, at: usize) -> Vec<String> {
        design.row(at).iter().map(|(column, _)| design.effects()[*column as usize].to_string()).collect()
    }

    #[test]
    fn days_around_an_event_feel_it() {
        let events = [
            Event { before: 1, after: 1, ..Event::on(Kind::Holiday, "feast", day("2025-06-04")) },
            Event::on(Kind::Promotion, "", day("2025-06-05")).until(day("2025-06-06")),
            Event::on(Kind::Closure, "", day("2025-06-09")),
        ];
        let design = Design::new(day("2025-06-02"), 9, events.iter(), day("2025-06-02"), 0);
        assert_eq!(effects_on(&design, 0), ["weekday:monday"]);
        assert_eq!(effects_on(&design, 1), ["weekday:tuesday", "holiday:feast-1"]);
        assert_eq!(effects_on(&design, 2), ["weekday:wednesday", "holiday:feast"]);
        assert_eq!(
            effects_on(&design, 3),
            ["weekday:thursday", "holiday:feast+1", "promotion", "promotion on thursday", "promotion first day"]
        );
        assert_eq!(effects_on(&design, 5), ["weekday:saturday", "day after promotion"]);
        assert_eq!(effects_on(&design, 6), ["weekday:sunday", "before closure"]);
        assert!(design.is_closed(7));
        assert_eq!(effects_on(&design, 8), ["weekday:tuesday", "after closure"]);
    }

    #[test]
    fn what_became_known_after_the_cutoff_is_not_there() {
        let promotion = Event::on(Kind::Promotion, "", day("2025-06-05")).known_on(day("2025-06-03"));
        let with = |cutoff| Design::new(day("2025-06-02"), 7, [&promotion].into_iter(), day(cutoff), 0);
        assert_eq!(effects_on(&with("2025-06-02"), 3), ["weekday:thursday"]);
        assert!(effects_on(&with("2025-06-03"), 3).contains(&"promotion".to_owned()));
    }
}
