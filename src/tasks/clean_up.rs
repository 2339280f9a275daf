//! The end of an attempt: its machine goes, its token is taken back. Run by the engine after every attempt,
//! however it ended.

use chrono::TimeDelta;

use super::{Context, Error, Step, attempt_token};
use crate::domain::task::{Status, TaskId};
use crate::runner::MachineState;

/// How long a worker that was told to end may take to push what is worth keeping.
const GRACE: TimeDelta = TimeDelta::seconds(20);

/// Ends the attempt's machine. `first` is true when this is the first try: only then a machine that still
/// works is asked before it is destroyed.
///
/// # Errors
/// What is worth trying again.
pub async fn run(context: &Context, id: &TaskId, attempt: u32, first: bool) -> Result<Step, Error> {
    let task = context.load(id).await?;
    if task.attempt == attempt && task.status == Status::Running {
        return Ok(Step::Done);
    }
    let person = context.credentials.load(task.requester.id).await?;
    if let Some(runner) = context.fleet.find(&person)
        && let Some(machine) = runner.find(id, attempt).await?
    {
        let salvage = task.status != Status::Success && machine.state == MachineState::Running;
        if first && salvage {
            runner.stop(&machine.id).await?;
            return Ok(Step::Again(context.now() + GRACE));
        }
        runner.destroy(&machine.id).await?;
    }
    attempt_token::take_back(context, id, attempt).await?;
    Ok(Step::Done)
}
