//! Template tags in native SQL: variables, field filters, optional parts.
//!
//! A value never becomes SQL: it goes in as a literal of its tag's type, or the
//! query fails. Tags in comments are left alone, and a tag inside a quoted text
//! is refused, because there its literal would end the text.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Map, Value};

use super::scanner::{Piece, parse};

/// Why a query could not be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) kind: &'static str,
}

/// A value somebody sent for a tag.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) tag: String,
    pub(super) kind: String,
    pub(super) value: Value,
}

/// What a template needs besides the values.
pub(super) struct Context<'a> {
    pub(super) tags: &'a Map<String, Value>,
    pub(super) given: &'a [Given],
    /// The quoted column and base type behind a field id.
    pub(super) column: &'a dyn Fn(i64) -> Option<(String, String)>,
    /// The text of a snippet by name.
    pub(super) snippet: &'a dyn Fn(&str) -> Option<String>,
    pub(super) now: DateTime<Utc>,
}

/// Puts the values into the SQL.
pub(super) fn render(sql: &str, context: &Context<'_>) -> Result<String, Refusal> {
    let mut out = String::with_capacity(sql.len());
    for piece in parse(sql)? {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Tag { name, quoted } => {
                out.push_str(&value_of(&name, quoted, context)?.unwrap_or_default());
            }
            Piece::Optional(pieces) => out.push_str(&optional(&pieces, context)?),
        }
    }
    Ok(out)
}

fn optional(pieces: &[Piece], context: &Context<'_>) -> Result<String, Refusal> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Tag { name, quoted } => {
                if sent(name, context).is_none() && snippet_name(name).is_none() {
                    return Ok(String::new());
                }
                out.push_str(&value_of(name, *quoted, context)?.unwrap_or_default());
            }
            Piece::Optional(inner) => out.push_str(&optional(inner, context)?),
        }
    }
    Ok(out)
}

/// The value that holds for a tag: the one sent, or the tag's default.
fn sent<'a>(name: &str, context: &'a Context<'_>) -> Option<(&'a str, &'a Value)> {
    let given = context.given.iter().rev().find(|given| given.tag == name);
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(|list| list.is_empty());
    if let Some(given) = given.filter(|given| !empty(&given.value)) {
        return Some((given.kind.as_str(), &given.value));
    }
    let tag = context.tags.get(name)?;
    let default = tag.get("default").filter(|value| !empty(value))?;
    let kind = tag.get("widget-type").and_then(Value::as_str);
    Some((kind.unwrap_or_default(), default))
}

fn value_of(name: &str, quoted: bool, context: &Context<'_>) -> Result<Option<String>, Refusal> {
    if let Some(snippet) = snippet_name(name) {
        return (context.snippet)(snippet)
            .map(Some)
            .ok_or_else(|| refuse("invalid-query", format!("Snippet \"{snippet}\" not found.")));
    }
    if quoted {
        return Err(refuse("invalid-query", format!("Tag \"{name}\" stands inside a quoted text.")));
    }
    let tag = context.tags.get(name);
    let kind = tag.and_then(|tag| tag["type"].as_str()).unwrap_or("text");
    let Some((sent_kind, value)) = sent(name, context) else {
        if kind == "dimension" {
            return Ok(Some("1 = 1".to_owned()));
        }
        let shown = tag.and_then(|tag| tag["display-name"].as_str()).unwrap_or(name);
        return Err(refuse(
            "missing-required-parameter",
            format!("You'll need to pick a value for '{shown}' before this query can run."),
        ));
    };
    let text = match kind {
        "dimension" => {
            let field = tag.and_then(|tag| field_id(&tag["dimension"]));
            let (column, base) = field
                .and_then(context.column)
                .ok_or_else(|| refuse("invalid-query", format!("Tag \"{name}\" has no known field.")))?;
            filter(&column, &base, sent_kind, value, context.now)?
        }
        kind => joined(value, |value| literal(kind, name, value))?,
    };
    Ok(Some(text))
}

/// The id in either spelling of a field reference.
pub(super) fn field_id(reference: &Value) -> Option<i64> {
    reference.as_array()?.iter().skip(1).find_map(Value::as_i64)
}

