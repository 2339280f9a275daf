//! One attempt from checkout to push, and the report that says how it went.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::agent::{self, Specification};
use domain::assignment::Assignment;
use domain::errors::error_chain;
use domain::report::{Completion, FailureStage, Outcome, Usage};

use super::agent_process::{self, Ending};
use super::checkout;
use super::cleanup::LeftFolder;
use super::disk::Reserve;
use super::identity::Identity;
use super::output::Cause;
use super::publication::{Publication, Published};
use super::reporter::{Reporter, Stop};
use super::settings::{Refusal, Settings};

/// Why an attempt has no good end.
struct Failure {
    stage: FailureStage,
    message: String,
    /// A stable word for programs (main-spec §6).
    reason: &'static str,
    timed_out: bool,
}

impl Failure {
    fn new(stage: FailureStage, reason: &'static str, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), reason, timed_out: false }
    }
}

/// Fetching the repository takes no longer (main-spec §7). The agent's limit counts from its own start.
const CLONE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Does all of it. Whatever happens becomes a report; nothing is left running. The folder that it was done in is
/// to be removed once the report is sent.
pub async fn carry_out(
    assignment: &Assignment,
    settings: Result<Settings, Refusal>,
    reporter: &Reporter,
) -> (Completion, Option<LeftFolder>) {
    let mut report = Completion {
        task_id: assignment.task_id.clone(),
        execution_id: assignment.task_id.clone(),
        attempt: assignment.attempt,
        status: Outcome::Success,
        summary: None,
        error: None,
        failure_stage: None,
        failure_reason: None,
        remarks: Vec::new(),
        events: Vec::new(),
        timed_out: false,
        branch_name: None,
        base_branch: Some(assignment.base_branch.clone()),
        commit_hash: None,
        usage: None,
        callback_attempt: None,
        callback_max_attempts: None,
        callback_last_http_code: None,
        callback_token: None,
    };
    let (failure, left) = match prepare(assignment, settings) {
        Ok((settings, folder)) => {
            let run = Run { assignment, agent: &assignment.agent_spec, settings: &settings, reporter };
            let failure = run.through(&folder, &mut report).await.err();
            (failure, Some(LeftFolder { path: folder, settings }))
        }
        Err(failure) => (Some(failure), None),
    };
    if let Some(failure) = failure {
        reporter.line(&failure.message);
        report.status = Outcome::Failed;
        report.failure_stage = Some(failure.stage);
        report.failure_reason = Some(failure.reason.to_owned());
        report.timed_out = failure.timed_out;
        report.error = Some(failure.message);
    }
    (report, left)
}

fn prepare(
    assignment: &Assignment,
    settings: Result<Settings, Refusal>,
) -> Result<(Settings, PathBuf), Failure> {
    let setup = |message: String| Failure::new(FailureStage::Setup, "setup_failed", message);
    let settings = settings.map_err(|refusal| setup(refusal.to_string()))?;
    let agent = &assignment.agent_spec;
    if !agent.is_called(&assignment.agent) {
        let message =
            format!("there is no agent called {:?}: AGENT_SPEC describes {:?}", assignment.agent, agent.id);
        return Err(setup(message));
    }
    let model = assignment.model.as_deref();
    if model.is_some_and(|model| !agent::is_model_name(model)) {
        return Err(setup(format!("{:?} cannot be the name of a model", model.unwrap_or_default())));
    }
    // Some agents would wait for a person to log in.
    let missing = agent.missing_keys(|key| assignment.provider_keys.contains_key(key));
    if let Some(key) = missing.first() {
        return Err(setup(format!("{} needs {key}", agent.name)));
    }
    let folder = std::fs::create_dir_all(&settings.workspace)
        .and_then(|()| tempfile::Builder::new().prefix("attempt-").tempdir_in(&settings.workspace))
        .map_err(|error| {
            setup(format!("no folder can be made in {}: {error}", settings.workspace.display()))
        })?;
    Ok((settings, folder.keep()))
}

struct Run<'a> {
    assignment: &'a Assignment,
    agent: &'a Specification,
    settings: &'a Settings,
    reporter: &'a Reporter,
}

