//! An SMTP server that keeps what it is given and delivers nothing.
//!
//! It holds a real conversation (RFC 5321, with SIZE, 8BITMIME, PIPELINING and
//! AUTH), so that any mail library can talk to it. A message is kept once its
//! final dot arrived and was answered with 250, and not before.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wire::{Port, Served, locked};

const SIZE_LIMIT_BYTES: usize = 25 * 1024 * 1024;
const LINE_LIMIT_BYTES: u64 = 64 * 1024;

/// One message as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The envelope's sender; empty for a bounce.
    pub from: String,
    /// The envelope's accepted recipients.
    pub to: Vec<String>,
    /// The user signed in with, if any.
    pub user: Option<String>,
    /// Headers and body, with dot-stuffing taken off.
    pub raw: Vec<u8>,
}

/// What goes wrong with the next messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpFault {
    /// Every recipient is refused for good (550).
    RefuseRecipients,
    /// The first `RCPT TO` for each address is put off (451), later ones accepted.
    Greylist,
    /// The connection closes in the middle of the message.
    DropInData,
    /// The message is kept, and the connection closes before the answer to it.
    LoseAnswer,
}

/// The server at work; dropping it closes its port.
#[derive(Debug)]
pub struct SmtpSink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _served: Served,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    kept: usize,
    folder: Option<PathBuf>,
    credentials: Option<(String, String)>,
    fault: Option<SmtpFault>,
    put_off: Vec<String>,
}

impl SmtpSink {
    /// Starts the server on a free port; with a folder, messages are also written there as `0001.eml` and on.
    pub fn start(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        let port = Port::take()?;
        let address = port.address();
        let state = Arc::new(Mutex::new(State { folder, ..State::default() }));
        let shared = Arc::clone(&state);
        let served = port.serve(move |stream| {
            let session = Session::new(Arc::clone(&shared));
            async move {
                // A client that hangs up ends its own session only.
                let _ = session.converse(stream).await;
            }
        })?;
        Ok(Self { address, state, _served: served })
    }

    /// Lists the messages accepted so far, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        locked(&self.state).messages.clone()
    }

    /// Forgets the messages; files stay.
    pub fn forget_messages(&self) {
        locked(&self.state).messages.clear();
    }

    /// From now on, mail is taken only from who signs in so.
    pub fn require_sign_in(&self, user: &str, password: &str) {
        locked(&self.state).credentials = Some((user.to_owned(), password.to_owned()));
    }

    /// Switches a fault on, or all off.
    pub fn set_fault(&self, fault: Option<SmtpFault>) {
        let mut state = locked(&self.state);
        state.fault = fault;
        state.put_off.clear();
    }
}

/// What the conversation does after an answer.
enum Next {
    Answer(String),
    ReadMessage,
    ReadSecret(SignIn),
    Quit(String),
}

/// What a sign-in still waits for.
enum SignIn {
    Plain,
    LoginUser,
    LoginPassword(String),
}

struct Session {
    state: Arc<Mutex<State>>,
    greeted: bool,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

type Reader<'a> = BufReader<tokio::net::tcp::ReadHalf<'a>>;
type Writer<'a> = tokio::net::tcp::WriteHalf<'a>;

impl Session {
    fn new(state: Arc<Mutex<State>>) -> Self {
        Self { state, greeted: false, user: None, from: None, to: Vec::new() }
    }

