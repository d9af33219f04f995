//! Tables of holidays: which there are, where, by which rule.

use chrono::{Datelike as _, Days, NaiveDate, Weekday};
use serde::Deserialize;

use super::event::{Event, Kind};
use super::rule::Rule;

/// Tables that come with the program, by country.
const BUILT_IN: [(&str, &str); 4] = [
    ("ca", include_str!("../../../config/holidays/ca.toml")),
    ("de", include_str!("../../../config/holidays/de.toml")),
    ("gb", include_str!("../../../config/holidays/gb.toml")),
    ("us", include_str!("../../../config/holidays/us.toml")),
];

/// Why a table of holidays cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no TOML, or has other keys.
    #[error("failed to read the table of holidays")]
    Read(#[source] Box<toml::de::Error>),
    /// A rule in words that nobody knows.
    #[error("holiday `{name}` has the rule `{rule}`, which names no day")]
    Rule {
        /// The holiday.
        name: String,
        /// What stands there.
        rule: String,
    },
    /// A country that has no table here.
    #[error("no table of holidays for country `{country}`")]
    Country {
        /// What was asked for.
        country: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => Some("config/holidays/us.toml shows the keys"),
            Self::Rule { .. } => Some("write `12-25`, `easter-2`, `4 thursday november +1` or `monday before 05-25`"),
            Self::Country { .. } => Some("there are ca, de, gb and us; give a file for others"),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    holiday: Vec<Line>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    rule: String,
    /// Where it is kept; empty means everywhere.
    #[serde(default)]
    regions: Vec<String>,
    /// Days before and after that feel it.
    #[serde(default = "two")]
    before: u8,
    #[serde(default = "two")]
    after: u8,
    /// Where stores are closed on it by law or custom.
    #[serde(default)]
    closed: bool,
    /// On a weekend, offices keep it on the nearest weekday (`nearest`) or the next Monday (`monday`).
    observed: Option<Observed>,
    from_year: Option<i32>,
    until_year: Option<i32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Observed {
    Nearest,
    Monday,
}

fn two() -> u8 {
    2
}

/// Holidays of a country, or of a chain.
#[derive(Debug, Clone)]
pub struct Holidays {
    lines: Vec<(Line, Rule)>,
}

impl Holidays {
    /// The table of a country that comes with the program: `ca`, `de`, `gb` or `us`.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_country(country: &str) -> Result<Self, Error> {
        let text = BUILT_IN.iter().find(|(name, _)| name.eq_ignore_ascii_case(country));
        Self::parse(text.ok_or_else(|| Error::Country { country: country.to_owned() })?.1)
    }

    /// Reads a table: `[[holiday]]` blocks with `name` and `rule`, and optionally
    /// `regions`, `before`, `after`, `closed`, `observed`, `from_year`, `until_year`.
    ///
    /// # Errors
    /// When it is no such table, or a rule names no day.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let table: Table = toml::from_str(text).map_err(|error| Error::Read(Box::new(error)))?;
        let with_rule = |line: Line| match line.rule.parse() {
            Ok(rule) => Ok((line, rule)),
            Err(()) => Err(Error::Rule { name: line.name, rule: line.rule }),
        };
        Ok(Self { lines: table.holiday.into_iter().map(with_rule).collect::<Result<_, _>>()? })
    }

    /// Adds a chain's own table. A holiday named here takes the place of the same name.
    #[must_use]
    pub fn with(mut self, own: Self) -> Self {
        self.lines.retain(|(line, _)| !own.lines.iter().any(|(other, _)| other.name == line.name));
        self.lines.extend(own.lines);
        self
    }

    /// Lists the holidays from `first` to `last`, oldest first, for a region such as
    /// `MA` or `BY`; without one, those kept everywhere.
    pub fn between(&self, region: Option<&str>, first: NaiveDate, last: NaiveDate) -> Vec<Event> {
        let mut events = Vec::new();
        // A New Year's Day on a Saturday is observed in the year before.
        for year in first.year()..=last.year() + 1 {
            for (line, rule) in &self.lines {
                let here = line.regions.is_empty()
                    || region.is_some_and(|region| line.regions.iter().any(|one| one.eq_ignore_ascii_case(region)));
                let now =
                    line.from_year.is_none_or(|from| from <= year) && line.until_year.is_none_or(|end| year <= end);
                let Some(day) = rule.day(year).filter(|_| here && now) else { continue };
                let event =
                    Event { before: line.before, after: line.after, ..Event::on(Kind::Holiday, &line.name, day) };
                if line.closed {
                    events.push(Event::on(Kind::Closure, "", day));
                }
                if let Some(observed) = line.observed.and_then(|observed| observed_on(day, observed)) {
                    let name = format!("{} observed", line.name);
                    events.push(Event { before: 0, after: 0, ..Event::on(Kind::Holiday, &name, observed) });
                }
                events.push(event);
            }
        }
        events.retain(|event| (first..=last).contains(&event.first));
        events.sort_by(|a, b| (a.first, a.kind, &a.name).cmp(&(b.first, b.kind, &b.name)));
        events
    }
}

