//! Writes people's accounts and who is in which group.

use serde_json::{Map, Value, json};
use tracing::warn;

use super::apply::{Applying, failed};
use super::context::Error;
use super::step::{Step, Work};
use super::tables::{ADOPTED, Kind, Known, no_locale};

impl Applying<'_> {
    pub(super) async fn person(&self, step: &Step) -> Result<(), Error> {
        let client = self.client;
        match &step.work {
            Work::CreatePerson { key } => {
                let account = &self.desired.people[key];
                let mut body = json!({"email": account.email});
                for (field, value) in [("first_name", &account.first_name), ("last_name", &account.last_name)] {
                    if let Some(value) = value {
                        body[field] = value.as_str().into();
                    }
                }
                // A full list, and everybody's group must be on it.
                let mut groups = vec![json!({"id": self.actual.all_users})];
                for group in &account.groups {
                    groups.push(json!({"id": self.id(Kind::Group, group).await?}));
                }
                body["user_group_memberships"] = groups.into();
                let answer = client.post("api/user", &body).await.map_err(failed(step))?;
                let id = self.made(Kind::Person, key, "", &answer, "POST api/user").await?;
                if let Some(locale) = &account.locale {
                    self.write_account(step, id, Map::from_iter([("locale".to_owned(), json!(locale))])).await?;
                }
            }
            Work::AdoptPerson { key, id } => self.note(Kind::Person, key, *id, ADOPTED, None).await?,
            Work::ReactivatePerson { key, id } => {
                client.put(&format!("api/user/{id}/reactivate"), &json!({})).await.map_err(failed(step))?;
                let known = self.ledger.read().await.map_err(Error::ledger("read what is ours"))?;
                let origin = known.get(&(Kind::Person, key.clone())).map_or("", |known| known.hash.as_str());
                self.note(Kind::Person, key, *id, origin, None).await?;
            }
            Work::UpdatePerson { id, fields } => {
                self.write_account(step, *id, fields.as_object().cloned().unwrap_or_default()).await?;
            }
            Work::Join { person, group } => {
                let body = json!({
                    "user_id": self.id(Kind::Person, person).await?,
                    "group_id": self.id(Kind::Group, group).await?,
                });
                client.post("api/permissions/membership", &body).await.map_err(failed(step))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes fields of an account. A language that this Metabase does not have is left out,
    /// and not asked for again before the next release.
    async fn write_account(&self, step: &Step, id: i64, mut fields: Map<String, Value>) -> Result<(), Error> {
        let path = format!("api/user/{id}");
        match self.client.put(&path, &Value::Object(fields.clone())).await {
            Err(error) if error.is_about_the_call() && error.names("locale") && fields.contains_key("locale") => {
                let locale = fields.remove("locale");
                let locale = locale.as_ref().and_then(Value::as_str).unwrap_or_default();
                warn!(locale, "Metabase did not have the language of an account");
                let known = Known { hash: self.actual.version.clone(), ..Known::default() };
                let noted = self.ledger.note(Kind::Setting, &no_locale(locale), &known).await;
                noted.map_err(Error::ledger("note a language"))?;
                if !fields.is_empty() {
                    self.client.put(&path, &Value::Object(fields)).await.map_err(failed(step))?;
                }
                Ok(())
            }
            other => other.map(drop).map_err(failed(step)),
        }
    }
}
