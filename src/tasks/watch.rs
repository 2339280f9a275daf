//! The watchdog: checks the actual state of running attempts. It ends an attempt that is past its deadline, silent
//! for three minutes, or without a machine; if its branch was pushed, the work is published. It also ends an attempt
//! whose launch or publishing does not finish. It destroys machines that no running attempt owns.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::machines::scope_of;
use super::{Context, Error, LAUNCH_TIMEOUT, publish};
use crate::runner::{MachineState, Scope};
use domain::errors::error_chain;
use domain::messages;
use domain::report::FailureStage;
use domain::task::{Event, Phase, Status, Task};

/// After this silence the watchdog checks whether the machine still exists, because an ended worker sends no more
/// reports. A worker that cannot reach Porter stays alive and retries.
const LISTEN_TIME: TimeDelta = TimeDelta::seconds(10);
/// After this silence the attempt ends, whatever the state of its machine (main-spec §6).
const SILENT: TimeDelta = TimeDelta::minutes(3);
/// How long workers may take to reach Porter after its start; longer than the delay between two of their retries.
const OUTAGE_GRACE: TimeDelta = TimeDelta::seconds(45);
/// How long the watchdog retries asking GitHub whether the branch of an ended attempt exists.
const ASK_GITHUB_FOR: TimeDelta = TimeDelta::minutes(30);
/// How much longer than its retry limit a launch or a publishing may take. The job itself, which knows the cause,
/// should end the attempt first, so this is longer than the time limit of a job.
const OVERDUE: TimeDelta = TimeDelta::minutes(10);
/// The number of attempts that are checked at the same time.
const MAX_CONCURRENT_LOOKS: usize = 8;

/// Checks every running attempt.
///
/// # Errors
/// [`Error::Db`]; an error with one attempt does not prevent the checks of the others.
pub async fn look(context: &Context) -> Result<(), Error> {
    let running = db::tasks::list_running(&mut *context.store.read().await?).await?;
    let missing = missing_machines(context, &running).await?;
    let looks = running.iter().map(|task| async {
        let missing = task.attempt.machine_id.as_ref().is_some_and(|id| missing.contains(id));
        let looked = match task.phase {
            Some(Phase::Launching) => look_at_launch(context, task).await,
            Some(Phase::Publishing) => look_at_publishing(context, task).await,
            _ => look_at(context, task, missing).await,
        };
        if let Err(error) = looked {
            let error = error_chain(&error);
            tracing::warn!(task.id = %task.id, error, "the attempt could not be checked");
        }
    });
    futures_util::stream::iter(looks).for_each_concurrent(MAX_CONCURRENT_LOOKS, |look| look).await;
    Ok(())
}

