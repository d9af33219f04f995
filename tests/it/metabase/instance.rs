//! How the instance itself is set: by us, by hand, by its environment; and its mail server.

use std::collections::BTreeMap;

use sandbox::metabase::{Failure, Fault, Options};
use sandbox::smtp::SmtpSink;
use secrecy::SecretString;
use serde_json::{Value, json};
use storekeeper::metabase::{self, Accepted, Action, SessionError};
use storekeeper::settings::{CacheStrategy, MetabaseCache, MetabaseMail, MetabaseMailSecurity, Weekday};

use super::{World, about, told};
use crate::support::chain::{Chain, now};

const PASSWORD: &str = "hunter2-of-the-mail";

fn mail(port: u16) -> MetabaseMail {
    MetabaseMail {
        host: "127.0.0.1".to_owned(),
        port,
        security: MetabaseMailSecurity::None,
        username: Some("metabase".to_owned()),
        password: Some(SecretString::from(PASSWORD)),
        from_address: Some("bi@example.com".to_owned()),
        from_name: Some("Numbers".to_owned()),
    }
}

impl World {
    fn set(&mut self, port: u16) {
        self.settings.report_time_zone = Some("America/New_York".parse().expect("a zone"));
        self.settings.start_of_week = Some(Weekday::Monday);
        self.settings.session_timeout_minutes = Some(480);
        self.settings.cache =
            Some(MetabaseCache { strategy: CacheStrategy::Ttl, multiplier: 10, min_duration_milliseconds: 1000 });
        self.settings.mail = Some(mail(port));
    }

    fn setting(&self, key: &str) -> Value {
        self.metabase.snapshot()["settings"][key].clone()
    }
}

#[tokio::test]
async fn an_instance_is_set_as_wished_on_every_release_and_put_back() {
    let server = SmtpSink::start(None).unwrap();
    for version in ["v0.54.2", "v0.57.4", "v0.61.2", "v0.99.0"] {
        let options = Options { version: version.to_owned(), ..Options::default() };
        let mut world = World::with(Chain::small().await, options).await;
        world.settle().await;
        world.set(server.address.port());
        let plan = world.plan().await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(plan.to_string().replace(&server.address.port().to_string(), "PORT"), @r"
            ~ update setting email-from-address
                  value: notifications@metabase.com -> bi@example.com
            ~ update setting email-from-name
                  value: nothing -> Numbers
            ~ update setting report-timezone
                  value: nothing -> America/New_York
            ~ update setting session-timeout
                  value: nothing -> 480 minutes
            ~ update setting start-of-week
                  value: sunday -> monday
            ~ update setting cache
                  strategy: every question is asked anew -> 10 times as long as a query took, from 1000 ms
            ~ update setting mail server
                  email-smtp-host: nothing -> 127.0.0.1
                  email-smtp-port: nothing -> PORT
                  email-smtp-username: nothing -> metabase
                  password: nothing -> set
            7 steps
            ");
        }
        assert!(!serde_json::to_string(&plan).unwrap().contains(PASSWORD) && !format!("{plan:?}").contains(PASSWORD));
        world.settle().await;
        for (key, value) in [
            ("report-timezone", json!("America/New_York")),
            ("start-of-week", json!("monday")),
            ("session-timeout", json!({"amount": 480, "unit": "minutes"})),
            ("email-smtp-host", json!("127.0.0.1")),
            ("email-smtp-password", json!(PASSWORD)),
            ("email-from-name", json!("Numbers")),
        ] {
            assert_eq!(world.setting(key), value, "{version}: {key}");
        }
        assert_eq!(world.metabase.snapshot()["objects"]["cache"]["0"]["strategy"]["multiplier"], 10);
        // By hand: the same in other words is no drift, everything else is.
        world.click("PUT", "setting/session-timeout", json!({"value": {"amount": 8, "unit": "hours"}})).await;
        assert!(world.plan().await.is_empty());
        world.click("PUT", "setting/start-of-week", json!({"value": "sunday"})).await;
        world.click("PUT", "setting/email-smtp-password", json!({"value": "another"})).await;
        let nocache = json!({"model": "root", "model_id": 0, "strategy": {"type": "nocache"}});
        world.click("PUT", "cache", nocache).await;
        let plan = world.plan().await;
        assert_eq!(about(&plan, Action::Update, "setting"), ["start-of-week", "cache", "mail server"], "{plan}");
        assert!(plan.to_string().contains("password: another one -> the configured one"), "{plan}");
        assert_eq!(world.settle().await, 3);
        // A new password of ours.
        world.settings.mail.as_mut().unwrap().password = Some(SecretString::from("correct-horse"));
        assert_eq!(about(&world.plan().await, Action::Update, "setting"), ["mail server"]);
        world.settle().await;
        assert_eq!(world.setting("email-smtp-password"), "correct-horse");
    }
}

