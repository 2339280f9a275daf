//! Shows a task's status on its issue: a reaction, one status comment that is edited in place, and labels. It uses
//! the task's current state and not the event that caused the job, so late, lost and repeated jobs lead to the same
//! result.

use chrono::TimeDelta;

use super::redaction::redactor;
use super::{Context, Error, Step};
use domain::comment;
use domain::task::{Status, Task, TaskId};

/// Brings the issue up to date. `again` is true when an earlier try may have succeeded in part.
///
/// # Errors
/// An error that a retry may resolve. When GitHub refuses permanently because the issue is gone or locked, or a
/// permission was removed, the person cannot be informed and the job counts as done.
pub async fn run(context: &Context, id: &TaskId, again: bool) -> Result<Step, Error> {
    let task = context.load(id).await?;
    let github = context.github.installation(task.repository.installation_id);
    let first = task.status_comment_id.is_none() && !again;
    // The steps are independent: if GitHub rejects the reaction, the comment is still written. An earlier try may
    // have written the comment but not the reaction.
    let reaction = match task.status_comment_id {
        Some(_) if !again => Ok(()),
        _ => tolerate(&task, "reaction", react(&github, &task).await),
    };
    if let Err(Error::Github(github::Error { kind: github::Kind::RateLimited { .. }, .. })) = reaction {
        // The other calls would fail too, and a postponed try does not count as one.
        return reaction.map(|()| Step::Done);
    }
    let comment = tolerate(&task, "status comment", show_comment(context, &github, &task, again).await);
    let labels = tolerate(&task, "labels", show_labels(&github, &task, first).await);
    reaction.and(comment).and(labels)?;
    Ok(Step::Done)
}

async fn react(github: &github::Installation, task: &Task) -> Result<(), github::Error> {
    let Some(comment_id) = task.comment_id else { return Ok(()) };
    github.react(&task.repository.full_name, comment_id, "eyes").await
}

async fn show_comment(
    context: &Context,
    github: &github::Installation,
    task: &Task,
    again: bool,
) -> Result<(), Error> {
    let repo = &task.repository.full_name;
    let proof = context.keys.comment_proof(task.id.as_str());
    let body = render(context, task, &proof).await?;
    if let Some(comment_id) = task.status_comment_id {
        github.edit_comment(repo, comment_id, &body).await?;
        return Ok(());
    }
    // A comment may exist although its id was never stored. The proof was not public before that comment, so the
    // oldest comment that contains it is Porter's own.
    let mut found = None;
    if again {
        let since = task.created_at - TimeDelta::minutes(5);
        let comments = github.list_comments_since(repo, task.issue.number, since).await?;
        found = comments.into_iter().find(|one| comment::has_marker(&one.body, task.id.as_str(), &proof));
    }
    let comment_id = match found {
        Some(found) => {
            github.edit_comment(repo, found.id, &body).await?;
            found.id
        }
        None => github.create_comment(repo, task.issue.number, &body).await?.id,
    };
    let mut work = context.store.begin().await?;
    db::tasks::remember_status_comment(&mut work, &task.id, comment_id).await?;
    work.commit().await?;
    Ok(())
}

/// Returns the current text of the status comment.
///
/// # Errors
/// [`Error::Db`], [`Error::Credentials`].
pub async fn render(context: &Context, task: &Task, proof: &str) -> Result<String, Error> {
    let now = context.now();
    let queue_position = match task.status {
        Status::Queued => Some(db::queue::position(&mut *context.store.read().await?, task, now).await?),
        _ => None,
    };
    let task_url = context.policy.task_url(&task.id);
    let base = task.base_branch.as_deref().unwrap_or(&task.repository.default_branch);
    let web = context.policy.github_web_url.as_str().trim_end_matches('/');
    let compare_url = task
        .attempt
        .branch
        .as_ref()
        .map(|branch| format!("{web}/{}/compare/{base}...{branch}", task.repository.full_name));
    let body = comment::status(
        task,
        &comment::StatusContext {
            task_url: &task_url,
            queue_position,
            proof,
            agent_name: context.policy.agents.name_of(&task.agent),
            compare_url: compare_url.as_deref(),
        },
    );
    Ok(redactor(context, task).await?.redact(&body))
}

/// Adds the missing labels and removes the outdated ones. Labels of other people, and of other agents' tasks on the
/// same issue, are kept. On the `first` call labels are certainly missing, and GitHub's response to adding them
/// contains the rest.
async fn show_labels(github: &github::Installation, task: &Task, first: bool) -> Result<(), github::Error> {
    let (repo, issue) = (&task.repository.full_name, task.issue.number);
    let wanted = comment::labels(task);
    let mut there = match first {
        true => Vec::new(),
        false => github.list_labels(repo, issue).await?,
    };
    let missing: Vec<String> = wanted.iter().filter(|label| !there.contains(label)).cloned().collect();
    if !missing.is_empty() {
        there = github.add_labels(repo, issue, &missing).await?;
    }
    for label in there.iter().filter(|label| comment::is_ours(label) && !wanted.contains(label)) {
        github.remove_label(repo, issue, label).await?;
    }
    Ok(())
}

/// Returns errors that a retry may resolve and logs the others.
fn tolerate<E: Into<Error>>(task: &Task, what: &str, result: Result<(), E>) -> Result<(), Error> {
    match result.map_err(Into::into) {
        Err(Error::Github(error)) if !error.may_pass() => {
            tracing::warn!(task.id = %task.id, error = %error, "GitHub rejects the {what}");
            Ok(())
        }
        result => result,
    }
}
