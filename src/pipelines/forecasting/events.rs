//! What a chain plans: rows of its table of events, as a forecast reads them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::history::Known;
use crate::words::counted;
use forecast::calendar::{Event, Kind};

/// A row of a table of events.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// One store, or every store of the brand.
    pub(super) store_id: Option<String>,
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) first_day: NaiveDate,
    /// Absent: the first is the only one.
    pub(super) last_day: Option<NaiveDate>,
    /// Absent: 1.
    pub(super) value: Option<f64>,
    /// Absent: it always was.
    pub(super) known_on: Option<NaiveDate>,
}

/// Sorts rows by whom they concern, behind `holidays`. A row that cannot be used is told in
/// the second answer, and left out.
pub(super) fn known(mut holidays: Vec<Event>, rows: Vec<Row>) -> (Known, Vec<String>) {
    let mut by_store: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let (mut strange, mut reversed) = (BTreeSet::new(), 0_usize);
    for row in rows {
        let Some(kind) = kind(&row.kind) else {
            strange.insert(row.kind);
            continue;
        };
        let last = row.last_day.unwrap_or(row.first_day);
        if last < row.first_day {
            reversed += 1;
            continue;
        }
        let event = Event::on(kind, row.name.as_deref().unwrap_or_default(), row.first_day).until(last);
        let event = Event { value: row.value.unwrap_or(1.0), known_on: row.known_on, ..event };
        match row.store_id {
            Some(store_id) => by_store.entry(store_id).or_default().push(event),
            None => holidays.push(event),
        }
    }
    let mut notes: Vec<String> = strange
        .iter()
        .map(|kind| {
            format!("events of kind `{kind}` are not used: a kind is holiday, promotion, school, closure or regressor")
        })
        .collect();
    if reversed > 0 {
        notes.push(format!(
            "{} and not used",
            counted(reversed, "event ends before it begins and is", "events end before they begin and are")
        ));
    }
    (Known { calendar: holidays.into(), by_store }, notes)
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word.trim().to_lowercase().as_str() {
        "holiday" => Kind::Holiday,
        "promotion" => Kind::Promotion,
        "school" => Kind::School,
        "closure" => Kind::Closure,
        "regressor" => Kind::Regressor,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(store_id: Option<&str>, kind: &str, first: &str, last: Option<&str>) -> Row {
        Row {
            store_id: store_id.map(str::to_owned),
            kind: kind.to_owned(),
            name: None,
            first_day: first.parse().unwrap(),
            last_day: last.map(|day| day.parse().unwrap()),
            value: None,
            known_on: None,
        }
    }

    #[test]
    fn rows_go_to_whom_they_concern_and_what_cannot_be_used_is_told() {
        let rows = vec![
            row(None, "Promotion", "2025-11-01", Some("2025-11-07")),
            row(Some("000125"), "closure", "2025-12-01", None),
            row(Some("000125"), "fair", "2025-12-01", None),
            row(None, "school", "2025-12-20", Some("2025-12-01")),
        ];
        let (known, notes) = known(Vec::new(), rows);
        assert_eq!((known.calendar.len(), known.calendar[0].kind), (1, Kind::Promotion));
        let closure = &known.by_store["000125"];
        assert_eq!((closure.len(), closure[0].kind, closure[0].last), (1, Kind::Closure, closure[0].first));
        assert_eq!(notes.len(), 2);
        assert!(notes[0].contains("`fair`") && notes[1].starts_with("1 event ends"), "{notes:?}");
    }
}
