//! Admission: moves queued tasks to running within the configured limits. Called by the engine after every commit and
//! poll.

use super::{Context, Error, LAUNCH_TIMEOUT};
use domain::task::Event;

/// Admits as many tasks as the limits allow and returns their number.
///
/// # Errors
/// [`Error::Db`].
pub async fn admit(context: &Context) -> Result<usize, Error> {
    let mut admitted = 0;
    loop {
        let now = context.now();
        // After most commits no task can be admitted, so this reads first and begins the write only if needed.
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
            tracing::info!(task.id = %id, task.attempt = task.attempt.number, "the task was admitted");
        });
        work.commit().await?;
        admitted += 1;
    }
}
