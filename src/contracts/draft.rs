//! What the values of a column nobody described turn out to be.
//!
//! Every value is tried with the very functions that read it in a run, so that a
//! type which is proposed holds for all values that were seen.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow::array::{Array as _, AsArray as _, RecordBatch};

use super::contract::DateOrder;
use super::draft_number::Numbers;
use super::duration::duration;
use super::values;

/// Distinct values that are told apart; beyond, a column has "many".
const DISTINCT_LIMIT: usize = 20_000;
/// Rows kept for finding a key.
const SAMPLE_ROWS: usize = 10_000;

/// Takes all rows of a file and says what each column holds. Its memory does not
/// grow with the file.
#[derive(Debug)]
pub struct Observed {
    /// One for each column, from left to right.
    pub columns: Vec<Observation>,
    /// Rows seen.
    pub rows: u64,
    /// Hashes of the values of the first rows.
    pub(super) sample: Vec<Vec<u64>>,
}

/// What was seen in one column.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Its name in the file.
    pub name: String,
    /// Rows without a value.
    pub empty: u64,
    /// Rows with one.
    pub filled: u64,
    /// Words that are read as empty, by count.
    pub empty_words: BTreeMap<String, u64>,
    /// What broken formulas left.
    pub broken_formulas: u64,
    /// The longest value in characters.
    pub longest: usize,
    pub(super) characters: u64,
    /// The value of a column that has only one.
    pub(super) first: Option<String>,
    pub(super) fits: Fits,
    /// For the types that most values have: how many, and the first rows that have another.
    pub(super) dates: u64,
    pub(super) odd_rows: Vec<i64>,
    pub(super) numbers: Numbers,
    pub(super) timed: u64,
    pub(super) late_hours: u64,
    pub(super) mails: u64,
    pub(super) phones: u64,
    pub(super) person_names: u64,
    pub(super) only_digits_of_flags: bool,
    distinct: HashSet<u64>,
}

/// Types that every value so far has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fits {
    pub(super) store: bool,
    pub(super) boolean: bool,
    pub(super) integer: bool,
    pub(super) number: bool,
    pub(super) time: bool,
    pub(super) duration: bool,
    /// Without an order, month first, day first.
    pub(super) date: [bool; 3],
    pub(super) timestamp: [bool; 3],
}

/// The orders in which a date may be written; the first needs none.
pub(super) const ORDERS: [Option<DateOrder>; 3] = [None, Some(DateOrder::Mdy), Some(DateOrder::Dmy)];

impl Observed {
    /// Starts with the columns' names.
    pub fn new(names: &[String]) -> Self {
        let columns = names.iter().map(|name| Observation::new(name)).collect();
        Self { columns, rows: 0, sample: Vec::new() }
    }

    /// Takes a batch of raw rows: one text column each, in the order of the names.
    pub fn take(&mut self, raw: &RecordBatch) {
        let rows = raw.column(self.columns.len()).as_primitive::<arrow::datatypes::Int64Type>();
        for at in 0..raw.num_rows() {
            let mut hashes = (self.sample.len() < SAMPLE_ROWS).then(|| Vec::with_capacity(self.columns.len()));
            for (index, column) in self.columns.iter_mut().enumerate() {
                let texts = raw.column(index).as_string::<i32>();
                let text = if texts.is_valid(at) { texts.value(at).trim() } else { "" };
                let hash = column.take(text, rows.value(at));
                if let Some(hashes) = &mut hashes {
                    hashes.push(hash);
                }
            }
            self.sample.extend(hashes);
            self.rows += 1;
        }
    }
}

impl Observation {
    fn new(name: &str) -> Self {
        let fits = Fits {
            store: true,
            boolean: true,
            integer: true,
            number: true,
            time: true,
            duration: true,
            date: [true; 3],
            timestamp: [true; 3],
        };
        Self {
            name: name.to_owned(),
            empty: 0,
            filled: 0,
            empty_words: BTreeMap::new(),
            broken_formulas: 0,
            longest: 0,
            characters: 0,
            first: None,
            fits,
            dates: 0,
            odd_rows: Vec::new(),
            numbers: Numbers::default(),
            timed: 0,
            late_hours: 0,
            mails: 0,
            phones: 0,
            person_names: 0,
            only_digits_of_flags: true,
            distinct: HashSet::new(),
        }
    }

