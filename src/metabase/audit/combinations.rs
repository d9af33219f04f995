//! People with several groups. Levels add up and there is no "no", so a person's view is
//! the union of her groups': memberships prove it. Where groups come together that do not
//! hang under each other, a probe account that is put into all of them tries it as well.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;

use super::acting::{Acting, Tried, is_refusal, nothing};
use super::findings::{Evidence, Findings, PersonProof, digest};
use super::world::World;
use crate::metabase::client::{self, Client, Proof, id_of, list};
use crate::metabase::context::Error;
use crate::metabase::tables::Kind;

/// Groups that some people have together.
type Combination = BTreeSet<String>;

impl<'a> World<'a> {
    /// The combinations of groups that people have, each once.
    fn combinations(&self) -> BTreeSet<Combination> {
        let people = self.desired().people.values().filter(|account| account.active);
        people.map(|account| account.groups.clone()).filter(|groups| groups.len() > 1).collect()
    }

    /// Tries combinations with probe accounts; says which were tried.
    pub(super) async fn combined(&self, prefix: &str, findings: &mut Findings) -> Result<BTreeSet<Combination>, Error> {
        let all: Vec<Combination> = self.combinations().into_iter().collect();
        let all = self.drawn("combinations", all, |groups| format!("{groups:?}"));
        let share = self.share(all.len());
        let mut tried = BTreeSet::new();
        for groups in all.into_iter().take(share) {
            if self.probe(prefix, &groups, findings).await? {
                tried.insert(groups);
            }
        }
        Ok(tried)
    }

    async fn probe(&self, prefix: &str, groups: &Combination, findings: &mut Findings) -> Result<bool, Error> {
        let ids: Option<Vec<i64>> = groups.iter().map(|group| self.index.get(Kind::Group, group)).collect();
        let Some((first, others)) = ids.as_deref().and_then(<[i64]>::split_first) else { return Ok(false) };
        let client = &self.gathered.client;
        let (key_id, secret) = make_key(client, prefix, *first).await?;
        let acting = Acting::new(
            self,
            groups.iter().map(|group| self.known(group)).collect(),
            client.with(Proof::Key(SecretString::from(secret))),
        );
        let outcome = self.probed(&acting, others, findings).await;
        client.delete(&format!("api/api-key/{key_id}")).await.map_err(Error::Metabase)?;
        outcome.map_err(Error::Metabase)
    }

