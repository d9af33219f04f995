//! The audited way to put a name into SQL.

use std::fmt;

use sqlx::AssertSqlSafe;

/// A quoted identifier. PostgreSQL cuts names at 63 bytes: longer ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(String);

impl Ident {
    /// Quotes a name, or refuses one that PostgreSQL would change.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= 63 && !name.contains('\0');
        fits.then(|| Self(format!("\"{}\"", name.replace('"', "\"\""))))
    }

    /// Quotes a name that a checked definition or our own code made.
    pub fn known(name: &str) -> Self {
        Self::new(name).expect("names of definitions are checked to be 1 to 63 bytes")
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A statement composed of our own SQL text and [`Ident`]s, or read from the
/// definitions folder. Nothing that a file's rows or a request said ever gets in.
#[derive(Debug, Clone)]
pub struct Statement(String);

impl Statement {
    /// Vouches for a text: every name in it went through [`Ident`], every value is bound.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for messages and tests.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What sqlx takes.
    pub fn safe(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.0.clone())
    }
}

/// A quoted text literal, for the few places that take no bound value (roles, `COMMENT`).
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_cannot_end_an_identifier() {
        assert_eq!(Ident::known("a\"; DROP TABLE x; --").to_string(), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(Ident::new(&"x".repeat(64)), None);
        assert_eq!(literal("o'neil\\"), "E'o''neil\\\\'");
    }
}
