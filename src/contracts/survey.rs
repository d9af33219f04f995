//! Decides from all values of a column how its dates and numbers are written.
//!
//! A definition that says so itself needs no survey. Without it, a file is read
//! once, until [`undecided`] meets a value that can be read in two ways; then a
//! [`Survey`] goes through the whole file, and what it decides holds for every row.
//! What the values leave open is refused: a guess would be silent.

use std::collections::BTreeSet;

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use chrono::NaiveDate;

use super::contract::{Column, ColumnType, Contract, DateOrder, DecimalMark};
use super::values;

/// Distinct dates that are remembered; a file with more has long shown a 13th.
const DISTINCT: usize = 5000;
const SAMPLES: usize = 3;

/// A column whose values can be read in two ways.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` can be read in two ways: {samples}; {why}")]
pub struct Undecidable {
    /// The column, as files call it.
    pub column: String,
    /// Values that leave it open, or contradict each other.
    pub samples: String,
    /// Which, in words.
    pub why: &'static str,
    /// The option that would say it, e.g. `date_order`.
    pub option: &'static str,
}

/// Whether raw rows hold a value that only all values together can explain.
pub fn undecided(contract: &Contract, raw: &RecordBatch) -> bool {
    contract.columns.iter().enumerate().any(|(index, column)| {
        let texts = raw.column(index).as_string::<i32>();
        match kind_of(column) {
            // Most dates are year first, which four digits say without looking further.
            Some(Kind::Dates) => texts.iter().flatten().any(|text| {
                let year_first = text.len() >= 4 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
                !year_first && order_parts(text.trim()).is_some()
            }),
            Some(Kind::Numbers { scale }) if texts.value_data().contains(&b',') => {
                present(texts).any(|text| match evidence(text) {
                    Evidence::Comma => true,
                    Evidence::Either => scale > 2 && text.contains(','),
                    Evidence::Point | Evidence::None => false,
                })
            }
            _ => false,
        }
    })
}

/// What all values of a file's columns say about how they are written.
#[derive(Debug)]
pub struct Survey {
    columns: Vec<(usize, Seen)>,
}

#[derive(Debug)]
enum Seen {
    Dates(Dates),
    Numbers(Numbers),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dates,
    Numbers { scale: i8 },
}

/// What a column leaves to a survey, if anything.
fn kind_of(column: &Column) -> Option<Kind> {
    match column.column_type {
        ColumnType::Date | ColumnType::Timestamp if column.date_order.is_none() && column.format.is_none() => {
            Some(Kind::Dates)
        }
        ColumnType::Decimal { scale, .. } if column.decimal_mark.is_none() => Some(Kind::Numbers { scale }),
        // A whole number has no fraction, so that its signs can only group.
        _ => None,
    }
}

impl Survey {
    /// Starts one of the columns that a contract leaves open.
    pub fn of(contract: &Contract) -> Self {
        let columns = contract.columns.iter().enumerate().filter_map(|(index, column)| {
            let seen = match kind_of(column)? {
                Kind::Dates => Seen::Dates(Dates::default()),
                Kind::Numbers { .. } => Seen::Numbers(Numbers::default()),
            };
            Some((index, seen))
        });
        Self { columns: columns.collect() }
    }

    /// Takes raw rows (columns of [`Contract::raw_schema`]).
    pub fn take(&mut self, raw: &RecordBatch) {
        for (index, seen) in &mut self.columns {
            for text in present(raw.column(*index).as_string::<i32>()) {
                match seen {
                    Seen::Dates(dates) => dates.take(text),
                    Seen::Numbers(numbers) => numbers.take(text),
                }
            }
        }
    }

