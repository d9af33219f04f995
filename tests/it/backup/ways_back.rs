//! Restoring: into nothing, into something, on another server, as another user.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use storekeeper::warehouse::Endpoint;

use super::{Place, dump_of, message};
use crate::support::chain::{Chain, definitions};

#[tokio::test]
async fn a_restore_into_a_new_database_brings_back_every_row_of_every_table() {
    let place = Place::with_rows("").await;
    let id = place.created();
    let was = dump_of(place.url()).await;
    let target = place.sibling("_copy");
    let said = place.backup(&["restore", &id, "--into", &target]);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    assert_eq!(said.json["kept"], Value::Null);
    // Roles belong to the server, where the original is at work.
    assert_eq!(said.json["walls"], "left");
    let mut is = dump_of(&target).await;
    // Reconciling set new marks of passwords and stores around them.
    is.retain(|(table, _)| !table.starts_with("walls."));
    let was: Vec<_> = was.into_iter().filter(|(table, _)| !table.starts_with("walls.")).collect();
    assert!(was.len() > 10);
    assert_eq!(is, was);
    // An identity goes on where it was.
    let mut connection = PgConnection::connect(&target).await.unwrap();
    let next: i64 = sqlx::query_scalar(r#"INSERT INTO mart_harbor."Odd ""name" (t) VALUES ('y') RETURNING id"#)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(next, 5);
}

#[tokio::test]
async fn a_database_in_use_is_left_alone_unless_it_is_to_be_replaced() {
    let place = Place::with_rows("").await;
    let id = place.created();
    let was = dump_of(place.url()).await;
    place.pool.execute("DELETE FROM mart_harbor.sales; CREATE TABLE public.newer (x int)").await.unwrap();
    let refused = place.backup(&["restore", &id]);
    assert_eq!(refused.code, Some(1));
    assert!(message(&refused).contains("is not empty:\n  schema access:"), "{}", refused.json);
    assert!(message(&refused).contains("schema mart_harbor: ") && message(&refused).contains("--replace"));
    assert_eq!(place.text("SELECT count(*) FROM mart_harbor.sales").await, "0");

    let said = place.storekeeper(&["--now", "2026-03-02T02:00:00Z", "backup", "restore", &id, "--replace"]);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    let is: BTreeMap<_, _> = dump_of(place.url()).await.into_iter().collect();
    for (table, rows) in was.iter().filter(|(table, _)| !table.starts_with("walls.")) {
        assert_eq!(is.get(table), Some(rows), "{table}");
    }
    assert!(!is.contains_key("public.newer"));
    // That made roles of which the backup does not know: they are no stranger's.
    let again = place.storekeeper(&["--now", "2026-03-02T03:00:00Z", "backup", "restore", &id, "--replace"]);
    assert_eq!(again.code, Some(0), "{} {}", again.json, again.log);
    // What was there is there still, under its other name.
    let kept = said.json["kept"].as_str().unwrap();
    assert!(kept.ends_with("_before_20260302T020000"), "{kept}");
    let (server, _) = place.url().rsplit_once('/').unwrap();
    let old = dump_of(&format!("{server}/{kept}")).await;
    assert!(old.iter().any(|(table, _)| table == "public.newer"));
}

#[tokio::test]
async fn a_restore_that_fails_leaves_the_old_database_and_nothing_else() {
    let place = Place::with_rows("").await;
    let id = place.created();
    let object = place.object(".dump");
    let mut bytes = std::fs::read(&object).unwrap();
    let end = bytes.len() - 200;
    bytes[end] ^= 0x40;
    std::fs::write(&object, bytes).unwrap();
    let was = dump_of(place.url()).await;
    let said = place.backup(&["restore", &id, "--replace"]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("is damaged"), "{}", said.json);
    assert_eq!(dump_of(place.url()).await, was);
    let name = place.url().rsplit('/').next().unwrap();
    let left = place
        .text(&format!("SELECT string_agg(datname, ' ') FROM pg_database WHERE starts_with(datname, '{name}_')"))
        .await;
    assert_eq!(left, "");
}

/// On a new machine there is neither a role nor a database: the walls come back all the same.
#[tokio::test]
async fn the_walls_come_back_on_a_server_that_knows_no_role() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    let name = chain.database.name().to_owned();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // The master key moves with the installation.
    copy(&chain.installation.data_dir.join("secrets"), &folder.path().join("data/secrets"));
    let config = format!(
        "[installation]\nname = \"{name}\"\ndata_dir = \"data\"\n[brands.harbor]\ntitle = \"Harbor Pizza\"\n[brands.mesa]\ntitle = \"Mesa Grill\"\n[backup]\ntarget = \"backups\"\n"
    );
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    let storekeeper = |words: &[&str], url: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_storekeeper"));
        command.args(["--config", "config.toml", "--format", "json", "--definitions"]).arg(definitions()).args(words);
        command.envs(url.map(|url| ("STOREKEEPER__DATABASE__URL", url))).current_dir(folder.path());
        crate::support::place::said(&command.output().unwrap())
    };
    let made = storekeeper(&["backup", "create"], Some(chain.database.url()));
    assert_eq!(made.code, Some(0), "{} {}", made.json, made.log);
    let proved = storekeeper(&["backup", "verify"], Some(chain.database.url()));
    assert_eq!(proved.code, Some(0), "{} {}", proved.json, proved.log);

    // Without a URL the private server is the new machine.
    let said = storekeeper(&["backup", "restore"], None);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    assert_eq!(said.json["walls"], "reconciled");
    assert!(said.json["roles_created"].as_array().unwrap().len() > 6, "{}", said.json);
    let seen = seen_by(&folder.path().join("data"), &chain, &name).await;
    assert_eq!(seen, [("000101".to_owned(), "000101".to_owned()), ("000125".to_owned(), "000125".to_owned())]);
}

