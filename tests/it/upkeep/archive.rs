//! Old months in files: the same rows come back, whatever happens in between.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;
use sqlx::PgConnection;
use storekeeper::ids::LoadId;
use storekeeper::warehouse::archived_months;

use super::{NOW, Place, definition, place};
use sqlx::Connection as _;

const KEEP_A_YEAR: &str = "archive_after_months = 12";
/// Every row and version there is, whatever column.
const ALL: &str = "SELECT string_agg(x, e'\\n' ORDER BY x) FROM (
    SELECT 'row ' || to_jsonb(t)::text FROM mart_harbor.sales t
    UNION ALL SELECT 'version ' || to_jsonb(t)::text FROM history_harbor.sales t) AS all_of_it(x)";
const LIVE: &str =
    "SELECT string_agg(to_char(month, 'YYYY-MM'), ' ' ORDER BY month) FROM ops.archives WHERE restored_at IS NULL";

/// Rows of three months, of which two are older than a year; one was changed later.
async fn old_sales() -> Place {
    let place = place(KEEP_A_YEAR).await;
    let rows = "A,2024-09-03,1,10\nA,2024-09-03,2,-20.50\nB,2024-10-31,1,\nA,2025-11-03,1,40\n";
    place.load_on("2024-11-02T11:00:00Z", "one.csv", rows);
    place.load_on("2024-11-03T11:00:00Z", "two.csv", "A,2024-09-03,1,11\n");
    place
}

