//! People, grants, roles and row policies, on a real PostgreSQL.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use storekeeper::access::{self, Credentials, Level, role_name};
use storekeeper::warehouse::marts;

use crate::support::chain::{Chain, now};
use crate::support::place::Place;

/// Signs in as the role of a scope.
async fn connect(chain: &Chain, scope: &str) -> Result<PgConnection, sqlx::Error> {
    let role = role_name(&chain.installation.name, &scope.parse().expect("a scope"));
    let credentials = Credentials::open(&chain.installation.data_dir).expect("the secrets");
    let address = chain.warehouse.address();
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&address.host)
        .port(address.port)
        .database(&address.database)
        .username(&role)
        .password(credentials.password(&role).expose_secret());
    PgConnection::connect_with(&options).await
}

/// The stores a scope's role sees in a table or view; the SQLSTATE when it may not look.
async fn stores(chain: &Chain, scope: &str, table: &str) -> Result<BTreeSet<String>, String> {
    let mut connection = connect(chain, scope).await.expect("the role signs in");
    let statement = format!("SELECT DISTINCT store_id FROM {table}");
    sqlx::query_scalar::<_, String>(AssertSqlSafe(statement))
        .fetch_all(&mut connection)
        .await
        .map(|rows| rows.into_iter().collect())
        .map_err(|error| error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned())
}

fn set(stores: &[&str]) -> Result<BTreeSet<String>, String> {
    Ok(stores.iter().map(|store| (*store).to_owned()).collect())
}

const REFUSED: &str = "42501";

#[tokio::test]
async fn a_role_sees_the_stores_of_its_scope_in_every_table_and_view() {
    let chain = Chain::small().await;
    let reconciled = chain.reconcile().await;
    // Scopes from the chain to the stores; then owner, loader, ops.
    assert_eq!(reconciled.roles_created, 1 + 2 + 3 + 6 + 3);
    for table in ["stores", "store_hours", "sales_channel", "daily_store_metrics", "clock_in_out", "forecast"]
        .into_iter()
        .chain([
            "as_of",
            "sales_days",
            "sales_by_day",
            "sales_by_daypart",
            "forecast_by_daypart",
            "labor_by_day",
            "hours_by_week",
        ])
    {
        let table = format!("mart_harbor.{table}");
        assert_eq!(stores(&chain, "store:harbor/000125", &table).await, set(&["000125"]), "{table}");
        assert_eq!(stores(&chain, "region:harbor/North", &table).await, set(&["000101", "000102"]), "{table}");
        assert_eq!(stores(&chain, "brand:harbor", &table).await.unwrap().len(), 4, "{table}");
        assert_eq!(stores(&chain, "chain", &table).await.unwrap().len(), 4, "{table}");
        assert_eq!(stores(&chain, "store:mesa/000125", &table).await, Err(REFUSED.to_owned()), "{table}");
        assert_eq!(stores(&chain, "brand:mesa", &table).await, Err(REFUSED.to_owned()), "{table}");
    }
}

#[tokio::test]
async fn a_role_sees_nothing_of_how_the_walls_are_kept() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    let mut store = connect(&chain, "store:harbor/000101").await.unwrap();
    let mine: Vec<String> =
        sqlx::query_scalar("SELECT store_id FROM walls.stores").fetch_all(&mut store).await.unwrap();
    assert_eq!(mine, ["000101"]);
    for statement in [
        "SELECT 1 FROM walls.roles",
        "SELECT 1 FROM access.people",
        "SELECT 1 FROM ops.loads",
        "SELECT 1 FROM ops.metabase_objects",
        "SELECT 1 FROM mart_all.stores",
        "SELECT 1 FROM mart_harbor.sales_channel_2025",
        "CREATE TEMPORARY TABLE mine AS SELECT 1",
        "CREATE TABLE mart_harbor.mine (a int)",
        "UPDATE mart_harbor.stores SET region = 'South'",
        "SET ROLE postgres",
        "CREATE ROLE mine",
    ] {
        sqlx::query("SET default_transaction_read_only = off").execute(&mut store).await.unwrap();
        let error = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut store).await.expect_err(statement);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some(REFUSED), "{statement}");
    }
    let times: i64 = sqlx::query_scalar("SELECT count(*) FROM load_times").fetch_one(&mut store).await.unwrap();
    assert_eq!(times, 1, "the search path leads to the brand, and the view shows the brand's loads only");
}

