//! A panel as a table: `series,date,value` and columns that say what the days were.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use chrono::NaiveDate;

use super::grain::Grain;
use super::types::{DayState, Series};
use crate::calendar::{Event, Kind};

/// Why a table is no panel.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is no CSV.
    #[error("failed to read line {line} of the panel")]
    Read {
        /// Where, from 1.
        line: u64,
        /// What the reader says.
        source: csv::Error,
    },
    /// A column that must be there is not.
    #[error("the panel has no column `{column}`")]
    Column {
        /// Its name.
        column: &'static str,
    },
    /// A cell that is no number or date.
    #[error("line {line} of the panel: `{value}` in column `{column}` is no {wanted}")]
    Cell {
        /// Where, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// Two rows for one step, where steps are longer than days.
    #[error("`{series}` has more than one row in the {grain} of {date}")]
    Crowded {
        /// The series.
        series: String,
        /// The step.
        grain: Grain,
        /// Its first day.
        date: NaiveDate,
    },
    /// Two rows for one day.
    #[error("line {line} of the panel: `{series}` has {date} twice")]
    Twice {
        /// Where, from 1.
        line: u64,
        /// The series.
        series: String,
        /// The day.
        date: NaiveDate,
    },
    /// A header and nothing else.
    #[error("the panel has no rows")]
    Empty,
}

impl TableError {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("the panel is CSV in UTF-8, with commas and a header"),
            Self::Column { .. } => Some("name the columns `series`, `date` and `value`, in any order"),
            Self::Cell { .. } => {
                Some("dates are 2025-11-29, numbers 1234.5; leave a cell empty where nothing is known")
            }
            Self::Crowded { .. } => Some("add the rows up, or let the panel be one of days"),
            Self::Twice { .. } => Some("add the rows up, or give the parts names of their own"),
            Self::Empty => None,
        }
    }
}

/// What a column says of its day.
#[derive(Debug, Clone, PartialEq)]
enum Column {
    Series,
    Date,
    Value,
    Group,
    Holiday,
    Promotion,
    School,
    Closed,
    Open,
    State,
    KnownOn,
    Regressor(String),
}

impl Column {
    fn of(name: &str) -> Self {
        match name.trim().to_lowercase().as_str() {
            "series" | "unique_id" | "id" => Self::Series,
            "date" | "ds" | "day" => Self::Date,
            "value" | "y" => Self::Value,
            "group" | "type" => Self::Group,
            "holiday" | "stateholiday" => Self::Holiday,
            "promotion" | "promo" => Self::Promotion,
            "school" | "schoolholiday" => Self::School,
            "closed" | "is_closed" => Self::Closed,
            "open" | "is_open" => Self::Open,
            "state" => Self::State,
            "known_on" | "known_at" => Self::KnownOn,
            other => Self::Regressor(other.to_owned()),
        }
    }
}

/// A panel as it was read.
#[derive(Debug)]
pub struct Table {
    /// The series, by name.
    pub series: Vec<Series>,
    /// How long their steps are.
    pub grain: Grain,
}

impl Table {
    /// The last day of the last step that any series has a value of.
    pub fn last_day(&self) -> Option<NaiveDate> {
        let end = |one: &Series| self.grain.end_of(self.grain.after(one.first, one.values.len().saturating_sub(1)));
        self.series.iter().map(end).max()
    }
}

#[derive(Debug, Default)]
struct Reading {
    group: String,
    days: BTreeMap<NaiveDate, (f64, DayState)>,
    events: Vec<Event>,
    /// By column: days with it in a row make one event.
    open: BTreeMap<usize, Event>,
}

