//! The engine: admits tasks, claims durable jobs and carries them out, and looks around at intervals. It
//! decides nothing; `tasks` does.
//!
//! *Wake, then poll*: a [commit](crate::tasks::UnitOfWork::commit) wakes the engine; a poll is the safety net. A job is
//! claimed with a lease and a fence, tried again with growing pauses, and left alone for as long as the
//! remote side asks or is away.

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

/// How many jobs of one kind of lane run at once. Most of them wait for a remote service: when Fly hangs, what is
/// to be told on GitHub still is.
const MAX_CONCURRENT_PER_LANE_KIND: u32 = 16;
/// How long a claimed job is kept from others; longer than any job may take.
const LEASE: TimeDelta = TimeDelta::minutes(6);
/// How long the engine waits at most without being woken.
const POLL: Duration = Duration::from_secs(2);
/// The least time between two looks: under load every commit wakes the engine, and each look costs time of
/// the database that the commits need.
const CLAIM_DELAY: Duration = Duration::from_millis(20);
/// How long jobs may go on once the engine is to stop.
const DRAIN: Duration = Duration::from_secs(7);

/// Runs until `stop`, then lets what runs finish, or puts it back.
///
/// # Errors
/// [`Error::Db`] when what an earlier process left cannot be taken over.
pub async fn run(context: Context, stop: CancellationToken) -> Result<(), Error> {
    let mut work = context.store().begin().await?;
    let freed = db::jobs::release_all(&mut work, context.now()).await?;
    let failed = db::jobs::retry_failed(&mut work, context.now()).await?;
    work.commit().await?;
    if failed > 0 {
        tracing::info!(jobs = failed, "jobs that had failed are tried once more");
    }
    if freed > 0 {
        tracing::info!(jobs = freed, "took over what an earlier process had begun");
    }
    let schedule = schedule::start(&context, &stop);
    let lanes = Lanes::default();
    let mut running: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        if let Err(error) = fill(&context, &mut running, &lanes).await {
            tracing::error!(error = error_chain(&error), "the engine cannot go on; it tries again");
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
        tracing::info!(jobs = freed, "put back what could not be finished in time");
    }
    schedule.await;
    Ok(())
}

/// Carries out everything that is due now, one thing after another, until nothing is. For tests, which move
/// the clock by hand.
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

/// Admits what may run, and starts what is due while there is room.
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
    // Most looks find nothing due: look before taking the one writer.
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

/// How long to wait to be woken: until the next job is due or the next lane may be used again, at most the poll.
async fn pause(context: &Context, lanes: &Lanes) -> Duration {
    let now = context.now();
    let next = async { db::jobs::next_due(&mut *context.store().read().await?, now).await };
    let due = next.await.ok().flatten();
    let first = due.into_iter().chain(lanes.next_opening(now)).min();
    first.map_or(POLL, |at| (at - now).to_std().unwrap_or_default().min(POLL))
}
