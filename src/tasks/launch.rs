//! Launches an admitted task: runs the preflight checks (main-spec §6) and starts one machine. Run by the engine.
//! Idempotent: after a crash at any point it runs again, finds what it created, and continues.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::{Context, Error, LAUNCH_TIMEOUT, Step, attempt_token, machines};
use crate::accounts::credentials::Keyring;
use crate::runner::{self, LaunchSpec, Machine, Scope};
use db::secrets::AttemptToken;
use domain::agent::Specification;
use domain::assignment::Assignment;
use domain::errors::error_chain;
use domain::job::Job;
use domain::messages;
use domain::prompt::{self, PromptInput};
use domain::report::FailureStage;
use domain::task::{Effect, Event, Phase, Status, Task, TaskId};

/// The time a machine may need beyond the agent's time, to clone, push and report.
const MACHINE_OVERHEAD: TimeDelta = TimeDelta::minutes(3);

/// How often a launch checks whether an earlier attempt has ended.
const EARLIER_ATTEMPT_RETRY_DELAY: TimeDelta = TimeDelta::seconds(1);

/// Why the preflight checks stopped.
enum Stop {
    /// The person must act; the text is shown to them.
    Refused(FailureStage, String),
    /// A retry may succeed.
    Later(Error),
    /// The attempt no longer waits for a machine.
    Over,
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

/// Runs the checks, starts the attempt's machine and stores it.
///
/// # Errors
/// An error that a retry may resolve.
pub async fn run(context: &Context, id: &TaskId, attempt: u32) -> Result<Step, Error> {
    let task = context.load(id).await?;
    if task.attempt.number != attempt || task.status != Status::Running {
        // An earlier try, of this process or of one that was killed, may have created a machine without storing it,
        // and the attempt's clean-up may have run before the machine existed.
        let mut work = context.store.begin().await?;
        work.enqueue([Job::CleanUp { task: task.id, attempt }]).await?;
        work.commit().await?;
        return Ok(Step::Done);
    }
    if task.phase != Some(Phase::Launching) {
        return Ok(Step::Done);
    }
    let clean_up = Job::CleanUp { task: task.id.clone(), attempt };
    if db::jobs::is_lane_pending(&mut *context.store.read().await?, &clean_up.lane()).await? {
        // An earlier attempt's worker may still push to the branch that this attempt needs a lease on.
        return Ok(Step::Again(context.now() + EARLIER_ATTEMPT_RETRY_DELAY));
    }
    match prepare(context, &task).await {
        Ok((machine, base_branch, time_limit)) => {
            record(context, &task, machine, base_branch, time_limit).await?;
            Ok(Step::Done)
        }
        Err(Stop::Refused(stage, message)) => {
            tracing::info!(task.id = %id, failure.stage = stage.as_str(), "the task cannot be launched");
            context.end_attempt(&task, Event::Failed { stage, message }).await?;
            Ok(Step::Done)
        }
        // The next try determines what is left to do.
        Err(Stop::Over) => Ok(Step::Again(context.now())),
        Err(Stop::Later(error)) => {
            let since = task.attempt.started_at.unwrap_or(task.queued_at);
            if context.tried_for(since) < LAUNCH_TIMEOUT {
                return Err(error);
            }
            let message = messages::launch_gave_up(&error_chain(&error));
            context.end_attempt(&task, Event::Failed { stage: FailureStage::Launch, message }).await?;
            Ok(Step::Done)
        }
    }
}

/// Collects everything that the machine needs, then creates it or finds the existing one.
async fn prepare(context: &Context, task: &Task) -> Result<(Machine, String, Duration), Stop> {
    let repository = &task.repository;
    let repo = &repository.full_name;
    let github = context.github.installation(repository.installation_id);
    let agents = &context.policy.agents;
    let agent = agents
        .find(&task.agent)
        .ok_or_else(|| Stop::Refused(FailureStage::Preflight, messages::agent_is_gone(&task.agent)))?;
    let agent = agents.specification(agent, task.model.as_deref());
    may_push(&github, task).await?;
    let person = context.credentials.load(task.requester.id).await?;
    let kept = attempt_token::find(context, &task.id, task.attempt.number).await?;
    let Scope { runner, place, .. } = contract(context, &agent, &person, kept.as_ref())?;
    let base_branch = base_branch(&github, task).await?;
    let time_limit = time_limit(context.policy.task_timeout, person.settings.settings.task_timeout);
    if kept.is_some() {
        // An earlier try may have created the machine, which holds the stored token, whatever its age.
        let found = runner.find(&task.id, task.attempt.number).await.map_err(machine_refused)?;
        if let Some(machine) = found {
            return Ok((machine, base_branch, time_limit));
        }
    }
    let agents_md = github
        .find_file(repo, "AGENTS.md", &repository.default_branch)
        .await
        .or_else(not_there)
        .map_err(refusal_or_later)?;

    let token = match attempt_token::obtain(context, &github, task, kept, place).await {
        Err(Error::Github(error)) => return Err(token_refused(error)),
        token => token?,
    };
    let assignment = Assignment {
        task_id: task.id.to_string(),
        attempt: task.attempt.number,
        repo_full_name: repository.full_name.to_string(),
        repo_url: clone_url(context, task),
        issue_number: u64::try_from(task.issue.number.get()).unwrap_or(0),
        agent: agent.id.clone(),
        model: task.model.clone(),
        prompt: prompt::build(&PromptInput {
            title: &task.issue.title,
            body: &task.issue.body,
            issue_number: task.issue.number,
            agents_md: agents_md.as_deref(),
            instructions: &task.instructions,
            custom_prompt: person.settings.custom_prompt_of(&agent.id),
        }),
        branch: task.id.branch(),
        base_branch: base_branch.clone(),
        github_token: token.expose_secret().to_owned(),
        callback_url: context.policy.link("api/callbacks/complete"),
        progress_url: context.policy.link("api/callbacks/progress"),
        callback_token: context.keys.callback_token(&task.id, task.attempt.number).expose_secret().to_owned(),
        timeout_seconds: time_limit.as_secs(),
        committer: None,
        token_url: None,
        bundle_url: None,
        requester: Some(format!(
            "{login} <{id}+{login}@users.noreply.github.com>",
            login = task.requester.login,
            id = task.requester.id
        )),
        provider_keys: provider_keys(&agent, &person),
        agent_spec: agent,
    };
    // The checks take time: a machine of an earlier try may have reported since and be gone.
    let now = context.load(&task.id).await?;
    if now.attempt.number != task.attempt.number || now.phase != Some(Phase::Launching) {
        return Err(Stop::Over);
    }
    let machine = &context.policy.machine;
    let spec = LaunchSpec::new(task.id.clone(), &assignment, &machine.image, machine.cpus, machine.memory_mb)
        .in_region(machine.region.clone());
    let machine = runner.launch(spec).await.map_err(machine_refused)?;
    Ok((machine, base_branch, time_limit))
}

/// Checks that the requester may push. GitHub's permission endpoint decides, never `author_association` (main-spec
/// §5).
async fn may_push(github: &github::Installation, task: &Task) -> Result<(), Stop> {
    let repository = &task.repository;
    let permission =
        github.permission(&repository.full_name, &task.requester.login).await.map_err(refusal_or_later)?;
    if permission.may_push() {
        return Ok(());
    }
    if permission == github::Permission::None {
        // GitHub returns the same error for an unknown person and for a repository that Porter may not (or no longer)
        // access.
        github.repository(&repository.full_name).await.map_err(refusal_or_later)?;
    }
    let message = messages::may_not_push(&repository.full_name, &task.requester.login);
    Err(Stop::Refused(FailureStage::Preflight, message))
}

/// Checks everything that only the person can provide and names each missing item.
fn contract(
    context: &Context,
    agent: &Specification,
    person: &Keyring,
    kept: Option<&AttemptToken>,
) -> Result<Scope, Stop> {
    let machines = context.machines.as_ref();
    let holdings = machines::holdings(machines, person);
    let missing = agent.missing_keys(|key| person.keys.contains_key(key));
    let mut missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    missing.extend(machines.missing(&holdings));
    if !missing.is_empty() {
        let message = messages::missing_credentials(missing, &context.policy.link("settings"));
        return Err(Stop::Refused(FailureStage::Preflight, message));
    }
    // An attempt stays in one place, even if the person's settings change during its launch.
    let place = kept.and_then(|kept| kept.place.as_deref());
    machines.scope(&holdings, place).map_err(machine_refused)
}

/// Returns the branch to start from: the requested one, the pull request's branch when the comment is on a pull
/// request, or else the default branch.
async fn base_branch(github: &github::Installation, task: &Task) -> Result<String, Stop> {
    let repository = &task.repository;
    let repo = &repository.full_name;
    if let Some(asked) = &task.base_branch {
        return match github.find_branch(repo, asked).await.map_err(refusal_or_later)? {
            Some(_) => Ok(asked.clone()),
            None => Err(Stop::Refused(
                FailureStage::Preflight,
                messages::no_such_branch(asked, &repository.full_name),
            )),
        };
    }
    if task.issue.is_pull_request {
        let pull = github.pull(repo, task.issue.number).await.map_err(refusal_or_later)?;
        let own = pull
            .head_repo
            .as_deref()
            .is_some_and(|repo| repo.eq_ignore_ascii_case(&repository.full_name.to_string()));
        return Ok(if own && pull.state == github::State::Open { pull.head_ref } else { pull.base_ref });
    }
    if task.attempt.number > 1 {
        // The branch may have been renamed since the request.
        return Ok(github.repository(repo).await.map_err(refusal_or_later)?.default_branch);
    }
    Ok(repository.default_branch.clone())
}

/// Stores the machine. If the attempt has ended in the meantime, enqueues a clean-up of the machine.
async fn record(
    context: &Context,
    task: &Task,
    machine: Machine,
    base_branch: String,
    time_limit: Duration,
) -> Result<(), Error> {
    let time_limit = TimeDelta::from_std(time_limit).unwrap_or(TimeDelta::hours(1));
    let deadline = context.now() + time_limit + MACHINE_OVERHEAD;
    let mut work = context.store.begin().await?;
    let current = work.find(&task.id).await?;
    if current.attempt.number == task.attempt.number && current.phase == Some(Phase::Launching) {
        let event = Event::Launched { machine_id: machine.id.clone(), base_branch, deadline };
        work.apply(&current, event).await?;
        let (id, attempt) = (task.id.clone(), task.attempt.number);
        work.log(move || {
            tracing::info!(
                task.id = %id,
                task.attempt = attempt,
                machine.id = %machine.id,
                "the machine was started"
            );
        });
    } else if current.status != Status::Running || current.attempt.number != task.attempt.number {
        work.enqueue([Job::of(task, Effect::CleanUp)]).await?;
    }
    work.commit().await?;
    Ok(())
}

fn provider_keys(agent: &Specification, person: &Keyring) -> BTreeMap<String, String> {
    agent
        .env_keys()
        .filter_map(|key| Some((key.to_owned(), person.keys.get(key)?.expose_secret().to_owned())))
        .collect()
}

/// Returns the time limit: the operator's, or the person's if that is lower.
fn time_limit(operator: Duration, minutes: Option<f64>) -> Duration {
    minutes
        .filter(|minutes| *minutes > 0.0)
        .and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok())
        .map_or(operator, |own| own.min(operator))
        .max(Duration::from_secs(1))
}

