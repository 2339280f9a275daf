//! Deletes expired data in small transactions, because all other writes wait for the single writer.

use chrono::TimeDelta;

use super::{Context, Error};

/// GitHub Enterprise Server keeps deliveries for seven days; older ones cannot be redelivered.
const DELIVERIES_KEPT: TimeDelta = TimeDelta::days(8);
/// How long a task's output is kept after its end. Its status changes are kept.
const OUTPUT_KEPT: TimeDelta = TimeDelta::days(7);
/// The approximate number of rows that one transaction deletes.
const BATCH_SIZE: u32 = 1000;

/// Deletes old deliveries, old output and expired sessions.
///
/// # Errors
/// [`Error::Db`].
pub async fn run(context: &Context) -> Result<(), Error> {
    let now = context.now();
    loop {
        let mut work = context.store.begin().await?;
        let gone = db::deliveries::forget_before(&mut work, now - DELIVERIES_KEPT, BATCH_SIZE).await?;
        work.commit().await?;
        if gone < u64::from(BATCH_SIZE) {
            break;
        }
    }
    loop {
        let before = now - OUTPUT_KEPT;
        let over = db::events::list_over(&mut *context.store.read().await?, before, BATCH_SIZE).await?;
        for task in &over {
            let mut work = context.store.begin().await?;
            db::events::forget_output(&mut work, task).await?;
            work.commit().await?;
        }
        if over.len() < BATCH_SIZE as usize {
            break;
        }
    }
    let mut work = context.store.begin().await?;
    db::sessions::delete_expired(&mut work, now).await?;
    work.commit().await?;
    Ok(())
}
