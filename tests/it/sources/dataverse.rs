//! Tables of Dataverse: pages, digits, rights.

use std::time::Duration;

use sandbox::dataverse::schema::{Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse as Organisation, DataverseOptions};
use sandbox::faults::{Outcome, Scenario, When};
use serde_json::{Map, Value, json};
use storekeeper::sources::{Dataverse, Error, TableQuery};

use super::*;

const SET: &str = "sk_dailymetrics";
const ROWS: &str = "GET /api/data/v9.2/sk_dailymetrics*";

struct Tables {
    world: World,
    organisation: Organisation,
    dataverse: Dataverse,
}

impl Tables {
    /// Five rows, read two at a time.
    fn start() -> Self {
        let world = World::start();
        let organisation = Organisation::start(DataverseOptions {
            book: world.token.book(),
            tables: vec![metrics()],
            clock: world.clock.clone(),
            faults: Faults::new(),
            ..DataverseOptions::default()
        })
        .unwrap();
        let url = &organisation.base_url;
        let dataverse = Dataverse::new(&world.client, &world.tokens, url, 2).unwrap();
        Self { world, organisation, dataverse }
    }

    async fn fetch(&self, query: &TableQuery) -> Result<Fetched, Error> {
        let into = self.world.into.path();
        sendable(self.dataverse.fetch_table(query, into, LIMIT_BYTES)).await
    }

    fn asked(&self, route: &str) -> usize {
        self.organisation.faults().requests_to(route).len()
    }
}

fn metrics() -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let rows = ["12.50", "0.10", "-3.00", "20000.00", "99999999.99"];
    let rows = rows.iter().enumerate().map(|(number, sales)| {
        let row = json!({
            "sk_dailymetricid": format!("00000000-0000-0000-0000-00000000000{number}"),
            "sk_store": format!("00012{number}"),
            "sk_netsales": sales,
            "sk_note": if number == 0 { Value::Null } else { json!("é, \"x\"") },
        });
        row.as_object().cloned().unwrap()
    });
    Table {
        logical_name: "sk_dailymetric".to_owned(),
        entity_set: SET.to_owned(),
        primary_id: "sk_dailymetricid".to_owned(),
        columns: vec![
            column("sk_dailymetricid", ColumnKind::Guid),
            column("sk_store", ColumnKind::Text),
            column("sk_netsales", ColumnKind::Decimal { precision: 2 }),
            column("sk_note", ColumnKind::Text),
        ],
        alternate_keys: Vec::new(),
        change_tracking: false,
        rows: rows.collect(),
    }
}

fn query() -> TableQuery {
    TableQuery {
        entity_set: SET.to_owned(),
        select: vec!["sk_store".to_owned(), "sk_netsales".to_owned()],
        ..TableQuery::default()
    }
}

fn text(fetched: &Fetched) -> String {
    String::from_utf8(content(fetched)).unwrap()
}

#[tokio::test]
async fn a_table_comes_whole_over_pages_with_its_digits() {
    let tables = Tables::start();
    let fetched = tables.fetch(&query()).await.unwrap();
    assert_eq!(
        text(&fetched),
        r#"{"sk_store":"000120","sk_netsales":12.5000000000}
{"sk_store":"000121","sk_netsales":0.1000000000}
{"sk_store":"000122","sk_netsales":-3.0000000000}
{"sk_store":"000123","sk_netsales":20000.0000000000}
{"sk_store":"000124","sk_netsales":99999999.9900000000}
"#
    );
    assert_eq!(fetched.name, "sk_dailymetrics.jsonl");
    assert_eq!(fetched.size_bytes, content(&fetched).len() as u64);
    let pages = tables.organisation.faults().requests_to(ROWS);
    assert_eq!(pages.len(), 3);
    for page in &pages {
        assert_eq!(page.header("prefer"), Some("odata.maxpagesize=2"));
        assert_eq!(page.header("odata-version"), Some("4.0"));
    }

    let again = tables.fetch(&query()).await.unwrap();
    assert_eq!(again.content_hash, fetched.content_hash);
    let row = json!({"sk_dailymetricid": "00000000-0000-0000-0000-000000000001", "sk_netsales": "0.11"});
    let row: Map<String, Value> = row.as_object().cloned().unwrap();
    tables.organisation.upsert("sk_dailymetric", &row).unwrap();
    let changed = tables.fetch(&query()).await.unwrap();
    assert_ne!(changed.content_hash, fetched.content_hash);
}

#[tokio::test]
async fn a_condition_and_an_order_are_sent_as_they_are_meant() {
    let tables = Tables::start();
    let query = TableQuery {
        select: vec!["sk_note".to_owned(), "sk_store".to_owned()],
        filter: Some("sk_store ne '000122' and sk_netsales gt 0.05".to_owned()),
        order_by: Some("sk_note desc".to_owned()),
        ..query()
    };
    let fetched = tables.fetch(&query).await.unwrap();
    let stores: Vec<_> =
        text(&fetched).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["sk_store"].clone()).collect();
    assert_eq!(stores, ["000121", "000123", "000124", "000120"]);
    assert!(text(&fetched).ends_with("{\"sk_note\":null,\"sk_store\":\"000120\"}\n"));
}

