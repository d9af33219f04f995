//! `$filter`: read into an expression, held against rows.

use std::cmp::Ordering;

use super::cell::{Cell, edm_type};
use super::schema::{Column, ColumnKind};

/// A condition on a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Compare {
        column: usize,
        operator: Operator,
        value: Cell,
    },
    /// A text match in which `%`, `_` and `[…]` are wildcards, as in the real service.
    Like {
        column: usize,
        pattern: String,
    },
    In {
        column: usize,
        values: Vec<Cell>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Invalid {
    /// The text is no filter.
    Syntax(String),
    /// The table has no such column.
    Column(String),
    /// The literal is not of the column's type.
    Type { column: &'static str, operator: &'static str },
    /// The real service knows it; the contract, and so the stand-in, does not.
    OutsideContract(String),
}

impl Filter {
    /// Reads a decoded filter over these columns.
    pub(super) fn parse(text: &str, columns: &[Column]) -> Result<Self, Invalid> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, columns };
        let filter = parser.any_of()?;
        match parser.peek() {
            None => Ok(filter),
            Some(token) => Err(Invalid::Syntax(format!("{token:?} was not expected"))),
        }
    }

    /// Says whether a row meets the condition.
    pub(super) fn holds(&self, row: &[Cell]) -> bool {
        match self {
            Self::And(one, two) => one.holds(row) && two.holds(row),
            Self::Or(one, two) => one.holds(row) || two.holds(row),
            Self::Not(one) => !one.holds(row),
            Self::Compare { column, operator, value } => operator.holds(&row[*column], value),
            Self::Like { column, pattern } => match &row[*column] {
                Cell::Text(text) => {
                    let text: Vec<char> = text.to_lowercase().chars().collect();
                    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
                    like(&text, &pattern)
                }
                _ => false,
            },
            Self::In { column, values } => values.iter().any(|value| row[*column].order(value) == Ordering::Equal),
        }
    }
}

