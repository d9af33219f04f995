//! `check`: is everything right, before it runs?

use std::path::Path;

use clap::Args;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::output::{Output, counted};
use super::{Exit, Failure};
use crate::app::{self, App};
use crate::http::Request;
use crate::ids::BrandId;
use crate::metabase::{self, Accepted};
use crate::pipelines::{self, Pipeline, SourceKind, table_query};
use crate::scheduler::Scheduled;
use crate::scheduler::policy::Schedule;
use crate::settings::{self, MailTransport, Smtp, SmtpSecurity};
use crate::telemetry::chain;

/// How long an outside service may take for its first word.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Also try PostgreSQL, Metabase and its key or password, mail and every source, and say which right is missing.
    #[arg(long)]
    connect: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    right: bool,
    message: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    problems: Vec<pipelines::Problem>,
    connections: Vec<Finding>,
    pipelines: usize,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let mut answer = Answer { problems: Vec::new(), connections: Vec::new(), pipelines: 0 };
    let mut pipelines = Vec::new();
    match app.pipelines().await {
        Ok(read) => {
            answer.pipelines = read.len();
            pipelines = read;
        }
        Err(app::Error::Definitions(problems)) => answer.problems.extend(problems),
        Err(error) => return Err(error.into()),
    }
    answer.problems.extend(schedule_problems(&app.definitions, &pipelines));
    answer.problems.extend(content_problems(&app.definitions));
    if command.connect {
        answer.connections = connect(app, &pipelines).await;
    }
    let wrong = !answer.problems.is_empty();
    let unreachable = answer.connections.iter().any(|finding| !finding.right);
    let mistakes = wrong.then(|| {
        let mistakes = counted(answer.problems.len(), "mistake", "mistakes");
        Failure::usage(format!("{mistakes} in the definitions"), Some("docs/definitions.md explains every key"))
    });
    output.answer_until(serde_json::json!(&answer), mistakes.as_ref(), || {
        let mut text = String::new();
        for problem in &answer.problems {
            text.push_str(&format!("{problem}\n"));
        }
        for finding in &answer.connections {
            let mark = if finding.right { "ok" } else { "FAILED" };
            text.push_str(&format!("{mark:<6} {}: {}\n", finding.what, finding.message));
        }
        if !wrong {
            text.push_str(&format!(
                "settings, {} and the dashboards are right\n",
                counted(answer.pipelines, "pipeline", "pipelines")
            ));
        }
        text
    });
    Ok(match (wrong, unreachable) {
        (true, _) => Exit::Mistaken,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Done,
    })
}

/// Dashboards and questions, where there are any.
fn content_problems(definitions: &Path) -> Vec<pipelines::Problem> {
    if !definitions.join("metabase").is_dir() {
        return Vec::new();
    }
    let found = match metabase::read(definitions) {
        Ok(content) => metabase::check(&content),
        Err(problems) => problems,
    };
    let named = |problem: metabase::Problem| pipelines::Problem {
        file: problem.file,
        line: (problem.line > 0).then_some(problem.line),
        message: problem.message,
    };
    found.into_iter().map(named).collect()
}

fn schedule_problems(definitions: &Path, pipelines: &[Pipeline]) -> Vec<pipelines::Problem> {
    let mut problems = Vec::new();
    for pipeline in pipelines {
        let Some(schedule) = &pipeline.definition.schedule else { continue };
        let scheduled = Scheduled {
            pipeline: pipeline.name.clone(),
            brand: BrandId::from("any"),
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.unwrap_or_default(),
            overlap: schedule.overlap,
            catch_up: schedule.catch_up,
        };
        if let Err(error) = Schedule::parse(&scheduled) {
            problems.push(pipelines::Problem {
                file: app::relative(definitions, &pipeline.folder.join("pipeline.toml")),
                line: None,
                message: chain(&error),
            });
        }
    }
    problems
}

/// Asks Metabase whether it is up, then whether it takes the kept key or the password.
async fn try_metabase(app: &App, settings: &settings::Metabase) -> Result<String, String> {
    let url = format!("{}/api/health", settings.url.trim_end_matches('/'));
    let url = url.parse().map_err(|_| "`metabase.url` makes no address".to_owned())?;
    let client = app.client().map_err(|error| chain(&error))?;
    let answer = client.send(&Request::get(url)).await.map_err(|error| chain(&error))?;
    let status = answer.status.as_u16();
    if status != 200 {
        return Err(format!("answers {status}: it is not up"));
    }
    match metabase::try_sign_in(&client, settings, &app.settings.installation, app.clock.now()).await {
        Ok(Accepted::Key) => Ok("answers, and takes the kept key".to_owned()),
        Ok(Accepted::Password) => Ok("answers, and takes the password of `metabase.admin_email`".to_owned()),
        Ok(Accepted::NotSetUp) => Ok("answers, and is not set up: the first `plan` does that".to_owned()),
        Err(error) => Err(with_hint(chain(&error), error.hint())),
    }
}