    async fn converse(mut self, mut stream: TcpStream) -> io::Result<()> {
        let (reading, mut writing) = stream.split();
        let mut reader = BufReader::new(reading);
        say(&mut writing, "220 sandbox ESMTP").await?;
        while let Some(line) = read_line(&mut reader).await? {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match self.command(&line) {
                Next::Answer(text) => say(&mut writing, &text).await?,
                Next::Quit(text) => return say(&mut writing, &text).await,
                Next::ReadSecret(wanted) => {
                    self.sign_in(&mut reader, &mut writing, wanted).await?;
                }
                Next::ReadMessage => {
                    say(&mut writing, "354 end with <CRLF>.<CRLF>").await?;
                    let Some(raw) = self.read_message(&mut reader).await? else {
                        return Ok(());
                    };
                    let answer = self.keep(raw);
                    if locked(&self.state).fault == Some(SmtpFault::LoseAnswer) {
                        return Ok(());
                    }
                    say(&mut writing, &answer).await?;
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, line: &str) -> Next {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let answer = match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.greeted = true;
                self.reset();
                let size = format!("250-SIZE {SIZE_LIMIT_BYTES}");
                format!(
                    "250-sandbox\r\n250-PIPELINING\r\n{size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN"
                )
            }
            "HELO" => {
                self.greeted = true;
                self.reset();
                "250 sandbox".to_owned()
            }
            "AUTH" => return self.start_sign_in(rest),
            "MAIL" => self.mail_from(rest),
            "RCPT" => self.rcpt_to(rest),
            "DATA" if self.to.is_empty() => "503 5.5.1 no recipients yet".to_owned(),
            "DATA" => return Next::ReadMessage,
            "RSET" => {
                self.reset();
                "250 2.0.0 reset".to_owned()
            }
            "NOOP" => "250 2.0.0 still here".to_owned(),
            "VRFY" => "252 2.5.0 try it".to_owned(),
            "QUIT" => return Next::Quit("221 2.0.0 bye".to_owned()),
            _ => "500 5.5.2 command not recognised".to_owned(),
        };
        Next::Answer(answer)
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }

    fn mail_from(&mut self, rest: &str) -> String {
        if !self.greeted {
            return "503 5.5.1 say EHLO first".to_owned();
        }
        if self.from.is_some() {
            return "503 5.5.1 a message is open already".to_owned();
        }
        if self.user.is_none() && locked(&self.state).credentials.is_some() {
            return "530 5.7.0 authentication required".to_owned();
        }
        let Some((address, parameters)) = path_after(rest, "FROM:") else {
            return "501 5.5.4 expected MAIL FROM:<address>".to_owned();
        };
        for parameter in parameters.split_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_uppercase().as_str() {
                "SIZE" if value.parse().is_ok_and(|size: usize| size > SIZE_LIMIT_BYTES) => {
                    return "552 5.3.4 message too big".to_owned();
                }
                "SIZE" | "BODY" | "SMTPUTF8" | "AUTH" => {}
                _ => return format!("555 5.5.4 parameter {name} not recognised"),
            }
        }
        self.from = Some(address.to_owned());
        "250 2.1.0 sender fine".to_owned()
    }

    fn rcpt_to(&mut self, rest: &str) -> String {
        if self.from.is_none() {
            return "503 5.5.1 MAIL FROM comes first".to_owned();
        }
        let Some((address, _)) = path_after(rest, "TO:") else {
            return "501 5.5.4 expected RCPT TO:<address>".to_owned();
        };
        let mut state = locked(&self.state);
        match state.fault {
            Some(SmtpFault::RefuseRecipients) => {
                return "550 5.1.1 no such mailbox here".to_owned();
            }
            Some(SmtpFault::Greylist) if !state.put_off.iter().any(|other| other == address) => {
                state.put_off.push(address.to_owned());
                return "451 4.7.1 greylisted, try again later".to_owned();
            }
            _ => {}
        }
        self.to.push(address.to_owned());
        "250 2.1.5 recipient fine".to_owned()
    }

    fn start_sign_in(&mut self, rest: &str) -> Next {
        if !self.greeted || self.user.is_some() || self.from.is_some() {
            return Next::Answer("503 5.5.1 not now".to_owned());
        }
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        match (mechanism.to_ascii_uppercase().as_str(), initial) {
            ("PLAIN", "") => Next::ReadSecret(SignIn::Plain),
            ("PLAIN", initial) => Next::Answer(self.finish_plain(initial)),
            ("LOGIN", "") => Next::ReadSecret(SignIn::LoginUser),
            ("LOGIN", initial) => match decoded(initial) {
                Some(user) => Next::ReadSecret(SignIn::LoginPassword(user)),
                None => Next::Answer("501 5.5.2 not base64".to_owned()),
            },
            _ => Next::Answer("504 5.5.4 mechanism not known".to_owned()),
        }
    }

