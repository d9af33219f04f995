//! `sendMail`: accepted, kept, delivered nowhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::state::Problem;
use crate::wire::Request;

const REQUEST_LIMIT_BYTES: usize = 4 * 1024 * 1024;
const ATTACHMENT_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// Members a message may have when it is sent; any other is refused by name.
const MEMBERS: &[&str] = &[
    "subject",
    "body",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "from",
    "sender",
    "importance",
    "internetMessageHeaders",
    "attachments",
    "categories",
    "hasAttachments",
];

/// One mail handed to `sendMail`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mail {
    /// The mailbox in the URL.
    pub mailbox: String,
    /// The whole JSON body, if it came as JSON.
    pub json: Option<Value>,
    /// The RFC 5322 message, if it came as MIME.
    pub mime: Option<Vec<u8>>,
}

impl Mail {
    /// The subject line as it was sent (for MIME, still encoded).
    pub fn subject(&self) -> Option<String> {
        if let Some(json) = &self.json {
            return json["message"]["subject"].as_str().map(str::to_owned);
        }
        let text = String::from_utf8_lossy(self.mime.as_deref()?);
        text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("subject").then(|| value.trim().to_owned())
        })
    }
}

/// Reads the mail of a request, or says why it is refused.
pub(super) fn read(mailbox: &str, request: &Request) -> Result<Mail, Problem> {
    if request.body.len() > REQUEST_LIMIT_BYTES {
        return Err(too_large());
    }
    let content_type = request.header("content-type").unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim() {
        "text/plain" => {
            let text: Vec<u8> = request.body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let mime = STANDARD.decode(text).map_err(|_| {
                let message = "Invalid base64 string for MIME content.";
                Problem::new(400, "ErrorMimeContentInvalidBase64String", message)
            })?;
            Ok(Mail { mailbox: mailbox.to_owned(), json: None, mime: Some(mime) })
        }
        "application/json" => {
            let json: Value = serde_json::from_slice(&request.body)
                .map_err(|_| Problem::new(400, "BadRequest", "Unable to read JSON request payload."))?;
            check(&json)?;
            Ok(Mail { mailbox: mailbox.to_owned(), json: Some(json), mime: None })
        }
        _ => Err(Problem::new(400, "RequestBodyRead", "A content type is required: JSON or MIME.")),
    }
}

fn check(json: &Value) -> Result<(), Problem> {
    let Some(message) = json["message"].as_object() else {
        let text = "The value of the parameter 'Message' is empty.";
        return Err(Problem::new(400, "ErrorInvalidParameter", text));
    };
    if let Some(unknown) = message.keys().find(|name| !MEMBERS.contains(&name.as_str()) && !name.starts_with('@')) {
        let text = format!("The property '{unknown}' does not exist on type 'microsoft.graph.message'.");
        return Err(Problem::new(400, "RequestBodyRead", text));
    }
    let mut recipients = 0;
    for list in ["toRecipients", "ccRecipients", "bccRecipients"] {
        for recipient in json["message"][list].as_array().into_iter().flatten() {
            let address = recipient["emailAddress"]["address"].as_str().unwrap_or_default();
            if !looks_like_an_address(address) {
                return Err(invalid_recipients());
            }
            recipients += 1;
        }
    }
    if recipients == 0 {
        return Err(invalid_recipients());
    }
    for header in json["message"]["internetMessageHeaders"].as_array().into_iter().flatten() {
        if !header["name"].as_str().unwrap_or_default().to_ascii_lowercase().starts_with("x-") {
            let text = "The internet message header name should start with 'x-' or 'X-'.";
            return Err(Problem::new(400, "InvalidInternetMessageHeader", text));
        }
    }
    for attachment in json["message"]["attachments"].as_array().into_iter().flatten() {
        let content = attachment["contentBytes"].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(content).map_err(|_| {
            Problem::new(400, "RequestBodyRead", "Cannot convert the literal to the expected type 'Edm.Binary'.")
        })?;
        if bytes.len() >= ATTACHMENT_LIMIT_BYTES {
            return Err(too_large());
        }
    }
    Ok(())
}

fn looks_like_an_address(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace))
}

fn invalid_recipients() -> Problem {
    let text = "At least one recipient isn't valid., A valid address is required.";
    Problem::new(400, "ErrorInvalidRecipients", text)
}

fn too_large() -> Problem {
    Problem::new(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content_type: &str, body: &str) -> Option<(u16, &'static str)> {
        let request = Request {
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.as_bytes().to_vec(),
            ..Request::default()
        };
        read("a@example.com", &request).err().map(|problem| (problem.status, problem.code))
    }

    #[test]
    fn what_the_service_would_refuse_is_refused() {
        let json = "application/json; charset=utf-8";
        let to = r#""toRecipients":[{"emailAddress":{"address":"b@example.com"}}]"#;
        assert_eq!(refusal(json, &format!(r#"{{"message":{{"subject":"x",{to}}}}}"#)), None);
        assert_eq!(refusal("text/plain", "SGVsbG8=\r\n"), None);
        assert_eq!(refusal("text/plain", "not base64"), Some((400, "ErrorMimeContentInvalidBase64String")));
        assert_eq!(refusal(json, r#"{"message":{"toRecipient":[]}}"#), Some((400, "RequestBodyRead")));
        assert_eq!(refusal(json, r#"{"message":{"subject":"x"}}"#), Some((400, "ErrorInvalidRecipients")));
        assert_eq!(refusal(json, "{}"), Some((400, "ErrorInvalidParameter")));
    }
}
