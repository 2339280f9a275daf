//! The binary: parses the arguments, starts logging and runs one subcommand.

mod arguments;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use porter::{app, config, demo, doctor, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse().command.unwrap_or(Command::Serve)).await.unwrap_or_else(|error| {
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