/// Looks whether mail would leave and reach anybody. Nothing is sent.
async fn try_mail(app: &App) -> Result<String, String> {
    app.mailer().map_err(|error| with_hint(chain(&error), error.hint()))?;
    let mail = &app.settings.mail;
    let people = format!("`mail.to` names {}", counted(mail.to.len(), "person", "people"));
    match mail.transport {
        MailTransport::Smtp => smtp_greeting(&mail.smtp).await.map(|answer| format!("{answer}; {people}")),
        MailTransport::Graph | MailTransport::Folder | MailTransport::None => Ok(people),
    }
}

fn with_hint(message: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message,
    }
}

/// Waits for the mail server's first word. Nothing is sent.
async fn smtp_greeting(smtp: &Smtp) -> Result<String, String> {
    let address = format!("{}:{}", smtp.host, smtp.port);
    let greeting = async {
        let mut stream = TcpStream::connect((smtp.host.as_str(), smtp.port)).await?;
        let mut word = [0; 3];
        if smtp.security != SmtpSecurity::Tls {
            stream.read_exact(&mut word).await?;
        }
        std::io::Result::Ok(word)
    };
    match tokio::time::timeout(PATIENCE, greeting).await {
        Err(_) => Err(format!("`{address}` says nothing")),
        Ok(Err(error)) => Err(format!("`{address}`: {error}")),
        Ok(Ok(word)) if word == *b"220" || smtp.security == SmtpSecurity::Tls => Ok(format!("`{address}` answers")),
        Ok(Ok(_)) => Err(format!("`{address}` is no mail server that takes mail")),
    }
}

async fn connect(app: &App, pipelines: &[Pipeline]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |what: String, outcome: Result<String, String>| {
        let right = outcome.is_ok();
        findings.push(Finding { what, right, message: outcome.unwrap_or_else(|message| message) });
    };
    match app.warehouse().await {
        Ok(warehouse) => {
            let address = warehouse.address();
            note("PostgreSQL".to_owned(), Ok(format!("{}:{}/{}", address.host, address.port, address.database)));
            warehouse.close().await;
        }
        Err(error) => note("PostgreSQL".to_owned(), Err(with_hint(chain(&error), error.hint()))),
    }
    if let Some(settings) = &app.settings.metabase {
        note("Metabase".to_owned(), try_metabase(app, settings).await);
    }
    if app.settings.mail.transport != MailTransport::None {
        note("mail".to_owned(), try_mail(app).await);
    }
    // What cannot sign in at all is said of every source below.
    if let Ok(Some(expiry)) = app.sign_in_expiry() {
        let now = app.clock.now();
        let (days, on) = (expiry.days_left(now), expiry.expires_at.date_naive());
        let left = counted(days, "day", "days");
        let message = match (days < 0, expiry.is_near(now)) {
            (true, _) => Err(format!("ended on {on}")),
            (false, true) => Ok(format!("ends on {on}, in {left}: renew it soon")),
            (false, false) => Ok(format!("ends on {on}, in {left}")),
        };
        note(expiry.what.to_owned(), message);
    }
    let doors = match app.doors() {
        Ok(doors) => doors,
        Err(error) => {
            note("sources".to_owned(), Err(with_hint(chain(&error), error.hint())));
            return findings;
        }
    };
    for brand in app.settings.brands.keys() {
        for pipeline in pipelines.iter().filter(|pipeline| pipeline.serves(brand)) {
            let source = &pipeline.definition.source;
            let what = format!("{} ({brand})", pipeline.name);
            let outcome = match source.kind {
                SourceKind::Drive => match doors.drive(brand) {
                    Ok(drive) => {
                        let (folder, pattern) =
                            (source.folder.as_deref().unwrap_or_default(), source.pattern.as_deref().unwrap_or("*"));
                        match drive.list(folder, pattern).await {
                            Ok(listing) => {
                                Ok(format!("{} in `{folder}`", counted(listing.files.len(), "file", "files")))
                            }
                            Err(error) => Err(with_hint(chain(&error), error.hint())),
                        }
                    }
                    Err(error) => Err(with_hint(chain(&error), error.hint())),
                },
                SourceKind::Dataverse => match doors.dataverse(brand) {
                    Ok(dataverse) => match dataverse.check(&table_query(pipeline)).await {
                        Ok(missing) if missing.is_empty() => Ok("table and columns are there".to_owned()),
                        Ok(missing) => Err(missing.join("; ")),
                        Err(error) => Err(with_hint(chain(&error), error.hint())),
                    },
                    Err(error) => Err(with_hint(chain(&error), error.hint())),
                },
                SourceKind::Folder | SourceKind::Upload => continue,
            };
            note(what, outcome);
        }
    }
    findings
}