fn files(place: &Place) -> Vec<PathBuf> {
    let folder = place.path("var/archive/harbor/sales");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().map(|one| one.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_goes_to_a_file_and_the_same_rows_come_back() {
    let place = old_sales().await;
    let before = place.text(ALL).await;
    let due = place.at(NOW, &["archive", "run", "--dry-run"]);
    let months: Vec<&str> =
        due.json["due"].as_array().unwrap().iter().map(|one| one["month"].as_str().unwrap()).collect();
    assert_eq!(months, ["2024-09", "2024-10"], "November 2024 ended less than twelve months before this one");
    assert_eq!(place.text(ALL).await, before);
    let done = place.at(NOW, &["archive", "run"]);
    assert_eq!(done.code, Some(0), "{} {}", done.json, done.log);
    let archived = done.json["archived"].as_array().unwrap();
    let counts: Vec<_> = archived.iter().map(|one| (&one["archive"]["rows"], &one["archive"]["versions"])).collect();
    assert_eq!(counts, [(&json!(2), &json!(1)), (&json!(1), &json!(0))]);
    assert_eq!(place.partitions().await, "202511");
    assert_eq!(
        place
            .text("SELECT (SELECT count(*) FROM mart_harbor.sales) || ' ' || count(*) FROM history_harbor.sales")
            .await,
        "1 0"
    );
    assert_eq!(place.text(LIVE).await, "2024-09 2024-10");
    assert_eq!(files(&place).len(), 2);
    for file in files(&place) {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A second one finds nothing; what is there is as it was.
    assert_eq!(place.at(NOW, &["archive", "run"]).json["archived"], json!([]));
    let verified = place.at(NOW, &["archive", "verify"]);
    assert_eq!((verified.code, verified.json["verified"].as_array().unwrap().len()), (Some(0), 2), "{}", verified.json);
    // Which loads an undo would need these months for.
    let mut connection = PgConnection::connect(place.url()).await.unwrap();
    let months = archived_months(&mut connection, &"harbor".into(), "sales", LoadId(2)).await.unwrap();
    assert_eq!(months.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2024-09-01"]);

    // A damaged file is found, and brings nothing back.
    let file = files(&place).into_iter().find(|file| file.display().to_string().contains("202409")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for damaged in [whole[..whole.len() / 2].to_vec(), {
        let mut bytes = whole.clone();
        bytes[20] ^= 1;
        bytes
    }] {
        std::fs::write(&file, damaged).unwrap();
        let verified = place.at(NOW, &["archive", "verify"]);
        assert_eq!(verified.code, Some(1), "{}", verified.json);
        assert!(verified.json["verified"][0]["hint"].as_str().unwrap().contains("backup"), "{}", verified.json);
        assert_eq!(verified.json["verified"][1]["error"], json!(null));
        let refused = place.at(NOW, &["archive", "restore", "sales", "2024-09"]);
        assert_eq!(refused.code, Some(1), "{}", refused.json);
        assert_eq!(place.partitions().await, "202511");
    }
    std::fs::write(&file, &whole).unwrap();

    // Back it comes; the table has one more column by now.
    let with_note = definition(KEEP_A_YEAR).replace(
        "[destination]",
        "[[contract.columns]]\nname = \"note\"\ntype = \"text\"\noptional = true\n[destination]",
    );
    place.write("pipelines/sales/pipeline.toml", with_note);
    place.load_on(NOW, "three.csv", "A,2025-11-03,2,50\n");
    for month in ["2024-09", "2024-10"] {
        let back = place.at(NOW, &["archive", "restore", "sales", month]);
        assert_eq!(back.code, Some(0), "{} {}", back.json, back.log);
    }
    let after = place.text(&format!("SELECT string_agg(x, e'\\n' ORDER BY x) FROM regexp_split_to_table(({ALL}), e'\\n') x WHERE x NOT LIKE '%50.00%'")).await;
    assert_eq!(after.replace(", \"note\": null", "").replace("\"note\": null, ", ""), before);
    assert_eq!(place.partitions().await, "202409 202410 202511");
    let again = place.at(NOW, &["archive", "restore", "sales", "2024-09"]);
    assert!(again.json["error"].as_str().unwrap().contains("is not archived"), "{}", again.json);
    // It is left alone for a week, for what somebody brought it back for.
    assert_eq!(place.at("2025-12-06T10:00:00Z", &["archive", "run"]).json["archived"], json!([]));
    let later = place.at("2025-12-06T12:00:00Z", &["archive", "run"]);
    assert_eq!(later.json["archived"].as_array().unwrap().len(), 2, "{}", later.json);
    assert_eq!(place.at(NOW, &["archive", "list"]).json["archives"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_wherever_it_dies() {
    let place = old_sales().await;
    let before = place.text(ALL).await;
    // Rows in the table and rows in files that the ledger knows.
    let everywhere = "SELECT (SELECT count(*) FROM mart_harbor.sales) + (SELECT count(*) FROM history_harbor.sales)
        + (SELECT coalesce(sum(row_count + version_count), 0) FROM ops.archives WHERE restored_at IS NULL)";
    assert_eq!(place.text(everywhere).await, "5");
    let dies = |words: &[&str], point: &str| {
        let words = [&["--now", NOW], words].concat();
        let status = place.command(&words).env("STOREKEEPER_CRASH_AT", point).output().unwrap().status;
        assert_eq!(status.code(), None, "it should have died at `{point}`");
    };
    for point in ["archive_written", "archive_renamed", "archive_read_back", "archive_dropped"] {
        dies(&["archive", "run"], point);
        assert_eq!(place.text(everywhere).await, "5", "{point}");
        assert_eq!((place.text(ALL).await, place.text(LIVE).await), (before.clone(), String::new()), "{point}");
    }
    dies(&["archive", "run"], "archive_committed");
    assert_eq!((place.text(everywhere).await.as_str(), place.text(LIVE).await.as_str()), ("5", "2024-09"));
    assert_eq!(place.at(NOW, &["archive", "run"]).json["archived"].as_array().unwrap().len(), 1);
    assert_eq!(place.at(NOW, &["archive", "verify"]).code, Some(0));
    let names: Vec<String> =
        files(&place).iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert!(names.len() == 2 && names.iter().all(|name| name.ends_with(".parquet")), "nothing is left over: {names:?}");
    for point in ["restore_copied", "restore_settled"] {
        dies(&["archive", "restore", "sales", "2024-09"], point);
        assert_eq!(place.text(everywhere).await, "5", "{point}");
        assert_eq!(place.text(LIVE).await, "2024-09 2024-10", "{point}");
    }
    for month in ["2024-09", "2024-10"] {
        assert_eq!(place.at(NOW, &["archive", "restore", "sales", month]).code, Some(0));
    }
    assert_eq!(place.text(ALL).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_get_the_lock_or_the_disk_leaves_everything_as_it_was() {
    let place = old_sales().await;
    let before = place.text(ALL).await;
    // Somebody reads and does not stop: the partition is not dropped under them.
    let mut reader = place.pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM mart_harbor.sales").execute(&mut *reader).await.unwrap();
    let busy = place.at(NOW, &["archive", "run"]);
    assert_eq!(busy.code, Some(1), "{}", busy.json);
    assert!(busy.json["archived"][0]["error"].as_str().unwrap().contains("is being read"), "{}", busy.json);
    reader.rollback().await.unwrap();
    assert_eq!(place.text(ALL).await, before);
    // A file where the folder should be.
    std::fs::remove_dir_all(place.path("var/archive")).unwrap();
    place.write("var/archive", "");
    let refused = place.at(NOW, &["archive", "run"]);
    assert_eq!(refused.code, Some(1), "{}", refused.json);
    assert!(refused.json["archived"][0]["hint"].as_str().unwrap().contains("archive_dir"), "{}", refused.json);
    assert_eq!((place.text(ALL).await, place.text(LIVE).await), (before, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_archived_month_are_set_aside_until_it_is_back() {
    let place = old_sales().await;
    assert_eq!(place.at(NOW, &["archive", "run"]).code, Some(0));
    let run = place.load_on(NOW, "late.csv", "A,2024-09-03,1,12\nA,2024-09-04,1,5\nA,2025-11-04,1,60\n");
    assert_eq!((&run["rows_quarantined"], &run["rows_inserted"]), (&json!(2), &json!(1)), "{run:#}");
    let reason = run["quarantine"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("2024-09 of `sales` is archived")
            && reason.contains("archive restore sales 2024-09 --brand harbor"),
        "{reason}"
    );
    assert_eq!(place.partitions().await, "202511");
    let open =
        "SELECT string_agg(rule || ' ' || source_row || ' ' || state, ', ' ORDER BY quarantine_id) FROM ops.quarantine";
    assert_eq!(place.text(open).await, "archived 2 open, archived 3 open");
    // Tried too early, they stay, each in one line.
    let early = place.at(NOW, &["quarantine", "replay", "--pipeline", "sales"]);
    assert_eq!(early.json["runs"][0]["rows_quarantined"], json!(2), "{} {}", early.json, early.log);
    assert_eq!(place.text(open).await, "archived 2 open, archived 3 open");
    assert_eq!(place.partitions().await, "202511");
    assert_eq!(place.at(NOW, &["archive", "restore", "sales", "2024-09"]).code, Some(0));
    let replayed = place.at(NOW, &["quarantine", "replay", "--pipeline", "sales"]);
    assert_eq!(replayed.code, Some(0), "{} {}", replayed.json, replayed.log);
    assert_eq!(place.text(open).await, "archived 2 replayed, archived 3 replayed");
    let rows =
        "SELECT string_agg(amount::text, ' ' ORDER BY day, ticket) FROM mart_harbor.sales WHERE day < '2024-10-01'";
    assert_eq!(place.text(rows).await, "12.00 -20.50 5.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_archived_says_so_before() {
    let place = place("").await;
    place.load_on(NOW, "one.csv", "A,2020-01-03,1,10\n");
    assert_eq!(place.at(NOW, &["archive", "run"]).json["archived"], json!([]), "off until somebody says so");
    let mistake = |more: &str, disposition: &str| {
        let text = definition(more).replace("\"merge\"", disposition);
        place.write("pipelines/sales/pipeline.toml", text);
        place.at(NOW, &["db", "maintain"]).json["error"].to_string()
    };
    assert!(mistake(KEEP_A_YEAR, "\"replace\"").contains("does not go with `replace`"));
    assert!(mistake("indexes = [[\"dya\"]]", "\"merge\"").contains("index column `dya`"));
    place.write("pipelines/sales/pipeline.toml", definition(""));
    let unknown = place.at(NOW, &["archive", "restore", "sale", "2024-09"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.json);
}
