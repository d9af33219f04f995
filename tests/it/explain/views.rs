//! Views and forecasts: what they rest on.

use serde_json::Value;

use crate::support::world::World;

async fn loaded() -> World {
    let world = World::start(40).await;
    let run = world.storekeeper(&["run", "--all", "--brand", "mesa"]);
    assert_eq!(run.code, 0, "{}", run.log);
    world
}

fn found(world: &World, words: &[&str]) -> Value {
    let mut all = vec!["explain", "--brand", "mesa"];
    all.extend(words);
    let said = world.storekeeper(&all);
    assert_eq!(said.code, 0, "{:#} {}", said.json, said.log);
    said.json["answers"][0]["found"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_leads_to_the_rows_of_its_tables_and_a_forecast_to_those_of_its_series() {
    let world = loaded().await;
    let store = world.text("SELECT min(store_id) FROM mart_mesa.sales_channel").await;
    // The day after was a holiday.
    let day = "2025-11-26";
    let by_store = format!("store_id={store}");
    let by_day = format!("business_date={day}");
    let view = found(&world, &["sales_by_day", &by_store, &by_day, "--limit", "500"])["view"].clone();
    let bases: Vec<&str> =
        view["bases"].as_array().unwrap().iter().map(|base| base["table"].as_str().unwrap()).collect();
    assert_eq!(bases, ["calendar", "sales_channel", "stores"], "through the view `sales_days` as well");
    let sales = &view["bases"][1];
    let rows = sales["rows"].as_array().unwrap();
    let which = format!("FROM mart_mesa.sales_channel WHERE store_id = '{store}' AND business_date = '{day}'");
    assert_eq!(sales["rows_total"].to_string(), world.text(&format!("SELECT count(*) {which}")).await);
    assert_eq!(rows.len() as u64, sales["rows_total"].as_u64().unwrap());
    // The rows that are shown add up to the number on the dashboard.
    let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
    let value = |values: &Value, column: &str| {
        let values = values.as_array().unwrap();
        values.iter().find(|value| value["column"] == column).unwrap()["value"].as_str().unwrap().to_owned()
    };
    let sum: i64 = rows.iter().map(|row| cents(&value(&row["values"], "net_sales"))).sum();
    assert!(sum > 0);
    assert_eq!(cents(&value(&view["rows"][0], "net_sales")), sum);
    assert!(rows.iter().all(|row| row["file"]["name"] == "Sales Channel - Daily.xlsx" && row["no_cells"].is_null()));
    assert_eq!(view["bases"][0]["not_there"], serde_json::json!(["store_id"]));

    let hours = found(&world, &["hours_by_week", &by_store])["view"].clone();
    let name = hours["rows"][0].as_array().unwrap().iter().find(|value| value["column"] == "employee_name").unwrap();
    assert_eq!((&name["value"], &name["withheld"]), (&Value::Null, &true.into()));
    let people = world.text("SELECT count(DISTINCT employee_name) FROM mart_mesa.clock_in_out").await;
    assert!(people.parse::<i64>().unwrap() > 3);
    let names: Vec<String> = sqlx::query_scalar("SELECT DISTINCT employee_name FROM mart_mesa.clock_in_out")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let whole = hours.to_string();
    assert!(names.iter().all(|name| !whole.contains(name.as_str())));

    assert_eq!(world.storekeeper(&["forecast", "run", "--brand", "mesa"]).code, 0);
    let key = [store.as_str(), "net_sales", "2025-12-01", "Lunch"];
    let words = [&["forecast"], &key[..]].concat();
    let basis = found(&world, &words)["rows"][0]["forecast"].clone();
    let series = format!("FROM mart_mesa.sales_channel WHERE store_id = '{store}' AND daypart = 'Lunch'");
    assert_eq!(basis["rows"].to_string(), world.text(&format!("SELECT count(net_sales) {series}")).await);
    assert_eq!(basis["total"].as_str().unwrap(), world.text(&format!("SELECT sum(net_sales) {series}")).await);
    assert_eq!((&basis["last_day"], &basis["season_days"]), (&"2025-11-28".into(), &7.into()));
    assert_eq!(basis["same_season_day"][0]["date"], "2025-11-24", "{basis:#}");
    assert!(basis["same_season_day"][0]["source_row"].as_u64().unwrap() > 4);

    // Sales that came after the forecast are not among what it rests on.
    let input: i64 = basis["up_to_load"]["load_id"].as_i64().unwrap();
    sqlx::query(
        "INSERT INTO ops.load_inputs SELECT max(load_id), $1 FROM ops.loads WHERE table_name = 'forecast'
         ON CONFLICT DO NOTHING",
    )
    .bind(input)
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::raw_sql(
        "WITH l AS (INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at)
             SELECT run_id, pipeline, brand, table_name, committed_at FROM ops.loads
             WHERE table_name = 'sales_channel' LIMIT 1 RETURNING load_id)
         UPDATE mart_mesa.sales_channel SET load_id = l.load_id FROM l
         WHERE daypart = 'Lunch' AND business_date = '2025-11-24'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let after = found(&world, &words)["rows"][0]["forecast"].clone();
    assert_eq!(after["noted"], true);
    assert!(after["rows"].as_i64().unwrap() < basis["rows"].as_i64().unwrap(), "{after:#}");
    assert_eq!(after["same_season_day"][0]["date"], "2025-11-17");
}
