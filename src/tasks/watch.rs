//! The watchdog: looks at what is, not at what it was told. A running attempt past its deadline, silent for
//! three minutes, or without a machine is settled; its work is saved when the branch was pushed. Machines
//! that no running attempt owns are destroyed.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::{Context, Error};
use crate::db;
use crate::domain::report::FailureStage;
use crate::domain::task::{Event, Phase, Status, Task};
use crate::github;
use crate::runner::MachineState;

/// After this silence the machine itself is looked at. Workers report every 30 seconds.
const LISTEN_FOR: TimeDelta = TimeDelta::seconds(45);
/// After this silence the attempt is given up, whatever its machine looks like (contract §6).
const SILENT: TimeDelta = TimeDelta::minutes(3);
/// How long an attempt that should be settled waits for GitHub to say whether its branch is there.
const ASK_GITHUB_FOR: TimeDelta = TimeDelta::minutes(30);

/// Looks at every running attempt.
///
/// # Errors
/// [`Error::Db`]; what goes wrong with one attempt does not keep the others from being looked at.
pub async fn look(context: &Context) -> Result<(), Error> {
    let running = db::tasks::list_running(&mut *context.db.read().await?).await?;
    for task in running.into_iter().filter(|task| task.phase == Some(Phase::Working)) {
        if let Err(error) = look_at(context, &task).await {
            tracing::warn!(task.id = %task.id, error = %error, "the attempt could not be looked at");
        }
    }
    Ok(())
}

async fn look_at(context: &Context, task: &Task) -> Result<(), Error> {
    let now = context.now();
    let silence = now - task.seen_at.unwrap_or(task.updated_at);
    if task.deadline_at.is_some_and(|deadline| now >= deadline) {
        let message = "The task ran out of time and its machine did not report.".to_owned();
        return settle(context, task, Event::TimedOut { message }).await;
    }
    if silence >= SILENT {
        let message = "The machine has not been heard for three minutes.".to_owned();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    if silence >= LISTEN_FOR && machine_is_gone(context, task).await? {
        let message = "The machine ended without a report.".to_owned();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    Ok(())
}

async fn machine_is_gone(context: &Context, task: &Task) -> Result<bool, Error> {
    let person = context.credentials.load(task.requester.id).await?;
    let (Some(runner), Some(id)) = (context.fleet.find(&person), &task.machine_id) else { return Ok(false) };
    let machine = runner.find_by_id(id).await?;
    Ok(machine.is_none_or(|machine| machine.state == MachineState::Gone))
}

/// Ends the attempt with `event`, unless its branch was pushed: then the work is published instead.
async fn settle(context: &Context, task: &Task, event: Event) -> Result<(), Error> {
    let event = match pushed_head(context, task).await {
        Ok(Some(commit_sha)) => Event::BranchFound { commit_sha },
        Ok(None) => event,
        Err(error) => {
            let overdue = context.now() - task.seen_at.unwrap_or(task.updated_at);
            if error.is_transient() && overdue < ASK_GITHUB_FOR {
                return Err(error.into());
            }
            event
        }
    };
    tracing::info!(task.id = %task.id, task.attempt = task.attempt, "the watchdog settles the attempt");
    context.end_attempt(task, event).await
}

/// The head of the attempt's branch, when it holds finished work of this attempt.
async fn pushed_head(context: &Context, task: &Task) -> Result<Option<String>, github::Error> {
    let (owner, name) = (&task.repository.owner, &task.repository.name);
    let github = context.github.installation(task.repository.installation_id);
    let branch = task.id.branch();
    let Some(found) = github.find_branch(owner, name, &branch).await? else { return Ok(None) };
    let base = task.base_branch.as_deref().unwrap_or(&task.repository.default_branch);
    if github.commits_ahead(owner, name, base, &branch).await? == 0 {
        return Ok(None);
    }
    let Some(commit) = github.find_commit(owner, name, &found.sha).await? else { return Ok(None) };
    // The worker marks what it saved from an agent that did not finish; an earlier attempt's work is older
    // than this attempt.
    let unfinished = commit.message.lines().any(|line| line.trim() == "Porter-Result: unfinished");
    let stale =
        task.attempt > 1 && commit.committed_at.zip(task.started_at).is_none_or(|(at, start)| at < start);
    Ok((!unfinished && !stale).then_some(found.sha))
}

/// Destroys machines that no running attempt owns, wherever people's tasks ran within the last day.
///
/// # Errors
/// [`Error::Db`]; what goes wrong with one person's machines does not keep the others' from being looked at.
pub async fn reap(context: &Context) -> Result<(), Error> {
    let since = context.now() - TimeDelta::days(1);
    let people = db::tasks::list_requesters_since(&mut *context.db.read().await?, since).await?;
    let mut seen = BTreeSet::new();
    for person in people {
        let person = context.credentials.load(person).await?;
        let Some(runner) = context.fleet.find(&person) else { continue };
        if !seen.insert(person.fly_app.clone()) {
            continue;
        }
        if let Err(error) = reap_fleet(context, runner.as_ref()).await {
            tracing::warn!(fly.app = person.fly_app, error = %error, "machines could not be looked at");
        }
    }
    Ok(())
}

async fn reap_fleet(context: &Context, runner: &dyn crate::runner::Runner) -> Result<(), Error> {
    for machine in runner.list().await? {
        // Read after the list, so that a machine made meanwhile is not taken for an orphan.
        let task = db::tasks::find(&mut *context.db.read().await?, &machine.task).await?;
        let owned = task.is_some_and(|task| {
            let running = task.status == Status::Running && task.attempt == machine.attempt;
            running && task.machine_id.is_none_or(|id| id == machine.id)
        });
        // A clean-up that is still owed gives the worker time to push; it will destroy the machine itself.
        if owned || clean_up_is_owed(context, &machine).await? {
            continue;
        }
        tracing::warn!(machine.id = %machine.id, task.id = %machine.task, "a machine that nobody owns is destroyed");
        runner.destroy(&machine.id).await?;
    }
    Ok(())
}

async fn clean_up_is_owed(context: &Context, machine: &crate::runner::Machine) -> Result<bool, Error> {
    let key = crate::domain::job::Job::CleanUp { task: machine.task.clone(), attempt: machine.attempt }.key();
    Ok(db::jobs::is_owed(&mut *context.db.read().await?, &key).await?)
}