impl Run<'_> {
    async fn through(&self, folder: &Path, report: &mut Completion) -> Result<(), Failure> {
        let Assignment { repo_full_name, base_branch, .. } = self.assignment;
        self.reporter.step(&format!("Fetching {repo_full_name} ({base_branch})"), 5);
        let identity = Identity::of(self.assignment, self.agent);
        let clone = |message: String| Failure::new(FailureStage::Clone, "clone_failed", message);
        let made = tokio::select! {
            made = tokio::time::timeout(
                CLONE_TIMEOUT,
                checkout::make(folder, self.assignment, &identity, self.settings),
            ) => made,
            reason = self.reporter.stopped() => return Err(stopped(reason)),
        };
        let checkout = made
            .map_err(|_| clone("The repository could not be fetched within 10 minutes.".to_owned()))?
            .map_err(|error| clone(error_chain(&error)))?;
        let reserve = Reserve::keep(folder);

        self.reporter.step(&format!("Starting {}", self.agent.name), 10);
        let run = agent_process::run(self.agent, self.assignment, &checkout, self.settings, self.reporter);
        let outcome = run
            .await
            .map_err(|error| Failure::new(FailureStage::Setup, "agent_not_started", error_chain(&error)))?;
        report.summary = outcome.transcript.summary.clone();
        let usage = &outcome.transcript.usage;
        report.usage = (*usage != Usage::default()).then(|| usage.clone());
        let failure = self.judge(&outcome);

        reserve.release();
        self.reporter.step("Collecting the changes", 90);
        let published = self.publish(&checkout, &identity, failure.as_ref(), outcome.ending).await;
        self.settle(failure, published, report)
    }

    async fn publish(
        &self,
        checkout: &checkout::Checkout,
        identity: &Identity,
        failure: Option<&Failure>,
        ending: Ending,
    ) -> Published {
        let publication = Publication {
            assignment: self.assignment,
            checkout,
            settings: self.settings,
            reporter: self.reporter,
            identity,
            agent_name: &self.agent.name,
            agent_id: &self.agent.id,
            failure: failure.map(|failure| failure.message.as_str()),
            stopped_before: matches!(ending, Ending::Stopped(_)),
        };
        publication.publish().await
    }

    /// What the report says, once the agent has ended and its work is pushed or is not.
    fn settle(
        &self,
        failure: Option<Failure>,
        published: Published,
        report: &mut Completion,
    ) -> Result<(), Failure> {
        report.branch_name = published.commit.as_ref().map(|_| self.assignment.branch.clone());
        report.commit_hash = published.commit;
        for remark in &published.remarks {
            for line in remark.text.lines().filter(|line| !line.trim().is_empty()) {
                self.reporter.line(line);
            }
        }
        report.remarks = published.remarks;
        let unpushed =
            published.failure.map(|(reason, message)| Failure::new(FailureStage::Push, reason, message));
        let unfinished = published
            .unfinished
            .map(|message| Failure::new(FailureStage::Agent, "unfinished_merge", message));
        // The first that went wrong is what people must know; the others are lines in the log.
        let all = [failure, published.stopped.map(stopped), unfinished, unpushed];
        let mut all = all.into_iter().flatten();
        let first = all.next();
        for other in all {
            self.reporter.line(&other.message);
        }
        first.map_or(Ok(()), Err)
    }

    /// Success is what the agent says of itself *and* its exit code.
    fn judge(&self, outcome: &agent_process::Outcome) -> Option<Failure> {
        let transcript = &outcome.transcript;
        let failed = |word, message: String| Some(Failure::new(FailureStage::Agent, word, message));
        // The agent's own reason, with the word for its cause.
        let own = |reason: String| failed(transcript.cause().map_or("agent_failed", Cause::as_str), reason);
        match outcome.ending {
            Ending::Stopped(reason) => Some(stopped(reason)),
            Ending::Silent => {
                let seconds = self.settings.silence_limit.as_secs();
                let message =
                    format!("The agent printed nothing at all for {seconds} seconds and was ended.");
                failed("printed_nothing", message)
            }
            Ending::TimedOut if transcript.failure.is_some() || transcript.exit_timeout.is_some() => {
                transcript.verdict().err().and_then(own)
            }
            Ending::TimedOut => {
                let seconds = self.assignment.timeout_seconds;
                let (word, message) = if outcome.printed {
                    let message =
                        format!("The agent did not finish within its {seconds} seconds and was ended.");
                    ("time_limit", message)
                } else {
                    let message = format!(
                        "The agent printed nothing at all within its {seconds} seconds and was ended."
                    );
                    ("printed_nothing", message)
                };
                Some(Failure { timed_out: true, ..Failure::new(FailureStage::Agent, word, message) })
            }
            Ending::Finished => transcript.verdict().err().and_then(own),
            Ending::Exited(status) => {
                let exit = match (status.code(), status.success()) {
                    (_, true) => Ok(()),
                    (Some(code), _) => Err(format!("The agent ended with exit code {code}.")),
                    (None, _) => Err(format!("The agent was ended from outside ({status}).")),
                };
                // When both speak, the agent knows more than its exit code.
                let verdict = match (transcript.verdict(), exit) {
                    (Err(reason), _) if transcript.failure.is_some() => Err(reason),
                    (_, Err(exit)) => Err(exit),
                    (verdict, Ok(())) => verdict,
                };
                verdict.err().and_then(own)
            }
        }
    }
}

fn stopped(reason: Stop) -> Failure {
    let (word, message) = match reason {
        Stop::Cancelled => ("stopped", "The task was stopped."),
        Stop::Terminated => ("machine_shut_down", "The machine was shut down before the agent had finished."),
    };
    Failure::new(FailureStage::Agent, word, message)
}