    /// Distinct values; `None` where there are too many to tell.
    pub fn distinct(&self) -> Option<usize> {
        (self.distinct.len() < DISTINCT_LIMIT).then_some(self.distinct.len())
    }

    fn take(&mut self, text: &str, row: i64) -> u64 {
        if values::is_null(text) {
            self.empty += 1;
            if !text.is_empty() {
                *self.empty_words.entry(text.to_owned()).or_insert(0) += 1;
            }
            return 0;
        }
        self.filled += 1;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if self.distinct.len() < DISTINCT_LIMIT {
            self.distinct.insert(hash);
        }
        if values::text(text).is_err() {
            // Such a row is refused whatever the column's type is.
            self.broken_formulas += 1;
            return hash;
        }
        if self.first.is_none() {
            self.first = Some(text.to_owned());
        }
        let characters = text.chars().count();
        self.longest = self.longest.max(characters);
        self.characters += characters as u64;
        let number = self.numbers.take(text);
        let date = self.try_types(text, number);
        self.dates += u64::from(date);
        self.look_for_people(text);
        // The first rows that differ from what the column mostly holds.
        if self.odd_rows.len() < 5 && !number && !date {
            self.odd_rows.push(row);
        }
        hash
    }

    /// Drops types that a value has not; answers whether it is a date in some order.
    fn try_types(&mut self, text: &str, number: bool) -> bool {
        let fits = &mut self.fits;
        fits.number &= number;
        fits.integer = fits.integer && values::integer(text).is_ok();
        fits.store = fits.store && values::store_id(text).is_ok_and(|id| id.len() == 6);
        fits.boolean = fits.boolean && values::boolean(text).is_ok();
        self.only_digits_of_flags &= matches!(text, "0" | "1");
        let clock = text.strip_prefix('T').unwrap_or(text);
        let hours = clock.split(':').next().and_then(|hours| hours.parse::<u32>().ok());
        // A workbook's length of time beyond a day, or below nothing, comes as `PT107H30M0S`.
        let long = text.trim_start_matches('-').starts_with("PT");
        let time = || clock.contains(':') && !clock.contains('T') && values::time(clock).is_ok();
        fits.time = fits.time && (long || time());
        fits.duration = fits.duration && fits.time && duration(if long { text } else { clock }).is_ok();
        self.late_hours += u64::from(fits.time && (long || hours.is_some_and(|hours| hours >= 24)));
        let (day, rest) = text.split_once(['T', ' ']).unwrap_or((text, ""));
        if !day.contains(['/', '-', '.']) || !day.contains(|c: char| c.is_ascii_digit()) {
            (fits.date, fits.timestamp) = ([false; 3], [false; 3]);
            return false;
        }
        let midnight = rest.chars().all(|c| matches!(c, '0' | ':' | '.'));
        self.timed += u64::from(!rest.is_empty());
        let mut any = false;
        for (at, order) in ORDERS.into_iter().enumerate() {
            let date = values::date(text, order).is_ok();
            any |= date;
            fits.date[at] &= date && midnight;
            fits.timestamp[at] = fits.timestamp[at] && date && values::timestamp(text, order).is_ok();
        }
        any
    }

    fn look_for_people(&mut self, text: &str) {
        let mail = text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !text.contains(char::is_whitespace));
        self.mails += u64::from(mail);
        let digits = text.chars().filter(char::is_ascii_digit).count();
        let signs = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '(' | ')' | '-' | ' ' | '.' | '/'));
        self.phones += u64::from(
            signs
                && (9..=15).contains(&digits)
                && (text.starts_with(['+', '(']) || text.matches(['-', ' ']).count() >= 2)
                && !self.fits.date.contains(&true)
                && !self.fits.timestamp.contains(&true),
        );
        let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let capitalised = |word: &&str| {
            let mut letters = word.chars();
            letters.next().is_some_and(char::is_uppercase)
                && word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-' | '.'))
        };
        let article = words.first().is_some_and(|word| matches!(*word, "The" | "A" | "An"));
        self.person_names += u64::from((2..=3).contains(&words.len()) && !article && words.iter().all(capitalised));
    }
}
