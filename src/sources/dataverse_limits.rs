//! What an answer to a write means for the next one. Pure.

use serde_json::Value;

/// The largest batch that is sent in one call.
const MOST_ROWS: usize = 1000;
/// Calls at once, at most: the service's hint may be far higher, but then others suffer.
const MOST_CALLS: usize = 4;
/// Calls in a row that must pass before the pace quickens again.
const CALM_CALLS: u32 = 3;

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The rows are written.
    Done,
    /// The same again: the client has waited, or will.
    Again,
    /// Fewer rows in one call: it took too long, was too large, or met another writer.
    Smaller,
    /// Fewer calls at once.
    Calmer,
    /// A row among them is bad, or the one row is.
    Isolate(Reason),
    /// Nothing of this kind will pass.
    Stop,
}

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The service's code, or a word of ours.
    pub code: String,
    /// In words.
    pub message: String,
}

/// What a 412 means: three causes share the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Another row has these values of an alternate key.
    KeyTaken,
    /// The row is there, and was to be created.
    Exists,
    /// The row was changed since it was read.
    Changed,
}

impl Conflict {
    /// Tells by the code, and where it is empty by what was sent.
    pub(super) fn of(code: &str, created_only: bool) -> Self {
        match code.to_ascii_lowercase().as_str() {
            "0x80060882" => Self::Changed,
            "0x80040237" if created_only => Self::Exists,
            "0x80060892" | "0x80040237" | "0x80040333" => Self::KeyTaken,
            _ if created_only => Self::Exists,
            _ => Self::Changed,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::KeyTaken => "key_taken",
            Self::Exists => "exists",
            Self::Changed => "changed",
        }
    }
}

/// Judges an answer to a write that may be repeated.
pub(super) fn react(status: u16, body: &[u8]) -> Reaction {
    let reason = reason(status, body);
    let says = |part: &str| reason.message.contains(part);
    match status {
        200..=299 => Reaction::Done,
        429 if reason.code.eq_ignore_ascii_case("0x80072321") => Reaction::Smaller,
        429 if reason.code.eq_ignore_ascii_case("0x80072326") => Reaction::Calmer,
        413 => Reaction::Smaller,
        500 if says("SQL timeout expired") || says("-2147204783") || says("Sql Number: 1205") => Reaction::Smaller,
        408 | 425 | 429 | 500 | 502 | 503 | 504 => Reaction::Again,
        // The table as a whole: no right, no such address, nobody signed in.
        401 | 403 | 405 | 501 => Reaction::Stop,
        404 if reason.code.eq_ignore_ascii_case("0x80060888") => Reaction::Stop,
        _ => Reaction::Isolate(reason),
    }
}

/// Reads the reason of a refusal; a page for people has none.
pub(super) fn reason(status: u16, body: &[u8]) -> Reason {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default();
    let message = text("message").split_whitespace().collect::<Vec<_>>().join(" ");
    let code = match (status, text("code")) {
        (412, code) => Conflict::of(code, false).word().to_owned(),
        (_, "") => format!("status {status}"),
        (_, code) => code.to_owned(),
    };
    let message = if message.is_empty() { format!("refused with status {status}") } else { message };
    Reason { code, message: message.chars().take(400).collect() }
}

/// How many rows in a call, and how many calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    rows: usize,
    calls: usize,
    calm: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: MOST_ROWS, calls: 2, calm: 0 }
    }
}

impl Pace {
    /// Rows in one call.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Calls at once.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes an answer into account; `hint` is the parallelism that the service recommends.
    pub(super) fn note(&mut self, reaction: &Reaction, hint: Option<usize>) {
        match reaction {
            Reaction::Smaller => (self.rows, self.calm) = ((self.rows / 2).max(1), 0),
            Reaction::Calmer => (self.calls, self.calm) = ((self.calls / 2).max(1), 0),
            Reaction::Done => {
                self.calm += 1;
                if self.calm >= CALM_CALLS {
                    self.calm = 0;
                    self.rows = (self.rows + self.rows / 2 + 1).min(MOST_ROWS);
                    self.calls = (self.calls + 1).min(MOST_CALLS);
                }
            }
            Reaction::Again | Reaction::Isolate(_) | Reaction::Stop => {}
        }
        if let Some(hint) = hint {
            self.calls = self.calls.min(hint.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> Vec<u8> {
        serde_json::json!({"error": {"code": code, "message": message}}).to_string().into_bytes()
    }

    #[test]
    fn each_limit_has_a_reaction_of_its_own() {
        assert_eq!(react(429, &error("0x80072322", "Number of requests exceeded")), Reaction::Again);
        assert_eq!(react(429, &error("0x80072321", "Combined execution time")), Reaction::Smaller);
        assert_eq!(react(429, &error("0x80072326", "Number of concurrent requests")), Reaction::Calmer);
        assert_eq!(react(429, b""), Reaction::Again);
        assert_eq!(react(413, b"<html>"), Reaction::Smaller);
        assert_eq!(react(500, &error("0x80044151", "Sql error: SQL timeout expired.")), Reaction::Smaller);
        assert_eq!(react(500, &error("0x80044150", "Generic SQL error. Sql Number: 1205")), Reaction::Smaller);
        assert_eq!(react(500, &error("", "An unexpected error occurred.")), Reaction::Again);
        assert_eq!(react(502, b"<html>"), Reaction::Again);
        assert_eq!(react(403, &error("0x80040220", "missing privilege")), Reaction::Stop);
        assert_eq!(react(404, &error("0x80060888", "Resource not found for the segment")), Reaction::Stop);
        assert_eq!(react(204, b""), Reaction::Done);
        let Reaction::Isolate(reason) = react(400, &error("0x80044331", "The  length")) else { panic!("a bad row") };
        assert_eq!((reason.code.as_str(), reason.message.as_str()), ("0x80044331", "The length"));
    }

    #[test]
    fn the_three_causes_of_a_412_are_told_apart() {
        assert_eq!(Conflict::of("0x80060882", false), Conflict::Changed);
        assert_eq!(Conflict::of("0x80060892", true), Conflict::KeyTaken);
        assert_eq!(Conflict::of("0x80040237", true), Conflict::Exists);
        assert_eq!(Conflict::of("0x80040237", false), Conflict::KeyTaken);
        assert_eq!((Conflict::of("", true), Conflict::of("", false)), (Conflict::Exists, Conflict::Changed));
    }

    #[test]
    fn the_pace_slackens_at_once_and_quickens_slowly() {
        let mut pace = Pace::default();
        pace.note(&Reaction::Smaller, None);
        pace.note(&Reaction::Smaller, None);
        pace.note(&Reaction::Calmer, None);
        assert_eq!((pace.rows(), pace.calls()), (250, 1));
        for _ in 0..2 {
            pace.note(&Reaction::Done, Some(52));
        }
        assert_eq!((pace.rows(), pace.calls()), (250, 1));
        pace.note(&Reaction::Done, Some(52));
        assert_eq!((pace.rows(), pace.calls()), (376, 2));
        for _ in 0..30 {
            pace.note(&Reaction::Done, Some(3));
        }
        assert_eq!((pace.rows(), pace.calls()), (1000, 3));
        for _ in 0..30 {
            pace.note(&Reaction::Smaller, None);
        }
        assert_eq!(pace.rows(), 1);
    }
}
