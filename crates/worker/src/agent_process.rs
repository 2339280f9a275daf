//! Runs the agent as its own user, in its own process group, with an environment of its own, and ends it
//! when its time is over, when the server or the machine says so, or when it is done.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid};
use tokio::io::{AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

use domain::agent::{Agent, Program};
use domain::assignment::Assignment;

use super::checkout::Checkout;
use super::git;
use super::lines::{self, Line, MAX_LINE_BYTES};
use super::output::Transcript;
use super::processes;
use super::reporter::{Reporter, Stop};
use super::settings::{self, RunsAs, Settings};

/// Between SIGTERM and SIGKILL.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(5);
/// For output that is still to be read when every process is dead. Its end is certain unless a process outside
/// of the worker's reach has the pipe.
const OUTPUT_DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What ended the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did, by itself.
    Exited(ExitStatus),
    /// The worker, because it had printed its result and did not exit.
    Finished,
    /// The worker, because it had printed nothing at all for so long.
    Silent,
    /// Its time was over.
    TimedOut,
    /// It was not wanted any longer.
    Stopped(Stop),
}

/// How the agent ended, and what it printed.
pub struct Outcome {
    /// What ended it.
    pub ending: Ending,
    /// Whether it printed anything.
    pub printed: bool,
    /// What is known from its output.
    pub transcript: Transcript,
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
) -> Result<Outcome, Error> {
    let program = program(agent, checkout, settings)?;
    let mut child = command(&program, agent, assignment, checkout, settings).spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let input = child.stdin.take().map(|mut stdin| {
        let prompt = assignment.prompt.clone().into_bytes();
        // An agent may close its input early; what it makes of that shows in its output.
        tokio::spawn(async move { stdin.write_all(&prompt).await.ok() })
    });
    let output = AgentOutput::new(Transcript::new(agent.output));
    let stdout =
        child.stdout.take().map(|out| tokio::spawn(read_output(out, output.clone(), reporter.clone())));
    let stderr =
        child.stderr.take().map(|err| tokio::spawn(read_errors(err, output.clone(), reporter.clone())));

    let limit = Duration::from_secs(assignment.timeout_seconds);
    let ending = tokio::select! {
        status = child.wait() => Ending::Exited(status?),
        () = tokio::time::sleep(limit) => Ending::TimedOut,
        () = output.finished() => Ending::Finished,
        () = output.silence(settings.silence_limit) => Ending::Silent,
        reason = reporter.stopped() => Ending::Stopped(reason),
    };
    if let Some(group) = group {
        if !matches!(ending, Ending::Exited(_)) {
            processes::signal_group(group, Signal::SIGTERM);
            tokio::time::timeout(TERMINATION_TIMEOUT, child.wait()).await.ok();
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
    for reader in [stderr, stdout].into_iter().flatten() {
        let abort = reader.abort_handle();
        if tokio::time::timeout(OUTPUT_DRAIN_TIMEOUT, reader).await.is_err() {
            abort.abort();
        }
    }
    Ok(Outcome { ending, printed: output.has_printed(), transcript: output.into_transcript() })
}

/// What the agent has printed so far: written by its readers, looked at while it runs.
#[derive(Clone)]
struct AgentOutput {
    transcript: Arc<Mutex<Transcript>>,
    changes: Arc<watch::Sender<Changes>>,
}

/// What [`run`] waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changes {
    printed: bool,
    /// The agent is done, and has this long to exit.
    exit_timeout: Option<Duration>,
}

impl AgentOutput {
    fn new(transcript: Transcript) -> Self {
        let changes = watch::Sender::new(Changes::default());
        Self { transcript: Arc::new(Mutex::new(transcript)), changes: Arc::new(changes) }
    }

    fn transcript(&self) -> MutexGuard<'_, Transcript> {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was printed.
    fn printed(&self) {
        let exit_timeout = self.transcript().exit_timeout;
        self.changes.send_if_modified(|changes| {
            let now = Changes { printed: true, exit_timeout };
            let modified = *changes != now;
            *changes = now;
            modified
        });
    }

    fn has_printed(&self) -> bool {
        self.changes.borrow().printed
    }

    /// Waits until the agent is done and has had the time to exit.
    async fn finished(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            let exit_timeout = changes.borrow_and_update().exit_timeout;
            let changed = changes.wait_for(|changes| changes.exit_timeout != exit_timeout);
            match exit_timeout {
                None => drop(changed.await),
                Some(limit) => {
                    if tokio::time::timeout(limit, changed).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until nothing at all was printed for `limit` from now on; for ever when something was.
    async fn silence(&self, limit: Duration) {
        let mut changes = self.changes.subscribe();
        let printed = changes.wait_for(|changes| changes.printed);
        if tokio::time::timeout(limit, printed).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    fn into_transcript(self) -> Transcript {
        let format = self.transcript().format();
        std::mem::replace(&mut *self.transcript(), Transcript::new(format))
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

async fn read_output(stream: impl AsyncRead + Unpin, output: AgentOutput, reporter: Reporter) {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Ok(Some(Line { text, cut })) = lines::next_line(&mut reader, MAX_LINE_BYTES).await {
        let (shown, usage) = {
            let mut transcript = output.transcript();
            (transcript.read(&text), transcript.usage.clone())
        };
        output.printed();
        for line in shown {
            reporter.line(&line);
        }
        if cut > 0 {
            reporter.line(&format!("({cut} more bytes of this line were not read)"));
        }
        reporter.usage(&usage);
    }
}

async fn read_errors(stream: impl AsyncRead + Unpin, output: AgentOutput, reporter: Reporter) {
    // Plain text whatever the agent's format is.
    let mut reader = BufReader::new(stream);
    while let Ok(Some(line)) = lines::next_line(&mut reader, MAX_LINE_BYTES).await {
        output.printed();
        for line in super::output::plain(&line.text) {
            reporter.line(&line);
        }
    }
}
