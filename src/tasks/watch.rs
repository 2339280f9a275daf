//! The watchdog: looks at what is, not at what it was told. A running attempt past its deadline, silent for
//! three minutes, or without a machine is settled; its work is saved when the branch was pushed. So is one whose
//! launch or publishing does not come to an end by itself. Machines that no running attempt owns are destroyed.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::fleet::{Place, place_of};
use super::{Context, Error, LAUNCH_TIMEOUT, publish};
use crate::runner::MachineState;
use domain::errors::error_chain;
use domain::report::FailureStage;
use domain::task::{Event, Phase, Status, Task};

/// After this silence it is looked whether the machine is still there: who has ended says no more. A worker that
/// cannot get through stays and tries.
const LISTEN_TIME: TimeDelta = TimeDelta::seconds(10);
/// After this silence the attempt is given up, whatever its machine looks like (main-spec §6).
const SILENT: TimeDelta = TimeDelta::minutes(3);
/// How long workers may take to get through once Porter is there again: longer than the rest between two of
/// their tries.
const OUTAGE_GRACE: TimeDelta = TimeDelta::seconds(45);
/// How long an attempt that should be settled waits for GitHub to say whether its branch is there.
const ASK_GITHUB_FOR: TimeDelta = TimeDelta::minutes(30);
/// How much longer than it is to be tried a launch or a publishing may take: the job itself, which knows why, is to
/// end the attempt first. Longer than any job may run.
const OVERDUE: TimeDelta = TimeDelta::minutes(10);
/// How many attempts are looked at side by side.
const MAX_CONCURRENT_LOOKS: usize = 8;

/// Looks at every running attempt.
///
/// # Errors
/// [`Error::Db`]; what goes wrong with one attempt does not keep the others from being looked at.
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
            tracing::warn!(task.id = %task.id, error, "the attempt could not be looked at");
        }
    });
    futures_util::stream::iter(looks).for_each_concurrent(MAX_CONCURRENT_LOOKS, |look| look).await;
    Ok(())
}

async fn look_at(context: &Context, task: &Task, missing: bool) -> Result<(), Error> {
    let silence = context.tried_for(heard_at(task));
    let overdue = task.attempt.deadline_at.is_some_and(|deadline| context.now() >= deadline);
    if overdue && context.tried_for(task.created_at) >= OUTAGE_GRACE {
        let message = "The task ran out of time and its machine did not report.".to_owned();
        return settle(context, task, Event::TimedOut { message }).await;
    }
    if silence >= SILENT {
        let message = "The machine has not been heard for three minutes.".to_owned();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    if missing && machine_is_gone(context, task).await? {
        let message = "The machine ended without a report.".to_owned();
        return settle(context, task, Event::Failed { stage: FailureStage::Callback, message }).await;
    }
    Ok(())
}

async fn look_at_launch(context: &Context, task: &Task) -> Result<(), Error> {
    let message = "Porter could not start a machine within an hour. `@porter retry` tries again.".to_owned();
    let failed = Event::Failed { stage: FailureStage::Launch, message };
    end_overdue(context, task, task.attempt.started_at.unwrap_or(task.queued_at), LAUNCH_TIMEOUT, failed)
        .await
}

async fn look_at_publishing(context: &Context, task: &Task) -> Result<(), Error> {
    let message = format!(
        "Porter could not open the pull request within a day; the work is on `{}`. `@porter retry` tries again.",
        task.id.branch()
    );
    let failed = Event::Failed { stage: FailureStage::Pr, message };
    end_overdue(context, task, heard_at(task), publish::PUBLISH_TIMEOUT, failed).await
}

/// Ends an attempt whose launch or publishing should have ended it after `patience`, and has not.
async fn end_overdue(
    context: &Context,
    task: &Task,
    since: DateTime<Utc>,
    patience: TimeDelta,
    failed: Event,
) -> Result<(), Error> {
    if context.tried_for(since) < patience + OVERDUE {
        return Ok(());
    }
    tracing::error!(
        task.id = %task.id,
        task.attempt = task.attempt.number,
        phase = ?task.phase,
        "what should have ended never did; the watchdog ends the attempt"
    );
    context.end_attempt(task, failed).await
}

fn heard_at(task: &Task) -> DateTime<Utc> {
    task.attempt.seen_at.unwrap_or(task.updated_at)
}

/// The machines of these attempts that have been silent for a while and that a list does not show as alive: one
/// question for each place where machines are.
async fn missing_machines(context: &Context, running: &[Task]) -> Result<BTreeSet<String>, Error> {
    let working = running.iter().filter(|task| task.phase == Some(Phase::Working));
    let quiet = working.filter(|task| context.now() - heard_at(task) >= LISTEN_TIME);
    // Which machines should be where.
    let mut places: Vec<(Place, BTreeSet<String>)> = Vec::new();
    for task in quiet {
        let (Some(id), Some(place)) =
            (&task.attempt.machine_id, place_of(context, task, task.attempt.number).await?)
        else {
            continue;
        };
        match places.iter_mut().find(|(known, _)| known.is_same(&place)) {
            Some((_, expected)) => {
                expected.insert(id.clone());
            }
            None => places.push((place, BTreeSet::from([id.clone()]))),
        }
    }
    let mut missing = BTreeSet::new();
    for (Place { runner, app, .. }, mut expected) in places {
        match runner.list().await {
            Ok(machines) => {
                for machine in machines.iter().filter(|machine| machine.state != MachineState::Gone) {
                    expected.remove(&machine.id);
                }
                missing.append(&mut expected);
            }
            Err(error) => {
                tracing::warn!(fly.app = app, error = error_chain(&error), "machines could not be listed");
            }
        }
    }
    Ok(missing)
}

/// Whether the machine itself is gone: a list may lag behind.
async fn machine_is_gone(context: &Context, task: &Task) -> Result<bool, Error> {
    let (Some(id), Some(place)) =
        (&task.attempt.machine_id, place_of(context, task, task.attempt.number).await?)
    else {
        return Ok(false);
    };
    let machine = place.runner.find_by_id(id).await?;
    Ok(machine.is_none_or(|machine| machine.state == MachineState::Gone))
}

/// Ends the attempt with `event`, unless its branch was pushed: then the work is published instead.
async fn settle(context: &Context, task: &Task, event: Event) -> Result<(), Error> {
    let event = match pushed_head(context, task).await {
        Ok(Some(commit_sha)) => Event::BranchFound { commit_sha },
        Ok(None) => event,
        Err(error) if error.is_transient() && context.tried_for(heard_at(task)) < ASK_GITHUB_FOR => {
            return Err(error.into());
        }
        Err(_) => event,
    };
    tracing::info!(task.id = %task.id, task.attempt = task.attempt.number, "the watchdog settles the attempt");
    context.end_attempt(task, event).await
}

/// The head of the attempt's branch, when it holds finished work of this attempt.
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
    // The worker marks what it saved from an agent that did not finish; an earlier attempt's work is older
    // than this attempt.
    let unfinished = commit.message.lines().any(|line| line.trim() == "Porter-Result: unfinished");
    let stale = task.attempt.number > 1
        && commit.committed_at.zip(task.attempt.started_at).is_none_or(|(at, start)| at < start);
    Ok((!unfinished && !stale).then_some(found.sha))
}

