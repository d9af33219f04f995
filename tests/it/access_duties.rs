//! Owner, loader and ops: who owns what, who may do what, and that no superuser is needed.

use std::process::Stdio;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use storekeeper::access::{self, Credentials};
use storekeeper::warehouse::Duty;

use crate::support::chain::Chain;
use crate::support::place::Place;
use crate::support::postgres::Database;

const STORES: &str = r#"
title = "Stores"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id"]
[[contract.columns]]
name = "store_id"
type = "text"
[[contract.columns]]
name = "store_name"
type = "text"
[[contract.columns]]
name = "region"
type = "text"
[[contract.columns]]
name = "closed_on"
type = "date"
[destination]
table = "stores"
write_disposition = "merge"
"#;

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "sold_on"]
[[contract.columns]]
name = "store_id"
type = "text"
[[contract.columns]]
name = "sold_on"
type = "date"
format = "%Y-%m-%d"
[[contract.columns]]
name = "amount"
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "merge"
partition_by = "sold_on"
"#;

const NEW_COLUMN: &str = r#"[[contract.columns]]
name = "tickets"
type = "integer"
optional = true
[destination]"#;

/// Owners of everything in our schemas, by schema and kind.
const OWNERS: &str = "
    SELECT nspname || ' ' || relkind::text || ' ' || string_agg(DISTINCT pg_get_userbyid(relowner), ',')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (nspname LIKE 'mart%' OR nspname IN ('ops', 'access', 'walls')) AND relkind IN ('r', 'p', 'v', 'S')
    GROUP BY nspname, relkind
    UNION SELECT 'schema ' || pg_get_userbyid(nspowner) FROM pg_namespace
    WHERE nspname LIKE 'mart%' OR nspname IN ('ops', 'access', 'walls') ORDER BY 1";

impl Place {
    fn sign_in(&self, duty: &str) -> (String, String) {
        let said = self.storekeeper(&["access", "sign-in", duty]);
        let url: url::Url = said.json["url"].as_str().unwrap().parse().unwrap();
        (url.username().to_owned(), url.password().unwrap().to_owned())
    }