fn snippet_name(tag: &str) -> Option<&str> {
    tag.strip_prefix("snippet:").map(str::trim)
}

fn joined(value: &Value, each: impl Fn(&Value) -> Result<String, Refusal>) -> Result<String, Refusal> {
    match value {
        Value::Array(list) => Ok(list.iter().map(each).collect::<Result<Vec<_>, _>>()?.join(", ")),
        one => each(one),
    }
}

fn literal(kind: &str, name: &str, value: &Value) -> Result<String, Refusal> {
    let text = plain(value);
    let wrong = || refuse("invalid-parameter", format!("Value of tag \"{name}\" is not a {kind}."));
    match kind {
        "number" => text
            .split(',')
            .map(|part| number(part).ok_or_else(wrong))
            .collect::<Result<Vec<_>, _>>()
            .map(|parts| parts.join(", ")),
        "date" => date(&text).map(date_literal).ok_or_else(wrong),
        "boolean" => match text.as_str() {
            "true" | "false" => Ok(text),
            _ => Err(wrong()),
        },
        "text" => quote(&text),
        _ => Err(refuse("invalid-query", format!("Tags of type \"{kind}\" are beyond this stand-in."))),
    }
}

fn filter(column: &str, base: &str, kind: &str, value: &Value, now: DateTime<Utc>) -> Result<String, Refusal> {
    let numeric = ["Integer", "Decimal", "Float"].iter().any(|name| base.ends_with(name));
    let one = |value: &Value| {
        let text = plain(value);
        if numeric {
            number(&text).ok_or_else(|| refuse("invalid-parameter", "Not a number.".into()))
        } else {
            quote(&text)
        }
    };
    let at = |index: usize| match value {
        Value::Array(list) => list.get(index).cloned().unwrap_or_default(),
        only => only.clone(),
    };
    if kind.starts_with("date") || base.contains("Date") {
        let text = plain(&at(0));
        let (from, to) =
            date_range(&text, now).ok_or_else(|| refuse("invalid-parameter", format!("Unknown date \"{text}\".")))?;
        let from = from.map(|day| format!("CAST({column} AS date) >= {}", date_literal(day)));
        let to = to.map(|day| format!("CAST({column} AS date) <= {}", date_literal(day)));
        let parts: Vec<String> = [from, to].into_iter().flatten().collect();
        return Ok(parts.join(" AND "));
    }
    let text_match = |before: &str, after: &str| -> Result<String, Refusal> {
        let text = plain(&at(0)).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        quote(&format!("{before}{text}{after}"))
    };
    Ok(match kind {
        "string/contains" => format!("{column} LIKE {}", text_match("%", "%")?),
        "string/does-not-contain" => format!("{column} NOT LIKE {}", text_match("%", "%")?),
        "string/starts-with" => format!("{column} LIKE {}", text_match("", "%")?),
        "string/ends-with" => format!("{column} LIKE {}", text_match("%", "")?),
        "number/between" => format!("{column} BETWEEN {} AND {}", one(&at(0))?, one(&at(1))?),
        "number/>=" => format!("{column} >= {}", one(&at(0))?),
        "number/<=" => format!("{column} <= {}", one(&at(0))?),
        "string/!=" | "number/!=" => format!("{column} NOT IN ({})", joined(value, one)?),
        _ => format!("{column} IN ({})", joined(value, one)?),
    })
}

fn date_range(text: &str, now: DateTime<Utc>) -> Option<(Option<NaiveDate>, Option<NaiveDate>)> {
    let today = now.date_naive();
    if let Some((from, to)) = text.split_once('~') {
        let side = |part: &str| match part {
            "" => Some(None),
            part => date(part).map(Some),
        };
        return Some((side(from)?, side(to)?)).filter(|range| *range != (None, None));
    }
    let day = match text {
        "today" | "thisday" => today,
        "yesterday" => today.checked_sub_days(Days::new(1))?,
        _ => match text.strip_prefix("past").and_then(|rest| rest.strip_suffix("days")) {
            Some(days) => {
                let from = today.checked_sub_days(Days::new(days.parse().ok()?))?;
                let to = today.checked_sub_days(Days::new(1))?;
                return Some((Some(from), Some(to)));
            }
            None => date(text)?,
        },
    };
    Some((Some(day), Some(day)))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let sound = !digits.is_empty()
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        && text.parse::<f64>().is_ok();
    // A leading minus next to an operator would start a comment.
    sound.then(|| match text.starts_with('-') {
        true => format!("({text})"),
        false => text.to_owned(),
    })
}

