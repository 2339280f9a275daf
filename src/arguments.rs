//! The command line of the binary: parses the arguments, starts logging, runs one subcommand.
//!
//! `main.rs` only calls [`main`]. An async function is compiled in the crate that awaits it, so a runtime in
//! `main.rs` would compile most of Porter a second time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{app, config, demo, doctor, telemetry};

/// Comment `@porter claude …` on a GitHub issue, get a pull request back.
#[derive(Parser)]
#[command(name = "porter", version, after_help = config::help())]
struct Arguments {
    /// The subcommand; `serve` if omitted.
    #[command(subcommand)]
    command: Option<Command>,
}

/// The subcommands, in the order of main-spec §2.
#[derive(Subcommand)]
enum Command {
    /// Run the service: webhooks, API, pages and background jobs (the default).
    #[command(after_help = config::help())]
    Serve,
    /// Run a guided demo on this machine, without any account.
    Demo(demo::Options),
    /// Run one attempt inside a machine: check out, run the agent, push, report.
    #[command(after_help = worker::HELP)]
    Worker,
    /// Apply the database migrations.
    #[command(after_help = config::database_help())]
    Migrate,
    /// Check the configuration and the services it refers to; prints one line for each check.
    #[command(after_help = config::help())]
    Doctor,
    /// Import FILE, an export of the earlier Porter's Cloudflare D1 database by `wrangler d1 export`.
    #[command(name = "import-d1", after_help = config::import_help())]
    ImportD1 {
        /// The file that `wrangler d1 export` wrote.
        file: PathBuf,
    },
    /// Run a small coding agent that executes the `mock:` lines of its prompt; for the demo and tests.
    MockAgent {
        /// The prompt.
        prompt: String,
    },
}

/// Runs the binary to its end and returns its exit code.
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
    // The working directory of the worker and the mock agent does not belong to the operator.
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