    async fn sign_in(
        &mut self,
        reader: &mut Reader<'_>,
        writer: &mut Writer<'_>,
        mut wanted: SignIn,
    ) -> io::Result<()> {
        loop {
            let prompt = match wanted {
                SignIn::Plain => "334 ".to_owned(),
                SignIn::LoginUser => format!("334 {}", STANDARD.encode("Username:")),
                SignIn::LoginPassword(_) => format!("334 {}", STANDARD.encode("Password:")),
            };
            say(writer, &prompt).await?;
            let Some(line) = read_line(reader).await? else {
                return Ok(());
            };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line == "*" {
                return say(writer, "501 5.7.0 cancelled").await;
            }
            let answer = match (wanted, decoded(&line)) {
                (SignIn::Plain, _) => self.finish_plain(&line),
                (_, None) => "501 5.5.2 not base64".to_owned(),
                (SignIn::LoginUser, Some(user)) => {
                    wanted = SignIn::LoginPassword(user);
                    continue;
                }
                (SignIn::LoginPassword(user), Some(password)) => self.check(user, &password),
            };
            return say(writer, &answer).await;
        }
    }

    fn finish_plain(&mut self, encoded: &str) -> String {
        let Some(text) = decoded(encoded) else {
            return "501 5.5.2 not base64".to_owned();
        };
        let mut parts = text.split('\0');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(user), Some(password)) => self.check(user.to_owned(), password),
            _ => "501 5.5.2 not three parts".to_owned(),
        }
    }

    fn check(&mut self, user: String, password: &str) -> String {
        let accepted = match &locked(&self.state).credentials {
            None => true,
            Some((known, secret)) => *known == user && secret == password,
        };
        if accepted {
            self.user = Some(user);
            "235 2.7.0 signed in".to_owned()
        } else {
            "535 5.7.8 user or password not right".to_owned()
        }
    }

    /// Reads up to the lone dot; `None` if the connection ended, or was dropped on purpose.
    async fn read_message(&self, reader: &mut Reader<'_>) -> io::Result<Option<Vec<u8>>> {
        let dropping = locked(&self.state).fault == Some(SmtpFault::DropInData);
        let mut raw = Vec::new();
        let mut at_line_start = true;
        while let Some(line) = read_line(reader).await? {
            if dropping {
                return Ok(None);
            }
            if at_line_start && matches!(line.as_slice(), b".\r\n" | b".\n") {
                return Ok(Some(raw));
            }
            let stuffing = if at_line_start { b".".as_slice() } else { b"" };
            let text = line.strip_prefix(stuffing).unwrap_or(&line);
            if raw.len() <= SIZE_LIMIT_BYTES {
                raw.extend_from_slice(text);
            }
            at_line_start = line.ends_with(b"\n");
        }
        Ok(None)
    }

    fn keep(&mut self, raw: Vec<u8>) -> String {
        let from = self.from.take().unwrap_or_default();
        let to = std::mem::take(&mut self.to);
        if raw.len() > SIZE_LIMIT_BYTES {
            return "552 5.3.4 message too big".to_owned();
        }
        let mut state = locked(&self.state);
        let number = state.kept + 1;
        if let Some(folder) = &state.folder
            && let Err(error) = std::fs::write(folder.join(format!("{number:04}.eml")), &raw)
        {
            return format!("451 4.3.0 not written: {error}");
        }
        state.kept = number;
        state.messages.push(Message { from, to, user: self.user.clone(), raw });
        format!("250 2.0.0 kept as {number}")
    }
}

async fn say(writer: &mut Writer<'_>, text: &str) -> io::Result<()> {
    writer.write_all(format!("{text}\r\n").as_bytes()).await
}

async fn read_line(reader: &mut Reader<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader.take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line).await?;
    Ok((read > 0).then_some(line))
}

/// Takes `FROM:<address> PARAMETERS` apart; case and a space after the colon do not matter.
fn path_after<'a>(text: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let start = text.get(..keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, parameters) = text[keyword.len()..].trim_start().strip_prefix('<')?.split_once('>')?;
    Some((address, parameters.trim()))
}

fn decoded(encoded: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}
