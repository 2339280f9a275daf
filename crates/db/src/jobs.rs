//! `jobs`: pending effects. A job is claimed with a lease and a fence, so that only one of two workers that both
//! consider themselves its owner can finish it. A finished job is deleted.
//!
//! Jobs of one *lane* run one at a time. A lane is an installation (GitHub asks for serial writes) or a single
//! task. A job that is requested again while it runs is run once more, at the requested time; `asked` records
//! the request.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Connection, Error, json_rows, millis, narrow};

/// A new job.
#[derive(Clone, Debug, Serialize)]
pub struct NewJob {
    /// The job's kind.
    pub kind: &'static str,
    /// The key that identifies the effect. At most one job of a key exists.
    pub key: String,
    /// The lane. Jobs of one lane run one at a time.
    pub lane: String,
    /// The kind of the lane. The number of jobs that run at once is limited for each kind of lane.
    pub lane_kind: &'static str,
    /// The rank within the lane; lower runs first.
    pub rank: i64,
    /// The payload of this kind, as JSON.
    pub payload: String,
}

/// A job that this process has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The row's id.
    pub id: i64,
    /// The job's kind.
    pub kind: String,
    /// The job's lane.
    pub lane: String,
    /// The payload, as JSON.
    pub payload: String,
    /// The number of times the job was started, including this one.
    pub tries: u32,
    /// The time of the first request, in milliseconds since the Unix epoch.
    pub created_at: i64,
    asked: i64,
    fence: i64,
}

/// Writes jobs in one statement. A job whose key already exists is requested once more with the new payload,
/// whether or not it had failed.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn enqueue(
    connection: &mut Connection,
    jobs: &[NewJob],
    run_at: DateTime<Utc>,
) -> Result<(), Error> {
    let rows = json_rows("a job", jobs)?;
    let run_at = millis(run_at);
    sqlx::query!(
        "INSERT INTO jobs (kind, key, lane, lane_kind, rank, payload, run_at, created_at)
         SELECT value ->> 'kind', value ->> 'key', value ->> 'lane', value ->> 'lane_kind', value ->> 'rank',
           value ->> 'payload', ?2, ?2
         FROM json_each(?1)
         WHERE true
         ON CONFLICT(key) DO UPDATE SET asked = asked + 1, payload = excluded.payload, failed_at = NULL,
           run_at = iif(failed_at IS NULL, min(run_at, excluded.run_at), excluded.run_at)",
        rows,
        run_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the jobs to claim, ordered by due time: at most one per lane that is neither busy nor in `paused`,
/// and for each kind of lane only as many as keep the claimed jobs of that kind within `room`. A slow remote service
/// therefore does not delay the jobs of the others. The cost grows with the number of lanes, not with the number
/// of jobs.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_due(
    connection: &mut Connection,
    room: u32,
    paused: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<i64>, Error> {
    let paused = serde_json::Value::from(paused).to_string();
    let now = millis(now);
    Ok(sqlx::query_scalar!(
        r#"WITH RECURSIVE lanes(lane) AS (
             SELECT min(lane) FROM jobs WHERE failed_at IS NULL
             UNION ALL
             SELECT (SELECT min(lane) FROM jobs WHERE lane > lanes.lane AND failed_at IS NULL)
             FROM lanes WHERE lanes.lane IS NOT NULL
           ),
           due(id) AS (
             SELECT (SELECT id FROM jobs WHERE lane = lanes.lane AND run_at <= ?1 AND failed_at IS NULL
                       ORDER BY rank, run_at LIMIT 1)
             FROM lanes
             WHERE lanes.lane IS NOT NULL
               AND lanes.lane NOT IN (SELECT value FROM json_each(?2))
               AND NOT EXISTS (SELECT 1 FROM jobs AS busy
                     WHERE busy.lane = lanes.lane AND busy.leased_until > ?1)
           ),
           lined_up(id, lane_kind, place) AS (
             SELECT id, lane_kind, row_number() OVER (PARTITION BY lane_kind ORDER BY run_at, id)
             FROM jobs WHERE id IN (SELECT id FROM due)
           )
           SELECT id AS "id!: i64" FROM lined_up
           WHERE place <= ?3 - (SELECT count(*) FROM jobs AS busy
             WHERE busy.leased_until > ?1 AND busy.lane_kind = lined_up.lane_kind)"#,
        now,
        paused,
        room
    )
    .fetch_all(connection)
    .await?)
}

/// Claims those jobs of `due` that are still free, for the duration of `lease`. The caller that listed them must
/// be the only one that claims jobs. The next run of a claimed job is at the end of the lease, unless the job is
/// requested again.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn claim(
    connection: &mut Connection,
    due: &[i64],
    lease: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<Claimed>, Error> {
    let due = serde_json::Value::from(due).to_string();
    let (until, now) = (millis(now + lease), millis(now));
    let rows = sqlx::query!(
        r#"UPDATE jobs SET leased_until = ?1, run_at = ?1, fence = fence + 1, tries = tries + 1
           WHERE id IN (SELECT value FROM json_each(?2)) AND run_at <= ?3
             AND (leased_until IS NULL OR leased_until <= ?3) AND failed_at IS NULL
           RETURNING id AS "id!", kind, lane, payload, tries, created_at, asked, fence"#,
        until,
        due,
        now
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Claimed {
                id: row.id,
                kind: row.kind,
                lane: row.lane,
                payload: row.payload,
                tries: narrow("tries", row.tries)?,
                created_at: row.created_at,
                asked: row.asked,
                fence: row.fence,
            })
        })
        .collect()
}

