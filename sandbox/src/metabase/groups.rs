//! Groups and who is in them.

use serde_json::{Map, Value, json};

use super::access::Caller;
use super::call::{Call, id};
use super::reply::{Answer, Reply, exception, invalid_request, no_such_route, paid_feature, paid_permissions};
use super::state::{ADMINISTRATORS, ALL_USERS, Group, Membership, State};

/// Everything under `/api/permissions/group`.
pub(super) fn group(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    caller.must_be_admin()?;
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(list(state, call)),
        ("GET", [group]) => {
            let group = known(state, id(group)?)?;
            let mut answer = describe(state, group);
            answer["members"] = json!(members(state, group.id));
            Ok(Reply::ok(answer))
        }
        ("POST", []) => create(state, call),
        ("PUT", [group]) => rename(state, call, id(group)?),
        ("DELETE", [group]) => delete(state, id(group)?),
        _ => Err(no_such_route()),
    }
}

/// Everything under `/api/permissions/membership`.
pub(super) fn membership(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    caller.must_be_admin()?;
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(membership_map(state)),
        ("POST", []) => add(state, call),
        ("PUT", [member]) => {
            id(member)?;
            Err(paid_permissions("group manager"))
        }
        ("PUT", [group, "clear"]) => {
            let group = known(state, id(group)?)?;
            if group.id == ADMINISTRATORS {
                return Err(invalid_request());
            }
            if group.id == ALL_USERS {
                return Err(all_users_is_fixed());
            }
            let group_id = group.id;
            state.memberships.retain(|_, member| member.group_id != group_id);
            Ok(Reply::empty())
        }
        ("DELETE", [member]) => remove(state, id(member)?),
        _ => Err(no_such_route()),
    }
}

fn list(state: &State, call: &Call) -> Reply {
    let mut groups: Vec<&Group> = state.groups.values().collect();
    groups.sort_by_key(|group| group.name.to_lowercase());
    let (limit, offset) = call.page().unwrap_or((usize::MAX, 0));
    let page: Vec<Value> = groups.into_iter().skip(offset).take(limit).map(|group| describe(state, group)).collect();
    Reply::ok(page)
}

fn create(state: &mut State, call: &Call) -> Answer {
    let name = call.required_text("name")?;
    if call.optional_flag("is_tenant_group")? == Some(true) {
        return Err(paid_feature("Tenants"));
    }
    free_name(state, &name, None)?;
    let group_id = state.next_id("group");
    state.groups.insert(
        group_id,
        Group { id: group_id, name, magic: None, entity_id: Some(state.entity_id("group", group_id)) },
    );
    state.copy_all_users_permissions(group_id);
    Ok(Reply::ok(describe(state, &state.groups[&group_id])))
}

fn rename(state: &mut State, call: &Call, group_id: i64) -> Answer {
    let name = call.required_text("name")?;
    not_built_in(known(state, group_id)?)?;
    free_name(state, &name, Some(group_id))?;
    if let Some(group) = state.groups.get_mut(&group_id) {
        group.name = name;
    }
    Ok(Reply::ok(describe(state, &state.groups[&group_id])))
}

fn delete(state: &mut State, group_id: i64) -> Answer {
    not_built_in(known(state, group_id)?)?;
    state.groups.remove(&group_id);
    state.data_permissions.remove(&group_id);
    state.collection_permissions.remove(&group_id);
    state.memberships.retain(|_, member| member.group_id != group_id);
    Ok(Reply::empty())
}

fn membership_map(state: &State) -> Reply {
    let mut map = Map::new();
    let mut all: Vec<&Membership> = state.memberships.values().collect();
    all.sort_by_key(|member| (member.user_id, member.id));
    for member in all {
        map.entry(member.user_id.to_string())
            .or_insert_with(|| json!([]))
            .as_array_mut()
            .expect("every entry of the map is a list")
            .push(json!({
                "membership_id": member.id,
                "group_id": member.group_id,
                "user_id": member.user_id,
                "is_group_manager": false,
            }));
    }
    Reply::ok(map)
}

fn add(state: &mut State, call: &Call) -> Answer {
    let group_id = call.required_id("group_id")?;
    let user_id = call.required_id("user_id")?;
    if call.optional_flag("is_group_manager")? == Some(true) {
        return Err(paid_permissions("group manager"));
    }
    known(state, group_id)?;
    if !state.users.contains_key(&user_id) {
        return Err(state.not_found());
    }
    if state.group_ids(user_id).contains(&group_id) {
        return Err(exception(
            "ERROR: duplicate key value violates unique constraint \"unique_permissions_group_membership_user_id_group_id\"",
        ));
    }
    state.join(user_id, group_id);
    Ok(Reply::ok(members(state, group_id)))
}

fn remove(state: &mut State, membership_id: i64) -> Answer {
    let member = state.memberships.get(&membership_id).ok_or_else(|| state.not_found())?;
    if member.group_id == ALL_USERS {
        return Err(all_users_is_fixed());
    }
    if member.group_id == ADMINISTRATORS {
        state.keep_one_admin(member.user_id)?;
    }
    state.memberships.remove(&membership_id);
    Ok(Reply::empty())
}

fn known(state: &State, group_id: i64) -> Result<&Group, Reply> {
    state.groups.get(&group_id).ok_or_else(|| state.not_found())
}

fn free_name(state: &State, name: &str, except: Option<i64>) -> Result<(), Reply> {
    let taken =
        state.groups.values().any(|group| Some(group.id) != except && group.name.to_lowercase() == name.to_lowercase());
    if taken {
        return Err(Reply::text(400, "A group with that name already exists."));
    }
    Ok(())
}

fn not_built_in(group: &Group) -> Result<(), Reply> {
    if group.magic.is_none() {
        return Ok(());
    }
    Err(Reply::text(400, &format!("You cannot edit or delete the '{}' permissions group!", group.name)))
}

fn all_users_is_fixed() -> Reply {
    Reply::text(400, "You cannot add or remove users to/from the 'All Users' group.")
}

fn describe(state: &State, group: &Group) -> Value {
    let mut answer = json!({
        "id": group.id,
        "name": group.name,
        "member_count": members(state, group.id).len(),
    });
    if state.profile.magic_groups() {
        answer["magic_group_type"] = json!(group.magic);
        answer["entity_id"] = json!(group.entity_id);
        answer["is_tenant_group"] = json!(false);
    }
    answer
}

fn members(state: &State, group_id: i64) -> Vec<Value> {
    state
        .memberships
        .values()
        .filter(|member| member.group_id == group_id)
        .filter_map(|member| {
            let user = state.users.get(&member.user_id)?;
            (user.active && !user.api_key).then(|| {
                json!({
                    "user_id": user.id,
                    "first_name": user.first_name,
                    "last_name": user.last_name,
                    "email": user.email,
                    "membership_id": member.id,
                    "group_id": group_id,
                })
            })
        })
        .collect()
}
