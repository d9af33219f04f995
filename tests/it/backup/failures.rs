//! What goes wrong, and what is said and left then.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::Executor as _;

use super::{Place, message};

#[tokio::test]
async fn a_backup_that_was_killed_counts_for_nothing() {
    let place = Place::with_rows("").await;
    // Its lock keeps pg_dump waiting: the backup cannot end before it is killed.
    let mut lock = place.pool.begin().await.unwrap();
    lock.execute("LOCK TABLE mart_harbor.stores IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut child = place.command(&["backup", "create"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while place.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'storekeeper backup' AND wait_event_type = 'Lock' AND datname = current_database()").await == "0" {
        assert!(started.elapsed() < Duration::from_secs(60), "no backup waits for the lock");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lock.rollback().await.unwrap();
    assert!(place.listed_states().iter().all(|state| state == "incomplete"), "{:?}", place.listed_states());
    let said = place.backup(&["verify"]);
    assert!(message(&said).contains("there is no complete backup of the warehouse"), "{}", said.json);
    // The next one is whole, and what was left goes when it is old.
    place.created();
    assert_eq!(place.listed_states().last().map(String::as_str), Some("complete"));
    let half = place.write("backups/warehouse/20200101T000000Z-dead00.dump.age", "half of it");
    let staged = place.write("backups/warehouse/20200101T000000Z-dead01.dump.age#1", "half of it");
    assert_eq!(place.listed_states(), ["incomplete", "complete"]);
    place.created();
    assert!(!half.exists() && !staged.exists());
    assert_eq!(place.listed_states(), ["complete", "complete"]);
}

/// A limit on the size of a file fails a write as a full disk does, on any machine.
#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let place = Place::with_rows("").await;
    let mut command = std::process::Command::new("sh");
    let inner = place.command(&["backup", "create"]);
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.current_dir(place.path(".")).envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let said = crate::support::place::said(&command.output().unwrap());
    assert_eq!(said.code, Some(1), "{} {}", said.json, said.log);
    assert!(message(&said).contains("there is no room in the target"), "{}", said.json);
    assert_eq!(place.objects(), Vec::<std::path::PathBuf>::new());
    assert_eq!(place.listed_states(), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_and_an_old_pg_dump_are_told_with_what_to_install() {
    let place = Place::with_rows("programs_dir = \"programs\"\n").await;
    std::fs::create_dir(place.path("programs")).unwrap();
    let said = place.backup(&["create"]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("`pg_dump` is not installed: looked in `programs`"), "{}", said.json);
    assert!(message(&said).contains("apt-get install postgresql-client"), "{}", said.json);
    let program = place.write("programs/pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 11.22'\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = place.backup(&["create"]);
    assert!(message(&said).contains("`pg_dump` 11 is older than version 1"), "{}", said.json);
    // One that breaks off after half of its output.
    let broken = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 99.1' && exit\necho PGDMP half\necho 'pg_dump: error: the connection was lost' >&2\nexit 1\n";
    std::fs::write(&program, broken).unwrap();
    let said = place.backup(&["create"]);
    assert!(message(&said).contains("`pg_dump` failed: pg_dump: error: the connection was lost"), "{}", said.json);
    assert_eq!(place.listed_states(), Vec::<String>::new());
    assert_eq!(place.objects(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn wrong_settings_end_with_2() {
    let place = Place::with_rows("").await;
    let with = |name: &str, value: &str, words: &[&str]| {
        crate::support::place::said(&place.command(words).env(name, value).output().unwrap())
    };
    let said = with("STOREKEEPER__BACKUP__TARGET", "", &["backup", "list"]);
    assert_eq!((said.code, message(&said).contains("`backup.target` is not set")), (Some(2), true), "{}", said.json);
    let said = with("STOREKEEPER__BACKUP__TARGET", "ftp://x/y", &["backup", "list"]);
    assert_eq!(said.code, Some(2), "{}", said.json);
    let said = place.backup(&["create", "--what", "metabase"]);
    assert_eq!(said.code, Some(2));
    assert!(message(&said).contains("backup.metabase_database_url"), "{}", said.json);
    let said = place.backup(&["restore", "--what", "all"]);
    assert_eq!(said.code, Some(2), "{}", said.json);
    let said = place.backup(&["restore", "nonsense"]);
    assert!(message(&said).contains("no complete backup `nonsense` of the warehouse"), "{}", said.json);
}

#[tokio::test]
async fn a_secret_key_among_the_recipients_is_in_no_message() {
    let key = super::IDENTITY;
    let place = Place::with_rows(&format!("recipients = [\"{key}\"]\n")).await;
    let said = place.backup(&["create"]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("it holds a secret key"), "{}", said.json);
    assert!(!format!("{}{}", said.json, said.log).contains(key));
}

#[tokio::test]
async fn a_backup_of_a_newer_program_is_not_restored() {
    let place = Place::with_rows("").await;
    place.created();
    let mut manifest = place.manifest();
    manifest["contents"]["migration"] = 9999.into();
    std::fs::write(place.object(".json"), manifest.to_string()).unwrap();
    let said = place.backup(&["restore", "--replace"]);
    assert_eq!(said.code, Some(1));
    assert!(message(&said).contains("has migration 9999, this program knows"), "{}", said.json);
    std::fs::write(place.object(".json"), "{ \"format\": 1 }").unwrap();
    assert_eq!(place.listed_states(), ["unreadable"]);
}
