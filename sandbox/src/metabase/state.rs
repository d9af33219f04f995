//! Everything a Metabase remembers: what it keeps in its application database.
//!
//! Ids are handed out in order and never again. Maps are ordered, so that the
//! same calls leave the same state.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::profile::Profile;
use super::reply::Reply;
use super::throttle::Throttle;

/// The built-in group of everybody.
pub(super) const ALL_USERS: i64 = 1;
/// The built-in group of those who may do all.
pub(super) const ADMINISTRATORS: i64 = 2;
/// The built-in group that later releases add.
pub(super) const DATA_ANALYSTS: i64 = 3;

/// The application database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(skip)]
    pub(super) profile: Profile,
    #[serde(skip)]
    pub(super) now: DateTime<Utc>,
    #[serde(skip)]
    pub(super) throttle: Throttle,
    /// Settings that the server was started with; nobody changes them.
    #[serde(skip)]
    pub(super) environment: BTreeMap<String, Value>,
    /// Paid features of the licence.
    #[serde(skip)]
    pub(super) features: BTreeSet<String>,
    pub(super) last_ids: BTreeMap<String, i64>,
    pub(super) setup_token: Option<String>,
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) users: BTreeMap<i64, User>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) reset_tokens: BTreeMap<String, Session>,
    /// Who changed a question or dashboard last, by `card 7` or `dashboard 3`.
    #[serde(default)]
    pub(super) editors: BTreeMap<String, i64>,
    pub(super) api_keys: BTreeMap<i64, ApiKey>,
    pub(super) groups: BTreeMap<i64, Group>,
    pub(super) memberships: BTreeMap<i64, Membership>,
    pub(super) databases: BTreeMap<i64, Database>,
    pub(super) tables: BTreeMap<i64, Table>,
    pub(super) data_revision: i64,
    pub(super) data_permissions: BTreeMap<i64, BTreeMap<i64, DataPermission>>,
    pub(super) collection_revision: i64,
    pub(super) collection_permissions: BTreeMap<i64, BTreeMap<String, Level>>,
    pub(super) collections: BTreeMap<i64, Collection>,
    pub(super) cards: BTreeMap<i64, Card>,
    pub(super) dashboards: BTreeMap<i64, Dashboard>,
    /// Distinct values by field, shared by the whole instance: the leak of the
    /// drop-down lists is this cache.
    pub(super) field_values: BTreeMap<i64, Vec<Value>>,
    /// Objects the stand-in stores and gives back without acting on them.
    pub(super) objects: BTreeMap<String, BTreeMap<i64, Value>>,
    /// Mails a server with SMTP would have sent.
    pub(super) mails: Vec<Value>,
}

/// A person, or the hidden owner of an API key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) id: i64,
    pub(super) email: String,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) password_hash: String,
    pub(super) active: bool,
    pub(super) api_key: bool,
    pub(super) login_attributes: Value,
    pub(super) joined_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) last_login_at: Option<DateTime<Utc>>,
}

impl User {
    /// The name shown in lists: both names, or what there is, or the address.
    pub(super) fn common_name(&self) -> String {
        match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) if !last.is_empty() => format!("{first} {last}"),
            (Some(name), _) | (None, Some(name)) if !name.is_empty() => name.clone(),
            _ => self.email.clone(),
        }
    }

    /// The short form other objects carry.
    pub(super) fn brief(&self) -> Value {
        json!({
            "id": self.id,
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "common_name": self.common_name(),
            "date_joined": stamp(self.joined_at),
            "last_login": self.last_login_at.map(stamp),
            "is_qbnewb": true,
        })
    }
}

/// The account that the real server gives to what it brings itself.
pub(super) const INTERNAL_USER: i64 = 13_371_338;

/// A login, or a reset link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) user_id: i64,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ApiKey {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) user_id: i64,
    pub(super) group_id: i64,
    pub(super) key_hash: String,
    pub(super) masked: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) updated_by: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) magic: Option<String>,
    pub(super) entity_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Membership {
    pub(super) id: i64,
    pub(super) group_id: i64,
    pub(super) user_id: i64,
}

/// What a group may do with one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DataPermission {
    pub(super) view_data: Value,
    pub(super) create_queries: Value,
    pub(super) download: Value,
    pub(super) data_model: Value,
    pub(super) details: Value,
    pub(super) transforms: Value,
}

