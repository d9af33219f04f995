//! Why a mail was not sent.

use std::path::PathBuf;

/// Why a mail was not sent. A load never fails because of one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `mail.from` or one of `mail.to` is no address. The address is left out: it is a person's.
    #[error("failed to read an address in `{key}`")]
    Address {
        /// `mail.from` or `mail.to`.
        key: &'static str,
        /// What is wrong with it.
        source: lettre::address::AddressError,
    },
    /// There is nobody to send to.
    #[error("`mail.to` names nobody")]
    NoRecipients,
    /// Mail is switched off, and this one cannot be left out.
    #[error("`mail.transport` is `none`")]
    Off,
    /// The transport is `folder` and there is no folder.
    #[error("`mail.transport` is `folder`, and `mail.keep_dir` is not set")]
    NoFolder,
    /// The transport is Graph, and the caller has no way to it.
    #[error("`mail.transport` is `graph`, and `[microsoft]` is not set")]
    NoGraph,
    /// TLS for the mail server could not be set up.
    #[error("failed to prepare TLS for mail server `{host}`")]
    Tls {
        /// `mail.smtp.host`.
        host: String,
        /// Why.
        source: lettre::transport::smtp::Error,
    },
    /// The authorities of `mail.smtp.ca_file` could not be read.
    #[error("failed to read `mail.smtp.ca_file` `{path}`")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A template of ours could not be filled.
    #[error("failed to render the mail")]
    Render(#[source] minijinja::Error),
    /// The message could not be composed.
    #[error("failed to compose the mail")]
    Compose(#[source] lettre::error::Error),
    /// A copy could not be kept.
    #[error("failed to keep the mail as `{path}`")]
    Keep {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The outbox could not be read or written.
    #[error("failed to {action} the mail outbox")]
    Outbox {
        /// `read`, `write`.
        action: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// It was tried, and it certainly did not leave.
    #[error("failed to send the mail ({reason})")]
    Send {
        /// What the other side said, addresses left out.
        reason: String,
        /// Whether it stays queued and is tried again by `serve`.
        queued: bool,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } => Some("write it as name@example.com or Name <name@example.com>"),
            Self::NoRecipients => Some("set `mail.to`, or `mail.transport = \"none\"`"),
            Self::Off => Some("set `[mail]`: an invitation can go no other way"),
            Self::NoFolder => Some("set `mail.keep_dir`"),
            Self::NoGraph => Some("fill in `[microsoft]`, or send by `mail.transport = \"smtp\"`"),
            Self::Tls { .. } => Some("check `mail.smtp.host`: it must be the name in the server's certificate"),
            Self::Authorities { .. } => Some("it must be a file of PEM certificates"),
            Self::Keep { .. } => Some("check the disk and the rights on `mail.keep_dir`"),
            Self::Outbox { .. } => Some("run `storekeeper db status`; a missing table means `db migrate` has not run"),
            Self::Send { queued: true, .. } => {
                Some("it is queued and `storekeeper serve` tries again; check `[mail]` if that fails too")
            }
            Self::Send { queued: false, .. } => {
                Some("check `[mail]` and the recipients; the mail is kept in `mail.keep_dir` if that is set")
            }
            Self::Render(_) | Self::Compose(_) => None,
        }
    }
}