#[tokio::test]
async fn head_office_reads_the_brands_side_by_side() {
    let chain = Chain::small().await;
    let reconciled = chain.reconcile().await;
    assert!(reconciled.unions_changed >= 7 + 9, "{reconciled:?}");
    let mut office = connect(&chain, "chain").await.unwrap();
    let stores: Vec<(String, String)> =
        sqlx::query_as("SELECT brand, store_id FROM mart_all.stores WHERE store_id = '000125' ORDER BY 1")
            .fetch_all(&mut office)
            .await
            .unwrap();
    assert_eq!(stores, [("harbor".to_owned(), "000125".to_owned()), ("mesa".to_owned(), "000125".to_owned())]);
    assert_eq!(self::stores(&chain, "brand:harbor", "mart_all.stores").await, Err(REFUSED.to_owned()));
}

#[tokio::test]
async fn reconciling_again_alters_nothing_and_two_at_once_agree() {
    let chain = Chain::small().await;
    let (first, second) = tokio::join!(chain.reconcile(), chain.reconcile());
    assert_eq!(first.roles_created + second.roles_created, 12 + 3);
    let again = chain.reconcile().await;
    assert_eq!(again.changes(), 0, "{again:?}");
    // The views were made before anybody could read them, and again with readers.
    assert!(chain.views().await.iter().all(|outcome| outcome.made.is_empty()));
    assert_eq!(chain.reconcile().await.changes(), 0);
}

#[tokio::test]
async fn the_walls_follow_the_tree() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    chain.sql("UPDATE mart_harbor.stores SET region = 'Coast' WHERE store_id = '000102'").await;
    chain.sql("UPDATE mart_harbor.stores SET closed_on = '2025-11-01' WHERE store_id = '000126'").await;
    chain.sql("DELETE FROM mart_mesa.stores WHERE store_id = '000201'").await;
    let moved = chain.reconcile().await;
    assert_eq!((moved.roles_created, moved.roles_locked), (0, 1), "{moved:?}");
    assert_eq!(stores(&chain, "region:harbor/North", "mart_harbor.sales_channel").await, set(&["000101"]));
    assert_eq!(stores(&chain, "region:harbor/Coast", "mart_harbor.sales_channel").await.unwrap().len(), 3);
    // A closed store keeps its role, a vanished one cannot sign in.
    assert_eq!(stores(&chain, "store:harbor/000126", "mart_harbor.sales_channel").await, set(&["000126"]));
    assert!(connect(&chain, "store:mesa/000201").await.is_err());
    assert_eq!(chain.reconcile().await.changes(), 0);
    // It comes back as it was.
    chain.sql("INSERT INTO mart_mesa.stores (store_id, region) VALUES ('000201', 'Desert')").await;
    assert_eq!(chain.reconcile().await.roles_altered, 1);
    assert_eq!(stores(&chain, "store:mesa/000201", "mart_mesa.sales_channel").await, set(&["000201"]));
}

#[tokio::test]
async fn a_new_table_is_shut_until_its_wall_stands() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    chain.sql("CREATE TABLE mart_harbor.offers AS SELECT store_id, 1 AS redeemed FROM mart_harbor.stores").await;
    chain.sql("CREATE TABLE mart_harbor._work AS SELECT * FROM mart_harbor.stores").await;
    chain.sql("CREATE VIEW mart_harbor.open_to_all AS SELECT * FROM mart_harbor.stores").await;
    assert_eq!(stores(&chain, "brand:harbor", "mart_harbor.offers").await, Err(REFUSED.to_owned()));
    chain.reconcile().await;
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.offers").await, set(&["000101"]));
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor._work").await, Err(REFUSED.to_owned()));
    // A view that asks with its owner's rights would show every store.
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.open_to_all").await, Err(REFUSED.to_owned()));
    // A policy that somebody added by hand would show more: it goes.
    chain.sql("CREATE POLICY everybody ON mart_harbor.offers FOR SELECT USING (true)").await;
    chain.sql("GRANT SELECT ON mart_harbor._work, mart_harbor.open_to_all TO PUBLIC").await;
    chain.reconcile().await;
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.offers").await, set(&["000101"]));
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.open_to_all").await, Err(REFUSED.to_owned()));
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor._work").await, Err(REFUSED.to_owned()));
    assert_eq!(chain.reconcile().await.changes(), 0);
}

