//! Personal collections: copies that somebody put there.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::acting::nothing;
use super::answers::Rows;
use super::findings::Findings;
use super::world::World;
use crate::metabase::AT_ONCE;
use crate::metabase::actual::sql_of;
use crate::metabase::client::{self, list};

impl World<'_> {
    /// Looks into personal collections: an administrator may have put a copy there that
    /// shows more than its owner should see.
    pub(super) async fn personal(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let people = self.people();
        let rows = list(client.get("api/collection?personal-only=true").await?);
        let owned = rows.into_iter().filter_map(|row| Some((row["id"].as_i64()?, row["personal_owner_id"].as_i64()?)));
        let owned: Vec<(i64, i64)> = owned.filter(|(_, owner)| people.contains_key(owner)).collect();
        let calls = owned.iter().map(|(collection, owner)| async move {
            let models = "models=card&models=dataset&models=metric";
            client.pages(&format!("api/collection/{collection}/items?{models}")).await.map(|rows| (*owner, rows))
        });
        let found: Vec<(i64, Vec<Value>)> = futures::stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
        for (owner, rows) in found {
            findings.check("personal collections");
            for id in rows.iter().filter_map(|row| row["id"].as_i64()) {
                self.copy(findings, owner, id).await?;
            }
        }
        Ok(())
    }

    async fn copy(&self, findings: &mut Findings, owner: i64, id: i64) -> Result<(), client::Error> {
        findings.check("personal collections");
        let client = &self.gathered.client;
        let whole = client.get(&format!("api/card/{id}?legacy-mbql=true")).await?;
        let database = whole["database_id"].as_i64().or_else(|| whole["dataset_query"]["database"].as_i64());
        let Some((key, connection)) = self.connection(database) else { return Ok(()) };
        let allowed = self.stores_of_person(owner).unwrap_or_default();
        let answer = client.post(&format!("api/card/{id}/query"), &nothing()).await?;
        let rows = Rows::of_answer(&answer);
        let who = format!("person {owner}");
        let what =
            format!("question `{}` ({id}) in her personal collection", whole["name"].as_str().unwrap_or_default());
        let foreign: Vec<_> =
            rows.stores(connection.scope.brand()).into_iter().filter(|pair| !allowed.contains(pair)).collect();
        for (brand, store) in &foreign {
            findings.leak(&who, format!("store {brand}/{store} in {what}"), "a copy that somebody put there");
        }
        let sql = sql_of(&whole).map(|(_, sql)| sql).unwrap_or_default();
        let scopes = self.people().get(&owner).and_then(|key| self.desired().people.get(*key));
        let fenced = scopes.into_iter().flat_map(|account| &account.groups).any(|group| {
            let group = self.desired().groups.get(group);
            group.is_some_and(|group| self.fence(&group.scope).check(&sql).is_ok())
        });
        if foreign.is_empty() && !rows.tells_stores() && !fenced && self.wider(connection, &allowed) {
            findings.leak(&who, format!("{what}, over the connection `{key}`"), "a copy that somebody put there");
        }
        Ok(())
    }
}