    /// Answers with the contract that says it all, and with what was decided, in words.
    ///
    /// # Errors
    /// Every column whose values leave it open.
    pub fn decide(&self, contract: &Contract) -> Result<(Contract, Vec<String>), Vec<Undecidable>> {
        let mut decided = contract.clone();
        let (mut notes, mut open) = (Vec::new(), Vec::new());
        for (index, seen) in &self.columns {
            let column = &mut decided.columns[*index];
            let name = column.names().first().map(|name| (*name).to_owned()).unwrap_or_default();
            let fail = |(samples, why): (String, &'static str), option| {
                let samples = if column.personal { "its values are personal".to_owned() } else { samples };
                Undecidable { column: name.clone(), samples, why, option }
            };
            match seen {
                Seen::Dates(dates) => match dates.decide() {
                    Ok(None) => {}
                    Ok(Some((order, why))) => {
                        let word = if order == DateOrder::Mdy { "mdy" } else { "dmy" };
                        let why = if column.personal { "its values can be nothing else".to_owned() } else { why };
                        notes.push(format!("dates of `{name}` are read as {word}: {why}"));
                        column.date_order = Some(order);
                    }
                    Err(why) => open.push(fail(why, "date_order")),
                },
                Seen::Numbers(numbers) => {
                    let scale = match column.column_type {
                        ColumnType::Decimal { scale, .. } => scale,
                        _ => 0,
                    };
                    match numbers.decide(scale) {
                        Ok(Some(DecimalMark::Comma)) => {
                            notes.push(format!("numbers of `{name}` are read with a decimal comma"));
                            column.decimal_mark = Some(DecimalMark::Comma);
                        }
                        Ok(_) => {}
                        Err(why) => open.push(fail(why, "decimal_mark")),
                    }
                }
            }
        }
        if open.is_empty() { Ok((decided, notes)) } else { Err(open) }
    }
}

fn present(texts: &StringArray) -> impl Iterator<Item = &str> {
    texts.iter().flatten().map(str::trim).filter(|text| !values::is_null(text))
}

/// The three numbers of a date that does not begin with its year.
fn order_parts(text: &str) -> Option<[u32; 3]> {
    let bytes = text.as_bytes();
    if bytes.len() >= 4 && bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let head = text.split(['T', ' ']).next()?;
    let mut parts = head.split(['/', '-', '.']);
    let mut next = || parts.next().filter(|part| (1..=4).contains(&part.len())).and_then(|part| part.parse().ok());
    let numbers = [next()?, next()?, next()?];
    parts.next().is_none().then_some(numbers)
}

#[derive(Debug, Default)]
struct Dates {
    first_over_12: Option<String>,
    second_over_12: Option<String>,
    /// Distinct values, as they stand.
    distinct: BTreeSet<[u32; 3]>,
    samples: Vec<String>,
}

type Open = (String, &'static str);

impl Dates {
    fn take(&mut self, text: &str) {
        let Some(parts) = order_parts(text) else { return };
        let [first, second, _] = parts;
        let (may_be_day, may_be_month) = (|number| (1..=31).contains(&number), |number| (1..=12).contains(&number));
        let (day_first, month_first) =
            (may_be_day(first) && may_be_month(second), may_be_month(first) && may_be_day(second));
        match (day_first, month_first) {
            // A typing error such as 13/45/25 is a day in neither order, and speaks for none.
            (false, false) => return,
            (true, true) => {}
            (true, false) => _ = self.first_over_12.get_or_insert_with(|| text.to_owned()),
            (false, true) => _ = self.second_over_12.get_or_insert_with(|| text.to_owned()),
        }
        if self.distinct.len() < DISTINCT && self.distinct.insert(parts) && self.samples.len() < SAMPLES {
            self.samples.push(text.to_owned());
        }
    }

    fn decide(&self) -> Result<Option<(DateOrder, String)>, Open> {
        let samples = || self.samples.iter().map(|sample| format!("`{sample}`")).collect::<Vec<_>>().join(", ");
        match (&self.first_over_12, &self.second_over_12) {
            (Some(first), Some(second)) => {
                Err((format!("`{first}`, `{second}`"), "some have the day first, some the month"))
            }
            (None, Some(sample)) => Ok(Some((DateOrder::Mdy, format!("`{sample}` can be nothing else")))),
            (Some(_), None) if self.year_may_come_first() => {
                Err((samples(), "the first number may be a year of two digits"))
            }
            (Some(sample), None) => Ok(Some((DateOrder::Dmy, format!("`{sample}` can be nothing else")))),
            (None, None) if self.distinct.is_empty() => Ok(None),
            (None, None) if self.distinct.iter().all(|[first, second, _]| first == second) => {
                Ok(Some((DateOrder::Mdy, "either order gives the same days".to_owned())))
            }
            (None, None) => match (self.unbroken(DateOrder::Mdy), self.unbroken(DateOrder::Dmy)) {
                (true, false) => Ok(Some((DateOrder::Mdy, "only so are they days on end".to_owned()))),
                (false, true) => Ok(Some((DateOrder::Dmy, "only so are they days on end".to_owned()))),
                _ => Err((samples(), "no value tells the day from the month")),
            },
        }
    }

    /// Whether the last number changes like a day and the first does not.
    fn year_may_come_first(&self) -> bool {
        let distinct = |at: usize| self.distinct.iter().map(|parts| parts[at]).collect::<BTreeSet<_>>().len();
        self.distinct.iter().all(|[_, second, third]| *second <= 12 && *third <= 31) && distinct(2) >= distinct(0)
    }

    /// Whether the dates are at least five days without a gap.
    fn unbroken(&self, order: DateOrder) -> bool {
        let days: Option<BTreeSet<NaiveDate>> = self
            .distinct
            .iter()
            .map(|[first, second, year]| {
                let (month, day) = if order == DateOrder::Mdy { (first, second) } else { (second, first) };
                let year = if *year < 100 { year + 2000 } else { *year };
                NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, *month, *day)
            })
            .collect();
        days.is_some_and(|days| match (days.first(), days.last()) {
            (Some(first), Some(last)) => {
                days.len() >= 5 && last.signed_duration_since(*first).num_days() + 1 == days.len() as i64
            }
            _ => false,
        })
    }
}

