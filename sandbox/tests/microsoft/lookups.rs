//! Lookups are written through `@odata.bind`.

use reqwest::{Method, StatusCode};
use sandbox::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse, DataverseOptions};
use serde_json::{Value, json};

use crate::organisation::row;
use crate::world::World;

const STORE: &str = "00000000-0000-0000-0000-0000000000a1";

/// An organisation of stores and of visits, each to a store and by a person or a team.
struct Visits {
    world: World,
    dataverse: Dataverse,
    token: String,
}

impl Visits {
    async fn new() -> anyhow::Result<Self> {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let table = |name: &str, mut columns: Vec<Column>, rows| {
            columns.push(column(&format!("{name}id"), ColumnKind::Guid));
            columns.push(column(&format!("{name}number"), ColumnKind::Text));
            Table {
                logical_name: name.to_owned(),
                entity_set: format!("{name}s"),
                primary_id: format!("{name}id"),
                columns,
                alternate_keys: vec![AlternateKey {
                    name: format!("{name}key"),
                    columns: vec![format!("{name}number")],
                    active: true,
                }],
                change_tracking: true,
                rows,
            }
        };
        let lookup = |targets: &[&str]| ColumnKind::Lookup(targets.iter().map(|name| (*name).to_owned()).collect());
        let visits = vec![
            column("_sk_store_value", lookup(&["sk_store"])),
            column("_sk_by_value", lookup(&["sk_team", "sk_store"])),
        ];
        let store = row(json!({"sk_storeid": STORE, "sk_storenumber": "000101"}));
        let world = World::start()?;
        let dataverse = Dataverse::start(DataverseOptions {
            book: world.tokens.book(),
            tables: vec![
                table("sk_visit", visits, Vec::new()),
                table("sk_store", Vec::new(), vec![store]),
                table("sk_team", Vec::new(), Vec::new()),
            ],
            clock: world.clock.clone(),
            ..DataverseOptions::default()
        })?;
        let token = world.token(&dataverse.base_url).await?;
        Ok(Self { world, dataverse, token })
    }

    async fn write(&self, body: Value) -> anyhow::Result<(StatusCode, String)> {
        let url = format!("{}/api/data/v9.2/sk_visits(sk_visitnumber='1')", self.dataverse.base_url);
        let response = self.world.request(Method::PATCH, &url, &self.token).json(&body).send().await?;
        Ok((response.status(), response.text().await?))
    }

    fn store_of_the_visit(&self) -> Value {
        self.dataverse.rows("sk_visit")[0]["_sk_store_value"].clone()
    }
}

#[tokio::test]
async fn a_lookup_is_bound_by_id_or_key_and_cleared_by_null() -> anyhow::Result<()> {
    let visits = Visits::new().await?;
    for address in [
        format!("/sk_stores({STORE})"),
        "sk_stores(sk_storenumber='000101')".to_owned(),
        format!("{}/api/data/v9.2/sk_stores({STORE})", visits.dataverse.base_url),
    ] {
        assert_eq!(visits.write(json!({"sk_store@odata.bind": address})).await?.0, 204, "{address}");
        assert_eq!(visits.store_of_the_visit(), STORE);
        assert_eq!(visits.write(json!({"sk_store@odata.bind": null})).await?.0, 204);
        assert_eq!(visits.store_of_the_visit(), Value::Null);
    }
    let by = json!({"sk_by_sk_store@odata.bind": format!("/sk_stores({STORE})")});
    assert_eq!(visits.write(by).await?.0, 204);
    assert_eq!(visits.dataverse.rows("sk_visit")[0]["_sk_by_value"], STORE);
    Ok(())
}

#[tokio::test]
async fn a_reference_to_nothing_is_refused_and_nothing_is_written() -> anyhow::Result<()> {
    let visits = Visits::new().await?;
    for (body, status, part) in [
        (json!({"sk_Store@odata.bind": format!("/sk_stores({STORE})")}), 400, "An undeclared property 'sk_Store'"),
        (json!({"sk_by@odata.bind": format!("/sk_stores({STORE})")}), 400, "An undeclared property 'sk_by'"),
        (json!({"sk_store@odata.bind": "/sk_stores(sk_storenumber='9')"}), 404, "does not exist"),
        (json!({"sk_store@odata.bind": "/sk_teams(sk_teamnumber='9')"}), 400, "the segment 'sk_teams'"),
        (json!({"sk_store@odata.bind": "/sk_stores"}), 400, "The key in the request URI"),
        (json!({"_sk_store_value": STORE}), 400, "Cannot convert"),
    ] {
        let (found, text) = visits.write(body.clone()).await?;
        assert!(found == status && text.contains(part), "{body}: {found} {text}");
    }
    assert_eq!(visits.dataverse.rows("sk_visit").len(), 0);
    Ok(())
}
