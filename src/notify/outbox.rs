//! Queues a mail first and sends it then: neither lost nor sent twice.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tracing::{error, info, warn};

use super::error::Error;
use super::mailer::{Mailer, Outcome};
use super::message::hex;
use super::summary::Summary;
use super::tables::{self, Claimed};
use crate::settings;
use crate::telemetry::chain;
use crate::warehouse::Warehouse;

/// Minutes before the second, third, … attempt; after the last one a mail has failed.
const PAUSES_MINUTES: [i64; 4] = [1, 5, 20, 60];
/// Longer than any attempt can take: what is older was left by a process that ended.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);

/// How far a mail has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Mail is switched off: nothing was written or sent.
    Off,
    /// It waits for another attempt.
    Queued,
    /// Another process sends it now.
    Sending,
    /// The other side took it, or it is kept where a folder is all that is wanted.
    Sent,
    /// It may have arrived: the answer was lost. It is not sent again.
    Uncertain,
    /// It did not leave and is not tried again.
    Failed,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Uncertain => "uncertain",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "queued" => Self::Queued,
            "sending" => Self::Sending,
            "sent" => Self::Sent,
            "failed" => Self::Failed,
            // The column's own check admits nothing else.
            _ => Self::Uncertain,
        }
    }
}

/// What became of a summary's mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Its Message-ID; none where mail is switched off.
    pub message_id: Option<String>,
    /// How far it came.
    pub state: State,
    /// The kept message.
    pub eml: Option<PathBuf>,
    /// The kept HTML part.
    pub html: Option<PathBuf>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state, &self.message_id) {
            (State::Off, _) | (_, None) => f.write_str("mail is switched off")?,
            (state, Some(message_id)) => write!(f, "mail {} as {message_id}", state.as_str())?,
        }
        match &self.html {
            Some(html) => write!(f, ", kept as {}", html.display()),
            None => Ok(()),
        }
    }
}

/// What one look into the outbox did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Flushed {
    /// Mails taken by the other side.
    pub sent: u64,
    /// Mails that may have been.
    pub uncertain: u64,
    /// Mails given up.
    pub failed: u64,
    /// Mails that wait for a later attempt.
    pub waiting: u64,
}

/// Queues and sends the mail of a summary, as `[mail]` says. For `graph`, use
/// [`send_summary_through`]. The same summary twice is one mail.
///
/// # Errors
/// When it certainly did not leave; it may stay queued, see [`Error::Send`].
pub async fn send_summary(
    warehouse: &Warehouse,
    mail: &settings::Mail,
    summary: &Summary,
    now: DateTime<Utc>,
) -> Result<Sent, Error> {
    send_summary_through(warehouse, &Mailer::new(mail, None)?, summary, now).await
}

/// Queues and sends the mail of a summary through a mailer that was made before.
///
/// # Errors
/// As [`send_summary`].
pub async fn send_summary_through(
    warehouse: &Warehouse,
    mailer: &Mailer,
    summary: &Summary,
    now: DateTime<Utc>,
) -> Result<Sent, Error> {
    send_summary_once(warehouse, mailer, summary, &key_of(summary, now), now).await
}

/// The same, where the caller says what the mail is about: asked twice with one key, it is
/// one mail.
///
/// # Errors
/// As [`send_summary`].
pub async fn send_summary_once(
    warehouse: &Warehouse,
    mailer: &Mailer,
    summary: &Summary,
    key: &str,
    now: DateTime<Utc>,
) -> Result<Sent, Error> {
    if mailer.off() {
        return Ok(Sent { message_id: None, state: State::Off, eml: None, html: None });
    }
    let pool = warehouse.pool();
    let message = mailer.compose(key, &summary.render(now)?, now)?;
    let Some(mail_id) = tables::queue(pool, &message, now).await? else {
        let Some(known) = tables::find(pool, &message.key).await? else {
            let source = sqlx::Error::RowNotFound;
            return Err(Error::Outbox { action: "read", source });
        };
        let path = |text: Option<String>| text.map(PathBuf::from);
        let sent = Sent {
            message_id: Some(known.message_id),
            state: known.state,
            eml: path(known.eml_path),
            html: path(known.html_path),
        };
        info!(mail.id = known.mail_id, mail.state = known.state.as_str(), "mail was queued before");
        return Ok(sent);
    };
    let (mut eml, mut html) = (None, None);
    match mailer.keep(&message, now) {
        Ok(None) => {}
        Ok(Some((message_file, html_file))) => {
            tables::note_files(pool, mail_id, &message_file.to_string_lossy(), &html_file.to_string_lossy()).await?;
            (eml, html) = (Some(message_file), Some(html_file));
        }
        Err(error) if mailer.only_keeps() => {
            if let Some(claimed) = tables::claim(pool, Some(mail_id), now).await? {
                let reason = chain(&error);
                tables::settle(pool, claimed.mail_id, State::Failed, Some(&reason), None, now).await?;
            }
            return Err(error);
        }
        Err(error) => warn!(mail.id = mail_id, error = %chain(&error), "mail was not kept"),
    }
    let state = match tables::claim(pool, Some(mail_id), now).await? {
        Some(claimed) => match attempt(warehouse, mailer, &claimed, now).await? {
            (State::Queued, reason) => {
                return Err(Error::Send { reason, queued: true });
            }
            (State::Failed, reason) => {
                return Err(Error::Send { reason, queued: false });
            }
            (state, _) => state,
        },
        // Another process looked into the outbox in between.
        None => State::Sending,
    };
    Ok(Sent { message_id: Some(message.message_id), state, eml, html })
}