/// Destroys machines that no running attempt owns, wherever people's tasks ran within the last day.
///
/// # Errors
/// [`Error::Db`]; what goes wrong with one person's machines does not keep the others' from being looked at.
pub async fn reap(context: &Context) -> Result<(), Error> {
    let since = context.now() - TimeDelta::days(1);
    let people = db::tasks::list_requesters_since(&mut *context.store.read().await?, since).await?;
    let mut seen: Vec<Place> = Vec::new();
    for person in people {
        let Some(place) = context.place_of_person(person).await? else { continue };
        if seen.iter().any(|known| known.is_same(&place)) {
            continue;
        }
        if let Err(error) = reap_fleet(context, place.runner.as_ref()).await {
            tracing::warn!(fly.app = place.app, error = %error, "machines could not be looked at");
        }
        seen.push(place);
    }
    Ok(())
}

async fn reap_fleet(context: &Context, runner: &dyn crate::runner::Runner) -> Result<(), Error> {
    for machine in runner.list().await? {
        // Read after the list, so that a machine made meanwhile is not taken for an orphan.
        let task = db::tasks::find(&mut *context.store.read().await?, &machine.task).await?;
        let owned = task.is_some_and(|task| {
            let running = task.status == Status::Running && task.attempt.number == machine.attempt;
            running && task.attempt.machine_id.is_none_or(|id| id == machine.id)
        });
        // A pending clean-up gives the worker time to push, and destroys the machine itself.
        if owned || clean_up_is_pending(context, &machine).await? {
            continue;
        }
        tracing::warn!(machine.id = %machine.id, task.id = %machine.task, "a machine that nobody owns is destroyed");
        runner.destroy(&machine.id).await?;
    }
    Ok(())
}

async fn clean_up_is_pending(context: &Context, machine: &crate::runner::Machine) -> Result<bool, Error> {
    let key = domain::job::Job::CleanUp { task: machine.task.clone(), attempt: machine.attempt }.key();
    Ok(db::jobs::is_pending(&mut *context.store.read().await?, &key).await?)
}
