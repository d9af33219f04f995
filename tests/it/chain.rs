//! The whole chain, as an operator runs it: from the file to the number, the
//! dashboard, the proof and the mail; twice; and with things going wrong.

use serde_json::Value;

use crate::support::world::World;

const PIPELINES: [&str; 7] =
    ["calendar", "clock_in_out", "daily_store_metrics", "labor_plan", "sales_channel", "store_hours", "stores"];
const BRANDS: [&str; 2] = ["harbor", "mesa"];

fn all(status: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        PIPELINES.iter().flat_map(|pipeline| BRANDS.map(|brand| format!("{pipeline} {brand}: {status}"))).collect();
    lines.sort();
    lines
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_becomes_a_number_that_only_its_manager_sees_and_twice_changes_nothing() {
    let world = World::start(40).await;
    let first = world.storekeeper(&["run", "--all"]);
    assert_eq!((first.code, sorted(first.runs())), (0, all("succeeded")), "{}", first.log);
    for brand in BRANDS {
        let truth = world.truth.truth().brand(brand).unwrap();
        let files: Vec<_> = truth.files.iter().filter(|file| file.name.starts_with("Sales Channel")).collect();
        let rows: usize = files.iter().filter(|file| !file.folder.ends_with("Archive")).map(|file| file.rows).sum();
        let run = first.run("sales_channel", brand);
        assert_eq!(run["rows_read"], rows, "{run}");
        assert_eq!(run["rows_quarantined"], truth.bad_rows.len());
        // To the cent, from the cells to the column.
        let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
        let wanted: i64 = files
            .iter()
            .filter(|file| !file.folder.ends_with("Archive"))
            .map(|file| cents(&file.sums["TY Net Sales USD"]))
            .sum();
        let loaded = world.text(&format!("SELECT sum(net_sales) FROM mart_{brand}.sales_channel")).await;
        assert_eq!(cents(&loaded), wanted, "{brand}");
        let metrics = truth.table("sk_dailystoremetric").unwrap();
        let loaded = world.text(&format!("SELECT sum(net_sales) FROM mart_{brand}.daily_store_metrics")).await;
        assert_eq!(loaded, metrics.sums["sk_netsales"], "{brand}");
    }
    let short: i64 =
        world.text("SELECT count(*) FROM mart_harbor.stores WHERE length(store_id) <> 6").await.parse().unwrap();
    assert_eq!(short, 0, "store ids keep their zeros");
    let forecast = world.storekeeper(&["forecast", "run"]);
    assert_eq!(forecast.code, 0, "{}", forecast.log);
    assert_eq!(forecast.json["horizon_days"], 35);
    let series = forecast.json["series"].as_u64().unwrap();
    let forecast = "SELECT count(DISTINCT (brand, store_id, series)) || ' ' || max(lead_days) FROM mart_all.forecast";
    assert_eq!(world.text(forecast).await, format!("{series} 35"));
    let apart = "SELECT count(*) FROM (SELECT FROM mart_all.forecast GROUP BY brand, store_id, series, business_date
                 HAVING sum(mean) FILTER (WHERE daypart <> 'Day') <> sum(mean) FILTER (WHERE daypart = 'Day')) AS days";
    assert_eq!(world.text(apart).await, "0", "dayparts add up to the day to the cent");
    let split = "SELECT count(*) || ' ' || count(*) FILTER (WHERE parts.hours <> punches.hours) FROM (
                     SELECT store_id, business_date, round(sum(labor_hours), 2) AS hours
                     FROM mart_harbor.labor_by_daypart WHERE open_punches = 0 GROUP BY 1, 2) AS parts
                 JOIN (SELECT store_id, business_date,
                              round(sum(extract(epoch FROM clocked_out_at - clocked_in_at)) / 3600, 2) AS hours
                       FROM mart_harbor.clock_in_out GROUP BY 1, 2) AS punches USING (store_id, business_date)";
    let split = world.text(split).await;
    let (days, apart) = split.split_once(' ').unwrap();
    assert!(days.parse::<u32>().unwrap() > 100 && apart == "0", "dayparts of punches add up to the punches: {split}");
    let hours = "SELECT count(*) FROM mart_all.staffing WHERE daypart <> 'Day' AND required_hours < 2 * open_hours";
    assert_eq!(world.text(hours).await, "0", "never fewer than two while open");
    let people = world.folder().join("people.csv");
    std::fs::write(&people, world.truth.people_csv()).unwrap();
    let people = people.display().to_string();
    assert_eq!(world.storekeeper(&["access", "import", &people]).code, 0);
    assert_eq!(world.storekeeper(&["plan", "--exit-code"]).code, 4);
    let applied = world.storekeeper(&["apply", "--yes"]);
    assert_eq!((applied.code, &applied.json["remaining"]), (0, &Value::from(0)), "{}", applied.json);
    let audit = world.storekeeper(&["audit"]);
    assert_eq!((audit.code, audit.json["leaks"].as_array().map(Vec::len)), (0, Some(0)), "{}", audit.json);
    assert!(audit.json["people"].as_u64().unwrap() >= 50);
    // The certificate of the apply told of the same outcome.
    assert_eq!(audit.json["mail"], Value::Null, "{}", audit.json);
    let file = |name: &str| audit.json["certificate"][name].as_str().unwrap().to_owned();
    for file in [file("json"), file("html")] {
        assert_eq!(world.storekeeper(&["audit", "verify", &file]).code, 0);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("harbor", "Harbor", 1)).unwrap();
        let changed = world.command(&["audit", "verify", &file]).output().unwrap();
        assert_eq!(changed.status.code(), Some(1));
        std::fs::write(&file, text).unwrap();
    }
    let mailed = world.storekeeper(&["report", "--mail"]);
    assert_eq!(mailed.code, 0, "{}", mailed.json);
    let received = world.stand_ins.smtp.messages();
    assert_eq!(received.len(), 2, "the certificate's outcome, and the report");
    let kept = std::fs::read_dir(world.mail_dir()).unwrap().count();
    assert_eq!(kept, 4, "an .eml and an .html of each");

    let second = world.storekeeper(&["run", "--all"]);
    assert_eq!((second.code, sorted(second.runs())), (0, all("nothing_new")), "{}", second.log);
    let again = world.storekeeper(&["forecast", "run"]);
    assert!(again.runs().iter().all(|line| line.ends_with("nothing_new")), "{:?}", again.runs());
    assert_eq!(world.storekeeper(&["plan", "--exit-code"]).code, 0);
    assert_eq!(world.storekeeper(&["apply", "--yes"]).json["applied"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_is_kept_aside_with_file_sheet_row_column_and_reason() {
    let world = World::start(12).await;
    world.storekeeper(&["run", "stores"]);
    let run = world.storekeeper(&["run", "sales_channel", "--brand", "harbor"]);
    assert_eq!(run.code, 0, "{}", run.json);
    let listed = world.storekeeper(&["quarantine", "list"]);
    let mut found: Vec<(String, String, u64, String)> = listed.json["quarantine"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("file"), text("sheet"), row["row"].as_u64().unwrap(), text("reason"))
        })
        .collect();
    found.sort_by_key(|row| row.2);
    let truth = &world.truth.truth().brand("harbor").unwrap().bad_rows;
    assert_eq!(found.len(), truth.len());
    for (found, bad) in found.iter().zip(truth) {
        assert_eq!((&found.0, &found.1, found.2), (&bad.file, &bad.sheet, u64::from(bad.row)));
        assert!(found.3.contains(bad.value.as_str()), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_has_every_table_before_its_first_load_and_head_office_keeps_reading() {
    let world = World::start(12).await;
    let made = world.storekeeper(&["db", "migrate"]);
    let tables = made.json["tables_made"].as_array().unwrap();
    assert_eq!((made.code, tables.len()), (0, 2 * (PIPELINES.len() + 7)), "{}", made.json);
    assert_eq!(world.text("SELECT count(*) FROM mart_all.sales_channel").await, "0");
    assert_eq!(world.storekeeper(&["db", "migrate"]).json["tables_made"], Value::from(Vec::<Value>::new()));
    let run = world.storekeeper(&["run", "stores", "sales_channel", "--brand", "mesa"]);
    assert_eq!(run.code, 0, "{}", run.json);
    let brands = "SELECT string_agg(DISTINCT brand, ' ') FROM mart_all.sales_channel";
    assert_eq!(world.text(brands).await, "mesa");
    assert_eq!(world.storekeeper(&["access", "audit"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_known_by_its_content() {
    let world = World::start(12).await;
    assert_eq!(world.storekeeper(&["run", "stores", "sales_channel", "--brand", "mesa"]).code, 0);
    let (site, folder) = ("sites/mesa", "BI Import");
    let daily = world.stand_ins.graph.file(site, folder, "Sales Channel - Daily.xlsx").unwrap();
    let now = "2025-11-29T10:30:00Z".parse().unwrap();
    world.stand_ins.graph.put_file(site, folder, "Sales Channel - Copy.xlsx", daily, now);
    let again = world.storekeeper(&["run", "sales_channel", "--brand", "mesa"]);
    assert_eq!(again.runs(), ["sales_channel mesa: nothing_new"]);
    let full = world.storekeeper(&["run", "sales_channel", "--brand", "mesa", "--full"]);
    let run = full.run("sales_channel", "mesa");
    assert_eq!((&run["rows_inserted"], &run["rows_updated"]), (&Value::from(0), &Value::from(0)), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_with_a_remedy_and_the_others_go_on() {
    let world = World::start(12).await;
    let (site, folder) = ("sites/mesa", "BI Import");
    let whole = world.stand_ins.graph.file(site, folder, "Sales Channel - Daily.xlsx").unwrap();
    let now = "2025-11-29T10:30:00Z".parse().unwrap();
    let put = |bytes: Vec<u8>| world.stand_ins.graph.put_file(site, folder, "Sales Channel - Daily.xlsx", bytes, now);
    put(whole[..whole.len() / 2].to_vec());
    let run = world.storekeeper(&["run", "--all"]);
    assert_eq!(run.code, 1);
    let failed: Vec<String> = run.runs().into_iter().filter(|line| !line.ends_with("succeeded")).collect();
    assert_eq!(failed, ["sales_channel mesa: partial"]);
    let report = run.run("sales_channel", "mesa");
    assert!(report["error"].as_str().unwrap().contains("`Sales Channel - Daily.xlsx`"), "{report}");
    assert!(report["hint"].as_str().unwrap().contains("upload it once more"), "{report}");
    let names =
        "SELECT string_agg(DISTINCT f.name, ', ') FROM mart_mesa.sales_channel JOIN ops.files f USING (file_id)";
    let there = world.text(names).await;
    assert!(!there.is_empty() && !there.contains("Daily"), "nothing of the bad file is there, the others are: {there}");
    let mailed = world.storekeeper(&["report", "--mail"]);
    assert!(mailed.json["subject"].as_str().unwrap().contains("1 of 14 runs"), "{}", mailed.json);
    // What was wrong is put right, and only that is loaded.
    put(whole);
    let mended = world.storekeeper(&["run", "--all"]);
    let loaded: Vec<String> = mended.runs().into_iter().filter(|line| !line.ends_with("nothing_new")).collect();
    assert_eq!((mended.code, loaded), (0, vec!["sales_channel mesa: succeeded".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_anywhere_leaves_the_same_tables_once_it_is_run_again() {
    let calm = World::start(12).await;
    let names = ["run", "stores", "sales_channel", "daily_store_metrics", "--brand", "mesa"];
    assert_eq!(calm.storekeeper(&names).code, 0);
    let wanted = calm.digest().await;
    assert!(wanted.len() >= 3, "{wanted:?}");
    let world = World::start(12).await;
    for point in
        ["run_opened", "files_fetched", "load_begun", "file_copied", "before_merge", "before_commit", "after_commit"]
    {
        world.crash(&names, point);
        let open: i64 = world.text("SELECT count(*) FROM ops.runs WHERE status = 'running'").await.parse().unwrap();
        assert!(open <= 1, "{point}: {open} runs open");
    }
    world.kill_at(&names, "nothing new");
    let last = world.storekeeper(&names);
    assert_eq!(last.code, 0, "{}", last.json);
    assert_eq!(world.digest().await, wanted);
    let counts = world.text("SELECT count(*) FROM ops.runs WHERE status = 'running'").await;
    assert_eq!(counts, "0", "the next start marks what a crash left open");
    let interrupted: i64 =
        world.text("SELECT count(*) FROM ops.runs WHERE status = 'interrupted'").await.parse().unwrap();
    assert!(interrupted >= 6, "{interrupted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_run_the_same_pipeline_load_it_once() {
    let world = World::start(12).await;
    let names = ["run", "stores", "sales_channel", "--brand", "mesa"];
    let spawn = || world.command(&names).output();
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(spawn), scope.spawn(spawn));
        (one.join().unwrap().unwrap(), two.join().unwrap().unwrap())
    });
    assert!(one.status.success() && two.status.success());
    let loads = world.text("SELECT count(*) FROM ops.loads WHERE pipeline = 'sales_channel'").await;
    assert_eq!(loads, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_employees_are_in_no_log_mail_or_answer() {
    let world = World::start(12).await;
    let run = world.storekeeper(&["run", "stores", "clock_in_out", "--brand", "mesa"]);
    assert_eq!(run.code, 0, "{}", run.json);
    let name = world
        .text("SELECT employee_name FROM mart_mesa.clock_in_out ORDER BY length(employee_name) DESC LIMIT 1")
        .await;
    assert!(name.len() > 3);
    world.storekeeper(&["report", "--mail"]);
    let mails: String =
        world.stand_ins.smtp.messages().iter().map(|mail| String::from_utf8_lossy(&mail.raw).into_owned()).collect();
    for (place, text) in [("log", &run.log), ("answer", &run.json.to_string()), ("mail", &mails)] {
        assert!(!text.contains(&name), "{place} holds a name");
    }
}