fn clone_url(context: &Context, task: &Task) -> String {
    let web = context.policy.github_web_url.as_str().trim_end_matches('/').to_owned();
    format!("{web}/{}.git", task.repository.full_name)
}

/// Returns an explanation for the person, or an error of GitHub that a retry may resolve.
fn refusal_or_later(error: github::Error) -> Stop {
    let advice = match &error {
        github::Error { kind: github::Kind::NotFound, .. } => messages::repository_not_visible(),
        github::Error { kind: github::Kind::Gone, .. } => messages::app_not_installed(),
        github::Error { kind: github::Kind::Forbidden, message, .. } => messages::github_forbids(message),
        github::Error { kind: github::Kind::Invalid, message, .. } => messages::github_refuses(message),
        _ => return Stop::Later(error.into()),
    };
    Stop::Refused(FailureStage::Preflight, advice)
}

/// Returns the same for an error of the machine runner.
fn machine_refused(error: runner::Error) -> Stop {
    match error {
        error if error.is_temporary() => Stop::Later(error.into()),
        error => Stop::Refused(FailureStage::Launch, error.to_string()),
    }
}

/// Returns the same for the request of the worker's token, where GitHub reports a missing push permission of the App
/// as invalid.
fn token_refused(error: github::Error) -> Stop {
    match error {
        github::Error { kind: github::Kind::Invalid, message, .. } => {
            Stop::Refused(FailureStage::Preflight, messages::no_push_token(&message))
        }
        other => refusal_or_later(other),
    }
}

fn not_there(error: github::Error) -> Result<Option<String>, github::Error> {
    match error {
        github::Error { kind: github::Kind::NotFound, .. } => Ok(None),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_can_only_lower_the_time_limit() {
        let operator = Duration::from_secs(600);
        assert_eq!(time_limit(operator, None), operator);
        assert_eq!(time_limit(operator, Some(90.0)), operator);
        assert_eq!(time_limit(operator, Some(2.5)), Duration::from_secs(150));
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(time_limit(operator, Some(nonsense)), operator, "for {nonsense}");
        }
    }
}
