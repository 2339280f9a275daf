//! `stop`, `retry`, `status` and `help`, as control words in a comment and as calls of the API. The engine runs
//! control words, because GitHub must be asked whether the author may push.

use super::{Context, Error, Step, Store, UnitOfWork};
use domain::comment::{Answer, Refusal, TaskSummary};
use domain::ids::UserId;
use domain::job::{CommentReference, Control, Job, Reply};
use domain::messages;
use domain::task::{Event, Status, Task, TaskId};

/// Executes a control word if its author may push.
///
/// # Errors
/// An error that a retry may resolve.
pub async fn run(context: &Context, by: &CommentReference, word: Control) -> Result<Step, Error> {
    let github = context.github.installation(by.installation);
    let permission = match github.permission(&by.repository, &by.login).await {
        Ok(permission) => permission,
        Err(error) if error.may_pass() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(
                github.comment_id = %by.comment_id,
                error = %error,
                "GitHub did not report the author's permission; the control word is dropped"
            );
            return Ok(Step::Done);
        }
    };
    let may = permission.may_push();
    let mut work = context.store.begin().await?;
    let reply = if may {
        Reply::Answer(execute(context, &mut work, by, word).await?)
    } else {
        Reply::Refusal(Refusal::NotAllowed)
    };
    // In the same transaction as the operation: after a crash the reply may be pending, but not the operation.
    work.enqueue([Job::Answer { to: by.clone(), reply }]).await?;
    db::jobs::remove(&mut work, &Job::Control { by: by.clone(), word }.key()).await?;
    work.commit().await?;
    Ok(Step::Done)
}

async fn execute(
    context: &Context,
    work: &mut UnitOfWork,
    by: &CommentReference,
    word: Control,
) -> Result<Answer, Error> {
    let latest = db::tasks::find_latest_on_issue(work, by.repo_id, by.issue).await?;
    match (word, latest) {
        (Control::Help, _) => Ok(Answer::Help { agents: context.policy.agent_ids() }),
        (Control::Status, latest) => {
            let mut tasks = db::tasks::list_active_on_issue(work, by.repo_id, by.issue).await?;
            tasks.reverse();
            tasks.extend(latest.filter(|task| task.status.is_terminal()));
            Ok(Answer::Status { tasks: summaries(context, work, tasks).await? })
        }
        (Control::Stop, _) => {
            let active = db::tasks::list_active_on_issue(work, by.repo_id, by.issue).await?;
            if active.is_empty() {
                return Ok(Answer::NothingToStop);
            }
            let mut stopped = Vec::new();
            for task in &active {
                stopped.push(stop_in(work, task, &by.login).await?);
            }
            Ok(Answer::Stopped { tasks: summaries(context, work, stopped).await? })
        }
        (Control::Retry, None) => Ok(Answer::NothingToRetry),
        (Control::Retry, Some(task)) => {
            let task_url = context.policy.task_url(&task.id);
            match task.status {
                Status::Success => Ok(Answer::CannotRetrySuccess { pr_url: task.pr_url }),
                Status::Queued | Status::Running => Ok(Answer::StillActive { task_url }),
                Status::Failed | Status::TimedOut => {
                    match work.apply(&task, Event::Retried).await {
                        Ok(next) => Ok(Answer::Retrying { task_url, attempt: next.attempt.number }),
                        // An older task of this agent was retried in the meantime.
                        Err(Error::Db(db::Error::Conflict)) => {
                            let active = db::tasks::list_active_on_issue(work, by.repo_id, by.issue).await?;
                            let other =
                                active.iter().find(|other| other.agent == task.agent).unwrap_or(&task);
                            Ok(Answer::StillActive { task_url: context.policy.task_url(&other.id) })
                        }
                        Err(error) => Err(error),
                    }
                }
            }
        }
    }
}

/// Returns the summaries of tasks for a reply.
async fn summaries(
    context: &Context,
    connection: &mut db::Connection,
    tasks: Vec<Task>,
) -> Result<Vec<TaskSummary>, Error> {
    let mut summaries = Vec::with_capacity(tasks.len());
    for task in tasks {
        let queue_position = match task.status {
            Status::Queued => Some(db::queue::position(connection, &task, context.now()).await?),
            _ => None,
        };
        summaries.push(TaskSummary {
            task_url: context.policy.task_url(&task.id),
            agent: task.agent,
            status: task.status,
            progress: task.attempt.progress,
            queue_position,
            pr_url: task.pr_url,
        });
    }
    Ok(summaries)
}

async fn stop_in(work: &mut UnitOfWork, task: &Task, login: &str) -> Result<Task, Error> {
    let message = messages::stopped_by(login);
    let next = work.apply(task, Event::Stopped { message }).await?;
    let (id, attempt) = (task.id.clone(), task.attempt.number);
    work.log(move || tracing::info!(task.id = %id, task.attempt = attempt, "the task was stopped"));
    Ok(next)
}

/// Stops a task for its requester. Stopping a stopped task has no effect.
///
/// # Errors
/// [`Error::NotFound`] when the task is not theirs, [`Error::InvalidState`] when it ended otherwise, [`Error::Db`].
pub async fn stop(store: &Store, id: &TaskId, requester_id: UserId, login: &str) -> Result<Task, Error> {
    let mut work = store.begin().await?;
    let task = load_own(&mut work, id, requester_id).await?;
    // Every failure has a stage; a stopped attempt has none.
    if task.status == Status::Failed && task.attempt.failure_stage.is_none() {
        return Ok(task);
    }
    let next = stop_in(&mut work, &task, login).await?;
    work.commit().await?;
    Ok(next)
}

/// Starts another attempt of a task for its requester.
///
/// # Errors
/// [`Error::NotFound`] when the task is not theirs, [`Error::InvalidState`] when it is active or succeeded,
/// [`Error::Refused`] when another task of its issue and agent is active, [`Error::Db`].
pub async fn retry(store: &Store, id: &TaskId, requester_id: UserId) -> Result<Task, Error> {
    let mut work = store.begin().await?;
    let task = load_own(&mut work, id, requester_id).await?;
    let next = work.apply(&task, Event::Retried).await.map_err(|error| match error {
        Error::Db(db::Error::Conflict) => Error::Refused(messages::another_is_active()),
        other => other,
    })?;
    work.commit().await?;
    Ok(next)
}

async fn load_own(work: &mut UnitOfWork, id: &TaskId, requester_id: UserId) -> Result<Task, Error> {
    let task = work.find(id).await?;
    if task.requester.id == requester_id { Ok(task) } else { Err(Error::NotFound) }
}
