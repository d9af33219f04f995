//! Keys: each a hidden user in All Users and one more group.

use base64::Engine as _;
use rand::RngCore as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Caller;
use super::call::{Call, id};
use super::reply::{Answer, Reply, invalid, no_such_route};
use super::state::{ALL_USERS, ApiKey, State, User, digest, stamp};

/// Everything under `/api/api-key`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    caller.must_be_admin()?;
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::ok(state.api_keys.values().map(|key| describe(state, key)).collect::<Vec<_>>())),
        ("GET", ["count"]) => Ok(Reply::ok(state.api_keys.len())),
        ("POST", []) => create(state, caller, call),
        ("PUT", [key]) => update(state, caller, call, id(key)?),
        ("PUT", [key, "regenerate"]) => regenerate(state, caller, id(key)?),
        ("DELETE", [key]) => delete(state, id(key)?),
        _ => Err(no_such_route()),
    }
}

fn create(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    let name = call.required_text("name")?;
    let group_id = call.required_id("group_id")?;
    if !state.groups.contains_key(&group_id) {
        return Err(state.not_found());
    }
    if state.api_keys.values().any(|key| key.name == name) {
        return Err(invalid("name", "Name must be unique.", "an API key with that name exists"));
    }
    let user_id = state.add_user(User {
        id: 0,
        email: format!("api-key-user-{}@api-key.invalid", Uuid::new_v4()),
        first_name: Some(name.clone()),
        last_name: Some(String::new()),
        locale: None,
        password_hash: String::new(),
        active: true,
        api_key: true,
        login_attributes: Value::Null,
        joined_at: state.now,
        updated_at: state.now,
        last_login_at: None,
    });
    state.join(user_id, group_id);
    let secret = new_secret();
    let key = ApiKey {
        id: state.next_id("api_key"),
        name,
        user_id,
        group_id,
        key_hash: digest(&secret),
        masked: mask(&secret),
        created_at: state.now,
        updated_at: state.now,
        updated_by: caller.user_id,
    };
    let mut answer = describe(state, &key);
    answer["unmasked_key"] = Value::from(secret);
    state.api_keys.insert(key.id, key);
    Ok(Reply::ok(answer))
}

fn update(state: &mut State, caller: &Caller, call: &Call, key_id: i64) -> Answer {
    let name = call.optional_text("name")?;
    let group_id = call.optional_id("group_id")?;
    let mut key = state.api_keys.get(&key_id).cloned().ok_or_else(|| state.not_found())?;
    if let Some(group_id) = group_id {
        if !state.groups.contains_key(&group_id) {
            return Err(state.not_found());
        }
        state.memberships.retain(|_, member| member.user_id != key.user_id || member.group_id == ALL_USERS);
        state.join(key.user_id, group_id);
        key.group_id = group_id;
    }
    if let Some(name) = name {
        if let Some(user) = state.users.get_mut(&key.user_id) {
            user.first_name = Some(name.clone());
        }
        key.name = name;
    }
    key.updated_at = state.now;
    key.updated_by = caller.user_id;
    let answer = describe(state, &key);
    state.api_keys.insert(key_id, key);
    Ok(Reply::ok(answer))
}

fn regenerate(state: &mut State, caller: &Caller, key_id: i64) -> Answer {
    let secret = new_secret();
    let now = state.now;
    let Some(key) = state.api_keys.get_mut(&key_id) else {
        return Err(state.not_found());
    };
    key.key_hash = digest(&secret);
    key.masked = mask(&secret);
    key.updated_at = now;
    key.updated_by = caller.user_id;
    Ok(Reply::ok(json!({
        "id": key_id,
        "unmasked_key": secret,
        "masked_key": key.masked,
        "prefix": secret[..7],
    })))
}

fn delete(state: &mut State, key_id: i64) -> Answer {
    let key = state.api_keys.remove(&key_id).ok_or_else(|| state.not_found())?;
    state.memberships.retain(|_, member| member.user_id != key.user_id);
    if let Some(user) = state.users.get_mut(&key.user_id) {
        user.active = false;
    }
    Ok(Reply::empty())
}

fn describe(state: &State, key: &ApiKey) -> Value {
    let updated_by = state.users.get(&key.updated_by);
    json!({
        "id": key.id,
        "name": key.name,
        "masked_key": key.masked,
        "group": {
            "id": key.group_id,
            "name": state.groups.get(&key.group_id).map(|group| &group.name),
        },
        "created_at": stamp(key.created_at),
        "updated_at": stamp(key.updated_at),
        "updated_by": {
            "id": key.updated_by,
            "common_name": updated_by.map(User::common_name),
        },
    })
}

fn new_secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("mb_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn mask(secret: &str) -> String {
    format!("{}{}", &secret[..7], "*".repeat(secret.len() - 7))
}
