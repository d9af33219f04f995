//! Subscriptions and alerts: what is mailed, and to whom. A recipient sees what the maker sees.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::acting::nothing;
use super::findings::Findings;
use super::foreign::SUBSCRIPTION;
use super::shown::{Beyond, Found};
use super::world::World;
use crate::access::Scope;
use crate::metabase::client::{self, list};
use crate::metabase::tables::Kind;
use crate::words::counted;

const MAILED: &str = "a subscription that is mailed there";

/// One subscription or alert.
struct Mail {
    name: String,
    dashboard: Option<i64>,
    cards: BTreeSet<i64>,
    /// What its maker chose of the dashboard's filters.
    chosen: Value,
    to: Vec<Value>,
}

/// What a mail holds.
enum Part<'a> {
    /// A dashboard or question of ours.
    Ours(&'a Scope),
    /// A question of somebody else's, by the key of where it was run.
    Theirs(String),
}

/// What was run, by where and with what.
type Ran<'a> = BTreeMap<String, Found<'a>>;

impl<'a> World<'a> {
    /// Looks at what is mailed, and to whom.
    pub(super) async fn mails(&self, findings: &mut Findings) -> Result<(), client::Error> {
        findings.exposures.extend(self.mail_to_anybody());
        let mut mails = self.subscriptions().await?;
        mails.extend(self.alerts().await?);
        let mut ran = Ran::new();
        for mail in mails.iter().filter(|mail| !mail.to.is_empty()) {
            let parts = self.parts(mail, &mut ran).await?;
            for recipient in &mail.to {
                findings.check("recipients of mail");
                match self.account(recipient) {
                    None => self.to_nobody(findings, mail, &parts, &ran),
                    Some(user) if !self.gathered.actual.users[&user].superuser => {
                        self.to_person(findings, mail, user, &parts, &ran);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// What open-source Metabase cannot close once it has a mail server.
    fn mail_to_anybody(&self) -> Option<String> {
        let settings = &self.gathered.actual.settings;
        let server = settings.get("email-smtp-host")?;
        // What the environment gives may not be told.
        let sends = server.variable.is_some() || server.value.as_str().is_some_and(|host| !host.trim().is_empty());
        let allowed = settings.get("subscription-allowed-domains");
        let kept = allowed.is_some_and(|list| list.value.as_str().is_some_and(|list| !list.trim().is_empty()));
        (sends && !kept).then(|| {
            "Metabase has a mail server and no list of allowed domains: whoever reads a dashboard can have it mailed \
             to any address"
                .to_owned()
        })
    }

    async fn subscriptions(&self) -> Result<Vec<Mail>, client::Error> {
        let rows = list(or_none(self.gathered.client.get("api/pulse").await)?);
        let no_recipients = |pulse: &&Value| {
            let channels = pulse["channels"].as_array().into_iter().flatten();
            channels.filter_map(|channel| channel["recipients"].as_array()).all(Vec::is_empty)
        };
        // What an audit that was killed left behind.
        for pulse in rows.iter().filter(|pulse| pulse["name"] == SUBSCRIPTION).filter(no_recipients) {
            self.put_away(pulse).await?;
        }
        let read = |pulse: Value| {
            let channels = pulse["channels"].as_array().into_iter().flatten();
            let cards = pulse["cards"].as_array().into_iter().flatten().filter_map(|card| card["id"].as_i64());
            Mail {
                name: format!("subscription `{}`", pulse["name"].as_str().unwrap_or_default()),
                dashboard: pulse["dashboard_id"].as_i64(),
                cards: cards.collect(),
                chosen: pulse["parameters"].clone(),
                to: channels.filter_map(|channel| channel["recipients"].as_array()).flatten().cloned().collect(),
            }
        };
        Ok(rows.into_iter().map(read).collect())
    }

    async fn alerts(&self) -> Result<Vec<Mail>, client::Error> {
        let mut alerts = Vec::new();
        for path in ["api/notification", "api/alert"] {
            let rows = list(or_none(self.gathered.client.get(path).await)?).into_iter();
            for alert in rows.filter(|alert| alert["active"] != false) {
                let handlers = alert["handlers"].as_array().or_else(|| alert["channels"].as_array());
                let to = handlers
                    .into_iter()
                    .flatten()
                    .filter_map(|handler| handler["recipients"].as_array())
                    .flatten()
                    .map(|recipient| match (&recipient["user_id"], &recipient["details"]["value"]) {
                        (Value::Number(id), _) => json!({"id": id}),
                        (_, Value::String(text)) => json!({"email": text}),
                        _ => recipient.clone(),
                    })
                    .collect();
                let card = alert["payload"]["card_id"].as_i64().or_else(|| alert["card"]["id"].as_i64());
                let (name, cards) = ("alert".to_owned(), card.into_iter().collect());
                alerts.push(Mail { name, dashboard: None, cards, chosen: Value::Null, to });
            }
        }
        Ok(alerts)
    }

    /// The account that a recipient has, by number or by address.
    fn account(&self, recipient: &Value) -> Option<i64> {
        let users = &self.gathered.actual.users;
        let text = recipient["email"].as_str().map(str::to_lowercase);
        let by_address = || users.iter().find(|(_, user)| Some(&user.email) == text.as_ref()).map(|(id, _)| *id);
        recipient["id"].as_i64().or_else(by_address).filter(|user| users.contains_key(user))
    }

    /// What a mail holds: a page of ours as a whole, of any other page each question.
    async fn parts(&self, mail: &Mail, ran: &mut Ran<'a>) -> Result<Vec<Part<'a>>, client::Error> {
        let desired = self.desired();
        let page = mail.dashboard.and_then(|id| self.index.key(Kind::Dashboard, id));
        if let Some(board) = page.and_then(|key| desired.dashboards.get(key)) {
            return Ok(vec![Part::Ours(&board.scope)]);
        }
        let mut parts = Vec::new();
        for (card, path, body) in self.runs(mail).await? {
            let key = self.index.key(Kind::Card, card);
            if let Some(card) = key.and_then(|key| desired.cards.get(key)) {
                parts.push(Part::Ours(&card.scope));
                continue;
            }
            let key = format!("{path} {body}");
            if !ran.contains_key(&key) {
                ran.insert(key.clone(), self.shown(card, &path, &body).await?);
            }
            parts.push(Part::Theirs(key));
        }
        Ok(parts)
    }

    /// Each question of a mail, and how it is run for it.
    async fn runs(&self, mail: &Mail) -> Result<Vec<(i64, String, Value)>, client::Error> {
        let alone = || mail.cards.iter().map(|card| (*card, format!("api/card/{card}/query"), nothing())).collect();
        let Some(board) = mail.dashboard else { return Ok(alone()) };
        let whole = match self.gathered.client.get(&format!("api/dashboard/{board}")).await {
            Err(error) if error.is_gone() => return Ok(alone()),
            other => other?,
        };
        let known: Vec<&Value> = whole["parameters"].as_array().into_iter().flatten().map(|one| &one["id"]).collect();
        let chosen = mail.chosen.as_array().into_iter().flatten();
        let chosen = chosen.filter(|one| !one["value"].is_null() && known.contains(&&one["id"]));
        let chosen = chosen.map(|one| json!({"id": one["id"], "type": one["type"], "value": one["value"]}));
        let body = json!({"parameters": chosen.collect::<Vec<_>>()});
        let mut runs = Vec::new();
        for place in whole["dashcards"].as_array().into_iter().flatten() {
            let series = place["series"].as_array().into_iter().flatten().filter_map(|card| card["id"].as_i64());
            for card in place["card_id"].as_i64().into_iter().chain(series) {
                let path = format!("api/dashboard/{board}/dashcard/{}/card/{card}/query", place["id"]);
                runs.push((card, path, body.clone()));
            }
        }
        Ok(runs)
    }

    fn to_nobody(&self, findings: &mut Findings, mail: &Mail, parts: &[Part<'_>], ran: &Ran<'_>) {
        let mut leak = |what: String| findings.leak("an address that is nobody's", what, MAILED);
        let mut elsewhere = Vec::new();
        for part in parts {
            match part {
                Part::Ours(scope) => leak(format!("{} of `{scope}`", mail.name)),
                Part::Theirs(key) => match &ran[key] {
                    Found::Here(shown) => leak(format!("{}: {}", mail.name, shown.what)),
                    Found::Elsewhere(what) => elsewhere.push(what),
                    Found::Gone => {}
                },
            }
        }
        for what in elsewhere {
            findings.exposures.insert(format!(
                "the {} sends the {what}, which asks over a connection that is not ours, to an address that is nobody's",
                mail.name
            ));
        }
    }

    fn to_person(&self, findings: &mut Findings, mail: &Mail, user: i64, parts: &[Part<'_>], ran: &Ran<'_>) {
        let who = self.who(user);
        for part in parts {
            let (what, how) = match part {
                Part::Ours(scope) => {
                    let own = self.stores_of_person(user).unwrap_or_default();
                    if self.stores.of(scope).is_subset(&own) {
                        continue;
                    }
                    (format!("{} of `{scope}`", mail.name), MAILED)
                }
                Part::Theirs(key) => {
                    let Found::Here(shown) = &ran[key] else { continue };
                    match self.beyond(shown, user) {
                        Beyond::Stores(stores) => {
                            let first = stores.first().map(|(brand, store)| format!("{brand}/{store}"));
                            let first = first.unwrap_or_default();
                            let stores = counted(stores.len(), "store that is not hers", "stores that are not hers");
                            let what = format!("store {first} in {} ({stores})", shown.what);
                            (format!("{}: {what}", mail.name), MAILED)
                        }
                        Beyond::Unfenced(what, how) => (format!("{}: {what}", mail.name), how.unwrap_or(MAILED)),
                        Beyond::Nothing => continue,
                    }
                }
            };
            findings.leak(&who, what, how);
        }
    }
}

/// Lists that a release does not have are empty.
fn or_none(answer: Result<Value, client::Error>) -> Result<Value, client::Error> {
    match answer {
        Err(error) if error.is_gone() => Ok(Value::Null),
        other => other,
    }
}
