//! Asks a question's SQL as one role, for a picture of its answer.

use secrecy::SecretString;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{Column as _, Connection as _, Executor as _, SqlSafeStr as _, Statement as _};

use super::{Statement, Warehouse, probe};

/// A role that is signed in, in a session that can change nothing.
#[derive(Debug)]
pub struct Asking {
    connection: PgConnection,
}

/// What came back: column names in their order, and rows by column name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The names, in the order of the query.
    pub columns: Vec<String>,
    /// The rows; numbers, texts, dates as texts.
    pub rows: Vec<Map<String, Value>>,
}

impl Asking {
    /// Signs in.
    ///
    /// # Errors
    /// When the role may not sign in.
    pub async fn sign_in(warehouse: &Warehouse, role: &str, password: &SecretString) -> Result<Self, sqlx::Error> {
        let mut connection = probe::connect(warehouse, role, password).await?;
        sqlx::raw_sql("SET default_transaction_read_only = on; SET statement_timeout = '60s'")
            .execute(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    /// Asks one query, whose names and literals our own renderer put in.
    ///
    /// # Errors
    /// When PostgreSQL refuses it.
    pub async fn ask(&mut self, query: &str, most_rows: usize) -> Result<Answer, sqlx::Error> {
        let prepared = self.connection.prepare(Statement::new(query.to_owned()).safe().into_sql_str()).await?;
        let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        // A comment in the last line must not swallow the bracket.
        let wrapped = format!("SELECT row_to_json(answer)::text FROM (\n{query}\n) AS answer LIMIT {most_rows}");
        let texts: Vec<String> =
            sqlx::query_scalar(Statement::new(wrapped).safe()).fetch_all(&mut self.connection).await?;
        let rows =
            texts.iter().map(|text| serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into())));
        Ok(Answer { columns, rows: rows.collect::<Result<_, _>>()? })
    }

    /// Signs out.
    pub async fn close(self) {
        // The server notices a connection that is gone, too.
        let _closed = self.connection.close().await;
    }
}
