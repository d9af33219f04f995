//! The one RFC 5322 message that every transport sends.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::render::Rendered;

/// A message as it travels. The same key, words and time give the same bytes.
#[derive(Debug, Clone)]
pub struct Message {
    /// Names what the mail is about; a second one with the same key is never sent.
    pub key: String,
    /// `<…@domain of the sender>`, made from the key.
    pub message_id: String,
    /// Subject line.
    pub subject: String,
    /// The HTML part, for the copy that people open.
    pub html: String,
    /// The whole message.
    pub eml: Vec<u8>,
    /// Who sends it to whom.
    pub envelope: Envelope,
}

impl Message {
    /// Composes a message.
    ///
    /// # Errors
    /// When there is nobody to send to, or a header cannot be written.
    pub fn compose(
        key: &str,
        from: &Mailbox,
        to: &[Mailbox],
        rendered: &Rendered,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        if to.is_empty() {
            return Err(Error::NoRecipients);
        }
        let digest = hex(&Sha256::digest(key.as_bytes()));
        let message_id = format!("<{}@{}>", &digest[..32], from.email.domain());
        let mut builder = lettre::Message::builder()
            .from(from.clone())
            .date(SystemTime::from(now))
            .subject(&rendered.subject)
            .message_id(Some(message_id.clone()));
        for mailbox in to {
            builder = builder.to(mailbox.clone());
        }
        let body = MultiPart::alternative()
            .boundary(format!("storekeeper-{}", &digest[32..56]))
            .singlepart(SinglePart::plain(rendered.text.clone()))
            .singlepart(SinglePart::html(rendered.html.clone()));
        let mut message = builder.multipart(body).map_err(Error::Compose)?;
        // Keeps out-of-office answers away (RFC 3834). The key's digest tells a
        // duplicate even where the server writes a Message-ID of its own.
        for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Storekeeper-Mail", &digest[..32])] {
            let name = HeaderName::new_from_ascii(name.to_owned()).expect("both names are plain ASCII words");
            message.headers_mut().insert_raw(HeaderValue::new(name, value.to_owned()));
        }
        Ok(Self {
            key: key.to_owned(),
            message_id,
            subject: rendered.subject.clone(),
            html: rendered.html.clone(),
            eml: message.formatted(),
            envelope: message.envelope().clone(),
        })
    }

    /// Names the files that keep it: `20260302T060512Z-2-of-10-runs-need-you`.
    pub fn file_stem(&self, now: DateTime<Utc>) -> String {
        format!("{}-{}", now.format("%Y%m%dT%H%M%SZ"), slug(&self.subject))
    }
}

/// Lower-case letters, digits and single hyphens, at most 60.
fn slug(subject: &str) -> String {
    let subject = subject.strip_prefix("storekeeper: ").unwrap_or(subject);
    let mut slug = String::new();
    for letter in subject.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.ends_with('-') && !slug.is_empty() && letter != ',' {
            slug.push('-');
        }
        if slug.len() >= 60 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "mail".to_owned() } else { slug.to_owned() }
}

/// Writes bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn composed(subject: &str) -> Message {
        let rendered =
            Rendered { subject: subject.into(), html: "<p>Żółć</p>".into(), text: "Żółć\n.\nend".into() };
        let to = ["Ann <ann@example.com>".parse().unwrap(), "bob@example.com".parse().unwrap()];
        let now = Utc.with_ymd_and_hms(2026, 3, 2, 6, 5, 12).unwrap();
        Message::compose("key", &"storekeeper@example.com".parse().unwrap(), &to, &rendered, now).unwrap()
    }

    #[test]
    fn the_same_key_words_and_time_give_the_same_bytes() {
        let (one, two) = (composed("a"), composed("a"));
        assert_eq!(one.eml, two.eml);
        let text = String::from_utf8(one.eml).unwrap();
        assert!(text.contains(&format!("Message-ID: {}\r\n", one.message_id)), "{text}");
        assert!(one.message_id.ends_with("@example.com>"));
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(text.contains("Date: Mon, 02 Mar 2026 06:05:12 +0000\r\n"), "{text}");
        assert!(text.is_ascii(), "a server without 8BITMIME takes it too");
        assert_eq!(one.envelope.to().len(), 2);
    }

    #[test]
    fn a_subject_cannot_add_a_header() {
        let message = composed("hello\r\nBcc: eve@example.com");
        let text = String::from_utf8(message.eml).unwrap();
        assert!(!text.contains("\r\nBcc:"), "{text}");
        assert_eq!(message.envelope.to().len(), 2);
    }

    #[test]
    fn a_file_is_named_by_time_and_subject() {
        let now = Utc.with_ymd_and_hms(2026, 3, 2, 6, 5, 12).unwrap();
        let stem = |subject: &str| composed(subject).file_stem(now);
        assert_eq!(stem("storekeeper: 2 of 10 runs need you"), "20260302T060512Z-2-of-10-runs-need-you");
        assert_eq!(
            stem("storekeeper: all 10 runs fine, 235,112 rows loaded"),
            "20260302T060512Z-all-10-runs-fine-235112-rows-loaded"
        );
        assert_eq!(stem("../../é"), "20260302T060512Z-mail");
    }

    #[test]
    fn a_mail_to_nobody_is_refused() {
        let rendered = Rendered { subject: "a".into(), html: String::new(), text: String::new() };
        let from = "storekeeper@example.com".parse().unwrap();
        let refused = Message::compose("key", &from, &[], &rendered, Utc::now());
        assert!(matches!(refused, Err(Error::NoRecipients)));
    }
}