fn observed_on(day: NaiveDate, observed: Observed) -> Option<NaiveDate> {
    match (day.weekday(), observed) {
        (Weekday::Sat, Observed::Nearest) => day.checked_sub_days(Days::new(1)),
        (Weekday::Sat, Observed::Monday) => day.checked_add_days(Days::new(2)),
        (Weekday::Sun, _) => day.checked_add_days(Days::new(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn listed(country: &str, region: Option<&str>, first: &str, last: &str) -> Vec<String> {
        let events = Holidays::of_country(country).unwrap().between(region, day(first), day(last));
        let kept = events.iter().filter(|event| event.kind == Kind::Holiday);
        kept.map(|event| format!("{} {}", event.first, event.name)).collect()
    }

    #[test]
    fn the_tables_that_come_along_can_be_read_and_name_days() {
        for (country, _) in BUILT_IN {
            let events = Holidays::of_country(country).unwrap().between(None, day("2025-01-01"), day("2025-12-31"));
            assert!(events.iter().any(|event| event.name == "christmas"), "{country}");
            assert!(events.len() >= 8, "{country}: {}", events.len());
        }
        assert!(matches!(Holidays::of_country("xx"), Err(Error::Country { .. })));
    }

    #[test]
    fn late_november_is_what_shops_know_it_as() {
        assert_eq!(
            listed("us", None, "2025-11-24", "2025-12-02"),
            [
                "2025-11-26 thanksgiving eve",
                "2025-11-27 thanksgiving",
                "2025-11-28 black friday",
                "2025-12-01 cyber monday"
            ]
        );
    }

    #[test]
    fn a_state_adds_its_own_days() {
        assert!(!listed("us", None, "2025-04-01", "2025-04-30").contains(&"2025-04-21 patriots day".to_owned()));
        assert!(listed("us", Some("ma"), "2025-04-01", "2025-04-30").contains(&"2025-04-21 patriots day".to_owned()));
        assert!(listed("de", Some("BY"), "2025-06-01", "2025-06-30").contains(&"2025-06-19 corpus christi".to_owned()));
        assert!(
            !listed("de", Some("BE"), "2025-06-01", "2025-06-30").contains(&"2025-06-19 corpus christi".to_owned())
        );
    }

    #[test]
    fn a_holiday_on_a_weekend_is_observed_beside_it() {
        // 4 July 2026 is a Saturday.
        assert_eq!(
            listed("us", None, "2026-07-01", "2026-07-06"),
            ["2026-07-03 independence day observed", "2026-07-04 independence day"]
        );
    }

    #[test]
    fn an_own_table_replaces_by_name_and_knows_years() {
        let own = "[[holiday]]\nname = \"christmas\"\nrule = \"12-24\"\n\n\
                   [[holiday]]\nname = \"founders day\"\nrule = \"2 friday march\"\nfrom_year = 2026\n";
        let all = Holidays::of_country("gb").unwrap().with(Holidays::parse(own).unwrap());
        let named = |year: i32, name: &str| -> Vec<String> {
            let (first, last) = (day(&format!("{year}-01-01")), day(&format!("{year}-12-31")));
            let events = all.between(None, first, last);
            events.iter().filter(|event| event.name == name).map(|event| event.first.to_string()).collect()
        };
        assert_eq!(named(2025, "christmas"), ["2025-12-24"]);
        assert_eq!(named(2025, "founders day"), Vec::<String>::new());
        assert_eq!(named(2026, "founders day"), ["2026-03-13"]);
    }

    #[test]
    fn a_mistake_in_a_table_is_named() {
        let error = Holidays::parse("[[holiday]]\nname = \"x\"\nrule = \"some day\"\n").unwrap_err();
        assert_eq!(error.to_string(), "holiday `x` has the rule `some day`, which names no day");
        assert!(error.hint().is_some());
        assert!(Holidays::parse("[[holiday]]\nname = \"x\"\nrule = \"12-25\"\nclosd = true\n").is_err());
    }
}
