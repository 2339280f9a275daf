//! The engine: admits tasks, claims durable jobs and carries them out, and looks around at intervals. It
//! decides nothing; `tasks` does.
//!
//! *Wake, then poll*: a commit rings the [`Bell`](crate::tasks::Bell); a poll is the safety net. A job is
//! claimed with a lease and a fence, tried again with growing pauses, and left alone for as long as the
//! remote side asks.

mod backoff;
mod schedule;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::db;
use crate::tasks::{Context, Error, admission, error_chain};

/// How many jobs of one kind of lane run at once. Most of them wait for a remote service: when Fly hangs, what is
/// to be told on GitHub still is.
const AT_ONCE: u32 = 16;
/// How long a claimed job is kept from others; longer than any job may take.
const LEASE: TimeDelta = TimeDelta::minutes(6);
/// The safety net under the bell.
const POLL: Duration = Duration::from_secs(2);
/// How long jobs may go on once the engine is to stop.
const DRAIN: Duration = Duration::from_secs(7);

/// Lanes that a remote side asked to be left alone, and until when.
type Paused = Arc<Mutex<HashMap<String, DateTime<Utc>>>>;

/// Runs until `stop`, then lets what runs finish, or puts it back.
///
/// # Errors
/// [`Error::Db`] when what an earlier process left cannot be taken over.
pub async fn run(context: Context, stop: CancellationToken) -> Result<(), Error> {
    let mut write = context.db.begin().await?;
    let freed = db::jobs::release_all(&mut write).await?;
    db::commit(write).await?;
    if freed > 0 {
        tracing::info!(jobs = freed, "took over what an earlier process had begun");
    }
    let schedule = schedule::start(&context, &stop);
    let paused = Paused::default();
    let mut running: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        if let Err(error) = fill(&context, &mut running, &paused).await {
            tracing::error!(error = error_chain(&error), "the engine cannot go on; it tries again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = context.bell.rung() => {}
            _ = running.join_next(), if !running.is_empty() => {}
            () = tokio::time::sleep(pause(&context, &paused).await) => {}
        }
    }
    let finished = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, finished).await.is_err() {
        running.shutdown().await;
        let mut write = context.db.begin().await?;
        let freed = db::jobs::release_all(&mut write).await?;
        db::commit(write).await?;
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
    let paused = Paused::default();
    loop {
        let admitted = admission::admit(context).await?;
        let claimed = claim(context, 1, &paused).await?;
        if admitted == 0 && claimed.is_empty() {
            return Ok(());
        }
        for job in claimed {
            work::carry_out(context, job, &paused).await;
        }
    }
}

/// Admits what may run, and starts what is due while there is room.
async fn fill(context: &Context, running: &mut JoinSet<()>, paused: &Paused) -> Result<(), Error> {
    admission::admit(context).await?;
    while running.try_join_next().is_some() {}
    for job in claim(context, AT_ONCE, paused).await? {
        let (context, paused) = (context.clone(), paused.clone());
        running.spawn(async move { work::carry_out(&context, job, &paused).await });
    }
    Ok(())
}

async fn claim(context: &Context, room: u32, paused: &Paused) -> Result<Vec<db::jobs::Claimed>, Error> {
    let now = context.now();
    let lanes: Vec<String> = {
        let mut paused = paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.retain(|_, until| *until > now);
        paused.keys().cloned().collect()
    };
    // Most rings find nothing due: look before taking the one writer.
    if !db::jobs::is_any_due(&mut *context.db.read().await?, now).await? {
        return Ok(Vec::new());
    }
    let mut write = context.db.begin().await?;
    let claimed = db::jobs::claim(&mut write, room, &lanes, LEASE, now).await?;
    db::commit(write).await?;
    Ok(claimed)
}

/// How long to wait for the bell: until the next job is due or the next lane may be used again, at most the
/// poll.
async fn pause(context: &Context, paused: &Paused) -> Duration {
    let now = context.now();
    let next = async { db::jobs::next_due(&mut *context.db.read().await?, now).await };
    let due = next.await.ok().flatten();
    let open = paused.lock().unwrap_or_else(PoisonError::into_inner).values().copied().min();
    let first = due.into_iter().chain(open).min();
    first.map_or(POLL, |at| (at - now).to_std().unwrap_or_default().min(POLL)).max(Duration::from_millis(20))
}
