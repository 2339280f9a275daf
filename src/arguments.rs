//! The command line: reads the arguments, starts the logs, runs one subcommand. [`main`] is all that the binary
//! calls: an async function is compiled where it is awaited, so that a runtime in `main.rs` would compile most of
//! Porter once more.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{app, config, demo, doctor, telemetry};

/// Comment `@porter claude …` on a GitHub issue, get a pull request back.
#[derive(Parser)]
#[command(name = "porter", version, after_help = config::help())]
struct Arguments {
    /// What to run; `serve` when left out.
    #[command(subcommand)]
    command: Option<Command>,
}

/// The subcommands, in the order of contract §2.
#[derive(Subcommand)]
enum Command {
    /// Run the service: webhooks, API, pages and the engine (what happens without a subcommand).
    #[command(after_help = config::help())]
    Serve,
    /// Show the whole product on this machine, without any account.
    Demo(demo::Options),
    /// Run one attempt inside a machine: check out, run the agent, push, report.
    #[command(after_help = worker::HELP)]
    Worker,
    /// Bring the database's tables up to date.
    #[command(after_help = config::database_help())]
    Migrate,
    /// Check the configuration and everything it points to; a line each.
    #[command(after_help = config::help())]
    Doctor,
    /// Load FILE, what `wrangler d1 export` wrote of the earlier Porter's Cloudflare D1 database.
    #[command(name = "import-d1", after_help = config::import_help())]
    ImportD1 {
        /// The export.
        file: PathBuf,
    },
    /// A tiny coding agent that obeys `mock:` lines of its prompt; for the demo and for tests.
    MockAgent {
        /// What it is asked to do.
        prompt: String,
    },
}

/// The program.
pub fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(command)));
    ended.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // The worker and the mock agent stand in folders that are not the operator's.
    if !matches!(command, Command::Worker | Command::MockAgent { .. }) {
        config::load_dotenv()?;
    }
    let serves = matches!(command, Command::Serve);
    telemetry::start(if serves { telemetry::SERVICE } else { telemetry::COMMAND })?;
    match command {
        Command::Serve => app::serve().await,
        Command::Demo(options) => demo::run(options).await,
        Command::Worker => worker::run(config::variable).await,
        Command::Migrate => app::migrate().await,
        Command::Doctor => doctor::run().await,
        Command::ImportD1 { file } => app::import_d1(&file).await,
        Command::MockAgent { prompt } => worker::mock_agent::run(&prompt).await,
    }
}
