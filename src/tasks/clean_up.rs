//! Cleans up after an attempt: destroys its machine and revokes its token. Run by the engine after every attempt,
//! whatever its result.

use chrono::{DateTime, TimeDelta, Utc};

use super::machines::scope_of;
use super::{Context, Error, Step, attempt_token};
use crate::runner::{MachineState, Scope};
use domain::task::{Status, Task, TaskId};

/// How long a stopping worker may take to end its agent, push its work and report.
const GRACE: TimeDelta = TimeDelta::seconds(90);
/// How often a stopping machine is checked and asked to stop again.
const LOOK_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// Ends the attempt's machine. A machine that still works is asked to stop, and destroyed when it has stopped or its
/// grace period, counted from `pending_since`, is over.
///
/// # Errors
/// An error that a retry may resolve.
pub async fn run(
    context: &Context,
    id: &TaskId,
    attempt: u32,
    pending_since: DateTime<Utc>,
) -> Result<Step, Error> {
    let task = context.load(id).await?;
    if task.attempt.number == attempt && task.status == Status::Running {
        return Ok(Step::Done);
    }
    match end_machine(context, &task, attempt, pending_since).await {
        Ok(None) => {}
        Ok(Some(again)) => return Ok(Step::Again(again)),
        // The machine's credential no longer works, so the machine cannot be destroyed; its GitHub token can be
        // revoked.
        Err(Error::Runner(error)) if !error.is_temporary() => {
            tracing::warn!(task.id = %id, %error, "the attempt's machine could not be destroyed");
        }
        Err(error) => return Err(error),
    }
    attempt_token::take_back(context, id, attempt).await?;
    Ok(Step::Done)
}

/// Ends the attempt's machine. Returns the time of the next check if the machine still exists.
async fn end_machine(
    context: &Context,
    task: &Task,
    attempt: u32,
    pending_since: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Error> {
    let Some(Scope { runner, .. }) = scope_of(context, task, attempt).await? else { return Ok(None) };
    let Some(machine) = runner.find(&task.id, attempt).await? else { return Ok(None) };
    let salvage = task.status != Status::Success && machine.state == MachineState::Running;
    let now = context.now();
    if salvage && now - pending_since < GRACE {
        runner.stop(&machine.id).await?;
        return Ok(Some(now + LOOK_INTERVAL));
    }
    runner.destroy(&machine.id).await?;
    Ok(None)
}