#[tokio::test]
async fn a_deleted_master_key_changes_every_password() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    std::fs::remove_file(chain.installation.data_dir.join("secrets/master.key")).unwrap();
    assert!(connect(&chain, "brand:harbor").await.is_err());
    assert_eq!(chain.reconcile().await.roles_altered, 12 + 2);
    assert!(connect(&chain, "brand:harbor").await.is_ok());
}

#[tokio::test]
async fn a_view_waits_for_its_table_and_follows_its_file() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    let folder = tempfile::tempdir().unwrap();
    let marts = folder.path().join("sql/marts");
    std::fs::create_dir_all(&marts).unwrap();
    let write = |name: &str, text: &str| std::fs::write(marts.join(name), text).unwrap();
    write("010_numbers.sql", "SELECT store_id, {{ brand }} AS of FROM stores");
    write("020_later.sql", "SELECT * FROM not_yet JOIN numbers USING (store_id)");
    let brand = "harbor".into();
    let outcome = marts::apply(&chain.warehouse, &brand, folder.path()).await.unwrap();
    assert_eq!((outcome.made, outcome.waiting), (vec!["numbers".to_owned()], vec!["later".to_owned()]));
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.numbers").await, set(&["000101"]));
    assert!(stores(&chain, "brand:harbor", "mart_harbor.sales_by_day").await.is_err(), "its file is gone");
    chain.sql("CREATE TABLE mart_harbor.not_yet AS SELECT store_id FROM mart_harbor.stores").await;
    let outcome = marts::apply(&chain.warehouse, &brand, folder.path()).await.unwrap();
    assert_eq!((outcome.made, outcome.waiting), (vec!["later".to_owned()], vec![]));
    write("010_numbers.sql", "SELECT store_id, region FROM stores");
    assert_eq!(marts::apply(&chain.warehouse, &brand, folder.path()).await.unwrap().made.len(), 2);
    assert_eq!(marts::apply(&chain.warehouse, &brand, folder.path()).await.unwrap().made.len(), 0);
    write("030_wrong.sql", "SELECT no_such_column FROM stores");
    assert!(marts::apply(&chain.warehouse, &brand, folder.path()).await.is_err());
    assert_eq!(stores(&chain, "store:harbor/000101", "mart_harbor.numbers").await, set(&["000101"]));
}

const ANA: &str = "ana@example.com,Ana,Lima,pt-BR,store:harbor/000101,viewer";
const BO: &str = "bo@example.com,Bo,Berg,en,store:harbor/000125,viewer";
const BO_MESA: &str = "bo@example.com,Bo,Berg,en,store:mesa/000125,analyst";

#[tokio::test]
async fn an_import_replaces_what_an_import_brought_and_nothing_else() {
    let chain = Chain::small().await;
    let imported = chain.import(&[ANA, BO, BO_MESA]).await.unwrap();
    assert_eq!((imported.people, imported.grants, imported.people_added, imported.grants_added), (2, 3, 2, 3));
    let again = chain.import(&[ANA, BO, BO_MESA]).await.unwrap();
    assert_eq!((again.people_added, again.people_changed, again.grants_added, again.grants_removed), (0, 0, 0, 0));
    let tree = chain.tree().await;
    let given =
        access::grant(&chain.warehouse, &tree, "Ana@example.com", "region:harbor/North", Level::Owner, now()).await;
    assert!(given.unwrap());
    // Both leave the list; Ana still has what a hand gave her.
    let imported = chain.import(&["cy@example.com,Cy,Dee,es,chain,owner"]).await.unwrap();
    assert_eq!((imported.grants_removed, imported.people_left), (3, 1));
    let ana = access::show(&chain.warehouse, "ana@example.com").await.unwrap();
    assert!(ana.active);
    assert_eq!(ana.grants.len(), 1);
    let bo = access::show(&chain.warehouse, "bo@example.com").await.unwrap();
    assert!(!bo.active && bo.grants.is_empty());
    let imported = chain.import(&[BO]).await.unwrap();
    assert_eq!((imported.people_added, imported.people_left), (0, 1), "Bo is back, Cy left");
    assert!(access::show(&chain.warehouse, "bo@example.com").await.unwrap().active);
}

