//! The state machine: `queued → running → success | failed | timed_out`. A retry returns a task that did not
//! succeed to `queued` and starts the next attempt.
//!
//! Only [`decide`] defines the transitions. `db::tasks` stores its result under a guard on status, attempt and
//! revision; `tasks` turns the [`Effect`]s into durable jobs in the same transaction.

use chrono::{DateTime, Utc};

use super::{Attempt, Callback, Phase, Status, Task};
use crate::ids::IssueNumber;
use crate::report::{Completion, FailureStage, Outcome};

/// An event that can change a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// The task was admitted from the queue.
    Admitted {
        /// The time after which its launch is no longer tried.
        deadline: DateTime<Utc>,
    },
    /// The preflight chose the base branch, and the machine was created.
    Launched {
        /// The runner's identifier of the machine.
        machine_id: String,
        /// The branch that the work starts from.
        base_branch: String,
        /// The time at which the attempt times out; the time limit counts from the launch.
        deadline: DateTime<Utc>,
    },
    /// The worker reported the result.
    Reported(Box<Completion>),
    /// No report arrived, but the task's branch was found.
    BranchFound {
        /// The commit at the branch's head.
        commit_sha: String,
    },
    /// The pull request was opened.
    Published {
        /// The pull request's number.
        number: IssueNumber,
        /// The URL of the pull request.
        url: String,
    },
    /// The attempt cannot continue.
    Failed {
        /// The stage at which it failed.
        stage: FailureStage,
        /// The reason, as text for people.
        message: String,
    },
    /// The attempt exceeded a time limit.
    TimedOut {
        /// Which limit was exceeded, as text for people.
        message: String,
    },
    /// A person stopped the task, or its issue was closed.
    Stopped {
        /// Who or what stopped it, as text for people.
        message: String,
    },
    /// A person requested another attempt.
    Retried,
}

/// An effect that follows a stored change. Each becomes a durable job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Updates the issue's reaction, status comment and labels.
    SyncIssue,
    /// Runs the preflight checks and starts the machine.
    Launch,
    /// Opens the pull request.
    Publish,
    /// Ends the attempt's machine and revokes its token.
    CleanUp,
}

/// The task's state does not allow the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {} task does not allow this", status.as_str())]
pub struct InvalidState {
    /// The task's current status.
    pub status: Status,
}

/// Returns `task` after `event` at `now`, with the effects that follow.
///
/// # Errors
/// [`InvalidState`] when the state machine has no such transition; the caller must then write nothing.
pub fn decide(task: &Task, event: Event, now: DateTime<Utc>) -> Result<(Task, Vec<Effect>), InvalidState> {
    use Effect::{CleanUp, Launch, Publish, SyncIssue};
    use Status::{Failed, Queued, Running, Success, TimedOut};

    let mut next = Task { revision: task.revision + 1, updated_at: now, ..task.clone() };
    let effects = match (task.status, event) {
        (Queued, Event::Admitted { deadline }) => {
            next.status = Running;
            next.phase = Some(Phase::Launching);
            next.attempt.started_at = Some(now);
            next.attempt.seen_at = Some(now);
            next.attempt.deadline_at = Some(deadline);
            vec![Launch, SyncIssue]
        }
        (Running, Event::Launched { machine_id, base_branch, deadline })
            if task.phase == Some(Phase::Launching) =>
        {
            next.phase = Some(Phase::Working);
            next.attempt.machine_id = Some(machine_id);
            next.attempt.model = task.model.clone();
            next.base_settled = task.base_branch.is_none();
            next.base_branch = Some(base_branch);
            next.attempt.seen_at = Some(now);
            next.attempt.deadline_at = Some(deadline);
            vec![SyncIssue]
        }
        (Running, Event::Reported(report)) if task.phase != Some(Phase::Publishing) => {
            return Ok(apply_report(next, *report, now));
        }
        (Running, Event::BranchFound { commit_sha }) if task.phase != Some(Phase::Publishing) => {
            next.phase = Some(Phase::Publishing);
            next.attempt.branch = Some(task.id.branch());
            next.attempt.commit_sha = Some(commit_sha);
            vec![Publish, SyncIssue]
        }
        (Running, Event::Published { number, url }) if task.phase == Some(Phase::Publishing) => {
            next.pr_number = Some(number);
            next.pr_url = Some(url);
            next.attempt.progress = 100;
            return Ok((settled(next, Success, now), vec![SyncIssue, CleanUp]));
        }
        (Running, Event::Failed { stage, message }) => {
            return Ok(failed(next, Failed, stage, message, now));
        }
        (Running, Event::TimedOut { message }) => {
            return Ok(failed(next, TimedOut, FailureStage::Agent, message, now));
        }
        // A task that was never admitted is admitted and ended in one write, because no transition leads from
        // `queued` to a final status.
        (Queued | Running, Event::Stopped { message }) => {
            if task.status == Queued {
                next.attempt.started_at = Some(now);
            }
            next.attempt.error_message = Some(message);
            return Ok((settled(next, Failed, now), vec![SyncIssue, CleanUp]));
        }
        (Failed | TimedOut, Event::Retried) => {
            let fresh = Task {
                status: Queued,
                attempt: Attempt::queued(task.attempt.number + 1),
                // A branch that the preflight chose is chosen again, because it may have been deleted since.
                base_branch: if task.base_settled { None } else { next.base_branch },
                base_settled: false,
                queued_at: now,
                ..next
            };
            return Ok((fresh, vec![SyncIssue]));
        }
        (status, _) => return Err(InvalidState { status }),
    };
    Ok((next, effects))
}

