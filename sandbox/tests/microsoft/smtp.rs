//! The SMTP sink, spoken to line by line.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use sandbox::smtp::{SmtpFault, SmtpSink};

/// A client that sends a line and reads the whole answer to it.
struct Talk {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Talk {
    fn start(sink: &SmtpSink) -> anyhow::Result<Self> {
        let writer = TcpStream::connect(sink.address)?;
        let reader = BufReader::new(writer.try_clone()?);
        let mut talk = Self { writer, reader };
        assert!(talk.answer()?.starts_with("220 "));
        Ok(talk)
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut answer = String::new();
        loop {
            let start = answer.len();
            anyhow::ensure!(self.reader.read_line(&mut answer)? > 0, "the connection was closed");
            if answer.as_bytes()[start..].get(3) == Some(&b' ') {
                return Ok(answer);
            }
        }
    }

    /// Sends a line; answers the three digits of the reply.
    fn say(&mut self, line: &str) -> anyhow::Result<String> {
        self.writer.write_all(format!("{line}\r\n").as_bytes())?;
        let answer = self.answer()?;
        Ok(answer.chars().take(3).collect())
    }

    fn say_all(&mut self, lines: &[&str]) -> anyhow::Result<Vec<String>> {
        lines.iter().map(|line| self.say(line)).collect()
    }
}

const MAIL: [&str; 4] =
    ["EHLO me", "MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME", "RCPT TO:<b@example.com>", "DATA"];

#[test]
fn a_message_is_kept_with_its_envelope_and_without_the_stuffing() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("smtp-sink-{}", std::process::id()));
    let sink = SmtpSink::start(Some(folder.clone()))?;
    let mut talk = Talk::start(&sink)?;
    assert_eq!(talk.say_all(&MAIL)?, ["250", "250", "250", "354"]);
    assert_eq!(talk.say("Subject: x\r\n\r\n..one\r\n.two\r\nend\r\n.")?, "250");
    assert_eq!(talk.say("QUIT")?, "221");

    let messages = sink.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].from, "a@example.com");
    assert_eq!(messages[0].to, ["b@example.com"]);
    let raw = "Subject: x\r\n\r\n.one\r\ntwo\r\nend\r\n";
    assert_eq!(String::from_utf8_lossy(&messages[0].raw), raw);
    assert_eq!(std::fs::read_to_string(folder.join("0001.eml"))?, raw);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn commands_out_of_order_are_refused() -> anyhow::Result<()> {
    let sink = SmtpSink::start(None)?;
    let mut talk = Talk::start(&sink)?;
    let lines = ["MAIL FROM:<a@b.c>", "HELO me", "DATA", "RCPT TO:<a@b.c>", "NOOP", "BREW coffee"];
    assert_eq!(talk.say_all(&lines)?, ["503", "250", "503", "503", "250", "500"]);
    let lines = ["MAIL FROM:<>", "MAIL FROM:<a@b.c>", "RSET", "MAIL FROM:<a@b.c> SIZE=99999999999", "MAIL FROM:a@b.c"];
    assert_eq!(talk.say_all(&lines)?, ["250", "503", "250", "552", "501"]);
    Ok(())
}

#[test]
fn sign_in_is_asked_for_where_it_was_required() -> anyhow::Result<()> {
    let sink = SmtpSink::start(None)?;
    sink.require_sign_in("user", "pass");
    let mut talk = Talk::start(&sink)?;
    assert_eq!(talk.say_all(&["EHLO me", "MAIL FROM:<a@b.c>"])?, ["250", "530"]);
    assert_eq!(talk.say("AUTH PLAIN AHVzZXIAd3Jvbmc=")?, "535");
    assert_eq!(talk.say_all(&["AUTH LOGIN", "dXNlcg==", "cGFzcw=="])?, ["334", "334", "235"]);
    assert_eq!(talk.say("MAIL FROM:<a@b.c>")?, "250");

    let mut other = Talk::start(&sink)?;
    assert_eq!(other.say_all(&["EHLO me", "AUTH PLAIN AHVzZXIAcGFzcw=="])?, ["250", "235"]);
    Ok(())
}

#[test]
fn faults_happen_where_they_are_switched_on() -> anyhow::Result<()> {
    let sink = SmtpSink::start(None)?;
    sink.set_fault(Some(SmtpFault::RefuseRecipients));
    let mut talk = Talk::start(&sink)?;
    assert_eq!(talk.say_all(&MAIL)?, ["250", "250", "550", "503"]);

    sink.set_fault(Some(SmtpFault::Greylist));
    assert_eq!(talk.say_all(&MAIL[2..3])?, ["451"]);
    assert_eq!(talk.say_all(&MAIL[2..3])?, ["250"]);

    sink.set_fault(Some(SmtpFault::DropInData));
    let mut talk = Talk::start(&sink)?;
    talk.say_all(&MAIL)?;
    assert!(talk.say("Subject: x\r\n.").is_err());
    assert!(sink.messages().is_empty());

    sink.set_fault(Some(SmtpFault::LoseAnswer));
    let mut talk = Talk::start(&sink)?;
    talk.say_all(&MAIL)?;
    assert!(talk.say("Subject: x\r\n.").is_err());
    assert_eq!(sink.messages().len(), 1);
    Ok(())
}
