//! The job engine: admits tasks, claims durable jobs, performs them, and runs periodic checks. The decisions are made
//! in `tasks`.
//!
//! A [commit](crate::tasks::UnitOfWork::commit) wakes the engine; polling covers a missed wake-up. A job is claimed
//! with a lease and a fence and retried with growing delays. It waits while its remote service limits requests or
//! does not answer.

mod backoff;
mod lanes;
mod schedule;
mod work;

use std::time::Duration;

use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::tasks::{Context, Error, admission};
use domain::errors::error_chain;
use lanes::Lanes;

/// How many jobs of one kind of lane run at the same time. Most of them wait for a remote service; the limit for each
/// kind keeps jobs for GitHub running when Fly does not answer.
const MAX_CONCURRENT_PER_LANE_KIND: u32 = 16;
/// How long a claimed job is reserved for this process; longer than the time limit of a job.
const LEASE: TimeDelta = TimeDelta::minutes(6);
/// The longest wait before the engine polls the database without being woken.
const POLL: Duration = Duration::from_secs(2);
/// The shortest time between two polls. Under load every commit wakes the engine, and each poll takes database time
/// that the commits need.
const CLAIM_DELAY: Duration = Duration::from_millis(20);
/// How long running jobs may take to finish after the engine is stopped.
const DRAIN: Duration = Duration::from_secs(7);

/// Runs until `stop` is cancelled, then waits for running jobs and returns unfinished ones to the queue.
///
/// # Errors
/// [`Error::Db`] when the jobs of an earlier process cannot be released.
pub async fn run(context: Context, stop: CancellationToken) -> Result<(), Error> {
    let mut work = context.store().begin().await?;
    let freed = db::jobs::release_all(&mut work, context.now()).await?;
    let failed = db::jobs::retry_failed(&mut work, context.now()).await?;
    work.commit().await?;
    if failed > 0 {
        tracing::info!(jobs = failed, "failed jobs are retried");
    }
    if freed > 0 {
        tracing::info!(jobs = freed, "released jobs that an earlier process had claimed");
    }
    let schedule = schedule::start(&context, &stop);
    let lanes = Lanes::default();
    let mut running: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        if let Err(error) = fill(&context, &mut running, &lanes).await {
            tracing::error!(error = error_chain(&error), "the engine could not read or claim jobs; retrying");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = context.store().engine_woken() => {}
            _ = running.join_next(), if !running.is_empty() => {}
            () = tokio::time::sleep(pause(&context, &lanes).await) => {}
        }
        tokio::time::sleep(CLAIM_DELAY).await;
    }
    let finished = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, finished).await.is_err() {
        running.shutdown().await;
        let mut work = context.store().begin().await?;
        let freed = db::jobs::release_all(&mut work, context.now()).await?;
        work.commit().await?;
        tracing::info!(jobs = freed, "returned unfinished jobs to the queue");
    }
    schedule.await;
    Ok(())
}

/// Performs all due jobs one after another until none is due. Used by tests, which set the clock themselves.
///
/// # Errors
/// [`Error::Db`].
pub async fn run_due(context: &Context) -> Result<(), Error> {
    let lanes = Lanes::default();
    loop {
        let admitted = admission::admit(context).await?;
        let claimed = claim(context, &lanes).await?;
        if admitted == 0 && claimed.is_empty() {
            return Ok(());
        }
        for job in claimed {
            work::carry_out(context, job, &lanes).await;
        }
    }
}

/// Admits tasks within the limits and starts due jobs while there is capacity.
async fn fill(context: &Context, running: &mut JoinSet<()>, lanes: &Lanes) -> Result<(), Error> {
    admission::admit(context).await?;
    while running.try_join_next().is_some() {}
    for job in claim(context, lanes).await? {
        let (context, lanes) = (context.clone(), lanes.clone());
        running.spawn(async move { work::carry_out(&context, job, &lanes).await });
    }
    Ok(())
}

async fn claim(context: &Context, lanes: &Lanes) -> Result<Vec<db::jobs::Claimed>, Error> {
    let now = context.now();
    // Most polls find no due job, so this reads first and opens the single write transaction only if needed.
    let due = db::jobs::list_due(
        &mut *context.store().read().await?,
        MAX_CONCURRENT_PER_LANE_KIND,
        &lanes.paused(now),
        now,
    )
    .await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut work = context.store().begin().await?;
    let claimed = db::jobs::claim(&mut work, &due, LEASE, now).await?;
    work.commit().await?;
    Ok(claimed)
}

/// Returns how long to wait for a wake-up: until the next job is due or the next lane reopens, at most [`POLL`].
async fn pause(context: &Context, lanes: &Lanes) -> Duration {
    let now = context.now();
    let next = async { db::jobs::next_due(&mut *context.store().read().await?, now).await };
    let due = next.await.ok().flatten();
    let first = due.into_iter().chain(lanes.next_opening(now)).min();
    first.map_or(POLL, |at| (at - now).to_std().unwrap_or_default().min(POLL))
}
