//! Row addresses: `set(guid)` and `set(column='value',other=2)`.

use crate::wire::decode_percent;

/// Which row of a table a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Its GUID.
    Id(String),
    /// Columns and literals, in the order of the URL.
    Columns(Vec<(String, Literal)>),
}

/// A literal as written: text had quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Bare(String),
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The front door does not let such characters through, encoded or not.
    FrontDoor,
    /// It is no key.
    Malformed,
}

/// Characters of a key value that the real service cannot take in a URL.
const BLOCKED: &[char] = &['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+'];

/// Splits `set(key)` into both; the key is still raw.
pub(super) fn split(segment: &str) -> (&str, Option<&str>) {
    match segment.split_once('(') {
        Some((set, rest)) => match rest.strip_suffix(')') {
            Some(key) => (set, Some(key)),
            None => (segment, None),
        },
        None => (segment, None),
    }
}

/// Reads the raw text between the parentheses.
pub(super) fn parse(raw: &str) -> Result<Key, Refused> {
    let text = decode_percent(raw).ok_or(Refused::Malformed)?;
    if let Some(id) = super::cell::guid(&text) {
        return Ok(Key::Id(id));
    }
    let mut columns = Vec::new();
    for part in split_outside_quotes(&text) {
        let (name, value) = part.split_once('=').ok_or(Refused::Malformed)?;
        let value = value.trim();
        let literal = match value.strip_prefix('\'') {
            None if value.is_empty() => return Err(Refused::Malformed),
            None => Literal::Bare(value.to_owned()),
            Some(rest) => {
                let inner = rest.strip_suffix('\'').ok_or(Refused::Malformed)?;
                let unquoted = inner.replace("''", "'");
                if inner.matches('\'').count() != 2 * (inner.len() - unquoted.len()) {
                    return Err(Refused::Malformed);
                }
                Literal::Text(unquoted)
            }
        };
        let (Literal::Text(value) | Literal::Bare(value)) = &literal;
        if value.contains(BLOCKED) {
            return Err(Refused::FrontDoor);
        }
        columns.push((name.trim().to_owned(), literal));
    }
    Ok(Key::Columns(columns))
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        if character == '\'' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(pairs: &[(&str, Literal)]) -> Result<Key, Refused> {
        Ok(Key::Columns(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    }

    #[test]
    fn a_key_is_a_guid_or_named_values() {
        let text = |value: &str| Literal::Text(value.to_owned());
        assert_eq!(split("accounts(name='x(1)')"), ("accounts", Some("name='x(1)'")));
        assert_eq!(
            parse("49B0BE2E-D01C-ED11-B83E-000D3A572421"),
            Ok(Key::Id("49b0be2e-d01c-ed11-b83e-000d3a572421".to_owned()))
        );
        assert_eq!(parse("name='O%27%27Brien, J'"), columns(&[("name", text("O'Brien, J"))]));
        assert_eq!(parse("a=2,b='x'"), columns(&[("a", Literal::Bare("2".to_owned())), ("b", text("x"))]));
    }

    #[test]
    fn what_a_url_cannot_carry_is_refused() {
        assert_eq!(parse("name='A%26B'"), Err(Refused::FrontDoor));
        assert_eq!(parse("name='O'Brien'"), Err(Refused::Malformed));
        assert_eq!(parse("'x'"), Err(Refused::Malformed));
    }
}
