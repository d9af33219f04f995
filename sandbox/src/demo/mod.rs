//! The demo: a newcomer's first minute, by the commands that an operator types.

mod program;
pub(crate) mod screen;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use sandbox::generator::World;
use sandbox::stand_ins::StandIns;
use serde_json::{Map, Value, json};

use self::program::Program;
use crate::DemoArguments;

/// Runs the whole chain once.
pub(crate) async fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let dir = absolute(&arguments.dir)?;
    let mut steps = Steps::default();
    steps.begin("start the stand-ins and fill them");
    let (world, stand_ins) = start(arguments, &dir).await?;
    steps.end("sandbox");
    let people = dir.join("people.csv");
    std::fs::write(&people, world.people_csv())?;
    let program = Program::new(arguments, &dir)?;
    steps.begin("start PostgreSQL, migrate");
    // The daemon holds the private server for as long as the demo lasts.
    let daemon = program.daemon().await?;
    program.json("migrate", &["db", "migrate"])?;
    steps.end("migrate");
    steps.begin("load what is new");
    let loaded = program.json("load", &["run", "--all"])?;
    steps.end("load");
    steps.begin("forecast");
    let forecast = program.json("forecast", &["forecast", "run"])?;
    steps.end("forecast");
    let written_back = written_back(&program, &stand_ins)?;
    steps.begin("read people and grants");
    let access = program.json("access", &["access", "import", &people.display().to_string()])?;
    steps.end("access");
    steps.begin("plan Metabase");
    let plan = program.json("plan", &["plan"])?;
    steps.end("plan");
    steps.begin("apply");
    let applied = program.json("apply", &["apply", "--yes", "--no-audit"])?;
    steps.end("apply");
    steps.begin("plan again");
    let again = program.json("plan-again", &["plan"])?;
    steps.end("plan_again");
    steps.begin("audit: act with everybody's rights");
    let audit = program.json("audit", &["audit"])?;
    steps.end("audit");
    steps.begin("mail the summary");
    let since = first_run(&loaded).to_string();
    let outputs = ["forecast", "apply", "audit"].map(|name| program.answer_file(name).display().to_string());
    let [forecast_file, apply_file, audit_file] = &outputs;
    let options = ["--forecast", forecast_file, "--apply", apply_file, "--audit", audit_file];
    let mailed = program.json("mail", &[&["report", "--mail", "--since", &since][..], &options[..]].concat())?;
    steps.end("mail");
    steps.begin("stop the daemon and PostgreSQL");
    daemon.stop().await?;
    steps.end("stop");
    let remaining = again.as_array().map_or(0, Vec::len);
    let leaks = audit["leaks"].as_array().map_or(0, Vec::len);
    let report = json!({
        "runs": loaded["runs"],
        "forecast": { "series": forecast["series"], "staffed": forecast["staffed"], "horizon_days": forecast["horizon_days"] },
        "export": written_back,
        "plan": { "applied": applied["applied"], "remaining": remaining },
        "audit": { "people": audit["people"], "checks": audit["checks"], "leaks": leaks, "certificate": audit["certificate"]["html"] },
        "mail": { "eml": mailed["mail"]["eml"], "html": mailed["mail"]["html"] },
        "seconds": steps.seconds,
    });
    let report_file = dir.join("report.json");
    std::fs::write(&report_file, serde_json::to_string_pretty(&report)?)?;
    let facts = screen::Facts {
        report: &report,
        access: &access,
        planned: plan.as_array().map_or(0, Vec::len),
        exposures: &audit["exposures"],
        received: stand_ins.smtp.messages().len(),
        report_file: &report_file,
        subject: mailed["subject"].as_str().unwrap_or_default(),
    };
    screen::print(&facts);
    let failed = loaded["runs"].as_array().into_iter().flatten().any(|run| run["status"] == "failed");
    let failures = audit["failures"].as_array().is_some_and(|failures| !failures.is_empty());
    let all_there = written_back["rows"] == written_back["selected"] && written_back["left"] == 0;
    let fine = !failed && all_there && remaining == 0 && leaks == 0 && !failures;
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What of the forecast and of the hours stands in Dataverse by now, as the stand-ins and the program count it.
fn written_back(program: &Program, stand_ins: &StandIns) -> anyhow::Result<Value> {
    let plan = program.json("export-plan", &["export", "plan"])?;
    let count = |name: &str| {
        let exports = plan["exports"].as_array().into_iter().flatten();
        exports.filter_map(|export| export[name].as_u64()).sum::<u64>()
    };
    let tables = ["sk_salesforecast", "sk_laborforecast"];
    let rows_of =
        |table: &str| stand_ins.dataverses.values().map(|dataverse| dataverse.rows(table).len()).sum::<usize>();
    let rows: usize = tables.into_iter().map(rows_of).sum();
    let left = count("created") + count("changed") + count("refused");
    Ok(json!({ "rows": rows, "selected": count("unchanged") + left, "left": left }))
}

