//! Writes people's accounts and who is in which group.

use serde_json::json;

use super::apply::{Applying, failed};
use super::context::Error;
use super::step::{Step, Work};
use super::tables::{ADOPTED, Kind};

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
                    let path = format!("api/user/{id}");
                    client.put(&path, &json!({"locale": locale})).await.map_err(failed(step))?;
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
                client.put(&format!("api/user/{id}"), fields).await.map_err(failed(step))?;
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
}
