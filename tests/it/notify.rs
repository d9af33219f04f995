//! Mail through real conversations: an SMTP sink, Graph's `sendMail`, a folder.

mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use sandbox::smtp::{SmtpFault, SmtpSink};
use sandbox::wire::{Delivery, Listener, Reply, Request, Response, Server};
use storekeeper::ids::RunId;
use storekeeper::notify::{Bearer, Error, Graph, Mailer, State, Summary, flush, send_summary, send_summary_through};
use storekeeper::pipelines::{RunReport, Status, Trigger};
use storekeeper::settings::{Http, Mail, MailTransport, Smtp, SmtpSecurity};
use tempfile::TempDir;

use crate::support::place::{Place, said};
use crate::support::postgres::Database;
use tls::Relay;

fn now() -> DateTime<Utc> {
    "2026-03-02T06:05:12Z".parse().expect("a moment")
}

/// The summary of one run; another id is another mail.
fn summary(run: i64) -> Summary {
    Summary::new(vec![RunReport {
        run_id: RunId(run),
        load_id: None,
        pipeline: "sales_channel".into(),
        brand: "harbor".into(),
        trigger: Trigger::Schedule,
        status: Status::Succeeded,
        files: Vec::new(),
        rows_read: 12,
        rows_loaded: 12,
        rows_inserted: 12,
        rows_updated: 0,
        rows_unchanged: 0,
        rows_quarantined: 0,
        quarantine: Vec::new(),
        over_threshold: false,
        notes: Vec::new(),
        started_at: now(),
        duration_ms: 900,
        error: None,
        hint: None,
    }])
}

/// `[mail]` for a server on this machine.
fn mail(server: SocketAddr) -> Mail {
    Mail {
        transport: MailTransport::Smtp,
        from: "Storekeeper <storekeeper@example.com>".into(),
        to: vec!["ann@example.com".into(), "Bob <bob@example.com>".into()],
        keep_dir: None,
        smtp: Smtp {
            host: "localhost".into(),
            port: server.port(),
            security: SmtpSecurity::None,
            username: None,
            password: None,
            ca_file: None,
        },
    }
}

fn mailer(mail: &Mail) -> Mailer {
    Mailer::new(mail, None).expect("the settings make a way to send")
}

fn sink() -> SmtpSink {
    SmtpSink::start(None).expect("the sink starts")
}

/// An address at which nobody answers.
fn nobody() -> SocketAddr {
    sink().address
}

fn unfolded(raw: &[u8]) -> String {
    String::from_utf8(raw.to_vec()).expect("the message is ASCII").replace("\r\n ", " ")
}