/// Signs in as two stores' roles with the passwords that Metabase has: which stores do they see?
async fn seen_by(data_dir: &std::path::Path, chain: &Chain, name: &str) -> Vec<(String, String)> {
    let settings = storekeeper::settings::Installation { name: name.to_owned(), data_dir: data_dir.to_owned() };
    let database = storekeeper::settings::Database { url: None, max_connections: 2 };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_storekeeper"));
    let warehouse = storekeeper::warehouse::Warehouse::connect(&database, &settings, program).await.unwrap();
    let relations = storekeeper::warehouse::probe::relations(&warehouse, &["mart_harbor".to_owned()]).await.unwrap();
    let sales: Vec<_> = relations.iter().filter(|one| one.name == "sales_channel").collect();
    let credentials = storekeeper::access::Credentials::open(&chain.installation.data_dir).unwrap();
    let mut all = Vec::new();
    for store in ["000101", "000125"] {
        let scope: storekeeper::access::Scope = format!("store:harbor/{store}").parse().unwrap();
        let role = storekeeper::access::role_name(name, &scope);
        let seen =
            storekeeper::warehouse::probe::look(&warehouse, &role, &credentials.password(&role), &sales).await.unwrap();
        let stores: Vec<String> = seen.stores.values().flatten().map(|(_, store)| store.clone()).collect();
        all.push((store.to_owned(), stores.join(" ")));
    }
    warehouse.close().await;
    all
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The walls bind the owner too: a dump by a plain owner must still be everything.
#[tokio::test]
async fn a_plain_owner_backs_up_all_rows_behind_the_walls_and_restores_them() {
    let place = Place::with_rows("").await;
    let name = place.url().rsplit('/').next().unwrap().to_owned();
    let owner = format!("{name}_plain");
    place.maintenance(&format!("CREATE ROLE {owner} LOGIN CREATEROLE CREATEDB PASSWORD 'p w'")).await;
    place.maintenance(&format!("CREATE DATABASE {name}_own OWNER {owner}")).await;
    let url = place.sibling("_own").replace("postgres@", &format!("{owner}:p%20w@"));
    let as_owner = |words: &[&str]| {
        crate::support::place::said(&place.command(words).env("STOREKEEPER__DATABASE__URL", &url).output().unwrap())
    };
    assert_eq!(as_owner(&["db", "migrate"]).code, Some(0));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(super::ROWS).await.unwrap();
    for table in ["stores", "sales"] {
        let wall = format!(
            "ALTER TABLE mart_harbor.{table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY storekeeper_readers ON mart_harbor.{table} FOR SELECT USING (store_id = '000101')"
        );
        connection.execute(AssertSqlSafe(wall)).await.unwrap();
    }
    // No policy lets the owner see all: a dump would be a part.
    let refused = as_owner(&["backup", "create"]);
    assert_eq!(refused.code, Some(1));
    assert!(message(&refused).contains("row policies hide rows"), "{}", refused.json);
    assert!(message(&refused).contains("mart_harbor.sales, mart_harbor.stores"), "{}", refused.json);
    for table in ["stores", "sales"] {
        let open =
            format!("CREATE POLICY storekeeper_owner ON mart_harbor.{table} TO {owner} USING (true) WITH CHECK (true)");
        connection.execute(AssertSqlSafe(open)).await.unwrap();
    }
    let made = as_owner(&["backup", "create"]);
    assert_eq!(made.code, Some(0), "{} {}", made.json, made.log);
    assert_eq!(place.manifest()["contents"]["tables"]["mart_harbor.stores"]["rows"], 4);
    let proved = as_owner(&["backup", "verify"]);
    assert_eq!(proved.code, Some(0), "{} {}", proved.json, proved.log);
    connection.execute("TRUNCATE mart_harbor.sales").await.unwrap();
    let said = as_owner(&["backup", "restore", "--replace"]);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM mart_harbor.sales").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 4 * 395);
}

#[tokio::test]
async fn metabase_s_own_database_is_backed_up_and_replaced_the_same_way() {
    let place = Place::with_rows("").await;
    let name = place.url().rsplit('/').next().unwrap().to_owned();
    place.maintenance(&format!("CREATE DATABASE {name}_mb")).await;
    let url = place.sibling("_mb");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection
        .execute("CREATE EXTENSION citext; CREATE TABLE core_user (id int PRIMARY KEY, email citext); INSERT INTO core_user VALUES (1, 'A@example.com')")
        .await
        .unwrap();
    drop(connection);
    let run = |words: &[&str]| {
        let mut command = place.command(words);
        crate::support::place::said(&command.env("STOREKEEPER__BACKUP__METABASE_DATABASE_URL", &url).output().unwrap())
    };
    let made = run(&["backup", "create"]);
    assert_eq!(made.code, Some(0), "{}", made.json);
    let whats: Vec<&Value> = made.json["backups"].as_array().unwrap().iter().map(|one| &one["what"]).collect();
    assert_eq!(whats, ["warehouse", "metabase"]);
    assert_eq!(run(&["backup", "verify", "--what", "metabase"]).code, Some(0));
    place.maintenance(&format!("DROP DATABASE {name}_mb")).await;
    let said = run(&["backup", "restore", "--what", "metabase"]);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    let endpoint = Endpoint::from_url(&url.clone().into()).unwrap();
    assert_eq!(said.json["database"], endpoint.place());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let email: String = sqlx::query_scalar("SELECT email::text FROM core_user WHERE email = 'a@EXAMPLE.com'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(email, "A@example.com");
}
