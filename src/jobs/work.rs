//! One claimed job, from its payload to its end: done, put back, or given up.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinError;

use super::backoff::{self, Backoff};
use super::lanes::Lanes;
use crate::tasks::{Context, Error, Step, answers, clean_up, control, launch, publish, sync_issue};
use db::jobs::Claimed;
use domain::errors::error_chain;
use domain::job::Job;

/// No job may take longer; shorter than the lease.
const JOB_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// An effect that cannot be had for this long is given up: nobody waits for it any more.
const MAX_JOB_AGE: TimeDelta = TimeDelta::days(3);
/// How often a job's end is written while the database does not take it (a full disk, say).
const RECORD_TRIES: u32 = 5;
/// A remote side that asks for no pause at all still gets this one.
pub(super) const MIN_PAUSE: TimeDelta = TimeDelta::seconds(1);

/// Carries out a job and writes down how it ended.
pub(super) async fn carry_out(context: &Context, claimed: Claimed, lanes: &Lanes) {
    let ended = attempt(context, &claimed, lanes).await;
    let mut backoff = Backoff::default();
    // If it cannot be written at all, the lease runs out and the job is claimed again.
    while backoff.failures() < RECORD_TRIES {
        let Err(error) = record(context, &claimed, &ended).await else { return };
        let error = error_chain(&error);
        tracing::error!(job.kind = claimed.kind, error, "a job's end could not be written");
        tokio::time::sleep(backoff.failed()).await;
    }
}

async fn record(context: &Context, claimed: &Claimed, ended: &Ended) -> Result<(), db::Error> {
    let mut work = context.store().begin().await?;
    match ended {
        Ended::Done => db::jobs::finish(&mut work, claimed, context.now()).await?,
        Ended::Again { at, error, counts } => {
            db::jobs::put_back(&mut work, claimed, *at, error.as_deref(), *counts).await?;
        }
        Ended::Failed { error } => db::jobs::fail(&mut work, claimed, error, context.now()).await?,
    }
    work.commit().await
}

/// What becomes of a claimed job.
enum Ended {
    /// It is removed.
    Done,
    /// It is put back.
    Again { at: DateTime<Utc>, error: Option<String>, counts: bool },
    /// It is kept and not tried again by itself.
    Failed { error: String },
}

/// Why a job's operation did not succeed.
enum Failure {
    /// It says so itself.
    Error(Error),
    /// It panicked.
    Panicked(JoinError),
    /// It took longer than [`JOB_TIMEOUT`].
    TimedOut,
}

async fn attempt(context: &Context, claimed: &Claimed, lanes: &Lanes) -> Ended {
    let job = match serde_json::from_str::<Job>(&claimed.payload) {
        Ok(job) => job,
        Err(error) => {
            let error = format!("the payload cannot be read: {error}");
            tracing::error!(job.id = claimed.id, job.kind = claimed.kind, error, "a job is kept as failed");
            return Ended::Failed { error };
        }
    };
    let pending_since = DateTime::from_timestamp_millis(claimed.created_at).unwrap_or_else(|| context.now());
    let installation = job.installation();
    let served = || installation.map(|installation| context.calls_served(installation));
    let served_before = served();
    let result = perform_in_time(context.clone(), job, claimed.tries, pending_since).await;
    let now = context.now();
    let soon = now + backoff::after(claimed.tries, backoff::chance());
    let later = |reason: String, at: DateTime<Utc>| {
        if context.tried_for(pending_since) > MAX_JOB_AGE {
            tracing::error!(job.kind = claimed.kind, error = reason, "an effect is given up");
            return Ended::Done;
        }
        Ended::Again { at, error: Some(reason), counts: true }
    };
    let error = match result {
        Ok(step) => {
            lanes.answered(&claimed.lane);
            return match step {
                Step::Done => Ended::Done,
                Step::Again(at) => Ended::Again { at, error: None, counts: false },
            };
        }
        Err(Failure::Error(error)) => error,
        Err(Failure::Panicked(panic)) => {
            tracing::error!(job.kind = claimed.kind, error = %panic, "a job panicked");
            return later("panicked".to_owned(), soon);
        }
        Err(Failure::TimedOut) => return later("took too long".to_owned(), soon),
    };
    if matches!(error, Error::NotFound) {
        tracing::warn!(job.kind = claimed.kind, "a job's task is gone; it is dropped");
        return Ended::Done;
    }
    let reason = error_chain(&error);
    if let Some(until) = error.retry_at(now).map(|at| at.max(now + MIN_PAUSE)) {
        tracing::info!(job.kind = claimed.kind, job.lane = claimed.lane, %until, "left alone as asked");
        lanes.leave_alone(&claimed.lane, until);
        return Ended::Again { at: until, error: Some(reason), counts: false };
    }
    tracing::warn!(
        job.kind = claimed.kind,
        job.attempt = claimed.tries,
        error = reason,
        "a job is tried again"
    );
    if served() > served_before {
        // GitHub stumbled, but it is there: the others of the lane need not wait for this one.
        lanes.answered(&claimed.lane);
    } else if matches!(&error, Error::Github(error) if error.is_transient()) {
        // Not before its lane: the engine, which wakes when a job is due, finds the lane open then.
        return later(reason, soon.max(lanes.failed(&claimed.lane, now)));
    }
    later(reason, soon)
}

/// Performs the job, for at most [`JOB_TIMEOUT`].
async fn perform_in_time(
    context: Context,
    job: Job,
    tries: u32,
    pending_since: DateTime<Utc>,
) -> Result<Step, Failure> {
    let performed = guarded(perform(context, job, tries, pending_since));
    match tokio::time::timeout(JOB_TIMEOUT, performed).await {
        Ok(Ok(ended)) => ended.map_err(Failure::Error),
        Ok(Err(panic)) => Err(Failure::Panicked(panic)),
        Err(_) => Err(Failure::TimedOut),
    }
}

async fn perform(
    context: Context,
    job: Job,
    tries: u32,
    pending_since: DateTime<Utc>,
) -> Result<Step, Error> {
    let again = tries > 1;
    match job {
        Job::SyncIssue { task, .. } => sync_issue::run(&context, &task, again).await,
        Job::Launch { task, attempt } => launch::run(&context, &task, attempt).await,
        Job::Publish { task, attempt, .. } => publish::run(&context, &task, attempt).await,
        Job::CleanUp { task, attempt } => clean_up::run(&context, &task, attempt, pending_since).await,
        Job::Answer { to, reply } => answers::run(&context, &to, &reply, again).await,
        Job::Control { by, word } => control::run(&context, &by, word).await,
    }
}

/// The same on a task of its own, so that a panic costs one try and not the engine. It ends with whoever waits.
pub(super) async fn guarded<T: Send + 'static>(
    act: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let acting = tokio::spawn(act);
    let _aborted = AbortOnDrop(acting.abort_handle());
    acting.await
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