    /// The group's own name, as long-lived as what is wanted.
    fn known(&self, group: &str) -> &'a str {
        self.desired().groups.get_key_value(group).map_or("", |(key, _)| key.as_str())
    }

    /// Puts the key's hidden user into the other groups too, and acts.
    async fn probed(
        &self,
        acting: &Acting<'_>,
        others: &[i64],
        findings: &mut Findings,
    ) -> Result<bool, client::Error> {
        let user = acting.client.get("api/user/current").await?["id"].as_i64();
        let Some(user) = user else {
            return Err(client::Error::Shape { call: "GET api/user/current", missing: "id" });
        };
        for group in others {
            let body = json!({"group_id": group, "user_id": user});
            match self.gathered.client.post("api/permissions/membership", &body).await {
                Ok(_) => {}
                Err(error) if is_refusal(&error) || error.status() == Some(StatusCode::BAD_REQUEST) => {
                    findings.exposures.insert(
                        "this instance puts no API key into a second group: people with several groups are proven by \
                         their memberships alone"
                            .to_owned(),
                    );
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        acting.combined(findings).await?;
        Ok(true)
    }
}

impl Acting<'_> {
    /// What several groups see together: all of each, and nothing besides.
    async fn combined(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let (readable, askable) = (self.may_read(), self.may_ask());
        let named = |rows: Vec<serde_json::Value>| -> BTreeMap<i64, String> {
            let ours = rows.iter().filter(|row| row["is_personal"] != true && !row["personal_owner_id"].is_i64());
            let ours = ours.filter(|row| row["type"] != "trash");
            let name = |row: &serde_json::Value| row["name"].as_str().unwrap_or_default().to_owned();
            ours.filter_map(|row| Some((row["id"].as_i64()?, name(row)))).collect()
        };
        for (path, granted, kind) in
            [("api/collection", &readable, "collection"), ("api/database", &askable, "connection")]
        {
            findings.check("combinations of groups");
            let seen = named(list(self.client.get(path).await?));
            for (_, name) in seen.iter().filter(|(id, _)| !granted.contains(id)) {
                findings.leak(&self.who, format!("{kind} `{name}`"), "the groups of one person together");
            }
            for id in granted.iter().filter(|id| !seen.contains_key(id)) {
                findings.failures.push(format!("`{}` does not see the {kind} {id} of one of its groups", self.who));
            }
        }
        let desired = self.world.desired();
        let mut done = BTreeSet::new();
        for (key, card) in &desired.cards {
            let place = self.world.index.get(Kind::Collection, &card.collection);
            let Some(id) = self.world.index.get(Kind::Card, key) else { continue };
            if !place.is_some_and(|id| readable.contains(&id)) || done.len() >= 8 || !done.insert(&card.collection) {
                continue;
            }
            findings.check("combinations of groups");
            if let Tried::Given(rows) = self.run(findings, &format!("api/card/{id}/query"), &nothing()).await? {
                let what = format!("question `{}` of `{}`", card.name, card.scope);
                self.stores_within(
                    findings,
                    &rows.stores(card.scope.brand()),
                    &what,
                    "the groups of one person together",
                );
            }
        }
        let foreign: Vec<_> = desired
            .dashboards
            .iter()
            .filter(|(_, board)| {
                let place = self.world.index.get(Kind::Collection, &board.collection);
                place.is_none_or(|id| !readable.contains(&id))
            })
            .collect();
        for (key, board) in self.world.drawn(&self.who, foreign, |(key, _)| (*key).clone()).into_iter().take(8) {
            let Some(id) = self.world.index.get(Kind::Dashboard, key) else { continue };
            findings.check("combinations of groups");
            let tried = self.get(findings, &format!("api/dashboard/{id}")).await?;
            let what = format!("dashboard {id} of `{}`", board.scope);
            self.refused(findings, &tried, what, "the groups of one person together");
        }
        self.queries(findings).await
    }
}

/// Makes a key that has the rights of a group; its number and its secret.
pub(super) async fn make_key(client: &Client, prefix: &str, group: i64) -> Result<(i64, String), Error> {
    // Names must differ among all keys, so also from a key of a killed audit.
    let name = format!("{prefix}{group} {:08x}", rand::random::<u32>());
    let body = json!({"name": name, "group_id": group});
    let answer = client.post("api/api-key", &body).await.map_err(Error::Metabase)?;
    let id = id_of(&answer, "POST api/api-key").map_err(Error::Metabase)?;
    Ok((id, answer["unmasked_key"].as_str().unwrap_or_default().to_owned()))
}

/// How each person's view follows from what was proven of her groups.
pub(super) fn people(world: &World<'_>, evidence: &Evidence, probed: &BTreeSet<Combination>) -> Vec<PersonProof> {
    let hashes: BTreeMap<&str, &str> =
        evidence.groups.iter().map(|group| (group.group.as_str(), group.hash.as_str())).collect();
    let active = world.desired().people.iter().filter(|(_, account)| account.active);
    active
        .map(|(person, account)| {
            let scopes = account.groups.iter().filter_map(|group| world.desired().groups.get(group));
            let stores: BTreeSet<_> = scopes.flat_map(|group| world.stores.of(&group.scope)).collect();
            let proven_by = match account.groups.len() {
                0 => "no group: nothing",
                1 => "one group",
                _ if probed.contains(&account.groups) => "probe account",
                _ => "union of memberships",
            };
            let seen = |group: &String| format!("{group} {}", hashes.get(group.as_str()).copied().unwrap_or_default());
            PersonProof {
                person: person.clone(),
                groups: account.groups.iter().cloned().collect(),
                stores: stores.len(),
                proven_by: proven_by.to_owned(),
                hash: digest(account.groups.iter().map(seen)),
            }
        })
        .collect()
}
