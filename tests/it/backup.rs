//! Backups: made, proved, damaged, broken off, brought back.

mod azure;
mod daemon;
mod failures;
mod objects;
mod ways_back;

use std::path::PathBuf;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::place::{Place, Said};

/// Made by `age-keygen` for these tests.
const RECIPIENT: &str = "age1zl5szxnapqh03kwvmhfrd55nnpe2lxjzyuvx0ukqyha8y2pxm3pqdg8r97";
const IDENTITY: &str = "AGE-SECRET-KEY-15T0WQMJ3H84STFCM7XP3ZXAJ9RASDHNUSHMA8ZKR7VRP0D7V4RDSJ79PQQ";

/// Two brands' worth of everything a dump must bring back: partitions, an identity,
/// odd names and values, views, and stores that walls stand around.
const ROWS: &str = r#"
CREATE SCHEMA mart_harbor;
CREATE TABLE mart_harbor.stores (store_id text PRIMARY KEY, store_name text, region text, time_zone text,
    opened_on date, closed_on date, cut_off_hour bigint, load_id bigint);
INSERT INTO mart_harbor.stores
SELECT lpad(n::text, 6, '0'), 'Store ' || n, 'North', 'UTC', '2019-01-01', NULL, 4, 1 FROM generate_series(101, 104) AS n;
CREATE TABLE mart_harbor.sales (store_id text, business_date date, amount numeric(14, 2), note text,
    sold_at timestamptz, ratio double precision, raw bytea, PRIMARY KEY (store_id, business_date))
    PARTITION BY RANGE (business_date);
CREATE TABLE mart_harbor.sales_old PARTITION OF mart_harbor.sales FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE mart_harbor.sales_new PARTITION OF mart_harbor.sales FOR VALUES FROM ('2025-01-01') TO (MAXVALUE);
INSERT INTO mart_harbor.sales
SELECT store_id, d::date, 10 + extract(doy FROM d), E'line\nbreak, "quoted" \\ é', d, 1.0 / extract(doy FROM d), '\xdeadbeef'
FROM mart_harbor.stores, generate_series(date '2024-06-01', date '2025-06-30', '1 day') AS d;
CREATE TABLE mart_harbor."Odd ""name" (id bigint GENERATED ALWAYS AS IDENTITY, t text);
INSERT INTO mart_harbor."Odd ""name" (t) VALUES (NULL), (''), ('x'), ('x');
CREATE VIEW mart_harbor.sales_by_store WITH (security_invoker = true) AS
SELECT store_id, sum(amount) AS amount FROM mart_harbor.sales GROUP BY store_id;
"#;

impl Place {
    /// A place with rows, and settings that name a folder for backups.
    async fn with_rows(further: &str) -> Self {
        let place = Self::start().await;
        place.pool.execute(ROWS).await.unwrap();
        let config = std::fs::read_to_string(place.path("config.toml")).unwrap();
        place.write("config.toml", format!("{config}[backup]\ntarget = \"backups\"\n{further}"));
        // What restores: the shipped migrations, and no views.
        // The scratch server's own user must be able to enter.
        for folder in [place.path("."), place.path("data")] {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        place
    }

    fn backup(&self, words: &[&str]) -> Said {
        self.storekeeper(&[&["backup"], words].concat())
    }

    /// Makes a backup; gives its name.
    fn created(&self) -> String {
        let said = self.backup(&["create"]);
        assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
        said.json["backups"][0]["id"].as_str().unwrap().to_owned()
    }

    /// The files of backups of the warehouse.
    fn objects(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.path("backups/warehouse")).unwrap().flatten().map(|entry| entry.path()).collect();
        files.sort();
        files
    }

    fn object(&self, ending: &str) -> PathBuf {
        let found = self.objects().into_iter().find(|path| path.to_str().unwrap().ends_with(ending));
        found.unwrap_or_else(|| panic!("nothing ends with {ending} in {:?}", self.objects()))
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.object(".json")).unwrap()).unwrap()
    }

    fn listed_states(&self) -> Vec<String> {
        let said = self.backup(&["list"]);
        assert_eq!(said.code, Some(0), "{}", said.json);
        said.json["backups"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The address of another database of the same server.
    fn sibling(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.url())
    }

    async fn maintenance(&self, statement: &str) {
        let (server, _) = self.url().rsplit_once('/').unwrap();
        let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }
}

fn message(said: &Said) -> String {
    format!("{} | {}", said.json["error"].as_str().unwrap_or_default(), said.json["hint"].as_str().unwrap_or_default())
}

/// Every table's rows, as text in order: what a digest stands for.
async fn dump_of(url: &str) -> Vec<(String, Vec<String>)> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema' ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let rows = sqlx::query_scalar(AssertSqlSafe(format!("SELECT (t.*)::text FROM {table} AS t ORDER BY 1")));
        let rows: Vec<String> = rows.fetch_all(&mut connection).await.unwrap();
        all.push((table, rows));
    }
    all
}

#[tokio::test]
async fn a_backup_is_made_listed_and_comes_back_in_a_cluster_of_its_own() {
    let place = Place::with_rows("").await;
    let id = place.created();
    let manifest = place.manifest();
    assert_eq!(manifest["contents"]["tables"]["mart_harbor.sales_old"]["rows"], 4 * 214);
    assert_eq!(manifest["contents"]["tables"]["mart_harbor.Odd \"name"]["rows"], 4);
    assert_eq!(
        manifest["contents"]["migration"],
        sqlx::query_scalar::<_, i64>("SELECT max(version) FROM _sqlx_migrations").fetch_one(&place.pool).await.unwrap()
    );
    assert_eq!(manifest["bytes"], std::fs::metadata(place.object(".dump")).unwrap().len());
    assert!(std::fs::read(place.object(".dump")).unwrap().starts_with(b"PGDMP"));
    assert_eq!(place.listed_states(), ["complete"]);
    let said = place.backup(&["verify"]);
    assert_eq!((said.code, &said.json["verified"]), (Some(0), &Value::Bool(true)), "{} {}", said.json, said.log);
    assert_eq!(said.json["backups"][0]["id"], id.as_str());
    assert_eq!(std::fs::read_dir(place.path("data/scratch")).unwrap().count(), 0, "the cluster is gone");
}