async fn look_at(context: &Context, task: &Task, missing: bool) -> Result<(), Error> {
    let silence = context.tried_for(last_report_at(task));
    let overdue = task.attempt.deadline_at.is_some_and(|deadline| context.now() >= deadline);
    if overdue && context.tried_for(task.created_at) >= OUTAGE_GRACE {
        let message = messages::ran_out_of_time();
        return settle(context, task, Event::TimedOut { message }).await;
    }
    if silence >= SILENT {
        let message = messages::machine_is_silent();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    if missing && machine_is_gone(context, task).await? {
        let message = messages::machine_ended();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    Ok(())
}

async fn look_at_launch(context: &Context, task: &Task) -> Result<(), Error> {
    let message = messages::launch_overdue();
    let failed = Event::Failed { stage: FailureStage::Launch, message };
    end_overdue(context, task, task.attempt.started_at.unwrap_or(task.queued_at), LAUNCH_TIMEOUT, failed)
        .await
}

async fn look_at_publishing(context: &Context, task: &Task) -> Result<(), Error> {
    let message = messages::publishing_overdue(&task.id.branch());
    let failed = Event::Failed { stage: FailureStage::Pr, message };
    end_overdue(context, task, last_report_at(task), publish::PUBLISH_TIMEOUT, failed).await
}

/// Ends an attempt whose launch or publishing has exceeded `timeout` by [`OVERDUE`].
async fn end_overdue(
    context: &Context,
    task: &Task,
    since: DateTime<Utc>,
    timeout: TimeDelta,
    failed: Event,
) -> Result<(), Error> {
    if context.tried_for(since) < timeout + OVERDUE {
        return Ok(());
    }
    tracing::error!(
        task.id = %task.id,
        task.attempt = task.attempt.number,
        phase = ?task.phase,
        "the launch or publishing did not finish in time; the watchdog ends the attempt"
    );
    context.end_attempt(task, failed).await
}

fn last_report_at(task: &Task) -> DateTime<Utc> {
    task.attempt.seen_at.unwrap_or(task.updated_at)
}

/// Returns the machines of silent attempts that the list of their scope does not show as alive. Makes one call for
/// each scope.
async fn missing_machines(context: &Context, running: &[Task]) -> Result<BTreeSet<String>, Error> {
    let working = running.iter().filter(|task| task.phase == Some(Phase::Working));
    let quiet = working.filter(|task| context.now() - last_report_at(task) >= LISTEN_TIME);
    // The machines that are expected in each scope.
    let mut scopes: Vec<(Scope, BTreeSet<String>)> = Vec::new();
    for task in quiet {
        let (Some(id), Some(scope)) =
            (&task.attempt.machine_id, scope_of(context, task, task.attempt.number).await?)
        else {
            continue;
        };
        match scopes.iter_mut().find(|(known, _)| known.is_same(&scope)) {
            Some((_, expected)) => {
                expected.insert(id.clone());
            }
            None => scopes.push((scope, BTreeSet::from([id.clone()]))),
        }
    }
    let mut missing = BTreeSet::new();
    for (Scope { runner, place, .. }, mut expected) in scopes {
        match runner.list().await {
            Ok(machines) => {
                for machine in machines.iter().filter(|machine| machine.state != MachineState::Gone) {
                    expected.remove(&machine.id);
                }
                missing.append(&mut expected);
            }
            Err(error) => {
                tracing::warn!(
                    machine.place = place,
                    error = error_chain(&error),
                    "machines could not be listed"
                );
            }
        }
    }
    Ok(missing)
}

/// Returns whether the machine itself is gone, because a list may be outdated.
async fn machine_is_gone(context: &Context, task: &Task) -> Result<bool, Error> {
    let (Some(id), Some(scope)) =
        (&task.attempt.machine_id, scope_of(context, task, task.attempt.number).await?)
    else {
        return Ok(false);
    };
    let machine = scope.runner.find_by_id(id).await?;
    Ok(machine.is_none_or(|machine| machine.state == MachineState::Gone))
}

/// Ends the attempt with `event`, or publishes its work if its branch was pushed.
async fn settle(context: &Context, task: &Task, event: Event) -> Result<(), Error> {
    let event = match pushed_head(context, task).await {
        Ok(Some(commit_sha)) => Event::BranchFound { commit_sha },
        Ok(None) => event,
        Err(error) if error.is_transient() && context.tried_for(last_report_at(task)) < ASK_GITHUB_FOR => {
            return Err(error.into());
        }
        Err(_) => event,
    };
    tracing::info!(task.id = %task.id, task.attempt = task.attempt.number, "the watchdog ends the attempt");
    context.end_attempt(task, event).await
}

/// Returns the head commit of the attempt's branch if it contains finished work of this attempt.
async fn pushed_head(context: &Context, task: &Task) -> Result<Option<String>, github::Error> {
    let repo = &task.repository.full_name;
    let github = context.github.installation(task.repository.installation_id);
    let branch = task.id.branch();
    let Some(found) = github.find_branch(repo, &branch).await? else { return Ok(None) };
    let base = task.base_branch.as_deref().unwrap_or(&task.repository.default_branch);
    if github.commits_ahead(repo, base, &branch).await? == 0 {
        return Ok(None);
    }
    let Some(commit) = github.find_commit(repo, &found.sha).await? else { return Ok(None) };
    // The worker marks commits of an agent that did not finish. Commits of an earlier attempt are older than this
    // attempt.
    let unfinished = commit.message.lines().any(|line| line.trim() == "Porter-Result: unfinished");
    let stale = task.attempt.number > 1
        && commit.committed_at.zip(task.attempt.started_at).is_none_or(|(at, start)| at < start);
    Ok((!unfinished && !stale).then_some(found.sha))
}

/// Destroys machines that no running attempt owns, in every scope that was used within the last day.
///
/// # Errors
/// [`Error::Db`]; an error in one person's scope does not prevent the checks of the others.
pub async fn reap(context: &Context) -> Result<(), Error> {
    let since = context.now() - TimeDelta::days(1);
    let people = db::tasks::list_requesters_since(&mut *context.store.read().await?, since).await?;
    let mut seen: Vec<Scope> = Vec::new();
    for person in people {
        let Some(scope) = context.scope_of_person(person).await? else { continue };
        if seen.iter().any(|known| known.is_same(&scope)) {
            continue;
        }
        if let Err(error) = reap_scope(context, scope.runner.as_ref()).await {
            tracing::warn!(machine.place = scope.place, error = %error, "machines could not be checked");
        }
        seen.push(scope);
    }
    Ok(())
}

async fn reap_scope(context: &Context, runner: &dyn crate::runner::Runner) -> Result<(), Error> {
    for machine in runner.list().await? {
        // Read after the list, so that a machine that was created in the meantime is not treated as an orphan.
        let task = db::tasks::find(&mut *context.store.read().await?, &machine.task).await?;
        let owned = task.is_some_and(|task| {
            let running = task.status == Status::Running && task.attempt.number == machine.attempt;
            running && task.attempt.machine_id.is_none_or(|id| id == machine.id)
        });
        // A pending clean-up job gives the worker time to push and then destroys the machine.
        if owned || clean_up_is_pending(context, &machine).await? {
            continue;
        }
        tracing::warn!(
            machine.id = %machine.id,
            task.id = %machine.task,
            "destroying a machine without a running attempt"
        );
        runner.destroy(&machine.id).await?;
    }
    Ok(())
}

async fn clean_up_is_pending(context: &Context, machine: &crate::runner::Machine) -> Result<bool, Error> {
    let key = domain::job::Job::CleanUp { task: machine.task.clone(), attempt: machine.attempt }.key();
    Ok(db::jobs::is_pending(&mut *context.store.read().await?, &key).await?)
}