/// What a group may do in one collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    None,
    Read,
    Write,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) engine: String,
    pub(super) details: Map<String, Value>,
    pub(super) sample: bool,
    pub(super) synced: bool,
    /// Everything a caller may set that changes nothing here.
    pub(super) extra: Map<String, Value>,
    pub(super) version: Option<String>,
    pub(super) creator_id: Option<i64>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) id: i64,
    pub(super) database_id: i64,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) fields: Vec<Field>,
    pub(super) synced_at: DateTime<Utc>,
    /// What administrators wrote about it.
    #[serde(default)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Field {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) database_type: String,
    pub(super) base_type: String,
    pub(super) nullable: bool,
    pub(super) active: bool,
    /// What administrators wrote about it.
    #[serde(default)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Collection {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) entity_id: String,
    /// Ids of the ancestors, as in `/4/9/`.
    pub(super) location: String,
    pub(super) namespace: Option<String>,
    pub(super) owner_id: Option<i64>,
    pub(super) kind: Option<String>,
    pub(super) sample: bool,
    pub(super) archived: bool,
    pub(super) archived_directly: bool,
    /// Where it hung before it went to the trash.
    pub(super) location_before: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Card {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) kind: String,
    pub(super) display: String,
    /// Always in the legacy form; answers are translated.
    pub(super) query: Value,
    pub(super) visualization_settings: Value,
    pub(super) parameters: Value,
    pub(super) parameter_mappings: Value,
    pub(super) result_metadata: Value,
    pub(super) collection_id: Option<i64>,
    pub(super) dashboard_id: Option<i64>,
    pub(super) entity_id: String,
    pub(super) archived: bool,
    pub(super) archived_directly: bool,
    pub(super) public_uuid: Option<String>,
    pub(super) creator_id: i64,
    /// Everything a caller may set that changes nothing here.
    pub(super) extra: Map<String, Value>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dashboard {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) collection_id: Option<i64>,
    pub(super) parameters: Value,
    pub(super) width: String,
    pub(super) auto_apply_filters: bool,
    pub(super) entity_id: String,
    pub(super) archived: bool,
    pub(super) archived_directly: bool,
    pub(super) public_uuid: Option<String>,
    pub(super) creator_id: i64,
    pub(super) tabs: Vec<Tab>,
    pub(super) dashcards: Vec<Dashcard>,
    /// How often it was answered; the order of the cards turns with it.
    pub(super) turns: u64,
    /// Everything a caller may set that changes nothing here.
    pub(super) extra: Map<String, Value>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tab {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) entity_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dashcard {
    pub(super) id: i64,
    pub(super) card_id: Option<i64>,
    pub(super) tab_id: Option<i64>,
    pub(super) row: i64,
    pub(super) col: i64,
    pub(super) size_x: i64,
    pub(super) size_y: i64,
    pub(super) parameter_mappings: Value,
    pub(super) visualization_settings: Value,
    pub(super) series: Vec<i64>,
    pub(super) inline_parameters: Value,
    pub(super) action_id: Value,
    pub(super) entity_id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl State {
    /// Hands out the next id of a kind.
    pub(super) fn next_id(&mut self, kind: &str) -> i64 {
        let last = self.last_ids.entry(kind.to_owned()).or_insert(0);
        *last += 1;
        *last
    }

    /// Makes the 21 characters by which Metabase knows an object on any instance.
    pub(super) fn entity_id(&self, kind: &str, id: i64) -> String {
        use base64::Engine as _;
        let digest = Sha256::digest(format!("{kind}/{id}"));
        let mut text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        text.truncate(21);
        text
    }

    /// 404, in the form this release gives it.
    pub(super) fn not_found(&self) -> Reply {
        if self.profile.json_not_found() {
            Reply::json(404, json!({ "message": "Not found." }))
        } else {
            Reply::text(404, "Not found.")
        }
    }

    /// Stored objects of a kind that need no type of their own.
    pub(super) fn stored(&self, kind: &str) -> Vec<Value> {
        self.objects.get(kind).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// A person's or key's groups.
    pub(super) fn group_ids(&self, user_id: i64) -> Vec<i64> {
        let mut ids: Vec<i64> = self
            .memberships
            .values()
            .filter(|membership| membership.user_id == user_id)
            .map(|membership| membership.group_id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Whether somebody may do everything.
    pub(super) fn superuser(&self, user_id: i64) -> bool {
        self.memberships
            .values()
            .any(|membership| membership.user_id == user_id && membership.group_id == ADMINISTRATORS)
    }

    /// Puts somebody into a group; twice is once.
    pub(super) fn join(&mut self, user_id: i64, group_id: i64) {
        let there = self
            .memberships
            .values()
            .any(|membership| (membership.user_id, membership.group_id) == (user_id, group_id));
        if !there {
            let id = self.next_id("membership");
            self.memberships.insert(id, Membership { id, group_id, user_id });
        }
    }

    /// Whether the first administrator exists.
    pub(super) fn has_user_setup(&self) -> bool {
        self.users.values().any(|user| !user.api_key)
    }

    /// A setting's value: the environment's, the stored one, or the default.
    pub(super) fn setting(&self, key: &str) -> Value {
        match self.environment.get(key).or_else(|| self.settings.get(key)) {
            Some(value) => value.clone(),
            None => super::settings::default_of(key),
        }
    }

    /// Whether mail could be sent.
    pub(super) fn smtp_configured(&self) -> bool {
        !self.setting("email-smtp-host").is_null()
    }
}

/// A time as Metabase prints it.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A digest for passwords and keys: the file must not hold them in clear.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
