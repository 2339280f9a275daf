//! The end of an attempt: its machine goes, its token is taken back. Run by the engine after every attempt,
//! however it ended.

use chrono::{DateTime, TimeDelta, Utc};

use super::fleet::{Place, place_of};
use super::{Context, Error, Step, attempt_token};
use crate::runner::MachineState;
use domain::task::{Status, Task, TaskId};

/// How long a worker that was told to end may take to end its agent, push what is worth keeping, and report.
const GRACE: TimeDelta = TimeDelta::seconds(90);
/// How often it is looked at meanwhile, and told again.
const LOOK_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// Ends the attempt's machine, pending since then: a machine that still works is asked to stop, and destroyed when it
/// has stopped or its grace period is over.
///
/// # Errors
/// What is worth trying again.
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
        // The person's Fly token or app is gone: nothing can be ended with it, but what GitHub gave can be.
        Err(Error::Runner(error)) if !error.is_temporary() => {
            tracing::warn!(task.id = %id, %error, "an attempt's machine can no longer be reached");
        }
        Err(error) => return Err(error),
    }
    attempt_token::take_back(context, id, attempt).await?;
    Ok(Step::Done)
}

/// Ends the attempt's machine; gives when to look at it again, if it is not gone yet.
async fn end_machine(
    context: &Context,
    task: &Task,
    attempt: u32,
    pending_since: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Error> {
    let Some(Place { runner, .. }) = place_of(context, task, attempt).await? else { return Ok(None) };
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