#[tokio::test]
async fn what_is_not_configured_is_left_as_it_is() {
    let world = World::start().await;
    world.settle().await;
    for (key, value) in [
        ("report-timezone", json!("Europe/Berlin")),
        ("start-of-week", json!("saturday")),
        ("session-timeout", json!({"amount": 5, "unit": "minutes"})),
        ("email-smtp-host", json!("mail.example.com")),
    ] {
        world.click("PUT", &format!("setting/{key}"), json!({"value": value})).await;
    }
    world.click("PUT", "cache", json!({"model": "root", "model_id": 0, "strategy": {"type": "nocache"}})).await;
    world.metabase.clear_requests();
    assert!(world.plan().await.is_empty());
    assert!(world.metabase.requests().iter().all(|call| call.path != "/api/cache"), "nobody asked for it");
}

#[tokio::test]
async fn what_the_environment_gives_is_told_and_not_planned() {
    let given = [
        ("start-of-week", json!("sunday")),
        ("report-timezone", json!("America/New_York")),
        ("email-smtp-port", json!(2525)),
        // Nobody tells what it is, so nothing is said of it.
        ("email-smtp-password", json!("theirs")),
    ];
    let environment: BTreeMap<String, Value> = given.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut world = World::with(Chain::small().await, Options { environment, ..Options::default() }).await;
    world.set(587);
    world.settle().await;
    let notes = world.plan().await.notes.join("\n");
    insta::assert_snapshot!(notes, @r"
    Metabase's mail server is given by its environment (MB_EMAIL_SMTP_PORT) and differs in email-smtp-host, email-smtp-port, email-smtp-username
    the setting `start-of-week` is given by Metabase's environment (MB_START_OF_WEEK): it is `sunday` and should be `monday`
    ");
    assert_eq!(world.setting("session-timeout")["amount"], 480, "the rest is written");
}

#[tokio::test]
async fn a_mail_server_that_does_not_answer_is_refused_without_its_password() {
    let mut world = World::start().await;
    world.settle().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    world.settings.mail = Some(mail(closed));
    let plan = world.plan().await;
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    insta::assert_snapshot!(told(&error), @"failed to update setting `mail server`: Metabase answered 400 Bad Request to `PUT api/email`: email-smtp-host, email-smtp-port");
    assert!(!format!("{error:?}").contains(PASSWORD));
    assert_eq!(about(&world.plan().await, Action::Update, "setting"), ["mail server"]);
    // A refusal that repeats what it refuses.
    let parrot = format!("{{\"errors\":{{\"email-smtp-password\":\"received: {PASSWORD}\"}}}}");
    world.metabase.fail_next(Fault::new("PUT", "/api/email", Failure::Status(400, parrot)));
    let plan = world.plan().await;
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    assert!(!told(&error).contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD), "{}", told(&error));
}

