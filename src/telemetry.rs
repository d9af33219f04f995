//! Logging: readable on a terminal, JSON otherwise or on request.
//!
//! A run's id is a span field, so it stands on every line of that run.

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts logging to standard error. Calling it twice leaves the first in place.
pub fn init(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as in tests, is refused by the subscriber: the first stays.
    let _already_set = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
}

/// Writes an error with all its causes in one line: JSON logs drop sources. A cause whose words
/// the link before it repeats, as sqlx's do, is said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !last.contains(&words) {
            let _infallible = write!(text, ": {words}");
            last = words;
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn a_cause_that_the_link_before_repeats_is_said_once() {
        let told = ["failed to load", "error returned from database: no such table", "no such table", "on disk"];
        let link = told.into_iter().rev().fold(None, |source, text| Some(Box::new(Link { text, source })));
        assert_eq!(chain(&*link.unwrap()), "failed to load: error returned from database: no such table: on disk");
    }
}
