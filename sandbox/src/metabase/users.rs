//! People: the list, their accounts, and the addresses everybody can read.

use serde_json::{Value, json};
use uuid::Uuid;

use super::access::{Caller, Queries};
use super::call::{Call, id};
use super::reply::{Answer, Reply, field_error, invalid, no_such_route, paid_permissions};
use super::sessions::{check_password, valid_email};
use super::state::{ADMINISTRATORS, ALL_USERS, Level, State, User, digest, stamp};

const LOCALES: &[&str] = &[
    "ar", "bg", "ca", "cs", "da", "de", "en", "es", "fa", "fr", "he", "hu", "id", "it", "ja", "ko", "nb", "nl", "pl",
    "pt", "pt_br", "ro", "ru", "sk", "sv", "tr", "uk", "vi", "zh", "zh_cn", "zh_hk", "zh_tw",
];

/// Everything under `/api/user`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => list(state, caller, call),
        ("GET", ["recipients"]) => Ok(recipients(state)),
        ("GET", ["current"]) => Ok(current(state, caller)),
        ("GET", [user]) => {
            let user_id = id(user)?;
            if user_id != caller.user_id {
                caller.must_be_admin()?;
            }
            let user = person(state, user_id)?;
            let mut answer = describe(state, user);
            answer["structured_attributes"] = json!({});
            Ok(Reply::ok(answer))
        }
        ("POST", []) => create(state, caller, call),
        ("PUT", [user]) => update(state, caller, call, id(user)?),
        ("DELETE", [user]) => deactivate(state, caller, id(user)?),
        ("PUT", [user, "reactivate"]) => reactivate(state, caller, id(user)?),
        ("PUT", [user, "password"]) => password(state, caller, call, id(user)?),
        ("POST", [user, "password-reset-url"]) if state.profile.password_reset_url() => {
            caller.must_be_admin()?;
            let user_id = person(state, id(user)?)?.id;
            let token = state.open_reset(user_id);
            let site = state.setting("site-url");
            let site = site.as_str().unwrap_or_default();
            Ok(Reply::ok(json!({
                "password_reset_url": format!("{site}/auth/reset_password/{token}"),
            })))
        }
        _ => Err(no_such_route()),
    }
}

fn list(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    caller.must_be_admin()?;
    if call.asked("tenancy").is_some() && call.asked("tenant_id").is_some() {
        return Err(invalid("tenancy", "not together with tenant_id", "both given"));
    }
    let with_inactive = call.asked_flag("include_deactivated");
    let wanted = |active: bool| match call.asked("status") {
        Some("all") => true,
        Some("deactivated") => !active,
        _ => active || with_inactive,
    };
    let needle = call.asked("query").map(str::to_lowercase);
    let found = |user: &User| {
        needle.as_ref().is_none_or(|needle| {
            [&user.first_name, &user.last_name, &Some(user.email.clone())]
                .into_iter()
                .flatten()
                .any(|text| text.to_lowercase().contains(needle))
        })
    };
    let group = call.asked_id("group_id");
    let mut ids: Vec<i64> = state
        .users
        .values()
        .filter(|user| !user.api_key && wanted(user.active) && found(user))
        .filter(|user| group.is_none_or(|group| state.group_ids(user.id).contains(&group)))
        .map(|user| user.id)
        .collect();
    ids.sort_by_key(|id| {
        let user = &state.users[id];
        let lower = |name: &Option<String>| name.as_deref().unwrap_or_default().to_lowercase();
        (lower(&user.first_name), lower(&user.last_name), user.id)
    });
    let total = ids.len();
    let page = call.page();
    if let Some((limit, offset)) = page {
        ids = ids.into_iter().skip(offset).take(limit).collect();
    }
    let mut data = Vec::with_capacity(ids.len());
    for user_id in ids {
        // Listing is what makes the personal collections of the real server.
        let personal = state.personal_collection(user_id);
        let mut row = describe(state, &state.users[&user_id]);
        let fields = row.as_object_mut().expect("a user is described as a map");
        fields.remove("user_group_memberships");
        fields.insert("group_ids".into(), json!(state.group_ids(user_id)));
        fields.insert("personal_collection_id".into(), json!(personal));
        if state.profile.tenants() {
            fields.insert("tenant_collection_id".into(), Value::Null);
        }
        data.push(row);
    }
    Ok(Reply::ok(json!({
        "data": data,
        "total": total,
        "limit": page.map(|(limit, _)| limit),
        "offset": page.map(|(_, offset)| offset),
    })))
}

fn recipients(state: &State) -> Reply {
    let people: Vec<Value> = state
        .users
        .values()
        .filter(|user| user.active && !user.api_key)
        .map(|user| {
            json!({
                "id": user.id,
                "email": user.email,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "common_name": user.common_name(),
            })
        })
        .collect();
    Reply::ok(json!({
        "total": people.len(),
        "data": people,
        "limit": null,
        "offset": null,
    }))
}