#[tokio::test]
async fn nobody_is_mailed_while_accounts_are_made_although_metabase_has_a_mail_server() {
    let server = SmtpSink::start(None).unwrap();
    let mut world = World::start().await;
    world.settings.mail = Some(mail(server.address.port()));
    world.settle().await;
    assert_eq!(world.setting("email-smtp-host"), "127.0.0.1");
    let joins = [super::PEOPLE, &["gil@example.com,Gil,Hart,en,store:harbor/000102,viewer"]].concat();
    world.chain.import(&joins).await.unwrap();
    // Of any part of the plan that makes accounts.
    let selection = metabase::Selection { only: Some(metabase::Part::People), ..Default::default() };
    let plan = metabase::plan_part(&world.context(), &selection).await.unwrap();
    insta::assert_snapshot!(plan, @r"
    ~ update setting mail server
          state: on -> off while accounts are made
    ~ update setting mail server
          state: off while accounts are made -> on
    + create person gil@example.com  [store:harbor/000102]
    3 steps
    ");
    // It ends in the middle, for one person or for all: the server is back at once.
    for status in [400, 500] {
        world.metabase.fail_next(Fault::new("POST", "/api/user", Failure::Status(status, "x".to_owned())).times(3));
        metabase::apply(&world.context(), &plan).await.unwrap_err();
        assert_eq!(world.setting("email-smtp-host"), "127.0.0.1", "{status}");
        world.metabase.clear_failures();
    }
    world.settle().await;
    assert_eq!(world.setting("email-smtp-host"), "127.0.0.1");
    assert!(world.find("users", "email", "gil@example.com")["active"].as_bool().unwrap());
    assert!(world.metabase.mails().is_empty(), "{:?}", world.metabase.mails());
    // A server that is not ours to set again is not taken out.
    world.settings.mail = None;
    world
        .chain
        .import(&[&joins[..], &["hal@example.com,Hal,Ito,en,store:harbor/000102,viewer"]].concat())
        .await
        .unwrap();
    let refused = metabase::plan(&world.context()).await.unwrap_err();
    assert!(told(&refused).contains("has a mail server set"), "{}", told(&refused));
}

#[tokio::test]
async fn a_person_whom_metabase_refuses_stops_nobody_else() {
    let server = SmtpSink::start(None).unwrap();
    let mut world = World::start().await;
    world.settings.mail = Some(mail(server.address.port()));
    world.settle().await;
    let joins = [
        "gil@example.com,Gil,Hart,en,store:harbor/000102,viewer",
        "hal@example.com,Hal,Ito,et,store:harbor/000102,viewer",
        "ida@example.com,Ida,Jay,en,store:harbor/000102,viewer",
        "bo@example.com,Bo,Berg,en,store:harbor/000102,viewer",
    ];
    world.chain.import(&[super::PEOPLE, &joins].concat()).await.unwrap();
    let plan = world.plan().await;
    world.metabase.fail_next(Fault::new("POST", "/api/user", Failure::Status(400, "x".to_owned())));
    let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
    insta::assert_snapshot!(format!("{}\nhint: {}", told(&error), error.hint().unwrap()), @r"
    1 step about people was refused; everything else is done:
      create person of `store:harbor/000102`: Metabase answered 400 Bad Request to `POST api/user`: see its own log
    hint: `plan` names them; correct the list of people, or the account in Metabase
    ");
    assert_eq!(world.setting("email-smtp-host"), "127.0.0.1");
    assert!(world.metabase.mails().is_empty(), "{:?}", world.metabase.mails());
    // One is left, and the language that Metabase does not have is given up.
    let plan = world.plan().await;
    assert_eq!(about(&plan, Action::Create, "person").len(), 1, "{plan}");
    assert!(plan.steps.iter().all(|step| ["person", "setting"].contains(&step.kind)), "{plan}");
    world.settle().await;
    let notes = world.plan().await.notes;
    let note = "this release has no language `et`: 1 person keeps the one she has";
    assert!(notes.iter().any(|found| found == note), "{notes:?}");
    assert!(world.find("users", "email", "hal@example.com")["locale"].is_null());
}

#[tokio::test]
async fn no_error_has_an_address() {
    let world = World::start().await;
    world.settle().await;
    world
        .chain
        .import(&[super::PEOPLE, &["gil@example.com,Gil,Hart,en,store:harbor/000102,viewer"]].concat())
        .await
        .unwrap();
    for body in [
        r#"{"errors":{"email":"value must be a valid email address."},"specific-errors":{"email":["valid email address, received: \"gil@example.com\""]}}"#,
        r#"{"message":"duplicate key: (email)=(gil@example.com) already exists"}"#,
        "gil@example.com is taken",
    ] {
        world.metabase.fail_next(Fault::new("POST", "/api/user", Failure::Status(400, body.to_owned())));
        let plan = world.plan().await;
        let error = metabase::apply(&world.context(), &plan).await.unwrap_err();
        assert!(!told(&error).contains('@') && !format!("{error:?}").contains('@'), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_sign_in_is_tried_without_leaving_anything_behind() {
    let mut world = World::start().await;
    let tried = async |world: &World| {
        metabase::try_sign_in(&world.http, &world.settings, &world.chain.installation, now()).await
    };
    assert_eq!(tried(&world).await.unwrap(), Accepted::NotSetUp);
    world.plan().await;
    assert_eq!(tried(&world).await.unwrap(), Accepted::Key);
    std::fs::remove_dir_all(world.chain.installation.data_dir.join("secrets")).unwrap();
    world.metabase.clear_requests();
    assert_eq!(tried(&world).await.unwrap(), Accepted::Password);
    let calls = world.metabase.requests();
    let calls: Vec<String> = calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    assert_eq!(calls, ["GET /api/session/properties", "POST /api/session", "DELETE /api/session"]);
    world.settings.admin_password = SecretString::from("wrong-horse-9");
    world.metabase.clear_requests();
    assert!(matches!(tried(&world).await, Err(SessionError::SignIn(_))));
    assert!(matches!(tried(&world).await, Err(SessionError::Wait { .. })));
    let logins = world.metabase.requests().iter().filter(|call| call.path == "/api/session").count();
    assert_eq!(logins, 1);
}
