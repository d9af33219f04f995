//! The daemon makes the backups that are due, and tells of the newest.

use std::io::BufRead as _;
use std::process::Stdio;

use super::Place;

#[tokio::test]
async fn a_daemon_makes_up_for_a_missed_backup_and_tells_when_the_newest_was_made() {
    let place = Place::with_rows("cron = \"30 2 * * *\"\n").await;
    let made = place.storekeeper(&["--now", "2026-03-01T02:30:00Z", "backup", "create"]);
    assert_eq!(made.code, Some(0), "{}", made.json);
    // Two nights later.
    let mut daemon = place
        .command(&["--now", "2026-03-03T11:00:00Z", "serve"])
        .env("STOREKEEPER__OPS__LISTEN", "127.0.0.1:0")
        .env("STOREKEEPER__SCHEDULER__ENABLED", "false")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let mut address = None;
    let mut made = false;
    while address.is_none() || !made {
        let line = log.next().unwrap_or_else(|| panic!("the daemon ended: {seen:?}"));
        assert!(!line.contains("backup failed"), "{line}");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        address = address.or_else(|| json["address"].as_str().map(str::to_owned));
        made = made || json["message"] == "made backup";
        seen.push(line);
    }
    assert_eq!(place.listed_states(), ["complete", "complete"]);
    // The newest is told once the target was looked into again, right after.
    let url = format!("http://{}/metrics", address.unwrap());
    let wanted = format!(
        "storekeeper_backup_last_success_timestamp_seconds{{what=\"warehouse\"}} {}",
        "2026-03-03T11:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
    );
    let started = std::time::Instant::now();
    loop {
        let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        if text.lines().any(|line| line == wanted) {
            break;
        }
        assert!(started.elapsed().as_secs() < 60, "{wanted} is not in\n{text}");
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
