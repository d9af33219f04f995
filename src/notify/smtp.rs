//! One SMTP conversation, led step by step so that it is known how far it came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret as _;

use super::error::Error;
use super::mailer::{Outcome, without_addresses};
use crate::settings::{Smtp, SmtpSecurity};
use crate::telemetry::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// RFC 5321 lets a server think for minutes; nobody waits that long for a summary.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// Without it, a file of anything reads as no authorities at all.
const MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";
const PIECE_BYTES: usize = 16 * 1024;

/// The server that takes our mail.
#[derive(Clone)]
pub(super) struct Server {
    settings: Smtp,
    tls: Option<TlsParameters>,
}

/// A step that failed before the message was complete: nothing was delivered.
struct Stopped {
    step: &'static str,
    cause: Option<SmtpError>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(settings: &Smtp) -> Result<Self, Error> {
        let tls = match settings.security {
            SmtpSecurity::None => None,
            SmtpSecurity::Starttls | SmtpSecurity::Tls => Some(tls(settings)?),
        };
        Ok(Self { settings: settings.clone(), tls })
    }

    pub(super) async fn send(&self, envelope: &Envelope, eml: &[u8]) -> Outcome {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(stopped) => return stopped.outcome(),
        };
        let refused = match introduce(&mut connection, envelope).await {
            Ok(refused) => refused,
            Err(stopped) => {
                connection.abort().await;
                return stopped.outcome();
            }
        };
        let outcome = content(&mut connection, eml, refused).await;
        match &outcome {
            // The answer is in; how the other side takes our leave changes nothing.
            Outcome::Accepted { .. } => drop(tokio::time::timeout(CONNECT_TIMEOUT, connection.quit()).await),
            _ => drop(tokio::time::timeout(CONNECT_TIMEOUT, connection.abort()).await),
        }
        outcome
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, Stopped> {
        let hello = ClientId::default();
        let smtp = &self.settings;
        let first_tls = match smtp.security {
            SmtpSecurity::Tls => self.tls.clone(),
            SmtpSecurity::None | SmtpSecurity::Starttls => None,
        };
        let address = (smtp.host.as_str(), smtp.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), &hello, first_tls, None);
        let mut connection = within("connect", connecting).await?;
        if let (SmtpSecurity::Starttls, Some(tls)) = (smtp.security, &self.tls) {
            within("STARTTLS", connection.starttls(tls.clone(), &hello)).await?;
        }
        if let (Some(user), Some(password)) = (&smtp.username, &smtp.password) {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            within("sign in", connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)).await?;
        }
        Ok(connection)
    }
}

fn tls(settings: &Smtp) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Authorities { path: path.clone(), source };
        let pem = std::fs::read(path).map_err(|source| failed(source.into()))?;
        if !pem.windows(MARK.len()).any(|window| window == MARK) {
            return Err(failed("it holds no certificate".into()));
        }
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|source| failed(source.into()))?);
    }
    builder.build().map_err(|source| Error::Tls { host: settings.host.clone(), source })
}

/// Says who writes to whom; answers how many recipients the server refused.
async fn introduce(connection: &mut AsyncSmtpConnection, envelope: &Envelope) -> Result<usize, Stopped> {
    let sender = envelope.from().cloned();
    within("MAIL FROM", connection.command(Mail::new(sender, Vec::new()))).await?;
    let recipients = envelope.to();
    let mut refusals = Vec::new();
    for recipient in recipients {
        match within("RCPT TO", connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await {
            Ok(_) => {}
            Err(stopped) if stopped.permanent() => refusals.push(stopped),
            // Put off: better all a little later than one now and one twice.
            Err(stopped) => return Err(stopped),
        }
    }
    let refused = refusals.len();
    if refused == recipients.len()
        && let Some(last) = refusals.pop()
    {
        return Err(last);
    }
    within("DATA", connection.command(Data)).await?;
    Ok(refused)
}

/// Sends the message itself. Once its last dot may have left, only a clear
/// refusal says that it was not taken.
async fn content(connection: &mut AsyncSmtpConnection, eml: &[u8], refused: usize) -> Outcome {
    let ended = AtomicBool::new(false);
    let mut pieces = eml.chunks(PIECE_BYTES);
    let pieces = std::iter::from_fn(|| {
        let piece = pieces.next();
        // The final dot follows when no piece is left.
        ended.store(piece.is_none(), Ordering::Relaxed);
        piece
    });
    let answer = within("send the message", connection.message_iter(pieces)).await;
    match answer {
        Ok(_) => Outcome::Accepted { refused },
        Err(stopped) if !ended.load(Ordering::Relaxed) || stopped.answered() => stopped.outcome(),
        Err(stopped) => {
            Outcome::Uncertain { reason: format!("no answer after the message was sent: {}", stopped.reason()) }
        }
    }
}

async fn within<T>(step: &'static str, work: impl Future<Output = Result<T, SmtpError>>) -> Result<T, Stopped> {
    match tokio::time::timeout(STEP_TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(cause)) => Err(Stopped { step, cause: Some(cause) }),
        Err(_) => Err(Stopped { step, cause: None }),
    }
}

impl Stopped {
    fn permanent(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.is_permanent())
    }

    /// Whether the server itself said no, for now or for good.
    fn answered(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.is_permanent() || cause.is_transient())
    }

    fn reason(&self) -> String {
        match &self.cause {
            Some(cause) => without_addresses(&format!("{}: {}", self.step, chain(cause))),
            None => format!("{}: no answer within {} seconds", self.step, STEP_TIMEOUT.as_secs()),
        }
    }

    fn outcome(&self) -> Outcome {
        // What we refuse ourselves, such as a server without STARTTLS, stays so.
        let lasting = self.permanent() || self.cause.as_ref().is_some_and(|cause| cause.is_client());
        Outcome::Failed { reason: self.reason(), passing: !lasting }
    }
}
