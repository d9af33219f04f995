//! What was loaded and told anew, as events on the charts.

use super::*;

impl World {
    /// A load by a run of its own; gives the load's number.
    async fn load(&self, table: &str, rows: [i64; 3], more: &str) -> i64 {
        let [new, changed, removed] = rows;
        let load = format!(
            "WITH run AS (
                 INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at)
                 VALUES ('{table}', 'harbor', 'manual', 'succeeded', '2025-11-28T11:00:00Z') RETURNING run_id)
             INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at, rows_inserted, rows_updated,
                 rows_deleted, undoes)
             SELECT run_id, '{table}', 'harbor', '{table}', '2025-11-28T11:00:00Z', {new}, {changed}, {removed}, {more}
             FROM run RETURNING load_id"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(load)).fetch_one(self.chain.warehouse.pool()).await.expect("a load")
    }

    async fn events(&self) -> Result<usize, Error> {
        let titles = [("sales_channel".into(), "Sales by channel".to_owned())].into();
        metabase::events(&self.context(), &titles).await.map(|events| events.made)
    }

    async fn due(&self) -> bool {
        metabase::events_are_due(&self.context()).await.unwrap_or_else(|error| panic!("{}", told(&error)))
    }

    /// The events of a brand's charts, each with its sign.
    pub(super) fn told(&self) -> Vec<String> {
        self.told_in(self.id("collections", "name", "Harbor Pizza"))
    }

    /// The same of a collection.
    pub(super) fn told_in(&self, collection: i64) -> Vec<String> {
        let snapshot = self.metabase.snapshot();
        let lines = self.timelines();
        let lines: Vec<&Value> =
            lines.iter().filter(|line| line["collection_id"] == collection).map(|line| &line["id"]).collect();
        let events = snapshot["objects"]["timeline-event"].as_object().cloned().unwrap_or_default();
        let mut events: Vec<(i64, String)> = events
            .values()
            .filter(|event| lines.contains(&&event["timeline_id"]))
            .map(|event| {
                let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                (event["id"].as_i64().unwrap(), format!("{} {}", text("icon"), text("name")))
            })
            .collect();
        events.sort();
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn timelines(&self) -> Vec<Value> {
        let snapshot = self.metabase.snapshot();
        snapshot["objects"]["timeline"].as_object().cloned().unwrap_or_default().values().cloned().collect()
    }
}

#[tokio::test]
async fn each_load_is_one_event_and_metabase_is_asked_only_where_one_is_new() {
    let world = World::start().await;
    assert!(!world.due().await, "the instance is not ours yet");
    world.settle().await;
    assert!(!world.due().await);
    world.load("sales_channel", [12, 0, 0], "NULL").await;
    world.load("forecast_net_sales", [0, 3, 1], "NULL").await;
    world.load("sales_channel", [0, 0, 0], "NULL").await;
    assert!(world.due().await);
    assert_eq!(world.events().await.unwrap(), 2, "a load that changed nothing is no event");
    let told = ["cloud Sales by channel: 12 rows new", "cloud Forecast net sales: 3 rows changed, 1 row removed"];
    assert_eq!(world.told(), told);
    assert_eq!(world.timelines()[0]["collection_id"], world.id("collections", "name", "Harbor Pizza"));
    world.metabase.clear_requests();
    assert!(!world.due().await);
    assert_eq!(world.events().await.unwrap(), 0);
    assert!(world.metabase.requests().is_empty(), "{:?}", world.metabase.requests());
    assert!(world.plan().await.is_empty());
    // One new load is one look and one event, and stands once whatever gets lost.
    world.load("sales_channel", [7, 0, 0], "NULL").await;
    let refused = Failure::Status(400, "Invalid Request.".to_owned());
    for (method, path, failure) in
        [("GET", "/api/timeline/1", refused), ("POST", "/api/timeline-event", Failure::LoseAnswer)]
    {
        world.metabase.fail_next(Fault::new(method, path, failure));
        assert!(world.events().await.is_err(), "{method} {path}");
        assert!(world.due().await);
    }
    world.metabase.clear_requests();
    assert_eq!(world.events().await.unwrap(), 0, "it was made, and only the answer lost");
    // Whether the key still opens, and what is there.
    assert_eq!(world.metabase.requests().len(), 2, "{:?}", world.metabase.requests());
    assert_eq!(world.told().len(), 3);
}