/// Ends a claimed job. A job that was requested again in the meantime becomes due at the requested time.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn finish(connection: &mut Connection, job: &Claimed, now: DateTime<Utc>) -> Result<(), Error> {
    let now = millis(now);
    let gone = sqlx::query!(
        "DELETE FROM jobs WHERE id = ? AND fence = ? AND asked = ?",
        job.id,
        job.fence,
        job.asked
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if gone == 0 {
        sqlx::query!(
            "UPDATE jobs SET leased_until = NULL, tries = 0, created_at = ?, last_error = NULL
             WHERE id = ? AND fence = ?",
            now,
            job.id,
            job.fence
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Deletes a job whose effect is part of the same transaction; [`finish`] then has no effect.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn remove(connection: &mut Connection, key: &str) -> Result<(), Error> {
    sqlx::query!("DELETE FROM jobs WHERE key = ?", key).execute(connection).await?;
    Ok(())
}

/// Reschedules a claimed job for `run_at` and records the error. `counts` is false when the job did not cause
/// the delay (a rate limit, a shutdown).
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn put_back(
    connection: &mut Connection,
    job: &Claimed,
    run_at: DateTime<Utc>,
    error: Option<&str>,
    counts: bool,
) -> Result<(), Error> {
    let run_at = millis(run_at);
    let refund = i64::from(!counts);
    sqlx::query!(
        "UPDATE jobs SET leased_until = NULL, run_at = ?, last_error = coalesce(?, last_error),
           tries = tries - ?
         WHERE id = ? AND fence = ?",
        run_at,
        error,
        refund,
        job.id,
        job.fence
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a claimed job as failed. The job is kept, but does not run until it is requested again or
/// [`retry_failed`] releases it. A job that was requested again in the meantime is due immediately.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn fail(
    connection: &mut Connection,
    job: &Claimed,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let now = millis(now);
    sqlx::query!(
        "UPDATE jobs SET leased_until = NULL, run_at = ?1, last_error = ?2,
           failed_at = iif(asked = ?3, ?1, NULL)
         WHERE id = ?4 AND fence = ?5",
        now,
        error,
        job.asked,
        job.id,
        job.fence
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Releases every failed job, makes it due immediately, and returns the number of jobs. Another version of
/// Porter may be able to execute them.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn retry_failed(connection: &mut Connection, now: DateTime<Utc>) -> Result<u64, Error> {
    let now = millis(now);
    let freed = sqlx::query!("UPDATE jobs SET failed_at = NULL, run_at = ? WHERE failed_at IS NOT NULL", now)
        .execute(connection)
        .await?;
    Ok(freed.rows_affected())
}

/// Releases every job that an ended process had claimed, and makes it due immediately. Only the engine may call
/// this function, when it starts and when it stops.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn release_all(connection: &mut Connection, now: DateTime<Utc>) -> Result<u64, Error> {
    let now = millis(now);
    let freed =
        sqlx::query!("UPDATE jobs SET leased_until = NULL, run_at = ? WHERE leased_until IS NOT NULL", now)
            .execute(connection)
            .await?;
    Ok(freed.rows_affected())
}

/// The number of jobs in each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Backlog {
    /// Jobs that are not yet done.
    pub pending: i64,
    /// Pending jobs that have been due for more than a minute.
    pub late: i64,
    /// Pending jobs that were started before without success.
    pub retrying: i64,
    /// Failed jobs, which are kept and do not count as pending.
    pub failed: i64,
}

/// Counts the jobs.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn backlog(connection: &mut Connection, now: DateTime<Utc>) -> Result<Backlog, Error> {
    let late = millis(now - TimeDelta::minutes(1));
    Ok(sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) FILTER (WHERE failed_at IS NULL) AS "pending!: i64",
             count(*) FILTER (WHERE failed_at IS NULL AND run_at < ?) AS "late!: i64",
             count(*) FILTER (WHERE failed_at IS NULL AND last_error IS NOT NULL) AS "retrying!: i64",
             count(failed_at) AS "failed!: i64"
           FROM jobs"#,
        late
    )
    .fetch_one(connection)
    .await?)
}

/// Returns the first time after `now` at which a waiting job is due.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn next_due(
    connection: &mut Connection,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Error> {
    let now = millis(now);
    let at = sqlx::query_scalar!(
        r#"SELECT min(run_at) AS "at: i64" FROM jobs
             WHERE leased_until IS NULL AND failed_at IS NULL AND run_at > ?"#,
        now
    )
    .fetch_one(connection)
    .await?;
    at.map(super::instant).transpose()
}

/// Returns whether any job of this lane is pending.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn is_lane_pending(connection: &mut Connection, lane: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = ? AND failed_at IS NULL) AS "found!: bool""#,
        lane
    )
    .fetch_one(connection)
    .await?)
}

/// Returns whether a job with this key is pending.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn is_pending(connection: &mut Connection, key: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM jobs WHERE key = ? AND failed_at IS NULL) AS "found!: bool""#,
        key
    )
    .fetch_one(connection)
    .await?)
}