fn current(state: &mut State, caller: &Caller) -> Reply {
    let personal = state.personal_collection(caller.user_id);
    let mut answer = describe(state, &state.users[&caller.user_id]);
    let best = state.databases.keys().map(|database| state.queries(caller, *database)).max().unwrap_or(Queries::No);
    answer["permissions"] = json!({
        "can_create_queries": best > Queries::No,
        "can_create_native_queries": best == Queries::Native,
    });
    answer["can_write_any_collection"] = json!(
        personal.is_some()
            || state.root_level(caller, None) == Level::Write
            || state.collections.keys().any(|id| state.collection_level(caller, Some(*id)) == Level::Write)
    );
    answer["has_question_and_dashboard"] = json!(!state.cards.is_empty() && !state.dashboards.is_empty());
    answer["first_login"] = json!(stamp(state.users[&caller.user_id].joined_at));
    answer["personal_collection_id"] = json!(personal);
    answer["group_ids"] = json!(caller.groups);
    Reply::ok(answer)
}

fn create(state: &mut State, caller: &Caller, call: &Call) -> Answer {
    caller.must_be_admin()?;
    let email = email(call)?.ok_or_else(|| {
        invalid("email", "value must be a valid email address.", "missing required key, received: nil")
    })?;
    let first_name = call.optional_text("first_name")?;
    let last_name = call.optional_text("last_name")?;
    let attributes = attributes(call)?;
    if state.users.values().any(|user| user.email == email) {
        return Err(field_error(400, "email", "Email address already in use."));
    }
    let groups = memberships(state, call)?.unwrap_or_else(|| vec![ALL_USERS]);
    let user_id = state.add_user(User {
        id: 0,
        email: email.clone(),
        first_name,
        last_name,
        locale: None,
        // As in the real server, nobody knows the password of a new account.
        password_hash: digest(&Uuid::new_v4().to_string()),
        active: true,
        api_key: false,
        login_attributes: attributes.unwrap_or(Value::Null),
        joined_at: state.now,
        updated_at: state.now,
        last_login_at: None,
    });
    for group in groups {
        state.join(user_id, group);
    }
    let token = state.open_reset(user_id);
    state.mail("invite", &email, json!({ "token": token }));
    Ok(Reply::ok(describe(state, &state.users[&user_id])))
}

fn update(state: &mut State, caller: &Caller, call: &Call, user_id: i64) -> Answer {
    if user_id != caller.user_id {
        caller.must_be_admin()?;
    }
    let mut user = person(state, user_id)?.clone();
    if let Some(email) = email(call)? {
        let taken = state.users.values().any(|other| other.email == email && other.id != user_id);
        if taken {
            return Err(field_error(400, "email", "Email address already associated to another user."));
        }
        user.email = email;
    }
    for (key, slot) in [("first_name", &mut user.first_name), ("last_name", &mut user.last_name)] {
        if call.field(key).is_some() {
            *slot = call.optional_text(key)?;
        }
    }
    if call.field("locale").is_some() {
        user.locale = locale(call)?;
    }
    if let Some(attributes) = attributes(call)? {
        user.login_attributes = attributes;
    }
    let groups = memberships(state, call)?;
    let superuser = call.optional_flag("is_superuser")?;
    if groups.is_some() || superuser.is_some() {
        caller.must_be_admin()?;
    }
    let now_admin = state.superuser(user_id);
    let admin = match (superuser, &groups) {
        (Some(flag), Some(groups)) if flag != groups.contains(&ADMINISTRATORS) => {
            return Err(field_error(
                400,
                "is_superuser",
                "Value of is_superuser must correspond to presence of Admin group ID in group_ids.",
            ));
        }
        (_, Some(groups)) => groups.contains(&ADMINISTRATORS),
        (Some(flag), None) => flag,
        (None, None) => now_admin,
    };
    if now_admin && !admin {
        state.keep_one_admin(user_id)?;
    }
    user.updated_at = state.now;
    state.users.insert(user_id, user);
    if let Some(groups) = groups {
        state.memberships.retain(|_, member| member.user_id != user_id || groups.contains(&member.group_id));
        for group in groups {
            state.join(user_id, group);
        }
    } else if admin {
        state.join(user_id, ADMINISTRATORS);
    } else {
        state.leave(user_id, ADMINISTRATORS);
    }
    state.rename_personal_collection(user_id);
    Ok(Reply::ok(describe(state, &state.users[&user_id])))
}

fn deactivate(state: &mut State, caller: &Caller, user_id: i64) -> Answer {
    caller.must_be_admin()?;
    let user_id = person(state, user_id)?.id;
    if state.superuser(user_id) {
        state.keep_one_admin(user_id)?;
    }
    let now = state.now;
    if let Some(user) = state.users.get_mut(&user_id) {
        user.active = false;
        user.updated_at = now;
    }
    state.sessions.retain(|_, session| session.user_id != user_id);
    Ok(Reply::ok(json!({ "success": true })))
}