/// Starts the stand-ins and the daemon, and waits for ctrl-c.
pub(crate) async fn serve(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let dir = absolute(&arguments.dir)?;
    let (_, stand_ins) = start(arguments, &dir).await?;
    let program = Program::new(arguments, &dir)?;
    let daemon = program.daemon().await?;
    screen::line(&format!(
        "Metabase (stand-in)  {}\n  sign in as {} with {}\nsettings             {}\nany command          {script} forecast show 000125\n                     {script} metabase preview\n\nctrl-c ends it",
        stand_ins.metabase.base_url,
        sandbox::stand_ins::ADMIN_EMAIL,
        sandbox::stand_ins::ADMIN_PASSWORD,
        dir.join("config.toml").display(),
        script = program.script()?.display(),
    ));
    tokio::signal::ctrl_c().await?;
    daemon.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what earlier times left.
pub(crate) fn clean(dir: &Path) -> anyhow::Result<ExitCode> {
    if dir.exists() {
        // The private server stops by itself when its last user is gone, and is
        // gone when the lock that its supervisor holds is free.
        let lock = dir.join("data/postgres/supervisor.lock");
        if let Ok(lock) = std::fs::File::open(lock) {
            lock.lock().context("failed to wait for the private PostgreSQL to stop")?;
        }
        // Where the server's own user cannot enter the folder, its files stand elsewhere.
        let cluster = dir.join("data/postgres/cluster");
        if cluster.is_symlink()
            && let Ok(elsewhere) = cluster.canonicalize()
        {
            std::fs::remove_dir_all(&elsewhere)
                .with_context(|| format!("failed to remove `{}`", elsewhere.display()))?;
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("failed to remove `{}`", dir.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(arguments: &DemoArguments, dir: &Path) -> anyhow::Result<(World, StandIns)> {
    let world = arguments.world();
    let stand_ins = StandIns::start(&world, arguments.now, Some(&dir.join("sandbox"))).await?;
    arguments.play(stand_ins.graph.faults())?;
    let settings = stand_ins.settings("demo", &dir.join("data"), &dir.join("mail"));
    std::fs::write(dir.join("config.toml"), settings)?;
    Ok((world, stand_ins))
}

fn absolute(dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("failed to make `{}`", dir.display()))?;
    Ok(dir.canonicalize()?)
}

fn first_run(loaded: &Value) -> i64 {
    let ids = loaded["runs"].as_array().into_iter().flatten().filter_map(|run| run["run_id"].as_i64());
    ids.min().unwrap_or(1)
}

/// The steps, as they go by.
#[derive(Default)]
struct Steps {
    seconds: Map<String, Value>,
    started: Option<Instant>,
}

impl Steps {
    fn begin(&mut self, what: &str) {
        screen::begin(what);
        self.started = Some(Instant::now());
    }

    fn end(&mut self, name: &str) {
        let seconds = self.started.take().map_or(0.0, |started| started.elapsed().as_secs_f64());
        screen::end(seconds);
        self.seconds.insert(name.to_owned(), json!((seconds * 100.0).round() / 100.0));
    }
}