#[tokio::test]
async fn one_flipped_byte_is_found() {
    let place = Place::with_rows("").await;
    let id = place.created();
    let object = place.object(".dump");
    let mut bytes = std::fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, &bytes).unwrap();
    let said = place.backup(&["verify", &id]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains(&format!("backup `{id}` is damaged")), "{}", said.json);
    assert!(message(&said).contains("take an older one"), "{}", said.json);
    // Cut off, it is seen without reading it.
    std::fs::write(&object, &bytes[..middle]).unwrap();
    assert_eq!(place.listed_states(), ["damaged"]);
    let said = place.backup(&["verify", &id]);
    assert!(message(&said).contains("is damaged"), "{}", said.json);
}

#[tokio::test]
async fn a_manifest_that_tells_of_other_rows_makes_a_table_of_differences() {
    let place = Place::with_rows("").await;
    place.created();
    let mut manifest = place.manifest();
    manifest["contents"]["tables"]["mart_harbor.stores"]["rows"] = 5.into();
    manifest["contents"]["tables"]["mart_harbor.sales_new"]["digest"] = "1".into();
    std::fs::write(place.object(".json"), manifest.to_string()).unwrap();
    let said = place.backup(&["verify"]);
    assert_eq!(said.code, Some(1));
    let differences = &said.json["backups"][0]["differences"];
    assert_eq!(differences.as_array().map(Vec::len), Some(2), "{}", said.json);
    assert_eq!(differences[1]["object"], "table mart_harbor.stores");
    assert_eq!((&differences[1]["expected"], &differences[1]["found"]), (&"5 rows".into(), &"4 rows".into()));
    assert!(differences[0]["expected"].as_str().unwrap().contains("with digest 1"), "{differences}");
    // A restore refuses it as well, and leaves nothing behind.
    let target = place.sibling("_copy");
    let said = place.backup(&["restore", "--into", &target]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("is not what was backed up"), "{}", said.json);
    let name = target.rsplit('/').next().unwrap();
    let left = place.text(&format!("SELECT count(*) FROM pg_database WHERE starts_with(datname, '{name}')")).await;
    assert_eq!(left, "0");
}

#[tokio::test]
async fn an_encrypted_backup_opens_with_its_key_and_no_other() {
    let place = Place::with_rows(&format!("recipients = [\"{RECIPIENT}\"]\n")).await;
    place.created();
    let stored = std::fs::read(place.object(".dump.age")).unwrap();
    assert!(stored.starts_with(b"age-encryption.org/v1\n-> X25519 "));
    assert!(!stored.windows(5).any(|window| window == b"PGDMP"));
    let none = place.backup(&["verify"]);
    assert!(message(&none).contains("is encrypted, and no identity is given | give --identity"), "{}", none.json);
    let other = "AGE-SECRET-KEY-1PM7H66FNXLFDST587HWR29L9NXAWQ6Z7KPRYGDM0VLA6R223TU0S6E0SX5";
    let file = place.write("other.txt", other);
    let wrong = place.backup(&["verify", "--identity", file.to_str().unwrap()]);
    assert_eq!(wrong.code, Some(1));
    assert!(message(&wrong).contains(&format!("which was encrypted for {RECIPIENT}")), "{}", wrong.json);
    assert!(!format!("{}{}", wrong.json, wrong.log).contains("SECRET-KEY"));
    let file = place.write("right.txt", format!("# a comment\n{IDENTITY}\n"));
    let said = place.backup(&["verify", "--identity", file.to_str().unwrap()]);
    assert_eq!((said.code, &said.json["verified"]), (Some(0), &Value::Bool(true)), "{} {}", said.json, said.log);
    // From the settings too.
    let said = place.command(&["backup", "verify"]).env("STOREKEEPER__BACKUP__IDENTITY", IDENTITY).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[tokio::test]
async fn older_backups_go_after_a_success_and_only_then() {
    let place = Place::with_rows("keep_last = 2\nkeep_daily = 2\nkeep_weekly = 0\n").await;
    let at = |moment: &str| {
        let said = place.storekeeper(&["--now", moment, "backup", "create"]);
        assert_eq!(said.code, Some(0), "{}", said.json);
        said.json["backups"][0]["removed"].as_array().unwrap().len()
    };
    assert_eq!(at("2026-03-01T02:00:00Z"), 0);
    assert_eq!(at("2026-03-02T02:00:00Z"), 0);
    assert_eq!(at("2026-03-02T14:00:00Z"), 0, "the first is the newest of its day");
    // A failure removes nothing.
    let failed = place.storekeeper(&["--now", "2026-03-04T02:00:00Z", "backup", "create", "--what", "metabase"]);
    assert_eq!(failed.code, Some(2), "{}", failed.json);
    assert_eq!(place.listed_states().len(), 3);
    assert_eq!(at("2026-03-04T02:00:00Z"), 2);
    let listed = place.backup(&["list"]);
    let kept: Vec<&str> =
        listed.json["backups"].as_array().unwrap().iter().map(|one| one["made_at"].as_str().unwrap()).collect();
    assert_eq!(kept, ["2026-03-02T14:00:00Z", "2026-03-04T02:00:00Z"]);
    assert_eq!(place.objects().len(), 4, "two objects, two manifests");
}
