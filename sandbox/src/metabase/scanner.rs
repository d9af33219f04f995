//! Takes SQL with template tags apart, minding quotes and comments.

use super::template::Refusal;

/// A part of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Tag { name: String, quoted: bool },
    Optional(Vec<Piece>),
}

/// Where in the SQL the reader stands.
#[derive(Clone, PartialEq)]
enum Inside {
    Code,
    Quote(char),
    LineComment,
    BlockComment,
    Dollar(String),
}

/// Splits a template into its parts.
pub(super) fn parse(sql: &str) -> Result<Vec<Piece>, Refusal> {
    let mut rest = sql;
    let mut inside = Inside::Code;
    let mut stack: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut text = String::new();
    while let Some(letter) = rest.chars().next() {
        let comment = matches!(inside, Inside::LineComment | Inside::BlockComment);
        if !comment && rest.starts_with("{{") {
            let end = rest.find("}}").ok_or_else(|| unsound("Unterminated {{."))?;
            flush(&mut text, &mut stack);
            top(&mut stack).push(Piece::Tag { name: rest[2..end].trim().to_owned(), quoted: inside != Inside::Code });
            rest = &rest[end + 2..];
            continue;
        }
        if inside == Inside::Code && rest.starts_with("[[") {
            flush(&mut text, &mut stack);
            stack.push(Vec::new());
            rest = &rest[2..];
            continue;
        }
        if inside == Inside::Code && stack.len() > 1 && rest.starts_with("]]") {
            flush(&mut text, &mut stack);
            let pieces = stack.pop().unwrap_or_default();
            top(&mut stack).push(Piece::Optional(pieces));
            rest = &rest[2..];
            continue;
        }
        let taken = step(&mut inside, rest, letter);
        text.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    flush(&mut text, &mut stack);
    match stack.len() {
        1 => Ok(stack.pop().unwrap_or_default()),
        _ => Err(unsound("Unterminated [[.")),
    }
}

/// Moves over one letter or delimiter; says how many bytes that were.
fn step(inside: &mut Inside, rest: &str, letter: char) -> usize {
    let mut next = None;
    let mut taken = letter.len_utf8();
    match inside {
        Inside::Code => match letter {
            '\'' | '"' => next = Some(Inside::Quote(letter)),
            '-' if rest.starts_with("--") => next = Some(Inside::LineComment),
            '/' if rest.starts_with("/*") => next = Some(Inside::BlockComment),
            '$' => {
                if let Some(mark) = dollar_mark(rest) {
                    taken = mark.len();
                    next = Some(Inside::Dollar(mark.to_owned()));
                }
            }
            _ => {}
        },
        // A doubled quote closes and opens again, which comes to the same.
        Inside::Quote(quote) if letter == *quote => next = Some(Inside::Code),
        Inside::LineComment if letter == '\n' => next = Some(Inside::Code),
        Inside::BlockComment if rest.starts_with("*/") => {
            taken = 2;
            next = Some(Inside::Code);
        }
        Inside::Dollar(mark) if rest.starts_with(mark.as_str()) => {
            taken = mark.len();
            next = Some(Inside::Code);
        }
        _ => {}
    }
    if let Some(next) = next {
        *inside = next;
    }
    taken
}

fn dollar_mark(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 2;
    let name = &rest[1..end - 1];
    let sound = !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    sound.then(|| &rest[..end])
}

fn flush(text: &mut String, stack: &mut [Vec<Piece>]) {
    if !text.is_empty() {
        top(stack).push(Piece::Text(std::mem::take(text)));
    }
}

fn top(stack: &mut [Vec<Piece>]) -> &mut Vec<Piece> {
    stack.last_mut().expect("the outermost level is never popped before the end")
}

fn unsound(text: &str) -> Refusal {
    Refusal { text: text.to_owned(), kind: "invalid-query" }
}
