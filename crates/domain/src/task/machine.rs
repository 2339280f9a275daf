//! The state machine: `queued → running → success | failed | timed_out`, and a retry that takes a task that did
//! not succeed back to `queued` with one attempt more.
//!
//! [`decide`] is the only place that knows the edges. `db::tasks` stores its result under a guard on
//! status, attempt and revision; `tasks` turns the [`Effect`]s into durable jobs in the same transaction.

use chrono::{DateTime, Utc};

use super::{Attempt, Callback, Phase, Status, Task};
use crate::ids::IssueNumber;
use crate::report::{Completion, FailureStage, Outcome};

/// Something that happened to a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its turn has come.
    Admitted {
        /// Until when its launch is tried.
        deadline: DateTime<Utc>,
    },
    /// The preflight settled the base branch and the machine was made.
    Launched {
        /// The runner's name for the machine.
        machine_id: String,
        /// The branch the work starts from.
        base_branch: String,
        /// When the attempt is given up; the time limit counts from here.
        deadline: DateTime<Utc>,
    },
    /// The worker reported how it ended.
    Reported(Box<Completion>),
    /// No report came, but the branch is there.
    BranchFound {
        /// Its head.
        commit_sha: String,
    },
    /// The pull request is open.
    Published {
        /// Its number.
        number: IssueNumber,
        /// Its page.
        url: String,
    },
    /// The attempt cannot go on.
    Failed {
        /// Where it failed.
        stage: FailureStage,
        /// Why, for a person.
        message: String,
    },
    /// The attempt took too long.
    TimedOut {
        /// What took too long, for a person.
        message: String,
    },
    /// A person, or the issue being closed, ended it.
    Stopped {
        /// Who or what, for a person.
        message: String,
    },
    /// A person asked for another attempt.
    Retried,
}

/// What must follow a stored change; each becomes a durable job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make the issue show where the task stands: reaction, status comment, labels.
    SyncIssue,
    /// Check, and start the machine.
    Launch,
    /// Open the pull request.
    Publish,
    /// End the attempt's machine and take back its token.
    CleanUp,
}

/// The task does not allow the event in the state it is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {} task does not allow this", status.as_str())]
pub struct InvalidState {
    /// Where the task stands.
    pub status: Status,
}

/// Applies `event` to `task` at `now`.
///
/// # Errors
/// [`InvalidState`] when the state machine has no such edge; then nothing is to be written.
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
        // A task that was never admitted is admitted and ended in one write: there is no edge from
        // `queued` to an end.
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
                // What nobody named is settled anew: it may be gone by now.
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
    // Only this branch is ever pushed, whatever a report claims.
    attempt.branch = attempt.commit_sha.is_some().then(|| task.id.branch());
    match report.status {
        Outcome::Success if attempt.commit_sha.is_some() => {
            task.phase = Some(Phase::Publishing);
            (task, vec![Effect::Publish, Effect::SyncIssue])
        }
        Outcome::Success => {
            let message = "The agent finished without changing anything (no changes).".to_owned();
            // The summary is what people and tests read first; the agent's own words come after it.
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
