//! `porter worker`: what runs inside a machine (main-spec §7). It fetches the repository, runs the agent as
//! an unprivileged user, pushes what the agent did as one branch, and reports.
//!
//! Invariant: the agent is hostile. Whatever reads what the agent wrote runs as the agent's user without any
//! secret (`export`), and whatever holds a secret never reads the agent's folder (`checkout`, `publish`).
//! So neither hooks nor filters, links nor configuration left behind can reach the token.
//!
//! With `PORTER_ALLOW_SAME_USER=true` (development) the agent shares the worker's user. Its environment is
//! still scrubbed and git still runs none of its code with a secret, but as root it could read the worker's
//! memory: that mode is no protection.
//!
//! `settings` → `checkout` → `agent_process` (with `output`, `lines`, `processes`) → `publication` (`export`, then
//! `publish`), and `reporter` (with `domain::redact`) all along. Nothing here knows the server but its two callback addresses.

mod agent_process;
mod attempt;
mod checkout;
mod cleanup;
mod disk;
mod export;
mod git;
mod identity;
mod lines;
pub mod mock_agent;
mod output;
mod processes;
mod publication;
mod publish;
mod reporter;
mod settings;
mod text;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use domain::assignment::Assignment;
use domain::redact::Redactor;

use reporter::{Reporter, Stop};
use settings::{RunsAs, Settings};

/// What `porter worker --help` says about its environment.
pub const HELP: &str = "\
The attempt (set by Porter; all are needed unless marked):
  TASK_ID               the task
  PORTER_ATTEMPT        which run of it this is (optional, 1)
  REPO_FULL_NAME        owner/name
  REPO_URL              where to fetch from and push to (http or https, without a credential)
  ISSUE_NUMBER          the issue it is about
  AGENT                 the agent's id
  AGENT_SPEC            how it is started, which keys it gets and how its output reads, as JSON: its entry in the
                        registry of agents, with the names of its keys
  MODEL                 the model, when the person chose one (optional)
  PROMPT, PROMPT_FILE   what the agent is asked, or the file that holds it (one of the two)
  BRANCH, BASE_BRANCH   the only branch that is pushed, and the one it starts from
  GITHUB_TOKEN          an installation token for this repository
  CALLBACK_URL, PROGRESS_URL, CALLBACK_TOKEN
                        where the reports go, and what proves whose they are
  TIMEOUT_SECONDS       how long the agent may run
  REQUESTER             `Name <email>` of who asked, for the commit (optional)
  COMMITTER             `Name <email>` of the App's bot account, whose commits they are (optional)
  BUNDLE_URL            where the work goes as a git bundle when it cannot be pushed (optional)
  ANTHROPIC_API_KEY, …  the keys the agent needs

The worker's own settings:
  PORTER_WORKSPACE        folder for checkouts (/workspace)
  PORTER_AGENT_USER       the unprivileged user that runs the agent (agent); the worker itself runs as root
  PORTER_ALLOW_SAME_USER  true: without such a user, or where it cannot reach the workspace or the agent's program,
                          run the agent as the worker's own (development only)
  PORTER_SILENCE_TIMEOUT_SECONDS
                          how long the agent may print nothing at all from its start (180)
  PORTER_PUBLISH_TIMEOUT_SECONDS
                          how long collecting and pushing the work may take (300)
  PATH, LANG              handed to the agent; git, find and cp must be on the PATH

Exit code 0: the server has accepted the report, whatever it says.";

/// Carries out the attempt that the environment describes; `variable` tells a variable's value.
///
/// # Errors
/// Every variable that is missing or malformed, at once. Anything later is reported to the server.
pub async fn run(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<ExitCode> {
    processes::guard_this_process();
    let assignment = Assignment::from_env(&variable, |path| std::fs::read_to_string(path))
        .map_err(|problems| anyhow::anyhow!("the worker cannot begin:\n  {}", problems.join("\n  ")))?;
    let reporter = Reporter::new(&assignment, redactor(&assignment)).context("the reports cannot be sent")?;
    listen_for_signals(&reporter)?;
    let pump = tokio::spawn(reporter.clone().pump());

    let settings = Settings::read(&variable, &assignment.agent_spec);
    if let Ok(Settings { runs_as: RunsAs::Same, out_of_reach, .. }) = &settings {
        reporter.line("Warning: the agent runs as the worker's own user (PORTER_ALLOW_SAME_USER); for development only.");
        if let Some(reason) = out_of_reach {
            tracing::warn!("{reason}");
        }
    }
    let (report, left) = attempt::carry_out(&assignment, settings, &reporter).await;
    reporter.close(pump).await;
    let accepted = reporter.complete(report).await;
    // The agent's folder may take long to remove.
    if let Some(left) = left {
        left.remove().await;
    }
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything secret that the worker holds. Addresses that go with a key are no secrets.
fn redactor(assignment: &Assignment) -> Redactor {
    let keys = assignment.provider_keys.iter().filter(|(name, _)| !name.ends_with("_URL"));
    let keys = keys.map(|(_, value)| value.as_str());
    Redactor::new(keys.chain([assignment.github_token.as_str(), assignment.callback_token.as_str()]))
}

/// SIGTERM and SIGINT (Fly's default) end the agent; its work is still pushed and reported.
fn listen_for_signals(reporter: &Reporter) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("signals cannot be received")?;
        let reporter = reporter.clone();
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                reporter.stop(Stop::Terminated);
            }
        });
    }
    Ok(())
}
