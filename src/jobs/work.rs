//! Performs one claimed job and records the outcome: done, retried or failed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinError;

use super::backoff::{self, Backoff};
use super::lanes::Lanes;
use crate::tasks::{Context, Error, Step, answers, clean_up, control, launch, publish, sync_issue};
use db::jobs::Claimed;
use domain::errors::error_chain;
use domain::job::Job;

/// The time limit for one job; shorter than the lease.
const JOB_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A job that has failed for this long is dropped, because its effect is no longer useful.
const MAX_JOB_AGE: TimeDelta = TimeDelta::days(3);
/// How many times the outcome of a job is written when the database rejects it, for example because the disk is full.
const RECORD_TRIES: u32 = 5;
/// The shortest pause after a rate limit, used also when the remote service asks for none.
pub(super) const MIN_PAUSE: TimeDelta = TimeDelta::seconds(1);

/// Performs a job and records its outcome.
pub(super) async fn carry_out(context: &Context, claimed: Claimed, lanes: &Lanes) {
    let ended = attempt(context, &claimed, lanes).await;
    let mut backoff = Backoff::default();
    // If the outcome cannot be written at all, the lease expires and the job is claimed again.
    while backoff.failures() < RECORD_TRIES {
        let Err(error) = record(context, &claimed, &ended).await else { return };
        let error = error_chain(&error);
        tracing::error!(job.kind = claimed.kind, error, "the outcome of a job could not be stored");
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

/// The outcome of a claimed job.
enum Ended {
    /// The job is deleted.
    Done,
    /// The job returns to the queue.
    Again { at: DateTime<Utc>, error: Option<String>, counts: bool },
    /// The job is kept for inspection and not retried before the next start.
    Failed { error: String },
}

/// Why a job did not succeed.
enum Failure {
    /// It returned an error.
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
            tracing::error!(
                job.kind = claimed.kind,
                error = reason,
                "the job has failed for too long and is dropped"
            );
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
        tracing::warn!(job.kind = claimed.kind, "the job's task does not exist; the job is dropped");
        return Ended::Done;
    }
    let reason = error_chain(&error);
    if let Some(until) = error.retry_at(now).map(|at| at.max(now + MIN_PAUSE)) {
        tracing::info!(job.kind = claimed.kind, job.lane = claimed.lane, %until, "rate limited, waiting");
        lanes.leave_alone(&claimed.lane, until);
        return Ended::Again { at: until, error: Some(reason), counts: false };
    }
    tracing::warn!(
        job.kind = claimed.kind,
        job.attempt = claimed.tries,
        error = reason,
        "the job failed and will be retried"
    );
    if served() > served_before {
        // The call failed, but GitHub served others, so the other jobs of the lane need not wait for this one.
        lanes.answered(&claimed.lane);
    } else if matches!(&error, Error::Github(error) if error.is_transient()) {
        // Not before the lane reopens: the engine wakes when a job is due, and the lane must be open then.
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

/// Runs `act` on its own Tokio task, so that a panic fails one try and not the engine. Dropping the returned future
/// aborts it.
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
