//! Opens a pull request for a pushed branch. Run by the engine. Idempotent: it looks for its own pull request before
//! it opens one.

use chrono::TimeDelta;

use super::redaction::redactor;
use super::{Context, Error, Step};
use domain::comment;
use domain::ids::IssueNumber;
use domain::messages;
use domain::redact::Redactor;
use domain::report::FailureStage;
use domain::task::{Event, Phase, Status, Task, TaskId};

/// How long opening the pull request is retried before the task fails.
pub(super) const PUBLISH_TIMEOUT: TimeDelta = TimeDelta::days(1);

/// Opens the attempt's pull request, or adopts an existing one, and ends the task. Then requests a review, which the
/// task's success does not depend on.
///
/// # Errors
/// An error that a retry may resolve.
pub async fn run(context: &Context, id: &TaskId, attempt: u32) -> Result<Step, Error> {
    let task = context.load(id).await?;
    if task.attempt.number != attempt {
        return Ok(Step::Done);
    }
    let github = context.github.installation(task.repository.installation_id);
    match (task.status, task.phase) {
        (Status::Running, Some(Phase::Publishing)) => {}
        // An earlier try opened the pull request but could not request the review.
        (Status::Success, _) => return review(&github, &task, task.pr_number).await,
        _ => return Ok(Step::Done),
    }
    let redactor = redactor(context, &task).await?;
    match open(context, &github, &task, &redactor).await {
        Ok(pull) => {
            let number = pull.number;
            context.end_attempt(&task, Event::Published { number, url: pull.html_url }).await?;
            tracing::info!(task.id = %id, "the pull request was opened");
            review(&github, &task, Some(number)).await
        }
        Err(error) => {
            let reported = task.attempt.seen_at.unwrap_or(task.updated_at);
            if error.may_pass() && context.tried_for(reported) < PUBLISH_TIMEOUT {
                return Err(error.into());
            }
            let (stage, message) = explain(&task, &error);
            tracing::warn!(task.id = %id, error = %error, "the pull request could not be opened");
            context.end_attempt(&task, Event::Failed { stage, message }).await?;
            Ok(Step::Done)
        }
    }
}

async fn open(
    context: &Context,
    github: &github::Installation,
    task: &Task,
    redactor: &Redactor,
) -> Result<github::Pull, github::Error> {
    let repository = &task.repository;
    if let Some(pull) = find_own(github, task).await? {
        return Ok(pull);
    }
    let base = task.base_branch.clone().unwrap_or_else(|| repository.default_branch.clone());
    let new = github::NewPull {
        title: redactor.redact(&comment::pull_title(task)),
        body: redactor.redact(&comment::pull_body(
            task,
            &comment::PullContext {
                task_url: &context.policy.task_url(&task.id),
                agent_name: context.policy.agents.name_of(&task.agent),
                // Only a report sets the number of tries and the agent's summary.
                recovered: task.attempt.callback.attempts.is_none() && task.attempt.summary.is_none(),
            },
        )),
        head: task.id.branch(),
        base,
        draft: true,
    };
    match github.create_pull(&repository.full_name, &new).await {
        Err(error @ github::Error { kind: github::Kind::AlreadyExists, .. }) => {
            find_own(github, task).await?.ok_or(error)
        }
        answer => answer,
    }
}

/// Returns the branch's open pull request, or one that was closed or merged and has this exact commit as its head.
async fn find_own(github: &github::Installation, task: &Task) -> Result<Option<github::Pull>, github::Error> {
    let repository = &task.repository;
    let mut pulls = github.list_pulls_by_head(&repository.full_name, &task.id.branch()).await?;
    let commit = task.attempt.commit_sha.as_deref();
    let own = pulls
        .iter()
        .position(|pull| pull.state == github::State::Open)
        .or_else(|| pulls.iter().position(|pull| Some(pull.head_sha.as_str()) == commit));
    Ok(own.map(|index| pulls.swap_remove(index)))
}

/// Requests a review from the requester, or assigns them where GitHub does not allow that. If GitHub allows neither,
/// the pull request is kept.
async fn review(
    github: &github::Installation,
    task: &Task,
    pull: Option<IssueNumber>,
) -> Result<Step, Error> {
    let Some(pull) = pull else { return Ok(Step::Done) };
    let repo = &task.repository.full_name;
    let login = &task.requester.login;
    let Err(error) = github.request_reviewer(repo, pull, login).await else { return Ok(Step::Done) };
    if error.is_transient() {
        return Err(error.into());
    }
    match github.add_assignee(repo, pull, login).await {
        Err(error) if error.is_transient() => Err(error.into()),
        Err(error) => {
            tracing::info!(
                task.id = %task.id,
                error = %error,
                "the requester could not be asked for a review"
            );
            Ok(Step::Done)
        }
        Ok(_) => Ok(Step::Done),
    }
}

fn explain(task: &Task, error: &github::Error) -> (FailureStage, String) {
    let branch = task.id.branch();
    match error.kind {
        github::Kind::NothingToMerge => (FailureStage::Agent, messages::no_changes()),
        github::Kind::Forbidden => (FailureStage::Pr, messages::may_not_open_pulls(&branch)),
        _ => (FailureStage::Pr, messages::pull_refused(&error.to_string(), &branch)),
    }
}