#[tokio::test]
async fn throttling_and_a_dead_token_lose_no_row() {
    let tables = Tables::start();
    let faults = tables.organisation.faults();
    faults.script(ROWS, When::Nth(2), Scenario::DataverseRequestLimit(Some("0.05")));
    faults.script(ROWS, When::Nth(3), Scenario::DataverseUnauthorized);
    faults.script(ROWS, When::Nth(5), Scenario::DataverseBadGateway);
    faults.script(ROWS, When::Nth(6), Outcome::Truncate(20));
    let fetched = tables.fetch(&query()).await.unwrap();
    assert_eq!(text(&fetched).lines().count(), 5);
    assert_eq!(tables.asked(ROWS), 7);
    assert_eq!(tables.world.tokens_asked(), 2);

    // One token for each service.
    tables.world.put("a", b"x");
    tables.world.listed("*").await.unwrap();
    assert_eq!(tables.world.tokens_asked(), 3);
}

#[tokio::test]
async fn a_service_that_throttles_all_along_ends_the_work_by_name() {
    let tables = Tables::start();
    tables.organisation.faults().script(ROWS, When::OneIn(2), Scenario::DataverseRequestLimit(Some("0.06")));
    let asked = async |patience: u64| {
        let client = tables.world.client.with_patience(Duration::from_millis(patience));
        let url = &tables.organisation.base_url;
        let dataverse = Dataverse::new(&client, &tables.world.tokens, url, 2).unwrap();
        sendable(dataverse.fetch_table(&query(), tables.world.into.path(), LIMIT_BYTES)).await
    };
    let error = asked(100).await.unwrap_err();
    let text = said(&error);
    assert!(text.contains("asked to wait again") && error.is_passing(), "{text}");
    assert!(error.hint().unwrap_or_default().contains("sources.throttled_limit_seconds"), "{error:?}");
    assert_eq!(content(&asked(60_000).await.unwrap()).split(|byte| *byte == b'\n').count(), 6);
}

#[tokio::test]
async fn a_token_never_follows_a_next_page_to_another_host() {
    let tables = Tables::start();
    let foreign = Outcome::rewrite(|_, response| {
        let mut page: Value = serde_json::from_slice(&response.body).unwrap();
        page["@odata.nextLink"] = json!("https://evil.example.net/api/data/v9.2/sk_dailymetrics");
        response.body = page.to_string().into_bytes();
    });
    tables.organisation.faults().script(ROWS, When::Every, foreign);
    let error = tables.fetch(&query()).await.unwrap_err();
    assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
}

#[tokio::test]
async fn missing_rights_are_named() {
    let tables = Tables::start();
    let me = tables.dataverse.who_am_i().await.unwrap();
    assert!(!me.user_id.is_empty() && !me.organization_id.is_empty());
    let faults = tables.organisation.faults();
    let rule = faults.script("GET *", When::Every, Scenario::DataverseNotAMember);
    let error = tables.dataverse.who_am_i().await.unwrap_err();
    assert!(matches!(error, Error::NotAMember { .. }), "{error:?}");
    faults.remove(rule);
    let lacking = Scenario::DataverseMissingPrivilege("sk_dailymetric");
    faults.script(ROWS, When::Every, lacking);
    for error in [tables.fetch(&query()).await.unwrap_err(), tables.dataverse.check(&query()).await.unwrap_err()] {
        assert!(said(&error).contains("lacks `prvRead"), "{error}");
        assert!(error.hint().unwrap_or_default().contains("security role"));
    }
}

#[tokio::test]
async fn a_missing_table_or_column_is_told_before_a_row_is_read() {
    let tables = Tables::start();
    let check = async |change: fn(&mut TableQuery)| {
        let mut query = query();
        change(&mut query);
        let problems = tables.dataverse.check(&query).await.unwrap();
        (problems, tables.fetch(&query).await.err())
    };
    assert_eq!(check(|_| ()).await.0, Vec::<String>::new());
    let (problems, error) = check(|query| query.entity_set = "accountz".to_owned()).await;
    assert_eq!(problems, ["there is no table whose entity set is called `accountz`"]);
    assert!(matches!(error, Some(Error::TableNotFound { .. })));
    let (problems, error) = check(|query| query.select.push("sk_nets".to_owned())).await;
    assert_eq!(problems, ["there is no column `sk_nets`; `sk_note` is spelled most alike"]);
    let error = error.unwrap();
    assert!(said(&error).contains("sk_nets"), "{error:?}");
}

#[tokio::test]
async fn a_table_that_may_not_be_described_is_read_all_the_same() {
    let tables = Tables::start();
    let lacking = Scenario::DataverseMissingPrivilege("Entity");
    let definitions = "GET */EntityDefinitions*";
    tables.organisation.faults().script(definitions, When::Every, lacking);
    let fetched = tables.fetch(&query()).await.unwrap();
    assert_eq!(text(&fetched).lines().count(), 5);
}