/// Reads a panel: one row a series and day, in any order of rows and columns. Values may be
/// empty; so may whole days be missing. Rows behind the last value say what is known of days to come.
///
/// | column | meaning |
/// |---|---|
/// | `series`, `date`, `value` | required |
/// | `group` | series of one group share effects; without it, what follows the last `_` of the series' name, or all |
/// | `holiday` | a name; empty or 0 for none |
/// | `promotion` (`promo`) | empty or 0 for none; a number is its strength, a word its name |
/// | `school`, `closed`, `open` | 1 or 0 |
/// | `state` | `observed`, `missing`, `closed`, `closed_unplanned`, `partial` |
/// | `known_on` (`known_at`) | the row's holiday, promotion, school, closure and regressors were known on the evening of that day, and not before |
/// | any other | a number known in advance, divided by its standard deviation over the panel |
///
/// Rows a week or a month apart are steps of that length, unless `grain` says something else; a
/// row's date is any day of its step. What is known of the days of a longer step is not used.
///
/// # Errors
/// When it is no such table; the line is named.
pub fn read_table(input: impl Read, grain: Option<Grain>) -> Result<Table, TableError> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(input);
    let failed = |line: u64| move |source: csv::Error| TableError::Read { line, source };
    let columns: Vec<(String, Column)> =
        reader.headers().map_err(failed(1))?.iter().map(|name| (name.to_owned(), Column::of(name))).collect();
    let find = |wanted: Column, column: &'static str| {
        columns.iter().position(|(_, found)| *found == wanted).ok_or(TableError::Column { column })
    };
    let (series_at, date_at, value_at) =
        (find(Column::Series, "series")?, find(Column::Date, "date")?, find(Column::Value, "value")?);
    let known_at = columns.iter().position(|(_, column)| *column == Column::KnownOn);
    let mut readings: BTreeMap<String, Reading> = BTreeMap::new();
    let mut spreads: BTreeMap<usize, (f64, f64, f64)> = BTreeMap::new();
    let mut record = csv::StringRecord::new();
    let mut line = 1;
    while reader.read_record(&mut record).map_err(failed(line + 1))? {
        line += 1;
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let wrong = |at: usize, wanted| TableError::Cell {
            line,
            column: columns[at].0.clone(),
            value: cell(at).to_owned(),
            wanted,
        };
        let day = |at: usize| {
            let text = cell(at).get(..10).unwrap_or(cell(at));
            text.parse::<NaiveDate>().map_err(|_| wrong(at, "date"))
        };
        let number = |at: usize| -> Result<Option<f64>, TableError> {
            match cell(at) {
                "" => Ok(None),
                text => text
                    .parse()
                    .ok()
                    .filter(|value: &f64| value.is_finite())
                    .map(Some)
                    .ok_or_else(|| wrong(at, "number")),
            }
        };
        let date = day(date_at)?;
        let known_on = known_at.filter(|at| !cell(*at).is_empty()).map(day).transpose()?;
        let name = cell(series_at);
        let reading = match readings.get_mut(name) {
            Some(reading) => reading,
            None => readings.entry(name.to_owned()).or_default(),
        };
        let mut state = DayState::Observed;
        for (at, (_, column)) in columns.iter().enumerate() {
            let (kind, name, value) = match column {
                Column::Group => {
                    cell(at).clone_into(&mut reading.group);
                    continue;
                }
                Column::State => {
                    state = state_of(cell(at)).ok_or_else(|| wrong(at, "state"))?;
                    continue;
                }
                Column::Holiday if !is_none(cell(at)) => (Kind::Holiday, cell(at), 1.0),
                Column::Promotion if !is_none(cell(at)) => match cell(at).parse::<f64>() {
                    Ok(value) => (Kind::Promotion, "", value),
                    Err(_) => (Kind::Promotion, cell(at), 1.0),
                },
                Column::School if !is_none(cell(at)) => (Kind::School, "", 1.0),
                Column::Closed if !is_none(cell(at)) => (Kind::Closure, "", 1.0),
                Column::Open if is_none(cell(at)) && !cell(at).is_empty() => (Kind::Closure, "", 1.0),
                Column::Regressor(name) => match number(at)? {
                    Some(value) => {
                        let sums = spreads.entry(at).or_default();
                        *sums = (sums.0 + 1.0, sums.1 + value, sums.2 + value * value);
                        if value == 0.0 {
                            continue;
                        }
                        (Kind::Regressor, name.as_str(), value)
                    }
                    None => continue,
                },
                _ => continue,
            };
            reading.add(at, Event { value, known_on, ..Event::on(kind, name, date) });
        }
        let value = number(value_at)?.unwrap_or(f64::NAN);
        if reading.days.insert(date, (value, state)).is_some() {
            return Err(TableError::Twice { line, series: name.to_owned(), date });
        }
    }
    if readings.is_empty() {
        return Err(TableError::Empty);
    }
    let spread = |(count, sum, square): (f64, f64, f64)| (square / count - (sum / count).powi(2)).max(0.0).sqrt();
    let scale: BTreeMap<String, f64> = spreads
        .into_iter()
        .map(|(at, sums)| {
            (columns[at].0.trim().to_lowercase(), Some(spread(sums)).filter(|one| *one > 0.0).unwrap_or(1.0))
        })
        .collect();
    let dates: Vec<Vec<NaiveDate>> = readings.values().map(|reading| reading.days.keys().copied().collect()).collect();
    let grain = grain.unwrap_or_else(|| Grain::of(&dates.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    let series = readings.into_iter().map(|(id, reading)| reading.finish(id, grain, &scale));
    Ok(Table { series: series.collect::<Result<_, _>>()?, grain })
}

fn is_none(text: &str) -> bool {
    matches!(text, "" | "0" | "0.0" | "false" | "False" | "FALSE" | "none" | "None")
}

fn state_of(text: &str) -> Option<DayState> {
    Some(match text {
        "" | "observed" => DayState::Observed,
        "missing" => DayState::Missing,
        "closed" => DayState::Closed,
        "closed_unplanned" => DayState::ClosedUnplanned,
        "partial" => DayState::Partial,
        "outlier" => DayState::Outlier,
        _ => return None,
    })
}

impl Reading {
    /// Adds a day's event, to yesterday's where it goes on.
    fn add(&mut self, column: usize, event: Event) {
        if let Some(open) = self.open.get_mut(&column) {
            let goes_on = open.last.succ_opt() == Some(event.first) && open.kind != Kind::Holiday;
            if goes_on && (&open.name, open.value, open.known_on) == (&event.name, event.value, event.known_on) {
                open.last = event.last;
                return;
            }
        }
        self.events.extend(self.open.insert(column, event));
    }

    fn finish(mut self, id: String, grain: Grain, scale: &BTreeMap<String, f64>) -> Result<Series, TableError> {
        self.events.extend(std::mem::take(&mut self.open).into_values());
        for event in self.events.iter_mut().filter(|event| event.kind == Kind::Regressor) {
            event.value /= scale.get(&event.name).copied().unwrap_or(1.0);
        }
        let known = |(_, (value, _)): &(&NaiveDate, &(f64, DayState))| !value.is_nan();
        let first = self.days.iter().find(known).or_else(|| self.days.iter().next()).map(|(date, _)| *date);
        let last = self.days.iter().rev().find(known).map(|(date, _)| *date);
        let (first, last) = (first.unwrap_or_default(), last.or(first).unwrap_or_default());
        let length = grain.steps(first, last).max(0) as usize + 1;
        let mut steps = vec![None; length];
        for (date, told) in self.days.range(first..=last) {
            if steps[grain.steps(first, *date) as usize].replace(*told).is_some() {
                return Err(TableError::Crowded { series: id, grain, date: grain.start_of(*date) });
            }
        }
        let (values, states) = steps.into_iter().map(|step| step.unwrap_or((f64::NAN, DayState::Observed))).unzip();
        if grain != Grain::Day {
            self.events.clear();
        }
        let group = match (self.group.is_empty(), id.rsplit_once('_')) {
            (false, _) => self.group,
            (true, Some((_, kind))) => kind.to_owned(),
            (true, None) => String::new(),
        };
        Ok(Series { states, calendar: Arc::from([]), events: self.events, ..Series::new(&id, &group, first, values) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_known_by_their_names_and_days_in_a_row_are_one_event() {
        let text = "date,series,value,promo,holiday,open,known_at,price\n\
                    2025-06-01,a_sales,10,0,,1,,2\n2025-06-02,a_sales,,1,feast,1,,4\n\
                    2025-06-03,a_sales,12.5,1,,1,,2\n2025-06-05,a_sales,0,0,,0,,4\n2025-06-06,a_sales,,big sale,,1,2025-06-05,\n";
        let series = read_table(text.as_bytes(), None).unwrap().series;
        let one = &series[0];
        assert_eq!((one.id.as_str(), one.group.as_str(), series.len()), ("a_sales", "sales", 1));
        assert_eq!(one.values.len(), 5, "days behind the last value are no history");
        assert!(one.values[1].is_nan() && one.values[3].is_nan());
        let shown: Vec<String> = one
            .events
            .iter()
            .filter(|event| event.kind != Kind::Regressor)
            .map(|event| {
                format!("{:?} {} {}..{} {:?}", event.kind, event.name, event.first, event.last, event.known_on)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Promotion  2025-06-02..2025-06-03 None",
                "Promotion big sale 2025-06-06..2025-06-06 Some(2025-06-05)",
                "Holiday feast 2025-06-02..2025-06-02 None",
                "Closure  2025-06-05..2025-06-05 None",
            ]
        );
        // 2, 4, 2, 4 have a standard deviation of 1.
        let prices: Vec<f64> =
            one.events.iter().filter(|event| event.kind == Kind::Regressor).map(|event| event.value).collect();
        assert_eq!(prices.iter().sum::<f64>(), 12.0);
    }

    #[test]
    fn rows_of_weeks_are_steps_of_weeks() {
        let mut text = "series,date,value,holiday\n".to_owned();
        for week in (0..12).filter(|week| *week != 5) {
            let date = NaiveDate::from_ymd_opt(2025, 1, 5).unwrap() + chrono::Days::new(7 * week);
            text.push_str(&format!("a,{date},{week},feast\n"));
        }
        let read = |grain| read_table(text.as_bytes(), grain);
        let table = read(None).unwrap();
        assert_eq!(table.grain, Grain::Week(chrono::Weekday::Sun));
        assert_eq!(table.last_day().unwrap().to_string(), "2025-03-29");
        let one = &table.series[0];
        assert!(one.values.len() == 12 && one.values[5].is_nan() && one.values[6] == 6.0 && one.events.is_empty());
        let days = read(Some(Grain::Day)).unwrap();
        assert_eq!((days.series[0].values.len(), days.series[0].events.len()), (78, 11));
        assert_eq!(
            read(Some(Grain::Month)).unwrap_err().to_string(),
            "`a` has more than one row in the month of 2025-01-01"
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let read = |text: &str| read_table(text.as_bytes(), None).unwrap_err().to_string();
        assert_eq!(read("series,date\na,2025-01-01\n"), "the panel has no column `value`");
        assert_eq!(read("series,date,value\n"), "the panel has no rows");
        assert_eq!(
            read("series,date,value\na,2025-01-01,1\na,2025-01-02,x\n"),
            "line 3 of the panel: `x` in column `value` is no number"
        );
        assert_eq!(
            read("series,date,value\na,01/02/25,1\n"),
            "line 2 of the panel: `01/02/25` in column `date` is no date"
        );
        assert_eq!(
            read("series,date,value\na,2025-01-01,1\na,2025-01-01,2\n"),
            "line 3 of the panel: `a` has 2025-01-01 twice"
        );
    }
}
