//! The binary: reads the arguments, starts the logs, runs one subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use porter::{accounts, app, config, demo, doctor, telemetry, worker};

/// Comment `@porter claude …` on a GitHub issue, get a pull request back.
#[derive(Parser)]
#[command(name = "porter", version, after_help = config::help())]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

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
    /// Load an SQL export of the earlier Porter's Cloudflare D1 database.
    #[command(name = "import-d1", after_help = config::import_help())]
    ImportD1 {
        /// The export, as `wrangler d1 export` writes it.
        file: PathBuf,
    },
    /// A tiny coding agent that obeys `mock:` lines of its prompt; for the demo and for tests.
    MockAgent {
        /// What it is asked to do.
        prompt: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse().command.unwrap_or(Command::Serve)).await.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // The worker and the mock agent stand in folders that are not the operator's.
    if !matches!(command, Command::Worker | Command::MockAgent { .. }) {
        config::load_dotenv()?;
    }
    telemetry::start(match command {
        Command::Serve => telemetry::SERVICE,
        _ => telemetry::COMMAND,
    })?;
    match command {
        Command::Serve => app::serve().await,
        Command::Demo(options) => demo::run(options).await,
        Command::Worker => worker::run(config::variable).await,
        Command::Migrate => app::migrate().await,
        Command::Doctor => doctor::run().await,
        Command::ImportD1 { file } => accounts::import_d1::run(&file).await,
        Command::MockAgent { prompt } => worker::mock_agent::run(&prompt).await,
    }
}
