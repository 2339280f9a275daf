//! `porter demo`: runs Porter on this machine without any account. [`standin`] replaces GitHub and serves a
//! real git repository; the service, the job engine and the worker are those of production.
//!
//! [`environment`] starts the parts, [`steps`] drives the demo and prints its progress. Called by `main`.

mod environment;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::lifecycle;
use domain::agent::{Program, Registry, Specification};
use domain::task::Status;
use environment::Environment;

const HELP: &str = "\
Environment:
  PATH                      the folders that contain git and the agent's program
  ANTHROPIC_API_KEY, …      the agent's key, for an agent other than mock
  RUST_LOG, LOG_FORMAT      what is logged, and how";

/// The options of `porter demo`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// The agent to run: mock, or claude, opencode or amp with its program and key.
    #[arg(long, default_value = "mock")]
    agent: String,
    /// Exit when the pull request is open, instead of running until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Keep the temporary folder with the database, the repository and the machines.
    #[arg(long)]
    keep: bool,
    /// The program to run as the worker, instead of this one.
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

/// Runs the demo: a comment starts a task, and the task ends with a pull request.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let agent = ready(&options.agent)?;
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let folder = tempfile::Builder::new().prefix("porter-demo-").tempdir()?;
    let timeout = Duration::from_secs(if agent.id == "mock" { 60 } else { 11 * 60 });

    let demo = Environment::start(folder.path(), &agent, options.worker, stop.clone()).await?;
    let outcome = steps::run(&demo, &options.agent, timeout).await;
    if matches!(outcome, Ok(Status::Success)) && !options.once {
        steps::print_urls(&demo);
        stop.cancelled().await;
    }
    demo.stop().await?;
    if options.keep {
        println!("The temporary folder is {}", folder.keep().display());
    }
    match outcome? {
        Status::Success => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// The agent with this name, if its program and keys are available.
fn ready(name: &str) -> anyhow::Result<Specification> {
    let registry = Registry::shipped()?;
    let names: Vec<&str> = registry.agents().iter().map(|agent| agent.id.as_str()).collect();
    let agent = registry
        .find(name)
        .with_context(|| format!("there is no agent called {name:?}; there are {}", names.join(", ")))?;
    let agent = registry.specification(agent, None);
    let mut missing = Vec::new();
    if let Program::Named(program) = agent.program() {
        let path = config::variable("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            let package = agent.package.as_ref().map_or(program, |package| &package.npm);
            missing.push(format!("the program `{program}` on the PATH (npm install -g {package})"));
        }
    }
    for key in agent.missing_keys(|key| config::variable(key).is_some()) {
        missing.push(format!("{key} in the environment"));
    }
    anyhow::ensure!(missing.is_empty(), "{} cannot run here; missing: {}", agent.name, missing.join("; "));
    std::process::Command::new("git")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status()
        .context("the demo needs git, which is not on the PATH")?;
    Ok(agent)
}