fn date(text: &str) -> Option<NaiveDate> {
    let day = text.get(..10)?;
    let rest = &text[10..];
    (rest.is_empty() || rest.starts_with('T')).then(|| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()).flatten()
}

fn date_literal(day: NaiveDate) -> String {
    format!("date '{}'", day.format("%Y-%m-%d"))
}

/// A text as a literal; the connection has `standard_conforming_strings` on.
fn quote(text: &str) -> Result<String, Refusal> {
    if text.contains('\0') {
        return Err(refuse("invalid-parameter", "A text with a null byte.".into()));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

fn refuse(kind: &'static str, text: String) -> Refusal {
    Refusal { text, kind }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(sql: &str, kind: &str, value: Value) -> Result<String, Refusal> {
        let tags = json!({ "tag": {
            "name": "tag", "display-name": "Tag", "type": kind, "dimension": ["field", 7, null],
        }});
        let given = [Given { tag: "tag".into(), kind: String::new(), value }];
        render(
            sql,
            &Context {
                tags: tags.as_object().unwrap(),
                given: &given,
                column: &|id| (id == 7).then(|| ("\"t\".\"c\"".into(), "type/Text".into())),
                snippet: &|_| None,
                now: DateTime::from_timestamp(1_764_000_000, 0).unwrap(),
            },
        )
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        let sql = rendered("WHERE a = {{tag}}", "text", json!("x' OR '1'='1")).unwrap();
        assert_eq!(sql, "WHERE a = 'x'' OR ''1''=''1'");
    }

    #[test]
    fn a_tag_inside_quotes_is_refused() {
        for sql in ["'{{tag}}'", "\"{{tag}}\"", "$$ {{tag}} $$", "$a$ {{tag}} $a$"] {
            let refusal = rendered(sql, "text", json!("x")).unwrap_err();
            assert_eq!(refusal.kind, "invalid-query", "{sql}");
        }
    }

    #[test]
    fn a_tag_in_a_comment_is_left_alone() {
        let sql = "SELECT 1 -- {{tag}} [[\n/* {{tag}} */";
        assert_eq!(rendered(sql, "text", json!("x")).unwrap(), sql);
    }

    #[test]
    fn a_number_is_a_number() {
        assert_eq!(rendered("{{tag}}", "number", json!("1.5, -2")).unwrap(), "1.5, (-2)");
        for bad in ["1; DROP TABLE t", "1e5", "", "-", "1 OR 1=1"] {
            assert!(rendered("{{tag}}", "number", json!(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_date_is_a_date() {
        let sql = rendered("{{tag}}", "date", json!("2025-11-28")).unwrap();
        assert_eq!(sql, "date '2025-11-28'");
        assert!(rendered("{{tag}}", "date", json!("2025-11-28' OR 1=1")).is_err());
    }

    #[test]
    fn an_optional_part_goes_with_its_value() {
        let sql = "SELECT 1[[ WHERE a = {{tag}}]]";
        assert_eq!(rendered(sql, "text", Value::Null).unwrap(), "SELECT 1");
        assert_eq!(rendered(sql, "text", json!("x")).unwrap(), "SELECT 1 WHERE a = 'x'");
    }

    #[test]
    fn a_required_value_that_is_missing_is_named() {
        let refusal = rendered("{{tag}}", "text", Value::Null).unwrap_err();
        assert_eq!(refusal.kind, "missing-required-parameter");
        assert!(refusal.text.contains("'Tag'"));
    }

    #[test]
    fn an_empty_field_filter_filters_nothing() {
        assert_eq!(rendered("{{tag}}", "dimension", Value::Null).unwrap(), "1 = 1");
        assert_eq!(rendered("{{tag}}", "dimension", json!(["a", "b'"])).unwrap(), "\"t\".\"c\" IN ('a', 'b''')");
    }
}
