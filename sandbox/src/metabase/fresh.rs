//! What a new Metabase has before anybody signed in.
//!
//! All of it is in the way of a chain that must show each store only its own:
//! the sample content, the open root collection, the switches that stand on.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::data_graph::open_permission;
use super::profile::Profile;
use super::state::{
    ADMINISTRATORS, ALL_USERS, Card, Collection, DATA_ANALYSTS, Dashboard, Dashcard, Database, Field, Group,
    INTERNAL_USER, Level, State, Table,
};

impl State {
    /// Makes the state of a server that was never set up.
    pub(super) fn fresh(profile: Profile, setup_token: String, now: DateTime<Utc>) -> Self {
        let mut state = Self {
            profile,
            now,
            setup_token: Some(setup_token),
            data_revision: 1,
            collection_revision: 1,
            ..Self::default()
        };
        state.add_built_in_groups();
        let database = state.add_sample_database();
        state.add_collections();
        state.add_examples(database);
        state
    }

    fn add_built_in_groups(&mut self) {
        let mut groups =
            vec![(ALL_USERS, "All Users", "all-internal-users"), (ADMINISTRATORS, "Administrators", "admin")];
        if self.profile.data_analysts() {
            groups.push((DATA_ANALYSTS, "Data Analysts", "data-analyst"));
        }
        for (id, name, magic) in groups {
            let next = self.next_id("group");
            debug_assert_eq!(next, id);
            self.groups.insert(id, Group { id, name: name.to_owned(), magic: Some(magic.to_owned()), entity_id: None });
        }
    }

    fn add_sample_database(&mut self) -> i64 {
        let id = self.next_id("database");
        let mut details = Map::new();
        details.insert("db".into(), Value::from("file:/plugins/sample-database.db"));
        self.databases.insert(
            id,
            Database {
                id,
                name: "Sample Database".into(),
                engine: "h2".into(),
                details,
                sample: true,
                synced: true,
                extra: Map::new(),
                version: None,
                creator_id: None,
                created_at: self.now,
                updated_at: self.now,
            },
        );
        for (name, columns) in
            [("ORDERS", &["ID", "PRODUCT_ID", "TOTAL"][..]), ("PRODUCTS", &["ID", "TITLE", "CATEGORY"][..])]
        {
            let table_id = self.next_id("table");
            let fields = columns
                .iter()
                .map(|column| Field {
                    id: self.next_id("field"),
                    name: (*column).to_owned(),
                    database_type: "CHARACTER VARYING".into(),
                    base_type: "type/Text".into(),
                    nullable: true,
                    active: true,
                    extra: Map::new(),
                })
                .collect();
            self.tables.insert(
                table_id,
                Table {
                    id: table_id,
                    database_id: id,
                    schema: "PUBLIC".into(),
                    name: name.into(),
                    active: true,
                    fields,
                    synced_at: self.now,
                    extra: Map::new(),
                },
            );
        }
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            if group != ADMINISTRATORS {
                self.data_permissions.entry(group).or_default().insert(id, open_permission());
            }
        }
        id
    }

    fn add_collections(&mut self) {
        for (name, kind, sample) in [("Trash", Some("trash"), false), ("Examples", None, true)] {
            let id = self.next_id("collection");
            self.collections.insert(
                id,
                Collection {
                    id,
                    name: name.into(),
                    description: None,
                    entity_id: self.entity_id("collection", id),
                    location: "/".into(),
                    namespace: None,
                    owner_id: None,
                    kind: kind.map(str::to_owned),
                    sample,
                    archived: false,
                    archived_directly: false,
                    location_before: None,
                    created_at: self.now,
                },
            );
        }
        let everybody = self.collection_permissions.entry(ALL_USERS).or_default();
        for key in ["root", "root:snippets", "2"] {
            everybody.insert(key.into(), Level::Write);
        }
    }

    fn add_examples(&mut self, database: i64) {
        let collection_id = Some(2);
        let card_id = self.next_id("card");
        self.cards.insert(
            card_id,
            Card {
                id: card_id,
                name: "Orders by product category".into(),
                description: None,
                kind: "question".into(),
                display: "bar".into(),
                query: json!({
                    "database": database,
                    "type": "native",
                    "native": { "query": "SELECT 1", "template-tags": {} },
                }),
                visualization_settings: json!({}),
                parameters: json!([]),
                parameter_mappings: json!([]),
                result_metadata: Value::Null,
                collection_id,
                dashboard_id: None,
                entity_id: self.entity_id("card", card_id),
                archived: false,
                archived_directly: false,
                public_uuid: None,
                creator_id: INTERNAL_USER,
                extra: Map::new(),
                created_at: self.now,
                updated_at: self.now,
            },
        );
        let id = self.next_id("dashboard");
        let dashcard_id = self.next_id("dashcard");
        self.dashboards.insert(
            id,
            Dashboard {
                id,
                name: "E-commerce Insights".into(),
                description: None,
                collection_id,
                parameters: json!([]),
                width: "fixed".into(),
                auto_apply_filters: true,
                entity_id: self.entity_id("dashboard", id),
                archived: false,
                archived_directly: false,
                public_uuid: None,
                creator_id: INTERNAL_USER,
                tabs: Vec::new(),
                dashcards: vec![Dashcard {
                    id: dashcard_id,
                    card_id: Some(card_id),
                    tab_id: None,
                    row: 0,
                    col: 0,
                    size_x: 12,
                    size_y: 6,
                    parameter_mappings: json!([]),
                    visualization_settings: json!({}),
                    series: Vec::new(),
                    inline_parameters: json!([]),
                    action_id: Value::Null,
                    entity_id: self.entity_id("dashcard", dashcard_id),
                    created_at: self.now,
                    updated_at: self.now,
                }],
                turns: 0,
                extra: Map::new(),
                created_at: self.now,
                updated_at: self.now,
            },
        );
    }
}