/// What one number says about its decimal mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    None,
    Point,
    Comma,
    /// One sign with three digits behind it: a group, or a fraction.
    Either,
}

fn evidence(text: &str) -> Evidence {
    let body = text.trim_matches(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    let body = body.split(['e', 'E']).next().unwrap_or(body);
    let (points, commas) = (body.matches('.').count(), body.matches(',').count());
    let (mark, other, count) = match (points, commas) {
        (0, 0) => return Evidence::None,
        (_, 0) => (Evidence::Point, Evidence::Comma, points),
        (0, _) => (Evidence::Comma, Evidence::Point, commas),
        _ if body.rfind('.') > body.rfind(',') => return Evidence::Point,
        _ => return Evidence::Comma,
    };
    if count > 1 {
        return other;
    }
    let at = body.find(['.', ',']).unwrap_or(0);
    let (whole, fraction) = (&body[..at], &body[at + 1..]);
    let may_group = fraction.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
    if may_group { Evidence::Either } else { mark }
}

#[derive(Debug, Default)]
struct Numbers {
    point: Option<String>,
    comma: Option<String>,
    /// A lone comma, and a lone point, with three digits behind.
    either_comma: Option<String>,
    either_point: Option<String>,
}

impl Numbers {
    fn take(&mut self, text: &str) {
        let slot = match evidence(text) {
            Evidence::None => return,
            Evidence::Point => &mut self.point,
            Evidence::Comma => &mut self.comma,
            Evidence::Either if text.contains(',') => &mut self.either_comma,
            Evidence::Either => &mut self.either_point,
        };
        if slot.is_none() {
            *slot = Some(text.to_owned());
        }
    }

    fn decide(&self, scale: i8) -> Result<Option<DecimalMark>, Open> {
        let open = [&self.either_comma, &self.either_point];
        let samples = || {
            let all = [&self.point, &self.comma, &self.either_comma, &self.either_point];
            all.into_iter().flatten().map(|sample| format!("`{sample}`")).collect::<Vec<_>>().join(", ")
        };
        match (&self.point, &self.comma) {
            (None, Some(_)) => Ok(Some(DecimalMark::Comma)),
            (Some(_), None) => Ok(Some(DecimalMark::Point)),
            // Each value says itself which mark it uses, as where numbers and texts share a workbook's column.
            (Some(_), Some(_)) if open.iter().all(|sample| sample.is_none()) => Ok(None),
            (Some(_), Some(_)) => Err((samples(), "some have a decimal point, some a decimal comma")),
            // Three digits behind the mark are more than such a column has: they are a group.
            (None, None) if self.either_comma.is_none() || scale < 3 => Ok(Some(DecimalMark::Point)),
            (None, None) => Err((samples(), "the sign may group thousands or begin the fraction")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    /// What is decided of a column with these values.
    fn decided(kind: &str, batches: &[&[&str]]) -> Result<Column, Undecidable> {
        let contract: Contract =
            toml::from_str(&format!("columns = [{{ name = \"it\", from = \"It\", type = \"{kind}\" }}]")).unwrap();
        let mut survey = Survey::of(&contract);
        for texts in batches {
            survey.take(&raw(&contract, texts));
        }
        let outcome = survey.decide(&contract);
        outcome.map(|(contract, _)| contract.columns[0].clone()).map_err(|mut open| open.remove(0))
    }

    fn raw(contract: &Contract, texts: &[&str]) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(2..2 + texts.len() as i64));
        RecordBatch::try_new(contract.raw_schema(), vec![column, rows]).unwrap()
    }

    fn order(batches: &[&[&str]]) -> Result<Option<DateOrder>, &'static str> {
        decided("date", batches).map(|column| column.date_order).map_err(|open| open.why)
    }

    #[test]
    fn one_day_past_the_twelfth_decides_for_the_whole_column() {
        assert_eq!(order(&[&["1/2/25", "3/4/25"], &["11/28/25"]]), Ok(Some(DateOrder::Mdy)));
        assert_eq!(order(&[&["1.2.2025", "3.4.2025"], &["28.11.2025 08:00"]]), Ok(Some(DateOrder::Dmy)));
        assert_eq!(order(&[&["2025-11-28", "-", ""]]), Ok(None));
        assert_eq!(order(&[&["11/11/25"]]), Ok(Some(DateOrder::Mdy)));
        assert_eq!(order(&[&["13/45/25", "99/1/25", "1/0/25", "11/28/25"]]), Ok(Some(DateOrder::Mdy)));
    }

    #[test]
    fn days_on_end_decide_where_no_day_is_past_the_twelfth() {
        assert_eq!(order(&[&["11/1/25", "11/2/25", "11/3/25", "11/4/25", "11/5/25"]]), Ok(Some(DateOrder::Mdy)));
        assert_eq!(order(&[&["1.11.25", "2.11.25", "3.11.25", "4.11.25", "5.11.25"]]), Ok(Some(DateOrder::Dmy)));
    }

    #[test]
    fn what_the_values_leave_open_is_refused_with_samples() {
        assert_eq!(order(&[&["1/2/25", "3/4/25"]]), Err("no value tells the day from the month"));
        assert_eq!(order(&[&["28/11/25", "11/28/25"]]), Err("some have the day first, some the month"));
        assert_eq!(order(&[&["25/11/01", "25/11/02"]]), Err("the first number may be a year of two digits"));
        let open = decided("date", &[&["1/2/25", "3/4/25"]]).unwrap_err();
        assert_eq!((open.column.as_str(), open.option), ("It", "date_order"));
        assert_eq!(open.samples, "`1/2/25`, `3/4/25`");
    }

    #[test]
    fn values_of_a_personal_column_are_never_shown() {
        let contract: Contract =
            toml::from_str(r#"columns = [{ name = "born_on", type = "date", personal = true }]"#).unwrap();
        let said = |texts: &[&str]| {
            let mut survey = Survey::of(&contract);
            survey.take(&raw(&contract, texts));
            match survey.decide(&contract) {
                Ok((_, notes)) => notes.join("\n"),
                Err(open) => open[0].to_string(),
            }
        };
        assert_eq!(said(&["11/28/1990"]), "dates of `born_on` are read as mdy: its values can be nothing else");
        assert!(!said(&["1/2/1990", "3/4/1990"]).contains("1990"));
    }

    #[test]
    fn the_decimal_mark_is_the_columns_and_not_the_values() {
        let mark = |kind: &str, texts: &[&str]| {
            decided(kind, &[texts]).map(|column| column.decimal_mark).map_err(|open| open.option)
        };
        assert_eq!(mark("decimal(12,2)", &["1.234", "12,50"]), Ok(Some(DecimalMark::Comma)));
        assert_eq!(mark("decimal(12,2)", &["1.234.567", "12"]), Ok(Some(DecimalMark::Comma)));
        assert_eq!(mark("decimal(12,2)", &["1,234", "12.50"]), Ok(None));
        assert_eq!(mark("decimal(12,2)", &["1,234"]), Ok(None));
        assert_eq!(mark("decimal(12,3)", &["1,234"]), Err("decimal_mark"));
        assert_eq!(mark("decimal(12,2)", &["1.234,50", "12.5"]), Ok(None));
        assert_eq!(mark("decimal(12,2)", &["12,50", "12.5", "1.234"]), Err("decimal_mark"));
    }

    #[test]
    fn a_survey_is_asked_for_only_where_values_can_be_read_in_two_ways() {
        let contract: Contract = toml::from_str(
            r#"columns = [{ name = "day", type = "date" }, { name = "amount", type = "decimal(12,2)" }]"#,
        )
        .unwrap();
        let asks = |day: &str, amount: &str| {
            let columns = [day, amount].map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef);
            let rows: ArrayRef = Arc::new(Int64Array::from(vec![2]));
            let raw = RecordBatch::try_new(contract.raw_schema(), columns.into_iter().chain([rows]).collect());
            undecided(&contract, &raw.unwrap())
        };
        assert!(!asks("2025-11-28", "$1,234.50"));
        assert!(!asks("2025-11-28T08:00:00", "1,234"));
        assert!(!asks("soon", "12.5"));
        assert!(asks("11/28/25", "1"));
        assert!(asks("2025-11-28", "12,50"));
    }
}
