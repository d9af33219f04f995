//! The ways a mail leaves, and what became of it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::Mailbox;

use super::error::Error;
use super::graph::Graph;
use super::message::Message;
use super::render::Rendered;
use super::smtp::Server;
use crate::settings::{self, MailTransport};

/// Composes, keeps and sends mail as `[mail]` says.
#[derive(Debug, Clone)]
pub struct Mailer {
    from: Mailbox,
    to: Vec<Mailbox>,
    keep_dir: Option<PathBuf>,
    transport: Transport,
}

#[derive(Debug, Clone)]
enum Transport {
    Smtp(Box<Server>),
    Graph(Graph),
    Folder,
    None,
}

/// What became of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it.
    Accepted {
        /// Recipients it refused; the others have it.
        refused: usize,
    },
    /// It may have been taken: the answer was lost. Never sent again.
    Uncertain {
        /// What was seen, addresses left out.
        reason: String,
    },
    /// It was certainly not taken.
    Failed {
        /// What was said, addresses left out.
        reason: String,
        /// Whether a later attempt may go better.
        passing: bool,
    },
}

impl Mailer {
    /// Prepares the transport of `[mail]`. Only `graph` needs a [`Graph`].
    ///
    /// # Errors
    /// When the settings do not make a way to send.
    pub fn new(mail: &settings::Mail, graph: Option<Graph>) -> Result<Self, Error> {
        let parse =
            |key: &'static str, text: &str| text.parse::<Mailbox>().map_err(|source| Error::Address { key, source });
        let from = parse("mail.from", &mail.from)?;
        let to = mail.to.iter().map(|text| parse("mail.to", text)).collect::<Result<Vec<_>, _>>()?;
        let keep_dir = mail.keep_dir.clone().filter(|folder| !folder.as_os_str().is_empty());
        let transport = match mail.transport {
            MailTransport::Smtp => Transport::Smtp(Box::new(Server::new(&mail.smtp)?)),
            MailTransport::Graph => Transport::Graph(graph.ok_or(Error::NoGraph)?),
            MailTransport::Folder if keep_dir.is_none() => return Err(Error::NoFolder),
            MailTransport::Folder => Transport::Folder,
            MailTransport::None => Transport::None,
        };
        if to.is_empty() && mail.transport != MailTransport::None {
            return Err(Error::NoRecipients);
        }
        Ok(Self { from, to, keep_dir, transport })
    }

    /// Says whether the kept files are all that is wanted.
    pub(super) fn only_keeps(&self) -> bool {
        matches!(self.transport, Transport::Folder)
    }

    /// Says whether mail is switched off.
    pub fn off(&self) -> bool {
        matches!(self.transport, Transport::None)
    }

    /// The same way out to one person, in place of `mail.to`.
    pub(super) fn to_one(&self, address: &str) -> Result<Self, Error> {
        let to = address.parse().map_err(|source| Error::Address { key: "the invitation", source })?;
        Ok(Self { to: vec![to], ..self.clone() })
    }

    /// Composes the message; `key` names what it is about.
    ///
    /// # Errors
    /// When a header cannot be written.
    pub fn compose(&self, key: &str, rendered: &Rendered, now: DateTime<Utc>) -> Result<Message, Error> {
        Message::compose(key, &self.from, &self.to, rendered, now)
    }

    /// Keeps the message in `keep_dir` and names its `.eml` and `.html`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep(&self, message: &Message, now: DateTime<Utc>) -> Result<Option<(PathBuf, PathBuf)>, Error> {
        let Some(folder) = &self.keep_dir else {
            return Ok(None);
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Keep { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let stem = message.file_stem(now);
        // Two mails of one second and subject both stay.
        for number in 1_u32.. {
            let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            let (eml, html) = (folder.join(format!("{name}.eml")), folder.join(format!("{name}.html")));
            match write_new(&eml, &message.eml) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(&eml)(error)),
            }
            // A crash in between leaves an .eml without its .html, which nobody misses.
            write_new(&html, message.html.as_ref()).map_err(failed(&html))?;
            return Ok(Some((eml, html)));
        }
        Ok(None)
    }

    /// Tries once to send.
    pub async fn deliver(&self, envelope: &Envelope, eml: &[u8]) -> Outcome {
        match &self.transport {
            Transport::Smtp(server) => server.send(envelope, eml).await,
            Transport::Graph(graph) => {
                let sender = envelope.from().map_or_else(String::new, ToString::to_string);
                graph.send(&sender, eml).await
            }
            Transport::Folder | Transport::None => Outcome::Accepted { refused: 0 },
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Takes addresses out of what a server said: they are people's.
pub(super) fn without_addresses(text: &str) -> String {
    let word = |word: &str| {
        if word.contains('@') { "(address)".to_owned() } else { word.to_owned() }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use settings::{Mail, Smtp, SmtpSecurity};

    use super::*;

    fn mail(transport: MailTransport, keep_dir: Option<PathBuf>) -> Mail {
        let smtp = Smtp {
            host: "localhost".into(),
            port: 25,
            security: SmtpSecurity::None,
            username: None,
            password: None,
            ca_file: None,
        };
        Mail { transport, from: "storekeeper@example.com".into(), to: vec!["ann@example.com".into()], keep_dir, smtp }
    }

    #[test]
    fn two_mails_of_one_second_are_both_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&mail(MailTransport::Folder, Some(folder.path().join("mail"))), None).unwrap();
        let rendered = Rendered { subject: "storekeeper: hello".into(), html: "<p>hi</p>".into(), text: "hi".into() };
        let now = Utc.with_ymd_and_hms(2026, 3, 2, 6, 5, 12).unwrap();
        let mut names = Vec::new();
        for key in ["a", "b"] {
            let message = mailer.compose(key, &rendered, now).unwrap();
            let (eml, html) = mailer.keep(&message, now).unwrap().unwrap();
            assert_eq!(std::fs::read(&eml).unwrap(), message.eml);
            assert_eq!(std::fs::read_to_string(html).unwrap(), "<p>hi</p>");
            names.push(eml.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!(names, ["20260302T060512Z-hello.eml", "20260302T060512Z-hello-2.eml"]);
    }

    #[test]
    fn settings_that_reach_nobody_are_refused() {
        let refused = |mail: &Mail| Mailer::new(mail, None).unwrap_err().to_string();
        assert_eq!(
            refused(&mail(MailTransport::Folder, None)),
            "`mail.transport` is `folder`, and `mail.keep_dir` is not set"
        );
        assert_eq!(
            refused(&mail(MailTransport::Graph, None)),
            "`mail.transport` is `graph`, and `[microsoft]` is not set"
        );
        let nobody = Mail { to: Vec::new(), ..mail(MailTransport::Smtp, None) };
        assert_eq!(refused(&nobody), "`mail.to` names nobody");
        let odd = Mail { to: vec!["not an address".into()], ..mail(MailTransport::Smtp, None) };
        assert_eq!(refused(&odd), "failed to read an address in `mail.to`");
    }

    #[test]
    fn a_servers_words_lose_their_addresses() {
        assert_eq!(without_addresses("550 <ann@example.com>: user unknown"), "550 (address) user unknown");
    }
}