/// Tries again what is due, and gives up on what a process left in the middle.
/// The daemon calls this every minute.
///
/// # Errors
/// When the outbox cannot be read or written.
pub async fn flush(warehouse: &Warehouse, mailer: &Mailer, now: DateTime<Utc>) -> Result<Flushed, Error> {
    let pool = warehouse.pool();
    let mut flushed = Flushed::default();
    if mailer.off() {
        return Ok(flushed);
    }
    let abandoned = tables::give_up_abandoned(pool, now - ABANDONED_AFTER, now).await?;
    if abandoned > 0 {
        warn!(mails = abandoned, "mails were left in the middle and may have arrived");
        flushed.uncertain += abandoned;
    }
    while let Some(claimed) = tables::claim(pool, None, now).await? {
        match attempt(warehouse, mailer, &claimed, now).await? {
            (State::Sent, _) => flushed.sent += 1,
            (State::Uncertain, _) => flushed.uncertain += 1,
            (State::Failed, reason) => {
                error!(mail.id = claimed.mail_id, reason, "mail was given up");
                flushed.failed += 1;
            }
            (_, reason) => warn!(mail.id = claimed.mail_id, reason, "mail was put off"),
        }
    }
    flushed.waiting = tables::waiting(pool).await?;
    Ok(flushed)
}

/// Sends a claimed mail once and writes down what became of it.
async fn attempt(
    warehouse: &Warehouse,
    mailer: &Mailer,
    claimed: &Claimed,
    now: DateTime<Utc>,
) -> Result<(State, String), Error> {
    let outcome = match &claimed.envelope {
        Some(envelope) => mailer.deliver(envelope, &claimed.eml).await,
        None => Outcome::Failed { reason: "its recipients cannot be read".to_owned(), passing: false },
    };
    let (state, reason, next_attempt_at) = decide(outcome, claimed.attempts, now);
    tables::settle(warehouse.pool(), claimed.mail_id, state, reason.as_deref(), next_attempt_at, now).await?;
    let (mail_id, message_id) = (claimed.mail_id, &claimed.message_id);
    match (state, &reason) {
        (State::Sent, None) => info!(mail.id = mail_id, message_id, "sent mail"),
        (State::Sent, Some(reason)) => warn!(mail.id = mail_id, message_id, reason, "sent mail to some only"),
        (State::Uncertain, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            warn!(mail.id = mail_id, message_id, reason, "mail may have arrived and is not repeated");
        }
        _ => {}
    }
    Ok((state, reason.unwrap_or_default()))
}

/// What follows from an attempt: the state, why, and when to try again.
fn decide(outcome: Outcome, attempts: i32, now: DateTime<Utc>) -> (State, Option<String>, Option<DateTime<Utc>>) {
    match outcome {
        Outcome::Accepted { refused: 0 } => (State::Sent, None, None),
        Outcome::Accepted { refused } => {
            (State::Sent, Some(format!("the server refused {refused} of the recipients")), None)
        }
        Outcome::Uncertain { reason } => (State::Uncertain, Some(reason), None),
        Outcome::Failed { reason, passing } => {
            let pause = usize::try_from(attempts - 1).ok().and_then(|done| PAUSES_MINUTES.get(done));
            match pause {
                Some(minutes) if passing => (State::Queued, Some(reason), Some(now + TimeDelta::minutes(*minutes))),
                _ => (State::Failed, Some(reason), None),
            }
        }
    }
}

/// Names what a summary is about. Run ids tell one summary from another; a
/// summary without runs is told by its time.
fn key_of(summary: &Summary, now: DateTime<Utc>) -> String {
    let told = serde_json::to_vec(summary).expect("a summary is plain text and numbers");
    let mut digest = Sha256::new();
    digest.update(&told);
    if summary.runs.is_empty() {
        digest.update(now.to_rfc3339());
    }
    format!("summary:{}", hex(&digest.finalize()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::super::summary::tests::run;
    use super::*;

    #[test]
    fn attempts_are_bounded_and_pauses_grow() {
        let now = Utc.with_ymd_and_hms(2026, 3, 2, 6, 0, 0).unwrap();
        let after = |attempts: i32, passing: bool| {
            let (state, _, next) = decide(Outcome::Failed { reason: "busy".into(), passing }, attempts, now);
            (state, next.map(|next| (next - now).num_minutes()))
        };
        let pauses: Vec<_> = (1..=5).map(|attempts| after(attempts, true)).collect();
        assert_eq!(
            pauses,
            [
                (State::Queued, Some(1)),
                (State::Queued, Some(5)),
                (State::Queued, Some(20)),
                (State::Queued, Some(60)),
                (State::Failed, None)
            ]
        );
        assert_eq!(after(1, false), (State::Failed, None));
    }

    #[test]
    fn what_may_have_arrived_is_never_tried_again() {
        let outcome = Outcome::Uncertain { reason: "no answer".into() };
        let (state, reason, next) = decide(outcome, 1, Utc::now());
        assert_eq!((state, reason.as_deref(), next), (State::Uncertain, Some("no answer"), None));
    }

    #[test]
    fn the_same_runs_are_one_mail_whenever_it_is_asked_for() {
        let early = Utc.with_ymd_and_hms(2026, 3, 2, 6, 0, 0).unwrap();
        let late = early + TimeDelta::minutes(5);
        let one = Summary::new(vec![run(1, "sales", 5)]);
        let two = Summary::new(vec![run(2, "sales", 5)]);
        assert_eq!(key_of(&one, early), key_of(&one, late));
        assert_ne!(key_of(&one, early), key_of(&two, early));
        assert_ne!(key_of(&Summary::default(), early), key_of(&Summary::default(), late));
    }
}
