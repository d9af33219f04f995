//! Subscriptions and alerts: what is mailed, and to whom.

use serde_json::Value;

use super::findings::Findings;
use super::world::World;
use crate::metabase::client::{self, list};
use crate::metabase::tables::Kind;

/// Name, kind and number of what is mailed, and to whom.
type Sent = (String, Kind, Option<i64>, Vec<Value>);

impl World<'_> {
    /// Looks at what is mailed, and to whom: a recipient sees what its maker sees.
    pub(super) async fn mails(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let mut sent: Vec<Sent> = Vec::new();
        for pulse in list(or_none(client.get("api/pulse").await)?) {
            let channels = pulse["channels"].as_array().into_iter().flatten();
            let to: Vec<Value> =
                channels.filter_map(|channel| channel["recipients"].as_array()).flatten().cloned().collect();
            let cards = pulse["cards"].as_array().into_iter().flatten().filter_map(|card| card["id"].as_i64());
            let name = format!("subscription `{}`", pulse["name"].as_str().unwrap_or_default());
            match pulse["dashboard_id"].as_i64() {
                Some(id) => sent.push((name, Kind::Dashboard, Some(id), to)),
                None => sent.extend(cards.map(|card| (name.clone(), Kind::Card, Some(card), to.clone()))),
            }
        }
        for path in ["api/notification", "api/alert"] {
            for alert in list(or_none(client.get(path).await)?).into_iter().filter(|alert| alert["active"] != false) {
                let handlers = alert["handlers"].as_array().or_else(|| alert["channels"].as_array());
                let to = handlers
                    .into_iter()
                    .flatten()
                    .filter_map(|handler| handler["recipients"].as_array())
                    .flatten()
                    .map(|recipient| match (&recipient["user_id"], &recipient["details"]["value"]) {
                        (Value::Number(id), _) => serde_json::json!({"id": id}),
                        (_, Value::String(text)) => serde_json::json!({"email": text}),
                        _ => recipient.clone(),
                    })
                    .collect();
                let card = alert["payload"]["card_id"].as_i64().or_else(|| alert["card"]["id"].as_i64());
                sent.push(("alert".to_owned(), Kind::Card, card, to));
            }
        }
        let users = &self.gathered.actual.users;
        for (name, kind, id, to) in sent {
            let key = id.and_then(|id| self.index.key(kind, id));
            let scope = match kind {
                Kind::Dashboard => key.and_then(|key| self.desired().dashboards.get(key)).map(|board| &board.scope),
                _ => key.and_then(|key| self.desired().cards.get(key)).map(|card| &card.scope),
            };
            for recipient in to {
                findings.check("recipients of mail");
                let text = recipient["email"].as_str().map(str::to_lowercase);
                let by_address =
                    || users.iter().find(|(_, user)| Some(&user.email) == text.as_ref()).map(|(id, _)| *id);
                let user = recipient["id"].as_i64().or_else(by_address);
                let what = match scope {
                    Some(scope) => format!("{name} of `{scope}`"),
                    None => name.clone(),
                };
                match (user.filter(|user| users.contains_key(user)), scope) {
                    (None, Some(_)) => {
                        findings.leak("an address that is nobody's", what, "a subscription that is mailed there");
                    }
                    (Some(user), Some(scope)) if !users[&user].superuser => {
                        let own = self.stores_of_person(user).unwrap_or_default();
                        if !self.stores.of(scope).is_subset(&own) {
                            findings.leak(&format!("person {user}"), what, "a subscription that is mailed there");
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Lists that a release does not have are empty.
fn or_none(answer: Result<Value, client::Error>) -> Result<Value, client::Error> {
    match answer {
        Err(error) if error.status().is_some_and(|status| status.is_client_error()) => Ok(Value::Null),
        other => other,
    }
}
