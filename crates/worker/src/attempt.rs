//! One attempt from checkout to push, and the report that says how it went.

use domain::agent::{self, Specification};
use domain::assignment::Assignment;
use domain::errors::error_chain;
use domain::prompt;
use domain::report::{Completion, FailureStage, Outcome, Usage};

use super::agent_process::{self, Ending};
use super::checkout::{self, Checkout};
use super::export::{self, Description};
use super::output::Transcript;
use super::publish;
use super::reporter::{Reporter, Stop};
use super::settings::{Refusal, Settings};

/// Why an attempt has no good end.
struct Failure {
    stage: FailureStage,
    message: String,
    timed_out: bool,
}

impl Failure {
    fn new(stage: FailureStage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), timed_out: false }
    }
}

/// Does all of it. Whatever happens becomes a report; nothing is left running.
pub async fn carry_out(
    assignment: &Assignment,
    settings: Result<Settings, Refusal>,
    reporter: &Reporter,
) -> Completion {
    let mut report = Completion {
        task_id: assignment.task_id.clone(),
        execution_id: assignment.task_id.clone(),
        attempt: assignment.attempt,
        status: Outcome::Success,
        summary: None,
        error: None,
        failure_stage: None,
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
    let failure = match prepare(assignment, settings) {
        Ok((settings, folder)) => {
            let run = Run { assignment, agent: &assignment.agent_spec, settings: &settings, reporter };
            let failure = run.through(folder.path(), &mut report).await.err();
            folder.close().ok();
            failure
        }
        Err(failure) => Some(failure),
    };
    if let Some(failure) = failure {
        reporter.line(&failure.message);
        report.status = Outcome::Failed;
        report.failure_stage = Some(failure.stage);
        report.timed_out = failure.timed_out;
        report.error = Some(failure.message);
    }
    report
}

fn prepare(
    assignment: &Assignment,
    settings: Result<Settings, Refusal>,
) -> Result<(Settings, tempfile::TempDir), Failure> {
    let setup = |message: String| Failure::new(FailureStage::Setup, message);
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
    Ok((settings, folder))
}

struct Run<'a> {
    assignment: &'a Assignment,
    agent: &'a Specification,
    settings: &'a Settings,
    reporter: &'a Reporter,
}

