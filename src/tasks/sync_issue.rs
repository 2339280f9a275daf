//! Makes the issue show where a task stands: a reaction, one status comment edited in place, labels. It looks
//! at the task as it is, not at what happened, so late, lost and doubled calls all end in the same place.

use chrono::TimeDelta;

use super::redaction::redactor;
use super::{Context, Error, Step};
use domain::comment;
use domain::task::{Status, Task, TaskId};

/// Brings the issue up to date. `again` is true when an earlier try may have got half-way.
///
/// # Errors
/// What is worth trying again. Where GitHub refuses for good (the issue is gone, locked, or the permission
/// was taken away) there is nobody left to tell, and the effect counts as done.
pub async fn run(context: &Context, id: &TaskId, again: bool) -> Result<Step, Error> {
    let task = context.load(id).await?;
    let github = context.github.installation(task.repository.installation_id);
    let first = task.status_comment_id.is_none() && !again;
    // Each for itself: a GitHub that does not take the reaction still gets the comment.
    // An earlier try may have got the comment through and not the reaction.
    let reaction = match task.status_comment_id {
        Some(_) if !again => Ok(()),
        _ => tolerate(&task, "reaction", react(&github, &task).await),
    };
    if let Err(Error::Github(github::Error { kind: github::Kind::RateLimited { .. }, .. })) = reaction {
        // Nothing else would get through either, and a try that was put off does not count as one.
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
    // A comment may be there although its number was never stored. The proof was nowhere to be read before
    // that comment was, so the oldest one that carries it is Porter's own.
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

/// The status comment's text as of now.
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

/// Adds the labels the task should have, and takes away those that are no longer true. Labels of other
/// people, and of other agents' tasks on the same issue, stay. The `first` time something is missing for certain,
/// and GitHub's answer to what is added tells the rest.
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

/// Passes on what another try may mend; the rest is logged, since there is nobody left to tell.
fn tolerate<E: Into<Error>>(task: &Task, what: &str, result: Result<(), E>) -> Result<(), Error> {
    match result.map_err(Into::into) {
        Err(Error::Github(error)) if !error.may_pass() => {
            tracing::warn!(task.id = %task.id, error = %error, "GitHub does not take the {what}");
            Ok(())
        }
        result => result,
    }
}
