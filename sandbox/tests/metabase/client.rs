//! A plain HTTP client, and a stand-in that is set up.

use reqwest::Method;
use sandbox::metabase::{Metabase, Options};
use serde_json::{Value, json};

pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "correct-horse-1";

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The body, when the call went well.
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text);
        self.json
    }

    /// The id in the body, when the call went well.
    #[track_caller]
    pub(crate) fn id(self) -> i64 {
        self.good()["id"].as_i64().expect("the answer has an id")
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    header: Option<(&'static str, String)>,
}

impl Client {
    pub(crate) fn anonymous(metabase: &Metabase) -> Self {
        Self {
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client without options builds"),
            base: metabase.base_url.clone(),
            header: None,
        }
    }

    pub(crate) fn session(&self, id: &str) -> Self {
        self.with("x-metabase-session", id)
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        self.with("x-api-key", key)
    }

    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        Self { header: Some((name, value.to_owned())), ..self.clone() }
    }

    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some((name, value)) = &self.header {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok(Answer { status, json: serde_json::from_str(&text).unwrap_or_default(), text })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_send(Method::GET, path, None).await.expect("the stand-in answers")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.try_send(Method::POST, path, Some(body)).await.expect("the stand-in answers")
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.try_send(Method::PUT, path, Some(body)).await.expect("the stand-in answers")
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.try_send(Method::DELETE, path, None).await.expect("the stand-in answers")
    }

    /// Logs in with a password.
    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        self.post("/api/session", body).await
    }
}

/// Starts a stand-in of a release and sets it up; gives its administrator.
pub(crate) async fn set_up(version: &str) -> (Metabase, Client) {
    let metabase = Metabase::start(Options {
        version: version.to_owned(),
        setup_token: Some("token".to_owned()),
        ..Options::default()
    })
    .await
    .expect("a free port is there");
    let anonymous = Client::anonymous(&metabase);
    let session = anonymous.post("/api/setup", setup_body("token")).await;
    let session = session.good()["id"].as_str().expect("a session has an id").to_owned();
    let admin = anonymous.session(&session);
    (metabase, admin)
}

pub(crate) fn setup_body(token: &str) -> Value {
    json!({
        "token": token,
        "user": { "email": ADMIN, "password": PASSWORD, "first_name": "Ada", "last_name": "Min" },
        "prefs": { "site_name": "Stores" },
    })
}

/// Makes a person of some groups and signs them in.
pub(crate) async fn person(metabase: &Metabase, admin: &Client, email: &str, groups: &[i64]) -> (i64, Client) {
    let mut memberships = vec![json!({ "id": 1 })];
    memberships.extend(groups.iter().map(|group| json!({ "id": group })));
    let body = json!({ "email": email, "user_group_memberships": memberships });
    let id = admin.post("/api/user", body).await.id();
    let body = json!({ "password": PASSWORD });
    admin.put(&format!("/api/user/{id}/password"), body).await.good();
    let anonymous = Client::anonymous(metabase);
    let session = anonymous.login(email, PASSWORD).await.good();
    (id, anonymous.session(session["id"].as_str().expect("a session has an id")))
}

/// Makes a group.
pub(crate) async fn group(admin: &Client, name: &str) -> i64 {
    admin.post("/api/permissions/group", json!({ "name": name })).await.id()
}

/// Makes a collection.
pub(crate) async fn collection(admin: &Client, name: &str, parent: Option<i64>) -> i64 {
    let body = json!({ "name": name, "parent_id": parent });
    admin.post("/api/collection", body).await.id()
}

/// Makes a question of native SQL on the sample database or another.
pub(crate) async fn question(admin: &Client, database: i64, collection: Option<i64>, sql: &str) -> i64 {
    let body = json!({
        "name": "Question",
        "display": "table",
        "visualization_settings": {},
        "collection_id": collection,
        "dataset_query": {
            "type": "native",
            "database": database,
            "native": { "query": sql, "template-tags": {} },
        },
    });
    admin.post("/api/card", body).await.id()
}
