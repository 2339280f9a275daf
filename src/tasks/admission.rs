//! Whose turn it is: takes queued tasks to running while the caps allow. Called by the engine whenever
//! something was written.

use super::{Context, Error, LAUNCH_TIMEOUT};
use domain::task::Event;

/// Admits as many tasks as fit. Gives their number.
///
/// # Errors
/// [`Error::Db`].
pub async fn admit(context: &Context) -> Result<usize, Error> {
    let mut admitted = 0;
    loop {
        let now = context.now();
        // Most commits leave nothing to admit: look before taking the one writer.
        if db::queue::find_next(&mut *context.store.read().await?, context.policy.caps, now).await?.is_none()
        {
            return Ok(admitted);
        }
        let mut work = context.store.begin().await?;
        let Some(id) = db::queue::find_next(&mut work, context.policy.caps, now).await? else {
            return Ok(admitted);
        };
        let task = work.find(&id).await?;
        work.apply(&task, Event::Admitted { deadline: now + LAUNCH_TIMEOUT }).await?;
        work.log(move || {
            tracing::info!(task.id = %id, task.attempt = task.attempt.number, "the task's turn has come");
        });
        work.commit().await?;
        admitted += 1;
    }
}
