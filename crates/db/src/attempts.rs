//! `attempts`: one row for each run of a task. [`tasks`](super::tasks) reads and stores the current attempt with
//! its task. This module reads the other attempts and contains the writes that do not change the task.
//!
//! Invariant: `attempts.status` and `attempts.completed_at` of a current attempt equal those of its task.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Connection, Error, json_rows, millis, narrow, parsed};
use domain::report::Remark;
use domain::report::{FailureStage, Usage};
use domain::task::{AttemptRecord, Callback, Status, Task, TaskId};

/// Builds the attempt from a row that has the columns of `attempts`, and possibly others.
macro_rules! attempt_of {
    ($row:ident) => {{
        use $crate::attempts::{count, remarks};
        use $crate::{instant, narrow, parsed};
        domain::task::Attempt {
            number: narrow("attempt", $row.attempt)?,
            model: $row.attempt_model,
            place: $row.place,
            machine_id: $row.machine_id,
            started_at: $row.started_at.map(instant).transpose()?,
            completed_at: $row.completed_at.map(instant).transpose()?,
            deadline_at: $row.deadline_at.map(instant).transpose()?,
            seen_at: $row.seen_at.map(instant).transpose()?,
            progress: narrow("progress", $row.progress)?,
            activity: $row.activity,
            branch: $row.branch,
            commit_sha: $row.commit_sha,
            summary: $row.summary,
            error_message: $row.error_message,
            failure_stage: $row
                .failure_stage
                .map(|stage| parsed("failure stage", &stage, domain::report::FailureStage::parse))
                .transpose()?,
            failure_reason: $row.failure_reason,
            usage: domain::report::Usage {
                input_tokens: count("input tokens", $row.input_tokens)?,
                output_tokens: count("output tokens", $row.output_tokens)?,
                cache_read_tokens: count("cache read tokens", $row.cache_read_tokens)?,
                cache_write_tokens: count("cache write tokens", $row.cache_write_tokens)?,
                cost_usd: $row.cost_usd,
            },
            callback: domain::task::Callback {
                attempts: count("callback attempts", $row.callback_attempts)?,
                max_attempts: count("callback max attempts", $row.callback_max_attempts)?,
                last_http_code: count("callback http code", $row.callback_last_http_code)?,
            },
            remarks: remarks(&$row.remarks)?,
        }
    }};
}
pub(super) use attempt_of;

/// Converts a stored number that may be unknown.
pub(super) fn count<T: TryFrom<i64>>(what: &str, number: Option<i64>) -> Result<Option<T>, Error> {
    number.map(|number| narrow(what, number)).transpose()
}

/// Parses stored remarks.
pub(super) fn remarks(stored: &str) -> Result<Vec<Remark>, Error> {
    parsed("remarks", stored, |stored| serde_json::from_str(stored).ok())
}

/// Returns every attempt of a task, oldest first; the last one is the current attempt.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list(connection: &mut Connection, task: &TaskId) -> Result<Vec<AttemptRecord>, Error> {
    let id = task.as_str();
    let rows = sqlx::query!(
        "SELECT attempt, status, model AS attempt_model, place, machine_id, started_at, completed_at, deadline_at,
           seen_at, progress, activity, branch, commit_sha, summary, error_message, failure_stage,
           failure_reason, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd,
           callback_attempts, callback_max_attempts, callback_last_http_code, remarks
         FROM attempts WHERE task_id = ? ORDER BY attempt",
        id
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let status = parsed("status", &row.status, Status::parse)?;
            Ok(AttemptRecord { status, attempt: attempt_of!(row) })
        })
        .collect()
}

/// A new attempt in the form that is inserted. Columns that are missing here start empty.
#[derive(Serialize)]
struct NewRow<'a> {
    task_id: &'a str,
    attempt: u32,
    status: &'a str,
}

impl<'a> From<&'a Task> for NewRow<'a> {
    fn from(task: &'a Task) -> Self {
        Self { task_id: task.id.as_str(), attempt: task.attempt.number, status: task.status.as_str() }
    }
}