fn reactivate(state: &mut State, caller: &Caller, user_id: i64) -> Answer {
    caller.must_be_admin()?;
    let now = state.now;
    let missing = state.not_found();
    let user = state.users.get_mut(&user_id).filter(|user| !user.api_key).ok_or(missing)?;
    if user.active {
        return Err(Reply::json(400, json!({ "message": "Not able to reactivate an active user" })));
    }
    user.active = true;
    user.updated_at = now;
    state.leave(user_id, ADMINISTRATORS);
    state.join(user_id, ALL_USERS);
    Ok(Reply::ok(describe(state, &state.users[&user_id])))
}

fn password(state: &mut State, caller: &Caller, call: &Call, user_id: i64) -> Answer {
    let own = user_id == caller.user_id;
    if !own {
        caller.must_be_admin()?;
    }
    let user = person(state, user_id)?.clone();
    let password = call.required_text("password")?;
    if own && !caller.superuser {
        let old = call.optional_text("old_password")?.unwrap_or_default();
        if user.password_hash != digest(&old) {
            return Err(field_error(400, "old_password", "Invalid password"));
        }
    }
    check_password(&password)?;
    state.sessions.retain(|_, session| session.user_id != user_id);
    if let Some(user) = state.users.get_mut(&user_id) {
        user.password_hash = digest(&password);
    }
    if own {
        let session = state.open_session(user_id);
        return Ok(Reply::ok(json!({ "success": true, "session_id": session })));
    }
    Ok(Reply::empty())
}

fn person(state: &State, user_id: i64) -> Result<&User, Reply> {
    state.users.get(&user_id).filter(|user| user.active && !user.api_key).ok_or_else(|| state.not_found())
}

fn email(call: &Call) -> Result<Option<String>, Reply> {
    match call.optional_text("email")? {
        None => Ok(None),
        Some(text) if valid_email(&text) => Ok(Some(text.to_lowercase())),
        Some(text) => Err(invalid(
            "email",
            "value must be a valid email address.",
            &format!("valid email address, received: {text:?}"),
        )),
    }
}

fn locale(call: &Call) -> Result<Option<String>, Reply> {
    match call.optional_text("locale")? {
        None => Ok(None),
        Some(text) => {
            let normal = text.replace('-', "_");
            if !LOCALES.contains(&normal.to_lowercase().as_str()) {
                return Err(field_error(
                    400,
                    "locale",
                    "String must be a valid two-letter ISO language or language-country code e.g. 'en' or 'en_US'.",
                ));
            }
            Ok(Some(normal))
        }
    }
}

fn attributes(call: &Call) -> Result<Option<Value>, Reply> {
    match call.given("login_attributes") {
        None => Ok(None),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => Ok(Some(Value::Object(map.clone()))),
        Some(other) => Err(invalid(
            "login_attributes",
            "login attribute keys must be a keyword or string",
            &format!("should be a map of text, received: {other}"),
        )),
    }
}

/// The full list of groups a body asks for; it has to contain All Users.
fn memberships(state: &State, call: &Call) -> Result<Option<Vec<i64>>, Reply> {
    let Some(given) = call.given("user_group_memberships") else {
        return Ok(None);
    };
    let wrong = || invalid("user_group_memberships", "sequence of maps with an id", "wrong shape");
    let mut groups = Vec::new();
    for item in given.as_array().ok_or_else(wrong)? {
        if item.get("is_group_manager") == Some(&Value::Bool(true)) {
            return Err(paid_permissions("group manager"));
        }
        let group = item.get("id").and_then(Value::as_i64).ok_or_else(wrong)?;
        if !state.groups.contains_key(&group) {
            return Err(state.not_found());
        }
        groups.push(group);
    }
    if !groups.contains(&ALL_USERS) {
        return Err(Reply::text(400, "You cannot add or remove users to/from the 'All Users' group."));
    }
    Ok(Some(groups))
}

fn describe(state: &State, user: &User) -> Value {
    let groups: Vec<Value> = state.group_ids(user.id).into_iter().map(|group| json!({ "id": group })).collect();
    let mut answer = json!({
        "id": user.id,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "common_name": user.common_name(),
        "locale": user.locale,
        "is_superuser": state.superuser(user.id),
        "is_active": user.active,
        "is_qbnewb": true,
        "sso_source": null,
        "login_attributes": user.login_attributes,
        "date_joined": stamp(user.joined_at),
        "updated_at": stamp(user.updated_at),
        "last_login": user.last_login_at.map(stamp),
        "user_group_memberships": groups,
    });
    if state.profile.tenants() {
        answer["jwt_attributes"] = Value::Null;
        answer["tenant_id"] = Value::Null;
    }
    answer
}

impl State {
    /// Takes somebody out of a group.
    pub(super) fn leave(&mut self, user_id: i64, group_id: i64) {
        self.memberships.retain(|_, member| (member.user_id, member.group_id) != (user_id, group_id));
    }

    /// Refuses to lose the last person who may do everything.
    pub(super) fn keep_one_admin(&self, leaving: i64) -> Result<(), Reply> {
        let others = self
            .users
            .values()
            .any(|user| user.id != leaving && user.active && !user.api_key && self.superuser(user.id));
        if others { Ok(()) } else { Err(Reply::text(400, "You cannot remove the last member of the 'Admin' group!")) }
    }
}