impl Operator {
    fn holds(self, found: &Cell, value: &Cell) -> bool {
        let order = found.order(value);
        let either_null = *found == Cell::Null || *value == Cell::Null;
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            _ if either_null => false,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "NotEqual",
            Self::Greater => "GreaterThan",
            Self::GreaterOrEqual => "GreaterThanOrEqual",
            Self::Less => "LessThan",
            Self::LessOrEqual => "LessThanOrEqual",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    /// A name, a keyword, a number, a date: whatever is not in quotes.
    Word(String),
    Text(String),
    /// `["a","b"]`, the raw list of `Microsoft.Dynamics.CRM.In`.
    List(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Invalid> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '\'' => quoted(rest)?,
            '[' => {
                let end = rest.find(']').ok_or_else(|| unterminated(rest))?;
                (Token::List(rest[..=end].to_owned()), end + 1)
            }
            _ => {
                let end = rest
                    .find(|character: char| character.is_whitespace() || "(),'[".contains(character))
                    .unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn quoted(rest: &str) -> Result<(Token, usize), Invalid> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if character != '\'' {
            text.push(character);
        } else if characters.peek().is_some_and(|(_, next)| *next == '\'') {
            text.push('\'');
            characters.next();
        } else {
            return Ok((Token::Text(text), index + 1));
        }
    }
    Err(unterminated(rest))
}

fn unterminated(rest: &str) -> Invalid {
    Invalid::Syntax(format!("There is an unterminated literal at '{rest}'."))
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    columns: &'a [Column],
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, Invalid> {
        let token = self.peek().cloned().ok_or_else(|| Invalid::Syntax("Expression expected.".to_owned()));
        self.at += 1;
        token
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Invalid> {
        let found = self.next()?;
        if found == *wanted {
            Ok(())
        } else {
            Err(Invalid::Syntax(format!("{wanted:?} was expected, {found:?} found")))
        }
    }

    fn takes(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == keyword);
        if found {
            self.at += 1;
        }
        found
    }

    fn any_of(&mut self) -> Result<Filter, Invalid> {
        let mut filter = self.all_of()?;
        while self.takes("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all_of()?));
        }
        Ok(filter)
    }

    fn all_of(&mut self) -> Result<Filter, Invalid> {
        let mut filter = self.one()?;
        while self.takes("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, Invalid> {
        if self.takes("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        match self.next()? {
            Token::Open => {
                let filter = self.any_of()?;
                self.expect(&Token::Close)?;
                Ok(filter)
            }
            Token::Word(name) if self.peek() == Some(&Token::Open) => self.function(&name),
            Token::Word(name) => self.comparison(&name),
            other => Err(Invalid::Syntax(format!("{other:?} was not expected"))),
        }
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, Invalid> {
        let column = self.column(name)?;
        let operator = match self.next()? {
            Token::Word(word) => match word.as_str() {
                "eq" => Operator::Equal,
                "ne" => Operator::NotEqual,
                "gt" => Operator::Greater,
                "ge" => Operator::GreaterOrEqual,
                "lt" => Operator::Less,
                "le" => Operator::LessOrEqual,
                other => return Err(Invalid::OutsideContract(format!("the operator {other}"))),
            },
            other => return Err(Invalid::Syntax(format!("{other:?} is no operator"))),
        };
        let kind = &self.columns[column].kind;
        let mismatch = || Invalid::Type { column: edm_type(kind), operator: operator.name() };
        let value = match self.next()? {
            Token::Word(word) if word == "null" => Cell::Null,
            Token::Text(text) if *kind == ColumnKind::Text => Cell::Text(text),
            Token::Word(word) if *kind != ColumnKind::Text => {
                Cell::from_literal(kind, &word).map_err(|_| mismatch())?
            }
            Token::Word(word) if word.starts_with('@') => {
                return Err(Invalid::OutsideContract("parameter aliases in filters".to_owned()));
            }
            Token::Text(_) | Token::Word(_) => return Err(mismatch()),
            other => return Err(Invalid::Syntax(format!("{other:?} is no value"))),
        };
        Ok(Filter::Compare { column, operator, value })
    }

    fn function(&mut self, name: &str) -> Result<Filter, Invalid> {
        self.expect(&Token::Open)?;
        let (before, after) = match name {
            "contains" => ("%", "%"),
            "startswith" => ("", "%"),
            "endswith" => ("%", ""),
            "Microsoft.Dynamics.CRM.In" => return self.in_list(),
            other => return Err(Invalid::OutsideContract(format!("the function {other}"))),
        };
        let column = match self.next()? {
            Token::Word(name) => self.column(&name)?,
            other => return Err(Invalid::Syntax(format!("{other:?} is no column"))),
        };
        self.expect(&Token::Comma)?;
        let text = match self.next()? {
            Token::Text(text) if self.columns[column].kind == ColumnKind::Text => text,
            _ => {
                return Err(Invalid::Syntax(format!("{name} wants a text column and a text")));
            }
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Like { column, pattern: format!("{before}{text}{after}") })
    }

    /// Reads `PropertyName='x',PropertyValues=["a","b"])`.
    fn in_list(&mut self) -> Result<Filter, Invalid> {
        let name = match (self.next()?, self.next()?) {
            (Token::Word(word), Token::Text(name)) if word == "PropertyName=" => name,
            _ => return Err(Invalid::Syntax("In wants PropertyName='…'".to_owned())),
        };
        self.expect(&Token::Comma)?;
        let list = match (self.next()?, self.next()?) {
            (Token::Word(word), Token::List(list)) if word == "PropertyValues=" => list,
            _ => return Err(Invalid::Syntax("In wants PropertyValues=[…]".to_owned())),
        };
        self.expect(&Token::Close)?;
        let column = self.column(&name)?;
        let kind = &self.columns[column].kind;
        let texts: Vec<String> =
            serde_json::from_str(&list).map_err(|_| Invalid::Syntax("PropertyValues is a list of texts".to_owned()))?;
        let values = texts
            .iter()
            .map(|text| Cell::from_literal(kind, text))
            .collect::<Result<_, _>>()
            .map_err(|_| Invalid::Type { column: edm_type(kind), operator: "Equal" })?;
        Ok(Filter::In { column, values })
    }

    fn column(&self, name: &str) -> Result<usize, Invalid> {
        let found = self.columns.iter().position(|column| column.name == name);
        found.ok_or_else(|| Invalid::Column(name.to_owned()))
    }
}

/// Matches `%` (any run), `_` (any one) and `[abc]`, `[^abc]`, `[a-c]` (one of a set).
fn like(text: &[char], pattern: &[char]) -> bool {
    let Some(first) = pattern.first() else {
        return text.is_empty();
    };
    match first {
        '%' => (0..=text.len()).any(|start| like(&text[start..], &pattern[1..])),
        '_' => !text.is_empty() && like(&text[1..], &pattern[1..]),
        '[' => match pattern.iter().position(|character| *character == ']') {
            Some(end) => {
                text.first().is_some_and(|found| in_set(*found, &pattern[1..end]))
                    && like(&text[1..], &pattern[end + 1..])
            }
            None => false,
        },
        _ => text.first() == Some(first) && like(&text[1..], &pattern[1..]),
    }
}

fn in_set(found: char, set: &[char]) -> bool {
    let (negated, set) = match set.first() {
        Some('^') => (true, &set[1..]),
        _ => (false, set),
    };
    let mut at = 0;
    let mut included = false;
    while at < set.len() {
        if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
            included |= (set[at]..=set[at + 2]).contains(&found);
            at += 3;
        } else {
            included |= set[at] == found;
            at += 1;
        }
    }
    included != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        vec![column("name", ColumnKind::Text), column("amount", ColumnKind::Money), column("day", ColumnKind::DateOnly)]
    }

    fn row(name: &str, amount: &str, day: &str) -> Vec<Cell> {
        let values = [name, amount, day];
        columns()
            .iter()
            .zip(values)
            .map(|(column, text)| Cell::from_literal(&column.kind, text).unwrap_or(Cell::Null))
            .collect()
    }

    fn holds(text: &str) -> Result<bool, Invalid> {
        let row = row("O'Brien 50%", "19.95", "2025-11-28");
        Ok(Filter::parse(text, &columns())?.holds(&row))
    }

    #[test]
    fn conditions_hold_as_the_service_says() {
        for text in [
            "name eq 'o''BRIEN 50%'",
            "amount eq 19.950 and day ge 2025-11-28",
            "amount gt 20 or not (day lt 2025-11-28)",
            "contains(name,'brien') and startswith(name,'O') and endswith(name,'%')",
            "contains(name,'b_ien')",
            "startswith(name,'[m-p]')",
            "name ne null and amount ne 19.96",
            "Microsoft.Dynamics.CRM.In(PropertyName='amount',PropertyValues=[\"1\",\"19.95\"])",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        assert_eq!(holds("amount gt 20 or day lt 2025-11-28 and name ne null"), Ok(false));
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(holds("naem eq 'x'"), Err(Invalid::Column("naem".to_owned())));
        assert_eq!(holds("amount eq '19.95'"), Err(Invalid::Type { column: "Edm.Decimal", operator: "Equal" }));
        assert!(matches!(holds("name eq 'x"), Err(Invalid::Syntax(_))));
        assert!(matches!(holds("year(day) eq 2025"), Err(Invalid::OutsideContract(_))));
    }
}