#[tokio::test]
async fn a_summary_is_received_kept_and_sent_once() {
    let (database, sink, kept) = (Database::migrated().await, sink(), TempDir::new().unwrap());
    let mail = Mail { keep_dir: Some(kept.path().join("mail")), ..mail(sink.address) };
    let warehouse = database.warehouse().await;

    let sent = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();

    let received = sink.messages();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].from, "storekeeper@example.com");
    assert_eq!(received[0].to, ["ann@example.com", "bob@example.com"]);
    let text = unfolded(&received[0].raw);
    assert!(text.contains("Subject: storekeeper: 1 run fine, 12 rows loaded\r\n"), "{text}");
    assert!(text.contains(&format!("Message-ID: {}\r\n", sent.message_id.as_ref().unwrap())));
    assert_eq!(sent.state, State::Sent);
    let (eml, html) = (sent.eml.clone().unwrap(), sent.html.clone().unwrap());
    let name = eml.file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "20260302T060512Z-1-run-fine-12-rows-loaded.eml");
    // The sink ends a message with the line end that the protocol adds.
    assert_eq!(received[0].raw.trim_ascii_end(), std::fs::read(&eml).unwrap().trim_ascii_end());
    assert!(std::fs::read_to_string(html).unwrap().contains("1 run fine"));

    let again = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();
    assert_eq!(again, sent);
    assert_eq!(sink.messages().len(), 1);
    assert_eq!(std::fs::read_dir(kept.path().join("mail")).unwrap().count(), 2);
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_uncertain_and_not_repeated() {
    let (database, sink) = (Database::migrated().await, sink());
    let (warehouse, mail) = (database.warehouse().await, mail(sink.address));
    sink.set_fault(Some(SmtpFault::LoseAnswer));

    let sent = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();
    assert_eq!(sent.state, State::Uncertain);

    sink.set_fault(None);
    let flushed = flush(&warehouse, &mailer(&mail), now() + TimeDelta::days(1)).await.unwrap();
    assert_eq!((flushed.sent, flushed.waiting), (0, 0));
    let again = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();
    assert_eq!(again.state, State::Uncertain);
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test]
async fn a_mail_that_was_put_off_is_sent_when_it_is_due_again() {
    let (database, sink) = (Database::migrated().await, sink());
    let (warehouse, mail) = (database.warehouse().await, mail(sink.address));
    sink.set_fault(Some(SmtpFault::Greylist));

    let error = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap_err();
    let Error::Send { reason, queued } = &error else { panic!("{error}") };
    assert!(reason.starts_with("RCPT TO: ") && reason.contains("greylisted"), "{reason}");
    assert!(queued);
    assert!(error.hint().unwrap().contains("serve"), "{error:?}");

    sink.set_fault(None);
    let early = flush(&warehouse, &mailer(&mail), now() + TimeDelta::seconds(59)).await.unwrap();
    assert_eq!((early.sent, early.waiting), (0, 1));
    let due = flush(&warehouse, &mailer(&mail), now() + TimeDelta::seconds(60)).await.unwrap();
    assert_eq!((due.sent, due.waiting), (1, 0));
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_not_tried_again() {
    let (database, sink) = (Database::migrated().await, sink());
    let (warehouse, mail) = (database.warehouse().await, mail(sink.address));
    sink.set_fault(Some(SmtpFault::RefuseRecipients));

    let error = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap_err();
    assert!(matches!(&error, Error::Send { queued: false, .. }), "{error}");
    assert!(!error.to_string().contains('@'), "{error}");

    sink.set_fault(None);
    let flushed = flush(&warehouse, &mailer(&mail), now() + TimeDelta::days(1)).await.unwrap();
    assert_eq!(flushed, storekeeper::notify::Flushed::default());
    assert_eq!(sink.messages(), []);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_message_never_makes_two_mails() {
    let (database, sink) = (Database::migrated().await, sink());
    let (warehouse, mail) = (database.warehouse().await, mail(sink.address));
    sink.set_fault(Some(SmtpFault::DropInData));
    // Whether the last dot left before the break is for the network to say.
    let _ = send_summary(&warehouse, &mail, &summary(1), now()).await;
    sink.set_fault(None);
    flush(&warehouse, &mailer(&mail), now() + TimeDelta::days(1)).await.unwrap();
    flush(&warehouse, &mailer(&mail), now() + TimeDelta::days(2)).await.unwrap();
    assert!(sink.messages().len() <= 1);
}

#[tokio::test]
async fn two_processes_send_no_mail_twice() {
    let (database, sink) = (Database::migrated().await, sink());
    let warehouse = database.warehouse().await;
    for run in 1..=8 {
        let error = send_summary(&warehouse, &mail(nobody()), &summary(run), now()).await.unwrap_err();
        assert!(matches!(error, Error::Send { queued: true, .. }), "{error}");
    }
    let (one, two) = (database.warehouse().await, database.warehouse().await);
    let mailer = mailer(&mail(sink.address));
    let later = now() + TimeDelta::minutes(2);
    let (first, second) = tokio::join!(flush(&one, &mailer, later), flush(&two, &mailer, later));
    assert_eq!(first.unwrap().sent + second.unwrap().sent, 8);
    let mut subjects: Vec<Vec<u8>> = sink.messages().into_iter().map(|message| message.raw).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!((subjects.len(), sink.messages().len()), (8, 8));
}

#[tokio::test]
async fn a_mail_that_another_process_takes_is_left_to_it() {
    let (database, sink) = (Database::migrated().await, sink());
    let warehouse = database.warehouse().await;
    for run in [1, 2] {
        send_summary(&warehouse, &mail(nobody()), &summary(run), now()).await.unwrap_err();
    }
    // The other process is in the middle of claiming the first.
    let mut other = warehouse.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM ops.mail_outbox ORDER BY mail_id LIMIT 1 FOR UPDATE").execute(&mut *other).await.unwrap();
    let later = now() + TimeDelta::minutes(2);
    let mailer = mailer(&mail(sink.address));
    let flushed = flush(&warehouse, &mailer, later).await.unwrap();
    assert_eq!((flushed.sent, flushed.waiting), (1, 1));
    assert_eq!(sink.messages().len(), 1);
    other.commit().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stays_away_is_tried_five_times() {
    let database = Database::migrated().await;
    let (warehouse, mail) = (database.warehouse().await, mail(nobody()));
    send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap_err();
    let mut failed = Vec::new();
    for hour in 1..=6 {
        let flushed = flush(&warehouse, &mailer(&mail), now() + TimeDelta::hours(hour * 2)).await.unwrap();
        failed.push((flushed.failed, flushed.waiting));
    }
    assert_eq!(failed, [(0, 1), (0, 1), (0, 1), (1, 0), (0, 0), (0, 0)]);
}

#[tokio::test]
async fn a_mail_left_in_the_middle_by_a_dead_process_is_uncertain() {
    let (database, sink) = (Database::migrated().await, sink());
    let warehouse = database.warehouse().await;
    send_summary(&warehouse, &mail(nobody()), &summary(1), now()).await.unwrap_err();
    sqlx::query("UPDATE ops.mail_outbox SET state = 'sending', claimed_at = $1")
        .bind(now())
        .execute(warehouse.pool())
        .await
        .unwrap();
    let mailer = mailer(&mail(sink.address));
    let soon = flush(&warehouse, &mailer, now() + TimeDelta::minutes(5)).await.unwrap();
    assert_eq!(soon, storekeeper::notify::Flushed::default());
    let later = flush(&warehouse, &mailer, now() + TimeDelta::hours(2)).await.unwrap();
    assert_eq!((later.uncertain, later.sent), (1, 0));
    assert_eq!(sink.messages(), []);
}

#[tokio::test]
async fn a_server_that_wants_a_sign_in_gets_one() {
    let (database, sink) = (Database::migrated().await, sink());
    let warehouse = database.warehouse().await;
    sink.require_sign_in("storekeeper", "right");
    let mut mail = mail(sink.address);
    mail.smtp.username = Some("storekeeper".into());
    mail.smtp.password = Some("wrong".to_owned().into());
    let error = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap_err();
    assert!(error.to_string().contains("sign in: "), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");

    mail.smtp.password = Some("right".to_owned().into());
    send_summary(&warehouse, &mail, &summary(2), now()).await.unwrap();
    assert_eq!(sink.messages()[0].user.as_deref(), Some("storekeeper"));
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_mail_in_the_open() {
    let (database, sink) = (Database::migrated().await, sink());
    let mut mail = mail(sink.address);
    mail.smtp.security = SmtpSecurity::Starttls;
    let error = send_summary(&database.warehouse().await, &mail, &summary(1), now()).await.unwrap_err();
    assert!(error.to_string().contains("STARTTLS"), "{error}");
    assert_eq!(sink.messages(), []);
}

#[tokio::test]
async fn mail_goes_through_tls_when_the_certificate_is_vouched_for() {
    let (database, sink, dir) = (Database::migrated().await, sink(), TempDir::new().unwrap());
    let warehouse = database.warehouse().await;
    for (run, security) in [(1, SmtpSecurity::Tls), (2, SmtpSecurity::Starttls)] {
        let relay = Relay::start(sink.address, security == SmtpSecurity::Starttls).await;
        let mut mail = mail(relay.address);
        mail.smtp.security = security;
        let error = send_summary(&warehouse, &mail, &summary(run), now()).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
        assert_eq!(sink.messages(), []);

        mail.smtp.ca_file = Some(write(&dir, "ca.pem", &relay.authority));
        let sent = send_summary(&warehouse, &mail, &summary(run + 10), now()).await.unwrap();
        assert_eq!(sent.state, State::Sent);
        assert_eq!(sink.messages().len(), 1);
        sink.forget_messages();
    }
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("the file is written");
    path
}

#[test]
fn a_file_without_certificates_vouches_for_nobody() {
    let dir = TempDir::new().unwrap();
    let mut mail = mail(SocketAddr::from(([127, 0, 0, 1], 25)));
    mail.smtp.security = SmtpSecurity::Tls;
    mail.smtp.ca_file = Some(write(&dir, "ca.pem", "hello"));
    let error = Mailer::new(&mail, None).unwrap_err();
    assert!(matches!(error, Error::Authorities { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_alone_keeps_the_mail() {
    let (database, kept) = (Database::migrated().await, TempDir::new().unwrap());
    let mail = Mail { transport: MailTransport::Folder, keep_dir: Some(kept.path().to_owned()), ..mail(nobody()) };
    let sent = send_summary(&database.warehouse().await, &mail, &summary(1), now()).await.unwrap();
    assert_eq!(sent.state, State::Sent);
    assert!(sent.eml.is_some_and(|path| path.exists()));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_stops_no_mail_by_smtp() {
    let (database, sink) = (Database::migrated().await, sink());
    let blocked = Path::new("/dev/null/mail").to_owned();
    let mail = Mail { keep_dir: Some(blocked), ..mail(sink.address) };
    let warehouse = database.warehouse().await;
    let sent = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();
    assert_eq!((sent.state, sent.eml), (State::Sent, None));
    assert_eq!(sink.messages().len(), 1);

    let only = Mail { transport: MailTransport::Folder, ..mail };
    let error = send_summary(&warehouse, &only, &summary(2), now()).await.unwrap_err();
    assert!(matches!(error, Error::Keep { .. }), "{error}");
}

#[tokio::test]
async fn mail_that_is_switched_off_leaves_no_trace() {
    let database = Database::migrated().await;
    let mail = Mail { transport: MailTransport::None, to: Vec::new(), ..mail(nobody()) };
    let warehouse = database.warehouse().await;
    let sent = send_summary(&warehouse, &mail, &summary(1), now()).await.unwrap();
    assert_eq!((sent.state, sent.message_id), (State::Off, None));
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM ops.mail_outbox").fetch_one(warehouse.pool()).await.unwrap();
    assert_eq!(count, 0);
}

/// Graph's `sendMail` with scripted answers, and what it was asked.
struct Mailbox {
    graph: Graph,
    asked: Arc<Mutex<Vec<Request>>>,
    _server: Server,
}

impl Mailbox {
    fn start(answers: Vec<Reply>) -> Self {
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let listener = Listener::bind().expect("a free port");
        let url = listener.origin().parse().expect("an address");
        let seen = Arc::clone(&asked);
        let answers = Mutex::new(answers.into_iter());
        let server = listener
            .serve(move |request| {
                seen.lock().expect("no panic inside").push(request);
                answers.lock().expect("no panic inside").next().expect("a scripted answer")
            })
            .expect("the mailbox answers");
        let http = Http {
            connect_timeout_seconds: 5,
            read_timeout_seconds: 5,
            attempts: 3,
            backoff_milliseconds: 1,
            retry_after_limit_seconds: 5,
            throttled_pause_seconds: 0,
        };
        let client = storekeeper::http::Client::new(&http).expect("a client");
        let bearer: Bearer = Arc::new(|| Box::pin(async { Ok("token-1".to_owned().into()) }));
        Self { graph: Graph { client, url, bearer }, asked, _server: server }
    }

    fn mailer(&self) -> Mailer {
        let mail = Mail { transport: MailTransport::Graph, ..mail(nobody()) };
        Mailer::new(&mail, Some(self.graph.clone())).expect("a way to send")
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no panic inside").clone()
    }
}

fn answered(response: Response) -> Reply {
    Reply { response, delivery: Delivery::Whole }
}

#[tokio::test]
async fn graph_gets_the_whole_message_as_mime() {
    let database = Database::migrated().await;
    let busy = Response::empty(429).with("Retry-After", "0");
    let mailbox = Mailbox::start(vec![answered(busy), answered(Response::empty(202))]);
    let warehouse = database.warehouse().await;
    let sent = send_summary_through(&warehouse, &mailbox.mailer(), &summary(1), now()).await.unwrap();
    assert_eq!(sent.state, State::Sent);
    let asked = mailbox.asked();
    assert_eq!(asked.len(), 2, "being throttled is waited for");
    let request = &asked[1];
    assert_eq!((request.method.as_str(), request.path()), ("POST", "/v1.0/users/storekeeper@example.com/sendMail"));
    assert_eq!(request.bearer(), Some("token-1"));
    assert_eq!(request.header("content-type"), Some("text/plain"));
    let eml: Vec<u8> = sqlx::query_scalar("SELECT eml FROM ops.mail_outbox").fetch_one(warehouse.pool()).await.unwrap();
    assert_eq!(STANDARD.decode(&request.body).unwrap(), eml);
}

#[tokio::test]
async fn a_graph_answer_that_was_lost_is_not_asked_for_again() {
    let database = Database::migrated().await;
    let lost = Reply { response: Response::empty(202), delivery: Delivery::Lost };
    let mailbox = Mailbox::start(vec![lost]);
    let warehouse = database.warehouse().await;
    let sent = send_summary_through(&warehouse, &mailbox.mailer(), &summary(1), now()).await.unwrap();
    assert_eq!(sent.state, State::Uncertain);
    flush(&warehouse, &mailbox.mailer(), now() + TimeDelta::days(1)).await.unwrap();
    assert_eq!(mailbox.asked().len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_may_not_be_used_says_which_right_is_missing() {
    let database = Database::migrated().await;
    let body = serde_json::json!({"error": {"code": "ErrorAccessDenied", "message": "Access is denied."}});
    let mailbox = Mailbox::start(vec![answered(Response::json(403, &body))]);
    let warehouse = database.warehouse().await;
    let error = send_summary_through(&warehouse, &mailbox.mailer(), &summary(1), now()).await.unwrap_err();
    assert!(error.to_string().contains("Mail.Send"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_that_mail_has_nobody_to_go_to() {
    let place = Place::start().await;
    let check = |to: Option<&str>| {
        let mut command = place.command(&["check", "--connect"]);
        command.env("STOREKEEPER__MAIL__TRANSPORT", "folder").env("STOREKEEPER__MAIL__KEEP_DIR", place.path("mail"));
        command.envs(to.map(|to| ("STOREKEEPER__MAIL__TO", to)));
        let said = said(&command.output().unwrap());
        let found = said.json["connections"].as_array().unwrap().iter().find(|one| one["what"] == "mail").cloned();
        (said.code, found.unwrap()["message"].as_str().unwrap().to_owned())
    };
    let (code, message) = check(None);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.starts_with("failed to prepare mail: `mail.to` names nobody (set `mail.to`"), "{message}");
    assert_eq!(check(Some("admin@example.com")), (Some(0), "`mail.to` names 1 person".to_owned()));
}