/// Ends the making of events after each call that changes something, as a kill does.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_broken_off_anywhere_stand_there_once() {
    let world = World::start().await;
    world.settle().await;
    for rows in 1..4 {
        world.load("sales_channel", [rows, 0, 0], "NULL").await;
    }
    let changed = std::sync::Arc::new(tokio::sync::Notify::new());
    let tell = std::sync::Arc::clone(&changed);
    world.metabase.watch(move |_| tell.notify_one());
    let mut kills = 0;
    while world.due().await {
        let killed = tokio::select! {
            biased;
            () = changed.notified() => true,
            made = world.events() => {
                // The claim of the killed one goes with its connection.
                assert!(matches!(made, Ok(_) | Err(Error::Busy)), "{made:?}");
                false
            }
        };
        kills += usize::from(killed);
        assert!(kills < 50, "it comes to no end");
    }
    world.metabase.watch(|_| {});
    assert!(kills > 3, "{kills}");
    assert_eq!(world.timelines().len(), 1);
    assert_eq!(
        world.told(),
        [1, 2, 3].map(|rows| match rows {
            1 => "cloud Sales by channel: 1 row new".to_owned(),
            rows => format!("cloud Sales by channel: {rows} rows new"),
        })
    );
}

#[tokio::test]
async fn what_somebody_put_away_stays_away_and_what_is_gone_comes_back() {
    let world = World::start().await;
    world.settle().await;
    world.load("sales_channel", [1, 0, 0], "NULL").await;
    world.load("sales_channel", [2, 0, 0], "NULL").await;
    assert_eq!(world.events().await.unwrap(), 2);
    let line = world.timelines()[0]["id"].as_i64().unwrap();
    world.click("PUT", "timeline-event/1", json!({"archived": true})).await;
    world.load("sales_channel", [3, 0, 0], "NULL").await;
    assert_eq!(world.events().await.unwrap(), 1, "the one in the trash is not made again");
    world.click("PUT", &format!("timeline/{line}"), json!({"archived": true})).await;
    world.load("sales_channel", [4, 0, 0], "NULL").await;
    assert_eq!(world.events().await.unwrap(), 0);
    assert!(!world.due().await, "a time line in the trash gets nothing, and is not asked for again");
    world.click("DELETE", &format!("timeline/{line}"), json!({})).await;
    world.load("sales_channel", [5, 0, 0], "NULL").await;
    assert_eq!(world.events().await.unwrap(), 1);
    assert_eq!(world.timelines().len(), 1);
}

/// `destroy` takes our time lines away; one that people use loses our events and stays.
#[tokio::test]
async fn a_destruction_takes_our_events_and_leaves_those_of_others() {
    for theirs in [false, true] {
        let world = World::start().await;
        world.settle().await;
        world.load("sales_channel", [1, 0, 0], "NULL").await;
        world.load("sales_channel", [2, 0, 0], "NULL").await;
        world.events().await.unwrap();
        let collection = world.collection("000101");
        world.click("POST", "timeline", json!({"name": "Loads", "collection_id": collection})).await;
        if theirs {
            let event = json!({
                "timeline_id": 1, "name": "Road works", "timestamp": "2025-11-20T00:00:00Z", "timezone": "UTC",
                "time_matters": false,
            });
            world.click("POST", "timeline-event", event).await;
        }
        let plan = metabase::destruction(&world.context()).await.unwrap();
        assert_eq!(about(&plan, Action::Delete, if theirs { "events" } else { "timeline" }), ["Loads"], "{plan}");
        assert_eq!(plan.to_string().contains("holds 1 event that is not ours"), theirs, "{plan}");
        metabase::destroy(&world.context(), &plan).await.unwrap();
        let left: Vec<Value> = world.timelines().iter().map(|line| line["collection_id"].clone()).collect();
        assert_eq!(left.len(), if theirs { 2 } else { 1 }, "{left:?}");
        assert!(left.contains(&json!(collection)), "a time line of others with the same name stays");
        let events = if theirs { vec![" Road works".to_owned()] } else { Vec::new() };
        assert_eq!(world.told(), events);
        assert!(metabase::destruction(&world.context()).await.unwrap().is_empty());
    }
}
