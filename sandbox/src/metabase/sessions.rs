//! First set-up, sign-in, sign-out, and who stands behind a call.

use axum::http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::access::Caller;
use super::call::Call;
use super::reply::{Answer, Reply, field_error, missing, no_such_route, unauthenticated};
use super::state::{ADMINISTRATORS, ALL_USERS, Session, State, User, digest, stamp};

/// How long a session is good for, in seconds: 14 days.
const SESSION_SECONDS: i64 = 1_209_600;
/// How long a reset link is good for, in hours.
const RESET_HOURS: i64 = 48;
const COMMON_PASSWORDS: &[&str] = &["123456", "password1", "abc123", "qwerty1", "passw0rd", "1q2w3e"];

impl State {
    /// Finds out who is calling: by cookie, by session header, by key.
    pub(super) fn caller(&self, call: &Call) -> Result<Caller, Reply> {
        let session = call.cookie("metabase.SESSION").or_else(|| call.header("x-metabase-session").map(str::to_owned));
        if let Some(id) = session {
            let known = self
                .sessions
                .get(&id)
                .filter(|session| (self.now - session.created_at).num_seconds() < SESSION_SECONDS)
                .filter(|session| self.users.get(&session.user_id).is_some_and(|user| user.active));
            if let Some(session) = known {
                return Ok(self.caller_of(session.user_id, Some(id.clone())));
            }
        }
        let key = call.header("x-api-key").map(digest);
        self.api_keys
            .values()
            .find(|known| Some(&known.key_hash) == key.as_ref())
            .map(|known| self.caller_of(known.user_id, None))
            .ok_or_else(unauthenticated)
    }

    fn caller_of(&self, user_id: i64, session: Option<String>) -> Caller {
        Caller { user_id, superuser: self.superuser(user_id), groups: self.group_ids(user_id), session }
    }

    /// Starts a session for somebody.
    pub(super) fn open_session(&mut self, user_id: i64) -> String {
        let id = Uuid::new_v4().to_string();
        self.sessions.insert(id.clone(), Session { user_id, created_at: self.now });
        let now = self.now;
        if let Some(user) = self.users.get_mut(&user_id) {
            user.last_login_at = Some(now);
            user.updated_at = now;
        }
        self.personal_collection(user_id);
        id
    }

    /// Makes a reset token for somebody.
    pub(super) fn open_reset(&mut self, user_id: i64) -> String {
        let token = format!("{user_id}_{}", Uuid::new_v4());
        self.reset_tokens.insert(token.clone(), Session { user_id, created_at: self.now });
        token
    }
}

/// `/api/setup`.
pub(super) fn setup(state: &mut State, call: &Call) -> Answer {
    if call.method != Method::POST {
        return Err(no_such_route());
    }
    if state.has_user_setup() {
        return Err(Reply::text(
            403,
            "The /api/setup route can only be used to create the first user, however a user currently exists.",
        ));
    }
    let token = call.required_text("token")?;
    if state.setup_token.as_deref() != Some(token.as_str()) {
        return Err(field_error(400, "token", "Token does not match the setup token."));
    }
    let person = call.given("user").and_then(Value::as_object);
    let person = person.ok_or_else(|| missing("user", "map"))?;
    let text = |fields: &Map<String, Value>, key: &str| {
        fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let email = text(person, "email")
        .filter(|email| valid_email(email))
        .ok_or_else(|| field_error(400, "email", "value must be a valid email address."))?;
    let password = text(person, "password").unwrap_or_default();
    check_password(&password)?;
    let prefs = call.given("prefs").and_then(Value::as_object);
    let site_name =
        prefs.and_then(|prefs| text(prefs, "site_name")).ok_or_else(|| missing("prefs", "map with site_name"))?;
    let id = state.add_user(User {
        id: 0,
        email: email.to_lowercase(),
        first_name: text(person, "first_name"),
        last_name: text(person, "last_name"),
        locale: None,
        password_hash: digest(&password),
        active: true,
        api_key: false,
        login_attributes: Value::Null,
        joined_at: state.now,
        updated_at: state.now,
        last_login_at: None,
    });
    state.join(id, ADMINISTRATORS);
    state.settings.insert("site-name".into(), Value::from(site_name));
    if let Some(locale) = prefs.and_then(|prefs| text(prefs, "site_locale")) {
        state.settings.insert("site-locale".into(), Value::from(locale));
    }
    state.settings.insert("admin-email".into(), Value::from(email));
    state.settings.insert("anon-tracking-enabled".into(), Value::Bool(true));
    state.setup_token = None;
    let session = state.open_session(id);
    Ok(with_cookies(Reply::ok(json!({ "id": session.clone() })), &session))
}

/// Everything under `/api/session`.
pub(super) fn session(state: &mut State, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("POST", []) => {
            let username = call.required_text("username")?;
            let password = call.required_text("password")?;
            login(state, &username, &password, &call.address)
        }
        ("DELETE", []) => {
            let id = state.caller(call).ok().and_then(|caller| caller.session);
            match id.and_then(|id| state.sessions.remove(&id)) {
                Some(_) => Ok(Reply::empty()
                    .with("set-cookie", "metabase.SESSION=;Expires=Thu, 1 Jan 1970 00:00:00 GMT;Path=/".into())),
                None => Err(state.not_found()),
            }
        }
        ("GET", ["properties"]) => Ok(super::settings::properties(state, call)),
        ("POST", ["forgot_password"]) => {
            let email = call.required_text("email")?.to_lowercase();
            let now = state.now;
            if let Some(text) = state.throttle.refuse_reset(&email, now) {
                return Err(field_error(400, "email", &text));
            }
            let user = state.users.values().find(|user| user.email == email && user.active && !user.api_key);
            if let Some(id) = user.map(|user| user.id) {
                let token = state.open_reset(id);
                state.mail("password_reset", &email, json!({ "token": token }));
            }
            Ok(Reply::empty())
        }
        ("POST", ["reset_password"]) => {
            let token = call.required_text("token")?;
            let password = call.required_text("password")?;
            let user_id =
                reset_owner(state, &token).ok_or_else(|| field_error(400, "password", "Invalid reset token"))?;
            check_password(&password)?;
            state.reset_tokens.remove(&token);
            if let Some(user) = state.users.get_mut(&user_id) {
                user.password_hash = digest(&password);
            }
            let session = state.open_session(user_id);
            Ok(with_cookies(Reply::ok(json!({ "success": true, "session_id": session.clone() })), &session))
        }
        ("GET", ["password_reset_token_valid"]) => {
            let valid = call.asked("token").is_some_and(|token| reset_owner(state, token).is_some());
            Ok(Reply::ok(json!({ "valid": valid })))
        }
        ("POST", ["password-check"]) => {
            check_password(&call.required_text("password")?)?;
            Ok(Reply::ok(json!({ "valid": true })))
        }
        _ => Err(no_such_route()),
    }
}

