//! Makes collections, each open to nobody that it is not for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::actual::Place;
use super::apply::{Applying, failed};
use super::client::id_of;
use super::context::Error;
use super::desired::Collection;
use super::step::Step;
use super::tables::Kind;

impl Applying<'_> {
    /// Makes a collection. Metabase copies the rights on the one above it; a move changes
    /// none. So what is for fewer readers than its parent is made at the top, which is closed,
    /// and moved. Where others have rights there too, what they got is taken back at once.
    pub(super) async fn create_collection(&self, step: &Step, key: &str) -> Result<(), Error> {
        let collection = self.collection(key)?;
        let parent = self.parent(collection).await?;
        let place = parent.map_or(Place::Root, Place::Collection);
        let mut excess = self.excess(key, place).await;
        let mut above = place;
        if !excess.is_empty() {
            let at_top = self.excess(key, Place::Root).await;
            if at_top.is_empty() {
                (above, excess) = (Place::Root, at_top);
            }
        }
        let moves = above != place;
        let parent_id = parent.filter(|_| !moves);
        let body = json!({"name": collection.name, "description": collection.description, "parent_id": parent_id});
        let answer = self.client.post("api/collection", &body).await.map_err(failed(step))?;
        let id = id_of(&answer, "POST api/collection").map_err(Error::Metabase)?;
        if !excess.is_empty() {
            let mut groups = Map::new();
            for (group, level) in excess {
                groups.insert(group.to_string(), json!({id.to_string(): level}));
            }
            self.put_graph("api/collection/graph", &groups, None).await.map_err(failed(step))?;
        }
        let mut kept = BTreeMap::new();
        for group in self.groups_at(above).await.into_keys() {
            if self.reads(group, key).await {
                kept.insert(group, "read".to_owned());
            }
        }
        self.levels.lock().await.insert(Place::Collection(id), kept);
        self.made(Kind::Collection, key, "", &answer, "POST api/collection").await?;
        if moves { self.update_collection(step, key, id).await } else { Ok(()) }
    }

    /// Writes a collection whole, where it hangs included.
    pub(super) async fn update_collection(&self, step: &Step, key: &str, id: i64) -> Result<(), Error> {
        let collection = self.collection(key)?;
        // `archived` must stand there: leaving it out un-archives as well.
        let body = json!({
            "name": collection.name,
            "description": collection.description,
            "parent_id": self.parent(collection).await?,
            "archived": false,
        });
        self.client.put(&format!("api/collection/{id}"), &body).await.map_err(failed(step)).map(drop::<Value>)
    }

    fn collection(&self, key: &str) -> Result<&Collection, Error> {
        self.desired
            .collections
            .iter()
            .find(|collection| collection.key == key)
            .ok_or_else(|| Error::Missing { kind: "collection", key: key.to_owned() })
    }

    async fn parent(&self, collection: &Collection) -> Result<Option<i64>, Error> {
        match &collection.parent {
            Some(parent) => self.id(Kind::Collection, parent).await.map(Some),
            None => Ok(None),
        }
    }

    /// What groups would have of a new collection at a place and should not, with what they should have.
    async fn excess(&self, key: &str, place: Place) -> BTreeMap<i64, &'static str> {
        let mut excess = BTreeMap::new();
        for (group, level) in self.groups_at(place).await {
            let wanted = if self.reads(group, key).await { "read" } else { "none" };
            if level != wanted {
                excess.insert(group, wanted);
            }
        }
        excess
    }

    async fn groups_at(&self, place: Place) -> BTreeMap<i64, String> {
        self.levels.lock().await.get(&place).cloned().unwrap_or_default()
    }

    async fn reads(&self, group: i64, collection: &str) -> bool {
        let index = self.index.lock().await;
        let group = index.key(Kind::Group, group).map(str::to_owned);
        group.is_some_and(|group| self.desired.reads.contains(&(group, collection.to_owned())))
    }
}
