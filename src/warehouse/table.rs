//! A destination table: its shape, and making it what a definition says.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use sqlx::{Executor as _, PgConnection, Row as _};

use super::ident::{Ident, Statement};
use super::load::Error;
use crate::ids::{ROW, TYPE};

/// How a load meets the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteDisposition {
    /// Rows are added.
    Append,
    /// The table becomes the load: rows it does not have disappear.
    Replace,
    /// Rows with a known key are updated where they differ, others added.
    Merge,
    /// As merge; and of the windows it has rows for, rows it does not have disappear.
    ReplaceWindow,
}

/// Where rows land.
#[derive(Debug, Clone)]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Name and PostgreSQL type of each column, without ours.
    pub columns: Vec<(String, String)>,
    /// Columns that tell one row from another.
    pub key: Vec<String>,
    /// A date column by whose month the table is partitioned.
    pub partition_by: Option<String>,
    /// `replace_window`: the columns that make a window.
    pub window: Vec<String>,
    /// How a load meets the rows that are there.
    pub disposition: WriteDisposition,
    /// Columns of each index besides the key's.
    pub indexes: Vec<Vec<String>>,
}

/// Lists the columns that a schema makes, without [`ROW`]; answers with the
/// names of columns whose type has no counterpart.
///
/// # Errors
/// The columns that cannot be stored.
pub fn columns_of(schema: &Schema) -> Result<Vec<(String, String)>, Vec<String>> {
    let mut columns = Vec::new();
    let mut unknown = Vec::new();
    for field in schema.fields().iter().filter(|field| field.name() != ROW) {
        let declared = field.metadata().get(TYPE).filter(|kind| *kind == "json").map(|_| "jsonb".to_owned());
        match declared.or_else(|| type_of(field.data_type())) {
            Some(sql) => columns.push((field.name().clone(), sql)),
            None => unknown.push(format!("{} ({})", field.name(), field.data_type())),
        }
    }
    if unknown.is_empty() { Ok(columns) } else { Err(unknown) }
}

fn type_of(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "time".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".to_owned(),
        DataType::Duration(TimeUnit::Microsecond) => "interval".to_owned(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        _ => return None,
    })
}

/// Columns of ours at the end of every table: which load, file and row a row is from;
/// and the load that brought it back, where one was undone.
pub(super) const LINEAGE: [(&str, &str); 4] = [
    ("load_id", "bigint NOT NULL"),
    ("file_id", "bigint NOT NULL"),
    ("source_row", "bigint"),
    ("restored_by", "bigint"),
];

impl Table {
    /// The table's name with its schema, quoted.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", Ident::known(&self.schema), Ident::known(&self.name))
    }

    /// Makes the table, or adds the columns that it lacks; its key comes with
    /// [`Table::ensure_key`]. Running it twice changes nothing the second time.
    ///
    /// # Errors
    /// When PostgreSQL refuses, or a column is there with another type.
    pub async fn ensure(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let query = Error::query("make the table");
        let found = sqlx::query(
            "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type
             FROM pg_attribute a
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
        )
        .bind(self.path())
        .fetch_all(&mut *connection)
        .await
        .map_err(&query)?;
        if found.is_empty() {
            connection.execute(Statement::new(self.create()).safe()).await.map_err(&query)?;
            if self.key.is_empty() {
                self.index_lineage(connection).await?;
                self.make_indexes(connection).await?;
            }
            return Ok(());
        }
        // Tables of earlier versions know of no undoing.
        let (restored_by, kind) = LINEAGE[3];
        let own = [(restored_by.to_owned(), kind.to_owned())];
        for (name, wanted) in self.columns.iter().chain(&own) {
            match found.iter().find(|row| row.get::<String, _>("name") == *name) {
                None => {
                    let add = format!("ALTER TABLE {} ADD COLUMN {} {wanted}", self.path(), Ident::known(name));
                    connection.execute(Statement::new(add).safe()).await.map_err(&query)?;
                }
                Some(row) => {
                    let there: String = row.get("type");
                    if canonical(&there) != canonical(wanted) {
                        return Err(Error::ColumnType {
                            table: format!("{}.{}", self.schema, self.name),
                            column: name.clone(),
                            there,
                            wanted: wanted.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn create(&self) -> String {
        let mut lines: Vec<String> = self
            .columns
            .iter()
            .map(|(name, sql)| {
                let required = if self.key.contains(name) { " NOT NULL" } else { "" };
                format!("{} {sql}{required}", Ident::known(name))
            })
            .collect();
        lines.extend(LINEAGE.iter().map(|(name, sql)| format!("{} {sql}", Ident::known(name))));
        let partition = match &self.partition_by {
            Some(column) => format!(" PARTITION BY RANGE ({})", Ident::known(column)),
            None => String::new(),
        };
        format!("CREATE TABLE {} ({}){partition}", self.path(), lines.join(", "))
    }

    /// Gives the table its primary key and its other indexes, if it has no key. A first load brings its rows
    /// before: one index made at once is cheaper than one grown row by row.
    pub(super) async fn ensure_key(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let query = Error::query("give the table its key");
        if self.key.is_empty() {
            return Ok(());
        }
        let there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'p')",
        )
        .bind(self.path())
        .fetch_one(&mut *connection)
        .await
        .map_err(query)?;
        if !there {
            let key = format!("ALTER TABLE {} ADD PRIMARY KEY ({})", self.path(), list(&self.key));
            connection.execute(Statement::new(key).safe()).await.map_err(query)?;
            self.index_lineage(connection).await?;
            self.make_indexes(connection).await?;
        }
        Ok(())
    }

    /// Loads and files come in their order: a few bytes a page find their rows.
    async fn index_lineage(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let index = format!("CREATE INDEX ON {} USING brin (load_id, file_id)", self.path());
        connection
            .execute(Statement::new(index).safe())
            .await
            .map(drop)
            .map_err(Error::query("index the table by load"))
    }
}

/// Quoted names, with commas.
pub(super) fn list(names: &[String]) -> String {
    names.iter().map(|name| Ident::known(name).to_string()).collect::<Vec<_>>().join(", ")
}

/// One spelling for PostgreSQL's two names of a type.
fn canonical(sql: &str) -> String {
    let sql = sql.replace("timestamp with time zone", "timestamptz").replace(" without time zone", "");
    sql.replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_made_with_key_partition_and_lineage() {
        let table = Table {
            schema: "mart_harbor".into(),
            name: "sales".into(),
            columns: vec![("store_id".into(), "text".into()), ("sold_on".into(), "date".into())],
            key: vec!["store_id".into(), "sold_on".into()],
            partition_by: Some("sold_on".into()),
            window: Vec::new(),
            disposition: WriteDisposition::Merge,
            indexes: Vec::new(),
        };
        insta::assert_snapshot!(table.create(), @r#"CREATE TABLE "mart_harbor"."sales" ("store_id" text NOT NULL, "sold_on" date NOT NULL, "load_id" bigint NOT NULL, "file_id" bigint NOT NULL, "source_row" bigint, "restored_by" bigint) PARTITION BY RANGE ("sold_on")"#);
        assert_eq!(canonical("timestamp with time zone"), canonical("timestamptz"));
        assert_eq!(canonical("numeric(14, 2)"), canonical("numeric(14,2)"));
    }
}
