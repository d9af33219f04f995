//! The parts of a query that Metabase fills in or leaves out: `[[AND a = {{b}}]]`. Pure.
//!
//! A value never becomes SQL, it is bound; which parts stand there, the reader
//! decides. So a query is as safe as the worst of its variants.

/// Optional parts that a query may have: each doubles its variants.
const MOST: usize = 6;

/// Names the tags of a query.
pub(super) fn tags(sql: &str) -> impl Iterator<Item = &str> {
    sql.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(tag, _)| tag.trim())
}

/// Writes the query as PostgreSQL could get it, once for each choice of parts.
///
/// # Errors
/// When its brackets do not fit, or a tag stands where it cannot be left out.
pub(super) fn variants(sql: &str) -> Result<Vec<String>, String> {
    let mut pieces = sql.split("[[");
    let mut all = vec![filled(pieces.next().unwrap_or_default(), false)?];
    for (at, piece) in pieces.enumerate() {
        if at >= MOST {
            return Err(format!("more than {MOST} optional parts"));
        }
        let Some((part, rest)) = piece.split_once("]]") else {
            return Err("an optional part `[[` has no end `]]`".to_owned());
        };
        let (part, rest) = (filled(part, true)?, filled(rest, false)?);
        all = all.iter().flat_map(|sql| [format!("{sql}{part}{rest}"), format!("{sql}{rest}")]).collect();
    }
    Ok(all)
}

/// Puts a value where a tag stands.
fn filled(text: &str, optional: bool) -> Result<String, String> {
    let mut pieces = text.split("{{");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let Some((tag, rest)) = piece.split_once("}}") else {
            return Err("a tag `{{` has no end `}}`".to_owned());
        };
        let tag = tag.trim();
        if tag.is_empty() || !tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{tag}` is no parameter: snippets, questions and fields bring SQL of their own"));
        }
        if !optional {
            return Err(format!(
                "the parameter `{tag}` must stand in an optional part: [[AND … {{{{ parameter(\"{tag}\") }}}}]]"
            ));
        }
        out.push_str("'x'");
        out.push_str(rest);
    }
    Ok(out)
}

/// The query as it runs when nothing is chosen.
pub(super) fn without_optional_parts(sql: &str) -> String {
    bound(sql, |_| None)
}

/// Puts chosen values in; parts whose tags have none are left out.
pub(super) fn bound(sql: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut pieces = sql.split("[[");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (part, rest) = piece.split_once("]]").unwrap_or((piece, ""));
        let values: Option<Vec<String>> = tags(part).map(&value).collect();
        if let Some(values) = values {
            let mut texts = part.split("{{");
            out.push_str(texts.next().unwrap_or_default());
            for (text, value) in texts.zip(values) {
                out.push_str(&format!("'{}'", value.replace('\'', "''")));
                out.push_str(text.split_once("}}").map_or("", |(_, rest)| rest));
            }
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_of_parts_is_a_variant() {
        let all = variants("SELECT 1 WHERE a [[AND b = {{b}}]] [[OR c = {{ c }}]]").unwrap();
        assert_eq!(
            all,
            [
                "SELECT 1 WHERE a AND b = 'x' OR c = 'x'",
                "SELECT 1 WHERE a AND b = 'x' ",
                "SELECT 1 WHERE a  OR c = 'x'",
                "SELECT 1 WHERE a  "
            ]
        );
        for wrong in ["a [[b", "a {{b}}", "[[a = {{snippet: b}}]]", "[[a = {{#12}}]]", "[[{{a]]", &"[[a]]".repeat(7)] {
            assert!(variants(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_chosen_value_cannot_leave_its_quotes() {
        let sql = "WHERE a [[AND b = {{b}}]][[AND c = {{c}}]]";
        let value = |name: &str| (name == "b").then(|| "it's".to_owned());
        assert_eq!(bound(sql, value), "WHERE a AND b = 'it''s'");
        assert_eq!(without_optional_parts(sql), "WHERE a ");
    }
}
