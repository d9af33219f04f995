//! What an answer to a write means for the next one. Pure.

use super::dataverse_flow::Limit;
use super::service::Problem;

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
    let problem = Problem::parse(body);
    let says = |part: &str| problem.message.contains(part);
    match status {
        200..=299 => Reaction::Done,
        429 => match Limit::of(&problem) {
            Limit::Requests => Reaction::Again,
            Limit::Time => Reaction::Smaller,
            Limit::Concurrency => Reaction::Calmer,
        },
        413 => Reaction::Smaller,
        500 if says("SQL timeout expired") || says("-2147204783") || says("Sql Number: 1205") => Reaction::Smaller,
        408 | 425 | 500 | 502 | 503 | 504 => Reaction::Again,
        // The table as a whole: no right, no such address, nobody signed in.
        401 | 403 | 405 | 501 => Reaction::Stop,
        404 if problem.is("0x80060888") => Reaction::Stop,
        _ => Reaction::Isolate(reason(status, &problem)),
    }
}

/// The reason of a refusal; a page for people has none.
pub(super) fn reason(status: u16, problem: &Problem) -> Reason {
    let code = match (status, problem.code()) {
        (412, code) => Conflict::of(code, false).word().to_owned(),
        (_, "") => format!("status {status}"),
        (_, code) => code.to_owned(),
    };
    let message = match problem.message.as_str() {
        "" => format!("refused with status {status}"),
        message => message.chars().take(400).collect(),
    };
    Reason { code, message }
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
}
