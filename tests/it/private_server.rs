//! The private PostgreSQL: started when nobody gave one, shared, never left behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use storekeeper::warehouse::Embedded;

fn storekeeper(data_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storekeeper"));
    command
        .args(["--definitions", env!("CARGO_MANIFEST_DIR"), "--format", "json"])
        .args(words)
        .current_dir(data_dir.parent().unwrap())
        .env("STOREKEEPER__INSTALLATION__DATA_DIR", data_dir)
        .env("STOREKEEPER__OPS__LISTEN", "127.0.0.1:0")
        .env("STOREKEEPER__SCHEDULER__ENABLED", "false")
        .stdin(Stdio::null());
    command
}

/// Waits until the supervisor has let go of its lock, which it does last of all.
fn wait_until_stopped(data_dir: &Path) {
    let lock = std::fs::File::open(data_dir.join("postgres/supervisor.lock")).unwrap();
    let started = Instant::now();
    while lock.try_lock().is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "the private server was left behind");
        std::thread::yield_now();
    }
    assert!(!data_dir.join("postgres/cluster/postmaster.pid").exists());
}

#[tokio::test]
async fn a_supervisor_that_ends_without_a_word_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let error = Embedded::join(folder.path(), Path::new("false")).await.unwrap_err().to_string();
    let report = folder.path().canonicalize().unwrap().join("postgres/supervisor.log");
    let words = format!("exit status: 1, and not a word in `{}`, as where the disk is full", report.display());
    assert!(error.ends_with(&words), "{error}");
}

#[test]
fn a_private_server_is_started_reused_and_never_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    // The server's own user must be able to enter.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("data");
    let migrated = storekeeper(&data_dir, &["db", "migrate"]).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    // One after the other, while the server of the one before is still stopping.
    for _ in 0..4 {
        let status = storekeeper(&data_dir, &["db", "status"]).output().unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    }
    wait_until_stopped(&data_dir);

    // Killed in the middle, it leaves nothing either.
    let mut daemon = storekeeper(&data_dir, &["serve"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = std::io::BufReader::new(daemon.stderr.take().unwrap());
    let serving = std::io::BufRead::lines(log).map_while(Result::ok).any(|line| line.contains("serving HTTP"));
    assert!(serving);
    let status = storekeeper(&data_dir, &["db", "status"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["migrations"].as_array().unwrap().iter().all(|migration| migration["applied"] == true), "{status}");
    assert!(data_dir.join("postgres/cluster/postmaster.pid").exists(), "shared with the daemon, which still runs");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    wait_until_stopped(&data_dir);
}

#[test]
fn a_command_on_the_heels_of_another_finds_the_private_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("data");
    for _ in 0..6 {
        // Two at once, while the server of the two before them is stopping.
        let both = [(), ()].map(|()| storekeeper(&data_dir, &["db", "status"]).stdout(Stdio::piped()).spawn().unwrap());
        for one in both {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    wait_until_stopped(&data_dir);
}

#[test]
fn a_wrong_option_ends_with_2_and_one_json_document() {
    let folder = tempfile::tempdir().unwrap();
    let output = storekeeper(&folder.path().join("data"), &["run", "--brnd", "harbor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["error"], "unexpected argument '--brnd' found");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_settings_end_with_2_and_all_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[log]\nformt = \"json\"\n[brands.harbor]\ntitel = \"x\"\n").unwrap();
    let output =
        storekeeper(&folder.path().join("data"), &["check", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["bad.toml:2", "log.format", "bad.toml:4", "brands.harbor.title"] {
        assert!(answer.contains(word), "{answer}");
    }
}
