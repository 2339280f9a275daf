//! Whose turn it is: takes queued tasks to running while the caps allow. Called by the engine whenever
//! something was written.

use super::{Context, Error, LAUNCH_TIMEOUT, apply};
use domain::task::Event;

/// Admits as many tasks as fit. Gives their number.
///
/// # Errors
/// [`Error::Db`].
pub async fn admit(context: &Context) -> Result<usize, Error> {
    let mut admitted = 0;
    loop {
        let now = context.now();
        // Most rings find nothing to admit: look before taking the one writer.
        if db::queue::find_next(&mut *context.db.read().await?, context.policy.caps, now).await?.is_none() {
            return Ok(admitted);
        }
        let mut write = context.db.begin().await?;
        let Some(id) = db::queue::find_next(&mut write, context.policy.caps, now).await? else {
            return Ok(admitted);
        };
        let task = db::tasks::find(&mut write, &id).await?.ok_or(Error::NotFound)?;
        apply(&mut write, &task, Event::Admitted { deadline: now + LAUNCH_TIMEOUT }, now).await?;
        db::commit(write).await?;
        tracing::info!(task.id = %id, task.attempt = task.attempt.number, "the task's turn has come");
        context.notifier.notify_task(&id);
        admitted += 1;
    }
}
