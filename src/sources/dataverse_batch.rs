//! `$batch`: many operations in one request, as `multipart/mixed`. Pure.
//!
//! Invariant: an answer without a boundary is an error, never an empty list; the
//! answers come in the order of the operations.

use std::fmt::Write as _;

/// Headers one answer may have; more is no answer of the service.
const HEADERS_LIMIT: usize = 100;

/// Why the answer of a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The content type is no multipart, or names no boundary.
    #[error("the answer of the batch is no multipart message")]
    NoMultipart,
    /// The boundary of the content type does not occur in the body.
    #[error("the boundary of the batch's answer does not occur in it")]
    NoBoundary,
    /// A part is none: what was wrong with it.
    #[error("part {part} of the batch's answer {problem}")]
    Part {
        /// Number of the part, from 1, nested ones counted.
        part: usize,
        /// In words.
        problem: &'static str,
    },
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// Path with query, encoded, e.g. `/api/data/v9.2/accounts(name='x')`.
    pub(super) target: String,
    /// Further headers, by name and value.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// JSON; empty for an operation without one.
    pub(super) body: String,
}

/// What came of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer {
    /// Status, from 100 to 599.
    pub status: u16,
    /// Headers, as they were written.
    pub headers: Vec<(String, String)>,
    /// Body; empty where there is none.
    pub body: Vec<u8>,
    /// The change set it belongs to, counted from 1; its operations were done
    /// together or not at all, and a failed one may have a single answer.
    pub change_set: Option<usize>,
}

impl BatchAnswer {
    /// A header's value; case does not count.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Writes the body of a batch without change sets, each line ended by CRLF.
pub(super) fn compose(boundary: &str, operations: &[Operation]) -> Vec<u8> {
    let mut text = String::new();
    for operation in operations {
        // Writing to a text cannot fail.
        let _infallible = write!(
            text,
            "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
             {} {} HTTP/1.1\r\n",
            operation.method, operation.target
        );
        for (name, value) in &operation.headers {
            let _infallible = write!(text, "{name}: {value}\r\n");
        }
        if operation.body.is_empty() {
            // An empty line ends the headers, and one more stands for the body.
            text.push_str("\r\n\r\n");
        } else {
            let _infallible = write!(text, "Content-Type: application/json; type=entry\r\n\r\n{}\r\n", operation.body);
        }
    }
    let _infallible = write!(text, "--{boundary}--\r\n");
    text.into_bytes()
}

/// Reads the answer of a batch, change sets flattened, in order. The outer status
/// does not matter: a batch that stopped early is a 400 with parts.
///
/// # Errors
/// When it is no multipart message, or a part of it is no answer.
pub fn parse_batch(content_type: &str, body: &[u8]) -> Result<Vec<BatchAnswer>, BatchError> {
    let boundary = boundary_of(content_type).ok_or(BatchError::NoMultipart)?;
    let mut answers = Vec::new();
    let mut change_sets = 0;
    for part in split(body, &boundary).ok_or(BatchError::NoBoundary)? {
        let at = answers.len() + 1;
        let (headers, content) = headers_of(part, at)?;
        match nested(&headers) {
            None => answers.push(answer(content, None, at)?),
            Some(inner) => {
                change_sets += 1;
                let inner = inner.ok_or(BatchError::Part { part: at, problem: "names no boundary" })?;
                let parts = split(content, &inner)
                    .ok_or(BatchError::Part { part: at, problem: "does not hold its own boundary" })?;
                for part in parts {
                    let at = answers.len() + 1;
                    let (headers, content) = headers_of(part, at)?;
                    if nested(&headers).is_some() {
                        return Err(BatchError::Part { part: at, problem: "is a change set inside a change set" });
                    }
                    answers.push(answer(content, Some(change_sets), at)?);
                }
            }
        }
    }
    Ok(answers)
}

/// The boundary of a multipart content type, quoted or not.
fn boundary_of(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    let media_type = parts.next()?.trim();
    if !media_type.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
        return None;
    }
    let boundary = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!boundary.is_empty()).then_some(boundary)
}

/// `Some` for a part that is multipart itself, with its boundary where it has one.
fn nested(headers: &[(String, String)]) -> Option<Option<String>> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
    let kind = value.trim_start().get(..10)?;
    kind.eq_ignore_ascii_case("multipart/").then(|| boundary_of(value))
}

/// The parts between the lines that hold the boundary; `None` without any such
/// line. A body that ends without its last line gives what came.
fn split<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<&'a [u8]>> {
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut parts = Vec::new();
    let mut started = None;
    let mut seen = false;
    let mut at = 0;
    while at < body.len() {
        let end = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |found| at + found + 1);
        let line = body[at..end].trim_ascii_end();
        let last = line == close.as_bytes();
        if last || line == open.as_bytes() {
            seen = true;
            if let Some(from) = started.take() {
                parts.push(&body[from..at]);
            }
            if last {
                return Some(parts);
            }
            started = Some(end);
        }
        at = end;
    }
    if let Some(from) = started {
        parts.push(&body[from..]);
    }
    seen.then_some(parts)
}

type Headers = Vec<(String, String)>;

/// Headers and what follows their empty line; blank lines ahead are passed over.
fn headers_of(part: &[u8], number: usize) -> Result<(Headers, &[u8]), BatchError> {
    let mut rest = without_blank_lines(part);
    let mut headers = Vec::new();
    loop {
        let (line, after) = line_of(rest);
        if line.is_empty() {
            return Ok((headers, after));
        }
        let wrong = |problem| BatchError::Part { part: number, problem };
        let text = std::str::from_utf8(line).map_err(|_| wrong("has a header that is no text"))?;
        let (name, value) = text.split_once(':').ok_or(wrong("has a line that is no header"))?;
        if headers.len() == HEADERS_LIMIT {
            return Err(wrong("has too many headers"));
        }
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
        rest = after;
    }
}

fn answer(content: &[u8], change_set: Option<usize>, number: usize) -> Result<BatchAnswer, BatchError> {
    let wrong = |problem| BatchError::Part { part: number, problem };
    let (line, rest) = line_of(without_blank_lines(content));
    let line = std::str::from_utf8(line).map_err(|_| wrong("has a status line that is no text"))?;
    let mut words = line.split_ascii_whitespace();
    let status = match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/") => status.parse().ok(),
        _ => None,
    };
    let status = status.filter(|status| (100..600).contains(status)).ok_or(wrong("has no status line"))?;
    let (headers, body) = match line_of(rest) {
        // The headers were empty, and the line that ends them as well.
        (b"", after) => (Vec::new(), after),
        _ => headers_of(rest, number)?,
    };
    // The line break before the boundary belongs to the boundary; further ones are harmless in JSON.
    Ok(BatchAnswer { status, headers, body: body.trim_ascii().to_vec(), change_set })
}

/// The first line without its line break, and what follows it.
fn line_of(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (text[..end].trim_ascii_end(), &text[end + 1..]),
        None => (text.trim_ascii_end(), &[]),
    }
}

fn without_blank_lines(mut text: &[u8]) -> &[u8] {
    while !text.is_empty() {
        let (line, rest) = line_of(text);
        if !line.is_empty() {
            break;
        }
        text = rest;
    }
    text
}

#[cfg(test)]
#[path = "dataverse_batch_tests.rs"]
mod tests;
