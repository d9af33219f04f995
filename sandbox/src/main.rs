//! The sandbox's commands: the demo, the stand-ins on their own, the generated files.

mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use sandbox::faults::Faults;
use sandbox::generator::{self, World};
use sandbox::metabase::{Metabase, Options};
use sandbox::stand_ins::{Names, StandIns};

/// Stand-ins of the outside services, and the data that fills them.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole chain once against the stand-ins, and says what came of it.
    Demo(DemoArguments),
    /// Starts the stand-ins and the daemon, and keeps them until ctrl-c.
    Serve(DemoArguments),
    /// Starts the Microsoft stand-ins alone, prints where each is, and keeps them
    /// until its standard input ends.
    ///
    /// With `--microsoft-names` their links say `graph.microsoft.com` and so on, for
    /// clients that are led to a TLS front: `scripts/third-party-clients` shows how.
    StandIns {
        /// Speak of themselves by the real services' names.
        #[arg(long)]
        microsoft_names: bool,
        /// Days of history in the generated files.
        #[arg(long, default_value_t = 60)]
        days: u32,
        /// A fault of the check list, as in `demo`.
        #[arg(long = "fault")]
        faults: Vec<String>,
    },
    /// Starts the stand-in of Metabase alone, prints where it is and its setup token, and
    /// keeps it until its standard input ends.
    Metabase {
        /// The release to behave like.
        #[arg(long, default_value = "v0.61.2")]
        release: String,
        /// Refuse body keys that a route does not declare, as newer releases may; otherwise
        /// they are stripped.
        #[arg(long)]
        strict: bool,
    },
    /// Writes the generated files below a folder, to look at.
    Generate {
        /// The folder.
        #[arg(long, default_value = "var/generated")]
        dir: PathBuf,
        /// Same seed, same bytes.
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
}

/// What the demo runs with.
#[derive(Debug, Args)]
struct DemoArguments {
    /// The program to run.
    #[arg(long, default_value = "target/debug/storekeeper")]
    storekeeper: PathBuf,
    /// Where everything is kept between two times.
    #[arg(long, default_value = "var/demo")]
    dir: PathBuf,
    /// The folder that holds pipelines/, sql/ and metabase/.
    #[arg(long, default_value = ".")]
    definitions: PathBuf,
    /// Same seed, same data.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The moment at which everything happens.
    #[arg(long, default_value = "2025-11-29T11:00:00Z")]
    now: DateTime<Utc>,
    /// A fault of the check list, such as `G5`, `G5.2` (its second form), `T6:every=20`,
    /// `G11:nth=3`, `D6:permille=50,seed=7`; may be given several times.
    #[arg(long = "fault")]
    faults: Vec<String>,
    /// Several faults at once, chosen and timed by this seed.
    #[arg(long)]
    chaos: Option<u64>,
    /// Remove what earlier times left, and do nothing else.
    #[arg(long)]
    clean: bool,
}

impl DemoArguments {
    /// Switches on what was asked to go wrong; the services share one script.
    fn play(&self, faults: &Faults) -> anyhow::Result<()> {
        for words in &self.faults {
            faults.play_words(words)?;
        }
        if let Some(seed) = self.chaos {
            demo::screen::line(&format!("chaos {seed}            {}", faults.play_chaos(seed, 6).join(", ")));
        }
        Ok(())
    }

    fn world(&self) -> World {
        World::generate(&generator::Options {
            seed: self.seed,
            today: self.now.date_naive(),
            ..generator::Options::demo()
        })
    }
}

async fn metabase(release: String, strict: bool) -> anyhow::Result<ExitCode> {
    let metabase = Metabase::start(Options { version: release, strict, ..Options::default() }).await?;
    let token = metabase.setup_token();
    demo::screen::line(&serde_json::json!({ "url": metabase.base_url, "setup_token": token }).to_string());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(ExitCode::SUCCESS)
}

/// The moment at which the stand-ins alone stand still: the demo's.
const STAND_STILL: &str = "2025-11-29T11:00:00Z";

async fn stand_ins(microsoft_names: bool, days: u32, faults: &[String]) -> anyhow::Result<ExitCode> {
    let names = if microsoft_names { Names::Microsoft } else { Names::Loopback };
    let world = World::generate(&generator::Options { days, ..generator::Options::demo() });
    let stand_ins = StandIns::start_as(&world, STAND_STILL.parse()?, None, names).await?;
    for words in faults {
        stand_ins.graph.faults().play_words(words)?;
    }
    demo::screen::line(&stand_ins.described().to_string());
    // Whoever started them may die without a word; what they wrote to ends all the same.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(ExitCode::SUCCESS)
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) if arguments.clean => demo::clean(&arguments.dir),
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Serve(arguments) => demo::serve(&arguments).await,
        Command::StandIns { microsoft_names, days, faults } => stand_ins(microsoft_names, days, &faults).await,
        Command::Metabase { release, strict } => metabase(release, strict).await,
        Command::Generate { dir, seed } => World::generate(&generator::Options { seed, ..generator::Options::demo() })
            .write_to(&dir)
            .map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        demo::screen::line(&format!("\nerror: {error:#}"));
        ExitCode::FAILURE
    })
}
