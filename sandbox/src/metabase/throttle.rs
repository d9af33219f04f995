//! The login throttle, with its trap.
//!
//! Only failures count, nothing clears them but an hour's age, and a call made
//! while blocked counts as one more. The wait named in the text is shorter than
//! the real one: who believes it and tries again feeds the block.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Failures of a user name before it is blocked.
const USERNAME_ATTEMPTS: usize = 10;
/// Failures of an address before it is blocked.
const ADDRESS_ATTEMPTS: usize = 50;

/// Failures by key, in memory: a restart forgets them.
#[derive(Debug, Clone, Default)]
pub(super) struct Throttle {
    failures: BTreeMap<String, Vec<DateTime<Utc>>>,
}

impl Throttle {
    /// Says why a login may not even be tried, and counts the try.
    pub(super) fn refuse_login(&mut self, username: &str, address: &str, now: DateTime<Utc>) -> Option<String> {
        let text = self
            .blocked(&username_key(username), USERNAME_ATTEMPTS, now)
            .or_else(|| self.blocked(&address_key(address), ADDRESS_ATTEMPTS, now))?;
        self.count_failed_login(username, address, now);
        Some(text)
    }

    /// Counts a failed login against the name and the address.
    pub(super) fn count_failed_login(&mut self, username: &str, address: &str, now: DateTime<Utc>) {
        self.count(username_key(username), now);
        self.count(address_key(address), now);
    }

    /// Says why a mail for a forgotten password may not be asked for; every ask
    /// counts, and here the stated wait is the true one.
    pub(super) fn refuse_reset(&mut self, email: &str, now: DateTime<Utc>) -> Option<String> {
        const ATTEMPTS: usize = 3;
        let key = format!("reset/{email}");
        let asked = self.failures.entry(key.clone()).or_default();
        asked.retain(|at| now - *at < TimeDelta::seconds(1));
        if asked.len() >= ATTEMPTS {
            return Some(wait_text(1));
        }
        self.count(key, now);
        None
    }

    /// Forgets everything, as a restart does.
    pub(super) fn clear(&mut self) {
        self.failures.clear();
    }

    fn count(&mut self, key: String, now: DateTime<Utc>) {
        self.failures.entry(key).or_default().push(now);
    }

    fn blocked(&mut self, key: &str, threshold: usize, now: DateTime<Utc>) -> Option<String> {
        let failures = self.failures.get_mut(key)?;
        failures.retain(|at| now - *at < TimeDelta::hours(1));
        if failures.len() < threshold {
            return None;
        }
        let last = *failures.last()?;
        let over = (failures.len() + 1 - threshold) as f64;
        let stated = TimeDelta::milliseconds((15_000.0 * over.powf(1.5)) as i64);
        let left = (last + stated) - now;
        if left <= TimeDelta::zero() {
            return Some("Too many attempts! Please try again later.".to_owned());
        }
        Some(wait_text((left.num_milliseconds() + 500) / 1000))
    }
}

fn wait_text(seconds: i64) -> String {
    format!("Too many attempts! You must wait {seconds} seconds before trying again.")
}

fn username_key(username: &str) -> String {
    format!("username/{username}")
}

fn address_key(address: &str) -> String {
    format!("address/{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn failed_ten_times() -> Throttle {
        let mut throttle = Throttle::default();
        for _ in 0..10 {
            assert_eq!(throttle.refuse_login("ana", "::1", at(0)), None);
            throttle.count_failed_login("ana", "::1", at(0));
        }
        throttle
    }

    #[test]
    fn the_stated_wait_grows_with_each_refused_try() {
        let mut throttle = failed_ten_times();
        let stated: Vec<_> = (0..5).map(|_| throttle.refuse_login("ana", "::1", at(0)).unwrap()).collect();
        for (text, seconds) in stated.iter().zip([15, 42, 78, 120, 168]) {
            assert!(text.contains(&format!("wait {seconds} seconds")), "{text}");
        }
    }

    #[test]
    fn waiting_as_told_does_not_unblock_but_an_hour_does() {
        let mut throttle = failed_ten_times();
        let text = throttle.refuse_login("ana", "::1", at(20)).unwrap();
        assert_eq!(text, "Too many attempts! Please try again later.");
        // The ten are an hour old now, the refused try is not.
        assert_eq!(throttle.refuse_login("ana", "::1", at(3600)), None);
    }

    #[test]
    fn another_name_is_free_until_the_address_is_used_up() {
        let mut throttle = failed_ten_times();
        assert_eq!(throttle.refuse_login("ben", "::1", at(0)), None);
        for _ in 0..40 {
            throttle.count_failed_login("carl", "::1", at(0));
        }
        assert!(throttle.refuse_login("ben", "::1", at(0)).is_some());
    }
}