impl Run<'_> {
    async fn through(&self, folder: &std::path::Path, report: &mut Completion) -> Result<(), Failure> {
        let Assignment { repo_full_name, base_branch, .. } = self.assignment;
        self.reporter.step(&format!("Fetching {repo_full_name} ({base_branch})"), 5);
        let checkout = tokio::select! {
            made = checkout::make(folder, self.assignment, self.agent, self.settings) => made,
            reason = self.reporter.stopped() => return Err(stopped(reason)),
        };
        let checkout = checkout.map_err(|error| Failure::new(FailureStage::Clone, error_chain(&error)))?;

        self.reporter.step(&format!("Starting {}", self.agent.name), 10);
        let run = agent_process::run(self.agent, self.assignment, &checkout, self.settings, self.reporter);
        let (ending, transcript) =
            run.await.map_err(|error| Failure::new(FailureStage::Setup, error_chain(&error)))?;
        report.summary = transcript.summary.clone();
        report.usage = (transcript.usage != Usage::default()).then(|| transcript.usage.clone());
        let failure = self.judge(ending, &transcript);

        self.reporter.step("Collecting the changes", 90);
        let pushed = self.publish(&checkout, failure.as_ref()).await;
        match (failure, pushed) {
            (failure, Ok(commit)) => {
                report.branch_name = commit.as_ref().map(|_| self.assignment.branch.clone());
                report.commit_hash = commit;
                failure.map_or(Ok(()), Err)
            }
            (None, Err(unpushed)) => Err(unpushed),
            // Why the agent failed is what people must know; the other is a line in the log.
            (Some(failure), Err(unpushed)) => {
                self.reporter.line(&unpushed.message);
                Err(failure)
            }
        }
    }

    /// Success is what the agent says of itself *and* its exit code.
    fn judge(&self, ending: Ending, transcript: &Transcript) -> Option<Failure> {
        match ending {
            Ending::Stopped(reason) => Some(stopped(reason)),
            Ending::TimedOut => {
                let seconds = self.assignment.timeout_seconds;
                let message = format!("The agent did not finish within its {seconds} seconds and was ended.");
                Some(Failure { timed_out: true, ..Failure::new(FailureStage::Agent, message) })
            }
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
                verdict.err().map(|reason| Failure::new(FailureStage::Agent, reason))
            }
        }
    }

    /// Pushes what there is; gives the pushed commit, nothing when the files are as they were.
    async fn publish(
        &self,
        checkout: &Checkout,
        failure: Option<&Failure>,
    ) -> Result<Option<String>, Failure> {
        let failed = |message: String| Failure::new(FailureStage::Push, message);
        let message = self.message(failure);
        let email = checkout::email(self.agent);
        let description =
            Description { author: (&self.agent.name, &email), message: &message, always: failure.is_some() };
        let mut reason = String::new();
        for keep_history in [true, false] {
            let work = match export::collect(checkout, self.settings, &description, keep_history).await {
                Ok(Some(work)) => work,
                Ok(None) => return Ok(None),
                Err(error) => {
                    reason = error_chain(&error);
                    continue;
                }
            };
            for remark in &work.remarks {
                self.reporter.line(remark);
            }
            let git = match publish::take_over(&work, checkout, self.settings).await {
                Ok(git) => git,
                Err(error) => {
                    self.reporter
                        .line(&format!("{}; trying with one commit of all changes", error_chain(&error)));
                    reason = error_chain(&error);
                    continue;
                }
            };
            self.reporter.step(&format!("Pushing {}", self.assignment.branch), 95);
            let Assignment { github_token, branch, .. } = self.assignment;
            return match publish::push(&git, checkout, github_token, branch, &work.tip).await {
                Ok(()) => Ok(Some(work.tip)),
                Err(error) => Err(failed(error_chain(&error))),
            };
        }
        Err(failed(reason))
    }

    /// The message of the commit for what the agent left uncommitted.
    fn message(&self, failure: Option<&Failure>) -> String {
        let Assignment { task_id, issue_number, requester, .. } = self.assignment;
        let title = prompt::title(&self.assignment.prompt)
            .map_or_else(|| format!("Work on issue {issue_number}"), |title| one_line(title, 100));
        let by = format!(
            "By {} for issue {issue_number}, at the request of a person, through Porter.",
            self.agent.name
        );
        let (subject, body) = match failure {
            None => (title, by),
            Some(failure) => (
                format!("Unfinished: {title}"),
                format!("{by}\n\nUnfinished: {}", one_line(&self.reporter.clean(&failure.message), 500)),
            ),
        };
        let mut trailers = vec![format!("Porter-Task: {}", one_line(task_id, 100))];
        if failure.is_some() {
            trailers.push("Porter-Result: unfinished".to_owned());
        }
        trailers
            .extend(requester.as_deref().map(|person| format!("Co-authored-by: {}", one_line(person, 300))));
        format!("{}\n\n{body}\n\n{}\n", one_line(&subject, 100), trailers.join("\n"))
    }
}

fn stopped(reason: Stop) -> Failure {
    let message = match reason {
        Stop::Cancelled => "The task was stopped.",
        Stop::Terminated => "The machine was shut down before the agent had finished.",
    };
    Failure::new(FailureStage::Agent, message)
}

/// `text` as one line of at most `limit` characters; control characters become blanks.
fn one_line(text: &str, limit: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_whole_story_once() {
        let inner = std::io::Error::other("disk full");
        assert_eq!(
            error_chain(&checkout::Error::Machine(inner)),
            "the working folder could not be made: disk full"
        );
    }
}
