//! What the engine does at intervals, whether anything was written or not.

use std::future::Future;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db;
use crate::tasks::{Context, Error, redelivery, watch};

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
    tracker.spawn(every("watch", WATCH, context.clone(), stop.clone(), async |context: &Context| {
        watch::look(context).await
    }));
    tracker.spawn(every("reap", REAP, context.clone(), stop.clone(), async |context: &Context| {
        watch::reap(context).await
    }));
    tracker.spawn(redeliver(context.clone(), stop.clone()));
    tracker.spawn(every("forget", FORGET, context.clone(), stop.clone(), forget));
    tracker.close();
    async move { tracker.wait().await }
}

async fn every(
    what: &'static str,
    pause: Duration,
    context: Context,
    stop: CancellationToken,
    mut act: impl AsyncFnMut(&Context) -> Result<(), Error>,
) {
    loop {
        let acted = tokio::select! {
            () = stop.cancelled() => return,
            acted = act(&context) => acted,
        };
        if let Err(error) = acted {
            tracing::warn!(error = %error, "{what} failed; it is tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Three days back at the start, then as far as the last sweep that succeeded, with an hour to spare.
async fn redeliver(context: Context, stop: CancellationToken) {
    let mut since = None;
    every("the redelivery sweep", REDELIVER, context, stop, async |context: &Context| {
        let began = context.now();
        redelivery::sweep(context, since).await?;
        since = Some(began - TimeDelta::hours(1));
        Ok(())
    })
    .await;
}

async fn forget(context: &Context) -> Result<(), Error> {
    let now = context.now();
    let mut write = context.db.begin().await?;
    db::deliveries::forget_before(&mut write, now - DELIVERIES_KEPT).await?;
    db::sessions::delete_expired(&mut write, now).await?;
    db::commit(write).await?;
    Ok(())
}
