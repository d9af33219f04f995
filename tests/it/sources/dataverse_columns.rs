//! What a line makes of each kind of column, and what the limits make of the pages.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::dataverse::schema::{Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse as Organisation, DataverseOptions};
use sandbox::faults::{Outcome, Scenario, When};
use serde_json::{Value, json};
use storekeeper::sources::{Dataverse, Error, TableChanges, TableQuery};

use super::*;

const SET: &str = "sk_visits";
const ROWS: &str = "GET /api/data/v9.2/sk_visits*";
const REGION: &str = "10000000-0000-4000-8000-00000000000a";

struct Visits {
    world: World,
    organisation: Organisation,
    dataverse: Dataverse,
}

impl Visits {
    fn start() -> Self {
        let world = World::start();
        let organisation = Organisation::start(DataverseOptions {
            book: world.token.book(),
            tables: vec![visits()],
            clock: world.clock.clone(),
            faults: Faults::new(),
            ..DataverseOptions::default()
        })
        .unwrap();
        let dataverse = Dataverse::new(&world.client, &world.tokens, &organisation.base_url, 4).unwrap();
        Self { world, organisation, dataverse }
    }

    async fn fetch(&self, query: &TableQuery) -> Result<Vec<Value>, Error> {
        let fetched = sendable(self.dataverse.fetch_table(query, self.world.into.path(), LIMIT_BYTES)).await?;
        let text = String::from_utf8(content(&fetched)).unwrap();
        Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// What changed since the link, as a process asks that has just started.
    async fn changes(&self, query: &TableQuery, link: Option<&str>) -> Result<TableChanges, Error> {
        let dataverse = Dataverse::new(&self.world.client, &self.world.tokens, &self.organisation.base_url, 4).unwrap();
        sendable(dataverse.fetch_changes(query, link, self.world.into.path(), LIMIT_BYTES)).await
    }

    fn change(&self, number: u32, secret: Value) {
        let row = json!({"sk_visitid": format!("00000000-0000-0000-0000-00000000000{number}"), "sk_secret": secret});
        self.organisation.upsert("sk_visit", row.as_object().unwrap()).unwrap();
    }

    fn preferences(&self) -> Vec<String> {
        let pages = self.organisation.faults().requests_to(ROWS);
        pages.iter().map(|page| page.header("prefer").unwrap_or_default().to_owned()).collect()
    }
}

fn visits() -> Table {
    let options = |labels: &[&str]| (2..).zip(labels).map(|(value, label)| (value, (*label).to_owned())).collect();
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let rows = (0..8).map(|number| {
        let row = json!({
            "sk_visitid": format!("00000000-0000-0000-0000-00000000000{number}"),
            "sk_amount": "79228162514264337593543.9505",
            "sk_seen": "2025-11-28T19:00:00Z",
            "sk_wall": "2025-11-28T19:00:00Z",
            "sk_day": "2025-11-28",
            "sk_status": 3,
            "sk_topics": if number == 0 { json!("4,2") } else { Value::Null },
            "sk_open": number == 0,
            "_sk_region_value": {"id": REGION, "table": "sk_region", "name": "North"},
            "sk_note": "",
            "sk_secret": "for few",
        });
        row.as_object().cloned().unwrap()
    });
    Table {
        logical_name: "sk_visit".to_owned(),
        entity_set: SET.to_owned(),
        primary_id: "sk_visitid".to_owned(),
        columns: vec![
            column("sk_visitid", ColumnKind::Guid),
            column("sk_amount", ColumnKind::Money),
            column("sk_seen", ColumnKind::DateTimeUtc),
            column("sk_wall", ColumnKind::DateTimeWall),
            column("sk_day", ColumnKind::DateOnly),
            column("sk_status", ColumnKind::Choice(options(&["New", "Done"]))),
            column("sk_topics", ColumnKind::MultiChoice(options(&["Food", "Staff", "Price"]))),
            column("sk_open", ColumnKind::Boolean),
            column("_sk_region_value", ColumnKind::Lookup(vec!["sk_region".to_owned(), "sk_district".to_owned()])),
            column("sk_note", ColumnKind::Text),
            column("sk_secret", ColumnKind::Text),
        ],
        alternate_keys: Vec::new(),
        change_tracking: true,
        rows: rows.collect(),
    }
}

fn query(select: &[&str]) -> TableQuery {
    let select = select.iter().map(|name| (*name).to_owned()).collect();
    TableQuery { entity_set: SET.to_owned(), select, ..TableQuery::default() }
}

#[tokio::test]
async fn every_kind_of_column_comes_as_it_is_meant() {
    let visits = Visits::start();
    let asked = [
        "sk_seen",
        "sk_wall",
        "sk_day",
        "sk_status",
        "sk_status@label",
        "sk_topics",
        "sk_topics@label",
        "sk_topics@json",
        "sk_open@label",
        "_sk_region_value",
        "_sk_region_value@name",
        "_sk_region_value@table",
        "sk_note",
    ];
    let rows = visits.fetch(&query(&asked)).await.unwrap();
    assert_eq!(rows.len(), 8);
    let expected = json!({
        "sk_seen": "2025-11-28T19:00:00Z",
        "sk_wall": "2025-11-28T19:00:00",
        "sk_day": "2025-11-28",
        "sk_status": 3,
        "sk_status@label": "Done",
        "sk_topics": "2,4",
        "sk_topics@label": "Food; Price",
        "sk_topics@json": "[2,4]",
        "sk_open@label": "Yes",
        "_sk_region_value": REGION,
        "_sk_region_value@name": "North",
        "_sk_region_value@table": "sk_region",
        "sk_note": null,
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["sk_topics@label"], Value::Null);

    let fetched = visits.dataverse.fetch_table(&query(&["sk_amount"]), visits.world.into.path(), LIMIT_BYTES).await;
    assert!(String::from_utf8(content(&fetched.unwrap())).unwrap().contains(":79228162514264337593543.9505}"));
}

#[tokio::test]
async fn a_table_is_described_once_and_only_as_far_as_is_needed() {
    let visits = Visits::start();
    visits.fetch(&query(&["sk_note"])).await.unwrap();
    visits.fetch(&query(&["sk_note"])).await.unwrap();
    assert_eq!(visits.organisation.faults().requests_to("GET */EntityDefinitions*").len(), 2);
    visits.fetch(&query(&["sk_status@label"])).await.unwrap();
    let casts = visits.organisation.faults().requests_to("GET */Attributes/*");
    assert_eq!(casts.len(), 1);
    assert!(casts[0].target.contains("PicklistAttributeMetadata"));
}

#[tokio::test]
async fn a_column_has_the_first_of_its_names_that_is_there() {
    let visits = Visits::start();
    let mut query = query(&["sk_state", "sk_gone", "sk_day"]);
    query.aliases = BTreeMap::from([("sk_state".to_owned(), vec!["sk_status@label".to_owned()])]);
    query.optional = BTreeSet::from(["sk_gone".to_owned()]);
    let rows = visits.fetch(&query).await.unwrap();
    assert_eq!(rows[0], json!({"sk_state": "Done", "sk_day": "2025-11-28"}));
    query.optional.clear();
    query.select.push("sk_day@label".to_owned());
    let error = said(&visits.fetch(&query).await.unwrap_err());
    assert!(error.contains("there is no column `sk_gone`"), "{error}");
    assert!(error.contains("`sk_day` is of type DateTime and has no `@label`"), "{error}");
}

#[tokio::test]
async fn a_secured_column_that_comes_empty_overwrites_nothing() {
    let visits = Visits::start();
    assert!(visits.organisation.set_secured("sk_visit", "sk_secret", true));
    let mut query = query(&["sk_day", "sk_secret"]);
    let error = visits.fetch(&query).await.unwrap_err();
    assert!(matches!(error, Error::ColumnSecured { .. }), "{error:?}");
    assert!(error.hint().unwrap_or_default().contains("column security profile"));
    query.optional = BTreeSet::from(["sk_secret".to_owned()]);
    assert_eq!(visits.fetch(&query).await.unwrap()[0]["sk_secret"], Value::Null);
}

#[tokio::test]
async fn a_column_that_may_no_longer_be_read_is_noticed_in_the_changes_too() {
    let visits = Visits::start();
    let query = query(&["sk_day", "sk_secret"]);
    let whole = visits.changes(&query, None).await.unwrap();
    let (_, link) = whole.link.unwrap();
    assert!(visits.organisation.set_secured("sk_visit", "sk_secret", true));
    visits.change(1, json!("new"));
    let error = visits.changes(&query, Some(&link)).await.unwrap_err();
    assert!(matches!(error, Error::ColumnSecured { .. }), "{error:?}");
}

#[tokio::test]
async fn a_secured_column_that_is_empty_in_the_changes_only_is_read_on() {
    let visits = Visits::start();
    let secured = Outcome::rewrite(|_, response| {
        let text = String::from_utf8_lossy(&response.body).replace("\"IsSecured\":false", "\"IsSecured\":true");
        response.body = text.into_bytes();
    });
    visits.organisation.faults().script("GET /api/data/v9.2/EntityDefinitions*", When::Every, secured);
    let query = query(&["sk_day", "sk_secret"]);
    let (_, link) = visits.changes(&query, None).await.unwrap().link.unwrap();
    visits.change(1, Value::Null);
    let changes = visits.changes(&query, Some(&link)).await.unwrap();
    assert_eq!((changes.complete, changes.ids.len(), changes.notes), (false, 1, Vec::new()));
    assert_eq!(content(&changes.fetched), b"{\"sk_day\":\"2025-11-28\",\"sk_secret\":null}\n");
    let asked = visits.organisation.faults().requests_to("GET /api/data/v9.2/sk_visits*ne%20null*");
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn the_limit_on_time_makes_pages_smaller_and_a_walk_keeps_its_size() {
    let visits = Visits::start();
    let faults = visits.organisation.faults();
    faults.script(ROWS, When::Nth(1), Scenario::DataverseTimeLimit(Some("0.02")));
    faults.script(ROWS, When::Nth(3), Scenario::DataverseRequestLimit(Some("0.02")));
    assert_eq!(visits.fetch(&query(&["sk_day"])).await.unwrap().len(), 8);
    let sizes = visits.preferences();
    assert_eq!(sizes[0], "odata.maxpagesize=4");
    assert!(sizes[1..].iter().all(|size| size == "odata.maxpagesize=2"), "{sizes:?}");
    assert_eq!(sizes.len(), 6, "{sizes:?}");
}

#[tokio::test]
async fn a_row_that_comes_twice_is_one_row_as_it_was_told_last() {
    let visits = Visits::start();
    let again = Outcome::rewrite(|_, response| {
        let mut page: Value = serde_json::from_slice(&response.body).unwrap();
        let mut row = page["value"][0].clone();
        row["sk_visitid"] = json!("00000000-0000-0000-0000-000000000000");
        row["sk_day"] = json!("2025-11-30");
        page["value"].as_array_mut().unwrap().push(row);
        response.body = page.to_string().into_bytes();
    });
    visits.organisation.faults().script(ROWS, When::Nth(2), again);
    let rows = visits.fetch(&query(&["sk_visitid", "sk_day"])).await.unwrap();
    assert_eq!(rows.len(), 8);
    let first: Vec<&Value> = rows.iter().filter(|row| row["sk_visitid"].as_str().unwrap().ends_with("000")).collect();
    assert_eq!(first, [&json!({"sk_visitid": "00000000-0000-0000-0000-000000000000", "sk_day": "2025-11-30"})]);
}

#[tokio::test]
async fn a_list_inside_a_row_that_goes_on_elsewhere_is_refused() {
    let visits = Visits::start();
    let inner = Outcome::rewrite(|request, response| {
        let mut page: Value = serde_json::from_slice(&response.body).unwrap();
        page["value"][0]["Visit_Tasks@odata.nextLink"] = json!(request.target);
        response.body = page.to_string().into_bytes();
    });
    visits.organisation.faults().script(ROWS, When::Nth(1), inner);
    let error = said(&visits.fetch(&query(&["sk_day"])).await.unwrap_err());
    assert!(error.contains("Visit_Tasks@odata.nextLink"), "{error}");
}
