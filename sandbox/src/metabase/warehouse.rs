//! The way to the PostgreSQL behind a database: connect as its stored role,
//! read only, few connections.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};
use tokio::sync::Semaphore;

use crate::wire::locked;

use super::cells::{Cell, base_type, read};
use super::reply::Reply;

/// Open connections at a time, over all databases.
const CONNECTIONS: usize = 8;
/// Rows of a result on the screen.
pub(super) const SCREEN_ROWS: usize = 2_000;
/// Rows of a downloaded file.
pub(super) const FILE_ROWS: usize = 1_048_575;

/// The connections of one stand-in.
pub(super) struct Warehouse {
    idle: Mutex<VecDeque<(String, PgConnection)>>,
    turns: Semaphore,
}

/// A finished query.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) truncated: bool,
    pub(super) took_ms: u64,
}

/// One column of a result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) database_type: String,
    pub(super) base_type: &'static str,
}

impl Warehouse {
    /// Makes the holder of connections; it opens none yet.
    pub(super) fn new() -> Self {
        Self { idle: Mutex::new(VecDeque::new()), turns: Semaphore::new(CONNECTIONS) }
    }

    /// Runs one statement in a transaction that cannot write.
    pub(super) async fn run(
        &self,
        details: &Map<String, Value>,
        sql: &str,
        limit: usize,
    ) -> Result<Outcome, sqlx::Error> {
        let started = Instant::now();
        let _turn = self.turns.acquire().await;
        let key = Value::Object(details.clone()).to_string();
        let mut connection = self.begin(&key, details).await?;
        let result = query(&mut connection, sql, limit).await;
        if connection.execute("ROLLBACK").await.is_ok() {
            self.put(key, connection);
        }
        let (columns, mut rows) = result?;
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Ok(Outcome {
            columns,
            rows,
            truncated,
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Tries to connect; says what a person would have to change.
    pub(super) async fn check(&self, details: &Map<String, Value>) -> Result<String, Reply> {
        let failed = |error: sqlx::Error| connect_error(details, &error);
        let mut connection = connect(details).await.map_err(failed)?;
        let version: String =
            sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.map_err(failed)?;
        // Nothing depends on a polite goodbye.
        let _closed = connection.close().await;
        Ok(version)
    }

    /// Opens a transaction, on an idle connection if one still works.
    async fn begin(&self, key: &str, details: &Map<String, Value>) -> Result<PgConnection, sqlx::Error> {
        const BEGIN: &str = "BEGIN READ ONLY";
        while let Some(mut idle) = self.take(key) {
            // The server may have been restarted since.
            if idle.execute(BEGIN).await.is_ok() {
                return Ok(idle);
            }
        }
        let mut connection = connect(details).await?;
        connection.execute(BEGIN).await?;
        Ok(connection)
    }

    fn take(&self, key: &str) -> Option<PgConnection> {
        let mut idle = locked(&self.idle);
        let at = idle.iter().position(|(known, _)| known == key)?;
        idle.remove(at).map(|(_, connection)| connection)
    }

    fn put(&self, key: String, connection: PgConnection) {
        let mut idle = locked(&self.idle);
        idle.push_back((key, connection));
        if idle.len() > CONNECTIONS {
            idle.pop_front();
        }
    }

    /// Closes what is idle, as after a database was changed or removed.
    pub(super) fn forget(&self) {
        locked(&self.idle).clear();
    }
}

async fn query(
    connection: &mut PgConnection,
    sql: &str,
    limit: usize,
) -> Result<(Vec<Column>, Vec<Vec<Cell>>), sqlx::Error> {
    // The statement comes from a person, as in the real server. It runs alone,
    // in a read-only transaction, with the rights of the stored role.
    let statement = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await?;
    let mut columns: Vec<Column> = Vec::new();
    for column in statement.columns() {
        let database_type = column.type_info().name().to_lowercase();
        columns.push(Column {
            name: free_name(&columns, column.name()),
            base_type: base_type(&database_type),
            database_type,
        });
    }
    let rows = statement.query().persistent(false).fetch_all(&mut *connection).await?;
    let width = columns.len();
    let rows = rows
        .iter()
        .take(limit.saturating_add(1))
        .map(|row| (0..width).map(|index| row.try_get_raw(index).map_or(Cell::Null, |value| read(&value))).collect())
        .collect();
    Ok((columns, rows))
}

/// Columns of one name are told apart by a number.
fn free_name(columns: &[Column], name: &str) -> String {
    let taken = |name: &str| columns.iter().any(|column| column.name == name);
    if !taken(name) {
        return name.to_owned();
    }
    (2..)
        .map(|number| format!("{name}_{number}"))
        .find(|name| !taken(name))
        .expect("there are more numbers than columns")
}

async fn connect(details: &Map<String, Value>) -> Result<PgConnection, sqlx::Error> {
    let text = |key: &str| details.get(key).and_then(Value::as_str);
    let port = match details.get("port") {
        Some(Value::String(port)) => port.parse().ok(),
        Some(port) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
        None => None,
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(text("host").unwrap_or("localhost"))
        .port(port.unwrap_or(5432))
        .username(text("user").unwrap_or_default())
        .password(text("password").unwrap_or_default())
        .database(text("dbname").unwrap_or_default())
        .ssl_mode(ssl_mode(details))
        .application_name("Metabase stand-in")
        .options([
            ("default_transaction_read_only", "on"),
            ("standard_conforming_strings", "on"),
            ("statement_timeout", "60s"),
            ("TimeZone", "UTC"),
        ]);
    for (key, value) in url_options(text("additional-options").unwrap_or_default()) {
        options = options.options([(key, value)]);
    }
    tokio::time::timeout(Duration::from_secs(10), options.connect()).await.map_err(|_| sqlx::Error::PoolTimedOut)?
}

fn ssl_mode(details: &Map<String, Value>) -> PgSslMode {
    let mode = details.get("ssl-mode").and_then(Value::as_str);
    match (details.get("ssl").and_then(Value::as_bool), mode) {
        (Some(false), _) => PgSslMode::Disable,
        (Some(true), Some("verify-full")) => PgSslMode::VerifyFull,
        (Some(true), Some("verify-ca")) => PgSslMode::VerifyCa,
        (Some(true), _) => PgSslMode::Require,
        (None, _) => PgSslMode::Prefer,
    }
}

/// Server settings in JDBC options: `options=-c%20key=value` and `currentSchema`.
fn url_options(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in super::call::pairs(text) {
        match key.as_str() {
            "currentSchema" => found.push(("search_path".to_owned(), value)),
            "options" => {
                let settings = value.split("-c").filter_map(|part| {
                    let (key, value) = part.trim().split_once('=')?;
                    Some((key.trim().to_owned(), value.trim().to_owned()))
                });
                found.extend(settings);
            }
            _ => {}
        }
    }
    found
}

fn connect_error(details: &Map<String, Value>, error: &sqlx::Error) -> Reply {
    let host = details.get("host").and_then(Value::as_str).unwrap_or("localhost");
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    let (message, errors) = match (error, code.as_deref()) {
        (_, Some("28P01" | "28000")) => (
            "Looks like the username or password is incorrect.".to_owned(),
            json!({
                "username": "check your username",
                "password": "check your password",
            }),
        ),
        (_, Some("3D000")) => (
            "Looks like the Database name is incorrect.".to_owned(),
            json!({ "dbname": "check your database name settings" }),
        ),
        (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut, _) => (
            format!("Host '{host}' is not reachable"),
            json!({
                "host": "check your host settings",
                "port": "check your port settings",
            }),
        ),
        (other, _) => (message_of(other), json!({ "db": "check your connection string" })),
    };
    Reply::json(400, json!({ "message": message, "errors": errors }))
}

/// PostgreSQL's words, as the JDBC driver passes them on.
pub(super) fn message_of(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => format!("ERROR: {}", error.message()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_read_from_jdbc_options() {
        assert_eq!(
            url_options("options=-c%20search_path%3Dmart%20-c role=x&currentSchema=b&ssl=true"),
            [("search_path", "mart"), ("role", "x"), ("search_path", "b")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}
