//! The program under show, run as an operator runs it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use sandbox::stand_ins::StandIns;
use serde_json::Value;

use crate::DemoArguments;

/// Runs commands and keeps what they say below `answers/` and `logs/`.
pub(super) struct Program {
    path: PathBuf,
    dir: PathBuf,
    definitions: PathBuf,
    now: String,
}

impl Program {
    pub(super) fn new(arguments: &DemoArguments, dir: &Path) -> anyhow::Result<Self> {
        for folder in ["answers", "logs"] {
            std::fs::create_dir_all(dir.join(folder))?;
        }
        let path = arguments
            .storekeeper
            .canonicalize()
            .with_context(|| format!("there is no `{}`: build it first", arguments.storekeeper.display()))?;
        let definitions = arguments.definitions.canonicalize()?;
        Ok(Self { path, dir: dir.to_owned(), definitions, now: arguments.now.to_rfc3339() })
    }

    /// Writes a script that runs any command as this demo does, for who wants to try some.
    pub(super) fn script(&self) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let command = self.command();
        let variables = StandIns::variables().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        // The secrets open stand-ins on loopback and nothing else.
        let text = format!("#!/bin/sh\n{} exec {} \"$@\"\n", variables.join(" "), words.join(" "));
        let path = self.dir.join("storekeeper");
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// Where a command's answer is kept.
    pub(super) fn answer_file(&self, name: &str) -> PathBuf {
        self.dir.join("answers").join(format!("{name}.json"))
    }

    /// Runs a command; its answer, whatever it ended with, as long as it answered.
    pub(super) fn json(&self, name: &str, command: &[&str]) -> anyhow::Result<Value> {
        let log = self.log(name);
        let output = self
            .command()
            .args(["--format", "json"])
            .args(command)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .output()
            .with_context(|| format!("failed to run `storekeeper {}`", command.join(" ")))?;
        std::fs::write(self.answer_file(name), &output.stdout)?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`storekeeper {}` gave no answer; see {}", command.join(" "), log.display()))?;
        if let (Some(error), false) = (answer["error"].as_str(), output.status.success()) {
            let hint = answer["hint"].as_str().map(|hint| format!("\n hint: {hint}")).unwrap_or_default();
            bail!("`storekeeper {}` failed: {error}{hint}\n  log: {}", command.join(" "), log.display());
        }
        Ok(answer)
    }

    /// Starts the daemon and waits until it serves.
    pub(super) async fn daemon(&self) -> anyhow::Result<Daemon> {
        let log = self.log("serve");
        let mut child = self
            .command()
            .arg("serve")
            .env("STOREKEEPER__LOG__FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start the daemon")?;
        let lines = child.stderr.take().context("the daemon has no log")?;
        let mut kept = File::create(&log)?;
        let (ready, serving) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                // The log is a courtesy: a full disk must not stop the demo here.
                let _kept = std::io::Write::write_all(&mut kept, format!("{line}\n").as_bytes());
                if line.contains("serving HTTP")
                    && let Some(ready) = ready.take()
                {
                    let _gone = ready.send(());
                }
            }
        });
        let daemon = Daemon { child };
        match serving.await {
            Ok(()) => Ok(daemon),
            Err(_) => bail!("the daemon ended early:\n{}", std::fs::read_to_string(&log)?),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .arg("--definitions")
            .arg(&self.definitions)
            .args(["--now", &self.now])
            .envs(StandIns::variables());
        command
    }
}

/// The daemon, until it is stopped or dropped.
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Asks it to end, as a service manager does, and waits.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.terminate();
        let status = tokio::task::spawn_blocking(move || self.child.wait()).await??;
        if status.success() { Ok(()) } else { bail!("the daemon ended with {status}") }
    }

    fn terminate(&self) {
        // The standard library can only kill; `kill` of the shell asks.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).status();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}