    fn is_done(&self, words: &[&str]) {
        let said = self.storekeeper(words);
        assert_eq!(said.code, Some(0), "{words:?}: {} {}", said.json, said.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_createrole_and_create_is_enough_for_everything() {
    let (database, user) = Database::of_a_plain_user().await;
    let place = Place::on(database).await;
    let plain = place
        .text(
            "SELECT rolsuper::text || pg_has_role(datdba, 'USAGE')::text FROM pg_roles, pg_database
                            WHERE rolname = current_user AND datname = current_database()",
        )
        .await;
    assert_eq!(plain, "falsefalse");
    place.write("pipelines/stores/pipeline.toml", STORES);
    place.write("pipelines/sales/pipeline.toml", SALES);
    place.write(
        "sql/marts/010_by_month.sql",
        "SELECT store_id, date_trunc('month', sold_on) AS month, sum(amount) AS amount FROM sales GROUP BY 1, 2",
    );
    place.write(
        "sql/marts/020_load_times.sql",
        "-- rights: owner\nSELECT load_id, committed_at FROM ops.loads WHERE brand = {{ brand }}",
    );
    place.write("sql/marts/shared.toml", "load_times = \"tells no store\"\n");
    // Two at once on a database that has nothing: one waits for the other.
    let mut two = [place.command(&["db", "migrate"]), place.command(&["db", "migrate"])]
        .map(|mut command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    for child in &mut two {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let stores = place.write("stores.csv", "store_id,store_name,region,closed_on\nA,Alpha,North,\nB,Beta,South,\n");
    let sales = place.write("sales.csv", "store_id,sold_on,amount\nA,2025-01-02,1.50\nB,2025-01-03,2.50\n");
    assert_eq!(place.run("stores", &stores)["status"], "succeeded");
    assert_eq!(place.run("sales", &sales)["status"], "succeeded");
    place.is_done(&["access", "audit"]);

    let name = place.installation();
    let owners: Vec<String> = place.rows(OWNERS).await.into_iter().flatten().flatten().collect();
    let (owner, loader) = (format!("{name}_owner"), format!("{name}_loader"));
    let wanted = [
        ("access S", &owner),
        ("access r", &owner),
        ("mart_all v", &owner),
        ("mart_harbor p", &loader),
        ("mart_harbor r", &loader),
        ("mart_harbor v", &owner),
        ("ops S", &owner),
        ("ops r", &owner),
        ("schema", &owner),
        ("walls r", &owner),
    ]
    .map(|(what, role)| format!("{what} {role}"));
    assert_eq!(owners, wanted);

    // Another partition, another column, and a store that closes and comes back.
    place.write("pipelines/sales/pipeline.toml", SALES.replace("[destination]", NEW_COLUMN));
    let more = place.write("more.csv", "store_id,sold_on,amount,tickets\nA,2025-02-02,1.50,7\nB,2025-02-03,2.50,8\n");
    assert_eq!(place.run("sales", &more)["status"], "succeeded");
    let owners_now: Vec<String> = place.rows(OWNERS).await.into_iter().flatten().flatten().collect();
    assert_eq!(owners_now, wanted, "what loads make they own");
    sqlx::query("DELETE FROM mart_harbor.stores WHERE store_id = 'B'").execute(&place.pool).await.unwrap();
    let said = place.storekeeper(&["access", "audit"]);
    let gone = format!("{name}_harbor_store_b");
    let leaks = said.json["leaks"].as_array().unwrap();
    assert!(
        leaks
            .iter()
            .any(|leak| leak["how"] == "signs in, and its scope is gone"
                && leak["who"].as_str().unwrap().starts_with(&gone)),
        "{leaks:#?}"
    );
    place.is_done(&["db", "migrate"]);
    let said = place.storekeeper(&["access", "audit"]);
    assert_eq!(said.code, Some(0), "a store without a line in `stores` is nobody's but the owner's: {}", said.json);
    sqlx::query("INSERT INTO mart_harbor.stores (store_id, region, load_id, file_id) VALUES ('B', 'South', 1, 1)")
        .execute(&place.pool)
        .await
        .unwrap();
    place.is_done(&["db", "migrate"]);
    place.is_done(&["access", "audit"]);

    // A hole is planted and mended without a superuser, too.
    sqlx::raw_sql("GRANT SELECT ON mart_harbor.sales_202501 TO PUBLIC").execute(&place.pool).await.unwrap();
    assert_eq!(place.storekeeper(&["access", "audit"]).code, Some(1));
    place.is_done(&["db", "migrate"]);
    place.is_done(&["access", "audit"]);
    let temporary = place.text("SELECT has_database_privilege(current_database(), 'TEMPORARY')::text").await;
    assert_eq!(temporary, "true", "{user} is not the database's owner and could not close it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loader_s_own_sign_in_loads_and_owns_nothing_else() {
    let place = Place::start().await;
    place.write("pipelines/stores/pipeline.toml", STORES);
    place.write("sql/marts/shared.toml", "");
    place.is_done(&["db", "migrate"]);
    let stores = place.write("stores.csv", "store_id,store_name,region,closed_on\nA,Alpha,North,\n");
    assert_eq!(place.run("stores", &stores)["status"], "succeeded");
    // A pipeline that came after that, whose table nobody has made yet.
    place.write("pipelines/sales/pipeline.toml", SALES);
    let (loader, password) = place.sign_in("loader");
    let sales = place.write("sales.csv", "store_id,sold_on,amount\nA,2025-01-02,1.50\n");
    let run = ["run", "sales", "--file", sales.to_str().unwrap()];
    let said = place.storekeeper_as(&loader, &password, &run);
    assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
    assert!(said.log.contains("views and walls are left to the owner"), "{}", said.log);
    // The new table is shut until the owner has raised its wall.
    let audit = place.storekeeper(&["access", "audit"]);
    assert_eq!(audit.code, Some(1));
    assert!(audit.json["lacks"].as_array().unwrap().iter().any(|lack| lack["what"] == "table mart_harbor.sales"));
    let read = audit.json["cells"].as_array().unwrap().iter().filter(|cell| cell["name"] == "mart_harbor.sales");
    assert!(read.map(|cell| &cell["seen"]).all(serde_json::Value::is_null));
    let refused = place.storekeeper_as(&loader, &password, &["db", "migrate"]);
    assert_eq!(refused.code, Some(2), "{}", refused.json);
    assert!(refused.json["error"].as_str().unwrap().contains("is no member of"), "{}", refused.json);
    place.is_done(&["db", "migrate"]);
    place.is_done(&["access", "audit"]);

    let mut connection = place.connect(&loader, &password).await;
    for statement in [
        "SELECT 1 FROM access.people",
        "SELECT 1 FROM walls.stores",
        "INSERT INTO walls.stores VALUES ('x', 'harbor', 'A')",
        "CREATE ROLE mine",
        "CREATE SCHEMA mine",
        "CREATE TABLE ops.mine (a int)",
        "ALTER TABLE ops.runs ADD COLUMN mine int",
        "DROP VIEW mart_all.stores",
        &format!("SET ROLE {}", Duty::Owner.role(place.installation())),
    ] {
        let error =
            sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect_err(statement);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_act_as_the_loader_and_raising_walls_as_the_owner() {
    let place = Place::start().await;
    place.write("pipelines/stores/pipeline.toml", STORES);
    place.is_done(&["db", "migrate"]);
    // Whoever writes to `ops` leaves its name.
    sqlx::raw_sql(
        "CREATE TABLE public.written (by text, what text);
         GRANT INSERT ON public.written TO PUBLIC;
         CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.written VALUES (current_user, TG_TABLE_NAME); RETURN NULL; END $$;
         CREATE TRIGGER tell AFTER INSERT ON ops.loads EXECUTE FUNCTION public.tell();
         CREATE TRIGGER tell AFTER INSERT ON walls.stores EXECUTE FUNCTION public.tell();",
    )
    .execute(&place.pool)
    .await
    .unwrap();
    let stores = place.write("stores.csv", "store_id,store_name,region,closed_on\nA,Alpha,North,\n");
    assert_eq!(place.run("stores", &stores)["status"], "succeeded");
    let name = place.installation();
    let written: Vec<String> = place
        .rows("SELECT DISTINCT what || ' ' || by FROM public.written ORDER BY 1")
        .await
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(written, [format!("loads {name}_loader"), format!("stores {name}_owner")]);
}

#[tokio::test]
async fn ops_reads_what_ran_and_nothing_about_people_or_stores() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    let columns = "SELECT c.relname || '.' || a.attname
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = 'ops'::regnamespace AND c.relkind = 'r'
           AND NOT has_column_privilege($1::name, c.oid, a.attnum, 'SELECT') ORDER BY 1";
    let ops = Duty::Ops.role(&chain.installation.name);
    let withheld: Vec<String> = sqlx::query_scalar(columns).bind(&ops).fetch_all(chain.warehouse.pool()).await.unwrap();
    // What is new in a table of `ops` is open to its watchers unless it is put here.
    let wanted = "cursors.value export_rejects.reason export_rejects.row_key exported.body_hash exported.row_key \
        file_pieces.bytes file_pieces.content_id file_pieces.piece files.modified_by mail_outbox.eml mail_outbox.eml_path mail_outbox.html_path mail_outbox.reason \
        mail_outbox.recipients mail_outbox.sender mail_outbox.subject metabase_objects.key quarantine.handled_by \
        quarantine.handled_why quarantine.row_values quarantine.value runs.error runs.report source_keys.brand \
        source_keys.key source_keys.pipeline source_keys.source_id";
    assert_eq!(withheld.join(" "), wanted);
    let credentials = Credentials::open(&chain.installation.data_dir).unwrap();
    let address = chain.warehouse.address();
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&address.host)
        .port(address.port)
        .database(&address.database)
        .username(&ops)
        .password(credentials.password(&ops).expose_secret());
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let status: String = sqlx::query_scalar("SELECT status FROM runs").fetch_one(&mut connection).await.unwrap();
    assert_eq!(status, "succeeded");
    for statement in [
        "SELECT * FROM ops.runs",
        "SELECT report FROM ops.runs",
        "SELECT row_values FROM ops.quarantine",
        "SELECT modified_by FROM ops.files",
        "SELECT recipients FROM ops.mail_outbox",
        "SELECT 1 FROM ops.source_keys",
        "SELECT 1 FROM access.people",
        "SELECT 1 FROM mart_harbor.stores",
        "SELECT 1 FROM mart_all.stores",
        "SELECT 1 FROM walls.stores",
        "DELETE FROM ops.runs",
    ] {
        sqlx::query("SET default_transaction_read_only = off").execute(&mut connection).await.unwrap();
        let error = sqlx::query(statement).execute(&mut connection).await.expect_err(statement);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn a_role_of_another_s_is_left_alone() {
    let chain = Chain::small().await;
    let loader = Duty::Loader.role(&chain.installation.name);
    chain.sql(&format!("CREATE ROLE {loader} LOGIN PASSWORD 'theirs'")).await;
    let wall = storekeeper::settings::Wall::Store;
    let failed = access::reconcile_roles(&chain.warehouse, &chain.brands, &chain.installation.data_dir, wall).await;
    let error = storekeeper::telemetry::chain(&failed.unwrap_err());
    assert!(error.contains(&format!("the role `{loader}` exists and belongs to somebody else")), "{error}");
    let roles = sqlx::query_scalar("SELECT count(*) FROM walls.roles").fetch_one(chain.warehouse.pool()).await;
    let roles: i64 = roles.unwrap();
    assert_eq!(roles, 0, "nothing was changed");
}
