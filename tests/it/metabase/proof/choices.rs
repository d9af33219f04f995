//! What a reader may choose: an optional part of a question that opens what the rest keeps shut.

use super::*;

/// Parts that somebody adds behind the literal of the scope, and whether they let more through.
const PARTS: &[(&str, bool)] = &[
    ("[[OR d.business_date >= {{from}}]]", true),
    ("[[OR {{all}} = 'yes']]", true),
    ("[[AND d.business_date >= {{from}}]] [[AND d.store_id = {{all}}]]", false),
];

const OPENED: &str = "an optional part of its SQL goes beyond the literal of its scope";

fn tags() -> Value {
    json!({
        "from": {"id": "t8", "name": "from", "display-name": "From", "type": "date"},
        "all": {"id": "t9", "name": "all", "display-name": "All", "type": "text"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_part_that_opens_a_question_of_ours_is_a_leak() {
    for wall in [Wall::Region, Wall::Brand] {
        let world = World::walled(Chain::small().await, Options::default(), wall).await;
        world.settle().await;
        let card = world.card("000101", "Week so far");
        let query = world.metabase.snapshot()["cards"][card.to_string()]["query"].clone();
        let (sql, literal) = (query["native"]["query"].as_str().unwrap(), "d.store_id = '000101'");
        for (part, opens) in PARTS {
            world.metabase.advance_clock(60);
            let edited = sql.replacen(literal, &format!("{literal} {part}"), 1);
            assert_ne!(edited, sql, "the question has its literal");
            let query = native(query["database"].as_i64().unwrap(), &edited, tags());
            world.click("PUT", &format!("card/{card}"), json!({"dataset_query": query})).await;
            let audit = world.audit().await;
            let of_it = |leak: &&Leak| leak.what.contains("`Week so far` of `store:harbor/000101`");
            assert!(audit.leaks.iter().all(|leak| of_it(&leak)), "{wall:?} {part}: {audit}");
            assert!(audit.failures.is_empty(), "{wall:?} {part}: {audit}");
            let found = audit.leaks.iter().any(|leak| leak.who == "store:harbor/000101" && leak.how == OPENED);
            assert_eq!((found, audit.is_clean()), (*opens, !opens), "{wall:?} {part}: {audit}");
        }
        world.settle().await;
        let audit = world.audit().await;
        assert!(audit.is_clean(), "{audit}");
    }
}

#[tokio::test]
async fn an_optional_part_that_opens_a_question_of_somebody_else_is_a_leak() {
    let world = World::start().await;
    world.settle().await;
    let at = world.places();
    for (part, opens) in PARTS {
        let sql = "SELECT d.store_id, d.net_sales FROM mart_harbor.sales_by_day AS d WHERE d.store_id = '000101'";
        let query = native(at.north, &format!("{sql} {part}"), tags());
        let card = world.question("By hand", at.own, query, json!({})).await;
        let audit = world.audit().await;
        let found = audit.leaks.iter().any(|leak| leak.what.contains("`By hand`") && leak.how == OPENED);
        assert_eq!((found, audit.is_clean()), (*opens, !opens), "{part}: {audit}");
        world.click("PUT", &format!("card/{card}"), json!({"archived": true})).await;
    }
}
