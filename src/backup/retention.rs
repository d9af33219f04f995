//! Which backups are kept. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

/// How many backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest, however old.
    pub last: u32,
    /// Days of which the newest is kept.
    pub daily: u32,
    /// ISO weeks of which the newest is kept.
    pub weekly: u32,
}

/// Names those that may go. Days and weeks without a backup don't count, so a
/// pause makes nothing go.
pub fn superseded(backups: &[(String, DateTime<Utc>)], keep: Keep) -> Vec<String> {
    let mut newest_first: Vec<&(String, DateTime<Utc>)> = backups.iter().collect();
    newest_first.sort_by(|one, other| (other.1, &other.0).cmp(&(one.1, &one.0)));
    let (mut days, mut weeks) = (BTreeSet::<NaiveDate>::new(), BTreeSet::<(i32, u32)>::new());
    let mut gone = Vec::new();
    for (at, (id, moment)) in newest_first.into_iter().enumerate() {
        let day = moment.date_naive();
        let week = (day.iso_week().year(), day.iso_week().week());
        let last = at < keep.last as usize;
        let daily = days.len() < keep.daily as usize && days.insert(day);
        let weekly = weeks.len() < keep.weekly as usize && weeks.insert(week);
        if !(last || daily || weekly) {
            gone.push(id.clone());
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn every_twelve_hours(count: i64) -> Vec<(String, DateTime<Utc>)> {
        // A Sunday evening.
        let newest: DateTime<Utc> = "2026-03-01T22:00:00Z".parse().unwrap();
        (0..count)
            .map(|at| newest - TimeDelta::hours(12 * at))
            .map(|moment| (moment.format("%m-%d/%H").to_string(), moment))
            .collect()
    }

    #[test]
    fn the_newest_of_each_day_and_week_stay() {
        let backups = every_twelve_hours(60);
        let gone = superseded(&backups, Keep { last: 3, daily: 3, weekly: 3 });
        let kept: Vec<&str> =
            backups.iter().map(|(id, _)| id.as_str()).filter(|id| !gone.iter().any(|one| one == id)).collect();
        assert_eq!(kept, ["03-01/22", "03-01/10", "02-28/22", "02-27/22", "02-22/22", "02-15/22"]);
    }

    #[test]
    fn old_backups_stay_where_no_newer_ones_are() {
        let backups = every_twelve_hours(2);
        assert!(superseded(&backups, Keep { last: 7, daily: 0, weekly: 0 }).is_empty());
        assert_eq!(superseded(&backups, Keep { last: 1, daily: 0, weekly: 0 }), ["03-01/10"]);
        assert!(superseded(&[], Keep { last: 1, daily: 1, weekly: 1 }).is_empty());
    }
}
