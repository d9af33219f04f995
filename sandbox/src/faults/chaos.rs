//! Many faults at once, by a seed or by the words of a command line.

use rand::{Rng as _, SeedableRng as _};

use super::catalogue::{CATALOGUE, Unknown};
use super::script::{Faults, When};

/// Faults that no client can come through without a person: chance leaves them out.
/// By id and form.
const FINAL: &[(&str, usize)] = &[
    ("T1", 0),
    ("T1", 1),
    ("G1", 1),
    ("G15", 4),
    ("G21", 1),
    ("G21", 2),
    ("G12", 0),
    ("D12", 1),
    ("D12", 2),
    ("S1", 1),
    ("S1", 2),
    ("S1", 3),
];

impl Faults {
    /// Plays up to so many faults of the check list at once, chosen by a seed,
    /// each striking by chance and not for ever. Names what it plays.
    pub fn play_chaos(&self, seed: u64, most: usize) -> Vec<String> {
        let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut choices: Vec<(&str, usize)> = Vec::new();
        for entry in CATALOGUE {
            let forms =
                (0..entry.forms()).filter(|form| !entry.is_nature(*form) && !FINAL.contains(&(entry.id, *form)));
            choices.extend(forms.map(|form| (entry.id, form)));
        }
        let mut played = Vec::new();
        for _ in 0..chance.random_range(2..=most.max(2)) {
            let (id, form) = choices.swap_remove(chance.random_range(0..choices.len()));
            let (seed, permille) = (chance.random(), chance.random_range(50..400));
            let when = When::Chance { seed, permille, limit: chance.random_range(1..4) };
            // Every choice is one of the list.
            if self.play_form(id, form, when).is_ok() {
                played.push(format!("{id}.{} {permille}/1000", form + 1));
            }
        }
        played
    }

    /// Plays a fault as a command line words it: `G5` (always), `G5.2` (its second form),
    /// `T6:every=20`, `G11:nth=3`, `T2:next=2`, `D6:permille=50`, `D6:permille=50,seed=7`.
    ///
    /// # Errors
    /// When the fault or the words behind it are not known.
    pub fn play_words(&self, words: &str) -> Result<(), Unknown> {
        let unknown = || Unknown(words.to_owned());
        let (name, options) = words.split_once(':').unwrap_or((words, ""));
        let (id, form) = match name.split_once('.') {
            Some((id, form)) => {
                (id, form.parse::<usize>().ok().and_then(|form| form.checked_sub(1)).ok_or_else(unknown)?)
            }
            None => (name, 0),
        };
        let (mut when, mut chance_seed) = (When::Every, 0);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').ok_or_else(unknown)?;
            let number: u32 = value.parse().map_err(|_| unknown())?;
            match key {
                "every" => when = When::OneIn(number),
                "nth" => when = When::Nth(number),
                "next" => when = When::Next(number),
                "permille" => when = When::Chance { seed: 0, permille: number, limit: u32::MAX },
                "seed" => chance_seed = number.into(),
                _ => return Err(unknown()),
            }
        }
        if let When::Chance { seed, .. } = &mut when {
            *seed = chance_seed;
        }
        self.play_form(id, form, when).map(|_| ()).map_err(|_| unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_plays_the_same_faults_and_another_seed_others() {
        assert_eq!(Faults::new().play_chaos(7, 6), Faults::new().play_chaos(7, 6));
        assert_ne!(Faults::new().play_chaos(7, 6), Faults::new().play_chaos(8, 6));
        assert!(Faults::new().play_chaos(7, 6).len() >= 2);
    }

    #[test]
    fn what_is_left_to_a_person_stands_in_the_list() {
        for (id, form) in FINAL {
            assert!(CATALOGUE.iter().any(|entry| entry.id == *id && *form < entry.forms()), "{id}.{form}");
        }
    }

    #[test]
    fn the_words_of_a_command_line_are_understood_or_refused() {
        for words in ["G5", "G5.3", "T6:every=20", "g11:nth=3", "D6:permille=50,seed=7"] {
            assert_eq!(Faults::new().play_words(words), Ok(()), "{words}");
        }
        for words in ["G99", "G5.4", "G5.0", "T6:often", "T6:every=x", "T6:weekly=2"] {
            assert_eq!(Faults::new().play_words(words), Err(Unknown(words.to_owned())));
        }
    }
}
