//! Random numbers that depend on a name, never on the order of the questions.
//!
//! Every subject (a store's day, a roster, a shift) draws from a stream of its
//! own, seeded by the world's seed and the subject's name. So a world that is a
//! day longer has the same past, and a new file changes no other.
//!
//! Only additions, multiplications and square roots are used: their results are
//! the same on every machine, which the C library's `exp` and `sin` don't promise.

use chrono::{Datelike, NaiveDate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The random numbers of one subject.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    /// Opens the stream of a subject.
    pub(super) fn new(seed: u64, subject: &[&str]) -> Self {
        Self(ChaCha8Rng::seed_from_u64(hash(seed, subject, 0)))
    }

    /// Opens the stream of a subject on one day.
    pub(super) fn on(seed: u64, subject: &[&str], date: NaiveDate) -> Self {
        let day = date.num_days_from_ce().unsigned_abs();
        Self(ChaCha8Rng::seed_from_u64(hash(seed, subject, u64::from(day))))
    }

    /// Draws from 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// Draws evenly between two bounds.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws a whole number from 0 up to, not including, `bound`.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0.random_range(0..bound)
    }

    /// Tosses a coin that falls on `true` with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Draws a bell-shaped number of mean 0 and deviation 1, never beyond 3.5.
    pub(super) fn bell(&mut self) -> f64 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732_050_807_568_877_2
    }

    /// Picks one of a list that is not empty.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let bound = u32::try_from(list.len()).unwrap_or(u32::MAX);
        &list[self.below(bound) as usize]
    }
}

/// Makes the GUID of a named thing.
pub(super) fn guid(seed: u64, subject: &[&str]) -> String {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    for part in subject {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .as_hyphenated()
        .encode_lower(&mut Uuid::encode_buffer())
        .to_owned()
}

/// Mixes a seed and a name (FNV-1a, then a finalizer that spreads the bits).
fn hash(seed: u64, subject: &[&str], number: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    };
    for part in subject {
        part.bytes().for_each(&mut eat);
        eat(0);
    }
    seed.to_le_bytes().into_iter().for_each(&mut eat);
    number.to_le_bytes().into_iter().for_each(&mut eat);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_two_subjects_differ() {
        let mut first = Stream::new(7, &["store", "000101"]);
        let mut second = Stream::new(7, &["store", "000102"]);
        assert_ne!(first.unit(), second.unit());
    }

    #[test]
    fn a_stream_opened_twice_gives_the_same_numbers() {
        let date = NaiveDate::from_ymd_opt(2025, 11, 28).expect("a date");
        let draw = || Stream::on(7, &["sales"], date).below(1_000_000);
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_guid_is_a_version_4_one() {
        let guid = guid(7, &["a"]);
        assert_eq!(guid.len(), 36);
        assert_eq!(guid.as_bytes()[14], b'4');
    }
}