/// Tries a password, under the throttle.
pub(super) fn login(state: &mut State, username: &str, password: &str, address: &str) -> Answer {
    let status = state.profile.refused_login_status();
    let now = state.now;
    if let Some(text) = state.throttle.refuse_login(username, address, now) {
        return Err(field_error(status, "username", &text));
    }
    let email = username.to_lowercase();
    let user = state
        .users
        .values()
        .find(|user| user.email == email && !user.api_key)
        .filter(|user| user.password_hash == digest(password));
    match user.map(|user| (user.id, user.active)) {
        Some((id, true)) => {
            let session = state.open_session(id);
            Ok(with_cookies(Reply::ok(json!({ "id": session.clone() })), &session))
        }
        Some((_, false)) if state.profile.names_disabled_accounts() => {
            state.throttle.count_failed_login(username, address, now);
            Err(field_error(status, "_error", "Your account is disabled."))
        }
        _ => {
            state.throttle.count_failed_login(username, address, now);
            Err(field_error(status, "password", "did not match stored password"))
        }
    }
}

fn reset_owner(state: &State, token: &str) -> Option<i64> {
    state
        .reset_tokens
        .get(token)
        .filter(|reset| (state.now - reset.created_at).num_hours() < RESET_HOURS)
        .map(|reset| reset.user_id)
}

fn with_cookies(reply: Reply, session: &str) -> Reply {
    reply
        .with(
            "set-cookie",
            format!("metabase.SESSION={session};SameSite=Lax;HttpOnly;Path=/;Max-Age={SESSION_SECONDS}"),
        )
        .with("set-cookie", "metabase.TIMEOUT=alive;SameSite=Lax;Path=/;Max-Age=1209600".into())
}

/// The rule "normal": six characters, a digit, and not one everybody has.
pub(super) fn check_password(password: &str) -> Result<(), Reply> {
    let strong = password.chars().count() >= 6
        && password.chars().any(|letter| letter.is_ascii_digit())
        && !COMMON_PASSWORDS.contains(&password);
    if strong { Ok(()) } else { Err(field_error(400, "password", "password is too common.")) }
}

/// Whether a text looks like an address.
pub(super) fn valid_email(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.') && !text.contains(char::is_whitespace))
}

impl State {
    /// Adds an account, member of All Users from the start.
    pub(super) fn add_user(&mut self, mut user: User) -> i64 {
        let id = self.next_id("user");
        user.id = id;
        self.users.insert(id, user);
        self.join(id, ALL_USERS);
        id
    }

    /// Notes a mail that a server with SMTP would have sent.
    pub(super) fn mail(&mut self, kind: &str, to: &str, content: Value) {
        if self.smtp_configured() {
            self.mails.push(json!({
                "kind": kind,
                "to": to,
                "at": stamp(self.now),
                "content": content,
            }));
        }
    }
}
