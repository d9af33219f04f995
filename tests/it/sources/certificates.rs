//! Signing in with a certificate, and secrets that lie in a key vault.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::faults::{Outcome, When};
use sandbox::token::{Registered, VAULT_RESOURCE, Vault};
use secrecy::ExposeSecret as _;
use storekeeper::http::{TokenError, Tokens, key_vault};
use storekeeper::settings::Settings;

use super::*;

/// A certificate with its key in one PEM file, and what the endpoint is told of it.
fn certificate(folder: &tempfile::TempDir, name: &str, days: i64) -> (PathBuf, Registered) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'static> = key.as_der().unwrap();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let pair = rcgen::KeyPair::from_pem(&key).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["storekeeper".to_owned()]).unwrap();
    let ends = (Utc::now() + chrono::TimeDelta::days(days)).date_naive();
    parameters.not_after = rcgen::date_time_ymd(
        chrono::Datelike::year(&ends),
        chrono::Datelike::month(&ends) as u8,
        chrono::Datelike::day(&ends) as u8,
    );
    let certificate = parameters.self_signed(&pair).unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, format!("{}{key}", certificate.pem())).unwrap();
    let public_key = rcgen::PublicKeyData::der_bytes(&pair).to_vec();
    (path, Registered { client_id: "app".to_owned(), der: certificate.der().to_vec(), public_key })
}

/// A token endpoint that knows a certificate, and goes by a clock.
fn endpoint(known: impl IntoIterator<Item = Registered>, clock: Clock) -> TokenService {
    let options = TokenOptions {
        clients: vec![("app".to_owned(), SECRET.to_owned())],
        certificates: known.into_iter().collect(),
        clock,
        ..TokenOptions::default()
    };
    let token = TokenService::start(options).unwrap();
    token.book().enter_resource("https://graph.example");
    token
}

fn signing_with(token: &TokenService, file: &std::path::Path) -> settings::Microsoft {
    settings::Microsoft {
        tenant_id: TokenOptions::default().tenant_id,
        client_id: "app".to_owned(),
        client_secret: None,
        client_secret_expires_on: None,
        certificate_file: Some(file.to_owned()),
        private_key_file: None,
        cloud: settings::Cloud::Global,
        authority_url: token.base_url.clone(),
        graph_url: "https://graph.example".to_owned(),
    }
}

#[tokio::test]
async fn a_certificate_signs_in_and_a_strange_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (file, known) = certificate(&folder, "ours.pem", 90);
    let (strange, _) = certificate(&folder, "strange.pem", 90);
    let token = endpoint([known], Clock::system());
    let client = Client::new(&patience()).unwrap();
    let tokens = Tokens::new(&client, &signing_with(&token, &file)).unwrap();
    tokens.bearer("https://graph.example").await.unwrap();
    let days = tokens.expiry().unwrap().days_left(Utc::now());
    assert!((88..=90).contains(&days), "{days}");
    assert!(!tokens.expiry().unwrap().is_near(Utc::now()));

    let tokens = Tokens::new(&client, &signing_with(&token, &strange)).unwrap();
    let error = tokens.bearer("https://graph.example").await.unwrap_err();
    assert!(error.to_string().contains("AADSTS700027"), "{error}");
    assert!(error.hint().unwrap().contains("certificate"), "{error:?}");
    assert!(!error.is_passing());
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_once_and_otherwise_named() {
    let folder = tempfile::tempdir().unwrap();
    let (file, known) = certificate(&folder, "ours.pem", 90);
    // The service lives in another hour than this machine.
    let clock = Clock::system();
    clock.advance_seconds(3600);
    let token = endpoint([known], clock);
    let client = Client::new(&patience()).unwrap();
    let tokens = Tokens::new(&client, &signing_with(&token, &file)).unwrap();
    tokens.bearer("https://graph.example").await.unwrap();
    assert_eq!(token.faults().requests().len(), 2);

    // A service that refuses that one as well: the clock is in the message.
    let tokens = Tokens::new(&client, &signing_with(&token, &file)).unwrap();
    let refused = Outcome::rewrite(|_, response| {
        response.status = 401;
        response.body =
            br#"{"error":"invalid_client","error_description":"AADSTS700024: not within its valid time range."}"#
                .to_vec();
    });
    token.faults().script("POST *", When::Every, refused);
    let error = tokens.bearer("https://graph.example").await.unwrap_err();
    assert!(error.to_string().contains("seconds behind the service's"), "{error}");
    assert_eq!(error.hint(), Some("set this machine's clock"));
}

#[tokio::test]
async fn neither_a_secret_nor_a_certificate_is_said_before_anything_is_asked() {
    let token = endpoint([], Clock::system());
    let microsoft = settings::Microsoft { certificate_file: None, ..signing_with(&token, std::path::Path::new("")) };
    let error = Tokens::new(&Client::new(&patience()).unwrap(), &microsoft).unwrap_err();
    assert!(matches!(error, TokenError::NoCredentials), "{error:?}");
    assert!(token.faults().requests().is_empty());
}

/// Settings as an operator writes them, with `more` at their end.
fn written(vault: &Vault, token: &TokenService, more: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = format!(
        "[http]\nattempts = 4\nbackoff_milliseconds = 1\n\
         [microsoft]\ntenant_id = \"{}\"\nclient_id = \"app\"\nauthority_url = \"{}\"\n{more}",
        TokenOptions::default().tenant_id,
        token.base_url
    );
    std::fs::write(&file, text.replace("VAULT", &vault.base_url).replace("IDENTITY", &vault.identity_url)).unwrap();
    (folder, file)
}

