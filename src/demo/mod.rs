//! `porter demo`: the whole product on this machine, without any account. GitHub is played by [`standin`], with
//! a real repository behind real smart HTTP; the service, its engine and the worker are the real ones.
//!
//! [`stage`] puts the parts up, [`story`] tells what happens. Called by `main`.

mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::lifecycle;
use domain::agent::{Program, Registry, Specification};
use domain::task::Status;
use stage::Stage;

const HELP: &str = "\
Environment:
  PATH                      where git and the agent's program are found
  ANTHROPIC_API_KEY, …      the agent's own key, for an agent other than mock; what is missing is named
  RUST_LOG, LOG_FORMAT      what is logged, and how";

/// The options of `porter demo`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// The agent to run: mock needs nothing; claude, opencode and amp need their program and their key.
    #[arg(long, default_value = "mock")]
    agent: String,
    /// End when the pull request is open, instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Leave the scratch folder: database, repository, machines.
    #[arg(long)]
    keep: bool,
    /// Run this program as the worker, instead of this very one.
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

/// Shows a comment becoming a pull request.
///
/// # Errors
/// What is missing, or what went wrong, as a sentence.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let agent = ready(&options.agent)?;
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let folder = tempfile::Builder::new().prefix("porter-demo-").tempdir()?;
    let patience = Duration::from_secs(if agent.id == "mock" { 60 } else { 11 * 60 });

    let stage = Stage::put_up(folder.path(), &agent, options.worker, stop.clone()).await?;
    let outcome = story::tell(&stage, &options.agent, patience).await;
    if matches!(outcome, Ok(Status::Success)) && !options.once {
        story::point_around(&stage);
        stop.cancelled().await;
    }
    stage.take_down().await?;
    if options.keep {
        println!("The scratch folder is {}", folder.keep().display());
    }
    match outcome? {
        Status::Success => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// The agent by that name, if it can run here.
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
        .context("the demo needs git, which was not found on the PATH")?;
    Ok(agent)
}
