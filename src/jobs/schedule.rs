//! The engine's periodic checks, which run whether or not anything was written.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::work;
use crate::tasks::{Context, Error, redelivery, retention, watch};
use domain::clock::Clock;
use domain::errors::error_chain;

/// How often running attempts are checked.
const WATCH: Duration = Duration::from_secs(5);
/// How often machines without a running attempt are searched for.
const REAP: Duration = Duration::from_secs(60);
/// How often GitHub is asked for failed deliveries (main-spec §5).
const REDELIVER: Duration = Duration::from_secs(600);
/// The first delays between two redelivery sweeps. A delivery that was in flight while Porter was down appears in
/// GitHub's list only after GitHub's timeout of ten seconds.
const REDELIVER_FIRST: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(45)];
/// The shortest delay between two redelivery sweeps.
const REDELIVER_AGAIN: Duration = Duration::from_secs(5);
/// How often expired data is deleted.
const FORGET: Duration = Duration::from_secs(3600);

/// Starts all periodic checks. The returned future completes when all of them have ended after `stop`.
pub(super) fn start(context: &Context, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    let tracker = TaskTracker::new();
    let begin = |what, pause, act: fn(Context) -> Running| {
        let own = context.clone();
        tracker.spawn(every(what, context.store().clock().clone(), stop.clone(), move || {
            let acting = act(own.clone());
            async move { acting.await.map(|()| pause) }
        }));
    };
    begin("the watch", WATCH, |context| Box::pin(async move { watch::look(&context).await }));
    begin("the reaper", REAP, |context| Box::pin(async move { watch::reap(&context).await }));
    begin("retention", FORGET, |context| Box::pin(async move { retention::run(&context).await }));
    let sweeps = Arc::<Mutex<Sweeps>>::default();
    let own = context.clone();
    tracker.spawn(every("the redelivery sweep", context.store().clock().clone(), stop.clone(), move || {
        redeliver(own.clone(), sweeps.clone())
    }));
    tracker.close();
    async move { tracker.wait().await }
}

type Running = BoxFuture<'static, Result<(), Error>>;

/// Calls `act` at once and then again after each delay that it returns, until `stop`. After an error or a panic, it
/// waits as long as the error asks for, or else with growing delays.
async fn every<F: Future<Output = Result<Duration, Error>> + Send + 'static>(
    what: &'static str,
    clock: Clock,
    stop: CancellationToken,
    mut act: impl FnMut() -> F,
) {
    let mut backoff = Backoff::default();
    loop {
        let acted = tokio::select! {
            () = stop.cancelled() => return,
            acted = work::guarded(act()) => acted,
        };
        let asked = match acted {
            Ok(Ok(pause)) => {
                backoff.succeeded();
                Some(pause)
            }
            Ok(Err(error)) => {
                tracing::warn!(error = error_chain(&error), "{what} failed; retrying");
                let now = clock.now();
                let until = error.retry_at(now).map(|at| (at - now).max(work::MIN_PAUSE));
                until.map(|pause| pause.to_std().unwrap_or_default())
            }
            Err(panic) => {
                tracing::error!(error = %panic, "{what} panicked; retrying");
                None
            }
        };
        let pause = asked.unwrap_or_else(|| backoff.failed());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The results of earlier redelivery sweeps.
#[derive(Clone, Copy, Default)]
struct Sweeps {
    done: usize,
    since: Option<DateTime<Utc>>,
}

/// Runs a redelivery sweep and returns the delay before the next. The first sweep covers the last three days. A later
/// one starts one hour before the last successful sweep, or at the oldest event that is still missing.
async fn redeliver(context: Context, sweeps: Arc<Mutex<Sweeps>>) -> Result<Duration, Error> {
    let Sweeps { done, since } = *sweeps.lock().unwrap_or_else(PoisonError::into_inner);
    let began = context.now();
    let redelivery::Swept { missing, .. } = redelivery::sweep(&context, since).await?;
    let looked_back = began - TimeDelta::hours(1);
    let since = Some(missing.map_or(looked_back, |missing| looked_back.min(missing.since)));
    *sweeps.lock().unwrap_or_else(PoisonError::into_inner) = Sweeps { done: done + 1, since };
    let due = missing.map(|missing| (missing.due - context.now()).to_std().unwrap_or_default());
    let usual = REDELIVER_FIRST.get(done).copied().unwrap_or(REDELIVER);
    Ok(due.unwrap_or(usual).clamp(REDELIVER_AGAIN, usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_periodic_check_continues_after_a_panic() {
        let stop = CancellationToken::new();
        let (mut times, ended) = (0, stop.clone());
        let acts = move || {
            times += 1;
            let (time, ended) = (times, ended.clone());
            async move {
                assert_ne!(time, 1, "the first call panics");
                ended.cancel();
                Ok(Duration::ZERO)
            }
        };
        let goes_on = every("the example", Clock::system(), stop, acts);
        tokio::time::timeout(Duration::from_secs(30), goes_on).await.expect("a second call");
    }
}