fn apply_report(mut task: Task, report: Completion, now: DateTime<Utc>) -> (Task, Vec<Effect>) {
    let attempt = &mut task.attempt;
    attempt.seen_at = Some(now);
    attempt.summary = report.summary;
    if let Some(usage) = report.usage {
        attempt.usage = usage;
    }
    attempt.failure_reason = report.failure_reason;
    attempt.remarks = report.remarks;
    attempt.callback = Callback {
        attempts: report.callback_attempt,
        max_attempts: report.callback_max_attempts,
        last_http_code: report.callback_last_http_code,
    };
    attempt.commit_sha = report.commit_hash.filter(|commit| !commit.is_empty());
    // Porter pushes only to this branch, so a different name in a report is ignored.
    attempt.branch = attempt.commit_sha.is_some().then(|| task.id.branch());
    match report.status {
        Outcome::Success if attempt.commit_sha.is_some() => {
            task.phase = Some(Phase::Publishing);
            (task, vec![Effect::Publish, Effect::SyncIssue])
        }
        Outcome::Success => {
            let message = "The agent finished without changing anything (no changes).".to_owned();
            // The summary is shown first to readers; the agent's own text follows it.
            attempt.summary = Some(match attempt.summary.take() {
                Some(words) if !words.trim().is_empty() => format!("no changes\n\n{words}"),
                _ => "no changes".to_owned(),
            });
            failed(task, Status::Failed, FailureStage::Agent, message, now)
        }
        Outcome::Failed => {
            let status = if report.timed_out { Status::TimedOut } else { Status::Failed };
            let stage = report.failure_stage.unwrap_or(FailureStage::Agent);
            let message = report.error.unwrap_or_else(|| "The agent failed without saying why.".to_owned());
            failed(task, status, stage, message, now)
        }
    }
}

fn failed(
    mut task: Task,
    status: Status,
    stage: FailureStage,
    message: String,
    now: DateTime<Utc>,
) -> (Task, Vec<Effect>) {
    task.attempt.failure_stage = Some(stage);
    task.attempt.error_message = Some(message);
    (settled(task, status, now), vec![Effect::SyncIssue, Effect::CleanUp])
}

fn settled(mut task: Task, status: Status, now: DateTime<Utc>) -> Task {
    task.status = status;
    task.phase = None;
    task.attempt.deadline_at = None;
    task.attempt.completed_at = Some(now);
    task
}
