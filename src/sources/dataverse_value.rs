//! Values as a Dataverse column keeps them. Pure.
//!
//! What the service would round or drop is rounded and dropped here, so that two
//! values that it keeps alike are written alike: a comparison by their text then
//! finds what really changed.

use std::str::FromStr as _;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

/// The year in which the service's calendar begins.
const FIRST_YEAR: i32 = 1753;

/// Characters of a key's value that the service takes in no address, encoded or not.
const FORBIDDEN: &[char] = &['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+'];

/// What a column keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// A text; the empty one is null.
    Text,
    /// A whole number, a choice included.
    Integer,
    /// An exact number with so many digits after the point; money, too.
    Decimal {
        /// Digits after the point.
        precision: u32,
    },
    /// A binary floating point number.
    Double,
    /// True or false.
    Boolean,
    /// A date.
    Date,
    /// An instant, kept in UTC to the second.
    Instant,
    /// A wall-clock time without a zone.
    WallClock,
    /// A GUID.
    Guid,
}

/// Whether a key, as an address writes it, holds nothing that the service refuses there.
pub(super) fn addressable(key: &str) -> bool {
    !key.contains(FORBIDDEN)
}

impl ValueKind {
    /// Reads a JSON value of a query's row and writes it as JSON for this column.
    ///
    /// # Errors
    /// When the column cannot keep it: what it would need, in words without the value.
    pub(super) fn convert(self, json: &str) -> Result<String, &'static str> {
        let json = json.trim();
        if json == "null" {
            return Ok("null".to_owned());
        }
        let text = match json.strip_prefix('"') {
            Some(_) => serde_json::from_str::<String>(json).map_err(|_| "is no JSON text")?,
            None => json.to_owned(),
        };
        if self == Self::Text {
            if json.starts_with(['{', '[']) {
                return Err("is no single value");
            }
            return Ok(if text.is_empty() { "null".to_owned() } else { quoted(&text) });
        }
        if text.is_empty() {
            return Ok("null".to_owned());
        }
        match self {
            Self::Text => Err("is no text"),
            Self::Integer => {
                let number = decimal(&text).filter(Decimal::is_integer).ok_or("is no whole number")?;
                let number = i64::try_from(number).map_err(|_| "is too large a number")?;
                Ok(number.to_string())
            }
            Self::Decimal { precision } => {
                let number = decimal(&text).ok_or("is no number")?;
                let number = number.round_dp_with_strategy(precision, RoundingStrategy::MidpointAwayFromZero);
                Ok(number.normalize().to_string())
            }
            Self::Double => {
                let number = f64::from_str(&text).ok().filter(|number| number.is_finite()).ok_or("is no number")?;
                serde_json::to_string(&number).map_err(|_| "is no number")
            }
            Self::Boolean => match text.as_str() {
                "true" | "t" => Ok("true".to_owned()),
                "false" | "f" => Ok("false".to_owned()),
                _ => Err("is neither true nor false"),
            },
            Self::Date => {
                let date = NaiveDate::from_str(&text).map_err(|_| "is no date")?;
                in_calendar(date)?;
                Ok(format!("\"{date}\""))
            }
            Self::Instant => {
                let at = DateTime::parse_from_rfc3339(&text).map_err(|_| "is no moment with a time zone")?;
                let at = at.with_timezone(&Utc);
                in_calendar(at.date_naive())?;
                Ok(format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::Secs, true)))
            }
            Self::WallClock => {
                let at = NaiveDateTime::from_str(&text).map_err(|_| "is no date and time without a zone")?;
                in_calendar(at.date())?;
                Ok(format!("\"{}Z\"", at.format("%Y-%m-%dT%H:%M:%S")))
            }
            Self::Guid => {
                let id = uuid::Uuid::try_parse(&text).map_err(|_| "is no GUID")?;
                Ok(format!("\"{id}\""))
            }
        }
    }

    /// A converted value as the literal of a key: text in quotes, a quote doubled;
    /// everything else bare. `None` for null, which is no key.
    pub(super) fn literal(self, converted: &str) -> Option<String> {
        if converted == "null" {
            return None;
        }
        let text = serde_json::from_str::<String>(converted).unwrap_or_else(|_| converted.to_owned());
        Some(if self == Self::Text { format!("'{}'", text.replace('\'', "''")) } else { text })
    }

    /// Whether a key may consist of such a column.
    pub(super) fn may_be_key(self) -> bool {
        !matches!(self, Self::Double | Self::Boolean | Self::WallClock)
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

fn in_calendar(date: NaiveDate) -> Result<(), &'static str> {
    if date.year() >= FIRST_YEAR { Ok(()) } else { Err("lies before 1753, where the service's calendar begins") }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_service_keeps_alike_are_written_alike() {
        let money = ValueKind::Decimal { precision: 2 };
        for same in ["12.5", "12.50", "12.4999", "\"12.50\"", "1.25e1"] {
            assert_eq!(money.convert(same).as_deref(), Ok("12.5"), "{same}");
        }
        assert_eq!(money.convert("-0.125").as_deref(), Ok("-0.13"));
        assert_eq!(money.convert("-0.001").as_deref(), Ok("0"));
        let exact = ValueKind::Decimal { precision: 4 };
        let many = "79228162514264337593543.9505";
        assert_eq!(exact.convert(many).as_deref(), Ok(many));
        assert_eq!(ValueKind::Text.convert("\"\"").as_deref(), Ok("null"));
        assert_eq!(ValueKind::Text.convert("\"a\\u00e9\"").as_deref(), Ok("\"aé\""));
        assert_eq!(ValueKind::Text.convert("000125").as_deref(), Ok("\"000125\""));
        assert_eq!(ValueKind::Integer.convert("12.00").as_deref(), Ok("12"));
        let instant = "\"2025-11-28T19:00:00.4-05:00\"";
        assert_eq!(ValueKind::Instant.convert(instant).as_deref(), Ok("\"2025-11-29T00:00:00Z\""));
        let wall = "\"2025-11-28T19:00:00\"";
        assert_eq!(ValueKind::WallClock.convert(wall).as_deref(), Ok("\"2025-11-28T19:00:00Z\""));
        assert_eq!(ValueKind::Date.convert("\"2025-11-28\"").as_deref(), Ok("\"2025-11-28\""));
        let id = "\"{49B0BE2E-D01C-ED11-B83E-000D3A572421}\"";
        assert_eq!(ValueKind::Guid.convert(id).as_deref(), Ok("\"49b0be2e-d01c-ed11-b83e-000d3a572421\""));
        assert_eq!(ValueKind::Date.convert("null").as_deref(), Ok("null"));
    }

    #[test]
    fn a_value_that_a_column_cannot_keep_is_refused_without_being_told() {
        for (kind, json) in [
            (ValueKind::Integer, "12.5"),
            (ValueKind::Integer, "99999999999999999999"),
            (ValueKind::Decimal { precision: 2 }, "\"twelve\""),
            (ValueKind::Double, "\"NaN\""),
            (ValueKind::Boolean, "1"),
            (ValueKind::Date, "\"2025-11-28T00:00:00\""),
            (ValueKind::Date, "\"1752-12-31\""),
            (ValueKind::Instant, "\"2025-11-28T19:00:00\""),
            (ValueKind::WallClock, "\"2025-11-28T19:00:00+01:00\""),
            (ValueKind::Guid, "\"x\""),
            (ValueKind::Text, "{\"a\":1}"),
        ] {
            let refusal = kind.convert(json).unwrap_err();
            assert!(!refusal.contains(json.trim_matches('"')), "{kind:?} {json}: {refusal}");
        }
    }

    #[test]
    fn a_key_is_quoted_by_its_type_and_tells_what_no_address_carries() {
        assert_eq!(ValueKind::Text.literal("\"O'Brien\"").as_deref(), Some("'O''Brien'"));
        assert_eq!(ValueKind::Integer.literal("7").as_deref(), Some("7"));
        assert_eq!(ValueKind::Date.literal("\"2025-11-28\"").as_deref(), Some("2025-11-28"));
        assert_eq!(ValueKind::Text.literal("null"), None);
        for character in FORBIDDEN {
            let literal = ValueKind::Text.literal(&quoted(&format!("A{character}B"))).unwrap();
            assert!(!addressable(&literal), "{literal}");
        }
        assert!(addressable("sk_key='it''s (1), 2=2 é'"));
    }
}
