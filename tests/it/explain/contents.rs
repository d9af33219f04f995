//! The kept bytes of files: there exactly when the rows are, and no longer than wanted.

use sha2::{Digest as _, Sha256};

use super::past::place;
use crate::support::place::Place;
use crate::support::world::World;

const LUNCH: [&str; 4] = ["sales", "125", "2025-11-28", "Lunch"];

impl Place {
    async fn kept(&self) -> String {
        let counts = "SELECT count(*) FILTER (WHERE pruned_at IS NULL) || ' kept, ' || count(pruned_at) || ' pruned, '
                          || (SELECT count(DISTINCT content_id) FROM ops.file_pieces) || ' with bytes'
                      FROM ops.file_contents";
        self.text(counts).await
    }

    fn no_cells(&self) -> String {
        let said = self.explain(&LUNCH);
        assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
        said.json["answers"][0]["found"][0]["rows"][0]["no_cells"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_load_that_dies_leaves_no_bytes_and_one_that_commits_leaves_them_once() {
    let place = place().await;
    let file = place.write("first.csv", "Store,Day,Part,Cashier,Net Sales\n125,11/28/25,Lunch,Ann,10\n");
    let words = ["run", "sales", "--file", file.to_str().unwrap()];
    for point in ["file_copied", "before_commit"] {
        let output = place.command(&words).env("STOREKEEPER_CRASH_AT", point).output().unwrap();
        assert_eq!(output.status.code(), None, "it should have died at `{point}`");
        assert_eq!(place.kept().await, "0 kept, 0 pruned, 0 with bytes", "after dying at `{point}`");
    }
    assert_eq!(place.storekeeper(&words).code, Some(0));
    assert_eq!(place.kept().await, "1 kept, 0 pruned, 1 with bytes");
    let full = [&words[..], &["--full"]].concat();
    assert_eq!(place.storekeeper(&full).code, Some(0));
    assert_eq!(place.kept().await, "1 kept, 0 pruned, 1 with bytes", "the same content is kept once");
    // A file that is refused as a whole has no rows, and leaves no bytes.
    let bad = place.write("bad.csv", "Shop,When\n1,2\n");
    assert_eq!(place.storekeeper(&["run", "sales", "--file", bad.to_str().unwrap()]).code, Some(1));
    assert_eq!(place.kept().await, "1 kept, 0 pruned, 1 with bytes");
}

#[tokio::test]
async fn a_large_file_is_kept_byte_for_byte_in_pieces_and_a_row_at_its_end_is_found() {
    let place = place().await;
    let mut text = "Store,Day,Part,Cashier,Net Sales\n".to_owned();
    for row in 0..200_000_u64 {
        // Numbers without a pattern, so that compressing takes work.
        let odd = row.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) % 1_000_000_007;
        text.push_str(&format!(
            "{},11/{:02}/25,P{row},{odd:032},{}.{:02}\n",
            row % 900 + 1,
            row % 28 + 1,
            odd % 9000,
            odd % 100
        ));
    }
    text.push_str("125,11/28/25,Lunch,Ann,10.01\n");
    assert!(text.len() > 9 << 20, "{}", text.len());
    let file = place.write("large.csv", &text);
    assert_eq!(place.run("sales", &file)["status"], "succeeded");
    let pieces: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT bytes FROM ops.file_pieces ORDER BY piece").fetch_all(&place.pool).await.unwrap();
    assert!(pieces.len() >= 3, "{}", pieces.len());
    let stored: usize = pieces.iter().map(Vec::len).sum();
    let whole: Vec<u8> = pieces.iter().flat_map(|piece| zstd::decode_all(piece.as_slice()).unwrap()).collect();
    assert!(whole == text.as_bytes(), "what is kept is not what was loaded");
    let sizes =
        "SELECT content_hash || ' ' || encoding || ' ' || size_bytes || ' ' || stored_bytes FROM ops.file_contents";
    let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(place.text(sizes).await, format!("{hash} zstd {} {stored}", text.len()));
    let said = place.explain(&[&LUNCH[..], &["--column", "net_sales"]].concat());
    let row = &said.json["answers"][0]["found"][0]["rows"][0];
    assert_eq!((&row["source_row"], &row["values"][0]["cells"][0]["text"]), (&200_002.into(), &"10.01".into()));
}

#[tokio::test]
async fn bytes_are_removed_once_no_load_brought_them_for_long_and_explain_says_so() {
    let place = place().await;
    place.load_at("2025-12-01T09:00:00Z", "first.csv", "125,11/28/25,Lunch,Ann,10\n");
    place.load_at("2025-12-01T09:00:00Z", "again.csv", "126,11/28/25,Lunch,Ann,10\n");
    assert_eq!(place.no_cells(), "");
    // 380 days later one of the two comes again; 401 days after the first, a third file comes.
    let again = place.path("again.csv");
    let later = ["--now", "2026-12-16T09:00:00Z", "run", "sales", "--full", "--file", again.to_str().unwrap()];
    assert_eq!(place.storekeeper(&later).code, Some(0));
    assert_eq!(place.kept().await, "2 kept, 0 pruned, 2 with bytes");
    place.load_at("2027-01-06T09:00:01Z", "third.csv", "127,11/28/25,Lunch,Ann,10\n");
    assert_eq!(place.kept().await, "2 kept, 1 pruned, 2 with bytes");
    let why = place.no_cells();
    assert!(why.contains("no longer kept") && why.contains("storekeeper run sales --full"), "{why}");
    // It is kept anew when it comes again.
    let first = place.path("first.csv");
    let back = ["--now", "2027-01-07T09:00:00Z", "run", "sales", "--full", "--file", first.to_str().unwrap()];
    assert_eq!(place.storekeeper(&back).code, Some(0));
    assert_eq!((place.kept().await.as_str(), place.no_cells().as_str()), ("3 kept, 1 pruned, 3 with bytes", ""));
}

#[tokio::test]
async fn nothing_is_kept_where_keeping_is_switched_off_and_explain_says_so() {
    let place = place().await;
    place.load_at("2025-12-01T09:00:00Z", "first.csv", "126,11/28/25,Lunch,Ann,10\n");
    assert_eq!(place.kept().await, "1 kept, 0 pruned, 1 with bytes");
    let file = place.write("second.csv", "Store,Day,Part,Cashier,Net Sales\n125,11/28/25,Lunch,Ann,10\n");
    let words = ["run", "sales", "--file", file.to_str().unwrap()];
    let output = place.command(&words).env("STOREKEEPER__WAREHOUSE__KEEP_FILES_DAYS", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(place.kept().await, "0 kept, 1 pruned, 0 with bytes", "what was kept goes, too");
    let why = place.no_cells();
    assert!(why.contains("`warehouse.keep_files_days` was 0"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_is_kept_as_it_came_and_once_for_all_its_sheets() {
    let world = World::start(12).await;
    assert_eq!(world.storekeeper(&["run", "stores", "store_hours", "calendar", "--brand", "mesa"]).code, 0);
    let kept: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT c.encoding, string_agg(p.bytes, ''::bytea ORDER BY p.piece)
         FROM ops.file_contents c JOIN ops.file_pieces p USING (content_id) GROUP BY content_id, encoding",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let written = world.truth.drive_files("mesa").into_iter().find(|file| file.name == "BI Dimensions.xlsx").unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0] == ("none".to_owned(), written.content));
}