#[tokio::test]
async fn a_list_with_mistakes_changes_nothing() {
    let chain = Chain::small().await;
    chain.import(&[ANA]).await.unwrap();
    let error =
        chain.import(&[BO, "x@example.com,X,Y,en,store:harbor/125,viewer", "y@example.com,Y,Z,en,chain,king"]).await;
    insta::assert_snapshot!(error.unwrap_err(), @r"
    2 mistakes in `people.csv`:
      line 3: unknown scope `store:harbor/125`; did you mean `store:harbor/000125`?
      line 4: `king` is no level: write `viewer`, `analyst` or `owner`
    ");
    let people = access::people(&chain.warehouse).await.unwrap();
    assert_eq!(people.len(), 1);
    assert!(people[0].active);
}

#[tokio::test]
async fn a_list_that_names_nobody_takes_nothing_back_unless_it_may() {
    let chain = Chain::small().await;
    chain.import(&[ANA]).await.unwrap();
    let error = chain.import(&[]).await.unwrap_err();
    insta::assert_snapshot!(error, @"`people.csv` names nobody: a header was read, and no line below it");
    assert!(error.hint().unwrap().contains("--empty"), "{:?}", error.hint());
    assert!(access::show(&chain.warehouse, "ana@example.com").await.unwrap().active);
    let list = access::List {
        text: "email,first_name,last_name,language,scope,level\n",
        name: "people.csv",
        may_be_empty: true,
    };
    let emptied = access::import(&chain.warehouse, &chain.tree().await, list, now()).await.unwrap();
    assert_eq!((emptied.grants_removed, emptied.people_left), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_another_encoding_is_refused_with_its_line() {
    let place = Place::start().await;
    place.write(
        "people.csv",
        b"email,first_name,last_name,language,scope,level\nana@example.com,Andr\xe9,Lima,pt,chain,viewer\n",
    );
    let said = place.storekeeper(&["access", "import", "people.csv"]);
    assert_eq!(said.code, Some(2), "{}", said.log);
    assert_eq!(said.json["error"], "failed to read `people.csv`: line 2 is not UTF-8 text");
    assert!(said.json["hint"].as_str().unwrap().contains("CSV UTF-8"), "{}", said.json);
}

#[tokio::test]
async fn only_a_hand_takes_back_what_a_hand_gave() {
    let chain = Chain::small().await;
    chain.import(&[ANA]).await.unwrap();
    let tree = chain.tree().await;
    let revoke = async |scope: &str| access::revoke(&chain.warehouse, &tree, "ana@example.com", scope, now()).await;
    assert!(matches!(revoke("store:harbor/000101").await, Err(access::Error::Imported(_))));
    assert!(matches!(revoke("store:harbor/000102").await, Err(access::Error::NotGranted(_))));
    access::grant(&chain.warehouse, &tree, "ana@example.com", "chain", Level::Viewer, now()).await.unwrap();
    revoke("chain").await.unwrap();
    let error =
        access::grant(&chain.warehouse, &tree, "ana@example.com", "region:harbor/Nord", Level::Viewer, now()).await;
    insta::assert_snapshot!(error.unwrap_err(), @"unknown scope `region:harbor/Nord`; did you mean `region:harbor/North`?");
    assert!(matches!(access::show(&chain.warehouse, "nobody@example.com").await, Err(access::Error::UnknownPerson)));
}