/// Stores the current attempts of these newly queued tasks in one statement.
pub(super) async fn insert(connection: &mut Connection, tasks: &[Task]) -> Result<(), Error> {
    let rows: Vec<NewRow<'_>> = tasks.iter().map(NewRow::from).collect();
    let rows = json_rows("an attempt", &rows)?;
    sqlx::query!(
        "INSERT INTO attempts (task_id, attempt, status)
         SELECT value ->> 'task_id', value ->> 'attempt', value ->> 'status' FROM json_each(?)",
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the current attempt of a task, except its place.
pub(super) async fn update(connection: &mut Connection, task: &Task) -> Result<(), Error> {
    let (id, status, attempt) = (task.id.as_str(), task.status.as_str(), &task.attempt);
    let (started_at, completed_at) = (attempt.started_at.map(millis), attempt.completed_at.map(millis));
    let (deadline_at, seen_at) = (attempt.deadline_at.map(millis), attempt.seen_at.map(millis));
    let stage = attempt.failure_stage.map(FailureStage::as_str);
    let Tokens { input, output, cache_read, cache_write } = Tokens::of(&attempt.usage);
    let Callback { attempts, max_attempts, last_http_code } = attempt.callback;
    let remarks = json_rows("a remark", &attempt.remarks)?;
    sqlx::query!(
        "UPDATE attempts SET status = ?, model = ?, machine_id = ?, started_at = ?, completed_at = ?,
           deadline_at = ?, seen_at = ?, progress = ?, activity = ?, branch = ?, commit_sha = ?, summary = ?,
           error_message = ?, failure_stage = ?, failure_reason = ?, input_tokens = ?, output_tokens = ?,
           cache_read_tokens = ?, cache_write_tokens = ?, cost_usd = ?, callback_attempts = ?,
           callback_max_attempts = ?, callback_last_http_code = ?, remarks = ?
         WHERE task_id = ? AND attempt = ?",
        status,
        attempt.model,
        attempt.machine_id,
        started_at,
        completed_at,
        deadline_at,
        seen_at,
        attempt.progress,
        attempt.activity,
        attempt.branch,
        attempt.commit_sha,
        attempt.summary,
        attempt.error_message,
        stage,
        attempt.failure_reason,
        input,
        output,
        cache_read,
        cache_write,
        attempt.usage.cost_usd,
        attempts,
        max_attempts,
        last_http_code,
        remarks,
        id,
        attempt.number,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records a progress report of a task's running attempt: its time, and the reported progress.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn record_progress(
    connection: &mut Connection,
    task: &Task,
    progress: Option<u8>,
    activity: Option<&str>,
    usage: Option<&Usage>,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let (id, at) = (task.id.as_str(), millis(at));
    let Tokens { input, output, cache_read, cache_write } = usage.map(Tokens::of).unwrap_or_default();
    let cost_usd = usage.and_then(|usage| usage.cost_usd);
    let recorded = sqlx::query!(
        "UPDATE attempts SET seen_at = ?1, progress = max(progress, coalesce(?2, 0)),
           activity = coalesce(?3, activity), input_tokens = coalesce(?4, input_tokens),
           output_tokens = coalesce(?5, output_tokens), cache_read_tokens = coalesce(?6, cache_read_tokens),
           cache_write_tokens = coalesce(?7, cache_write_tokens), cost_usd = coalesce(?8, cost_usd)
         WHERE task_id = ?9 AND attempt = ?10 AND status = 'running'",
        at,
        progress,
        activity,
        input,
        output,
        cache_read,
        cache_write,
        cost_usd,
        id,
        task.attempt.number,
    )
    .execute(&mut *connection)
    .await?;
    if recorded.rows_affected() == 1 {
        sqlx::query!("UPDATE tasks SET updated_at = ? WHERE id = ?", at, id).execute(connection).await?;
    }
    Ok(())
}

/// Stores the location of an attempt's machine, in a format that only the runner reads.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn set_place(
    connection: &mut Connection,
    task: &TaskId,
    attempt: u32,
    place: Option<&str>,
) -> Result<(), Error> {
    let id = task.as_str();
    sqlx::query!("UPDATE attempts SET place = ? WHERE task_id = ? AND attempt = ?", place, id, attempt)
        .execute(connection)
        .await?;
    Ok(())
}

/// Token counts in their stored form.
#[derive(Default)]
struct Tokens {
    input: Option<i64>,
    output: Option<i64>,
    cache_read: Option<i64>,
    cache_write: Option<i64>,
}

impl Tokens {
    fn of(usage: &Usage) -> Self {
        let stored = |count: Option<u64>| count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Self {
            input: stored(usage.input_tokens),
            output: stored(usage.output_tokens),
            cache_read: stored(usage.cache_read_tokens),
            cache_write: stored(usage.cache_write_tokens),
        }
    }
}
