//! Personal collections: copies that somebody put there.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::acting::nothing;
use super::findings::Findings;
use super::shown::{Beyond, Found};
use super::world::World;
use crate::metabase::AT_ONCE;
use crate::metabase::client::{self, list};

const COPY: &str = "a copy that somebody put there";

impl World<'_> {
    /// Looks into personal collections and the folders in them: an administrator may have
    /// put a copy there that shows more than its owner should see.
    pub(super) async fn personal(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let client = &self.gathered.client;
        let rows = list(client.get("api/collection?personal-only=true").await?);
        let owned = rows.into_iter().filter_map(|row| Some((row["id"].as_i64()?, row["personal_owner_id"].as_i64()?)));
        let mut open: Vec<(i64, i64)> = owned.filter(|(_, owner)| self.person(*owner).is_some()).collect();
        // Only a personal collection itself names its owner; a folder is found by going down.
        while !open.is_empty() {
            let calls = open.iter().map(|(collection, owner)| async move {
                let models = "models=card&models=dataset&models=metric&models=collection&show_dashboard_questions=true";
                client.pages(&format!("api/collection/{collection}/items?{models}")).await.map(|rows| (*owner, rows))
            });
            let found: Vec<(i64, Vec<Value>)> = futures::stream::iter(calls).buffered(AT_ONCE).try_collect().await?;
            open = Vec::new();
            for (owner, rows) in found {
                findings.check("personal collections");
                for (id, row) in rows.iter().filter_map(|row| Some((row["id"].as_i64()?, row))) {
                    if row["model"] == "collection" {
                        open.push((id, owner));
                    } else {
                        self.copy(findings, owner, id).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn copy(&self, findings: &mut Findings, owner: i64, id: i64) -> Result<(), client::Error> {
        findings.check("personal collections");
        let Found::Here(shown) = self.shown(id, &format!("api/card/{id}/query"), &nothing()).await? else {
            return Ok(());
        };
        let (who, place) = (self.who(owner), "in her personal collection");
        match self.beyond(&shown, owner) {
            Beyond::Stores(stores) => {
                for (brand, store) in &stores {
                    findings.leak(&who, format!("store {brand}/{store} in {} {place}", shown.what), COPY);
                }
            }
            Beyond::Unfenced(what, how) => findings.leak(&who, format!("{what}, {place}"), how.unwrap_or(COPY)),
            Beyond::Nothing => {}
        }
        Ok(())
    }
}
