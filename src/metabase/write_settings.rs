//! Writes how the instance itself is set.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::apply::{Applying, failed};
use super::context::Error;
use super::instance::MAIL_PASSWORD;
use super::step::{Step, Work};
use super::tables::{Kind, Known, MAIL};

impl Applying<'_> {
    pub(super) async fn write_setting(&self, step: &Step) -> Result<(), Error> {
        match &step.work {
            Work::Setting { key, value } => {
                let path = format!("api/setting/{key}");
                self.client.put(&path, &json!({"value": value})).await.map_err(failed(step))?;
            }
            Work::Cache { strategy } => {
                let body = json!({"model": "root", "model_id": 0, "strategy": strategy});
                self.client.put("api/cache", &body).await.map_err(failed(step))?;
            }
            Work::HoldMail => self.client.delete("api/email").await.map_err(failed(step))?,
            Work::Mail => self.write_mail(step).await?,
            Work::HomePage { key } => {
                let id = self.id(Kind::Dashboard, key).await?;
                let body = json!({"custom-homepage": true, "custom-homepage-dashboard": id});
                self.client.put("api/setting", &body).await.map_err(failed(step))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the mail server whole; Metabase tries it before it keeps it.
    async fn write_mail(&self, step: &Step) -> Result<(), Error> {
        let Some(mail) = &self.desired.mail else { return Ok(()) };
        let mut body = mail.server.clone();
        let password = self.settings.mail.as_ref().and_then(|mail| mail.password.as_ref());
        body.insert(MAIL_PASSWORD.to_owned(), password.map_or(Value::Null, |password| password.expose_secret().into()));
        // A refusal may repeat what it refuses.
        let quiet = |error: super::client::Error| failed(step)(error.without_text());
        self.client.put("api/email", &Value::Object(body)).await.map_err(quiet)?;
        let masked = self.client.get(&format!("api/setting/{MAIL_PASSWORD}")).await.map_err(failed(step))?;
        let known = Known {
            hash: mail.password_mark.clone().unwrap_or_default(),
            // A password that somebody types in Metabase most likely looks another when it is masked.
            mark: masked.as_str().map(|masked| self.credentials.secret_mark(masked)).unwrap_or_default(),
            ..Known::default()
        };
        self.ledger.note(Kind::Setting, MAIL, &known).await.map_err(Error::ledger("note the mail server"))
    }
}
