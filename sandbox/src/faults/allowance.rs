//! How much an application may ask for in a while: off unless a test sets it.
//!
//! A scripted 429 comes whatever a client does; this one comes because of what it did,
//! and goes on for as long as it does not wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

use crate::wire::locked;

/// So many units in any so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What may be used.
    pub units: u32,
    /// In which time.
    pub seconds: u32,
}

impl Allowance {
    /// SharePoint's for one application in a small tenant.
    pub const SHAREPOINT: Self = Self { units: 1200, seconds: 60 };
    /// Dataverse's for one user.
    pub const DATAVERSE: Self = Self { units: 6000, seconds: 300 };
}

/// Counts what each caller used.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    allowance: Option<Allowance>,
    used: HashMap<String, VecDeque<(DateTime<Utc>, u32)>>,
}

/// What a request found: how much is left, and when more will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) allowance: Allowance,
    pub(crate) left: u32,
    /// Seconds until this request would have passed; 0 where it does.
    pub(crate) wait_seconds: i64,
    /// Seconds until everything used is forgotten again.
    pub(crate) reset_seconds: i64,
}

impl Meter {
    /// Sets what each caller may use from now on; `None` is no limit.
    pub(crate) fn set(&self, allowance: Option<Allowance>) {
        *locked(&self.state) = State { allowance, used: HashMap::new() };
    }

    /// Counts a request; also one that is refused counts. `None` where nothing is limited.
    pub(crate) fn spend(&self, caller: &str, units: u32, now: DateTime<Utc>) -> Option<Spent> {
        let mut state = locked(&self.state);
        let allowance = state.allowance?;
        let window = TimeDelta::seconds(allowance.seconds.into());
        let used = state.used.entry(caller.to_owned()).or_default();
        used.retain(|(at, _)| *at + window > now);
        used.push_back((now, units));
        let mut sum: u32 = used.iter().map(|(_, units)| units).sum();
        let left = allowance.units.saturating_sub(sum);
        let seconds = |at: DateTime<Utc>| ((at + window - now).num_milliseconds() + 999) / 1000;
        let mut wait_seconds = 0;
        for (at, units) in used.iter() {
            if sum <= allowance.units {
                break;
            }
            sum -= units;
            wait_seconds = seconds(*at).max(1);
        }
        Some(Spent { allowance, left, wait_seconds, reset_seconds: used.back().map_or(0, |(at, _)| seconds(*at)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_asking_waits_longer_and_nobody_else_does() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let meter = Meter::default();
        assert_eq!(meter.spend("a", 9, at(0)), None);
        meter.set(Some(Allowance { units: 3, seconds: 60 }));
        let wait = |caller, units, now| meter.spend(caller, units, at(now)).map(|spent| spent.wait_seconds);
        assert_eq!((wait("a", 2, 0), wait("a", 1, 10)), (Some(0), Some(0)));
        assert_eq!(wait("a", 1, 20), Some(40));
        assert_eq!(wait("a", 1, 30), Some(30), "what came first is forgotten first");
        assert_eq!(wait("a", 1, 31), Some(39), "and what was refused counts");
        assert_eq!(wait("b", 3, 31), Some(0));
        assert_eq!(wait("a", 1, 100), Some(0));
    }
}
