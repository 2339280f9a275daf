//! Runs the agent as its own user, in its own process group, with an environment of its own, and ends it
//! when its time is over, when the server or the machine says so, or when it is done.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid};
use tokio::io::{AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use domain::agent::{Agent, Program};
use domain::assignment::Assignment;

use super::checkout::Checkout;
use super::git;
use super::lines::{self, LONGEST, Line};
use super::output::Transcript;
use super::processes;
use super::reporter::{Reporter, Stop};
use super::settings::{self, RunsAs, Settings};

/// Between the polite signal and the last one.
const GRACE: Duration = Duration::from_secs(5);
/// For output that is still on its way when every process is dead.
const DREGS: Duration = Duration::from_secs(2);

/// What ended the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did, by itself.
    Exited(ExitStatus),
    /// Its time was over.
    TimedOut,
    /// It was not wanted any longer.
    Stopped(Stop),
}

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its program is not there.
    #[error("`{0}` is not installed in this machine (not found on the PATH)")]
    NotInstalled(String),
    /// The system refused.
    #[error("the agent could not be started")]
    Start(#[from] std::io::Error),
}

/// Runs the agent to its end and tells `reporter` what it prints. When this returns, no process that the
/// agent started is alive.
///
/// # Errors
/// [`Error`], when it never started.
pub async fn run(
    agent: &Agent,
    assignment: &Assignment,
    checkout: &Checkout,
    settings: &Settings,
    reporter: &Reporter,
) -> Result<(Ending, Transcript), Error> {
    let program = program(agent, checkout, settings)?;
    let mut child = command(&program, agent, assignment, checkout, settings).spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let input = child.stdin.take().map(|mut stdin| {
        let prompt = assignment.prompt.clone().into_bytes();
        // An agent may close its input early; what it makes of that shows in its output.
        tokio::spawn(async move { stdin.write_all(&prompt).await.ok() })
    });
    let transcript = Transcript::new(agent.output);
    let stdout = child.stdout.take().map(|out| tokio::spawn(read_output(out, transcript, reporter.clone())));
    let stderr = child.stderr.take().map(|err| tokio::spawn(read_complaints(err, reporter.clone())));

    let limit = Duration::from_secs(assignment.timeout_seconds);
    let ending = tokio::select! {
        status = child.wait() => Ending::Exited(status?),
        () = tokio::time::sleep(limit) => Ending::TimedOut,
        reason = reporter.stopped() => Ending::Stopped(reason),
    };
    if let Some(group) = group {
        if !matches!(ending, Ending::Exited(_)) {
            processes::signal_group(group, Signal::SIGTERM);
            tokio::time::timeout(GRACE, child.wait()).await.ok();
        }
        processes::signal_group(group, Signal::SIGKILL);
    }
    child.wait().await?;
    if !processes::end_descendants().await {
        reporter.line("Some processes of the agent could not be ended.");
    }
    if let Some(input) = input {
        input.abort();
    }
    if let Some(stderr) = stderr {
        until_quiet(stderr).await;
    }
    let transcript = match stdout {
        Some(stdout) => until_quiet(stdout).await,
        None => None,
    };
    Ok((ending, transcript.unwrap_or_else(|| Transcript::new(agent.output))))
}

/// What a reader has read, or nothing when its stream does not end.
async fn until_quiet<T>(mut reader: tokio::task::JoinHandle<T>) -> Option<T> {
    match tokio::time::timeout(DREGS, &mut reader).await {
        Ok(read) => read.ok(),
        Err(_) => {
            reader.abort();
            None
        }
    }
}

fn command(
    program: &Path,
    agent: &Agent,
    assignment: &Assignment,
    checkout: &Checkout,
    settings: &Settings,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(agent.command_line(assignment.model.as_deref()))
        .env_clear()
        .envs(&assignment.provider_keys)
        .envs(&agent.environment)
        .env("HOME", &checkout.home)
        .env("PATH", &settings.path)
        .env("LANG", &settings.lang)
        .current_dir(&checkout.tree)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if settings.runs_as == RunsAs::Same && Uid::effective().is_root() {
        command.envs(&agent.root_environment);
    }
    git::drop_to(&mut command, &settings.runs_as);
    command
}

/// The file to start. Porter's own binary may lie where the agent's user cannot reach it, so it gets a
/// second name beside the checkout.
fn program(agent: &Agent, checkout: &Checkout, settings: &Settings) -> Result<PathBuf, Error> {
    match agent.program() {
        Program::Named(name) => {
            settings::program(name, &settings.path).ok_or_else(|| Error::NotInstalled(name.to_owned()))
        }
        Program::Porter => {
            let (porter, beside) = (std::env::current_exe()?, checkout.root.join("porter"));
            if settings.runs_as == RunsAs::Same {
                return Ok(porter);
            }
            if std::fs::hard_link(&porter, &beside).is_err() {
                std::fs::copy(&porter, &beside)?;
            }
            Ok(beside)
        }
    }
}

async fn read_output(
    stream: impl AsyncRead + Unpin,
    mut transcript: Transcript,
    reporter: Reporter,
) -> Transcript {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Ok(Some(Line { text, cut })) = lines::next_line(&mut reader, LONGEST).await {
        for line in transcript.read(&text) {
            reporter.line(&line);
        }
        if cut > 0 {
            reporter.line(&format!("({cut} more bytes of this line were not read)"));
        }
        reporter.usage(&transcript.usage);
    }
    transcript
}

async fn read_complaints(stream: impl AsyncRead + Unpin, reporter: Reporter) {
    // Plain text whatever the agent's format is.
    let mut reader = BufReader::new(stream);
    while let Ok(Some(line)) = lines::next_line(&mut reader, LONGEST).await {
        for line in super::output::plain(&line.text) {
            reporter.line(&line);
        }
    }
}