async fn opened(file: &std::path::Path, variables: &BTreeMap<String, String>) -> Result<Settings, String> {
    let files = [file.to_owned()];
    let settings = storekeeper::settings::read(&files, variables).map_err(|error| error.to_string())?;
    let secrets = key_vault::secrets(&settings).await;
    let secrets = secrets
        .map_err(|error| format!("{} ({})", storekeeper::telemetry::chain(&error), error.hint().unwrap_or_default()))?;
    storekeeper::settings::read_with_secrets(&files, variables, &secrets).map_err(|error| error.to_string())
}

#[tokio::test]
async fn secrets_come_out_of_a_vault_that_the_machine_opens() {
    let token = endpoint([], Clock::system());
    let vault = Vault::start(&token.book(), &Clock::system()).unwrap();
    vault.put("graph", SECRET);
    vault.put("database", "postgres://u:p@h/d");
    let (_folder, file) = written(
        &vault,
        &token,
        "client_secret = { key_vault = \"VAULT/secrets/graph\" }\n[key_vault]\nidentity_url = \"IDENTITY\"\n",
    );
    let name = "STOREKEEPER__DATABASE__URL__KEY_VAULT".to_owned();
    let variables = BTreeMap::from([(name, format!("{}/secrets/database", vault.base_url))]);
    // A machine that has just started, and a vault that is busy.
    vault.faults().script("GET /metadata*", When::Next(2), sandbox::wire::Response::empty(404));
    vault.faults().script("GET /secrets/graph*", When::Nth(1), sandbox::wire::Response::empty(503));
    let settings = opened(&file, &variables).await.unwrap();
    let secret = settings.microsoft.as_ref().unwrap().client_secret.as_ref().unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
    assert_eq!(settings.database.url.as_ref().unwrap().expose_secret(), "postgres://u:p@h/d");
    assert!(!format!("{settings:?}").contains(SECRET));

    // The secret works where it belongs.
    let client = Client::new(&patience()).unwrap();
    let tokens = Tokens::new(&client, settings.microsoft.as_ref().unwrap()).unwrap();
    tokens.bearer(VAULT_RESOURCE).await.unwrap();

    // A variable of its own wins over the vault.
    let asked = vault.faults().requests().len();
    let variables =
        BTreeMap::from([("STOREKEEPER__MICROSOFT__CLIENT_SECRET_FILE".to_owned(), file.display().to_string())]);
    opened(&file, &variables).await.unwrap();
    assert_eq!(vault.faults().requests().len(), asked);
}

#[tokio::test]
async fn the_application_opens_a_vault_but_not_for_its_own_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, known) = certificate(&folder, "ours.pem", 90);
    let token = endpoint([known], Clock::system());
    let vault = Vault::start(&token.book(), &Clock::system()).unwrap();
    vault.put("database", "postgres://u:p@h/d");
    let by_application =
        "[key_vault]\nsign_in = \"application\"\n[database]\nurl = { key_vault = \"VAULT/secrets/NAME\" }\n";
    let certificate = format!("certificate_file = {certificate:?}\n{by_application}");
    let (_kept, file) = written(&vault, &token, &certificate.replace("NAME", "database"));
    let settings = opened(&file, &BTreeMap::new()).await.unwrap();
    assert_eq!(settings.database.url.unwrap().expose_secret(), "postgres://u:p@h/d");

    let (_kept, file) = written(&vault, &token, &certificate.replace("NAME", "none"));
    let refused = opened(&file, &BTreeMap::new()).await.unwrap_err();
    assert!(refused.contains("`database.url`: status 404, `SecretNotFound`"), "{refused}");

    let own = "client_secret = { key_vault = \"VAULT/secrets/graph\" }\n";
    let (_kept, file) = written(&vault, &token, &format!("{own}{by_application}"));
    let refused = opened(&file, &BTreeMap::new()).await.unwrap_err();
    assert!(refused.contains("opened with that same secret"), "{refused}");

    // Not everybody's address gets the token.
    let (_kept, file) = written(&vault, &token, &certificate.replace("VAULT", "https://vault.example.com"));
    let refused = opened(&file, &BTreeMap::new()).await.unwrap_err();
    assert!(refused.contains("no secret in a key vault of this cloud"), "{refused}");
}

#[test]
fn a_cloud_has_its_addresses_and_given_ones_win() {
    let read = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        let head = "[microsoft]\ntenant_id = \"t\"\nclient_id = \"c\"\ncertificate_file = \"c.pem\"\n";
        std::fs::write(&file, format!("{head}{text}")).unwrap();
        let settings = storekeeper::settings::read(&[file], &BTreeMap::new()).map_err(|error| error.to_string())?;
        let microsoft = settings.microsoft.unwrap();
        Ok::<_, String>((microsoft.authority_url, microsoft.graph_url))
    };
    let pair = |one: &str, two: &str| Ok((one.to_owned(), two.to_owned()));
    assert_eq!(read(""), pair("https://login.microsoftonline.com", "https://graph.microsoft.com"));
    assert_eq!(
        read("cloud = \"us_dod\"\n"),
        pair("https://login.microsoftonline.us", "https://dod-graph.microsoft.us")
    );
    assert_eq!(
        read("cloud = \"china\"\ngraph_url = \"http://127.0.0.1:1\"\n"),
        pair("https://login.chinacloudapi.cn", "http://127.0.0.1:1")
    );
    assert!(read("cloud = \"german\"\n").unwrap_err().contains("german"));
}
