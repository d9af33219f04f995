//! The part of a plan about the instance itself: the lock-down, its settings, mail and cache. Pure.

use serde_json::Value;

use super::actual::{Actual, Setting};
use super::desired::Desired;
use super::instance::{MAIL_PASSWORD, MAIL_SERVER, Mail, no_cache, same, words};
use super::plan::{Plan, Planning};
use super::step::{Action, Change, Step, Work, shown};
use super::tables::{Kind, MAIL};

const MAIL_STEP: &str = "mail server";

impl Planning<'_> {
    pub(super) fn settings(&mut self) {
        for (key, wanted) in &self.desired.settings {
            let Some(setting) = self.actual.settings.get(key) else {
                self.note(format!("this release has no setting `{key}`"));
                continue;
            };
            if same(&setting.value, wanted) {
                continue;
            }
            if let Some(variable) = &setting.variable {
                self.note(fixed(key, variable, setting, wanted));
                continue;
            }
            let changes = vec![Change::new("value", words(&setting.value), words(wanted))];
            let work = Work::Setting { key: key.clone(), value: wanted.clone() };
            self.step(Action::Update, "setting", key, "", changes, work);
        }
        if let Some(mail) = &self.desired.mail {
            self.mail(mail);
        }
        if let Some(wanted) = &self.desired.cache {
            let found = self.actual.cache.clone().unwrap_or_else(no_cache);
            if !same(&found, wanted) {
                let changes = vec![Change::new("strategy", words(&found), words(wanted))];
                self.step(Action::Update, "setting", "cache", "", changes, Work::Cache { strategy: wanted.clone() });
            }
        }
        self.samples();
    }

    fn samples(&mut self) {
        for (id, database) in self.actual.databases.iter().filter(|(_, database)| database.sample) {
            let work = Work::DeleteSample { id: *id };
            self.step(Action::Delete, "sample database", &database.name, "", Vec::new(), work);
        }
        for (id, collection) in &self.actual.collections {
            if collection.sample && !collection.archived {
                let work = Work::ArchiveSample { id: *id };
                self.step(Action::Delete, "sample collection", &collection.name, "", Vec::new(), work);
            }
        }
    }

    fn mail(&mut self, wanted: &Mail) {
        const NONE: &Value = &Value::Null;
        let setting = |key: &str| self.actual.settings.get(key);
        let found = |key: &str| setting(key).map_or(NONE, |setting| &setting.value);
        // The environment gives it and nobody tells what it is: nothing can be said of it.
        let unseen = |key: &str| setting(key).is_some_and(|found| found.variable.is_some() && found.value.is_null());
        let mut changes: Vec<Change> = wanted
            .server
            .iter()
            .filter(|(key, value)| !unseen(key) && !same(found(key), value))
            .map(|(key, value)| Change::new(key, found(key).clone(), value.clone()))
            .collect();
        let known = self.objects.get(&(Kind::Setting, MAIL.to_owned()));
        let there = found(MAIL_PASSWORD).as_str();
        let password = match (&wanted.password_mark, there) {
            _ if unseen(MAIL_PASSWORD) => None,
            (None, None) => None,
            (None, Some(_)) => Some(Change::new("password", "set", Value::Null)),
            (Some(_), None) => Some(Change::new("password", Value::Null, "set")),
            (Some(mark), Some(there)) => {
                let ours = known.is_some_and(|known| known.hash == *mark && known.mark == there);
                (!ours).then(|| Change::new("password", "another one", "the configured one"))
            }
        };
        changes.extend(password);
        if changes.is_empty() {
            return;
        }
        // The five are written together: where the server's environment gives one, none can be.
        let given: Vec<&String> =
            MAIL_SERVER.iter().filter_map(|key| self.actual.settings.get(*key)?.variable.as_ref()).collect();
        if let Some(variable) = given.first() {
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            self.note(format!(
                "Metabase's mail server is given by its environment ({variable}) and differs in {}",
                fields.join(", ")
            ));
            return;
        }
        self.step(Action::Update, "setting", MAIL_STEP, "", changes, Work::Mail);
    }
}

/// What to say of a setting that only the server's environment can change.
fn fixed(key: &str, variable: &str, setting: &Setting, wanted: &Value) -> String {
    let (found, wanted) = (shown(&words(&setting.value)), shown(&words(wanted)));
    if setting.value.is_null() {
        return format!(
            "the setting `{key}` is given by Metabase's environment ({variable}), unseen; wanted is `{wanted}`"
        );
    }
    format!(
        "the setting `{key}` is given by Metabase's environment ({variable}): it is `{found}` and should be `{wanted}`"
    )
}

/// Says whether Metabase would mail somebody.
pub(super) fn mail_is_on(actual: &Actual) -> bool {
    actual.settings.get(MAIL_SERVER[0]).is_some_and(|setting| {
        setting.variable.is_some() || setting.value.as_str().is_some_and(|host| !host.is_empty())
    })
}

/// Takes the mail server out for as long as accounts are made: Metabase mails each of
/// them, and nothing else stops it. Only where the server is ours to set again.
pub(super) fn hold_mail(plan: &mut Plan, desired: &Desired, actual: &Actual) {
    let given = MAIL_SERVER.iter().any(|key| actual.settings.get(*key).is_some_and(|found| found.variable.is_some()));
    let joins = plan.steps.iter().any(|step| matches!(step.work, Work::CreatePerson { .. }));
    if !joins || given || desired.mail.is_none() || !mail_is_on(actual) {
        return;
    }
    let (on, held) = ("on", "off while accounts are made");
    let step = |from: &str, to: &str, work: Work| Step {
        action: Action::Update,
        kind: "setting",
        name: MAIL_STEP.to_owned(),
        scope: String::new(),
        changes: vec![Change::new("state", from, to)],
        work,
        content: String::new(),
    };
    plan.steps.push(step(on, held, Work::HoldMail));
    if !plan.steps.iter().any(|step| step.work == Work::Mail) {
        plan.steps.push(step(held, on, Work::Mail));
    }
    plan.steps.sort_by_key(|step| step.work.phase());
}
