//! What the engine does at intervals, whether anything was written or not.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db;
use crate::tasks::{Context, Error, error_chain, redelivery, watch};

/// How often running attempts are looked at.
const WATCH: Duration = Duration::from_secs(10);
/// How often machines without an owner are looked for.
const REAP: Duration = Duration::from_secs(60);
/// How often GitHub is asked for deliveries that failed (contract §5).
const REDELIVER: Duration = Duration::from_secs(600);
/// How often what is over is forgotten.
const FORGET: Duration = Duration::from_secs(3600);
/// GitHub Enterprise Server keeps deliveries for seven days; older ones cannot come again.
const DELIVERIES_KEPT: TimeDelta = TimeDelta::days(8);

/// Starts every interval; the future ends when all have ended, after `stop`.
pub(super) fn start(context: &Context, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    let tracker = TaskTracker::new();
    let begin = |what, pause, act: fn(Context) -> Acting| {
        let context = context.clone();
        tracker.spawn(every(what, pause, stop.clone(), move || act(context.clone())));
    };
    begin("the watch", WATCH, |context| Box::pin(async move { watch::look(&context).await }));
    begin("the reaper", REAP, |context| Box::pin(async move { watch::reap(&context).await }));
    begin("forgetting", FORGET, |context| Box::pin(async move { forget(&context).await }));
    let (context, swept) = (context.clone(), Arc::<Mutex<_>>::default());
    tracker.spawn(every("the redelivery sweep", REDELIVER, stop.clone(), move || {
        redeliver(context.clone(), swept.clone())
    }));
    tracker.close();
    async move { tracker.wait().await }
}

type Acting = BoxFuture<'static, Result<(), Error>>;

/// Acts at once and then at every `pause`, until `stop`.
async fn every<F: Future<Output = Result<(), Error>>>(
    what: &'static str,
    pause: Duration,
    stop: CancellationToken,
    mut act: impl FnMut() -> F,
) {
    loop {
        let acted = tokio::select! {
            () = stop.cancelled() => return,
            acted = act() => acted,
        };
        if let Err(error) = acted {
            tracing::warn!(error = error_chain(&error), "{what} failed; it is tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks three days back at the start, then as far as the last sweep that succeeded, with an hour to spare.
async fn redeliver(context: Context, swept: Arc<Mutex<Option<DateTime<Utc>>>>) -> Result<(), Error> {
    let since = *swept.lock().unwrap_or_else(PoisonError::into_inner);
    let began = context.now();
    redelivery::sweep(&context, since).await?;
    *swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(began - TimeDelta::hours(1));
    Ok(())
}

async fn forget(context: &Context) -> Result<(), Error> {
    let now = context.now();
    let mut write = context.db.begin().await?;
    db::deliveries::forget_before(&mut write, now - DELIVERIES_KEPT).await?;
    db::sessions::delete_expired(&mut write, now).await?;
    db::commit(write).await?;
    Ok(())
}
